//! Each cause of `docs/http.md` and `docs/logs.md` is made to happen: a cause that nothing can bring about is
//! no help to an operator. The answer, the log and the metrics name it alike.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use rawzip::CompressionMethod;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::admin::Admin;
use crate::client::{Answer, Client, PATIENCE};
use crate::faulty::{self, Faulty, Gate, Recorded, Step, runtime};
use crate::gateway::{Gateway, Setup, free_port};
use crate::scrape::parse;

/// A fault of the gateway itself: each known way to cause it would be mended.
const OF_NO_KNOWN_REQUEST: &str = "internal";

/// The memory of the cache: none, and enough.
const ROADS: [&str; 2] = ["0", "64MiB"];

/// Rows of the tables with a `cause` in a document: the statuses, and the causes.
fn documented(document: &str) -> Vec<(Option<u16>, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).expect("the documentation");
    let mut rows = Vec::new();
    let mut column = None;
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            column = None;
        } else if column.is_none() {
            let at = cells.iter().position(|cell| *cell == "`cause`").filter(|at| *at < 3);
            // The table of the fields of a line has a row for `cause`.
            column = Some(at.unwrap_or(usize::MAX));
        } else if let Some(cause) = column.and_then(|at| cells.get(at)?.strip_prefix('`'))
            && let Some(cause) = cause.strip_suffix('`')
        {
            rows.push((cells.get(1).and_then(|cell| cell.parse().ok()), cause.to_owned()));
        }
    }
    rows
}

/// A store that fails as the key says.
fn store(gate: &Gate) -> Faulty {
    let gate = gate.clone();
    Faulty::scripted(move |request: &Recorded, _| {
        let has = |word: &str| request.target.contains(word);
        match () {
            () if has("nostore.zip") => {
                faulty::answer(200, &[("ETag", "\"a\""), ("Cache-Control", "no-store")], b"tile")
            }
            () if has("packed.zip") => {
                let members = [("a.png".to_owned(), b"tile".to_vec())];
                faulty::object(&crate::zip_file::zip(&members, CompressionMethod::DEFLATE))
            }
            () if has("missing") => faulty::s3_error(404, "NoSuchKey"),
            () if has("forbidden") => faulty::s3_error(403, "AccessDenied"),
            () if has("busy") => faulty::s3_error(503, "SlowDown"),
            () if has("redirect") => faulty::answer(307, &[("Location", "/")], b""),
            () if has("error") => faulty::s3_error(500, "InternalError"),
            () if has("protocol") => vec![Step::Send(b"SSH-2.0-x\r\n\r\n".to_vec()), Step::Close],
            () if has("reset") => vec![Step::Reset],
            () if has("stall") => vec![Step::Stall],
            () if has("held") => vec![Step::Wait(gate.clone()), Step::Close],
            () if request.header("range") == Some("bytes=100-") => {
                let headers = [("Content-Range", "bytes */4"), ("x-amz-request-id", "tx")];
                faulty::answer(416, &headers, b"<Error><Code>InvalidRange</Code></Error>")
            }
            () if has("cut") => vec![
                faulty::head(200, &[("Content-Length", "1000000"), ("ETag", "\"a\"")]),
                Step::Send(vec![b'x'; 300_000]),
                Step::Close,
            ],
            () => faulty::object(b"tile"),
        }
    })
}

