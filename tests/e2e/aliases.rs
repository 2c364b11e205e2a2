//! Releases by name: folders that stand for others, switched by a reload.

use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cached::{status, with_cache};
use crate::client::Ending;
use crate::configuration::assert_mistakes;
use crate::faulty::{self, Faulty, Gate, Recorded, Step};
use crate::files::{Files, Way, YAML, ini, yaml};
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;
use crate::reload::await_reload;
use crate::store::Object;

/// A store with two releases of a tile.
fn releases() -> Origin {
    let origin = Origin::start();
    for release in ["dp1", "dp2"] {
        origin.put(&format!("{release}/a b.png"), format!("tile of {release}"));
        origin.put(&format!("{release}/index.html"), format!("page of {release}"));
    }
    origin
}

/// The configuration file: the profile `hips`, and these aliases.
fn aliased(url: &str, aliases: &[(&str, &str)]) -> String {
    let mut text = yaml(&[("hips", url)]);
    text.push_str("aliases:\n");
    for (name, target) in aliases {
        text.push_str(&format!("  {name}: {target}\n"));
    }
    text
}

fn line_of(gateway: &Gateway, path: &str) -> Value {
    gateway.expect_log(path, |line| line["path"] == path)
}

#[test]
fn the_target_of_an_alias_is_signed_and_cached_and_both_names_are_logged() {
    let origin = releases();
    let alias = json!({"hips@sky/current/": "hips@sky/dp1/"});
    let setup = with_cache(&origin.url()).profile("hips", &origin.url());
    let (setup, admin) = Admin::of(setup.yaml(json!({"aliases": alias})));
    let gateway = setup.start();
    let first = gateway.object("hips@sky/current/a%20b.png");
    assert_eq!((first.status(), first.text()), (200, "tile of dp1"));
    let asked = origin.requests();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/sky/dp1/a%20b.png"), "{asked:?}");
    let line = line_of(&gateway, "s3://hips@sky/current/a b.png");
    assert_eq!(
        (&line["target"], &line["profile"]),
        (&"s3://hips@sky/dp1/a b.png".into(), &"hips".into())
    );
    // Warm under both names.
    for name in ["current", "dp1"] {
        let answer = gateway.object(&format!("hips@sky/{name}/a%20b.png"));
        assert_eq!(answer.text(), "tile of dp1");
        assert!(status(&answer).contains("hit"), "{name}: {}", status(&answer));
    }
    assert_eq!(line_of(&gateway, "s3://hips@sky/dp1/a b.png").get("target"), None);
    // A refusal names what the client wrote.
    let missing = gateway.object("hips@sky/current/no.png");
    assert!(missing.text().contains("s3://hips@sky/current/no.png"), "{}", missing.text());
    assert_eq!(
        admin.send("GET", "/cache/hips@sky/current/a%20b.png").json()["object"],
        "s3://hips@sky/dp1/a b.png"
    );
    assert_eq!(admin.purge("hips@sky/current/")["purged"], "s3://hips@sky/dp1/");
    let again = gateway.object("hips@sky/dp1/a%20b.png");
    assert!(!status(&again).contains("hit"), "{}", status(&again));
}

