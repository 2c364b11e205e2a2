//! Stores with a private authority that demand a client certificate: both ways of a request, STS, the check, and
//! certificates that are replaced.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::authority::Authority;
use crate::cached::status;
use crate::credentials::accept_issued;
use crate::faulty::runtime;
use crate::files::{Files, Way};
use crate::gateway::{ACCESS_KEY, SECRET_KEY, Setup, free_port};
use crate::issuers::{Issuer, sts_answer};
use crate::origin::Origin;
use crate::reload::{await_reload, event};
use crate::tls_port::pair;

/// A plain server behind TLS that demands a client certificate.
struct Guarded {
    port: u16,
    /// The certificates that were presented, one for each connection.
    seen: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

impl Guarded {
    /// As `name`, by a certificate of `authority`; clients need one of `clients`.
    fn start(authority: &Authority, clients: &Authority, name: &str, plain: SocketAddr) -> Self {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(clients.file()).expect("the authority");
        roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("added");
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = authority.server(name, false);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![certificate], key)
            .expect("a certificate and its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let noted = Arc::clone(&seen);
        runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let accepted = acceptor.accept(stream).into_fallible().await;
                    let mut stream = match accepted {
                        Ok(stream) => stream,
                        // Closed with unread bytes, the connection would be reset, and the alert lost.
                        Err((_refused, mut stream)) => {
                            return tokio::io::copy(&mut stream, &mut tokio::io::sink())
                                .await
                                .map(|bytes| (bytes, 0));
                        }
                    };
                    let presented = stream.get_ref().1.peer_certificates();
                    let presented = presented.and_then(|all| all.first()).expect("demanded");
                    let presented = presented.clone().into_owned();
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(presented);
                    let mut plain = TcpStream::connect(plain).await?;
                    tokio::io::copy_bidirectional(&mut stream, &mut plain).await
                });
            }
        });
        Self { port, seen }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn seen(&self) -> Vec<CertificateDer<'static>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A client certificate in files.
struct ClientFiles {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl ClientFiles {
    fn new(authority: &Authority, has_expired: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = Self { folder, der: CertificateDer::from(Vec::new()) };
        files.renew(authority, has_expired);
        files
    }

    fn renew(&mut self, authority: &Authority, has_expired: bool) {
        let (certificate, key) = pair(authority, "gateway", has_expired);
        self.der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        replace(&self.key(), &key);
        replace(&self.certificate(), &certificate);
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("client.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("client.key")
    }

    fn settings(&self, authority: &Authority) -> Value {
        json!({
            "ca_file": authority.file(),
            "client_certificate_file": self.certificate(),
            "client_key_file": self.key(),
        })
    }
}

fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, path).expect("renamed");
}

fn origin() -> Origin {
    let origin = Origin::start();
    for name in ["a", "b", "c"] {
        origin.put(&format!("{name}.png"), "tile");
    }
    origin
}

/// The steps of `s3proxy check` for an object of the profile `p`: name, state, detail and fix.
fn checked(setup: &Setup) -> Vec<[String; 4]> {
    let run = setup.clone().args(&["check", "--json", "p@sky/a.png"]).run();
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = report["sections"][0]["steps"].as_array().expect("steps");
    let step = |step: &Value| ["name", "state", "detail", "fix"].map(|field| text(&step[field]));
    steps.iter().map(step).collect()
}

#[track_caller]
fn assert_step(steps: &[[String; 4]], name: &str, state: &str, words: &str) {
    let found = steps.iter().find(|step| step[0] == name).unwrap_or_else(|| panic!("{steps:#?}"));
    assert_eq!(found[1], state, "{found:?}");
    assert!(found[2].contains(words) || found[3].contains(words), "{words}: {found:?}");
}

#[test]
fn both_ways_and_the_check_present_the_certificate_to_a_store_of_a_private_authority() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = origin();
    let store = Guarded::start(&authority, &clients, "localhost", origin.address());
    let client = ClientFiles::new(&clients, false);
    for memory in ["0", "64MiB"] {
        let setup = Setup::bare()
            .profile("p", &store.url())
            .env("S3PROXY_CACHE_MEMORY", memory)
            .profile_settings("p", &client.settings(&authority));
        let gateway = setup.clone().start();
        for name in ["a", "b", "c"] {
            let answer = gateway.get(&format!("/s3proxy/s3/p@sky/{name}.png"));
            assert_eq!((answer.status(), answer.text()), (200, "tile"), "memory {memory}");
        }
        drop(gateway);
        let steps = checked(&setup);
        assert_step(&steps, "endpoint", "ok", "its own CA certificates and a client certificate");
        assert_step(&steps, "tls", "ok", "a trusted certificate for localhost");
        assert_step(&steps, "answer", "ok", "200 image/png");
    }
    let seen = store.seen();
    assert!(seen.len() >= 3 && seen.iter().all(|presented| *presented == client.der));
    assert!(seen.len() < 12, "connections are reused: {}", seen.len());
}

