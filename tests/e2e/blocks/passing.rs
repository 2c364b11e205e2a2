//! Objects that cannot be cached in blocks: requests bypass the cache unchanged.

use crate::blocks::{BLOCK, PATH, Shelf, Version, assert_part, assert_whole, get_range, in_blocks};
use crate::cached::status;
use crate::crowd::Watched;

const LENGTH: usize = 10 * BLOCK;

#[test]
fn without_memory_for_blocks_ranges_and_heads_bypass_the_cache() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let setup = in_blocks(&shelf.url()).env("S3PROXY_CACHE_BLOCKS_SHARE", "0");
    let watched = Watched::start(setup);
    for _ in 0..2 {
        let part = assert_part(&watched.gateway, &version.body, 100..200);
        assert_eq!(status(&part), "s3proxy; fwd=miss");
        assert_eq!(shelf.asked(), ["GET bytes=100-199"]);
        let suffix = get_range(&watched.gateway, "bytes=-7");
        assert!(version.has(LENGTH - 7, &suffix.body));
        assert_eq!(shelf.asked(), ["GET bytes=-7"]);
        assert_eq!(watched.gateway.send("HEAD", PATH, &[]).status(), 200);
        assert_eq!(shelf.asked(), ["HEAD"]);
        let whole = watched.gateway.get(PATH);
        assert_whole(&whole, &version.body);
        assert_eq!(status(&whole), "s3proxy; fwd=miss");
        shelf.asked();
    }
    assert_eq!(watched.counter("block_entries"), 0);
}

/// Without a strong tag, two versions cannot be distinguished with certainty.
#[test]
fn objects_without_a_strong_tag_bypass_the_cache() {
    for etag in ["W/\"a\"", "no tag"] {
        let mut version = Version::new(1, LENGTH);
        version.etag = etag.to_owned();
        let shelf = Shelf::with(&version);
        let watched = Watched::start(in_blocks(&shelf.url()));
        for nth in 0..3 {
            shelf.asked();
            let part = assert_part(&watched.gateway, &version.body, 100..200);
            assert!(!status(&part).contains("hit"), "{}", status(&part));
            let asked = shelf.asked();
            // The first request finds out.
            let range = if nth == 0 { "bytes=0-65535" } else { "bytes=100-199" };
            assert_eq!(asked, [format!("GET {range}")], "{etag}");
            assert_eq!(watched.gateway.send("HEAD", PATH, &[]).status(), 200);
            assert_whole(&watched.gateway.get(PATH), &version.body);
        }
        assert_eq!(watched.counter("block_entries"), 0);
    }
}

/// A store that answers every range with the whole object (RFC 9110, section 14.2).
#[test]
fn an_object_of_a_store_that_gives_no_parts_is_served_right() {
    let version = Version::new(1, LENGTH);
    for whole_first in [true, false] {
        let shelf = Shelf::with(&version);
        shelf.now_by(|version, request| {
            let mut request = request.clone();
            request.headers.retain(|(name, _)| name != "range");
            version.answer(&request)
        });
        let watched = Watched::start(in_blocks(&shelf.url()));
        if whole_first {
            assert_whole(&watched.gateway.get(PATH), &version.body);
        }
        for range in ["bytes=100-199", "bytes=300000-300010", "bytes=-10", "bytes=5-6,70000-70001"]
        {
            let answer = get_range(&watched.gateway, range);
            // The store's answer, or the cached part.
            match answer.status() {
                200 => assert_whole(&answer, &version.body),
                status => assert_eq!(status, 206, "{range}"),
            }
        }
        assert_whole(&watched.gateway.get(PATH), &version.body);
    }
}

/// The object is larger than the first request may store, so the rest must be requested.
#[test]
fn a_large_object_of_a_store_that_gives_no_parts_is_served_whole() {
    let version = Version::new(1, 3 << 20);
    let shelf = Shelf::with(&version);
    shelf.now_by(|version, request| {
        let mut request = request.clone();
        request.headers.retain(|(name, _)| name != "range");
        version.answer(&request)
    });
    let setup = in_blocks(&shelf.url()).env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "256KiB");
    let watched = Watched::start(setup);
    for _ in 0..2 {
        assert_whole(&watched.gateway.get(PATH), &version.body);
        let asked = shelf.asked();
        assert!(asked.len() <= 4, "{asked:?}");
    }
}
