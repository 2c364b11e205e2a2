//! The body of a store's answer, as it comes in.

use std::sync::Arc;

use bytes::Bytes;

use crate::metrics::store::StoreMetrics;
use crate::response::refusal::Refusal;
use crate::upstream::admission::Permit;
use crate::upstream::client::connection::Connection;
use crate::upstream::error::refusal;

/// A body to read piece by piece; no more than a piece of it is held. At its end the connection
/// returns to the pool; dropped before, the connection is closed.
pub struct Body {
    state: State,
    /// The bytes still to come, where they are known.
    left: Option<u64>,
    /// Its place among the requests under way, and what counts its bytes.
    occupied: Option<(Permit, Arc<StoreMetrics>)>,
}

enum State {
    Coming(Box<Connection>),
    EndedRequest,
    Broken(Refusal),
}

impl Body {
    /// The rest of what this connection was asked for: so many bytes, if that is known.
    pub(super) fn new(mut connection: Connection, length: Option<u64>) -> Self {
        if connection.is_at_end() {
            connection.release();
            return Self { state: State::EndedRequest, left: None, occupied: None };
        }
        Self { state: State::Coming(Box::new(connection)), left: length, occupied: None }
    }

    /// Has its place among the requests under way until it has ended.
    pub(super) fn occupy(&mut self, slot: Permit, metrics: Arc<StoreMetrics>) {
        if matches!(self.state, State::Coming(_)) {
            self.occupied = Some((slot, metrics));
        }
    }

    /// The next piece, at most 64 KiB and not empty; `None` once all bytes have come. A call that is
    /// given up loses nothing: the next one goes on.
    ///
    /// # Errors
    /// `UpstreamReset` when the body ends before its time or is longer than its head says,
    /// `UpstreamTimeout` when no byte comes for `read_timeout`, `UpstreamProtocol` when its chunks
    /// are not well-formed. Every later call fails likewise.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let connection = match &mut self.state {
            State::Coming(connection) => connection,
            State::EndedRequest => return Ok(None),
            State::Broken(refusal) => return Err(refusal.clone()),
        };
        let piece = match connection.read().await {
            Ok(piece) => piece,
            Err(error) => return self.break_off(refusal(&error)),
        };
        // Nothing is awaited from here on, so that no piece can be lost.
        let arrived = piece.as_ref().map_or(0, Bytes::len) as u64;
        if let Some((_, metrics)) = &self.occupied {
            metrics.received.inc_by(arrived);
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
            // At once: a reader that knows the length does not come for the end.
            if let State::Coming(connection) =
                std::mem::replace(&mut self.state, State::EndedRequest)
            {
                connection.release();
            }
            self.occupied = None;
        }
        Ok(piece)
    }

    fn break_off(&mut self, refusal: Refusal) -> Result<Option<Bytes>, Refusal> {
        self.state = State::Broken(refusal.clone());
        if let Some((_, metrics)) = self.occupied.take() {
            metrics.errors.count("upstream_cut");
        }
        Err(refusal)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("left", &self.left).finish_non_exhaustive()
    }
}
