//! One fetch: its attempts, until there is an answer or no other attempt. The rules are those of
//! [`crate::upstream::retry`], the limits those of [`crate::upstream::deadline`]; here they are
//! applied to connections of our own pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::RANGE;
use http::{HeaderMap, Method, StatusCode};
use pingora::Error;
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;

use crate::protocol::forwarded_conditions::UpstreamConditions;
use crate::protocol::range::ByteRange;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::Target;
use crate::trace::span::{Span, SpanParent};
use crate::upstream::answer::{self, AnswerDecision, Ask, is_error_of_address};
use crate::upstream::attempt_span::{attempt_span, note_answer, note_failure, with_traceparent};
use crate::upstream::client::body::{BodyOrigin, StoreBody};
use crate::upstream::client::connection::StoreConnection;
use crate::upstream::client::{FetchReport, FetchRequest, FetchResponse, StoreClient};
use crate::upstream::deadline::Deadlines;
use crate::upstream::dial::{ReadyConnection, dial};
use crate::upstream::endpoints::{Asked, StoreEndpoint};
use crate::upstream::error::{of_connect, of_exchange};
use crate::upstream::error_document::{self, ErrorDocument};
use crate::upstream::error_verdict;
use crate::upstream::request::{signed_request, signing_time};
use crate::upstream::retry::{AttemptFailure, Attempts, LATE, LEFT, NextAttempt, RetryPolicy};
use crate::upstream::turns::Chosen;
use crate::upstream::{self, Store};

/// A fetch in progress.
pub(super) struct StoreFetch<'a> {
    client: &'a StoreClient,
    store: &'a Store,
    target: &'a Target,
    method: Method,
    is_listing: bool,
    conditions: UpstreamConditions,
    /// The headers that a client would send for the same request.
    headers: HeaderMap,
    deadlines: Deadlines,
    attempts: Attempts,
    /// Where the last attempt went.
    endpoint: Arc<StoreEndpoint>,
    chosen: Option<Chosen>,
    /// Whether the endpoint was well when it was chosen.
    was_well: bool,
    /// Its request, until the endpoint has answered.
    asked: Option<Asked>,
    /// An endpoint has another version than the one that `if_match` names.
    is_other_version: bool,
    report: FetchReport,
    /// The span that its attempts are part of.
    trace: Option<SpanParent>,
    /// The attempt in progress.
    attempt: Option<Span>,
    /// What a HEAD was refused with, while a GET asks for the code of the error document.
    head_refused: Option<Refusal>,
}

/// How an attempt ended.
enum Attempt {
    Answered(Box<FetchResponse>),
    Refused(Refusal),
    /// Another attempt follows.
    Failed,
}

impl<'a> StoreFetch<'a> {
    /// Starts the time for all attempts.
    pub(super) fn new(
        client: &'a StoreClient,
        store: &'a Store,
        target: &'a Target,
        request: &FetchRequest,
    ) -> Self {
        let attempts = Attempts::start(RetryPolicy::of(&client.config), Instant::now());
        Self::after(client, store, target, request, attempts)
    }

    /// Goes on after these attempts, with their retries and the rest of their time.
    pub(super) fn after(
        client: &'a StoreClient,
        store: &'a Store,
        target: &'a Target,
        request: &FetchRequest,
        attempts: Attempts,
    ) -> Self {
        let range = request.range.and_then(|range| range.to_header());
        let mut headers = HeaderMap::new();
        if let Some(range) = &range {
            headers.insert(RANGE, range.clone());
        }
        let conditions = UpstreamConditions {
            range,
            if_match: request.if_match.clone(),
            if_none_match: request.if_none_match.clone(),
            if_modified_since: request.if_modified_since.clone(),
        };
        Self {
            client,
            store,
            target,
            method: if request.head_only { Method::HEAD } else { Method::GET },
            is_listing: request.is_listing,
            conditions,
            headers,
            deadlines: Deadlines::of(&client.config),
            endpoint: Arc::clone(store.endpoints.at(attempts.endpoint().unwrap_or(0))),
            attempts,
            chosen: None,
            was_well: true,
            asked: None,
            is_other_version: false,
            report: FetchReport::default(),
            trace: request.trace.clone(),
            attempt: None,
            head_refused: None,
        }
    }

    /// The first attempt goes to another address than this one, if it can.
    pub(super) fn go_elsewhere(&mut self, broken: BodyOrigin) {
        self.attempts.go_elsewhere(broken.endpoint, broken.address);
    }

    /// The endpoint that the first attempt goes to.
    pub(super) fn start_at(&mut self, place: usize) {
        self.attempts.go_to(place);
    }

