//! Reading an object in blocks for one client: which blocks it needs, fetched a little ahead of it, and
//! the bytes of the block it is at.

pub(in crate::cache) mod counter;
mod expected;
mod own_body;
mod slow_start;
mod window;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::blocks::arrival::{Arrival, BlockError, BlockFetch};
use crate::cache::blocks::arriving_body::BlockReservation;
use crate::cache::blocks::arriving_body::{ArrivingBody, BodySlot};
use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::blocks::fill_as_read::Delivery;
use crate::cache::blocks::layout::Layout;
use crate::cache::blocks::object::{Block, Blocks};
use crate::cache::blocks::range_fetch::{RangeBody, RangeResult};
use crate::cache::blocks::reader::counter::{BlockCounter, count_one};
use crate::cache::blocks::reader::own_body::OwnBody;
use crate::cache::blocks::reader::slow_start::SlowStart;
use crate::cache::blocks::reader::window::{follow, skip_before};
use crate::cache::blocks::tier::FIRST_BLOCKS;
use crate::cache::clock::now;
use crate::cache::fill::FillBuffer;
use crate::cache::request::CacheRequest;
use crate::protocol::cache_status::BlockCounts;
use crate::response::refusal::Refusal;
use crate::upstream::admission::QueueTimeout;
use crate::upstream::client::FetchReport;

/// How often a block is tried again whose fetch was abandoned.
const MAX_TRIES: usize = 3;

/// Why a response cannot begin, and the exchange with the store.
#[derive(Debug)]
pub struct OpenError {
    pub error: BlockError,
    pub report: Option<Arc<FetchReport>>,
}

impl From<BlockError> for OpenError {
    fn from(error: BlockError) -> Self {
        Self { error, report: None }
    }
}

/// Reads byte ranges of an object in blocks.
#[derive(Debug)]
pub struct BlockReader {
    fetches: Arc<BlockFetches>,
    request: Arc<CacheRequest>,
    blocks: Arc<Blocks>,
    /// Of the blocks that it looks up: parts of the object's blocks if its range is small.
    layout: Layout,
    /// Blocks that it needs and has not looked up, in order.
    remaining: VecDeque<Range<u64>>,
    /// Blocks that it has looked up, the one that it is at first.
    pending: VecDeque<(u64, PendingBlock)>,
    /// How many blocks it looks up ahead, and at most.
    window: u64,
    max_window: u64,
    /// Whether it had to wait for the store since it looked blocks up.
    waited: bool,
    /// Blocks after its end, for the next request of its client.
    read_ahead: Range<u64>,
    read_ahead_fetches: Vec<Arc<BlockFetch>>,
    /// Where its ranges begin and end, and the end of the bytes that it read last.
    start: u64,
    end: u64,
    position: u64,
    /// The store's body that it reads now, and nobody else.
    own_body: Option<OwnBody>,
    /// The block of that body that was counted last.
    counted: Option<u64>,
    pace: SlowStart,
    /// The bytes from this position on, which its client gets when it has taken those before.
    held_back: Option<(u64, Bytes)>,
    counter: Arc<BlockCounter>,
    /// Where the blocks come from, as far as known when the response begins.
    expected: BlockCounts,
}

/// A block that was looked up.
#[derive(Debug)]
enum PendingBlock {
    Cached(Arc<Block>),
    InFlight {
        fetch: Arc<BlockFetch>,
        on_disk: bool,
    },
    Filling {
        from: u64,
        fill: Arc<FillBuffer>,
        /// The fetch goes on as long as it has followers.
        _follows: Arc<BlockFetch>,
        /// The body of another reader that fills it.
        body: Option<Arc<ArrivingBody>>,
    },
    /// The first of many missing blocks, up to this position: they come in one request, as the
    /// reader's own body.
    Gap(BlockReservation, u64),
}

impl BlockReader {
    /// Opens these ranges of an object, in ascending order and without overlap. Returns when the first
    /// byte is in memory or arriving.
    ///
    /// # Errors
    /// When the store has another version, or fails: the response to the client has not begun.
    pub async fn open(
        fetches: &Arc<BlockFetches>,
        request: &Arc<CacheRequest>,
        blocks: &Arc<Blocks>,
        ranges: &[Range<u64>],
        arriving: Option<BodySlot>,
    ) -> Result<Self, OpenError> {
        let slot_layout = match (&arriving, ranges) {
            (Some(slot), [range]) => slot.layout_for(range),
            _ => None,
        };
        let mut reader = Self::new(fetches, request, blocks, ranges, slot_layout);
        if let Some(slot) = arriving {
            match ranges {
                [range] if let Some(body) = slot.take_for(range) => reader.own(body, range.start),
                _ => {
                    if let Some(body) = slot.take() {
                        body.client_left();
                        body.finish(fetches, reader.max_window * reader.layout.size);
                    }
                }
            }
        }
        reader.extend_window();
        // Boxed, like everything here that waits: most readers find their first block in memory.
        if reader.cached_bytes(reader.start, reader.end).is_none() {
            Box::pin(reader.begin(ranges)).await?;
        }
        reader.count_expected().await;
        Ok(reader)
    }

