//! The shared tier among the tiers: its values become records like those of the disk tier.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::cache::body::StoredBody;
use crate::cache::clock::now;
use crate::cache::disk::DiskRecord;
use crate::cache::entry::Entry;
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::purge::pending::PurgeScope;
use crate::cache::request::CacheRequest;
use crate::cache::shared::value::ValueKind;
use crate::cache::shared::{LeaseResult, LeaseWait, Polled, ReplicaReport, SharedStatus};
use crate::cache::tiers::{SharedChange, Tiers};
use crate::engine::StreamId;
use crate::engine::error::EngineError;
use crate::profile::fingerprint::Fingerprint;

/// What the shared tier knows of an object.
#[derive(Debug)]
pub(in crate::cache) enum SharedAnswer {
    Object(DiskRecord),
    /// There is no such object.
    Negative(DiskRecord),
}

// Reading.
impl Tiers {
    /// Whether there is a shared tier, in use or not.
    #[must_use]
    pub fn has_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether there is a tier below memory.
    #[must_use]
    pub fn has_lower_tier(&self) -> bool {
        self.has_disk() || self.has_shared()
    }

    /// Whether the shared tier would take a body of this many bytes under this key now.
    #[must_use]
    pub fn shares(&self, key: &CacheKey, bytes: u64) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.takes(key, bytes))
    }

    /// What the shared tier knows of the object, as far as the settings of this request have made it. Its
    /// memory is not reserved yet.
    pub(in crate::cache) async fn lookup_in_shared(
        &self,
        request: &CacheRequest,
    ) -> Option<SharedAnswer> {
        if !request.rule.store {
            return None;
        }
        self.peek_in_shared(&request.key, request.settings).await
    }

    /// The same by key and settings.
    pub(in crate::cache) async fn peek_in_shared(
        &self,
        key: &CacheKey,
        settings: Fingerprint,
    ) -> Option<SharedAnswer> {
        let (kind, record) = self.shared.as_ref()?.read(key, settings.profile).await?;
        if self.is_purged(key, record.requested_at) {
            return None;
        }
        match kind {
            ValueKind::Object => Some(SharedAnswer::Object(record)),
            ValueKind::Negative => Some(SharedAnswer::Negative(record)),
            ValueKind::Tombstone => None,
        }
    }

    /// The block in the shared tier, if it has this length.
    pub(in crate::cache) async fn lookup_block_in_shared(
        &self,
        key: &CacheKey,
        length: u64,
    ) -> Option<DiskRecord> {
        let (kind, record) = self.shared.as_ref()?.read(key, 0).await?;
        let fits = kind == ValueKind::Object && record.body.len() == length;
        (fits && !self.is_purged(key, record.requested_at)).then_some(record)
    }

    /// Asks for the lease of the fetch of this object.
    pub(in crate::cache) async fn lease(&self, request: &CacheRequest) -> LeaseResult {
        match &self.shared {
            Some(shared) => shared.lease(&request.key, request.settings.profile).await,
            None => LeaseResult::None,
        }
    }

    /// Begins to wait for the end of the lease that another replica may have of this object.
    pub(in crate::cache) fn wait_for_lease(&self, request: &CacheRequest) -> Option<LeaseWait> {
        let shared = self.shared.as_ref()?;
        Some(shared.wait(&request.key, request.settings.profile))
    }

    /// How the shared tier does; `None` if there is none.
    #[must_use]
    pub fn shared_status(&self) -> Option<SharedStatus> {
        self.shared.as_ref().map(|shared| shared.status())
    }
}

// Changes.
impl Tiers {
    /// Changes the shared tier together with memory.
    pub(super) fn share(&self, entry: &Entry, change: SharedChange) {
        let Some(shared) = &self.shared else { return };
        let (kind, headers, body, must_hide) = match change {
            SharedChange::None => return,
            SharedChange::Write { headers, body } => (ValueKind::Object, headers, body, false),
            SharedChange::Negative { must_hide } => {
                (ValueKind::Negative, HeaderMap::new(), StoredBody::default(), must_hide)
            }
            SharedChange::Hide { must_hide } => {
                (ValueKind::Tombstone, HeaderMap::new(), StoredBody::default(), must_hide)
            }
        };
        let record = DiskRecord {
            key: entry.key.clone(),
            requested_at: entry.requested_at,
            settings: entry.settings.map_or(0, |settings| settings.profile),
            freshness: entry.freshness,
            headers,
            body,
            held: Some(Arc::clone(entry.held())),
        };
        shared.put(kind, record, must_hide);
    }

