//! Plain answers: whole objects, empty and large ones, missing and forbidden ones.

use crate::{gateway::Gateway, rgw::Rgw};

#[test]
fn an_empty_object_is_an_empty_answer() {
    let Some(rgw) = Rgw::from_environment("empty") else { return };
    let gateway = Gateway::start(&rgw);
    rgw.put("empty.png", b"");
    for method in ["GET", "HEAD"] {
        let answer = gateway.ask(method, &gateway.path("empty.png"), &[]);
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.header("content-length"), Some("0"), "{method}");
        assert_eq!(answer.header("etag"), Some("\"d41d8cd98f00b204e9800998ecf8427e\""), "{method}");
    }
    // Section 14.1.2: an empty object has no byte to send.
    let answer = gateway.ask("GET", &gateway.path("empty.png"), &[("Range", "bytes=0-9")]);
    assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */0")));
}

#[test]
fn a_big_object_arrives_whole_and_in_parts() {
    let Some(rgw) = Rgw::from_environment("big") else { return };
    let gateway = Gateway::start(&rgw);
    // More than one RADOS object (4 MiB), of a period that no block size divides.
    let content: Vec<u8> = (0..=250).cycle().take((8 << 20) + 1).collect();
    rgw.put("big.fits", &content);
    let whole = gateway.ask("GET", &gateway.path("big.fits"), &[]);
    assert_eq!(whole.status, 200);
    assert_eq!(whole.header("content-type"), Some("image/fits"));
    assert_eq!(whole.header("content-length"), Some(content.len().to_string().as_str()));
    assert!(whole.body == content, "another body of {} bytes", whole.body.len());
    // Across the border between the first two RADOS objects.
    let part = gateway.ask(
        "GET",
        &gateway.path("big.fits"),
        &[("Range", "bytes=4194000-4195000"), ("If-Range", whole.header("etag").expect("ETag"))],
    );
    assert_eq!(part.status, 206);
    assert!(part.body == content[4_194_000..=4_195_000], "another part");
}

#[test]
fn missing_objects_are_404_and_forbidden_ones_403() {
    let Some(rgw) = Rgw::from_environment("absent") else { return };
    let gateway = Gateway::start(&rgw);
    rgw.put("o.png", b"an object");
    let missing = gateway.ask("GET", &gateway.path("a missing.png"), &[]);
    let named = format!("Not found: s3://rgw@{}/a missing.png", rgw.bucket);
    let body: serde_json::Value = serde_json::from_str(&missing.text()).expect("JSON");
    assert_eq!((missing.status, &body["message"]), (404, &serde_json::json!(named)));
    assert_eq!(body["cause"], "object_not_found");
    assert_eq!(missing.header("content-type"), Some("application/json"));
    for (what, path, expected) in [
        ("a missing bucket", "/s3proxy/s3/rgw@s3proxy-test-no-such-bucket/o.png".to_owned(), 404),
        ("a wrong secret", gateway.path_for("wrong", "o.png"), 403),
        ("an unknown profile", gateway.path_for("unknown", "o.png"), 404),
        ("the object, for comparison", gateway.path("o.png"), 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = gateway.ask(method, &path, &[]);
            assert_eq!(answer.status, expected, "{what}, {method}: {}", answer.text());
        }
    }
}
