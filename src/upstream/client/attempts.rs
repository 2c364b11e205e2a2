//! The attempts of one fetch: where they go, how long they may take, and whether there is another.
//! The same rules as for requests through the gateway.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, RANGE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use pingora::Error;
use pingora::http::ResponseHeader;

use crate::protocol::forwarded_conditions::UpstreamConditions;
use crate::protocol::request_id::{X_REQUEST_ID, sane_request_id};
use crate::response::refusal::Refusal;
use crate::s3::endpoint::Target;
use crate::s3::error_code::{ERROR_DOCUMENT_BYTES, error_code};
use crate::upstream::answer::{self, Ask, Decision};
use crate::upstream::client::body::Body;
use crate::upstream::client::connection::Connection;
use crate::upstream::client::{FetchReport, FetchRequest, FetchResponse, StoreClient};
use crate::upstream::error::refusal;
use crate::upstream::request::signed_request;
use crate::upstream::{self, Store};

const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// How far one fetch has come.
pub(super) struct Asking<'a> {
    fetcher: &'a StoreClient,
    store: &'a Store,
    target: &'a Target,
    method: Method,
    conditions: UpstreamConditions,
    /// The question as a client would have put it.
    headers: HeaderMap,
    started: Instant,
    report: FetchReport,
    /// Attempts after a failure.
    retries: u8,
    /// Kept connections are not trusted any more: one was closed by the store.
    fresh: bool,
    /// Where the last attempt went.
    socket: Option<SocketAddr>,
    /// A pause is due before the next attempt.
    pause: bool,
}

/// How an attempt ended.
enum Attempt {
    Answered(Box<FetchResponse>),
    Refused(Refusal),
    /// Another is due.
    Failed,
}

impl<'a> Asking<'a> {
    /// Starts the time for all attempts.
    pub(super) fn new(
        fetcher: &'a StoreClient,
        store: &'a Store,
        target: &'a Target,
        question: &FetchRequest,
    ) -> Self {
        let range = question.range.and_then(|range| range.to_header());
        let mut headers = HeaderMap::new();
        if let Some(range) = &range {
            headers.insert(RANGE, range.clone());
        }
        let conditions = UpstreamConditions {
            range,
            if_match: question.if_match.clone(),
            if_none_match: question.if_none_match.clone(),
            if_modified_since: question.if_modified_since.clone(),
        };
        Self {
            fetcher,
            store,
            target,
            method: if question.head_only { Method::HEAD } else { Method::GET },
            conditions,
            headers,
            started: Instant::now(),
            report: FetchReport::default(),
            retries: 0,
            fresh: false,
            socket: None,
            pause: false,
        }
    }

    /// What is known of the attempts.
    pub(super) fn report(self) -> FetchReport {
        self.report
    }

    /// Asks until there is an answer to keep, or no other attempt to make.
    ///
    /// # Errors
    /// The refusal of the last attempt.
    pub(super) async fn until_answered(&mut self) -> Result<FetchResponse, Refusal> {
        loop {
            let attempt = match self.connect().await {
                Ok(connection) => self.ask(connection).await,
                Err(attempt) => attempt,
            };
            match attempt {
                Attempt::Answered(reply) => return Ok(*reply),
                Attempt::Refused(refusal) => return Err(refusal),
                Attempt::Failed => {}
            }
        }
    }

    /// What is left of the time for all attempts.
    fn time_left(&self) -> Duration {
        self.fetcher.config.total_timeout.saturating_sub(self.started.elapsed())
    }

    /// Whether a failed attempt may be followed by another.
    fn may_retry(&self) -> bool {
        self.retries < self.fetcher.config.retries && !self.time_left().is_zero()
    }

    /// Ends an attempt that failed: with another if there may be one, after a pause or not.
    fn retry_or(&mut self, refusal: Refusal, pause: bool) -> Attempt {
        if !self.may_retry() {
            return Attempt::Refused(refusal);
        }
        self.retries = self.retries.saturating_add(1);
        self.pause = pause;
        Attempt::Failed
    }

    fn note_end(&mut self) {
        self.report.duration = self.started.elapsed();
    }

    fn note_error(&mut self, error: &Error) {
        self.note_end();
        let place = self.socket.map(|socket| format!(" ({socket})")).unwrap_or_default();
        self.report.detail = Some(format!("{error}{place}"));
    }

    /// A connection to an address of the store, another one than before where there is one.
    async fn connect(&mut self) -> Result<Connection, Attempt> {
        if std::mem::take(&mut self.pause) {
            tokio::time::sleep(upstream::retry_pause().min(self.time_left())).await;
        }
        let config = &self.fetcher.config;
        let remaining = self.time_left();
        if remaining.is_zero() {
            return Err(Attempt::Refused(Refusal::UpstreamTimeout));
        }
        let addresses = &self.store.addresses;
        let patience = config.connect_timeout.min(remaining);
        let Some(socket) = addresses.pick(self.socket, patience).await else {
            self.note_end();
            return Err(Attempt::Refused(Refusal::UpstreamUnresolved));
        };
        // Waiting for the first lookup has taken of the time.
        let remaining = self.time_left().max(Duration::from_millis(1));
        self.socket = Some(socket);
        self.report.attempts = self.report.attempts.saturating_add(1);
        let tls = self.store.profile.endpoint.tls;
        let peer = upstream::peer(socket, tls, self.target, config, remaining);
        Connection::open(&self.fetcher.pool, &peer, self.fresh).await.map_err(|error| {
            self.note_error(&error);
            addresses.penalise(socket);
            self.retry_or(refusal(&error), addresses.is_single())
        })
    }

