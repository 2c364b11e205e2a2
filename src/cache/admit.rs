//! What becomes of a store's answer: taken in, confirmed, withdrawn, or remembered as missing or as not
//! for the cache.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cache::blocks::Piece;
use crate::cache::blocks::version::Version;
use crate::cache::disk::Record;
use crate::cache::entry::{Content, Entry, Object, head_weight, note_weight};
use crate::cache::fetch::Landed;
use crate::cache::fill::{Cut, Fill};
use crate::cache::freshness::Freshness;
use crate::cache::inflight::Leader;
use crate::cache::lookup::{ObjectBody, StreamingObject};
use crate::cache::memory::budget::Held;
use crate::cache::request::CacheRequest;
use crate::cache::{Cache, now};
use crate::profile::Profile;
use crate::profile::cache_rules::Rule;
use crate::response::object_head::is_listed;
use crate::response::object_head::is_object_header;
use crate::upstream::answer::content_length;
use crate::upstream::client::{Body, FetchReport};

/// How long an object is remembered as not for the cache, at the least.
const PASS_AT_LEAST: Duration = Duration::from_secs(60);

/// What an entry weighs besides its body, at the most, bytes: a head of Pingora's is no larger.
const ENTRY_AT_MOST: u64 = 64 * 1024;

/// How long the body of an object may take. No client's leaving ends a fetch, and a store that sends a
/// byte now and then must not hold its readers, and room for it, for ever.
pub(super) const FILL_AT_MOST: Duration = Duration::from_secs(600);

/// A fetch whose store has answered.
pub(super) struct Keeping<'a> {
    pub(super) cache: &'a Arc<Cache>,
    pub(super) wanted: &'a Arc<CacheRequest>,
    /// When the store was asked.
    pub(super) asked: SystemTime,
    pub(super) landing: &'a Leader<Landed>,
}

impl Keeping<'_> {
    /// Puts it into memory, unless another fetch has taken the place of this one.
    fn keep(&self, freshness: Freshness, content: Content) -> bool {
        let entry = self.entry(freshness, content);
        self.landing.keep(|| self.cache.memory.insert(entry))
    }

    pub(super) fn entry(&self, freshness: Freshness, content: Content) -> Arc<Entry> {
        let (key, asked) = (self.wanted.key.clone(), self.asked);
        Arc::new(Entry { key, asked, freshness, content })
    }

    /// Keeps what has no body, if there is room for it.
    fn keep_note(&self, freshness: Freshness, content: fn(Arc<Held>) -> Content) -> bool {
        let held = self.cache.room_for(self.wanted, 0);
        self.cache.free_room(self.wanted);
        held.is_some_and(|held| self.keep(freshness, content(held)))
    }

    fn remove_from_disk(&self) {
        if let Some(disk) = &self.cache.disk {
            disk.remove(&self.wanted.key);
        }
    }

    /// The store has no such object. Returns for how many seconds that is remembered.
    pub(super) fn note_missing(&self) -> Option<i64> {
        self.remove_from_disk();
        let lifetime = self.wanted.rule.negative_ttl;
        if lifetime.is_zero() {
            let key = self.wanted.key.as_bytes();
            self.landing.keep(|| {
                self.cache.memory.remove(key);
            });
            return None;
        }
        let freshness = Freshness::for_a_while(now(), lifetime);
        self.keep_note(freshness, Content::Negative).then(|| freshness.ttl(now()))
    }

    /// The object is not for the cache: it is remembered that it is to pass.
    pub(super) fn let_pass(&self) {
        self.remove_from_disk();
        let lifetime = pass_for(&self.wanted.rule);
        self.keep_note(Freshness::for_a_while(now(), lifetime), Content::HitForPass);
    }

    /// The store gives the object to the gateway no more: what is kept is not served until the store
    /// confirms it again, not even when it fails.
    pub(super) fn withdraw(&self, entry: &Entry) {
        self.remove_from_disk();
        self.keep(entry.freshness.withdrawn(), entry.content.clone());
    }

    /// The store has confirmed what is kept: a 304 brings it a new lifetime (RFC 9111, section 4.3.4).
    pub(super) fn confirm(
        &self,
        entry: &Entry,
        source: ObjectBody,
        headers: &HeaderMap,
        report: Arc<FetchReport>,
    ) {
        self.cache.statistics.revalidated.inc();
        // Stores leave off their 304 what has not changed.
        let mut said = headers.clone();
        for name in [CACHE_CONTROL, EXPIRES] {
            if !said.contains_key(&name) {
                for value in source.lifetime().get_all(&name) {
                    said.append(name.clone(), value.clone());
                }
            }
        }
        let arriving = None;
        let Some(freshness) = Freshness::of_object(&said, &self.wanted.rule, now()) else {
            self.let_pass();
            let (freshness, stored) = (entry.freshness, false);
            let known = Landed::Object { source, freshness, arriving, stored, report };
            return self.landing.make_known(known);
        };
        let stored = self.keep(freshness, entry.content.clone());
        if let (true, Some(disk)) = (stored, &self.cache.disk) {
            disk.refresh(&self.wanted.key, freshness);
        }
        self.landing.make_known(Landed::Object { source, freshness, arriving, stored, report });
    }

    /// Takes an object in: everybody reads along, and in the end it is kept.
    pub(super) async fn take_in(&self, headers: &HeaderMap, body: Body, report: Arc<FetchReport>) {
        let (cache, wanted) = (self.cache, self.wanted);
        let headers = &own_copy(headers);
        let profile = &wanted.store.profile;
        let freshness = Freshness::of_object(headers, &wanted.rule, now());
        let (Some(freshness), Some(length)) = (freshness, content_length(headers)) else {
            self.let_pass();
            return self.landing.make_known(Landed::Pass { report });
        };
        if length > cache.largest(&wanted.rule) {
            let in_blocks = cache.blocks.are_kept() && Version::of(headers, length).is_some();
            if !in_blocks {
                self.let_pass();
                return self.landing.make_known(Landed::Pass { report });
            }
            let piece = Piece { start: 0, end: length, body };
            return self.take_blocks(headers, length, Some(piece), report);
        }
        let head = match cache.heads.kept_head(headers, profile, wanted.content_type.as_ref()) {
            Ok(head) => head,
            Err(refusal) => {
                let refused = Landed::Refused { refusal, stored_for: None, report };
                return self.landing.make_known(refused);
            }
        };
        let Some(held) = cache.room_for(wanted, head_weight(&head) + length) else {
            cache.statistics.no_room.inc();
            return self.landing.make_known(Landed::Pass { report });
        };
        let fill = Fill::new(length, Arc::clone(&held));
        let filling = Arc::new(StreamingObject { head, lifetime: lifetime(headers), fill });
        let source = ObjectBody::Streaming(Arc::clone(&filling));
        let (arriving, stored) = (None, true);
        self.landing.make_known(Landed::Object { source, freshness, arriving, stored, report });
        let ending = Ending { fill: &filling.fill, landing: self.landing };
        let poured = tokio::time::timeout(FILL_AT_MOST, pour(body, ending.fill)).await;
        drop(ending);
        cache.free_room(wanted);
        let Ok(Ok(body)) = poured else {
            cache.statistics.cut_fills.inc();
            return;
        };
        let record = cache.disk.as_ref().filter(|disk| disk.takes(length)).map(|_| Record {
            key: wanted.key.clone(),
            asked: self.asked,
            freshness,
            headers: kept_headers(headers, profile),
            body: body.to_bytes(),
        });
        let (head, lifetime) = (filling.head.clone(), filling.lifetime.clone());
        let object = Arc::new(Object { head, lifetime, body, held });
        let entry = self.entry(freshness, Content::Object(object));
        // Together, or a purge could come in between.
        self.landing.keep(|| {
            cache.memory.insert(entry);
            match (&cache.disk, record) {
                (Some(disk), Some(record)) => disk.put(record),
                (Some(_), None) => self.remove_from_disk(),
                (None, _) => {}
            }
        });
    }
}

