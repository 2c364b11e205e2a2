//! The port for TLS: the same answers as on the plain one, certificates that are exchanged while clients
//! connect, and clients that never finish a handshake.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream as AsyncStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use crate::admin::Admin;
use crate::authority::Authority;
use crate::cached::with_cache;
use crate::client::{Client, Ending, PATIENCE};
use crate::faulty::runtime;
use crate::files::{Files, INI, Way, ini, section, yaml};
use crate::gateway::{Setup, free_port};
use crate::origin::Origin;
use crate::reload::{await_reload, event};
use crate::scrape;

mod clients;

const NAME: &str = "sky.example.org";

/// A certificate for this name and its private key, PEM.
pub(crate) fn pair(authority: &Authority, name: &str, has_expired: bool) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = date_time_ymd(if has_expired { 2020 } else { 2090 }, 1, 1);
    let certificate = params.signed_by(&key, &authority.issuer).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// A certificate whose subject has no common name, and its private key, PEM.
fn nameless(authority: &Authority) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["client.example".to_owned()]).expect("a name");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "an organization");
    let certificate = params.signed_by(&key, &authority.issuer).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// The files of the port for TLS, and its authority.
pub(crate) struct Edge {
    pub(crate) authority: Authority,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Edge {
    pub(crate) fn new() -> Self {
        let edge = Self {
            authority: Authority::new(),
            folder: tempfile::tempdir().expect("a folder"),
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
        };
        edge.write(&pair(&edge.authority, NAME, false));
        edge
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces both files, each by a rename.
    pub(crate) fn write(&self, (certificate, key): &(String, String)) {
        for (name, text) in [("tls.key", key), ("tls.crt", certificate)] {
            let new = self.path("new");
            std::fs::write(&new, text).expect("written");
            std::fs::rename(&new, self.path(name)).expect("renamed");
        }
    }

    /// Writes several pairs: `0.crt` and `0.key`, and so on.
    pub(crate) fn write_all(&self, pairs: &[(String, String)]) {
        for (at, (certificate, key)) in pairs.iter().enumerate() {
            for (ending, text) in [("key", key), ("crt", certificate)] {
                let new = self.path("new");
                std::fs::write(&new, text).expect("written");
                std::fs::rename(&new, self.path(&format!("{at}.{ending}"))).expect("renamed");
            }
        }
    }

    pub(crate) fn setup(&self, setup: Setup) -> Setup {
        setup.yaml(json!({
            "tls": {
                "listen": self.address.to_string(),
                "certificate_file": self.path("tls.crt"),
                "key_file": self.path("tls.key"),
            },
            "server": { "reload_interval": "50ms" },
        }))
    }

    /// As [`Edge::setup`], with another port that expects headers of the PROXY protocol.
    pub(crate) fn setup_behind(&self, setup: Setup) -> Setup {
        let balanced = format!("127.0.0.1:{} proxy_protocol", free_port());
        let listen = [self.address.to_string(), balanced];
        self.setup(setup).yaml(json!({ "tls": { "listen": listen } }))
    }

    /// Has the profile present the certificate of the port to its store, if that is behind TLS.
    pub(crate) fn with_client_certificate(&self, setup: Setup, profile: &str) -> Setup {
        let (certificate, key) = (self.path("tls.crt"), self.path("tls.key"));
        let files = json!({"client_certificate_file": certificate, "client_key_file": key});
        setup.profile_settings(profile, &files).tolerate("which is plain HTTP")
    }

    pub(crate) fn connector(&self, pair: Option<&(String, String)>) -> TlsConnector {
        self.connector_with(pair, &[b"http/1.1"])
    }

    /// A connector for clients that speak these protocols.
    pub(crate) fn connector_for(&self, protocols: &[&[u8]]) -> TlsConnector {
        self.connector_with(None, protocols)
    }

    fn connector_with(&self, pair: Option<&(String, String)>, protocols: &[&[u8]]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let authority =
            CertificateDer::from_pem_file(self.authority.file()).expect("a certificate");
        roots.add(authority).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain =
                    vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn handshake(
        &self,
        connector: &TlsConnector,
    ) -> std::io::Result<TlsStream<AsyncStream>> {
        self.handshake_as(connector, NAME).await
    }

    /// A handshake that asks for this name.
    pub(crate) async fn handshake_as(
        &self,
        connector: &TlsConnector,
        name: &'static str,
    ) -> std::io::Result<TlsStream<AsyncStream>> {
        let stream = AsyncStream::connect(self.address).await?;
        connector.connect(ServerName::try_from(name).expect("a name"), stream).await
    }

    /// Opens one connection through TLS to another port.
    pub(crate) fn connect_to(&self, address: SocketAddr) -> std::io::Result<Client> {
        let connecting = async {
            let stream = AsyncStream::connect(address).await?;
            let name = ServerName::try_from(NAME).expect("a name");
            self.connector(None).connect(name, stream).await
        };
        relayed(runtime().block_on(connecting)?)
    }

    /// Opens one connection through TLS, which the client of this suite uses as a plain one.
    pub(crate) fn connect(&self, pair: Option<&(String, String)>) -> std::io::Result<Client> {
        self.connect_again(&self.connector(pair)).map(|(client, _)| client)
    }

    /// As [`Edge::connect`]: a connector resumes the session of its last connection, if the gateway does.
    fn connect_again(&self, connector: &TlsConnector) -> std::io::Result<(Client, HandshakeKind)> {
        let far = runtime().block_on(self.handshake(connector))?;
        let kind = far.get_ref().1.handshake_kind().expect("a handshake");
        Ok((relayed(far)?, kind))
    }
}

/// This connection as a plain one.
pub(crate) fn relayed(mut far: TlsStream<AsyncStream>) -> std::io::Result<Client> {
    let near = runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let near = listener.local_addr()?;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            tokio::io::copy_bidirectional(&mut stream, &mut far).await
        });
        std::io::Result::Ok(near)
    })?;
    Client::try_connect(near)
}

