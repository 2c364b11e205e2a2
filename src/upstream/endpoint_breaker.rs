//! The breaker of one endpoint of a store that has several: whether requests go to it, or to the next one.
//!
//! | what happened | what it does |
//! |---|---|
//! | no connection at any address, the name does not resolve | opens at once |
//! | no head within its time limit, and no other head since the request was sent | opens at once |
//! | a new connection ended before a head; 500, 502, 503 or 504 | opens after [`FAULTS_IN_A_ROW`] without another head |
//! | no head for [`SILENCE`] while at least [`WAITING`] requests wait | opens at once |
//! | a head with any other status | all counts start again |
//!
//! - While it is open, requests go to other endpoints, unless none is left that was not tried. Probes in the
//!   background ask the endpoint, after [`FIRST_PAUSE`] and then less and less often; an answer to one of
//!   them closes the breaker, and so does one to a request that was sent since it opened.
//! - A breaker that opens again soon after it has closed waits twice as long as before.
//!
//! An endpoint is no address: its name may have many addresses, each with a health of its own
//! ([`crate::upstream::health`]), which are all tried before the endpoint is at fault.

use std::time::{Duration, Instant};

use crate::upstream::health::{FAULTS_IN_A_ROW, Fault, SILENCE};

/// How many requests must wait for a silence to be a fault: one slow object is none.
pub const WAITING: u32 = 3;

/// The pause before the first probe.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two probes.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long requests that were given up are a sign of silence, where no other follows.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Whether requests go to an endpoint.
#[derive(Debug, Default)]
pub struct EndpointBreaker {
    open: Option<OpenBreaker>,
    /// Resets and errors without another head between them.
    faults: u32,
    /// Requests that wait for a head.
    waiting: u32,
    /// Requests that were given up after [`SILENCE`], without a head since.
    in_vain: u32,
    /// Since when requests have waited and no head has come.
    silent_since: Option<Instant>,
    last_head: Option<Instant>,
    /// The last pause, and when the breaker closed after it.
    last: Option<(Duration, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct OpenBreaker {
    fault: Fault,
    since: Instant,
    pause: Duration,
    next_probe: Instant,
    is_probed: bool,
}

/// A change that the log reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerChange {
    Opened(Fault),
    Closed,
}

impl EndpointBreaker {
    /// Why it is open; `None` while it is closed.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.open.map(|open| open.fault)
    }

    /// Opens it if the endpoint has been silent for too long.
    pub fn look(&mut self, now: Instant) -> Option<BreakerChange> {
        let silence = self.silent_since.map(|since| now.saturating_duration_since(since));
        let is_silent =
            self.waiting + self.in_vain >= WAITING && silence.is_some_and(|it| it >= SILENCE);
        if is_silent { self.open(Fault::Late, now) } else { None }
    }

    /// A request goes to the endpoint.
    pub fn asked(&mut self, now: Instant) {
        let is_forgotten = self.waiting == 0
            && self.silent_since.is_some_and(|it| now.saturating_duration_since(it) >= FORGOTTEN);
        if is_forgotten {
            self.in_vain = 0;
            self.silent_since = None;
        }
        self.waiting = self.waiting.saturating_add(1);
        self.silent_since.get_or_insert(now);
    }

    /// The head of an answer came to a request of this time. `is_error`: 500, 502, 503 or 504.
    pub fn answered(
        &mut self,
        is_error: bool,
        sent: Instant,
        now: Instant,
    ) -> Option<BreakerChange> {
        self.in_vain = 0;
        self.no_longer_waits();
        self.last_head = Some(now);
        self.silent_since = (self.waiting > 0).then_some(now);
        if is_error {
            return self.count_fault(Fault::Answer, now);
        }
        self.faults = 0;
        let is_open = self.open.is_some_and(|open| sent >= open.since);
        if is_open { self.close(now) } else { None }
    }

    /// A request of this time has failed without an answer.
    pub fn failed(&mut self, fault: Fault, sent: Instant, now: Instant) -> Option<BreakerChange> {
        self.no_longer_waits();
        match fault {
            Fault::Reset | Fault::Answer => self.count_fault(fault, now),
            // One slow object among others is no fault of the endpoint.
            Fault::Late if self.last_head.is_some_and(|head| head > sent) => None,
            Fault::Late | Fault::Connection | Fault::SlowConnection => self.open(fault, now),
        }
    }

