//! Requests of readers of large files: at block boundaries, at random, and sequential.

use crate::ask::{Ask, Asked, Condition};
use crate::history::Version;
use crate::world::{BLOCK, edge};

/// One request, or several in a row.
pub(crate) fn some_asks(newest: &Version, older: &Version, random: &mut fastrand::Rng) -> Vec<Ask> {
    let length = newest.body.len() as u64;
    let ask = match random.u32(..100) {
        0..9 => Ask::get(Vec::new(), Condition::None),
        9..17 => Ask::head(Condition::None),
        17..58 => Ask::get(vec![some_range(length, random)], Condition::None),
        58..70 => Ask::get(some_ranges(length, random), Condition::None),
        70..80 => {
            let ranges = match random.u32(..4) {
                0 => some_ranges(length, random),
                _ => vec![some_range(length, random)],
            };
            Ask::get(ranges, Condition::IfRangeTag(some_tag(older, random)))
        }
        80..87 => {
            let tags = vec!["\"another\"".to_owned(), older.etag.clone()];
            match random.u32(..3) {
                0 => Ask::head(Condition::NoneMatch(tags)),
                1 => Ask::get(vec![some_range(length, random)], Condition::NoneMatch(tags)),
                _ => Ask::get(Vec::new(), Condition::NoneMatch(tags)),
            }
        }
        87..97 => {
            let ranges = match random.u32(..4) {
                0 | 1 => Vec::new(),
                2 => vec![some_range(length, random)],
                _ => some_ranges(length, random),
            };
            let mut ask = Ask::get(ranges, Condition::None);
            ask.abort_after = Some(random.usize(..newest.body.len() + 1));
            ask
        }
        _ => return in_a_row(length, random),
    };
    vec![ask]
}

/// Sequential reads, with a small gap or overlap now and then.
fn in_a_row(length: u64, random: &mut fastrand::Rng) -> Vec<Ask> {
    let mut at = random.u64(..=length / 2);
    let step = random.u64(1..=BLOCK + BLOCK / 2);
    let mut asks = Vec::new();
    for _ in 0..random.usize(4..24) {
        if at >= length {
            break;
        }
        asks.push(Ask::get(vec![Asked::Between(at, at + step - 1)], Condition::None));
        at += step;
        at = match random.u32(..8) {
            0 => at + random.u64(..BLOCK / 20),
            1 => at.saturating_sub(random.u64(..BLOCK / 20)),
            _ => at,
        };
    }
    asks
}

fn some_tag(older: &Version, random: &mut fastrand::Rng) -> String {
    match random.u32(..6) {
        0 => "\"another\"".to_owned(),
        1 => format!("W/{}", older.etag),
        _ => older.etag.clone(),
    }
}

fn some_ranges(length: u64, random: &mut fastrand::Rng) -> Vec<Asked> {
    (0..random.usize(2..6)).map(|_| some_range(length, random)).collect()
}

/// A position in an object, often at a block boundary, now and then beyond the end.
fn some_place(length: u64, random: &mut fastrand::Rng) -> u64 {
    match random.u32(..8) {
        0 => 0,
        1 => (length + random.u64(..3)).saturating_sub(2),
        2..5 => edge(random.u64(..=length / BLOCK + 1), random),
        _ => random.u64(..length + length / 20 + 1),
    }
}

fn some_range(length: u64, random: &mut fastrand::Rng) -> Asked {
    let place = some_place(length, random);
    match random.u32(..100) {
        0..20 => Asked::Between(place, place),
        20..40 => {
            let first = place / BLOCK * BLOCK;
            Asked::Between(first, first + random.u64(1..9) * BLOCK - 1)
        }
        40..65 => Asked::Between(place, place + random.u64(..4 * BLOCK)),
        65..75 => Asked::Between(place, some_place(length, random).max(place)),
        75..85 => Asked::From(place),
        85..98 => Asked::Last(match random.u32(..4) {
            0 => length + random.u64(..3),
            1 => 1 + random.u64(..100),
            2 => edge(1 + random.u64(..8), random),
            _ => place + 1,
        }),
        98 => Asked::Last(0),
        _ => Asked::Between(length + BLOCK, length + 2 * BLOCK),
    }
}
