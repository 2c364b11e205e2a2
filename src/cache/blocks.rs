//! Objects in blocks: those too large to be kept whole, and those a range was wanted of first. The
//! head of such an object is an entry under its own key; each block is one of its own, in tiers that
//! blocks have for themselves, so that no reading of large objects pushes tiles out.

mod admit;
pub mod layout;
mod range_fetch;
mod reader;
mod reserve;
pub mod streams;
pub mod version;

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::HeaderMap;
use pingora::http::ResponseHeader;

pub(super) use self::admit::Piece;
pub(super) use self::range_fetch::length_of_whole;
pub use self::reader::{Counts, Failed, Reading};

use crate::cache::blocks::layout::Layout;
use crate::cache::blocks::streams::Streams;
use crate::cache::blocks::version::Version;
use crate::cache::body::Body;
use crate::cache::entry::note_weight;
use crate::cache::fill::Fill;
use crate::cache::inflight::{Fetch, InFlightFetches};
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::{Budget, Held};
use crate::cache::memory::tier::MemoryTier;
use crate::cache::statistics::Statistics;
use crate::config::BlocksConfig;
use crate::response::refusal::Refusal;
use crate::upstream::client::FetchReport;

/// How much one request asks a store for where nothing is read ahead, bytes.
const MOST_AT_ONCE: u64 = 8 << 20;
/// Blocks fetched first for a reader that has not said how far it will read.
const FIRST_BLOCKS: u64 = 2;

/// An object that is kept in blocks: all of it but those.
#[derive(Debug)]
pub struct Blocks {
    /// The head of the answer to a client.
    pub head: ResponseHeader,
    /// `Cache-Control` and `Expires` as the store sent them.
    pub lifetime: HeaderMap,
    pub layout: Layout,
    /// What its blocks have to be of.
    pub version: Version,
    /// Its share of the budget, until its last reader has left.
    pub held: Arc<Held>,
    streams: Mutex<Streams>,
    /// Whether it is known that this version is no more.
    dropped: AtomicBool,
}

/// A block that is kept.
#[derive(Debug)]
pub struct Block {
    /// Where the kept bytes begin: behind the start of a block only where a suffix began there.
    from: u64,
    pub body: Body,
    /// Its share of the budget, until its last reader has left.
    _held: Arc<Held>,
}

/// The fetch of a block. It goes on as long as somebody holds it.
pub type BlockFlight = Fetch<Arrival>;

/// Fetches of blocks that began with that of their object.
#[derive(Debug, Clone)]
pub struct Arrivals {
    /// The blocks that are fetched so.
    blocks: Range<u64>,
    /// They go on as long as somebody holds them.
    _flights: Arc<[Arc<BlockFlight>]>,
}

/// What the fetch of a block makes known.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// It was on disk, and is in memory now.
    OnDisk(Arc<Block>),
    /// It is arriving, from the byte `from` of the block on.
    Filling {
        from: u64,
        fill: Arc<Fill>,
        report: Arc<FetchReport>,
    },
    Failed {
        trouble: Trouble,
        report: Arc<FetchReport>,
    },
}

/// Why there are no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The store has another version by now, or none.
    Changed,
    /// The store gives the object to the gateway no more.
    Withdrawn,
    /// The store gives no parts, or does not say of which version they are.
    NoParts,
    /// The store could not be asked.
    Refused(Refusal),
    /// The store's answer ended before its length.
    Cut,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Changed => f.write_str("the object has changed in the store while it was read"),
            Self::NoParts => f.write_str("the store gives no parts of the object"),
            Self::Withdrawn => f.write_str("the store gives the object to the gateway no more"),
            Self::Refused(refusal) => {
                write!(f, "the rest could not be fetched: {}", refusal.cause())
            }
            Self::Cut => f.write_str("the store's body was cut"),
        }
    }
}

/// Where blocks are kept in memory, and fetched; on disk they lie beside whole objects.
#[derive(Debug)]
pub(super) struct BlockTier {
    memory: MemoryTier,
    flights: Arc<InFlightFetches<Arrival>>,
    budget: Arc<Budget>,
    config: BlocksConfig,
}

impl BlockTier {
    /// A tier that takes its share of `memory` bytes.
    pub(super) fn new(memory: u64, config: BlocksConfig, statistics: &Arc<Statistics>) -> Self {
        let memory = share_of(memory, config);
        Self {
            memory: MemoryTier::of_blocks(
                memory - memory / 8,
                config.size + note_weight(&CacheKey::from_bytes(&[0; 100])),
                Arc::clone(statistics),
            ),
            flights: Arc::default(),
            budget: Budget::new(memory),
            config,
        }
    }

    /// Whether blocks are kept at all.
    pub(super) fn are_kept(&self) -> bool {
        self.config.share > 0
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn memory(&self) -> &MemoryTier {
        &self.memory
    }

    /// Blocks on their way.
    pub(super) fn under_way(&self) -> u64 {
        self.flights.count() as u64
    }

    /// When the oldest fetch under way began.
    pub(super) fn oldest(&self) -> Option<SystemTime> {
        self.flights.oldest()
    }

    /// Bytes that one request asks a store for at most.
    pub(super) fn most_at_once(&self) -> u64 {
        match self.config.read_ahead {
            0 => MOST_AT_ONCE.max(self.config.size),
            read_ahead => read_ahead.max(self.config.size),
        }
    }

    /// Bytes asked for first where the reader has not said how far it will read.
    pub(super) fn first_bytes(&self) -> u64 {
        FIRST_BLOCKS.saturating_mul(self.config.size).min(self.most_at_once())
    }

    /// Bytes of a block.
    pub(super) fn size(&self) -> u64 {
        self.config.size
    }

    /// Whether one block fits into memory, so that to fetch it is not in vain.
    pub(super) fn hold(&self, bytes: u64) -> bool {
        bytes < self.memory.largest()
    }

    /// Takes room for a block out of the budget, if it is there.
    fn take(&self, key: &CacheKey, bytes: u64) -> Option<Arc<Held>> {
        self.budget.take(note_weight(key).checked_add(bytes)?).map(Arc::new)
    }
}

/// What blocks may take of so many bytes.
pub(super) fn share_of(bytes: u64, config: BlocksConfig) -> u64 {
    bytes / 100 * u64::from(config.share)
}

impl Blocks {
    /// An object of which no block is kept yet.
    #[must_use]
    pub fn new(
        head: ResponseHeader,
        lifetime: HeaderMap,
        version: Version,
        size: u64,
        held: Arc<Held>,
    ) -> Self {
        let layout = Layout { size, length: version.length };
        Self {
            head,
            lifetime,
            layout,
            version,
            held,
            streams: Mutex::default(),
            dropped: AtomicBool::new(false),
        }
    }

    /// The key of one of its blocks.
    #[must_use]
    fn key_of(&self, object: &CacheKey, index: u64) -> CacheKey {
        object.block(self.version.mark(), self.layout.size, index)
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
