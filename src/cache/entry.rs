//! An entry of the memory tiers.

use std::sync::Arc;
use std::time::SystemTime;

use crate::cache::blocks::object::{Block, Blocks};
use crate::cache::freshness::{Freshness, FreshnessState};
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Held;
use crate::cache::object::{Object, ObjectBody};
use crate::cache::request::CacheRequest;
use crate::cache::weight::{entry_weight, head_weight, stored_weight};
use crate::profile::fingerprint::Fingerprint;

/// One response of a store.
#[derive(Debug)]
pub struct Entry {
    pub key: CacheKey,
    /// When the request was sent to the store; a later purge removes the entry.
    pub requested_at: SystemTime,
    /// The settings that have shaped it: it is served to requests with the same settings. `None` for
    /// the bytes of a block, which no setting shapes.
    pub settings: Option<Fingerprint>,
    pub freshness: Freshness,
    pub content: EntryContent,
    /// The request that refreshes it, if it is to be pinned in memory.
    pub pin: Option<Arc<CacheRequest>>,
}

/// What the store answered.
#[derive(Debug, Clone)]
pub enum EntryContent {
    Object(Arc<Object>),
    /// The head of an object in blocks.
    Blocks(Arc<Blocks>),
    /// A block of such an object.
    Block(Arc<Block>),
    /// There is no such object.
    Negative(Arc<Held>),
    /// The object is not cached, because it is too large or its store forbids it: requests pass
    /// through to the store.
    HitForPass(Arc<Held>),
}

impl Entry {
    /// The object, if the entry has one.
    #[must_use]
    pub fn source(&self) -> Option<ObjectBody> {
        match &self.content {
            EntryContent::Object(object) => Some(ObjectBody::Stored(Arc::clone(object))),
            EntryContent::Blocks(blocks) => Some(ObjectBody::Blocks(Arc::clone(blocks))),
            EntryContent::Block(_) | EntryContent::Negative(_) | EntryContent::HitForPass(_) => {
                None
            }
        }
    }

    /// Its share of the budget.
    #[must_use]
    pub fn held(&self) -> &Arc<Held> {
        match &self.content {
            EntryContent::Object(object) => &object.held,
            EntryContent::Blocks(blocks) => &blocks.held,
            EntryContent::Block(block) => &block.held,
            EntryContent::Negative(held) | EntryContent::HitForPass(held) => held,
        }
    }

    /// Whether it is served without the store.
    #[must_use]
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.freshness.at(now) == FreshnessState::Fresh
    }

    /// The memory it takes, bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let content = match &self.content {
            EntryContent::Object(object) => stored_weight(&object.head, object.body.len()),
            EntryContent::Blocks(blocks) => head_weight(&blocks.head, &blocks.lifetime),
            EntryContent::Block(block) => block.body.len(),
            EntryContent::Negative(_) | EntryContent::HitForPass(_) => 0,
        };
        entry_weight(&self.key) + content
    }
}
