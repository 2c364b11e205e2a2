//! How much the store sends for small reads of a large object, in blocks of 1 MiB: hardly more than the
//! client requests, and warm nothing.

use std::ops::Range;
use std::time::Duration;

use crate::admin::Admin;
use crate::admin_kept::await_in_memory;
use crate::blocks::{
    PATH, Shelf, Version, assert_is_part, assert_part, assert_whole, held_back, stretches,
};
use crate::cached::{status, with_cache};
use crate::client::{Client, Ending};
use crate::crowd::Watched;
use crate::faulty::{Gate, Step, settled};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const LENGTH: usize = 40 * MIB;
const RECEIVED: &str = "s3proxy_upstream_bytes_total{profile=\"default\"}";

struct Reads {
    shelf: Shelf,
    watched: Watched,
    version: Version,
}

impl Reads {
    fn new() -> Self {
        let version = Version::new(1, LENGTH);
        let shelf = Shelf::with(&version);
        let setup = with_cache(&shelf.url()).env("S3PROXY_CACHE_MEMORY", "512MiB");
        let watched = Watched::start(setup.tolerate("client_gone"));
        Self { shelf, watched, version }
    }

    /// Reads these parts; returns the requests and bytes requested from the store.
    fn read(&self, parts: &[Range<usize>]) -> (usize, usize) {
        for part in parts {
            assert_part(&self.watched.gateway, &self.version.body, part.clone());
            self.watched.await_fetches_done();
        }
        let asked = self.shelf.asked();
        (asked.len(), stretches(&asked).iter().map(|stretch| stretch.len()).sum())
    }
}

fn bytes_of(parts: &[Range<usize>]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// The access patterns of clients: what each requests of a file of 40 MiB.
fn patterns() -> Vec<(&'static str, Vec<Range<usize>>)> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut scattered = |count: usize, length: Range<usize>| -> Vec<Range<usize>> {
        let one = |_| {
            let start = random.usize(MIB..LENGTH - MIB);
            start..start + random.usize(length.clone())
        };
        (0..count).map(one).collect()
    };
    let header = 0..16 * KIB;
    let mut tiles = vec![header.clone()];
    tiles.extend(scattered(14, 12 * KIB..40 * KIB));
    // The footer, then columns of row groups.
    let mut columns = vec![LENGTH - 8..LENGTH, LENGTH - 40 * KIB..LENGTH];
    columns.extend(scattered(8, 300 * KIB..1500 * KIB));
    // A PDF: the cross-reference table at the end, then pages in chunks of 64 KiB.
    let mut page = vec![0..64 * KIB, LENGTH - 64 * KIB..LENGTH];
    page.extend((0..5).map(|nth| 9 * MIB + nth * 7 * 64 * KIB..9 * MIB + (nth * 7 + 1) * 64 * KIB));
    vec![("map tiles", tiles), ("columns", columns), ("a page", page)]
}

#[test]
fn scattered_reads_fetch_hardly_more_than_is_wanted() {
    for (what, parts) in patterns() {
        let reads = Reads::new();
        let wanted = bytes_of(&parts);
        let (requests, bytes) = reads.read(&parts);
        println!(
            "{what}: {} reads of {wanted} bytes: {requests} requests, {bytes} bytes",
            parts.len()
        );
        assert!(bytes * 2 <= wanted * 3, "{what}: {bytes} bytes for {wanted}");
        assert!(requests <= parts.len(), "{what}: {requests} requests");
        assert_eq!(reads.read(&parts), (0, 0), "{what}: warm");
        assert_eq!(reads.watched.counter("versions_dropped"), 0);
    }
}

#[test]
fn a_reader_in_small_steps_soon_gets_read_ahead() {
    let reads = Reads::new();
    let steps: Vec<_> = (0..640).map(|nth| nth * 32 * KIB..(nth + 1) * 32 * KIB).collect();
    let (requests, bytes) = reads.read(&steps);
    println!("640 steps of 32 KiB: {requests} requests, {bytes} bytes");
    assert!(requests <= 28, "{requests} requests");
    assert!(bytes <= bytes_of(&steps) + 10 * MIB, "{bytes} bytes");
}

#[test]
fn small_reads_are_served_from_larger_blocks() {
    let reads = Reads::new();
    let whole = reads.watched.gateway.get(PATH);
    assert!(whole.body == *reads.version.body);
    reads.watched.await_fetches_done();
    reads.shelf.asked();
    let parts = [5..10, 0..9 * MIB, 3 * MIB - 5..3 * MIB + 5, 10 * MIB + 7..10 * MIB + 700_000];
    assert_eq!(reads.read(&parts), (0, 0));
    let answer = assert_part(&reads.watched.gateway, &reads.version.body, 5..10);
    assert!(status(&answer).starts_with("s3proxy; hit"), "{}", status(&answer));
}

