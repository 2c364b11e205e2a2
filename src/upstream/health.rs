//! The health of one candidate: today an address of a store. What counts as a fault, how long a
//! candidate is passed over, and what ends that. One model for all roads to a store.
//!
//! | what happened | what it does to the candidate |
//! |---|---|
//! | no connection: refused, no route, timeout, TLS failed | passed over at once |
//! | no connection for 250 ms while another candidate was left ([`crate::upstream::dial`]) | passed over at once |
//! | no head within its time limit, and no other head since the request was sent | passed over at once |
//! | a new connection ended before a head; 500, 502, 503 or 504 | passed over after [`FAULTS_IN_A_ROW`] without another head |
//! | no head at all for [`SILENCE`] since a request was sent | others are preferred until a head comes |
//! | a head with any other status | healthy, and all counts start again |
//!
//! - A candidate is passed over for [`FIRST_PENALTY`], twice as long each time a probe fails, at most
//!   [`LONGEST_PENALTY`]. Faults of other requests in flight add nothing.
//! - After that time one request, the probe, goes to the candidate; all others still pass it over. The
//!   head of an answer ends the penalty. A fault of any kind begins the next one.
//! - Passed over does not mean never used: where no candidate is healthy, all take turns.

use std::time::{Duration, Instant};

/// How long a candidate is passed over at first.
pub const FIRST_PENALTY: Duration = Duration::from_secs(10);

/// How long a candidate is passed over at most.
pub const LONGEST_PENALTY: Duration = Duration::from_secs(60);

/// How long a candidate may owe the head of an answer before others are preferred.
pub const SILENCE: Duration = Duration::from_secs(1);

/// How many resets and errors without another head between them are a fault of the candidate.
pub const FAULTS_IN_A_ROW: u32 = 3;

/// When a probe or a silence counts no longer: its request has ended without a result, as when the
/// client left. Longer than `upstream.total_timeout` usually is.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// What went wrong at a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No connection, or TLS failed.
    Connection,
    /// A connection took so long that another candidate was tried.
    SlowConnection,
    /// No head within its time limit.
    Late,
    /// A new connection ended before a head.
    Reset,
    /// 500, 502, 503 or 504.
    Answer,
}

impl Fault {
    /// In a log line and in `/profiles`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "no connection",
            Self::SlowConnection => "slow to connect",
            Self::Late => "no answer in time",
            Self::Reset => "connections end before an answer",
            Self::Answer => "errors of the store",
        }
    }

    fn is_of_connecting(self) -> bool {
        matches!(self, Self::Connection | Self::SlowConnection)
    }
}

/// What an operator sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    Healthy,
    /// It owes the head of an answer for longer than [`SILENCE`]; others are preferred.
    Silent,
    PassedOver(Fault),
    /// One request tests whether it works again.
    Probed(Fault),
}

impl HealthState {
    /// All names of states.
    pub const NAMES: [&'static str; 4] = ["healthy", "silent", "passed_over", "probed"];

    /// In metrics and in `/profiles`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Silent => "silent",
            Self::PassedOver(_) => "passed_over",
            Self::Probed(_) => "probed",
        }
    }

    /// Why it is passed over.
    #[must_use]
    pub fn fault(self) -> Option<Fault> {
        match self {
            Self::Healthy | Self::Silent => None,
            Self::PassedOver(fault) | Self::Probed(fault) => Some(fault),
        }
    }
}

/// The health of one candidate.
#[derive(Debug, Clone, Default)]
pub struct CandidateHealth {
    penalty: Option<Penalty>,
    /// Penalties without a good head between them.
    penalties: u32,
    /// Resets and errors without a good head between them.
    faults: u32,
    /// The first request since the last head or fault.
    asked: Option<Instant>,
    last_head: Option<Instant>,
    /// Whether the last connection that was tried came about.
    connects: bool,
}

#[derive(Debug, Clone, Copy)]
struct Penalty {
    fault: Fault,
    until: Instant,
    probe: Option<Instant>,
}

impl CandidateHealth {
    /// What an operator sees.
    #[must_use]
    pub fn state(&self, now: Instant) -> HealthState {
        match self.penalty {
            Some(Penalty { fault, probe: Some(_), .. }) => HealthState::Probed(fault),
            Some(Penalty { fault, .. }) => HealthState::PassedOver(fault),
            None if self.is_silent(now) => HealthState::Silent,
            None => HealthState::Healthy,
        }
    }

