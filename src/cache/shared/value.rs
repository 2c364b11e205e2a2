//! The format of a value in the engine: an envelope, then a record as on disk (`cache/disk/record.rs`), whose
//! checksums cover every byte of it. Its times are those of the engine's clock.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, with the version of this format |
//! | 8 | 8 | kind: object, negative or tombstone; the rest is zero |
//! | 16 | 16 | when the request was sent to the store: milliseconds, in decimal digits, which a script compares |
//! | 32 | 16 | the last purge that was known then (little-endian, as in a record) |
//! | 48 | 32 | HMAC-SHA256 of all other bytes; zero without a key |
//! | 80 | | record |
//!
//! The key of the record is compared with the key that is looked up, so that no value is taken for another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::cache::body::{self, StoredBody};
use crate::cache::disk::DiskRecord;
use crate::cache::disk::record::{Damage, RecordHead, head_bytes, head_length, micros};
use crate::cache::key::CacheKey;
use crate::engine::StreamId;
use crate::s3::secret::Secret;

const MAGIC: [u8; 8] = *b"s3share1";
const KIND_AT: usize = 8;
/// Where the time of the request lies, and how long it is: [`super::script`] reads it.
pub(super) const REQUESTED_AT: usize = 16;
pub(super) const DIGITS: usize = 16;
const PURGE_AT: usize = 32;
const MAC_AT: usize = 48;
const MAC: usize = 32;
const ENVELOPE: usize = MAC_AT + MAC;

/// Bytes of a value besides its body, at most: envelope, key, headers, checksums.
pub(super) const MAX_OVERHEAD: u64 = 512 << 10;

/// What a value says about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum ValueKind {
    /// The object, the head of one in blocks, or a block.
    Object,
    /// There is no such object.
    Negative,
    /// Nothing, and no answer to an earlier request may take its place.
    Tombstone,
}

impl ValueKind {
    fn number(self) -> u8 {
        match self {
            Self::Object => 0,
            Self::Negative => 1,
            Self::Tombstone => 2,
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::Object, Self::Negative, Self::Tombstone].into_iter().find(|it| it.number() == number)
    }
}

/// A value that is right in every byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedValue {
    pub(super) kind: ValueKind,
    /// The last purge that the writer knew when it sent its request to the store.
    pub(super) purge: StreamId,
    /// Its times are those of the engine's clock.
    pub(super) record: DiskRecord,
}

/// The key that values are authenticated with.
pub(super) struct MacKey(Hmac<Sha256>);

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

impl MacKey {
    /// The key of this secret; `None` never happens, since a key may have any length.
    pub(super) fn new(secret: &Secret) -> Option<Self> {
        Hmac::new_from_slice(secret.expose().as_bytes()).ok().map(Self)
    }

    fn over(&self, value: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(value.get(..MAC_AT).unwrap_or_default());
        mac.update(value.get(ENVELOPE..).unwrap_or_default());
        mac
    }
}

