//! One fetch: the disk is looked at, then the store is asked.

use std::sync::Arc;

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use crate::cache::admit::{Keeping, lifetime};
use crate::cache::blocks::layout::widened;
use crate::cache::blocks::version::Version;
use crate::cache::blocks::{Arrivals, Blocks, length_of_whole};
use crate::cache::body::Body;
use crate::cache::entry::{Content, Entry, Object, head_weight};
use crate::cache::freshness::Freshness;
use crate::cache::inflight::Leader;
use crate::cache::lookup::ObjectBody;
use crate::cache::request::{CacheRequest, Extent};
use crate::cache::{Cache, now};
use crate::protocol::entity_tag::EntityTag;
use crate::response::refusal::Refusal;
use crate::upstream::answer::content_length;
use crate::upstream::client::{FetchReport, FetchRequest, FetchResponse};

/// What a fetch makes known to everybody who waits for it.
#[derive(Debug, Clone)]
pub(super) enum Landed {
    /// It was on disk, and is in memory now.
    OnDisk(Arc<Entry>),
    /// It is not kept, and nobody who needs all of it has asked.
    NotKept,
    Object {
        source: ObjectBody,
        freshness: Freshness,
        /// Blocks that are on their way already.
        arriving: Option<Arrivals>,
        /// Whether it is kept.
        stored: bool,
        report: Arc<FetchReport>,
    },
    /// `stored_for`: seconds for which the answer is kept.
    Refused { refusal: Refusal, stored_for: Option<i64>, report: Arc<FetchReport> },
    /// The object is not for the cache.
    Pass { report: Arc<FetchReport> },
}

impl Cache {
    /// Makes a fetch in a task of its own, which no client's leaving ends.
    pub(super) fn begin_fetch(
        self: &Arc<Self>,
        wanted: Arc<CacheRequest>,
        kept: Option<Arc<Entry>>,
        landing: Leader<Landed>,
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
        let counter = match landed {
            Some(Landed::Refused { refusal, .. }) if refusal.is_fault() => {
                &self.statistics.refresh_failures
            }
            None => &self.statistics.refresh_failures,
            Some(_) => &self.statistics.refreshes,
        };
        counter.inc();
    }

    async fn fetch(
        self: &Arc<Self>,
        wanted: &Arc<CacheRequest>,
        kept: Option<Arc<Entry>>,
        landing: &Leader<Landed>,
    ) {
        if kept.is_none()
            && let Some(entry) = self.on_disk(wanted).await
        {
            // What was read while it was purged is not served.
            if !landing.keep(|| self.memory.insert(Arc::clone(&entry))) {
                return landing.end_with(Landed::NotKept);
            }
            self.statistics.disk_hits.inc();
            return landing.end_with(Landed::OnDisk(entry));
        }
        if kept.is_none() && self.only_glances(wanted) {
            return landing.end_with(Landed::NotKept);
        }
        let kept = kept.and_then(|entry| entry.source().map(|source| (entry, source)));
        let mut question = match &kept {
            Some((_, source)) => FetchRequest {
                // The body of what is in blocks would be thrown away.
                head_only: matches!(source, ObjectBody::Blocks(_)),
                ..confirmation(&source.head().headers)
            },
            None => self.first_question(wanted),
        };
        let asked = now();
        let keeping = Keeping { cache: self, wanted, asked, landing };
        let (store, target) = (&wanted.store, wanted.target());
        let mut fetched = self.fetcher.fetch(store, target, &question).await;
        if let (Err(Refusal::RangeNotSatisfiable(_)), Some(_)) = (&fetched.outcome, question.range)
        {
            // Conditions come before ranges: the head tells what there is.
            question = FetchRequest { head_only: true, ..FetchRequest::default() };
            fetched = self.fetcher.fetch(store, target, &question).await;
        }
        let report = Arc::new(fetched.report);
        match (fetched.outcome, kept) {
            (Ok(FetchResponse::NotModified(headers)), Some((entry, source))) => {
                keeping.confirm(&entry, source, &headers, report);
            }
            (Ok(FetchResponse::Object { headers, .. }), _) if question.head_only => {
                keeping.take_head(&headers, report);
            }
            (Ok(FetchResponse::Object { status: StatusCode::OK, headers, .. }), _)
                if question.range.is_some()
                    && content_length(&headers)
                        .is_none_or(|it| it > self.largest(&wanted.rule)) =>
            {
                // A store without parts has no blocks to give.
                keeping.let_pass();
                landing.make_known(Landed::Pass { report });
            }
            (Ok(FetchResponse::Object { status: StatusCode::OK, headers, body }), _) => {
                keeping.take_in(&headers, body, report).await;
            }
            (Ok(FetchResponse::Object { headers, body, .. }), _)
                if question.range.is_some() && self.is_small_without_version(&headers, wanted) =>
            {
                // It can be kept whole and no other way.
                drop(body);
                let whole = FetchRequest::default();
                let fetched = self.fetcher.fetch(store, target, &whole).await;
                let report = Arc::new(fetched.report);
                match fetched.outcome {
                    Ok(FetchResponse::Object { status: StatusCode::OK, headers, body }) => {
                        keeping.take_in(&headers, body, report).await;
                    }
                    Ok(_) => landing.end_with(Landed::Pass { report }),
                    Err(refusal) => {
                        landing.end_with(Landed::Refused { refusal, stored_for: None, report });
                    }
                }
            }
            (Ok(FetchResponse::Object { headers, body, .. }), _) if question.range.is_some() => {
                keeping.take_part(&headers, body, report).await;
            }
            // Neither was asked for.
            (Ok(FetchResponse::NotModified(_) | FetchResponse::Object { .. }), _) => {
                let refusal = Refusal::UpstreamProtocol;
                landing.end_with(Landed::Refused { refusal, stored_for: None, report });
            }
            (Err(refusal), kept) => {
                let stored_for = match (&refusal, kept) {
                    (Refusal::ObjectNotFound, kept) => {
                        if let Some((_, ObjectBody::Blocks(blocks))) = kept {
                            self.drop_version(wanted, &blocks);
                        }
                        keeping.note_missing()
                    }
                    (Refusal::UpstreamForbidden, Some((entry, _))) => {
                        keeping.withdraw(&entry);
                        None
                    }
                    _ => None,
                };
                landing.end_with(Landed::Refused { refusal, stored_for, report });
            }
        }
    }

