//! The cache: objects in memory and on disk. Each is fetched once, however many clients request it.
//!
//! A request is answered by the first of these that can: the memory tier, a fetch in flight, the disk tier, the tier
//! that replicas share, the store. Fetches are tasks that clients do not harm. There are three layers:
//!
//! - [`Cache`], in this file, is what the other rooms use: find, open, purge, inspect, close. It
//!   decides whether an entry is served (`evaluate`) and what the outcome of a fetch means for a
//!   request (`resolve`). It is the only layer that makes `Cache-Status`.
//! - `fetch.rs`, `admit.rs`, `blocks/`: the fetches, which objects are in flight, what is admitted.
//! - `tiers.rs`: the tiers, which know no fetch. Every read leaves out what a purge covers, and memory
//!   and disk change together.
//!
//! Members of archives are read from what the first two have (`members.rs`).
//!
//! Objects known to be missing have an entry with `EntryContent::Negative`, or `Cache::excluded`.

mod admit;
mod blocks;
mod body;
mod clock;
mod confirmation;
pub mod disk;
pub mod entry;
mod fetch;
mod fill;
pub mod freshness;
mod inflight;
mod inspect;
pub mod key;
mod lookup;
mod member;
mod members;
pub mod memory;
pub mod object;
mod outcome;
mod passing;
mod pinned;
mod purge;
mod replicas;
mod request;
mod revalidate;
mod service;
mod shared;
mod sharing;
pub mod statistics;
pub mod stored_head;
mod stored_headers;
mod surveys;
mod tiers;
mod weight;

pub use self::blocks::arrival::BlockError;
pub use self::blocks::arriving_body::BodySlot;
pub use self::blocks::object::Blocks;
pub use self::blocks::reader::counter::BlockCounter;
pub use self::blocks::reader::{BlockReader, OpenError};
pub use self::fill::Truncated;
pub use self::inspect::{
    Inspection, KnownMember, StoredBlocks, StoredContent, StoredEntry, StoredState,
};
pub use self::key::CacheKey;
pub use self::lookup::{Lookup, LookupResult};
pub use self::member::{Member, MemberRequest, WholeCheck, member_tag};
pub use self::members::OpenedMember;
pub use self::object::{Object, ObjectBody};
pub use self::passing::PassingObject;
pub use self::purge::pending::{PurgeScope, Removed};
pub use self::request::{CacheRequest, Extent};
pub use self::shared::{EngineTrial, ReplicaReport, SharedStatus, try_shared};
pub use self::tiers::report::Tier;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cache::clock::now;
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::fetch::{Fetches, Join};
use crate::cache::freshness::FreshnessState;
use crate::cache::members::Members;
use crate::cache::outcome::FetchOutcome;
use crate::cache::purge::pending::Purge;
use crate::cache::statistics::Statistics;
use crate::cache::surveys::Surveys;
use crate::cache::tiers::Tiers;
use crate::config::CacheConfig;
use crate::engine::Engine;
use crate::profile::cache_rules::Rule;
use crate::profile::fingerprint::Fingerprint;
use crate::protocol::cache_status::{CacheStatus, ForwardReason, Stale};
use crate::response::object_head::ObjectHeads;
use crate::response::refusal::Refusal;
use crate::upstream::client::{FetchReport, StoreClient};

/// How long a request that waits for a failing store waits for its own outcome still.
const OUTCOME_WAIT: Duration = Duration::from_millis(5);

/// How often a request looks again if the outcome of a fetch is not usable for it.
const MAX_LOOKS: usize = 5;

/// Objects in memory and on disk, and the fetches of those that are not.
#[derive(Debug)]
pub struct Cache {
    tiers: Arc<Tiers>,
    fetches: Arc<Fetches>,
    surveys: Arc<Surveys>,
    members: Members,
    /// How long a request waits for a revalidation while there is a stale object to serve.
    revalidate_timeout: Duration,
}

/// Whether an entry is served.
enum Evaluation {
    Serve(Lookup),
    /// A request to the store is needed first; the store may confirm the `old` entry.
    AskStore {
        old: Option<Arc<Entry>>,
        why: ForwardReason,
    },
}

/// What the outcome of a fetch means for a request: serve, or evaluate this entry, or look again.
enum Resolution {
    Serve(Lookup),
    LookAgain(Option<Arc<Entry>>),
}

impl Cache {
    /// The largest object that a cache of `memory` bytes stores whole by this rule, bytes.
    #[must_use]
    pub fn max_object_of(memory: u64, config: &CacheConfig, rule: &Rule) -> u64 {
        Tiers::max_object_of(memory, config, rule)
    }

