//! One client's reading of an object in blocks: which blocks it will need, fetched a little ahead of
//! it, and the bytes of the one it is at.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::cache::Cache;
use crate::cache::blocks::claim::{Claim, Claimed};
use crate::cache::blocks::run::{Asked, Run};
use crate::cache::blocks::{Arrival, Arrivals, Block, BlockFlight, Blocks, FIRST_BLOCKS, Trouble};
use crate::cache::fill::Fill;
use crate::cache::status::BlockCounts;
use crate::cache::wanted::Wanted;
use crate::fetch::{Body, Report};

/// How often a block is tried again whose fetch was given up by others.
const MAX_TRIES: usize = 3;
/// Blocks that are looked up for `Cache-Status`; what is beyond counts as not kept.
const MOST_COUNTED: u64 = 4096;

/// Why an answer cannot begin, and what is known of the store's part.
#[derive(Debug)]
pub struct Failed {
    pub trouble: Trouble,
    pub report: Option<Arc<Report>>,
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
    wanted: Arc<Wanted>,
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
        wanted: &Arc<Wanted>,
        blocks: &Arc<Blocks>,
        parts: &[Range<u64>],
        arriving: Option<Arrivals>,
    ) -> Result<Reading, Failed> {
        let mut reading = Reading::new(self, wanted, blocks, parts);
        reading.come_to_blocks();
        // They are held by the reading now, as far as it wants them.
        drop(arriving);
        reading.begin(parts).await?;
        Ok(reading)
    }
}