    /// A request has ended without a result: its client has left, or another endpoint was faster. One that
    /// has waited for so long that it is a sign of silence stays one.
    pub fn left(&mut self, sent: Instant, now: Instant) {
        let is_sign = self.open.is_none()
            && now.saturating_duration_since(sent) >= SILENCE
            && self.last_head.is_none_or(|head| head <= sent);
        self.in_vain = self.in_vain.saturating_add(u32::from(is_sign));
        self.no_longer_waits();
    }

    fn no_longer_waits(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 && self.in_vain == 0 {
            self.silent_since = None;
        }
    }

    fn count_fault(&mut self, fault: Fault, now: Instant) -> Option<BreakerChange> {
        self.faults = self.faults.saturating_add(1);
        if self.faults >= FAULTS_IN_A_ROW { self.open(fault, now) } else { None }
    }

    fn open(&mut self, fault: Fault, now: Instant) -> Option<BreakerChange> {
        if self.open.is_some() {
            return None;
        }
        let pause = match self.last {
            Some((pause, closed))
                if now.saturating_duration_since(closed) < 2 * pause + FIRST_PAUSE =>
            {
                (2 * pause).min(LONGEST_PAUSE)
            }
            _ => FIRST_PAUSE,
        };
        let next_probe = now + pause;
        self.open = Some(OpenBreaker { fault, since: now, pause, next_probe, is_probed: false });
        self.faults = 0;
        // The requests that wait go elsewhere, or say themselves how they end.
        self.waiting = 0;
        self.in_vain = 0;
        self.silent_since = None;
        Some(BreakerChange::Opened(fault))
    }

    fn close(&mut self, now: Instant) -> Option<BreakerChange> {
        let open = self.open.take()?;
        self.last = Some((open.pause, now));
        self.faults = 0;
        self.waiting = 0;
        self.in_vain = 0;
        self.silent_since = None;
        Some(BreakerChange::Closed)
    }

    /// Whether a probe is due. If so, it begins.
    pub fn begin_probe(&mut self, now: Instant) -> bool {
        let due = self.open.as_mut().filter(|open| !open.is_probed && open.next_probe <= now);
        due.map(|open| open.is_probed = true).is_some()
    }

