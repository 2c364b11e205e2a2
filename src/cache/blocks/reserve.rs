//! Coming to a block: it is kept, or on its way, or whoever wants it has to fetch it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cache::blocks::{Arrival, Block, BlockFlight, Blocks};
use crate::cache::entry::{Content, Entry, note_weight};
use crate::cache::fill::Fill;
use crate::cache::freshness::Freshness;
use crate::cache::inflight::{Leader, Part};
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Held;
use crate::cache::request::CacheRequest;
use crate::cache::{Cache, now};

/// How a block is come to.
pub(super) enum Claimed {
    Kept(Arc<Block>),
    /// Another one fetches it.
    Coming(Arc<BlockFlight>),
    /// It is to be fetched by whoever has this.
    Fetch(Claim),
    /// There is no memory for it.
    NoRoom,
}

/// The duty to fetch a block. Dropping it tells everybody who waits that it does not come.
pub(super) struct Claim {
    pub(super) index: u64,
    pub(super) key: CacheKey,
    /// Where in the block the bytes begin that are to be fetched.
    pub(super) from: u64,
    pub(super) fill: Arc<Fill>,
    pub(super) held: Arc<Held>,
    pub(super) landing: Leader<Arrival>,
    /// It is on disk.
    pub(super) on_disk: bool,
    /// Others had to go for it.
    pub(super) place: Option<Place>,
}

impl Claim {
    pub(super) fn flight(&self) -> &Arc<BlockFlight> {
        self.landing.flight()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.fill.is_under_way() {
            // Nobody joins it who could only be told that it failed.
            self.landing.leave();
            self.fill.fail();
        }
    }
}

/// A place in the memory tier that was made for a block on its way, and is kept free until dropped.
pub(super) struct Place {
    cache: Arc<Cache>,
    key: CacheKey,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.cache.blocks.memory.remove(self.key.as_bytes());
    }
}

/// Which bytes of a block are wanted, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// The first byte that is needed; a block kept from there on will do.
    pub(super) first: u64,
    /// The first byte that is fetched where the block is not kept.
    pub(super) from: u64,
    /// When the store was asked, or is about to be.
    pub(super) asked: SystemTime,
    /// Whether other blocks make way for it.
    pub(super) makes_way: bool,
}

impl Need {
    /// All of a block, of which the bytes from `first` on are needed.
    pub(super) fn of(first: u64) -> Self {
        Self { first, from: 0, asked: now(), makes_way: true }
    }
}

impl Cache {
    /// Comes to a block.
    pub(super) fn claim(
        self: &Arc<Self>,
        wanted: &CacheRequest,
        blocks: &Blocks,
        index: u64,
        need: Need,
    ) -> Claimed {
        let key = blocks.key_of(&wanted.key, index);
        let kept = || self.block_in_memory(wanted, &key).filter(|block| block.from <= need.first);
        if let Some(block) = kept() {
            return Claimed::Kept(block);
        }
        let usable = |flight: &BlockFlight| !self.purges.cover(wanted.key.as_bytes(), flight.began);
        let landing = match self.blocks.flights.join(&key, need.asked, usable, kept) {
            Err(block) => return Claimed::Kept(block),
            Ok(Part::Follow(flight)) => return Claimed::Coming(flight),
            Ok(Part::Lead(landing)) => landing,
        };
        let bytes = blocks.layout.bytes(index);
        let length = (bytes.end - bytes.start).saturating_sub(need.from);
        if !self.keeps_blocks_of(length) {
            return Claimed::NoRoom;
        }
        let Some((held, place)) = self.room_for_block(&key, length, need) else {
            return Claimed::NoRoom;
        };
        let fill = Fill::new(length, Arc::clone(&held));
        let on_disk = self.disk.as_ref().is_some_and(|disk| disk.has(&key));
        Claimed::Fetch(Claim { index, key, from: need.from, fill, held, landing, on_disk, place })
    }

    /// Whether a block of so many bytes would be kept anywhere.
    pub(in crate::cache) fn keeps_blocks_of(&self, bytes: u64) -> bool {
        self.blocks.are_kept() && (self.disk.is_some() || self.blocks.hold(bytes))
    }

    /// Takes room for a block; others make way for it, as far as nobody reads them.
    fn room_for_block(
        self: &Arc<Self>,
        key: &CacheKey,
        bytes: u64,
        need: Need,
    ) -> Option<(Arc<Held>, Option<Place>)> {
        let take = || self.blocks.take(key, bytes);
        if let Some(held) = take() {
            return Some((held, None));
        }
        if !need.makes_way {
            return None;
        }
        let content = Content::Room(note_weight(key) + bytes);
        let freshness = Freshness::for_a_while(need.asked, Duration::ZERO);
        let room = Entry { key: key.beside(), asked: need.asked, freshness, content };
        let place = Place { cache: Arc::clone(self), key: room.key.clone() };
        self.blocks.memory.insert(Arc::new(room));
        Some((take()?, Some(place)))
    }

    fn block_in_memory(&self, wanted: &CacheRequest, key: &CacheKey) -> Option<Arc<Block>> {
        let entry = self.blocks.memory.get(key.as_bytes())?;
        match &entry.content {
            Content::Block(block) if !self.purges.cover(wanted.key.as_bytes(), entry.asked) => {
                Some(Arc::clone(block))
            }
            _ => None,
        }
    }
}
