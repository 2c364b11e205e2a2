//! One client's reading of an object in blocks: which blocks it will need, fetched a little ahead of
//! it, and the bytes of the one it is at.

mod window;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes};

use crate::cache::Cache;
use crate::cache::blocks::range_fetch::{Asked, Part};
use crate::cache::blocks::reserve::Claim;
use crate::cache::blocks::{Arrival, Arrivals, Block, BlockFlight, Blocks, FIRST_BLOCKS, Trouble};
use crate::cache::fill::Fill;
use crate::cache::request::CacheRequest;
use crate::protocol::cache_status::BlockCounts;
use crate::response::refusal::Refusal;
use crate::upstream::admission::QueueTimeout;
use crate::upstream::client::{Body, FetchReport};

/// How often a block is tried again whose fetch was given up by others.
const MAX_TRIES: usize = 3;
/// Blocks that are looked up for `Cache-Status`; what is beyond counts as not kept.
const MOST_COUNTED: u64 = 256;

/// Why an answer cannot begin, and what is known of the store's part.
#[derive(Debug)]
pub struct Failed {
    pub trouble: Trouble,
    pub report: Option<Arc<FetchReport>>,
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, report: None }
    }
}

/// A reading under way.
#[derive(Debug)]
pub struct Reading {
    cache: Arc<Cache>,
    wanted: Arc<CacheRequest>,
    blocks: Arc<Blocks>,
    /// Blocks it will need and has not come to, in order.
    plan: VecDeque<Range<u64>>,
    /// Blocks it has come to, the one it is at first.
    ahead: VecDeque<(u64, Hold)>,
    /// How many blocks it comes to at once, and at most.
    window: u64,
    widest: u64,
    /// Whether it had to wait for the store since it came to blocks last.
    waited: bool,
    /// Blocks that were fetched with the object's head: kept or not, they came from the store.
    arriving: Range<u64>,
    /// Blocks behind its end, for the next request of its reader.
    beyond: Range<u64>,
    fetched_beyond: Vec<Arc<BlockFlight>>,
    /// Where it begins and ends.
    start: u64,
    end: u64,
    /// What it read last ends here.
    position: u64,
    direct: Option<Direct>,
    counts: Arc<Counts>,
}

/// A block that was come to.
#[derive(Debug)]
enum Hold {
    Kept(Arc<Block>),
    Coming {
        flight: Arc<BlockFlight>,
        on_disk: bool,
    },
    /// Held, the flight says that somebody still wants the block.
    Filling {
        from: u64,
        fill: Arc<Fill>,
        _wanted: Arc<BlockFlight>,
    },
}

/// A part that passes by, because there is no room for its blocks.
#[derive(Debug)]
struct Direct {
    body: Body,
    position: u64,
    end: u64,
    /// Bytes before `position` that come first, of a store that gives no parts.
    skip: u64,
}

/// Where the blocks of an answer came from.
#[derive(Debug, Default)]
pub struct Counts {
    memory: AtomicU64,
    disk: AtomicU64,
    store: AtomicU64,
}

