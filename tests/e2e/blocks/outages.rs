//! Stores that fail, refuse requests, or cut a body in the middle of a block.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::blocks::{
    BLOCK, PATH, Shelf, Version, assert_hit, assert_part, assert_seamless, blocks, get_range,
    in_blocks, in_order, never_fresh, of_version,
};
use crate::cached::status;
use crate::client::Ending;
use crate::crowd::Watched;
use crate::faulty::{self, Gate, Step};

const LENGTH: usize = 10 * BLOCK;

#[test]
fn cached_blocks_are_served_if_the_store_fails_and_missing_ones_are_refused() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let setup = never_fresh(&shelf.url());
    let watched = Watched::start(setup.tolerate("upstream_").tolerate("s3 response"));
    let gateway = &watched.gateway;
    assert_part(gateway, &version.body, 0..2 * BLOCK);
    watched.await_fetches_done();
    for (failing, expected) in [
        (faulty::s3_error(500, "InternalError"), 502),
        (faulty::answer(503, &[("Retry-After", "9")], b""), 503),
        (vec![Step::Close], 502),
    ] {
        shelf.now_by(move |_, _| failing.clone());
        let kept = assert_part(gateway, &version.body, 70..BLOCK + 70);
        let said = status(&kept);
        assert!(said.starts_with("s3proxy; hit; ttl="), "{said}");
        assert!(said.ends_with("; detail=\"stale-if-error, memory=2\""), "{said}");
        assert_eq!(gateway.send("HEAD", PATH, &[]).status(), 200);
        // Fails at the first byte, or at the second block: in both cases no byte has been sent yet.
        for range in ["bytes=300000-300010", "bytes=131072-400000"] {
            let missing = get_range(gateway, range);
            assert_eq!((missing.status(), missing.ending), (expected, Ending::Whole), "{range}");
            assert!(missing.header("content-range").is_none(), "{missing:?}");
            assert!(missing.json()["message"].is_string(), "{missing:?}");
            let line = gateway.line_of(&missing);
            assert_eq!(line["severity"], "warning", "{line}");
        }
    }
    shelf.now_by(Version::answer);
    assert_part(gateway, &version.body, 0..LENGTH);
}

#[test]
fn a_block_that_cannot_be_fetched_is_an_error_even_with_fresh_metadata() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let setup = in_blocks(&shelf.url()).yaml(json!({"upstream": {"retries": 0}}));
    let watched = Watched::start(setup.tolerate("upstream_").tolerate("s3 response"));
    assert_part(&watched.gateway, &version.body, 0..1);
    watched.await_fetches_done();
    shelf.now_by(|_, _| faulty::s3_error(500, "InternalError"));
    let missing = get_range(&watched.gateway, "bytes=300000-300010");
    assert_eq!((missing.status(), missing.ending), (502, Ending::Whole));
    assert_hit(&assert_part(&watched.gateway, &version.body, 0..1), 1);
    // One of several parts, the first of which is cached: the answer has begun by then.
    let several = get_range(&watched.gateway, "bytes=0-5,300000-300010");
    assert_eq!((several.status(), several.ending), (206, Ending::Cut));
    shelf.now_by(Version::answer);
    assert_part(&watched.gateway, &version.body, 300_000..300_011);
}

/// A store whose first answer ends in this way after these bytes; the gate opens when they were
/// read.
fn break_off(shelf: &Shelf, sent: usize, end: &Step, times: usize) -> Gate {
    let gate = Gate::new();
    let (held, end, left) = (gate.clone(), end.clone(), AtomicUsize::new(times));
    shelf.now_by(move |version, request| {
        let steps = version.answer(request);
        let is_left = |left: usize| left.checked_sub(1);
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_left).is_err() {
            return steps;
        }
        let mut steps = super::held_back(steps, sent, &held);
        steps.pop();
        steps.push(end.clone());
        steps
    });
    gate
}

