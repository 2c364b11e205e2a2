//! Looks a block up: it is cached, in flight, or to be fetched by the caller.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use crate::cache::blocks::arrival::BlockFetch;
use crate::cache::blocks::arriving_body::BlockReservation;
use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::blocks::layout::{Layout, beginning};
use crate::cache::blocks::object::{Block, Blocks};
use crate::cache::clock::now;
use crate::cache::fill::FillBuffer;
use crate::cache::inflight::Role;
use crate::cache::request::CacheRequest;
use crate::cache::tiers::BlockPlace;

/// Where a block comes from.
pub(super) enum BlockLookup {
    Cached(Arc<Block>),
    /// Another reader has begun its fetch.
    InFlight(Arc<BlockFetch>),
    /// The caller has to fetch it.
    Reserved(BlockReservation),
    /// There is no memory for it.
    NoRoom,
}

/// The bytes of a block that a reader needs, and how it gets room for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockRange {
    /// The offset of the first byte that is needed: a cached block with the bytes from there on is
    /// enough.
    pub(super) first: u64,
    /// The offset of the first byte to fetch if the block is not cached.
    pub(super) from: u64,
    /// When the request is sent to the store.
    pub(super) requested_at: SystemTime,
    /// Whether other blocks are evicted for it.
    pub(super) evicts: bool,
}

impl BlockRange {
    /// All of a block, whose bytes from the offset `first` on are needed.
    pub(super) fn needed_from(first: u64) -> Self {
        Self { first, from: 0, requested_at: now(), evicts: true }
    }
}

impl BlockFetches {
    /// Looks a block up.
    pub(super) fn lookup(
        &self,
        request: &CacheRequest,
        blocks: &Blocks,
        layout: Layout,
        index: u64,
        range: BlockRange,
    ) -> BlockLookup {
        let tiers = &self.tiers;
        let key = blocks.key_of(&request.key, layout, index);
        let cached = || tiers.lookup_block(&key).filter(|block| block.from <= range.first);
        if let Some(block) = cached() {
            return BlockLookup::Cached(block);
        }
        if let Some(block) = self.within_larger(request, blocks, layout, index) {
            return BlockLookup::Cached(block);
        }
        let usable = |fetch: &BlockFetch| !tiers.is_purged(&key, fetch.began);
        let (trace, at) = (request.trace.clone(), range.requested_at);
        let leader = match self.in_flight.join(&key, at, None, trace, usable, cached) {
            Err(block) => return BlockLookup::Cached(block),
            Ok(Role::Follow(fetch)) => return BlockLookup::InFlight(fetch),
            Ok(Role::Lead(leader)) => leader,
        };
        let bytes = layout.bytes(index);
        let length = (bytes.end - bytes.start).saturating_sub(range.from);
        if !tiers.stores_block(length) {
            return BlockLookup::NoRoom;
        }
        let Some(room) = tiers.reserve_block(&key, length, range.evicts) else {
            return BlockLookup::NoRoom;
        };
        let fill = FillBuffer::new(length, Arc::clone(room.held()));
        let (from, on_disk) = (range.from, tiers.has_on_disk(&key));
        BlockLookup::Reserved(BlockReservation { index, key, from, fill, leader, on_disk, room })
    }

    /// A small block, if a larger one in memory holds it.
    fn within_larger(
        &self,
        request: &CacheRequest,
        blocks: &Blocks,
        layout: Layout,
        index: u64,
    ) -> Option<Arc<Block>> {
        let bytes = layout.bytes(index);
        blocks.coarser_layouts(layout.size_of(index)).find_map(|larger| {
            let at = larger.index(bytes.start);
            let block = self.tiers.lookup_block(&blocks.key_of(&request.key, larger, at))?;
            block.part(bytes.start - larger.bytes(at).start, bytes.end - bytes.start)
        })
    }

    /// The layout of larger blocks, if they hold these ranges: in memory, on disk or in flight.
    pub(super) fn larger_at_hand(
        &self,
        request: &CacheRequest,
        blocks: &Blocks,
        layout: Layout,
        ranges: &[Range<u64>],
    ) -> Option<Layout> {
        let is_at_hand = |larger: &Layout| {
            let mut indexes = ranges.iter().flat_map(|range| larger.touched(range));
            indexes.all(|index| self.is_at_hand(request, blocks, *larger, index))
        };
        blocks.coarser_layouts(layout.size).find(is_at_hand)
    }

    /// Whether all of a range is in memory, on disk or in flight, in blocks of one size.
    pub(in crate::cache) fn has_range(
        &self,
        request: &CacheRequest,
        blocks: &Blocks,
        range: &Range<u64>,
    ) -> bool {
        let small = blocks.layout_for(range.end.saturating_sub(range.start));
        let has = |index| self.is_at_hand(request, blocks, small, index);
        small.touched(range).all(has)
            || self.larger_at_hand(request, blocks, small, std::slice::from_ref(range)).is_some()
    }

    /// The layout for a reader that begins at `start` and reads far: with pages in the beginning if it may
    /// leave soon (`is_open`), or if they are at hand. Blocks that are at hand stay blocks.
    pub(super) fn layout_from(
        &self,
        request: &CacheRequest,
        blocks: &Blocks,
        start: u64,
        is_open: bool,
    ) -> Layout {
        let (whole, open) = (blocks.layout, blocks.open_layout(start));
        if open == whole || !is_open && !self.is_at_hand(request, blocks, open, open.index(start)) {
            return whole;
        }
        let is_missing = |index: &u64| !self.is_at_hand(request, blocks, whole, *index);
        let all = beginning(start, whole.size);
        let first = all.clone().find(is_missing).unwrap_or(all.end);
        let missing = (first..all.end).take_while(is_missing).count() as u64;
        whole.with_pages(first..first + missing)
    }

    /// Whether a block is in memory, on disk or in flight.
    fn is_at_hand(
        &self,
        request: &CacheRequest,
        blocks: &Blocks,
        layout: Layout,
        index: u64,
    ) -> bool {
        let key = blocks.key_of(&request.key, layout, index);
        self.tiers.block_place(&key) != BlockPlace::Nowhere || self.in_flight.get(&key).is_some()
    }
}