/// The certificates are those of the profile, so of each of its endpoints.
#[test]
fn every_endpoint_of_a_profile_gets_the_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = origin();
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    // Its connections end after the handshake.
    let first = Guarded::start(&authority, &clients, "localhost", closed);
    let second = Guarded::start(&authority, &clients, "localhost", origin.address());
    let client = ClientFiles::new(&clients, false);
    let mut settings = client.settings(&authority);
    settings["endpoints"] = json!([first.url(), second.url()]);
    let keys = format!("aws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}");
    for memory in ["0", "64MiB"] {
        let setup = Setup::bare()
            .ini(&format!("[p]\n{keys}"))
            .env("S3PROXY_CACHE_MEMORY", memory)
            .profile_settings("p", &settings)
            .tolerate("the breaker of endpoint");
        let before = [&first, &second].map(|store| store.seen().len());
        let gateway = setup.clone().start();
        let answer = gateway.get("/s3proxy/s3/p@sky/a.png");
        assert_eq!((answer.status(), answer.text()), (200, "tile"), "memory {memory}");
        drop(gateway);
        for (store, before) in [&first, &second].into_iter().zip(before) {
            let seen = store.seen();
            assert!(seen.len() > before, "memory {memory}");
            assert!(seen.iter().all(|presented| *presented == client.der));
        }
        let steps = checked(&setup);
        assert_step(&steps, "tls", "ok", "a trusted certificate for localhost");
        assert_step(&steps, "answer", "ok", "200 image/png");
    }
}

