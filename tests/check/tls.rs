//! Certificates, and `http://` mistaken for `https://` or the reverse.

use s3proxy::terminal::Paint;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use s3proxy::check::report::{CheckReport, StepState};
use s3proxy::config::Config;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::setup::{all, assert_step, config, hips, object, step};
use crate::store::{Script, Store, TLS_HANDSHAKE, answer, healthy};

/// A healthy store behind TLS as `name`; returns the port. A connection without TLS gets
/// `to_plain`, or the TLS library's answer to it.
async fn store(
    authority: &Authority,
    name: &str,
    has_expired: bool,
    to_plain: Option<&'static str>,
) -> u16 {
    let acceptor = authority.acceptor(name, has_expired);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut first = [0];
                let read = stream.peek(&mut first).await;
                if let (Ok(1), Some(to_plain)) = (read, to_plain)
                    && first != [TLS_HANDSHAKE]
                {
                    let _client_may_be_gone = stream.write_all(to_plain.as_bytes()).await;
                    return;
                }
                let script: Script = Arc::new(healthy);
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, &script, &Mutex::default()).await;
                }
            });
        }
    });
    port
}

fn trusting(endpoint: &str, ca_file: Option<PathBuf>) -> Config {
    let mut config = config(vec![hips(endpoint)]);
    config.upstream.ca_file = ca_file;
    config
}

#[tokio::test]
async fn a_store_with_a_trusted_certificate_is_ok() {
    let authority = Authority::new();
    let port = store(&authority, "127.0.0.1", false, None).await;
    let config = trusting(&format!("https://127.0.0.1:{port}"), Some(authority.file()));
    let report = all(&config).await;
    assert!(report.is_well(), "{}", report.to_text(Paint::Plain));
    let protocol = "TLSv1.3, with a trusted certificate for 127.0.0.1";
    assert_step(step(&report, "hips", "tls"), StepState::Ok, protocol, "");
    assert_step(step(&report, "hips", "request"), StepState::Ok, "accepts the signature", "");
    let report = object(&config, "hips@bkt/tile.png").await;
    assert!(report.is_well(), "{}", report.to_text(Paint::Plain));
}

#[tokio::test]
async fn certificates_are_refused_for_a_reason_that_is_named() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (trusted, name, has_expired, detail, fix) in [
        (&theirs, "127.0.0.1", false, "a CA that is not trusted", "upstream.ca_file"),
        (&ours, "other.example.org", false, "for a different name", "certificate for 127.0.0.1"),
        (&ours, "127.0.0.1", true, "has expired", "renew"),
    ] {
        let port = store(&ours, name, has_expired, None).await;
        let config = trusting(&format!("https://127.0.0.1:{port}"), Some(trusted.file()));
        let report = all(&config).await;
        assert_step(step(&report, "hips", "tls"), StepState::Failed, detail, fix);
        assert_eq!(step(&report, "hips", "request").finding.state, StepState::Skipped);
        let report = object(&config, "hips@bkt/tile.png").await;
        let answer = step(&report, "s3://hips@bkt/tile.png", "answer");
        assert_step(answer, StepState::Failed, "502 upstream_unreachable", "");
    }
}

#[tokio::test]
async fn tls_to_a_plain_port_is_found() {
    let store = Store::start(healthy).await;
    let config = config(vec![hips(&format!("https://{}", store.address))]);
    let report = all(&config).await;
    let tls = step(&report, "hips", "tls");
    assert_step(tls, StepState::Failed, "speaks plain HTTP", "http:// instead of https://");
    for head in store.requests() {
        assert!(!head.to_ascii_lowercase().contains("authorization"), "the probe is bare: {head}");
    }
}

#[tokio::test]
async fn plain_http_to_a_port_of_tls_is_found() {
    let authority = Authority::new();
    let as_nginx = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for to_plain in [None, Some(""), Some(as_nginx)] {
        let port = store(&authority, "127.0.0.1", false, to_plain).await;
        let config = config(vec![hips(&format!("http://127.0.0.1:{port}"))]);
        let https = "https:// instead of http://";
        let speaks_tls = |report: &CheckReport, section: &str| {
            assert_step(step(report, section, "request"), StepState::Failed, "speaks TLS", https);
        };
        speaks_tls(&all(&config).await, "hips");
        speaks_tls(&object(&config, "hips@bkt/tile.png").await, "s3://hips@bkt/tile.png");
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_found_before_pingora_panics() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::start(healthy).await;
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!!!\n").expect("written");
    for file in [folder.path().join("missing.pem"), broken] {
        let config = trusting(&store.url(), Some(file.clone()));
        for report in [all(&config).await, object(&config, "hips@bkt/tile.png").await] {
            assert!(!report.is_well());
            let gateway = report.sections.first().expect("a section");
            let certificates = gateway.steps.iter().find(|s| s.name == "certificates");
            let path = file.display().to_string();
            assert_step(
                certificates.expect("a step"),
                StepState::Failed,
                &path,
                "upstream.ca_file",
            );
        }
    }
}
