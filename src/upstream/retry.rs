//! Whether another attempt follows one that failed, and how it is made. Requests that pass through the
//! proxy, fetches of the cache and `s3proxy check` follow these rules and have none of their own.
//!
//! | an attempt ends with | another attempt | before it | counts as a retry | the address is penalised |
//! |---|---|---|---|---|
//! | no connection: refused, no route, timeout, TLS failed | if a retry is left | a pause, if the name has one address | yes | yes |
//! | the end of a reused connection before a head | always | nothing | no | no |
//! | the end of a new connection before a head | if a retry is left | a pause | yes | no |
//! | 500, 502, 504, or 503 without `Retry-After` | if a retry is left | a pause | yes | no |
//! | no head within its time limit | no | | | yes |
//! | anything else: no HTTP, a redirect, 4xx, 503 with `Retry-After`, a name that does not resolve | no | | | no |
//!
//! - No attempt begins after `total_timeout`. A pause is cut at that time.
//! - Each attempt goes to another address than the one before, if the name has another.
//! - After a reused connection has ended, the next attempt is made on a new connection: other idle
//!   connections of the pool may have ended too.
//! - Asking in another way (`answer::Ask`) is no retry. It happens at most [`MAX_ASKS`] times.
//! - An attempt is repeated only while no byte of an answer has reached the client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::UpstreamConfig;
use crate::response::refusal::Refusal;

/// How often one request may ask the store in another way: for the validators, the length, the whole
/// object.
pub const MAX_ASKS: u8 = 3;

/// The most attempts of one request: the first, its retry, one in place of a reused connection that
/// has ended, and those that ask in another way.
pub const MAX_ATTEMPTS: usize = 3 + MAX_ASKS as usize;

/// The `detail` of the log line when no head arrived within its time limit.
pub const LATE: &str = "timed out: the store's answer did not begin in its time";

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

    /// Whether the address is passed over for a while.
    #[must_use]
    pub fn penalises_address(&self) -> bool {
        matches!(self, Self::NoConnection(_) | Self::Late)
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

/// The attempts of one request so far, and the conditions of the next one.
#[derive(Debug, Clone)]
pub struct Attempts {
    policy: RetryPolicy,
    started: Instant,
    ended: Option<Instant>,
    made: u8,
    retries: u8,
    asks: u8,
    address: Option<SocketAddr>,
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
            address: None,
            pause: false,
            new_connection: false,
        }
    }

    /// Starts the time for all attempts again.
    pub fn restart(&mut self, now: Instant) {
        self.started = now;
    }

    /// How many were made.
    #[must_use]
    pub fn made(&self) -> u8 {
        self.made
    }

    /// Where the last attempt went: the next one goes elsewhere if it can.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
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
    /// address has broken off.
    pub fn go_elsewhere(&mut self, broken: Option<SocketAddr>) {
        self.address = broken;
        self.new_connection = true;
    }

    /// Counts an attempt that goes to this address.
    pub fn begin(&mut self, address: SocketAddr) {
        self.address = Some(address);
        self.made = self.made.saturating_add(1);
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

    /// Whether an attempt that fails now may be followed by another that counts as a retry.
    #[must_use]
    pub fn may_retry(&self, now: Instant) -> bool {
        self.retries < self.policy.retries && !self.time_left(now).is_zero()
    }

    /// Decides what follows a failure. `only_address`: the name has no other address.
    pub fn failed(
        &mut self,
        failure: &AttemptFailure,
        only_address: bool,
        now: Instant,
    ) -> NextAttempt {
        let pause = match failure {
            AttemptFailure::Reset { reused: true } if !self.time_left(now).is_zero() => {
                self.new_connection = true;
                return NextAttempt::Again;
            }
            AttemptFailure::NoConnection(_) => only_address,
            AttemptFailure::Reset { .. } | AttemptFailure::Answer(_) => true,
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
