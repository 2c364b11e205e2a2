//! The endpoints of one store, in the order in which they are asked: the first one that is well, by its breaker
//! ([`endpoint_breaker`](crate::upstream::endpoint_breaker)). With one endpoint there is nothing to decide, and
//! none of this costs anything.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use log::{info, warn};
use tokio::sync::watch;

use crate::profile::{Profile, Way};
use crate::response::refusal::Refusal;
use crate::s3::endpoint::{Endpoint, Target};
use crate::upstream::answer::AnswerDecision;
use crate::upstream::endpoint_breaker::{BreakerChange, EndpointBreaker};
use crate::upstream::health::Fault;
use crate::upstream::hedging::{HedgeBudget, LateEstimate};
use crate::upstream::resolve::EndpointAddresses;
use crate::upstream::retry::{AttemptFailure, Attempts, EndpointSet, NextAttempt};
use crate::upstream::turns::Chosen;

/// The endpoints of one store; at least one.
#[derive(Debug)]
pub struct StoreEndpoints {
    first: Arc<StoreEndpoint>,
    further: Vec<Arc<StoreEndpoint>>,
    hedge_budget: Option<Mutex<HedgeBudget>>,
}

/// One endpoint of a store.
#[derive(Debug)]
pub struct StoreEndpoint {
    pub way: Way,
    pub addresses: Arc<EndpointAddresses>,
    /// `None` for the only endpoint of a store.
    guarded: Option<EndpointRecord>,
}

/// What is known of an endpoint that has others beside it.
#[derive(Debug)]
struct EndpointRecord {
    /// Of the profile, for the log.
    label: String,
    breaker: Mutex<EndpointBreaker>,
    is_open: watch::Sender<bool>,
    late: Mutex<LateEstimate>,
}

