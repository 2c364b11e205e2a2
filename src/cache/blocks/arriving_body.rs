//! The body of a store's answer that one client reads, and the blocks that are filled from it.
//! `fill_as_read.rs` has what it does.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::cache::blocks::arrival::{Arrival, BlockFetch};
use crate::cache::blocks::layout::Layout;
use crate::cache::blocks::object::Blocks;
use crate::cache::fill::FillBuffer;
use crate::cache::inflight::Leader;
use crate::cache::key::CacheKey;
use crate::cache::memory::reservation::Reservation;
use crate::cache::request::CacheRequest;
use crate::upstream::client::StoreBody;

/// A block that its owner has to fetch, with room for it. If this is dropped before the block is
/// complete, the block fails for all its followers.
#[derive(Debug)]
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

/// A body, and the blocks that are filled from it.
pub(in crate::cache) struct ArrivingBody {
    pub(super) request: Arc<CacheRequest>,
    pub(super) blocks: Arc<Blocks>,
    /// Of the blocks that are filled from it.
    pub(super) layout: Layout,
    pub(super) requested_at: SystemTime,
    /// The bytes of the object that it brings.
    pub(super) bytes: Range<u64>,
    /// Held while bytes are awaited. A future that is dropped loses no byte.
    pub(super) body: tokio::sync::Mutex<StoreBody>,
    pub(super) passing: Mutex<Passing>,
}

/// What has arrived of a body.
pub(super) struct Passing {
    /// The position in the object of the next byte of `rest`, or of the body.
    pub(super) position: u64,
    /// The blocks in flight, in order: the first holds `position`.
    pub(super) filling: VecDeque<BlockReservation>,
    /// Bytes that have arrived, and that no block is filled with: they are its client's.
    pub(super) rest: Bytes,
    /// How far its client has read; `None` when the client has left.
    pub(super) client: Option<u64>,
    /// The blocks that its client has not read, complete or not.
    pub(super) unread: VecDeque<FillingBlock>,
    /// Whether blocks are filled from it at all.
    pub(super) fills: bool,
    /// Whether there was no room for a block, so that its bytes pass.
    pub(super) had_no_room: bool,
    pub(super) failed: bool,
}

/// A block that is filled from the body.
#[derive(Debug, Clone)]
pub(super) struct FillingBlock {
    /// Which bytes of the object fill it.
    pub(super) bytes: Range<u64>,
    pub(super) fill: Arc<FillBuffer>,
}

impl ArrivingBody {
    fn begins_with(&self, wanted: &Range<u64>) -> bool {
        let index = |position| self.layout.index(position);
        index(wanted.start) == index(self.bytes.start) && self.bytes.contains(&wanted.start)
    }

    /// The bytes of the object that it brings.
    pub(super) fn bytes(&self) -> &Range<u64> {
        &self.bytes
    }

    /// Whether blocks are filled from it now.
    pub(super) fn is_filling(&self) -> bool {
        !self.lock().filling.is_empty()
    }

    /// Its client has left: no further block is reserved.
    pub(super) fn client_left(&self) {
        let mut passing = self.lock();
        passing.client = None;
        passing.unread.clear();
    }

    /// The bytes that have not arrived.
    pub(super) fn left(&self) -> u64 {
        let passing = self.lock();
        let arrived = passing.position + passing.rest.len() as u64;
        if passing.failed { 0 } else { self.bytes.end.saturating_sub(arrived) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Passing> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ArrivingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrivingBody").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A body for the first reader whose response it is.
#[derive(Debug, Clone)]
pub struct BodySlot(Arc<Mutex<Option<Arc<ArrivingBody>>>>);

impl BodySlot {
    pub(super) fn new(body: Arc<ArrivingBody>) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    /// The layout of the blocks that the body fills, if it begins with the first block of these bytes.
    pub(super) fn layout_for(&self, wanted: &Range<u64>) -> Option<Layout> {
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().filter(|body| body.begins_with(wanted)).map(|body| body.layout)
    }

    /// Takes the body.
    pub(super) fn take(&self) -> Option<Arc<ArrivingBody>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the body, if it begins with the first block of these bytes.
    pub(super) fn take_for(&self, wanted: &Range<u64>) -> Option<Arc<ArrivingBody>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take_if(|body| body.begins_with(wanted))
    }
}
