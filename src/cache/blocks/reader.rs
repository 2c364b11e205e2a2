//! Reading an object in blocks for one client: which blocks it needs, fetched a little ahead of it, and
//! the bytes of the block it is at.

pub(in crate::cache) mod counter;
mod expected;
mod pass_through;
mod window;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::blocks::arrival::{Arrival, Arrivals, BlockError, BlockFetch};
use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::blocks::object::{Block, Blocks};
use crate::cache::blocks::range_fetch::{RangeBody, RangeResult};
use crate::cache::blocks::reader::counter::{BlockCounter, count, count_one};
use crate::cache::blocks::reader::pass_through::PassThrough;
use crate::cache::blocks::tier::FIRST_BLOCKS;
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
    /// Blocks that it needs and has not looked up, in order.
    remaining: VecDeque<Range<u64>>,
    /// Blocks that it has looked up, the one that it is at first.
    pending: VecDeque<(u64, PendingBlock)>,
    /// How many blocks it looks up ahead, and at most.
    window: u64,
    max_window: u64,
    /// Whether it had to wait for the store since it looked blocks up.
    waited: bool,
    /// Blocks that were fetched with the head of the object: they come from the store, even if they
    /// are in memory by now.
    arriving: Range<u64>,
    /// Blocks after its end, for the next request of its client.
    read_ahead: Range<u64>,
    read_ahead_fetches: Vec<Arc<BlockFetch>>,
    /// Where its ranges begin and end.
    start: u64,
    end: u64,
    /// The end of the bytes that it read last.
    position: u64,
    pass_through: Option<PassThrough>,
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
    },
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
        arriving: Option<Arrivals>,
    ) -> Result<Self, OpenError> {
        let mut reader = Self::new(fetches, request, blocks, ranges);
        let window = reader.window;
        if let Some(arriving) = &arriving {
            // A fetch without followers is abandoned, so all these blocks are followed at once.
            let blocks = arriving.blocks.end - arriving.blocks.start;
            reader.window = window.max(blocks).min(reader.max_window);
            reader.arriving = arriving.blocks.clone();
        }
        reader.extend_window();
        reader.window = window;
        // The reader follows them now, as far as it needs them.
        drop(arriving);
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
    ) -> Self {
        let layout = blocks.layout;
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
        let limits = fetches.tiers.blocks();
        let max_window = (limits.max_request() / layout.size).max(1);
        let all = count_of(&remaining);
        let bounded = request.extent.is_bounded();
        let window = if bounded { all.clamp(1, max_window) } else { FIRST_BLOCKS.min(max_window) };
        let start = ranges.first().map_or(0, |range| range.start);
        let end = ranges.last().map_or(0, |range| range.end);
        let read_ahead = match ranges {
            [range] if bounded && limits.reads_ahead() => {
                let ahead = blocks.streams().note(range, layout.size, max_window);
                let next = remaining.back().map_or(0, |last| last.end);
                next..next.saturating_add(ahead).min(layout.count())
            }
            _ => 0..0,
        };
        Self {
            fetches: Arc::clone(fetches),
            request: Arc::clone(request),
            blocks: Arc::clone(blocks),
            remaining,
            pending: VecDeque::new(),
            window,
            max_window,
            waited: false,
            arriving: 0..0,
            read_ahead,
            read_ahead_fetches: Vec::new(),
            start,
            end,
            position: start,
            pass_through: None,
            counter: Arc::default(),
            expected: BlockCounts::default(),
        }
    }

    /// Waits until the first byte is in memory or arriving.
    async fn begin(&mut self, ranges: &[Range<u64>]) -> Result<(), OpenError> {
        let Some(first) = ranges.first() else { return Ok(()) };
        let layout = self.blocks.layout;
        let index = layout.index(first.start);
        if !self.arrive(index, first.start - layout.bytes(index).start).await? {
            self.begin_pass_through(first.start, first.end).await?;
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
            Some(bytes) => Some(bytes),
            None => Box::pin(self.wait_for_bytes(position, end)).await.map_err(|it| it.error)?,
        };
        self.position = position + read.as_ref().map_or(0, Bytes::len) as u64;
        Ok(read)
    }

    /// Bytes of the block that it is at, if that is in memory.
    fn cached_bytes(&self, position: u64, end: u64) -> Option<Bytes> {
        let layout = self.blocks.layout;
        let index = layout.index(position);
        match self.pending.front() {
            Some((at, PendingBlock::Cached(block)))
                if *at == index && self.pass_through.is_none() =>
            {
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
        let index = self.blocks.layout.index(position);
        let bytes = self.blocks.layout.bytes(index);
        let (offset, until) = (position - bytes.start, end.min(bytes.end) - bytes.start);
        self.pass_through.take_if(|it| !it.is_at(position));
        for _ in 0..MAX_TRIES {
            if self.pass_through.is_none() && !self.arrive(index, offset).await? {
                self.begin_pass_through(position, end).await?;
            }
            if let Some(pass_through) = &mut self.pass_through {
                match pass_through.read(end).await {
                    Some(bytes) => return Ok(Some(bytes)),
                    None => self.pass_through = None,
                }
                continue;
            }
            match self.pending.front() {
                Some((_, PendingBlock::Cached(block))) => {
                    return Ok(block.body.read(offset - block.from, until - block.from));
                }
                Some((_, PendingBlock::Filling { from, fill, .. })) => {
                    self.waited |= fill.is_filling();
                    if let Ok(bytes) = fill.read(offset - from, until - from).await {
                        return Ok(bytes);
                    }
                    self.retry();
                }
                Some((_, PendingBlock::InFlight { .. })) | None => {}
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
        while self.remaining.front().is_some_and(|run| run.start < index) {
            // Its bytes passed through.
            self.next_remaining();
        }
        for _ in 0..MAX_TRIES {
            self.extend_window();
            let Some((at, block)) = self.pending.front_mut() else { return Ok(false) };
            if *at != index {
                return Ok(false);
            }
            let fetch = match block {
                PendingBlock::Cached(block) => return Ok(block.from <= offset),
                PendingBlock::Filling { from, .. } => return Ok(*from <= offset),
                PendingBlock::InFlight { fetch, .. } => Arc::clone(fetch),
            };
            self.waited = true;
            let was_published = fetch.is_published();
            match fetch.outcome().await {
                Some(Arrival::OnDisk(stored)) => {
                    count_one(&self.counter.disk);
                    self.fetches.tiers.statistics().block_disk_hits.inc();
                    *block = PendingBlock::Cached(stored);
                }
                Some(Arrival::Filling { from, fill }) => {
                    count_one(&self.counter.store);
                    *block = PendingBlock::Filling { from, fill, _follows: fetch };
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

    /// Requests the next bytes of a range for this reader alone: at most one request of the largest
    /// size, after which blocks are tried again.
    async fn begin_pass_through(&mut self, position: u64, end: u64) -> Result<(), OpenError> {
        self.put_all_back();
        let layout = self.blocks.layout;
        let last = layout.index(position).saturating_add(self.max_window - 1);
        let end = end.min(layout.bytes(last).end.max(position + 1));
        let blocks = layout.touched(&(position..end));
        count(&self.counter.store, blocks.end - blocks.start);
        self.fetches.tiers.statistics().direct_reads.inc();
        let range = position..end;
        let (fetches, queue_timeout) = (&self.fetches, self.queue_timeout());
        let RangeResult { report, outcome } =
            fetches.fetch_range(&self.request, &self.blocks, &range, queue_timeout).await;
        match outcome {
            Ok(RangeBody { start, body }) => {
                let skip = position.saturating_sub(start);
                if skip > 0 {
                    fetches.note_error(&self.request, &self.blocks, &BlockError::NoRanges);
                }
                // The body is read to its end, since a further request would bring it all again.
                let end = if skip > 0 { self.end } else { end };
                self.pass_through = Some(PassThrough::new(body, position, end, skip));
                Ok(())
            }
            Err(error) => {
                fetches.note_error(&self.request, &self.blocks, &error);
                Err(OpenError { error, report: Some(Arc::new(report)) })
            }
        }
    }

    /// Whether the response begins with bytes that pass through, which are not stored.
    #[must_use]
    pub fn is_pass_through(&self) -> bool {
        self.pass_through.is_some()
    }

    /// A response that has begun would be cut, so it waits longer for a permit.
    fn queue_timeout(&self) -> QueueTimeout {
        if self.position > self.start { QueueTimeout::Long } else { QueueTimeout::Short }
    }
}

impl Drop for BlockReader {
    fn drop(&mut self) {
        let read_ahead = std::mem::take(&mut self.read_ahead_fetches);
        // Nothing is read ahead for a client that has left before its end.
        if self.position < self.end || read_ahead.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let _runs_on = runtime.spawn(follow(read_ahead));
        }
    }
}

/// Follows these fetches until their blocks have arrived.
async fn follow(fetches: Vec<Arc<BlockFetch>>) {
    for fetch in fetches {
        if let Some(Arrival::Filling { fill, .. }) = fetch.outcome().await {
            let last = fill.length().saturating_sub(1);
            let _arrived = fill.read(last, fill.length()).await;
        }
    }
}

/// The number of blocks in these runs.
fn count_of(runs: &VecDeque<Range<u64>>) -> u64 {
    runs.iter().map(|run| run.end - run.start).sum()
}
