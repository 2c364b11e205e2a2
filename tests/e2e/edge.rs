//! The edge: several addresses, several certificates, TLS of the admin listener, and the way of clients to HTTPS.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::cached::with_cache;
use crate::client::{self, PATIENCE};
use crate::faulty::runtime;
use crate::gateway::{Setup, free_port};
use crate::origin::Origin;
use crate::reload::event;
use crate::scrape;
use crate::tls_port::{Edge, pair};

mod handshakes;

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The certificate that a client gets which asks for this name.
fn shown(edge: &Edge, name: &'static str) -> CertificateDer<'static> {
    let connector = edge.connector(None);
    let stream = runtime().block_on(edge.handshake_as(&connector, name)).expect(name);
    let (_, tls) = stream.get_ref();
    tls.peer_certificates().expect("certificates")[0].clone()
}

#[test]
fn a_client_gets_the_certificate_for_the_name_that_it_asks_for() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let names = ["sky.example.org", "*.images.example.org", "other.example.net"];
    let mut pairs: Vec<_> = names.map(|name| pair(&edge.authority, name, false)).into();
    edge.write_all(&pairs);
    let paths = |ending: &str| -> Vec<_> {
        (0..3).map(|at| edge.path(&format!("{at}.{ending}"))).collect()
    };
    let gateway = edge
        .setup(with_cache(&origin.url()))
        .yaml(json!({ "tls": { "certificate_file": paths("crt"), "key_file": paths("key") } }))
        .start();
    let asked = ["sky.example.org", "a.images.example.org", "other.example.net"];
    let before = asked.map(|name| shown(&edge, name));
    assert!(before[0] != before[1] && before[1] != before[2] && before[0] != before[2]);
    // One of them is renewed, the others stay.
    pairs[1] = pair(&edge.authority, names[1], false);
    edge.write_all(&pairs);
    gateway.expect_log("the new certificate", |line| {
        event(line).starts_with("TLS certificate for *.images.example.org")
            && event(line).ends_with("in use")
    });
    for same in [names[0], names[2]] {
        let certificate = format!("TLS certificate for {same}");
        let log = gateway.log_text();
        let told = log.lines().find(|it| it.contains(&certificate) && it.contains("is in use"));
        assert_eq!(told, None, "it is not new");
    }
    let after = asked.map(|name| shown(&edge, name));
    assert_eq!(
        [before[0] == after[0], before[1] == after[1], before[2] == after[2]],
        [true, false, true]
    );
    // One that has expired leaves all in force.
    edge.write_all(&[pairs[0].clone(), pairs[1].clone(), pair(&edge.authority, names[2], true)]);
    gateway.expect_log("the refusal", |line| {
        event(line).starts_with("configuration not reloaded")
            && event(line).contains("TLS certificate for other.example.net")
    });
    assert!(asked.map(|name| shown(&edge, name)) == after);
    let page = client::send(gateway.admin.expect("an admin listener"), "GET", "/metrics", &[]);
    let series = scrape::parse(page.text());
    for name in names {
        // 1975-01-01 to 2090-01-01.
        for (end, seconds) in [("not_before", 157_766_400.0), ("not_after", 3_786_912_000.0)] {
            let series_name = format!(
                "s3proxy_tls_certificate_{end}_timestamp_seconds{{listener=\"public\",name=\"{name}\"}}"
            );
            assert_eq!(series.get(&series_name), Some(&seconds), "{name} {end}");
        }
    }
}

#[test]
fn several_addresses_are_listened_on_plain_and_tls_side_by_side() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let (first, second, other_tls, all) = (free_port(), free_port(), free_port(), free_port());
    let _gateway = edge
        .setup(with_cache(&origin.url()))
        .yaml(json!({ "tls": { "listen": [edge.address.to_string(), local(other_tls).to_string()] } }))
        .listen(&local(first).to_string())
        .env(
            "S3PROXY_LISTEN",
            &format!(
                "127.0.0.1:{first}, [::1]:{first}, 127.0.0.2:{second}, 0.0.0.0:{all}, [::]:{all}"
            ),
        )
        .start();
    for address in [
        local(first),
        SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], first)),
        SocketAddr::from(([127, 0, 0, 2], second)),
        // The whole of both families at one port.
        local(all),
        SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], all)),
    ] {
        let answer = client::send(address, "GET", "/s3proxy/s3/sky/a.png", &[]);
        assert_eq!((answer.status(), answer.text()), (200, "tile"), "{address}");
    }
    for port in [edge.address.port(), other_tls] {
        let mut client = edge.connect_to(local(port)).expect("a handshake");
        let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]);
        assert_eq!((answer.status(), answer.text()), (200, "tile"), "{port}");
    }
}

