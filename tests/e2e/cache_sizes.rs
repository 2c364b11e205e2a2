//! Objects of edge-case lengths: empty, at the boundaries of stored pieces, at the size limit of
//! cached objects, and beyond it.

use std::ops::Range;

use crate::cached::{status, with_cache};
use crate::client::{Answer, Ending};
use crate::crowd::{Watched, await_that, numbered};
use crate::gateway::Gateway;
use crate::origin::{Manners, Origin};

/// The size of the pieces in which a body is stored, bytes.
const PIECE: usize = 1 << 20;
const TILE: &str = "/s3proxy/s3/sky/a.png";

fn lasting(answer: &Answer) -> Vec<(String, String)> {
    let passing = ["date", "age", "x-request-id", "cache-status", "content-length"];
    let mut headers = answer.head.headers.clone();
    headers.retain(|(name, _)| !passing.contains(&name.to_ascii_lowercase().as_str()));
    headers.sort();
    headers
}

fn assert_part(gateway: &Gateway, body: &[u8], asked: &str, part: Range<usize>) {
    let answer = gateway.send("GET", TILE, &[("Range", asked)]);
    let what = format!("{asked} of {}", body.len());
    assert_eq!((answer.status(), answer.ending), (206, Ending::Whole), "{what}");
    let place = format!("bytes {}-{}/{}", part.start, part.end - 1, body.len());
    assert_eq!(answer.header("content-range"), Some(place.as_str()), "{what}");
    assert!(answer.body == body[part], "{what}");
    assert!(status(&answer).starts_with("s3proxy; hit"), "{what}: {}", status(&answer));
}

#[test]
fn every_length_comes_back_whole_and_in_parts_across_the_edges() {
    for length in [1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7] {
        let origin = Origin::with(Manners::aws());
        let body = numbered(length);
        origin.put("a.png", body.clone());
        let watched = Watched::start(with_cache(&origin.url()));
        let gateway = &watched.gateway;
        for expected_status in ["s3proxy; fwd=miss", "s3proxy; hit"] {
            let whole = gateway.get(TILE);
            assert_eq!((whole.status(), whole.ending), (200, Ending::Whole), "{length}");
            assert!(whole.body == body, "{length}");
            assert!(status(&whole).starts_with(expected_status), "{length}: {}", status(&whole));
            watched.await_fetches_done();
        }
        let (whole, head) = (gateway.get(TILE), gateway.send("HEAD", TILE, &[]));
        assert_eq!(lasting(&head), lasting(&whole), "{length}");
        assert_eq!(head.header("content-length"), Some(length.to_string().as_str()), "{length}");
        assert_eq!(whole.header("content-length"), Some(length.to_string().as_str()), "{length}");
        for edge in (0..=length).step_by(PIECE).chain([length]) {
            let places = [edge.saturating_sub(2), edge.saturating_sub(1), edge, edge + 1, edge + 2];
            for first in places.into_iter().filter(|first| *first < length) {
                assert_part(gateway, &body, &format!("bytes={first}-{first}"), first..first + 1);
                let last = (first + 3).min(length - 1);
                assert_part(gateway, &body, &format!("bytes={first}-{last}"), first..last + 1);
                assert_part(gateway, &body, &format!("bytes={first}-"), first..length);
                let suffix = length - first;
                assert_part(gateway, &body, &format!("bytes=-{suffix}"), first..length);
            }
            let beyond = format!("bytes={length}-");
            let answer = gateway.send("GET", TILE, &[("Range", &beyond)]);
            assert_eq!(answer.status(), 416, "{beyond}");
            let place = format!("bytes */{length}");
            assert_eq!(answer.header("content-range"), Some(place.as_str()), "{beyond}");
        }
        if length > 2 * PIECE {
            let asked = format!("bytes=0-3,{}-{},-4", PIECE - 2, 2 * PIECE + 2);
            let parts = gateway.send("GET", TILE, &[("Range", &asked)]);
            assert_eq!((parts.status(), parts.ending), (206, Ending::Whole), "{asked}");
            for part in [&body[..4], &body[PIECE - 2..2 * PIECE + 3], &body[length - 4..]] {
                let framed = [b"\r\n\r\n".as_slice(), part, b"\r\n--"].concat();
                assert!(crate::client::find(&parts.body, &framed).is_some(), "{asked}");
            }
        }
        assert_eq!(origin.count(), 1, "{length}: {:?}", origin.requests());
    }
}