    /// Hides an object in the shared tier: answers to requests up to this time are not served any more.
    pub(super) fn hide_in_shared(
        &self,
        key: &CacheKey,
        settings: Option<Fingerprint>,
        requested_at: SystemTime,
    ) {
        let Some(shared) = &self.shared else { return };
        let record = DiskRecord {
            key: key.clone(),
            requested_at,
            settings: settings.map_or(0, |settings| settings.profile),
            freshness: Freshness::for_a_while(now(), Duration::ZERO),
            headers: HeaderMap::new(),
            body: StoredBody::default(),
            held: None,
        };
        shared.put(ValueKind::Tombstone, record, true);
    }
}

// Purges, and the other replicas.
impl Tiers {
    /// Has a purge recorded for all replicas. Until then, this one uses nothing of the shared tier.
    pub fn record_purge(&self, key: &CacheKey, scope: PurgeScope) {
        if let Some(shared) = &self.shared {
            shared.record(scope, key.as_bytes().to_vec());
        }
    }

    /// Waits until the replicas obey the purges of this one, for some seconds; `None` without a shared
    /// tier.
    pub async fn obeyed(&self) -> Option<ReplicaReport> {
        match &self.shared {
            Some(shared) => Some(shared.obeyed().await),
            None => None,
        }
    }

    /// Keeps the connection that requests wait for, in the threads of the caller. Never returns.
    pub async fn read_shared(&self) {
        match &self.shared {
            Some(shared) => shared.keep_reading().await,
            None => std::future::pending().await,
        }
    }

    /// Keeps the other connections of the shared tier, and writes what is queued for it. Never returns.
    pub async fn serve_shared(&self) {
        let Some(shared) = &self.shared else { return std::future::pending().await };
        tokio::join!(shared.keep_writing(), shared.write_queued(), shared.listen());
    }

    /// Looks at the shared tier for purges of other replicas.
    ///
    /// # Errors
    /// It does not answer.
    pub(in crate::cache) async fn poll_shared(&self) -> Result<Polled, EngineError> {
        match &self.shared {
            Some(shared) => shared.poll(self.has_disk()).await,
            None => Err(EngineError::Connection),
        }
    }

    /// Whether there is a connection to the engine of the shared tier.
    #[must_use]
    pub fn is_shared_connected(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_connected())
    }

    /// Notes whether the shared tier answered. Returns whether requests ask its engine from now on, if no
    /// purge of this replica has to be recorded first.
    pub fn shared_polled(&self, result: Result<(), EngineError>) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.polled(result))
    }

    /// Says that this replica obeys all purges up to this one.
    ///
    /// # Errors
    /// The shared tier does not take it.
    pub async fn say_obeyed(&self, last: StreamId) -> Result<(), EngineError> {
        match &self.shared {
            Some(shared) => shared.say(last).await,
            None => Ok(()),
        }
    }

    /// Gets to know the other replicas.
    ///
    /// # Errors
    /// The shared tier does not answer.
    pub async fn meet_replicas(&self) -> Result<(), EngineError> {
        match &self.shared {
            Some(shared) => shared.meet().await,
            None => Ok(()),
        }
    }

    /// Waits for a purge of this replica, or for this long.
    pub async fn rest_of_shared(&self, pause: Duration) {
        if let Some(shared) = &self.shared {
            shared.rest(pause).await;
        }
    }

    /// Says good-bye to the other replicas.
    pub async fn leave_shared(&self) {
        if let Some(shared) = &self.shared {
            shared.leave().await;
        }
    }

    /// What the engine does when its memory is full, and why there is no connection; as far as is known.
    pub async fn about_engine(&self) -> (Option<String>, Option<String>) {
        match &self.shared {
            Some(shared) if shared.is_up() => (shared.memory_policy().await, None),
            Some(shared) => (None, shared.last_failure()),
            None => (None, None),
        }
    }

    /// Removes replicas that are gone from the list in the engine.
    pub async fn forget_gone_replicas(&self) {
        if let Some(shared) = &self.shared {
            let _next_time = shared.forget_gone().await;
        }
    }
}
