//! What a fetch finds below memory: a record on disk, or a value of the shared tier; another replica may
//! have the object there, or be fetching it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::admit::listing_head;
use crate::cache::blocks::object::Blocks;
use crate::cache::blocks::version::Version;
use crate::cache::clock::now;
use crate::cache::disk::DiskRecord;
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::fetch::Fetches;
use crate::cache::inflight::Leader;
use crate::cache::memory::budget::Held;
use crate::cache::object::Object;
use crate::cache::outcome::FetchOutcome;
use crate::cache::request::{CacheRequest, Extent};
use crate::cache::shared::{LeaseHeld, LeaseResult};
use crate::cache::stored_headers::lifetime_headers;
use crate::cache::tiers::shared::SharedAnswer;
use crate::cache::tiers::{DiskChange, SharedChange};
use crate::cache::weight::{entry_weight, head_weight, object_weight};
use crate::trace::span::Span;
use crate::upstream::answer::content_length;

/// A request waits no longer for another replica.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What came of asking the replicas.
pub(super) enum SharedFetch {
    Found(Arc<Entry>),
    /// The store is asked; others wait if this replica has the lease.
    Store(Option<LeaseHeld>),
}

impl SharedFetch {
    /// Notes in a span what came of it.
    pub(super) fn described(&self, mut span: Span) -> Span {
        span.text(
            "s3proxy.shared",
            match self {
                Self::Found(_) => "found",
                Self::Store(Some(_)) => "leased",
                Self::Store(None) => "missing",
            },
        );
        span
    }
}

impl Fetches {
    /// Asks the shared tier for an object, and waits for the replica that fetches it, if another one does.
    /// `is_old`: an entry that is not fresh is at hand, so only a fresh one is of use.
    pub(super) async fn ask_replicas(
        &self,
        request: &Arc<CacheRequest>,
        is_old: bool,
        waits: bool,
    ) -> SharedFetch {
        let statistics = self.tiers.statistics();
        if let Some(entry) = self.read_from_shared(request, is_old).await {
            return SharedFetch::Found(entry);
        }
        statistics.shared_misses.inc();
        // Of a part of a large object others have no use.
        if !waits || request.extent != Extent::Whole {
            return SharedFetch::Store(None);
        }
        let started = Instant::now();
        // Before the lease is asked for: no message about its end is missed.
        let Some(mut wait) = self.tiers.wait_for_lease(request) else {
            return SharedFetch::Store(None);
        };
        let mut has_waited = false;
        loop {
            let left = match self.tiers.lease(request).await {
                LeaseResult::Taken(lease) => {
                    // Its value may have come since.
                    return match self.read_from_shared(request, is_old).await {
                        Some(entry) => SharedFetch::Found(entry),
                        None => {
                            statistics.shared_leases.inc();
                            SharedFetch::Store(Some(lease))
                        }
                    };
                }
                LeaseResult::None => return SharedFetch::Store(None),
                LeaseResult::Elsewhere(_) if started.elapsed() >= LONGEST_WAIT => {
                    return SharedFetch::Store(None);
                }
                LeaseResult::Elsewhere(left) => left,
            };
            if !has_waited {
                has_waited = true;
                statistics.shared_waits.inc();
            }
            wait.until_due(left).await;
            if let Some(entry) = self.read_from_shared(request, is_old).await {
                return SharedFetch::Found(entry);
            }
        }
    }

    /// The entry for what the shared tier knows of the object, with room for it; if `must_be_fresh`, only
    /// a fresh one.
    async fn read_from_shared(
        &self,
        request: &CacheRequest,
        must_be_fresh: bool,
    ) -> Option<Arc<Entry>> {
        let entry = match self.tiers.lookup_in_shared(request).await? {
            SharedAnswer::Object(record) => self.entry_of(request, record)?,
            SharedAnswer::Negative(record) => {
                let held = self.tiers.reserve(&request.key, 0)?.into_held();
                let DiskRecord { key, requested_at, freshness, .. } = record;
                let (settings, content) = (Some(request.settings), EntryContent::Negative(held));
                Arc::new(Entry { key, requested_at, settings, freshness, content, pin: None })
            }
        };
        let is_object = entry.source().is_some();
        (entry.is_fresh(now()) || (is_object && !must_be_fresh)).then_some(entry)
    }

    /// Ends a fetch with what a lower tier has.
    pub(super) fn found(
        &self,
        leader: &Leader<FetchOutcome>,
        entry: Arc<Entry>,
        outcome: fn(Arc<Entry>) -> FetchOutcome,
    ) {
        let tiers = &self.tiers;
        // Not stored if it was purged while it was read.
        let stored = tiers.store(leader, Arc::clone(&entry), DiskChange::None, SharedChange::None);
        let outcome = outcome(entry);
        let (hits, is_usable) = match &outcome {
            // Memory may have no room for it.
            FetchOutcome::FromShared(_) => {
                (&tiers.statistics().shared_hits, !leader.fetch().is_purged())
            }
            _ => (&tiers.statistics().disk_hits, stored),
        };
        if !is_usable {
            return leader.finish(FetchOutcome::NotCached);
        }
        hits.inc();
        leader.finish(outcome);
    }

    /// The entry for an object on disk, with room for it.
    pub(super) async fn read_from_disk(&self, request: &CacheRequest) -> Option<Arc<Entry>> {
        let record = self.tiers.lookup_on_disk(request).await.filter(|_| request.rule.store)?;
        self.entry_of(request, record)
    }

    /// The entry for a record, with room for it.
    fn entry_of(&self, request: &CacheRequest, record: DiskRecord) -> Option<Arc<Entry>> {
        let tiers = &self.tiers;
        let profile = &request.store.profile;
        let headers = &record.headers;
        let head = if request.is_listing {
            listing_head()
        } else {
            self.heads.cached_head(headers, profile, request.content_type.as_ref()).ok()
        };
        let head = head?;
        let length = record.body.len();
        // The record of an object in blocks has no body.
        let in_blocks = content_length(headers).filter(|whole| *whole > length);
        // With more memory it was stored whole. To read all of it for each range would cost too much.
        let too_large = in_blocks.is_none() && length > tiers.max_object(&request.rule);
        if too_large && tiers.blocks().are_cached() && Version::of(headers, length).is_some() {
            return None;
        }
        let (body, lifetime) = (record.body, lifetime_headers(headers));
        let weight = match in_blocks {
            None => object_weight(&head, &lifetime, length),
            Some(_) => head_weight(&head, &lifetime),
        };
        let held = match record.held {
            // Room was taken for the file, before its head was known. The tier counts what the entry weighs:
            // if entries held more, the budget would be exhausted before the tier evicts.
            Some(held) => Held::shrunk(held, entry_weight(&request.key) + weight),
            // It waits to be written.
            None => tiers.reserve(&request.key, weight)?.into_held(),
        };
        let content = match in_blocks {
            None => EntryContent::Object(Arc::new(Object::of(&head, &lifetime, body, held))),
            Some(length) => {
                let limits = tiers.blocks();
                let version = Version::of(headers, length).filter(|_| limits.are_cached())?;
                let blocks = Blocks::new(head, lifetime, version, limits.size(), held);
                EntryContent::Blocks(Arc::new(blocks))
            }
        };
        let (key, requested_at, freshness) = (record.key, record.requested_at, record.freshness);
        let settings = Some(request.settings);
        let pin = if in_blocks.is_none() { request.pin() } else { None };
        let entry = Arc::new(Entry { key, requested_at, settings, freshness, content, pin });
        tiers.is_entry_usable_for(request, &entry).then_some(entry)
    }
}
