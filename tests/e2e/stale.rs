//! Objects that are served stale: during revalidation in the background, and when the store fails.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cache_status::Said;
use crate::cached::{status, with_cache};
use crate::client::{Answer, PATIENCE};
use crate::crowd::{Watched, await_requests_read};
use crate::faulty::{self, Faulty, Gate, Step, settled};
use crate::gateway::{Gateway, Setup, free_port};
use crate::scene::{Scene, not_modified, tile};

/// Fresh for a minute by its lifetime, but stale at once by its age.
const OLD: [(&str, &str); 3] = [("ETag", "\"a\""), ("Cache-Control", "max-age=60"), ("Age", "60")];
/// Fresh for a while.
const NEW: [(&str, &str); 2] = [("ETag", "\"b\""), ("Cache-Control", "max-age=60")];

/// A gateway that revalidates in the background, so that clients do not wait for the store.
fn refreshing(store: &str) -> Setup {
    let rules = json!({"stale_while_revalidate": "1h", "stale_if_error": "1h"});
    with_cache(store).yaml(json!({"cache": rules, "upstream": {"retries": 0}}))
}

/// A gateway that revalidates first, and serves stale objects if the store fails.
fn falling_back(store: &str) -> Setup {
    let rules = json!({"stale_while_revalidate": 0, "revalidate_timeout": "1m"});
    refreshing(store).yaml(json!({"cache": rules}))
}

fn assert_stale(answer: &Answer, body: &str, detail: &str) {
    assert_eq!((answer.status(), answer.text()), (200, body), "{answer:?}");
    let said = Said::by(answer);
    assert!(said.is("hit") && said.ttl().is_some_and(|ttl| ttl <= 0), "{said:?}");
    assert_eq!(said.token("detail"), Some(detail), "{said:?}");
    assert!(answer.header("age").is_some(), "{answer:?}");
}

fn assert_refreshing(answer: &Answer, body: &str) {
    assert_stale(answer, body, "stale-while-revalidate");
}