    /// Whether requests go to it while others do, too.
    #[must_use]
    pub fn is_usable(&self, now: Instant) -> bool {
        self.penalty.is_none() && !self.is_silent(now)
    }

    /// Whether it is passed over after a fault.
    #[must_use]
    pub fn is_passed_over(&self) -> bool {
        self.penalty.is_some()
    }

    /// Whether it is passed over because it gave no connection.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.penalty.is_some_and(|penalty| penalty.fault.is_of_connecting())
    }

    /// Whether the last connection that was tried came about.
    #[must_use]
    pub fn connects(&self) -> bool {
        self.connects
    }

    /// Whether the next request is the probe that may end its penalty.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.penalty.is_some_and(|penalty| {
            let since = penalty.probe.map(|probe| now.saturating_duration_since(probe));
            penalty.until <= now && since.is_none_or(|since| since >= FORGOTTEN)
        })
    }

    /// A request goes to it.
    pub fn asked(&mut self, now: Instant) {
        let is_due = self.is_due(now);
        if let Some(penalty) = self.penalty.as_mut().filter(|_| is_due) {
            penalty.probe = Some(now);
        }
        if self.owes_since(now).is_none() {
            self.asked = Some(now);
        }
    }

    /// A connection came about. That alone ends no penalty: a process that hangs accepts connections.
    pub fn connected(&mut self) {
        self.connects = true;
    }

    /// The head of an answer came. `is_error`: 500, 502, 503 or 504.
    pub fn answered(&mut self, is_error: bool, now: Instant) -> Option<Change> {
        self.last_head = Some(now);
        self.asked = None;
        if is_error {
            return self.failed(Fault::Answer, now, now);
        }
        self.penalties = 0;
        self.faults = 0;
        self.penalty.take().map(|_ended| Change::Healthy)
    }

    /// A request failed that was sent at this time, or that could not be sent.
    pub fn failed(&mut self, fault: Fault, sent: Instant, now: Instant) -> Option<Change> {
        if fault.is_of_connecting() {
            self.connects = false;
        }
        self.asked = None;
        let is_probe = self.penalty.is_some_and(|penalty| penalty.probe.is_some());
        match self.penalty {
            Some(_) if !is_probe => return None,
            Some(_) => {}
            // One slow object among others is no fault of the candidate.
            None if fault == Fault::Late && self.last_head.is_some_and(|head| head > sent) => {
                return None;
            }
            None if matches!(fault, Fault::Reset | Fault::Answer) => {
                self.faults = self.faults.saturating_add(1);
                if self.faults < FAULTS_IN_A_ROW {
                    return None;
                }
            }
            None => {}
        }
        let doubled = FIRST_PENALTY.saturating_mul(1 << self.penalties.min(8));
        let time = doubled.min(LONGEST_PENALTY);
        self.penalties = self.penalties.saturating_add(1);
        self.faults = 0;
        self.penalty = Some(Penalty { fault, until: now + time, probe: None });
        Some(Change::PassedOver { fault, time })
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.owes_since(now).is_some_and(|asked| now.saturating_duration_since(asked) >= SILENCE)
    }

    /// Since when it owes the head of an answer.
    fn owes_since(&self, now: Instant) -> Option<Instant> {
        self.asked.filter(|asked| now.saturating_duration_since(*asked) < FORGOTTEN)
    }
}

