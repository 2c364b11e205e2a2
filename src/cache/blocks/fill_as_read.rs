//! The body of a store's answer that is one client's response from its first to its last byte. Blocks
//! are filled from it as it passes.
//!
//! Nobody reads it in the background: it advances when one of its readers waits for a byte. So a slow
//! client slows its store down (back-pressure), a client that leaves ends the request to the store, and
//! the version with which a response began is delivered whole. Other readers follow the blocks that are
//! reserved, at most [`BlockLimits::max_request`] bytes ahead of the client, and drive the body that far
//! themselves. Further ahead they fetch the blocks.
//!
//! [`BlockLimits::max_request`]: crate::cache::blocks::tier::BlockLimits::max_request

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::{Buf as _, Bytes};

use crate::cache::blocks::arrival::Arrival;
use crate::cache::blocks::arriving_body::{ArrivingBody, BlockReservation, FillingBlock, Passing};
use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::blocks::layout::Layout;
use crate::cache::blocks::object::Blocks;
use crate::cache::blocks::range_fetch::own_memory;
use crate::cache::blocks::reserve::{BlockLookup, BlockRange};
use crate::cache::fill::{FILL_TIME, FillBuffer, Truncated};
use crate::cache::request::CacheRequest;
use crate::upstream::client::StoreBody;

/// Blocks that are reserved from where its client reads, so that other readers find them in flight.
const RESERVED: u64 = 2;
/// The same where blocks are small, bytes.
const RESERVED_BYTES: u64 = 128 << 10;

/// What a body brings.
pub(super) struct Delivery {
    pub(super) bytes: Range<u64>,
    pub(super) body: StoreBody,
    pub(super) requested_at: SystemTime,
    /// Of the blocks that are filled from it.
    pub(super) layout: Layout,
    /// Whether blocks may be filled from it.
    pub(super) fills: bool,
}

impl ArrivingBody {
    /// A body that brings `bytes` of this version of the object. `first`: its first block, if that is
    /// reserved already.
    pub(super) fn new(
        fetches: &Arc<BlockFetches>,
        request: &Arc<CacheRequest>,
        blocks: &Arc<Blocks>,
        delivery: Delivery,
        first: Option<BlockReservation>,
    ) -> Arc<Self> {
        let Delivery { bytes, body, requested_at, layout, fills } = delivery;
        let position = bytes.start;
        let passing = Passing {
            position,
            filling: VecDeque::new(),
            rest: Bytes::new(),
            client: Some(position),
            unread: VecDeque::new(),
            fills,
            had_no_room: false,
            failed: false,
        };
        let arriving = Arc::new(Self {
            request: Arc::clone(request),
            blocks: Arc::clone(blocks),
            layout,
            requested_at,
            bytes,
            body: tokio::sync::Mutex::new(body),
            passing: Mutex::new(passing),
        });
        blocks.add_arriving(&arriving);
        let mut passing = arriving.lock();
        if let Some(first) = first {
            arriving.add(&mut passing, first);
        }
        let until = arriving.layout.index(position) + reserved(layout);
        arriving.reserve(fetches, &mut passing, until);
        drop(passing);
        arriving
    }

    fn add(self: &Arc<Self>, passing: &mut Passing, reservation: BlockReservation) {
        let (from, fill) = (reservation.from, Arc::clone(&reservation.fill));
        let body = Arc::downgrade(self);
        if passing.client.is_some() {
            let bytes = self.layout.bytes(reservation.index);
            let (bytes, fill) = (bytes.start + from..bytes.end, Arc::clone(&fill));
            passing.unread.push_back(FillingBlock { bytes, fill });
        }
        reservation.leader.publish(Arrival::Filling { from, fill, body });
        passing.filling.push_back(reservation);
    }