    /// A probe has ended. `is_well`: the endpoint has answered, and not with an error.
    pub fn probed(&mut self, is_well: bool, now: Instant) -> Option<BreakerChange> {
        if is_well {
            return self.close(now);
        }
        if let Some(open) = &mut self.open {
            open.pause = (2 * open.pause).min(LONGEST_PAUSE);
            open.next_probe = now + open.pause;
            open.is_probed = false;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OPENED: fn(Fault) -> Option<BreakerChange> = |fault| Some(BreakerChange::Opened(fault));

    #[test]
    fn each_fault_has_its_weight() {
        let now = Instant::now();
        for (fault, weight) in [
            (Fault::Connection, 1),
            (Fault::Late, 1),
            (Fault::Reset, FAULTS_IN_A_ROW),
            (Fault::Answer, FAULTS_IN_A_ROW),
        ] {
            let mut breaker = EndpointBreaker::default();
            for time in 1..=weight {
                breaker.asked(now);
                let change = match fault {
                    Fault::Answer => breaker.answered(true, now, now),
                    _ => breaker.failed(fault, now, now),
                };
                assert_eq!(change, OPENED(fault).filter(|_| time == weight), "{fault:?} {time}");
            }
            assert_eq!(breaker.fault(), Some(fault));
        }
    }

    #[test]
    fn an_answer_between_faults_starts_the_count_again() {
        let now = Instant::now();
        let mut breaker = EndpointBreaker::default();
        for _ in 0..3 {
            assert_eq!(breaker.failed(Fault::Reset, now, now), None);
            assert_eq!(breaker.answered(true, now, now), None);
            assert_eq!(breaker.answered(false, now, now), None);
        }
    }

    #[test]
    fn one_slow_object_is_no_fault_of_the_endpoint() {
        let sent = Instant::now();
        let mut breaker = EndpointBreaker::default();
        breaker.asked(sent);
        breaker.asked(sent);
        breaker.answered(false, sent, sent + SECOND);
        assert_eq!(breaker.failed(Fault::Late, sent, sent + 15 * SECOND), None);
        breaker.asked(sent + 20 * SECOND);
        assert_eq!(
            breaker.failed(Fault::Late, sent + 20 * SECOND, sent + 35 * SECOND),
            OPENED(Fault::Late)
        );
    }

    #[test]
    fn a_silence_counts_while_several_requests_wait() {
        let sent = Instant::now();
        for (requests, after, opens) in
            [(2, 60 * SECOND, false), (3, SECOND / 2, false), (3, SECOND, true)]
        {
            let mut breaker = EndpointBreaker::default();
            for _ in 0..requests {
                breaker.asked(sent);
            }
            let change = breaker.look(sent + after);
            assert_eq!(change, OPENED(Fault::Late).filter(|_| opens), "{requests} {after:?}");
        }
        let mut breaker = EndpointBreaker::default();
        for _ in 0..4 {
            breaker.asked(sent);
        }
        breaker.answered(true, sent, sent + SECOND / 2);
        assert_eq!(breaker.look(sent + SECOND), None, "a head has come meanwhile");
        assert_eq!(breaker.look(sent + 3 * SECOND / 2), OPENED(Fault::Late));
    }

    #[test]
    fn clients_that_leave_at_once_are_no_sign_of_silence_and_those_that_waited_are() {
        let sent = Instant::now();
        let mut breaker = EndpointBreaker::default();
        for _ in 0..9 {
            breaker.asked(sent);
            breaker.left(sent, sent + SECOND / 2);
        }
        breaker.asked(sent + 60 * SECOND);
        assert_eq!(breaker.look(sent + 60 * SECOND), None);
        for _ in 0..3 {
            breaker.asked(sent + 60 * SECOND);
        }
        for _ in 0..4 {
            breaker.left(sent + 60 * SECOND, sent + 62 * SECOND);
        }
        assert_eq!(breaker.look(sent + 62 * SECOND), OPENED(Fault::Late));
        let mut breaker = EndpointBreaker::default();
        for hour in 0..9 {
            let sent = sent + 3600 * SECOND * hour;
            breaker.asked(sent);
            breaker.left(sent, sent + 2 * SECOND);
            assert_eq!(breaker.look(sent + 2 * SECOND), None, "one in an hour");
        }
        for _ in 0..9 {
            breaker.asked(sent);
            breaker.asked(sent);
            breaker.left(sent, sent + 2 * SECOND);
            breaker.answered(false, sent, sent + 2 * SECOND);
        }
        assert_eq!(breaker.look(sent + 60 * SECOND), None, "heads have come in between");
    }

    #[test]
    fn probes_become_rarer_until_one_is_answered() {
        let mut now = Instant::now();
        let mut breaker = EndpointBreaker::default();
        assert!(!breaker.begin_probe(now + 60 * SECOND), "it is closed");
        breaker.failed(Fault::Connection, now, now);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert!(!breaker.begin_probe(now + SECOND * pause - SECOND / 2), "{pause}");
            now += SECOND * pause;
            assert!(breaker.begin_probe(now), "{pause}");
            assert!(!breaker.begin_probe(now), "one at a time");
            assert_eq!(breaker.probed(false, now), None);
        }
        now += 30 * SECOND;
        assert!(breaker.begin_probe(now));
        assert_eq!(breaker.probed(true, now), Some(BreakerChange::Closed));
        assert_eq!((breaker.fault(), breaker.probed(true, now)), (None, None));
    }

    #[test]
    fn a_breaker_that_opens_again_soon_waits_longer() {
        let start = Instant::now();
        let mut breaker = EndpointBreaker::default();
        let opened_at = |breaker: &mut EndpointBreaker, at: Instant, pause: u32| {
            assert_eq!(breaker.failed(Fault::Connection, at, at), OPENED(Fault::Connection));
            assert!(!breaker.begin_probe(at + SECOND * pause - SECOND / 2), "{pause}");
            assert!(breaker.begin_probe(at + SECOND * pause), "{pause}");
            breaker.probed(true, at + SECOND * pause);
        };
        opened_at(&mut breaker, start, 1);
        opened_at(&mut breaker, start + 2 * SECOND, 2);
        opened_at(&mut breaker, start + 5 * SECOND, 4);
        opened_at(&mut breaker, start + 600 * SECOND, 1);
    }

    #[test]
    fn only_an_answer_to_a_later_request_closes_it() {
        let start = Instant::now();
        let mut breaker = EndpointBreaker::default();
        breaker.failed(Fault::Connection, start, start + SECOND);
        assert_eq!(breaker.answered(false, start, start + 2 * SECOND), None);
        assert_eq!(breaker.answered(true, start + SECOND, start + 2 * SECOND), None);
        assert_eq!(
            breaker.answered(false, start + SECOND, start + 2 * SECOND),
            Some(BreakerChange::Closed)
        );
    }
}
