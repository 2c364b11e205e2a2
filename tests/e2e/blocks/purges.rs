//! Purges of objects in blocks: the metadata and every block are removed from memory and from disk.

use crate::blocks::{
    BLOCK, KEY, PATH, Shelf, Version, assert_hit, assert_part, blocks, get_range, in_blocks,
};
use crate::cached::status;
use crate::crowd::await_that;
use crate::disk::{Bench, start_scanned};
use crate::faulty::{self, Gate};

const LENGTH: usize = 10 * BLOCK;

#[test]
fn a_purge_of_an_object_or_a_prefix_takes_its_blocks_with_it() {
    for target in ["/sky/big.png", "/sky/"] {
        let version = Version::new(1, LENGTH);
        let (shelf, bench) = (Shelf::with(&version), Bench::new());
        let setup = bench.setup(&shelf.url()).env("S3PROXY_CACHE_MAX_OBJECT", "1000");
        let setup = setup.env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB").tolerate("upstream_forbidden");
        let gateway = start_scanned(&setup);
        assert_part(&gateway, &version.body, 0..4 * BLOCK);
        // The metadata and four blocks.
        bench.await_records(5);
        assert_eq!(bench.counter("block_entries"), 4, "{target}");
        shelf.now_by(|_, _| faulty::s3_error(403, "AccessDenied"));
        assert_hit(&assert_part(&gateway, &version.body, 0..4 * BLOCK), 4);
        shelf.asked();
        bench.purge(target);
        for range in ["bytes=0-0", "bytes=65536-131071", "bytes=-1"] {
            let answer = get_range(&gateway, range);
            assert!(matches!(answer.status(), 403 | 502), "{target}: {range}: {}", answer.status());
        }
        assert_eq!(shelf.asked().len(), 3, "{target}: each asked the store");
        await_that("no block is in memory", || bench.counter("block_entries") == 0);
        await_that("nothing is on disk", || bench.records().is_empty());
        shelf.now_by(Version::answer);
        let again = assert_part(&gateway, &version.body, 0..BLOCK);
        assert!(status(&again).contains("fwd=miss"), "{target}: {}", status(&again));
        await_that("the block is kept", || bench.counter("blocks_under_way") == 0);
        // Blocks fetched after the purge stay cached.
        assert_hit(&assert_part(&gateway, &version.body, 0..BLOCK), 1);
    }
}

#[test]
fn a_purge_of_another_object_leaves_blocks_alone() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let (setup, admin) = crate::admin::Admin::of(in_blocks(&shelf.url()));
    let gateway = setup.start();
    assert_part(&gateway, &version.body, 0..2 * BLOCK);
    admin.await_number("blocks_under_way", |blocks| blocks == 0);
    for target in ["sky/big.pn", "sky/big.png2", "sky/big.png/", "sky/other/", "skyy/"] {
        admin.purge(target);
        assert_hit(&assert_part(&gateway, &version.body, 0..2 * BLOCK), 2);
    }
}

/// A block whose fetch began before the purge is not served after it, however late it arrives.
#[test]
fn a_block_in_flight_during_a_purge_is_not_cached() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let (setup, admin) = crate::admin::Admin::of(in_blocks(&shelf.url()));
    let gateway = setup.start();
    assert_part(&gateway, &version.body, 0..1);
    let gate = Gate::new();
    let held = gate.clone();
    shelf.now_by(move |version, request| super::held_back(version.answer(request), 1000, &held));
    let mut client = gateway.connect();
    client.request("GET", PATH, &[("Range", &blocks(3..4))]);
    let head = client.head().expect("a head");
    assert!(client.fill_to(1000));
    admin.purge(KEY);
    gate.open();
    let (body, _) = client.body(&head, "GET");
    assert!(body.len() == BLOCK && version.has(3 * BLOCK, &body), "it goes on for its reader");
    admin.await_number("blocks_under_way", |number| number == 0);
    shelf.asked();
    let again = assert_part(&gateway, &version.body, 3 * BLOCK..4 * BLOCK);
    assert!(status(&again).contains("fwd=miss"), "{}", status(&again));
    assert_eq!(shelf.asked(), [format!("GET {}", blocks(3..4))]);
}
