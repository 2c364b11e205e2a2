//! Which address of a name gets the next request: the healthy ones take turns, so that all get the same
//! share. The rules of health are those of [`crate::upstream::health`].
//!
//! 1. The first attempt of a request is the probe of an address whose penalty is over, if there is one.
//! 2. Healthy addresses that this request has not tried, in turn; after a failure the other family
//!    first, since often a whole family has no route.
//! 3. Addresses it has not tried that owe an answer; then those that are passed over.
//! 4. If it has tried all: a healthy one, another than the last if there is one; else any other.

use std::net::SocketAddr;
use std::time::Instant;

use crate::upstream::health::{CandidateHealth, Change, Fault, HealthState};
use crate::upstream::pool_trust::{ConnectionGroup, PoolTrust};

/// The addresses of a name, and whose turn it is.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    addresses: Vec<Address>,
    /// Counts choices: each goes to the next address.
    turn: usize,
}

#[derive(Debug, Clone)]
struct Address {
    socket: SocketAddr,
    health: CandidateHealth,
    pool: PoolTrust,
}

/// Where an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    pub address: SocketAddr,
    /// Of the idle connections that may be used.
    pub group: ConnectionGroup,
    /// Whether it was healthy when it was chosen.
    pub is_usable: bool,
}

impl Chosen {
    /// An address of which nothing is known.
    #[must_use]
    pub fn unknown(address: SocketAddr) -> Self {
        Self { address, group: ConnectionGroup::default(), is_usable: true }
    }
}

/// What an operator sees of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressReport {
    pub address: SocketAddr,
    pub state: HealthState,
}

/// A change of an address that the log reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressChange {
    pub address: SocketAddr,
    pub change: Change,
}

impl Turns {
    /// Addresses of which nothing is known.
    #[must_use]
    pub fn new(sockets: &[SocketAddr]) -> Self {
        let mut turns = Self::default();
        turns.replace(sockets);
        turns
    }

    /// Replaces the addresses; those that stay keep their health. True if there is a new one, or one
    /// is gone.
    pub fn replace(&mut self, sockets: &[SocketAddr]) -> bool {
        let is_same = self.addresses.len() == sockets.len()
            && self.addresses.iter().all(|address| sockets.contains(&address.socket));
        if is_same {
            return false;
        }
        let known = std::mem::take(&mut self.addresses);
        self.addresses = sockets
            .iter()
            .map(|socket| {
                known.iter().find(|address| address.socket == *socket).cloned().unwrap_or(Address {
                    socket: *socket,
                    health: CandidateHealth::default(),
                    pool: PoolTrust::default(),
                })
            })
            .collect();
        true
    }

    /// How many addresses there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there is no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Whether there is an address besides these.
    #[must_use]
    pub fn has_other(&self, tried: &[SocketAddr]) -> bool {
        self.addresses.iter().any(|address| !tried.contains(&address.socket))
    }

    /// Where the next attempt of a request goes that has tried these addresses, the last one last.
    /// `None` if there is no address.
    pub fn choose(&mut self, tried: &[SocketAddr], now: Instant) -> Option<Chosen> {
        let untried = self.choose_untried(tried, now);
        untried.or_else(|| {
            let last = tried.last().copied();
            let is_other = |address: &Address| Some(address.socket) != last;
            let found = self
                .in_turn(|address| is_other(address) && address.health.is_usable(now))
                .or_else(|| self.in_turn(|address| address.health.is_usable(now)))
                .or_else(|| self.in_turn(is_other))
                .or_else(|| self.in_turn(|_| true))?;
            self.begin(found, now)
        })
    }

    /// As [`Turns::choose`], but only addresses that were not tried.
    pub fn choose_untried(&mut self, tried: &[SocketAddr], now: Instant) -> Option<Chosen> {
        let is_new = |address: &Address| !tried.contains(&address.socket);
        let last = tried.last().copied();
        let is_first = last.is_none();
        let is_other_family =
            |address: &Address| last.is_some_and(|it| it.is_ipv4() != address.socket.is_ipv4());
        let is_usable = |address: &Address| is_new(address) && address.health.is_usable(now);
        let found = self
            .in_turn(|address| is_first && address.health.is_due(now))
            .or_else(|| self.in_turn(|address| is_usable(address) && is_other_family(address)))
            .or_else(|| self.in_turn(is_usable))
            .or_else(|| self.in_turn(|address| is_new(address) && !address.health.is_passed_over()))
            .or_else(|| self.in_turn(is_new))?;
        self.begin(found, now)
    }

    /// The next address of those that fit.
    fn in_turn(&mut self, fits: impl Fn(&Address) -> bool) -> Option<SocketAddr> {
        let number = self.addresses.iter().filter(|address| fits(address)).count();
        let nth = self.turn.checked_rem(number)?;
        self.turn = self.turn.wrapping_add(1);
        self.addresses.iter().filter(|address| fits(address)).nth(nth).map(|found| found.socket)
    }

