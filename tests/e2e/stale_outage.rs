//! Stale objects during an outage: once a store has failed or is silent, no client waits for it, and one
//! request at a time asks it again.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::admin::Admin;
use crate::cache_status::Said;
use crate::cached::with_cache;
use crate::client::{Answer, PATIENCE};
use crate::faulty::{self, Gate, Recorded, Step, settled};
use crate::gateway::{Gateway, Setup};
use crate::scene::{Scene, not_modified, tile};

/// Fresh for a minute by its lifetime, but stale at once by its age.
const OLD: [(&str, &str); 3] = [("ETag", "\"a\""), ("Cache-Control", "max-age=60"), ("Age", "60")];
const FRESH: [(&str, &str); 2] = [("ETag", "\"b\""), ("Cache-Control", "max-age=60")];

/// Objects are revalidated first, and no attempt ends before the test does.
fn patient(store: &str, revalidate_timeout: &str) -> Setup {
    let rules = json!({
        "stale_while_revalidate": 0,
        "stale_if_error": "1h",
        "revalidate_timeout": revalidate_timeout,
    });
    let upstream = json!({
        "retries": 0, "first_byte_timeout": "2m", "read_timeout": "2m", "total_timeout": "3m",
    });
    with_cache(store).yaml(json!({"cache": rules, "upstream": upstream})).tolerate("stale-if-error")
}

fn assert_stale(answer: &Answer, body: &str) {
    assert!(matches!(answer.status(), 200 | 206), "{answer:?}");
    assert_eq!(answer.text(), body, "{answer:?}");
    let status = answer.header("cache-status").unwrap_or_default();
    assert!(status.contains("stale-if-error"), "{answer:?}");
}

