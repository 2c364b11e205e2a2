//! Ranges as RFC 9110, section 14, requires: one table of requests, sent to gateways in every cache
//! state an object can have.

mod conditions;
pub(crate) mod judge;
mod multipart;
pub(crate) mod rows;

use std::collections::BTreeMap;

use crate::cached::{status, with_cache};
use crate::client::{Answer, Client};
use crate::gateway::{Gateway, Setup};
use crate::origin::{Manners, Origin};
use crate::ranges::judge::{Object, OfSeveral, judge};
use crate::ranges::rows::{BLOCK, Expected, Row, rows};

/// The parts of an object that are cached when it is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Nothing: each row has an object of its own.
    Nothing,
    /// The parts that earlier rows have left.
    Some,
    /// Everything that can be cached: the object has been fetched whole.
    All,
}

/// The state in which rows are requested.
struct State {
    setup: fn(&str) -> Setup,
    kept: Kept,
    several: OfSeveral,
    /// The store receives no request.
    answered_from_cache: bool,
}

/// A cache that stores only one-byte objects whole.
fn with_blocks(store: &str) -> Setup {
    with_cache(store)
        .env("S3PROXY_CACHE_MAX_OBJECT", "1")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", &BLOCK.to_string())
}

const OFF: State = State {
    setup: Setup::new,
    kept: Kept::Nothing,
    several: OfSeveral::Ignored,
    answered_from_cache: false,
};

const COLD: State = State {
    setup: with_cache,
    kept: Kept::Nothing,
    several: OfSeveral::Served,
    answered_from_cache: false,
};

const WARM: State = State {
    setup: with_cache,
    kept: Kept::All,
    several: OfSeveral::Served,
    answered_from_cache: true,
};

const LARGE_COLD: State = State { setup: with_blocks, ..COLD };

const LARGE_IN_PART: State = State { kept: Kept::Some, ..LARGE_COLD };

const LARGE_WARM: State = State { kept: Kept::All, answered_from_cache: true, ..LARGE_COLD };

