//! Many concurrent readers: one fetch per block, however many readers wait for it.

use crate::blocks::{
    BLOCK, PATH, Shelf, Version, assert_is_part, assert_part, assert_whole, blocks, held_back,
    in_blocks, of_version, trickling,
};
use crate::client::Client;
use crate::crowd::{Watched, await_requests_read, connect};
use crate::faulty::{Gate, Step};
use crate::tally::trials;

const LENGTH: usize = 16 * BLOCK;

/// The store sends no answer before the gate opens.
fn behind(gate: &Gate, shelf: &Shelf) {
    let gate = gate.clone();
    shelf.now_by(move |version, request| {
        [vec![Step::Wait(gate.clone())], version.answer(request)].concat()
    });
}

fn ask(client: &mut Client, range: &std::ops::Range<usize>) {
    let range = format!("bytes={}-{}", range.start, range.end - 1);
    client.request("GET", PATH, &[("Range", &range)]);
}

#[test]
fn a_hundred_readers_of_a_cold_block_cost_one_request() {
    const READERS: usize = 100;
    let version = Version::new(1, LENGTH);
    for head_is_known in [false, true] {
        let shelf = Shelf::with(&version);
        let watched = Watched::start(in_blocks(&shelf.url()));
        if head_is_known {
            assert_part(&watched.gateway, &version.body, 0..1);
            shelf.asked();
        }
        let gate = Gate::new();
        behind(&gate, &shelf);
        let _trials = trials("clients of a herd", READERS);
        let mut crowd = connect(&watched.gateway, READERS);
        for (nth, client) in crowd.iter_mut().enumerate() {
            ask(client, &(5 * BLOCK + nth..5 * BLOCK + 1000));
        }
        await_requests_read(&watched.gateway, READERS);
        gate.open();
        for (nth, client) in crowd.iter_mut().enumerate() {
            let answer = client.answer("GET").expect("an answer");
            assert_is_part(&answer, &version.body, 5 * BLOCK + nth..5 * BLOCK + 1000);
        }
        let only = match head_is_known {
            true => of_version(5..6, &version.etag),
            false => format!("GET {}", blocks(5..6)),
        };
        assert_eq!(shelf.asked(), [only]);
        assert_eq!(watched.counter("blocks_fetched"), 1 + u64::from(head_is_known));
    }
}

#[test]
fn readers_of_different_parts_of_a_cold_object_cost_their_blocks_and_no_more() {
    const PLACES: usize = 8;
    const EACH: usize = 5;
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(in_blocks(&shelf.url()));
    let gate = Gate::new();
    behind(&gate, &shelf);
    let part = |nth: usize| {
        let start = (nth % PLACES) * 2 * BLOCK + nth;
        start..start + 100
    };
    let _trials = trials("clients of a herd", PLACES * EACH);
    let mut crowd = connect(&watched.gateway, PLACES * EACH);
    for (nth, client) in crowd.iter_mut().enumerate() {
        ask(client, &part(nth));
    }
    await_requests_read(&watched.gateway, crowd.len());
    gate.open();
    for (nth, client) in crowd.iter_mut().enumerate() {
        assert_is_part(&client.answer("GET").expect("an answer"), &version.body, part(nth));
    }
    watched.await_fetches_done();
    let asked = shelf.asked();
    let first: Vec<_> = asked.iter().filter(|line| !line.contains('"')).collect();
    assert_eq!(first.len(), 1, "one first touch: {asked:?}");
    for place in 0..PLACES {
        let place = 2 * place;
        let either = [
            format!("GET {}", blocks(place..place + 1)),
            of_version(place..place + 1, &version.etag),
        ];
        let times = asked.iter().filter(|line| either.contains(line)).count();
        assert_eq!(times, 1, "block {place}: {asked:?}");
    }
    assert_eq!(asked.len(), PLACES, "{asked:?}");
}