impl Reading {
    fn new(
        cache: &Arc<Cache>,
        wanted: &Arc<Wanted>,
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
            } else if self.cache.disk.as_ref().is_some_and(|disk| disk.may_have(&key)) {
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
        let offset =
            first.start - self.blocks.layout.bytes(self.blocks.layout.index(first.start)).start;
        if !self.arrive(first.start, offset).await? {
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
        let mut read = self.read_some(position, end).await.map_err(|failed| failed.trouble)?;
        if let Some(bytes) = &mut read {
            // A store that gives all when a part is asked for sends more than is due.
            bytes.truncate(usize::try_from(end - position).unwrap_or(usize::MAX));
        }
        self.position = position + read.as_ref().map_or(0, Bytes::len) as u64;
        Ok(read)
    }

    async fn read_some(&mut self, position: u64, end: u64) -> Result<Option<Bytes>, Failed> {
        if self.direct.as_ref().is_some_and(|direct| direct.position == position) {
            return self.read_direct().await;
        }
        let bytes = self.blocks.layout.bytes(self.blocks.layout.index(position));
        let (offset, until) = (position - bytes.start, end.min(bytes.end) - bytes.start);
        if !self.arrive(position, offset).await? {
            self.go_direct(position, end).await?;
            return self.read_direct().await;
        }
        match self.ahead.front() {
            Some((_, Hold::Kept(block))) => {
                Ok(block.body.read(offset - block.from, until - block.from))
            }
            Some((_, Hold::Filling { from, fill, .. })) => {
                self.waited |= fill.is_under_way();
                fill.read(offset - from, until - from).await.map_err(|_cut| Trouble::Cut.into())
            }
            Some((_, Hold::Coming { .. })) | None => Err(Trouble::Cut.into()),
        }
    }

    /// Comes to the block in which `position` lies, `offset` bytes from its start, and waits until
    /// it is kept or being filled. False when it cannot be had so.
    async fn arrive(&mut self, position: u64, offset: u64) -> Result<bool, Failed> {
        let index = self.blocks.layout.index(position);
        while self.ahead.front().is_some_and(|(at, _)| *at < index) {
            self.ahead.pop_front();
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
            match flight.outcome().await {
                Some(Arrival::OnDisk(block)) => {
                    add(&self.counts.disk);
                    self.cache.statistics.block_disk_hits.count();
                    *hold = Hold::Kept(block);
                }
                Some(Arrival::Filling { from, fill, .. }) => {
                    add(&self.counts.store);
                    *hold = Hold::Filling { from, fill, _wanted: flight };
                }
                Some(Arrival::Failed { trouble, report }) => {
                    return Err(Failed { trouble, report: Some(report) });
                }
                None => {
                    // Given up by those who fetched it: it has to be come to again.
                    self.ahead.pop_front();
                    self.come_to_again(index);
                }
            }
        }
        Ok(false)
    }

    /// Comes to one block, in front of all others.
    fn come_to_again(&mut self, index: u64) {
        match self.cache.claim(&self.wanted, &self.blocks, index, self.needed(index)) {
            Claimed::Kept(block) => self.ahead.push_front((index, self.kept(block))),
            Claimed::Coming(flight) => {
                self.ahead.push_front((index, Hold::Coming { flight, on_disk: false }));
            }
            Claimed::Fetch(claim) => {
                self.ahead.push_front((index, coming(&claim)));
                self.fetch(VecDeque::from([claim]));
            }
            Claimed::NoRoom => {}
        }
    }

    /// Comes to the next blocks, when half of those it came to before are read.
    fn come_to_blocks(&mut self) {
        let at_hand = self.ahead.len() as u64;
        if at_hand > self.window / 2
            || at_hand > 0 && self.plan.is_empty() && self.beyond.is_empty()
        {
            return;
        }
        if std::mem::take(&mut self.waited) {
            self.window = self.window.saturating_mul(2).min(self.widest);
        }
        let mut run = VecDeque::new();
        while (self.ahead.len() as u64) < self.window {
            let Some(index) = self.next_planned() else { break };
            match self.cache.claim(&self.wanted, &self.blocks, index, self.needed(index)) {
                Claimed::Kept(block) => self.ahead.push_back((index, self.kept(block))),
                Claimed::Coming(flight) => {
                    self.ahead.push_back((index, Hold::Coming { flight, on_disk: false }));
                }
                Claimed::Fetch(claim) => {
                    self.ahead.push_back((index, coming(&claim)));
                    self.join(&mut run, claim);
                }
                Claimed::NoRoom => {
                    self.put_back(index);
                    break;
                }
            }
        }
        self.come_to_more(&mut run);
        self.fetch(run);
    }

    fn kept(&self, block: Arc<Block>) -> Hold {
        add(&self.counts.memory);
        self.cache.statistics.block_hits.count();
        Hold::Kept(block)
    }

    /// The first byte of a block that is needed.
    fn needed(&self, index: u64) -> u64 {
        let bytes = self.blocks.layout.bytes(index);
        if bytes.contains(&self.start) { self.start - bytes.start } else { 0 }
    }

    /// Comes to what the reader will want next, when it has come to all it wants now.
    fn come_to_more(&mut self, run: &mut VecDeque<Claim>) {
        if !self.plan.is_empty() {
            return;
        }
        for index in std::mem::take(&mut self.beyond) {
            let key = self.blocks.key_of(&self.wanted.key, index);
            if self.cache.blocks.memory().peek(key.as_bytes()).is_some() {
                continue;
            }
            match self.cache.claim(&self.wanted, &self.blocks, index, 0) {
                Claimed::Kept(_) => {}
                Claimed::Coming(flight) => self.fetched_beyond.push(flight),
                Claimed::Fetch(claim) => {
                    self.cache.statistics.blocks_read_ahead.count();
                    self.fetched_beyond.push(Arc::clone(claim.flight()));
                    self.join(run, claim);
                }
                Claimed::NoRoom => break,
            }
        }
    }

    fn next_planned(&mut self) -> Option<u64> {
        let run = self.plan.front_mut()?;
        let index = run.start;
        run.start += 1;
        if run.is_empty() {
            self.plan.pop_front();
        }
        Some(index)
    }

    fn put_back(&mut self, index: u64) {
        match self.plan.front_mut() {
            Some(run) if run.start == index + 1 => run.start = index,
            _ => self.plan.push_front(index..index + 1),
        }
    }

    /// Adds a block to those fetched together, where that is one request to the store.
    fn join(&self, run: &mut VecDeque<Claim>, claim: Claim) {
        let together = run
            .back()
            .is_some_and(|last| last.index + 1 == claim.index && !last.on_disk && !claim.on_disk);
        if !together || run.len() as u64 >= self.widest {
            self.fetch(std::mem::take(run));
        }
        run.push_back(claim);
    }

    fn fetch(&self, claims: VecDeque<Claim>) {
        if claims.is_empty() {
            return;
        }
        let (cache, wanted) = (Arc::clone(&self.cache), Arc::clone(&self.wanted));
        Run { cache, wanted, blocks: Arc::clone(&self.blocks), claims }.begin();
    }

    /// Asks the store for the rest of a part, for this reader alone.
    async fn go_direct(&mut self, position: u64, end: u64) -> Result<(), Failed> {
        self.ahead.clear();
        self.cache.statistics.direct_reads.count();
        let Asked { report, outcome } =
            self.cache.ask_for(&self.wanted, &self.blocks, &(position..end)).await;
        match outcome {
            Ok(body) => {
                self.direct = Some(Direct { body, position });
                Ok(())
            }
            Err(trouble) => Err(Failed { trouble, report: Some(Arc::new(report)) }),
        }
    }

    async fn read_direct(&mut self) -> Result<Option<Bytes>, Failed> {
        let Some(direct) = &mut self.direct else { return Err(Trouble::Cut.into()) };
        match direct.body.next().await {
            Ok(Some(bytes)) => {
                direct.position += bytes.len() as u64;
                Ok(Some(bytes))
            }
            // It is only read as long as bytes are due.
            Ok(None) => Err(Trouble::Cut.into()),
            Err(refusal) => Err(Trouble::Refused(refusal).into()),
        }
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
