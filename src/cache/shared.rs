//! The tier that replicas share: values in an engine (`crate::engine`), in a checked format (`value.rs`).
//! `docs/shared-cache.md` describes it for operators.
//!
//! - A value is read within the time for a command, inside the fetch of its key; everything but a right
//!   value is a miss.
//! - Values are written by a task of their own from a bounded queue (`queue.rs`). The engine's clock orders
//!   them: no answer to an earlier request replaces one to a later request. A [`ValueKind::Tombstone`] is
//!   the answer that there is nothing to serve.
//! - Purges are recorded in the engine (`purges.rs`) and have numbers. A value names the last purge that its
//!   writer knew, and is covered by later ones. Until a purge of this replica is recorded, the replica uses
//!   nothing of the engine.
//! - One replica at a time fetches an object, by a lease (`lease.rs`). Others wait, and hear of its end
//!   (`waits.rs`).

mod lease;
mod members;
pub(super) mod purges;
mod queue;
mod script;
mod sync;
mod trial;
pub(super) mod value;
mod waits;

pub(super) use self::lease::{LeaseHeld, LeaseResult};
pub use self::members::ReplicaReport;
pub(super) use self::sync::Polled;
pub use self::trial::{EngineTrial, try_shared};
pub(super) use self::waits::LeaseWait;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::cache::clock::{now, process_start};
use crate::cache::disk::DiskRecord;
use crate::cache::freshness::{Freshness, FreshnessState};
use crate::cache::key::CacheKey;
use crate::cache::purge::pending::PurgeScope;
use crate::cache::shared::lease::Leases;
use crate::cache::shared::members::Roster;
use crate::cache::shared::purges::RecordedPurges;
use crate::cache::shared::queue::{WriteJob, WriteQueue};
use crate::cache::shared::sync::Unrecorded;
use crate::cache::shared::value::{EngineTime, MAX_OVERHEAD, MacKey, SharedValue, ValueKind};
use crate::cache::shared::waits::Waits;
use crate::cache::statistics::Statistics;
use crate::config::SharedConfig;
use crate::engine::error::EngineError;
use crate::engine::{Engine, StreamId};
use crate::profile::DEFAULT_LABEL;

/// Values that are read at the same time: each takes up to `cache.shared.max_object` of memory until it
/// has been checked.
const MAX_READS: usize = 32;

/// An answer is not written if its request is older than this. Tombstones live longer, so that no answer
/// to a request from before comes after them.
const MAX_AGE: Duration = Duration::from_secs(60);
const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(180);

/// How long a block stays in the engine. It belongs to one version of its object, so it does not become
/// stale.
const BLOCK_LIFETIME: Duration = Duration::from_secs(86_400);

/// The tier of the cache that replicas share.
#[derive(Debug)]
pub(in crate::cache) struct SharedTier {
    engine: Engine,
    prefix: String,
    /// The stream of purges, and the hash of replicas.
    purges_name: String,
    replicas_name: String,
    /// The channel of all replicas, and that of this one.
    channel: String,
    own_channel: String,
    max_object: u64,
    /// How long a command may take.
    time: Duration,
    mac: Option<MacKey>,
    /// The beginnings of the keys that it stores; `None`: all.
    profiles: Option<Vec<CacheKey>>,
    state: RwLock<SharedState>,
    /// Whether the replica knows all purges, and the engine all of its own.
    is_synchronised: AtomicBool,
    reads: Semaphore,
    queue: WriteQueue,
    unrecorded: Mutex<Unrecorded>,
    /// Whether it has known all purges once: until then it cannot know which records of earlier processes
    /// they cover.
    has_learned: AtomicBool,
    roster: Mutex<Roster>,
    leases: Leases,
    waits: Waits,
    /// This process among the replicas.
    id: String,
    wake: Notify,
    statistics: Arc<Statistics>,
}

#[derive(Debug, Default)]
struct SharedState {
    purges: RecordedPurges,
    /// The engine has lost the purges up to this one, and everything has to be purged there.
    lost: Option<StreamId>,
    clock: Option<EngineTime>,
}

/// How the tier does, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStatus {
    /// Whether requests use it.
    pub is_up: bool,
    /// Whether messages of other replicas come. Without them it looks more often.
    pub hears: bool,
    /// Values that wait to be written, and their bytes.
    pub queued: u64,
    pub queued_bytes: u64,
    /// How often commands have failed, by cause.
    pub errors: Vec<(&'static str, u64)>,
}

