//! What is shared: which answers, for how long, and what is never written.

use std::time::Duration;

use crate::client::Ending;
use crate::crowd::numbered;
use crate::faulty::{self, Faulty};
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::scene::{Scene, tile};
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};

#[test]
fn what_one_replica_has_fetched_no_other_asks_the_store_for() {
    let Some(engine) = Engine::start() else { return };
    let origin = Origin::start();
    let etag = origin.put("a.png", "a tile of the sky");
    let (one, other) =
        (Replica::start(&origin.url(), &engine), Replica::start(&origin.url(), &engine));
    assert_eq!(one.get("sky/a.png").0, 200);
    assert_eq!(one.get("sky/none.png").0, 404);
    one.await_written(2);
    let answer = other.gateway.object("sky/a.png");
    assert_eq!((answer.status(), answer.text()), (200, "a tile of the sky"));
    let status = answer.header("cache-status").expect("a status");
    assert!(status.starts_with("s3proxy; hit; ttl="), "{status}");
    assert!(status.ends_with("; detail=shared"), "{status}");
    assert_eq!(answer.header("etag"), Some(etag.as_str()));
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert!(answer.header("age").is_some() && answer.header("last-modified").is_some());
    let (status, _, said) = other.get("sky/none.png");
    assert_eq!(status, 404);
    assert!(said.ends_with("; detail=shared"), "{said}");
    let found = other.admin.send("GET", "/cache/sky/a.png").json();
    for tier in ["memory", "shared"] {
        assert_eq!(found[tier]["what"], "object", "{found}");
    }
    // From then on it is in the memory of the other replica, too.
    let (_, _, said) = other.get("sky/a.png");
    assert!(said.contains("hit") && !said.contains("shared"), "{said}");
    let part = other.gateway.object_with("sky/a.png", &[("Range", "bytes=2-5")]);
    assert_eq!((part.status(), part.text()), (206, "tile"));
    assert_eq!(origin.count(), 2, "{:?}", origin.requests());
    assert_eq!(other.admin.number("shared_hits"), 2);
}

#[test]
fn an_object_is_not_fresher_for_having_moved() {
    let Some(engine) = Engine::start() else { return };
    let origin = Origin::start();
    origin.put("a.png", "a tile");
    let (one, other) =
        (Replica::start(&origin.url(), &engine), Replica::start(&origin.url(), &engine));
    one.get("sky/a.png");
    one.await_written(1);
    std::thread::sleep(Duration::from_millis(2100));
    let answer = other.gateway.object("sky/a.png");
    let status = answer.header("cache-status").expect("a status");
    let ttl = status.split("ttl=").nth(1).and_then(|rest| rest.split(';').next());
    let ttl: i64 = ttl.and_then(|ttl| ttl.parse().ok()).expect("a number");
    assert!((290..=298).contains(&ttl), "{status}");
    let age: u64 = answer.header("age").and_then(|age| age.parse().ok()).expect("an age");
    assert!((2..=10).contains(&age), "{age}");
}

#[test]
fn what_stores_and_operators_forbid_is_not_written() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("private", &[("Cache-Control", "private")]));
    let setup = sharing(&scene.url(), &engine)
        .env("S3PROXY_CACHE_SHARED_MAX_OBJECT", "1KiB")
        .env("S3PROXY_CACHE_SHARED_PROFILES", r#"["default", "open"]"#)
        .profile("open", &scene.url())
        .profile("closed", &scene.url())
        .profile("asks", &scene.url())
        .yaml(serde_json::json!({"profiles": {"asks": {"request_headers": ["x-user"]}}}));
    let one = Replica::of(setup);
    one.await_state("on");
    let large = "x".repeat(2000);
    for (tail, steps) in [
        ("sky/private.png", tile("a", &[("Cache-Control", "private")])),
        ("sky/no-store.png", tile("a", &[("Cache-Control", "no-store")])),
        ("sky/large.png", tile(&large, &[])),
        ("closed@sky/a.png", tile("a", &[])),
        ("asks@sky/a.png", tile("a", &[])),
    ] {
        scene.now(steps);
        assert_eq!(one.get(tail).0, 200, "{tail}");
    }
    scene.now(tile("a", &[]));
    assert_eq!(one.get("open@sky/a.png").0, 200);
    // Two tombstones where objects may not be stored, and the object of the profile that may.
    one.await_written(3);
    assert_eq!(engine.values().len(), 3, "{:?}", engine.values());
    let bytes: u64 = engine.values().iter().map(|name| length(&engine, name)).sum();
    assert!(bytes < 2000, "{bytes}");
}

