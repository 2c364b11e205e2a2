//! Which requests are authorized.

use std::time::Duration;

use crate::client::{ACCESS_KEY, Ask, SECRET_KEY, get, start};
use crate::store::{Manners, Object, Store};

fn sky() -> Store {
    let store = Store::new();
    store.put("sky", "o.png", Object::new("tile"));
    store.put("sky", "o2.png", Object::new("another"));
    store
}

#[tokio::test]
async fn the_right_access_key_gets_the_object() {
    let serving = start(&sky(), Manners::rgw()).await;
    let answer = get("/sky/o.png").send(&serving).await;
    assert_eq!((answer.status, answer.text()), (200, "tile"));
}

#[tokio::test]
async fn access_keys_are_added_and_removed_while_it_serves() {
    let store = sky();
    let serving = start(&store, Manners::rgw()).await;
    let with = |keys| Ask { keys: Some(keys), ..get("/sky/o.png") };
    let (old, new) = ((ACCESS_KEY, SECRET_KEY), ("AKIDNEXT", "store+tests/next"));
    store.accept_key(new.0, new.1);
    for keys in [old, new] {
        assert_eq!(with(keys).send(&serving).await.status, 200, "{keys:?}");
    }
    store.refuse_key(old.0);
    let refused = with(old).send(&serving).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("InvalidAccessKeyId"), "{}", refused.text());
    assert_eq!(with(new).send(&serving).await.status, 200);
}

#[tokio::test]
async fn every_other_signature_is_refused_and_says_why() {
    let serving = start(&sky(), Manners::rgw()).await;
    let ago = |minutes: u64| get("").now - Duration::from_secs(60 * minutes);
    let ahead = |minutes: u64| get("").now + Duration::from_secs(60 * minutes);
    let o = || get("/sky/o.png");
    let cases: Vec<(&str, Ask<'_>, u16, &str)> = vec![
        ("none", Ask { keys: None, ..o() }, 403, "AccessDenied"),
        (
            "wrong secret",
            Ask { keys: Some((ACCESS_KEY, "store+tests/secreT")), ..o() },
            403,
            "SignatureDoesNotMatch",
        ),
        ("unknown key", Ask { keys: Some(("AKID", SECRET_KEY)), ..o() }, 403, "InvalidAccessKeyId"),
        ("20 min old", Ask { now: ago(20), ..o() }, 403, "RequestTimeTooSkewed"),
        ("20 min ahead", Ask { now: ahead(20), ..o() }, 403, "RequestTimeTooSkewed"),
        ("10 min old", Ask { now: ago(10), ..o() }, 200, "tile"),
        (
            "another path",
            Ask { forged_target: Some("/sky/o2.png"), ..o() },
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "a query",
            Ask { forged_target: Some("/sky/o.png?acl"), ..o() },
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "an x-amz header beside the signature",
            Ask { unsigned: vec![("x-amz-request-payer", "requester")], ..o() },
            403,
            "AccessDenied",
        ),
        (
            "a range beside the signature, as everywhere",
            Ask { unsigned: vec![("range", "bytes=0-1")], ..o() },
            206,
            "ti",
        ),
        (
            "a signed header sent twice",
            Ask { unsigned: vec![("x-amz-date", "20250701T000000Z")], ..o() },
            400,
            "",
        ),
        ("another region, as RGW", Ask { region: "eu-nowhere-9", ..o() }, 200, "tile"),
    ];
    for (name, ask, status, text) in cases {
        let answer = ask.send(&serving).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.text().contains(text), "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_store_with_a_region_refuses_the_others() {
    let manners = Manners { region: Some("eu-south-2".to_owned()), ..Manners::aws() };
    let serving = start(&sky(), manners).await;
    let wrong = get("/sky/o.png").send(&serving).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("AuthorizationHeaderMalformed"), "{}", wrong.text());
    let right = Ask { region: "eu-south-2", ..get("/sky/o.png") };
    assert_eq!(right.send(&serving).await.status, 200);
}

#[tokio::test]
async fn temporary_credentials_need_their_token() {
    let manners = Manners { session_token: Some("t0ken==".to_owned()), ..Manners::rgw() };
    let serving = start(&sky(), manners).await;
    for (token, status) in [(Some("t0ken=="), 200), (Some("other"), 400), (None, 403)] {
        let answer = Ask { token, ..get("/sky/o.png") }.send(&serving).await;
        assert_eq!(answer.status, status, "{token:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn anonymous_reads_are_for_objects_alone() {
    let manners = Manners { anonymous_reads: true, ..Manners::rgw() };
    let serving = start(&sky(), manners).await;
    for (target, status) in [("/sky/o.png", 200), ("/sky?list-type=2", 403), ("/", 403)] {
        let answer = Ask { keys: None, ..get(target) }.send(&serving).await;
        assert_eq!(answer.status, status, "{target}");
    }
}

#[tokio::test]
async fn an_upload_must_be_what_was_signed() {
    let store = sky();
    let serving = start(&store, Manners::rgw()).await;
    let put = Ask {
        method: "PUT",
        body: b"body",
        headers: vec![("content-type", "image/png"), ("x-amz-meta-band", "r")],
        ..get("/sky/new.png")
    };
    assert_eq!(put.send(&serving).await.status, 200);
    let answer = get("/sky/new.png").send(&serving).await;
    assert_eq!((answer.header("content-type"), answer.text()), (Some("image/png"), "body"));
    assert_eq!(answer.header("x-amz-meta-band"), Some("r"));

    let zeros = "0000000000000000000000000000000000000000000000000000000000000000";
    let forged = Ask { headers: vec![("x-amz-content-sha256", zeros)], ..put };
    let wire = forged.wire(&serving);
    assert!(String::from_utf8_lossy(&wire).contains(zeros));
    assert!(forged.send(&serving).await.status >= 400);
}
