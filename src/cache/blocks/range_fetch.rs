//! Fetching adjacent blocks: one request to the store, whose body fills one block after the other. It
//! is a task of its own, which ends early when no reader follows the blocks that are left.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::task::JoinSet;

use crate::cache::blocks::arrival::{Arrival, BlockError};
use crate::cache::blocks::arriving_body::BlockReservation;
use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::blocks::layout::Layout;
use crate::cache::blocks::object::{Block, Blocks};
use crate::cache::blocks::version::Version;
use crate::cache::body::StoredBody;
use crate::cache::clock::now;
use crate::cache::disk::DiskRecord;
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::fill::{FILL_TIME, FillBuffer, Truncated};
use crate::cache::freshness::Freshness;
use crate::cache::request::CacheRequest;
use crate::cache::stored_headers::whole_length;
use crate::cache::tiers::{DiskChange, SharedChange};
use crate::protocol::range::ByteRange;
use crate::response::refusal::Refusal;
use crate::trace::span::Span;
use crate::upstream::admission::QueueTimeout;
use crate::upstream::answer::content_length;
use crate::upstream::client::{FetchReport, FetchRequest, FetchResponse, FetchResult, StoreBody};

/// Blocks of one fetch that the shared tier is asked for, at most.
const MAX_SHARED: usize = 64;

/// Adjacent blocks to fetch.
pub(super) struct RangeFetch {
    pub(super) fetches: Arc<BlockFetches>,
    pub(super) request: Arc<CacheRequest>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) layout: Layout,
    pub(super) reservations: VecDeque<BlockReservation>,
    pub(super) queue_timeout: QueueTimeout,
}

impl RangeFetch {
    /// Fetches in a task of its own.
    pub(super) fn begin(self) {
        let _runs_on = tokio::spawn(self.run());
    }

    async fn run(mut self) {
        if let Some(reservation) = self.reservations.pop_front() {
            // Blocks that may be on disk come alone.
            let on_disk = match reservation.on_disk {
                true => self.block_on_disk(&reservation).await,
                false => None,
            };
            match on_disk {
                Some((entry, block)) => {
                    return self.store_found(reservation, entry, Arrival::OnDisk(block));
                }
                None => self.reservations.push_front(reservation),
            }
        }
        self.take_shared().await;
        // What another replica has may lie in between.
        let mut rest = std::mem::take(&mut self.reservations);
        while let Some(first) = rest.pop_front() {
            let mut next = first.index + 1;
            let mut adjacent = VecDeque::from([first]);
            while let Some(reservation) = rest.pop_front_if(|it| it.index == next && it.from == 0) {
                next += 1;
                adjacent.push_back(reservation);
            }
            if rest.is_empty() {
                self.reservations = adjacent;
                return self.ask_store().await;
            }
            let _runs_on = tokio::spawn(self.part(adjacent).ask_store());
        }
    }

    /// The same fetch for some of its blocks.
    fn part(&self, reservations: VecDeque<BlockReservation>) -> Self {
        let Self { fetches, request, blocks, layout, queue_timeout, reservations: _ } = self;
        Self {
            fetches: Arc::clone(fetches),
            request: Arc::clone(request),
            blocks: Arc::clone(blocks),
            layout: *layout,
            reservations,
            queue_timeout: *queue_timeout,
        }
    }

    async fn ask_store(self) {
        let statistics = self.fetches.tiers.statistics();
        if !self.reservations.iter().any(|it| it.leader.has_followers()) {
            statistics.block_fetches_abandoned.inc();
            return;
        }
        let (Some(first), Some(last)) = (self.reservations.front(), self.reservations.back())
        else {
            return;
        };
        let layout = self.layout;
        let start = layout.bytes(first.index).start + first.from;
        let range = start..layout.bytes(last.index).end;
        let requested_at = now();
        statistics.block_fetches.inc();
        let RangeResult { report, outcome } =
            self.fetches.fetch_range(&self.request, &self.blocks, &range, self.queue_timeout).await;
        let outcome = match outcome {
            Ok(part) if part.start == range.start => Ok(part.body),
            Ok(_) => Err(BlockError::NoRanges),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(body) => self.fill_blocks(body, requested_at).await,
            Err(error) => {
                self.fetches.note_error(&self.request, &self.blocks, &error);
                let report = Arc::new(report);
                for reservation in &self.reservations {
                    let (error, report) = (error.clone(), Arc::clone(&report));
                    reservation.leader.finish(Arrival::Failed { error, report });
                }
            }
        }
    }

