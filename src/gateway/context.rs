//! The state of one request, passed from hook to hook (Pingora's `CTX`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use pingora::http::RequestHeader;

use crate::cache::{BlockCounter, CacheRequest, Lookup, LookupResult, MemberRequest, ObjectBody};
use crate::downstream::drain::RunningRequest;
use crate::downstream::limits::UserPermit;
use crate::downstream::transport::Transport;
use crate::gateway::folder::OpenedFolder;
use crate::gateway::storage::LookupSlot;
use crate::metrics::Page;
use crate::profile::alias::{AliasedObject, NamedObject};
use crate::protocol::cache_status::{BlockCounts, CacheStatus};
use crate::protocol::forwarded_conditions::{UpstreamConditions, upstream_conditions};
use crate::protocol::selection::Selection;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::trace::span::{Span, SpanParent};
use crate::upstream::admission::Permit;
use crate::upstream::answer::{Ask, is_conditional};
use crate::upstream::dial::Dialer;
use crate::upstream::endpoints::Asked;
use crate::upstream::error_document::ErrorDocument;
use crate::upstream::rest::BodyRest;
use crate::upstream::retry::Attempts;
use crate::upstream::share::SharePermit;
use crate::upstream::turns::Chosen;

/// The state of one request.
#[derive(Debug)]
pub struct Context {
    pub started: Instant,
    /// Counts this request as in progress until it is dropped.
    pub in_flight: RunningRequest,
    /// The client's `X-Request-ID` or a new one; set in `early_request_filter`.
    pub request_id: String,
    /// The span of the request; `None` without traces.
    pub span: Option<Span>,
    /// How the client is connected.
    pub transport: Transport,
    /// The `event` field of the log line.
    pub event: &'static str,
    pub page: Page,
    /// Counts this request for its user until it is dropped.
    pub user_permit: Option<UserPermit>,
    /// A health probe, logged at debug level.
    pub is_probe: bool,
    /// The requested object as the client named it, once the path is parsed.
    pub address: Option<Arc<ObjectAddress>>,
    /// The object that it stands for, if an alias applies.
    pub aliased: Option<AliasedObject>,
    pub object: Option<Box<ObjectRequest>>,
    /// What answers if no object does.
    pub folder: Option<Box<OpenedFolder>>,
    /// It has answered, or decided that there is nothing.
    pub folder_opened: bool,
    /// The request was admitted as one for the list of surveys.
    pub lists_surveys: bool,
    /// Another client may get another answer to the same request, by its `Accept`.
    pub depends_on_accept: bool,
    /// Why the client gets no object.
    pub refusal: Option<Refusal>,
    /// The cause of an error after the head of the response, or of a client that disconnected.
    pub failure: Option<&'static str>,
    /// The `detail` field of the log line.
    pub detail: Option<String>,
    /// Time to first byte: from the start of the request to the head of the response.
    pub ttfb: Option<Duration>,
    /// The store's body broke off, and the client has all of it.
    pub body_continued: bool,
}

/// An admitted request for an object.
#[derive(Debug)]
pub struct ObjectRequest {
    pub wanted: Arc<CacheRequest>,
    /// The member of an archive that is requested: then `wanted` is the archive.
    pub member: Option<Arc<MemberRequest>>,
    /// Where the storage puts the lookup; `None` when the cache is bypassed.
    pub slot: Option<Arc<LookupSlot>>,
    /// The result of the cache lookup.
    pub lookup: Option<Lookup>,
    /// The span of the lookup, until it has a result.
    pub lookup_span: Option<Span>,
    /// Where the blocks of the response were when it began, for `Cache-Status`.
    pub expected: BlockCounts,
    /// Where they came from, counted during the response.
    pub blocks: Option<Arc<BlockCounter>>,
    /// Which part of the cached representation is sent, and with which status.
    pub selection: Selection,
    /// Whether the request has a conditional header.
    pub conditional: bool,
    pub conditions: UpstreamConditions,
    pub upstream: UpstreamState,
}

/// The state of the attempts to get a response from the store.
#[derive(Debug)]
pub struct UpstreamState {
    pub ask: Ask,
    pub attempts: Attempts,
    /// Where the last attempt went.
    pub chosen: Option<Chosen>,
    /// Its request, until the endpoint has answered.
    pub asked: Option<Asked>,
    /// Makes its connection, if the pool has none.
    pub dialer: Option<Arc<Dialer>>,
    /// An attempt is in progress, or has failed before it had an address.
    pub began: bool,
    /// The head of an answer without an error has come.
    pub answered: bool,
    pub status: Option<u16>,
    pub code: Option<String>,
    pub request_id: Option<String>,
    /// The permit of this request among those to the store.
    pub permit: Option<Permit>,
    /// The client's share of the permits that this request takes.
    pub share: Option<SharePermit>,
    pub body: BodyPlan,
    /// The refusal unless the code of the store's error document says otherwise, which is not read yet.
    pub unread_error: Option<Refusal>,
    /// All of the body, if its rest can be requested should it break off.
    pub rest: Option<Box<BodyRest>>,
    /// How many of the attempts were requests for the rest, which count for themselves in the metrics.
    pub continued: u8,
    /// The span of the attempt, until the head of an answer has come.
    pub span: Option<Span>,
}