#[test]
fn whole_and_range_readers_share_fetches_in_flight() {
    const READERS: usize = 30;
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(in_blocks(&shelf.url()));
    let gate = Gate::new();
    let held = gate.clone();
    shelf.now_by(move |version, request| held_back(version.answer(request), 1000, &held));
    let mut crowd = connect(&watched.gateway, READERS);
    for (nth, client) in crowd.iter_mut().enumerate() {
        match nth % 3 {
            // The first is one of these.
            0 => client.request("GET", PATH, &[]),
            1 => ask(client, &(nth * 1000..LENGTH)),
            _ => client.request("HEAD", PATH, &[]),
        }
        if nth == 0 {
            shelf.store.await_requests(1);
        }
    }
    await_requests_read(&watched.gateway, READERS);
    gate.open();
    for (nth, client) in crowd.iter_mut().enumerate() {
        let answer = client.answer(if nth % 3 == 2 { "HEAD" } else { "GET" }).expect("an answer");
        match nth % 3 {
            0 => assert_whole(&answer, &version.body),
            1 => assert_is_part(&answer, &version.body, nth * 1000..LENGTH),
            _ => assert_eq!(answer.header("content-length"), Some(LENGTH.to_string().as_str())),
        }
    }
    assert_eq!(shelf.asked(), ["GET"]);
}

/// A reader that leaves does not interrupt the fetch for another reader of the same block.
#[test]
fn a_disconnect_does_not_affect_other_readers() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(in_blocks(&shelf.url()).tolerate("client_gone"));
    assert_part(&watched.gateway, &version.body, 0..1);
    shelf.asked();
    let (gate, last) = (Gate::new(), Gate::new());
    let held = (gate.clone(), last.clone());
    shelf
        .now_by(move |version, request| trickling(version.answer(request), 1000, &held.0, &held.1));
    let mut first = watched.gateway.connect();
    ask(&mut first, &(2 * BLOCK..5 * BLOCK));
    assert_eq!(first.head().expect("a head").status, 206);
    let mut second = watched.gateway.connect();
    ask(&mut second, &(2 * BLOCK..5 * BLOCK));
    assert_eq!(second.head().expect("a head").status, 206);
    assert!(second.fill_to(1000));
    drop(first);
    gate.open();
    watched.gateway.expect_log("the leaving", |line| line["cause"] == "client_gone");
    last.open();
    assert!(second.fill_to(3 * BLOCK) && version.has(2 * BLOCK, second.leftover()));
    assert_eq!(shelf.asked(), [of_version(2..5, &version.etag)]);
    assert_eq!(watched.counter("block_fetches_abandoned"), 0);
}

/// When all readers of the blocks have left, no further blocks are requested from the store.
#[test]
fn the_fetch_ends_when_the_last_reader_leaves() {
    let version = Version::new(1, 64 * BLOCK);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(in_blocks(&shelf.url()).tolerate("client_gone"));
    assert_part(&watched.gateway, &version.body, 0..1);
    let (gate, last) = (Gate::new(), Gate::new());
    let held = (gate.clone(), last.clone());
    shelf.now_by(move |version, request| {
        trickling(version.answer(request), BLOCK + 1000, &held.0, &held.1)
    });
    let mut client = watched.gateway.connect();
    ask(&mut client, &(2 * BLOCK..60 * BLOCK));
    assert_eq!(client.head().expect("a head").status, 206);
    assert!(client.fill_to(BLOCK + 1000));
    drop(client);
    gate.open();
    watched.gateway.expect_log("the leaving", |line| line["cause"] == "client_gone");
    last.open();
    watched.await_fetches_done();
    assert_eq!(watched.counter("block_fetches_abandoned"), 1);
    // The first block, the complete one, and at most the one in flight.
    let kept = watched.counter("block_entries");
    assert!((2..=3).contains(&kept), "{kept} blocks");
    shelf.asked();
    assert_part(&watched.gateway, &version.body, 2 * BLOCK..60 * BLOCK);
    let asked = shelf.asked();
    assert_eq!(asked, [of_version(1 + usize::try_from(kept).expect("small")..60, &version.etag)]);
}