/// Starts a gateway in front of this store, with every profile and limit that some cause needs.
fn gateway(store: &Faulty, memory: &str) -> (Gateway, Admin) {
    let setup = Setup::new(&store.url()).yaml(json!({
        "upstream": {
            "connect_timeout": "500ms", "first_byte_timeout": "500ms", "read_timeout": "500ms",
            "total_timeout": "2s", "max_in_flight": 1, "queue_timeout": "50ms",
        },
        "downstream": {
            "header_timeout": "500ms", "header_max_bytes": 4096, "max_requests_per_user": 1,
            "max_connections": 16,
        },
        "profiles": {
            "keyless": {"endpoint": store.url()},
            "folders": {
                "endpoint": store.url(), "listing": true, "credentials": {"anonymous": true},
            },
            "listed": {"endpoint": store.url(), "buckets": ["sky"], "credentials": {"anonymous": true}},
        },
    }));
    let (setup, admin) = Admin::of(setup.env("S3PROXY_CACHE_MEMORY", memory));
    // They need the cache.
    let archives =
        json!({"endpoint": store.url(), "archives": true, "credentials": {"anonymous": true}});
    let setup = match memory {
        "0" => setup,
        _ => setup.profile_settings("archives", &archives),
    };
    let setup = setup
        .profile("down", &format!("http://127.0.0.1:{}", free_port()))
        .profile("proxied", &store.url())
        .profile_settings("proxied", &json!({"proxy": format!("127.0.0.1:{}", free_port())}))
        .profile("nowhere", "http://store.invalid:1");
    // Faults of the store are warnings.
    (
        setup
            .tolerate("keyless")
            .tolerate("\"cause\"")
            .tolerate("invalid")
            .tolerate("connections_full")
            .start(),
        admin,
    )
}

/// What a client, or the log, was told.
#[derive(Debug)]
struct Provoked {
    status: Option<u16>,
    cause: String,
    /// Whether the gateway closes the connection, which the client wants to keep; `None` where there was no answer.
    closes: Option<bool>,
}

impl Provoked {
    fn by(answer: &Answer) -> Self {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        Self {
            status: Some(answer.status()),
            cause: body["cause"].as_str().unwrap_or_default().to_owned(),
            closes: Some(answer.header("connection") == Some("close")),
        }
    }

    /// By the log line of a request that got no body with the cause.
    fn in_log(gateway: &Gateway, id: &str) -> Self {
        let line = gateway.line_of_id(id);
        let cause = line["cause"].as_str().unwrap_or_default().to_owned();
        Self { status: None, cause, closes: None }
    }
}

/// The answer to raw bytes.
fn raw(gateway: &Gateway, bytes: &str) -> Provoked {
    let mut client = gateway.connect();
    client.send(bytes);
    Provoked::by(&client.answer("GET").expect("an answer"))
}

/// The answer to a request for an object.
fn object(gateway: &Gateway, tail: &str, headers: &[(&str, &str)]) -> Provoked {
    let path = format!("/s3proxy/s3/{tail}");
    Provoked::by(&gateway.connect().exchange("GET", &path, headers))
}

/// The causes after which the connection is closed, as `docs/http.md` lists them.
fn closing() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/http.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let (_, list) = text.split_once("After these the gateway closes the connection").expect("it");
    let list = list.split("\n\n").next().unwrap_or_default();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Makes this cause happen; `None` if nothing is known to bring it about.