/// How the body of the store's response is forwarded.
#[derive(Debug, Default)]
pub enum BodyPlan {
    /// Forward it unchanged.
    #[default]
    Pass,
    /// Forward it; a range of the object with this many bytes left, without `Content-Length`.
    PassExactly(u64),
    /// It is an error document: read for its code, up to a limit. `answer` is sent in its place.
    Replace { answer: Bytes, document: ErrorDocument },
    /// The error document was truncated, or took too long or was too long: `answer` is sent without waiting for the rest.
    Unfinished { answer: Bytes },
    /// `answer` is sent in its place with its first piece, and no byte of it.
    Cut { answer: Bytes },
}

impl BodyPlan {
    /// Whether the answer waits for the store's body, which it replaces.
    #[must_use]
    pub fn is_replacing(&self) -> bool {
        match self {
            Self::Replace { .. } => true,
            Self::Cut { answer } => !answer.is_empty(),
            Self::Pass | Self::PassExactly(_) | Self::Unfinished { .. } => false,
        }
    }
}

/// The parts of the client's request that determine the request to the store.
pub struct ClientRequest<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

impl<'a> ClientRequest<'a> {
    /// The parts of this request head.
    #[must_use]
    pub fn of(head: &'a RequestHeader) -> Self {
        Self { method: &head.method, headers: &head.headers }
    }
}

impl Context {
    /// The state of a request that begins now.
    #[must_use]
    pub fn new(in_flight: RunningRequest) -> Self {
        Self {
            started: Instant::now(),
            in_flight,
            request_id: String::new(),
            span: None,
            transport: Transport::default(),
            event: "request",
            page: Page::Other,
            user_permit: None,
            is_probe: false,
            address: None,
            aliased: None,
            object: None,
            folder: None,
            folder_opened: false,
            lists_surveys: false,
            depends_on_accept: false,
            refusal: None,
            failure: None,
            detail: None,
            ttfb: None,
            body_continued: false,
        }
    }

    /// The result of the cache lookup; `None` when the cache is bypassed.
    #[must_use]
    pub fn lookup(&self) -> Option<&Lookup> {
        self.object.as_ref()?.lookup()
    }

    /// The span of the request, for spans that are part of it.
    #[must_use]
    pub fn trace(&self) -> Option<SpanParent> {
        self.span.as_ref().map(Span::parent)
    }

    /// Sets the requested object.
    pub fn set_name(&mut self, named: &NamedObject) {
        self.address = Some(Arc::clone(&named.requested));
        self.aliased.clone_from(&named.aliased);
    }
}

impl ObjectRequest {
    /// The result of the cache lookup; `None` when the cache is bypassed.
    #[must_use]
    pub fn lookup(&self) -> Option<&Lookup> {
        self.lookup.as_ref()
    }

    /// Takes the result of the lookup out of the slot.
    pub fn take_lookup(&mut self) {
        if let Some(slot) = &self.slot {
            self.found(slot.take());
        }
    }

    /// Keeps the result of the lookup, and ends its span.
    pub fn found(&mut self, lookup: Option<Lookup>) {
        if let (Some(mut span), Some(lookup)) = (self.lookup_span.take(), &lookup) {
            span.text("s3proxy.cache", &lookup.status.to_string());
        }
        self.lookup = lookup;
    }

    /// The outcome of the cache lookup, for `Cache-Status` and the log.
    #[must_use]
    pub fn cache_status(&self) -> CacheStatus {
        self.lookup().map_or(CacheStatus::Bypass, |lookup| lookup.status)
    }

    /// From the first attempt to the head of the store's last response; `None` when no request was
    /// sent to the store for this one.
    #[must_use]
    pub fn store_time(&self) -> Option<Duration> {
        let attempts = &self.upstream.attempts;
        if attempts.made() == 0 {
            return Some(self.lookup()?.report.as_ref()?.duration);
        }
        Some(attempts.duration(Instant::now()))
    }

    /// The cached object, if the lookup returned one.
    #[must_use]
    pub fn source(&self) -> Option<&ObjectBody> {
        match &self.lookup()?.what {
            LookupResult::Object { source, .. } => Some(source),
            LookupResult::Refused(_) | LookupResult::Bypass => None,
        }
    }

    /// A request without any attempt yet.
    #[must_use]
    pub fn new(wanted: CacheRequest, client: &ClientRequest<'_>, attempts: Attempts) -> Self {
        let upstream = UpstreamState {
            ask: Ask::AsClient,
            attempts,
            chosen: None,
            asked: None,
            dialer: None,
            began: false,
            answered: false,
            status: None,
            code: None,
            request_id: None,
            permit: None,
            share: None,
            body: BodyPlan::Pass,
            unread_error: None,
            rest: None,
            continued: 0,
            span: None,
        };
        Self {
            wanted: Arc::new(wanted),
            member: None,
            selection: Selection::Whole,
            slot: None,
            lookup: None,
            lookup_span: None,
            expected: BlockCounts::default(),
            blocks: None,
            conditional: is_conditional(client.headers),
            conditions: UpstreamConditions::default(),
            upstream,
        }
    }

    /// Prepares the request to the store for a client request that bypasses the cache.
    pub fn prepare_upstream(&mut self, client: &ClientRequest<'_>) {
        // The wait for the cache and for the permit takes nothing of the time for the store.
        self.upstream.attempts.restart(Instant::now());
        self.conditions = upstream_conditions(client.method, client.headers);
        self.upstream.ask = Ask::first(client.method, client.headers, &self.conditions);
    }
}