    fn is_small_without_version(&self, headers: &HeaderMap, wanted: &CacheRequest) -> bool {
        Version::of(headers, 0).is_none()
            && length_of_whole(headers).is_some_and(|it| it <= self.largest(&wanted.rule))
    }

    /// What the store is asked for an object of which nothing is kept.
    fn first_question(&self, wanted: &CacheRequest) -> FetchRequest {
        match wanted.manner {
            Extent::Range(range) => {
                let tiers = &self.blocks;
                let most = tiers.most_at_once();
                // No more than what is wanted of blocks that could not be kept.
                let size = if self.keeps_blocks_of(tiers.size()) { tiers.size() } else { 1 };
                let range = Some(widened(range, size, most, tiers.first_bytes()));
                FetchRequest { range, ..FetchRequest::default() }
            }
            Extent::Whole => FetchRequest::default(),
            Extent::Head => FetchRequest { head_only: true, ..FetchRequest::default() },
        }
    }

    /// What the disk holds of it, unless it was purged.
    async fn on_disk(&self, wanted: &CacheRequest) -> Option<Arc<Entry>> {
        let record = self.disk.as_ref()?.get(&wanted.key).await?;
        if self.purges.cover(wanted.key.as_bytes(), record.asked) || !wanted.rule.store {
            return None;
        }
        if record.asked > now() {
            // The clock was set back: neither its age nor a purge could be told from its time.
            self.disk.as_ref()?.remove(&wanted.key);
            return None;
        }
        let profile = &wanted.store.profile;
        let headers = &record.headers;
        let head = self.heads.kept_head(headers, profile, wanted.content_type.as_ref()).ok()?;
        let length = record.body.len() as u64;
        // The record of what is in blocks has no body.
        let in_blocks = content_length(headers).filter(|whole| *whole > length);
        let held = self.room_for(wanted, head_weight(&head) + length)?;
        self.free_room(wanted);
        let (body, lifetime) = (Body::from_bytes(record.body), lifetime(headers));
        let content = match in_blocks {
            None => Content::Object(Arc::new(Object { head, lifetime, body, held })),
            Some(length) => {
                let version = Version::of(headers, length).filter(|_| self.blocks.are_kept())?;
                let size = self.blocks.size();
                Content::Blocks(Arc::new(Blocks::new(head, lifetime, version, size, held)))
            }
        };
        let (key, asked, freshness) = (record.key, record.asked, record.freshness);
        let entry = Arc::new(Entry { key, asked, freshness, content });
        self.suits(wanted, &entry).then_some(entry)
    }
}

/// What the store is asked about an object that is kept: by its entity tag, else by its date.
fn confirmation(head: &HeaderMap) -> FetchRequest {
    let tag = head.get(ETAG).and_then(|tag| EntityTag::parse_lenient(tag.as_bytes()));
    let if_none_match = tag.and_then(|tag| tag.strong_header());
    let if_modified_since = match if_none_match {
        None => head.get(LAST_MODIFIED).cloned(),
        Some(_) => None,
    };
    FetchRequest { if_none_match, if_modified_since, ..FetchRequest::default() }
}
