//! Live reload: files written while the gateway runs take effect, however they were written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::admin::Admin;
use crate::cached::{status, with_cache};
use crate::client::PATIENCE;
use crate::files::{Files, INI, WAYS, Way, YAML, ini, section, yaml};
use crate::gateway::{ACCESS_KEY, Gateway, SECRET_KEY, Setup};
use crate::origin::Origin;

/// The next log line about the configuration.
pub(crate) fn await_reload(gateway: &Gateway, mentions: &str) -> String {
    let line = gateway.expect_log(&format!("a reload that mentions {mentions}"), |line| {
        let event = event(line);
        event.starts_with("configuration reloaded") && event.contains(mentions)
    });
    event(&line).to_owned()
}

pub(crate) fn event(line: &Value) -> &str {
    line["event"].as_str().unwrap_or_default()
}

/// The number of log lines that begin with this text.
pub(crate) fn count(gateway: &Gateway, begins: &str) -> usize {
    let lines = gateway.lines();
    let lines = lines.iter().filter_map(|line| line.json.as_ref());
    lines.filter(|line| event(line).starts_with(begins)).count()
}

fn origin() -> Origin {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    origin
}

#[test]
fn profiles_are_added_and_removed_whichever_way_the_files_are_written() {
    let origin = origin();
    let url = origin.url();
    for way in WAYS {
        let files =
            Files::new(way, &ini(&["hips", "gone"]), &yaml(&[("hips", &url), ("gone", &url)]));
        let gateway = files.setup(with_cache(&url), "400ms").start();
        for (name, status) in [("hips", 200), ("gone", 200), ("new", 404)] {
            assert_eq!(gateway.object(&format!("{name}@sky/a.png")).status(), status, "{way:?}");
        }
        files.write(&ini(&["hips", "new"]), &yaml(&[("hips", &url), ("new", &url)]));
        let line = await_reload(&gateway, "");
        assert_eq!(
            line,
            format!(
                "configuration reloaded: profile gone removed; profile new added: {url}, access key \
                 ...MPLE"
            ),
            "{way:?}"
        );
        for (name, status) in [("hips", 200), ("gone", 404), ("new", 200)] {
            let answer = gateway.object(&format!("{name}@sky/a.png"));
            assert_eq!(answer.status(), status, "{way:?} {name}");
        }
        let kept = gateway.object("hips@sky/a.png");
        assert!(status(&kept).contains("hit"), "{way:?}: {}", status(&kept));
        assert_eq!(count(&gateway, "configuration"), 1, "{way:?}: only complete files are applied");
        assert!(!gateway.log_text().contains("canary"), "{way:?}: a secret in the log");
    }
}

#[test]
fn sighup_reads_at_once_and_says_so_if_nothing_changed() {
    let origin = origin();
    let url = origin.url();
    let files = Files::new(Way::Rename, &ini(&["hips"]), &yaml(&[("hips", &url)]));
    let gateway = files.setup(Setup::new(&url), "0").start();
    gateway.signal("HUP");
    assert!(await_reload(&gateway, "").ends_with("profiles unchanged"));
    files.write(&ini(&["hips", "new"]), &yaml(&[("hips", &url), ("new", &url)]));
    assert_eq!(gateway.object("new@sky/a.png").status(), 404, "nothing is read without a signal");
    gateway.signal("HUP");
    await_reload(&gateway, "profile new added");
    assert_eq!(gateway.object("new@sky/a.png").status(), 200);
}

#[test]
fn many_sighups_during_changes_end_with_the_last_configuration() {
    let origin = origin();
    let url = origin.url();
    let files = Files::new(Way::InPlace, &ini(&["p0"]), &yaml(&[("p0", &url)]));
    let gateway = files.setup(Setup::new(&url), "50ms").tolerate("configuration").start();
    for nth in 1..=20 {
        let name = format!("p{nth}");
        gateway.signal("HUP");
        files.write(&ini(&[&name]), &yaml(&[(&name, &url)]));
        gateway.signal("HUP");
    }
    await_reload(&gateway, "profile p20 added");
    assert_eq!(gateway.object("p20@sky/a.png").status(), 200);
    assert_eq!(gateway.object("p19@sky/a.png").status(), 404);
    assert!(gateway.get("/").status() == 200);
}