    fn new(
        fetches: &Arc<BlockFetches>,
        request: &Arc<CacheRequest>,
        blocks: &Arc<Blocks>,
        ranges: &[Range<u64>],
        layout: Option<Layout>,
    ) -> Self {
        let limits = fetches.tiers.blocks();
        let bounded = request.extent.is_bounded();
        let most = limits.max_request();
        let ahead = match ranges {
            [range] if bounded && limits.reads_ahead() => {
                blocks.streams().note(range, blocks.layout.size, most)
            }
            _ => 0,
        };
        let start = ranges.first().map_or(0, |range| range.start);
        let layout = layout.unwrap_or_else(|| match ranges.first() {
            // A client that has read half a block in order will read the other half.
            Some(range) if bounded && ahead < blocks.layout.size / 2 => {
                let small = blocks.layout_for(range.end - range.start);
                let larger = || fetches.larger_at_hand(request, blocks, small, ranges);
                match small == blocks.layout {
                    true => fetches.layout_from(request, blocks, start, false),
                    false => larger().unwrap_or(small),
                }
            }
            _ => fetches.layout_from(request, blocks, start, !bounded),
        });
        let mut remaining: VecDeque<Range<u64>> = VecDeque::new();
        for range in ranges {
            let touched = layout.touched(range);
            let done = remaining.back().map_or(0, |last| last.end);
            match remaining.back_mut() {
                Some(last) if touched.start <= last.end => last.end = touched.end.max(done),
                _ if !touched.is_empty() => remaining.push_back(touched),
                _ => {}
            }
        }
        let max_window = (most / layout.size).max(1);
        let all = count_of(&remaining);
        let window = if bounded { all.clamp(1, max_window) } else { FIRST_BLOCKS.min(max_window) };
        let end = ranges.last().map_or(0, |range| range.end);
        let next = remaining.back().map_or(0, |last| last.end);
        let read_ahead = next..next.saturating_add(ahead / layout.size).min(layout.count());
        Self {
            fetches: Arc::clone(fetches),
            request: Arc::clone(request),
            blocks: Arc::clone(blocks),
            layout,
            remaining,
            pending: VecDeque::new(),
            window,
            max_window,
            waited: false,
            read_ahead,
            read_ahead_fetches: Vec::new(),
            start,
            end,
            position: start,
            own_body: None,
            counted: None,
            pace: SlowStart::new(!bounded),
            held_back: None,
            counter: Arc::default(),
            expected: BlockCounts::default(),
        }
    }

    /// Waits until the first byte is in memory or arriving.
    async fn begin(&mut self, ranges: &[Range<u64>]) -> Result<(), OpenError> {
        let Some(first) = ranges.first().filter(|_| self.own_body.is_none()) else {
            return Ok(());
        };
        let layout = self.layout;
        let index = layout.index(first.start);
        if !self.arrive(index, first.start - layout.bytes(index).start).await? {
            self.begin_own_body(first.clone(), first.start, None).await?;
        }
        Ok(())
    }

    /// Bytes from `position` on, not beyond `end`, as soon as there are any; `None` at the end.
    ///
    /// # Errors
    /// The reason why the rest does not arrive.
    pub async fn read(&mut self, position: u64, end: u64) -> Result<Option<Bytes>, BlockError> {
        if position >= end {
            return Ok(None);
        }
        let read = match self.cached_bytes(position, end) {
            _ if let Some((at, bytes)) = &self.held_back
                && *at == position =>
            {
                let next = position + bytes.len() as u64;
                self.wait_for_client(next).await;
                self.held_back.take().map(|(_, bytes)| bytes)
            }
            Some(bytes) => Some(self.hold_back(position, end, bytes)),
            None => {
                self.wait_for_client(position).await;
                let read = Box::pin(self.wait_for_bytes(position, end)).await;
                let read = read.map_err(|it| it.error)?;
                read.map(|bytes| self.hold_back(position, end, bytes))
            }
        };
        self.position = position + read.as_ref().map_or(0, Bytes::len) as u64;
        Ok(read)
    }

