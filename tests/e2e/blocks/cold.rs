//! Ranges of an object that is not cached: only the blocks they touch are fetched, and once these
//! are cached, none.

use crate::blocks::{
    BLOCK, PATH, asked_of, assert_hit, assert_is_part, assert_part, assert_whole, blocks,
    get_range, in_blocks, in_order, of_version,
};
use crate::cached::status;
use crate::client::Ending;
use crate::crowd::{Watched, await_that, numbered};
use crate::gateway::Setup;
use crate::origin::{Manners, Origin};

/// Not a whole number of blocks.
const LENGTH: usize = 10 * BLOCK + 1000;

struct Stage {
    origin: Origin,
    watched: Watched,
    body: Vec<u8>,
    etag: String,
}

impl Stage {
    fn with(length: usize, setup: impl Fn(Setup) -> Setup) -> Self {
        let origin = Origin::with(Manners::aws());
        let body = numbered(length);
        let etag = origin.put("big.png", body.clone());
        let watched = Watched::start(setup(in_blocks(&origin.url())));
        Self { origin, watched, body, etag }
    }

    fn new() -> Self {
        Self::with(LENGTH, |setup| setup)
    }

    /// The requests the store has received since the last call, in order of their ranges; the
    /// answers are complete.
    fn asked(&self) -> Vec<String> {
        self.watched.await_fetches_done();
        let asked = in_order(asked_of(&self.origin));
        self.origin.clear();
        asked
    }
}

#[test]
fn a_cold_range_costs_the_blocks_it_touches_and_a_warm_one_nothing() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    let first = assert_part(gateway, &stage.body, 100..200);
    let said = "s3proxy; fwd=miss; fwd-status=206; ttl=300; stored; detail=\"store=1\"";
    assert_eq!(status(&first), said);
    assert_eq!(first.header("age"), None);
    assert_eq!(first.header("etag"), Some(stage.etag.as_str()));
    stage.watched.await_fetches_done();
    let requests = stage.origin.requests();
    await_that("the block was sent", || stage.origin.requests()[0].complete);
    assert_eq!(stage.origin.requests()[0].bytes_sent, BLOCK as u64, "{requests:?}");
    assert_eq!(stage.asked(), [format!("GET {}", blocks(0..1))]);
    for part in [100..200, 0..1, BLOCK - 1..BLOCK, 0..BLOCK] {
        let warm = assert_part(gateway, &stage.body, part);
        assert_hit(&warm, 1);
        assert!(warm.header("age").is_some());
    }
    assert_eq!(stage.asked(), Vec::<String>::new());
}

#[test]
fn adjacent_missing_blocks_are_fetched_in_one_request() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    assert_part(gateway, &stage.body, 0..1);
    stage.asked();
    // Blocks 3 to 5.
    let some = assert_part(gateway, &stage.body, 3 * BLOCK + 10..5 * BLOCK + 10);
    let said = "s3proxy; fwd=partial; ttl=300; stored; detail=\"store=3\"";
    assert_eq!(status(&some).replace("ttl=299", "ttl=300"), said);
    assert_eq!(stage.asked(), [of_version(3..6, &stage.etag)]);
    // 1 to 7; those in the middle are cached.
    let more = assert_part(gateway, &stage.body, BLOCK..8 * BLOCK);
    assert!(status(&more).ends_with("; detail=\"memory=3, store=4\""), "{}", status(&more));
    let line = gateway.line_of(&more);
    assert_eq!(line["blocks_memory"], 3, "{line}");
    assert_eq!(line["blocks_disk"], 0, "{line}");
    assert_eq!(line["blocks_store"], 4, "{line}");
    assert_eq!(stage.asked(), [of_version(1..3, &stage.etag), of_version(6..8, &stage.etag)]);
    // The last two, of which the second is short.
    assert_part(gateway, &stage.body, 9 * BLOCK..LENGTH);
    let last = format!("GET bytes={}-{} ={}", 9 * BLOCK, LENGTH - 1, stage.etag);
    assert_eq!(stage.asked(), [last]);
    assert_part(gateway, &stage.body, 8 * BLOCK..8 * BLOCK + 1);
    assert_eq!(stage.asked(), [of_version(8..9, &stage.etag)]);
    assert_hit(&assert_part(gateway, &stage.body, 0..LENGTH), 11);
    assert_eq!(stage.asked(), Vec::<String>::new());
}

#[test]
fn the_counters_add_up() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    assert_part(gateway, &stage.body, 0..1);
    stage.asked();
    assert_part(gateway, &stage.body, BLOCK..3 * BLOCK);
    stage.asked();
    assert_part(gateway, &stage.body, 0..3 * BLOCK);
    assert_part(gateway, &stage.body, 5..6);
    let counters = stage.watched.counters();
    for (name, number) in [
        ("blocks_fetched", 3),
        // The first block came with the metadata.
        ("block_fetches", 1),
        ("block_hits", 4),
        ("block_disk_hits", 0),
        ("blocks_read_ahead", 0),
        ("block_fetches_abandoned", 0),
        ("block_evictions", 0),
        ("block_entries", 3),
        ("blocks_under_way", 0),
        ("direct_reads", 0),
        ("versions_dropped", 0),
        ("cut_fills", 0),
        ("misses", 1),
        ("memory_hits", 3),
    ] {
        assert_eq!(counters[name], number, "{name} in {counters}");
    }
    let held = counters["block_bytes"].as_u64().unwrap_or_default();
    assert!((3 * BLOCK as u64..3 * BLOCK as u64 + 4000).contains(&held), "{counters}");
    assert!(counters["memory_bytes"].as_u64() > Some(held), "{counters}");
}