/// Requests the object until this version is served fresh.
fn await_fresh(gateway: &Gateway, object: &str, body: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = gateway.object(object);
        assert_eq!(answer.status(), 200, "{answer:?}");
        let said = Said::by(&answer);
        if answer.text() == body && said.is("hit") && said.ttl().is_some_and(|ttl| ttl > 0) {
            return;
        }
        assert!(Instant::now() < deadline, "after {PATIENCE:?}: {answer:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_stale_object_is_served_at_once_while_one_request_refreshes_it() {
    for (what, answer, body) in [
        ("changed", tile("new", &NEW), "new"),
        ("confirmed", not_modified(&[("ETag", "\"a\""), ("Cache-Control", "max-age=60")]), "old"),
    ] {
        let scene = Scene::start(tile("old", &OLD));
        let (setup, admin) = Admin::of(refreshing(&scene.url()));
        let gateway = setup.start();
        gateway.object("sky/a.png");
        let gate = Gate::new();
        scene.now([vec![Step::Wait(gate.clone())], answer].concat());
        for _ in 0..5 {
            assert_refreshing(&gateway.object("sky/a.png"), "old");
        }
        let part = gateway.object_with("sky/a.png", &[("range", "bytes=1-1")]);
        assert_eq!((part.status(), part.text()), (206, "l"), "{what}");
        scene.store.await_requests(2);
        assert_eq!(admin.number("stale_served"), 6, "{what}");
        assert_eq!(scene.last().header("if-none-match"), Some("\"a\""), "{what}");
        gate.open();
        await_fresh(&gateway, "sky/a.png", body);
        assert_eq!(scene.count(), 2, "{what}");
        assert_eq!(admin.await_number("refreshes", |n| n > 0), 1, "{what}");
        assert_eq!(admin.number("refresh_failures"), 0, "{what}");
        assert_eq!(admin.number("revalidated"), u64::from(what == "confirmed"), "{what}");
    }
}

#[test]
fn the_log_line_of_an_object_served_stale_is_that_of_a_hit() {
    let scene = Scene::start(tile("old", &OLD));
    let gateway = refreshing(&scene.url()).start();
    gateway.object("sky/a.png");
    let line = gateway.line_of(&gateway.object("sky/a.png"));
    assert_eq!(line["severity"], "info", "{line}");
    for field in ["cause", "upstream_ms", "upstream_status"] {
        assert_eq!(line.get(field), None, "{line}");
    }
}

#[test]
fn background_revalidations_are_limited_and_all_clients_are_served() {
    let scene = Scene::start(tile("old", &OLD));
    let gateway = refreshing(&scene.url()).yaml(json!({"cache": {"background_refreshes": 2}}));
    let gateway = gateway.start();
    let objects = ["sky/1.png", "sky/2.png", "sky/3.png", "sky/4.png", "sky/5.png", "sky/6.png"];
    for object in objects {
        gateway.object(object);
    }
    let gate = Gate::new();
    scene.now([vec![Step::Wait(gate.clone())], tile("new", &NEW)].concat());
    for _ in 0..2 {
        for object in objects {
            assert_refreshing(&gateway.object(object), "old");
        }
    }
    scene.store.await_requests(8);
    assert_eq!(settled(Duration::from_millis(300), || scene.count()), 8, "six and two");
    gate.open();
    for object in objects {
        await_fresh(&gateway, object, "new");
    }
    assert_eq!(scene.count(), 12, "each was refreshed once");
}

#[test]
fn a_failed_background_revalidation_is_retried_and_invisible_to_clients() {
    let scene = Scene::start(tile("old", &OLD));
    let (setup, admin) = Admin::of(refreshing(&scene.url()));
    let gateway = setup.start();
    gateway.object("sky/a.png");
    for (nth, failure) in
        [faulty::s3_error(503, "SlowDown"), vec![Step::Close]].into_iter().enumerate()
    {
        scene.now(failure);
        let nth = nth as u64 + 1;
        assert_refreshing(&gateway.object("sky/a.png"), "old");
        admin.await_number("refresh_failures", |failures| failures == nth);
    }
    assert_eq!(admin.number("refreshes"), 0);
    scene.now(tile("new", &NEW));
    assert_refreshing(&gateway.object("sky/a.png"), "old");
    await_fresh(&gateway, "sky/a.png", "new");
    assert_eq!(admin.await_number("refreshes", |refreshes| refreshes > 0), 1);
    gateway.assert_log_clean();
}

#[test]
fn an_object_the_store_forbids_is_not_served_stale_and_needs_no_body_when_it_is_allowed_again() {
    let scene = Scene::start(tile("old", &OLD));
    let (setup, admin) = Admin::of(refreshing(&scene.url()));
    let setup = setup.tolerate("upstream_forbidden").tolerate("upstream_busy");
    let gateway = setup.start();
    gateway.object("sky/a.png");
    scene.now(faulty::s3_error(403, "AccessDenied"));
    assert_refreshing(&gateway.object("sky/a.png"), "old");
    admin.await_number("refresh_failures", |failures| failures == 1);
    assert_eq!(gateway.object("sky/a.png").status(), 403);
    scene.now(faulty::s3_error(503, "SlowDown"));
    assert_eq!(gateway.object("sky/a.png").status(), 503);
    scene.now(faulty::answer(304, &[], b""));
    let again = gateway.object("sky/a.png");
    assert_eq!((again.status(), again.text()), (200, "old"));
    assert_eq!(Said::by(&again).token("fwd"), Some("stale"), "{again:?}");
}

#[test]
fn an_object_that_turns_out_to_be_gone_is_served_stale_once_more_and_then_no_longer() {
    let scene = Scene::start(tile("old", &OLD));
    let (setup, admin) = Admin::of(refreshing(&scene.url()));
    let gateway = setup.start();
    gateway.object("sky/a.png");
    scene.now(faulty::s3_error(404, "NoSuchKey"));
    assert_refreshing(&gateway.object("sky/a.png"), "old");
    admin.await_number("refreshes", |refreshes| refreshes == 1);
    let gone = gateway.object("sky/a.png");
    assert_eq!(gone.status(), 404);
    assert!(Said::by(&gone).is("hit"), "{gone:?}");
    assert_eq!(scene.count(), 2);
}

#[test]
fn an_object_may_forbid_or_limit_being_served_stale() {
    for (control, refreshed, stands_in) in [
        ("max-age=60", true, true),
        ("max-age=60, must-revalidate", false, false),
        ("max-age=60, proxy-revalidate", false, false),
        ("s-maxage=60", false, false),
        ("no-cache", false, false),
        ("max-age=60, stale-while-revalidate=0", false, true),
        ("max-age=60, stale-if-error=0", true, false),
        ("max-age=60, stale-while-revalidate=0, stale-if-error=0", false, false),
    ] {
        let headers = [("ETag", "\"a\""), ("Cache-Control", control), ("Age", "60")];
        let scene = Scene::start(tile("old", &headers));
        let watched = Watched::start(refreshing(&scene.url()));
        let gateway = &watched.gateway;
        gateway.object("sky/a.png");
        // Otherwise the next request may still join the fetch.
        watched.await_fetches_done();
        scene.now(faulty::s3_error(503, "SlowDown"));
        let answer = gateway.object("sky/a.png");
        if refreshed {
            assert_refreshing(&answer, "old");
        } else if stands_in {
            assert_stale(&answer, "old", "stale-if-error");
            gateway.line_of(&answer);
        } else {
            assert_eq!(answer.status(), 503, "{control}");
            gateway.line_of(&answer);
        }
        if refreshed && !stands_in {
            continue;
        }
        let falling_back = Watched::start(falling_back(&scene.url()));
        scene.now(tile("old", &headers));
        falling_back.gateway.object("sky/a.png");
        falling_back.await_fetches_done();
        scene.now(faulty::s3_error(503, "SlowDown"));
        let answer = falling_back.gateway.object("sky/a.png");
        assert_eq!(answer.status(), if stands_in { 200 } else { 503 }, "{control}");
        falling_back.gateway.line_of(&answer);
    }
}

#[test]
fn an_object_may_allow_being_served_stale_where_the_rule_does_not() {
    let control = "max-age=60, stale-while-revalidate=100, stale-if-error=100";
    let scene = Scene::start(tile("old", &[("Cache-Control", control), ("Age", "60")]));
    let rules = json!({"cache": {"stale_while_revalidate": 0, "stale_if_error": 0}});
    let gateway = refreshing(&scene.url()).yaml(rules).start();
    gateway.object("sky/a.png");
    assert_refreshing(&gateway.object("sky/a.png"), "old");
}

/// The stale answer while the store fails in this way, and the log line about it.
fn stands_in(scene: &Scene, failure: Vec<Step>) -> (Answer, Value) {
    scene.now(tile("old", &OLD));
    let gateway = falling_back(&scene.url())
        .yaml(json!({"upstream": {"first_byte_timeout": "300ms", "connect_timeout": "300ms"}}))
        .start();
    gateway.object("sky/a.png");
    scene.now(failure);
    let answer = gateway.object("sky/a.png");
    let line = gateway.line_of(&answer);
    // A second client gets the same answer.
    let part = gateway.object_with("sky/a.png", &[("range", "bytes=0-1")]);
    assert_eq!(part.status(), if answer.status() == 200 { 206 } else { answer.status() });
    gateway.line_of(&part);
    (answer, line)
}

#[test]
fn a_stale_object_is_served_if_the_store_fails() {
    let scene = Scene::start(Vec::new());
    for (failure, cause, upstream_status) in [
        (vec![Step::Close], "upstream_reset", None),
        (vec![Step::Reset], "upstream_reset", None),
        (vec![Step::Stall], "upstream_timeout", None),
        (faulty::s3_error(429, "TooManyRequests"), "upstream_busy", Some(429)),
        (faulty::s3_error(500, "InternalError"), "upstream_error", Some(500)),
        (faulty::s3_error(502, "BadGateway"), "upstream_error", Some(502)),
        (faulty::s3_error(503, "SlowDown"), "upstream_busy", Some(503)),
        (faulty::answer(503, &[("Retry-After", "7")], b""), "upstream_busy", Some(503)),
        (faulty::s3_error(504, "GatewayTimeout"), "upstream_error", Some(504)),
        (
            vec![Step::Send(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), Step::Close],
            "upstream_protocol",
            None,
        ),
    ] {
        let (answer, line) = stands_in(&scene, failure);
        assert_stale(&answer, "old", "stale-if-error");
        assert_eq!(answer.header("retry-after"), None, "the client has what it wants: {answer:?}");
        // The client gets its object, but the store fails: the operator should know.
        assert_eq!(line["severity"], "warning", "{line}");
        assert_eq!((&line["status"], &line["cause"]), (&json!(200), &json!(cause)), "{line}");
        assert_eq!(line["upstream_status"].as_u64(), upstream_status, "{line}");
        assert!(line["upstream_ms"].is_number(), "{line}");
        // A reused connection that has ended is replaced once.
        assert!(line["upstream_attempts"].as_u64().is_some_and(|n| (1..=2).contains(&n)), "{line}");
        let cache = line["cache"].as_str().unwrap_or_default();
        assert!(cache.ends_with("; detail=stale-if-error"), "{line}");
        assert_eq!(line.get("detail").is_some(), upstream_status.is_none(), "{line}");
    }
}

#[test]
fn a_stale_object_is_served_if_the_store_is_unreachable() {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    // Its connections may stay open for a moment, but receive no answer.
    let store = Faulty::on(&address, |_, nth| match nth {
        0 => tile("old", &OLD),
        _ => vec![Step::Close],
    });
    let gateway = falling_back(&store.url()).tolerate("stale-if-error").start();
    assert_eq!(gateway.object("sky/a.png").text(), "old");
    let socket = store.address;
    drop(store);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(socket).is_ok() {
        assert!(Instant::now() < deadline, "still listening");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The first request finds its reused connection closed, the others a closed port.
    for _ in 0..3 {
        let answer = gateway.object("sky/a.png");
        assert_stale(&answer, "old", "stale-if-error");
        let line = gateway.line_of(&answer);
        let cause = line["cause"].as_str().unwrap_or_default();
        assert!(["upstream_unreachable", "upstream_reset"].contains(&cause), "{line}");
        assert_eq!(line["severity"], "warning", "{line}");
        assert!(line["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{line}");
    }
    let store = Faulty::on(&address, |_, _| tile("new", &NEW));
    // One of the next requests asks the store again, in the background.
    await_fresh(&gateway, "sky/a.png", "new");
    drop(store);
}

#[test]
fn a_refusal_by_the_store_is_final() {
    let scene = Scene::start(Vec::new());
    for (status, code, expected) in
        [(403, "AccessDenied", 403), (401, "AccessDenied", 403), (404, "NoSuchKey", 404)]
    {
        let (answer, line) = stands_in(&scene, faulty::s3_error(status, code));
        assert_eq!(answer.status(), expected, "{code}");
        assert_eq!(line["upstream_code"], code, "{line}");
    }
}

#[test]
fn stale_if_error_ends_after_its_time() {
    let scene = Scene::start(tile("old", &OLD));
    let rules = json!({"cache": {"stale_if_error": "1s"}});
    let gateway = falling_back(&scene.url()).yaml(rules).start();
    gateway.object("sky/a.png");
    let kept = Instant::now();
    scene.now(faulty::s3_error(503, "SlowDown"));
    let meanwhile = gateway.object("sky/a.png");
    if kept.elapsed() < Duration::from_secs(1) {
        assert_stale(&meanwhile, "old", "stale-if-error");
    }
    gateway.line_of(&meanwhile);
    // The shortest configurable time must pass.
    std::thread::sleep(Duration::from_millis(1050));
    let answer = gateway.object("sky/a.png");
    assert_eq!(answer.status(), 503);
    assert_eq!(status(&answer), "s3proxy; fwd=stale; fwd-status=503");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(gateway.line_of(&answer)["cause"], "upstream_busy");
    // The entry is not lost: it is revalidated with the store.
    scene.now(not_modified(&[]));
    assert_eq!(gateway.object("sky/a.png").text(), "old");
}

#[test]
fn the_ttl_of_a_stale_object_is_negative() {
    let scene = Scene::start(tile("old", &OLD));
    let gateway = refreshing(&scene.url()).start();
    gateway.object("sky/a.png");
    let gate = Gate::new();
    scene.now(vec![Step::Wait(gate)]);
    // Ages are counted in whole seconds.
    std::thread::sleep(Duration::from_millis(1050));
    let answer = gateway.object("sky/a.png");
    assert_refreshing(&answer, "old");
    assert!(Said::by(&answer).ttl().is_some_and(|ttl| (-30..0).contains(&ttl)), "{answer:?}");
}

#[test]
fn a_crowd_is_served_stale_for_one_failed_request() {
    const CROWD: usize = 50;
    let scene = Scene::start(tile("old", &OLD));
    let gateway = falling_back(&scene.url()).tolerate("stale-if-error").start();
    gateway.object("sky/a.png");
    let gate = Gate::new();
    scene.now([vec![Step::Wait(gate.clone())], faulty::s3_error(503, "SlowDown")].concat());
    let mut crowd: Vec<_> = (0..CROWD).map(|_| gateway.connect()).collect();
    for client in &mut crowd {
        client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    }
    scene.store.await_requests(2);
    // None is answered: all wait for the same fetch.
    await_requests_read(&gateway, CROWD);
    assert!(!crowd[CROWD - 1].wait_for_bytes(Duration::from_millis(1)));
    gate.open();
    for client in &mut crowd {
        assert_stale(&client.answer("GET").expect("an answer"), "old", "stale-if-error");
    }
    assert_eq!(scene.count(), 2);
}