impl SharedTier {
    /// A tier in this engine, which is not connected yet.
    #[must_use]
    pub(in crate::cache) fn new(
        config: &SharedConfig,
        engine: Engine,
        statistics: Arc<Statistics>,
    ) -> Self {
        let SharedConfig { engine: of_engine, prefix, max_object, mac_key, profiles } = config;
        let of_profile = |name: &String| {
            CacheKey::of_profile(Some(name.as_str()).filter(|name| *name != DEFAULT_LABEL))
        };
        let id = members::id();
        Self {
            engine,
            purges_name: format!("{prefix}:purges"),
            replicas_name: format!("{prefix}:replicas"),
            channel: format!("{prefix}:messages"),
            own_channel: own_channel(prefix, &id),
            prefix: prefix.clone(),
            max_object: *max_object,
            time: of_engine.timeout,
            mac: mac_key.as_ref().and_then(MacKey::new),
            profiles: profiles.as_ref().map(|names| names.iter().map(of_profile).collect()),
            state: RwLock::default(),
            is_synchronised: AtomicBool::new(false),
            reads: Semaphore::new(MAX_READS),
            queue: WriteQueue::default(),
            unrecorded: Mutex::default(),
            has_learned: AtomicBool::new(false),
            roster: Mutex::default(),
            leases: Leases::default(),
            waits: Waits::default(),
            id,
            wake: Notify::new(),
            statistics,
        }
    }

    /// Whether requests use it: it is connected, and the replica knows all purges.
    #[must_use]
    pub(in crate::cache) fn is_up(&self) -> bool {
        self.engine.is_in_use() && self.is_synchronised.load(Ordering::Acquire)
    }

    /// Whether purges may cover a record whose request was sent at this time, which this replica does not
    /// know yet: it is a record of an earlier process.
    #[must_use]
    pub(in crate::cache) fn may_be_purged(&self, requested_at: SystemTime) -> bool {
        requested_at < process_start() && !self.has_learned.load(Ordering::Acquire)
    }

    /// Whether it stores objects with this key, which is that of an object, a block or a page.
    #[must_use]
    pub(in crate::cache) fn is_for(&self, key: &CacheKey) -> bool {
        let begins = |profile: &CacheKey| key.object().starts_with(profile.as_bytes());
        self.profiles.as_ref().is_none_or(|profiles| profiles.iter().any(begins))
    }

    /// Whether it would store a body of this many bytes under this key now.
    #[must_use]
    pub(in crate::cache) fn takes(&self, key: &CacheKey, bytes: u64) -> bool {
        bytes <= self.max_object && self.is_for(key) && self.is_up()
    }

    /// How it does, for operators.
    #[must_use]
    pub(in crate::cache) fn status(&self) -> SharedStatus {
        let errors = EngineError::ALL.map(|error| (error.cause(), self.engine.failures(error)));
        let (queued, queued_bytes) = self.queue.size();
        let (is_up, hears) = (self.is_up(), self.hears());
        SharedStatus { is_up, hears, queued, queued_bytes, errors: errors.to_vec() }
    }

    /// The name of a value in the engine. Answers that other settings have made are other values. The
    /// braces keep a value and its lease in one slot of a cluster.
    fn name(&self, key: &CacheKey, settings: u64) -> String {
        let mut hash = Sha256::new();
        hash.update(settings.to_le_bytes());
        hash.update(key.as_bytes());
        let mut name = String::with_capacity(self.prefix.len() + 35);
        name.push_str(&self.prefix);
        name.push_str(":{");
        for byte in hash.finalize().iter().take(16) {
            let _never_fails = write!(name, "{byte:02x}");
        }
        name.push('}');
        name
    }

