//! One fetch: the disk is looked at, the store asked, and what it says is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::is_object_header;
use crate::cache::body::Body;
use crate::cache::disk::Record;
use crate::cache::entry::{Content, Entry, Object, head_weight};
use crate::cache::fill::{Cut, Fill};
use crate::cache::flights::Landing;
use crate::cache::found::{Filling, Source};
use crate::cache::freshness::Freshness;
use crate::cache::rules::Rule;
use crate::cache::wanted::{Manner, Wanted};
use crate::cache::{Cache, now};
use crate::fetch::{self, Question, Reply, Report};
use crate::refusal::Refusal;
use crate::rfc9110::entity_tag::EntityTag;
use crate::s3::profile::Profile;

/// How long an object is remembered as not for the cache, at the least.
const PASS_AT_LEAST: Duration = Duration::from_secs(60);

/// What an entry weighs besides its body, at the most, bytes: a head of Pingora's is no larger.
const ENTRY_AT_MOST: u64 = 64 * 1024;

/// What a fetch makes known to everybody who waits for it.
#[derive(Debug, Clone)]
pub(super) enum Landed {
    /// It was on disk, and is in memory now.
    OnDisk(Arc<Entry>),
    /// It is not kept, and nobody who needs all of it has asked.
    NotKept,
    Object {
        source: Source,
        freshness: Freshness,
        report: Arc<Report>,
    },
    /// `stored_for`: seconds for which the answer is kept.
    Refused {
        refusal: Refusal,
        stored_for: Option<i64>,
        report: Arc<Report>,
    },
    /// The object is not for the cache.
    Pass {
        report: Arc<Report>,
    },
}

impl Cache {
    /// Makes a fetch in a task of its own, which no client's leaving ends.
    pub(super) fn begin_fetch(
        self: &Arc<Self>,
        wanted: Arc<Wanted>,
        kept: Option<Arc<Entry>>,
        landing: Landing<Landed>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let cache = Arc::clone(self);
        let _runs_on = tokio::spawn(async move {
            let in_background = permit.is_some();
            cache.fetch(&wanted, kept, &landing).await;
            if in_background {
                let flight = Arc::clone(landing.flight());
                drop(landing);
                cache.count_refresh(flight.outcome().await);
            }
            drop(permit);
        });
    }

    fn count_refresh(&self, landed: Option<Landed>) {
        match landed {
            Some(Landed::Refused { refusal, .. }) if refusal.is_fault() => {
                self.statistics.refresh_failures.count();
            }
            None => self.statistics.refresh_failures.count(),
            Some(_) => self.statistics.refreshes.count(),
        }
    }

    async fn fetch(&self, wanted: &Wanted, kept: Option<Arc<Entry>>, landing: &Landing<Landed>) {
        if kept.is_none()
            && let Some(entry) = self.on_disk(wanted).await
        {
            // What was read while it was purged is not served.
            if !landing.keep(|| self.memory.insert(Arc::clone(&entry))) {
                return landing.end_with(Landed::NotKept);
            }
            self.statistics.disk_hits.count();
            return landing.end_with(Landed::OnDisk(entry));
        }
        if kept.is_none() && wanted.manner == Manner::Glance {
            return landing.end_with(Landed::NotKept);
        }
        let asked = now();
        let kept = kept.as_deref().and_then(|entry| match &entry.content {
            Content::Object(object) => Some((entry, object)),
            Content::Missing | Content::Pass => None,
        });
        let question = kept.map(|(_, object)| question(&object.head.headers)).unwrap_or_default();
        let fetched = self.fetcher.fetch(&wanted.store, wanted.target(), &question).await;
        let report = Arc::new(fetched.report);
        match (fetched.outcome, kept) {
            (Ok(Reply::NotModified(headers)), Some((entry, object))) => {
                self.confirm(wanted, entry, object, &headers, asked, report, landing);
            }
            (Ok(Reply::Object { status: StatusCode::OK, headers, body }), _) => {
                self.take_in(wanted, &headers, body, asked, report, landing).await;
            }
            // Neither was asked for.
            (Ok(Reply::NotModified(_) | Reply::Object { .. }), _) => {
                let refusal = Refusal::UpstreamProtocol;
                landing.end_with(Landed::Refused { refusal, stored_for: None, report });
            }
            (Err(refusal), _) => {
                let mut stored_for = None;
                if refusal == Refusal::ObjectNotFound {
                    stored_for = self.note_missing(wanted, asked, landing);
                }
                landing.end_with(Landed::Refused { refusal, stored_for, report });
            }
        }
    }