#[test]
fn an_empty_object_is_an_object() {
    let origin = Origin::start();
    origin.put("a.png", "");
    let watched = Watched::start(with_cache(&origin.url()));
    let gateway = &watched.gateway;
    for expected_status in ["s3proxy; fwd=miss", "s3proxy; hit", "s3proxy; hit"] {
        let answer = gateway.get(TILE);
        assert_eq!((answer.status(), answer.text(), answer.ending), (200, "", Ending::Whole));
        assert_eq!(answer.header("content-length"), Some("0"));
        assert!(status(&answer).starts_with(expected_status), "{}", status(&answer));
        watched.await_fetches_done();
    }
    for (method, range, expected) in [
        ("HEAD", None, 200),
        ("GET", Some("bytes=0-"), 416),
        ("GET", Some("bytes=0-0"), 416),
        ("GET", Some("bytes=-1"), 200),
    ] {
        let headers = range.map(|range| ("Range", range));
        let answer = gateway.send(method, TILE, headers.as_slice());
        assert_eq!(answer.status(), expected, "{method} {range:?}");
        assert!(status(&answer).starts_with("s3proxy; hit"), "{}", status(&answer));
    }
    assert_eq!(origin.count(), 1, "{:?}", origin.requests());
}

#[test]
fn an_object_at_the_size_limit_is_cached_whole_and_a_larger_one_in_blocks() {
    const LIMIT: usize = 100_000;
    const BLOCK: usize = 65_536;
    let origin = Origin::with(Manners::aws());
    let setup = with_cache(&origin.url())
        .env("S3PROXY_CACHE_MAX_OBJECT", "100000")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB");
    let watched = Watched::start(setup);
    let gateway = &watched.gateway;
    let mut kept_blocks = 0;
    for (length, whole) in
        [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false), (3 * LIMIT, false)]
    {
        let (key, body) = (format!("l{length}.png"), numbered(length));
        let path = format!("/s3proxy/s3/sky/{key}");
        let etag = origin.put(&key, body.clone());
        origin.clear();
        let first = gateway.get(&path);
        assert!(first.body == body, "{length}");
        let blocks = if whole { 0 } else { length.div_ceil(BLOCK) };
        let came = if whole { String::new() } else { format!("; detail=\"store={blocks}\"") };
        assert!(status(&first).ends_with(&format!("; stored{came}")), "{}", status(&first));
        watched.await_fetches_done();
        assert_eq!(origin.count(), 1, "{length}: {:?}", origin.requests());
        kept_blocks += blocks;
        assert_eq!(watched.counter("block_entries"), kept_blocks as u64, "{length}");
        let again = gateway.get(&path);
        assert!(again.body == body, "{length}");
        let detail = if whole { String::new() } else { format!("detail=\"memory={blocks}\"") };
        assert!(status(&again).ends_with(&detail), "{length}: {}", status(&again));
        let part = gateway.send("GET", &path, &[("Range", "bytes=10-19")]);
        assert_eq!((part.status(), &part.body[..]), (206, &body[10..20]), "{length}");
        let unchanged = gateway.send("GET", &path, &[("If-None-Match", &etag)]);
        assert_eq!(unchanged.status(), 304, "{length}");
        let head = gateway.send("HEAD", &path, &[]);
        assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
        for answer in [again, part, unchanged, head] {
            assert!(status(&answer).starts_with("s3proxy; hit"), "{length}: {}", status(&answer));
        }
        assert_eq!(origin.count(), 1, "{length}: {:?}", origin.requests());
    }
}

