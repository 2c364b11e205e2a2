//! Admitting a store's response to the cache: an object is stored or freshened, a missing object is
//! cached as negative, an object that is not cached as hit-for-pass.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pingora::http::ResponseHeader;

use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::body::StoredBody;
use crate::cache::clock::now;
use crate::cache::confirmation::ConfirmedHeaders;
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::fill::{FILL_TIME, FillBuffer, Truncated};
use crate::cache::freshness::{Freshness, hit_for_pass_lifetime};
use crate::cache::inflight::Leader;
use crate::cache::memory::budget::Held;
use crate::cache::object::{Object, ObjectBody, StreamingObject};
use crate::cache::outcome::FetchOutcome;
use crate::cache::passing::{AnswerSlot, PassingObject};
use crate::cache::request::CacheRequest;
use crate::cache::stored_headers::{confirmed_headers, for_disk, lifetime_headers, own_copy};
use crate::cache::tiers::{DiskChange, SharedChange, Tiers};
use crate::cache::weight::object_weight;
use crate::response::object_head::ObjectHeads;
use crate::upstream::answer::content_length;
use crate::upstream::client::{FetchReport, StoreBody};

/// A response of the store, and the fetch that it belongs to.
pub(super) struct StoreResponse<'a> {
    pub tiers: &'a Arc<Tiers>,
    pub blocks: &'a Arc<BlockFetches>,
    pub heads: &'a ObjectHeads,
    pub request: &'a Arc<CacheRequest>,
    /// When the request was sent to the store.
    pub requested_at: SystemTime,
    pub leader: &'a Leader<FetchOutcome>,
    /// The exchange with the store.
    pub report: Arc<FetchReport>,
}

