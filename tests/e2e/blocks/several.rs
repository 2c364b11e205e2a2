//! Several ranges, `If-Range`, and ranges beyond the end of the object.

use crate::blocks::{
    BLOCK, PATH, Shelf, Version, asked_of, assert_hit, assert_is_part, assert_part, assert_whole,
    blocks, get_range, in_blocks, in_order, of_version,
};
use crate::cached::status;
use crate::crowd::{Watched, numbered};
use crate::origin::Origin;
use crate::ranges::judge::{Object, OfSeveral, judge};
use crate::ranges::rows::Expected;

const LENGTH: usize = 20 * BLOCK + 1;

struct Stage {
    shelf: Shelf,
    watched: Watched,
    version: Version,
}

impl Stage {
    fn new() -> Self {
        let version = Version::new(1, LENGTH);
        let shelf = Shelf::with(&version);
        let watched = Watched::start(in_blocks(&shelf.url()));
        Self { shelf, watched, version }
    }

    fn asked(&self) -> Vec<String> {
        self.watched.await_fetches_done();
        in_order(self.shelf.asked())
    }
}

#[test]
fn several_ranges_cost_the_blocks_they_touch() {
    let origin = Origin::start();
    let body = numbered(LENGTH);
    let etag = origin.put("big.png", body.clone());
    let watched = Watched::start(in_blocks(&origin.url()));
    let parts = vec![(0, 9), (3 * BLOCK as u64 - 5, 3 * BLOCK as u64 + 5), (1_000_000, 1_000_009)];
    let list: Vec<String> = parts.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let list = format!("bytes={}", list.join(","));
    let object = Object { etag: etag.clone(), body };
    for cold in [true, false] {
        let answer = get_range(&watched.gateway, &list);
        let expected = Expected::Several(parts.clone());
        assert_eq!(judge(&answer, "GET", &object, &expected, OfSeveral::Served), Ok(()));
        watched.await_fetches_done();
        let asked = in_order(asked_of(&origin));
        origin.clear();
        if cold {
            let expected = [
                format!("GET {}", blocks(0..1)),
                of_version(2..4, &etag),
                of_version(15..16, &etag),
            ];
            assert_eq!(asked, expected);
        } else {
            assert_hit(&answer, 4);
            assert_eq!(asked, Vec::<String>::new());
        }
    }
}

#[test]
fn if_range_decides_between_the_part_and_the_whole() {
    for cold in [true, false] {
        for (tag, holds) in
            [("\"version-1\"", true), ("\"other\"", false), ("W/\"version-1\"", false)]
        {
            let stage = Stage::new();
            let gateway = &stage.watched.gateway;
            if !cold {
                assert_part(gateway, &stage.version.body, 0..1);
                stage.asked();
            }
            let headers = [("Range", "bytes=5-70000"), ("If-Range", tag)];
            let answer = gateway.send("GET", PATH, &headers);
            let asked = stage.asked();
            if holds {
                assert_is_part(&answer, &stage.version.body, 5..70_001);
                let missing = if cold {
                    format!("GET {}", blocks(0..2))
                } else {
                    of_version(1..2, &stage.version.etag)
                };
                assert_eq!(asked, [missing], "{tag}");
            } else {
                assert_whole(&answer, &stage.version.body);
                let lengths = super::stretches(&asked);
                let fetched: usize = lengths.iter().map(|part| part.len()).sum();
                assert_eq!(fetched, if cold { LENGTH } else { LENGTH - BLOCK }, "{tag}: {asked:?}");
            }
        }
    }
}

#[test]
fn a_range_beyond_the_end_is_answered_with_the_length() {
    let beyond = format!("bytes={}-", LENGTH + 5 * BLOCK);
    let place = format!("bytes */{LENGTH}");
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    let first = get_range(gateway, &beyond);
    assert_eq!((first.status(), first.header("content-range")), (416, Some(place.as_str())));
    let asked = stage.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.contains(&"HEAD".to_owned()), "{asked:?}");
    for range in [&beyond, "bytes=1310721-", "bytes=-0", "bytes=9999999-10000000,5555555-"] {
        let again = get_range(gateway, range);
        assert_eq!(again.status(), 416, "{range}");
        assert_eq!(again.header("content-range"), Some(place.as_str()), "{range}");
        assert!(status(&again).starts_with("s3proxy; hit"), "{range}: {}", status(&again));
    }
    assert_eq!(stage.asked(), Vec::<String>::new());
    // The metadata that was fetched is reused.
    assert_part(gateway, &stage.version.body, 10..20);
    assert_eq!(stage.asked(), [of_version(0..1, &stage.version.etag)]);
}

#[test]
fn conditions_come_before_a_range_beyond_the_end() {
    let beyond = format!("bytes={}-", LENGTH + 5 * BLOCK);
    for (name, tag, expected) in [
        ("If-None-Match", "\"version-1\"", 304),
        ("If-Match", "\"other\"", 412),
        ("If-None-Match", "\"other\"", 416),
        ("If-Range", "\"other\"", 200),
    ] {
        let stage = Stage::new();
        for _ in 0..2 {
            let headers = [("Range", beyond.as_str()), (name, tag)];
            let answer = stage.watched.gateway.send("GET", PATH, &headers);
            assert_eq!(answer.status(), expected, "{name}: {tag}");
            if expected == 200 {
                assert_whole(&answer, &stage.version.body);
            }
        }
    }
}

/// The last block, which has one byte, and a block that does not exist.
#[test]
fn ranges_at_the_end_of_an_object_are_exact() {
    let stage = Stage::new();
    let gateway = &stage.watched.gateway;
    assert_part(gateway, &stage.version.body, LENGTH - 1..LENGTH);
    assert_eq!(stage.asked(), [format!("GET {}", blocks(20..21))]);
    let answer = get_range(gateway, &format!("bytes={}-{}", LENGTH - 2, LENGTH + 1_000_000));
    assert_is_part(&answer, &stage.version.body, LENGTH - 2..LENGTH);
    assert_eq!(stage.asked(), [of_version(19..20, &stage.version.etag)]);
    assert_eq!(get_range(gateway, &format!("bytes={LENGTH}-")).status(), 416);
    assert_eq!(stage.asked(), Vec::<String>::new());
}
