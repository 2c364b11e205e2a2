//! The cache as a Pingora `Storage`: its lookup returns a cached object or fetches it, and a hit is
//! read while its bytes arrive. The hooks select the status and the ranges; Pingora sends them.

use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::cache::storage::{
    HandleHit, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType, Storage,
};
use pingora::cache::trace::SpanHandle;
use pingora::cache::{CacheKey, CacheMeta};
use pingora::http::ResponseHeader;
use pingora::proxy::{MultiRangeInfo, RangeType};
use pingora::{Error, ErrorType, Result};

use crate::cache::{
    BlockError, BlockReader, Cache, CacheRequest, Lookup, LookupResult, MemberRequest, ObjectBody,
    OpenedMember, Truncated, WholeCheck,
};
use crate::protocol::cache_status::{BlockCounts, CacheStatus};
use crate::protocol::range::ContentRange;
use crate::protocol::selection::Selection;
use crate::response::refusal::Refusal;

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Carries a cache request to [`ReadThrough::lookup`], and its result back to the hooks: Pingora passes
/// only a key in and only objects out.
#[derive(Debug)]
pub struct LookupSlot {
    wanted: Arc<CacheRequest>,
    /// The member, if it is a request for one: then `wanted` is its archive.
    member: Option<Arc<MemberRequest>>,
    lookup: Mutex<Option<Lookup>>,
}

impl LookupSlot {
    /// An empty slot for this request.
    #[must_use]
    pub fn new(wanted: Arc<CacheRequest>, member: Option<Arc<MemberRequest>>) -> Arc<Self> {
        Arc::new(Self { wanted, member, lookup: Mutex::default() })
    }

    /// Takes the result of the lookup; `None` before the lookup and after the first call.
    pub fn take(&self) -> Option<Lookup> {
        self.lookup.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Stores the result of the lookup; before [`ReadThrough::lookup`], that of a lookup which was made already.
    pub(super) fn put(&self, lookup: Lookup) {
        *self.lookup.lock().unwrap_or_else(PoisonError::into_inner) = Some(lookup);
    }

    /// The key that Pingora passes to the storage; it carries this slot as an extension.
    pub(super) fn key(self: &Arc<Self>) -> CacheKey {
        let mut key = CacheKey::new(Vec::new(), "");
        key.extensions.insert(Arc::clone(self));
        key
    }
}

/// The cache as a Pingora `Storage`.
pub struct ReadThrough {
    cache: Arc<Cache>,
}

impl ReadThrough {
    /// The cache itself.
    pub(super) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// A storage that lives until the process ends: Pingora requires `'static`.
    #[must_use]
    pub fn leak(cache: Arc<Cache>) -> &'static Self {
        Box::leak(Box::new(Self { cache }))
    }
}