    fn state(&self) -> RwLockReadGuard<'_, SharedState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, SharedState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unrecorded(&self) -> MutexGuard<'_, Unrecorded> {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Reading and writing.
impl SharedTier {
    /// The answer of a store to a request for this key, made by these settings: an object or that there is
    /// none. Its times are those of the cache; it counts as requested now, so that a purge that comes in
    /// between covers it.
    pub(in crate::cache) async fn read(
        &self,
        key: &CacheKey,
        settings: u64,
    ) -> Option<(ValueKind, DiskRecord)> {
        // Before the look at whether it is in use: a purge of this replica that comes in between covers it.
        let asked_at = now();
        if !self.is_up() || !self.is_for(key) {
            return None;
        }
        let permit = timeout(self.time, self.reads.acquire()).await.ok()?.ok()?;
        let limit = self.max_object + MAX_OVERHEAD;
        let bytes = self.engine.get(&self.name(key, settings), limit).await.ok()??;
        let value = SharedValue::decode(&bytes, key, self.mac.as_ref());
        drop((permit, bytes));
        let SharedValue { kind, purge, record } = match value {
            Ok(value) => value,
            Err(damage) => {
                self.statistics.shared_damaged.inc();
                log::debug!("shared cache: a value is not used: {damage}");
                return None;
            }
        };
        let state = self.state();
        let clock = state.clock?;
        let is_covered = state.purges.covers(key.object(), purge);
        drop(state);
        // A purge may have become unrecorded meanwhile.
        if is_covered
            || !self.is_up()
            || kind == ValueKind::Tombstone
            || record.settings != settings
        {
            return None;
        }
        let freshness = local(&clock, &record.freshness);
        let is_expired = freshness.at(asked_at) == FreshnessState::Expired;
        if is_expired && !key.is_block() {
            return None;
        }
        Some((kind, DiskRecord { requested_at: asked_at, freshness, ..record }))
    }

    /// Has an answer of a store written. `must_hide`: what the engine holds must not be served any more, so
    /// the object is purged there if the answer cannot be written.
    pub(in crate::cache) fn put(
        self: &Arc<Self>,
        kind: ValueKind,
        record: DiskRecord,
        must_hide: bool,
    ) {
        if !self.is_for(&record.key) || record.body.len() > self.max_object {
            return;
        }
        let hidden = must_hide.then(|| record.key.object().to_vec());
        let job = self.job(kind, record, hidden.clone());
        let is_queued = job.is_some_and(|job| self.queue.push(job));
        if !is_queued {
            self.statistics.shared_dropped.inc();
            if let Some(key) = hidden {
                self.hide(key);
            }
        }
    }

    fn job(
        &self,
        kind: ValueKind,
        record: DiskRecord,
        hidden: Option<Vec<u8>>,
    ) -> Option<WriteJob> {
        let now = now();
        let age = now.duration_since(record.requested_at).unwrap_or_default();
        if !self.is_up() || (kind == ValueKind::Object && age > MAX_AGE) {
            return None;
        }
        let state = self.state();
        let clock = state.clock?;
        let purge = state.purges.known_at(record.requested_at);
        drop(state);
        let freshness = of_engine(&clock, &record.freshness);
        let stale = freshness.stale_while_revalidate.max(freshness.stale_if_error);
        let end = freshness.fresh_until.checked_add(stale)?;
        let expires_at = match kind {
            ValueKind::Object if record.key.is_block() => clock.of_local(now + BLOCK_LIFETIME),
            ValueKind::Object => end,
            // It hides what is written later.
            ValueKind::Negative | ValueKind::Tombstone => {
                end.max(clock.of_local(now + TOMBSTONE_LIFETIME))
            }
        };
        let name = self.name(&record.key, record.settings);
        // After a tombstone others need not wait for anything.
        let lease = match kind {
            ValueKind::Object | ValueKind::Negative => self.leases.writing(&name),
            ValueKind::Tombstone => None,
        };
        let requested_at = clock.of_local(record.requested_at);
        let record = DiskRecord { requested_at, freshness, ..record };
        let value = SharedValue { kind, purge, record };
        Some(WriteJob { name, value, expires_at, lease, hidden })
    }

    /// Purges an object in the engine, because a value that hides it cannot be written.
    fn hide(&self, key: Vec<u8>) {
        self.record(PurgeScope::Object, key);
    }

    /// Writes what is queued. Never returns.
    pub(in crate::cache) async fn write_queued(self: &Arc<Self>) {
        queue::write(self).await;
    }
}

/// The channel in which a replica hears itself.
fn own_channel(prefix: &str, replica: &str) -> String {
    format!("{prefix}:messages:{replica}")
}

/// The freshness by the engine's clock.
fn of_engine(clock: &EngineTime, freshness: &Freshness) -> Freshness {
    let of = |time: SystemTime| clock.of_local(time);
    Freshness {
        generated_at: of(freshness.generated_at),
        fresh_until: of(freshness.fresh_until),
        ..*freshness
    }
}

/// The freshness by the clock of the cache.
fn local(clock: &EngineTime, freshness: &Freshness) -> Freshness {
    let of = |time: SystemTime| clock.to_local(time);
    Freshness {
        generated_at: of(freshness.generated_at),
        fresh_until: of(freshness.fresh_until),
        ..*freshness
    }
}
