//! The fetches of blocks: which blocks are in flight, and the store they come from.

use std::sync::Arc;

use crate::cache::blocks::arrival::{Arrival, BlockError};
use crate::cache::blocks::object::Blocks;
use crate::cache::blocks::unreliable::{CHANGES, CHANGING, Unreliable};
use crate::cache::clock::now;
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
    /// Stores and objects for which `If-Match` does not hold.
    pub(super) unreliable: Unreliable,
}

impl BlockFetches {
    /// No fetches yet.
    #[must_use]
    pub fn new(tiers: Arc<Tiers>, client: Arc<StoreClient>) -> Arc<Self> {
        Arc::new(Self {
            tiers,
            in_flight: Arc::default(),
            client,
            unreliable: Unreliable::default(),
        })
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
            BlockError::Changed => {
                let is_news = !blocks.is_dropped();
                self.tiers.drop_version(key, blocks, request.settings);
                if is_news && self.unreliable.note_change(key, &blocks.version, now()) {
                    log::warn!(
                        "{}: the store has replaced the same version {CHANGES} times within {} s, as \
                         replicas with different entity tags do; the object is not cached for a \
                         while, and each request passes to the store in one piece",
                        request.address.name(),
                        CHANGING.as_secs()
                    );
                    let lifetime = hit_for_pass_lifetime(&request.rule);
                    self.tiers.hit_for_pass_instead_of(key, blocks, request.settings, lifetime);
                }
            }
            BlockError::AccessLost => self.tiers.remove_head(key, blocks, request.settings),
            BlockError::NoRanges => {
                self.tiers.hit_for_pass_instead_of(
                    key,
                    blocks,
                    request.settings,
                    hit_for_pass_lifetime(&request.rule),
                );
            }
            BlockError::Refused(_) | BlockError::Truncated => {}
        }
    }
}
