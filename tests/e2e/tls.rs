//! Stores behind TLS: certificates are checked against the configured authority and the name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::faulty::{Faulty, runtime};
use crate::gateway::{Gateway, Setup, free_port};
use crate::origin::Origin;

/// A certificate authority of our own and the folder with its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, folder }
    }

    fn file(&self) -> String {
        self.folder.path().join("ca.pem").to_str().expect("UTF-8").to_owned()
    }

    /// Speaks TLS as `name` and passes everything to the plain store behind.
    fn front(&self, name: &str, store: SocketAddr) -> u16 {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
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
}

fn gateway(endpoint: &str, ca_file: Option<&str>) -> Gateway {
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
        let port = authority.front(name, origin.address());
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
    let genuine = authority.front("localhost", spy.address);
    let misnamed = authority.front("other.example.org", spy.address);
    let strange = stranger.front("localhost", spy.address);
    let file = authority.file();
    for (what, port, ca_file) in [
        ("unknown to the system", genuine, None),
        ("for another name", misnamed, Some(file.as_str())),
        ("of another authority", strange, Some(file.as_str())),
    ] {
        let gateway = gateway(&format!("https://localhost:{port}"), ca_file);
        let answer = gateway.object("sky/a.png");
        assert_eq!(answer.status(), 502, "{what}");
        gateway.line_of(&answer);
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn http_and_https_mistaken_for_each_other_are_told_soon() {
    let authority = Authority::new();
    let spy = Faulty::spy();
    let tls = authority.front("localhost", spy.address);
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
