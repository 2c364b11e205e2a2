//! The admin listener: a client that other tests use, and the requests it serves and refuses.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cached::with_cache;
use crate::client::{self, Answer, Client, PATIENCE};
use crate::faulty::Faulty;
use crate::gateway::{Setup, free_port};
use crate::metrics::with_silent_engine;

/// The admin listener of a gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
}

impl Admin {
    /// Gives the gateway to be started an admin listener.
    pub(crate) fn of(setup: Setup) -> (Setup, Self) {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        (setup.env("S3PROXY_ADMIN_LISTEN", &address.to_string()), Self { address })
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str) -> Answer {
        self.await_listening();
        client::send(self.address, method, path, &[])
    }

    /// The admin listener starts beside the public one, and may be ready a moment later.
    pub(crate) fn await_listening(&self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Purges a target, written as in a URL, and returns what the gateway says.
    pub(crate) fn purge(&self, target: &str) -> Value {
        let answer = self.send("PURGE", &format!("/{target}"));
        assert_eq!(answer.status(), 200, "{target}: {answer:?}");
        answer.json()
    }

    /// The state of the cache.
    pub(crate) fn cache(&self) -> Value {
        let answer = self.send("GET", "/cache");
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.json()
    }

    /// One number of the cache state.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let cache = self.cache();
        cache[name].as_u64().unwrap_or_else(|| panic!("no number {name} in {cache}"))
    }

    /// Waits until a number has the expected value, and returns it.
    pub(crate) fn await_number(&self, name: &str, is_right: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let number = self.number(name);
            if is_right(number) {
                return number;
            }
            assert!(Instant::now() < deadline, "after {PATIENCE:?} {name} is still {number}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn the_state_of_the_cache_is_there_in_numbers() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.start();
    for _ in 0..3 {
        gateway.object("sky/a.png");
    }
    let answer = admin.send("GET", "/cache");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let cache = answer.json();
    for (name, value) in cache.as_object().expect("an object") {
        // The state of the disk tier; this gateway has none.
        assert_eq!(value.is_u64(), name != "disk", "{name} in {cache}");
    }
    assert_eq!((&cache["memory_hits"], &cache["misses"]), (&2.into(), &1.into()), "{cache}");
    assert_eq!(cache["memory_limit"], 64 << 20, "{cache}");
    assert!(cache["memory_bytes"].as_u64().is_some_and(|held| held > 4), "{cache}");
    assert_eq!(cache["fetches_under_way"], 0, "{cache}");
    let head = admin.send("HEAD", "/cache");
    assert_eq!((head.status(), head.body.len()), (200, 0));
}

/// Twelve numbers were not documented.
#[test]
fn each_number_of_the_cache_is_documented() {
    let spy = Faulty::spy();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().to_str().expect("UTF-8");
    let setup = with_cache(&spy.url()).env("S3PROXY_CACHE_DISK_PATH", disk);
    let (setup, admin) = Admin::of(with_silent_engine(setup));
    let _gateway = setup.start();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let (_, table) = text.split_once("The fields of `GET /cache`").expect("the table");
    let rows: String = table.lines().filter(|line| line.starts_with('|')).collect();
    let cache = admin.cache();
    let names = cache.as_object().into_iter().chain(cache["disk"].as_object());
    let names = names.chain(cache["shared"].as_object());
    let names: Vec<&String> = names.flat_map(|fields| fields.keys()).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(rows.contains(&format!("`{name}`")), "docs/operations.md leaves out {name}");
    }
}

#[test]
fn either_port_has_its_own_routes_and_no_others() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.start();
    for (method, path, status) in [
        ("GET", "/status/", 404),
        ("GET", "/s3proxy/", 404),
        ("GET", "/s3proxy/s3/sky/a.png", 404),
        ("HEAD", "/sky/a.png", 404),
        ("POST", "/cache", 405),
        ("DELETE", "/sky/a.png", 405),
        ("OPTIONS", "/cache", 405),
    ] {
        let answer = admin.send(method, path);
        assert_eq!(answer.status(), status, "{method} {path}: {answer:?}");
        let allow = (status == 405).then_some("GET, HEAD, PURGE");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        if method != "HEAD" {
            let message = answer.json()["message"].as_str().map(str::len);
            assert!(message.is_some_and(|length| length > 0), "{method} {path}");
        }
    }
    assert_eq!(gateway.get("/cache").status(), 404);
    for path in ["/sky/a.png", "/s3proxy/s3/sky/a.png", "/s3proxy/s3/sky/", "/cache", "/"] {
        let answer = gateway.send("PURGE", path, &[]);
        let status = if matches!(path, "/sky/a.png" | "/cache") { 404 } else { 405 };
        assert_eq!(answer.status(), status, "{path}");
    }
    assert_eq!(spy.count(), 0);
    assert_eq!(admin.number("purges"), 0);
}

