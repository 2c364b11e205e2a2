//! `GET /cache/profile@bucket/key` on the admin listener: the cached entries of one object.

use std::time::Instant;

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::PATIENCE;
use crate::disk::Bench;
use crate::gateway::Setup;
use crate::origin::Origin;

const BLOCK: usize = 64 * 1024;

fn kept(admin: &Admin, object: &str) -> Value {
    let answer = admin.send("GET", &format!("/cache/{object}"));
    assert_eq!(answer.status(), 200, "{object}: {answer:?}");
    answer.json()
}

/// The memory entry of an object, once the body sent to a client has been stored.
pub(crate) fn await_in_memory(admin: &Admin, object: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let entry = kept(admin, object);
        let memory = &entry["memory"];
        let blocks = &memory["blocks"];
        let has_come = blocks.is_null() || blocks["memory"].as_u64() > Some(0);
        if !memory.is_null() && has_come && entry["fetch_under_way"] == false {
            return entry;
        }
        assert!(Instant::now() < deadline, "{object} is not kept: {entry}");
    }
}

#[test]
fn objects_negative_entries_metadata_and_blocks_are_distinguished() {
    let origin = Origin::start();
    let etag = origin.put("big.png", vec![7; 2 * BLOCK + 1]);
    origin.put("é a.png", "tile");
    let setup = with_cache(&origin.url())
        .env("S3PROXY_CACHE_MAX_OBJECT", "1000")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "0");
    let (setup, admin) = Admin::of(setup);
    let gateway = setup.profile("hips", &origin.url()).start();
    let empty = json!({"object": "s3://sky/big.png", "memory": null, "disk": null,
        "fetch_under_way": false});
    assert_eq!(kept(&admin, "sky/big.png"), empty);
    gateway.object_with("sky/big.png", &[("Range", "bytes=0-9")]);
    gateway.object("sky/%C3%A9%20a.png");
    gateway.object("sky/none.png");
    let big = await_in_memory(&admin, "sky/big.png")["memory"].clone();
    assert_eq!((&big["what"], &big["length"]), (&"head".into(), &(2 * BLOCK + 1).into()), "{big}");
    assert_eq!((&big["state"], &big["etag"]), (&"fresh".into(), &etag.into()), "{big}");
    let blocks = json!({"size": BLOCK, "count": 3, "looked_for": 3, "memory": 1, "disk": 0,
        "kept": 1});
    assert_eq!(big["blocks"], blocks);
    let small = await_in_memory(&admin, "sky/%C3%A9%20a.png");
    assert_eq!(small["object"], "s3://sky/é a.png");
    assert_eq!(
        (&small["memory"]["what"], &small["memory"]["length"]),
        (&"object".into(), &4.into())
    );
    assert_eq!(await_in_memory(&admin, "sky/none.png")["memory"]["what"], "negative");
    assert_eq!(kept(&admin, "hips@sky/big.png")["memory"], Value::Null, "another profile");
    admin.purge("sky/big.png");
    assert_eq!(kept(&admin, "sky/big.png"), empty);
    for (path, status) in [
        ("/cache/none@sky/a.png", 404),
        ("/cache/sky", 400),
        ("/cache/", 400),
        ("/cache/sky/../a.png", 400),
        ("/cache/sky/100%", 400),
    ] {
        assert_eq!(admin.send("GET", path).status(), status, "{path}");
    }
    let head = admin.send("HEAD", "/cache/sky/none.png");
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert_eq!(gateway.get("/cache/sky/none.png").status(), 404, "not on the public port");
}

#[test]
fn without_a_cache_no_entry_is_reported() {
    let (setup, admin) = Admin::of(Setup::new("http://127.0.0.1:1"));
    let _gateway = setup.start();
    assert_eq!(admin.send("GET", "/cache/sky/a.png").status(), 409);
}

#[test]
fn entries_on_disk_after_a_restart_are_reported_without_loading_them() {
    let origin = Origin::start();
    origin.put("a.png", "a tile of the sky");
    let bench = Bench::new();
    let (setup, admin) = Admin::of(bench.setup(&origin.url()));
    let mut gateway = setup.clone().start();
    gateway.object("sky/a.png");
    assert_eq!(
        await_in_memory(&admin, "sky/a.png")["disk"]["length"],
        17,
        "written or waiting to be"
    );
    gateway.signal("TERM");
    assert_eq!(gateway.await_end(PATIENCE).code(), Some(0));
    let _gateway = setup.start();
    admin.await_number("memory_entries", |entries| entries == 0);
    let deadline = Instant::now() + PATIENCE;
    while admin.cache()["disk"]["state"] != "on" {
        assert!(Instant::now() < deadline, "{}", admin.cache());
    }
    for _ in 0..2 {
        let entry = kept(&admin, "sky/a.png");
        assert_eq!(entry["memory"], Value::Null, "{entry}");
        let disk = &entry["disk"];
        assert_eq!((&disk["what"], &disk["state"]), (&"object".into(), &"fresh".into()), "{disk}");
        assert_eq!(disk["length"], 17, "{disk}");
    }
    assert_eq!(admin.number("disk_hits"), 0);
}

/// Records that other settings had made were listed, although none of them is served.
#[test]
fn what_other_settings_have_made_is_not_listed() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().to_str().expect("UTF-8").to_owned();
    let start = |cache_control: &str| {
        let setup = with_cache(&origin.url()).env("S3PROXY_CACHE_DISK_PATH", &disk);
        let setup = setup.yaml(json!({
            "default_profile": {"cache_control": cache_control}, "server": {"lame_duck": 0},
        }));
        let (setup, admin) = Admin::of(setup);
        (setup.start(), admin)
    };
    let await_on_disk = |admin: &Admin| {
        let deadline = Instant::now() + PATIENCE;
        while kept(admin, "sky/a.png")["disk"].is_null() {
            assert!(Instant::now() < deadline, "it is never on disk");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    let (mut gateway, admin) = start("max-age=1");
    gateway.object("sky/a.png");
    await_on_disk(&admin);
    gateway.signal("TERM");
    gateway.await_end(3 * PATIENCE);
    let (mut gateway, admin) = start("max-age=1");
    await_on_disk(&admin);
    gateway.signal("TERM");
    gateway.await_end(3 * PATIENCE);
    let (_gateway, admin) = start("max-age=2");
    let deadline = Instant::now() + PATIENCE;
    while admin.cache()["disk"]["entries"] != 1 || admin.cache()["disk"]["state"] != "on" {
        assert!(Instant::now() < deadline, "{}", admin.cache());
    }
    assert_eq!(kept(&admin, "sky/a.png")["disk"], Value::Null);
}