#[test]
fn objects_of_the_previous_endpoint_are_not_served() {
    let (first, second) = (origin(), origin());
    first.put("a.png", "first");
    second.put("a.png", "second");
    let keys = ini(&["hips"]);
    let files = Files::new(Way::Rename, &keys, &yaml(&[("hips", &first.url())]));
    let gateway = files.setup(with_cache(&first.url()), "50ms").start();
    for _ in 0..2 {
        assert_eq!(gateway.object("hips@sky/a.png").text(), "first");
    }
    assert_eq!(first.count(), 1);
    files.write(&keys, &yaml(&[("hips", &second.url())]));
    await_reload(&gateway, "profile hips: settings changed");
    assert_eq!(gateway.object("hips@sky/a.png").text(), "second");
    first.put("a.png", "first, changed meanwhile");
    files.write(&keys, &yaml(&[("hips", &first.url())]));
    await_reload(&gateway, "profile hips: settings changed");
    assert_eq!(gateway.object("hips@sky/a.png").text(), "first, changed meanwhile");
}

#[test]
fn a_restored_profile_does_not_serve_objects_cached_before_its_removal() {
    let origin = origin();
    let url = origin.url();
    let both = (ini(&["hips", "other"]), yaml(&[("hips", &url), ("other", &url)]));
    let files = Files::new(Way::Kubernetes, &both.0, &both.1);
    let (setup, admin) = Admin::of(with_cache(&url));
    let gateway = files.setup(setup, "50ms").start();
    assert_eq!(gateway.object("hips@sky/a.png").text(), "tile");
    assert_eq!(gateway.object("other@sky/a.png").text(), "tile");
    files.write(&ini(&["other"]), &yaml(&[("other", &url)]));
    await_reload(&gateway, "profile hips removed");
    assert_eq!(gateway.object("hips@sky/a.png").status(), 404);
    admin.await_number("memory_entries", |entries| entries == 1);
    origin.put("a.png", "another");
    files.write(&both.0, &both.1);
    await_reload(&gateway, "profile hips added");
    assert_eq!(gateway.object("hips@sky/a.png").text(), "another");
    assert_eq!(gateway.object("other@sky/a.png").text(), "tile", "kept all the time");
}

#[test]
fn access_keys_and_endpoints_of_different_generations_are_never_mixed() {
    // Each store accepts only the access key of its own generation: a mixture would be refused.
    let (first, second) = (origin(), origin());
    first.refuse_key(ACCESS_KEY);
    second.refuse_key(ACCESS_KEY);
    first.accept_key("AKIAFIRSTFIRST", "canary/first");
    second.accept_key("AKIASECONDSECOND", "canary/second");
    let generations = [
        (section("hips", "AKIAFIRSTFIRST", "canary/first"), yaml(&[("hips", &first.url())])),
        (section("hips", "AKIASECONDSECOND", "canary/second"), yaml(&[("hips", &second.url())])),
    ];
    let (keys, profiles) = &generations[0];
    let files = Files::new(Way::Kubernetes, keys, profiles);
    let setup = files.setup(Setup::new(&first.url()), "10ms");
    let gateway = setup.tolerate("change while they are read").start();
    let done = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut served = 0;
            while !done.load(Ordering::Acquire) {
                let answer = gateway.object("hips@sky/a.png");
                assert_eq!(answer.status(), 200, "{answer:?}");
                served += 1;
            }
            served
        });
        // So fast that files are replaced between the reads of two files.
        let began = Instant::now();
        for nth in 1.. {
            let (keys, profiles) = &generations[nth % 2];
            files.write(&format!("# {nth}\n{keys}"), &format!("# {nth}\n{profiles}"));
            if nth % 50 == 0 {
                gateway.signal("HUP");
                if began.elapsed() > Duration::from_secs(2) {
                    break;
                }
            }
        }
        let (keys, profiles) = &generations[1];
        files.write(keys, profiles);
        gateway.signal("HUP");
        await_reload(&gateway, "replaced by ...COND");
        done.store(true, Ordering::Release);
        reading.join().expect("all were served")
    });
    assert!(served > 10, "{served}");
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    let last = second.requests().pop().expect("it is asked");
    assert!(last.header("authorization").contains("AKIASECONDSECOND"));
    assert!(!gateway.log_text().contains("canary"), "a secret in the log");
}

