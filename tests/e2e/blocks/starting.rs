//! An answer begins when its first bytes have arrived, even while the rest is missing.

use crate::blocks::{BLOCK, PATH, Shelf, Version, assert_part, held_back, in_blocks, of_version};
use crate::client::{Client, Ending};
use crate::faulty::Gate;

const LENGTH: usize = 8 * BLOCK;

/// Requests a range of which the store sends only this many bytes, and reads the beginning of the
/// answer.
fn read_beginning(client: &mut Client, range: &str, bytes: usize) -> crate::client::Head {
    client.request("GET", PATH, &[("Range", range)]);
    let head = client.head().expect("a head");
    assert_eq!(head.status, 206, "{range}");
    assert!(client.fill_to(bytes), "{range}: the first {bytes} bytes");
    assert_eq!(client.leftover().len(), bytes, "{range}: no more was sent");
    head
}

#[test]
fn a_first_answer_begins_with_its_first_bytes() {
    let version = Version::new(1, LENGTH);
    for (range, skipped, length) in [
        ("bytes=0-131071", 0, 2 * BLOCK),
        ("bytes=400-131071", 400, 2 * BLOCK - 400),
        ("bytes=-100000", 0, 100_000),
        ("bytes=65536-", 0, 7 * BLOCK),
    ] {
        let shelf = Shelf::with(&version);
        let gate = Gate::new();
        let held = gate.clone();
        shelf.now_by(move |version, request| held_back(version.answer(request), 1000, &held));
        let gateway = in_blocks(&shelf.url()).start();
        let mut client = gateway.connect();
        let head = read_beginning(&mut client, range, 1000 - skipped);
        gate.open();
        let (body, ending) = client.body(&head, "GET");
        assert_eq!((ending, body.len()), (Ending::Whole, length), "{range}");
        let start = super::resolve(range, LENGTH).expect("a part").start;
        assert!(version.has(start, &body), "{range}: other bytes");
    }
}

#[test]
fn an_answer_from_a_missing_block_begins_with_its_first_bytes() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let gateway = in_blocks(&shelf.url()).start();
    assert_part(&gateway, &version.body, 0..1);
    let gate = Gate::new();
    let held = gate.clone();
    shelf.now_by(move |version, request| held_back(version.answer(request), 1000, &held));
    shelf.asked();
    // The second and third block, and a range that begins inside the second.
    let mut client = gateway.connect();
    let head = read_beginning(&mut client, "bytes=65636-180000", 900);
    assert_eq!(shelf.asked(), [of_version(1..3, &version.etag)]);
    // From a cached block into a missing one.
    let mut other = gateway.connect();
    let other_head = read_beginning(&mut other, "bytes=65000-70000", 536 + 1000);
    assert_eq!(shelf.asked(), Vec::<String>::new(), "it reads along");
    gate.open();
    let (body, ending) = client.body(&head, "GET");
    assert!(ending == Ending::Whole && version.has(65_636, &body));
    let (body, ending) = other.body(&other_head, "GET");
    assert!(ending == Ending::Whole && version.has(65_000, &body));
}

/// The second block of a fetch is passed on while the third has not arrived.
#[test]
fn every_block_of_a_fetch_is_passed_on_as_it_arrives() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let gateway = in_blocks(&shelf.url()).start();
    assert_part(&gateway, &version.body, 0..1);
    let gate = Gate::new();
    let held = gate.clone();
    let sent = 2 * BLOCK + 500;
    shelf.now_by(move |version, request| held_back(version.answer(request), sent, &held));
    let mut client = gateway.connect();
    let head = read_beginning(&mut client, "bytes=65536-393215", sent);
    // Complete blocks are cached already.
    assert_part(&gateway, &version.body, BLOCK..3 * BLOCK);
    gate.open();
    let (body, ending) = client.body(&head, "GET");
    assert!(ending == Ending::Whole && version.has(BLOCK, &body));
}