impl StoreEndpoints {
    /// The endpoints of this profile. Those that a profile of this name had before keep what is known of
    /// them; `addresses` finds or makes the addresses of the others.
    #[must_use]
    pub fn new(
        profile: &Profile,
        before: Option<&Self>,
        mut addresses: impl FnMut(&Way) -> Arc<EndpointAddresses>,
    ) -> Self {
        let are_several = !profile.further.is_empty();
        let mut endpoint = |way: Way| {
            let addresses = addresses(&way);
            let known = before.iter().flat_map(|before| before.iter()).find(|known| {
                known.way == way
                    && known.guarded.is_some() == are_several
                    && Arc::ptr_eq(&known.addresses, &addresses)
            });
            let guarded = || are_several.then(|| EndpointRecord::new(profile.label()));
            let new = || Arc::new(StoreEndpoint { guarded: guarded(), way, addresses });
            known.cloned().unwrap_or_else(new)
        };
        let first = Way { endpoint: profile.endpoint.clone(), proxy: profile.proxy.clone() };
        let first = endpoint(first);
        let further: Vec<_> = profile.further.iter().cloned().map(endpoint).collect();
        let hedges = profile.hedge && !further.is_empty();
        Self { first, further, hedge_budget: hedges.then(Mutex::default) }
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StoreEndpoint>> {
        std::iter::once(&self.first).chain(&self.further)
    }

    /// Whether there is a choice.
    #[must_use]
    pub fn are_several(&self) -> bool {
        !self.further.is_empty()
    }

    /// The endpoint at this place in their order; the first one for a place that is none.
    #[must_use]
    pub fn at(&self, place: usize) -> &Arc<StoreEndpoint> {
        let further = place.checked_sub(1).and_then(|place| self.further.get(place));
        further.unwrap_or(&self.first)
    }

    /// Where the attempts of a request go: where the last one went, or if that endpoint was left, to the
    /// first one that is well and was not tried; if there is none, to one that is not well.
    pub fn of(&self, attempts: &mut Attempts) -> &Arc<StoreEndpoint> {
        let place = attempts.endpoint().unwrap_or_else(|| {
            let place = self.choose(attempts.tried_endpoints(), attempts.preferred_endpoint());
            attempts.go_to(place);
            place
        });
        self.at(place)
    }

    /// The endpoint that the first attempt of a request goes to, by its place.
    #[must_use]
    pub fn first_choice(&self) -> usize {
        self.choose(EndpointSet::default(), None)
    }

    fn choose(&self, tried: EndpointSet, preferred: Option<usize>) -> usize {
        if !self.are_several() {
            return 0;
        }
        let is_well = |place: &usize| !tried.has(*place) && self.at(*place).is_well();
        let untried = || (0..=self.further.len()).find(|place| !tried.has(*place));
        let found = preferred.filter(is_well).or_else(|| (0..=self.further.len()).find(is_well));
        found.or_else(untried).unwrap_or(0)
    }

    /// Whether there is an endpoint that was not tried.
    #[must_use]
    pub fn has_other(&self, tried: EndpointSet) -> bool {
        self.are_several() && (0..=self.further.len()).any(|place| !tried.has(place))
    }

    /// Whether there is an endpoint that is well and was not tried.
    #[must_use]
    pub fn has_other_well(&self, tried: EndpointSet) -> bool {
        self.are_several() && self.left(tried) > 0
    }

    /// How many endpoints are well and were not tried.
    fn left(&self, tried: EndpointSet) -> u32 {
        let left = (0..=self.further.len()).filter(|it| !tried.has(*it) && self.at(*it).is_well());
        u32::try_from(left.count()).unwrap_or(0)
    }

    /// Decides what follows an attempt that failed at this address, and tells the address and the endpoint.
    /// `reused`: on a connection that was idle before.
    pub fn attempt_failed(
        &self,
        attempts: &mut Attempts,
        asked: Option<Asked>,
        chosen: Option<Chosen>,
        failure: &AttemptFailure,
        reused: bool,
    ) -> NextAttempt {
        let addresses = &self.at(attempts.endpoint().unwrap_or(0)).addresses;
        if let Some(chosen) = chosen {
            addresses.attempt_failed(chosen, failure, reused, attempts.began());
        }
        let has_untried = addresses.has_other(attempts.tried());
        let now = Instant::now();
        // Its other addresses come first.
        let stays = has_untried && matches!(failure, AttemptFailure::NoConnection(_));
        if let (Some(asked), Some(fault), false) = (asked, failure.fault(), stays) {
            asked.failed(fault);
        }
        if !stays && self.has_other(attempts.tried_endpoints()) && attempts.move_on(failure, now) {
            return NextAttempt::Again;
        }
        attempts.failed(failure, has_untried, now)
    }

    /// What the head of an answer means for a request that may move on: 503 with `Retry-After` says nothing
    /// of the other endpoints.
    #[must_use]
    pub fn decide(
        &self,
        decision: AnswerDecision,
        status: StatusCode,
        attempts: &Attempts,
    ) -> AnswerDecision {
        match decision {
            AnswerDecision::Refuse(refusal @ Refusal::UpstreamBusy(_))
                if status == StatusCode::SERVICE_UNAVAILABLE
                    && self.has_other(attempts.tried_endpoints()) =>
            {
                AnswerDecision::RefuseUnlessRetried(refusal)
            }
            decision => decision,
        }
    }

    /// The time that an attempt of this request may take: an even share of the rest, where other endpoints are
    /// left that could answer.
    #[must_use]
    pub fn time_here(&self, attempts: &Attempts, now: Instant) -> Duration {
        let left = attempts.time_left(now);
        if self.are_several() { left / (1 + self.left(attempts.tried_endpoints())) } else { left }
    }

    /// The target of a request at this endpoint; `target` is that of the first one.
    #[must_use]
    pub fn target<'t>(&self, endpoint: &StoreEndpoint, target: &'t Target) -> Cow<'t, Target> {
        let first = &self.first.way.endpoint;
        if endpoint.way.endpoint == *first {
            Cow::Borrowed(target)
        } else {
            Cow::Owned(endpoint.way.endpoint.take_over(target, first))
        }
    }

    /// Whether requests are hedged.
    #[must_use]
    pub fn are_hedged(&self) -> bool {
        self.hedge_budget.is_some()
    }

    /// The budget of hedges; `None` where requests are not hedged.
    #[must_use]
    pub fn hedge_budget(&self) -> Option<MutexGuard<'_, HedgeBudget>> {
        Some(self.hedge_budget.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The endpoint for a hedge of a request to the endpoint at this place: the first other one that is well.
    #[must_use]
    pub fn beside(&self, place: usize) -> Option<usize> {
        (0..=self.further.len()).find(|other| *other != place && self.at(*other).is_well())
    }

    /// Opens the breakers of endpoints that have become silent, and returns those that a probe of now begins
    /// for, with their places.
    pub fn begin_probes(&self, now: Instant) -> Vec<usize> {
        let is_due = |place: &usize| self.at(*place).begin_probe(now);
        (0..=self.further.len()).filter(is_due).collect()
    }
}

