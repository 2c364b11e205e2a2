//! The cache: objects kept in memory and on disk, each fetched once however many ask for it.
//!
//! A request is answered by the first that can: the memory tier, a fetch under way, the disk tier, the
//! store. Fetches are tasks of their own, so that no client's leaving or slowness harms them.

mod admit;
pub mod blocks;
pub mod body;
pub mod disk;
pub mod entry;
mod fetch;
pub mod fill;
pub mod freshness;
pub mod inflight;
pub mod inspect;
pub mod key;
pub mod lookup;
pub mod memory;
pub mod purge;
pub mod report;
pub mod request;
pub mod statistics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use crate::cache::blocks::{BlockTier, share_of};
use crate::cache::disk::{Capacity, DiskTier};
use crate::cache::entry::{Content, Entry};
use crate::cache::fetch::Landed;
use crate::cache::freshness::{Freshness, FreshnessState};
use crate::cache::inflight::{InFlightFetches, Part};
use crate::cache::lookup::{Lookup, LookupResult, ObjectBody};
use crate::cache::memory::budget::Budget;
use crate::cache::memory::tier::MemoryTier;
use crate::cache::purge::pending::Purges;
use crate::cache::request::{CacheRequest, Extent};
use crate::cache::statistics::Statistics;
use crate::config::CacheConfig;
use crate::protocol::cache_status::{CacheStatus, ForwardReason, Stale};
use crate::response::object_head::ObjectHeads;
use crate::response::refusal::Refusal;
use crate::upstream::client::StoreClient;

type Fetch = inflight::Fetch<Landed>;

/// How often a request looks again, when what it waited for is not what it needs.
const MAX_LOOKS: usize = 5;

/// Objects that were fetched, and the fetches of those that were not.
#[derive(Debug)]
pub struct Cache {
    memory: MemoryTier,
    disk: Option<DiskTier>,
    flights: Arc<InFlightFetches<Landed>>,
    purges: Purges,
    budget: Arc<Budget>,
    blocks: BlockTier,
    fetcher: StoreClient,
    heads: Arc<ObjectHeads>,
    /// How many stale objects may be asked for at once behind their clients' backs.
    refreshes: Arc<Semaphore>,
    statistics: Arc<Statistics>,
}

/// What is to be done about what was found.
enum Verdict {
    Serve(Lookup),
    /// The store has to be asked; it may confirm what is kept.
    Ask {
        kept: Option<Arc<Entry>>,
        why: ForwardReason,
    },
}

impl Cache {
    /// A cache of `memory` bytes, with a disk tier where the configuration has one.
    #[must_use]
    pub fn new(
        memory: u64,
        config: &CacheConfig,
        fetcher: StoreClient,
        heads: Arc<ObjectHeads>,
    ) -> Arc<Self> {
        let statistics = Arc::new(Statistics::default());
        let blocks = BlockTier::new(memory, config.blocks, &statistics);
        let memory = memory - share_of(memory, config.blocks);
        let disk = config.disk.as_ref().map(|disk| {
            let blocks = share_of(disk.size, config.blocks);
            let capacity = Capacity { all: disk.size, blocks };
            DiskTier::open(&disk.path, capacity, Arc::clone(&statistics))
        });
        Arc::new(Self {
            // The rest is for what is on its way, and for what slow clients still read.
            memory: MemoryTier::new(memory - memory / 8, Arc::clone(&statistics)),
            disk,
            flights: Arc::default(),
            purges: Purges::default(),
            budget: Budget::new(memory),
            blocks,
            fetcher,
            heads,
            refreshes: Arc::new(Semaphore::new(config.background_refreshes)),
            statistics,
        })
    }

