//! Fetches of the cache: they belong to no client's request, and follow the same rules as requests that
//! pass through the proxy (see [`crate::upstream`]). Connections are Pingora's, in a pool of our own.
//! HTTP/1.1 only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::connectors::ConnectorOptions;

use crate::config::UpstreamConfig;
use crate::protocol::range::ByteRange;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::Target;
use crate::trace::span::SpanParent;
use crate::upstream::admission::{Priority, QueueTimeout};
use crate::upstream::client::attempts::StoreFetch;
use crate::upstream::client::pool::Pool;
use crate::upstream::hedging::HedgeResult;
use crate::upstream::last_outcome::StoreVerdict;
use crate::upstream::rest::BodyRest;
use crate::upstream::retry::{Attempts, RetryPolicy};
use crate::upstream::{Store, UpstreamOutcome};

mod attempts;
mod body;
mod connection;
mod hedge;
mod listing;
mod pool;

pub use body::{BodyOrigin, StoreBody};
pub(crate) use connection::exchange;

/// The client of all fetches.
pub struct StoreClient {
    pool: Arc<Pool>,
    config: UpstreamConfig,
}

/// A request for an object: conditions, range, method.
#[derive(Debug, Clone, Default)]
pub struct FetchRequest {
    /// One strong entity tag.
    pub if_none_match: Option<HeaderValue>,
    /// A date from the store. With `if_none_match` it is ignored (RFC 9110, section 13.1.3).
    pub if_modified_since: Option<HeaderValue>,
    /// One strong entity tag: another object is refused as `PreconditionFailed`.
    pub if_match: Option<HeaderValue>,
    pub range: Option<ByteRange>,
    /// HEAD: the body of the answer is empty.
    pub head_only: bool,
    /// A page of a listing: some headers of objects are left off.
    pub is_listing: bool,
    /// How long it may wait for a permit.
    pub patience: QueueTimeout,
    /// The span that its attempts are part of; `None` without traces.
    pub trace: Option<SpanParent>,
}

impl FetchRequest {
    /// A request for the whole object, as part of this span.
    #[must_use]
    pub fn of(trace: Option<&SpanParent>) -> Self {
        Self { trace: trace.cloned(), ..Self::default() }
    }
}

/// How a fetch ended, and its part of the log line.
#[derive(Debug)]
pub struct FetchResult {
    pub report: FetchReport,
    pub outcome: Result<FetchResponse, Refusal>,
}

/// The store's part of a log line, for [`crate::logging::access::UpstreamRecord`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// From the first attempt to the head of the last answer, or its failure.
    pub duration: Duration,
    pub attempts: u8,
    /// Of the last answer, if there was one.
    pub status: Option<u16>,
    /// From the last answer's error document, such as `NoSuchKey`.
    pub code: Option<String>,
    /// The store's id of the last request it answered.
    pub request_id: Option<String>,
    /// The reason of a failed connection, for a person.
    pub detail: Option<String>,
    /// The store refused HEAD, and answered a GET of one byte in its place.
    pub head_by_get: bool,
    /// The endpoint of the last attempt, by its place among those of the store.
    pub endpoint: Option<usize>,
    /// What came of a hedge, if one was sent.
    pub hedge: Option<HedgeResult>,
}

/// An answer that is not refused.
#[derive(Debug)]
pub enum FetchResponse {
    /// 304, only where a validator was sent. The headers are all of the store's.
    NotModified(HeaderMap),
    /// The object: 200, also where a range was requested and the store ignores ranges; or 206 with
    /// exactly the requested range. The headers are all of the store's.
    Object { status: StatusCode, headers: HeaderMap, body: StoreBody },
}

impl StoreClient {
    /// A client without connections.
    ///
    /// # Panics
    /// When the trusted certificates cannot be read, in Pingora:
    /// [`crate::upstream::certificates::Trusted::read`] reports that before.
    #[must_use]
    pub fn new(config: &UpstreamConfig) -> Self {
        let mut options = ConnectorOptions::new(config.keepalive_pool_size);
        options.ca_file = config.ca_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        let pool = Pool::new(options, config.keepalive_pool_size);
        Self { pool, config: config.clone() }
    }

    /// Asks the store for the object until there is the head of a usable answer, at most
    /// `total_timeout`. A caller that stops waiting closes the connection, and so does one that
    /// drops a [`StoreBody`] before its end.
    ///
    /// The refusals are those of a request that passes through the proxy. A 416 without a length is
    /// `RangeNotSatisfiable(None)`: the store is not asked again for the length.
    pub async fn fetch(
        &self,
        store: &Store,
        target: &Target,
        request: &FetchRequest,
    ) -> FetchResult {
        let priority = if request.range.is_some() { Priority::Bulk } else { Priority::Whole };
        let Some(permit) = store.admission.acquire(priority, request.patience).await else {
            let refusal = Refusal::UpstreamSaturated;
            store.metrics.errors.count(refusal.cause());
            return FetchResult { report: FetchReport::default(), outcome: Err(refusal) };
        };
        let unanswered = Unanswered(store);
        let (report, mut outcome) = if store.endpoints.are_hedged() && !request.head_only {
            // Boxed: it is larger than a fetch without.
            Box::pin(hedge::fetch(self, store, target, request)).await
        } else {
            StoreFetch::new(self, store, target, request).run().await
        };
        std::mem::forget(unanswered);
        store.note(&UpstreamOutcome {
            status: report.status,
            code: report.code.as_deref(),
            attempts: report.attempts,
            waited: report.duration,
            ago: Duration::ZERO,
            verdict: outcome.as_ref().err().map_or(StoreVerdict::Answered, StoreVerdict::of),
            refusal: outcome.as_ref().err(),
        });
        if let Ok(FetchResponse::Object { body, .. }) = &mut outcome {
            body.occupy(permit, store);
        }
        FetchResult { report, outcome }
    }
}

