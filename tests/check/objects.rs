//! `s3proxy check profile@bucket/key`: one object.

use http::HeaderName;
use s3proxy::check::report::StepState;
use s3proxy::profile::globs::Globs;
use s3proxy::profile::{ContentTypeFrom, Profile};
use s3proxy::s3::secret::Secret;
use s3proxy::terminal::Paint;
use wildmatch::WildMatch;

use crate::setup::{assert_step, config, hips, object, step};
use crate::store::{Store, dated, error, healthy};

const TILE: &str = "s3://hips@bkt/tile.png";

#[tokio::test]
async fn an_object_that_is_served_shows_every_step() {
    let store = Store::start(healthy).await;
    let config = config(vec![hips(&store.url())]);
    for argument in [
        "hips@bkt/tile.png",
        "hips%40bkt/t%69le.png",
        "https://rsp.example.org/s3proxy/s3/hips@bkt/tile.png",
        TILE,
    ] {
        let report = object(&config, argument).await;
        assert!(report.is_well(), "{}", report.to_text(Paint::Plain));
        let of = |name| step(&report, TILE, name);
        let address = "profile hips, bucket bkt, key tile.png";
        assert_step(of("address"), StepState::Ok, address, "");
        assert_step(of("type"), StepState::Ok, "image/png", "");
        assert_step(of("allowed"), StepState::Ok, "every bucket", "");
        let url = format!("GET {}/bkt/tile.png with headers ", store.url());
        assert_step(of("sent"), StepState::Ok, &url, "");
        let names =
            "signed: host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-server";
        assert_step(of("sent"), StepState::Ok, names, "");
        assert_step(
            of("request"),
            StepState::Ok,
            "206, request tx01: the store has the object",
            "",
        );
        assert_step(of("clock"), StepState::Ok, "0 s", "");
        assert_step(of("answer"), StepState::Ok, "200 image/png, 4711 bytes", "");
    }
    let head = store.requests().pop().unwrap_or_default().to_ascii_lowercase();
    assert!(head.starts_with("get /bkt/tile.png http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nrange: bytes=0-0\r\n"), "{head}");
    assert!(head.contains("customer-key: canary-encryption-key"), "{head}");
}

#[tokio::test]
async fn an_empty_object_is_served() {
    let store = Store::start(healthy).await;
    let report = object(&config(vec![hips(&store.url())]), "hips@bkt/empty.png").await;
    assert!(report.is_well(), "{}", report.to_text(Paint::Plain));
    let answer = step(&report, "s3://hips@bkt/empty.png", "answer");
    assert_step(answer, StepState::Ok, "200 image/png, 0 bytes", "");
}

#[tokio::test]
async fn requests_that_the_gateway_refuses_never_reach_the_store() {
    let store = Store::start(healthy).await;
    let buckets = Some(Globs::new(vec![WildMatch::new("bkt"), WildMatch::new("data-*")]));
    let config = config(vec![Profile { buckets, ..hips(&store.url()) }]);
    for (key, name, detail, fix, answer) in [
        ("hips@bkt/a.xyz", "type", "no rule gives", "mime.also_suffixes", "415 media_type_denied"),
        ("hips@bkt/a.zip", "type", "application/zip", "also_allow", "415 media_type_denied"),
        (
            "hisp@bkt/a.png",
            "endpoint",
            "unknown profile hisp; known: hips",
            "case",
            "404 profile_unk",
        ),
        ("hips@other/a.png", "allowed", "does not contain other", "buckets", "403 bucket_not_allo"),
        ("bkt/a.png", "credentials", "AWS_ACCESS_KEY_ID is not set", "", "502 credentials_miss"),
        ("hips@bkt/", "address", "key is empty", "name an object", "404 object_not_found"),
    ] {
        let report = object(&config, key).await;
        assert!(!report.is_well(), "{key}");
        let section = format!("s3://{key}");
        assert_step(step(&report, &section, name), StepState::Failed, detail, fix);
        assert_step(step(&report, &section, "answer"), StepState::Failed, answer, "");
    }
    for (argument, detail) in [
        ("hips@bkt", "307"),
        ("hips@bkt/100%.png", "400: every %"),
        ("hips@bkt/a/../b.png", "400: the path contains a . or .. segment"),
        ("https://rsp.example.org/elsewhere/a.png", "404"),
    ] {
        let report = object(&config, argument).await;
        assert!(!report.is_well(), "{argument}");
        assert_step(
            step(&report, argument, "address"),
            StepState::Failed,
            detail,
            "profile@bucket",
        );
    }
    assert_eq!(store.requests(), [""; 0]);
}