    /// The store has no such object; remembered for as long as the rule says.
    fn note_missing(
        &self,
        wanted: &Wanted,
        asked: SystemTime,
        landing: &Landing<Landed>,
    ) -> Option<i64> {
        if let Some(disk) = &self.disk {
            disk.remove(&wanted.key);
        }
        let lifetime = wanted.rule.negative_ttl;
        if lifetime.is_zero() {
            landing.keep(|| {
                self.memory.remove(wanted.key.as_bytes());
            });
            return None;
        }
        let freshness = Freshness::for_a_while(now(), lifetime);
        let kept = self.keep(wanted, asked, freshness, Content::Missing, landing);
        kept.then(|| freshness.ttl(now()))
    }

    /// The object is not for the cache: it is remembered that it is to pass.
    fn let_pass(&self, wanted: &Wanted, asked: SystemTime, landing: &Landing<Landed>) {
        if let Some(disk) = &self.disk {
            disk.remove(&wanted.key);
        }
        let lifetime = wanted.rule.ttl.max(PASS_AT_LEAST);
        let freshness = Freshness::for_a_while(now(), lifetime);
        self.keep(wanted, asked, freshness, Content::Pass, landing);
    }

    fn keep(
        &self,
        wanted: &Wanted,
        asked: SystemTime,
        freshness: Freshness,
        content: Content,
        landing: &Landing<Landed>,
    ) -> bool {
        let entry = Arc::new(Entry { key: wanted.key.clone(), asked, freshness, content });
        landing.keep(|| self.memory.insert(entry))
    }

    /// The store has confirmed what is kept: a 304 brings it a new lifetime (RFC 9111, section 4.3.4).
    #[expect(clippy::too_many_arguments, reason = "what is kept, and what the store says of it")]
    fn confirm(
        &self,
        wanted: &Wanted,
        entry: &Entry,
        object: &Arc<Object>,
        headers: &HeaderMap,
        asked: SystemTime,
        report: Arc<Report>,
        landing: &Landing<Landed>,
    ) {
        self.statistics.revalidated.count();
        // Stores leave off their 304 what has not changed.
        let mut said = headers.clone();
        for name in [CACHE_CONTROL, EXPIRES] {
            if let (false, Some(value)) = (said.contains_key(&name), object.lifetime.get(&name)) {
                said.insert(name, value.clone());
            }
        }
        let now = now();
        let freshness = Freshness::of_object(&said, &wanted.rule, now);
        match freshness {
            Some(freshness) => {
                let content = Content::Object(Arc::clone(object));
                let kept = self.keep(wanted, asked, freshness, content, landing);
                if let (true, Some(disk)) = (kept, &self.disk) {
                    disk.refresh(&wanted.key, freshness);
                }
            }
            None => self.let_pass(wanted, asked, landing),
        }
        let source = Source::Kept(Arc::clone(object));
        let freshness = freshness.unwrap_or(entry.freshness);
        landing.make_known(Landed::Object { source, freshness, report });
    }

