//! The format of a record in its file. Nothing is used that no checksum covers.
//!
//! All numbers are little-endian, times and durations microseconds (times since the Unix epoch):
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | version of this format |
//! | 12 | 4 | length of the key, `k` |
//! | 16 | 4 | length of the headers, `h` |
//! | 20 | 4 | length of a piece of the body; the last one may be shorter |
//! | 24 | 8 | length of the body, `b` |
//! | 32 | 8 | when the request was sent to the store |
//! | 40 | 8 | the process that wrote the record: the start of its clock |
//! | 48 | 8 | the settings that have shaped it: `Profile::fingerprint`; zero for a block |
//! | 56 | 4 | checksum of the head: of bytes 0 to 55, and of 104 to the body |
//! | 60 | 40 | freshness: the process that wrote it, generated at, fresh until, stale-while-revalidate, stale-if-error |
//! | 100 | 4 | checksum of the freshness, continued from that of the head |
//! | 104 | k | key |
//! | | h | headers: lengths of name (2) and value (4), name, value; one after the other |
//! | | 4 each | checksum of every piece of the body |
//! | | b | body |
//!
//! The freshness can be written again in its place. Its checksum continues that of the head, so the
//! freshness of another record does not match. Each piece of the body can be checked alone.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crc32fast::Hasher;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cache::body::{self, StoredBody};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Held;

/// Bytes before the key; enough to know the length of the head.
pub(in crate::cache) const PREFIX: usize = 104;
/// Where the freshness lies, with its checksum.
pub(in crate::cache) const FRESHNESS_AT: u64 = 60;
/// Bytes of a piece of the body.
pub(in crate::cache) const PIECE: usize = 64 * 1024;

// A piece of a body in memory has whole pieces of a record, except for the last.
const _: () = assert!(body::PIECE.is_multiple_of(PIECE as u64));

const MAGIC: [u8; 8] = *b"s3pcache";
const VERSION: u32 = 2;
/// Its records are removed when they are found.
const EARLIER_VERSION: u32 = 1;
const HEAD_SUM_AT: usize = 56;
const SUM: usize = 4;
/// Bytes of the freshness with its checksum.
const FRESHNESS: usize = PREFIX - 60;

/// Longer keys, headers and bodies are not written, and such lengths not accepted.
const MAX_KEY: usize = 16 * 1024;
const MAX_HEADERS: usize = 256 * 1024;
const MAX_BODY: u64 = 1024 * 1024 * 1024;

/// No file of a record is larger, bytes: heads take less than 1 MiB.
pub(in crate::cache) const LARGEST: u64 = MAX_BODY + 1024 * 1024;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Damage {
    /// Not a regular file, not a file of this cache, or not the record of this key.
    Foreign,
    /// Written by an earlier release, in the version of the format that it had.
    Version,
    /// Longer or shorter than its head says, or than is possible.
    Length,
    /// A checksum does not match.
    Checksum,
    /// The checksum matches, but the content is invalid.
    Content,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "not this record's file",
            Self::Version => "another version of the format",
            Self::Length => "a length that is not its own",
            Self::Checksum => "a checksum that does not fit",
            Self::Content => "content without sense",
        })
    }
}

/// One response of a store, as it is stored on disk.
#[derive(Debug, Clone)]
pub struct DiskRecord {
    pub key: CacheKey,
    /// When the request was sent to the store; rounded down to microseconds on disk, like the
    /// freshness.
    pub requested_at: SystemTime,
    /// The settings that have shaped it ([`Profile::fingerprint`]); zero for a block.
    ///
    /// [`Profile::fingerprint`]: crate::profile::Profile::fingerprint
    pub settings: u64,
    pub freshness: Freshness,
    pub headers: HeaderMap,
    pub body: StoredBody,
    /// The share of the memory budget that its body takes, as long as it is queued or used. `None` for
    /// a body that no budget counts.
    pub held: Option<Arc<Held>>,
}

/// The same record, wherever its memory is counted.
impl PartialEq for DiskRecord {
    fn eq(&self, other: &Self) -> bool {
        let Self { key, requested_at, settings, freshness, headers, body, held: _ } = self;
        *key == other.key
            && (*requested_at, *settings) == (other.requested_at, other.settings)
            && *freshness == other.freshness
            && *headers == other.headers
            && *body == other.body
    }
}

impl Eq for DiskRecord {}

