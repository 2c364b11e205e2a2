//! `GET /status`: how the gateway does, as JSON for the status page and for `s3proxy status`. A task in the
//! background reads the counters of the metrics every two seconds; requests of clients do nothing for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::metrics::MetricSources;
use crate::admin::profiles;
use crate::admin::status::document::Facts;
use crate::admin::status::ring::{Gauges, INTERVAL, Ring, Totals};
use crate::metrics::histogram::BUCKETS;
use crate::protocol::cache_status::CacheResult;

mod document;
pub(super) mod page;
mod ring;
pub mod text;

/// The samples of the last minutes, and the counters they are taken from.
#[derive(Debug)]
pub struct Status {
    sources: MetricSources,
    started: Instant,
    ring: Mutex<Ring>,
}

impl Status {
    /// No samples yet; the process counts as started now.
    #[must_use]
    pub fn new(sources: MetricSources) -> Self {
        Self { sources, started: Instant::now(), ring: Mutex::default() }
    }

    /// Reads the counters. `at` is the time since the start of the process.
    fn sample(&self, at: Duration) {
        let (totals, gauges) = (self.totals(), self.gauges());
        self.ring().add(at, totals, gauges);
    }

    /// The document of `GET /status`.
    pub(super) fn document(&self) -> Value {
        let MetricSources { metrics, stores, cache, reloads, lifecycle, limits, .. } =
            &self.sources;
        let stores = stores.load();
        let causes: Vec<&str> = metrics.causes().counters().map(|(cause, _)| cause).collect();
        #[expect(clippy::disallowed_methods, reason = "clients compare times of stores with it")]
        let now = SystemTime::now();
        let facts = Facts {
            now,
            uptime: self.started.elapsed(),
            draining: lifecycle.is_draining(),
            causes: &causes,
            totals: self.totals(),
            gauges: self.gauges(),
            max_connections: limits.max_connections(),
            tiers: cache.as_ref().map(|cache| cache.tiers()),
            disk_is_up: cache.as_ref().and_then(|cache| cache.disk_is_up()),
            shared_is_up: cache.as_ref().and_then(|it| it.shared_status()).map(|it| it.is_up),
            profiles: stores.iter().map(|store| profiles::with_state(store)).collect(),
            reloads,
        };
        document::document(&facts, &self.ring())
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn totals(&self) -> Totals {
        let metrics = &self.sources.metrics;
        let pages = metrics.pages().flat_map(|(_, statuses)| statuses.counters());
        let mut totals = Totals {
            requests: pages.map(|(_, counter)| counter.get()).sum(),
            causes: metrics.causes().counters().map(|(_, counter)| counter.get()).collect(),
            ..Totals::default()
        };
        let cached = [CacheResult::Hit.label(), CacheResult::Stale.label()];
        for store in self.sources.stores.load().iter() {
            for (cache, statuses) in store.metrics.requests.counters() {
                let number: u64 = statuses.counters().map(|(_, counter)| counter.get()).sum();
                totals.objects += number;
                totals.hits += if cached.contains(&cache) { number } else { 0 };
            }
            let asked = store.metrics.asked.counters();
            totals.asked += asked.map(|(_, counter)| counter.get()).sum::<u64>();
            totals.sent = totals.sent.saturating_add(store.metrics.sent.get());
            for ttfb in &store.metrics.ttfb {
                let counts: [u64; BUCKETS] = ttfb.counts().buckets;
                for (total, count) in totals.ttfb.iter_mut().zip(counts) {
                    *total += count;
                }
            }
        }
        totals.requests += totals.objects;
        totals
    }

    fn gauges(&self) -> Gauges {
        let MetricSources { stores, cache, lifecycle, limits, .. } = &self.sources;
        let tiers = cache.as_ref().map(|cache| cache.tiers()).unwrap_or_default();
        let bytes = |of_disk: bool| {
            let tiers = tiers.iter().filter(|tier| (tier.name == "disk") == of_disk);
            tiers.map(|tier| tier.bytes).sum()
        };
        Gauges {
            requests_in_flight: lifecycle.running(),
            store_requests_in_flight: stores.load().iter().map(|it| it.admission.in_flight()).sum(),
            connections: limits.connections(),
            memory_bytes: bytes(false),
            disk_bytes: bytes(true),
        }
    }
}

/// Takes the samples, as long as the process runs.
#[derive(Debug)]
pub struct Sampler(pub Arc<Status>);

#[async_trait]
impl BackgroundService for Sampler {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.0.sample(self.0.started.elapsed()),
                _ended = shutdown.changed() => return,
            }
        }
    }
}
