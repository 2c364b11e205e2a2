//! Whether the idle connections to one address can be trusted. Connections may have died without a
//! word: a firewall forgot them, or a node behind a virtual address fell. They look open until a
//! request is sent.
//!
//! Connections belong to a group, which is part of their key in every pool. A new group leaves all older
//! connections behind.
//!
//! - While answers come, requests use the connections of the current group.
//! - After [`QUIET`] without an answer, one request tries an idle connection: the trial. Until it is
//!   answered, the others use the next group: new connections, or those that such requests have left.
//!   So they do while another address of the name is on trial.
//! - If a reused connection dies before a byte of an answer, the next group becomes the current one,
//!   at other quiet addresses of the name, too. So it does if a request of the next group is answered
//!   and there is no trial, or none that was answered for [`QUIET`].

use std::time::{Duration, Instant};

/// How long a group is trusted after an answer.
pub const QUIET: Duration = Duration::from_secs(1);

/// A group of connections to one address: part of their key in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionGroup(u64);

impl ConnectionGroup {
    /// The part of the key of a connection in a pool.
    #[must_use]
    pub fn key(self) -> u64 {
        self.0
    }

    fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// What is known of the idle connections to one address.
#[derive(Debug, Clone, Default)]
pub struct PoolTrust {
    current: ConnectionGroup,
    /// The last answer on the current group; `None` before the first, when there is no idle connection.
    heard: Option<Instant>,
    /// When the one request was sent that tries an idle connection.
    trial: Option<Instant>,
}

impl PoolTrust {
    /// Whether answers came lately, or there is no idle connection yet.
    #[must_use]
    pub fn is_trusted(&self, now: Instant) -> bool {
        self.heard.is_none_or(|heard| now.saturating_duration_since(heard) < QUIET)
    }

    /// Whether a request tries an idle connection, and has no answer yet.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The group for a request that is sent now. `may_try`: no other address of the name is on trial.
    pub fn group(&mut self, may_try: bool, now: Instant) -> ConnectionGroup {
        if self.is_trusted(now) {
            return self.current;
        }
        if self.is_on_trial() || !may_try {
            return self.current.next();
        }
        self.trial = Some(now);
        self.current
    }

    /// An answer came on a connection of this group.
    pub fn heard(&mut self, group: ConnectionGroup, now: Instant) {
        if group == self.current {
            self.heard = Some(now);
            self.trial = None;
        } else if group == self.current.next()
            && self.trial.is_none_or(|trial| now.saturating_duration_since(trial) >= QUIET)
        {
            *self = Self { current: group, heard: Some(now), trial: None };
        }
    }

    /// A reused connection of this group brought no answer.
    pub fn died(&mut self, group: ConnectionGroup) {
        if group == self.current {
            self.leave();
        }
    }

    /// Leaves the idle connections behind.
    pub fn leave(&mut self) {
        *self = Self { current: self.current.next(), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_tries_a_quiet_pool_and_the_others_do_not_wait_for_it() {
        let mut now = Instant::now();
        let mut trust = PoolTrust::default();
        let first = trust.group(true, now);
        assert_eq!(trust.group(true, now), first, "an empty pool needs no trial");
        trust.heard(first, now);
        now += QUIET / 2;
        assert_eq!((trust.group(true, now), trust.group(true, now)), (first, first));
        now += QUIET;
        let (trial, bystander) = (trust.group(true, now), trust.group(true, now));
        assert_eq!((trial, bystander), (first, first.next()));
        trust.heard(bystander, now);
        assert_eq!(trust.group(true, now), bystander, "a bystander proves nothing of the pool");
        trust.heard(trial, now);
        assert_eq!(trust.group(true, now), first);
    }

    #[test]
    fn a_death_on_a_reused_connection_leaves_all_older_ones_behind() {
        let now = Instant::now();
        let mut trust = PoolTrust::default();
        let first = trust.group(true, now);
        trust.heard(first, now);
        trust.died(first);
        trust.died(first);
        assert_eq!(trust.group(true, now), first.next(), "together they are one death");
        trust.heard(first, now);
        assert_eq!(trust.group(true, now), first.next(), "an old answer brings no group back");
    }

    #[test]
    fn a_trial_that_hangs_while_others_are_answered_ends_the_group() {
        let mut now = Instant::now();
        let mut trust = PoolTrust::default();
        let first = trust.group(true, now);
        trust.heard(first, now);
        now += QUIET;
        let (_trial, bystander) = (trust.group(true, now), trust.group(true, now));
        now += QUIET;
        trust.heard(bystander, now);
        assert_eq!(trust.group(true, now), bystander);
        assert_eq!(trust.group(true, now + QUIET), bystander, "its own trial");
        assert_eq!(trust.group(true, now + QUIET), bystander.next());
    }

    #[test]
    fn while_another_address_is_on_trial_new_connections_are_made() {
        let mut now = Instant::now();
        let mut trust = PoolTrust::default();
        let first = trust.group(true, now);
        trust.heard(first, now);
        assert_eq!(trust.group(false, now), first, "a pool that is trusted needs no trial");
        now += QUIET;
        assert_eq!(trust.group(false, now), first.next());
        assert!(!trust.is_on_trial());
        trust.heard(first.next(), now);
        assert_eq!(trust.group(false, now), first.next(), "these connections are known to work");
    }
}
