//! State for operators and probes: `/profiles`, `/livez`, `/readyz`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::client::PATIENCE;
use crate::files::{Files, INI, Way, section, yaml};
use crate::gateway::{ACCESS_KEY, SECRET_KEY, Setup, free_port};
use crate::origin::Origin;
use crate::reload::await_reload;

/// The entry of one profile in `/profiles`.
fn profile(admin: Admin, name: &str) -> Value {
    let answer = admin.send("GET", "/profiles");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.text().contains("canary"), "a secret: {}", answer.text());
    let all = answer.json();
    let found = all.as_array().expect("a list").iter().find(|one| one["profile"] == name);
    found.unwrap_or_else(|| panic!("{name} in {all}")).clone()
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("20") && text.ends_with('Z'))
}

#[test]
fn profiles_are_reported_with_their_last_success_and_error() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let url = origin.url();
    let closed = format!("http://127.0.0.1:{}", free_port());
    let keys = section("hips", ACCESS_KEY, SECRET_KEY)
        + &section("refused", "AKIANOBODYNOBODY", "canary/nobody")
        + &section("wrong", ACCESS_KEY, "canary/wrong")
        + &section("down", ACCESS_KEY, SECRET_KEY);
    let profiles = yaml(&[("hips", &url), ("refused", &url), ("wrong", &url), ("down", &closed)])
        + &format!("  open:\n    endpoint: \"{url}\"\n    credentials: {{anonymous: true}}\n")
        + &yaml(&[("keyless", &url)]).replace("profiles:\n", "");
    let files = Files::new(Way::Rename, &keys, &profiles);
    let (setup, admin) = Admin::of(files.setup(Setup::new(&url), "50ms"));
    let gateway = setup.tolerate("keyless").tolerate("s3://").start();
    for name in ["hips", "refused", "wrong", "down", "open", "keyless"] {
        let entry = profile(admin, name);
        assert_eq!((&entry["last_success"], &entry["last_error"]), (&Value::Null, &Value::Null));
    }
    let order = admin.send("GET", "/profiles").json();
    let order: Vec<_> = order.as_array().expect("a list").iter().map(|p| &p["profile"]).collect();
    assert_eq!(order, ["default", "down", "hips", "keyless", "open", "refused", "wrong"]);

    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    let hips = profile(admin, "hips");
    assert!(is_time(&hips["last_success"]), "{hips}");
    assert_eq!(hips["last_error"], Value::Null);
    assert_eq!(hips["endpoint"], url);
    assert_eq!(hips["key_id"], "...MPLE");
    let place = format!("{} [hips]", files.path(INI).display());
    assert_eq!(hips["credentials"], place);
    // A missing object is an answer, not a failure.
    assert_eq!(gateway.object("hips@sky/none.png").status(), 404);
    assert_eq!(profile(admin, "hips")["last_error"], Value::Null);

    for (name, cause, code) in [
        ("refused", "upstream_forbidden", json!("InvalidAccessKeyId")),
        ("wrong", "upstream_forbidden", json!("SignatureDoesNotMatch")),
        ("down", "upstream_connect", Value::Null),
    ] {
        let answer = gateway.object(&format!("{name}@sky/a.png"));
        let of_answer = answer.json()["cause"].clone();
        gateway.line_of(&answer);
        let entry = profile(admin, name);
        assert_eq!(entry["last_success"], Value::Null, "{name}");
        assert!(is_time(&entry["last_error"]["at"]), "{name}: {entry}");
        assert_eq!(entry["last_error"]["cause"], of_answer, "{name}: {entry}");
        assert_eq!(entry["last_error"]["code"], code, "{name}: {entry}");
        let (state, fault) = match name {
            "down" => ("passed_over", json!("no connection")),
            _ => ("healthy", Value::Null),
        };
        let addresses = entry["addresses"].as_array().expect("a list");
        assert_eq!(addresses.len(), 1, "{name}: {entry}");
        assert_eq!((&addresses[0]["state"], &addresses[0]["fault"]), (&json!(state), &fault));
        if cause == "upstream_forbidden" {
            assert_eq!(of_answer, cause, "{name}");
        }
    }
    assert_eq!(profile(admin, "open")["credentials"], "none: requests are unsigned");
    let keyless = profile(admin, "keyless");
    assert!(keyless["credentials"].as_str().is_some_and(|text| text.starts_with("missing: ")));
    assert_eq!(keyless["key_id"], Value::Null);

    // With another access key the history starts again.
    origin.accept_key("AKIASECONDSECOND", "canary/second");
    let mended = keys.replace("AKIANOBODYNOBODY", "AKIASECONDSECOND");
    files.write_one(INI, &mended.replace("canary/nobody", "canary/second"));
    await_reload(&gateway, "profile refused");
    let entry = profile(admin, "refused");
    assert_eq!((&entry["key_id"], &entry["last_error"]), (&json!("...COND"), &Value::Null));
    assert_eq!(gateway.object("refused@sky/a.png").status(), 200);
    assert!(is_time(&profile(admin, "refused")["last_success"]));
}

