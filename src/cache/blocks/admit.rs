//! Admitting a response about an object in blocks: its head is stored, and the blocks that the body
//! fills.

use std::ops::Range;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue};

use crate::cache::admit::StoreResponse;
use crate::cache::blocks::arriving_body::{ArrivingBody, BodySlot};
use crate::cache::blocks::fill_as_read::Delivery;
use crate::cache::blocks::object::Blocks;
use crate::cache::blocks::version::Version;
use crate::cache::body::StoredBody;
use crate::cache::clock::now;
use crate::cache::entry::EntryContent;
use crate::cache::freshness::Freshness;
use crate::cache::object::ObjectBody;
use crate::cache::outcome::FetchOutcome;
use crate::cache::request::Extent;
use crate::cache::stored_headers::{for_disk, lifetime_headers, own_copy, whole_length};
use crate::cache::tiers::{DiskChange, SharedChange};
use crate::cache::weight::head_weight;
use crate::protocol::range::{ByteRange, ContentRange};
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
            None => self.pass_on(headers, None, None),
        }
    }

    /// Admits a response with a range (206): as a whole object if it has all of a small one.
    pub(in crate::cache) async fn admit_range(&self, headers: &HeaderMap, body: StoreBody) {
        let range = headers.get(CONTENT_RANGE).and_then(ContentRange::parse);
        let (Some(ContentRange::Part { first, last, .. }), Some(length)) =
            (range, whole_length(headers))
        else {
            // Without the length of the whole object there is no answer to a client either.
            return self
                .leader
                .finish(FetchOutcome::Bypass { answer: None, report: Arc::clone(&self.report) });
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
            return self.pass_on_range(headers, range);
        };
        let version = Version::of(headers, length).filter(|_| tiers.blocks().are_cached());
        let Some(version) = version else {
            if length > tiers.max_whole(&request.rule) {
                self.hit_for_pass();
            }
            return self.pass_on_range(headers, range);
        };
        if self.blocks.unreliable.was_refused(&request.key, &version) {
            self.blocks.note_if_match_refused(request);
        }
        let head = match self.heads.cached_head(headers, profile, request.content_type.as_ref()) {
            Ok(head) => head,
            Err(refusal) => {
                let refused = FetchOutcome::Refused { refusal, stored_for: None, report };
                return self.leader.finish(refused);
            }
        };
        let lifetime = lifetime_headers(headers);
        let Some(room) = tiers.reserve(&request.key, head_weight(&head, &lifetime)) else {
            tiers.statistics().no_room.inc();
            return self.pass_on_range(headers, range);
        };
        let size = tiers.blocks().size();
        let blocks = Arc::new(Blocks::new(head, lifetime, version, size, room.into_held()));
        let old = tiers.replaced_version(&request.key);
        let old = old.filter(|old| old.version != blocks.version);
        let body = StoredBody::default();
        let change = if tiers.has_disk() {
            DiskChange::Write { headers: for_disk(headers, profile), body: body.clone() }
        } else {
            DiskChange::None
        };
        let shared = if tiers.shares(&request.key, 0) {
            SharedChange::Write { headers: for_disk(headers, profile), body }
        } else {
            SharedChange::None
        };
        let entry = self.entry(freshness, EntryContent::Blocks(Arc::clone(&blocks)));
        let stored = tiers.store(self.leader, entry, change, shared);
        if let Some(old) = old.filter(|_| stored) {
            tiers.drop_version(&request.key, &old, request.settings);
        }
        let source = ObjectBody::Blocks(Arc::clone(&blocks));
        let arriving = range.map(|BodyRange { bytes, mut body }| {
            body.count_as_bulk(&request.store.admission);
            let requested_at = self.requested_at;
            let layout = match request.extent {
                Extent::Range(ByteRange::FromTo { first, last: Some(last) }) => {
                    blocks.layout_for(last.min(length.saturating_sub(1)).saturating_sub(first) + 1)
                }
                Extent::Range(ByteRange::Suffix(suffix)) => blocks.layout_for(suffix.min(length)),
                Extent::Range(ByteRange::FromTo { first, last: None }) => blocks.open_layout(first),
                Extent::Whole | Extent::Head => blocks.open_layout(0),
            };
            let delivery = Delivery { bytes, body, requested_at, layout, fills: true };
            BodySlot::new(ArrivingBody::new(self.blocks, request, &blocks, delivery, None))
        });
        // Later requests find the head in memory.
        self.leader.finish(FetchOutcome::Object { source, freshness, arriving, stored, report });
    }

    /// As [`StoreResponse::pass_on`].
    fn pass_on_range(&self, headers: &HeaderMap, range: Option<BodyRange>) {
        let end = range.as_ref().map(|range| range.bytes.end);
        let body = range.map(|BodyRange { bytes, body }| (bytes.start, body));
        self.pass_on(headers, body, end);
    }
}
