//! Answers in front of the framework are those of the framework: the same requests, one after the other on
//! one connection, to a gateway that answers directly and to one that does not.

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::{Answer, Client};
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;

/// Two gateways before the same store: with and without direct answers.
fn both(origin: &Origin, settings: impl Fn(Setup) -> Setup) -> [Gateway; 2] {
    ["true", "false"].map(|direct| {
        settings(with_cache(&origin.url())).env("S3PROXY_SERVER_DIRECT_HITS", direct).start()
    })
}

/// Status, headers and body, without what differs from request to request.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut headers: Vec<(String, String)> = answer
        .head
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .filter(|(name, _)| !["date", "age"].contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| match name.as_str() {
            "server-timing" => (name, value.split("dur=").next().unwrap_or_default().to_owned()),
            "cache-status" => (name, value.split("ttl=").next().unwrap_or_default().to_owned()),
            // The rest of the lifetime of a negative entry.
            "Cache-Control" => {
                let text = value.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
                (name, text)
            }
            _ => (name, value),
        })
        .collect();
    headers.sort();
    let kind = answer.header("content-type").unwrap_or_default();
    if let Some((_, boundary)) = kind.split_once("boundary=") {
        // It is another one each time.
        for (_, value) in &mut headers {
            *value = value.replace(boundary, "boundary");
        }
        let body = String::from_utf8(answer.body.clone()).expect("text");
        return (answer.status(), headers, body.replace(boundary, "boundary").into());
    }
    (answer.status(), headers, answer.body.clone())
}

/// Fields of the log line that do not depend on the time or the connection.
pub(crate) fn logged(gateway: &Gateway, id: &str) -> Value {
    let mut line = gateway.line_of_id(id);
    let fields = line.as_object_mut().expect("a line");
    for field in
        ["timestamp", "duration_ms", "ttfb_ms", "upstream_ms", "upstream_request_id", "cache"]
    {
        fields.remove(field);
    }
    line
}

/// Method, path and headers.
pub(crate) type Request = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