/// A record without its body.
#[derive(Debug)]
pub(in crate::cache) struct RecordHead {
    pub key: CacheKey,
    pub requested_at: SystemTime,
    /// The settings that have shaped it ([`Profile::fingerprint`]); zero for a block.
    ///
    /// [`Profile::fingerprint`]: crate::profile::Profile::fingerprint
    pub settings: u64,
    pub freshness: Freshness,
    pub headers: HeaderMap,
    /// Bytes of the body.
    pub body: u64,
    /// The checksum of everything but the freshness, which the checksum of the freshness continues.
    sum: u32,
    /// Checksums of the pieces of the body.
    pieces: Vec<u32>,
}

/// Microseconds since the Unix epoch, rounded down; zero before it.
#[must_use]
pub(in crate::cache) fn micros(time: SystemTime) -> u64 {
    duration_micros(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn duration_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The bytes of a record before its body, and the lengths of both; `None` if it is too large.
#[must_use]
pub(in crate::cache) fn head_bytes(record: &DiskRecord, process: SystemTime) -> Option<Vec<u8>> {
    let key = record.key.as_bytes();
    let headers = header_bytes(&record.headers)?;
    let body = record.body.len();
    if key.len() > MAX_KEY || headers.len() > MAX_HEADERS || body > MAX_BODY {
        return None;
    }
    let pieces = record.body.pieces().iter().flat_map(|bytes| bytes.chunks(PIECE));
    let sums = SUM * usize::try_from(body.div_ceil(PIECE as u64)).ok()?;
    let mut bytes = Vec::with_capacity(PREFIX + key.len() + headers.len() + sums);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    for length in [key.len(), headers.len(), PIECE] {
        bytes.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    }
    bytes.extend_from_slice(&body.to_le_bytes());
    bytes.extend_from_slice(&micros(record.requested_at).to_le_bytes());
    bytes.extend_from_slice(&micros(process).to_le_bytes());
    bytes.extend_from_slice(&record.settings.to_le_bytes());
    let mut tail = Vec::with_capacity(bytes.capacity() - PREFIX);
    tail.extend_from_slice(key);
    tail.extend_from_slice(&headers);
    for piece in pieces {
        tail.extend_from_slice(&crc32fast::hash(piece).to_le_bytes());
    }
    let sum = sum_of(&[&bytes, &tail]);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(&freshness_bytes(&record.freshness, process, sum));
    bytes.extend_from_slice(&tail);
    Some(bytes)
}

fn sum_of(parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

fn header_bytes(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    for (name, value) in headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        bytes.extend_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
    }
    Some(bytes)
}

/// The block of the freshness, with the checksum that belongs to a head with this sum.
fn freshness_bytes(freshness: &Freshness, process: SystemTime, head_sum: u32) -> [u8; FRESHNESS] {
    let mut block = [0; FRESHNESS];
    let numbers = [
        micros(process),
        micros(freshness.generated_at),
        micros(freshness.fresh_until),
        duration_micros(freshness.stale_while_revalidate),
        duration_micros(freshness.stale_if_error),
    ];
    let (content, sum) = block.split_at_mut(FRESHNESS - SUM);
    for (place, number) in content.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    sum.copy_from_slice(&freshness_sum(content, head_sum).to_le_bytes());
    block
}

fn freshness_sum(content: &[u8], head_sum: u32) -> u32 {
    let mut hasher = Hasher::new_with_initial(head_sum);
    hasher.update(content);
    hasher.finalize()
}

/// The length of the whole head, by its first [`PREFIX`] bytes. It is bounded, but not covered by a
/// checksum yet.
///
/// # Errors
/// It is not a record of this format, or its lengths are out of bounds.
pub(in crate::cache) fn head_length(start: &[u8]) -> Result<usize, Damage> {
    let mut cursor = Cursor(start.get(..PREFIX).ok_or(Damage::Length)?);
    Ok(Lengths::read(&mut cursor)?.head())
}

/// The lengths of a record's parts.
struct Lengths {
    key: usize,
    headers: usize,
    body: u64,
    pieces: usize,
}

impl Lengths {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Damage> {
        if cursor.take(MAGIC.len())? != MAGIC {
            return Err(Damage::Foreign);
        }
        match cursor.u32()? {
            VERSION => {}
            EARLIER_VERSION => return Err(Damage::Version),
            _ => return Err(Damage::Content),
        }
        let (key, headers, piece, body) =
            (cursor.length()?, cursor.length()?, cursor.length()?, cursor.u64()?);
        if key > MAX_KEY || headers > MAX_HEADERS || piece != PIECE || body > MAX_BODY {
            return Err(Damage::Length);
        }
        let whole = usize::try_from(body).map_err(|_| Damage::Length)?;
        Ok(Self { key, headers, body, pieces: whole.div_ceil(PIECE) })
    }

    fn head(&self) -> usize {
        PREFIX + self.key + self.headers + SUM * self.pieces
    }
}

impl RecordHead {
    /// Reads the head of a record; `bytes` may hold more than that. `process` is the start of the clock
    /// of the process that reads it. A record that another process made later than that is from the
    /// future: it counts as requested in 1970, so every purge covers it, and as stale.
    ///
    /// # Errors
    /// Any byte of it is not as it was written.
    pub(in crate::cache) fn parse(bytes: &[u8], process: SystemTime) -> Result<Self, Damage> {
        let mut cursor = Cursor(bytes);
        let lengths = Lengths::read(&mut cursor)?;
        let requested_at = cursor.time()?;
        let written_by = cursor.time()?;
        let is_from_the_future = written_by != process && requested_at > process;
        let requested_at = if is_from_the_future { SystemTime::UNIX_EPOCH } else { requested_at };
        let settings = cursor.u64()?;
        let sum = cursor.u32()?;
        let freshness = cursor.take(FRESHNESS)?;
        let length = lengths.head();
        let covered = bytes.get(..HEAD_SUM_AT).zip(bytes.get(PREFIX..length));
        let (start, tail) = covered.ok_or(Damage::Length)?;
        if sum_of(&[start, tail]) != sum {
            return Err(Damage::Checksum);
        }
        let (confirmed_by, freshness) = parse_freshness(freshness, sum)?;
        // It came with the record, or a later process confirmed it.
        let is_of_the_record = is_from_the_future && confirmed_by == written_by;
        let is_later = confirmed_by != process && freshness.generated_at > process;
        let freshness =
            if is_of_the_record || is_later { freshness.stale_at(process) } else { freshness };
        let key = CacheKey::from_bytes(cursor.take(lengths.key)?);
        let headers = parse_headers(cursor.take(lengths.headers)?)?;
        let pieces = (0..lengths.pieces).map(|_| cursor.u32()).collect::<Result<_, _>>()?;
        Ok(Self {
            key,
            requested_at,
            settings,
            freshness,
            headers,
            body: lengths.body,
            sum,
            pieces,
        })
    }

    /// Whether these bytes of the body, from the start of this piece on, are right: whole pieces,
    /// except for the last one.
    #[must_use]
    pub(in crate::cache) fn fits(&self, first_piece: usize, bytes: &[u8]) -> bool {
        let Some(sums) = self.pieces.get(first_piece..) else { return false };
        let pieces = bytes.chunks(PIECE);
        pieces.len() <= sums.len()
            && pieces.zip(sums).all(|(piece, sum)| crc32fast::hash(piece) == *sum)
    }

    /// The bytes to write at [`FRESHNESS_AT`] to give this record another freshness.
    #[must_use]
    pub(in crate::cache) fn other_freshness(
        &self,
        freshness: &Freshness,
        process: SystemTime,
    ) -> [u8; FRESHNESS] {
        freshness_bytes(freshness, process, self.sum)
    }
}

/// The freshness, and the process that wrote it.
fn parse_freshness(block: &[u8], head_sum: u32) -> Result<(SystemTime, Freshness), Damage> {
    let content = block.get(..FRESHNESS - SUM).ok_or(Damage::Length)?;
    let mut cursor = Cursor(block);
    let process = cursor.time()?;
    let freshness = Freshness {
        generated_at: cursor.time()?,
        fresh_until: cursor.time()?,
        stale_while_revalidate: Duration::from_micros(cursor.u64()?),
        stale_if_error: Duration::from_micros(cursor.u64()?),
    };
    let fits = cursor.u32()? == freshness_sum(content, head_sum);
    if fits { Ok((process, freshness)) } else { Err(Damage::Checksum) }
}

fn parse_headers(bytes: &[u8]) -> Result<HeaderMap, Damage> {
    let mut headers = HeaderMap::new();
    let mut cursor = Cursor(bytes);
    while !cursor.0.is_empty() {
        let name = usize::from(u16::from_le_bytes(cursor.array()?));
        let value = cursor.length()?;
        let name = HeaderName::from_bytes(cursor.take(name)?).map_err(|_| Damage::Content)?;
        let value = HeaderValue::from_bytes(cursor.take(value)?).map_err(|_| Damage::Content)?;
        headers.try_append(name, value).map_err(|_| Damage::Content)?;
    }
    Ok(headers)
}

/// Bytes that are read from their start.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damage::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.take(N)?.try_into().map_err(|_| Damage::Length)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn length(&mut self) -> Result<usize, Damage> {
        usize::try_from(self.u32()?).map_err(|_| Damage::Length)
    }

    fn time(&mut self) -> Result<SystemTime, Damage> {
        let since = Duration::from_micros(self.u64()?);
        SystemTime::UNIX_EPOCH.checked_add(since).ok_or(Damage::Content)
    }
}

#[cfg(test)]
mod tests;