#[test]
fn a_cut_body_is_retried_from_its_block() {
    let version = Version::new(1, LENGTH);
    for end in [Step::Close, Step::Reset] {
        let shelf = Shelf::with(&version);
        let watched = Watched::start(in_blocks(&shelf.url()));
        let gateway = &watched.gateway;
        assert_part(gateway, &version.body, 0..1);
        watched.await_fetches_done();
        shelf.asked();
        // Two blocks and a part of the third.
        let sent = 2 * BLOCK + 1000;
        let gate = break_off(&shelf, sent, &end, 1);
        let mut client = gateway.connect();
        client.request("GET", PATH, &[("Range", &blocks(1..5))]);
        let head = client.head().expect("a head");
        assert_eq!(head.status, 206);
        assert!(client.fill_to(sent));
        gate.open();
        let (body, how) = client.body(&head, "GET");
        assert!(how == Ending::Whole && version.has(BLOCK, &body), "{} bytes", body.len());
        watched.await_fetches_done();
        let asked = in_order(shelf.asked());
        assert_eq!(asked[0], of_version(1..5, &version.etag), "{asked:?}");
        assert_eq!(assert_seamless(&asked[1..], 3 * BLOCK), 5 * BLOCK, "{asked:?}");
        assert_eq!(watched.counter("cut_fills"), 1);
        assert_hit(&assert_part(gateway, &version.body, 0..5 * BLOCK), 5);
    }
}

#[test]
fn a_block_that_is_always_cut_is_never_cached() {
    let version = Version::new(1, LENGTH);
    for end in [Step::Close, Step::Reset] {
        let shelf = Shelf::with(&version);
        let watched = Watched::start(in_blocks(&shelf.url()).tolerate("upstream_cut"));
        let gateway = &watched.gateway;
        assert_part(gateway, &version.body, 0..1);
        watched.await_fetches_done();
        let gate = break_off(&shelf, 1000, &end, usize::MAX);
        let mut client = gateway.connect();
        client.request("GET", PATH, &[("Range", &blocks(0..3))]);
        let head = client.head().expect("a head");
        assert!(client.fill_to(BLOCK + 1000));
        gate.open();
        let (body, how) = client.body(&head, "GET");
        assert_eq!(how, Ending::Cut);
        assert!(body.len() == BLOCK + 1000 && version.has(0, &body), "{} bytes", body.len());
        watched.await_fetches_done();
        assert_eq!(watched.counter("block_entries"), 1, "that which was complete");
        assert!(shelf.asked().len() < 8, "it does not ask for ever");
        shelf.now_by(Version::answer);
        assert_part(gateway, &version.body, BLOCK..3 * BLOCK);
        assert_eq!(shelf.asked(), [of_version(1..3, &version.etag)]);
    }
}

#[test]
fn a_cut_first_answer_caches_the_metadata_and_no_partial_block() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(in_blocks(&shelf.url()).tolerate("upstream_cut"));
    shelf.now_by(|version, request| {
        let mut steps = super::held_back(version.answer(request), 1000, &Gate::new());
        steps.truncate(2);
        steps.push(Step::Close);
        steps
    });
    let answer = get_range(&watched.gateway, "bytes=0-4999");
    assert_eq!((answer.status(), answer.ending), (206, Ending::Cut));
    assert!(version.has(0, &answer.body));
    watched.await_fetches_done();
    assert_eq!(watched.counter("block_entries"), 0);
    shelf.now_by(Version::answer);
    shelf.asked();
    assert_part(&watched.gateway, &version.body, 0..5000);
    assert_eq!(shelf.asked(), [of_version(0..1, &version.etag)]);
}

#[test]
fn a_store_that_refuses_a_block_invalidates_the_object() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(in_blocks(&shelf.url()).tolerate("upstream_forbidden"));
    let gateway = &watched.gateway;
    assert_part(gateway, &version.body, 0..1);
    shelf.now_by(|_, _| faulty::s3_error(403, "AccessDenied"));
    let refused = get_range(gateway, "bytes=300000-300010");
    assert!(matches!(refused.status(), 403 | 502), "{}", refused.status());
    // Now that the gateway knows this, cached blocks are not served either.
    let kept = get_range(gateway, "bytes=0-0");
    assert_eq!(kept.status(), refused.status());
    assert!(!status(&kept).contains("hit"), "{}", status(&kept));
    shelf.now_by(Version::answer);
    assert_part(gateway, &version.body, 300_000..300_011);
}

#[test]
fn a_forbidden_stale_object_is_not_served() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(never_fresh(&shelf.url()).tolerate("upstream_forbidden"));
    assert_part(&watched.gateway, &version.body, 0..1);
    shelf.now_by(|_, _| faulty::s3_error(403, "AccessDenied"));
    let refused = get_range(&watched.gateway, "bytes=0-0");
    assert!(matches!(refused.status(), 403 | 502), "{}", refused.status());
    // Nor are they served when the store fails afterwards.
    shelf.now_by(|_, _| vec![Step::Close]);
    let failed = get_range(&watched.gateway, "bytes=0-0");
    assert_ne!(failed.status(), 206, "{}", status(&failed));
    watched.gateway.expect_log("the failure", |line| line["request_id"] == failed.request_id());
}