impl Counts {
    /// The numbers so far.
    #[must_use]
    pub fn so_far(&self) -> BlockCounts {
        let [memory, disk, store] =
            [&self.memory, &self.disk, &self.store].map(|count| count.load(Ordering::Relaxed));
        BlockCounts { memory, disk, store }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn coming(claim: &Claim) -> Hold {
    Hold::Coming { flight: Arc::clone(claim.flight()), on_disk: claim.on_disk }
}

impl Cache {
    /// Begins to read these parts of an object, in ascending order and without overlap. Returns when
    /// the first byte is at hand or on its way.
    ///
    /// # Errors
    /// When the store has another version, or fails: nothing has been answered yet.
    pub async fn open(
        self: &Arc<Self>,
        wanted: &Arc<CacheRequest>,
        blocks: &Arc<Blocks>,
        parts: &[Range<u64>],
        arriving: Option<Arrivals>,
    ) -> Result<Reading, Failed> {
        let mut reading = Reading::new(self, wanted, blocks, parts);
        let window = reading.window;
        if let Some(arriving) = &arriving {
            // What is on its way ends when nobody holds it.
            let blocks = arriving.blocks.end - arriving.blocks.start;
            reading.window = window.max(blocks).min(reading.widest);
            reading.arriving = arriving.blocks.clone();
        }
        reading.come_to_blocks();
        reading.window = window;
        // They are held by the reading now, as far as it wants them.
        drop(arriving);
        // Boxed, like all that waits here: most readers find their first block kept.
        if reading.at_hand(reading.start, reading.end).is_none() {
            Box::pin(reading.begin(parts)).await?;
        }
        Ok(reading)
    }
}

impl Reading {
    fn new(
        cache: &Arc<Cache>,
        wanted: &Arc<CacheRequest>,
        blocks: &Arc<Blocks>,
        parts: &[Range<u64>],
    ) -> Self {
        let layout = blocks.layout;
        let mut plan: VecDeque<Range<u64>> = VecDeque::new();
        for part in parts {
            let touched = layout.touched(part);
            let done = plan.back().map_or(0, |last| last.end);
            match plan.back_mut() {
                Some(last) if touched.start <= last.end => last.end = touched.end.max(done),
                _ if !touched.is_empty() => plan.push_back(touched),
                _ => {}
            }
        }
        let widest = (cache.blocks.most_at_once() / layout.size).max(1);
        let all = plan.iter().map(|run| run.end - run.start).sum::<u64>();
        let bounded = wanted.manner.is_bounded();
        let window = if bounded { all.clamp(1, widest) } else { FIRST_BLOCKS.min(widest) };
        let start = parts.first().map_or(0, |part| part.start);
        let end = parts.last().map_or(0, |part| part.end);
        let beyond = match parts {
            [part] if bounded && cache.blocks.config.read_ahead > 0 => {
                let ahead = blocks.streams().note(part, layout.size, widest);
                let next = plan.back().map_or(0, |last| last.end);
                next..next.saturating_add(ahead).min(layout.count())
            }
            _ => 0..0,
        };
        Self {
            cache: Arc::clone(cache),
            wanted: Arc::clone(wanted),
            blocks: Arc::clone(blocks),
            plan,
            ahead: VecDeque::new(),
            window,
            widest,
            waited: false,
            arriving: 0..0,
            beyond,
            fetched_beyond: Vec::new(),
            start,
            end,
            position: start,
            direct: None,
            counts: Arc::default(),
        }
    }

    /// Where its blocks come from; goes on counting while it reads.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Where the blocks of the whole answer would come from, as far as can be told at its beginning.
    #[must_use]
    pub fn expected(&self) -> BlockCounts {
        let mut counts = self.counts.so_far();
        for (_, hold) in &self.ahead {
            match hold {
                Hold::Coming { on_disk: true, .. } => counts.disk += 1,
                Hold::Coming { on_disk: false, .. } => counts.store += 1,
                Hold::Kept(_) | Hold::Filling { .. } => {}
            }
        }
        let mut looked_up = 0;
        for index in self.plan.iter().cloned().flatten() {
            looked_up += 1;
            if looked_up > MOST_COUNTED {
                let left: u64 = self.plan.iter().map(|run| run.end - run.start).sum();
                counts.store += left.saturating_sub(MOST_COUNTED);
                break;
            }
            let key = self.blocks.key_of(&self.wanted.key, index);
            if self.cache.blocks.memory().peek(key.as_bytes()).is_some() {
                counts.memory += 1;
            } else if self.cache.disk.as_ref().is_some_and(|disk| disk.has(&key)) {
                counts.disk += 1;
            } else {
                counts.store += 1;
            }
        }
        counts
    }

    /// Waits until the first byte is at hand or on its way.
    async fn begin(&mut self, parts: &[Range<u64>]) -> Result<(), Failed> {
        let Some(first) = parts.first() else { return Ok(()) };
        let layout = self.blocks.layout;
        let index = layout.index(first.start);
        if !self.arrive(index, first.start - layout.bytes(index).start).await? {
            self.go_direct(first.start, first.end).await?;
        }
        Ok(())
    }

    /// Bytes from `position` on, not beyond `end`, as soon as there are any; `None` at the end.
    ///
    /// # Errors
    /// Why they will never come.
    pub async fn read(&mut self, position: u64, end: u64) -> Result<Option<Bytes>, Trouble> {
        if position >= end {
            return Ok(None);
        }
        let read = match self.at_hand(position, end) {
            Some(bytes) => Some(bytes),
            None => Box::pin(self.read_some(position, end)).await.map_err(|it| it.trouble)?,
        };
        self.position = position + read.as_ref().map_or(0, Bytes::len) as u64;
        Ok(read)
    }

    /// Bytes of the block it is at, if that is kept.
    fn at_hand(&self, position: u64, end: u64) -> Option<Bytes> {
        let layout = self.blocks.layout;
        let index = layout.index(position);
        match self.ahead.front() {
            Some((at, Hold::Kept(block))) if *at == index && self.direct.is_none() => {
                let bytes = layout.bytes(index);
                let from = bytes.start + block.from;
                let first = position.checked_sub(from)?;
                block.body.read(first, end.min(bytes.end).checked_sub(from)?)
            }
            _ => None,
        }
    }

    /// A body that the store cuts is asked for again, from the block on in which it was cut.
    async fn read_some(&mut self, position: u64, end: u64) -> Result<Option<Bytes>, Failed> {
        let index = self.blocks.layout.index(position);
        let bytes = self.blocks.layout.bytes(index);
        let (offset, until) = (position - bytes.start, end.min(bytes.end) - bytes.start);
        self.direct.take_if(|direct| direct.position != position);
        for _ in 0..MAX_TRIES {
            if self.direct.is_none() && !self.arrive(index, offset).await? {
                self.go_direct(position, end).await?;
            }
            if self.direct.is_some() {
                match self.read_direct(end).await {
                    Some(bytes) => return Ok(Some(bytes)),
                    None => self.direct = None,
                }
                continue;
            }
            match self.ahead.front() {
                Some((_, Hold::Kept(block))) => {
                    return Ok(block.body.read(offset - block.from, until - block.from));
                }
                Some((_, Hold::Filling { from, fill, .. })) => {
                    self.waited |= fill.is_under_way();
                    if let Ok(bytes) = fill.read(offset - from, until - from).await {
                        return Ok(bytes);
                    }
                    self.come_again();
                }
                Some((_, Hold::Coming { .. })) | None => {}
            }
        }
        Err(Trouble::Cut.into())
    }

    /// Comes to a block, of which the bytes from `offset` on are needed, and waits until it is kept
    /// or being filled. False when it cannot be had so.
    async fn arrive(&mut self, index: u64, offset: u64) -> Result<bool, Failed> {
        while self.ahead.front().is_some_and(|(at, _)| *at < index) {
            self.ahead.pop_front();
        }
        while self.plan.front().is_some_and(|run| run.start < index) {
            // It went by, straight from the store.
            self.next_planned();
        }
        for _ in 0..MAX_TRIES {
            self.come_to_blocks();
            let Some((at, hold)) = self.ahead.front_mut() else { return Ok(false) };
            if *at != index {
                return Ok(false);
            }
            let flight = match hold {
                Hold::Kept(block) => return Ok(block.from <= offset),
                Hold::Filling { from, .. } => return Ok(*from <= offset),
                Hold::Coming { flight, .. } => Arc::clone(flight),
            };
            self.waited = true;
            let was_known = flight.is_known();
            match flight.outcome().await {
                Some(Arrival::OnDisk(block)) => {
                    add(&self.counts.disk);
                    self.cache.statistics.block_disk_hits.inc();
                    *hold = Hold::Kept(block);
                }
                Some(Arrival::Filling { from, fill, .. }) => {
                    add(&self.counts.store);
                    *hold = Hold::Filling { from, fill, _wanted: flight };
                }
                // Long ago, while something before it was read: the store may be well again. Or
                // asked for by somebody who had to wait less long for the turn.
                Some(Arrival::Failed { trouble: Trouble::Refused(refusal), .. })
                    if was_known
                        || refusal == Refusal::UpstreamSaturated
                            && self.patience() == QueueTimeout::Long =>
                {
                    self.come_again();
                }
                // The answer under way is read on without blocks.
                Some(Arrival::Failed { trouble: Trouble::NoParts, .. }) => return Ok(false),
                Some(Arrival::Failed { trouble, report }) => {
                    return Err(Failed { trouble, report: Some(report) });
                }
                // Given up by those who fetched it.
                None => self.come_again(),
            }
        }
        Ok(false)
    }

    /// Asks the store for the next bytes of a part, for this reader alone: at most as many as are
    /// fetched at once, after which blocks are tried again.
    async fn go_direct(&mut self, position: u64, end: u64) -> Result<(), Failed> {
        self.put_all_back();
        let layout = self.blocks.layout;
        let last = layout.index(position).saturating_add(self.widest - 1);
        let end = end.min(layout.bytes(last).end.max(position + 1));
        let blocks = layout.touched(&(position..end));
        self.counts.store.fetch_add(blocks.end - blocks.start, Ordering::Relaxed);
        self.cache.statistics.direct_reads.inc();
        let Asked { report, outcome } =
            self.cache.ask_for(&self.wanted, &self.blocks, &(position..end), self.patience()).await;
        match outcome {
            Ok(Part { start, body }) => {
                let skip = position.saturating_sub(start);
                if skip > 0 {
                    self.cache.note(&self.wanted, &self.blocks, &Trouble::NoParts);
                }
                // What is not asked for again is read to its end.
                let end = if skip > 0 { self.end } else { end };
                self.direct = Some(Direct { body, position, end, skip });
                Ok(())
            }
            Err(trouble) => {
                self.cache.note(&self.wanted, &self.blocks, &trouble);
                Err(Failed { trouble, report: Some(Arc::new(report)) })
            }
        }
    }

    /// Bytes that go by, not beyond `end`; `None` when there are no more, for whatever reason.
    async fn read_direct(&mut self, end: u64) -> Option<Bytes> {
        let direct = self.direct.as_mut()?;
        loop {
            let left = direct.end.min(end).saturating_sub(direct.position);
            if left == 0 {
                return None;
            }
            let mut bytes = direct.body.next().await.ok()??;
            let skipped = usize::try_from(direct.skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(skipped);
            direct.skip -= skipped as u64;
            // A store that gives all when a part is asked for sends more than is due.
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if !bytes.is_empty() {
                direct.position += bytes.len() as u64;
                return Some(bytes);
            }
        }
    }

    /// An answer that has begun would be cut.
    fn patience(&self) -> QueueTimeout {
        if self.position > self.start { QueueTimeout::Long } else { QueueTimeout::Short }
    }

    /// Whether it begins without blocks, of which nothing is kept.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct.is_some()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let beyond = std::mem::take(&mut self.fetched_beyond);
        // For a reader that has left before its end, nothing goes on.
        if self.position < self.end || beyond.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let _runs_on = runtime.spawn(arrived(beyond));
        }
    }
}

/// Holds these fetches until their blocks have arrived.
async fn arrived(flights: Vec<Arc<BlockFlight>>) {
    for flight in flights {
        if let Some(Arrival::Filling { fill, .. }) = flight.outcome().await {
            let last = fill.length().saturating_sub(1);
            let _arrived = fill.read(last, fill.length()).await;
        }
    }
}
