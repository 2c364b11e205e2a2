//! Whether another attempt follows one that failed, and how it is made. Requests that pass through the
//! proxy, fetches of the cache and `s3proxy check` follow these rules and have none of their own.
//!
//! | an attempt ends with | another attempt | before it | counts as a retry | the address ([`Fault`]) |
//! |---|---|---|---|---|
//! | no connection: refused, no route, timeout, TLS failed | at an address not tried yet: always | nothing | no | passed over |
//! | | else, if a retry is left | a pause | yes | |
//! | the end of a reused connection before a head | always | nothing | no | its idle connections are not used again |
//! | the end of a new connection before a head | if a retry is left | a pause | yes | passed over after 3 in a row |
//! | 500, 502, 504, or 503 without `Retry-After` | if a retry is left | a pause | yes | passed over after 3 in a row |
//! | no head within its time limit | if a retry is left, at an address not tried yet | nothing | yes | passed over; idle connections as above |
//! | anything else: no HTTP, a redirect, 4xx, 503 with `Retry-After`, a name that does not resolve | no | | | |
//!
//! - No attempt begins after `total_timeout`. A pause is cut at that time.
//! - One attempt to connect tries several addresses ([`crate::upstream::dial`]).
//! - Each attempt goes to an address that the request has not tried, or else to another than the one
//!   before, if the name has another.
//! - After a reused connection has ended, the next attempt is made on a new connection: other idle
//!   connections of the pool may have ended too.
//! - Asking in another way (`answer::Ask`) is no retry. It happens at most [`MAX_ASKS`] times.
//! - An attempt is repeated only while no byte of an answer has reached the client.
//! - Where the store has another endpoint that was not tried, the request moves on to it after any of the
//!   failures above, and after 503 with `Retry-After`: at once, without a pause, and without counting a retry. The
//!   one exception is a reused connection that has ended. Answers of 4xx never move on.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::UpstreamConfig;
use crate::profile::MAX_ENDPOINTS;
use crate::response::refusal::Refusal;
use crate::upstream::health::Fault;

/// How often one request may ask the store in another way: for the validators, the length, the whole
/// object.
pub const MAX_ASKS: u8 = 3;

/// How many addresses one request tries without counting a retry.
pub const MAX_ADDRESSES: usize = 8;

/// The most attempts of one request: the first, its retry, one in place of a reused connection that
/// has ended, those at other addresses and endpoints, and those that ask in another way. Each may have to begin
/// again at the address that connects first.
pub const MAX_ATTEMPTS: usize = 2 * (3 + MAX_ADDRESSES + MAX_ENDPOINTS + MAX_ASKS as usize);

/// The `detail` of the log line when no head arrived within its time limit.
pub const LATE: &str = "timed out: the store's answer did not begin in its time";

/// The `detail` of the log line when a request was left because others found that its endpoint does not answer.
pub const LEFT: &str = "the breaker of the endpoint opened before the answer began";

/// How many attempts one request may make, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after a failure, 0 or 1.
    pub retries: u8,
    /// For all attempts, up to the head of the answer.
    pub total: Duration,
}

impl RetryPolicy {
    /// The policy of this configuration.
    #[must_use]
    pub fn of(config: &UpstreamConfig) -> Self {
        Self { retries: config.retries, total: config.total_timeout }
    }
}

/// Why an attempt has brought no answer for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptFailure {
    /// There is no connection, so that nothing was sent.
    NoConnection(Refusal),
    /// The connection ended before the head of an answer. `reused`: another request was answered on
    /// it before, and the store may have closed it meanwhile.
    Reset { reused: bool },
    /// No head arrived within its time limit.
    Late,
    /// The store answered 500, 502 or 504, or 503 without `Retry-After`.
    Answer(Refusal),
    /// A failure that another attempt would not avoid.
    Final(Refusal),
}