#[test]
fn clients_use_an_answer_for_an_alias_for_a_minute_only() {
    let store = Faulty::scripted(|_: &Recorded, _| {
        let headers = [("ETag", "\"a\""), ("Cache-Control", "public, max-age=86400, immutable")];
        faulty::answer(200, &headers, b"tile")
    });
    for memory in ["0", "64MiB"] {
        let gateway = Setup::new(&store.url())
            .env("S3PROXY_CACHE_MEMORY", memory)
            .env("S3PROXY_ALIASES", r#"{"sky/current/": "sky/dp1/"}"#)
            .start();
        for round in 0..2 {
            let limit = |headers: &[(&str, &str)]| {
                let answer = gateway.object_with("sky/current/a.png", headers);
                let value = answer.header("cache-control").unwrap_or_default().to_owned();
                let age: u64 = answer.header("age").map_or(0, |age| age.parse().expect("a number"));
                (answer.status(), value, format!("public, max-age={}", 60 + age))
            };
            let cached = [
                (&[][..], 200),
                (&[("If-None-Match", "\"a\"")], 304),
                (&[("Range", "bytes=0-1")], 206),
            ];
            let without_cache = 1;
            for (headers, expected) in
                cached.into_iter().take(if memory == "0" { without_cache } else { 3 })
            {
                let (status, value, limited) = limit(headers);
                assert_eq!((status, value), (expected, limited), "{memory} {round} {headers:?}");
            }
            let own = gateway.object("sky/dp1/a.png");
            assert_eq!(own.header("cache-control"), Some("public, max-age=86400, immutable"));
        }
    }
    // Without any freshness of the store, browsers would guess one.
    let origin = releases();
    let aliases = json!({"aliases": {"sky/current/": "sky/dp1/"}, "alias_max_age": 5});
    let gateway = Setup::new(&origin.url()).yaml(aliases).start();
    let answer = gateway.object("sky/current/a%20b.png");
    assert_eq!(answer.header("cache-control"), Some("max-age=5"));
}

#[test]
fn a_reload_switches_the_release_and_readers_finish_the_one_they_began() {
    const LENGTH: usize = 300_000;
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |request: &Recorded, _| {
        let is_old = request.target.contains("/dp1/");
        let body = vec![if is_old { b'1' } else { b'2' }; LENGTH];
        let tag = [("ETag", if is_old { "\"one\"" } else { "\"two\"" })];
        let mut steps = faulty::answer(200, &tag, &body);
        if is_old && request.target.ends_with("big.png") {
            let Some(Step::Send(all)) = steps.pop() else { panic!("a body") };
            let (start, rest) = all.split_at(1000);
            steps.extend([
                Step::Send(start.to_vec()),
                Step::Wait(held.clone()),
                Step::Send(rest.to_vec()),
            ]);
        }
        steps
    });
    let keys = ini(&["hips"]);
    let with = |target| aliased(&store.url(), &[("hips@sky/current/", target)]);
    let files = Files::new(Way::Rename, &keys, &with("hips@sky/dp1/"));
    let gateway = files.setup(with_cache(&store.url()), "50ms").start();
    let small = || gateway.object("hips@sky/current/a.png");
    let old_tag = small().header("etag").map(str::to_owned).expect("a tag");
    let mut reader = gateway.connect();
    reader.request("GET", "/s3proxy/s3/hips@sky/current/big.png", &[]);
    assert!(reader.wait_for_bytes(Duration::from_secs(10)), "the body has begun");
    // The next release is cached before anybody gets it by the alias.
    assert_eq!(gateway.object("hips@sky/dp2/a.png").status(), 200);
    files.write(&keys, &with("hips@sky/dp2/"));
    await_reload(&gateway, "alias changed: hips@sky/current/ -> hips@sky/dp2/");
    let after = gateway.object_with("hips@sky/current/a.png", &[("If-None-Match", &old_tag)]);
    assert!(after.status() == 200 && after.body == vec![b'2'; LENGTH], "the new release");
    assert!(status(&after).contains("hit"), "it was warm: {}", status(&after));
    gate.open();
    let answer = reader.answer("GET").expect("an answer");
    assert_eq!(answer.ending, Ending::Whole);
    assert!(answer.body == vec![b'1'; LENGTH], "the release that it began");
    // The old one stays cached under its own name, and comes back with one change.
    assert!(status(&gateway.object("hips@sky/dp1/a.png")).contains("hit"));
    files.write(&keys, &with("hips@sky/dp1/"));
    await_reload(&gateway, "alias changed: hips@sky/current/ -> hips@sky/dp1/");
    let back = small();
    assert!(status(&back).contains("hit") && back.body[0] == b'1', "{}", status(&back));
    files.write_one(YAML, &yaml(&[("hips", &store.url())]));
    await_reload(&gateway, "alias removed: hips@sky/current/ -> hips@sky/dp1/");
    assert_eq!(small().body[0], b'2', "the folder of that name itself");
}