impl StoreResponse<'_> {
    /// An entry for the object.
    pub(super) fn entry(&self, freshness: Freshness, content: EntryContent) -> Arc<Entry> {
        let (key, requested_at) = (self.request.key.clone(), self.requested_at);
        let settings = Some(self.request.settings);
        let pin = match &content {
            EntryContent::Object(_) => self.request.pin(),
            _ => None,
        };
        Arc::new(Entry { key, requested_at, settings, freshness, content, pin })
    }

    /// Publishes that each request for the object goes to the store, and gives the request that led the
    /// fetch the store's answer: the headers of the whole object, of which `body` brings the bytes from
    /// a position on, up to `end` if it does not bring all.
    pub(super) fn pass_on(
        &self,
        headers: &HeaderMap,
        body: Option<(u64, StoreBody)>,
        end: Option<u64>,
    ) {
        let report = Arc::clone(&self.report);
        let (profile, content_type) = (&self.request.store.profile, &self.request.content_type);
        match self.heads.cached_head(headers, profile, content_type.as_ref()) {
            Ok(head) => {
                let length = content_length(headers);
                let answer = PassingObject::new(head, headers, length, body);
                let answer = AnswerSlot::new(answer.up_to(end.unwrap_or(u64::MAX)));
                self.leader.finish(FetchOutcome::Bypass { answer: Some(answer), report });
            }
            Err(refusal) => {
                self.leader.finish(FetchOutcome::Refused { refusal, stored_for: None, report });
            }
        }
    }

    /// Stores an entry without a body in memory if there is room for it, and removes the record on
    /// disk; with this change of the shared tier.
    fn store_marker(
        &self,
        freshness: Freshness,
        content: fn(Arc<Held>) -> EntryContent,
        shared: SharedChange,
    ) -> bool {
        let key = &self.request.key;
        match self.tiers.reserve(key, 0) {
            Some(room) => {
                let entry = self.entry(freshness, content(room.into_held()));
                self.tiers.store(self.leader, entry, DiskChange::Remove, shared)
            }
            None => {
                self.tiers.remove_from_disk(self.leader, key);
                false
            }
        }
    }

    /// Caches that the store has no such object, where one was cached if it `replaces` that. Returns for
    /// how many seconds.
    pub(super) fn cache_negative(&self, replaces: bool) -> Option<i64> {
        let lifetime = self.request.rule.negative_ttl;
        if lifetime.is_zero() {
            self.tiers.remove(self.leader, &self.request.key);
            return None;
        }
        let freshness = Freshness::for_a_while(now(), lifetime);
        let shared = SharedChange::Negative { must_hide: replaces };
        let stored = self.store_marker(freshness, EntryContent::Negative, shared);
        stored.then(|| freshness.ttl(now()))
    }

    /// Caches that the object is not cached: requests bypass the cache without waiting for a fetch.
    pub(super) fn hit_for_pass(&self) {
        let lifetime = hit_for_pass_lifetime(&self.request.rule);
        let freshness = Freshness::for_a_while(now(), lifetime);
        let shared = SharedChange::Hide { must_hide: false };
        self.store_marker(freshness, EntryContent::HitForPass, shared);
    }

    /// The store no longer gives the gateway access to the object: the stored one is not served before
    /// the store confirms it again, not even if the store fails.
    pub(super) fn invalidate(&self, entry: &Entry) {
        let entry = self.entry(entry.freshness.invalidated(), entry.content.clone());
        let shared = SharedChange::Hide { must_hide: true };
        self.tiers.store(self.leader, entry, DiskChange::Remove, shared);
    }

    /// The store has confirmed the body of the stored object, which gets a new lifetime and the headers
    /// of the answer (RFC 9111, section 4.3.4).
    pub(super) fn freshen(&self, entry: &Entry, source: &ObjectBody, answer: &ConfirmedHeaders) {
        self.tiers.statistics().revalidated.inc();
        let profile = &self.request.store.profile;
        let headers = own_copy(&confirmed_headers(source, answer, now()));
        let content_type = self.request.content_type.as_ref();
        let head = match self.heads.cached_head(&headers, profile, content_type) {
            Ok(head) => head,
            Err(refusal) => {
                self.invalidate(entry);
                let report = Arc::clone(&self.report);
                let refused = FetchOutcome::Refused { refusal, stored_for: None, report };
                return self.leader.finish(refused);
            }
        };
        let (source, change) = match source.with_head(head, lifetime_headers(&headers)) {
            None => (source.clone(), DiskChange::Freshen),
            Some(source) => {
                let change = self.write_again(&headers, &source);
                (source, change)
            }
        };
        let (freshness, stored) = match Freshness::of_object(&headers, &self.request.rule, now()) {
            Some(freshness) => {
                let content = source.content().unwrap_or_else(|| entry.content.clone());
                let entry = self.entry(freshness, content);
                let shared = self.shared_write(&headers, &source);
                (freshness, self.tiers.store(self.leader, entry, change, shared))
            }
            None => {
                self.hit_for_pass();
                (entry.freshness, false)
            }
        };
        let (arriving, report) = (None, Arc::clone(&self.report));
        self.leader.finish(FetchOutcome::Object { source, freshness, arriving, stored, report });
    }

    /// The change on disk for an object whose headers have changed, and not its body.
    fn write_again(&self, headers: &HeaderMap, source: &ObjectBody) -> DiskChange {
        let body = match source {
            ObjectBody::Stored(object) if self.tiers.disk_takes(object.body.len()) => {
                object.body.clone()
            }
            ObjectBody::Blocks(_) => StoredBody::default(),
            ObjectBody::Stored(_)
            | ObjectBody::Streaming(_)
            | ObjectBody::Passing(_)
            | ObjectBody::Member(_) => {
                return DiskChange::Remove;
            }
        };
        DiskChange::Write { headers: for_disk(headers, &self.request.store.profile), body }
    }

    /// The change of the shared tier for an object that the store has confirmed.
    fn shared_write(&self, headers: &HeaderMap, source: &ObjectBody) -> SharedChange {
        let body = match source {
            ObjectBody::Stored(object) => object.body.clone(),
            ObjectBody::Blocks(_) => StoredBody::default(),
            ObjectBody::Streaming(_) | ObjectBody::Passing(_) | ObjectBody::Member(_) => {
                return SharedChange::None;
            }
        };
        self.share(headers, body)
    }

    /// The change of the shared tier for an object with these headers and this body.
    fn share(&self, headers: &HeaderMap, body: StoredBody) -> SharedChange {
        if self.tiers.shares(&self.request.key, body.len()) {
            SharedChange::Write { headers: for_disk(headers, &self.request.store.profile), body }
        } else {
            SharedChange::None
        }
    }

    /// Admits a page of a listing. It is read to its end before, since stores send it in chunks; what
    /// the headers of the store say about caching is meant for objects.
    pub(super) fn admit_listing(&self, document: Bytes) {
        let (tiers, key) = (self.tiers, &self.request.key);
        let freshness = Freshness::of_object(&HeaderMap::new(), &self.request.rule, now());
        let head = listing_head();
        let weight = |head| object_weight(head, &HeaderMap::new(), document.len() as u64);
        let room = head.as_ref().and_then(|head| tiers.reserve(key, weight(head)));
        let (Some(freshness), Some(head), Some(room)) = (freshness, head, room) else {
            tiers.statistics().no_room.inc();
            let report = Arc::clone(&self.report);
            return self.leader.finish(FetchOutcome::Bypass { answer: None, report });
        };
        let (lifetime, body) = (HeaderMap::new(), StoredBody::from_bytes(document));
        let shared = self.share(&lifetime, body.clone());
        let object = Arc::new(Object::of(&head, &lifetime, body, room.into_held()));
        let (arriving, report) = (None, Arc::clone(&self.report));
        let entry = self.entry(freshness, EntryContent::Object(Arc::clone(&object)));
        let stored = tiers.store(self.leader, entry, DiskChange::None, shared);
        let source = ObjectBody::Stored(object);
        self.leader.finish(FetchOutcome::Object { source, freshness, arriving, stored, report });
    }

    /// Admits a whole object: followers read it while it arrives, and at its end it is stored.
    pub(super) async fn admit_whole(&self, headers: &HeaderMap, body: StoreBody) {
        let (tiers, request) = (self.tiers, self.request);
        let profile = &request.store.profile;
        let headers = &own_copy(headers);
        let freshness = Freshness::of_object(headers, &request.rule, now());
        let is_stored =
            |length: &u64| *length <= tiers.max_whole(&request.rule) && tiers.takes_object(*length);
        let length = content_length(headers).filter(is_stored);
        let (Some(freshness), Some(length)) = (freshness, length) else {
            self.hit_for_pass();
            return self.pass_on(headers, Some((0, body)), None);
        };
        let report = Arc::clone(&self.report);
        let head = match self.heads.cached_head(headers, profile, request.content_type.as_ref()) {
            Ok(head) => head,
            Err(refusal) => {
                let refused = FetchOutcome::Refused { refusal, stored_for: None, report };
                return self.leader.finish(refused);
            }
        };
        let lifetime = lifetime_headers(headers);
        let weight = object_weight(&head, &lifetime, length);
        let room = tiers.reserve_soon(&request.key, weight).await;
        let Some(room) = room else {
            tiers.statistics().no_room.inc();
            return self.pass_on(headers, Some((0, body)), None);
        };
        let fill = FillBuffer::new(length, Arc::clone(room.held()));
        let streaming = Arc::new(StreamingObject { head, lifetime, fill });
        let source = ObjectBody::Streaming(Arc::clone(&streaming));
        let (arriving, stored) = (None, true);
        self.leader.publish(FetchOutcome::Object { source, freshness, arriving, stored, report });
        let ending = FillGuard { fill: &streaming.fill, leader: self.leader };
        let filled = tokio::time::timeout(FILL_TIME, fill_from(body, ending.fill)).await;
        let Ok(Ok(body)) = filled else {
            drop(ending);
            tiers.statistics().cut_fills.inc();
            return;
        };
        let held = room.into_held();
        let change = if tiers.disk_takes(length) {
            DiskChange::Write { headers: for_disk(headers, profile), body: body.clone() }
        } else {
            DiskChange::Remove
        };
        let shared = self.share(headers, body.clone());
        let object = Object::of(&streaming.head, &streaming.lifetime, body, held);
        let entry = self.entry(freshness, EntryContent::Object(Arc::new(object)));
        tiers.store(self.leader, entry, change, shared);
        self.leader.detach();
        streaming.fill.end();
    }
}

/// The head of a page of a listing.
pub(super) fn listing_head() -> Option<ResponseHeader> {
    ResponseHeader::build_no_case(StatusCode::OK, None).ok()
}

/// Fills a buffer from a body, to its end.
async fn fill_from(mut body: StoreBody, fill: &FillBuffer) -> Result<StoredBody, Truncated> {
    loop {
        match body.next().await {
            Ok(Some(bytes)) => fill.push(bytes)?,
            Ok(None) => return fill.complete(),
            Err(_) => return Err(Truncated),
        }
    }
}

/// Fails a fill that ends early, after the fetch is detached: no request follows a failed fetch.
struct FillGuard<'a> {
    fill: &'a FillBuffer,
    leader: &'a Leader<FetchOutcome>,
}

impl Drop for FillGuard<'_> {
    fn drop(&mut self) {
        if self.fill.is_filling() {
            self.leader.detach();
            self.fill.fail();
        }
    }
}
