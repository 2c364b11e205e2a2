//! The fetches of objects: which objects are in flight, and one fetch, which looks on disk and in the
//! shared tier, then asks the store.

mod lower_tiers;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cache::admit::StoreResponse;
use crate::cache::blocks::BodyRange;
use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::blocks::layout::widened;
use crate::cache::blocks::version::Version;
use crate::cache::clock::now;
use crate::cache::entry::Entry;
use crate::cache::fetch::lower_tiers::SharedFetch;
use crate::cache::inflight::{Fetch, InFlightFetches, Leader, Role};
use crate::cache::key::CacheKey;
use crate::cache::memory::pins::Pin;
use crate::cache::object::ObjectBody;
use crate::cache::outcome::FetchOutcome;
use crate::cache::purge::pending::Purge;
use crate::cache::request::{CacheRequest, Extent};
use crate::cache::revalidate::{Revalidated, revalidate};
use crate::cache::stored_headers::whole_length;
use crate::cache::tiers::Tiers;
use crate::profile::cache_rules::Rule;
use crate::response::object_head::ObjectHeads;
use crate::response::refusal::Refusal;
use crate::trace::span::SpanParent;
use crate::upstream::answer::content_length;
use crate::upstream::client::{
    FetchReport, FetchRequest, FetchResponse, FetchResult, StoreBody, StoreClient,
};

/// The fetches of objects and blocks.
#[derive(Debug)]
pub(super) struct Fetches {
    tiers: Arc<Tiers>,
    blocks: Arc<BlockFetches>,
    in_flight: Arc<InFlightFetches<FetchOutcome>>,
    client: Arc<StoreClient>,
    heads: Arc<ObjectHeads>,
    /// Permits of revalidations in the background.
    revalidations: Arc<Semaphore>,
}

/// How a request gets an object that is not in memory or not fresh.
pub(super) enum Join {
    /// From a fetch in flight: its own or, if it `follows`, that of another request.
    Fetch { fetch: Arc<Fetch<FetchOutcome>>, follows: bool },
    /// A fetch that ended a moment ago has stored it.
    Cached(Arc<Entry>),
    /// The request bypasses the cache.
    Bypass,
}

