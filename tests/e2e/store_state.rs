//! What `/profiles` says of a store: what the store did, not what clients did, and without traffic what a
//! probe has shown.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::client::PATIENCE;
use crate::faulty::{self, Faulty, Step};
use crate::files::{Files, INI, Way, section, yaml};
use crate::gateway::{ACCESS_KEY, SECRET_KEY, Setup};
use crate::origin::{Manners, Origin};
use crate::reload::await_reload;
use crate::scrape::parse;

/// The memory of the cache: none, and enough.
const ROADS: [&str; 2] = ["0", "64MiB"];

fn entry(admin: Admin, name: &str) -> Value {
    let all = admin.send("GET", "/profiles").json();
    let found = all.as_array().expect("a list").iter().find(|one| one["profile"] == name);
    found.unwrap_or_else(|| panic!("{name} in {all}")).clone()
}

/// Waits until the profile has this field.
fn await_field(admin: Admin, name: &str, field: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let entry = entry(admin, name);
        if !entry[field].is_null() {
            return entry;
        }
        assert!(Instant::now() < deadline, "no {field} in {entry}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `/profiles` showed a success of a store that had never answered, when its clients left before it did.
#[test]
fn a_client_that_leaves_before_the_answer_is_no_success_of_the_store() {
    let store = Faulty::always(vec![Step::Stall]);
    let (setup, admin) = Admin::of(Setup::new(&store.url()));
    let gateway = setup.start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[("X-Request-ID", "gone")]);
    store.await_requests(1);
    drop(client);
    let line = gateway.line_of_id("gone");
    assert_eq!((&line["cause"], &line["upstream_status"]), (&json!("client_gone"), &Value::Null));
    assert_eq!(entry(admin, "default")["last_success"], Value::Null);
    let metrics = admin.send("GET", "/metrics").text().to_owned();
    // Without a time there is no histogram.
    let counted = "s3proxy_upstream_duration_seconds_count{profile=\"default\"}";
    assert!(!metrics.contains(counted), "the patience of clients is no time of the store");
}

/// The same with a cache, whose fetch goes on: what the store does then counts.
#[test]
fn a_fetch_whose_client_has_left_shows_what_the_store_did() {
    let store = Faulty::always(vec![Step::Stall]);
    let (setup, admin) = Admin::of(Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "64MiB"));
    let setup = setup.env("S3PROXY_UPSTREAM_FIRST_BYTE_TIMEOUT", "500ms").tolerate("imed");
    let gateway = setup.tolerate("upstream_timeout").start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    store.await_requests(1);
    drop(client);
    let entry = await_field(admin, "default", "last_error");
    assert_eq!(entry["last_error"]["cause"], "upstream_timeout", "{entry}");
    assert_eq!(entry["last_success"], Value::Null, "{entry}");
}

/// A store that failed was shown with a success when the client left before the retry was answered.
#[test]
fn a_failed_attempt_is_no_success_when_the_client_leaves_during_the_next() {
    let store = Faulty::scripted(|_, nth| match nth {
        0 => faulty::s3_error(500, "InternalError"),
        _ => vec![Step::Stall],
    });
    let (setup, admin) = Admin::of(Setup::new(&store.url()));
    let gateway = setup.start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[("X-Request-ID", "gone")]);
    store.await_requests(2);
    drop(client);
    gateway.line_of_id("gone");
    assert_eq!(entry(admin, "default")["last_success"], Value::Null);
}

/// A client that leaves after the head has come, and one whose object is cut.
#[test]
fn the_head_of_an_object_is_a_success_and_a_body_that_is_cut_is_an_error() {
    for cache in ROADS {
        let store = Faulty::scripted(|request, _| {
            let head = faulty::head(200, &[("Content-Length", "1000000"), ("ETag", "\"a\"")]);
            let body = Step::Send(vec![b'x'; 300_000]);
            let cut = request.target.contains("cut");
            vec![head, body, if cut { Step::Close } else { Step::Stall }]
        });
        let (setup, admin) = Admin::of(Setup::new(&store.url()));
        let setup = setup.env("S3PROXY_CACHE_MEMORY", cache).tolerate("upstream_cut");
        let gateway = setup.tolerate("imed").start();
        let mut client = gateway.connect();
        client.request("GET", "/s3proxy/s3/sky/left.png", &[]);
        assert_eq!(client.head().expect("a head").status, 200);
        drop(client);
        let entry = await_field(admin, "default", "last_success");
        assert_eq!(entry["last_error"], Value::Null, "cache {cache}: {entry}");
        gateway.object("sky/cut.png");
        let entry = await_field(admin, "default", "last_error");
        assert_eq!(entry["last_error"]["cause"], "upstream_cut", "cache {cache}: {entry}");
    }
}