#[test]
fn no_page_in_the_browser_of_an_operator_purges_the_cache() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.start();
    gateway.object("sky/a.png");
    admin.await_listening();
    let send = |method: &str, path: &str, headers: &str| {
        let mut client = Client::connect(admin.address);
        client.send(format!("{method} {path} HTTP/1.1\r\n{headers}\r\n"));
        client.answer(method).expect("an answer").status()
    };
    for (headers, status) in [
        ("Host: rebind.example:9090\r\n", 403),
        ("Host: 127.0.0.1.example\r\n", 403),
        ("Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n", 403),
        ("Host: 127.0.0.1\r\nOrigin: null\r\n", 403),
        ("Host: localhost:9090\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("Host: 127.0.0.1\r\nHost: rebind.example\r\n", 400),
        ("", 400),
    ] {
        for (method, path) in [("PURGE", "/sky/"), ("GET", "/cache"), ("GET", "/cache/sky/a.png")] {
            assert_eq!(send(method, path, headers), status, "{method} {path} {headers}");
        }
    }
    // The authority of the target takes the place of `Host`.
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        for (target, host, status) in [
            ("http://rebind.example:9090/cache", "Host: 127.0.0.1\r\n", 403),
            ("HTTP://127.0.0.1:9090/cache", "Host: rebind.example\r\n", 200),
            ("http://localhost/cache", "Host: localhost:9090\r\n", 200),
        ] {
            let mut client = Client::connect(admin.address);
            client.send(format!("GET {target} {version}\r\n{host}\r\n"));
            let answer = client.answer("GET").expect("an answer");
            assert_eq!(answer.status(), status, "{target} {version} {host}");
        }
    }
    let mut client = Client::connect(admin.address);
    client.send("GET http://rebind.example/cache HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer("GET").expect("an answer").status(), 403, "no Host");
    assert_eq!(admin.number("purges"), 0);
    for host in ["10.1.2.3:9090", "[::1]:9090", "localhost", "gateway.test:9090"] {
        assert_eq!(send("GET", "/metrics", &format!("Host: {host}\r\n")), 200, "{host}");
    }
}

#[test]
fn invalid_purge_targets_are_refused() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.profile("hips", &spy.url()).start();
    gateway.object("sky/a.png");
    for (target, status) in [
        ("/none@sky/a.png", 404),
        ("/none@sky/", 404),
        ("/", 400),
        ("/sky", 400),
        ("//a.png", 400),
        ("/@sky/a.png", 400),
        ("/a@b@sky/a.png", 400),
        ("/sky/../a.png", 400),
        ("/sky/%2e%2e/", 400),
        ("/sky/a%2", 400),
        ("/sky/%ff", 400),
        ("/s%20y/a.png", 400),
    ] {
        let answer = admin.send("PURGE", target);
        assert_eq!(answer.status(), status, "{target}: {answer:?}");
        assert!(answer.json()["message"].as_str().is_some_and(|m| !m.is_empty()), "{target}");
    }
    assert_eq!(admin.number("purges"), 0);
    gateway.object("sky/a.png");
    assert_eq!(spy.count(), 1, "it is still kept");
}

#[test]
fn without_a_cache_there_is_nothing_to_purge() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(Setup::new(&spy.url()));
    let _gateway = setup.start();
    for (method, path) in [("PURGE", "/sky/a.png"), ("PURGE", "/sky/"), ("GET", "/cache")] {
        let answer = admin.send(method, path);
        assert_eq!(answer.status(), 409, "{method} {path}: {answer:?}");
        assert_eq!(answer.json()["message"], "the cache is disabled", "{method} {path}");
    }
}

#[test]
fn a_taken_admin_port_fails_the_start_with_a_message() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let listen = format!("127.0.0.1:{}", free_port());
    let run = with_cache("http://127.0.0.1:1")
        .env("S3PROXY_LISTEN", &listen)
        .env("S3PROXY_ADMIN_LISTEN", &address)
        .run();
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    for mention in ["S3PROXY_ADMIN_LISTEN", &address] {
        assert!(run.stdout.contains(mention), "{mention} in {run:?}");
    }
    assert!(!run.stderr.contains("panicked"), "{run:?}");
}

#[test]
fn the_admin_listener_can_be_off() {
    let spy = Faulty::spy();
    // If the default address were taken, the gateway could not start.
    let _taken = TcpListener::bind("127.0.0.1:9090");
    let setup = with_cache(&spy.url()).env("S3PROXY_ADMIN_LISTEN", "off");
    let gateway = setup.tolerate("admin.hosts has no effect").start();
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn the_admin_listener_stops_at_shutdown() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let mut gateway = setup.yaml(serde_json::json!({"server": {"lame_duck": 0}})).start();
    assert_eq!(admin.send("GET", "/cache").status(), 200);
    // An idle client does not block other requests.
    let idle = TcpStream::connect(admin.address).expect("it accepts");
    gateway.signal("TERM");
    let ended = gateway.await_end(PATIENCE);
    assert_eq!(ended.code(), Some(0));
    assert!(TcpStream::connect(admin.address).is_err(), "the admin listener is closed");
    drop(idle);
}
