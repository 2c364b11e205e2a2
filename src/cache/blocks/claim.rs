//! Coming to a block: it is kept, or on its way, or whoever wants it has to fetch it.

use std::sync::Arc;

use crate::cache::blocks::{Arrival, Block, BlockFlight, Blocks};
use crate::cache::budget::Held;
use crate::cache::entry::Content;
use crate::cache::fill::Fill;
use crate::cache::flights::{Landing, Part};
use crate::cache::key::CacheKey;
use crate::cache::wanted::Wanted;
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
    pub(super) landing: Landing<Arrival>,
    /// It may be on disk.
    pub(super) on_disk: bool,
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

impl Cache {
    /// Comes to a block of which the bytes from `needed` on are needed. All of it is to be fetched
    /// where it is not kept.
    pub(super) fn claim(
        &self,
        wanted: &Wanted,
        blocks: &Blocks,
        index: u64,
        needed: u64,
    ) -> Claimed {
        self.claim_from(wanted, blocks, index, needed, 0)
    }

    /// As [`Cache::claim`], to fetch no more than the bytes from `from` on.
    pub(super) fn claim_from(
        &self,
        wanted: &Wanted,
        blocks: &Blocks,
        index: u64,
        needed: u64,
        from: u64,
    ) -> Claimed {
        let key = blocks.key_of(&wanted.key, index);
        let kept = || self.block_in_memory(wanted, &key).filter(|block| block.from <= needed);
        if let Some(block) = kept() {
            return Claimed::Kept(block);
        }
        let usable = |flight: &BlockFlight| !self.purges.cover(wanted.key.as_bytes(), flight.began);
        let landing = match self.blocks.flights.join(&key, now(), usable, kept) {
            Err(block) => return Claimed::Kept(block),
            Ok(Part::Follow(flight)) => return Claimed::Coming(flight),
            Ok(Part::Lead(landing)) => landing,
        };
        let bytes = blocks.layout.bytes(index);
        let length = (bytes.end - bytes.start).saturating_sub(from);
        let Some(held) = self.blocks.room_for(&key, length, now()) else { return Claimed::NoRoom };
        let fill = Fill::new(length, Arc::clone(&held));
        let on_disk = self.disk.as_ref().is_some_and(|disk| disk.may_have(&key));
        Claimed::Fetch(Claim { index, key, from, fill, held, landing, on_disk })
    }

    fn block_in_memory(&self, wanted: &Wanted, key: &CacheKey) -> Option<Arc<Block>> {
        let entry = self.blocks.memory.get(key.as_bytes())?;
        match &entry.content {
            Content::Block(block) if !self.purges.cover(wanted.key.as_bytes(), entry.asked) => {
                Some(Arc::clone(block))
            }
            _ => None,
        }
    }
}
