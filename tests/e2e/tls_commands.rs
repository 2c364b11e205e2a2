//! Commands of the operator against listeners with TLS: whom they trust, and the certificate that they present.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::cached::with_cache;
use crate::client::PATIENCE;
use crate::explain::step;
use crate::gateway::{Finished, Setup};
use crate::origin::Origin;
use crate::tls_port::{Edge, pair};

/// An operator with files of its own.
struct Operator(TempDir);

impl Operator {
    /// With a certificate of this authority.
    fn of(authority: &Authority) -> Self {
        let operator = Self(tempfile::tempdir().expect("a folder"));
        let (certificate, key) = pair(authority, "operator", false);
        std::fs::write(operator.0.path().join("tls.crt"), certificate).expect("written");
        std::fs::write(operator.0.path().join("tls.key"), key).expect("written");
        operator
    }

    fn file(&self, name: &str) -> String {
        text(self.0.path().join(name))
    }

    /// The options that present the certificate.
    fn presents(&self) -> [String; 4] {
        let option = |name: &str| format!("--client-{name}-file");
        [option("certificate"), self.file("tls.crt"), option("key"), self.file("tls.key")]
    }
}

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("UTF-8").to_owned()
}

/// An edge whose certificate is for this name alone.
fn edge_for(name: &str) -> Edge {
    let edge = Edge::new();
    edge.write(&pair(&edge.authority, name, false));
    edge
}

fn files(edge: &Edge) -> Value {
    json!({
        "certificate_file": edge.path("tls.crt"),
        "key_file": edge.path("tls.key"),
        "client_ca_file": edge.authority.file(),
    })
}

fn run(setup: &Setup, args: &[&str], more: &[String]) -> Finished {
    let all: Vec<&str> = args.iter().copied().chain(more.iter().map(String::as_str)).collect();
    setup.clone().args(&all).run()
}

fn await_listening(edge: &Edge) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(edge.address).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_operator_with_a_certificate_reaches_an_admin_listener_that_demands_one() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = edge_for("127.0.0.1");
    let setup = with_cache(&origin.url())
        .yaml(json!({ "admin": { "listen": edge.address.to_string(), "tls": files(&edge) } }));
    let _gateway = setup.clone().start();
    await_listening(&edge);
    let address = edge.address.to_string();
    let url = format!("https://{address}");
    let other = Authority::new();
    let (right, wrong) = (text(edge.authority.file()), text(other.file()));
    let operator = Operator::of(&edge.authority);
    let stranger = Operator::of(&Authority::new());
    let trusts = |file: &str| ["--ca-file".to_owned(), file.to_owned()];
    let shown = ["--server-certificate-file".to_owned(), text(edge.path("tls.crt"))];
    let nothing: Vec<String> = Vec::new();
    let own = operator.presents().to_vec();
    let with = |first: &[String]| [first, &own].concat();
    let foreign = [&trusts(&right)[..], &stranger.presents()].concat();
    for (args, more, code, says) in [
        // By the configuration: its own certificate is trusted, none of a client is known.
        (&["status", "--json"][..], nothing.clone(), 1, "requires a client certificate"),
        (&["status", "--json"], own.clone(), 0, "\"error\":null"),
        (&["purge", "sky/a.png"], own.clone(), 0, ""),
        // By a private authority, for the address that is asked for.
        (&["status", "--json", "--replicas", &address], with(&trusts(&right)), 0, "\"error\":null"),
        (&["status", "--json", &url], with(&trusts(&right)), 0, "\"error\":null"),
        (&["purge", "--admin", &address, "sky/a.png"], with(&trusts(&right)), 0, ""),
        (&["purge", "--replicas", &address, "sky/a.png"], with(&shown), 0, "purged in 1 of 1"),
        // By the wrong one, by nobody, with the wrong certificate, without one.
        (
            &["status", "--json", "--replicas", &address],
            with(&trusts(&wrong)),
            1,
            "invalid peer certificate",
        ),
        (&["status", "--json", &url], own.clone(), 1, "invalid peer certificate"),
        (&["status", "--json", "--replicas", &address], own.clone(), 1, "say whom to trust"),
        (&["status", "--json", "--replicas", &address], foreign, 1, "no answer"),
        (&["status", "--json", &url], trusts(&right).to_vec(), 1, "--client-certificate-file"),
    ] {
        // The system's authorities, for URLs with https.
        let setup = setup.clone().env("SSL_CERT_FILE", &wrong);
        let run = run(&setup, args, &more);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.status.code(), Some(code), "{args:?} {more:?}: {said}");
        assert!(said.contains(says), "{args:?} {more:?}: {said}");
        assert!(!said.contains("PRIVATE"), "{said}");
    }
    let by_system = setup.clone().env("SSL_CERT_FILE", &right);
    let by_system = run(&by_system, &["status", "--json", &url], &own);
    assert_eq!(by_system.status.code(), Some(0), "{}{}", by_system.stdout, by_system.stderr);
    for (more, fault) in [
        (nothing, "403"),
        (own.clone(), ""),
        (with(&trusts(&wrong)), "invalid peer certificate"),
        (with(&trusts(&right)), ""),
    ] {
        let run = run(&setup, &["explain", "--json", "sky/a.png"], &more);
        let report = serde_json::from_str(&run.stdout).expect("JSON");
        let answer = step(&report, "gateway");
        assert_eq!(answer.starts_with("ok"), fault.is_empty(), "{more:?}: {answer}");
        assert!(answer.contains(fault), "{more:?}: {answer}");
    }
}

