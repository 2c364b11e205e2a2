//! An object in blocks, and one of its blocks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::HeaderMap;
use pingora::http::ResponseHeader;

use crate::cache::blocks::arriving_body::ArrivingBody;
use crate::cache::blocks::layout::{Layout, beginning, coarser, grain};
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
    /// The bodies that bring its blocks at the pace of their readers.
    arriving: Mutex<Vec<Weak<ArrivingBody>>>,
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
        let layout = Layout::new(size, version.length);
        Self {
            head,
            lifetime,
            layout,
            version,
            held,
            streams: Mutex::default(),
            arriving: Mutex::default(),
            dropped: AtomicBool::new(false),
        }
    }

    /// The same version with another head.
    #[must_use]
    pub fn with_head(&self, head: ResponseHeader, lifetime: HeaderMap) -> Self {
        let (version, held) = (self.version.clone(), Arc::clone(&self.held));
        Self::new(head, lifetime, version, self.layout.size, held)
    }

    /// The layout for a range of `wanted` bytes.
    #[must_use]
    pub(super) fn layout_for(&self, wanted: u64) -> Layout {
        Layout::new(grain(self.layout.size, wanted), self.layout.length)
    }

    /// The layout for a client that has named no end, and begins at `start`.
    #[must_use]
    pub(super) fn open_layout(&self, start: u64) -> Layout {
        self.layout.with_pages(beginning(start, self.layout.size))
    }

    /// The layouts of the larger blocks that may hold a block of `size` bytes.
    pub(super) fn coarser_layouts(&self, size: u64) -> impl Iterator<Item = Layout> {
        let length = self.layout.length;
        coarser(self.layout.size, size).map(move |size| Layout::new(size, length))
    }

    /// The key of a block of this layout.
    #[must_use]
    pub fn key_of(&self, object: &CacheKey, layout: Layout, index: u64) -> CacheKey {
        let size = layout.size_of(index);
        object.block(self.version.mark(), size, layout.bytes(index).start / size)
    }

    /// The clients that read it in order.
    pub fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a body that brings blocks at the pace of its reader.
    pub(super) fn add_arriving(&self, body: &Arc<ArrivingBody>) {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        arriving.retain(|body| body.strong_count() > 0);
        arriving.push(Arc::downgrade(body));
    }

    /// Whether there may be bodies that bring blocks at the pace of their readers.
    pub(super) fn has_arriving(&self) -> bool {
        !self.arriving.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The bodies that bring blocks at the pace of their readers.
    pub(super) fn arriving(&self) -> Vec<Arc<ArrivingBody>> {
        let arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        arriving.iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether the store has replaced or deleted this version.
    #[must_use]
    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
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

    /// The part of it from the offset `start` on, as a block of its own that shares its memory; `None`
    /// if it does not hold all of that.
    #[must_use]
    pub(super) fn part(&self, start: u64, length: u64) -> Option<Arc<Self>> {
        let first = start.checked_sub(self.from)?;
        let bytes = self.body.read(first, first + length)?;
        let body = StoredBody::from_bytes(bytes);
        let whole = body.len() == length;
        whole.then(|| Arc::new(Self { from: 0, body, held: Arc::clone(&self.held) }))
    }
}