    /// A cache of `memory` bytes, with a disk tier if one is configured, and with the shared tier in this
    /// engine; [`Cache::read_shared`] and [`Cache::serve_replicas`] connect it.
    #[must_use]
    pub fn new(
        memory: u64,
        config: &CacheConfig,
        engine: Option<Engine>,
        client: StoreClient,
        heads: Arc<ObjectHeads>,
    ) -> Arc<Self> {
        let tiers = Tiers::new(memory, config, engine);
        let members = Members::new(config.archive_directories, Arc::clone(&heads));
        let fetches = Fetches::new(&tiers, Arc::new(client), heads, config.background_refreshes);
        let (surveys, revalidate_timeout) = (Arc::default(), config.revalidate_timeout);
        Arc::new(Self { tiers, fetches, surveys, members, revalidate_timeout })
    }

    /// Finds an object, or has it fetched.
    pub async fn find(&self, request: &Arc<CacheRequest>) -> Lookup {
        let began = now();
        let mut is_shared = false;
        let mut entry = self.tiers.lookup(request);
        let mut no_cache = request.no_cache;
        if let Some(entry) = &entry {
            let is_hit = !no_cache && entry.is_fresh(began);
            self.statistics().memory_hits.inc_by(u64::from(is_hit));
        }
        for _ in 0..MAX_LOOKS {
            let (old, why) = match self.evaluate(request, entry.take(), no_cache, began) {
                Evaluation::Serve(lookup) => return lookup.with_shared(is_shared),
                Evaluation::AskStore { old, why } => (old, why),
            };
            if old.is_none()
                && let Some(lookup) = self.excluded(request, began, true)
            {
                return lookup;
            }
            let outage = request.store.outage.cause();
            if let Some((old, refusal)) = old.as_ref().zip(outage)
                && let Some(lookup) = self.stale_if_error(old, refusal, None)
            {
                self.fetches.probe(request, old);
                return lookup;
            }
            let joined = self.fetches.join(request, old.as_ref());
            // A purge that came before the fetch began; a later one detaches the fetch.
            let old = old.filter(|old| !self.tiers.is_purged(&request.key, old.requested_at));
            let (fetch, follows) = match joined {
                Join::Fetch { fetch, follows } => (fetch, follows),
                Join::Cached(newer) => {
                    no_cache = false;
                    entry = Some(newer);
                    continue;
                }
                Join::Bypass => return self.bypass(why),
            };
            // A purge that came while the store was asked covers what was cached before.
            let is_served = |old: &Arc<Entry>| {
                !fetch.is_purged() && !self.tiers.is_purged(&request.key, old.requested_at)
            };
            let outcome = 'outcome: {
                let _waiting = follows.then(|| request.wait_for(fetch.trace.as_ref()));
                tokio::select! {
                    biased;
                    outcome = fetch.outcome() => outcome,
                    refusal = self.store_is_late(request, old.as_deref()) => {
                        // If it was this request that failed, its outcome is a moment away.
                        if let Ok(outcome) = timeout(OUTCOME_WAIT, fetch.outcome()).await {
                            break 'outcome outcome;
                        }
                        let old = old.as_ref().filter(|old| is_served(old));
                        match old.and_then(|old| self.stale_if_error(old, refusal, None)) {
                            Some(lookup) => return lookup,
                            None => fetch.outcome().await,
                        }
                    }
                }
            };
            let old = old.filter(is_served);
            is_shared = matches!(outcome, Some(FetchOutcome::FromShared(_)));
            match self.resolve(request, outcome, old.as_deref(), why, follows) {
                Resolution::Serve(lookup) => return lookup,
                Resolution::LookAgain(None) if self.fetches.is_not_worth_a_fetch(request) => {
                    return self.bypass(why);
                }
                Resolution::LookAgain(found) => entry = found,
            }
        }
        self.bypass(ForwardReason::Miss)
    }

    /// Finds what memory can answer at once: a whole object that is fresh or within its
    /// stale-while-revalidate window, or a fresh negative entry. `None` leaves no trace; the request is
    /// then answered by [`Cache::find`].
    #[must_use]
    pub fn find_in_memory(&self, request: &Arc<CacheRequest>) -> Option<Lookup> {
        if request.no_cache {
            return None;
        }
        let now = now();
        let Some(entry) = self.tiers.lookup(request) else {
            return self.excluded(request, now, false);
        };
        let state = entry.freshness.at(now);
        let is_fresh = matches!(state, FreshnessState::Fresh);
        let is_young = is_fresh || matches!(state, FreshnessState::StaleWhileRevalidate);
        match &entry.content {
            EntryContent::Object(_) if is_young => {}
            EntryContent::Negative(_) if is_fresh => {}
            EntryContent::Negative(_) => return self.excluded(request, now, false),
            _ => return None,
        }
        match self.evaluate(request, Some(entry), false, now) {
            Evaluation::Serve(lookup) => {
                self.statistics().memory_hits.inc_by(u64::from(is_fresh));
                Some(lookup)
            }
            Evaluation::AskStore { .. } => None,
        }
    }

    /// Opens these byte ranges of an object in blocks for reading, in ascending order and without
    /// overlap. Returns when the first byte is in memory or arriving.
    ///
    /// # Errors
    /// When the store has another version, or fails: the response to the client has not begun.
    pub fn open<'a>(
        &'a self,
        request: &'a Arc<CacheRequest>,
        blocks: &'a Arc<Blocks>,
        ranges: &'a [Range<u64>],
        arriving: Option<BodySlot>,
    ) -> impl Future<Output = Result<BlockReader, OpenError>> + Send + 'a {
        BlockReader::open(self.fetches.blocks(), request, blocks, ranges, arriving)
    }

    /// Purges one object, or every object whose key begins with this one: when this returns, they are no longer
    /// served. Returns how far their memory is freed. Replicas that share a tier obey soon ([`Cache::obeyed`]).
    pub fn purge(&self, key: &CacheKey, scope: PurgeScope) -> watch::Receiver<Removed> {
        // In this order: a fetch that begins between the two does not ask the shared tier.
        self.tiers.record_purge(key, scope);
        self.purge_here(key, scope)
    }

    /// The same in this replica alone: its settings have changed.
    pub fn purge_here(&self, key: &CacheKey, scope: PurgeScope) -> watch::Receiver<Removed> {
        purge::begin(&self.tiers, key, scope, |purge| self.detach(purge))
    }

    /// Detaches what is in flight and forgets what is known beside the tiers, as far as a purge covers it.
    fn detach(&self, purge: &Purge) {
        self.fetches.purge(purge);
        self.members.purge(purge);
    }

    /// What the tiers hold of an object that these settings have made. Must be called within a Tokio
    /// runtime.
    pub async fn inspect(&self, key: &CacheKey, settings: Fingerprint) -> Inspection {
        let in_flight = self.fetches.is_in_flight(key);
        inspect::inspect(&self.tiers, key, settings, in_flight).await
    }

    /// Writes the records that are queued for the disk, within seconds. Blocks; for the end of the
    /// process.
    pub fn close(&self) {
        self.tiers.close();
    }

    /// The counters of the cache.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        self.tiers.statistics()
    }

    /// The counters and sizes, for operators.
    #[must_use]
    pub fn report(&self) -> Value {
        self.tiers.report(self.fetches.count(), self.fetches.blocks().count())
    }

    /// How full each tier is.
    #[must_use]
    pub fn tiers(&self) -> Vec<Tier> {
        self.tiers.sizes()
    }
}