/// Without the cache, a name that does not resolve was counted nowhere.
#[test]
fn a_name_that_does_not_resolve_is_an_error_of_the_store_on_each_road() {
    for cache in ROADS {
        let (setup, admin) = Admin::of(Setup::new("http://store.invalid:1"));
        let setup = setup.env("S3PROXY_CACHE_MEMORY", cache).tolerate("store.invalid");
        let gateway = setup.tolerate("upstream_unresolved").start();
        let answer = gateway.object("sky/a.png");
        assert_eq!(answer.json()["cause"], "upstream_unresolved");
        gateway.line_of(&answer);
        let entry = await_field(admin, "default", "last_error");
        assert_eq!(entry["last_error"]["cause"], "upstream_unresolved", "cache {cache}: {entry}");
        let numbers = parse(admin.send("GET", "/metrics").text());
        let counted =
            "s3proxy_upstream_errors_total{cause=\"upstream_unresolved\",profile=\"default\"}";
        assert_eq!(numbers.get(counted), Some(&1.0), "cache {cache}: {numbers:#?}");
    }
}

/// "Wait for `last_success`" did not end on a pod without traffic.
#[test]
fn without_traffic_a_probe_shows_whether_the_access_key_works() {
    let origin = Origin::with(Manners::rgw());
    let url = origin.url();
    let keys = section("hips", ACCESS_KEY, SECRET_KEY)
        + &section("refused", "AKIANOBODYNOBODY", "canary/nobody");
    let profiles = yaml(&[("hips", &url), ("refused", &url), ("keyless", &url)])
        + "  listed:\n    endpoint: \""
        + &url
        + "\"\n    buckets: [sky-*, sky]\n    credentials: {section: hips}\n";
    let files = Files::new(Way::Rename, &keys, &profiles);
    let (setup, admin) = Admin::of(files.setup(Setup::bare(), "50ms"));
    let setup = setup.env("S3PROXY_UPSTREAM_PROBE", "true").tolerate("keyless");
    let gateway = setup.tolerate("probe of profile refused").start();
    for name in ["hips", "listed"] {
        let entry = await_field(admin, name, "last_success");
        assert_eq!(entry["last_error"], Value::Null, "{entry}");
    }
    let entry = await_field(admin, "refused", "last_error");
    assert_eq!(entry["last_error"]["code"], "InvalidAccessKeyId", "{entry}");
    assert_eq!(entry["last_success"], Value::Null, "{entry}");
    assert_eq!(origin.count(), 3, "one request each: {:?}", origin.requests());
    let paths: Vec<_> = origin.requests().into_iter().map(|request| request.path).collect();
    let of_unknown = paths.iter().filter(|path| path.starts_with("/s3proxy-probe-")).count();
    assert!(of_unknown == 2 && paths.iter().any(|path| path == "/sky/s3proxy-probe"), "{paths:?}");

    // A rotated access key is probed, and nothing else is.
    origin.accept_key("AKIASECONDSECOND", "canary/second");
    let mended = keys.replace("AKIANOBODYNOBODY", "AKIASECONDSECOND");
    files.write_one(INI, &mended.replace("canary/nobody", "canary/second"));
    await_reload(&gateway, "profile refused");
    let entry = await_field(admin, "refused", "last_success");
    assert_eq!((&entry["key_id"], &entry["last_error"]), (&json!("...COND"), &Value::Null));
    assert_eq!(origin.count(), 4, "{:?}", origin.requests());

    // On demand.
    let before = entry["last_success"].clone();
    let answer = admin.send("POST", "/profiles/refused/probe");
    assert_eq!((answer.status(), &answer.json()["profile"]), (200, &json!("refused")));
    assert_ne!(answer.json()["last_success"], before);
    assert_eq!(admin.send("POST", "/profiles/nobody/probe").status(), 404);
    assert_eq!(admin.send("POST", "/profiles/keyless/probe").status(), 409);
    assert_eq!(admin.send("GET", "/profiles/refused/probe").status(), 404);
    assert_eq!(origin.count(), 5, "{:?}", origin.requests());

    // Probes are no traffic.
    let numbers = parse(admin.send("GET", "/metrics").text());
    let of_stores = numbers.iter().filter(|(name, _)| {
        name.starts_with("s3proxy_upstream_requests_total")
            || name.starts_with("s3proxy_upstream_errors_total")
    });
    assert!(of_stores.into_iter().all(|(_, number)| *number == 0.0), "{numbers:#?}");
}

/// A store that does not answer delays neither the start nor requests.
#[test]
fn a_probe_is_in_no_requests_way() {
    let store = Faulty::scripted(|request, _| match request.target.contains("s3proxy-probe") {
        true => vec![Step::Stall],
        false => faulty::object(b"tile"),
    });
    let (setup, admin) = Admin::of(Setup::new(&store.url()));
    let setup =
        setup.env("S3PROXY_UPSTREAM_PROBE", "true").env("S3PROXY_UPSTREAM_MAX_IN_FLIGHT", "1");
    let gateway = setup.tolerate("probe of profile default").start();
    store.await_requests(1);
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    await_field(admin, "default", "last_success");
}
