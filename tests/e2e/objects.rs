//! Answers with an object: status, headers and bytes, for GET, HEAD and old clients.

use serde_json::json;

use crate::client::{Ending, Fate, PATIENCE};
use crate::faulty::{self, Faulty, Recorded};
use crate::gateway::{Gateway, Setup};
use crate::origin::{Object, Origin};

/// HEAD has the headers of GET, without the body. `Date` and the request id differ per answer.
pub(crate) fn assert_head_is_get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) {
    let get = gateway.send("GET", path, headers);
    let head = gateway.send("HEAD", path, headers);
    assert_eq!(head.status(), get.status(), "{path}");
    assert!(head.body.is_empty(), "{path}");
    let comparable = |answer: &crate::client::Answer| {
        let mut headers = answer.head.headers.clone();
        headers.retain(|(n, _)| !matches!(&*n.to_ascii_lowercase(), "date" | "x-request-id"));
        headers.sort();
        headers
    };
    assert_eq!(comparable(&head), comparable(&get), "{path}");
    if get.status() != 304 {
        let length = get.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{path}");
    }
}

#[test]
fn an_object_comes_byte_for_byte_with_its_headers_in_one_request() {
    let origin = Origin::start();
    let etag = origin.put("survey/Norder3/Npix7.png", "not really a PNG");
    let gateway = Setup::new(&origin.url()).start();
    let answer = gateway.object("sky/survey/Norder3/Npix7.png");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.head.version, "HTTP/1.1");
    assert_eq!(answer.text(), "not really a PNG");
    assert_eq!(answer.ending, Ending::Whole);
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.header("content-length"), Some("16"));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.header("etag"), Some(etag.as_str()));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), None);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.header("last-modified").is_some_and(|d| d.ends_with(" GMT")), "{answer:?}");
    assert!(answer.header("date").is_some(), "{answer:?}");
    assert_eq!(origin.count(), 1, "one request reached the store: {:?}", origin.requests());
}

#[test]
fn head_has_the_headers_of_get_and_asks_the_store_once() {
    let origin = Origin::start();
    origin.put("a.png", "twelve bytes");
    origin.put("empty.txt", "");
    origin.put("page.html", "<p>hello</p>");
    let gateway = Setup::new(&origin.url()).env("S3PROXY_CACHE_MAX_AGE", "60").start();
    for key in ["a.png", "empty.txt", "page.html", "missing.png", "refused.exe"] {
        assert_head_is_get(&gateway, &format!("/s3proxy/s3/sky/{key}"), &[]);
    }
    origin.clear();
    gateway.send("HEAD", "/s3proxy/s3/sky/a.png", &[]);
    assert_eq!(origin.count(), 1, "{:?}", origin.requests());
}

#[test]
fn head_keeps_the_connection_in_step() {
    let origin = Origin::start();
    origin.put("a.png", "twelve bytes");
    let gateway = Setup::new(&origin.url()).start();
    let mut client = gateway.connect();
    for method in ["HEAD", "GET", "HEAD", "HEAD", "GET"] {
        let answer = client.exchange(method, "/s3proxy/s3/sky/a.png", &[]);
        assert_eq!(answer.status(), 200, "{method}");
        assert_eq!(answer.header("content-length"), Some("12"), "{method}");
        assert_eq!(answer.text(), if method == "GET" { "twelve bytes" } else { "" });
    }
}

#[test]
fn an_empty_object_is_a_whole_answer() {
    let origin = Origin::start();
    origin.put("empty.txt", "");
    let gateway = Setup::new(&origin.url()).start();
    let answer = gateway.object("sky/empty.txt");
    assert_eq!((answer.status(), answer.text()), (200, ""));
    assert_eq!(answer.header("content-length"), Some("0"));
    assert_eq!(answer.ending, Ending::Whole);
}

#[test]
fn a_large_object_comes_byte_for_byte() {
    let origin = Origin::start();
    let body: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    origin.put("big.fits", body.clone());
    let gateway = Setup::new(&origin.url()).start();
    let answer = gateway.object("sky/big.fits");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.ending, Ending::Whole);
    assert!(answer.body == body, "{} of {} bytes, or others", answer.body.len(), body.len());
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_missing_object_is_not_found_and_named_as_asked_for() {
    let origin = Origin::start();
    let gateway = Setup::new(&origin.url()).profile("hips", &origin.url()).start();
    for (tail, name) in [
        ("sky/no/such.png", "s3://sky/no/such.png"),
        ("hips@sky/no%20%C3%A9.png", "s3://hips@sky/no é.png"),
        ("hips%40sky/no.png", "s3://hips@sky/no.png"),
        ("no-such-bucket/k.png", "s3://no-such-bucket/k.png"),
    ] {
        let answer = gateway.object(tail);
        assert_eq!(answer.status(), 404, "{tail}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{tail}");
        let message = format!("Not found: {name}");
        assert_eq!(answer.refused("object_not_found", "message"), message, "{tail}");
        assert_eq!(answer.header("etag"), None, "{tail}");
    }
}