#[test]
fn each_fault_of_the_certificates_is_named() {
    let (authority, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let origin = origin();
    let store = Guarded::start(&authority, &clients, "localhost", origin.address());
    let right = ClientFiles::new(&clients, false);
    let wrong = ClientFiles::new(&stranger, false);
    let expired = ClientFiles::new(&clients, true);
    let without = json!({"ca_file": authority.file()});
    for (what, settings, step, words) in [
        ("no certificate", without, "request", "set client_certificate_file"),
        // The authorities of the tests have one name: the signature is wrong, not the issuer unknown.
        ("of another authority", wrong.settings(&authority), "request", "check client_certificate"),
        ("expired", expired.settings(&authority), "request", "renew the certificate in client"),
        ("an unknown store", right.settings(&stranger), "tls", "set ca_file of the profile"),
    ] {
        for memory in ["0", "64MiB"] {
            let setup = Setup::bare()
                .profile("p", &store.url())
                .env("S3PROXY_CACHE_MEMORY", memory)
                .profile_settings("p", &settings)
                .tolerate("upstream_")
                .tolerate("has expired");
            let gateway = setup.clone().start();
            let answer = gateway.get("/s3proxy/s3/p@sky/a.png");
            let line = gateway.line_of(&answer);
            assert_eq!(answer.status(), 502, "{what}: {line}");
            let detail = line["detail"].as_str().unwrap_or_default();
            let is_named = detail.contains("alert") || detail.contains("invalid peer certificate");
            assert!(is_named, "{what}, memory {memory}: {line}");
            if what == "expired" {
                gateway.expect_log("the warning", |line| event(line).contains("has expired ("));
            }
            drop(gateway);
            if memory == "0" {
                assert_step(&checked(&setup), step, "failed", words);
            }
        }
    }
    assert_eq!(origin.count(), 0, "no request was sent");
}

/// The pools of Pingora do not tell the trusted authorities of connections apart.
#[test]
fn profiles_with_other_certificates_never_share_a_connection() {
    let (authority, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let origin = origin();
    let store = Guarded::start(&authority, &clients, "localhost", origin.address());
    let (one, other) = (ClientFiles::new(&clients, false), ClientFiles::new(&clients, false));
    let mut doubting = one.settings(&authority);
    doubting["ca_file"] = json!(stranger.file());
    for memory in ["0", "64MiB"] {
        let gateway = Setup::bare()
            .profile("one", &store.url())
            .profile("other", &store.url())
            .profile("doubting", &store.url())
            .profile("bare", &store.url())
            .env("S3PROXY_CACHE_MEMORY", memory)
            .profile_settings("one", &one.settings(&authority))
            .profile_settings("other", &other.settings(&authority))
            .profile_settings("doubting", &doubting)
            .profile_settings("bare", &json!({"ca_file": authority.file()}))
            .tolerate("upstream_")
            .start();
        for (name, expected) in [
            ("one", 200),
            ("other", 200),
            ("doubting", 502),
            ("bare", 502),
            ("one", 200),
            ("doubting", 502),
        ] {
            // The first leaves an idle connection, which the next would use.
            let object = ["a", "b", "c"][usize::from(expected == 200)];
            let before = store.seen().len();
            let answer = gateway.get(&format!("/s3proxy/s3/{name}@sky/{object}.png?{before}"));
            assert_eq!(answer.status(), expected, "{name}, memory {memory}");
            gateway.line_of(&answer);
        }
    }
    let seen = store.seen();
    for client in [&one, &other] {
        let times = seen.iter().filter(|presented| **presented == client.der).count();
        assert!((2..=4).contains(&times), "{times} connections");
    }
}

#[test]
fn sts_gets_the_certificate_too() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = origin();
    accept_issued(&origin);
    let sts = Issuer::start(|_, _| {
        (200, sts_answer("ASIAISSUEDISSUED", "canary/OfAnIssuedKey", Duration::from_secs(3600)))
    });
    let plain: SocketAddr =
        sts.url().strip_prefix("http://").expect("http").parse().expect("an address");
    let behind = Guarded::start(&authority, &clients, "localhost", plain);
    let store = Guarded::start(&authority, &clients, "localhost", origin.address());
    let client = ClientFiles::new(&clients, false);
    let mut settings = client.settings(&authority);
    settings["credentials"] =
        json!({"role_arn": "arn:aws:iam::1:role/r", "sts_endpoint": behind.url()});
    let setup = Setup::bare().profile("p", &store.url()).profile_settings("p", &settings);
    let gateway = setup.start();
    assert_eq!(gateway.get("/s3proxy/s3/p@sky/a.png").text(), "tile");
    assert_eq!(sts.calls().len(), 1);
    assert_eq!(behind.seen(), std::slice::from_ref(&client.der));
}

#[test]
fn a_renewed_certificate_is_presented_and_the_cache_stays() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = origin();
    let store = Guarded::start(&authority, &clients, "localhost", origin.address());
    let mut client = ClientFiles::new(&clients, false);
    let profiles = json!({"profiles": {"p": client.settings(&authority)}});
    let profiles = {
        let mut profiles = profiles;
        profiles["profiles"]["p"]["endpoint"] = json!(store.url());
        profiles.to_string()
    };
    let keys =
        format!("[p]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    let files = Files::new(Way::Rename, &keys, &profiles);
    let setup = files.setup(Setup::bare().env("S3PROXY_CACHE_MEMORY", "64MiB"), "50ms");
    let gateway = setup.tolerate("configuration not reloaded").start();
    assert_eq!(gateway.object("p@sky/a.png").status(), 200);
    // A key without its certificate is not taken over.
    let (_, other) = pair(&clients, "gateway", false);
    let old = std::fs::read_to_string(client.key()).expect("the key");
    replace(&client.key(), &other);
    gateway.expect_log("the mistake", |line| {
        let text = event(line);
        text.contains("configuration not reloaded")
            && text.contains("is not the private key of the certificate")
            && text.contains("profiles.p.client_key_file")
    });
    assert_eq!(gateway.object("p@sky/b.png").status(), 200, "with the one before");
    replace(&client.key(), &old);
    let before = client.der.clone();
    client.renew(&clients, false);
    let line = await_reload(&gateway, "TLS now with");
    assert!(
        line.ends_with("profile p: TLS now with its own CA certificates and a client certificate"),
        "{line}"
    );
    let kept = gateway.object("p@sky/a.png");
    assert!(status(&kept).contains("hit"), "{}", status(&kept));
    assert_eq!(gateway.object("p@sky/c.png").status(), 200);
    let seen = store.seen();
    assert!(seen.contains(&before));
    assert_eq!(seen.last(), Some(&client.der), "a new connection");
    assert!(!gateway.log_text().contains("restart required"), "{}", gateway.log_text());
}

#[test]
fn every_mistake_in_the_files_ends_the_start_in_one_run() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let client = ClientFiles::new(&clients, false);
    let other = ClientFiles::new(&clients, false);
    let (gone, ca) = (client.folder.path().join("gone.pem"), authority.file());
    let setup = Setup::bare()
        .env("S3PROXY_LISTEN", &format!("127.0.0.1:{}", free_port()))
        .profile("a", "https://localhost:1")
        .profile("b", "https://localhost:1")
        .profile("c", "https://localhost:1")
        .profile_settings("a", &json!({"ca_file": gone, "client_certificate_file": client.key()}))
        .profile_settings(
            "b",
            &json!({
                "ca_file": client.key(),
                "client_certificate_file": client.certificate(),
                "client_key_file": other.key(),
            }),
        )
        .profile_settings("c", &json!({"client_key_file": ca}));
    let run = setup.run();
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    let shown = format!("{}{}", run.stdout, run.stderr);
    for words in [
        "profiles.a.ca_file: ",
        "gone.pem\" cannot be read",
        "profiles.a.client_certificate_file: needs profiles.a.client_key_file",
        "client.key\" contains no PEM certificate",
        "is not the private key of the certificate",
        "profiles.c.client_key_file: needs profiles.c.client_certificate_file",
        "ca.pem\" contains no unencrypted private key in PEM",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
}