    /// Makes the attempts, at one endpoint alone.
    pub(super) fn stay_at(&mut self, place: usize) {
        self.attempts.stay_at(place);
    }

    /// As [`StoreFetch::until_answered`], with the report.
    pub(super) async fn run(mut self) -> (FetchReport, Result<FetchResponse, Refusal>) {
        let outcome = self.until_answered().await;
        (self.report(), outcome)
    }

    /// The report of the attempts.
    pub(super) fn report(self) -> FetchReport {
        self.into_parts().0
    }

    /// The report, and the attempts.
    pub(super) fn into_parts(self) -> (FetchReport, Attempts) {
        let (attempts, endpoint) = (self.attempts.made(), self.attempts.endpoint());
        let report = FetchReport { attempts, endpoint, ..self.report };
        (report, self.attempts)
    }

    /// Makes attempts until one has a usable answer, or none is left.
    ///
    /// # Errors
    /// The refusal of the last attempt.
    pub(super) async fn until_answered(&mut self) -> Result<FetchResponse, Refusal> {
        loop {
            let attempt = match self.connect().await {
                Ok(connection) => self.exchange(connection).await,
                Err(attempt) => attempt,
            };
            self.attempt = None;
            match attempt {
                Attempt::Answered(response) => return Ok(*response),
                Attempt::Refused(refusal) if self.is_other_version && refusal.is_outage() => {
                    return Err(Refusal::PreconditionFailed);
                }
                Attempt::Refused(refusal) => return Err(refusal),
                Attempt::Failed => {}
            }
        }
    }

    fn time_left(&self) -> Duration {
        self.store.endpoints.time_here(&self.attempts, Instant::now())
    }

    /// Ends an attempt that failed. `reused`: on a connection that was idle before.
    fn failed(&mut self, failure: &AttemptFailure, reused: bool) -> Attempt {
        note_failure(self.attempt.take(), failure);
        let asked = self.asked.take();
        let endpoints = &self.store.endpoints;
        let next =
            endpoints.attempt_failed(&mut self.attempts, asked, self.chosen, failure, reused);
        match next {
            NextAttempt::Again => Attempt::Failed,
            NextAttempt::Refuse(refusal) => Attempt::Refused(refusal),
        }
    }

    fn note_end(&mut self) {
        let now = Instant::now();
        self.attempts.end(now);
        self.report.duration = self.attempts.duration(now);
    }

    fn note_error(&mut self, error: &Error) {
        self.note_end();
        let place =
            self.attempts.address().map(|address| format!(" ({address})")).unwrap_or_default();
        self.report.detail = Some(format!("{error}{place}"));
    }

    /// A connection to an address of the store, to another than before if there is one.
    async fn connect(&mut self) -> Result<StoreConnection, Attempt> {
        let pause = self.attempts.pause(upstream::retry_pause(), Instant::now());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        self.endpoint = Arc::clone(self.store.endpoints.of(&mut self.attempts));
        let made = u64::from(self.attempts.made());
        let asked = (self.store, self.endpoint.as_ref());
        self.attempt = self
            .trace
            .as_ref()
            .map(|parent| attempt_span(parent, &self.method, asked, self.target, made));
        let left = self.time_left();
        if left.is_zero() {
            return Err(Attempt::Refused(Refusal::UpstreamTimeout));
        }
        self.chosen = None;
        self.was_well = self.endpoint.fault().is_none();
        self.asked = self.endpoint.ask();
        let addresses = &self.endpoint.addresses;
        let picked = addresses.pick(self.attempts.tried(), self.deadlines.lookup(left)).await;
        let Some(chosen) = picked else {
            let unresolved = addresses.unresolved();
            self.note_end();
            return Err(self.unresolved(unresolved));
        };
        self.chosen = Some(chosen);
        self.attempts.begin(chosen.address, Instant::now());
        if !self.attempts.needs_new_connection() {
            let peer = self.peer(chosen);
            if let Some(connection) = StoreConnection::reuse(&self.client.pool, &peer).await {
                return Ok(connection);
            }
        }
        let (may_leave, endpoint) = (self.may_leave(), Arc::clone(&self.endpoint));
        let connected = tokio::select! {
            biased;
            connected = self.new_connection(chosen) => connected,
            () = endpoint.opened(), if may_leave => return Err(self.leave()),
        };
        connected.map_err(|error| {
            self.note_error(&error);
            self.failed(&of_connect(&error), false)
        })
    }

    /// Whether another endpoint is asked as soon as the breaker of this one opens.
    fn may_leave(&self) -> bool {
        let tried = self.attempts.tried_endpoints();
        self.was_well && self.store.endpoints.has_other_well(tried)
    }