/// A change that the log reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    PassedOver { fault: Fault, time: Duration },
    Healthy,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn passed_over(fault: Fault, seconds: u32) -> Option<Change> {
        Some(Change::PassedOver { fault, time: SECOND * seconds })
    }

    #[test]
    fn each_fault_has_its_weight() {
        let now = Instant::now();
        for (fault, needed) in [
            (Fault::Connection, 1),
            (Fault::SlowConnection, 1),
            (Fault::Late, 1),
            (Fault::Reset, FAULTS_IN_A_ROW),
            (Fault::Answer, FAULTS_IN_A_ROW),
        ] {
            let mut health = CandidateHealth::default();
            for nth in 1..=needed {
                let is_last = nth == needed;
                let expected = if is_last { passed_over(fault, 10) } else { None };
                assert_eq!(health.failed(fault, now, now), expected, "{fault:?} {nth}");
                assert_eq!(health.is_usable(now), !is_last);
            }
            assert_eq!(health.state(now), HealthState::PassedOver(fault));
        }
    }

    #[test]
    fn a_good_head_between_errors_starts_their_count_again() {
        let now = Instant::now();
        let mut health = CandidateHealth::default();
        for _ in 0..9 {
            assert_eq!(health.answered(true, now), None);
            assert_eq!(health.failed(Fault::Reset, now, now), None);
            assert_eq!(health.answered(false, now), None);
        }
    }

    #[test]
    fn one_probe_ends_a_penalty_or_begins_a_longer_one() {
        let start = Instant::now();
        let mut health = CandidateHealth::default();
        let mut now = start;
        for seconds in [10, 20, 40, 60, 60] {
            assert_eq!(
                health.failed(Fault::Late, now, now),
                passed_over(Fault::Late, seconds),
                "after {:?}",
                now - start
            );
            assert!(!health.is_due(now + SECOND * (seconds - 1)));
            now += SECOND * seconds;
            assert!(health.is_due(now));
            health.asked(now);
            assert!(!health.is_due(now), "one probe alone");
            assert_eq!(health.state(now), HealthState::Probed(Fault::Late));
        }
        assert_eq!(health.answered(false, now), Some(Change::Healthy));
        assert_eq!(health.state(now), HealthState::Healthy);
        assert_eq!(health.failed(Fault::Late, now, now), passed_over(Fault::Late, 10));
    }

    #[test]
    fn a_probe_fails_by_any_fault() {
        let now = Instant::now();
        let later = now + FIRST_PENALTY;
        for fault in [Fault::Reset, Fault::Answer, Fault::Late, Fault::Connection] {
            let mut health = CandidateHealth::default();
            health.failed(Fault::Connection, now, now);
            health.asked(later);
            assert_eq!(health.failed(fault, later, later), passed_over(fault, 20));
        }
    }

    #[test]
    fn requests_that_fail_together_are_one_fault() {
        let now = Instant::now();
        let mut health = CandidateHealth::default();
        assert!(health.failed(Fault::Late, now, now).is_some());
        for nth in 0..100 {
            assert_eq!(health.failed(Fault::Late, now, now + SECOND * nth / 20), None);
        }
        assert!(health.is_due(now + FIRST_PENALTY));
    }

    #[test]
    fn a_probe_without_a_result_is_followed_by_another() {
        let now = Instant::now();
        let mut health = CandidateHealth::default();
        health.failed(Fault::Late, now, now);
        let probed = now + FIRST_PENALTY;
        health.asked(probed);
        assert!(!health.is_due(probed + FORGOTTEN - SECOND));
        assert!(health.is_due(probed + FORGOTTEN));
    }

    #[test]
    fn a_late_answer_of_one_object_is_no_fault_while_others_are_answered() {
        let sent = Instant::now();
        let mut health = CandidateHealth::default();
        health.asked(sent);
        health.answered(false, sent + SECOND);
        assert_eq!(health.failed(Fault::Late, sent, sent + SECOND * 15), None);
        let sent = sent + SECOND * 16;
        assert!(health.failed(Fault::Late, sent, sent + SECOND * 15).is_some());
    }

    #[test]
    fn a_silent_candidate_is_not_preferred_until_it_answers() {
        let now = Instant::now();
        let mut health = CandidateHealth::default();
        health.asked(now);
        health.asked(now + SILENCE / 2);
        assert!(health.is_usable(now + SILENCE / 2));
        assert_eq!(health.state(now + SILENCE), HealthState::Silent);
        assert!(health.is_usable(now + FORGOTTEN), "its request ended without a result");
        assert_eq!(health.answered(false, now + SILENCE * 2), None);
        assert!(health.is_usable(now + SILENCE * 2));
    }

    #[test]
    fn a_connection_ends_no_penalty() {
        let now = Instant::now();
        let mut health = CandidateHealth::default();
        health.failed(Fault::SlowConnection, now, now);
        health.connected();
        assert!(health.is_passed_over() && health.connects() && health.is_unreachable());
    }
}
