//! Headers passed between client and store: an allow list in each direction, and no query.

use serde_json::json;

use crate::faulty::{self, Faulty};
use crate::gateway::Setup;

/// Everything a plain GET to the store may carry.
const PLAIN: &[&str] = &["authorization", "host", "x-amz-content-sha256", "x-amz-date"];

/// Request headers that the gateway must not pass on.
const HOSTILE_REQUEST: &[(&str, &str)] = &[
    ("Accept", "image/png"),
    ("Accept-Charset", "utf-7"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en"),
    ("Authorization", "Bearer of-the-client"),
    ("Cache-Control", "no-cache"),
    ("CF-Connecting-IP", "192.0.2.1"),
    ("Content-Type", "text/html"),
    ("Cookie", "session=of-the-client"),
    ("Date", "Tue, 01 Jan 2030 00:00:00 GMT"),
    ("DNT", "1"),
    ("Forwarded", "for=192.0.2.1;host=evil.test"),
    ("From", "a@example.org"),
    ("Max-Forwards", "1"),
    ("Origin", "https://evil.test"),
    ("Pragma", "no-cache"),
    ("Prefer", "return=minimal"),
    ("Priority", "u=1"),
    ("Proxy-Authorization", "Basic YTpi"),
    ("Referer", "https://evil.test/"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-WebSocket-Key", "x"),
    ("Traceparent", "00-0-0-00"),
    ("User-Agent", "client/1.0"),
    ("Via", "1.1 somewhere"),
    ("X-Amz-Acl", "public-read-write"),
    ("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
    ("X-Amz-Copy-Source", "/sky/secret.pem"),
    ("X-Amz-Date", "20300101T000000Z"),
    ("X-Amz-Security-Token", "of-the-client"),
    ("X-Amz-Server-Side-Encryption-Customer-Key", "x"),
    ("X-Amz-Expected-Bucket-Owner", "1"),
    ("X-Amz-Request-Payer", "requester"),
    ("X-Amz-Checksum-Mode", "ENABLED"),
    ("X-Auth-Request-User", "ada"),
    ("X-Auth-Request-Email", "ada@example.org"),
    ("X-Auth-Request-Token", "gt-token-of-ada"),
    ("X-Forwarded-For", "192.0.2.1"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Port", "1"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Scheme", "https"),
    ("X-HTTP-Method", "DELETE"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Method-Override", "DELETE"),
    ("X-Original-URL", "/sky/secret.pem"),
    ("X-Original-URI", "/sky/secret.pem"),
    ("X-Real-IP", "192.0.2.1"),
    ("X-Request-ID", "of-the-client"),
    ("X-Rewrite-URL", "/sky/secret.pem"),
    ("X-Host", "evil.test"),
    ("X-Custom", "y"),
    ("X-Trace-Id", "t"),
    ("Keep-Alive", "timeout=1"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("Trailer", "Authorization"),
    ("Warning", "199 - x"),
    ("X-Padding", "................................................................"),
];

#[test]
fn nothing_of_the_clients_headers_reaches_the_store() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for (name, value) in HOSTILE_REQUEST {
        spy.clear();
        let answer = gateway.object_with("sky/a.png", &[(name, value)]);
        assert_eq!(answer.status(), 200, "{name}");
        let request = spy.only();
        assert_eq!(request.names(), PLAIN, "{name}: {request:?}");
        let sent = request.headers.iter().any(|(_, v)| v == value);
        assert!(!sent, "{name}: {request:?}");
    }
    spy.clear();
    assert_eq!(gateway.object_with("sky/a.png", HOSTILE_REQUEST).status(), 200);
    assert_eq!(spy.only().names(), PLAIN);
    assert_eq!(spy.stray(), b"");
}

#[test]
fn a_header_named_by_connection_cannot_unsign_a_request() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for listed in ["authorization", "x-amz-date", "host", "x-amz-content-sha256", "range", "*"] {
        spy.clear();
        let mut client = gateway.connect();
        client.request("GET", "/s3proxy/s3/sky/a.png", &[("Connection", listed)]);
        if client.answer("GET").is_some_and(|answer| answer.status() == 200) {
            assert_eq!(spy.only().names(), PLAIN, "{listed}");
        }
    }
}

#[test]
fn only_the_range_is_added_for_a_client_that_asks_for_one() {
    let spy = Faulty::scripted(|_, _| {
        let mut headers = faulty::OBJECT_HEADERS.to_vec();
        headers.push(("Content-Range", "bytes 0-3/10"));
        faulty::answer(206, &headers, b"tile")
    });
    let gateway = Setup::new(&spy.url()).start();
    let answer = gateway.object_with("sky/a.png", &[("Range", "bytes=0-3")]);
    assert_eq!((answer.status(), answer.text()), (206, "tile"));
    for request in spy.requests() {
        let extra: Vec<_> = request.names().into_iter().filter(|n| !PLAIN.contains(n)).collect();
        let allowed = ["range", "if-match", "if-range", "if-unmodified-since"];
        assert!(extra.iter().all(|n| allowed.contains(n)), "{request:?}");
    }
}

#[test]
fn the_query_is_ignored_and_never_sent_on() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let mut asked = 0;
    for query in [
        "list-type=2",
        "acl",
        "policy",
        "uploads",
        "uploadId=1",
        "torrent",
        "versions",
        "versionId=1",
        "versioning",
        "location",
        "tagging",
        "cors",
        "lifecycle",
        "logging",
        "notification",
        "website",
        "replication",
        "encryption",
        "object-lock",
        "retention",
        "legal-hold",
        "select&select-type=2",
        "restore",
        "delete",
        "attributes",
        "partNumber=1",
        "response-content-type=text/html",
        "response-content-disposition=attachment",
        "response-cache-control=no-store",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=x",
        "X-Amz-Credential=x",
        "AWSAccessKeyId=x&Signature=y&Expires=9999999999",
        "x-id=GetObject",
        "",
        "?",
        "a=b#c",
        "%00",
        "%zz",
        "x=/../..",
        "x=\u{e9}",
    ] {
        let answer = gateway.object(&format!("sky/a.png?{query}"));
        if answer.status() == 200 {
            asked += 1;
            assert_eq!(answer.header("content-type"), Some("image/png"), "{query}");
        }
    }
    assert!(asked > 35, "only {asked} queries were ignored");
    assert_eq!(spy.count(), asked);
    for request in spy.requests() {
        assert_eq!(request.target, "/sky/a.png");
        assert_eq!(request.names(), PLAIN);
    }
}

/// Response headers of a store that the gateway must not pass on.
const HOSTILE_ANSWER: &[(&str, &str)] = &[
    ("Server", "store-software/1.2.3"),
    ("Set-Cookie", "session=of-the-store"),
    ("Set-Cookie", "second=of-the-store"),
    ("Location", "http://of-the-store.test/"),
    ("Content-Location", "/of-the-store"),
    ("Refresh", "0; url=http://of-the-store.test/"),
    ("Link", "<http://of-the-store.test/>; rel=preload"),
    ("Alt-Svc", "h3=\"of-the-store.test:443\""),
    ("Access-Control-Allow-Origin", "http://of-the-store.test"),
    ("Access-Control-Allow-Credentials", "of-the-store"),
    ("Access-Control-Expose-Headers", "x-of-the-store"),
    ("Cache-Control", "public, max-age=12345"),
    ("Expires", "Wed, 01 Jul 2037 10:00:00 GMT"),
    ("Pragma", "of-the-store"),
    ("Age", "987654321"),
    ("Vary", "x-of-the-store"),
    ("Via", "1.1 of-the-store"),
    ("Warning", "199 of-the-store"),
    ("Content-Security-Policy", "default-src of-the-store"),
    ("Strict-Transport-Security", "max-age=12345"),
    ("X-Frame-Options", "of-the-store"),
    ("X-Content-Type-Options", "of-the-store"),
    ("X-Request-ID", "of-the-store"),
    ("WWW-Authenticate", "Basic realm=of-the-store"),
    ("Proxy-Authenticate", "Basic realm=of-the-store"),
    ("Clear-Site-Data", "\"of-the-store\""),
    ("Service-Worker-Allowed", "/of-the-store"),
    ("SourceMap", "/of-the-store"),
    ("X-Accel-Redirect", "/of-the-store"),
    ("X-Sendfile", "/of-the-store"),
    ("Surrogate-Control", "of-the-store"),
    ("NEL", "of-the-store"),
    ("Report-To", "of-the-store"),
    ("x-amz-request-id", "tx-of-the-store"),
    ("x-amz-id-2", "of-the-store"),
    ("x-amz-meta-owner", "of-the-store"),
    ("x-amz-version-id", "of-the-store"),
    ("x-amz-server-side-encryption", "of-the-store"),
    ("x-amz-storage-class", "of-the-store"),
    ("x-amz-website-redirect-location", "http://of-the-store.test/"),
    ("x-rgw-object-type", "of-the-store"),
    ("x-amz-expiration", "of-the-store"),
];

/// Everything an answer with an object may carry here.
const OBJECT_ANSWER: &[&str] = &[
    "accept-ranges",
    "connection",
    "content-length",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "x-content-type-options",
    "x-request-id",
];

#[test]
fn nothing_of_the_stores_headers_reaches_the_client_but_the_listed_ones() {
    let mut headers = faulty::OBJECT_HEADERS.to_vec();
    headers.extend_from_slice(HOSTILE_ANSWER);
    let range = [headers.as_slice(), &[("Content-Range", "bytes 0-3/10")]].concat();
    let upstream = Faulty::scripted(move |request, _| match request.header("range") {
        Some(_) => faulty::answer(206, &range, b"tile"),
        None => faulty::answer(200, &headers, b"tile"),
    });
    let gateway = Setup::new(&upstream.url()).start();
    for (method, headers, status) in [
        ("GET", &[][..], 200),
        ("HEAD", &[], 200),
        ("GET", &[("Range", "bytes=0-3")], 206),
        ("GET", &[("If-None-Match", "\"0123456789abcdef0123456789abcdef\"")], 304),
        ("GET", &[("If-Match", "\"other\"")], 412),
    ] {
        let answer = gateway.send(method, "/s3proxy/s3/sky/a.png", headers);
        assert_eq!(answer.status(), status, "{method} {headers:?}");
        let shown = format!("{:?}", answer.head);
        for trace in ["of-the-store", "2037", "store-software"] {
            assert!(!shown.contains(trace), "{method} {headers:?}: {trace} in {shown}");
        }
        // These are about the object, for every cache on the way.
        let lifetime = (answer.header("cache-control"), answer.header("age"));
        let of_the_object = (Some("public, max-age=12345"), Some("987654321"));
        let expected = if status == 412 { (None, None) } else { of_the_object };
        assert_eq!(lifetime, expected, "{method} {headers:?}");
        for name in answer.head.names() {
            let known = OBJECT_ANSWER.contains(&name.as_str())
                || ["content-range", "cache-status", "cache-control", "age"]
                    .contains(&name.as_str())
                // The body of a refusal is negotiated.
                || (status == 412 && name == "vary");
            assert!(known, "{method} {headers:?}: {name} in {shown}");
        }
    }
}

#[test]
fn nothing_of_the_stores_errors_reaches_the_client() {
    let upstream = Faulty::scripted(|request, _| {
        let status = request.target.trim_start_matches("/sky/").trim_end_matches(".png");
        let body = b"<Error><Code>AccessDenied</Code><StringToSign>of-the-store</StringToSign>\
            <HostId>of-the-store</HostId></Error>";
        let mut headers = HOSTILE_ANSWER.to_vec();
        headers.push(("Content-Type", "application/xml"));
        faulty::answer(status.parse().unwrap_or(200), &headers, body)
    });
    let gateway = Setup::new(&upstream.url()).tolerate("s3://sky/").start();
    for status in
        [301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 409, 411, 416, 429, 500, 501, 503]
    {
        for method in ["GET", "HEAD"] {
            let path = format!("/s3proxy/s3/sky/{status}.png");
            let answer = gateway.send(method, &path, &[]);
            assert!(answer.status() >= 400, "{method} {status}: {answer:?}");
            let shown = format!("{:?} {}", answer.head, answer.text());
            for trace in ["of-the-store", "max-age=12345", "987654321", "store-software", "<Error"]
            {
                assert!(!shown.contains(trace), "{method} {status}: {trace} in {shown}");
            }
            assert_eq!(answer.header("location"), None, "{method} {status}");
            assert_eq!(
                answer.header("content-type"),
                Some("application/json"),
                "{method} {status}"
            );
        }
    }
}

#[test]
fn a_profile_may_let_named_headers_pass() {
    let upstream = Faulty::always({
        let mut headers = faulty::OBJECT_HEADERS.to_vec();
        headers.extend_from_slice(HOSTILE_ANSWER);
        faulty::answer(200, &headers, b"tile")
    });
    let gateway = Setup::new(&upstream.url())
        .profile("open", &upstream.url())
        .profile_settings(
            "open",
            &json!({
                "request_headers": ["x-trace-*", "x-custom"],
                "response_headers": ["x-amz-meta-*", "x-amz-version-id"],
            }),
        )
        .start();
    let client = [("X-Trace-Id", "t"), ("X-Custom", "y"), ("X-Other", "z")];
    let answer = gateway.object_with("open@sky/a.png", &client);
    assert_eq!(answer.header("x-amz-meta-owner"), Some("of-the-store"));
    assert_eq!(answer.header("x-amz-version-id"), Some("of-the-store"));
    assert_eq!(answer.header("x-amz-id-2"), None);
    assert_eq!(answer.header("set-cookie"), None);
    let request = upstream.only();
    assert_eq!(request.header("x-trace-id"), Some("t"));
    assert_eq!(request.header("x-custom"), Some("y"));
    assert_eq!(request.header("x-other"), None);
    assert!(!request.signed_headers().contains(&"x-trace-id"), "passed on, not signed");
    let answer = gateway.object_with("sky/a.png", &client);
    assert_eq!(answer.header("x-amz-meta-owner"), None, "other profiles stay closed");
    assert_eq!(upstream.requests().last().expect("two").names(), PLAIN);
}

#[test]
fn request_ids_are_accepted_if_valid_and_generated_otherwise() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for id in ["abc", "0b8a1c2d-7e6f-4a5b-9c8d-0e1f2a3b4c5d", "A_b.c-9"] {
        for path in ["/s3proxy/s3/sky/a.png", "/", "/foo", "/s3proxy/s3/sky/a.exe"] {
            let answer = gateway.send("GET", path, &[("X-Request-ID", id)]);
            assert_eq!(answer.request_id(), id, "{path}");
        }
    }
    let long = "x".repeat(1000);
    for id in ["", " ", "a b", "a\"b", "<script>", "a\u{e9}", "{}", long.as_str()] {
        let answer = gateway.send("GET", "/s3proxy/s3/sky/a.png", &[("X-Request-ID", id)]);
        assert_ne!(answer.request_id(), id);
        assert!(answer.request_id().len() >= 16, "{id:?}: {}", answer.request_id());
    }
    let made: Vec<_> = (0..3).map(|_| gateway.get("/foo").request_id().to_owned()).collect();
    assert!(made[0] != made[1] && made[1] != made[2], "{made:?}");
}
