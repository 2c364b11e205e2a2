//! What becomes of a store's answer about an object that is not kept whole: its head is kept, and the
//! blocks that came with it; a version that is no more is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue};

use crate::cache::admit::{Keeping, kept_headers, lifetime, own_copy, pass_for};
use crate::cache::blocks::range_fetch::{Run, length_of_whole};
use crate::cache::blocks::reserve::{Claim, Claimed, Need};
use crate::cache::blocks::version::Version;
use crate::cache::blocks::{Arrivals, Blocks};
use crate::cache::disk::{Record, State};
use crate::cache::entry::{Content, Entry, head_weight};
use crate::cache::fetch::Landed;
use crate::cache::freshness::Freshness;
use crate::cache::lookup::ObjectBody;
use crate::cache::request::CacheRequest;
use crate::cache::{Cache, now};
use crate::protocol::range::ContentRange;
use crate::upstream::admission::QueueTimeout;
use crate::upstream::answer::content_length;
use crate::upstream::client::{Body, FetchReport};

/// Blocks of a version that are looked for on disk by their names; more are swept.
const MOST_BY_NAME: u64 = 4096;

/// A body that came with the head: bytes of the object from `start` to `end`.
pub(in crate::cache) struct Piece {
    pub(in crate::cache) start: u64,
    pub(in crate::cache) end: u64,
    pub(in crate::cache) body: Body,
}

impl Keeping<'_> {
    /// Takes in the answer to HEAD.
    pub(in crate::cache) fn take_head(&self, headers: &HeaderMap, report: Arc<FetchReport>) {
        match content_length(headers) {
            Some(length) => self.take_blocks(headers, length, None, report),
            None => self.landing.make_known(Landed::Pass { report }),
        }
    }

    /// Takes in a part (206): as a whole where it is all of a small object.
    pub(in crate::cache) async fn take_part(
        &self,
        headers: &HeaderMap,
        body: Body,
        report: Arc<FetchReport>,
    ) {
        let range = headers.get(CONTENT_RANGE).and_then(ContentRange::parse);
        let (Some(ContentRange::Part { first, last, .. }), Some(length)) =
            (range, length_of_whole(headers))
        else {
            return self.landing.make_known(Landed::Pass { report });
        };
        let mut whole = headers.clone();
        whole.remove(CONTENT_RANGE);
        whole.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let end = last.saturating_add(1);
        if first == 0 && end == length && length <= self.cache.largest(&self.wanted.rule) {
            return self.take_in(&whole, body, report).await;
        }
        self.take_blocks(&whole, length, Some(Piece { start: first, end, body }), report);
    }

    /// Keeps the head of an object of so many bytes, and has what came of its body poured into
    /// blocks.
    pub(in crate::cache) fn take_blocks(
        &self,
        headers: &HeaderMap,
        length: u64,
        piece: Option<Piece>,
        report: Arc<FetchReport>,
    ) {
        let (cache, wanted) = (self.cache, self.wanted);
        let headers = &own_copy(headers);
        let profile = &wanted.store.profile;
        let Some(freshness) = Freshness::of_object(headers, &wanted.rule, now()) else {
            self.let_pass();
            return self.landing.make_known(Landed::Pass { report });
        };
        let version = Version::of(headers, length).filter(|_| cache.blocks.are_kept());
        let Some(version) = version else {
            if length > cache.largest(&wanted.rule) {
                self.let_pass();
            }
            return self.landing.make_known(Landed::Pass { report });
        };
        let head = match cache.heads.kept_head(headers, profile, wanted.content_type.as_ref()) {
            Ok(head) => head,
            Err(refusal) => {
                let refused = Landed::Refused { refusal, stored_for: None, report };
                return self.landing.make_known(refused);
            }
        };
        let held = cache.room_for(wanted, head_weight(&head));
        cache.free_room(wanted);
        let Some(held) = held else {
            cache.statistics.no_room.inc();
            return self.landing.make_known(Landed::Pass { report });
        };
        let size = cache.blocks.size();
        let blocks = Arc::new(Blocks::new(head, lifetime(headers), version, size, held));
        let old = cache.blocks_of(wanted).filter(|old| old.version != blocks.version);
        let asked = self.asked;
        let claims = piece.as_ref().map(|piece| cache.claims_of(wanted, &blocks, piece, asked));
        let claims = claims.unwrap_or_default();
        let arriving = claims.front().map(|first| Arrivals {
            blocks: first.index..first.index + claims.len() as u64,
            _flights: claims.iter().map(|claim| Arc::clone(claim.flight())).collect(),
        });
        let record = cache.disk.as_ref().map(|disk| {
            let (key, asked) = (wanted.key.clone(), self.asked);
            let (headers, body) = (kept_headers(headers, profile), bytes::Bytes::new());
            (disk, Record { key, asked, freshness, headers, body })
        });
        let entry = self.entry(freshness, Content::Blocks(Arc::clone(&blocks)));
        // Together, or a purge could come in between.
        let stored = self.landing.keep(|| {
            cache.memory.insert(entry);
            if let Some((disk, record)) = record {
                disk.put(record);
            }
        });
        if let Some(old) = old.filter(|_| stored) {
            cache.drop_version(wanted, &old);
        }
        let source = ObjectBody::Blocks(Arc::clone(&blocks));
        let known = Arc::clone(&report);
        // Who comes later finds the head in memory.
        self.landing.end_with(Landed::Object { source, freshness, arriving, stored, report });
        if let Some(piece) = piece.filter(|_| !claims.is_empty()) {
            let (cache, wanted) = (Arc::clone(cache), Arc::clone(wanted));
            let run = Run { cache, wanted, blocks, claims, patience: QueueTimeout::Short };
            let _runs_on = tokio::spawn(async move { run.pour(piece.body, asked, &known).await });
        }
    }
}

