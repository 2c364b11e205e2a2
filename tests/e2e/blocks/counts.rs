//! `Cache-Status` counts all blocks of a response, however many there are.

use crate::blocks::{
    BLOCK, PATH, Shelf, Version, assert_hit, assert_part, assert_whole, in_blocks,
};
use crate::cached::status;
use crate::crowd::Watched;

/// More blocks than were once looked up for `Cache-Status`, 256; the rest was counted as `store`.
const BLOCKS: usize = 300;

#[test]
fn cached_blocks_beyond_the_256th_are_not_counted_as_from_the_store() {
    let version = Version::new(1, BLOCKS * BLOCK);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(in_blocks(&shelf.url()).env("S3PROXY_CACHE_BLOCKS_SHARE", "90"));
    let missing = 8;
    assert_part(&watched.gateway, &version.body, 0..(BLOCKS - missing) * BLOCK);
    watched.await_fetches_done();
    for (from_store, expected) in [(missing, "fwd=partial"), (0, "hit")] {
        let answer = watched.gateway.send("GET", PATH, &[]);
        assert_whole(&answer, &version.body);
        let said = status(&answer);
        assert!(said.starts_with(&format!("s3proxy; {expected}; ttl=")), "{said}");
        if from_store == 0 {
            assert_hit(&answer, BLOCKS);
        } else {
            let memory = BLOCKS - from_store;
            let counts = format!("; detail=\"memory={memory}, store={from_store}\"");
            assert!(said.ends_with(&counts), "{said}");
        }
        watched.await_fetches_done();
    }
}
