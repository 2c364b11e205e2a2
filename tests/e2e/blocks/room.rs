//! The memory of blocks is bounded, however slowly clients read, and separate from that of tiles.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::blocks::{
    BLOCK, PATH, Shelf, Version, assert_hit, assert_part, assert_whole, in_blocks,
};
use crate::cached::status;
use crate::client::{Client, Ending};
use crate::crowd::{Watched, await_that};

const MIB: usize = 1 << 20;

#[test]
fn an_object_larger_than_the_memory_is_read_whole_within_it() {
    const MEMORY: usize = 8 * MIB;
    let version = Version::new(1, 24 * MIB);
    let shelf = Shelf::with(&version);
    let setup = in_blocks(&shelf.url()).env("S3PROXY_CACHE_MEMORY", &MEMORY.to_string());
    let setup = setup.env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "512KiB");
    let watched = Watched::start(setup);
    let before = watched.gateway.peak_memory();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let highest = scope.spawn(|| {
            let mut highest = (0, 0);
            while !done.load(Ordering::Relaxed) {
                let counters = watched.counters();
                let number = |name: &str| counters[name].as_u64().unwrap_or(u64::MAX);
                highest.0 = highest.0.max(number("memory_bytes"));
                highest.1 = highest.1.max(number("block_bytes"));
            }
            highest
        });
        for _ in 0..3 {
            let answer = watched.gateway.get(PATH);
            assert_whole(&answer, &version.body);
        }
        done.store(true, Ordering::Relaxed);
        let (memory, blocks) = highest.join().expect("counters");
        assert!(memory <= MEMORY as u64, "{memory} bytes held");
        assert!(blocks <= MEMORY as u64 / 4, "{blocks} bytes of blocks held");
        assert!(blocks >= MEMORY as u64 / 8, "{blocks} bytes of blocks: the memory is used");
    });
    let grown = watched.gateway.peak_memory() - before;
    assert!(grown < 48 * MIB, "{grown} bytes");
    assert!(watched.counter("block_evictions") > 0);
}

#[test]
fn a_whole_object_within_the_share_of_blocks_is_cached_whole() {
    let version = Version::new(1, 12 * MIB);
    let shelf = Shelf::with(&version);
    // Blocks may use 16 of 64 MiB, and retain 14.
    let watched = Watched::start(in_blocks(&shelf.url()));
    assert_whole(&watched.gateway.get(PATH), &version.body);
    watched.await_fetches_done();
    shelf.asked();
    let again = watched.gateway.get(PATH);
    assert_whole(&again, &version.body);
    assert_hit(&again, 12 * MIB / BLOCK);
    assert_eq!(shelf.asked(), Vec::<String>::new());
}

/// Slow readers pin the blocks they read. When they pin all the memory of blocks, further readers
/// bypass the cache.
#[test]
fn readers_bypass_the_cache_when_memory_is_full() {
    const MEMORY: usize = 4 * MIB;
    const SLOW: usize = 24;
    const LENGTH: usize = 6 * MIB;
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let setup = in_blocks(&shelf.url()).env("S3PROXY_CACHE_MEMORY", &MEMORY.to_string());
    let watched = Watched::start(setup.env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "512KiB"));
    let within = || {
        let held = watched.counter("memory_bytes");
        assert!(held <= MEMORY as u64, "{held} bytes held");
    };
    let mut slow: Vec<_> = (0..SLOW)
        .map(|nth| {
            let mut client = Client::narrow(watched.gateway.address);
            client.request("GET", &format!("/s3proxy/s3/sky/slow{nth}.png"), &[]);
            let head = client.head().expect("a head");
            assert_eq!(head.status, 200, "{nth}");
            within();
            (client, head)
        })
        .collect();
    await_that("a reader bypasses the cache", || watched.counter("direct_reads") > 0);
    // A fast reader gets the whole answer at once.
    for nth in 0..4 {
        let answer = watched.gateway.object(&format!("sky/quick{nth}.png"));
        assert_whole(&answer, &version.body);
        let start = nth * 1_000_000 + 5;
        assert_part(&watched.gateway, &version.body, start..start + 100_000);
        within();
    }
    let parts = "bytes=0-9,3000000-3100000,-10";
    let several = watched.gateway.object_with("sky/quick9.png", &[("Range", parts)]);
    assert_eq!((several.status(), several.ending), (206, Ending::Whole));
    let middle = &version.body[3_000_000..3_100_001];
    assert!(crate::client::find(&several.body, middle).is_some(), "{}", status(&several));
    for (nth, (client, head)) in slow.iter_mut().enumerate() {
        let (body, ending) = client.body(head, "GET");
        assert_eq!(ending, Ending::Whole, "{nth}");
        assert!(body == *version.body, "{nth}: other bytes");
        within();
    }
    drop(slow);
    // The memory they pinned is free again.
    watched.await_fetches_done();
    assert_part(&watched.gateway, &version.body, 0..BLOCK);
    watched.await_fetches_done();
    assert_hit(&assert_part(&watched.gateway, &version.body, 0..BLOCK), 1);
}

/// A memory that has no room for a single block.
#[test]
fn requests_bypass_the_cache_when_no_block_fits() {
    let version = Version::new(1, 2 * MIB);
    let shelf = Shelf::with(&version);
    let setup = in_blocks(&shelf.url())
        .env("S3PROXY_CACHE_MEMORY", "1MiB")
        .env("S3PROXY_CACHE_BLOCKS_SHARE", "5")
        .tolerate("no block will be cached");
    let watched = Watched::start(setup);
    for _ in 0..2 {
        assert_part(&watched.gateway, &version.body, 100..200);
        assert_part(&watched.gateway, &version.body, 3 * BLOCK - 5..5 * BLOCK);
        assert_whole(&watched.gateway.get(PATH), &version.body);
    }
    assert!(watched.counter("direct_reads") > 0);
    assert_eq!(watched.counter("block_entries"), 0);
    let asked = shelf.asked();
    assert!(asked.iter().any(|line| line.contains("bytes=100-199")), "as it was asked: {asked:?}");
}

/// The same with a store that answers ranges with the whole object: a reader still gets only its
/// part.
#[test]
fn a_direct_read_of_a_store_that_gives_no_parts_is_no_longer_than_asked() {
    let version = Version::new(1, 2 * MIB);
    let shelf = Shelf::with(&version);
    let setup = in_blocks(&shelf.url())
        .env("S3PROXY_CACHE_MEMORY", "1MiB")
        .env("S3PROXY_CACHE_BLOCKS_SHARE", "5")
        .tolerate("no block will be cached");
    let watched = Watched::start(setup);
    assert_eq!(watched.gateway.send("HEAD", PATH, &[]).status(), 200);
    shelf.now_by(|version, request| {
        let mut request = request.clone();
        request.headers.retain(|(name, _)| name != "range");
        version.answer(&request)
    });
    assert_part(&watched.gateway, &version.body, 0..200);
    assert_part(&watched.gateway, &version.body, 0..BLOCK + 200);
}
