//! A client or a bad answer never corrupts the answers that other clients get.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::cached::{status, with_cache};
use crate::client::{Answer, Ending};
use crate::faulty::{self, Faulty, OBJECT_HEADERS, Step, head};

/// The headers of an answer that must not depend on earlier clients.
fn lasting(answer: &Answer) -> Vec<(String, String)> {
    let passing = ["date", "age", "x-request-id", "cache-status", "connection"];
    let headers = answer.head.headers.iter();
    let mut lasting: Vec<(String, String)> = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !passing.contains(&name.as_str()))
        .collect();
    lasting.sort();
    lasting
}

#[test]
fn no_header_of_one_client_changes_what_the_next_one_gets() {
    let long = "x".repeat(6000);
    let many =
        format!("bytes={}", (0..200).map(|i| format!("{}-{},", i * 9, i * 9)).collect::<String>());
    let hostile: &[(&str, &str)] = &[
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Forwarded-Scheme", "nothttps"),
        ("X-Forwarded-Server", "evil.example"),
        ("X-Host", "evil.example"),
        ("X-Original-URL", "/s3proxy/s3/sky/evil.png"),
        ("X-Rewrite-URL", "/s3proxy/s3/sky/evil.png"),
        ("X-Real-IP", "10.0.0.1"),
        ("Forwarded", "host=evil.example;proto=https"),
        ("Via", "1.1 evil"),
        ("Accept-Encoding", "gzip, br"),
        ("Accept-Encoding", "identity;q=0"),
        ("Accept", "text/html"),
        ("Accept-Language", "xx"),
        ("Accept-Charset", "utf-7"),
        ("TE", "trailers"),
        ("Range", "bytes=0-0"),
        ("Range", "bytes=-1"),
        ("Range", "bytes=3-"),
        ("Range", "bytes=0-1,4-5"),
        ("Range", "bytes=99999-"),
        ("Range", "bytes=5-2"),
        ("Range", "pages=1-2"),
        ("Range", "bytes=-0"),
        ("Range", &many),
        ("If-Range", "\"x\""),
        ("If-Match", "\"x\""),
        ("If-Match", "*"),
        ("If-None-Match", "*"),
        ("If-None-Match", "\"0123456789abcdef0123456789abcdef\""),
        ("If-Modified-Since", "Wed, 01 Jul 2026 10:00:00 GMT"),
        ("If-Modified-Since", "never"),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Cookie", "session=evil"),
        ("Authorization", "Bearer evil"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=evil"),
        ("X-Auth-Request-User", "evil"),
        ("Origin", "https://evil.example"),
        ("Origin", "https://portal.example.org"),
        ("Origin", "null"),
        ("Referer", "https://evil.example/"),
        ("User-Agent", ""),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "PUT"),
        ("X-Method-Override", "POST"),
        ("Cache-Control", "no-store"),
        ("Cache-Control", "no-cache"),
        ("Cache-Control", "only-if-cached"),
        ("Cache-Control", "max-age=0"),
        ("Pragma", "no-cache"),
        ("X-Amz-Content-Sha256", "evil"),
        ("X-Amz-Date", "20000101T000000Z"),
        ("X-Amz-Security-Token", "evil"),
        ("X-Amz-Request-Payer", "requester"),
        ("X-Amz-Server-Side-Encryption-Customer-Key", "evil"),
        ("X-Amz-Expected-Bucket-Owner", "1"),
        ("Expect", "100-continue"),
        ("Content-Length", "0"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Max-Forwards", "0"),
        ("X-Request-ID", "evil"),
        ("X-Long", &long),
        ("X-Odd\u{7f}", "evil"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "evil.example"),
    ];
    assert!(hostile.len() >= 60);
    let store = Faulty::scripted(|request, _| faulty::object(request.target.repeat(20).as_bytes()));
    let cors = json!({"cors": {"origins": ["https://portal.example.org"]}});
    let gateway = with_cache(&store.url()).yaml(cors).start();
    // The object of a key that only regular clients requested, as long as the others.
    gateway.object("sky/h999.png");
    let clean = gateway.object("sky/h999.png");
    for (nth, (name, value)) in hostile.iter().enumerate() {
        let what = format!("{name}: {}", value.get(..40).unwrap_or(value));
        let target = format!("/sky/h{nth:03}.png");
        let path = format!("/s3proxy/s3{target}");
        for method in ["GET", "HEAD"] {
            let mut evil = gateway.connect();
            evil.request(method, &path, &[(name, value), ("Connection", "close")]);
            if let Some(answer) = evil.answer(method) {
                assert_ne!(answer.ending, Ending::Cut, "{what}");
            }
        }
        for _ in 0..2 {
            let next = gateway.get(&path);
            assert_eq!((next.status(), next.ending), (200, Ending::Whole), "{what}");
            assert_eq!(next.text(), target.repeat(20), "{what}");
            assert_eq!(lasting(&next), lasting(&clean), "{what}");
        }
        let again = gateway.get(&path);
        assert!(status(&again).starts_with("s3proxy; hit"), "{what}: {}", status(&again));
    }
    assert!(
        !store.requests().iter().any(|request| request.method != "GET" && request.method != "HEAD")
    );
}

#[test]
fn answers_that_are_not_objects_are_never_cached() {
    let object: fn(u16) -> Vec<Step> = |status| faulty::answer(status, &OBJECT_HEADERS, b"poison");
    let part = || {
        let headers = [&OBJECT_HEADERS[..], &[("Content-Range", "bytes 0-5/6")]].concat();
        faulty::answer(206, &headers, b"poison")
    };
    let mut answers: Vec<(String, Vec<Step>)> = Vec::new();
    for status in [300, 301, 302, 303, 307, 308] {
        let location = [("Location", "http://127.0.0.1:1/evil")];
        answers.push((status.to_string(), faulty::answer(status, &location, b"poison")));
    }
    for status in
        [400, 401, 402, 403, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 429, 431]
    {
        answers.push((status.to_string(), faulty::s3_error(status, "Poison")));
    }
    for status in [500, 501, 502, 503, 504, 505, 507, 520] {
        answers.push((status.to_string(), faulty::s3_error(status, "Poison")));
    }
    for status in [201, 202, 203, 226] {
        answers.push((status.to_string(), object(status)));
    }
    answers.push(("204".to_owned(), vec![head(204, &OBJECT_HEADERS)]));
    answers.push(("206 without a range request".to_owned(), part()));
    answers.push(("304 without a condition".to_owned(), vec![head(304, &OBJECT_HEADERS)]));
    answers.push(("no HTTP".to_owned(), vec![Step::Send(b"poison\r\n\r\n".to_vec()), Step::Close]));
    for (what, steps) in answers {
        let well = Arc::new(AtomicBool::new(false));
        let healed = Arc::clone(&well);
        let store = Faulty::scripted(move |_, _| {
            if healed.load(Ordering::SeqCst) { faulty::object(b"good") } else { steps.clone() }
        });
        let gateway = with_cache(&store.url()).tolerate("upstream_").start();
        for method in ["GET", "HEAD"] {
            let failed = gateway.send(method, "/s3proxy/s3/sky/a.png", &[]);
            assert_ne!(failed.status(), 200, "{what}: {failed:?}");
            assert!(!String::from_utf8_lossy(&failed.body).contains("oison"), "{what}: {failed:?}");
            assert!(!status(&failed).contains("stored"), "{what}: {}", status(&failed));
            assert_eq!(failed.header("location"), None, "{what}");
        }
        well.store(true, Ordering::SeqCst);
        let next = gateway.object("sky/a.png");
        assert_eq!((next.status(), next.text()), (200, "good"), "{what}");
        assert!(status(&next).starts_with("s3proxy; fwd=miss"), "{what}: {}", status(&next));
    }
}

#[test]
fn refusals_by_the_gateway_are_never_cached() {
    let store = Faulty::always(faulty::object(b"good"));
    let gateway = with_cache(&store.url()).start();
    for (what, request, expected) in [
        (
            "a body",
            "GET /s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nevil",
            400,
        ),
        ("no host", "GET /s3proxy/s3/sky/a.png HTTP/1.1\r\n\r\n", 400),
        ("method", "DELETE /s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        ("type", "GET /s3proxy/s3/sky/a.exe HTTP/1.1\r\nHost: h\r\n\r\n", 415),
    ] {
        let mut client = gateway.connect();
        client.send(request);
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.status(), expected, "{what}");
        assert_eq!(answer.header("cache-status"), None, "{what}: no object was looked for");
    }
    assert_eq!(store.count(), 0);
    for expected_status in ["s3proxy; fwd=miss", "s3proxy; hit"] {
        let answer = gateway.object("sky/a.png");
        assert_eq!((answer.status(), answer.text()), (200, "good"));
        assert!(status(&answer).starts_with(expected_status), "{}", status(&answer));
    }
}

#[test]
fn unusual_headers_of_the_store_are_not_cached() {
    let odd = [
        "Set-Cookie",
        "Set-Cookie2",
        "Location",
        "Content-Location",
        "Refresh",
        "Link",
        "Alt-Svc",
        "Access-Control-Allow-Origin",
        "Access-Control-Allow-Credentials",
        "Vary",
        "Via",
        "Server",
        "Strict-Transport-Security",
        "Public-Key-Pins",
        "WWW-Authenticate",
        "Proxy-Authenticate",
        "X-Accel-Redirect",
        "X-Accel-Expires",
        "X-Sendfile",
        "X-Powered-By",
        "X-Frame-Options",
        "X-XSS-Protection",
        "X-Amz-Request-Id",
        "X-Amz-Id-2",
        "X-Amz-Meta-Secret",
        "X-Amz-Version-Id",
        "X-Amz-Server-Side-Encryption",
        "X-Amz-Storage-Class",
        "X-Amz-Website-Redirect-Location",
        "X-Amz-Expiration",
        "X-Amz-Tagging-Count",
        "X-Rgw-Object-Type",
        "X-Goog-Hash",
        "X-Ms-Blob-Type",
        "Content-MD5",
        "Content-Language",
        "Warning",
        "Pragma",
        "Surrogate-Control",
        "CDN-Cache-Control",
        "Clear-Site-Data",
        "Service-Worker-Allowed",
        "SourceMap",
        "NEL",
        "Report-To",
        "Timing-Allow-Origin",
        "Trailer",
        "Proxy-Connection",
    ];
    assert!(odd.len() >= 40);
    let store = Faulty::scripted(move |_, _| {
        let mut headers = OBJECT_HEADERS.to_vec();
        headers.extend(odd.map(|name| (name, "an odd value")));
        headers.extend([("Content-Encoding", "gzip"), ("Content-Disposition", "inline")]);
        faulty::answer(200, &headers, b"good")
    });
    let gateway = with_cache(&store.url()).start();
    let first = gateway.object("sky/a.png");
    for (method, headers) in [
        ("GET", &[][..]),
        ("HEAD", &[]),
        ("GET", &[("Range", "bytes=0-1")]),
        ("GET", &[("If-None-Match", "*")]),
    ] {
        let answer = gateway.send(method, "/s3proxy/s3/sky/a.png", headers);
        assert!(status(&answer).starts_with("s3proxy; hit"), "{}", status(&answer));
        for answer in [&first, &answer] {
            assert!(!format!("{:?}", answer.head).contains("an odd value"), "{:?}", answer.head);
            for name in odd {
                assert!(answer.head.all(name).is_empty(), "{name}: {:?}", answer.head);
            }
        }
    }
    let again = gateway.object("sky/a.png");
    assert_eq!(lasting(&again), lasting(&first));
    assert_eq!(again.header("content-encoding"), Some("gzip"));
    assert_eq!(again.header("content-disposition"), Some("inline"));
    assert_eq!(store.count(), 1);
}
