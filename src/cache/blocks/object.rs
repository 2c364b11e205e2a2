//! An object in blocks, and one of its blocks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use pingora::http::ResponseHeader;

use crate::cache::blocks::layout::Layout;
use crate::cache::blocks::streams::Streams;
use crate::cache::blocks::version::Version;
use crate::cache::body::StoredBody;
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Held;

/// An object in blocks: its head. The blocks are entries of their own.
#[derive(Debug)]
pub struct Blocks {
    /// The head of the response to a client.
    pub head: ResponseHeader,
    /// `Cache-Control` and `Expires` as the store sent them.
    pub lifetime: HeaderMap,
    pub layout: Layout,
    /// The version that its blocks belong to.
    pub version: Version,
    /// Its share of the budget, until its last reader has left.
    pub held: Arc<Held>,
    streams: Mutex<Streams>,
    /// Whether the store has replaced or deleted this version.
    dropped: AtomicBool,
}

impl Blocks {
    /// The head of an object with blocks of `size` bytes.
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

    /// The same version with another head.
    #[must_use]
    pub fn with_head(&self, head: ResponseHeader, lifetime: HeaderMap) -> Self {
        let (version, held) = (self.version.clone(), Arc::clone(&self.held));
        Self::new(head, lifetime, version, self.layout.size, held)
    }

    /// The key of one of its blocks.
    #[must_use]
    pub fn key_of(&self, object: &CacheKey, index: u64) -> CacheKey {
        object.block(self.version.mark(), self.layout.size, index)
    }

    /// The clients that read it in order.
    pub fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the store has replaced or deleted this version. Returns whether that is news.
    #[must_use]
    pub fn mark_dropped(&self) -> bool {
        !self.dropped.swap(true, Ordering::AcqRel)
    }
}

/// A block in memory.
#[derive(Debug)]
pub struct Block {
    /// The offset of its bytes within the block: above zero only if a suffix range began there.
    pub from: u64,
    pub body: StoredBody,
    /// Its share of the budget, until its last reader has left.
    pub held: Arc<Held>,
}

impl Block {
    /// A block of which the bytes from the offset `from` on are in memory.
    #[must_use]
    pub fn new(from: u64, body: StoredBody, held: Arc<Held>) -> Self {
        Self { from, body, held }
    }
}
