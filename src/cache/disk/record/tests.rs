//! Records round trip, and only bytes as they were written are accepted.

use proptest::prelude::*;

use super::*;
use crate::cache::freshness::FreshnessState;

fn record(key: &[u8], headers: &[(&str, &[u8])], body: Vec<u8>) -> DiskRecord {
    let at = |micros| SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    DiskRecord {
        key: CacheKey::from_bytes(key),
        requested_at: at(1_700_000_000_123_456),
        settings: 77,
        freshness: Freshness {
            generated_at: at(1_700_000_000_000_001),
            fresh_until: at(1_700_000_600_000_002),
            stale_while_revalidate: Duration::from_secs(60),
            stale_if_error: Duration::from_secs(86_400),
        },
        headers: map,
        body: body.into(),
        held: None,
    }
}

fn tile() -> DiskRecord {
    let headers: &[(&str, &[u8])] = &[
        ("content-type", b"image/png"),
        ("etag", b"\"0123456789abcdef\""),
        ("x-odd", b""),
        ("link", b"<a>"),
        ("link", b"<\xe9>"),
    ];
    let body = (0..150_000_u32).map(|n| n.wrapping_mul(0x9E37_79B1).to_le_bytes()[3]).collect();
    record(b"a profile, a bucket, a key", headers, body)
}

/// The process that writes and reads.
fn process() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000)
}

