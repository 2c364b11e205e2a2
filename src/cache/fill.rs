//! A body that is arriving: one writer, any number of readers, each at its own position.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::cache::body::{PIECE, StoredBody, stretch};
use crate::cache::memory::budget::Held;

/// How long the body of an object may take to arrive. A fetch does not end when its clients leave, so a
/// store that sends a byte now and then must not hold its readers, and room for the body, without limit.
pub(super) const FILL_TIME: Duration = Duration::from_secs(600);

/// The bytes of an arriving body of known length.
#[derive(Debug)]
pub struct FillBuffer {
    length: u64,
    state: Mutex<FillState>,
    /// Notified at every change of the state.
    changed: Notify,
    /// Its share of the budget, until its last reader has left.
    _held: Arc<Held>,
}

#[derive(Debug, Default)]
struct FillState {
    /// Whole pieces of [`PIECE`] bytes, and the last one.
    pieces: Vec<Bytes>,
    /// The parts of the next piece that have arrived.
    tail: Vec<Bytes>,
    /// The bytes of these parts.
    tail_bytes: u64,
    /// How many bytes readers see: not the last ones before the end.
    shown: u64,
    ended: bool,
    failed: bool,
}

/// The body ended before its length, or its store failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncated;

impl FillBuffer {
    /// A body of `length` bytes, none of which has arrived.
    #[must_use]
    pub fn new(length: u64, held: Arc<Held>) -> Arc<Self> {
        let (state, changed) = (Mutex::new(FillState::default()), Notify::new());
        Arc::new(Self { length, state, changed, _held: held })
    }

    /// The length it will have, bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether it neither has ended nor has failed.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        let state = self.lock();
        !state.ended && !state.failed
    }

    fn lock(&self) -> MutexGuard<'_, FillState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes that have arrived. Those that complete the body are shown by [`FillBuffer::end`].
    ///
    /// # Errors
    /// When the body would be longer than its length; it has failed then.
    pub fn push(&self, mut bytes: Bytes) -> Result<(), Truncated> {
        let mut state = self.lock();
        let arrived = state.arrived();
        if state.ended || arrived + bytes.len() as u64 > self.length {
            state.failed = true;
        } else {
            while !bytes.is_empty() {
                let room = usize::try_from(PIECE - state.tail_bytes).unwrap_or(usize::MAX);
                let part = bytes.split_to(bytes.len().min(room));
                state.tail_bytes += part.len() as u64;
                state.tail.push(part);
                if state.tail_bytes == PIECE {
                    state.join_tail();
                }
            }
            let arrived = state.arrived();
            if arrived < self.length {
                state.shown = arrived;
            }
        }
        let failed = state.failed;
        drop(state);
        self.changed.notify_waiters();
        if failed { Err(Truncated) } else { Ok(()) }
    }

    /// The whole body, to be stored before [`FillBuffer::end`].
    ///
    /// # Errors
    /// When some of it has not arrived; it has failed then.
    pub fn complete(&self) -> Result<StoredBody, Truncated> {
        let mut state = self.lock();
        state.join_tail();
        let body = StoredBody::from_pieces(state.pieces.clone());
        let body = body.filter(|body| body.len() == self.length && !state.failed);
        if body.is_none() {
            state.failed = true;
            drop(state);
            self.changed.notify_waiters();
        }
        body.ok_or(Truncated)
    }

    /// Shows the last bytes of a complete body. A client that has received all of it finds it stored with
    /// its next request.
    pub fn end(&self) {
        let mut state = self.lock();
        if !state.failed {
            state.shown = state.arrived();
            state.ended = true;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Ends the body early: its readers get an error after the bytes that have arrived.
    pub fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_waiters();
    }

    /// Whether [`FillBuffer::read`] returns at once: these bytes have arrived, or will not arrive.
    #[must_use]
    pub fn is_settled_at(&self, position: u64) -> bool {
        let state = self.lock();
        position < state.shown || state.failed || state.ended
    }

    /// Bytes from `position` on, not beyond `end`, as soon as there are any; `None` at the end.
    ///
    /// # Errors
    /// When the body fails before these bytes have arrived.
    pub async fn read(&self, position: u64, end: u64) -> Result<Option<Bytes>, Truncated> {
        let end = end.min(self.length);
        if position >= end {
            return Ok(None);
        }
        loop {
            let mut change = std::pin::pin!(self.changed.notified());
            // From here on no change can be missed.
            change.as_mut().enable();
            {
                let state = self.lock();
                if let Some(bytes) = state.read(position, end) {
                    return Ok(Some(bytes));
                }
                if state.failed || state.ended {
                    return Err(Truncated);
                }
            }
            change.await;
        }
    }
}

impl FillState {
    fn arrived(&self) -> u64 {
        self.pieces.len() as u64 * PIECE + self.tail_bytes
    }

    /// Makes one piece of the parts of the tail, without a copy if there is only one.
    fn join_tail(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let length = usize::try_from(std::mem::take(&mut self.tail_bytes)).unwrap_or(usize::MAX);
        let piece = match <[Bytes; 1]>::try_from(tail) {
            Ok([only]) => only,
            Err(tail) => {
                let mut joined = BytesMut::with_capacity(length);
                for part in &tail {
                    joined.extend_from_slice(part);
                }
                joined.freeze()
            }
        };
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    fn read(&self, position: u64, end: u64) -> Option<Bytes> {
        let wanted = end.min(self.shown).checked_sub(position)?;
        if let Some(piece) = self.pieces.get(usize::try_from(position / PIECE).ok()?) {
            return stretch(piece, position % PIECE, wanted);
        }
        let mut from = position.checked_sub(self.pieces.len() as u64 * PIECE)?;
        for part in &self.tail {
            let length = part.len() as u64;
            if from < length {
                return stretch(part, from, wanted);
            }
            from -= length;
        }
        None
    }
}

#[cfg(test)]
mod tests;
