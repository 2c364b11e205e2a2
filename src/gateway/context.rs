//! What the gateway remembers of one request from hook to hook.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::cache::{BlockCounter, CacheRequest, Lookup, LookupResult, ObjectBody};
use crate::downstream::drain::InFlight;
use crate::downstream::limits::UserRequest;
use crate::gateway::storage::LookupSlot;
use crate::metrics::Page;
use crate::protocol::cache_status::{BlockCounts, CacheStatus};
use crate::protocol::forwarded_conditions::{UpstreamConditions, upstream_conditions};
use crate::protocol::selection::Serving;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::upstream::admission::Permit;
use crate::upstream::answer::{Ask, is_conditional};

/// The memory of one request.
#[derive(Debug)]
pub struct Context {
    pub started: Instant,
    /// BlockCounter this request as running until it is dropped.
    pub in_flight: InFlight,
    /// Taken from the client or made, in `early_request_filter`.
    pub request_id: String,
    pub event: &'static str,
    pub page: Page,
    /// BlockCounter this request as its user's until it is dropped.
    pub of_user: Option<UserRequest>,
    /// Only debug lines are due: a probe.
    pub quiet: bool,
    /// What the client named, once it was understood.
    pub address: Option<Arc<ObjectAddress>>,
    pub object: Option<Box<ObjectRequest>>,
    /// Why there is no object for the client.
    pub refusal: Option<Refusal>,
    /// What went wrong after the answer had begun, or with the client.
    pub failure: Option<&'static str>,
    pub detail: Option<String>,
    /// From the start to the head of the answer.
    pub ttfb: Option<Duration>,
}

/// A request for an object that may be asked of its store.
#[derive(Debug)]
pub struct ObjectRequest {
    pub wanted: Arc<CacheRequest>,
    /// The way of what the cache has to say, where it is asked, and where that ends.
    pub told: Option<Arc<LookupSlot>>,
    pub found: Option<Lookup>,
    /// Where the blocks of the answer were expected to come from when it began, and where they came
    /// from.
    pub expected: BlockCounts,
    pub blocks: Option<Arc<BlockCounter>>,
    /// What of an object in the cache the client gets.
    pub serving: Serving,
    /// Whether the client set any condition.
    pub conditional: bool,
    pub conditions: UpstreamConditions,
    pub upstream: UpstreamState,
}

/// How far asking the store has come.
#[derive(Debug)]
pub struct UpstreamState {
    pub ask: Ask,
    pub started: Instant,
    /// When the head of the last answer came, or the last attempt failed.
    pub ended: Option<Instant>,
    pub attempts: u8,
    /// Times the store was asked in another way.
    pub asks: u8,
    /// Attempts after a failure; asking in another way is not one.
    pub retries: u8,
    /// Where the last attempt went.
    pub socket: Option<SocketAddr>,
    /// A pause is due before the next attempt.
    pub pause: bool,
    pub status: Option<u16>,
    pub code: Option<String>,
    pub request_id: Option<String>,
    /// The place of this request among those to the store.
    pub slot: Option<Permit>,
    pub body: BodyPlan,
}

/// What becomes of the store's body.
#[derive(Debug, Default)]
pub enum BodyPlan {
    /// It is the object's.
    #[default]
    Pass,
    /// It is a part of the object that has so many bytes left to come.
    PassExactly(u64),
    /// It is an error document: read, at most a little, for its code, while `answer` takes its place.
    Replace { answer: Bytes, document: Vec<u8> },
    /// `answer` takes its place at once and the rest is left unread.
    Cut { answer: Bytes },
}

/// What the client sent, as far as it decides how the store is asked.
pub struct Client<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

impl Context {
    /// What the cache told, where it was asked.
    #[must_use]
    pub fn found(&self) -> Option<&Lookup> {
        self.object.as_ref()?.found()
    }
}

impl ObjectRequest {
    /// What the cache told, where it was asked.
    #[must_use]
    pub fn found(&self) -> Option<&Lookup> {
        self.found.as_ref()
    }

    /// Takes up what the cache told.
    pub fn hear(&mut self) {
        if let Some(told) = &self.told {
            self.found = told.take();
        }
    }

    /// What the cache did.
    #[must_use]
    pub fn cache_status(&self) -> CacheStatus {
        self.found().map_or(CacheStatus::Bypass, |found| found.status)
    }

    /// From the first attempt to the head of the store's last answer, where the store was asked for
    /// this request.
    #[must_use]
    pub fn store_time(&self) -> Option<Duration> {
        let UpstreamState { attempts, started, ended, .. } = self.upstream;
        if attempts == 0 {
            return Some(self.found()?.report.as_ref()?.duration);
        }
        let ended = ended.unwrap_or_else(Instant::now);
        Some(ended.saturating_duration_since(started))
    }

    /// The object in the cache, where there is one.
    #[must_use]
    pub fn source(&self) -> Option<&ObjectBody> {
        match &self.found()?.what {
            LookupResult::Object { source, .. } => Some(source),
            LookupResult::Refused(_) | LookupResult::Bypass => None,
        }
    }

    /// A request that no store was asked yet.
    #[must_use]
    pub fn new(wanted: CacheRequest, client: &Client<'_>, now: Instant) -> Self {
        let upstream = UpstreamState {
            ask: Ask::AsClient,
            started: now,
            ended: None,
            attempts: 0,
            asks: 0,
            retries: 0,
            socket: None,
            pause: false,
            status: None,
            code: None,
            request_id: None,
            slot: None,
            body: BodyPlan::Pass,
        };
        Self {
            wanted: Arc::new(wanted),
            serving: Serving::Whole,
            told: None,
            found: None,
            expected: BlockCounts::default(),
            blocks: None,
            conditional: is_conditional(client.headers),
            conditions: UpstreamConditions::default(),
            upstream,
        }
    }

    /// Decides how the store is asked for this request alone.
    pub fn pass(&mut self, client: &Client<'_>) {
        // Waiting for the cache takes nothing of the time the store has.
        self.upstream.started = Instant::now();
        self.conditions = upstream_conditions(client.method, client.headers);
        self.upstream.ask = Ask::first(client.method, client.headers, &self.conditions);
    }
}