#[test]
fn an_empty_key_is_not_found_and_never_a_listing() {
    let origin = Origin::start();
    origin.put("a.png", "in the bucket");
    let gateway = Setup::new(&origin.url()).start();
    for tail in ["sky/", "sky/?list-type=2", "sky/?prefix=a", "sky/?acl"] {
        let answer = gateway.object(tail);
        assert_eq!(answer.status(), 404, "{tail}");
        assert!(!answer.text().contains("a.png"), "{tail}: {}", answer.text());
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_objects_own_encoding_and_disposition_pass_untouched() {
    let gzip = b"\x1f\x8b\x08\x00pretend";
    let upstream = Faulty::scripted(|_, _| {
        let mut headers = faulty::OBJECT_HEADERS.to_vec();
        headers.push(("Content-Encoding", "gzip"));
        headers.push(("Content-Disposition", "attachment; filename=\"a.csv\""));
        faulty::answer(200, &headers, gzip)
    });
    let gateway = Setup::new(&upstream.url()).start();
    for accept in ["gzip, deflate, br, zstd", "identity"] {
        let answer = gateway.object_with("sky/a.csv", &[("Accept-Encoding", accept)]);
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{accept}");
        assert_eq!(
            answer.header("content-disposition"),
            Some("attachment; filename=\"a.csv\""),
            "{accept}"
        );
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"), "{accept}");
        assert_eq!(answer.body, gzip, "{accept}");
    }
}

#[test]
fn a_gz_ending_alone_is_no_content_encoding_and_nothing_is_compressed_here() {
    let origin = Origin::start();
    origin.put("x.fits.gz", "z".repeat(10_000));
    let gateway = Setup::new(&origin.url()).start();
    let answer = gateway.object_with("sky/x.fits.gz", &[("Accept-Encoding", "gzip, br")]);
    assert_eq!(answer.header("content-type"), Some("application/gzip"));
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.body.len(), 10_000);
}

#[test]
fn images_may_be_cached_as_long_as_configured_and_nothing_else() {
    let origin = Origin::start();
    for key in ["a.png", "a.fits", "a.svg", "a.txt", "properties"] {
        origin.put(key, "x");
    }
    let gateway = Setup::new(&origin.url()).env("S3PROXY_CACHE_MAX_AGE", "86400").start();
    let public = Some("public, max-age=86400");
    for (tail, cache_control) in [
        ("sky/a.png", public),
        ("sky/a.fits", public),
        ("sky/a.svg", public),
        ("sky/a.txt", None),
        ("sky/properties", None),
        ("sky/missing.png", Some("max-age=60")),
        ("sky/a.exe", None),
    ] {
        let answer = gateway.object(tail);
        assert_eq!(answer.header("cache-control"), cache_control, "{tail}");
    }
    let conditional = gateway.object_with("sky/a.png", &[("If-None-Match", "*")]);
    assert_eq!(conditional.status(), 304);
    assert_eq!(conditional.header("cache-control"), public);
}

#[test]
fn a_profile_may_say_how_its_answers_are_cached() {
    let origin = Origin::start();
    origin.put("a.png", "x");
    origin.put("a.txt", "x");
    let gateway = Setup::new(&origin.url())
        .env("S3PROXY_CACHE_MAX_AGE", "60")
        .profile("embargo", &origin.url())
        .profile_settings("embargo", &json!({"cache_control": "no-store"}))
        .profile("hips", &origin.url())
        .profile_settings("hips", &json!({"cache_control": "private, max-age=30"}))
        .start();
    for (tail, cache_control) in [
        ("sky/a.png", "public, max-age=60"),
        ("embargo@sky/a.png", "no-store"),
        ("embargo@sky/a.txt", "no-store"),
        ("hips@sky/a.txt", "private, max-age=30"),
    ] {
        assert_eq!(gateway.object(tail).header("cache-control"), Some(cache_control), "{tail}");
    }
}

#[test]
fn an_http_1_0_client_is_never_sent_chunks() {
    let with_length = Faulty::spy();
    let chunked = Faulty::scripted(|_, _| {
        let mut steps = vec![faulty::head(200, &[("Transfer-Encoding", "chunked")])];
        steps.push(faulty::Step::Send(b"4\r\ntile\r\n0\r\n\r\n".to_vec()));
        steps
    });
    for upstream in [with_length, chunked] {
        let gateway = Setup::new(&upstream.url()).start();
        let mut client = gateway.connect();
        client.send("GET /s3proxy/s3/sky/a.png HTTP/1.0\r\nHost: gateway.test\r\n\r\n");
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.header("transfer-encoding"), None);
        match answer.status() {
            200 => assert_eq!((answer.text(), answer.ending), ("tile", Ending::Whole)),
            // A body of unknown length has no safe end on HTTP/1.0.
            502 => assert_eq!(gateway.line_of(&answer)["cause"], "upstream_protocol"),
            other => panic!("{other}"),
        }
        assert_eq!(client.fate(PATIENCE), Fate::Closed);
    }
}

