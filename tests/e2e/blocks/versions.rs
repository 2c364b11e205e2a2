//! An object that is overwritten: no answer holds bytes of two versions, and the body of a reader
//! that is in the middle of the old version is cut.

use std::ops::Range;

use serde_json::json;

use crate::blocks::{
    BLOCK, PATH, Shelf, Version, assert_hit, assert_is_part, assert_part, assert_whole, blocks,
    get_range, in_blocks, never_fresh, of_version,
};
use crate::cached::status;
use crate::client::{Answer, Ending};
use crate::crowd::Watched;
use crate::faulty::{self, Gate, Step};
use crate::gateway::Gateway;

const LENGTH: usize = 10 * BLOCK + 500;

fn assert_part_of(gateway: &Gateway, version: &Version, part: Range<usize>) -> Answer {
    let answer = assert_part(gateway, &version.body, part);
    assert_eq!(answer.header("etag"), Some(version.etag.as_str()));
    answer
}

fn versions() -> [Version; 2] {
    // And of another length.
    [Version::new(1, LENGTH), Version::new(2, LENGTH + 3000)]
}

/// Overwrites an object of which a part is cached, and requests cached and missing parts.
fn assert_versions_do_not_mix(shelf: &Shelf, old: &Version, new: &Version, refused: &[String]) {
    let watched = Watched::start(in_blocks(&shelf.url()));
    let gateway = &watched.gateway;
    assert_part_of(gateway, old, 0..2 * BLOCK);
    assert_part_of(gateway, old, 6 * BLOCK..6 * BLOCK + 1);
    watched.await_fetches_done();
    shelf.asked();
    shelf.overwrite(new);
    // The cached object is the old one as long as it is fresh.
    assert_hit(&assert_part_of(gateway, old, 100..BLOCK + 100), 2);
    assert_eq!(shelf.asked(), Vec::<String>::new());
    // Blocks that are not cached exist only in the new version.
    let answer = assert_part_of(gateway, new, 4 * BLOCK + 7..5 * BLOCK + 7);
    assert_eq!(answer.header("age"), None, "{}", status(&answer));
    assert_eq!(shelf.asked(), [refused, &[format!("GET {}", blocks(4..6))]].concat());
    assert_eq!(watched.counter("versions_dropped"), 1);
    // After that no block of the old version is served.
    for part in [100..BLOCK + 100, 6 * BLOCK..6 * BLOCK + 1, 0..new.body.len()] {
        assert_part_of(gateway, new, part);
    }
    let whole = gateway.get(PATH);
    assert_whole(&whole, &new.body);
    watched.await_fetches_done();
    let asked = shelf.asked();
    assert!(asked.iter().all(|line| line.ends_with(&new.etag)), "{asked:?}");
}

#[test]
fn a_missing_block_of_an_overwritten_object_loads_the_new_version() {
    let [old, new] = versions();
    let shelf = Shelf::with(&old);
    assert_versions_do_not_mix(&shelf, &old, &new, &[of_version(4..6, &old.etag)]);
}

#[test]
fn versions_do_not_mix_where_the_store_does_not_know_if_match() {
    let [old, new] = versions();
    let shelf = Shelf::with(&old);
    shelf.now_by(Version::answer_unconditionally);
    assert_versions_do_not_mix(&shelf, &old, &new, &[of_version(4..6, &old.etag)]);
}

/// The length is part of the version: blocks of different lengths are never mixed, even if the
/// store's tags are all the same.
#[test]
fn versions_with_the_same_tag_are_distinguished_by_their_length() {
    let [old, mut new] = versions();
    new.etag = old.etag.clone();
    let shelf = Shelf::with(&old);
    let watched = Watched::start(in_blocks(&shelf.url()));
    assert_part(&watched.gateway, &old.body, 0..2 * BLOCK);
    shelf.overwrite(&new);
    assert_part(&watched.gateway, &new.body, 4 * BLOCK..5 * BLOCK);
    assert_part(&watched.gateway, &new.body, 0..2 * BLOCK);
}

#[test]
fn an_answer_from_cached_blocks_is_cut_when_the_next_block_has_changed() {
    for knows_if_match in [true, false] {
        let [old, new] = versions();
        let shelf = Shelf::with(&old);
        if !knows_if_match {
            shelf.now_by(Version::answer_unconditionally);
        }
        let watched = Watched::start(in_blocks(&shelf.url()).tolerate("upstream_cut"));
        assert_part_of(&watched.gateway, &old, 0..2 * BLOCK);
        watched.await_fetches_done();
        shelf.overwrite(&new);
        let answer = get_range(&watched.gateway, &format!("bytes=10-{}", 4 * BLOCK - 1));
        assert_eq!((answer.status(), answer.ending), (206, Ending::Cut), "{knows_if_match}");
        assert_eq!(answer.header("etag"), Some(old.etag.as_str()));
        assert!(answer.body.len() <= 2 * BLOCK && old.has(10, &answer.body), "no new bytes");
        let line = watched.gateway.line_of(&answer);
        assert_eq!(
            (&line["cause"], &line["severity"]),
            (&json!("upstream_cut"), &json!("warning"))
        );
        let again = get_range(&watched.gateway, &format!("bytes=10-{}", 4 * BLOCK - 1));
        assert_is_part(&again, &new.body, 10..4 * BLOCK);
        assert_eq!(again.header("etag"), Some(new.etag.as_str()));
        assert_eq!(watched.counter("versions_dropped"), 1);
    }
}