    /// Fills all blocks from a body that begins with the first of them.
    async fn fill_blocks(mut self, mut body: StoreBody, requested_at: SystemTime) {
        let statistics = self.fetches.tiers.statistics();
        let mut rest = Bytes::new();
        while let Some(reservation) = self.reservations.pop_front() {
            let is_followed = |it: &BlockReservation| it.leader.has_followers();
            if !is_followed(&reservation) && !self.reservations.iter().any(is_followed) {
                statistics.block_fetches_abandoned.inc();
                return;
            }
            let (from, fill) = (reservation.from, Arc::clone(&reservation.fill));
            reservation.leader.publish(Arrival::Filling { from, fill, body: Weak::new() });
            let filled = fill_one(&reservation.fill, &mut body, &mut rest);
            let filled = tokio::time::timeout(FILL_TIME, filled).await;
            let Ok(Ok(body)) = filled else {
                statistics.cut_fills.inc();
                return;
            };
            self.fetches.store_block(reservation, body, requested_at);
        }
    }

    /// The block on disk.
    async fn block_on_disk(
        &self,
        reservation: &BlockReservation,
    ) -> Option<(Arc<Entry>, Arc<Block>)> {
        let record = self
            .fetches
            .tiers
            .lookup_block_on_disk(&reservation.key, reservation.room.held())
            .await?;
        let bytes = self.layout.bytes(reservation.index);
        if record.body.len() != bytes.end - bytes.start {
            return None;
        }
        Some(entry_of(reservation, record))
    }

    /// Stores the blocks that the shared tier has.
    async fn take_shared(&mut self) {
        let tiers = &self.fetches.tiers;
        let mut lookups = JoinSet::new();
        let whole = self.reservations.iter().filter(|it| it.from == 0 && tiers.shares(&it.key, 0));
        for reservation in whole.take(MAX_SHARED) {
            let (tiers, key, index) =
                (Arc::clone(tiers), reservation.key.clone(), reservation.index);
            let bytes = self.layout.bytes(index);
            lookups.spawn(async move {
                (index, tiers.lookup_block_in_shared(&key, bytes.end - bytes.start).await)
            });
        }
        let mut found = HashMap::new();
        while let Some(lookup) = lookups.join_next().await {
            if let Ok((index, Some(record))) = lookup {
                found.insert(index, record);
            }
        }
        for reservation in std::mem::take(&mut self.reservations) {
            match found.remove(&reservation.index) {
                Some(record) => {
                    let (entry, block) = entry_of(&reservation, record);
                    self.store_found(reservation, entry, Arrival::Shared(block));
                }
                None => self.reservations.push_back(reservation),
            }
        }
    }

    /// Stores a block that a lower tier has.
    fn store_found(&self, mut reservation: BlockReservation, entry: Arc<Entry>, arrival: Arrival) {
        reservation.room.free_room();
        self.fetches.tiers.store(&reservation.leader, entry, DiskChange::None, SharedChange::None);
        reservation.leader.finish(arrival);
    }
}

/// The block of a record, in the room that is reserved for it.
fn entry_of(reservation: &BlockReservation, record: DiskRecord) -> (Arc<Entry>, Arc<Block>) {
    let held = Arc::clone(reservation.room.held());
    let DiskRecord { key, requested_at, freshness, body, .. } = record;
    let block = Arc::new(Block::new(0, body, held));
    let content = EntryContent::Block(Arc::clone(&block));
    (Arc::new(Entry { key, requested_at, settings: None, freshness, content, pin: None }), block)
}

/// Fills one block, and leaves the bytes of the next one in `rest`.
async fn fill_one(
    fill: &FillBuffer,
    body: &mut StoreBody,
    rest: &mut Bytes,
) -> Result<StoredBody, Truncated> {
    let mut left = fill.length();
    while left > 0 {
        if rest.is_empty() {
            *rest = body.next().await.ok().flatten().ok_or(Truncated)?;
        }
        let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= taken as u64;
        fill.push(own_memory(rest.split_to(taken), fill.length()))?;
    }
    fill.complete()
}

