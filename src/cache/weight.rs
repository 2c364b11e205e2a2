//! The memory that entries take besides their bodies, estimated.

use pingora::http::ResponseHeader;

use crate::cache::key::CacheKey;

/// Bytes of an entry besides its key, its headers and its body: the entry, its place in the tier.
const OVERHEAD: u64 = 400;
/// Bytes of a header besides its name and value.
const HEADER_OVERHEAD: usize = 72;

/// The largest weight of an entry without its body, bytes: Pingora accepts no larger head.
pub(super) const MAX_WITHOUT_BODY: u64 = 64 * 1024;

/// The memory that an entry without head and body takes, bytes.
#[must_use]
pub(super) fn entry_weight(key: &CacheKey) -> u64 {
    OVERHEAD + key.as_bytes().len() as u64
}

/// The memory that a head takes, with its lines as they are sent, bytes.
#[must_use]
pub(super) fn head_weight(head: &ResponseHeader) -> u64 {
    let headers = head.headers.iter();
    let held =
        headers.map(|(name, value)| 2 * (name.as_str().len() + value.len()) + HEADER_OVERHEAD);
    held.sum::<usize>() as u64
}
