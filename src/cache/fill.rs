//! A body that is arriving: one writer, any number of readers, each at its own place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::cache::body::{Body, PIECE, stretch};
use crate::cache::memory::budget::Held;

/// A body of known length on its way in.
#[derive(Debug)]
pub struct Fill {
    length: u64,
    state: Mutex<State>,
    /// Told of every change of the state.
    changed: Notify,
    /// The room it takes, until its last reader has left.
    _held: Arc<Held>,
}

#[derive(Debug, Default)]
struct State {
    /// Whole pieces of [`PIECE`] bytes, and the last one.
    pieces: Vec<Bytes>,
    /// What has arrived of the next piece.
    crumbs: Vec<Bytes>,
    /// How much that is.
    in_crumbs: u64,
    ended: bool,
    failed: bool,
}

/// The body ended before its length, or its store failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

impl Fill {
    /// A body of `length` bytes of which nothing has arrived.
    #[must_use]
    pub fn new(length: u64, held: Arc<Held>) -> Arc<Self> {
        let (state, changed) = (Mutex::new(State::default()), Notify::new());
        Arc::new(Self { length, state, changed, _held: held })
    }

    /// The length it will have, bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether more of it is to come.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        let state = self.lock();
        !state.ended && !state.failed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what has arrived.
    ///
    /// # Errors
    /// When that is more than the length allows; the fill has failed then.
    pub fn push(&self, mut bytes: Bytes) -> Result<(), Cut> {
        let mut state = self.lock();
        let arrived = state.pieces.len() as u64 * PIECE + state.in_crumbs;
        if state.ended || arrived + bytes.len() as u64 > self.length {
            state.failed = true;
        } else {
            while !bytes.is_empty() {
                let room = usize::try_from(PIECE - state.in_crumbs).unwrap_or(usize::MAX);
                let crumb = bytes.split_to(bytes.len().min(room));
                state.in_crumbs += crumb.len() as u64;
                state.crumbs.push(crumb);
                if state.in_crumbs == PIECE {
                    state.join_crumbs();
                }
            }
        }
        let failed = state.failed;
        drop(state);
        self.changed.notify_waiters();
        if failed { Err(Cut) } else { Ok(()) }
    }

    /// Ends the body and returns it whole, to be kept.
    ///
    /// # Errors
    /// When not all of it has arrived; the fill has failed then.
    pub fn complete(&self) -> Result<Body, Cut> {
        let mut state = self.lock();
        state.join_crumbs();
        let body = Body::from_pieces(state.pieces.clone());
        let body = body.filter(|body| body.len() == self.length && !state.failed);
        state.failed |= body.is_none();
        state.ended = true;
        drop(state);
        self.changed.notify_waiters();
        body.ok_or(Cut)
    }

    /// Tells every reader that the rest will not come.
    pub fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_waiters();
    }

    /// Bytes from `position` on, not beyond `end`, as soon as there are any; `None` at the end.
    ///
    /// # Errors
    /// When they will never come.
    pub async fn read(&self, position: u64, end: u64) -> Result<Option<Bytes>, Cut> {
        let end = end.min(self.length);
        if position >= end {
            return Ok(None);
        }
        loop {
            let mut change = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            change.as_mut().enable();
            {
                let state = self.lock();
                if let Some(bytes) = state.read(position, end) {
                    return Ok(Some(bytes));
                }
                if state.failed || state.ended {
                    return Err(Cut);
                }
            }
            change.await;
        }
    }
}

impl State {
    /// Makes one piece of the crumbs, copying them unless there is only one.
    fn join_crumbs(&mut self) {
        let crumbs = std::mem::take(&mut self.crumbs);
        let length = usize::try_from(std::mem::take(&mut self.in_crumbs)).unwrap_or(usize::MAX);
        let piece = match <[Bytes; 1]>::try_from(crumbs) {
            Ok([only]) => only,
            Err(crumbs) => {
                let mut joined = BytesMut::with_capacity(length);
                for crumb in &crumbs {
                    joined.extend_from_slice(crumb);
                }
                joined.freeze()
            }
        };
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    fn read(&self, position: u64, end: u64) -> Option<Bytes> {
        let wanted = end.checked_sub(position)?;
        if let Some(piece) = self.pieces.get(usize::try_from(position / PIECE).ok()?) {
            return stretch(piece, position % PIECE, wanted);
        }
        let mut from = position.checked_sub(self.pieces.len() as u64 * PIECE)?;
        for crumb in &self.crumbs {
            let length = crumb.len() as u64;
            if from < length {
                return stretch(crumb, from, wanted);
            }
            from -= length;
        }
        None
    }
}

#[cfg(test)]
mod tests;
