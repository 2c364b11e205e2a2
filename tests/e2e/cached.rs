//! The cache as seen by clients and the store: one request to the store, then answers from memory.

use std::time::{Duration, SystemTime};

use crate::client::Ending;
use crate::faulty::{self, Faulty, Recorded, Step};
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;
use crate::tally::trials;

/// A gateway with a cache of its own.
pub(crate) fn with_cache(store: &str) -> Setup {
    Setup::new(store).env("S3PROXY_CACHE_MEMORY", "64MiB")
}

/// The `Cache-Status` of an answer.
pub(crate) fn status(answer: &crate::client::Answer) -> &str {
    answer.header("cache-status").unwrap_or("none")
}

#[test]
fn a_tile_is_asked_of_the_store_once() {
    let origin = Origin::start();
    let etag = origin.put("a.png", "a tile of the sky");
    let gateway = with_cache(&origin.url()).start();
    let first = gateway.object("sky/a.png");
    assert_eq!((first.status(), first.text()), (200, "a tile of the sky"));
    assert_eq!(status(&first), "s3proxy; fwd=miss; fwd-status=200; ttl=300; stored");
    assert_eq!(first.header("age"), None);
    for _ in 0..3 {
        let answer = gateway.object("sky/a.png");
        assert_eq!((answer.status(), answer.text()), (200, "a tile of the sky"));
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
        assert_eq!(answer.header("content-type"), Some("image/png"));
        assert_eq!(answer.header("content-length"), Some("17"));
        assert_eq!(answer.header("age"), Some("0"));
        assert!(status(&answer).starts_with("s3proxy; hit; ttl="), "{}", status(&answer));
    }
    assert_eq!(origin.count(), 1, "{:?}", origin.requests());
}

#[test]
fn an_object_in_memory_answers_heads_conditions_and_ranges() {
    let origin = Origin::start();
    let etag = origin.put("a.png", "0123456789");
    let gateway = with_cache(&origin.url()).start();
    let modified = gateway.object("sky/a.png").header("last-modified").map(str::to_owned);
    let modified = modified.expect("a date");
    let path = "/s3proxy/s3/sky/a.png";
    let list = format!("\"x\", W/{etag}");
    for (method, headers, expected, body) in [
        ("HEAD", &[][..], 200, ""),
        ("GET", &[("if-none-match", etag.as_str())], 304, ""),
        ("GET", &[("if-none-match", list.as_str())], 304, ""),
        ("HEAD", &[("if-none-match", "*")], 304, ""),
        ("GET", &[("if-none-match", "\"x\"")], 200, "0123456789"),
        ("GET", &[("if-modified-since", modified.as_str())], 304, ""),
        ("GET", &[("if-match", "\"x\"")], 412, ""),
        ("HEAD", &[("if-match", "\"x\"")], 412, ""),
        ("GET", &[("range", "bytes=2-4")], 206, "234"),
        ("GET", &[("range", "bytes=-3")], 206, "789"),
        ("GET", &[("range", "bytes=8-")], 206, "89"),
        ("GET", &[("range", "bytes=10-")], 416, ""),
        ("GET", &[("range", "bytes=1-1,2-3")], 206, "123"),
        ("GET", &[("range", "bytes=2-4"), ("if-range", etag.as_str())], 206, "234"),
        ("GET", &[("range", "bytes=2-4"), ("if-range", "\"x\"")], 200, "0123456789"),
    ] {
        let answer = gateway.send(method, path, headers);
        assert_eq!(answer.status(), expected, "{method} {headers:?}");
        if matches!(expected, 412 | 416) && method == "GET" {
            assert!(answer.json()["message"].is_string(), "{method} {headers:?}: {answer:?}");
        } else {
            assert_eq!(answer.text(), body, "{method} {headers:?}");
        }
        assert_eq!(answer.ending, Ending::Whole, "{method} {headers:?}");
        assert!(status(&answer).starts_with("s3proxy; hit"), "{}", status(&answer));
        if expected == 206 || expected == 416 {
            assert!(answer.header("content-range").is_some(), "{method} {headers:?}");
        }
    }
    let parts = gateway.send("GET", path, &[("range", "bytes=0-1,5-6")]);
    assert_eq!(parts.status(), 206);
    let kind = parts.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("multipart/byteranges; boundary="), "{kind}");
    for part in
        ["Content-Range: bytes 0-1/10\r\n\r\n01\r\n", "Content-Range: bytes 5-6/10\r\n\r\n56"]
    {
        assert!(parts.text().contains(part), "{}", parts.text());
    }
    assert_eq!(origin.count(), 1, "{:?}", origin.requests());
}

#[test]
fn a_missing_tile_is_asked_for_once() {
    let origin = Origin::start();
    let gateway = with_cache(&origin.url()).start();
    let first = gateway.object("sky/no.png");
    assert_eq!(first.status(), 404);
    assert_eq!(status(&first), "s3proxy; fwd=miss; fwd-status=404; ttl=60; stored");
    let again = gateway.object("sky/no.png");
    let message = again.refused("object_not_found", "message");
    assert_eq!((again.status(), message), (404, first.json()["message"].clone()));
    assert!(status(&again).starts_with("s3proxy; hit; ttl="), "{}", status(&again));
    assert_eq!(gateway.send("HEAD", "/s3proxy/s3/sky/no.png", &[]).status(), 404);
    assert_eq!(origin.count(), 1, "{:?}", origin.requests());
}

#[test]
fn a_crowd_costs_the_store_one_request() {
    const CROWD: usize = 500;
    let gate = faulty::Gate::new();
    let held = gate.clone();
    let body = vec![7_u8; 300_000];
    let expected = body.clone();
    let store = Faulty::scripted(move |_: &Recorded, _| {
        let mut steps = vec![Step::Wait(held.clone())];
        steps.extend(faulty::object(&body));
        steps
    });
    let gateway: Gateway = with_cache(&store.url()).start();
    let _trials = trials("clients of a herd", CROWD);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| gateway.connect()).collect();
    for client in &mut crowd {
        client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    }
    store.await_requests(1);
    gate.open();
    let mut collapsed = 0;
    for client in &mut crowd {
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(answer.body == expected, "{} bytes", answer.body.len());
        collapsed += usize::from(status(&answer).contains("collapsed"));
    }
    assert_eq!(store.count(), 1, "one GET reached the store");
    assert!(collapsed > 0);
}

/// Freshness is derived from `Age`: the store's own date would be mistaken for that of this answer.
#[test]
fn the_date_is_that_of_the_answer_and_not_the_stores() {
    let headers = [("ETag", "\"a\""), ("Date", "Tue, 01 Jul 2025 12:00:00 GMT")];
    let store = Faulty::always(faulty::answer(200, &headers, b"tile"));
    let gateway = with_cache(&store.url()).start();
    for did in ["fwd=miss", "hit"] {
        let answer = gateway.object("sky/a.png");
        assert!(status(&answer).contains(did), "{}", status(&answer));
        let date = answer.header("date").map(httpdate::parse_http_date);
        let date = date.expect("a date").expect("an HTTP date");
        #[expect(
            clippy::disallowed_methods,
            reason = "the answer's date is compared with the clock"
        )]
        let now = SystemTime::now();
        let apart = now.duration_since(date).or_else(|_| date.duration_since(now));
        assert!(apart.is_ok_and(|apart| apart < Duration::from_secs(60)), "{did}: {date:?}");
    }
    assert_eq!(store.count(), 1);
}