    /// What the cache counts.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Writes down what waits to be written to disk, within seconds. Blocks; for the end of the
    /// process.
    pub fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }

    /// Finds an object, or has it fetched.
    pub async fn find(self: &Arc<Self>, wanted: &Arc<CacheRequest>) -> Lookup {
        let began = now();
        let mut kept = self.in_memory(wanted);
        let mut anew = wanted.anew;
        if let Some(entry) = &kept {
            self.statistics.memory_hits.inc_by(u64::from(!anew && is_fresh(entry, began)));
        }
        for _ in 0..MAX_LOOKS {
            let (old, why) = match self.judge(wanted, kept.take(), anew, began) {
                Verdict::Serve(found) => return found,
                Verdict::Ask { kept, why } => (kept, why),
            };
            let (flight, follows) = match self.board(wanted, old.as_ref()) {
                Boarding::Flight { flight, follows } => (flight, follows),
                Boarding::Kept(entry) => {
                    anew = false;
                    kept = Some(entry);
                    continue;
                }
                Boarding::None => return self.pass(why),
            };
            let landed = flight.outcome().await;
            match self.settle(wanted, landed, old.as_deref(), why, follows) {
                Settled::Lookup(found) => return found,
                Settled::LookAgain(None) if self.only_glances(wanted) => {
                    return self.pass(why);
                }
                Settled::LookAgain(entry) => kept = entry,
            }
        }
        self.pass(ForwardReason::Miss)
    }

    /// Takes part in the fetch of an object, or begins one.
    fn board(self: &Arc<Self>, wanted: &Arc<CacheRequest>, old: Option<&Arc<Entry>>) -> Boarding {
        let usable = |flight: &Fetch| self.is_usable(wanted, flight);
        if self.only_glances(wanted) && old.is_none() && self.disk.is_none() {
            // Not worth a fetch, but welcome to one that is under way.
            let flight = self.flights.under_way(&wanted.key).filter(|flight| usable(flight));
            return flight
                .map_or(Boarding::None, |flight| Boarding::Flight { flight, follows: true });
        }
        let newer = || {
            let entry = self.in_memory(wanted)?;
            let news = old.is_none_or(|old| !Arc::ptr_eq(old, &entry));
            (news && is_fresh(&entry, now())).then_some(entry)
        };
        match self.flights.join(&wanted.key, now(), usable, newer) {
            Err(entry) => Boarding::Kept(entry),
            Ok(Part::Follow(flight)) => Boarding::Flight { flight, follows: true },
            Ok(Part::Lead(landing)) => {
                let flight = Arc::clone(landing.flight());
                self.begin_fetch(Arc::clone(wanted), old.cloned(), landing, None);
                Boarding::Flight { flight, follows: false }
            }
        }
    }

    /// Whether a fetch began after all purges of its object.
    fn is_usable(&self, wanted: &CacheRequest, flight: &Fetch) -> bool {
        !self.purges.cover(wanted.key.as_bytes(), flight.began)
    }

    /// What memory holds of it, unless it was purged.
    fn in_memory(&self, wanted: &CacheRequest) -> Option<Arc<Entry>> {
        let entry = self.memory.get(wanted.key.as_bytes())?;
        let is_gone = self.purges.cover(wanted.key.as_bytes(), entry.asked);
        (!is_gone && self.suits(wanted, &entry)).then_some(entry)
    }

    /// Whether what is kept is of use: an object that could be kept whole is no longer kept in blocks
    /// when it is wanted whole.
    fn suits(&self, wanted: &CacheRequest, entry: &Entry) -> bool {
        entry.source().is_none_or(|source| self.suits_source(wanted, &source))
    }

    fn suits_source(&self, wanted: &CacheRequest, source: &ObjectBody) -> bool {
        wanted.manner != Extent::Whole
            || !matches!(source, ObjectBody::Blocks(_))
            || source.length() > self.largest(&wanted.rule)
    }

    /// Whether it is wanted in a manner that is not worth a fetch of the cache: where blocks are not
    /// kept, what is wanted of an object is left to the store unless it is all of it.
    fn only_glances(&self, wanted: &CacheRequest) -> bool {
        wanted.manner != Extent::Whole && !self.blocks.are_kept()
    }

    /// Whether what is kept will do.
    fn judge(
        self: &Arc<Self>,
        wanted: &Arc<CacheRequest>,
        kept: Option<Arc<Entry>>,
        anew: bool,
        now: SystemTime,
    ) -> Verdict {
        let kept = kept.filter(|entry| self.suits(wanted, entry));
        let Some(entry) = kept else {
            return Verdict::Ask { kept: None, why: ForwardReason::Miss };
        };
        let state = entry.freshness.at(now);
        let ttl = entry.freshness.ttl(now);
        let freshness = entry.freshness;
        let (what, stale) = match (entry.source(), &entry.content, state) {
            (_, _, FreshnessState::Fresh) if anew => {
                return Verdict::Ask { kept: Some(entry), why: ForwardReason::Request };
            }
            (Some(source), _, FreshnessState::Fresh) => (kept_object(source, freshness), None),
            (Some(source), _, FreshnessState::StaleWhileRevalidate) if !anew => {
                self.refresh(wanted, &entry);
                self.statistics.stale_served.inc();
                (kept_object(source, freshness), Some(Stale::WhileRevalidate))
            }
            (Some(_), ..) => return Verdict::Ask { kept: Some(entry), why: ForwardReason::Stale },
            (None, Content::Negative(_), FreshnessState::Fresh) => {
                (LookupResult::Refused(Refusal::ObjectNotFound), None)
            }
            (None, Content::HitForPass(_), FreshnessState::Fresh) => {
                return Verdict::Serve(self.pass(ForwardReason::Miss));
            }
            (None, ..) => return Verdict::Ask { kept: None, why: ForwardReason::Stale },
        };
        let status = CacheStatus::Hit { ttl, stale };
        Verdict::Serve(Lookup { what, status, report: None, fault: None })
    }

    fn pass(&self, why: ForwardReason) -> Lookup {
        self.statistics.misses.inc();
        Lookup {
            what: LookupResult::Bypass,
            status: CacheStatus::passed(why),
            report: None,
            fault: None,
        }
    }

    /// Asks for a stale object again, unless that is being done or too much of it is.
    fn refresh(self: &Arc<Self>, wanted: &Arc<CacheRequest>, entry: &Arc<Entry>) {
        let Ok(permit) = Arc::clone(&self.refreshes).try_acquire_owned() else { return };
        let usable = |flight: &Fetch| self.is_usable(wanted, flight);
        let newer = || {
            let kept = self.in_memory(wanted)?;
            (!Arc::ptr_eq(entry, &kept)).then_some(())
        };
        let part = self.flights.join(&wanted.key, now(), usable, newer);
        if let Ok(Part::Lead(landing)) = part {
            self.begin_fetch(Arc::clone(wanted), Some(Arc::clone(entry)), landing, Some(permit));
        }
    }

    /// What the end of a fetch means for a request.
    fn settle(
        &self,
        wanted: &CacheRequest,
        landed: Option<Landed>,
        old: Option<&Entry>,
        why: ForwardReason,
        collapsed: bool,
    ) -> Settled {
        let now = now();
        // The store's part belongs to the request that had it asked.
        let own = |report| Some(report).filter(|_| !collapsed);
        let (what, status, report, fault) = match landed {
            None => {
                (LookupResult::Refused(Refusal::Internal), CacheStatus::passed(why), None, None)
            }
            Some(Landed::OnDisk(entry)) => return Settled::LookAgain(Some(entry)),
            Some(Landed::NotKept) => return Settled::LookAgain(None),
            Some(Landed::Pass { report }) => {
                let found = self.pass(why);
                (found.what, found.status, own(report), None)
            }
            Some(Landed::Object { source, .. }) if !self.suits_source(wanted, &source) => {
                return Settled::LookAgain(None);
            }
            Some(Landed::Object { source, freshness, arriving, stored, report }) => {
                self.count_fetch(collapsed);
                let report = own(report);
                let status = report.as_ref().and_then(|report| report.status);
                let ttl = Some(freshness.ttl(now));
                let status = CacheStatus::Forwarded { why, status, ttl, stored, collapsed };
                (LookupResult::Object { source, freshness, arriving }, status, report, None)
            }
            Some(Landed::Refused { refusal, stored_for: ttl, report }) => {
                self.count_fetch(collapsed);
                let report = own(report);
                let stand_in =
                    old.filter(|old| refusal.is_outage() && old.freshness.may_stand_in(now));
                match stand_in.and_then(|old| Some((old, old.source()?))) {
                    Some((old, source)) => {
                        self.statistics.stale_served.inc();
                        let ttl = old.freshness.ttl(now);
                        let status = CacheStatus::Hit { ttl, stale: Some(Stale::IfError) };
                        let what = kept_object(source, old.freshness);
                        (what, status, report, Some(refusal))
                    }
                    None => {
                        let status = report.as_ref().and_then(|report| report.status);
                        let stored = ttl.is_some();
                        let status = CacheStatus::Forwarded { why, status, ttl, stored, collapsed };
                        (LookupResult::Refused(refusal), status, report, None)
                    }
                }
            }
        };
        Settled::Lookup(Lookup { what, status, report, fault })
    }

    fn count_fetch(&self, collapsed: bool) {
        if collapsed {
            self.statistics.collapsed.inc();
        } else {
            self.statistics.misses.inc();
        }
    }
}

/// How a request comes to its object when it is not kept.
enum Boarding {
    /// By a fetch, its own or another one's.
    Flight { flight: Arc<Fetch>, follows: bool },
    /// It is kept by now.
    Kept(Arc<Entry>),
    /// Not by the cache.
    None,
}

/// What came of waiting for a fetch.
enum Settled {
    Lookup(Lookup),
    /// Something is kept now, or nothing was.
    LookAgain(Option<Arc<Entry>>),
}

fn kept_object(source: ObjectBody, freshness: Freshness) -> LookupResult {
    LookupResult::Object { source, freshness, arriving: None }
}

fn is_fresh(entry: &Entry, now: SystemTime) -> bool {
    entry.freshness.at(now) == FreshnessState::Fresh
}

/// The time, read in one place of the cache. It never goes back while the process runs, so that a
/// purge comes after all that was asked for before it, whatever becomes of the clock.
fn now() -> SystemTime {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    #[expect(clippy::disallowed_methods, reason = "freshness is a matter of the time of day")]
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = u64::try_from(clock.as_micros()).unwrap_or(u64::MAX);
    let latest = LATEST.fetch_max(micros, Ordering::Relaxed).max(micros);
    UNIX_EPOCH + Duration::from_micros(latest)
}