#[test]
fn an_answer_that_has_begun_ends_with_its_version() {
    let length = 64 * BLOCK;
    let [old, new] = [Version::new(1, length), Version::new(2, length)];
    let shelf = Shelf::with(&old);
    let setup = in_blocks(&shelf.url()).env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "256KiB");
    let watched = Watched::start(setup.tolerate("upstream_cut"));
    let gate = Gate::new();
    let held = gate.clone();
    // The first answer ends with the version it began with, as at a real store.
    shelf.now_by(move |version, request| {
        super::held_back(version.answer(request), BLOCK + 10, &held)
    });
    let mut client = watched.gateway.connect();
    client.request("GET", PATH, &[]);
    let head = client.head().expect("a head");
    assert_eq!((head.status, head.header("etag")), (200, Some(old.etag.as_str())));
    assert!(client.fill_to(BLOCK + 10));
    shelf.overwrite(&new);
    gate.open();
    let (body, ending) = client.body(&head, "GET");
    assert_eq!(ending, Ending::Whole);
    assert!(*old.body == body, "bytes of another version");
    watched.await_fetches_done();
    // The old version is served while it is fresh.
    let again = watched.gateway.get(PATH);
    assert_whole(&again, &old.body);
    assert_eq!(again.header("etag"), Some(old.etag.as_str()));
}

#[test]
fn a_deleted_object_is_missing_once_a_block_must_be_fetched() {
    let [old, _] = versions();
    let shelf = Shelf::with(&old);
    let watched = Watched::start(in_blocks(&shelf.url()));
    assert_part_of(&watched.gateway, &old, 0..BLOCK);
    // The reader may receive its bytes before the block is cached.
    watched.await_fetches_done();
    shelf.now_by(|_, _| faulty::s3_error(404, "NoSuchKey"));
    assert_hit(&assert_part_of(&watched.gateway, &old, 0..BLOCK), 1);
    assert_eq!(get_range(&watched.gateway, "bytes=70000-70001").status(), 404);
    assert_eq!(get_range(&watched.gateway, "bytes=0-1").status(), 404, "and no old bytes");
}

#[test]
fn a_store_that_leaves_the_tag_off_its_parts_is_not_trusted_with_blocks() {
    let [version, _] = versions();
    let without_tag = |version: &Version, request: &faulty::Recorded| {
        let mut steps = version.answer(request);
        if let (Some(_), Some(Step::Send(head))) = (request.header("range"), steps.first_mut()) {
            let text =
                String::from_utf8_lossy(head).replace(&format!("ETag: {}\r\n", version.etag), "");
            *head = text.into_bytes();
        }
        steps
    };
    for head_first in [false, true] {
        let shelf = Shelf::with(&version);
        shelf.now_by(without_tag);
        let watched = Watched::start(in_blocks(&shelf.url()));
        if head_first {
            assert_eq!(watched.gateway.send("HEAD", PATH, &[]).status(), 200);
        }
        for _ in 0..2 {
            shelf.asked();
            assert_part(&watched.gateway, &version.body, BLOCK + 5..BLOCK + 50);
            let asked = shelf.asked();
            assert!(asked.len() <= 3, "{asked:?}");
        }
        assert_eq!(watched.counter("block_entries"), 0, "no block is known to be of this version");
    }
}

#[test]
fn a_stale_object_is_revalidated_by_head_and_its_blocks_stay() {
    let [old, new] = versions();
    let shelf = Shelf::with(&old);
    let watched = Watched::start(never_fresh(&shelf.url()));
    let gateway = &watched.gateway;
    assert_part_of(gateway, &old, 0..2 * BLOCK);
    watched.await_fetches_done();
    shelf.asked();
    let confirmed = assert_part_of(gateway, &old, 5..2 * BLOCK);
    let said = "s3proxy; fwd=stale; fwd-status=304; ttl=0; stored; detail=\"memory=2\"";
    assert_eq!(status(&confirmed), said);
    assert_eq!(shelf.asked(), [format!("HEAD !={}", old.etag)]);
    assert_eq!(gateway.send("HEAD", PATH, &[]).status(), 200);
    assert_eq!(shelf.asked(), [format!("HEAD !={}", old.etag)]);
    shelf.overwrite(&new);
    let changed = assert_part_of(gateway, &new, 5..2 * BLOCK);
    assert!(status(&changed).starts_with("s3proxy; fwd=stale; fwd-status=200"), "{changed:?}");
    watched.await_fetches_done();
    assert_eq!(shelf.asked(), [format!("HEAD !={}", old.etag), of_version(0..2, &new.etag)]);
    assert_part_of(gateway, &new, 5..2 * BLOCK);
    assert_eq!(shelf.asked(), [format!("HEAD !={}", new.etag)]);
    assert_eq!(watched.counter("versions_dropped"), 1);
}