    /// Reserves the blocks before `until` that follow those in flight, up to the first that is cached,
    /// in flight elsewhere, or has no room.
    fn reserve(self: &Arc<Self>, fetches: &BlockFetches, passing: &mut Passing, until: u64) {
        let layout = self.layout;
        while passing.fills && !passing.failed && !self.blocks.is_dropped() {
            let last = passing.filling.back().map(|last| layout.bytes(last.index).end);
            let next = last.unwrap_or(passing.position);
            let index = layout.index(next);
            let block = layout.bytes(index);
            let is_whole = next == block.start || next == self.bytes.start;
            if index >= until || !is_whole || next >= block.end || block.end > self.bytes.end {
                return;
            }
            let from = next - block.start;
            let is_room = fetches.tiers.stores_block(block.end - block.start);
            let requested_at = self.requested_at;
            let range = BlockRange { first: from, from, requested_at, evicts: true };
            let found = match is_room {
                true => fetches.lookup(&self.request, &self.blocks, layout, index, range),
                false => BlockLookup::NoRoom,
            };
            match found {
                BlockLookup::Reserved(reservation) => self.add(passing, reservation),
                BlockLookup::Cached(_) | BlockLookup::InFlight(_) => return,
                BlockLookup::NoRoom => {
                    if !std::mem::replace(&mut passing.had_no_room, true) {
                        fetches.tiers.statistics().direct_reads.inc();
                    }
                    return;
                }
            }
            if !passing.rest.is_empty() {
                let rest = std::mem::take(&mut passing.rest);
                self.place(fetches, passing, rest);
            }
        }
    }

    /// Reserves blocks up to this one for another reader, if its client is not far behind.
    pub(super) fn reserve_up_to(
        self: &Arc<Self>,
        fetches: &BlockFetches,
        layout: Layout,
        index: u64,
    ) {
        let bytes = layout.bytes(index);
        let (layout, index) = (self.layout, self.layout.index(bytes.start));
        if layout.bytes(index) != bytes {
            return;
        }
        let mut passing = self.lock();
        let most = fetches.tiers.blocks().max_request();
        let near = passing.client.map(|client| layout.index(client.saturating_add(most)));
        if !passing.filling.is_empty() && near.is_some_and(|near| index <= near) {
            self.reserve(fetches, &mut passing, index + 1);
        }
    }