#[test]
fn check_says_how_long_the_certificates_of_the_gateway_are_valid() {
    let edge = Edge::new();
    let setup = edge.setup(Setup::new("http://127.0.0.1:1"));
    for (has_expired, words) in [
        (false, "tls: TLS certificate for sky.example.org, valid until 2090"),
        (true, "not valid now"),
    ] {
        edge.write(&pair(&edge.authority, "sky.example.org", has_expired));
        let said = setup.clone().args(&["check"]).run().stdout;
        let line = said.lines().find(|line| line.contains(" listener "));
        assert!(line.is_some_and(|line| line.contains(words)), "{words}: {said}");
        assert_eq!(line.is_some_and(|line| line.contains("FAILED")), has_expired, "{said}");
    }
}

#[test]
fn the_name_that_is_asked_for_is_in_the_certificate() {
    let edge = edge_for("elsewhere.example.org");
    let setup = Setup::new("http://127.0.0.1:1")
        .yaml(json!({ "admin": { "listen": edge.address.to_string(), "tls": files(&edge) } }));
    let _gateway = setup.clone().start();
    await_listening(&edge);
    let (address, ca) = (edge.address.to_string(), text(edge.authority.file()));
    let trusts = ["--ca-file".to_owned(), ca];
    let operator = Operator::of(&edge.authority);
    let more = [&trusts[..], &operator.presents()].concat();
    let refused = run(&setup, &["status", "--json", "--replicas", &address], &more);
    assert_eq!(refused.status.code(), Some(1), "another name");
    assert!(refused.stdout.contains("not valid for name"), "{}", refused.stdout);
}

#[test]
fn files_that_cannot_be_used_are_named_and_end_the_command() {
    let authority = Authority::new();
    let (one, other) = (Operator::of(&authority), Operator::of(&authority));
    let pair = |certificate: &str, key: &str| {
        ["--client-certificate-file", certificate, "--client-key-file", key].map(str::to_owned)
    };
    let ca = ["--ca-file".to_owned(), "/nonexistent/ca.pem".to_owned()];
    for (more, says) in [
        (ca.to_vec(), "/nonexistent/ca.pem: "),
        (["--ca-file".to_owned(), one.file("tls.key")].to_vec(), "contains no PEM certificate"),
        (pair(&one.file("tls.crt"), &other.file("tls.key")).to_vec(), "is not the private key of"),
        (pair(&one.file("tls.crt"), &one.file("tls.crt")).to_vec(), "no unencrypted private key"),
        (pair(&one.file("tls.key"), &one.file("tls.key")).to_vec(), "contains no PEM certificate"),
    ] {
        for args in [
            &["status", "--replicas", "127.0.0.1:1"][..],
            &["purge", "--admin", "127.0.0.1:1", "sky/a.png"],
            &["explain", "sky/a.png"],
            &["warm", "--url", "https://127.0.0.1:1", "sky/"],
        ] {
            let run = run(&Setup::bare(), args, &more);
            assert_eq!(run.status.code(), Some(2), "{args:?} {more:?}: {}", run.stderr);
            assert!(run.stderr.contains(says), "{args:?} {more:?}: {}", run.stderr);
        }
    }
}

#[test]
fn a_cache_is_filled_through_a_port_for_tls_that_demands_certificates() {
    let origin = Origin::start();
    let keys = ["a.png", "b.png", "c.png"];
    for key in keys {
        origin.put(key, "tile");
    }
    let edge = edge_for("127.0.0.1");
    let mut tls = files(&edge);
    tls["listen"] = edge.address.to_string().into();
    tls["redirect_to_https"] = true.into();
    let setup = with_cache(&origin.url()).yaml(json!({ "tls": tls }));
    let gateway = setup.clone().start();
    let operator = Operator::of(&edge.authority);
    let list = operator.file("list");
    std::fs::write(&list, keys.join("\n")).expect("written");
    let own = operator.presents();
    let trusts = ["--ca-file".to_owned(), text(edge.authority.file())];
    let url = format!("https://{}", edge.address);
    let (http, all) = (format!("http://{}", gateway.address), [&trusts[..], &own].concat());
    for (args, more, code, says) in [
        // Redirects are not followed: the run ends.
        (
            &["--url", &http][..],
            &[][..],
            1,
            ": 301, a redirect: name the address that it leads to with --url",
        ),
        (&["--url", &url], &trusts, 1, "failed"),
        // Of the configuration: the port for TLS, since the other one redirects.
        (&[], &own, 0, "3 from the store, 0 from the cache"),
        (&["--url", &url], &all, 0, "0 from the store, 3 from the cache"),
    ] {
        let args = [&["warm", "--list", &list, "--rate", "1000/s"], args, &["sky/"]].concat();
        let run = run(&setup, &args, more);
        assert_eq!(run.status.code(), Some(code), "{args:?}: {}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains(says), "{args:?}: {}", run.stdout);
    }
    assert_eq!(origin.count(), keys.len());
}