impl AttemptFailure {
    /// What the client gets if there is no other attempt.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NoConnection(refusal) | Self::Answer(refusal) | Self::Final(refusal) => {
                refusal.clone()
            }
            Self::Reset { .. } => Refusal::UpstreamReset,
            Self::Late => Refusal::UpstreamTimeout,
        }
    }

    /// What it says about the address. An error of the store is counted when its head comes.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::NoConnection(_) => Some(Fault::Connection),
            Self::Late => Some(Fault::Late),
            Self::Reset { reused: false } => Some(Fault::Reset),
            Self::Reset { reused: true } | Self::Answer(_) | Self::Final(_) => None,
        }
    }

    /// Whether other idle connections to the address may be dead, too. `reused`: this one was idle.
    #[must_use]
    pub fn discredits_pool(&self, reused: bool) -> bool {
        matches!(self, Self::Reset { reused: true }) || (reused && *self == Self::Late)
    }
}

/// What follows an attempt that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextAttempt {
    /// Another attempt; [`Attempts`] knows the pause, the address to avoid and the connection.
    Again,
    /// No other attempt.
    Refuse(Refusal),
}

/// Endpoints of one store, by their places in its order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointSet(u8);

impl EndpointSet {
    /// Every endpoint.
    const ALL: Self = Self(u8::MAX);

    /// Whether the endpoint at this place is among them.
    #[must_use]
    pub fn has(self, place: usize) -> bool {
        self.0 & Self::bit(place) != 0
    }

    fn insert(&mut self, place: usize) {
        self.0 |= Self::bit(place);
    }

    fn bit(place: usize) -> u8 {
        u32::try_from(place).ok().and_then(|place| 1_u8.checked_shl(place)).unwrap_or(0)
    }
}

const _: () = assert!(MAX_ENDPOINTS <= u8::BITS as usize, "a bit for each endpoint");

/// The attempts of one request so far, and the conditions of the next one.
#[derive(Debug, Clone)]
pub struct Attempts {
    policy: RetryPolicy,
    started: Instant,
    ended: Option<Instant>,
    made: u8,
    retries: u8,
    asks: u8,
    /// The endpoint that is asked; `None` before the first attempt, and when it was left.
    endpoint: Option<usize>,
    tried_endpoints: EndpointSet,
    /// The endpoint to ask first, if it is well.
    preferred_endpoint: Option<usize>,
    /// The address of each attempt at this endpoint, and those that gave no connection; the last one last.
    tried: Vec<SocketAddr>,
    began: Instant,
    pause: bool,
    new_connection: bool,
}

impl Attempts {
    /// Starts the time for all attempts.
    #[must_use]
    pub fn start(policy: RetryPolicy, now: Instant) -> Self {
        Self {
            policy,
            started: now,
            ended: None,
            made: 0,
            retries: 0,
            asks: 0,
            endpoint: None,
            tried_endpoints: EndpointSet::default(),
            preferred_endpoint: None,
            tried: Vec::new(),
            began: now,
            pause: false,
            new_connection: false,
        }
    }

    /// Starts the time for all attempts again.
    pub fn restart(&mut self, now: Instant) {
        self.started = now;
    }

    /// The endpoint that is asked, by its place; `None` where it is to be chosen.
    #[must_use]
    pub fn endpoint(&self) -> Option<usize> {
        self.endpoint
    }

    /// The endpoints that were asked.
    #[must_use]
    pub fn tried_endpoints(&self) -> EndpointSet {
        self.tried_endpoints
    }

    /// The endpoint to ask first, if it is well.
    #[must_use]
    pub fn preferred_endpoint(&self) -> Option<usize> {
        self.preferred_endpoint
    }

    /// The attempts go to the endpoint at this place.
    pub fn go_to(&mut self, place: usize) {
        self.endpoint = Some(place);
        self.tried_endpoints.insert(place);
    }

    /// The attempts go to the endpoint at this place and to no other.
    pub fn stay_at(&mut self, place: usize) {
        self.endpoint = Some(place);
        self.tried_endpoints = EndpointSet::ALL;
    }

    /// The next attempt goes to another endpoint.
    pub fn leave_endpoint(&mut self) {
        self.endpoint = None;
        // Addresses of the endpoint that is left.
        self.tried.clear();
        self.pause = false;
        self.new_connection = false;
    }

    /// Whether another endpoint is asked after this failure; to be called where there is one that was not
    /// tried.
    pub fn move_on(&mut self, failure: &AttemptFailure, now: Instant) -> bool {
        let moves = match failure {
            AttemptFailure::NoConnection(_)
            | AttemptFailure::Reset { reused: false }
            | AttemptFailure::Late
            | AttemptFailure::Answer(_) => !self.time_left(now).is_zero(),
            AttemptFailure::Reset { reused: true } | AttemptFailure::Final(_) => false,
        };
        if moves {
            self.leave_endpoint();
        }
        moves
    }