/// A client of several ranges may leave before it has read them.
#[test]
fn scattered_ranges_are_not_all_requested_at_once() {
    let reads = Reads::new();
    reads.read(std::slice::from_ref(&(0..1)));
    let ranges: Vec<String> = (1..=60).map(|nth| format!("{0}-{0}", nth * 600 * KIB)).collect();
    let range = format!("bytes={}", ranges.join(","));
    let gate = Gate::new();
    let held = gate.clone();
    reads.shelf.now_by(move |version, request| {
        [vec![Step::Wait(held.clone())], version.answer(request)].concat()
    });
    let mut client = reads.watched.gateway.connect();
    client.request("GET", PATH, &[("Range", &range)]);
    reads.shelf.store.await_requests(8);
    let count = settled(Duration::from_millis(200), || reads.shelf.store.count());
    assert_eq!(count, 8);
    gate.open();
    let answer = client.answer("GET").expect("an answer");
    assert_eq!((answer.status(), answer.ending), (206, Ending::Whole));
    reads.watched.await_fetches_done();
    assert_eq!(reads.shelf.asked().len(), 60);
}

/// What a client requests, and leaves after some kilobytes: a player and `wget -c` an open range, pdf.js a
/// whole file.
const LEFT: [(Option<usize>, usize); 3] =
    [(None, 0), (Some(1000), 0), (Some(3 * MIB + 700_000), 3 * MIB + 10 * PAGE)];
const PAGE: usize = 64 * KIB;
/// Sent before the client leaves: not a number of pages.
const SENT: usize = 100_000;
const READ: usize = 20_000;

impl Reads {
    /// Clients request all bytes from these places on, read some, and leave; the store sends only the first
    /// bytes of each answer before.
    fn leave(&self, starts: &[Option<usize>]) {
        let gate = Gate::new();
        let held = gate.clone();
        self.shelf.now_by(move |version, request| held_back(version.answer(request), SENT, &held));
        for start in starts {
            let range = start.map(|start| format!("bytes={start}-"));
            let headers: Vec<_> = range.iter().map(|range| ("Range", range.as_str())).collect();
            let mut client = Client::narrow(self.watched.gateway.address);
            client.request("GET", PATH, &headers);
            assert_eq!(
                client.head().expect("a head").status,
                if start.is_some() { 206 } else { 200 }
            );
            assert!(client.fill_to(READ));
        }
        gate.open();
        self.watched.await_fetches_done();
        self.shelf.now_by(Version::answer);
    }
}

#[test]
fn a_response_that_is_left_begins_at_its_page_and_leaves_complete_pages() {
    for (start, from) in LEFT {
        let reads = Reads::new();
        reads.leave(&[start]);
        let asked = reads.shelf.asked();
        let expected = start.map_or("GET".to_owned(), |_| format!("GET bytes={from}-"));
        assert_eq!(asked, [expected]);
        let received = reads.watched.metric(RECEIVED);
        // The rest of the page, and what was on its way.
        assert!(received <= 5 * PAGE as u64, "{start:?}: {received} bytes");
        let first = start.unwrap_or(0);
        assert_eq!(
            reads.read(std::slice::from_ref(&(first..first + READ))),
            (0, 0),
            "{start:?}: the same bytes again"
        );

        // The same request again, to its end: the store is asked for the rest of its pages.
        let body = &reads.version.body;
        match start {
            None => assert_whole(&reads.watched.gateway.get(PATH), body),
            Some(start) => {
                let range = format!("bytes={start}-");
                let again = reads.watched.gateway.send("GET", PATH, &[("Range", &range)]);
                assert_is_part(&again, body, start..LENGTH);
            }
        }
        reads.watched.await_fetches_done();
        let rest = stretches(&reads.shelf.asked());
        assert_eq!(rest.len(), 1, "{start:?}: {rest:?}");
        let (at, end) = (rest[0].start, rest[0].end);
        assert!(at.is_multiple_of(PAGE) && at > from && at <= from + 5 * PAGE, "{start:?}: {at}");
        assert_eq!(end, LENGTH);

        // Long reads need no more than the blocks of which pages are cached.
        assert_part(&reads.watched.gateway, body, first..LENGTH - 1);
        assert_eq!(reads.shelf.asked(), Vec::<String>::new(), "{start:?}: a long range");
        assert_whole(&reads.watched.gateway.get(PATH), body);
        let asked = reads.shelf.asked();
        let fetched: usize = stretches(&asked).iter().map(|stretch| stretch.len()).sum();
        assert!(asked.len() <= 1 && fetched <= first / MIB * MIB + 2 * MIB, "{start:?}: {asked:?}");
    }
}

/// Players seek.
#[test]
fn open_ranges_that_are_left_fetch_little() {
    let reads = Reads::new();
    let starts: Vec<_> = (0..10).map(|nth| Some(nth * 3 * MIB + 1000)).collect();
    reads.leave(&starts);
    let received = reads.watched.metric(RECEIVED);
    println!("ten open ranges, {READ} bytes read of each: {received} bytes");
    assert!(received <= 50 * PAGE as u64, "{received} bytes");
    reads.shelf.asked();
    let again: Vec<_> = starts.iter().flatten().map(|start| *start..start + READ).collect();
    assert_eq!(reads.read(&again), (0, 0), "what they have read, again");
}

#[test]
fn an_object_that_was_read_whole_is_reported_in_all_its_blocks() {
    let shelf = Shelf::with(&Version::new(1, LENGTH));
    let setup = with_cache(&shelf.url()).env("S3PROXY_CACHE_MEMORY", "512MiB");
    let (setup, admin) = Admin::of(setup);
    let gateway = setup.start();
    gateway.get(PATH);
    let blocks = await_in_memory(&admin, "sky/big.png")["memory"]["blocks"].clone();
    assert_eq!(blocks["memory"], LENGTH / MIB, "{blocks}");
}