impl SharedValue {
    /// The bytes of the value; `None` if it is too large.
    pub(super) fn encode(&self, mac: Option<&MacKey>) -> Option<Vec<u8>> {
        let head = head_bytes(&self.record, UNIX_EPOCH)?;
        let length = usize::try_from(self.record.body.len()).ok()?;
        let mut bytes = Vec::with_capacity(ENVELOPE + head.len() + length);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&u64::from(self.kind.number()).to_le_bytes());
        let requested_at = micros(self.record.requested_at) / 1000;
        bytes.extend_from_slice(format!("{requested_at:0DIGITS$}").as_bytes());
        bytes.extend_from_slice(&self.purge.0.to_le_bytes());
        bytes.extend_from_slice(&self.purge.1.to_le_bytes());
        bytes.extend_from_slice(&[0; MAC]);
        if bytes.len() != ENVELOPE {
            return None;
        }
        bytes.extend_from_slice(&head);
        for piece in self.record.body.pieces() {
            bytes.extend_from_slice(piece);
        }
        if let Some(key) = mac {
            let sum = key.over(&bytes).finalize().into_bytes();
            bytes.get_mut(MAC_AT..ENVELOPE)?.copy_from_slice(&sum);
        }
        Some(bytes)
    }

    /// Reads the value of this key.
    ///
    /// # Errors
    /// Any byte of it is not as a gateway wrote it, or it is the value of another key.
    pub(super) fn decode(
        bytes: &Bytes,
        key: &CacheKey,
        mac: Option<&MacKey>,
    ) -> Result<Self, Damage> {
        let (envelope, rest) = bytes.split_at_checked(ENVELOPE).ok_or(Damage::Length)?;
        if !envelope.starts_with(&MAGIC) {
            return Err(Damage::Foreign);
        }
        if let Some(mac) = mac {
            let sum = envelope.get(MAC_AT..).unwrap_or_default();
            mac.over(bytes).verify_slice(sum).map_err(|_| Damage::Checksum)?;
        }
        let kind = envelope.get(KIND_AT).copied().and_then(ValueKind::of).ok_or(Damage::Content)?;
        let number = |at: usize| {
            let bytes = envelope.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_le_bytes).ok_or(Damage::Length)
        };
        let purge = StreamId(number(PURGE_AT)?, number(PURGE_AT + 8)?);
        let head = RecordHead::parse(rest, UNIX_EPOCH)?;
        if head.key != *key {
            return Err(Damage::Foreign);
        }
        // The time that scripts compare is that of the record.
        let digits = envelope.get(REQUESTED_AT..REQUESTED_AT + DIGITS).unwrap_or_default();
        let digits = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
        if digits != Some(micros(head.requested_at) / 1000) {
            return Err(Damage::Content);
        }
        let length = usize::try_from(head.body).map_err(|_| Damage::Length)?;
        let start = rest.len().checked_sub(length).ok_or(Damage::Length)?;
        if start != head_length(rest)? {
            return Err(Damage::Length);
        }
        let content = rest.get(start..).unwrap_or_default();
        // The sum of the whole value covers the body, too.
        if mac.is_none() && !head.fits(0, content) {
            return Err(Damage::Checksum);
        }
        // Memory of its own: the value is a part of a larger buffer of the connection.
        let largest = usize::try_from(body::PIECE).unwrap_or(usize::MAX);
        let pieces = content.chunks(largest).map(Bytes::copy_from_slice).collect();
        let body = StoredBody::from_pieces(pieces).ok_or(Damage::Length)?;
        let RecordHead { key, requested_at, settings, freshness, headers, .. } = head;
        let record =
            DiskRecord { key, requested_at, settings, freshness, headers, body, held: None };
        Ok(Self { kind, purge, record })
    }
}

/// The engine's clock next to that of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EngineTime {
    /// What the engine's clock showed ...
    pub(super) server: SystemTime,
    /// ... between these times of the cache.
    pub(super) sent: SystemTime,
    pub(super) received: SystemTime,
}

impl EngineTime {
    /// A time of the cache by the engine's clock, at the earliest.
    pub(super) fn of_local(&self, time: SystemTime) -> SystemTime {
        shifted(time, self.received, self.server)
    }

    /// A time of the engine's clock by that of the cache, at the earliest.
    pub(super) fn to_local(self, time: SystemTime) -> SystemTime {
        shifted(time, self.server, self.sent)
    }
}

