//! `s3proxy check`: every profile.

use s3proxy::terminal::Paint;
use std::sync::Arc;

use s3proxy::check::check_all;
use s3proxy::check::report::StepState;
use s3proxy::profile::Profile;
use s3proxy::profile::globs::Globs;
use s3proxy::s3::credentials::Credentials;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use wildmatch::WildMatch;

use crate::setup::{all, assert_step, config, hips, step};
use crate::store::{Store, closed_port, dated, error, healthy};

#[tokio::test]
async fn a_healthy_profile_is_ok_and_reports_the_source_of_its_access_key() {
    let store = Store::start(healthy).await;
    let buckets = Some(Globs::new(vec![WildMatch::new("bkt"), WildMatch::new("other-*")]));
    let report = all(&config(vec![Profile { buckets, ..hips(&store.url()) }])).await;
    assert!(report.is_well(), "{}", report.to_text(Paint::Plain));
    let of = |name| step(&report, "hips", name);
    assert_step(of("endpoint"), StepState::Ok, &store.url(), "");
    let credentials = "access key ...MPLE from section [hips] of /secrets/aws-credentials.ini";
    assert_step(of("credentials"), StepState::Ok, credentials, "");
    assert_step(of("dns"), StepState::Ok, "127.0.0.1", "");
    assert_step(of("tcp"), StepState::Ok, &store.address.to_string(), "");
    assert_step(of("tls"), StepState::Skipped, "plain HTTP", "");
    assert_step(of("request"), StepState::Ok, "accepts the signature", "");
    assert_step(of("clock"), StepState::Ok, "0 s", "");
    assert_step(of("bucket"), StepState::Ok, "bkt: 200", "");
    let requests = store.requests();
    let lines: Vec<&str> = requests.iter().filter_map(|head| head.lines().next()).collect();
    let expected = ["GET / HTTP/1.1", "GET /bkt/?list-type=2&max-keys=1 HTTP/1.1"];
    assert_eq!(lines, expected, "the glob is not tested");
    for head in &requests {
        assert!(head.contains("AWS4-HMAC-SHA256"), "signed: {head}");
        assert!(!head.contains("customer-key"), "keys of SSE-C are for objects: {head}");
    }
}

#[tokio::test]
async fn a_store_that_refuses_the_access_key_is_explained() {
    for (status, code, detail, fix) in [
        (
            "403 Forbidden",
            "SignatureDoesNotMatch",
            "the secret access key is wrong",
            "section [hips]",
        ),
        (
            "403 Forbidden",
            "InvalidAccessKeyId",
            "does not know the access key id",
            "section [hips]",
        ),
        ("403 Forbidden", "RequestTimeTooSkewed", "clocks", "NTP"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "region us-east-1", "region"),
        ("503 Slow Down", "SlowDown", "too busy", "try again"),
    ] {
        let store = Store::start(move |_| error(status, code)).await;
        let buckets = Some(Globs::new(vec![WildMatch::new("bkt")]));
        let report = all(&config(vec![Profile { buckets, ..hips(&store.url()) }])).await;
        assert!(!report.is_well(), "{code}");
        assert_eq!(store.requests().len(), 1, "its buckets would be refused as well");
        assert_step(step(&report, "hips", "request"), StepState::Failed, detail, fix);
    }
}

#[tokio::test]
async fn an_access_key_that_may_not_list_buckets_is_ok() {
    let store = Store::start(|_| error("403 Forbidden", "AccessDenied")).await;
    let report = all(&config(vec![hips(&store.url())])).await;
    assert!(report.is_well(), "{}", report.to_text(Paint::Plain));
    assert_step(step(&report, "hips", "request"), StepState::Ok, "knows the access key", "");
}

#[tokio::test]
async fn a_closed_port_is_refused_and_no_request_is_sent() {
    let report =
        all(&config(vec![hips(&format!("http://127.0.0.1:{}", closed_port().await))])).await;
    assert!(!report.is_well());
    let refused = step(&report, "hips", "tcp");
    assert_step(refused, StepState::Failed, "refuses connections", "port of the endpoint");
    for name in ["tls", "request", "clock"] {
        assert_eq!(step(&report, "hips", name).finding.state, StepState::Skipped, "{name}");
    }
}

#[tokio::test]
async fn a_store_that_never_answers_ends_by_the_deadline() {
    let store = Store::silent().await;
    let plain = hips(&store.url());
    let tls =
        Profile { name: Some("tls".to_owned()), ..hips(&format!("https://{}", store.address)) };
    let report = all(&config(vec![plain, tls])).await;
    assert!(!report.is_well());
    let late = "no answer in time";
    assert_step(step(&report, "hips", "request"), StepState::Failed, late, "first_byte_timeout");
    assert_step(step(&report, "tls", "tls"), StepState::Failed, late, "TLS port");
}

