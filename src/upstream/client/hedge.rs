//! A fetch that asks a second endpoint if the first byte of the first one is late
//! ([`hedging`](crate::upstream::hedging)). The first good answer wins, and the connection of the other request
//! is closed.
//!
//! - An answer of the first endpoint is good unless the store has failed: its 404 is the answer.
//! - An answer of the second is good if it brings the object, or confirms it. Whether an object is missing, or has
//!   changed since it was cached, is for the first one to say: the two may hold different versions.
//! - An answer that is not good waits for the other. If neither is, that of the first one counts, unless it
//!   failed and the second one brings an object.
//! - HEAD is not hedged: it asks whether an object has changed.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use crate::metrics::store::Hedges;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::Target;
use crate::upstream::Store;
use crate::upstream::client::attempts::StoreFetch;
use crate::upstream::client::{FetchReport, FetchRequest, FetchResponse, StoreClient};
use crate::upstream::endpoints::StoreEndpoint;
use crate::upstream::hedging::{HedgeResult, HedgeWait};
use crate::upstream::retry::{Attempts, RetryPolicy};

type Fetched = (FetchReport, Result<FetchResponse, Refusal>);

/// As [`StoreFetch::run`], hedged.
pub(super) async fn fetch(
    client: &StoreClient,
    store: &Store,
    target: &Target,
    request: &FetchRequest,
) -> Fetched {
    let endpoints = &store.endpoints;
    let place = endpoints.first_choice();
    let (endpoint, started) = (endpoints.at(place), Instant::now());
    if let Some(mut budget) = endpoints.hedge_budget() {
        budget.requested();
    }
    let mut first = StoreFetch::new(client, store, target, request);
    first.start_at(place);
    let mut first = std::pin::pin!(first.run());
    let Some(p95) = endpoint.late().and_then(|late| late.p95()) else {
        let fetched = first.await;
        note(endpoint, &fetched);
        return fetched;
    };
    let mut wait = HedgeWait::new(p95);
    let other = loop {
        let over = tokio::time::Instant::from_std(started + wait.until());
        if let Ok(fetched) = timeout_at(over, &mut first).await {
            note(endpoint, &fetched);
            return fetched;
        }
        if let Some(other) = endpoints.beside(place)
            && endpoints
                .hedge_budget()
                .is_some_and(|mut budget| wait.take(&mut budget, Instant::now()))
        {
            break other;
        }
        if wait.wait_on() {
            store.metrics.hedges.not_sent.inc();
        }
    };
    let policy = RetryPolicy { retries: 0, ..RetryPolicy::of(&client.config) };
    let attempts = Attempts::start(policy, started);
    let mut second = StoreFetch::after(client, store, target, request, attempts);
    second.stay_at(other);
    let mut second = std::pin::pin!(second.run());
    let hedges = &store.metrics.hedges;
    tokio::select! {
        biased;
        of_first = &mut first => {
            note(endpoint, &of_first);
            if !has_failed(&of_first) {
                return hedged(hedges, of_first, 1, HedgeResult::Lost);
            }
            let of_second = second.await;
            settle(hedges, of_first, of_second)
        }
        of_second = &mut second => {
            if is_good(request, &of_second) {
                note_late(endpoint, started.elapsed());
                return hedged(hedges, of_second, 1, HedgeResult::Won);
            }
            let of_first = first.await;
            note(endpoint, &of_first);
            settle(hedges, of_first, of_second)
        }
    }
}

/// Of two answers, neither of which is good at once.
fn settle(hedges: &Hedges, of_first: Fetched, of_second: Fetched) -> Fetched {
    if has_failed(&of_first) && of_second.1.is_ok() {
        let attempts = of_first.0.attempts;
        hedged(hedges, of_second, attempts, HedgeResult::Won)
    } else {
        let attempts = of_second.0.attempts;
        hedged(hedges, of_first, attempts, HedgeResult::Lost)
    }
}

/// Counts the hedge, and adds it and the attempts of the other request to the report of the one that counts.
fn hedged(hedges: &Hedges, (report, outcome): Fetched, others: u8, result: HedgeResult) -> Fetched {
    match result {
        HedgeResult::Won => hedges.won.inc(),
        HedgeResult::Lost => hedges.lost.inc(),
    };
    let attempts = report.attempts.saturating_add(others);
    (FetchReport { attempts, hedge: Some(result), ..report }, outcome)
}

/// Whether the answer of the second endpoint counts before that of the first one is known.
fn is_good(request: &FetchRequest, (_, outcome): &Fetched) -> bool {
    match outcome {
        Ok(FetchResponse::NotModified(_)) => true,
        Ok(FetchResponse::Object { .. }) => {
            request.if_none_match.is_none() && request.if_modified_since.is_none()
        }
        Err(_) => false,
    }
}

fn has_failed((_, outcome): &Fetched) -> bool {
    outcome.as_ref().is_err_and(Refusal::is_outage)
}

/// Counts how late the answer of this endpoint was, if its first attempt brought one.
fn note(endpoint: &StoreEndpoint, fetched: &Fetched) {
    if fetched.0.attempts == 1 && !has_failed(fetched) {
        note_late(endpoint, fetched.0.duration);
    }
}

fn note_late(endpoint: &StoreEndpoint, late: Duration) {
    if let Some(mut estimate) = endpoint.late() {
        estimate.note(late);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn of(outcome: Result<FetchResponse, Refusal>) -> Fetched {
        (FetchReport { attempts: 1, ..FetchReport::default() }, outcome)
    }

    #[test]
    fn the_second_endpoint_does_not_say_that_an_object_is_missing_or_has_changed() {
        let confirmed = || of(Ok(FetchResponse::NotModified(HeaderMap::new())));
        let tag = Some(HeaderValue::from_static("\"a\""));
        let plain = FetchRequest::default();
        let revalidation = FetchRequest { if_none_match: tag, ..FetchRequest::default() };
        assert!(is_good(&plain, &confirmed()) && is_good(&revalidation, &confirmed()));
        for refusal in
            [Refusal::ObjectNotFound, Refusal::PreconditionFailed, Refusal::UpstreamTimeout]
        {
            assert!(!is_good(&plain, &of(Err(refusal))));
        }
    }

    #[test]
    fn the_first_endpoint_counts_unless_it_failed_and_the_second_did_not() {
        let found = || Ok(FetchResponse::NotModified(HeaderMap::new()));
        for (first, second, wins) in [
            (Err(Refusal::UpstreamTimeout), found(), true),
            (Err(Refusal::UpstreamTimeout), Err(Refusal::UpstreamReset), false),
            (Err(Refusal::UpstreamTimeout), Err(Refusal::ObjectNotFound), false),
            (Err(Refusal::ObjectNotFound), found(), false),
        ] {
            let hedges = Hedges::default();
            let (report, _) = settle(&hedges, of(first), of(second));
            assert_eq!(report.attempts, 2);
            assert_eq!(report.hedge, Some(if wins { HedgeResult::Won } else { HedgeResult::Lost }));
            assert_eq!((hedges.won.get(), hedges.lost.get()), (u64::from(wins), u64::from(!wins)));
        }
    }
}