#[test]
fn a_suffix_of_unknown_length_is_one_request() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    let suffix = |bytes: usize| {
        let answer = get_range(gateway, &format!("bytes=-{bytes}"));
        assert_is_part(&answer, &stage.body, LENGTH - bytes..LENGTH);
        answer
    };
    suffix(500);
    assert_eq!(stage.asked(), ["GET bytes=-500"]);
    for bytes in [500, 1, 499] {
        assert_hit(&suffix(bytes), 1);
    }
    assert_eq!(stage.asked(), Vec::<String>::new());
    // The cached part of the block begins behind these bytes.
    assert_part(gateway, &stage.body, 10 * BLOCK + 400..10 * BLOCK + 600);
    let whole_block = format!("GET bytes={}-{} ={}", 10 * BLOCK, LENGTH - 1, stage.etag);
    assert_eq!(stage.asked(), [whole_block]);
    assert_hit(&suffix(500), 1);
    assert_hit(&suffix(1000), 1);
    // The block before, too.
    suffix(1001);
    assert_eq!(stage.asked(), [of_version(9..10, &stage.etag)]);
}

#[test]
fn a_suffix_across_blocks_caches_them() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    let bytes = 2 * BLOCK + 5000;
    let answer = get_range(gateway, &format!("bytes=-{bytes}"));
    assert_is_part(&answer, &stage.body, LENGTH - bytes..LENGTH);
    assert_eq!(stage.asked(), [format!("GET bytes=-{bytes}")]);
    assert_hit(&assert_part(gateway, &stage.body, 9 * BLOCK..LENGTH), 2);
    assert_eq!(stage.asked(), Vec::<String>::new());
    // Only a part of the block before them arrived.
    assert_part(gateway, &stage.body, 7 * BLOCK..9 * BLOCK);
    assert_eq!(stage.asked(), [of_version(7..8, &stage.etag)]);
}

#[test]
fn a_suffix_longer_than_the_object_is_all_of_it() {
    let stage = Stage::new();
    for nth in 0..2 {
        let answer = get_range(&stage.watched.gateway, "bytes=-99999999");
        assert_is_part(&answer, &stage.body, 0..LENGTH);
        assert_eq!(stage.asked().len(), usize::from(nth == 0));
    }
}

#[test]
fn an_open_range_is_read_to_the_end_without_asking_for_anything_twice() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    let answer = get_range(gateway, &format!("bytes={}-", 2 * BLOCK + 7));
    assert_is_part(&answer, &stage.body, 2 * BLOCK + 7..LENGTH);
    let asked = stage.asked();
    assert_eq!(asked, [format!("GET bytes={}-", 2 * BLOCK)]);
    stage.watched.await_fetches_done();
    let again = get_range(gateway, &format!("bytes={}-", 2 * BLOCK));
    assert_is_part(&again, &stage.body, 2 * BLOCK..LENGTH);
    assert_hit(&again, 9);
    assert_eq!(stage.asked(), Vec::<String>::new());
}

#[test]
fn a_large_object_read_whole_is_assembled_and_cached() {
    // More than `read_ahead`, 8 MiB.
    let length = 12 * (1 << 20) + 77;
    let stage = Stage::with(length, |setup| setup);
    let whole = stage.watched.gateway.get(PATH);
    assert_whole(&whole, &stage.body);
    assert_eq!(stage.asked(), ["GET"]);
    stage.watched.await_fetches_done();
    assert_hit(&assert_part(&stage.watched.gateway, &stage.body, 0..length), 193);
    let again = stage.watched.gateway.get(PATH);
    assert_whole(&again, &stage.body);
    assert_hit(&again, 193);
    assert_eq!(stage.asked(), Vec::<String>::new());
}

#[test]
fn a_whole_object_is_assembled_from_cached_and_missing_blocks() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    for part in [0..1, 4 * BLOCK..5 * BLOCK, 7 * BLOCK..7 * BLOCK + 3] {
        assert_part(gateway, &stage.body, part);
    }
    stage.asked();
    let whole = gateway.get(PATH);
    assert_whole(&whole, &stage.body);
    assert!(status(&whole).ends_with("; detail=\"memory=3, store=8\""), "{}", status(&whole));
    let asked = stage.asked();
    assert!(asked.iter().all(|line| line.ends_with(&stage.etag)), "{asked:?}");
    let wanted: usize = super::stretches(&asked).iter().map(|stretch| stretch.len()).sum();
    assert_eq!(wanted, LENGTH - 3 * BLOCK, "{asked:?}");
    assert_hit(&gateway.get(PATH), 11);
}

#[test]
fn a_head_costs_no_body_and_a_range_after_it_only_its_blocks() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    let head = || gateway.send("HEAD", PATH, &[]);
    let first = head();
    assert_eq!((first.status(), first.ending), (200, Ending::Whole));
    assert_eq!(first.header("content-length"), Some(LENGTH.to_string().as_str()));
    assert_eq!(first.header("accept-ranges"), Some("bytes"));
    assert_eq!(status(&first), "s3proxy; fwd=miss; fwd-status=200; ttl=300; stored");
    assert_eq!(stage.asked(), ["HEAD"]);
    let again = head();
    assert_eq!(again.header("content-length"), first.header("content-length"));
    assert!(status(&again).starts_with("s3proxy; hit; ttl="), "{}", status(&again));
    let unchanged = gateway.send("GET", PATH, &[("If-None-Match", &stage.etag)]);
    assert_eq!(unchanged.status(), 304);
    assert_eq!(stage.asked(), Vec::<String>::new());
    assert_part(gateway, &stage.body, 5 * BLOCK + 1..6 * BLOCK + 1);
    assert_eq!(stage.asked(), [of_version(5..7, &stage.etag)]);
}