impl Cache {
    /// Whether this entry is served.
    fn evaluate(
        &self,
        request: &Arc<CacheRequest>,
        entry: Option<Arc<Entry>>,
        no_cache: bool,
        now: SystemTime,
    ) -> Evaluation {
        let entry = entry.filter(|entry| self.tiers.is_entry_usable_for(request, entry));
        let Some(entry) = entry else {
            return Evaluation::AskStore { old: None, why: ForwardReason::Miss };
        };
        let freshness = entry.freshness;
        let (what, stale) = match (entry.source(), &entry.content, freshness.at(now)) {
            (_, _, FreshnessState::Fresh) if no_cache => {
                return Evaluation::AskStore { old: Some(entry), why: ForwardReason::Request };
            }
            (Some(source), _, FreshnessState::Fresh) => {
                (LookupResult::cached(source, freshness), None)
            }
            (Some(source), _, FreshnessState::StaleWhileRevalidate) if !no_cache => {
                self.fetches.revalidate(request, &entry);
                self.statistics().stale_served.inc();
                (LookupResult::cached(source, freshness), Some(Stale::WhileRevalidate))
            }
            (Some(_), ..) => {
                return Evaluation::AskStore { old: Some(entry), why: ForwardReason::Stale };
            }
            (None, EntryContent::Negative(_), FreshnessState::Fresh) => {
                (LookupResult::Refused(Refusal::ObjectNotFound), None)
            }
            (None, EntryContent::HitForPass(_), FreshnessState::Fresh) => {
                return Evaluation::Serve(self.bypass(ForwardReason::Miss));
            }
            (None, ..) => return Evaluation::AskStore { old: None, why: ForwardReason::Stale },
        };
        let status = CacheStatus::Hit { ttl: freshness.ttl(now), stale, shared: false };
        Evaluation::Serve(Lookup::of(what, status))
    }