#[test]
fn requests_without_tls_are_redirected_and_probes_are_not() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let gateway = edge
        .setup(with_cache(&origin.url()))
        .yaml(json!({ "tls": { "redirect_to_https": true, "hsts_max_age": "1d" } }))
        .start();
    let tls = edge.address.port();
    for (method, path, headers, status) in [
        ("GET", "/s3proxy/s3/sky/a.png?x=1", &[("Accept", "*/*")][..], 301),
        ("HEAD", "/s3proxy/s3/sky/a.png?x=1", &[], 301),
        ("OPTIONS", "/s3proxy/s3/sky/a.png?x=1", &[], 308),
        ("DELETE", "/s3proxy/s3/sky/a.png?x=1", &[], 308),
        ("GET", "/unknown?x=1", &[], 301),
        ("GET", "//evil.example/%0d%0aX:?x=1", &[], 301),
        ("GET", "/?x=1", &[("Accept", "text/html")], 301),
    ] {
        let answer = gateway.send(method, path, headers);
        assert_eq!(answer.status(), status, "{method} {path}");
        let location = format!("https://gateway.test:{tls}{path}");
        assert_eq!(answer.header("location"), Some(location.as_str()), "{method} {path}");
        assert_eq!(answer.header("strict-transport-security"), None);
        // It depended on both, and a cache took it for the answer to all.
        let vary =
            if path.starts_with("/?") { "X-Forwarded-Proto, Accept" } else { "X-Forwarded-Proto" };
        let said = answer.head.all("vary").join(", ");
        assert!(said.eq_ignore_ascii_case(vary), "{method} {path}: {said}");
        let line = gateway.line_of(&answer);
        assert_eq!(line["status"], status, "{line}");
    }
    // Kubelet requests `/`; and a proxy that is trusted speaks TLS with the client.
    assert_eq!(gateway.get("/").status(), 200);
    let behind = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")];
    assert_eq!(gateway.object_with("sky/a.png", &behind).text(), "tile");
    let behind = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "http")];
    assert_eq!(gateway.object_with("sky/a.png", &behind).status(), 301);
    // Over TLS each answer says so: of memory, of the store, a refusal, a page.
    let mut client = edge.connect(None).expect("a handshake");
    for path in [
        "/s3proxy/s3/sky/a.png",
        "/s3proxy/s3/sky/a.png",
        "/s3proxy/s3/sky/none.png",
        "/s3proxy/",
        "/",
        "/s3proxy/docs/",
    ] {
        let answer = client.exchange("GET", path, &[]);
        assert!(answer.status() != 301, "{path}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=86400"), "{path}");
    }
    // Also where the head is no request.
    for head in ["GET / HTTP/1.1\r\nHost: h\r\nHost: h", "GET /a b HTTP/1.1"] {
        let mut client = edge.connect(None).expect("a handshake");
        client.send(format!("{head}\r\n\r\n"));
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=86400"), "{head}");
    }
    let head = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[("Range", "bytes=0-1")]);
    assert_eq!(
        (head.status(), head.header("strict-transport-security")),
        (206, Some("max-age=86400"))
    );
}

#[test]
fn a_redirect_has_the_host_of_the_client_and_no_other() {
    let edge = Edge::new();
    let gateway = edge
        .setup(Setup::new("http://127.0.0.1:1"))
        .yaml(json!({ "tls": { "redirect_to_https": true, "public_port": 443 } }))
        .start();
    let location = |head: &str| {
        let mut client = gateway.connect();
        client.send(format!("{head}\r\n\r\n"));
        let answer = client.answer("GET").expect("an answer");
        (answer.status(), answer.header("location").map(str::to_owned))
    };
    for (head, expected) in [
        ("GET /a HTTP/1.1\r\nHost: sky.example.org:8080", "https://sky.example.org/a"),
        ("GET /a HTTP/1.1\r\nHost: [::1]:8080", "https://[::1]/a"),
        (
            "GET http://sky.example.org:80/a?b HTTP/1.1\r\nHost: evil.example",
            "https://sky.example.org/a?b",
        ),
        ("GET /a HTTP/1.0\r\nHost: sky.example.org", "https://sky.example.org/a"),
        (
            "GET /a HTTP/1.1\r\nHost: sky.example.org\r\nX-Forwarded-Host: evil.example",
            "https://sky.example.org/a",
        ),
    ] {
        assert_eq!(location(head), (301, Some(expected.to_owned())), "{head}");
    }
    for head in [
        "GET /a HTTP/1.0",
        "GET /a HTTP/1.1\r\nHost: ",
        "GET /a HTTP/1.1\r\nHost: :8080",
        "GET /a HTTP/1.1\r\nHost: user@evil.example",
        "GET /a HTTP/1.1\r\nHost: evil.example/x",
        "GET /a HTTP/1.1\r\nHost: evil.example, sky.example.org",
        "GET /a HTTP/1.1\r\nHost: a\r\nHost: b",
        "GET /a HTTP/1.1\r\nHost: evil.example\tx",
        "GET /a HTTP/1.1\r\nHost: evil.example:99999999",
    ] {
        assert_eq!(location(head), (400, None), "{head}");
    }
}