    /// Puts the question on this connection, and judges the answer.
    async fn ask(&mut self, mut connection: Connection) -> Attempt {
        let request = match signed_request(self.store, self.target, &self.method, &self.conditions)
        {
            Ok(request) => request,
            Err(refusal) => return Attempt::Refused(refusal),
        };
        let patience = self.fetcher.config.first_byte_timeout.min(self.time_left());
        match tokio::time::timeout(patience, connection.ask(request)).await {
            Ok(Ok(head)) => self.judge(connection, head).await,
            Ok(Err(error)) => {
                self.note_error(&error);
                let refusal = refusal(&error);
                if refusal != Refusal::UpstreamReset {
                    return Attempt::Refused(refusal);
                }
                if connection.is_reused() && !self.time_left().is_zero() {
                    // A kept connection that the store has closed meanwhile costs nothing to
                    // replace, by a new one.
                    self.fresh = true;
                    return Attempt::Failed;
                }
                self.retry_or(refusal, true)
            }
            Err(_late) => {
                self.note_end();
                let late = "timed out: the store's answer did not begin in its time";
                self.report.detail = Some(late.to_owned());
                if let Some(socket) = self.socket {
                    self.store.addresses.penalise(socket);
                }
                Attempt::Refused(Refusal::UpstreamTimeout)
            }
        }
    }

    /// What the answer is worth.
    async fn judge(&mut self, connection: Connection, head: ResponseHeader) -> Attempt {
        self.note_end();
        self.report.status = Some(head.status.as_u16());
        self.report.code = None;
        self.report.detail = None;
        self.report.request_id = [X_AMZ_REQUEST_ID, X_REQUEST_ID]
            .into_iter()
            .find_map(|name| sane_request_id(head.headers.get(name)))
            .map(str::to_owned);
        let request = answer::Request {
            method: &self.method,
            headers: &self.headers,
            ask: Ask::AsClient,
            conditional: false,
            conditions: &self.conditions,
            missing_on_403: self.store.profile.missing_on_403,
        };
        let config = &self.fetcher.config;
        match answer::decide(&request, head.status, &head.headers) {
            Decision::Deliver(status) => {
                let body = Body::new(connection, length_of_body(status, &head.headers));
                let headers = head.headers.clone();
                Attempt::Answered(Box::new(FetchResponse::Object { status, headers, body }))
            }
            Decision::NotModified => {
                connection.release();
                Attempt::Answered(Box::new(FetchResponse::NotModified(head.headers.clone())))
            }
            Decision::RefuseUnlessRetried(refusal) => {
                // A retry is not to wait for a document that does not come.
                let patience = if self.may_retry() {
                    config.read_timeout.min(self.time_left())
                } else {
                    config.read_timeout
                };
                self.read_document(connection, &head, patience).await;
                self.retry_or(refusal, true)
            }
            Decision::Refuse(refusal) => {
                self.read_document(connection, &head, config.read_timeout).await;
                Attempt::Refused(refusal)
            }
            // A 416 without the length. The other reasons to ask again are conditions of clients.
            Decision::AskAgain(_) | Decision::Empty => {
                self.read_document(connection, &head, config.read_timeout).await;
                Attempt::Refused(Refusal::RangeNotSatisfiable(None))
            }
        }
    }

    /// Reads the error document for its code, and so that the connection can be used again.
    async fn read_document(
        &mut self,
        mut connection: Connection,
        head: &ResponseHeader,
        patience: Duration,
    ) {
        let framed = head.headers.contains_key(CONTENT_LENGTH)
            || head.headers.contains_key(TRANSFER_ENCODING);
        let without_body = connection.is_at_end();
        if head.status.is_success() || !(framed || without_body) {
            return;
        }
        let mut document = Vec::new();
        let document_read = async {
            while let Some(piece) = connection.read().await? {
                document.extend_from_slice(&piece);
                if document.len() > ERROR_DOCUMENT_BYTES {
                    break;
                }
            }
            Ok::<(), Box<Error>>(())
        };
        let read = tokio::time::timeout(patience, document_read).await;
        self.report.code = error_code(&document).map(str::to_owned);
        if matches!(read, Ok(Ok(()))) && connection.is_at_end() {
            connection.release();
        }
    }
}

/// How many bytes the body of an object has to have, as far as its head tells.
fn length_of_body(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        None if status == StatusCode::PARTIAL_CONTENT => answer::length_of_part(headers),
        length => length,
    }
}