    /// A request goes to this address; `None` if the name no longer has it.
    pub fn begin(&mut self, address: SocketAddr, now: Instant) -> Option<Chosen> {
        let may_try = !self.addresses.iter().any(|address| address.pool.is_on_trial());
        let found = self.find(address)?;
        let is_usable = found.health.is_usable(now);
        found.health.asked(now);
        Some(Chosen { address, group: found.pool.group(may_try, now), is_usable })
    }

    fn find(&mut self, socket: SocketAddr) -> Option<&mut Address> {
        self.addresses.iter_mut().find(|address| address.socket == socket)
    }

    /// A connection to this address came about. If none of the other family ever did, and one was
    /// tried, the whole other family is passed over. Returns what was passed over by this.
    pub fn connected(&mut self, socket: SocketAddr, now: Instant) -> Vec<AddressChange> {
        if let Some(address) = self.find(socket) {
            address.health.connected();
        }
        let is_other = |address: &Address| address.socket.is_ipv4() != socket.is_ipv4();
        let others = || self.addresses.iter().filter(|address| is_other(address));
        let is_dead = others().any(|address| address.health.is_unreachable())
            && !others().any(|address| address.health.connects());
        let mut changes = Vec::new();
        for address in self.addresses.iter_mut().filter(|address| is_dead && is_other(address)) {
            if !address.health.is_passed_over()
                && let Some(change) = address.health.failed(Fault::SlowConnection, now, now)
            {
                changes.push(AddressChange { address: address.socket, change });
            }
        }
        changes
    }

    /// The head of an answer came from this address. `is_error`: 500, 502, 503 or 504.
    pub fn answered(
        &mut self,
        from: Chosen,
        is_error: bool,
        now: Instant,
    ) -> Option<AddressChange> {
        let found = self.find(from.address)?;
        found.pool.heard(from.group, now);
        let change = found.health.answered(is_error, now)?;
        Some(AddressChange { address: from.address, change })
    }

    /// A request to this address failed that was sent at this time.
    pub fn failed(
        &mut self,
        socket: SocketAddr,
        fault: Fault,
        sent: Instant,
        now: Instant,
    ) -> Option<AddressChange> {
        let change = self.find(socket)?.health.failed(fault, sent, now)?;
        Some(AddressChange { address: socket, change })
    }

    /// A reused connection brought no answer. What has ended it may have ended those to other addresses
    /// of which nothing was heard lately.
    pub fn connection_died(&mut self, on: Chosen, now: Instant) {
        for address in &mut self.addresses {
            if address.socket == on.address {
                address.pool.died(on.group);
            } else if !address.pool.is_trusted(now) {
                address.pool.leave();
            }
        }
    }

    /// What an operator sees.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<AddressReport> {
        let report = |address: &Address| AddressReport {
            address: address.socket,
            state: address.health.state(now),
        };
        self.addresses.iter().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::upstream::health::{FIRST_PENALTY, SILENCE};
    use crate::upstream::pool_trust::QUIET;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn turns(sockets: &[&str]) -> Turns {
        Turns::new(&sockets.iter().map(|text| socket(text)).collect::<Vec<_>>())
    }

    const THREE: [&str; 3] = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"];

    /// How many of 60 requests each address gets that all are answered.
    fn shares(turns: &mut Turns, now: Instant) -> Vec<(String, usize)> {
        let mut counts: HashMap<SocketAddr, usize> = HashMap::new();
        for _ in 0..60 {
            let chosen = turns.choose(&[], now).unwrap();
            turns.answered(chosen, false, now);
            *counts.entry(chosen.address).or_default() += 1;
        }
        let mut shares: Vec<_> =
            counts.into_iter().map(|(socket, count)| (socket.to_string(), count)).collect();
        shares.sort();
        shares
    }

    #[test]
    fn the_share_of_a_passed_over_address_goes_to_all_others_evenly() {
        let now = Instant::now();
        let mut turns = turns(&THREE);
        let even: Vec<_> = THREE.iter().map(|text| ((*text).to_owned(), 20)).collect();
        assert_eq!(shares(&mut turns, now), even);
        turns.failed(socket(THREE[1]), Fault::Late, now, now);
        let without = [(THREE[0].to_owned(), 30), (THREE[2].to_owned(), 30)];
        assert_eq!(shares(&mut turns, now), without);
        let probe = turns.choose(&[], now + FIRST_PENALTY).unwrap();
        assert_eq!(probe.address, socket(THREE[1]));
        assert_eq!(
            shares(&mut turns, now + FIRST_PENALTY),
            without,
            "while the probe is in flight"
        );
        turns.answered(probe, false, now + FIRST_PENALTY);
        assert_eq!(shares(&mut turns, now + FIRST_PENALTY), even);
    }