    /// Leaves an endpoint of which others have found that it does not answer.
    fn leave(&mut self) -> Attempt {
        self.note_end();
        self.report.detail = Some(LEFT.to_owned());
        self.asked = None;
        self.attempts.leave_endpoint();
        Attempt::Failed
    }

    /// Ends an attempt at an endpoint whose name does not resolve.
    fn unresolved(&mut self, refusal: Refusal) -> Attempt {
        match self.store.endpoints.has_other(self.attempts.tried_endpoints()) {
            true => self.failed(&AttemptFailure::NoConnection(refusal), false),
            false => Attempt::Refused(refusal),
        }
    }

    /// The peer of an attempt. The first look-up of the name has taken some of the time.
    fn peer(&self, chosen: Chosen) -> HttpPeer {
        let is_tls = self.endpoint.endpoint().tls;
        let pool_key = self.endpoint.addresses.pool_key(chosen);
        let target = self.store.endpoints.target(&self.endpoint, self.target);
        let (config, left) = (&self.client.config, self.time_left());
        let mut peer = upstream::peer(chosen, pool_key, is_tls, &target, config, left);
        if let Some(tls) = &self.store.tls {
            tls.apply(&mut peer);
        }
        peer
    }

    /// A new connection to this address, or to another one that connects first.
    async fn new_connection(&mut self, chosen: Chosen) -> pingora::Result<StoreConnection> {
        let endpoint = Arc::clone(&self.endpoint);
        let addresses = &endpoint.addresses;
        let limit = self.deadlines.connect(self.time_left());
        let over = Instant::now() + limit;
        let mut tried = self.attempts.tried().to_vec();
        let dialed = dial(addresses, chosen.address, &mut tried, limit).await;
        for address in tried {
            self.attempts.went_to(address);
        }
        let (address, stream) = dialed?;
        self.attempts.went_to(address);
        let chosen = if address == chosen.address { chosen } else { addresses.begin(address) };
        self.chosen = Some(chosen);
        let mut peer = self.peer(chosen);
        peer.options.custom_l4 = Some(ReadyConnection::new(stream));
        let left = over.saturating_duration_since(Instant::now());
        peer.options.total_connection_timeout = Some(self.deadlines.connect(left));
        StoreConnection::connect(&self.client.pool, &peer).await
    }

