//! Looks a block up: it is cached, in flight, or to be fetched by the caller.

use std::sync::Arc;
use std::time::SystemTime;

use crate::cache::blocks::arrival::{Arrival, BlockFetch};
use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::blocks::object::{Block, Blocks};
use crate::cache::clock::now;
use crate::cache::fill::FillBuffer;
use crate::cache::inflight::{Leader, Role};
use crate::cache::key::CacheKey;
use crate::cache::memory::reservation::Reservation;
use crate::cache::request::CacheRequest;

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

/// A block that its owner has to fetch, with room for it. If this is dropped before the block is
/// complete, the block fails for all its followers.
pub(super) struct BlockReservation {
    pub(super) index: u64,
    pub(super) key: CacheKey,
    /// The offset within the block of the first byte to fetch.
    pub(super) from: u64,
    pub(super) fill: Arc<FillBuffer>,
    pub(super) leader: Leader<Arrival>,
    /// It may be on disk.
    pub(super) on_disk: bool,
    pub(super) room: Reservation,
}

impl BlockReservation {
    pub(super) fn fetch(&self) -> &Arc<BlockFetch> {
        self.leader.fetch()
    }
}

impl Drop for BlockReservation {
    fn drop(&mut self) {
        if self.fill.is_filling() {
            // First detached, so that no reader follows a failed fetch.
            self.leader.detach();
            self.fill.fail();
        }
    }
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
        index: u64,
        range: BlockRange,
    ) -> BlockLookup {
        let tiers = &self.tiers;
        let key = blocks.key_of(&request.key, index);
        let cached = || tiers.lookup_block(&key).filter(|block| block.from <= range.first);
        if let Some(block) = cached() {
            return BlockLookup::Cached(block);
        }
        let usable = |fetch: &BlockFetch| !tiers.is_purged(&key, fetch.began);
        let leader = match self.in_flight.join(&key, range.requested_at, None, usable, cached) {
            Err(block) => return BlockLookup::Cached(block),
            Ok(Role::Follow(fetch)) => return BlockLookup::InFlight(fetch),
            Ok(Role::Lead(leader)) => leader,
        };
        let bytes = blocks.layout.bytes(index);
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
}