impl Fetches {
    /// No fetches yet; at most `revalidations` at once are made in the background.
    #[must_use]
    pub(super) fn new(
        tiers: &Arc<Tiers>,
        client: Arc<StoreClient>,
        heads: Arc<ObjectHeads>,
        revalidations: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            tiers: Arc::clone(tiers),
            blocks: BlockFetches::new(Arc::clone(tiers), Arc::clone(&client)),
            in_flight: Arc::default(),
            client,
            heads,
            revalidations: Arc::new(Semaphore::new(revalidations)),
        })
    }

    /// The fetches of blocks.
    #[must_use]
    pub(super) fn blocks(&self) -> &Arc<BlockFetches> {
        &self.blocks
    }

    /// The number of objects in flight.
    #[must_use]
    pub(super) fn count(&self) -> u64 {
        self.in_flight.count() as u64
    }

    /// Detaches the fetches of objects and blocks that a purge covers: they store nothing more.
    pub(super) fn purge(&self, purge: &Purge) {
        self.in_flight.purge(|key, began| purge.covers(key.object(), began));
        self.blocks.purge(purge);
    }

    /// Whether the object with this key is being fetched.
    #[must_use]
    pub(super) fn is_in_flight(&self, key: &CacheKey) -> bool {
        self.in_flight.get(key).is_some()
    }

    /// Whether the request is not worth a fetch of the cache: where blocks are not cached, requests
    /// for less than a whole object go to the store.
    #[must_use]
    pub(super) fn is_not_worth_a_fetch(&self, request: &CacheRequest) -> bool {
        request.extent != Extent::Whole && !self.tiers.blocks().are_cached()
    }

    /// A fetch is usable for a request with the same settings, unless a purge came after its beginning.
    fn is_usable(&self, request: &CacheRequest, fetch: &Fetch<FetchOutcome>) -> bool {
        fetch.settings == Some(request.settings) && !self.tiers.is_purged(&request.key, fetch.began)
    }

    /// Follows the fetch of an object, or begins one. `old` is the entry in memory, which is not
    /// usable without the store.
    pub(super) fn join(
        self: &Arc<Self>,
        request: &Arc<CacheRequest>,
        old: Option<&Arc<Entry>>,
    ) -> Join {
        // What the store has said already is no answer to a client that has it asked again.
        let usable = |fetch: &Fetch<FetchOutcome>| {
            self.is_usable(request, fetch) && !(request.no_cache && fetch.is_published())
        };
        if self.is_not_worth_a_fetch(request) && old.is_none() && !self.tiers.has_lower_tier() {
            // It may still follow a fetch in flight.
            let fetch = self.in_flight.get(&request.key).filter(|fetch| usable(fetch));
            return fetch.map_or(Join::Bypass, |fetch| Join::Fetch { fetch, follows: true });
        }
        let newer = || {
            let entry = self.tiers.lookup(request)?;
            let is_new = old.is_none_or(|old| !Arc::ptr_eq(old, &entry));
            (is_new && entry.is_fresh(now())).then_some(entry)
        };
        let (key, settings, trace) = (&request.key, Some(request.settings), next_span(request));
        match self.in_flight.join(key, now(), settings, trace, usable, newer) {
            Err(entry) => Join::Cached(entry),
            Ok(Role::Follow(fetch)) => Join::Fetch { fetch, follows: true },
            Ok(Role::Lead(leader)) => {
                let fetch = Arc::clone(leader.fetch());
                self.begin(Arc::clone(request), old.cloned(), leader, None);
                Join::Fetch { fetch, follows: false }
            }
        }
    }

    /// Revalidates a stale object in the background, unless its fetch is in flight or all permits are
    /// taken.
    pub(super) fn revalidate(self: &Arc<Self>, request: &Arc<CacheRequest>, entry: &Arc<Entry>) {
        if let Ok(permit) = Arc::clone(&self.revalidations).try_acquire_owned() {
            self.revalidate_with(request, entry, permit);
        }
    }

    /// Revalidates a pinned object in the background before it becomes stale. Returns false if all permits
    /// are taken.
    pub(super) fn refresh(self: &Arc<Self>, pin: &Pin, entry: &Arc<Entry>) -> bool {
        let Ok(permit) = Arc::clone(&self.revalidations).try_acquire_owned() else { return false };
        pin.note_attempt();
        self.tiers.statistics().pinned_refreshes.inc();
        // With the newest access key.
        let request = pin.request.pin().unwrap_or_else(|| Arc::clone(&pin.request));
        self.revalidate_with(&request, entry, permit);
        true
    }

    /// Asks a store that fails again, by the revalidation of this object in the background, unless
    /// another request does or did so a moment ago.
    pub(super) fn probe(self: &Arc<Self>, request: &Arc<CacheRequest>, entry: &Arc<Entry>) {
        if let Some(permit) = request.store.outage.probe(Instant::now()) {
            self.revalidate_with(request, entry, permit);
        }
    }

    fn revalidate_with(
        self: &Arc<Self>,
        request: &Arc<CacheRequest>,
        entry: &Arc<Entry>,
        permit: OwnedSemaphorePermit,
    ) {
        let usable = |fetch: &Fetch<FetchOutcome>| self.is_usable(request, fetch);
        let newer = || {
            let newer = self.tiers.peek_for(request)?;
            (!Arc::ptr_eq(entry, &newer)).then_some(())
        };
        let (key, settings, trace) = (&request.key, Some(request.settings), next_span(request));
        let role = self.in_flight.join(key, now(), settings, trace, usable, newer);
        if let Ok(Role::Lead(leader)) = role {
            self.begin(Arc::clone(request), Some(Arc::clone(entry)), leader, Some(permit));
        }
    }

    /// Fetches in a task of its own, which does not end when clients leave.
    fn begin(
        self: &Arc<Self>,
        request: Arc<CacheRequest>,
        old: Option<Arc<Entry>>,
        leader: Leader<FetchOutcome>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let fetches = Arc::clone(self);
        let span = request.trace.as_ref().zip(leader.fetch().trace.as_ref());
        let span = span.and_then(|(parent, own)| parent.begin(own, "fetch"));
        let _runs_on = tokio::spawn(async move {
            fetches.fetch(&request, old, &leader).await;
            if let Some(mut span) = span {
                leader.fetch().describe(&mut span);
            }
            if let Some(_until_the_end) = permit {
                let fetch = Arc::clone(leader.fetch());
                drop(leader);
                fetches.count_revalidation(fetch.outcome().await.as_ref());
            }
        });
    }

    fn count_revalidation(&self, outcome: Option<&FetchOutcome>) {
        let statistics = self.tiers.statistics();
        let counter = match outcome {
            Some(FetchOutcome::Refused { refusal, .. }) if refusal.is_fault() => {
                &statistics.refresh_failures
            }
            None => &statistics.refresh_failures,
            Some(_) => &statistics.refreshes,
        };
        counter.inc();
    }

    async fn fetch(
        self: &Arc<Self>,
        request: &Arc<CacheRequest>,
        old: Option<Arc<Entry>>,
        leader: &Leader<FetchOutcome>,
    ) {
        let tiers = &self.tiers;
        let on_disk = if old.is_none() { self.read_from_disk(request).await } else { None };
        let at_hand = old.as_ref().or(on_disk.as_ref());
        // Another replica may have what this one would ask the store for.
        let asks_others = tiers.has_shared()
            && !request.no_cache
            && at_hand.is_none_or(|entry| !entry.is_fresh(now()));
        let lease = if asks_others {
            let span = leader.fetch().trace.as_ref().and_then(|trace| trace.part("shared tier"));
            let asked = self.ask_replicas(request, at_hand.is_some(), on_disk.is_none()).await;
            drop(span.map(|span| asked.described(span)));
            match asked {
                SharedFetch::Found(entry) => {
                    return self.found(leader, entry, FetchOutcome::FromShared);
                }
                SharedFetch::Store(lease) => lease,
            }
        } else {
            None
        };
        if let Some(entry) = on_disk {
            return self.found(leader, entry, FetchOutcome::FromDisk);
        }
        if old.is_none() && self.is_not_worth_a_fetch(request) {
            return leader.finish(FetchOutcome::NotCached);
        }
        let old = old.and_then(|entry| entry.source().map(|source| (entry, source)));
        let requested_at = now();
        let (store, target) = (&request.store, request.target());
        let trace = leader.fetch().trace.as_ref();
        if request.is_listing {
            let prefix = &request.address.key;
            let (report, outcome) = self.client.list(store, target, prefix, trace.cloned()).await;
            let response = self.response(request, requested_at, leader, report);
            match outcome {
                Ok(document) => response.admit_listing(document),
                Err(refusal) => self.refused(response, refusal, old),
            }
            return;
        }
        let response_with = |report| self.response(request, requested_at, leader, report);
        let (question, FetchResult { report, outcome }) = match &old {
            Some((entry, source)) => match revalidate(&self.client, request, source, trace).await {
                Revalidated::Confirmed { headers, report } => {
                    return response_with(report).freshen(entry, source, &headers);
                }
                Revalidated::Answered(question, fetched) => (question, *fetched),
            },
            None => self.ask_first(request, trace).await,
        };
        let response = response_with(report);
        match (outcome, old) {
            (Ok(FetchResponse::Object { status, headers, body }), _) => {
                let length = content_length(&headers);
                let is_shared = status == StatusCode::OK
                    && length.is_some_and(|length| tiers.shares(&request.key, length));
                // Others do not wait for the end of what they will not get.
                let _until_stored = lease.filter(|_| is_shared);
                self.admit(response, &question, status, &headers, body).await;
            }
            // The request allows no such response.
            (Ok(FetchResponse::NotModified(_)), _) => {
                refuse(response, Refusal::UpstreamProtocol, None);
            }
            (Err(refusal), old) => self.refused(response, refusal, old),
        }
    }

    fn response<'a>(
        &'a self,
        request: &'a Arc<CacheRequest>,
        requested_at: SystemTime,
        leader: &'a Leader<FetchOutcome>,
        report: FetchReport,
    ) -> StoreResponse<'a> {
        StoreResponse {
            tiers: &self.tiers,
            blocks: &self.blocks,
            heads: &self.heads,
            request,
            requested_at,
            leader,
            report: Arc::new(report),
        }
    }

    /// The store has refused the request: a missing object is cached as negative, one that the store
    /// denies is not served again.
    fn refused(
        &self,
        response: StoreResponse<'_>,
        refusal: Refusal,
        old: Option<(Arc<Entry>, ObjectBody)>,
    ) {
        let stored_for = match (&refusal, old) {
            (Refusal::ObjectNotFound, old) => {
                let replaces = old.is_some();
                if let Some((_, ObjectBody::Blocks(blocks))) = old {
                    let StoreResponse { request, .. } = &response;
                    self.tiers.drop_version(&request.key, &blocks, request.settings);
                }
                response.cache_negative(replaces)
            }
            (Refusal::UpstreamForbidden | Refusal::ListingDenied, Some((entry, _))) => {
                response.invalidate(&entry);
                None
            }
            _ => None,
        };
        refuse(response, refusal, stored_for);
    }

    /// Admits an object, by the request and the status of the response.
    async fn admit(
        &self,
        response: StoreResponse<'_>,
        question: &FetchRequest,
        status: StatusCode,
        headers: &HeaderMap,
        body: StoreBody,
    ) {
        let max_object = self.tiers.max_object(&response.request.rule);
        if question.head_only {
            return response.admit_head(headers);
        }
        let is_range = question.range.is_some();
        match (status, content_length(headers)) {
            (StatusCode::OK, length) if is_range && length.is_none_or(|it| it > max_object) => {
                // A store that does not support ranges has no blocks.
                response.hit_for_pass();
                response.pass_on(headers, Some((0, body)), None);
            }
            (StatusCode::OK, _) => self.admit_object(response, headers, body).await,
            _ if is_range && self.is_small_without_version(headers, &response.request.rule) => {
                // It can only be stored whole.
                drop(body);
                self.fetch_whole(response).await;
            }
            _ if is_range => response.admit_range(headers, body).await,
            // The request allows no such response.
            _ => refuse(response, Refusal::UpstreamProtocol, None),
        }
    }

    /// Fetches all of an object of which a range was fetched.
    async fn fetch_whole(&self, response: StoreResponse<'_>) {
        let (store, target) = (&response.request.store, response.request.target());
        let question = FetchRequest::of(response.leader.fetch().trace.as_ref());
        let FetchResult { report, outcome } =
            self.client.fetch_resumable(store, target, &question).await;
        let response = StoreResponse { report: Arc::new(report), ..response };
        match outcome {
            Ok(FetchResponse::Object { status: StatusCode::OK, headers, body }) => {
                self.admit_object(response, &headers, body).await;
            }
            Ok(_) => {
                let StoreResponse { leader, report, .. } = response;
                leader.finish(FetchOutcome::Bypass { answer: None, report });
            }
            Err(refusal) => refuse(response, refusal, None),
        }
    }

    /// Admits a whole object: in blocks if it is too large otherwise.
    async fn admit_object(
        &self,
        response: StoreResponse<'_>,
        headers: &HeaderMap,
        body: StoreBody,
    ) {
        let length = content_length(headers);
        let too_large = length.filter(|it| *it > self.tiers.max_object(&response.request.rule));
        let in_blocks = too_large.filter(|length| {
            self.tiers.blocks().are_cached() && Version::of(headers, *length).is_some()
        });
        match in_blocks {
            Some(length) => {
                let range = BodyRange { bytes: 0..length, body };
                response.admit_blocks(headers, length, Some(range));
            }
            None => response.admit_whole(headers, body).await,
        }
    }

    fn is_small_without_version(&self, headers: &HeaderMap, rule: &Rule) -> bool {
        let max_whole = self.tiers.max_whole(rule);
        Version::of(headers, 0).is_none() && whole_length(headers).is_some_and(|it| it <= max_whole)
    }

    /// Asks the store for an object of which nothing is cached.
    async fn ask_first(
        &self,
        request: &CacheRequest,
        trace: Option<&SpanParent>,
    ) -> (FetchRequest, FetchResult) {
        let (store, target) = (&request.store, request.target());
        let mut question = FetchRequest { trace: trace.cloned(), ..self.first_request(request) };
        let mut fetched = self.client.fetch_resumable(store, target, &question).await;
        if let (Err(Refusal::RangeNotSatisfiable(_)), Some(_)) = (&fetched.outcome, question.range)
        {
            // Conditions come before ranges, so the head is needed.
            question = FetchRequest { head_only: true, ..FetchRequest::of(trace) };
            fetched = self.client.fetch(store, target, &question).await;
        }
        (question, fetched)
    }

    /// The request to the store for an object of which nothing is cached.
    fn first_request(&self, request: &CacheRequest) -> FetchRequest {
        match request.extent {
            Extent::Range(range) => {
                let limits = self.tiers.blocks();
                // No more than the range if its blocks could not be stored.
                let size = if self.tiers.stores_block(limits.size()) { limits.size() } else { 1 };
                FetchRequest { range: Some(widened(range, size)), ..FetchRequest::default() }
            }
            Extent::Whole => FetchRequest::default(),
            Extent::Head => FetchRequest { head_only: true, ..FetchRequest::default() },
        }
    }
}

/// The span of a fetch for this request, if it leads one.
fn next_span(request: &CacheRequest) -> Option<SpanParent> {
    request.trace.as_ref().map(SpanParent::next)
}

/// Ends the fetch with a refusal that is cached for `stored_for` seconds, if at all.
fn refuse(response: StoreResponse<'_>, refusal: Refusal, stored_for: Option<i64>) {
    let StoreResponse { leader, report, .. } = response;
    leader.finish(FetchOutcome::Refused { refusal, stored_for, report });
}