    /// Sends the request on this connection, and decides on the answer.
    async fn exchange(&mut self, mut connection: StoreConnection) -> Attempt {
        let (store, method, conditions) = (self.store, &self.method, &self.conditions);
        let target = store.endpoints.target(&self.endpoint, self.target);
        let signer = match &store.listing_signer {
            Some(signer) if self.is_listing => signer,
            _ => &store.signer,
        };
        let request = match signed_request(signer, &target, method, conditions, signing_time()) {
            Ok(request) => with_traceparent(request, self.attempt.as_ref()),
            Err(refusal) => return Attempt::Refused(refusal),
        };
        let limit = self.deadlines.head(self.time_left());
        let may_leave = self.may_leave();
        let asked = tokio::time::timeout(limit, connection.ask(request));
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            () = self.endpoint.opened(), if may_leave => return self.leave(),
        };
        match answer {
            Ok(Ok(head)) => {
                let is_error = is_error_of_address(head.status);
                if let Some(chosen) = self.chosen {
                    self.endpoint.addresses.answered(chosen, is_error);
                }
                if let Some(asked) = self.asked.take() {
                    asked.answered(is_error);
                }
                self.decide(connection, head).await
            }
            Ok(Err(error)) => {
                self.note_error(&error);
                let reused = connection.is_reused();
                self.failed(&of_exchange(&error, reused), reused)
            }
            Err(_late) => {
                self.note_end();
                self.report.detail = Some(LATE.to_owned());
                self.failed(&AttemptFailure::Late, connection.is_reused())
            }
        }
    }

    /// Decides on the head of an answer.
    async fn decide(&mut self, connection: StoreConnection, head: ResponseHeader) -> Attempt {
        self.note_end();
        // The span of an attempt ends with the head of the answer.
        note_answer(self.attempt.take(), self.chosen, head.status);
        self.report.status = Some(head.status.as_u16());
        self.report.code = None;
        self.report.detail = None;
        self.report.request_id = error_document::request_id(&head.headers).map(str::to_owned);
        let context = answer::AnswerContext {
            method: &self.method,
            headers: &self.headers,
            ask: Ask::AsClient,
            conditional: false,
            conditions: &self.conditions,
        };
        let decision = answer::decide(&context, head.status, &head.headers);
        let endpoints = &self.store.endpoints;
        let decision = endpoints.decide(decision, head.status, &self.attempts);
        if let Some(refusal) = self.head_refused.take_if(|_| decision.is_object()) {
            // The GET is allowed: its head is the answer that the HEAD would have.
            self.report.head_by_get = true;
            return match answer::of_whole(&head.headers) {
                Some(headers) if matches!(decision, AnswerDecision::Deliver(_)) => {
                    let (status, body) =
                        (StatusCode::OK, StoreBody::new(connection, None, self.origin()));
                    Attempt::Answered(Box::new(FetchResponse::Object { status, headers, body }))
                }
                _ => Attempt::Refused(refusal),
            };
        }
        match decision {
            AnswerDecision::Deliver(status) => {
                let length = answer::body_length(status, &head.headers);
                let body = StoreBody::new(connection, length, self.origin());
                let headers = head.headers.clone();
                Attempt::Answered(Box::new(FetchResponse::Object { status, headers, body }))
            }
            AnswerDecision::NotModified => {
                connection.release();
                Attempt::Answered(Box::new(FetchResponse::NotModified(head.headers.clone())))
            }
            AnswerDecision::RefuseUnlessRetried(refusal) => {
                let now = Instant::now();
                let goes_on = self.attempts.may_retry(now)
                    || endpoints.has_other(self.attempts.tried_endpoints());
                let left = goes_on.then(|| self.time_left());
                self.read_document(connection, &head, left).await;
                self.failed(&AttemptFailure::Answer(refusal), false)
            }
            // Another endpoint may have the version of which other bytes are known.
            AnswerDecision::Refuse(Refusal::PreconditionFailed)
                if endpoints.has_other_well(self.attempts.tried_endpoints()) =>
            {
                self.read_document(connection, &head, Some(self.time_left())).await;
                self.is_other_version = true;
                self.attempts.leave_endpoint();
                Attempt::Failed
            }
            AnswerDecision::Refuse(refusal) => {
                self.read_document(connection, &head, None).await;
                // 405 and 501 say that the method is not allowed (RFC 9110, sections 15.5.6, 15.6.2).
                let refuses_head = matches!(head.status.as_u16(), 400 | 405 | 501);
                if refuses_head && self.method == Method::HEAD && self.attempts.ask_in_another_way()
                {
                    self.ask_for_code(refusal);
                    return Attempt::Failed;
                }
                Attempt::Refused(refusal)
            }
            AnswerDecision::ReadCode => {
                self.read_document(connection, &head, None).await;
                let (status, code) = (head.status.as_u16(), self.report.code.as_deref());
                let missing_on_403 = self.store.profile.missing_on_403;
                let refusal =
                    error_verdict::of_document(status, &head.headers, code, missing_on_403);
                if self.method == Method::HEAD && self.attempts.ask_in_another_way() {
                    self.ask_for_code(refusal);
                    return Attempt::Failed;
                }
                Attempt::Refused(refusal)
            }
            // A 416 without the length. The other reasons to ask again are conditions of clients.
            AnswerDecision::AskAgain(_) | AnswerDecision::Empty => {
                self.read_document(connection, &head, None).await;
                Attempt::Refused(Refusal::RangeNotSatisfiable(None))
            }
        }
    }

    /// Where a body comes from.
    fn origin(&self) -> BodyOrigin {
        BodyOrigin { endpoint: self.attempts.endpoint(), address: self.attempts.address() }
    }

    /// Turns a HEAD into a GET of one byte, whose error document has a code.
    fn ask_for_code(&mut self, refusal: Refusal) {
        let range = ByteRange::FromTo { first: 0, last: Some(0) }.to_header();
        self.method = Method::GET;
        self.headers = range.iter().map(|range| (RANGE, range.clone())).collect();
        self.conditions = UpstreamConditions { range, ..UpstreamConditions::default() };
        self.head_refused = Some(refusal);
    }

    /// Reads the error document for its code, and so that the connection can be used again. `left`:
    /// the rest of the time for all attempts, if another attempt follows.
    async fn read_document(
        &mut self,
        mut connection: StoreConnection,
        head: &ResponseHeader,
        left: Option<Duration>,
    ) {
        let asked_for_head = self.method == Method::HEAD;
        let has_body = error_document::has_body(head.status, &head.headers, asked_for_head);
        if head.status.is_success() || !(has_body || connection.is_at_end()) {
            return;
        }
        let mut document = ErrorDocument::default();
        let read = async {
            while !document.is_full()
                && let Some(piece) = connection.read().await?
            {
                document.push(&piece);
            }
            Ok::<(), Box<Error>>(())
        };
        let read = tokio::time::timeout(self.deadlines.document(left), read).await;
        self.report.code = document.code().map(str::to_owned);
        if matches!(read, Ok(Ok(()))) && connection.is_at_end() {
            connection.release();
        }
    }
}