impl StoreEndpoint {
    /// The URL.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.way.endpoint
    }

    /// Why its breaker is open; `None` while it is closed, or if it has none.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.guarded.as_ref().and_then(|guarded| guarded.breaker().fault())
    }

    /// Whether requests go to it.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let Some(guarded) = &self.guarded else { return true };
        self.change(|breaker, now| breaker.look(now));
        guarded.breaker().fault().is_none()
    }

    /// A request goes to it. `None` if it is the only one.
    #[must_use]
    pub fn ask(self: &Arc<Self>) -> Option<Asked> {
        let guarded = self.guarded.as_ref()?;
        let sent = Instant::now();
        guarded.breaker().asked(sent);
        Some(Asked { endpoint: Some(Arc::clone(self)), sent })
    }

    /// Waits until its breaker is open.
    pub async fn opened(&self) {
        match &self.guarded {
            None => std::future::pending().await,
            Some(guarded) => {
                let mut opened = guarded.is_open.subscribe();
                // The sender lives as long as `self`.
                let _is_open = opened.wait_for(|is_open| *is_open).await;
            }
        }
    }

    /// How late its answers are.
    #[must_use]
    pub fn late(&self) -> Option<MutexGuard<'_, LateEstimate>> {
        let guarded = self.guarded.as_ref()?;
        Some(guarded.late.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens its breaker if it has become silent, and begins a probe if one is due.
    fn begin_probe(&self, now: Instant) -> bool {
        let Some(guarded) = &self.guarded else { return false };
        !self.is_well() && guarded.breaker().begin_probe(now)
    }

    /// A probe has ended. `is_well`: the endpoint has answered, and not with an error.
    pub fn probed(&self, is_well: bool) {
        self.change(|breaker, now| breaker.probed(is_well, now));
    }

    /// Tells the breaker what has happened, and the log what has changed by that.
    fn change(&self, tell: impl FnOnce(&mut EndpointBreaker, Instant) -> Option<BreakerChange>) {
        let Some(guarded) = &self.guarded else { return };
        let mut breaker = guarded.breaker();
        let Some(change) = tell(&mut breaker, Instant::now()) else { return };
        // Under the lock, so that two changes cannot overtake one another.
        guarded.is_open.send_replace(matches!(change, BreakerChange::Opened(_)));
        drop(breaker);
        let (label, endpoint) = (&guarded.label, self.endpoint());
        match change {
            BreakerChange::Opened(fault) => warn!(
                "profile {label}: the breaker of endpoint {endpoint} opens: {}; requests go to its other \
                 endpoints until a probe is answered",
                fault.as_str()
            ),
            BreakerChange::Closed => info!("profile {label}: endpoint {endpoint} answers again"),
        }
    }
}

impl EndpointRecord {
    fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            breaker: Mutex::default(),
            is_open: watch::Sender::new(false),
            late: Mutex::default(),
        }
    }

    fn breaker(&self) -> MutexGuard<'_, EndpointBreaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that an endpoint has not answered yet. Dropped, it has ended without a result.
#[derive(Debug)]
pub struct Asked {
    endpoint: Option<Arc<StoreEndpoint>>,
    sent: Instant,
}

