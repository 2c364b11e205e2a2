//! Stores behind a proxy: both ways of a request, and the check; every fault of a proxy; a real one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::authority::Authority;
use crate::cached::status;
use crate::credentials::accept_issued;
use crate::faults::hasty;
use crate::faulty::{self, Faulty, runtime};
use crate::files::{Files, Way, ini, yaml};
use crate::gateway::{Setup, free_port};
use crate::issuers::{Issuer, sts_answer};
use crate::origin::Origin;
use crate::reload::await_reload;
use crate::tls::front;

/// The password of the proxy: the harness searches all output for it.
const PASSWORD: &str = "canary-OfTheSuite";

/// What a proxy does with a request.
#[derive(Debug, Clone)]
enum Manner {
    /// Opens a tunnel to this address, whatever the name.
    Tunnel(SocketAddr),
    /// Opens a tunnel to the target, which is an address.
    Honest,
    /// Answers so, and closes.
    Answer(&'static str),
    /// Answers with a part, and says no more.
    Hang(&'static str),
}

/// A proxy by script. It notes the heads it receives.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(manner: Manner) -> Self {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&heads);
        runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner.clone(), Arc::clone(&noted)));
            }
        });
        Self { address, heads }
    }

    fn url(&self) -> String {
        format!("http://user:{PASSWORD}@{}", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    manner: Manner,
    noted: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    noted.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let store = match manner {
        Manner::Answer(text) => return stream.write_all(text.as_bytes()).await,
        Manner::Hang(text) => {
            stream.write_all(text.as_bytes()).await?;
            return stream.read_u8().await.map(drop);
        }
        Manner::Tunnel(address) => address,
        Manner::Honest => target.parse().expect("an address"),
    };
    let mut store = TcpStream::connect(store).await?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 fake\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut stream, &mut store).await.map(drop)
}

/// The answer that `s3proxy check` predicts: its state, and its text.
fn check(setup: &Setup) -> (String, String) {
    let run = setup.clone().args(&["check", "--json", "p@sky/a.png"]).run();
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let steps = report["sections"][0]["steps"].as_array().expect("steps").clone();
    let answer = steps.iter().find(|step| step["name"] == "answer").expect("an answer");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&answer["state"]), text(&answer["detail"]))
}

/// The proxy resolves the name of the store: this machine cannot.
#[test]
fn both_ways_and_the_check_go_through_the_proxy_which_knows_the_name_of_the_store() {
    let authority = Authority::new();
    for (variable, scheme) in [("HTTP_PROXY", "http"), ("https_proxy", "https")] {
        for memory in ["0", "64MiB"] {
            let store = Faulty::spy();
            let behind = match scheme {
                "https" => {
                    let port = front(&authority, "store.invalid", store.address);
                    SocketAddr::from(([127, 0, 0, 1], port))
                }
                _ => store.address,
            };
            let proxy = Proxy::start(Manner::Tunnel(behind));
            let setup = hasty("http://127.0.0.1:9")
                .profile("p", &format!("{scheme}://store.invalid:9000"))
                .env("S3PROXY_CACHE_MEMORY", memory)
                .yaml(json!({"upstream": {"ca_file": authority.file(), "probe": false}}))
                .env(variable, &proxy.url());
            let what = format!("{variable}, memory {memory}");
            let gateway = setup.clone().start();
            for name in ["a", "b", "c"] {
                let answer = gateway.get(&format!("/s3proxy/s3/p@sky/{name}.png"));
                assert_eq!((answer.status(), answer.text()), (200, "tile"), "{what}");
            }
            let heads = proxy.heads();
            // An answer may arrive a moment before its connection is idle.
            assert!(heads.len() < 3, "{what}: the tunnel is reused: {heads:?}");
            assert!(heads[0].starts_with("CONNECT store.invalid:9000 HTTP/1.1\r\n"), "{heads:?}");
            assert!(heads[0].contains("\r\nProxy-Authorization: Basic "), "{heads:?}");
            let requests = store.requests();
            assert_eq!(requests.len(), 3, "{what}");
            for request in requests {
                assert_eq!(request.header("host"), Some("store.invalid:9000"), "{what}");
                assert_eq!(request.header("proxy-authorization"), None, "{what}");
                assert!(request.target.starts_with("/sky/"), "{request:?}");
            }
            let shown = format!("through the proxy http://{}", proxy.address);
            gateway.expect_log("the way at start", |line| line.to_string().contains(&shown));
            drop(gateway);
            assert_eq!(check(&setup).0, "ok", "{what}");
        }
    }
}

