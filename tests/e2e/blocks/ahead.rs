//! Read-ahead: for sequential readers, within the configured limit, and never for other readers.

use crate::blocks::{BLOCK, PATH, Shelf, Version, assert_part, in_blocks, stretches, trickling};
use crate::cached::status;
use crate::client::{Client, Ending};
use crate::crowd::{Watched, await_that};
use crate::faulty::{Gate, settled};
use crate::gateway::Setup;

const LENGTH: usize = 64 * BLOCK;
/// Bytes that a reader requests at a time.
const STEP: usize = 32 * 1024;

fn reading_ahead(store: &str, bytes: &str) -> Setup {
    in_blocks(store).env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", bytes)
}

/// The end of the last range requested from the store, bytes.
fn asked_to(asked: &[String]) -> usize {
    stretches(asked).last().map_or(0, |stretch| stretch.end)
}

#[test]
fn a_sequential_reader_gets_read_ahead_within_the_limit() {
    const AHEAD: usize = 4;
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(reading_ahead(&shelf.url(), "256KiB"));
    let mut asked = Vec::new();
    for nth in 0..LENGTH / STEP {
        let part = nth * STEP..(nth + 1) * STEP;
        let answer = assert_part(&watched.gateway, &version.body, part.clone());
        if nth >= 3 {
            let said = status(&answer);
            assert!(said.starts_with("s3proxy; hit"), "its blocks were there before: {said}");
        }
        // Wait for the gateway's own fetches to end, so that the result does not depend on timing.
        watched.await_fetches_done();
        asked.extend(shelf.asked());
        let bound = part.end.next_multiple_of(BLOCK) + AHEAD * BLOCK;
        assert!(asked_to(&asked) <= bound, "{part:?}: {asked:?}");
        if nth > 8 && part.end + AHEAD * BLOCK < LENGTH {
            assert!(asked_to(&asked) >= part.end + (AHEAD - 1) * BLOCK, "{part:?}: {asked:?}");
        }
    }
    let total: usize = stretches(&asked).iter().map(|stretch| stretch.len()).sum();
    assert_eq!(total, LENGTH, "each block once: {asked:?}");
    let ahead = watched.counter("blocks_read_ahead");
    assert!(ahead >= (LENGTH / BLOCK - 3) as u64, "{ahead} blocks were asked for before");
    assert_eq!(watched.counter("direct_reads"), 0);
}

#[test]
fn random_reads_trigger_no_read_ahead() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(reading_ahead(&shelf.url(), "1MiB"));
    let mut places: Vec<usize> = (0..32).map(|nth| 2 * nth).collect();
    fastrand::Rng::with_seed(4).shuffle(&mut places);
    for place in &places {
        let start = place * BLOCK + 1000;
        assert_part(&watched.gateway, &version.body, start..start + STEP);
    }
    watched.await_fetches_done();
    let asked = shelf.asked();
    assert_eq!(asked.len(), places.len(), "{asked:?}");
    assert!(stretches(&asked).iter().all(|stretch| stretch.len() == BLOCK), "{asked:?}");
    assert_eq!(watched.counter("blocks_read_ahead"), 0);
}

#[test]
fn read_ahead_can_be_turned_off() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(reading_ahead(&shelf.url(), "0"));
    for nth in 0..16 {
        assert_part(&watched.gateway, &version.body, nth * STEP..(nth + 1) * STEP);
        watched.await_fetches_done();
        let asked = shelf.asked();
        assert_eq!(asked.len(), usize::from(nth % 2 == 0), "{nth}: {asked:?}");
        assert!(asked_to(&asked) <= (nth * STEP).next_multiple_of(BLOCK) + BLOCK, "{asked:?}");
    }
    assert_eq!(watched.counter("blocks_read_ahead"), 0);
}