impl Asked {
    /// The head of an answer came. `is_error`: 500, 502, 503 or 504.
    pub fn answered(mut self, is_error: bool) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.change(|breaker, now| breaker.answered(is_error, self.sent, now));
        }
    }

    /// The request has failed.
    pub fn failed(mut self, fault: Fault) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.change(|breaker, now| breaker.failed(fault, self.sent, now));
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.change(|breaker, now| {
                breaker.left(self.sent, now);
                None
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::retry::RetryPolicy;

    fn profile(number: usize) -> Profile {
        let way = |place| Way {
            endpoint: Endpoint::parse(&format!("http://127.0.0.{place}:1/x{place}")).unwrap(),
            proxy: None,
        };
        let further = (1..number).map(way).collect();
        Profile { further, ..Profile::unsigned(None, way(0).endpoint) }
    }

    fn addresses(way: &Way) -> Arc<EndpointAddresses> {
        Arc::new(EndpointAddresses::new(&way.endpoint, None))
    }

    fn endpoints(number: usize) -> StoreEndpoints {
        StoreEndpoints::new(&profile(number), None, addresses)
    }

    fn attempts() -> Attempts {
        let policy = RetryPolicy { retries: 1, total: Duration::from_secs(20) };
        Attempts::start(policy, Instant::now())
    }

    fn open(endpoints: &StoreEndpoints, place: usize) {
        endpoints.at(place).ask().unwrap().failed(Fault::Connection);
    }

    fn set(places: &[usize]) -> EndpointSet {
        let mut attempts = attempts();
        places.iter().for_each(|place| attempts.go_to(*place));
        attempts.tried_endpoints()
    }

    #[test]
    fn the_first_that_is_well_is_asked() {
        for (left_out, tried, preferred, chosen) in [
            (&[][..], &[][..], None, 0),
            (&[], &[0], None, 1),
            (&[], &[0, 1], None, 2),
            (&[0], &[], None, 1),
            (&[0], &[1], None, 2),
            (&[0, 1], &[2], None, 0),
            (&[0, 1, 2], &[], None, 0),
            (&[0, 1, 2], &[0], None, 1),
            (&[], &[], Some(2), 2),
            (&[2], &[], Some(2), 0),
            (&[], &[2], Some(2), 0),
            (&[], &[0, 1, 2], None, 0),
        ] {
            let endpoints = endpoints(3);
            left_out.iter().for_each(|place| open(&endpoints, *place));
            let found = endpoints.choose(set(tried), preferred);
            assert_eq!(found, chosen, "{left_out:?} {tried:?} {preferred:?}");
            assert_eq!(endpoints.has_other(set(tried)), tried.len() < 3);
        }
    }

    #[test]
    fn each_endpoint_that_may_answer_has_its_share_of_the_time() {
        let endpoints = endpoints(3);
        let mut attempts = attempts();
        let seconds = |attempts: &mut Attempts| {
            endpoints.of(attempts);
            endpoints.time_here(attempts, Instant::now()).as_secs_f64().round()
        };
        assert!((seconds(&mut attempts) - 7.0).abs() < 0.1);
        open(&endpoints, 2);
        attempts.leave_endpoint();
        assert!((seconds(&mut attempts) - 20.0).abs() < 0.1, "nothing is left for the last");
    }

    #[test]
    fn one_endpoint_has_no_breaker() {
        let endpoints = endpoints(1);
        assert!(endpoints.at(0).ask().is_none() && endpoints.at(0).late().is_none());
        assert!(!endpoints.has_other(EndpointSet::default()));
        assert_eq!(endpoints.begin_probes(Instant::now()), Vec::<usize>::new());
    }

    #[test]
    fn an_endpoint_that_stays_keeps_its_breaker_wherever_it_is() {
        let before = endpoints(3);
        open(&before, 1);
        let mut other = profile(3);
        other.further.reverse();
        let known =
            |way: &Way| Arc::clone(&before.iter().find(|it| it.way == *way).unwrap().addresses);
        let after = StoreEndpoints::new(&other, Some(&before), known);
        let faults: Vec<_> = after.iter().map(|it| it.fault()).collect();
        assert_eq!(faults, [None, None, Some(Fault::Connection)]);
        let alone = StoreEndpoints::new(&profile(1), Some(&before), known);
        assert_eq!((alone.iter().count(), alone.at(0).ask().is_none()), (1, true));
    }

    #[tokio::test]
    async fn who_waits_for_a_breaker_is_told_when_it_opens_and_a_probe_closes_it() {
        let endpoints = Arc::new(endpoints(2));
        let waiting = Arc::clone(&endpoints);
        let waiting = tokio::spawn(async move { waiting.at(0).opened().await });
        tokio::task::yield_now().await;
        open(&endpoints, 0);
        waiting.await.unwrap();
        let now = Instant::now();
        assert_eq!(endpoints.begin_probes(now), Vec::<usize>::new(), "not yet");
        assert_eq!(endpoints.begin_probes(now + Duration::from_secs(2)), [0]);
        endpoints.at(0).probed(true);
        assert_eq!(endpoints.choose(EndpointSet::default(), None), 0);
        let is_open = tokio::time::timeout(Duration::ZERO, endpoints.at(0).opened()).await;
        assert!(is_open.is_err());
    }

    #[test]
    fn a_hedge_goes_to_another_endpoint_that_is_well() {
        let endpoints = endpoints(3);
        assert_eq!((endpoints.beside(0), endpoints.beside(1)), (Some(1), Some(0)));
        open(&endpoints, 1);
        assert_eq!(endpoints.beside(0), Some(2));
        open(&endpoints, 2);
        assert_eq!(endpoints.beside(0), None);
    }
}
