//! The body of a store's answer, while it arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::metrics::store::StoreMetrics;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::Target;
use crate::trace::span::SpanParent;
use crate::upstream::Store;
use crate::upstream::admission::{Admission, Permit};
use crate::upstream::client::StoreClient;
use crate::upstream::client::connection::StoreConnection;
use crate::upstream::deadline::Deadlines;
use crate::upstream::error::refusal;
use crate::upstream::health::Fault;
use crate::upstream::last_outcome::LastOutcome;
use crate::upstream::rest::BodyRest;

/// A body to read piece by piece; at most one piece is in memory. At its end the connection returns
/// to the pool; dropped before, the connection is closed. If it breaks off and its rest can be requested,
/// it goes on with the rest.
pub struct StoreBody {
    state: BodyState,
    /// The bytes that have not arrived yet, if known.
    left: Option<u64>,
    origin: BodyOrigin,
    /// How it goes on if it breaks off.
    continuation: Option<Box<Continuation>>,
    occupied: Option<Occupied>,
}

/// Where a body comes from: the endpoint of the store, by its place, and the address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyOrigin {
    pub endpoint: Option<usize>,
    pub address: Option<SocketAddr>,
}

/// The permit of a body among the requests in progress, and the records of its store.
struct Occupied {
    permit: Permit,
    metrics: Arc<StoreMetrics>,
    last_outcome: Arc<LastOutcome>,
}

enum BodyState {
    Arriving(Box<StoreConnection>),
    /// It broke off in this way, and its rest can be requested.
    Interrupted(Refusal),
    Ended,
    Broken(Refusal),
}

/// What it takes to request the rest of a body.
struct Continuation {
    client: Arc<StoreClient>,
    store: Arc<Store>,
    target: Target,
    rest: BodyRest,
    attempts: u8,
    trace: Option<SpanParent>,
}

impl StoreBody {
    /// The body that follows the head on this connection; its length in bytes, if known.
    pub(super) fn new(
        mut connection: StoreConnection,
        length: Option<u64>,
        origin: BodyOrigin,
    ) -> Self {
        let (state, left) = if connection.is_at_end() {
            connection.release();
            (BodyState::Ended, None)
        } else {
            (BodyState::Arriving(Box::new(connection)), length)
        };
        Self { state, left, origin, continuation: None, occupied: None }
    }

    /// The rest of a body of this object that broke off elsewhere: at `origin`, in this way.
    #[must_use]
    pub fn of_rest(
        client: &Arc<StoreClient>,
        (store, target): (&Arc<Store>, &Target),
        rest: BodyRest,
        origin: BodyOrigin,
        broke_off: Refusal,
        trace: Option<SpanParent>,
    ) -> Self {
        let left = Some(rest.left());
        let state = match left {
            Some(0) => BodyState::Ended,
            _ => BodyState::Interrupted(broke_off),
        };
        let mut body = Self { state, left, origin, continuation: None, occupied: None };
        body.continue_with(client, store, target, rest, trace);
        body
    }

    /// If the body breaks off, its rest is requested.
    pub(super) fn continue_with(
        &mut self,
        client: &Arc<StoreClient>,
        store: &Arc<Store>,
        target: &Target,
        rest: BodyRest,
        trace: Option<SpanParent>,
    ) {
        if matches!(self.state, BodyState::Ended | BodyState::Broken(_)) {
            return;
        }
        if let BodyState::Arriving(connection) = &mut self.state {
            connection.set_patience(Deadlines::of(&client.config).pause(rest.may_try()));
        }
        let (client, store, target) = (Arc::clone(client), Arc::clone(store), target.clone());
        let continuation = Continuation { client, store, target, rest, attempts: 0, trace };
        self.continuation = Some(Box::new(continuation));
    }

    /// How many requests for its rest were sent.
    #[must_use]
    pub fn continuations(&self) -> u8 {
        self.continuation.as_ref().map_or(0, |continuation| continuation.attempts)
    }