    /// Puts bytes that have arrived into their blocks. What no block is filled with is the client's.
    fn place(&self, fetches: &BlockFetches, passing: &mut Passing, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let Some(first) = passing.filling.front() else {
                passing.rest = bytes;
                return;
            };
            let left = self.layout.bytes(first.index).end.saturating_sub(passing.position);
            let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let is_complete = taken as u64 == left;
            passing.position += taken as u64;
            let pushed = first.fill.push(own_memory(bytes.split_to(taken), first.fill.length()));
            if pushed.is_err() || is_complete {
                let Some(first) = passing.filling.pop_front() else { return };
                if let Ok(body) = first.fill.complete() {
                    fetches.store_block(first, body, self.requested_at);
                }
            }
        }
    }

    /// Reads on until `is_done`.
    ///
    /// # Errors
    /// When the body ends or fails before.
    async fn advance(
        &self,
        fetches: &BlockFetches,
        is_done: impl Fn(&Passing) -> bool + Send,
    ) -> Result<(), Truncated> {
        loop {
            let mut body = self.body.lock().await;
            {
                let passing = self.lock();
                if is_done(&passing) {
                    return Ok(());
                }
                if passing.failed || !passing.rest.is_empty() {
                    // The bytes that have arrived are its client's.
                    return Err(Truncated);
                }
            }
            let piece = body.next().await;
            let mut passing = self.lock();
            match piece {
                Ok(Some(piece)) => self.place(fetches, &mut passing, piece),
                Ok(None) | Err(_) => {
                    passing.failed = true;
                    if passing.position < self.bytes.end {
                        fetches.tiers.statistics().cut_fills.inc();
                    }
                    passing.filling.clear();
                    return Err(Truncated);
                }
            }
        }
    }

    /// Waits until this byte of a block that it fills has arrived, or will not arrive.
    pub(super) async fn fill_up_to(
        &self,
        fetches: &BlockFetches,
        fill: &FillBuffer,
        position: u64,
    ) {
        let is_settled = |_: &Passing| fill.is_settled_at(position);
        if fill.is_settled_at(position) {
            return;
        }
        if self.advance(fetches, is_settled).await.is_err() && !fill.is_settled_at(position) {
            fill.fail();
        }
    }

    /// Fills the blocks in flight in a task of its own, if no more than `most` bytes are left.
    pub(super) fn finish(self: &Arc<Self>, fetches: &Arc<BlockFetches>, most: u64) {
        let left = self.left();
        if left == 0 || left > most || !self.is_filling() {
            return;
        }
        self.run_until(fetches, |passing| passing.filling.is_empty());
    }

    /// Completes the page that is being filled and the next one, in a task of its own: a client that leaves
    /// and comes again finds what it has read. The store has sent most of that by now.
    pub(super) fn finish_pages(self: &Arc<Self>, fetches: &Arc<BlockFetches>) {
        let end = {
            let passing = self.lock();
            let is_page = |it: &&BlockReservation| self.layout.size_of(it.index) < self.layout.size;
            let pages = passing.filling.iter().take(2).take_while(is_page);
            let last = pages.last().filter(|_| !passing.failed);
            last.map(|last| self.layout.bytes(last.index).end)
        };
        if let Some(end) = end {
            self.run_until(fetches, move |passing| passing.position >= end);
        }
    }

    fn run_until(
        self: &Arc<Self>,
        fetches: &Arc<BlockFetches>,
        is_done: impl Fn(&Passing) -> bool + Send + 'static,
    ) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (body, fetches) = (Arc::clone(self), Arc::clone(fetches));
            let _runs_on = runtime.spawn(async move {
                let advanced = body.advance(&fetches, is_done);
                let _in_time = tokio::time::timeout(FILL_TIME, advanced).await;
            });
        }
    }

    /// Notes how far its client has read, and reserves the blocks that follow. Returns the block that
    /// is filled with the byte at `position`, if there is one.
    pub(super) fn block_at(
        self: &Arc<Self>,
        fetches: &BlockFetches,
        position: u64,
    ) -> Option<FillingBlock> {
        let mut passing = self.lock();
        passing.client = Some(position);
        while passing.unread.pop_front_if(|block| block.bytes.end <= position).is_some() {}
        self.reserve(fetches, &mut passing, self.layout.index(position) + reserved(self.layout));
        passing.unread.front().filter(|block| block.bytes.contains(&position)).cloned()
    }

    /// Bytes from `position` on that fill no block, not beyond `end` and not beyond their block. `None`
    /// if there are none now: the body has ended, or blocks are filled with them.
    pub(super) async fn read_past_blocks(
        &self,
        fetches: &BlockFetches,
        position: u64,
        end: u64,
    ) -> Option<Bytes> {
        let layout = self.layout;
        let end = end.min(layout.bytes(layout.index(position)).end);
        loop {
            {
                let mut passing = self.lock();
                if !passing.filling.is_empty() || passing.position > position {
                    return None;
                }
                let before = usize::try_from(position - passing.position).unwrap_or(usize::MAX);
                let skipped = before.min(passing.rest.len());
                passing.rest.advance(skipped);
                passing.position += skipped as u64;
                if !passing.rest.is_empty() {
                    let most = usize::try_from(end.checked_sub(position)?).unwrap_or(usize::MAX);
                    let taken = most.min(passing.rest.len());
                    passing.position += taken as u64;
                    return Some(passing.rest.split_to(taken)).filter(|bytes| !bytes.is_empty());
                }
            }
            let has_more =
                |passing: &Passing| !passing.rest.is_empty() || !passing.filling.is_empty();
            self.advance(fetches, has_more).await.ok()?;
        }
    }
}

/// How many blocks are reserved from where the client reads.
fn reserved(layout: Layout) -> u64 {
    RESERVED.max(RESERVED_BYTES / layout.size.max(1))
}
