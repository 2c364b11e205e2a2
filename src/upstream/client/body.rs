//! The body of a store's answer, while it arrives.

use std::sync::Arc;

use bytes::Bytes;

use crate::metrics::store::StoreMetrics;
use crate::response::refusal::Refusal;
use crate::upstream::Store;
use crate::upstream::admission::Permit;
use crate::upstream::client::connection::StoreConnection;
use crate::upstream::error::refusal;
use crate::upstream::last_outcome::LastOutcome;

/// A body to read piece by piece; at most one piece is in memory. At its end the connection returns
/// to the pool; dropped before, the connection is closed.
pub struct StoreBody {
    state: BodyState,
    /// The bytes that have not arrived yet, if known.
    left: Option<u64>,
    occupied: Option<Occupied>,
}

/// The permit of a body among the requests in progress, and the records of its store.
struct Occupied {
    _permit: Permit,
    metrics: Arc<StoreMetrics>,
    last_outcome: Arc<LastOutcome>,
}

enum BodyState {
    Arriving(Box<StoreConnection>),
    Ended,
    Broken(Refusal),
}

impl StoreBody {
    /// The body that follows the head on this connection; its length in bytes, if known.
    pub(super) fn new(mut connection: StoreConnection, length: Option<u64>) -> Self {
        if connection.is_at_end() {
            connection.release();
            return Self { state: BodyState::Ended, left: None, occupied: None };
        }
        Self { state: BodyState::Arriving(Box::new(connection)), left: length, occupied: None }
    }

    /// Holds the permit until the body has ended.
    pub(super) fn occupy(&mut self, permit: Permit, store: &Store) {
        if matches!(self.state, BodyState::Arriving(_)) {
            self.occupied = Some(Occupied {
                _permit: permit,
                metrics: Arc::clone(&store.metrics),
                last_outcome: Arc::clone(&store.last_outcome),
            });
        }
    }

    /// The next piece, at most 64 KiB and not empty; `None` at the end. Dropping the future loses no
    /// byte: the next call goes on.
    ///
    /// # Errors
    /// `UpstreamReset` when the body is shorter or longer than its head states,
    /// `UpstreamTimeout` when no byte arrives for `read_timeout`, `UpstreamProtocol` when its chunks
    /// are not well-formed. Every later call fails likewise.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let connection = match &mut self.state {
            BodyState::Arriving(connection) => connection,
            BodyState::Ended => return Ok(None),
            BodyState::Broken(refusal) => return Err(refusal.clone()),
        };
        let piece = match connection.read().await {
            Ok(piece) => piece,
            Err(error) => return self.break_off(refusal(&error)),
        };
        // No await from here on: a dropped future cannot lose the piece.
        let arrived = piece.as_ref().map_or(0, Bytes::len) as u64;
        if let Some(occupied) = &self.occupied {
            occupied.metrics.received.inc_by(arrived);
        }
        if let Some(left) = &mut self.left {
            match left.checked_sub(arrived) {
                Some(rest) => *left = rest,
                None => return self.break_off(Refusal::UpstreamReset),
            }
        }
        if connection.is_at_end() {
            if self.left.is_some_and(|left| left > 0) {
                return self.break_off(Refusal::UpstreamReset);
            }
            // At once: a reader that knows the length does not ask for the end.
            if let BodyState::Arriving(connection) =
                std::mem::replace(&mut self.state, BodyState::Ended)
            {
                connection.release();
            }
            self.occupied = None;
        }
        Ok(piece)
    }

    fn break_off(&mut self, refusal: Refusal) -> Result<Option<Bytes>, Refusal> {
        self.state = BodyState::Broken(refusal.clone());
        if let Some(occupied) = self.occupied.take() {
            Store::note_cut(&occupied.metrics, &occupied.last_outcome);
        }
        Err(refusal)
    }
}

impl std::fmt::Debug for StoreBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreBody").field("left", &self.left).finish_non_exhaustive()
    }
}