#[test]
fn readiness_ends_with_sigterm_and_nothing_else_does() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let setup = Setup::new(&origin.url()).yaml(json!({"server": {"lame_duck": "2s"}}));
    let (setup, admin) = Admin::of(setup);
    let mut gateway = setup.start();
    let status_of = |path: &str| admin.send("GET", path).status();
    assert_eq!((status_of("/readyz"), status_of("/livez")), (200, 200));
    assert_eq!(admin.send("GET", "/readyz").json(), json!({"status": "ready"}));
    gateway.signal("TERM");
    let signalled = std::time::Instant::now();
    while status_of("/readyz") == 200 {
        assert!(signalled.elapsed() < Duration::from_secs(1), "still ready");
    }
    assert_eq!(status_of("/readyz"), 503);
    assert_eq!(admin.send("GET", "/readyz").json(), json!({"status": "ending"}));
    assert_eq!(status_of("/livez"), 200);
    assert_eq!(gateway.get("/").status(), 200);
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    assert_eq!(gateway.await_end(PATIENCE).code(), Some(0));
    gateway.assert_log_clean();
}

/// Neither a store nor a broken configuration affects readiness.
#[test]
fn a_store_that_is_down_and_a_broken_file_leave_it_ready() {
    let closed = format!("http://127.0.0.1:{}", free_port());
    let profiles = yaml(&[("hips", &closed)]);
    let files = Files::new(Way::Rename, &section("hips", ACCESS_KEY, SECRET_KEY), &profiles);
    let (setup, admin) = Admin::of(files.setup(Setup::new(&closed), "50ms"));
    let gateway = setup.tolerate("s3://").start();
    assert!(gateway.object("hips@sky/a.png").status() >= 500);
    files.write_one(INI, "[hips");
    gateway.expect_log("the broken file", |line| line["severity"] == "error");
    for path in ["/readyz", "/livez"] {
        assert_eq!(admin.send("GET", path).status(), 200, "{path}");
        let head = admin.send("HEAD", path);
        assert_eq!((head.status(), head.body.len()), (200, 0), "{path}");
        assert_eq!(gateway.get(path).status(), 404, "{path} on the public port");
        assert_eq!(admin.send("POST", path).status(), 405, "{path}");
    }
    assert_eq!(gateway.get("/profiles").status(), 404, "on the public port");
}

/// `conf/minimal.yaml` on a laptop served the buckets of the user's own account.
#[test]
fn a_file_without_a_default_profile_serves_no_urls_without_a_profile() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    for cache in ["0", "32MiB"] {
        let setup = Setup::bare()
            .env("S3PROXY_CACHE_MEMORY", cache)
            .ini(&section("hips", ACCESS_KEY, SECRET_KEY))
            .ini(&section("default", ACCESS_KEY, SECRET_KEY))
            .profile_settings("hips", &json!({"endpoint": origin.url()}));
        let gateway = setup.start();
        assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
        for url in ["sky/a.png", "default@sky/a.png"] {
            let answer = gateway.object(url);
            assert_eq!(answer.status(), 404, "{url}");
            assert_eq!(answer.json()["cause"], "profile_unknown", "{url}");
        }
        let message = gateway.object("sky/a.png").json()["message"].to_string();
        assert!(message.contains("no default profile"), "{message}");
        let log = gateway.log_text();
        let line = format!("profile hips: {}, access key ...MPLE", origin.url());
        assert!(log.contains(&line), "{log}");
        assert!(log.contains("no default profile: URLs without profile@ are refused"), "{log}");
    }
}

#[test]
fn listening_on_every_network_is_logged_at_start() {
    let port = free_port();
    let gateway = Setup::bare().env("S3PROXY_LISTEN", &format!("0.0.0.0:{port}"));
    let gateway = gateway.listen(&format!("127.0.0.1:{port}")).tolerate("no profile has").start();
    let log = gateway.log_text();
    assert!(log.contains("listening on 0.0.0.0, every network of this machine"), "{log}");
}