#[test]
fn without_blocks_an_object_over_the_size_limit_bypasses_the_cache() {
    const LIMIT: usize = 100_000;
    let origin = Origin::with(Manners::aws());
    let setup = with_cache(&origin.url())
        .env("S3PROXY_CACHE_MAX_OBJECT", "100000")
        .env("S3PROXY_CACHE_BLOCKS_SHARE", "0");
    let watched = Watched::start(setup);
    let gateway = &watched.gateway;
    for (length, kept) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false), (3 * LIMIT, false)]
    {
        let (key, body) = (format!("l{length}.png"), numbered(length));
        let path = format!("/s3proxy/s3/sky/{key}");
        let etag = origin.put(&key, body.clone());
        let first = gateway.get(&path);
        assert!(first.body == body, "{length}");
        assert_eq!(status(&first).contains("stored"), kept, "{length}: {}", status(&first));
        watched.await_fetches_done();
        origin.clear();
        let again = gateway.get(&path);
        assert!(again.body == body, "{length}");
        assert_eq!(status(&again).starts_with("s3proxy; hit"), kept, "{length}");
        let part = gateway.send("GET", &path, &[("Range", "bytes=10-19")]);
        assert_eq!((part.status(), &part.body[..]), (206, &body[10..20]), "{length}");
        let unchanged = gateway.send("GET", &path, &[("If-None-Match", &etag)]);
        assert_eq!(unchanged.status(), 304, "{length}");
        let head = gateway.send("HEAD", &path, &[]);
        assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
        let asked = origin.requests();
        if kept {
            assert!(asked.is_empty(), "{length}: {asked:?}");
            continue;
        }
        // Every kind of request: whole, a range, conditional, HEAD.
        let words = |request: &crate::origin::Request| {
            let header = |name| request.header(name).to_owned();
            (request.method.clone(), header("range"), header("if-none-match"))
        };
        let asked: Vec<_> = asked.iter().map(words).collect();
        let line = |method: &str, range: &str, tag: &str| {
            (method.to_owned(), range.to_owned(), tag.to_owned())
        };
        let expected = [
            line("GET", "", ""),
            line("GET", "bytes=10-19", ""),
            line("GET", "", &etag),
            line("HEAD", "", ""),
        ];
        assert_eq!(asked, expected, "{length}");
    }
}

/// `share`: the percentage of the memory that blocks may use.
fn assert_large_objects_push_no_tile_out(share: u64) {
    const TILES: usize = 30;
    const MEMORY: u64 = 8 << 20;
    let origin = Origin::start();
    let setup = with_cache(&origin.url())
        .env("S3PROXY_CACHE_MEMORY", "8MiB")
        .env("S3PROXY_CACHE_MAX_OBJECT", "1MiB")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "256KiB")
        .env("S3PROXY_CACHE_BLOCKS_SHARE", &share.to_string());
    let watched = Watched::start(setup);
    let tile = numbered(100_000);
    for nth in 0..TILES {
        origin.put(&format!("t{nth}.png"), tile.clone());
        assert!(watched.gateway.object(&format!("sky/t{nth}.png")).body == tile);
    }
    watched.await_fetches_done();
    let held = watched.counter("memory_bytes");
    let large = numbered(10 << 20);
    origin.put("large.png", large.clone());
    for _ in 0..3 {
        assert!(watched.gateway.object("sky/large.png").body == large);
        let part = watched.gateway.object_with("sky/large.png", &[("Range", "bytes=-5")]);
        assert!(part.body == large[large.len() - 5..]);
        // Besides blocks only the metadata is cached, or a hit-for-pass entry.
        let blocks = watched.counter("block_bytes");
        assert!(blocks <= MEMORY / 100 * share, "{blocks}");
        assert!(watched.counter("memory_bytes") <= held + MEMORY / 100 * share + 2048, "{held}");
    }
    assert_eq!(watched.counter("block_evictions") > 0, share > 0);
    origin.clear();
    for nth in 0..TILES {
        let answer = watched.gateway.object(&format!("sky/t{nth}.png"));
        assert!(status(&answer).starts_with("s3proxy; hit"), "{}", status(&answer));
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(watched.counter("memory_evictions"), 0);
}