/// Counts a fetch whose caller stopped waiting before the store answered: it says nothing of the store.
struct Unanswered<'a>(&'a Store);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.note(&UpstreamOutcome {
            status: None,
            code: None,
            attempts: 1,
            waited: Duration::ZERO,
            ago: Duration::ZERO,
            verdict: StoreVerdict::Unknown,
            refusal: None,
        });
    }
}

impl StoreClient {
    /// As [`StoreClient::fetch`]. If the body of a whole object breaks off, its rest is requested.
    pub async fn fetch_resumable(
        self: &Arc<Self>,
        store: &Arc<Store>,
        target: &Target,
        request: &FetchRequest,
    ) -> FetchResult {
        let mut fetched = self.fetch(store, target, request).await;
        if let Ok(FetchResponse::Object { status, headers, body }) = &mut fetched.outcome
            && request.range.is_none()
            && let Some(rest) = BodyRest::of(*status, headers)
        {
            body.continue_with(self, &store.newest(), target, rest, request.trace.clone());
        }
        fetched
    }

    /// Requests the rest of a body that broke off there. It takes no permit, since the request
    /// whose body it was holds one. `None` if the store's answer is about other bytes.
    ///
    /// # Errors
    /// As [`StoreClient::fetch`]; `PreconditionFailed` if the store has another version.
    async fn fetch_rest(
        &self,
        store: &Store,
        target: &Target,
        rest: &BodyRest,
        broken: BodyOrigin,
        trace: Option<&SpanParent>,
    ) -> Result<Option<StoreBody>, Refusal> {
        let request = FetchRequest {
            range: Some(rest.range()),
            if_match: Some(rest.etag().clone()),
            ..FetchRequest::of(trace)
        };
        let mut fetch = StoreFetch::new(self, store, target, &request);
        fetch.go_elsewhere(broken);
        let outcome = fetch.until_answered().await;
        let report = fetch.report();
        store.note(&UpstreamOutcome {
            status: report.status,
            code: report.code.as_deref(),
            attempts: report.attempts,
            waited: report.duration,
            ago: Duration::ZERO,
            verdict: outcome.as_ref().err().map_or(StoreVerdict::Answered, StoreVerdict::of),
            refusal: outcome.as_ref().err(),
        });
        Ok(match outcome? {
            FetchResponse::Object { status, headers, body }
                if rest.is_answered_by(status, &headers) =>
            {
                Some(body)
            }
            FetchResponse::Object { .. } | FetchResponse::NotModified(_) => None,
        })
    }

    /// What the store's error for this object says, by the code of its document: for a request that
    /// passes through the proxy and has received the head of an error. It goes on after the attempts of
    /// that request, with their retries and the rest of their time; it takes no permit, since that
    /// request holds one, and is not counted, since that request is.
    ///
    /// The outcome is the refusal for the client, or `Ok` where the store now answers with the object.
    pub async fn read_error(
        &self,
        store: &Store,
        target: &Target,
        attempts: Attempts,
        trace: Option<&SpanParent>,
    ) -> (FetchReport, Attempts, Result<(), Refusal>) {
        let range = Some(ByteRange::FromTo { first: 0, last: Some(0) });
        let request = FetchRequest { range, ..FetchRequest::of(trace) };
        let mut fetch = StoreFetch::after(self, store, target, &request, attempts);
        let outcome = match fetch.until_answered().await {
            Ok(_) | Err(Refusal::RangeNotSatisfiable(_)) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        let (report, attempts) = fetch.into_parts();
        (report, attempts, outcome)
    }

    /// Asks one endpoint of the store, once, for at most this time.
    pub async fn probe_endpoint(
        &self,
        store: &Store,
        target: &Target,
        place: usize,
        total: Duration,
    ) -> FetchReport {
        let range = Some(ByteRange::FromTo { first: 0, last: Some(0) });
        let request = FetchRequest { range, ..FetchRequest::default() };
        let attempts = Attempts::start(RetryPolicy { retries: 0, total }, Instant::now());
        let mut fetch = StoreFetch::after(self, store, target, &request, attempts);
        fetch.stay_at(place);
        fetch.run().await.0
    }

    /// As [`StoreClient::read_error`], for a request that no client has made.
    pub async fn probe(
        &self,
        store: &Store,
        target: &Target,
    ) -> (FetchReport, Result<(), Refusal>) {
        let attempts = Attempts::start(RetryPolicy::of(&self.config), Instant::now());
        let (report, _, outcome) = self.read_error(store, target, attempts, None).await;
        (report, outcome)
    }
}

impl std::fmt::Debug for StoreClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreClient").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