    /// Bytes of the block that it is at, if that is in memory.
    fn cached_bytes(&self, position: u64, end: u64) -> Option<Bytes> {
        let layout = self.layout;
        let index = layout.index(position);
        match self.pending.front() {
            Some((at, PendingBlock::Cached(block))) if *at == index && self.own_body.is_none() => {
                let bytes = layout.bytes(index);
                let from = bytes.start + block.from;
                let first = position.checked_sub(from)?;
                block.body.read(first, end.min(bytes.end).checked_sub(from)?)
            }
            _ => None,
        }
    }

    /// If the store's body ends early, the block in which it ended is requested again.
    async fn wait_for_bytes(
        &mut self,
        position: u64,
        end: u64,
    ) -> Result<Option<Bytes>, OpenError> {
        let index = self.layout.index(position);
        let bytes = self.layout.bytes(index);
        let (offset, until) = (position - bytes.start, end.min(bytes.end) - bytes.start);
        if self.own_body.as_ref().is_some_and(|it| !it.is_at(position)) {
            self.leave_own_body(position);
        }
        for _ in 0..MAX_TRIES {
            if self.own_body.is_none() && !self.arrive(index, offset).await? {
                self.begin_own_body(position..end, position, None).await?;
            }
            if let Some(own) = &mut self.own_body {
                match own.read(&self.fetches, end).await {
                    Some(bytes) => {
                        if self.counted.replace(index) != Some(index) {
                            count_one(&self.counter.store);
                        }
                        return Ok(Some(bytes));
                    }
                    None => self.leave_own_body(position),
                }
                continue;
            }
            match self.pending.front() {
                Some((_, PendingBlock::Cached(block))) => {
                    return Ok(block.body.read(offset - block.from, until - block.from));
                }
                Some((_, PendingBlock::Filling { from, fill, body, .. })) => {
                    self.waited |= fill.is_filling();
                    if let Some(body) = body {
                        body.fill_up_to(&self.fetches, fill, offset - from).await;
                    }
                    if let Ok(bytes) = fill.read(offset - from, until - from).await {
                        return Ok(bytes);
                    }
                    self.retry();
                }
                Some((_, PendingBlock::InFlight { .. } | PendingBlock::Gap(..))) | None => {}
            }
        }
        Err(BlockError::Truncated.into())
    }

    /// Looks a block up, whose bytes from `offset` on are needed, and waits until it is in memory or
    /// filling. False if the bytes have to pass through.
    async fn arrive(&mut self, index: u64, offset: u64) -> Result<bool, OpenError> {
        while self.pending.front().is_some_and(|(at, _)| *at < index) {
            self.pending.pop_front();
        }
        // The bytes of those before passed through.
        skip_before(&mut self.remaining, index);
        for _ in 0..MAX_TRIES {
            self.extend_window();
            let Some((at, block)) = self.pending.front_mut() else { return Ok(false) };
            if *at != index {
                return Ok(false);
            }
            if matches!(block, PendingBlock::Gap(..)) {
                let Some((_, PendingBlock::Gap(first, end))) = self.pending.pop_front() else {
                    return Ok(false);
                };
                let start = self.layout.bytes(index).start;
                self.begin_own_body(start..end, start + offset, Some(first)).await?;
                return Ok(true);
            }
            let fetch = match block {
                PendingBlock::Cached(block) => return Ok(block.from <= offset),
                PendingBlock::Filling { from, .. } => return Ok(*from <= offset),
                PendingBlock::InFlight { fetch, .. } => Arc::clone(fetch),
                PendingBlock::Gap(..) => return Ok(false),
            };
            self.waited = true;
            let was_published = fetch.is_published();
            let waiting = self.request.wait_for(fetch.trace.as_ref());
            let outcome = fetch.outcome().await;
            drop(waiting);
            match outcome {
                Some(Arrival::OnDisk(stored)) => {
                    count_one(&self.counter.disk);
                    self.fetches.tiers.statistics().block_disk_hits.inc();
                    *block = PendingBlock::Cached(stored);
                }
                Some(Arrival::Shared(stored)) => {
                    count_one(&self.counter.shared);
                    self.fetches.tiers.statistics().block_shared_hits.inc();
                    *block = PendingBlock::Cached(stored);
                }
                Some(Arrival::Filling { from, fill, body }) => {
                    count_one(&self.counter.store);
                    let body = body.upgrade();
                    *block = PendingBlock::Filling { from, fill, _follows: fetch, body };
                }
                // It failed long ago, while an earlier block was read: the store may have recovered.
                // Or it was requested by a reader with a shorter queue timeout.
                Some(Arrival::Failed { error: BlockError::Refused(refusal), .. })
                    if was_published
                        || refusal == Refusal::UpstreamSaturated
                            && self.queue_timeout() == QueueTimeout::Long =>
                {
                    self.retry();
                }
                // The rest of the response passes through.
                Some(Arrival::Failed { error: BlockError::NoRanges, .. }) => return Ok(false),
                Some(Arrival::Failed { error, report }) => {
                    return Err(OpenError { error, report: Some(report) });
                }
                // Abandoned by the readers that had it fetched.
                None => self.retry(),
            }
        }
        Ok(false)
    }