/// Bytes without a period, so that no part equals another.
fn body(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A gateway in a state, its store, and the objects that were requested.
struct Run {
    origin: Origin,
    gateway: Gateway,
    client: Client,
    objects: BTreeMap<String, Object>,
    wrong: Vec<String>,
}

impl Run {
    fn start(setup: fn(&str) -> Setup, manners: Manners) -> Self {
        let origin = Origin::with(manners);
        let gateway = setup(&origin.url()).start();
        let client = gateway.connect();
        Self { origin, gateway, client, objects: BTreeMap::new(), wrong: Vec::new() }
    }

    fn put(&mut self, key: &str, length: u64) {
        if !self.objects.contains_key(key) {
            let body = body(length);
            let etag = self.origin.put(key, body.clone());
            self.objects.insert(key.to_owned(), Object { etag, body });
        }
    }

    /// One connection for all: an answer with a wrong length would break the framing of the next
    /// one.
    fn ask(&mut self, row: &Row, key: &str) -> Option<Answer> {
        let etag = self.objects.get(key).map_or("", |object| object.etag.as_str());
        let filled: Vec<_> =
            row.headers.iter().map(|(name, value)| (*name, value.replace("ETAG", etag))).collect();
        let filled: Vec<_> = filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.client.request(row.method, &format!("/s3proxy/s3/sky/{key}"), &filled);
        let answer = self.client.answer(row.method);
        let ends = |answer: &Answer| {
            answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
        };
        if answer.as_ref().is_none_or(ends) {
            self.client = self.gateway.connect();
        }
        answer
    }

    /// Sends the request, and records errors in the answer.
    fn check(&mut self, row: &Row, key: &str, state: &State) {
        let judged = match (self.ask(row, key), self.objects.get(key)) {
            (Some(answer), Some(object)) => {
                judge(&answer, row.method, object, &row.expected, state.several).and_then(|()| {
                    let hit = status(&answer).starts_with("s3proxy; hit");
                    let may = hit || !state.answered_from_cache;
                    if may { Ok(()) } else { Err(status(&answer).to_owned()) }
                })
            }
            _ => Err("closed without notice".to_owned()),
        };
        if let Err(why) = judged {
            let Row { method, length, headers, expected } = row;
            let mut line = format!("{method} {key}, {length} bytes, {headers:?}: {why}");
            line.push_str(&format!(" (expected {expected:?})"));
            line.truncate(400);
            self.wrong.push(line);
        }
    }
}

fn whole(length: u64) -> Row {
    Row { method: "GET", length, headers: Vec::new(), expected: Expected::Whole }
}

fn check(state: &State) {
    for manners in [Manners::rgw(), Manners::aws()] {
        let mut run = Run::start(state.setup, manners);
        let rows = rows(state.several == OfSeveral::Served);
        let key = |number: usize, row: &Row| match state.kept {
            Kept::Nothing => format!("{number}.png"),
            Kept::Some | Kept::All => format!("of-{}.png", row.length),
        };
        for (number, row) in rows.iter().enumerate() {
            run.put(&key(number, row), row.length);
        }
        let objects: Vec<_> = run
            .objects
            .iter()
            .map(|(key, object)| (key.clone(), whole(object.body.len() as u64)))
            .collect();
        if state.kept == Kept::All {
            let not_yet = State { answered_from_cache: false, ..*state };
            objects.iter().for_each(|(key, whole)| run.check(whole, key, &not_yet));
            run.origin.clear();
        }
        for (number, row) in rows.iter().enumerate() {
            run.check(row, &key(number, row), state);
        }
        // No request has left a wrong entry behind.
        objects.iter().for_each(|(key, whole)| run.check(whole, key, state));
        let wrong = &run.wrong;
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
        if state.answered_from_cache {
            assert_eq!(run.origin.count(), 0, "{:?}", run.origin.requests());
        }
    }
}

#[test]
fn ranges_without_a_cache() {
    check(&OFF);
}

#[test]
fn ranges_of_objects_that_are_not_cached() {
    check(&COLD);
}

#[test]
fn ranges_of_objects_that_are_cached_whole() {
    check(&WARM);
}

#[test]
fn ranges_of_large_objects_that_are_not_cached() {
    check(&LARGE_COLD);
}

#[test]
fn ranges_of_large_objects_after_other_ranges() {
    check(&LARGE_IN_PART);
}

#[test]
fn ranges_of_large_objects_that_were_read_whole() {
    check(&LARGE_WARM);
}

/// A judge that accepts every answer would make all these tests useless.
#[test]
fn the_judge_detects_wrong_answers() {
    let origin = Origin::with(Manners::aws());
    let object = Object { etag: origin.put("a.png", body(10)), body: body(10) };
    let other = Object { etag: object.etag.clone(), body: vec![0; 10] };
    let gateway = with_cache(&origin.url()).start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    let verdict = |range: &str, object: &Object, expected: Expected| {
        let answer = gateway.object_with("sky/a.png", &[("Range", range)]);
        judge(&answer, "GET", object, &expected, OfSeveral::Served)
    };
    let two = |parts: [(u64, u64); 2]| Expected::Several(parts.to_vec());
    for (range, right, wrong) in [
        ("bytes=0-3", Expected::Part(0, 3), Expected::Part(0, 4)),
        ("bytes=0-3", Expected::Part(0, 3), Expected::Whole),
        ("bytes=x", Expected::Whole, Expected::Part(0, 9)),
        ("bytes=10-", Expected::Unsatisfiable, Expected::Whole),
        ("bytes=0-1,4-5", two([(0, 1), (4, 5)]), two([(0, 1), (4, 6)])),
        ("bytes=0-1,4-5", two([(0, 1), (4, 5)]), two([(4, 5), (0, 1)])),
        ("bytes=0-1,2-5", Expected::Several(vec![(0, 5)]), two([(0, 1), (2, 5)])),
    ] {
        assert_eq!(verdict(range, &object, right.clone()), Ok(()), "{range}");
        assert!(verdict(range, &object, wrong).is_err(), "{range}");
        let has_bytes = right != Expected::Unsatisfiable;
        assert_eq!(verdict(range, &other, right).is_err(), has_bytes, "{range}");
    }
}