fn metric(admin: Admin, name: &str) -> f64 {
    let answer = admin.send("GET", "/metrics");
    *scrape::parse(answer.text()).get(name).unwrap_or_else(|| panic!("no {name}"))
}

fn handshakes(admin: Admin, outcome: &str) -> f64 {
    metric(
        admin,
        &format!("s3proxy_tls_handshakes_total{{listener=\"public\",outcome=\"{outcome}\"}}"),
    )
}

fn await_handshakes(admin: Admin, outcome: &str, number: f64) {
    let deadline = Instant::now() + PATIENCE;
    while handshakes(admin, outcome) < number {
        assert!(Instant::now() < deadline, "{outcome}: {}", handshakes(admin, outcome));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything that arrives until the gateway closes the connection.
fn read_all(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut arrived = Vec::new();
    let _closed_or_reset = stream.read_to_end(&mut arrived);
    String::from_utf8_lossy(&arrived).into_owned()
}

#[test]
fn objects_and_pages_arrive_as_on_the_plain_port() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let large: Vec<u8> = (0..6_000_000_u32).map(|at| at.to_le_bytes()[0] ^ 7).collect();
    origin.put("large.fits", large.clone());
    let edge = Edge::new();
    let gateway = edge.setup(with_cache(&origin.url())).start();
    let mut client = edge.connect(None).expect("a handshake");
    for _ in 0..3 {
        let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]);
        assert_eq!((answer.status(), answer.text()), (200, "tile"));
        let line = gateway.line_of(&answer);
        let url = "https://gateway.test/s3proxy/s3/sky/a.png";
        assert_eq!(line["httpRequest"]["requestUrl"], url);
    }
    for (range, bytes) in [("bytes=0-9", &large[..10]), ("bytes=5999990-", &large[5_999_990..])] {
        let answer = client.exchange("GET", "/s3proxy/s3/sky/large.fits", &[("Range", range)]);
        assert_eq!((answer.status(), &answer.body[..]), (206, bytes), "{range}");
    }
    let answer = client.exchange("GET", "/s3proxy/s3/sky/large.fits", &[]);
    assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
    assert!(answer.body == large, "other bytes");
    let head = client.exchange("HEAD", "/s3proxy/s3/sky/a.png", &[]);
    assert_eq!((head.status(), head.body.len()), (200, 0));
    let missing = client.exchange("GET", "/s3proxy/s3/sky/none.png", &[]);
    assert!(missing.refused("object_not_found", "message").is_string());
    let moved = client.exchange("GET", "/s3proxy/docs/", &[]);
    assert_eq!(moved.header("location"), Some("https://gateway.test/s3proxy/docs"));
    assert_eq!(gateway.object("sky/a.png").text(), "tile", "on the plain port");
}