fn await_text(gateway: &Gateway, object: &str, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while gateway.object(object).text() != text {
        assert!(Instant::now() < deadline, "after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_silent_store_costs_the_first_request_the_revalidate_timeout_and_the_others_nothing() {
    const TILES: [&str; 6] =
        ["sky/1.png", "sky/2.png", "sky/3.png", "sky/4.png", "sky/5.png", "sky/6.png"];
    let scene = Scene::start(tile("old", &OLD));
    let gateway = patient(&scene.url(), "300ms").start();
    for tile in TILES {
        gateway.object(tile);
    }
    scene.now(vec![Step::Stall]);
    let began = Instant::now();
    let first = gateway.object(TILES[0]);
    assert_stale(&first, "old");
    let line = gateway.line_of(&first);
    assert_eq!(
        (&line["severity"], &line["cause"]),
        (&json!("warning"), &json!("upstream_timeout"))
    );
    // Neither attempt ends within the test: none of these waits for one.
    for _ in 0..3 {
        for tile in TILES {
            assert_stale(&gateway.object(tile), "old");
        }
    }
    // The first one's, and one a second that asks again.
    let allowed = 8 + usize::try_from(began.elapsed().as_secs()).expect("seconds");
    let asked = settled(Duration::from_millis(300), || scene.count());
    assert!((7..=allowed).contains(&asked), "{asked} requests");
}

#[test]
fn requests_that_wait_for_a_revalidation_are_answered_when_another_one_fails() {
    let gate = Gate::new();
    let opens = gate.clone();
    let scene = Scene::start(tile("old", &OLD));
    let gateway = patient(&scene.url(), "1m").start();
    gateway.object("sky/a.png");
    gateway.object("sky/b.png");
    scene.now_by(move |request: &Recorded| match request.target.ends_with("b.png") {
        true => [vec![Step::Wait(opens.clone())], faulty::s3_error(503, "SlowDown")].concat(),
        false => vec![Step::Stall],
    });
    let mut waiting = gateway.connect();
    waiting.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    scene.store.await_requests(3);
    gate.open();
    assert_stale(&gateway.object("sky/b.png"), "old");
    assert_stale(&waiting.answer("GET").expect("an answer"), "old");
}

#[test]
fn a_store_that_refuses_each_request_is_asked_once_a_second() {
    let scene = Scene::start(tile("old", &OLD));
    let gateway = patient(&scene.url(), "1m").start();
    gateway.object("sky/a.png");
    scene.now(faulty::s3_error(503, "SlowDown"));
    let began = Instant::now();
    for _ in 0..50 {
        assert_stale(&gateway.object("sky/a.png"), "old");
    }
    let allowed = 3 + usize::try_from(began.elapsed().as_secs()).expect("seconds");
    let asked = settled(Duration::from_millis(300), || scene.count());
    assert!(asked <= allowed, "{asked} requests");
}

#[test]
fn an_answer_of_the_store_ends_the_outage_for_all_objects() {
    let scene = Scene::start(tile("old", &OLD));
    let (setup, admin) = Admin::of(patient(&scene.url(), "1m"));
    let gateway = setup.start();
    gateway.object("sky/a.png");
    gateway.object("sky/b.png");
    scene.now(faulty::s3_error(503, "SlowDown"));
    assert_stale(&gateway.object("sky/a.png"), "old");
    scene.now(tile("new", &FRESH));
    await_text(&gateway, "sky/a.png", "new");
    assert!(admin.number("refreshes") >= 1);
    let other = gateway.object("sky/b.png");
    assert_eq!(other.text(), "new", "revalidated before it is served: {other:?}");
    // A missing object is an answer too.
    scene.now(faulty::s3_error(404, "NoSuchKey"));
    assert_eq!(gateway.object("sky/c.png").status(), 404);
}

#[test]
fn a_range_of_a_large_file_does_not_wait_for_a_silent_store() {
    const SIZE: usize = 3 << 16;
    let body: Vec<u8> = (0..SIZE).map(|at| b'a' + u8::try_from(at / (1 << 16)).unwrap()).collect();
    let scene = Scene::start(Vec::new());
    scene.now_by(move |request| {
        let headers = [("ETag", "\"a\""), ("Cache-Control", "max-age=60"), ("Age", "60")];
        match request.header("range") {
            Some(range) => {
                let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
                let first: usize = first.parse().unwrap();
                let last = last.parse().unwrap_or(SIZE - 1).min(SIZE - 1);
                let content_range = format!("bytes {first}-{last}/{SIZE}");
                let headers = [&headers[..], &[("Content-Range", content_range.as_str())]].concat();
                faulty::answer(206, &headers, &body[first..=last])
            }
            None => faulty::answer(200, &headers, &body),
        }
    });
    let blocks = json!({"cache": {"max_object": "100KiB", "blocks": {"size": "64KiB"}}});
    let gateway = patient(&scene.url(), "300ms").yaml(blocks).start();
    let range = [("range", "bytes=65536-65539")];
    assert_eq!(gateway.object_with("sky/a.fits", &range).text(), "bbbb");
    scene.now(vec![Step::Stall]);
    for _ in 0..5 {
        assert_stale(&gateway.object_with("sky/a.fits", &range), "bbbb");
    }
}

#[test]
fn a_client_that_wants_a_revalidation_does_not_wait_for_a_silent_store_either() {
    let scene = Scene::start(tile("fresh", &FRESH));
    let setup = patient(&scene.url(), "300ms").yaml(json!({"cache": {"client_no_cache": true}}));
    let gateway = setup.start();
    gateway.object("sky/a.png");
    scene.now(vec![Step::Stall]);
    for _ in 0..3 {
        let answer = gateway.object_with("sky/a.png", &[("cache-control", "no-cache")]);
        assert_stale(&answer, "fresh");
    }
}

#[test]
fn a_purge_during_an_outage_is_obeyed() {
    let scene = Scene::start(tile("old", &OLD));
    let (setup, admin) = Admin::of(patient(&scene.url(), "300ms"));
    let gateway = setup.yaml(json!({"upstream": {"first_byte_timeout": "400ms"}}));
    let gateway = gateway.tolerate("upstream_timeout").start();
    gateway.object("sky/a.png");
    scene.now(vec![Step::Stall]);
    assert_stale(&gateway.object("sky/a.png"), "old");
    admin.purge("sky/a.png");
    assert_eq!(gateway.object("sky/a.png").status(), 504);
}

#[test]
fn a_slow_store_still_refreshes_what_it_confirms() {
    let gate = Gate::new();
    let scene = Scene::start(tile("old", &OLD));
    let gateway = patient(&scene.url(), "100ms").start();
    gateway.object("sky/a.png");
    let late = [vec![Step::Wait(gate.clone())], not_modified(&[("Cache-Control", "max-age=60")])];
    scene.now(late.concat());
    assert_stale(&gateway.object("sky/a.png"), "old");
    gate.open();
    let deadline = Instant::now() + PATIENCE;
    while Said::by(&gateway.object("sky/a.png")).ttl().is_none_or(|ttl| ttl <= 0) {
        assert!(Instant::now() < deadline, "never fresh");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_object_that_stale_if_error_does_not_cover_waits_for_the_store() {
    let gate = Gate::new();
    let headers =
        [("ETag", "\"a\""), ("Cache-Control", "max-age=60, stale-if-error=0"), ("Age", "60")];
    let store = Scene::start(tile("old", &headers));
    let gateway = patient(&store.url(), "100ms").start();
    gateway.object("sky/a.png");
    store.now([vec![Step::Wait(gate.clone())], tile("new", &FRESH)].concat());
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    store.store.await_requests(2);
    assert!(!client.wait_for_bytes(Duration::from_millis(300)));
    gate.open();
    assert_eq!(client.answer("GET").expect("an answer").text(), "new");
}