fn provoke(cause: &str, gateway: &Gateway, store: &Faulty, gate: &Gate) -> Option<Provoked> {
    let get = |tail: &str| object(gateway, tail, &[]);
    let held = |headers: &[(&str, &str)]| -> Client {
        store.clear();
        let mut client = gateway.connect();
        client.request("GET", "/s3proxy/s3/sky/held.png", headers);
        store.await_requests(1);
        client
    };
    let provoked = match cause {
        "address_invalid" => get("a@b@sky/a.png"),
        "request_body" => raw(gateway, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"),
        "host_missing" => raw(gateway, "GET / HTTP/1.1\r\n\r\n"),
        "host_invalid" => raw(gateway, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        "request_target" => raw(gateway, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        "request_malformed" => raw(gateway, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        "request_line" => raw(gateway, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        "tls_required" => {
            let edge = crate::tls_port::Edge::new();
            let _gateway = edge.setup(Setup::new(&store.url())).start();
            Provoked::by(&Client::connect(edge.address).exchange("GET", "/", &[]))
        }
        "headers_too_slow" => raw(gateway, "GET / HTTP/1.1\r\nHost: a\r\nX: "),
        "headers_too_large" => {
            raw(gateway, &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(5000)))
        }
        "bucket_not_allowed" => get("listed@land/a.png"),
        "route_unknown" => raw(gateway, "GET /other HTTP/1.1\r\nHost: a\r\n\r\n"),
        "profile_unknown" => get("nobody@sky/a.png"),
        "method_not_allowed" => raw(gateway, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        "object_not_found" => get("sky/missing.png"),
        "precondition_failed" => object(gateway, "sky/a.png", &[("If-Match", "\"x\", \"y\"")]),
        "media_type_denied" => get("sky/a.exe"),
        "range_not_satisfiable" => object(gateway, "sky/r.png", &[("Range", "bytes=100-")]),
        "user_missing" => {
            let setup = Setup::new(&store.url()).env("S3PROXY_REQUIRE_USER", "true");
            object(&setup.start(), "sky/a.png", &[])
        }
        "user_saturated" => {
            let user = [("X-Auth-Request-User", "someone")];
            let _held = held(&user);
            let refused = object(gateway, "sky/other.png", &user);
            gate.open();
            refused
        }
        "upstream_saturated" => {
            let _held = held(&[("X-Auth-Request-User", "one")]);
            let refused = object(gateway, "sky/another.png", &[("X-Auth-Request-User", "two")]);
            gate.open();
            refused
        }
        "connections_full" => {
            // Connections that wait for a request make room; these are in the middle of the next one.
            let mut others = Vec::new();
            let answer = loop {
                let mut client = gateway.connect();
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n");
                let answer = client.answer("GET").expect("an answer");
                if answer.status() != 200 || others.len() > 20 {
                    break answer;
                }
                others.push(client);
            };
            Provoked::by(&answer)
        }
        "credentials_missing" => get("keyless@sky/a.png"),
        "archive_damaged" => get("archives@sky/x.zip/a.png"),
        "archive_unsupported" => get("archives@sky/packed.zip/a.png"),
        "archive_not_cached" => get("archives@sky/nostore.zip/a.png"),
        "upstream_forbidden" => get("sky/forbidden.png"),
        "listing_denied" => get("folders@forbidden/"),
        "upstream_busy" => get("sky/busy.png"),
        "upstream_redirect" => get("sky/redirect.png"),
        "upstream_error" => get("sky/error.png"),
        "upstream_protocol" => get("sky/protocol.png"),
        "upstream_reset" => get("sky/reset.png"),
        "upstream_timeout" => get("sky/stall.png"),
        "upstream_proxy" => get("proxied@sky/a.png"),
        "upstream_unreachable" => get("down@sky/a.png"),
        "upstream_unresolved" => get("nowhere@sky/a.png"),
        "upstream_cut" => {
            let answer = gateway.object("sky/cut.png");
            Provoked::in_log(gateway, answer.request_id())
        }
        "client_gone" => {
            let head =
                "GET /s3proxy/s3/sky/stall2.png HTTP/1.1\r\nHost: a\r\nX-Request-ID: gone\r\n\r\n";
            runtime().block_on(async {
                let stream = tokio::net::TcpStream::connect(gateway.address).await;
                let mut stream = stream.expect("accepted");
                stream.write_all(head.as_bytes()).await.expect("written");
                store.await_requests(1);
                stream.set_zero_linger().expect("a reset when dropped");
            });
            Provoked::in_log(gateway, "gone")
        }
        _ => return None,
    };
    Some(provoked)
}

#[test]
fn every_documented_cause_can_happen() {
    let rows = [documented("docs/http.md"), documented("docs/logs.md")].concat();
    assert!(rows.len() > 30, "the tables were found: {rows:?}");
    let closing = closing();
    assert!(closing.len() > 5, "the list was found: {closing:?}");
    let mut wrong = Vec::new();
    for memory in ROADS {
        for (status, cause) in rows.iter().filter(|(_, cause)| cause != OF_NO_KNOWN_REQUEST) {
            // The rest is decided before the cache.
            let by_store = ["upstream_", "object_", "range_", "precondition_", "archive_"];
            if memory == "0" && cause.starts_with("archive_") {
                continue;
            }
            if memory != "0" && !by_store.iter().any(|start| cause.starts_with(start)) {
                continue;
            }
            // Each has its own gateway: what one leaves behind is no part of another.
            let gate = Gate::new();
            let store = store(&gate);
            let (gateway, admin) = gateway(&store, memory);
            let provoked = provoke(cause, &gateway, &store, &gate);
            // Where Pingora ends a request that bypasses the cache, it ends the connection.
            let by_pingora = memory == "0" && cause.starts_with("upstream_");
            if let Some(closes) = provoked.as_ref().and_then(|provoked| provoked.closes)
                && closes != closing.contains(cause)
                && !by_pingora
            {
                wrong.push(format!("memory {memory}: after {cause} it closes: {closes}"));
            }
            match provoked {
                None => wrong.push(format!("{cause}: no way to make it happen is known")),
                Some(seen) if (seen.status, &seen.cause) != (*status, cause) => {
                    wrong.push(format!("memory {memory}: {cause} {status:?}: {seen:?}"));
                }
                // These had a gateway of their own.
                Some(_) if matches!(cause.as_str(), "user_missing" | "tls_required") => {}
                Some(_) => {
                    // It is counted when the request ends, a moment after its answer.
                    let counted = format!("s3proxy_refusals_total{{cause=\"{cause}\"}}");
                    let deadline = Instant::now() + PATIENCE;
                    while parse(admin.send("GET", "/metrics").text()).get(&counted) == Some(&0.0) {
                        if Instant::now() >= deadline {
                            wrong.push(format!("memory {memory}: {cause} is not counted"));
                            break;
                        }
                    }
                }
            }
            gate.open();
            drop(store);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A scrape has one series for each cause: the documented ones, and `other`.
#[test]
fn the_causes_of_the_metrics_are_the_documented_ones() {
    let rows = [documented("docs/http.md"), documented("docs/logs.md")].concat();
    let documented: BTreeSet<String> = rows.into_iter().map(|(_, cause)| cause).collect();
    let store = store(&Gate::new());
    let (setup, admin) = Admin::of(Setup::new(&store.url()));
    let _gateway = setup.start();
    let scraped = admin.send("GET", "/metrics").text().to_owned();
    let causes = |metric: &str| -> BTreeSet<String> {
        let lines = scraped.lines().filter(|line| line.starts_with(metric));
        let value = |line: &str| Some(line.split_once("cause=\"")?.1.split('"').next()?.to_owned());
        lines.filter_map(value).filter(|cause| cause != "other").collect()
    };
    assert_eq!(causes("s3proxy_refusals_total{"), documented);
    let upstream = documented.iter().filter(|cause| cause.starts_with("upstream_"));
    assert_eq!(causes("s3proxy_upstream_errors_total{"), upstream.cloned().collect());
}

/// The machine-readable description lacked 429 for objects, and 503 for pages.
#[test]
fn the_statuses_of_all_causes_are_in_the_openapi_document() {
    let store = store(&Gate::new());
    let gateway = Setup::new(&store.url()).start();
    let paths = gateway.get("/s3proxy/openapi.json").json()["paths"].clone();
    for (status, cause) in documented("docs/http.md") {
        let status = status.expect("a status").to_string();
        for method in ["get", "head"] {
            let described = &paths["/s3proxy/s3/{bucket}/{key}"][method]["responses"][&status];
            assert!(described.is_object(), "{method} {status} {cause}");
        }
        if matches!(status.as_str(), "429" | "503") {
            let object = &paths["/s3proxy/s3/{bucket}/{key}"]["get"]["responses"][&status];
            assert!(object["headers"]["Retry-After"].is_object(), "{status}");
        }
    }
    for path in ["/", "/s3proxy/", "/s3proxy/openapi.json"] {
        assert!(paths[path]["get"]["responses"]["503"].is_object(), "{path}");
    }
}