#[test]
fn settings_that_need_a_restart_are_named_once_and_not_applied() {
    let origin = origin();
    let url = origin.url();
    let profiles = yaml(&[("hips", &url)]);
    let files = Files::new(Way::Rename, &ini(&["hips"]), &format!("cache_max_age: 5\n{profiles}"));
    let gateway = files.setup(Setup::new(&url), "50ms").start();
    let max_age = || gateway.object("hips@sky/a.png").header("cache-control").map(str::to_owned);
    assert_eq!(max_age().as_deref(), Some("public, max-age=5"));
    let changed = format!("cache_max_age: 7\nserver:\n  lame_duck: 1s\n{profiles}");
    files.write(&ini(&["hips"]), &changed);
    let warning = gateway.expect_log("the settings that need a restart", |line| {
        line["severity"] == "warning" && event(line).contains("restart")
    });
    assert_eq!(event(&warning), "restart required for: cache_max_age, server.lame_duck");
    assert_eq!(max_age().as_deref(), Some("public, max-age=5"));
    await_reload(&gateway, "profiles unchanged");
    // Access keys change again; the warning is not repeated.
    origin.accept_key("AKIAOTHEROTHER", "canary/other");
    files.write_one(INI, &section("hips", "AKIAOTHEROTHER", "canary/other"));
    await_reload(&gateway, "profile hips: access key ...MPLE replaced by ...THER");
    assert_eq!(max_age().as_deref(), Some("public, max-age=5"));
    // A setting with its value of the start needs no restart.
    files.write_one(YAML, &format!("cache_max_age: 5\n{profiles}"));
    await_reload(&gateway, "profiles unchanged");
    // Once more, so that all log lines of the reload before are written.
    gateway.signal("HUP");
    await_reload(&gateway, "profiles unchanged");
    assert_eq!(count(&gateway, "restart required"), 1);
}

#[test]
fn another_credentials_file_is_read_from_then_on() {
    let origin = origin();
    let url = origin.url();
    let files = Files::new(Way::Rename, &ini(&["hips"]), "");
    let other = files.path("other.ini");
    let named = |path: &std::path::Path| {
        format!("credentials_file: \"{}\"\n{}", path.display(), yaml(&[("hips", &url)]))
    };
    files.write_one(YAML, &named(&files.path(INI)));
    let setup = files.setup(Setup::new(&url), "50ms").without("AWS_SHARED_CREDENTIALS_FILE");
    let gateway = setup.start();
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    files.write_one(YAML, &named(&other));
    // The file does not exist yet; when it appears, the gateway notices it although no file it has
    // read changed.
    gateway.expect_log("a file that is not there", |line| {
        line["severity"] == "error" && event(line).contains("other.ini")
    });
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    origin.accept_key("AKIAOTHEROTHER", "canary/other");
    files.write_one("other.ini", &section("hips", "AKIAOTHEROTHER", "canary/other"));
    await_reload(&gateway, "profile hips: access key ...MPLE replaced by ...THER");
    origin.refuse_key(ACCESS_KEY);
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    files.write_one("other.ini", &section("hips", "AKIALATERLATER", SECRET_KEY));
    await_reload(&gateway, "profile hips: access key ...THER replaced by ...ATER");
}

