//! The engine is never a fault of the gateway: requests go on to the store, within the time for a command.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faulty::Faulty;
use crate::gateway::Setup;
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};
use crate::tally::trials;

/// No request may take longer: the timeout of the engine, a store on the loopback, a busy machine.
const MOST: Duration = Duration::from_secs(2);

/// With the timeout that gateways have by default.
fn hurried(store: &Faulty, engine: &Engine) -> Setup {
    sharing(&store.url(), engine).without("S3PROXY_CACHE_SHARED_TIMEOUT")
}

fn started(store: &Faulty, engine: &Engine) -> Replica {
    let replica = Replica::of(hurried(store, engine).tolerate("it does not answer in time"));
    replica.await_state("on");
    replica
}

fn is_warning(line: &Value) -> bool {
    line["event"].as_str().is_some_and(|text| text.starts_with("shared cache: not used: "))
}

/// Requests objects that are not cached, and each of them again.
#[track_caller]
fn assert_serves(replica: &Replica, store: &Faulty, name: &str) {
    let _trials = trials("requests with a failing engine", 16);
    for nth in 0..8 {
        let tail = format!("sky/{name}{nth}.png");
        let before = store.count();
        let started = Instant::now();
        assert_eq!(replica.get(&tail).0, 200, "{tail}");
        assert!(started.elapsed() < MOST, "{tail}: {:?}", started.elapsed());
        assert_eq!(store.count(), before + 1, "{tail}");
        // From memory, or along with the fetch, which ends a moment after its first reader.
        let (status, _, said) = replica.get(&tail);
        assert_eq!((status, store.count()), (200, before + 1), "{tail}: {said}");
    }
}

#[test]
fn an_engine_that_is_killed_costs_no_request_and_is_used_again() {
    let Some(mut engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    let replica = started(&spy, &engine);
    assert_serves(&replica, &spy, "before");
    engine.kill();
    assert_serves(&replica, &spy, "down");
    replica.await_state("off");
    replica.gateway.expect_log("a warning", is_warning);
    engine.restart();
    replica.await_state("on");
    assert_serves(&replica, &spy, "after");
    replica.admin.await_number("shared_writes", |writes| writes >= 9);
}

#[test]
fn a_gateway_starts_without_its_engine() {
    let Some(mut engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    engine.kill();
    let replica = Replica::of(hurried(&spy, &engine));
    assert_serves(&replica, &spy, "down");
    replica.gateway.expect_log("a warning", is_warning);
    engine.restart();
    replica.await_state("on");
}

#[test]
fn an_engine_that_stops_costs_the_first_requests_a_moment_and_is_then_left_alone() {
    let Some(engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    let replica = started(&spy, &engine);
    assert_serves(&replica, &spy, "before");
    engine.signal("STOP");
    assert_serves(&replica, &spy, "stopped");
    replica.await_state("off");
    replica.gateway.expect_log("a warning", is_warning);
    let started = Instant::now();
    replica.get("sky/alone.png");
    assert!(started.elapsed() < Duration::from_millis(1000), "{:?}", started.elapsed());
    engine.signal("CONT");
    replica.await_state("on");
    assert_serves(&replica, &spy, "after");
}

#[test]
fn an_engine_that_is_slow_costs_the_first_requests_a_moment() {
    let Some(engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    let replica = started(&spy, &engine);
    assert_serves(&replica, &spy, "before");
    engine.pause(2500);
    assert_serves(&replica, &spy, "slow");
    replica.await_state("off");
    replica.gateway.expect_log("a warning", is_warning);
    replica.await_state("on");
    assert_serves(&replica, &spy, "after");
}

#[test]
fn a_wrong_password_is_named_and_a_right_one_is_read_without_a_restart() {
    let Some(engine) = Engine::start_with(&["--requirepass", "right-password"]) else { return };
    let spy = Faulty::spy();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    std::fs::write(&path, "wrong-password\n").expect("a file");
    let path_text = path.to_str().expect("UTF-8");
    let setup = hurried(&spy, &engine).env("S3PROXY_CACHE_SHARED_PASSWORD_FILE", path_text);
    let replica = Replica::of(setup);
    assert_serves(&replica, &spy, "refused");
    let line = replica.gateway.expect_log("a warning", is_warning);
    let text = line["event"].as_str().expect("text");
    assert!(text.contains("refuses the user or the password"), "{text}");
    assert!(!text.contains("wrong-password"), "{text}");
    std::fs::write(&path, "right-password\n").expect("a file");
    replica.await_state("on");
}

#[test]
fn an_engine_that_takes_nothing_is_no_fault() {
    for (name, commands, cause) in [
        ("full", &["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1"][..], "full"),
        ("replica", &["REPLICAOF 127.0.0.1 1"], "read_only"),
    ] {
        let Some(engine) = Engine::start() else { return };
        let spy = Faulty::spy();
        // It may look at the policy when that has been changed already.
        let setup = hurried(&spy, &engine).tolerate("maxmemory-policy");
        let replica = Replica::of(setup.tolerate("it does not answer in time"));
        replica.await_state("on");
        for command in commands {
            let answer = engine.ask(command);
            assert!(answer.starts_with("+OK"), "{command}: {answer}");
        }
        assert_serves(&replica, &spy, name);
        replica.await_state("off");
        let line = replica.gateway.expect_log("a warning", is_warning);
        let errors = replica.admin.cache()["shared"]["errors"].clone();
        assert!(errors[cause].as_u64().is_some_and(|count| count > 0), "{name}: {errors} {line}");
    }
}

#[test]
fn foreign_and_damaged_values_are_misses() {
    let Some(engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    let (one, other) = (started(&spy, &engine), started(&spy, &engine));
    let cases = [
        ("another value", &["SET NAME hello"][..]),
        ("one byte", &["SETRANGE NAME 200 ~"]),
        ("the start", &["SET NAME s3share1"]),
        ("longer", &["APPEND NAME x"]),
        ("another type", &["DEL NAME", "LPUSH NAME a"]),
        ("gone", &["DEL NAME"]),
    ];
    let mut known = Vec::new();
    for (nth, (what, commands)) in cases.into_iter().enumerate() {
        let tail = format!("sky/{nth}.png");
        one.get(&tail);
        one.await_written(nth as u64 + 1);
        let values = engine.values();
        let name = values.iter().find(|name| !known.contains(*name)).expect("a new value").clone();
        for command in commands {
            let answer = engine.ask(&command.replace("NAME", &name));
            assert!(!answer.starts_with('-'), "{command}: {answer}");
        }
        let before = spy.count();
        let (status, body, _) = other.get(&tail);
        assert_eq!((status, body.as_str()), (200, "tile"), "{what}");
        assert_eq!(spy.count(), before + 1, "{what}");
        known.extend(values);
    }
    assert!(other.admin.number("shared_damaged") >= 4);
}
