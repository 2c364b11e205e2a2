//! Stores behind TLS: certificates are verified against the configured authority and the host name.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::authority::Authority;
use crate::faulty::{Faulty, runtime};
use crate::gateway::{Gateway, Setup, free_port};
use crate::origin::Origin;

/// Terminates TLS as `name` and passes everything to the plain store behind.
pub(crate) fn front(authority: &Authority, name: &str, store: SocketAddr) -> u16 {
    let acceptor = authority.acceptor(name, false);
    let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    runtime().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut plain = TcpStream::connect(store).await?;
                let mut stream = acceptor.accept(stream).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut plain).await
            });
        }
    });
    port
}

fn gateway(endpoint: &str, ca_file: Option<&Path>) -> Gateway {
    let setup = Setup::new(endpoint).tolerate("ertificate").tolerate("TLS").tolerate("tls");
    match ca_file {
        Some(path) => setup.yaml(json!({"upstream": {"ca_file": path}})).start(),
        None => setup.start(),
    }
}

#[test]
fn a_store_with_a_certificate_of_the_configured_authority_is_trusted() {
    let authority = Authority::new();
    let origin = Origin::start();
    origin.put("a.png", "tile");
    for name in ["localhost", "127.0.0.1"] {
        let port = front(&authority, name, origin.address());
        let gateway = gateway(&format!("https://{name}:{port}"), Some(&authority.file()));
        for _ in 0..3 {
            assert_eq!(gateway.object("sky/a.png").text(), "tile", "{name}");
        }
    }
}

#[test]
fn any_other_certificate_is_refused_before_a_request_is_sent() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let spy = Faulty::spy();
    let genuine = front(&authority, "localhost", spy.address);
    let misnamed = front(&authority, "other.example.org", spy.address);
    let strange = front(&stranger, "localhost", spy.address);
    let strange_by_address = front(&stranger, "127.0.0.1", spy.address);
    let file = authority.file();
    let trusted = Some(file.as_path());
    for (what, host, port, ca_file) in [
        ("unknown to the system", "localhost", genuine, None),
        ("for another name", "localhost", misnamed, trusted),
        ("for a name, not the address", "127.0.0.1", genuine, trusted),
        ("of another authority", "localhost", strange, trusted),
        ("of another authority, for an address", "127.0.0.1", strange_by_address, trusted),
    ] {
        let gateway = gateway(&format!("https://{host}:{port}"), ca_file);
        let answer = gateway.object("sky/a.png");
        assert_eq!(answer.status(), 502, "{what}");
        gateway.line_of(&answer);
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn http_and_https_mistaken_for_each_other_are_reported_soon() {
    let authority = Authority::new();
    let spy = Faulty::spy();
    let tls = front(&authority, "localhost", spy.address);
    for endpoint in
        [format!("http://localhost:{tls}"), format!("https://localhost:{}", spy.address.port())]
    {
        let gateway = gateway(&endpoint, Some(&authority.file()));
        let began = Instant::now();
        let answer = gateway.object("sky/a.png");
        assert!(matches!(answer.status(), 502 | 504), "{endpoint}: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(8), "{endpoint}: {:?}", began.elapsed());
        gateway.line_of(&answer);
    }
    assert!(spy.requests().iter().all(|r| r.target != "/sky/a.png"), "{:?}", spy.requests());
}

#[test]
fn certificates_that_cannot_be_read_end_the_start_with_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.pem");
    let text = "-----BEGIN CERTIFICATE-----\nrubbish, not base64!\n";
    std::fs::write(&broken, text).expect("written");
    let broken = broken.to_str().expect("UTF-8");
    let missing = "/nonexistent/certificates.pem";
    let setup = Setup::new("https://localhost:1")
        .env("S3PROXY_LISTEN", &format!("127.0.0.1:{}", free_port()));
    for (what, setup, named) in [
        ("a damaged file", setup.clone().yaml(json!({"upstream": {"ca_file": broken}})), broken),
        ("a missing file", setup.clone().yaml(json!({"upstream": {"ca_file": missing}})), missing),
        ("the system", setup.clone().env("SSL_CERT_FILE", missing), "SSL_CERT_FILE"),
    ] {
        let run = setup.run();
        let shown = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.status.code(), Some(2), "{what}: {shown}");
        assert!(shown.contains(named), "{what}: {shown}");
        assert!(!shown.contains("panic"), "{what}: {shown}");
    }
}