#[async_trait]
impl Storage for ReadThrough {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some(slot) = key.extensions.get::<Arc<LookupSlot>>() else { return Ok(None) };
        let lookup = match (slot.take(), &slot.member) {
            (Some(made_already), _) => made_already,
            (None, None) => self.cache.find(&slot.wanted).await,
            (None, Some(member)) => Box::pin(self.cache.find_member(&slot.wanted, member)).await,
        };
        let hit = match &lookup.what {
            LookupResult::Object { source, freshness, .. } => {
                // `Cache::find` has checked freshness, and `range_header_filter` makes the head:
                // Pingora gets placeholders.
                let head = ResponseHeader::build_no_case(StatusCode::OK, None)?;
                let meta =
                    CacheMeta::new(freshness.fresh_until, freshness.generated_at, 0, 0, head);
                let handler: HitHandler = Box::new(HitReader::new(source.clone()));
                Some((meta, handler))
            }
            LookupResult::Refused(_) | LookupResult::Bypass => None,
        };
        slot.put(lookup);
        Ok(hit)
    }

    async fn get_miss_handler(
        &'static self,
        _key: &CacheKey,
        _meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        Err(Error::explain(ErrorType::InternalError, "the lookup fetches misses"))
    }

    async fn purge(
        &'static self,
        _target: PurgeTarget<'_>,
        _purge_type: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        Err(Error::explain(
            ErrorType::InternalError,
            "purge requests are accepted on the admin listener only",
        ))
    }

    async fn update_meta(
        &'static self,
        _key: &CacheKey,
        _meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<bool> {
        Ok(false)
    }

    fn support_streaming_partial_write(&self) -> bool {
        true
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// Reads the body of a cached object for one request.
pub(super) struct HitReader {
    source: ObjectBody,
    /// For an object in blocks.
    reading: Option<BlockReader>,
    /// Where the object begins in the source: above zero for a member of an archive.
    start: u64,
    /// Bytes of the object.
    length: u64,
    check: Option<WholeCheck>,
    position: u64,
    end: u64,
}

impl HitReader {
    /// A reader of a whole object, or of no byte of an object in blocks.
    pub(super) fn new(source: ObjectBody) -> Self {
        let length = source.length();
        Self { source, reading: None, start: 0, length, check: None, position: 0, end: length }
    }

    /// A reader of a member of an archive, of this length.
    pub(super) fn of_member(opened: OpenedMember, length: u64) -> Self {
        let OpenedMember { source, reading, start, check, .. } = opened;
        Self { source, reading, start, length, check, position: 0, end: length }
    }

    /// A reader of an object in blocks.
    pub(super) fn of_blocks(source: ObjectBody, reading: BlockReader) -> Self {
        Self { reading: Some(reading), ..Self::new(source) }
    }
}

#[async_trait]
impl HandleHit for HitReader {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let (position, end) = (self.start + self.position, self.start + self.end);
        let read = match &mut self.reading {
            None => {
                self.source.read(position, end).await.map_err(|Truncated| BlockError::Truncated)
            }
            Some(reading) => reading.read(position, end).await,
        };
        let failed = |why: String| Error::explain(ErrorType::ReadError, why).into_up();
        let bytes = read.map_err(|error| failed(error.to_string()))?;
        if let (Some(check), Some(bytes)) = (&mut self.check, &bytes) {
            // The last bytes of a damaged member are not sent.
            let checked = check.add(self.position, bytes);
            checked.map_err(|refusal| failed(refusal.message().into_owned()))?;
        }
        self.position += bytes.as_ref().map_or(0, Bytes::len) as u64;
        Ok(bytes)
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        self.position = start as u64;
        self.end = end.map_or(self.length, |end| end as u64);
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// Turns the head of the whole object into the head of the selected ranges, and returns them for
/// Pingora.
pub(super) fn part_of(selection: &Selection, length: u64, head: &mut ResponseHeader) -> RangeType {
    let made = match selection {
        Selection::Part(part) => one_part(part, length, head),
        Selection::Parts(parts) => many_parts(parts, length, head),
        Selection::Unsatisfiable => Ok(RangeType::Invalid),
        Selection::Whole | Selection::NotModified | Selection::PreconditionFailed => {
            Ok(RangeType::None)
        }
    };
    // A server may ignore Range (RFC 9110, section 14.2): on an error the whole object is sent.
    made.unwrap_or(RangeType::None)
}

fn one_part(part: &Range<u64>, length: u64, head: &mut ResponseHeader) -> Result<RangeType> {
    let range = in_memory(part)?;
    let (first, last) = (part.start, part.end - 1);
    let content_range = ContentRange::Part { first, last, len: Some(length) };
    head.insert_header(CONTENT_LENGTH, HeaderValue::from(part.end - part.start))?;
    head.insert_header(CONTENT_RANGE, content_range.to_string())?;
    head.set_status(StatusCode::PARTIAL_CONTENT)?;
    Ok(RangeType::Single(range))
}

/// `multipart/byteranges` (RFC 9110, section 14.6); Pingora writes the body.
fn many_parts(parts: &[Range<u64>], length: u64, head: &mut ResponseHeader) -> Result<RangeType> {
    let ranges = parts.iter().map(in_memory).collect::<Result<Vec<_>>>()?;
    let mut info = MultiRangeInfo::new(ranges);
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    info.set_content_type(content_type.unwrap_or("application/octet-stream").to_owned());
    info.set_total_length(in_memory(&(0..length))?.end);
    let multipart = format!("multipart/byteranges; boundary={}", info.boundary);
    head.insert_header(CONTENT_LENGTH, info.calculate_multipart_length())?;
    head.insert_header(CONTENT_TYPE, multipart)?;
    head.set_status(StatusCode::PARTIAL_CONTENT)?;
    Ok(RangeType::Multi(info))
}

fn in_memory(range: &Range<u64>) -> Result<Range<usize>> {
    match (usize::try_from(range.start), usize::try_from(range.end)) {
        (Ok(start), Ok(end)) => Ok(start..end),
        _ => Err(Error::explain(
            ErrorType::InternalError,
            "the range does not fit into the address space",
        )),
    }
}

/// The refusal of a request for a cached object, if its selection is one.
pub(super) fn refused(selection: &Selection, length: u64) -> Option<Refusal> {
    match selection {
        Selection::PreconditionFailed => Some(Refusal::PreconditionFailed),
        Selection::Unsatisfiable => Some(Refusal::RangeNotSatisfiable(Some(length))),
        _ => None,
    }
}

/// Sets `Age` (RFC 9111, section 5.1) on a hit, and on a response that was just fetched if the store
/// sent an age itself.
pub(super) fn set_age(head: &mut ResponseHeader, lookup: &Lookup, age: u64) -> Result<()> {
    if is_age_due(lookup, age) { head.insert_header(AGE, HeaderValue::from(age)) } else { Ok(()) }
}

/// Whether a response has `Age`: without it, the store has generated or validated the response for this request.
pub(super) fn is_age_due(lookup: &Lookup, age: u64) -> bool {
    lookup.status.is_hit() || age > 0
}

/// The value of `Cache-Status` (RFC 9211): the name of this cache and its parameters.
pub(super) fn cache_status(status: CacheStatus, blocks: BlockCounts) -> String {
    let mut text = String::with_capacity(64);
    text.push_str("s3proxy; ");
    status.push_to(&mut text, blocks);
    text
}