/// The time as far from `to` as `time` is from `from`. It stays within what a record can hold.
fn shifted(time: SystemTime, from: SystemTime, to: SystemTime) -> SystemTime {
    const LAST: Duration = Duration::from_secs(1000 * 365 * 86_400);
    let shifted = match time.duration_since(from) {
        Ok(later) => to.checked_add(later),
        Err(earlier) => to.checked_sub(earlier.duration()),
    };
    shifted.unwrap_or(UNIX_EPOCH).clamp(UNIX_EPOCH, UNIX_EPOCH + LAST)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;
    use crate::cache::disk::record::PIECE;
    use crate::cache::freshness::Freshness;

    fn value(body: Vec<u8>) -> SharedValue {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let freshness = Freshness {
            generated_at: at(1000),
            fresh_until: at(2000),
            stale_while_revalidate: Duration::from_secs(10),
            stale_if_error: Duration::from_secs(20),
        };
        let mut headers = HeaderMap::new();
        headers.insert("etag", "\"a\"".parse().expect("a header"));
        let record = DiskRecord {
            key: CacheKey::from_bytes(b"key"),
            requested_at: at(1001),
            settings: 7,
            freshness,
            headers,
            body: body.into(),
            held: None,
        };
        SharedValue { kind: ValueKind::Object, purge: StreamId(5, 6), record }
    }

    fn key(secret: &str) -> MacKey {
        MacKey::new(&Secret::new(secret.to_owned())).expect("a key")
    }

    #[test]
    fn every_kind_and_size_reads_back() {
        let name = CacheKey::from_bytes(b"key");
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 << 20] {
            for kind in [ValueKind::Object, ValueKind::Negative, ValueKind::Tombstone] {
                for mac in [None, Some(key("secret"))] {
                    let value = SharedValue { kind, ..value(vec![9; length]) };
                    let bytes = Bytes::from(value.encode(mac.as_ref()).expect("a value"));
                    let found = SharedValue::decode(&bytes, &name, mac.as_ref());
                    assert_eq!(found, Ok(value), "{length} {kind:?}");
                    // A gateway without a key reads what one with a key wrote.
                    assert!(SharedValue::decode(&bytes, &name, None).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_value_of_another_key_or_another_secret_is_not_taken() {
        let bytes = Bytes::from(value(vec![1; 100]).encode(None).expect("a value"));
        let other = CacheKey::from_bytes(b"other");
        let name = CacheKey::from_bytes(b"key");
        assert_eq!(SharedValue::decode(&bytes, &other, None), Err(Damage::Foreign));
        let mac = key("secret");
        assert_eq!(SharedValue::decode(&bytes, &name, Some(&mac)), Err(Damage::Checksum));
        let signed = Bytes::from(value(vec![1; 100]).encode(Some(&key("other"))).expect("a value"));
        assert_eq!(SharedValue::decode(&signed, &name, Some(&mac)), Err(Damage::Checksum));
        assert!(!format!("{mac:?}").contains("secret"));
    }

    #[test]
    fn no_damaged_byte_is_taken() {
        let name = CacheKey::from_bytes(b"key");
        let right = value(vec![3; 300]).encode(None).expect("a value");
        for at in 0..right.len() {
            let mut bytes = right.clone();
            bytes[at] ^= 1;
            let found = SharedValue::decode(&Bytes::from(bytes), &name, None);
            // Without a key, nothing covers the kind, the purge and the place of the sum.
            let is_covered =
                !(KIND_AT..REQUESTED_AT).contains(&at) && !(PURGE_AT..ENVELOPE).contains(&at);
            assert!(found.is_err() || !is_covered, "byte {at}");
        }
        for length in 0..right.len() {
            let bytes = Bytes::copy_from_slice(&right[..length]);
            assert!(SharedValue::decode(&bytes, &name, None).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn with_a_key_every_byte_is_covered() {
        let (name, mac) = (CacheKey::from_bytes(b"key"), key("secret"));
        let right = value(vec![3; 50]).encode(Some(&mac)).expect("a value");
        for at in 0..right.len() {
            let mut bytes = right.clone();
            bytes[at] ^= 0x80;
            let found = SharedValue::decode(&Bytes::from(bytes), &name, Some(&mac));
            assert!(found.is_err(), "byte {at}");
        }
    }

    #[test]
    fn no_time_is_later_for_having_moved() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        // The engine is 50 s behind; its answer took 100 ms.
        let clock = EngineTime { server: at(110_000), sent: at(160_000), received: at(160_100) };
        assert_eq!(clock.of_local(at(160_100)), at(110_000));
        assert_eq!(clock.of_local(at(161_100)), at(111_000));
        assert_eq!(clock.of_local(at(160_000)), at(109_900));
        assert_eq!(clock.to_local(at(111_000)), at(161_000));
        assert_eq!(clock.of_local(at(1)), UNIX_EPOCH, "no time is before that");
        for millis in [120_000, 160_050, 199_000] {
            assert!(clock.to_local(clock.of_local(at(millis))) <= at(millis));
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_an_error_and_never_a_panic(mut bytes: Vec<u8>, is_ours: bool) {
            if is_ours && bytes.len() > 8 {
                bytes[..8].copy_from_slice(&MAGIC);
            }
            let found = SharedValue::decode(&bytes.into(), &CacheKey::from_bytes(b"key"), None);
            prop_assert!(found.is_err());
        }
    }
}