#[test]
fn the_admin_listener_speaks_tls_and_asks_for_certificates() {
    let edge = Edge::new();
    let ca = edge.path("clients.pem");
    std::fs::copy(edge.authority.file(), &ca).expect("copied");
    let gateway = Setup::new("http://127.0.0.1:1")
        .yaml(json!({
            "admin": {
                "listen": edge.address.to_string(),
                "tls": {
                    "certificate_file": edge.path("tls.crt"),
                    "key_file": edge.path("tls.key"),
                    "client_ca_file": ca,
                },
                "hosts": ["gateway.test"],
            },
            "server": { "reload_interval": "50ms" },
        }))
        .start();
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(edge.address).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = |pair: Option<&(String, String)>, method: &str, path: &str| {
        let mut client = edge.connect(pair).expect("a handshake");
        client.exchange(method, path, &[]).status()
    };
    let operator = pair(&edge.authority, "operator", false);
    for (method, path, without, with) in [
        ("GET", "/livez", 200, 200),
        ("GET", "/readyz", 200, 200),
        ("GET", "/metrics", 403, 200),
        ("GET", "/status", 403, 200),
        ("GET", "/", 403, 200),
        ("GET", "/livez/", 403, 404),
        ("GET", "/livez?x", 403, 200),
        ("POST", "/livez", 403, 405),
        ("PURGE", "/sky/a.png", 403, 409),
    ] {
        assert_eq!(status(None, method, path), without, "{method} {path}");
        assert_eq!(status(Some(&operator), method, path), with, "{method} {path}");
    }
    // Of another authority: no probe either.
    let stranger = pair(&crate::authority::Authority::new(), "intruder", false);
    let mut refused = edge.connect(Some(&stranger));
    let answered = refused.as_mut().is_ok_and(|client| {
        client.request("GET", "/livez", &[]);
        client.answer("GET").is_some()
    });
    assert!(!answered);
    // Plain HTTP is told so.
    let answer = client::send(edge.address, "GET", "/livez", &[]);
    assert_eq!(
        answer.refused("tls_required", "message"),
        "this port serves HTTPS: use https:// in the URL"
    );
    // A renewed certificate is used without a restart.
    edge.write(&pair(&edge.authority, "sky.example.org", false));
    gateway.expect_log("the new certificate", |line| event(line).ends_with("in use"));
    assert_eq!(status(Some(&operator), "GET", "/metrics"), 200);
}

#[test]
fn commands_reach_an_admin_listener_with_tls_by_its_certificate() {
    let edge = Edge::new();
    let other = Edge::new();
    let files = |edge: &Edge| json!({ "certificate_file": edge.path("tls.crt"), "key_file": edge.path("tls.key") });
    let setup = || {
        with_cache("http://127.0.0.1:1")
            .yaml(json!({ "admin": { "listen": edge.address.to_string(), "tls": files(&edge) } }))
    };
    let _gateway = setup().start();
    let address = edge.address.to_string();
    let (right, wrong) = (edge.path("tls.crt"), other.path("tls.crt"));
    let (right, wrong) = (right.to_str().expect("UTF-8"), wrong.to_str().expect("UTF-8"));
    for (args, code) in [
        (&["status", "--json"][..], 0),
        (&["purge", "sky/a.png"], 0),
        (&["status", "--json", "--replicas", &address, "--server-certificate-file", right], 0),
        (&["purge", "--admin", &address, "--server-certificate-file", right, "sky/a.png"], 0),
        (&["status", "--json", "--replicas", &address, "--server-certificate-file", wrong], 1),
        (&["status", "--json", "--replicas", &address], 1),
        (&["purge", "--admin", &address, "--server-certificate-file", wrong, "sky/a.png"], 1),
    ] {
        let run = setup().args(args).run();
        assert_eq!(run.status.code(), Some(code), "{args:?}: {}{}", run.stdout, run.stderr);
    }
}