    /// The answer for a tile that its survey excludes.
    fn excluded(
        &self,
        request: &Arc<CacheRequest>,
        now: SystemTime,
        may_ask_store: bool,
    ) -> Option<Lookup> {
        let (tiers, fetches) = (&self.tiers, &self.fetches);
        let is_excluded = self.surveys.excludes(tiers, fetches, request, now, may_ask_store);
        let refused = LookupResult::Refused(Refusal::ObjectNotFound);
        is_excluded.then(|| Lookup::of(refused, CacheStatus::Excluded))
    }

    fn bypass(&self, why: ForwardReason) -> Lookup {
        self.statistics().misses.inc();
        Lookup::bypass(why)
    }

    /// What the outcome of a fetch means for a request; `collapsed` if another request led the fetch.
    fn resolve(
        &self,
        request: &CacheRequest,
        outcome: Option<FetchOutcome>,
        old: Option<&Entry>,
        why: ForwardReason,
        collapsed: bool,
    ) -> Resolution {
        let now = now();
        // The exchange with the store belongs to the leader's request.
        let own = |report| Some(report).filter(|_| !collapsed);
        let lookup = match outcome {
            None => {
                let what = LookupResult::Refused(Refusal::Internal);
                Lookup { what, ..Lookup::bypass(why) }
            }
            Some(FetchOutcome::FromDisk(entry) | FetchOutcome::FromShared(entry)) => {
                let is_purged = self.tiers.is_purged(&request.key, entry.requested_at);
                return Resolution::LookAgain(Some(entry).filter(|_| !is_purged));
            }
            Some(FetchOutcome::NotCached) => return Resolution::LookAgain(None),
            Some(FetchOutcome::Bypass { answer, report }) => {
                let answer = answer.filter(|_| !collapsed).and_then(|answer| answer.take());
                let passed = Lookup { report: own(report), ..self.bypass(why) };
                match answer {
                    Some(answer) => passed.with_answer(answer, now),
                    None => passed,
                }
            }
            Some(FetchOutcome::Object { source, .. })
                if !self.tiers.is_usable_for(request, &source) =>
            {
                return Resolution::LookAgain(None);
            }
            Some(FetchOutcome::Object { source, freshness, arriving, stored, report }) => {
                self.count_fetch(collapsed);
                let report = own(report);
                let status = report.as_ref().and_then(|report| report.status);
                let ttl = Some(freshness.ttl(now));
                let status = CacheStatus::Forwarded { why, status, ttl, stored, collapsed };
                let what = LookupResult::Object { source, freshness, arriving };
                Lookup { what, status, report, fault: None }
            }
            Some(FetchOutcome::Refused { refusal, stored_for: ttl, report }) => {
                self.count_fetch(collapsed);
                let report = own(report);
                let old = old.filter(|_| refusal.is_outage());
                let stale =
                    old.and_then(|old| self.stale_if_error(old, refusal.clone(), report.clone()));
                match stale {
                    Some(lookup) => lookup,
                    None => {
                        let status = report.as_ref().and_then(|report| report.status);
                        let stored = ttl.is_some();
                        let status = CacheStatus::Forwarded { why, status, ttl, stored, collapsed };
                        let what = LookupResult::Refused(refusal);
                        Lookup { what, status, report, fault: None }
                    }
                }
            }
        };
        Resolution::Serve(lookup)
    }

    /// The stale object in place of the store's answer, as long as `stale_if_error` covers it.
    fn stale_if_error(
        &self,
        old: &Entry,
        refusal: Refusal,
        report: Option<Arc<FetchReport>>,
    ) -> Option<Lookup> {
        let (now, freshness) = (now(), old.freshness);
        let source = old.source().filter(|_| freshness.usable_if_error(now))?;
        self.statistics().stale_served.inc();
        let stale = Some(Stale::IfError);
        let status = CacheStatus::Hit { ttl: freshness.ttl(now), stale, shared: false };
        let what = LookupResult::cached(source, freshness);
        Some(Lookup { what, status, report, fault: Some(refusal) })
    }

    /// Waits until the store fails other requests, or has not answered this one in time, which begins
    /// an outage. Waits for ever if there is no stale object that could be served.
    async fn store_is_late(&self, request: &CacheRequest, old: Option<&Entry>) -> Refusal {
        let usable =
            old.is_some_and(|old| old.source().is_some() && old.freshness.usable_if_error(now()));
        if !usable {
            return std::future::pending().await;
        }
        request.store.outage.begun_within(self.revalidate_timeout).await
    }

    fn count_fetch(&self, collapsed: bool) {
        if collapsed {
            self.statistics().collapsed.inc();
        } else {
            self.statistics().misses.inc();
        }
    }
}
