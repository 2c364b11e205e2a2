//! Ranges and conditions, as RGW and as AWS handle them.

use std::time::{Duration, SystemTime};

use crate::client::{Ask, get, start};
use crate::store::{Manners, Object, Store};

const MODIFIED: &str = "Tue, 01 Jul 2025 12:00:00 GMT";
const LATER: &str = "Wed, 02 Jul 2025 12:00:00 GMT";
const EARLIER: &str = "Mon, 30 Jun 2025 12:00:00 GMT";
/// MD5 of `0123456789`.
const ETAG: &str = "\"781e5e245d69b566979b86e28d23f2c7\"";

fn digits() -> Store {
    let store = Store::new();
    let object = Object::new("0123456789").typed("image/png");
    assert_eq!(store.put("sky", "o.png", object), ETAG);
    store.put("sky", "empty.png", Object::new(""));
    store
}

#[tokio::test]
async fn an_object_comes_with_all_its_stored_metadata() {
    let store = Store::new();
    let mut object = Object::new("0123456789").typed("image/png");
    object.cache_control = Some("max-age=60".to_owned());
    object.content_encoding = Some("gzip".to_owned());
    object.content_disposition = Some("attachment; filename=\"é.png\"".to_owned());
    object.metadata.push(("band".to_owned(), "r".to_owned()));
    object.last_modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    store.put("sky", "o.png", object);
    let manners = Manners {
        extra_headers: vec![(
            http::HeaderName::from_static("set-cookie"),
            http::HeaderValue::from_static("a=b"),
        )],
        ..Manners::rgw()
    };
    let serving = start(&store, manners).await;
    for method in ["GET", "HEAD"] {
        let answer = Ask { method, ..get("/sky/o.png") }.send(&serving).await;
        assert_eq!(answer.status, 200);
        for (name, value) in [
            ("content-length", "10"),
            ("content-type", "image/png"),
            ("etag", ETAG),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("accept-ranges", "bytes"),
            ("cache-control", "max-age=60"),
            ("content-encoding", "gzip"),
            ("content-disposition", "attachment; filename=\"é.png\""),
            ("x-amz-meta-band", "r"),
            ("set-cookie", "a=b"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {name}");
        }
        assert!(answer.header("x-amz-request-id").is_some_and(|id| id.starts_with("tx0")));
        assert_eq!(answer.text(), if method == "GET" { "0123456789" } else { "" });
    }
}

#[tokio::test]
async fn ranges() {
    let serving = start(&digits(), Manners::rgw()).await;
    let cases = [
        // header, then status, Content-Range and body of RGW, status and body of AWS
        ("bytes=2-4", (206, Some("bytes 2-4/10"), "234"), (206, "234")),
        ("bytes=7-", (206, Some("bytes 7-9/10"), "789"), (206, "789")),
        ("bytes=-3", (206, Some("bytes 7-9/10"), "789"), (206, "789")),
        ("bytes=-30", (206, Some("bytes 0-9/10"), "0123456789"), (206, "0123456789")),
        ("bytes=8-99", (206, Some("bytes 8-9/10"), "89"), (206, "89")),
        ("bytes=10-", (416, None, "InvalidRange"), (416, "InvalidRange")),
        ("bytes=-0", (416, None, "InvalidRange"), (416, "InvalidRange")),
        ("bytes=0-1,5-6", (206, Some("bytes 0-1/10"), "01"), (200, "0123456789")),
        ("bytes=abc", (416, None, "InvalidRange"), (200, "0123456789")),
        ("bytes=9-0", (416, None, "InvalidRange"), (200, "0123456789")),
        ("lines=0-1", (416, None, "InvalidRange"), (200, "0123456789")),
    ];
    for (range, (status, content_range, body), _) in cases {
        let answer = get("/sky/o.png").with("range", range).send(&serving).await;
        assert_eq!(
            (answer.status, answer.header("content-range")),
            (status, content_range),
            "{range}"
        );
        assert!(answer.text().contains(body), "{range}: {}", answer.text());
    }
    let empty = get("/sky/empty.png").with("range", "bytes=0-").send(&serving).await;
    assert_eq!(empty.status, 416);

    let serving = start(&digits(), Manners::aws()).await;
    for (range, _, (status, body)) in cases {
        let answer = get("/sky/o.png").with("range", range).send(&serving).await;
        assert_eq!(answer.status, status, "{range}");
        assert!(answer.text().contains(body), "{range}: {}", answer.text());
        if status == 416 {
            assert_eq!(answer.header("content-range"), Some("bytes */10"), "{range}");
        }
    }
}

/// Headers, the status of RGW and that of AWS.
type Case<'a> = (&'a [(&'a str, &'a str)], u16, u16);

#[tokio::test]
async fn conditions() {
    let rgw = start(&digits(), Manners::rgw()).await;
    let aws = start(&digits(), Manners::aws()).await;
    let unquoted = ETAG.trim_matches('"');
    let list = format!("\"x\", {ETAG}");
    let weak = format!("W/{ETAG}");
    let cases: &[Case<'_>] = &[
        (&[("if-none-match", ETAG)], 304, 304),
        (&[("if-none-match", "\"x\"")], 200, 200),
        (&[("if-none-match", unquoted)], 304, 200),
        (&[("if-none-match", &list)], 200, 304),
        (&[("if-none-match", &weak)], 200, 304),
        (&[("if-none-match", "*")], 200, 304),
        (&[("if-none-match", ETAG), ("range", "bytes=0-1")], 304, 304),
        (&[("if-none-match", "\"x\""), ("if-modified-since", LATER)], 200, 200),
        (&[("if-modified-since", MODIFIED)], 304, 304),
        (&[("if-modified-since", LATER)], 304, 304),
        (&[("if-modified-since", EARLIER)], 200, 200),
        (&[("if-modified-since", "yesterday")], 200, 200),
        (&[("if-match", ETAG)], 200, 200),
        (&[("if-match", "\"x\"")], 412, 412),
        (&[("if-match", "*")], 412, 200),
        (&[("if-match", &weak)], 412, 412),
        (&[("if-unmodified-since", MODIFIED)], 200, 200),
        (&[("if-unmodified-since", EARLIER)], 412, 412),
        (&[("if-match", ETAG), ("if-unmodified-since", EARLIER)], 200, 200),
        (&[("range", "bytes=0-1"), ("if-range", ETAG)], 206, 206),
        (&[("range", "bytes=0-1"), ("if-range", "\"x\"")], 206, 200),
        (&[("range", "bytes=0-1"), ("if-range", &weak)], 206, 200),
        (&[("range", "bytes=0-1"), ("if-range", MODIFIED)], 206, 206),
        (&[("range", "bytes=0-1"), ("if-range", LATER)], 206, 200),
    ];
    for (headers, rgw_status, aws_status) in cases {
        for (name, serving, status) in [("rgw", &rgw, rgw_status), ("aws", &aws, aws_status)] {
            let ask = Ask { headers: headers.to_vec(), ..get("/sky/o.png") };
            let answer = ask.send(serving).await;
            assert_eq!(answer.status, *status, "{name} {headers:?}");
            if answer.status == 304 {
                assert_eq!(answer.header("etag").is_some(), name == "aws", "{name} {headers:?}");
                assert_eq!(answer.header("last-modified").is_some(), name == "aws");
                assert_eq!(answer.text(), "");
            }
        }
    }
}