impl Cache {
    /// The blocks that a body has bytes for, up to the first that is not to be fetched.
    fn claims_of(
        self: &Arc<Self>,
        wanted: &CacheRequest,
        blocks: &Blocks,
        piece: &Piece,
        asked: SystemTime,
    ) -> VecDeque<Claim> {
        let layout = blocks.layout;
        let first = layout.index(piece.start);
        let most = (self.blocks.most_at_once() / layout.size).max(1);
        let mut claims = VecDeque::new();
        for index in layout.touched(&(piece.start..piece.end)).take(bounded(most)) {
            let bytes = layout.bytes(index);
            let from = if index == first { piece.start - bytes.start } else { 0 };
            if bytes.end > piece.end {
                break;
            }
            let need = Need { first: from, from, asked, makes_way: true };
            match self.claim(wanted, blocks, index, need) {
                Claimed::Fetch(claim) => claims.push_back(claim),
                Claimed::Kept(_) | Claimed::Coming(_) | Claimed::NoRoom => break,
            }
        }
        claims
    }

    /// The object as it is kept in blocks, whether or not it may be served.
    fn blocks_of(&self, wanted: &CacheRequest) -> Option<Arc<Blocks>> {
        match self.memory.peek(wanted.key.as_bytes())?.source()? {
            ObjectBody::Blocks(blocks) => Some(blocks),
            ObjectBody::Stored(_) | ObjectBody::Streaming(_) => None,
        }
    }

    /// Forgets the head of an object, if it is still that of this version: the store is asked for it
    /// next time.
    pub(super) fn forget_head(&self, wanted: &CacheRequest, blocks: &Blocks) {
        let key = wanted.key.as_bytes();
        match self.memory.peek(key).map(|entry| entry.source()) {
            Some(Some(ObjectBody::Blocks(kept))) if kept.version == blocks.version => {
                self.memory.remove(key);
            }
            // There is something newer.
            Some(_) => return,
            None => {}
        }
        if let Some(disk) = &self.disk {
            disk.remove(&wanted.key);
        }
    }

    /// Notes that the object is to pass by, where its head was kept.
    pub(super) fn let_pass_in_place_of(self: &Arc<Self>, wanted: &CacheRequest, blocks: &Blocks) {
        self.forget_head(wanted, blocks);
        let Some(held) = self.room_for(wanted, 0) else { return };
        self.free_room(wanted);
        let asked = now();
        let freshness = Freshness::for_a_while(asked, pass_for(&wanted.rule));
        let (key, content) = (wanted.key.clone(), Content::HitForPass(held));
        if self.memory.peek(key.as_bytes()).is_none() {
            self.memory.insert(Arc::new(Entry { key, asked, freshness, content }));
        }
    }

    /// Forgets a version of an object that is no more, and its blocks.
    pub(in crate::cache) fn drop_version(self: &Arc<Self>, wanted: &CacheRequest, blocks: &Blocks) {
        if blocks.dropped.swap(true, Ordering::AcqRel) {
            return;
        }
        self.statistics.versions_dropped.inc();
        self.forget_head(wanted, blocks);
        let (cache, object) = (Arc::clone(self), wanted.key.clone());
        let (layout, mark) = (blocks.layout, *blocks.version.mark());
        // There may be very many.
        let _runs_on = tokio::task::spawn_blocking(move || {
            let version = object.blocks_of(&mark);
            let is_of = move |key: &[u8]| key.starts_with(version.as_bytes());
            cache.blocks.memory().remove_where(|entry| is_of(entry.key.as_bytes()));
            let Some(disk) = &cache.disk else { return };
            if layout.count() > MOST_BY_NAME || disk.state() != State::On {
                return disk.remove_blocks_where(move |key, _asked| is_of(key));
            }
            for index in 0..layout.count() {
                let key = object.block(&mark, layout.size, index);
                if disk.has(&key) {
                    disk.remove(&key);
                }
            }
        });
    }
}

fn bounded(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
