//! The cache as Pingora sees it: a storage whose lookup finds or fetches, and whose hits are read as
//! the bytes arrive. Pingora answers HEAD, conditions and ranges from it.

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
    BlockError, BlockReader, Cache, CacheRequest, Lookup, LookupResult, ObjectBody, Truncated,
};
use crate::protocol::cache_status::{BlockCounts, CacheStatus};
use crate::protocol::range::ContentRange;
use crate::protocol::selection::Serving;
use crate::response::object_head::answer_head;
use crate::response::refusal::Refusal;

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a request wants, and what the cache told it: the way of both through Pingora.
#[derive(Debug)]
pub struct LookupSlot {
    wanted: Arc<CacheRequest>,
    found: Mutex<Option<Lookup>>,
}

impl LookupSlot {
    /// Nothing was told yet.
    #[must_use]
    pub fn new(wanted: Arc<CacheRequest>) -> Arc<Self> {
        Arc::new(Self { wanted, found: Mutex::default() })
    }

    /// What the cache told, once.
    pub fn take(&self) -> Option<Lookup> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn tell(&self, found: Lookup) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// The key Pingora hands to the storage; what matters travels beside it.
    pub(super) fn key(self: &Arc<Self>) -> CacheKey {
        let mut key = CacheKey::new(Vec::new(), "");
        key.extensions.insert(Arc::clone(self));
        key
    }
}

/// The cache as a storage of Pingora's.
pub struct ReadThrough {
    cache: Arc<Cache>,
}

impl ReadThrough {
    /// The cache itself.
    pub(super) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// A storage for as long as the process runs, as Pingora wants it.
    #[must_use]
    pub fn for_ever(cache: Arc<Cache>) -> &'static Self {
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
        let Some(told) = key.extensions.get::<Arc<LookupSlot>>() else { return Ok(None) };
        let found = self.cache.find(&told.wanted).await;
        let hit = match &found.what {
            LookupResult::Object { source, freshness, .. } => {
                // Freshness was seen to, and the head is made when it is known of what: Pingora is
                // told no more than it needs to go on.
                let head = ResponseHeader::build_no_case(StatusCode::OK, None)?;
                let meta =
                    CacheMeta::new(freshness.fresh_until, freshness.generated_at, 0, 0, head);
                let handler: HitHandler = Box::new(Reader::new(source.clone()));
                Some((meta, handler))
            }
            LookupResult::Refused(_) | LookupResult::Bypass => None,
        };
        told.tell(found);
        Ok(hit)
    }

    async fn get_miss_handler(
        &'static self,
        _key: &CacheKey,
        _meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        Err(Error::explain(ErrorType::InternalError, "misses are fetched by the lookup"))
    }

    async fn purge(
        &'static self,
        _target: PurgeTarget<'_>,
        _purge_type: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        Err(Error::explain(ErrorType::InternalError, "purges come by the admin listener"))
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

/// One client's reading of an object.
pub(super) struct Reader {
    source: ObjectBody,
    /// Where the object is in blocks.
    reading: Option<BlockReader>,
    position: u64,
    end: u64,
}

impl Reader {
    /// A reader of what is kept whole, or of no byte of an object in blocks.
    pub(super) fn new(source: ObjectBody) -> Self {
        let end = source.length();
        Self { source, reading: None, position: 0, end }
    }

    /// A reader of an object in blocks.
    pub(super) fn of_blocks(source: ObjectBody, reading: BlockReader) -> Self {
        Self { reading: Some(reading), ..Self::new(source) }
    }
}

#[async_trait]
impl HandleHit for Reader {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let read = match &mut self.reading {
            None => self
                .source
                .read(self.position, self.end)
                .await
                .map_err(|Truncated| BlockError::Truncated),
            Some(reading) => reading.read(self.position, self.end).await,
        };
        let bytes = read
            .map_err(|error| Error::explain(ErrorType::ReadError, error.to_string()).into_up())?;
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
        self.end = end.map_or(self.source.length(), |end| end as u64);
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// Makes the head of a part of the head of the whole, and tells Pingora which part that is.
pub(super) fn part_of(serving: &Serving, length: u64, head: &mut ResponseHeader) -> RangeType {
    let made = match serving {
        Serving::Part(part) => one_part(part, length, head),
        Serving::Parts(parts) => many_parts(parts, length, head),
        Serving::Unsatisfiable => Ok(RangeType::Invalid),
        Serving::Whole | Serving::NotModified | Serving::PreconditionFailed => Ok(RangeType::None),
    };
    // No part is wrong to leave out: the whole is an answer to every range.
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
        _ => Err(Error::explain(ErrorType::InternalError, "a range beyond the address space")),
    }
}

/// The refusal an object at hand may end in.
pub(super) fn refused(serving: &Serving, length: u64) -> Option<Refusal> {
    match serving {
        Serving::PreconditionFailed => Some(Refusal::PreconditionFailed),
        Serving::Unsatisfiable => Some(Refusal::RangeNotSatisfiable(Some(length))),
        _ => None,
    }
}

/// A refusal without a body, in the place of an object's head.
pub(super) fn refused_head(refusal: &Refusal, request_id: &str) -> Result<ResponseHeader> {
    let mut answer = refusal.answer(None, "", request_id);
    answer.body.clear();
    let mut head = answer_head(&answer)?;
    head.remove_header(&CONTENT_TYPE);
    Ok(head)
}

/// `Age` for what was kept from before (RFC 9111, section 5.1), none for what has just arrived.
pub(super) fn set_age(head: &mut ResponseHeader, found: &Lookup, age: u64) -> Result<()> {
    if found.status.is_hit() { head.insert_header(AGE, HeaderValue::from(age)) } else { Ok(()) }
}

/// The name of this cache, before what it did.
pub(super) fn cache_status(status: CacheStatus, blocks: BlockCounts) -> Option<HeaderValue> {
    let mut text = String::with_capacity(64);
    text.push_str("s3proxy; ");
    status.push_to(&mut text, blocks);
    HeaderValue::try_from(text).ok()
}