    /// Counts where its blocks come from, and goes on counting while it reads.
    #[must_use]
    pub fn counter(&self) -> &Arc<BlockCounter> {
        &self.counter
    }

    /// Requests a range for this reader, which is at `position` in it: blocks are filled from it while it
    /// passes, where there is room. `first`: the first block, if it is reserved.
    async fn begin_own_body(
        &mut self,
        range: Range<u64>,
        position: u64,
        first: Option<BlockReservation>,
    ) -> Result<(), OpenError> {
        self.put_all_back();
        self.fetches.tiers.statistics().block_fetches.inc();
        let requested_at = now();
        let (fetches, queue_timeout) = (&self.fetches, self.queue_timeout());
        let RangeResult { report, outcome } =
            fetches.fetch_range(&self.request, &self.blocks, &range, queue_timeout).await;
        match outcome {
            Ok(RangeBody { start, body }) => {
                let fills = start == range.start;
                if !fills {
                    fetches.note_error(&self.request, &self.blocks, &BlockError::NoRanges);
                }
                // A body without its part is read to its end: a further request would bring it again.
                let bytes = if fills { range } else { start..self.layout.length };
                let first = first.filter(|_| fills);
                let delivery = Delivery { bytes, body, requested_at, layout: self.layout, fills };
                let body = ArrivingBody::new(fetches, &self.request, &self.blocks, delivery, first);
                self.own(body, position);
                Ok(())
            }
            Err(error) => {
                fetches.note_error(&self.request, &self.blocks, &error);
                let report = Arc::new(report);
                if let Some(first) = first {
                    let (error, report) = (error.clone(), Arc::clone(&report));
                    first.leader.finish(Arrival::Failed { error, report });
                }
                Err(OpenError { error, report: Some(report) })
            }
        }
    }

    /// Reads this body from `position` on. Its blocks are not looked up.
    fn own(&mut self, body: Arc<ArrivingBody>, position: u64) {
        let end = self.layout.touched(body.bytes()).end;
        skip_before(&mut self.remaining, end);
        self.own_body = Some(OwnBody::new(body, position));
    }

    /// Reads no more of its own body: it has ended, has failed, or the bytes at `position` are not its
    /// next ones. The blocks that it has not brought are looked up.
    fn leave_own_body(&mut self, position: u64) {
        let Some(own) = self.own_body.take() else { return };
        let layout = self.layout;
        let brought = layout.touched(own.bytes());
        let last = layout.index(self.end.saturating_sub(1));
        let missing = layout.index(position)..brought.end.min(last + 1);
        if !missing.is_empty() {
            self.remaining.push_front(missing);
        }
    }

    /// Whether the response begins with bytes that pass through, which are not stored.
    #[must_use]
    pub fn is_pass_through(&self) -> bool {
        self.own_body.as_ref().is_some_and(|own| !own.is_filling())
    }

    /// A response that has begun would be cut, so it waits longer for a permit.
    fn queue_timeout(&self) -> QueueTimeout {
        if self.position > self.start { QueueTimeout::Long } else { QueueTimeout::Short }
    }
}

impl Drop for BlockReader {
    fn drop(&mut self) {
        let read_ahead = std::mem::take(&mut self.read_ahead_fetches);
        if let Some(own) = self.own_body.take() {
            if self.position >= self.end {
                // The client has all it wants: the rest of the last block is on its way.
                own.body().finish(&self.fetches, self.layout.size);
            } else if own.body().left() > 0 {
                self.fetches.tiers.statistics().block_fetches_abandoned.inc();
                own.body().finish_pages(&self.fetches);
            }
        }
        // Nothing is read ahead for a client that has left before its end.
        if self.position < self.end || read_ahead.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let _runs_on = runtime.spawn(follow(read_ahead));
        }
    }
}

/// The number of blocks in these runs.
fn count_of(runs: &VecDeque<Range<u64>>) -> u64 {
    runs.iter().map(|run| run.end - run.start).sum()
}
