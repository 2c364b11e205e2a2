//! The fetches of blocks: which blocks are in flight, and the store they come from.

use std::sync::Arc;

use crate::cache::blocks::arrival::{Arrival, BlockError};
use crate::cache::blocks::object::Blocks;
use crate::cache::freshness::hit_for_pass_lifetime;
use crate::cache::inflight::InFlightFetches;
use crate::cache::purge::pending::Purge;
use crate::cache::request::CacheRequest;
use crate::cache::tiers::Tiers;
use crate::upstream::client::StoreClient;

/// The fetches of blocks. `reserve.rs` finds a block or begins its fetch, `range_fetch.rs` makes one
/// request to the store for several blocks.
#[derive(Debug)]
pub struct BlockFetches {
    pub(super) tiers: Arc<Tiers>,
    pub(super) in_flight: Arc<InFlightFetches<Arrival>>,
    pub(super) client: Arc<StoreClient>,
}

impl BlockFetches {
    /// No fetches yet.
    #[must_use]
    pub fn new(tiers: Arc<Tiers>, client: Arc<StoreClient>) -> Arc<Self> {
        Arc::new(Self { tiers, in_flight: Arc::default(), client })
    }

    /// The number of blocks in flight.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.in_flight.count() as u64
    }

    /// Detaches the fetches of blocks that a purge covers: they store nothing more.
    pub fn purge(&self, purge: &Purge) {
        self.in_flight.purge(|key, began| purge.covers(key.object(), began));
    }

    /// Changes what later requests find, after the store has failed to give blocks of a version.
    pub(super) fn note_error(&self, request: &CacheRequest, blocks: &Blocks, error: &BlockError) {
        let key = &request.key;
        match error {
            BlockError::Changed => self.tiers.drop_version(key, blocks),
            BlockError::AccessLost => self.tiers.remove_head(key, blocks),
            BlockError::NoRanges => {
                self.tiers.hit_for_pass_instead_of(
                    key,
                    blocks,
                    hit_for_pass_lifetime(&request.rule),
                );
            }
            BlockError::Refused(_) | BlockError::Truncated => {}
        }
    }
}
