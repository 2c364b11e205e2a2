//! Blocks in memory, within limits of their own. On disk they are beside whole objects.

use std::sync::Arc;

use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Budget;
use crate::cache::memory::tier::MemoryTier;
use crate::cache::statistics::Statistics;
use crate::cache::weight::entry_weight;
use crate::config::BlocksConfig;

/// The largest request to a store if read-ahead is off, bytes.
const MAX_REQUEST: u64 = 8 << 20;
/// Blocks fetched first for a client that has not said how far it will read.
pub(in crate::cache) const FIRST_BLOCKS: u64 = 2;

/// The memory tier of blocks.
#[derive(Debug)]
pub(in crate::cache) struct BlockTier {
    memory: Arc<MemoryTier>,
    budget: Arc<Budget>,
    limits: BlockLimits,
}

/// The sizes of blocks and of requests for them.
#[derive(Debug, Clone, Copy)]
pub struct BlockLimits(BlocksConfig);

impl BlockTier {
    /// A tier that takes its share of `memory` bytes.
    #[must_use]
    pub(in crate::cache) fn new(
        memory: u64,
        config: BlocksConfig,
        statistics: &Arc<Statistics>,
    ) -> Self {
        let memory = share_of(memory, config);
        Self {
            memory: Arc::new(MemoryTier::of_blocks(
                memory - memory / 8,
                config.size + entry_weight(&CacheKey::from_bytes(&[0; 100])),
                Arc::clone(statistics),
            )),
            budget: Budget::new(memory),
            limits: BlockLimits(config),
        }
    }

    /// The entries. Only `tiers.rs` reads them.
    #[must_use]
    pub(in crate::cache) fn memory(&self) -> &Arc<MemoryTier> {
        &self.memory
    }

    /// The memory that blocks may take.
    #[must_use]
    pub(in crate::cache) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The sizes of blocks and of requests for them.
    #[must_use]
    pub(in crate::cache) fn limits(&self) -> &BlockLimits {
        &self.limits
    }
}

impl BlockLimits {
    /// Whether blocks are cached at all.
    #[must_use]
    pub fn are_cached(&self) -> bool {
        self.0.share > 0
    }

    /// Whether blocks are read ahead.
    #[must_use]
    pub fn reads_ahead(&self) -> bool {
        self.0.read_ahead > 0
    }

    /// Bytes of a block.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// The largest request to a store, bytes; at least a block.
    #[must_use]
    pub fn max_request(&self) -> u64 {
        match self.0.read_ahead {
            0 => MAX_REQUEST.max(self.0.size),
            read_ahead => read_ahead.max(self.0.size),
        }
    }
}

/// The share of blocks in this many bytes.
#[must_use]
pub(in crate::cache) fn share_of(bytes: u64, config: BlocksConfig) -> u64 {
    bytes / 100 * u64::from(config.share)
}