/// Passes a body into a fill, to its end.
async fn pour(mut body: Body, fill: &Fill) -> Result<crate::cache::body::Body, Cut> {
    loop {
        match body.next().await {
            Ok(Some(bytes)) => fill.push(bytes)?,
            Ok(None) => return fill.complete(),
            Err(_) => return Err(Cut),
        }
    }
}

/// However a fill ends, its readers are told, and nobody joins it who could only be told so.
struct Ending<'a> {
    fill: &'a Fill,
    landing: &'a Leader<Landed>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.fill.is_under_way() {
            self.landing.leave();
            self.fill.fail();
        }
    }
}

impl Cache {
    /// Takes room for an entry with so many bytes of head and body out of the budget; what is kept
    /// makes way for it, as far as nobody reads it.
    pub(super) fn room_for(&self, wanted: &CacheRequest, bytes: u64) -> Option<Arc<Held>> {
        let bytes = note_weight(&wanted.key).checked_add(bytes)?;
        let take = || self.budget.take(bytes).map(Arc::new);
        take().or_else(|| {
            let asked = now();
            let freshness = Freshness::for_a_while(asked, Duration::ZERO);
            let content = Content::Room(bytes);
            let room = Entry { key: wanted.key.beside(), asked, freshness, content };
            self.memory.insert(Arc::new(room));
            let held = take();
            if held.is_none() {
                self.free_room(wanted);
            }
            held
        })
    }

    /// Lets others have the room again that was made for an object.
    pub(super) fn free_room(&self, wanted: &CacheRequest) {
        self.memory.remove(wanted.key.beside().as_bytes());
    }

    /// The largest object that would be kept, bytes.
    pub(super) fn largest(&self, rule: &Rule) -> u64 {
        if self.disk.is_some() {
            return rule.max_object;
        }
        // The weight of an entry counts more than its body.
        rule.max_object.min(self.memory.largest().saturating_sub(ENTRY_AT_MOST))
    }
}

/// For how long an object is remembered as not for the cache.
pub(super) fn pass_for(rule: &Rule) -> Duration {
    rule.ttl.max(PASS_AT_LEAST)
}

/// The same headers in memory of their own: as they come, each holds on to the whole answer.
pub(super) fn own_copy(headers: &HeaderMap) -> HeaderMap {
    let own = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
    let copies = headers.iter().filter_map(|(name, value)| Some((name.clone(), own(value)?)));
    copies.collect()
}

/// What an object says of its lifetime, for when it is confirmed without a word.
pub(super) fn lifetime(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [CACHE_CONTROL, EXPIRES] {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// Of the store's headers those from which the head of an answer can be made again.
pub(super) fn kept_headers(headers: &HeaderMap, profile: &Profile) -> HeaderMap {
    let listed = |name: &HeaderName| {
        is_object_header(name)
            || [CACHE_CONTROL, EXPIRES, CONTENT_TYPE].contains(name)
            || is_listed(name, profile)
    };
    let kept = headers.iter().filter(|(name, _)| listed(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