#[test]
fn a_revoked_access_key_triggers_a_reload_once_in_ten_seconds() {
    let origin = origin();
    let url = origin.url();
    let profiles = yaml(&[("hips", &url)]);
    let files = Files::new(Way::Rename, &ini(&["hips"]), &profiles);
    let setup = files.setup(Setup::new(&url), "0").tolerate("upstream_forbidden");
    let gateway = setup.start();
    let get = || gateway.object("hips@sky/a.png").status();
    let rotate = |old: &str, id: &str, secret: &str| {
        origin.accept_key(id, secret);
        origin.refuse_key(old);
        files.write_one(INI, &section("hips", id, secret));
    };
    assert_eq!(get(), 200);
    rotate(ACCESS_KEY, "AKIASECONDSECOND", "canary/second");
    let refused = Instant::now();
    assert_eq!(get(), 403, "the files are not read yet");
    await_reload(&gateway, "profile hips: access key ...MPLE replaced by ...COND");
    assert!(refused.elapsed() < PATIENCE / 2, "{:?}", refused.elapsed());
    for _ in 0..5 {
        assert_eq!(get(), 200);
    }
    // Another rotation, so soon: refusals alone do not trigger repeated reads of the files.
    rotate("AKIASECONDSECOND", "AKIATHIRDTHIRD", "canary/third");
    let mut tried = 0;
    while refused.elapsed() < Duration::from_secs(9) {
        assert_eq!(get(), 403);
        tried += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(tried > 10, "{tried}");
    while get() == 403 {
        assert!(refused.elapsed() < 2 * PATIENCE, "never read again");
        std::thread::sleep(Duration::from_millis(50));
    }
    await_reload(&gateway, "profile hips: access key ...COND replaced by ...HIRD");
    assert_eq!(count(&gateway, "configuration reloaded"), 2);
    assert!(!gateway.log_text().contains("canary"), "a secret in the log");
}

/// Each refusal requests a reload; that must not postpone the regular check.
#[test]
fn a_store_that_always_refuses_an_access_key_does_not_delay_reloads() {
    let origin = origin();
    let url = origin.url();
    let refused = section("refused", "AKIANOBODYNOBODY", "canary/nobody");
    let files = Files::new(Way::Rename, &refused, &yaml(&[("refused", &url)]));
    let setup = files.setup(Setup::new(&url), "500ms").tolerate("upstream_forbidden");
    let gateway = setup.start();
    let get = |name: &str| gateway.object(&format!("{name}@sky/a.png")).status();
    for _ in 0..5 {
        assert_eq!(get("refused"), 403);
    }
    files.write(&(ini(&["hips"]) + &refused), &yaml(&[("hips", &url), ("refused", &url)]));
    let written = Instant::now();
    while get("hips") != 200 {
        assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
        assert_eq!(get("refused"), 403);
    }
    await_reload(&gateway, "profile hips added");
}

#[test]
fn the_log_level_and_cors_change_on_reload() {
    let origin = origin();
    let profiles = yaml(&[("hips", &origin.url())]);
    let files = Files::new(Way::Rename, &ini(&["hips"]), &profiles);
    let gateway = files.setup(Setup::new(&origin.url()), "50ms").start();
    let debug = |gateway: &Gateway| gateway.log_text().matches("\"debug\"").count();
    let allowed = || {
        let answer = gateway.object_with("hips@sky/a.png", &[("Origin", "https://a.example")]);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!((allowed(), debug(&gateway)), (None, 0));
    let changed = "cors: {origins: [\"https://a.example\"]}\nlog: {level: debug}\n";
    files.write_one(YAML, &format!("{changed}{profiles}"));
    await_reload(&gateway, "profiles unchanged");
    assert_eq!(allowed().as_deref(), Some("https://a.example"));
    // Probes are logged at DEBUG.
    assert_eq!(gateway.get("/").status(), 200);
    assert!(debug(&gateway) > 0, "{}", gateway.log_text());
    let answer = gateway.send("OPTIONS", "/s3proxy/s3/hips@sky/a.png", &[]);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    files.write_one(YAML, &profiles);
    await_reload(&gateway, "profiles unchanged");
    assert_eq!(allowed(), None);
    let before = debug(&gateway);
    assert_eq!(gateway.get("/").status(), 200);
    assert_eq!(debug(&gateway), before);
    assert_eq!(count(&gateway, "restart required"), 0);
}