/// A piece of a block of this length, in memory of its own if the block is small: what it shared with
/// other blocks would stay in memory as long as the last of them.
pub(super) fn own_memory(bytes: Bytes, length: u64) -> Bytes {
    const SMALL: u64 = 32 << 10;
    if length < SMALL { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// The result of a request to the store for a range.
pub(super) struct RangeResult {
    pub(super) report: FetchReport,
    pub(super) outcome: Result<RangeBody, BlockError>,
}

/// Bytes of the right version of an object.
pub(super) struct RangeBody {
    /// The position of the first byte: 0 if the store does not support ranges.
    pub(super) start: u64,
    pub(super) body: StoreBody,
}

impl BlockFetches {
    /// Stores a complete block.
    pub(super) fn store_block(
        &self,
        mut reservation: BlockReservation,
        body: StoredBody,
        requested_at: SystemTime,
    ) {
        let tiers = &self.tiers;
        tiers.statistics().blocks_fetched.inc();
        let change = if reservation.from == 0 && tiers.disk_takes_block(body.len()) {
            DiskChange::Write { headers: HeaderMap::new(), body: body.clone() }
        } else {
            DiskChange::None
        };
        let is_shared = reservation.from == 0 && tiers.shares(&reservation.key, body.len());
        let shared = if is_shared {
            SharedChange::Write { headers: HeaderMap::new(), body: body.clone() }
        } else {
            SharedChange::None
        };
        let held = Arc::clone(reservation.room.held());
        let block = Arc::new(Block::new(reservation.from, body, held));
        let freshness = Freshness::for_a_while(requested_at, Duration::ZERO);
        let (key, content) = (reservation.key.clone(), EntryContent::Block(block));
        let entry =
            Arc::new(Entry { key, requested_at, settings: None, freshness, content, pin: None });
        reservation.room.free_room();
        tiers.store(&reservation.leader, entry, change, shared);
        reservation.leader.detach();
        reservation.fill.end();
    }

    /// Requests a range of this version of an object from the store.
    pub(super) async fn fetch_range(
        &self,
        request: &CacheRequest,
        blocks: &Blocks,
        range: &Range<u64>,
        queue_timeout: QueueTimeout,
    ) -> RangeResult {
        let profile = request.store.profile.label();
        let with_condition = self.unreliable.keeps_to_if_match(profile, now());
        let result =
            self.request_range(request, blocks, range, queue_timeout, with_condition).await;
        let is_refused = matches!(result.report.status, Some(412)) && with_condition;
        // Of several endpoints each may have a copy with a tag of its own: the 412 says nothing about `If-Match`.
        if !is_refused || request.store.endpoints.are_several() {
            return result;
        }
        // The response has begun, and would be cut: it is worth a request to know.
        let has_begun = queue_timeout == QueueTimeout::Long;
        if !has_begun || !self.has_this_version(request, blocks).await {
            self.unreliable.note_refused(&request.key, &blocks.version);
            return result;
        }
        // The answers name their version, and each is compared.
        self.note_if_match_refused(request);
        self.request_range(request, blocks, range, queue_timeout, false).await
    }

    /// Notes that the store of this request has refused `If-Match` with the right entity tag.
    pub(super) fn note_if_match_refused(&self, request: &CacheRequest) {
        let profile = request.store.profile.label();
        if self.unreliable.note_if_match_refused(profile, now()) {
            log::warn!(
                "profile {profile}: the store answers 412 to If-Match with the object's own entity tag \
                 ({}); ranges are requested without If-Match",
                request.address.name()
            );
        }
    }

    /// Whether the store still has this version, although it has refused `If-Match` with its tag.
    async fn has_this_version(&self, request: &CacheRequest, blocks: &Blocks) -> bool {
        let first = 0..1_u64.min(blocks.layout.length);
        let queue_timeout = QueueTimeout::Short;
        let one = self.request_range(request, blocks, &first, queue_timeout, false).await;
        match one.outcome {
            Ok(mut part) => {
                // One byte, so that the connection can be used again.
                let _read = part.body.next().await;
                true
            }
            Err(_) => false,
        }
    }

    async fn request_range(
        &self,
        request: &CacheRequest,
        blocks: &Blocks,
        range: &Range<u64>,
        queue_timeout: QueueTimeout,
        with_condition: bool,
    ) -> RangeResult {
        let last = range.end.saturating_sub(1);
        let span = request.trace.as_ref().and_then(|trace| trace.part("fetch"));
        let own = span.as_ref().map(Span::parent);
        let question = FetchRequest {
            range: Some(ByteRange::FromTo { first: range.start, last: Some(last) }),
            if_match: with_condition.then(|| blocks.version.etag.clone()),
            patience: queue_timeout,
            ..FetchRequest::of(own.as_ref().or(request.trace.as_ref()))
        };
        let FetchResult { report, outcome } =
            self.client.fetch(&request.store.newest(), request.target(), &question).await;
        RangeResult { report, outcome: checked(outcome, &blocks.version, range.start) }
    }
}

/// The body, if the response is about the right version.
fn checked(
    outcome: Result<FetchResponse, Refusal>,
    version: &Version,
    start: u64,
) -> Result<RangeBody, BlockError> {
    match outcome {
        Ok(FetchResponse::Object { headers, .. }) if Version::of(&headers, 0).is_none() => {
            Err(BlockError::NoRanges)
        }
        Ok(FetchResponse::Object { status: StatusCode::PARTIAL_CONTENT, headers, body }) => {
            let fits = version.is_of(&headers, whole_length(&headers));
            if fits { Ok(RangeBody { start, body }) } else { Err(BlockError::Changed) }
        }
        Ok(FetchResponse::Object { headers, body, .. }) => {
            let fits = version.is_of(&headers, content_length(&headers));
            if fits { Ok(RangeBody { start: 0, body }) } else { Err(BlockError::Changed) }
        }
        Ok(FetchResponse::NotModified(_)) => Err(BlockError::Refused(Refusal::UpstreamProtocol)),
        Err(
            Refusal::PreconditionFailed | Refusal::ObjectNotFound | Refusal::RangeNotSatisfiable(_),
        ) => Err(BlockError::Changed),
        Err(Refusal::UpstreamForbidden) => Err(BlockError::AccessLost),
        Err(refusal) => Err(BlockError::Refused(refusal)),
    }
}