#[test]
fn an_alias_leads_to_another_profile_and_bucket_and_its_rules_apply() {
    let (one, other) = (releases(), Origin::start());
    other.create_bucket("vault");
    other.put_object("vault", "x/a.png", Object::new("of the other"));
    let gateway = Setup::bare()
        .profile("hips", &one.url())
        .profile("lab", &other.url())
        .profile_settings("lab", &json!({"buckets": ["vault"]}))
        .yaml(json!({"aliases": {"hips@sky/beta/": "lab@vault/x/"}}))
        .start();
    let answer = gateway.object("hips@sky/beta/a.png");
    assert_eq!((answer.status(), answer.text()), (200, "of the other"));
    assert_eq!((one.count(), other.count()), (0, 1));
    assert_eq!(line_of(&gateway, "s3://hips@sky/beta/a.png")["profile"], "lab");
}

#[test]
fn folders_and_listings_stay_below_the_alias() {
    let origin = releases();
    let gateway = Setup::bare()
        .profile("hips", &origin.url())
        .profile_settings("hips", &json!({"listing": true}))
        .yaml(json!({"aliases": {"hips@sky/current/": "hips@sky/dp1/"}}))
        .start();
    let listing = gateway.object_with("hips@sky/current/", &[("Accept", "application/json")]);
    let listing = listing.json();
    assert_eq!((&listing["bucket"], &listing["prefix"]), (&"hips@sky".into(), &"current/".into()));
    assert_eq!(listing["objects"][0]["url"], "/s3proxy/s3/hips@sky/current/a%20b.png", "{listing}");
    let redirect = gateway.object("hips@sky/current");
    assert_eq!(redirect.status(), 307);
    let location = redirect.header("location").unwrap_or_default();
    assert!(location.ends_with("/s3proxy/s3/hips@sky/current/"), "{location}");
    let gateway = Setup::bare()
        .profile("hips", &origin.url())
        .profile_settings("hips", &json!({"index": "index.html"}))
        .yaml(json!({"aliases": {"hips@sky/current/": "hips@sky/dp1/"}}))
        .start();
    assert_eq!(gateway.object("hips@sky/current/").text(), "page of dp1");
    let line = line_of(&gateway, "s3://hips@sky/current/index.html");
    assert_eq!(line["target"], "s3://hips@sky/dp1/index.html");
}

#[test]
fn check_and_explain_show_both_names() {
    let origin = releases();
    let setup = Setup::bare()
        .profile("hips", &origin.url())
        .yaml(json!({"aliases": {"hips@sky/current/": "hips@sky/dp1/"}}));
    let run = setup.clone().args(&["explain", "--json", "hips@sky/current/a%20b.png"]).run();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(json["object"], "s3://hips@sky/current/a b.png");
    assert_eq!(json["target"], "s3://hips@sky/dp1/a b.png");
    assert_eq!(json["address"]["key"], "current/a b.png");
    let check = setup.args(&["check", "hips@sky/current/a%20b.png"]).run();
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    assert!(check.stdout.contains("stands for s3://hips@sky/dp1/a b.png"), "{}", check.stdout);
}

#[test]
fn every_mistake_of_the_aliases_is_reported_with_its_line() {
    let text = "\
profiles:
  hips: {endpoint: http://127.0.0.1:9, buckets: [sky]}
aliases:
  hips@sky/current: hips@sky/dp1/
  hips@sky/a/: hips@sky/b/
  hips@sky/b/: hips@sky/a/
  hips@sky/c/: hips@sky/c/d/
  hips@sky/e/: nobody@sky/e/
  sky/f/: hips@sky/g/
  hips@sky/h/: hips@secret/
  hips@sky/i/: hips@sky/../
";
    assert_mistakes(
        text,
        &[
            (4, "with a slash at its end"),
            (5, "leads to another alias (hips@sky/b/ -> hips@sky/a/), which leads back to it"),
            (6, "leads to another alias (hips@sky/a/ -> hips@sky/b/), which leads back to it"),
            (7, "contains its own target"),
            (8, "there is no profile nobody"),
            (9, "there is no default profile"),
            (10, "profile hips does not serve the bucket secret"),
            (11, "contains a . or .. segment"),
        ],
    );
}