    #[test]
    fn a_request_tries_every_address_before_one_again() {
        let now = Instant::now();
        let mut turns = turns(&THREE);
        let mut tried = Vec::new();
        for _ in 0..3 {
            assert!(turns.has_other(&tried));
            let chosen = turns.choose(&tried, now).unwrap().address;
            turns.failed(chosen, Fault::Connection, now, now);
            assert!(!tried.contains(&chosen));
            tried.push(chosen);
        }
        assert!(!turns.has_other(&tried) && turns.choose_untried(&tried, now).is_none());
        assert_ne!(turns.choose(&tried, now).unwrap().address, tried[2]);
        let mut single = self::turns(&["10.0.0.1:1"]);
        assert_eq!(single.choose(&[socket("10.0.0.1:1")], now).unwrap().address, tried_one());
    }

    #[test]
    fn the_only_healthy_address_is_asked_again_before_one_that_does_not_work() {
        let now = Instant::now();
        let mut turns = turns(&THREE);
        for text in &THREE[1..] {
            turns.failed(socket(text), Fault::Connection, now, now);
        }
        let tried: Vec<_> = THREE.iter().rev().map(|text| socket(text)).collect();
        for _ in 0..3 {
            assert_eq!(turns.choose(&tried, now).unwrap().address, socket(THREE[0]));
        }
    }

    fn tried_one() -> SocketAddr {
        socket("10.0.0.1:1")
    }

    #[test]
    fn an_address_that_owes_an_answer_gets_no_more_requests_while_others_answer() {
        let now = Instant::now();
        let mut turns = turns(&THREE);
        let hung = turns.choose(&[], now).unwrap().address;
        let later = now + SILENCE;
        assert!(shares(&mut turns, later).iter().all(|(address, _)| *address != hung.to_string()));
    }

    #[test]
    fn after_a_failure_the_other_family_comes_first() {
        let mut turns = turns(&["[2001:db8::1]:1", "[2001:db8::2]:1", "10.0.0.1:1"]);
        for _ in 0..6 {
            let chosen = turns.choose(&[socket("[2001:db8::1]:1")], Instant::now()).unwrap();
            assert_eq!(chosen.address, socket("10.0.0.1:1"));
        }
    }

    #[test]
    fn a_family_that_does_not_work_is_remembered() {
        let now = Instant::now();
        let mut turns = turns(&["[2001:db8::1]:1", "[2001:db8::2]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        let slow = socket("[2001:db8::1]:1");
        turns.failed(slow, Fault::SlowConnection, now, now);
        let changes = turns.connected(socket("10.0.0.1:1"), now);
        let passed_over: Vec<_> = changes.iter().map(|change| change.address).collect();
        assert_eq!(passed_over, [socket("[2001:db8::2]:1")]);
        assert!(shares(&mut turns, now).iter().all(|(address, _)| address.starts_with("10.")));
    }

    #[test]
    fn a_family_that_has_worked_is_not_passed_over_for_one_address() {
        let now = Instant::now();
        let mut turns = turns(&["[2001:db8::1]:1", "[2001:db8::2]:1", "10.0.0.1:1"]);
        turns.connected(socket("[2001:db8::2]:1"), now);
        turns.failed(socket("[2001:db8::1]:1"), Fault::Connection, now, now);
        assert_eq!(turns.connected(socket("10.0.0.1:1"), now), []);
    }

    #[test]
    fn where_none_is_healthy_all_take_turns() {
        let now = Instant::now();
        let mut turns = turns(&THREE);
        for text in THREE {
            turns.failed(socket(text), Fault::Late, now, now);
        }
        let chosen: Vec<_> =
            (0..3).map(|_| turns.choose(&[], now).unwrap().address.to_string()).collect();
        let mut sorted = chosen.clone();
        sorted.sort();
        assert_eq!(sorted, THREE, "{chosen:?}");
    }

    #[test]
    fn addresses_that_stay_keep_their_health() {
        let now = Instant::now();
        let mut turns = turns(&THREE);
        turns.failed(socket(THREE[0]), Fault::Late, now, now);
        assert!(!turns.replace(&[socket(THREE[2]), socket(THREE[1]), socket(THREE[0])]));
        assert!(turns.replace(&[socket(THREE[0]), socket("10.0.0.9:1")]));
        let states: Vec<_> = turns.report(now).iter().map(|it| it.state.as_str()).collect();
        assert_eq!(states, ["passed_over", "healthy"]);
    }

    #[test]
    fn one_request_alone_meets_the_dead_connections_of_all_addresses() {
        let start = Instant::now();
        let mut turns = turns(&THREE);
        shares(&mut turns, start);
        let now = start + QUIET;
        let chosen: Vec<_> = (0..6).map(|_| turns.choose(&[], now).unwrap()).collect();
        let on_idle: Vec<_> =
            chosen.iter().filter(|chosen| chosen.group == ConnectionGroup::default()).collect();
        assert_eq!(on_idle.len(), 1, "{chosen:?}");
        turns.connection_died(*on_idle[0], now);
        for _ in 0..6 {
            let chosen = turns.choose(&[], now).unwrap();
            assert_ne!(chosen.group, ConnectionGroup::default());
        }
    }
}