    /// Where it comes from, the last part at least.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.origin.address
    }

    /// Holds the permit until the body has ended.
    pub(super) fn occupy(&mut self, permit: Permit, store: &Store) {
        if matches!(self.state, BodyState::Arriving(_)) {
            self.occupied = Some(Occupied {
                permit,
                metrics: Arc::clone(&store.metrics),
                last_outcome: Arc::clone(&store.last_outcome),
            });
        }
    }

    /// Counts it among the large transfers of its store, if there is room among them.
    pub fn count_as_bulk(&mut self, admission: &Admission) {
        if let Some(Occupied { permit, .. }) = &mut self.occupied {
            permit.count_as_bulk(admission);
        }
    }

    /// The next piece, at most 64 KiB and not empty; `None` at the end. Dropping the future loses no
    /// byte: the next call goes on.
    ///
    /// # Errors
    /// `UpstreamReset` when the body is shorter or longer than its head states,
    /// `UpstreamTimeout` when no byte arrives for `read_timeout`, `UpstreamProtocol` when its chunks
    /// are not well-formed, and its rest did not come either. Every later call fails likewise.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let connection = match &mut self.state {
                BodyState::Arriving(connection) => connection,
                BodyState::Interrupted(refusal) => {
                    let refusal = refusal.clone();
                    // Boxed: most bodies come whole.
                    if !Box::pin(self.go_on(&refusal)).await {
                        return self.break_off(refusal);
                    }
                    continue;
                }
                BodyState::Ended => return Ok(None),
                BodyState::Broken(refusal) => return Err(refusal.clone()),
            };
            let piece = match connection.read().await {
                Ok(piece) => piece,
                Err(error) => {
                    self.interrupt(refusal(&error))?;
                    continue;
                }
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
            if let Some(continuation) = &mut self.continuation {
                continuation.rest.arrived(arrived);
            }
            if connection.is_at_end() {
                if self.left.is_some_and(|left| left > 0) {
                    self.interrupt(Refusal::UpstreamReset)?;
                    if piece.is_none() {
                        continue;
                    }
                    return Ok(piece);
                }
                // At once: a reader that knows the length does not ask for the end.
                if let BodyState::Arriving(connection) =
                    std::mem::replace(&mut self.state, BodyState::Ended)
                {
                    connection.release();
                }
                self.occupied = None;
            }
            return Ok(piece);
        }
    }

    /// The body has broken off. Its connection is closed.
    ///
    /// # Errors
    /// The refusal, if its rest cannot be requested.
    fn interrupt(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if self.continuation.as_ref().is_some_and(|continuation| continuation.rest.may_try()) {
            self.state = BodyState::Interrupted(refusal);
            return Ok(());
        }
        self.break_off(refusal).map(|_| ())
    }

    /// Requests the rest of a body that broke off in this way, from another address if there is one.
    /// Returns whether it arrives.
    async fn go_on(&mut self, broke_off: &Refusal) -> bool {
        let Some(continuation) = &mut self.continuation else { return false };
        let Continuation { client, store, target, rest, attempts, trace } = &mut **continuation;
        let BodyOrigin { endpoint, address } = self.origin;
        if let Some(silent) = address.filter(|_| *broke_off == Refusal::UpstreamTimeout) {
            let endpoint = store.endpoints.at(endpoint.unwrap_or(0));
            endpoint.addresses.failed(silent, Fault::Late, Instant::now());
        }
        while rest.count_try() {
            *attempts = attempts.saturating_add(1);
            store.metrics.continuations.inc();
            match client.fetch_rest(store, target, rest, self.origin, trace.as_ref()).await {
                Ok(Some(Self { state: BodyState::Arriving(mut connection), origin, .. })) => {
                    connection.set_patience(Deadlines::of(&client.config).pause(rest.may_try()));
                    self.state = BodyState::Arriving(connection);
                    self.origin = origin;
                    return true;
                }
                Err(refusal) if refusal.is_store_failure() => {}
                // Another version, or a store without ranges.
                Ok(_) | Err(_) => return false,
            }
        }
        false
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
