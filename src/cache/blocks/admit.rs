//! Admitting a response about an object in blocks: its head is stored, and the blocks that the body
//! fills.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue};

use crate::cache::admit::StoreResponse;
use crate::cache::blocks::arrival::Arrivals;
use crate::cache::blocks::object::Blocks;
use crate::cache::blocks::range_fetch::RangeFetch;
use crate::cache::blocks::reserve::{BlockLookup, BlockRange, BlockReservation};
use crate::cache::blocks::version::Version;
use crate::cache::body::StoredBody;
use crate::cache::clock::now;
use crate::cache::entry::EntryContent;
use crate::cache::freshness::Freshness;
use crate::cache::object::ObjectBody;
use crate::cache::outcome::FetchOutcome;
use crate::cache::stored_headers::{for_disk, lifetime_headers, own_copy, whole_length};
use crate::cache::tiers::DiskChange;
use crate::cache::weight::head_weight;
use crate::protocol::range::ContentRange;
use crate::upstream::admission::QueueTimeout;
use crate::upstream::answer::content_length;
use crate::upstream::client::StoreBody;

/// A body that came with the head, and which bytes of the object it has.
pub(in crate::cache) struct BodyRange {
    pub bytes: Range<u64>,
    pub body: StoreBody,
}

impl StoreResponse<'_> {
    /// Admits a response to HEAD.
    pub(in crate::cache) fn admit_head(&self, headers: &HeaderMap) {
        match content_length(headers) {
            Some(length) => self.admit_blocks(headers, length, None),
            None => self.bypass(),
        }
    }

    /// Admits a response with a range (206): as a whole object if it has all of a small one.
    pub(in crate::cache) async fn admit_range(&self, headers: &HeaderMap, body: StoreBody) {
        let range = headers.get(CONTENT_RANGE).and_then(ContentRange::parse);
        let (Some(ContentRange::Part { first, last, .. }), Some(length)) =
            (range, whole_length(headers))
        else {
            return self.bypass();
        };
        let mut whole = headers.clone();
        whole.remove(CONTENT_RANGE);
        whole.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let bytes = first..last.saturating_add(1);
        if bytes == (0..length) && length <= self.tiers.max_object(&self.request.rule) {
            return self.admit_whole(&whole, body).await;
        }
        self.admit_blocks(&whole, length, Some(BodyRange { bytes, body }));
    }

    /// Stores the head of an object of `length` bytes, and begins to fill blocks from the body.
    pub(in crate::cache) fn admit_blocks(
        &self,
        headers: &HeaderMap,
        length: u64,
        range: Option<BodyRange>,
    ) {
        let (tiers, request, report) = (self.tiers, self.request, Arc::clone(&self.report));
        let profile = &request.store.profile;
        let headers = &own_copy(headers);
        let Some(freshness) = Freshness::of_object(headers, &request.rule, now()) else {
            self.hit_for_pass();
            return self.bypass();
        };
        let version = Version::of(headers, length).filter(|_| tiers.blocks().are_cached());
        let Some(version) = version else {
            if length > tiers.max_whole(&request.rule) {
                self.hit_for_pass();
            }
            return self.bypass();
        };
        let head = match self.heads.cached_head(headers, profile, request.content_type.as_ref()) {
            Ok(head) => head,
            Err(refusal) => {
                let refused = FetchOutcome::Refused { refusal, stored_for: None, report };
                return self.leader.publish(refused);
            }
        };
        let Some(room) = tiers.reserve(&request.key, head_weight(&head)) else {
            tiers.statistics().no_room.inc();
            return self.bypass();
        };
        let (lifetime, size) = (lifetime_headers(headers), tiers.blocks().size());
        let blocks = Arc::new(Blocks::new(head, lifetime, version, size, room.into_held()));
        let old = tiers.replaced_version(&request.key);
        let old = old.filter(|old| old.version != blocks.version);
        let reservations = range.as_ref().map(|range| self.reserve_blocks(&blocks, &range.bytes));
        let reservations = reservations.unwrap_or_default();
        let arriving = reservations.front().map(|first| {
            let fetches = reservations.iter().map(|it| Arc::clone(it.fetch()));
            Arrivals::new(first.index, fetches.collect())
        });
        let change = if tiers.has_disk() {
            DiskChange::Write { headers: for_disk(headers, profile), body: StoredBody::default() }
        } else {
            DiskChange::None
        };
        let entry = self.entry(freshness, EntryContent::Blocks(Arc::clone(&blocks)));
        let stored = tiers.store(self.leader, entry, change);
        if let Some(old) = old.filter(|_| stored) {
            tiers.drop_version(&request.key, &old);
        }
        let source = ObjectBody::Blocks(Arc::clone(&blocks));
        // Later requests find the head in memory.
        self.leader.finish(FetchOutcome::Object { source, freshness, arriving, stored, report });
        if let Some(range) = range.filter(|_| !reservations.is_empty()) {
            let (fetches, request) = (Arc::clone(self.blocks), Arc::clone(request));
            let queue_timeout = QueueTimeout::Short;
            let fetch = RangeFetch { fetches, request, blocks, reservations, queue_timeout };
            let requested_at = self.requested_at;
            let _runs_on =
                tokio::spawn(async move { fetch.fill_blocks(range.body, requested_at).await });
        }
    }

    /// Reserves the blocks that a body with these bytes fills, up to the first that is cached, in
    /// flight, or has no room.
    fn reserve_blocks(&self, blocks: &Blocks, body: &Range<u64>) -> VecDeque<BlockReservation> {
        let layout = blocks.layout;
        let first = layout.index(body.start);
        let most = (self.tiers.blocks().max_request() / layout.size).max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut reservations = VecDeque::new();
        for index in layout.touched(body).take(most) {
            let bytes = layout.bytes(index);
            let from = if index == first { body.start - bytes.start } else { 0 };
            if bytes.end > body.end {
                break;
            }
            let requested_at = self.requested_at;
            let range = BlockRange { first: from, from, requested_at, evicts: true };
            match self.blocks.lookup(self.request, blocks, index, range) {
                BlockLookup::Reserved(reservation) => reservations.push_back(reservation),
                BlockLookup::Cached(_) | BlockLookup::InFlight(_) | BlockLookup::NoRoom => break,
            }
        }
        reservations
    }
}