pub(crate) const REQUESTS: &[Request] = &[
    ("GET", "/s3proxy/s3/sky/a.png", &[]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Connection", "keep-alive")]),
    ("HEAD", "/s3proxy/s3/sky/a.png", &[]),
    ("GET", "/s3proxy/s3/sky/a.png?x=1", &[("Range", "bytes=2-5")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Range", "bytes=-3")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Range", "bytes=0-0,4-5")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Range", "bytes=7-,0-0,4-4,5-5")]),
    ("HEAD", "/s3proxy/s3/sky/a.png", &[("Range", "bytes=0-0,4-5")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Range", "bytes=0-0,4-5"), ("If-Range", "\"other\"")]),
    ("GET", "/s3proxy/s3/sky/big.png", &[("Range", "bytes=0-9,1048570-1048590")]),
    ("GET", "/s3proxy/s3/sky/empty.png", &[("Range", "bytes=0-0,4-5")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Range", "bytes=999999-")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("If-None-Match", "*")]),
    ("HEAD", "/s3proxy/s3/sky/a.png", &[("If-None-Match", "*")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("If-Match", "\"other\"")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Origin", "https://portal.example.org")]),
    ("GET", "/s3proxy/s3/sky/missing.png", &[]),
    ("HEAD", "/s3proxy/s3/sky/missing.png", &[]),
    ("GET", "/s3proxy/s3/sky/empty.png", &[]),
    ("GET", "/s3proxy/s3/sky/big.png", &[]),
    ("GET", "/s3proxy/s3/sky/big.png", &[("Range", "bytes=1048570-1048590")]),
    ("GET", "/s3proxy/s3/sky/a.pem", &[]),
    ("GET", "/s3proxy/s3/nobody@sky/a.png", &[]),
    ("GET", "/s3proxy/s3/sky/%zz.png", &[]),
    ("GET", "/nowhere", &[]),
    ("GET", "/", &[]),
    ("HEAD", "/", &[]),
    ("GET", "/s3proxy/", &[]),
    ("GET", "/s3proxy", &[("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")]),
    ("GET", "/s3proxy/openapi.json", &[]),
    (
        "OPTIONS",
        "/s3proxy/s3/sky/a.png",
        &[("Origin", "https://portal.example.org"), ("Access-Control-Request-Method", "GET")],
    ),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Cache-Control", "no-cache")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Upgrade", "h2c"), ("Connection", "Upgrade")]),
    ("GET", "/s3proxy/s3/sky/a.png", &[("Content-Length", "0")]),
];

#[test]
fn answers_and_log_lines_are_those_of_the_framework() {
    let origin = Origin::start();
    origin.put("a.png", "a tile of the sky");
    origin.put("empty.png", "");
    origin.put("big.png", "0123456789abcdef".repeat(160 * 1024));
    let settings = |setup: Setup| {
        setup
            .env("S3PROXY_CORS_ORIGINS", "[\"https://portal.example.org\"]")
            .env("S3PROXY_SERVER_TIMING", "true")
            .env("S3PROXY_NAME", "gateway")
    };
    let gateways = both(&origin, settings);
    for gateway in &gateways {
        for key in ["a.png", "empty.png", "big.png", "missing.png"] {
            gateway.object(&format!("sky/{key}"));
        }
    }
    let mut clients = gateways.each_ref().map(Gateway::connect);
    for (number, (method, path, headers)) in REQUESTS.iter().enumerate() {
        let id = format!("request-{number}");
        let headers: Vec<(&str, &str)> =
            headers.iter().copied().chain([("X-Request-ID", &*id)]).collect();
        let answers = clients.each_mut().map(|client| client.exchange(method, path, &headers));
        let [direct, framework] = answers.each_ref().map(comparable);
        assert_eq!(direct, framework, "{method} {path} {headers:?}");
        // Probes are logged at debug level.
        if *path != "/" {
            let [direct, framework] = gateways.each_ref().map(|gateway| logged(gateway, &id));
            assert_eq!(direct, framework, "{method} {path} {headers:?}");
        }
        // A refusal of what may have a body ends the connection, with both.
        for (client, (gateway, answer)) in clients.iter_mut().zip(gateways.iter().zip(&answers)) {
            if answer.header("connection") == Some("close") {
                *client = gateway.connect();
            }
        }
    }
}

#[test]
fn both_answer_in_turn_on_one_connection_and_pipelined_heads_keep_their_order() {
    let origin = Origin::start();
    origin.put("a.png", "in memory");
    let [direct, _] = both(&origin, |setup| setup);
    direct.object("sky/a.png");
    let mut client = direct.connect();
    let mut heads = String::new();
    for number in 0..20 {
        origin.put(&format!("new{number}.png"), format!("new {number}"));
        for key in ["a.png".to_owned(), format!("new{number}.png")] {
            heads.push_str(&format!("GET /s3proxy/s3/sky/{key} HTTP/1.1\r\nHost: h\r\n\r\n"));
        }
    }
    // In pieces that end anywhere.
    for piece in heads.as_bytes().chunks(37) {
        client.send(piece);
    }
    for number in 0..20 {
        for body in ["in memory".to_owned(), format!("new {number}")] {
            let answer = client.answer("GET").expect("an answer");
            assert_eq!((answer.status(), answer.text()), (200, &*body));
        }
    }
}

#[test]
fn old_clients_and_those_that_close_are_answered_once() {
    let origin = Origin::start();
    origin.put("a.png", "a tile");
    let gateways = both(&origin, |setup| setup);
    for gateway in &gateways {
        gateway.object("sky/a.png");
        for (version, connection, stays) in [
            ("HTTP/1.1", "", true),
            ("HTTP/1.1", "Connection: close\r\n", false),
            ("HTTP/1.1", "Connection: Close\r\n", false),
            ("HTTP/1.0", "", false),
            ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
            ("HTTP/1.0", "Connection: foo, Keep-Alive\r\n", true),
            ("HTTP/1.0", "Connection: foo\r\nConnection: keep-alive\r\n", true),
            ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
            ("HTTP/1.1", "Connection: foo\r\nConnection: close\r\n", false),
            ("HTTP/1.1", "Connection: keep-alive, close\r\n", false),
        ] {
            let mut client = gateway.connect();
            let head =
                format!("GET /s3proxy/s3/sky/a.png {version}\r\nHost: h\r\n{connection}\r\n");
            client.send(&head);
            let answer = client.answer("GET").expect("an answer");
            assert_eq!((answer.status(), answer.text()), (200, "a tile"), "{head}");
            let said = if stays { "keep-alive" } else { "close" };
            assert_eq!(answer.header("connection"), Some(said), "{head}");
            if !stays {
                assert!(Client::answer(&mut client, "GET").is_none(), "{head}");
            }
        }
    }
}

/// A folder asks the store although the cache knows that its index object is missing. Memory was asked twice for that,
/// and counted two hits.
#[test]
fn a_missing_index_object_of_a_folder_is_one_hit() {
    let origin = Origin::start();
    origin.put("dir/x.png", "a tile");
    let folders = json!({"default_profile": {"index": "index.html", "listing": true}});
    let gateways = both(&origin, |setup| setup.yaml(folders.clone()));
    let counted = gateways.each_ref().map(|gateway| {
        for _ in 0..3 {
            assert_eq!(gateway.object("sky/dir/").status(), 200);
            assert_eq!(gateway.object("sky/dir").status(), 307);
        }
        let cache = Admin { address: gateway.admin.expect("an admin listener") }.cache();
        ["memory_hits", "misses"].map(|name| cache[name].clone())
    });
    let [direct, framework] = counted;
    assert_eq!(direct, framework);
}

/// The framework wrote the `Cache-Control` that an alias limits behind the headers of the request, and direct answers
/// did not.
#[test]
fn the_head_of_an_aliased_object_has_the_same_order() {
    let origin = Origin::start();
    origin.put("dir/x.png", "a tile");
    let gateways =
        both(&origin, |setup| setup.env("S3PROXY_ALIASES", r#"{"sky/now/": "sky/dir/"}"#));
    let mut clients = gateways.each_ref().map(Gateway::connect);
    for headers in [&[][..], &[], &[("Range", "bytes=1-2")], &[("If-None-Match", "*")]] {
        for path in ["/s3proxy/s3/sky/now/x.png", "/s3proxy/s3/sky/now/missing.png"] {
            let names = clients.each_mut().map(|client| {
                let answer = client.exchange("GET", path, headers);
                let names = answer.head.headers.into_iter().map(|(name, _)| name);
                (answer.head.status, names.collect::<Vec<_>>())
            });
            let [direct, framework] = names;
            assert_eq!(direct, framework, "{path} {headers:?}");
        }
    }
}
