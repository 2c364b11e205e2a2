//! Clients with certificates: who is served, as which user, and what a session of before is worth.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::HandshakeKind;

use super::{Edge, await_handshakes, nameless, pair};
use crate::admin::Admin;
use crate::authority::Authority;
use crate::cached::with_cache;
use crate::faulty::{Gate, runtime};
use crate::files::{Files, Way, YAML};
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::overload::slow_behind;
use crate::reload::event;

#[test]
fn a_client_certificate_is_required_and_names_the_user() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let ca = edge.authority.file();
    let setup = edge.setup(with_cache(&origin.url())).yaml(json!({
        "tls": { "client_ca_file": ca },
        "require_user": true,
    }));
    let (setup, admin) = Admin::of(setup);
    let gateway = setup.start();
    let stranger = pair(&Authority::new(), "intruder", false);
    for pair in [None, Some(&stranger)] {
        // With TLS 1.3 the client learns of the refusal when it reads.
        let refused = match edge.connect(pair) {
            Err(_) => true,
            Ok(mut client) => {
                client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
                client.answer("GET").is_none()
            }
        };
        assert!(refused, "served without a certificate of the authority");
    }
    await_handshakes(admin, "failed", 2.0);
    let mut client =
        edge.connect(Some(&pair(&edge.authority, "reader-1", false))).expect("accepted");
    let spoofed = [("X-Auth-Request-User", "somebody")];
    let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", &spoofed);
    assert_eq!((answer.status(), answer.text()), (200, "tile"));
    assert_eq!(gateway.line_of(&answer)["user"], "reader-1");
}

/// A reset overtook the alert: a client of TLS 1.3 sends its request before it can know that its certificate is refused.
#[test]
fn a_client_whose_certificate_is_refused_reads_the_alert_although_it_has_sent_its_request() {
    let edge = Edge::new();
    let setup = edge.setup(Setup::new("http://127.0.0.1:1"));
    let ca = edge.authority.file();
    let _gateway = setup.yaml(json!({ "tls": { "client_ca_file": ca } })).start();
    let connector = edge.connector(Some(&pair(&Authority::new(), "intruder", false)));
    let told = runtime().block_on(async {
        let mut stream = edge.handshake(&connector).await.expect("the client's part of it");
        for _ in 0..10 {
            stream.write_all(&[b'x'; 1000]).await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stream.read(&mut [0; 100]).await
    });
    let alert = told.expect_err("an alert").to_string();
    assert!(alert.contains("received fatal alert"), "{alert}");
}

/// It was told that a header is missing, which does not count on its connection; and the header counted all the same.
#[test]
fn a_certificate_without_a_common_name_is_told_what_it_lacks_and_names_nobody() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let setup = edge.setup(with_cache(&origin.url())).yaml(json!({
        "tls": { "client_ca_file": edge.authority.file() },
        "require_user": true,
    }));
    let gateway = setup.start();
    let mut client = edge.connect(Some(&nameless(&edge.authority))).expect("accepted");
    let header = ("X-Auth-Request-User", "somebody");
    for headers in [&[][..], &[header]] {
        let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", headers);
        assert_eq!(answer.status(), 422, "{headers:?}");
        let detail = answer.refused("user_missing", "detail");
        let message = detail[0]["msg"].as_str().expect("a message");
        assert!(message.contains("certificate has no common name (CN)"), "{detail}");
        assert!(!detail.to_string().to_lowercase().contains("x-auth-request-user"), "{detail}");
        assert!(gateway.line_of(&answer)["user"].is_null());
    }
    let page = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[("Accept", "text/html")]);
    assert!(page.text().contains("Use a certificate with a common name,"), "{}", page.text());
    assert_eq!(origin.count(), 0);
    // Without TLS the header is what is missing.
    let detail = gateway.object("sky/a.png").refused("user_missing", "detail").to_string();
    assert!(detail.contains("x-auth-request-user"), "{detail}");
}