/// Read-ahead serves the next request: when the reader of a request has left, the fetches already
/// in flight beyond it continue, and no new ones start.
#[test]
fn read_ahead_stops_when_a_reader_disconnects_between_requests() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(reading_ahead(&shelf.url(), "256KiB"));
    for nth in 0..8 {
        assert_part(&watched.gateway, &version.body, nth * STEP..(nth + 1) * STEP);
    }
    watched.await_fetches_done();
    let asked = shelf.asked();
    assert!(asked_to(&asked) <= 8 * STEP + 4 * BLOCK, "{asked:?}");
    let count = settled(std::time::Duration::from_millis(200), || shelf.store.count());
    assert_eq!(count, 0, "the store receives no request");
}

/// A reader that takes no byte of a long answer: the store is asked for a limited part of it.
#[test]
fn a_stalled_reader_pauses_the_fetch_and_a_disconnect_ends_it() {
    const LONG: usize = 40 << 20;
    let version = Version::new(1, LONG);
    let shelf = Shelf::with(&version);
    let setup = reading_ahead(&shelf.url(), "1MiB").tolerate("client_gone");
    let watched = Watched::start(setup);
    assert_part(&watched.gateway, &version.body, 0..1);
    watched.await_fetches_done();
    shelf.asked();
    let mut client = Client::narrow(watched.gateway.address);
    client.request("GET", PATH, &[]);
    assert_eq!(client.head().expect("a head").status, 200);
    // Some seconds after its client has taken nothing of what is cached.
    shelf.store.await_requests(1);
    let fetched = || usize::try_from(watched.counter("blocks_fetched")).expect("a small number");
    let bytes = settled(std::time::Duration::from_millis(300), fetched) * BLOCK;
    // Bytes that the sockets hold, and some requests of 1 MiB.
    assert!(bytes < LONG / 2, "{bytes} bytes were fetched without a reader");
    drop(client);
    watched.gateway.expect_log("the leaving", |line| line["cause"] == "client_gone");
    let after = settled(std::time::Duration::from_millis(300), fetched) * BLOCK;
    assert!(after <= bytes + (1 << 20), "{bytes}, then {after}");
    watched.await_fetches_done();
    shelf.store.await_hung_up(1);
    assert_part(&watched.gateway, &version.body, LONG - 10..LONG);
}

#[test]
fn a_disconnect_in_the_middle_ends_the_fetch_of_later_blocks() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let setup = reading_ahead(&shelf.url(), "4MiB").tolerate("client_gone");
    let watched = Watched::start(setup);
    assert_eq!(watched.gateway.send("HEAD", PATH, &[]).status(), 200);
    let (gate, last) = (Gate::new(), Gate::new());
    let held = (gate.clone(), last.clone());
    shelf.now_by(move |version, request| {
        trickling(version.answer(request), BLOCK + 1, &held.0, &held.1)
    });
    let mut client = watched.gateway.connect();
    client.request("GET", PATH, &[("Range", "bytes=0-4000000")]);
    assert_eq!(client.head().expect("a head").status, 206);
    assert!(client.fill_to(BLOCK + 1));
    drop(client);
    gate.open();
    watched.gateway.expect_log("the leaving", |line| line["cause"] == "client_gone");
    last.open();
    watched.await_fetches_done();
    assert_eq!(watched.counter("block_fetches_abandoned"), 1);
    assert!(watched.counter("block_entries") <= 2, "{}", watched.counters());
}

/// A reader that names no end gets one answer of the store, at its own pace.
#[test]
fn an_open_range_is_one_request() {
    const LONG: usize = 16 << 20;
    let version = Version::new(1, LONG);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(reading_ahead(&shelf.url(), "1MiB"));
    let mut client = watched.gateway.connect();
    client.request("GET", PATH, &[("Range", "bytes=0-")]);
    let answer = client.answer("GET").expect("an answer");
    assert_eq!((answer.status(), answer.ending), (206, Ending::Whole));
    assert!(answer.body == *version.body, "other bytes");
    await_that("no block is on its way", || watched.counter("blocks_under_way") == 0);
    assert_eq!(shelf.asked(), ["GET bytes=0-"]);
}