#[test]
fn every_fault_of_a_proxy_is_named_on_both_ways_and_by_the_check() {
    let refuses = format!("http://user:{PASSWORD}@127.0.0.1:{}", free_port());
    let unknown = format!("http://user:{PASSWORD}@proxy.invalid:3128");
    let by = |manner| Err::<&str, _>(manner);
    let status = |text| by(Manner::Answer(text));
    for (fault, proxy, status, cause, tunnels) in [
        ("407", status("HTTP/1.1 407 x\r\nContent-Length: 2\r\n\r\nno"), 502, "upstream_proxy", 1),
        ("403", status("HTTP/1.0 403 Filtered\r\n\r\n"), 502, "upstream_proxy", 1),
        ("502", status("HTTP/1.1 502 x\r\n\r\n"), 502, "upstream_proxy", 2),
        ("closed", status(""), 502, "upstream_proxy", 2),
        ("closed half-way", status("HTTP/1.1 200 Conn"), 502, "upstream_proxy", 2),
        ("no proxy", status("220 mail ready\r\n"), 502, "upstream_proxy", 2),
        ("hangs", by(Manner::Hang("")), 504, "upstream_timeout", 2),
        ("hangs half-way", by(Manner::Hang("HTTP/1.1 2")), 504, "upstream_timeout", 2),
        ("refused", Ok(refuses.as_str()), 502, "upstream_proxy", 0),
        ("unresolved", Ok(unknown.as_str()), 502, "upstream_proxy", 0),
    ] {
        for memory in ["0", "64MiB"] {
            let fake = proxy.clone().err().map(Proxy::start);
            let url = fake
                .as_ref()
                .map_or_else(|| proxy.clone().unwrap_or_default().to_owned(), Proxy::url);
            let setup = hasty("http://127.0.0.1:9")
                .profile("p", "http://store.invalid:9000")
                .env("S3PROXY_CACHE_MEMORY", memory)
                .env("S3PROXY_UPSTREAM_PROBE", "false")
                .profile_settings("p", &json!({"proxy": url}))
                .tolerate("upstream_")
                .tolerate("proxy.invalid");
            let gateway = setup.clone().start();
            let what = format!("{fault}, memory {memory}");
            let answer = gateway.get("/s3proxy/s3/p@sky/a.png");
            assert_eq!(answer.status(), status, "{what}: {answer:?}");
            let line = gateway.line_of(&answer);
            assert_eq!(line["cause"], cause, "{what}: {line}");
            if let Some(fake) = &fake {
                assert_eq!(fake.heads().len(), tunnels, "{what}: {line}");
                let detail = line["detail"].as_str().unwrap_or_default();
                assert!(detail.contains(&fake.address.to_string()), "{what}: {line}");
            }
            drop(gateway);
            if memory == "0" {
                let (state, detail) = check(&setup);
                assert_eq!(
                    (state.as_str(), detail),
                    ("failed", format!("{status} {cause}")),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn no_proxy_and_off_avoid_the_proxy() {
    let store = Faulty::spy();
    let proxy = Proxy::start(Manner::Answer("HTTP/1.1 500 x\r\n\r\n"));
    for (what, setup) in [
        ("nothing but HTTPS_PROXY", Setup::new(&store.url()).env("HTTPS_PROXY", &proxy.url())),
        (
            "NO_PROXY",
            Setup::new(&store.url())
                .env("HTTP_PROXY", &proxy.url())
                .env("NO_PROXY", "example.org,127.0.0.0/8"),
        ),
        (
            "off for all",
            Setup::new(&store.url())
                .env("HTTP_PROXY", &proxy.url())
                .env("S3PROXY_UPSTREAM_PROXY", "off"),
        ),
        (
            "off for the profile",
            Setup::new(&store.url())
                .env("S3PROXY_UPSTREAM_PROXY", &proxy.url())
                .yaml(json!({"default_profile": {"proxy": "off"}})),
        ),
    ] {
        let gateway = setup.start();
        assert_eq!(gateway.object("sky/a.png").status(), 200, "{what}");
        assert!(proxy.heads().is_empty(), "{what}: {:?}", proxy.heads());
    }
}

#[test]
fn requests_for_credentials_go_through_the_proxy_of_the_profile() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    accept_issued(&origin);
    let sts = Issuer::start(|_, _| {
        (200, sts_answer("ASIAISSUEDISSUED", "canary/OfAnIssuedKey", Duration::from_secs(3600)))
    });
    let host = |url: &str| url.strip_prefix("http://").expect("http").to_owned();
    let proxy = Proxy::start(Manner::Honest);
    let role = json!({"role_arn": "arn:aws:iam::1:role/r", "sts_endpoint": sts.url()});
    for (what, settings, tunnels) in [
        ("through it", json!({"proxy": proxy.url(), "credentials": role}), true),
        ("directly", json!({"proxy": "off", "credentials": role}), false),
    ] {
        let (before, asked) = (proxy.heads().len(), sts.calls().len());
        let setup = Setup::bare().profile("p", &origin.url()).profile_settings("p", &settings);
        let gateway = setup.start();
        assert_eq!(gateway.object("p@sky/a.png").text(), "tile", "{what}");
        assert_eq!(sts.calls().len(), asked + 1, "{what}");
        let heads = proxy.heads().split_off(before);
        let to = |url: &str| heads.iter().any(|head| head.starts_with(&format!("CONNECT {url} ")));
        assert_eq!(
            (to(&host(sts.url())), to(&host(&origin.url()))),
            (tunnels, tunnels),
            "{what}: {heads:?}"
        );
        // What STS issued is between the gateway and STS.
        let call = sts.calls().pop().expect("a call");
        assert_eq!(call.header("proxy-authorization"), "", "{what}");
    }
}

/// Another way to a store says nothing of its objects.
#[test]
fn a_changed_proxy_takes_effect_by_a_reload_and_keeps_the_cache() {
    let origin = Origin::start();
    for name in ["a", "b", "c", "d"] {
        origin.put(&format!("{name}.png"), "tile");
    }
    let proxy = Proxy::start(Manner::Honest);
    let with = |proxy: &str| {
        let profiles = yaml(&[("p", &origin.url())]);
        format!("{profiles}upstream: {{proxy: '{proxy}', probe: false}}\n")
    };
    let files = Files::new(Way::Rename, &ini(&["p"]), &with("off"));
    let setup = files.setup(Setup::bare().env("S3PROXY_CACHE_MEMORY", "64MiB"), "50ms");
    let gateway = setup.start();
    let mut cached = Vec::new();
    for (name, way, change) in [
        ("a", None, ""),
        ("b", Some(proxy.url()), "now through the proxy"),
        ("c", Some("off".to_owned()), "now reached directly"),
    ] {
        if let Some(way) = &way {
            files.write(&ini(&["p"]), &with(way));
            let line = await_reload(&gateway, change);
            assert!(line.contains("profile p: ") && !line.contains(PASSWORD), "{line}");
            assert!(!line.contains("settings changed"), "{line}");
        }
        let tunnels = proxy.heads().len();
        origin.clear();
        for known in &cached {
            let answer = gateway.object(&format!("p@sky/{known}.png"));
            assert!(status(&answer).contains("hit"), "{name}, {known}: {}", status(&answer));
        }
        assert_eq!(origin.count(), 0, "{name}: the cache answers");
        assert_eq!(gateway.object(&format!("p@sky/{name}.png")).text(), "tile");
        let opened = proxy.heads().len() > tunnels;
        assert_eq!(opened, way.is_some_and(|way| way != "off"), "{name}");
        cached.push(name);
    }
}

/// The address of the connections is that of the proxy for both stores.
#[test]
fn stores_behind_one_proxy_never_share_a_connection() {
    let [one, other] = ["one", "other"].map(|name| Faulty::always(faulty::object(name.as_bytes())));
    let proxy = Proxy::start(Manner::Honest);
    for memory in ["0", "64MiB"] {
        let gateway = hasty("http://127.0.0.1:9")
            .profile("one", &one.url())
            .profile("other", &other.url())
            .env("S3PROXY_CACHE_MEMORY", memory)
            .env("S3PROXY_UPSTREAM_PROBE", "false")
            .env("S3PROXY_UPSTREAM_PROXY", &proxy.url())
            .start();
        for nth in 0..4 {
            for name in ["one", "other"] {
                let answer = gateway.get(&format!("/s3proxy/s3/{name}@sky/{nth}.png"));
                assert_eq!(answer.text(), name, "memory {memory}");
            }
        }
    }
}

#[test]
fn a_mistake_in_a_proxy_ends_the_start_without_its_password() {
    for (name, url) in [
        ("HTTPS_PROXY", format!("https://user:{PASSWORD}@proxy:3128")),
        ("http_proxy", format!("socks5://user:{PASSWORD}@proxy:1080")),
        ("S3PROXY_UPSTREAM_PROXY", format!("http://user:{PASSWORD}@proxy")),
    ] {
        let run = Setup::new("http://127.0.0.1:9").env(name, &url).run();
        assert_eq!(run.status.code(), Some(2), "{name}: {run:?}");
        let shown = format!("{}{}", run.stdout, run.stderr);
        assert!(shown.contains(name) && shown.contains("(redacted)@proxy"), "{name}: {shown}");
    }
}

/// A tinyproxy that wants a user, and allows CONNECT to this port alone.
struct Tinyproxy {
    child: std::process::Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Tinyproxy {
    fn start(allowed: u16) -> Option<Self> {
        let program = ["/usr/bin/tinyproxy", "/usr/sbin/tinyproxy"];
        let program = program.into_iter().find(|path| Path::new(path).exists())?;
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let file = folder.path().join("tinyproxy.conf");
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 50\n\
             ConnectPort {allowed}\nBasicAuth user {PASSWORD}\n"
        );
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("tinyproxy starts");
        let started = Self { child, port, _folder: folder };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(started);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("tinyproxy does not listen");
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_proxy_opens_tunnels_and_its_refusals_are_named() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    origin.put("b.png", "tile");
    let Some(proxy) = Tinyproxy::start(origin.address().port()) else {
        eprintln!("SKIPPED: there is no tinyproxy here");
        return;
    };
    let authority = Authority::new();
    let secured = front(&authority, "localhost", origin.address());
    let tls = Tinyproxy::start(secured).expect("the same program");
    let url = |port: u16| format!("http://user:{PASSWORD}@127.0.0.1:{port}");
    for memory in ["0", "64MiB"] {
        let gateway = Setup::new(&origin.url())
            .env("HTTP_PROXY", &url(proxy.port))
            .env("S3PROXY_CACHE_MEMORY", memory)
            .start();
        assert_eq!(gateway.object("sky/a.png").text(), "tile", "memory {memory}");
        assert_eq!(gateway.object("sky/b.png").text(), "tile", "memory {memory}");
    }
    let gateway = Setup::new(&format!("https://localhost:{secured}"))
        .env("HTTPS_PROXY", &url(tls.port))
        .yaml(json!({"upstream": {"ca_file": authority.file()}}))
        .start();
    assert_eq!(gateway.object("sky/a.png").text(), "tile", "with TLS");
    let refused = |proxy: String, endpoint: &str, words: &str| {
        let gateway = Setup::new(endpoint)
            .env("S3PROXY_UPSTREAM_PROXY", &proxy)
            .env("S3PROXY_UPSTREAM_PROBE", "false")
            .tolerate("upstream_proxy")
            .start();
        let answer = gateway.object("sky/a.png");
        let line = gateway.line_of(&answer);
        assert_eq!((answer.status(), &line["cause"]), (502, &json!("upstream_proxy")), "{line}");
        assert!(line.to_string().contains(words), "{line}");
    };
    let without_user = format!("http://127.0.0.1:{}", proxy.port);
    refused(without_user, &origin.url(), "it wants a user and a password");
    // The port of another store.
    refused(url(tls.port), &origin.url(), "does not allow this store");
}