    /// How many were made.
    #[must_use]
    pub fn made(&self) -> u8 {
        self.made
    }

    /// Where the last attempt went.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tried.last().copied()
    }

    /// The addresses that were tried, the last one last: the next attempt goes elsewhere if it can.
    #[must_use]
    pub fn tried(&self) -> &[SocketAddr] {
        &self.tried
    }

    /// When the last attempt began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Whether the next attempt must not use an idle connection of a pool.
    #[must_use]
    pub fn needs_new_connection(&self) -> bool {
        self.new_connection
    }

    /// The rest of the time for all attempts.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Duration {
        self.policy.total.saturating_sub(now.saturating_duration_since(self.started))
    }

    /// The pause before the next attempt: `jitter`, the rest of the time, or none.
    pub fn pause(&mut self, jitter: Duration, now: Instant) -> Duration {
        if std::mem::take(&mut self.pause) {
            jitter.min(self.time_left(now))
        } else {
            Duration::ZERO
        }
    }

    /// The first attempt goes elsewhere if it can, and not over an idle connection: a body from this
    /// address has broken off. The endpoint stays the same if it is well: another one may have another
    /// version.
    pub fn go_elsewhere(&mut self, endpoint: Option<usize>, broken: Option<SocketAddr>) {
        self.preferred_endpoint = endpoint;
        if let Some(broken) = broken {
            self.went_to(broken);
        }
        self.new_connection = true;
    }

    /// Counts an attempt that goes to this address.
    pub fn begin(&mut self, address: SocketAddr, now: Instant) {
        self.went_to(address);
        self.began = now;
        self.made = self.made.saturating_add(1);
    }

    /// The attempt went to this address, too, or in the end.
    pub fn went_to(&mut self, address: SocketAddr) {
        self.tried.retain(|tried| *tried != address);
        self.tried.push(address);
    }

    /// The head of an answer has come, or the attempt has failed.
    pub fn end(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// From the first attempt to the end of the last; up to `now` if none has ended.
    #[must_use]
    pub fn duration(&self, now: Instant) -> Duration {
        self.ended.unwrap_or(now).saturating_duration_since(self.started)
    }

    /// Since the end of the last attempt; zero if none has ended.
    #[must_use]
    pub fn since_end(&self, now: Instant) -> Duration {
        self.ended.map_or(Duration::ZERO, |ended| now.saturating_duration_since(ended))
    }

    /// Whether an attempt that fails now may be followed by another that counts as a retry.
    #[must_use]
    pub fn may_retry(&self, now: Instant) -> bool {
        self.retries < self.policy.retries && !self.time_left(now).is_zero()
    }

    /// Decides what follows a failure. `has_untried`: the name has an address that was not tried.
    pub fn failed(
        &mut self,
        failure: &AttemptFailure,
        has_untried: bool,
        now: Instant,
    ) -> NextAttempt {
        let has_time = !self.time_left(now).is_zero();
        let pause = match failure {
            AttemptFailure::Reset { reused: true } if has_time => {
                self.new_connection = true;
                return NextAttempt::Again;
            }
            AttemptFailure::NoConnection(_)
                if has_untried && has_time && self.tried.len() < MAX_ADDRESSES =>
            {
                return NextAttempt::Again;
            }
            AttemptFailure::NoConnection(_)
            | AttemptFailure::Reset { .. }
            | AttemptFailure::Answer(_) => true,
            AttemptFailure::Late if has_untried => false,
            AttemptFailure::Late | AttemptFailure::Final(_) => {
                return NextAttempt::Refuse(failure.refusal());
            }
        };
        if !self.may_retry(now) {
            return NextAttempt::Refuse(failure.refusal());
        }
        self.retries = self.retries.saturating_add(1);
        self.pause = pause;
        NextAttempt::Again
    }

    /// Counts a request in another way; false if [`MAX_ASKS`] is reached.
    pub fn ask_in_another_way(&mut self) -> bool {
        let may = self.asks < MAX_ASKS;
        self.asks = self.asks.saturating_add(u8::from(may));
        may
    }
}

#[cfg(test)]
mod tests;
