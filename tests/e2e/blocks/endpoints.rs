//! Two endpoints whose copies of an object may differ, as those of multipart uploads do: no answer holds bytes
//! of two copies, whether the object passes, is cached whole or in blocks.

use serde_json::json;

use crate::blocks::{BLOCK, PATH, Shelf, Version, assert_part, assert_whole, get_range, in_blocks};
use crate::client::{Answer, Ending};
use crate::crowd::Watched;
use crate::endpoints::at;
use crate::faulty::{Gate, Step};
use crate::gateway::Setup;

const LENGTH: usize = 10 * BLOCK + 500;

/// Nothing is cached, all is cached whole, all is cached in blocks.
const ROADS: [(&str, &str, &str); 3] =
    [("passing", "0", "64MiB"), ("whole", "64MiB", "16MiB"), ("in blocks", "64MiB", "1000")];

fn between(shelves: &[Shelf; 2], memory: &str, max_object: &str) -> Setup {
    at(&[&shelves[0].url(), &shelves[1].url()], memory)
        .env("S3PROXY_CACHE_MAX_OBJECT", max_object)
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "0")
        .tolerate("upstream_")
        .tolerate("ended before")
}

fn two(second: &Version) -> ([Version; 2], [Shelf; 2]) {
    let first = Version::new(1, LENGTH);
    let shelves = [Shelf::with(&first), Shelf::with(second)];
    ([first, second.clone()], shelves)
}

fn dies(shelf: &Shelf) {
    shelf.now_by(|_, _| vec![Step::Reset]);
}

fn lives(shelf: &Shelf) {
    shelf.now_by(Version::answer);
}

/// Sends the first third of each body, and resets the connection when the gate opens; does not answer again.
fn breaks_off(shelf: &Shelf, gate: &Gate) {
    let gate = gate.clone();
    let first = std::sync::atomic::AtomicBool::new(true);
    shelf.now_by(move |version, request| {
        if !first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return vec![Step::Reset];
        }
        let mut steps = version.answer(request);
        if let Some(Step::Send(body)) = steps.last_mut() {
            body.truncate(LENGTH / 3);
        }
        steps.extend([Step::Wait(gate.clone()), Step::Reset]);
        steps
    });
}

#[test]
fn a_body_of_one_copy_never_goes_on_with_bytes_of_another() {
    for (road, memory, max_object) in ROADS {
        let (versions, shelves) = two(&Version::new(2, LENGTH));
        let gate = Gate::new();
        gate.open();
        breaks_off(&shelves[0], &gate);
        let gateway = between(&shelves, memory, max_object).start();
        let answer = gateway.get(PATH);
        let what = format!("{road}: {} bytes, {:?}", answer.body.len(), answer.ending);
        assert_eq!(answer.ending, Ending::Cut, "{what}");
        assert_eq!(answer.header("etag"), Some(versions[0].etag.as_str()), "{what}");
        assert!(versions[0].has(0, &answer.body), "{what}: other bytes");
        let asked = shelves[1].asked();
        let names_the_version = |line: &String| line.ends_with(&format!("={}", versions[0].etag));
        assert!(asked.iter().any(names_the_version), "{what}: {asked:?}");
        // The first endpoint is gone: the next answer is the other copy, all of it.
        assert_whole(&gateway.get(PATH), &versions[1].body);
    }
}

#[test]
fn a_body_goes_on_at_the_other_endpoint_if_the_copies_are_the_same() {
    for (road, memory, max_object) in ROADS {
        let (versions, shelves) = two(&Version::new(1, LENGTH));
        let gate = Gate::new();
        gate.open();
        breaks_off(&shelves[0], &gate);
        let gateway = between(&shelves, memory, max_object).start();
        let answer = gateway.get(PATH);
        assert_whole(&answer, &versions[0].body);
        let asked = shelves[1].asked();
        assert!(asked.iter().all(|line| line.ends_with(&versions[0].etag)), "{road}: {asked:?}");
        assert!(!asked.is_empty(), "{road}");
    }
}

fn assert_part_of(answer: &Answer, version: &Version) {
    assert_eq!(answer.header("etag"), Some(version.etag.as_str()));
}

#[test]
fn blocks_of_two_copies_never_mix() {
    // And of another length.
    let ([first, second], shelves) = two(&Version::new(2, LENGTH + 3000));
    let watched = Watched::start(between(&shelves, "64MiB", "1000"));
    let gateway = &watched.gateway;
    assert_part_of(&assert_part(gateway, &first.body, 0..2 * BLOCK), &first);
    watched.await_fetches_done();
    dies(&shelves[0]);
    // What is cached is that of the first endpoint as long as it is fresh.
    assert_part_of(&assert_part(gateway, &first.body, 9..BLOCK), &first);
    for part in [4 * BLOCK + 7..5 * BLOCK + 7, 0..2 * BLOCK, 0..second.body.len()] {
        assert_part_of(&assert_part(gateway, &second.body, part), &second);
    }
    assert_whole(&gateway.get(PATH), &second.body);
    let several = get_range(gateway, "bytes=0-9,300000-300009");
    assert_eq!((several.status(), several.ending), (206, Ending::Whole));
    let has = |part: std::ops::Range<usize>| {
        several.body.windows(part.len()).any(|bytes| *bytes == second.body[part.clone()])
    };
    assert!(has(0..10) && has(300_000..300_010));
}

/// The first endpoint is back with its own copy while that of the second is read: the rest of the copy comes
/// from where it is.
#[test]
fn a_copy_of_the_second_endpoint_is_read_to_its_end_when_the_first_is_back() {
    let ([_, second], shelves) = two(&Version::new(2, LENGTH));
    dies(&shelves[0]);
    let watched = Watched::start(between(&shelves, "64MiB", "1000"));
    let gateway = &watched.gateway;
    assert_part_of(&assert_part(gateway, &second.body, 0..2 * BLOCK), &second);
    watched.await_fetches_done();
    lives(&shelves[0]);
    assert_part_of(&assert_part(gateway, &second.body, 4 * BLOCK..5 * BLOCK), &second);
    assert_whole(&gateway.get(PATH), &second.body);
}

#[test]
fn a_stale_copy_is_replaced_as_a_whole() {
    let ([first, second], shelves) = two(&Version::new(2, LENGTH));
    let setup = in_blocks(&shelves[0].url()).without("S3_ENDPOINT_URL").yaml(json!({
        "default_profile": {"endpoints": [shelves[0].url(), shelves[1].url()]},
        "cache": {"ttl": 0, "stale_while_revalidate": 0, "stale_if_error": 0},
    }));
    let watched = Watched::start(setup.tolerate("the breaker of endpoint"));
    let gateway = &watched.gateway;
    assert_part_of(&assert_part(gateway, &first.body, 0..2 * BLOCK), &first);
    watched.await_fetches_done();
    dies(&shelves[0]);
    assert_part_of(&assert_part(gateway, &second.body, BLOCK..3 * BLOCK), &second);
    lives(&shelves[0]);
    let answer = get_range(gateway, &format!("bytes=0-{}", BLOCK - 1));
    let version = [&first, &second].into_iter().find(|it| it.has(0, &answer.body));
    assert_eq!(answer.header("etag"), version.map(|it| it.etag.as_str()));
}