#[tokio::test]
async fn the_errors_of_stores_come_with_the_answer_and_the_fix() {
    for (status, code, detail, fix, answer) in [
        ("403 Forbidden", "SignatureDoesNotMatch", "secret", "[hips]", "403 upstream_forbidden"),
        ("403 Forbidden", "InvalidAccessKeyId", "key id", "[hips]", "403 upstream_forbidden"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clocks", "NTP", "403 upstream_forbidden"),
        ("404 Not Found", "NoSuchBucket", "bucket", "name", "404 object_not_found"),
        ("404 Not Found", "NoSuchKey", "no such key", "spelling", "404 object_not_found"),
        (
            "400 Bad Request",
            "AuthorizationHeaderMalformed",
            "us-east-1",
            "region",
            "502 upstream_e",
        ),
        ("301 Moved", "PermanentRedirect", "redirects", "endpoint", "502 upstream_redirect"),
        ("503 Slow Down", "SlowDown", "busy", "try again", "503 upstream_busy"),
        ("500 Oh", "InternalError", "failed", "log", "502 upstream_error"),
    ] {
        let store = Store::start(move |_| error(status, code)).await;
        let report = object(&config(vec![hips(&store.url())]), "hips@bkt/tile.png").await;
        assert!(!report.is_well(), "{code}");
        assert_step(step(&report, TILE, "request"), StepState::Failed, detail, fix);
        assert_step(step(&report, TILE, "answer"), StepState::Failed, answer, "");
        // As often as the gateway would; only AccessDenied needs the bucket's answer besides.
        let attempts = if matches!(code, "SlowDown" | "InternalError") { 2 } else { 1 };
        assert_eq!(store.requests().len(), attempts, "{code}");
    }
}

#[tokio::test]
async fn a_store_that_fails_once_is_asked_again_as_the_gateway_does() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let store =
        Store::start(move |head| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => error("503 Slow Down", "SlowDown"),
            _ => healthy(head),
        })
        .await;
    let report = object(&config(vec![hips(&store.url())]), "hips@bkt/tile.png").await;
    assert!(report.is_well(), "{}", report.to_text(Paint::Plain));
    let said = "the store has the object; attempt 1 failed: 503 SlowDown, request tx01";
    assert_step(step(&report, TILE, "request"), StepState::Ok, said, "");
    assert_step(step(&report, TILE, "answer"), StepState::Ok, "200 image/png", "");
    assert_eq!(store.requests().len(), 2);
}

#[tokio::test]
async fn a_denied_object_is_told_apart_by_its_bucket() {
    let denied = || error("403 Forbidden", "AccessDenied");
    let list = || dated("200 OK", "", "<ListBucketResult></ListBucketResult>", 0);
    for (bucket, missing_on_403, detail, fix, answer) in [
        (list(), false, "exists, but may not be read", "s3:GetObject", "403 upstream_forbidden"),
        (denied(), false, "is missing, or may not", "missing_on_403", "403 upstream_forbidden"),
        (denied(), true, "is missing, or may not", "spelling", "404 object_not_found"),
        (error("404 Not Found", "NoSuchBucket"), false, "no such bucket", "name", "403 upstream_f"),
    ] {
        let store =
            Store::start(
                move |head| {
                    if head.contains("list-type=2") { bucket.clone() } else { denied() }
                },
            )
            .await;
        let profile = Profile { missing_on_403, ..hips(&store.url()) };
        let report = object(&config(vec![profile]), "hips@bkt/tile.png").await;
        assert_step(step(&report, TILE, "request"), StepState::Failed, detail, fix);
        assert_step(step(&report, TILE, "answer"), StepState::Failed, answer, "");
        assert_eq!(store.requests().len(), 2);
    }
}

#[tokio::test]
async fn the_type_may_come_from_the_store() {
    for (media_type, state, answer) in [
        ("image/fits", StepState::Ok, "200 image/fits"),
        ("application/zip", StepState::Failed, "415 media_type_denied"),
    ] {
        let headers = format!("Content-Type: {media_type}\r\nContent-Range: bytes 0-0/9\r\n");
        let store = Store::start(move |_| dated("206 Partial Content", &headers, "x", 0)).await;
        let content_type = ContentTypeFrom::Origin;
        let profile = Profile { content_type, ..hips(&store.url()) };
        let report = object(&config(vec![profile]), "hips@bkt/a.xyz").await;
        assert_step(step(&report, "s3://hips@bkt/a.xyz", "answer"), state, answer, "");
    }
}

#[tokio::test]
async fn a_store_that_never_answers_ends_by_the_deadline() {
    let store = Store::silent().await;
    let report = object(&config(vec![hips(&store.url())]), "hips@bkt/tile.png").await;
    assert_step(step(&report, TILE, "request"), StepState::Failed, "no answer in time", "S3 port");
    assert_step(step(&report, TILE, "answer"), StepState::Failed, "504 upstream_timeout", "");
}

#[tokio::test]
async fn headers_that_cannot_be_sent_are_found_without_showing_them() {
    let store = Store::start(healthy).await;
    let line = Secret::new("an-encryption-key-nobody-may-see\n".to_owned());
    let upstream_headers = vec![(HeaderName::from_static("x-amz-key"), line)];
    let profile = Profile { upstream_headers, ..hips(&store.url()) };
    let report = object(&config(vec![profile]), "hips@bkt/tile.png").await;
    assert_step(
        step(&report, TILE, "request"),
        StepState::Failed,
        "not valid in HTTP",
        "upstream_head",
    );
    assert_step(step(&report, TILE, "answer"), StepState::Failed, "500 internal", "");
}