#[tokio::test]
async fn a_cut_error_document_is_judged_by_the_part_that_arrived() {
    let store = Store::start(|_| {
        let begun = error("403 Forbidden", "SignatureDoesNotMatch");
        begun.replace("Content-Length: ", "Content-Length: 9")
    })
    .await;
    let report = all(&config(vec![hips(&store.url())])).await;
    assert_step(
        step(&report, "hips", "request"),
        StepState::Failed,
        "secret access key is wrong",
        "",
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_found() {
    let report = all(&config(vec![hips("http://nonexistent.invalid:9000")])).await;
    assert!(!report.is_well());
    let dns = step(&report, "hips", "dns");
    assert_step(dns, StepState::Failed, "nonexistent.invalid", "DNS servers");
    assert_eq!(step(&report, "hips", "tcp").finding.state, StepState::Skipped);
}

#[tokio::test]
async fn a_clock_that_is_off_is_found() {
    for (seconds, state, fix) in [
        (10, StepState::Ok, ""),
        (120, StepState::Warning, "NTP"),
        (1200, StepState::Failed, "NTP"),
    ] {
        let list = "<ListAllMyBucketsResult></ListAllMyBucketsResult>";
        let store = Store::start(move |_| dated("200 OK", "", list, seconds)).await;
        let report = all(&config(vec![hips(&store.url())])).await;
        assert_step(step(&report, "hips", "clock"), state, "s ahead of the store's", fix);
        assert_eq!(report.is_well(), state != StepState::Failed);
    }
}

#[tokio::test]
async fn a_redirect_is_explained_and_never_followed() {
    let elsewhere = Store::start(healthy).await;
    let location = format!("Location: {}/bkt/?X-Amz-Signature=1\r\n", elsewhere.url());
    let store = Store::start(move |_| dated("307 Temporary Redirect", &location, "", 0)).await;
    let report = all(&config(vec![hips(&store.url())])).await;
    let redirects = format!("redirects to {};", elsewhere.url());
    assert_step(step(&report, "hips", "request"), StepState::Failed, &redirects, "endpoint");
    assert_eq!(elsewhere.requests(), [""; 0]);
}

#[tokio::test]
async fn a_port_that_speaks_something_else_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
        }
    });
    let report = all(&config(vec![hips(&format!("http://{address}"))])).await;
    server.abort();
    assert_step(step(&report, "hips", "request"), StepState::Failed, "", "S3 port");
}

#[tokio::test]
async fn a_web_server_that_is_not_a_store_is_a_warning() {
    let store = Store::start(|_| dated("200 OK", "", "<html>Console</html>", 0)).await;
    let report = all(&config(vec![hips(&store.url())])).await;
    assert!(report.is_well());
    assert_step(
        step(&report, "hips", "request"),
        StepState::Warning,
        "not an answer of an S3",
        "console",
    );
}

#[tokio::test]
async fn profiles_are_checked_at_the_same_time() {
    // Each of the two answers only once the other has been asked as well.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let both = Arc::new(Barrier::new(2));
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let both = Arc::clone(&both);
            tokio::spawn(async move {
                let mut first = [0];
                if stream.peek(&mut first).await.is_ok_and(|read| read > 0) {
                    both.wait().await;
                    let script: crate::store::Script = Arc::new(healthy);
                    crate::store::answer(stream, &script, &std::sync::Mutex::default()).await;
                }
            });
        }
    });
    let other = Profile { name: Some("other".to_owned()), ..hips(&format!("http://{address}")) };
    let report = all(&config(vec![hips(&format!("http://{address}")), other])).await;
    server.abort();
    assert!(report.is_well(), "{}", report.to_text(Paint::Plain));
}

#[tokio::test]
async fn a_profile_without_credentials_fails_and_is_not_asked() {
    let store = Store::start(healthy).await;
    let credentials = Credentials::Missing("no section [hips] in /secrets/x.ini".to_owned());
    let report = all(&config(vec![Profile { credentials, ..hips(&store.url()) }])).await;
    assert!(!report.is_well());
    let missing = step(&report, "hips", "credentials");
    assert_step(missing, StepState::Failed, "no section [hips]", "anonymous: true");
    assert_eq!(step(&report, "hips", "tcp").finding.state, StepState::Ok);
    assert_eq!(step(&report, "hips", "request").finding.state, StepState::Skipped);
    assert_eq!(store.requests(), [""; 0]);
}

#[tokio::test]
async fn an_unconfigured_default_profile_is_a_warning_unless_it_is_the_only_one() {
    let store = Store::start(healthy).await;
    for (named, state) in
        [(vec![hips(&store.url())], StepState::Warning), (vec![], StepState::Failed)]
    {
        let report = all(&config(named)).await;
        let default = report
            .sections
            .iter()
            .find(|s| s.name.is_none() && s.steps.iter().any(|step| step.name == "credentials"));
        let step = default.unwrap().steps.iter().find(|step| step.name == "credentials").unwrap();
        assert_step(step, state, "AWS_ACCESS_KEY_ID is not set", "");
    }
}

#[tokio::test]
async fn warnings_of_the_configuration_are_shown() {
    let store = Store::start(healthy).await;
    let orphan = "section [hisp] has no endpoint".to_owned();
    let report = check_all(&config(vec![hips(&store.url())]), &[orphan]).await;
    assert!(report.is_well());
    assert!(report.to_text(Paint::Plain).contains("section [hisp] has no endpoint"));
    assert!(report.to_json().contains("section [hisp] has no endpoint"));
}