#[test]
fn handshakes_in_a_row_of_exchanged_certificates_all_succeed() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let (setup, admin) = Admin::of(edge.setup(with_cache(&origin.url())));
    let gateway = setup.start();
    let mut old = edge.connect(None).expect("a handshake");
    let connector = edge.connector(None);
    for exchange in 0..4 {
        edge.write(&pair(&edge.authority, NAME, false));
        for _ in 0..50 {
            let made = runtime().block_on(edge.handshake(&connector));
            assert!(made.is_ok(), "{made:?}");
        }
        gateway.expect_log("the new certificate", |line| {
            event(line).starts_with("TLS certificate for sky.example.org")
                && event(line).ends_with("in use")
        });
        let answer = old.exchange("GET", "/s3proxy/s3/sky/a.png", &[]);
        assert_eq!(answer.text(), "tile", "an open connection, after exchange {exchange}");
    }
    assert_eq!(handshakes(admin, "done"), 201.0);
    assert_eq!(handshakes(admin, "failed"), 0.0);
    let expires = metric(
        admin,
        "s3proxy_tls_certificate_not_after_timestamp_seconds{listener=\"public\",name=\"sky.example.org\"}",
    );
    assert_eq!(expires, 3_786_912_000.0, "2090-01-01");
}

#[test]
fn a_certificate_that_cannot_be_used_leaves_the_one_before_in_force() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let gateway = edge.setup(with_cache(&origin.url())).start();
    let good = pair(&edge.authority, NAME, false);
    let stranger = pair(&edge.authority, NAME, false);
    for (bad, mentions) in [
        ((good.0.clone(), stranger.1), "is not the private key of the certificate"),
        ((String::from("rubbish"), good.1.clone()), "contains no PEM certificate"),
        (pair(&edge.authority, NAME, true), "it is not valid now; it is valid from 1975-01-01"),
    ] {
        edge.write(&bad);
        let line = gateway.expect_log("a refused certificate", |line| {
            event(line).starts_with("configuration not reloaded") && event(line).contains(mentions)
        });
        assert!(!event(&line).contains("PRIVATE"), "{line}");
        let mut client = edge.connect(None).expect("the certificate before");
        assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).text(), "tile");
        // Another one: the same again would be no change.
        edge.write(&pair(&edge.authority, NAME, false));
        gateway.expect_log("the good certificate", |line| event(line).ends_with("in use"));
    }
    // One that is gone.
    std::fs::remove_file(edge.path("tls.key")).expect("removed");
    gateway.expect_log("a missing key", |line| {
        event(line).starts_with("configuration not reloaded")
            && event(line).contains("tls.key\" cannot be read")
    });
    let mut client = edge.connect(None).expect("the certificate before");
    assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).text(), "tile");
}

/// A leaked access key was not replaced until somebody had repaired the certificate.
#[test]
fn a_new_access_key_applies_while_a_certificate_and_a_key_do_not_belong_together() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    for of_store in [false, true] {
        let edge = Edge::new();
        let of_profile = yaml(&[("hips", &origin.url())]);
        let (crt, key) = (edge.path("tls.crt"), edge.path("tls.key"));
        let (crt, key) = (crt.display(), key.display());
        let text = match of_store {
            true => format!(
                "{of_profile}    client_certificate_file: {crt}\n    client_key_file: {key}\n"
            ),
            false => {
                let listen = edge.address;
                format!(
                    "{of_profile}tls:\n  listen: {listen}\n  certificate_file: {crt}\n  key_file: {key}\n"
                )
            }
        };
        let files = Files::new(Way::Rename, &ini(&["hips"]), &text);
        let setup = files.setup(Setup::new(&origin.url()), "50ms");
        let gateway = setup.tolerate("which is plain HTTP").start();
        let good = pair(&edge.authority, NAME, false);
        edge.write(&(good.0.clone(), pair(&edge.authority, NAME, false).1));
        let problem = "is not the private key of the certificate";
        gateway.expect_log("a refused certificate", |line| {
            event(line).starts_with("configuration not reloaded") && event(line).contains(problem)
        });
        for (id, end) in [("AKIAROTATED00001", "0001"), ("AKIAROTATED00002", "0002")] {
            origin.accept_key(id, "canary/OfRotation");
            files.write_one(INI, &section("hips", id, "canary/OfRotation"));
            gateway.expect_log("the certificate before stays in force", |line| {
                event(line).starts_with("certificates not replaced")
                    && event(line).contains(problem)
            });
            await_reload(&gateway, &format!("replaced by ...{end}"));
            assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
            if !of_store {
                let answer = edge.connect(None).expect("a handshake").exchange("GET", "/", &[]);
                assert_eq!(answer.status(), 200);
            }
        }
        edge.write(&good);
        let repaired = if of_store { "TLS now with" } else { "profiles unchanged" };
        await_reload(&gateway, repaired);
        gateway.assert_log_clean();
    }
}