    /// Takes an object in: everybody reads along, and in the end it is kept.
    async fn take_in(
        &self,
        wanted: &Wanted,
        headers: &HeaderMap,
        mut body: fetch::Body,
        asked: SystemTime,
        report: Arc<Report>,
        landing: &Landing<Landed>,
    ) {
        let profile = &wanted.store.profile;
        let freshness = Freshness::of_object(headers, &wanted.rule, now());
        let length = length(headers).filter(|length| *length <= self.largest(&wanted.rule));
        let (Some(freshness), Some(length)) = (freshness, length) else {
            self.let_pass(wanted, asked, landing);
            return landing.make_known(Landed::Pass { report });
        };
        let head = match self.heads.kept_head(headers, profile, wanted.content_type.as_ref()) {
            Ok(head) => head,
            Err(refusal) => {
                return landing.make_known(Landed::Refused { refusal, stored_for: None, report });
            }
        };
        let Some(held) = self.budget.take(length + head_weight(&head)).map(Arc::new) else {
            self.statistics.no_room.count();
            return landing.make_known(Landed::Pass { report });
        };
        let fill = Fill::new(length, Arc::clone(&held));
        let lifetime = lifetime(headers);
        let filling = Arc::new(Filling { head, lifetime, fill });
        let source = Source::Filling(Arc::clone(&filling));
        landing.make_known(Landed::Object { source, freshness, report });
        let fill = &filling.fill;
        loop {
            let pushed = match body.next().await {
                Ok(Some(bytes)) => fill.push(bytes),
                Ok(None) => break,
                Err(_) => Err(Cut),
            };
            if pushed.is_err() {
                self.statistics.cut_fills.count();
                return fill.fail();
            }
        }
        let Ok(whole) = fill.complete() else { return self.statistics.cut_fills.count() };
        let object = Arc::new(Object {
            head: filling.head.clone(),
            lifetime: filling.lifetime.clone(),
            body: whole,
            held,
        });
        let content = Content::Object(Arc::clone(&object));
        let kept = self.keep(wanted, asked, freshness, content, landing);
        if let (true, Some(disk)) = (kept, &self.disk) {
            let (key, headers) = (wanted.key.clone(), kept_headers(headers, profile));
            disk.put(Record { key, asked, freshness, headers, body: object.body.to_bytes() });
        }
    }

    /// The largest object that would be kept, bytes.
    fn largest(&self, rule: &Rule) -> u64 {
        if self.disk.is_some() {
            return rule.max_object;
        }
        // The weight of an entry counts more than its body.
        rule.max_object.min(self.memory.largest().saturating_sub(ENTRY_AT_MOST))
    }

    /// What the disk holds of it, unless it was purged.
    async fn on_disk(&self, wanted: &Wanted) -> Option<Arc<Entry>> {
        let record = self.disk.as_ref()?.get(&wanted.key).await?;
        if self.purges.cover(wanted.key.as_bytes(), record.asked) || !wanted.rule.store {
            return None;
        }
        let profile = &wanted.store.profile;
        let headers = &record.headers;
        let head = self.heads.kept_head(headers, profile, wanted.content_type.as_ref()).ok()?;
        let length = record.body.len() as u64;
        let held = Arc::new(self.budget.take(length + head_weight(&head))?);
        let body = Body::from_bytes(record.body);
        let content =
            Content::Object(Arc::new(Object { head, lifetime: lifetime(headers), body, held }));
        let (key, asked, freshness) = (record.key, record.asked, record.freshness);
        Some(Arc::new(Entry { key, asked, freshness, content }))
    }
}

/// What the store is asked about an object that is kept: by its entity tag, else by its date.
fn question(head: &HeaderMap) -> Question {
    let tag = head.get(ETAG).and_then(|tag| EntityTag::parse_lenient(tag.as_bytes()));
    let if_none_match = tag.and_then(|tag| tag.strong_header());
    let if_modified_since = match if_none_match {
        None => head.get(LAST_MODIFIED).cloned(),
        Some(_) => None,
    };
    Question { if_none_match, if_modified_since, ..Question::default() }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What an object says of its lifetime, for when it is confirmed without a word.
fn lifetime(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [CACHE_CONTROL, EXPIRES] {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// Of the store's headers those from which the head of an answer can be made again.
fn kept_headers(headers: &HeaderMap, profile: &Profile) -> HeaderMap {
    let listed = |name: &HeaderName| {
        is_object_header(name)
            || [CACHE_CONTROL, EXPIRES, CONTENT_TYPE].contains(name)
            || profile.response_headers.iter().any(|glob| glob.matches(name.as_str()))
    };
    let kept = headers.iter().filter(|(name, _)| listed(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