fn file(record: &DiskRecord) -> Vec<u8> {
    let mut bytes = head_bytes(record, process()).unwrap();
    for piece in record.body.pieces() {
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// Reads a whole file as the folder does.
fn read(bytes: &[u8], key: &CacheKey) -> Result<DiskRecord, Damage> {
    let start = bytes.get(..PREFIX).unwrap_or(bytes);
    let length = head_length(start)?;
    let head = RecordHead::parse(bytes.get(..length).ok_or(Damage::Length)?, process())?;
    if head.key != *key {
        return Err(Damage::Foreign);
    }
    let body = &bytes[length..];
    if body.len() as u64 != head.body {
        return Err(Damage::Length);
    }
    if !head.fits(0, body) {
        return Err(Damage::Checksum);
    }
    let RecordHead { key, requested_at, settings, freshness, headers, .. } = head;
    let body = body.to_vec().into();
    Ok(DiskRecord { key, requested_at, settings, freshness, headers, body, held: None })
}

#[test]
fn the_layout_is_the_documented_one() {
    let record = record(b"key", &[("a", b"bc")], b"body".to_vec());
    let bytes = file(&record);
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(&bytes[..8], b"s3pcache");
    assert_eq!(bytes[8..24], [2, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!((number(24), number(32)), (4, 1_700_000_000_123_456));
    assert_eq!((number(40), number(48)), (1_600_000_000_000_000, 77));
    let at = usize::try_from(FRESHNESS_AT).unwrap();
    assert_eq!(number(at), 1_600_000_000_000_000);
    assert_eq!((number(at + 8), number(at + 16)), (1_700_000_000_000_001, 1_700_000_600_000_002));
    assert_eq!((number(at + 24), number(at + 32)), (60_000_000, 86_400_000_000));
    assert_eq!(&bytes[PREFIX..PREFIX + 12], b"key\x01\x00\x02\x00\x00\x00abc");
    assert_eq!(bytes[PREFIX + 12..PREFIX + 16], crc32fast::hash(b"body").to_le_bytes());
    assert_eq!(&bytes[PREFIX + 16..], b"body");
}

#[test]
fn sizes_at_the_edges_of_pieces_round_trip() {
    for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
        let record = record(b"k", &[], vec![7; size]);
        assert_eq!(read(&file(&record), &record.key).as_ref(), Ok(&record), "{size}");
    }
}

#[test]
fn what_is_too_large_is_not_written() {
    assert!(head_bytes(&record(&[0; MAX_KEY], &[], vec![]), process()).is_some());
    assert!(head_bytes(&record(&[0; MAX_KEY + 1], &[], vec![]), process()).is_none());
    let value = vec![b'v'; MAX_HEADERS];
    assert!(head_bytes(&record(b"k", &[("name", &value)], vec![]), process()).is_none());
}

#[test]
fn a_flip_of_any_bit_is_seen() {
    let record = tile();
    let whole = file(&record);
    let head = head_length(&whole).unwrap();
    // Every bit of the head, and a bit at many places of the body.
    let in_head = (0..head).flat_map(|at| (0..8).map(move |bit| (at, bit)));
    let in_body = (head..whole.len()).step_by(997).map(|at| (at, at % 8));
    let mut bytes = whole.clone();
    for (at, bit) in in_head.chain(in_body) {
        bytes[at] ^= 1 << bit;
        assert!(read(&bytes, &record.key).is_err(), "bit {bit} of byte {at}");
        bytes[at] ^= 1 << bit;
    }
    assert_eq!(read(&bytes, &record.key), Ok(record));
}

#[test]
fn truncated_extended_and_empty_files_are_seen() {
    let record = tile();
    let whole = file(&record);
    let head = head_length(&whole).unwrap();
    for length in (0..=head + 100).chain((head..whole.len()).step_by(4999)) {
        assert!(read(&whole[..length], &record.key).is_err(), "{length} bytes");
        let mut padded = whole[..length].to_vec();
        padded.resize(whole.len(), 0);
        assert!(read(&padded, &record.key).is_err(), "zeros after {length} bytes");
    }
    for extra in [1, 80, 4096] {
        let mut longer = whole.clone();
        longer.resize(whole.len() + extra, 0);
        assert_eq!(read(&longer, &record.key), Err(Damage::Length), "{extra} bytes more");
    }
}

#[test]
fn parts_of_another_record_do_not_fit() {
    let (one, mut other) = (tile(), tile());
    other.body =
        other.body.pieces().iter().flatten().map(|byte| byte ^ 1).collect::<Vec<u8>>().into();
    other.freshness.fresh_until += Duration::from_secs(1);
    let (first, second) = (file(&one), file(&other));
    let head = head_length(&first).unwrap();
    assert_eq!(head_length(&second).unwrap(), head);
    let at = usize::try_from(FRESHNESS_AT).unwrap();
    let (sum, end) = (HEAD_SUM_AT, HEAD_SUM_AT + SUM);
    for part in [0..sum, sum..end, at..PREFIX, 0..head, head - 4..head, head..head + PIECE] {
        let mut mixed = first.clone();
        mixed[part.clone()].copy_from_slice(&second[part.clone()]);
        // The bytes before the checksum are the same in both.
        let expected = if part == (0..sum) { Ok(one.clone()) } else { Err(Damage::Checksum) };
        assert_eq!(read(&mixed, &one.key), expected, "{part:?}");
    }
    // Two pieces of one body in each other's place.
    let mut swapped = first.clone();
    swapped[head..head + PIECE].copy_from_slice(&first[head + PIECE..head + 2 * PIECE]);
    swapped[head + PIECE..head + 2 * PIECE].copy_from_slice(&first[head..head + PIECE]);
    assert!(swapped != first, "the pieces differ");
    assert_eq!(read(&swapped, &one.key), Err(Damage::Checksum));
    assert_eq!(read(&first, &CacheKey::from_bytes(b"another key")), Err(Damage::Foreign));
}

#[test]
fn another_version_is_not_read() {
    let record = tile();
    let mut bytes = file(&record);
    bytes[8] = 1;
    assert_eq!(read(&bytes, &record.key), Err(Damage::Version));
}

#[test]
fn a_record_from_the_future_is_stale_and_every_purge_covers_it() {
    let record = record(b"k", &[], b"body".to_vec());
    let (bytes, made_at) = (file(&record), record.requested_at);
    let second = Duration::from_secs(1);
    let read_by = |bytes: &[u8], process| RecordHead::parse(bytes, process).unwrap();
    // The clock was set back between the two processes, or forward.
    let behind = read_by(&bytes, made_at - second);
    assert_eq!(behind.requested_at, SystemTime::UNIX_EPOCH);
    assert_eq!(behind.freshness, record.freshness.stale_at(made_at - second));
    assert_eq!(behind.freshness.at(made_at - second), FreshnessState::StaleIfError);
    let ahead = read_by(&bytes, made_at + second);
    assert_eq!((ahead.requested_at, ahead.freshness), (made_at, record.freshness));
    // The process that the clock runs behind confirms it, then another one reads it.
    let (process, confirmed) = (made_at - second, record.freshness.stale_at(made_at));
    let mut bytes = bytes;
    let at = usize::try_from(FRESHNESS_AT).unwrap();
    bytes[at..PREFIX].copy_from_slice(&behind.other_freshness(&confirmed, process));
    let again = read_by(&bytes, process);
    assert_eq!((again.requested_at, again.freshness), (SystemTime::UNIX_EPOCH, confirmed));
    let set_back_again = made_at - 2 * second;
    assert_eq!(read_by(&bytes, set_back_again).freshness, confirmed.stale_at(set_back_again));
}

#[test]
fn another_freshness_fits_its_own_head_alone() {
    let mut record = tile();
    let mut bytes = file(&record);
    let head = RecordHead::parse(&bytes, process()).unwrap();
    record.freshness.fresh_until += Duration::from_secs(600);
    record.freshness.stale_if_error = Duration::MAX;
    let block = head.other_freshness(&record.freshness, process());
    let at = usize::try_from(FRESHNESS_AT).unwrap();
    let old = bytes[at..PREFIX].to_vec();
    bytes[at..PREFIX].copy_from_slice(&block);
    record.freshness.stale_if_error = Duration::from_micros(u64::MAX);
    assert_eq!(read(&bytes, &record.key).as_ref(), Ok(&record));
    // Half of it: old and new differ in every such half but those that hold equal bytes.
    for cut in 1..block.len() {
        let mut torn = old.clone();
        torn[..cut].copy_from_slice(&block[..cut]);
        let mut bytes = bytes.clone();
        bytes[at..PREFIX].copy_from_slice(&torn);
        let is_old_or_new = torn == old || torn == block;
        assert_eq!(read(&bytes, &record.key).is_ok(), is_old_or_new, "cut at {cut}");
    }
}

#[test]
fn a_piece_is_checked_alone() {
    let record = tile();
    let head = RecordHead::parse(&file(&record), process()).unwrap();
    let body = record.body.pieces().concat();
    assert!(head.fits(1, &body[PIECE..2 * PIECE]));
    assert!(head.fits(2, &body[2 * PIECE..]));
    assert!(head.fits(1, &body[PIECE..]));
    assert!(!head.fits(0, &body[PIECE..2 * PIECE]), "another place");
    assert!(!head.fits(2, &body[2 * PIECE..body.len() - 1]), "cut short");
    assert!(!head.fits(3, b"x"), "beyond the end");
}

proptest! {
    #[test]
    fn any_record_is_read_as_it_was_written(
        key in proptest::collection::vec(any::<u8>(), 0..300),
        headers in proptest::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,60}"), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..2000),
        times in any::<[u32; 3]>(),
        durations in any::<[u32; 2]>(),
    ) {
        let pairs: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let mut record = record(&key, &pairs, body);
        let at = |seconds: u32| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
        record.requested_at = at(times[0]);
        record.freshness = Freshness {
            generated_at: at(times[1]),
            fresh_until: at(times[2]),
            stale_while_revalidate: Duration::from_millis(durations[0].into()),
            stale_if_error: Duration::from_millis(durations[1].into()),
        };
        prop_assert_eq!(read(&file(&record), &record.key), Ok(record));
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes: Vec<u8>, is_ours: bool) {
        if is_ours {
            bytes.splice(0..0, *b"s3pcache\x01\0\0\0");
        }
        let _ = head_length(&bytes);
        prop_assert!(RecordHead::parse(&bytes, process()).is_err());
    }

    #[test]
    fn a_mutated_record_is_never_read_as_another(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<usize>()),
        insert in proptest::option::of((any::<usize>(), any::<u8>())),
    ) {
        let record = record(b"key", &[("etag", b"\"1\"")], (0..200).collect());
        let whole = file(&record);
        let mut bytes = whole.clone();
        for (at, xor) in changes {
            let at = at % bytes.len();
            bytes[at] ^= xor;
        }
        if let Some((at, byte)) = insert {
            bytes.insert(at % bytes.len(), byte);
        }
        if let Some(length) = cut {
            bytes.truncate(length % (whole.len() + 1));
        }
        match read(&bytes, &record.key) {
            Ok(found) => prop_assert_eq!((found, bytes), (record, whole)),
            Err(_) => prop_assert!(bytes != whole),
        }
    }
}