#[test]
fn connections_are_kept_on_both_sides() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).text(), "tile");
        assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.exe", &[]).status(), 415);
    }
    assert_eq!(spy.count(), 20);
    assert!(spy.connections() <= 2, "{} connections for 20 requests", spy.connections());
}

#[test]
fn only_a_broken_answer_closes_the_connection() {
    let upstream = Faulty::scripted(|request, _| match request.target.as_str() {
        "/sky/missing.png" => faulty::s3_error(404, "NoSuchKey"),
        "/sky/denied.png" => faulty::s3_error(403, "AccessDenied"),
        "/sky/busy.png" => faulty::s3_error(503, "SlowDown"),
        "/sky/broken.png" => faulty::s3_error(500, "InternalError"),
        "/sky/short.png" if request.header("range").is_some() => {
            faulty::answer(416, &[("Content-Range", "bytes */4")], b"")
        }
        _ => faulty::object(b"tile"),
    });
    let gateway = Setup::new(&upstream.url()).tolerate("s3://sky/").start();
    let mut client = gateway.connect();
    for (tail, headers, status) in [
        ("sky/missing.png", &[][..], 404),
        ("sky/a.exe", &[], 415),
        ("sky/..", &[], 400),
        ("none@sky/a.png", &[], 404),
        ("sky/a.png", &[("If-None-Match", "*")], 304),
        ("sky/a.png", &[("If-Match", "\"other\"")], 412),
        ("sky/short.png", &[("Range", "bytes=99-")], 416),
        ("sky/denied.png", &[], 403),
        ("sky/busy.png", &[], 503),
        ("sky/broken.png", &[], 502),
        ("sky/a.png", &[], 200),
    ] {
        for method in ["HEAD", "GET"] {
            client.request(method, &format!("/s3proxy/s3/{tail}"), headers);
            let answer = client.answer(method);
            let answer = answer.unwrap_or_else(|| panic!("closed before {method} {tail}"));
            if method == "GET" {
                assert_eq!(answer.status(), status, "{tail}");
            }
            let connection = answer.header("connection").unwrap_or("keep-alive");
            assert_eq!(connection, "keep-alive", "{method} {tail} {}", answer.status());
        }
    }
}

/// A store sends half of an object and waits; the client must receive that half in the meantime.
fn assert_half_arrives(half: usize) {
    let gate = faulty::Gate::new();
    let at_gate = gate.clone();
    let upstream = Faulty::scripted(move |_: &Recorded, _| {
        vec![
            faulty::head(200, &[("Content-Length", &(2 * half).to_string())]),
            faulty::Step::Flood(half),
            faulty::Step::Wait(at_gate.clone()),
            faulty::Step::Flood(half),
        ]
    });
    let gateway = Setup::new(&upstream.url()).start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    let head = client.head().expect("the head, while the store still holds half of the body");
    assert!(client.fill_to(half), "the first half");
    gate.open();
    let (body, ending) = client.body(&head, "GET");
    assert_eq!((body.len(), ending), (2 * half, Ending::Whole));
}

#[test]
fn the_answer_starts_before_the_object_has_arrived() {
    assert_half_arrives(faulty::MORE_THAN_A_BUFFER);
}

#[test]
fn the_first_bytes_of_a_small_object_do_not_wait_for_the_last() {
    assert_half_arrives(4);
}

#[test]
fn an_object_put_with_headers_of_its_own_shows_only_the_listed_ones() {
    let origin = Origin::start();
    let mut object = Object::new("a,b\n").typed("text/html");
    object.cache_control = Some("public, max-age=31536000".to_owned());
    object.content_disposition = Some("inline".to_owned());
    object.metadata = vec![("owner".to_owned(), "secret-of-the-store".to_owned())];
    origin.put_object("sky", "t.csv", object);
    let gateway = Setup::new(&origin.url()).start();
    let answer = gateway.object("sky/t.csv");
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"), "from the key");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000"), "the store's");
    assert_eq!(answer.header("content-disposition"), Some("inline"));
    assert!(!format!("{:?}", answer.head).contains("secret-of-the-store"), "{answer:?}");
}