#[test]
fn plain_http_on_the_port_is_told_so() {
    let edge = Edge::new();
    let (setup, admin) = Admin::of(edge.setup(Setup::new("http://127.0.0.1:1")));
    let gateway = setup.start();
    let mut client = Client::connect(edge.address);
    let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]);
    assert_eq!(answer.status(), 400);
    let message = answer.refused("tls_required", "message");
    assert_eq!(message, "this port serves HTTPS: use https:// in the URL");
    assert_eq!(answer.ending, Ending::Whole);
    gateway.line_of(&answer);
    assert_eq!(handshakes(admin, "plain_http"), 1.0);
}

/// Each line of a scanner was a refused request in the log.
#[test]
fn a_scanner_of_ports_leaves_no_line_in_the_log() {
    let edge = Edge::new();
    let (setup, admin) = Admin::of(edge.setup(Setup::new("http://127.0.0.1:1")));
    let gateway = setup.start();
    let probes: [&[u8]; 6] = [
        b"\x05\x01\x00\x00\x00\x00",
        b"\r\n\r\n\r\n",
        b"\x00\x0c\x00\x00\x10\x00\x00\x00",
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00",
        b"\x16\x03\x01\x00\x05hello",
        b"\xff\xff\xff\xff\xff\xff",
    ];
    for probe in probes {
        let mut scanner = TcpStream::connect(edge.address).expect("accepted");
        scanner.write_all(probe).expect("written");
        let answer = read_all(&mut scanner);
        assert!(!answer.starts_with("HTTP"), "{answer}");
    }
    await_handshakes(admin, "failed", 6.0);
    assert_eq!(handshakes(admin, "plain_http"), 0.0);
    let mut client = edge.connect(None).expect("a handshake");
    let line = gateway.line_of(&client.exchange("GET", "/s3proxy/s3/x/none.txt", &[]));
    assert!(line["status"].is_number());
    let lines = gateway.lines();
    let refused = lines.iter().filter(|line| line.text.contains("refused request")).count();
    assert_eq!(refused, 0, "{lines:#?}");
}

#[test]
fn clients_that_never_finish_a_handshake_are_ended_and_counted() {
    let edge = Edge::new();
    let setup = edge.setup(Setup::new("http://127.0.0.1:1"));
    let setup = setup.env("S3PROXY_DOWNSTREAM_HEADER_TIMEOUT", "1s");
    let (setup, admin) = Admin::of(setup.env("S3PROXY_DOWNSTREAM_MAX_CONNECTIONS", "16"));
    let gateway = setup.start();
    let mut silent = TcpStream::connect(edge.address).expect("accepted");
    let mut half = TcpStream::connect(edge.address).expect("accepted");
    half.write_all(&[22, 3, 1, 2, 0, 1]).expect("the start of a handshake");
    let began = Instant::now();
    for stream in [&mut silent, &mut half] {
        assert_eq!(read_all(stream), "");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    await_handshakes(admin, "timeout", 2.0);
    let mut rubbish = TcpStream::connect(edge.address).expect("accepted");
    rubbish.write_all(&[[22, 3, 1, 0, 5].as_slice(), b"hello"].concat()).expect("written");
    let _alert = read_all(&mut rubbish);
    let gone = TcpStream::connect(edge.address).expect("accepted");
    drop(gone);
    await_handshakes(admin, "failed", 2.0);
    // Handshakes count among the connections: the seventeenth takes the place of the first.
    let mut held: Vec<_> =
        (0..16).map(|_| TcpStream::connect(edge.address).expect("accepted")).collect();
    let deadline = Instant::now() + PATIENCE;
    while metric(admin, "s3proxy_connections") < 16.0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut beyond = edge.connect(None).expect("a handshake");
    assert_eq!(beyond.exchange("GET", "/", &[]).status(), 200);
    assert_eq!(read_all(&mut held[0]), "");
    await_handshakes(admin, "displaced", 1.0);
    drop((held, gateway));
}

#[test]
fn mistakes_of_the_port_end_the_start_and_are_all_reported() {
    let missing = Path::new("/nonexistent/tls.crt");
    let run = Setup::new("http://127.0.0.1:1")
        .yaml(json!({
            "listen": "127.0.0.1:8443",
            "tls": { "listen": "127.0.0.1:8443", "certificate_file": missing },
        }))
        .run();
    assert_eq!(run.status.code(), Some(2));
    for part in ["need different ports", "needs tls.key_file", "tls.crt\" cannot be read"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}