fn length(engine: &Engine, name: &str) -> u64 {
    let answer = engine.ask(&format!("STRLEN {name}"));
    answer.trim_start_matches(':').trim().parse().expect("a number")
}

#[test]
fn blocks_of_a_large_object_are_shared() {
    let Some(engine) = Engine::start() else { return };
    let origin = Origin::start();
    let bytes = numbered(20 << 20);
    origin.put("a.fits", bytes.clone());
    let (one, other) =
        (Replica::start(&origin.url(), &engine), Replica::start(&origin.url(), &engine));
    let read = |replica: &Replica, range: &str| {
        let answer = replica.gateway.object_with("sky/a.fits", &[("Range", range)]);
        assert_eq!((answer.status(), answer.ending), (206, Ending::Whole), "{range}");
        answer.body.clone()
    };
    let range = "bytes=5000000-5099999";
    assert!(read(&one, range) == bytes[5_000_000..5_100_000]);
    // Of 4 KiB each, and the metadata.
    one.admin.await_number("block_entries", |blocks| blocks == 26);
    one.await_written(27);
    let before = origin.count();
    assert!(read(&other, range) == bytes[5_000_000..5_100_000]);
    assert_eq!(origin.count(), before, "{:?}", origin.requests());
    assert_eq!(other.admin.number("block_shared_hits"), 26);
}

#[test]
fn with_a_key_no_value_of_anybody_else_is_served() {
    let Some(engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    let folder = tempfile::tempdir().expect("a folder");
    let with_key = |name: &str, secret: &str| -> Setup {
        let path = folder.path().join(name);
        std::fs::write(&path, secret).expect("a file");
        let path = path.to_str().expect("UTF-8").to_owned();
        sharing(&spy.url(), &engine).env("S3PROXY_CACHE_SHARED_MAC_KEY_FILE", &path)
    };
    let secret = "0123456789abcdef0123456789abcdef";
    let start = |setup| {
        let replica = Replica::of(setup);
        replica.await_state("on");
        replica
    };
    let plain = Replica::start(&spy.url(), &engine);
    plain.get("sky/a.png");
    plain.await_written(1);
    let one = start(with_key("one", secret));
    one.get("sky/a.png");
    assert_eq!(spy.count(), 2);
    assert!(one.admin.number("shared_damaged") >= 1);
    one.await_written(1);
    let same = start(with_key("same", secret));
    same.get("sky/a.png");
    assert_eq!((spy.count(), same.admin.number("shared_hits")), (2, 1));
    let other = start(with_key("other", "another secret of 32 characters!"));
    other.get("sky/a.png");
    assert_eq!((spy.count(), other.admin.number("shared_hits")), (3, 0));
}

/// An access that the store withdraws was served again from the copy of another replica.
#[test]
fn what_a_store_withdraws_no_replica_brings_back() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("open", &[("Cache-Control", "max-age=0")]));
    let setup = || sharing(&scene.url(), &engine).env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "0");
    let (one, other) = (Replica::of(setup()), Replica::of(setup()));
    one.await_state("on");
    other.await_state("on");
    assert_eq!(one.get("sky/a.png").0, 200);
    one.await_written(1);
    scene.now(faulty::s3_error(403, "AccessDenied"));
    // Stale, so that the store is asked; it refuses.
    assert_ne!(one.get("sky/a.png").0, 200);
    one.await_written(2);
    assert_ne!(other.get("sky/a.png").0, 200);
    for replica in [one, other] {
        replica.gateway.expect_log("the refusal", |line| line["cause"] == "upstream_forbidden");
    }
}