#[test]
fn large_objects_evict_no_tile() {
    assert_large_objects_push_no_tile_out(25);
}

#[test]
fn large_objects_that_bypass_the_cache_evict_no_tile() {
    assert_large_objects_push_no_tile_out(0);
}

#[test]
fn stored_in_cache_status_is_correct_with_little_memory() {
    let origin = Origin::start();
    for (mebibytes, share, stored) in [
        (1, "25", true),
        (6, "25", true),
        (1, "0", true),
        (9, "0", true),
        (10, "0", false),
        (16, "0", false),
    ] {
        let setup = with_cache(&origin.url())
            .env("S3PROXY_CACHE_MEMORY", "32MiB")
            .env("S3PROXY_CACHE_BLOCKS_SHARE", share);
        let watched = Watched::start(setup);
        let what = format!("{mebibytes} MiB beside {share} % of blocks");
        let body = numbered(mebibytes << 20);
        let key = format!("m{mebibytes}.png");
        origin.put(&key, body.clone());
        origin.clear();
        let first = watched.gateway.object(&format!("sky/{key}"));
        assert!(first.body == body, "{what}");
        assert_eq!(status(&first).contains("stored"), stored, "{what}: {}", status(&first));
        watched.await_fetches_done();
        let asked = origin.count();
        let again = watched.gateway.object(&format!("sky/{key}"));
        assert!(again.body == body, "{what}");
        assert_eq!(stored, origin.count() == asked, "{what}: {}", status(&first));
    }
}

/// For an object in blocks, `stored` means that its metadata is cached, and as many blocks as fit.
#[test]
fn memory_in_cache_status_is_correct_with_little_memory() {
    const BLOCK: u64 = 1 << 20;
    const PAGE: u64 = 64 << 10;
    let origin = Origin::start();
    for mebibytes in [7, 9, 16] {
        let setup = with_cache(&origin.url()).env("S3PROXY_CACHE_MEMORY", "32MiB");
        let watched = Watched::start(setup);
        let body = numbered(mebibytes << 20);
        let key = format!("b{mebibytes}.png");
        let path = format!("/s3proxy/s3/sky/{key}");
        origin.put(&key, body.clone());
        let first = watched.gateway.get(&path);
        assert!(first.body == body, "{mebibytes}");
        assert!(status(&first).contains("; stored; detail="), "{}", status(&first));
        watched.await_fetches_done();
        origin.clear();
        let head = watched.gateway.send("HEAD", &path, &[]);
        assert!(status(&head).starts_with("s3proxy; hit"), "{mebibytes}: {}", status(&head));
        assert_eq!(origin.count(), 0, "{mebibytes}");
        let again = watched.gateway.get(&path);
        assert!(again.body == body, "{mebibytes}");
        let line = watched.gateway.line_of(&again);
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        let (memory, store) = (number("blocks_memory"), number("blocks_store"));
        // The first block is read in pages.
        assert_eq!(memory + store, mebibytes as u64 - 1 + BLOCK / PAGE, "{line}");
        await_that("all was sent", || origin.requests().iter().all(|request| request.complete));
        let sent: u64 = origin.requests().iter().map(|request| request.bytes_sent).sum();
        let of_pages = (0..=store.min(BLOCK / PAGE)).map(|n| n * PAGE + (store - n) * BLOCK);
        assert!(of_pages.into_iter().any(|bytes| bytes == sent), "{mebibytes} MiB, {sent}: {line}");
    }
}
