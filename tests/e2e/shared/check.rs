//! `s3proxy check` with a shared tier: what is wrong with the engine, and the fix.

use serde_json::Value;

use crate::faulty::Faulty;
use crate::gateway::Setup;
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};

/// The steps about the shared tier, and the exit code.
fn check(setup: Setup) -> (Vec<Value>, Option<i32>) {
    let run = setup.args(&["check", "--json"]).run();
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let sections = report["sections"].as_array().expect("sections");
    let shared = sections.iter().find(|section| section["subject"] == "shared");
    let steps = shared.map(|section| section["steps"].as_array().expect("steps").clone());
    (steps.unwrap_or_default(), run.status.code())
}

#[track_caller]
fn assert_step(steps: &[Value], name: &str, state: &str, texts: &[&str]) {
    let step = steps.iter().find(|step| step["name"] == name);
    let step = step.unwrap_or_else(|| panic!("no step {name}: {steps:?}"));
    assert_eq!(step["state"], state, "{step}");
    for text in texts {
        assert!(step.to_string().contains(text), "{text}: {step}");
    }
}

#[test]
fn a_right_engine_is_described_and_left_as_it_was() {
    let Some(engine) = Engine::start_with(&["--maxmemory", "64mb"]) else { return };
    let spy = Faulty::spy();
    let one = Replica::start(&spy.url(), &engine);
    let before = engine.ask("DBSIZE");
    let (steps, _) = check(sharing(&spy.url(), &engine));
    let names: Vec<&str> = steps.iter().filter_map(|step| step["name"].as_str()).collect();
    let expected =
        ["connection", "version", "commands", "messages", "memory", "latency", "replicas"];
    assert_eq!(names, expected);
    for name in expected {
        assert_step(&steps, name, "ok", &[]);
    }
    assert_step(&steps, "version", "ok", &["master"]);
    assert_step(&steps, "memory", "ok", &["allkeys-lru", "64 MiB"]);
    assert_step(&steps, "replicas", "ok", &[&format!("/{}", one.gateway.pid())]);
    assert_eq!(engine.ask("DBSIZE"), before, "nothing is left behind");
}

#[test]
fn a_faulty_engine_is_named_with_its_fix() {
    let Some(mut engine) = Engine::start_with(&["--requirepass", "right-password"]) else { return };
    let spy = Faulty::spy();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    let path_text = path.to_str().expect("UTF-8").to_owned();
    let setup =
        || sharing(&spy.url(), &engine).env("S3PROXY_CACHE_SHARED_PASSWORD_FILE", &path_text);
    std::fs::write(&path, "wrong-password").expect("a file");
    let (steps, code) = check(setup());
    assert_step(&steps, "connection", "failed", &["WRONGPASS", "password_file"]);
    assert_step(&steps, "latency", "skipped", &[]);
    assert_eq!(code, Some(1));
    assert!(steps.iter().all(|step| !step.to_string().contains("wrong-password")), "{steps:?}");

    std::fs::write(&path, "right-password").expect("a file");
    let say = |command: &str| {
        let answer = engine.ask(&format!("AUTH right-password\r\n{command}"));
        assert!(!answer.contains('-'), "{command}: {answer}");
    };
    say("CONFIG SET maxmemory-policy noeviction");
    let (steps, _) = check(setup());
    assert_step(&steps, "commands", "ok", &[]);
    assert_step(&steps, "memory", "warning", &["noeviction", "volatile-lru"]);

    say("CONFIG SET maxmemory 1");
    let (steps, code) = check(setup());
    assert_step(&steps, "commands", "failed", &["memory is full", "volatile-lru"]);
    assert_eq!(code, Some(1));

    say("CONFIG SET maxmemory 0");
    say("REPLICAOF 127.0.0.1 1");
    let (steps, _) = check(setup());
    assert_step(&steps, "version", "ok", &["slave"]);
    assert_step(&steps, "commands", "failed", &["writing a value", "read-only", "primary"]);

    say("REPLICAOF NO ONE");
    // With all rights but that of purges.
    say("ACL SETUSER few on >few-password ~* +@all -xadd");
    std::fs::write(&path, "few-password").expect("a file");
    let url = engine.url().replace("redis://", "redis://few@");
    let (steps, _) = check(setup().env("S3PROXY_CACHE_SHARED_URL", &url));
    assert_step(&steps, "connection", "ok", &[]);
    assert_step(&steps, "commands", "failed", &["XADD", "rights"]);
    say("ACL SETUSER few +@all resetchannels");
    let (steps, _) = check(setup().env("S3PROXY_CACHE_SHARED_URL", &url));
    assert_step(&steps, "commands", "ok", &[]);
    assert_step(&steps, "messages", "warning", &["publish, subscribe", "look for objects"]);

    let down = setup();
    engine.kill();
    let (steps, code) = check(down);
    assert_step(&steps, "connection", "failed", &["cache.shared.url"]);
    assert_eq!(code, Some(1));
}

#[test]
fn the_rights_that_are_documented_suffice() {
    let Some(engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/shared-cache.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let line = text.lines().find(|line| line.contains("ACL SETUSER")).expect("the rights");
    let answer = engine.ask(&line.trim().replace("PASSWORD", "a-password"));
    assert_eq!(answer, "+OK\r\n", "{line}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "a-password").expect("a file");
    let url = engine.url().replace("redis://", "redis://s3proxy@");
    let setup = || {
        sharing(&spy.url(), &engine)
            .env("S3PROXY_CACHE_SHARED_URL", &url)
            .env("S3PROXY_CACHE_SHARED_PASSWORD_FILE", file.to_str().expect("UTF-8"))
    };
    let (steps, _) = check(setup());
    for name in ["connection", "version", "commands", "messages", "latency", "replicas"] {
        assert_step(&steps, name, "ok", &[]);
    }
    let one = Replica::of(setup());
    one.await_state("on");
    one.await_messages("on");
    one.get("sky/a.png");
    one.await_written(1);
    let said = one.admin.purge("sky/a.png");
    assert_eq!(said["replicas"]["recorded"], true, "{said}");
    assert!(!one.admin.cache()["shared"]["errors"].to_string().contains("\"access\":1"));
}

#[test]
fn without_a_shared_tier_and_for_one_profile_there_is_no_such_section() {
    let Some(engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    assert_eq!(check(Setup::new(&spy.url())).0, Vec::<Value>::new());
    let run = sharing(&spy.url(), &engine)
        .profile("hips", &spy.url())
        .args(&["check", "--json", "hips"])
        .run();
    assert!(run.stdout.contains("\"hips\"") && !run.stdout.contains("\"shared\""), "{run:?}");
}
