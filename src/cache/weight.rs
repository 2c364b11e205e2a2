//! The memory that entries take, so that the budget bounds the process: with small objects most of it is
//! not the body.

use http::HeaderMap;
use pingora::http::ResponseHeader;

use crate::cache::blocks::object::Blocks;
use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::cache::object::Object;
use crate::cache::stored_head::StoredHead;

/// Bytes of an entry's place in the tier: a slot with its key, and its part of the table of places. Both
/// grow by doubling, so that on average a half more is allocated than is used.
const PLACE: u64 = 120;
/// Bytes of an allocation that counts its owners: `Arc`, and the shared form of `Bytes`.
const COUNTED: u64 = 32;
/// Bytes of a `Bytes` within a list.
const LISTED: u64 = 32;
/// Bytes of a header within a `HeaderMap`, with its part of the table of hashes.
const HEADER: u64 = 110;
/// The largest allocation that is rounded up to a size class. Larger ones are rounded up, too; the part of
/// the budget that the tier leaves free is enough for that.
const LARGEST_CLASS: u64 = 64 * 1024;

/// The largest weight of an entry without its body, bytes: Pingora accepts no larger head.
pub(super) const MAX_WITHOUT_BODY: u64 = 64 * 1024;

/// The memory that an allocation of this many bytes takes: allocators have four size classes between two
/// powers of two.
#[must_use]
pub(super) fn allocated(bytes: u64) -> u64 {
    if bytes > LARGEST_CLASS {
        return bytes;
    }
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16))
}

/// The memory that a value takes with the count of its owners, bytes.
const fn shared<T>() -> u64 {
    (size_of::<T>() + 2 * size_of::<usize>()) as u64
}

/// The memory that an entry without head and body takes, bytes.
#[must_use]
pub(super) fn entry_weight(key: &CacheKey) -> u64 {
    let held = COUNTED;
    let key = allocated(key.as_bytes().len() as u64) + COUNTED;
    PLACE + allocated(shared::<Entry>()) + held + key
}

/// The memory that an object with this head takes besides its entry, bytes; `body` is its length.
#[must_use]
pub(super) fn object_weight(head: &ResponseHeader, lifetime: &HeaderMap, body: u64) -> u64 {
    weight_with(StoredHead::weight_of(head, lifetime), body)
}

/// The same for a head that is stored.
#[must_use]
pub(super) fn stored_weight(head: &StoredHead, body: u64) -> u64 {
    weight_with(head.weight(), body)
}

fn weight_with(head: u64, body: u64) -> u64 {
    allocated(shared::<Object>()) + head + COUNTED + body_weight(body)
}

/// The memory that a body takes, bytes.
fn body_weight(length: u64) -> u64 {
    let pieces = length.div_ceil(super::body::PIECE);
    allocated(length) + pieces * (LISTED + COUNTED)
}

/// The memory that the head of an object in blocks takes besides its entry, bytes.
#[must_use]
pub(super) fn head_weight(head: &ResponseHeader, lifetime: &HeaderMap) -> u64 {
    allocated(shared::<Blocks>()) + map_weight(&head.headers) + map_weight(lifetime)
}

fn map_weight(headers: &HeaderMap) -> u64 {
    let values = headers.values().map(|value| allocated(value.len() as u64) + COUNTED);
    headers.capacity() as u64 * HEADER + values.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_rounded_up_to_their_size_class() {
        for (bytes, taken) in [
            (0, 0),
            (1, 16),
            (17, 32),
            (200, 224),
            (2049, 2560),
            (4096, 4096),
            (4097, 5120),
            (65_536, 65_536),
            (65_537, 65_537),
        ] {
            assert_eq!(allocated(bytes), taken, "{bytes}");
        }
    }
}