#[test]
fn the_limit_of_requests_of_a_user_is_that_of_its_certificate() {
    let gate = Gate::new();
    let store = slow_behind(&gate);
    let edge = Edge::new();
    let setup = edge.setup(with_cache(&store.url())).yaml(json!({
        "tls": { "client_ca_file": edge.authority.file() },
        "downstream": { "max_requests_per_user": 1 },
    }));
    let _gateway = setup.start();
    let of = |name: &str| pair(&edge.authority, name, false);
    let (greedy, modest) = (of("greedy"), of("modest"));
    let mut first = edge.connect(Some(&greedy)).expect("accepted");
    first.request("GET", "/s3proxy/s3/sky/slow.png", &[]);
    store.await_requests(1);
    // No header makes it another user.
    let spoofed = [("X-Auth-Request-User", "modest")];
    let mut second = edge.connect(Some(&greedy)).expect("accepted");
    let refused = second.exchange("GET", "/s3proxy/s3/sky/a.png", &spoofed);
    assert_eq!(
        (refused.status(), refused.refused("user_saturated", "cause").is_string()),
        (429, true)
    );
    let mut other = edge.connect(Some(&modest)).expect("accepted");
    assert_eq!(other.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).status(), 200);
    gate.open();
    assert_eq!(first.answer("GET").expect("an answer").status(), 200);
}

/// Whether an object arrives. With TLS 1.3 a client learns that its certificate is refused when it reads.
fn is_served(edge: &Edge, connector: &TlsConnector) -> Option<HandshakeKind> {
    let (mut client, kind) = edge.connect_again(connector).ok()?;
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    let answer = client.answer("GET")?;
    (answer.status() == 200).then_some(kind)
}

/// A session that was resumed brought its certificate without a look at it: a client stayed a user after its certificate
/// had expired, and once also after its authority was gone.
#[test]
fn the_certificate_of_a_client_is_verified_with_each_connection() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let ca = edge.path("clients.pem");
    std::fs::copy(edge.authority.file(), &ca).expect("copied");
    let setup = edge.setup(with_cache(&origin.url()));
    let gateway = setup.yaml(json!({ "tls": { "client_ca_file": ca } })).start();
    let connector = edge.connector(Some(&pair(&edge.authority, "reader-1", false)));
    for _ in 0..3 {
        assert_eq!(is_served(&edge, &connector), Some(HandshakeKind::Full));
    }
    let other = Authority::new();
    std::fs::copy(other.file(), edge.path("new")).expect("copied");
    std::fs::rename(edge.path("new"), &ca).expect("renamed");
    gateway.expect_log("the other authority", |line| {
        event(line) == "tls.client_ca_file: other authorities of clients are in use"
    });
    assert!(!gateway.log_text().contains("is in use"), "its own certificate is the same");
    assert_eq!(is_served(&edge, &connector), None, "a client of the authority before");
    let client = edge.connector(Some(&pair(&other, "reader-2", false)));
    assert_eq!(is_served(&edge, &client), Some(HandshakeKind::Full));
}

/// The line did not say whose handshake it was.
#[test]
fn a_handshake_that_fails_is_found_in_the_log_by_the_address_of_the_client() {
    let edge = Edge::new();
    let setup = edge.setup(Setup::new("http://127.0.0.1:1")).env("S3PROXY_LOG_LEVEL", "DEBUG");
    let ca = edge.authority.file();
    let gateway = setup.yaml(json!({ "tls": { "client_ca_file": ca } })).start();
    let stranger = pair(&Authority::new(), "intruder", false);
    assert_eq!(is_served(&edge, &edge.connector(Some(&stranger))), None);
    // Which fault of the certificate comes first is for the library.
    gateway.expect_log("the failure", |line| {
        event(line).starts_with("TLS handshake with 127.0.0.1 failed: invalid peer certificate: ")
    });
}

/// Only files that the settings still named were compared.
#[test]
fn client_certificates_are_not_required_after_client_ca_file_was_removed() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let ca = edge.authority.file();
    let files = Files::new(Way::Rename, "", &format!("tls: {{client_ca_file: {}}}", ca.display()));
    let setup = files.setup(Setup::new(&origin.url()), "50ms");
    let gateway = setup
        .env("S3PROXY_TLS_LISTEN", &edge.address.to_string())
        .env("S3PROXY_TLS_CERTIFICATE_FILE", edge.path("tls.crt").to_str().expect("UTF-8"))
        .env("S3PROXY_TLS_KEY_FILE", edge.path("tls.key").to_str().expect("UTF-8"))
        .start();
    let anyone = edge.connector(None);
    assert_eq!(is_served(&edge, &anyone), None);
    files.write_one(YAML, "# no client_ca_file");
    gateway.expect_log("the reload", |line| event(line).ends_with("clients need no certificate"));
    assert_eq!(is_served(&edge, &anyone), Some(HandshakeKind::Full));
    assert_eq!(is_served(&edge, &anyone), Some(HandshakeKind::Resumed));
    files.write_one(YAML, &format!("tls: {{client_ca_file: {}}}", ca.display()));
    gateway.expect_log("the reload", |line| event(line).ends_with("in use"));
    assert_eq!(is_served(&edge, &anyone), None);
}
