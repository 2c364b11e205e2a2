//! `/metrics`: everything that is counted, as OpenMetrics text
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), put together when it is asked for.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::cache::Cache;
use crate::cache::report::Tier;
use crate::downstream::drain::Lifecycle;
use crate::downstream::limits::Limits;
use crate::gateway::pages::VERSION;
use crate::metrics::histogram::Histogram;
use crate::metrics::store::StoreMetrics;
use crate::metrics::{Metrics, Page};
use crate::reload::Reloads;
use crate::upstream::admission::Admission;
use crate::upstream::{CurrentStores, Store, Stores};

/// The media type of a scrape.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that is counted, to be read.
#[derive(Debug, Clone)]
pub struct MetricSources {
    pub metrics: Arc<Metrics>,
    pub stores: Arc<CurrentStores>,
    pub cache: Option<Arc<Cache>>,
    pub reloads: Arc<Reloads>,
    pub lifecycle: Arc<Lifecycle>,
    pub limits: Arc<Limits>,
}

impl MetricSources {
    /// The scrape, which takes as long as there are profiles.
    ///
    /// # Errors
    /// Never: text has room.
    pub fn scrape(&self) -> Result<String, Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut page = String::with_capacity(32 * 1024);
        text::encode(&mut page, &registry)?;
        Ok(page)
    }
}

impl Collector for MetricSources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Families(encoder);
        let stores = self.stores.load();
        self.requests(&mut page, &stores)?;
        upstream(&mut page, &stores)?;
        if let Some(cache) = &self.cache {
            of_cache(&mut page, cache)?;
        }
        self.state(&mut page)?;
        #[cfg(target_os = "linux")]
        of_process(&mut page)?;
        Ok(())
    }
}

impl MetricSources {
    fn requests(&self, page: &mut Families<'_>, stores: &Stores) -> Result<(), Error> {
        let mut requests = page.family(
            "s3proxy_requests",
            "Requests that have ended, by what they were for, the status, and what the cache did.",
            MetricType::Counter,
        )?;
        for (of, statuses) in self.metrics.pages() {
            for (status, number) in statuses.numbers() {
                let labels =
                    [("route", of.label()), ("profile", ""), ("status", &status), ("cache", "")];
                counter(&mut requests, &labels, number)?;
            }
        }
        for store in stores.iter() {
            let profile = store.profile.label();
            for (cache, statuses) in store.metrics.requests.numbers() {
                for (status, number) in statuses.numbers() {
                    let labels = [
                        ("route", Page::Object.label()),
                        ("profile", profile),
                        ("status", &status),
                        ("cache", cache),
                    ];
                    counter(&mut requests, &labels, number)?;
                }
            }
        }
        by_way(
            page,
            stores,
            "s3proxy_request_duration_seconds",
            "From the head of a request for an object to the end of its answer.",
            |metrics| &metrics.duration,
        )?;
        by_way(
            page,
            stores,
            "s3proxy_request_ttfb_seconds",
            "From the head of a request for an object to the head of its answer.",
            |metrics| &metrics.ttfb,
        )?;
        by_profile(
            page,
            stores,
            "s3proxy_response_bytes",
            "Bytes of objects sent to clients.",
            |metrics| metrics.sent.get(),
        )?;
        let mut refusals = page.family(
            "s3proxy_refusals",
            "Requests that ended otherwise than with what they asked for, by the log's cause.",
            MetricType::Counter,
        )?;
        for (cause, number) in self.metrics.causes().numbers() {
            counter(&mut refusals, &[("cause", cause)], number)?;
        }
        page.gauge(
            "s3proxy_requests_in_flight",
            "Requests that have begun and not ended.",
            self.lifecycle.running(),
        )?;
        page.gauge(
            "s3proxy_connections",
            "Connections of clients that are open.",
            self.limits.connections(),
        )?;
        page.gauge(
            "s3proxy_connections_limit",
            "Connections of clients that may be open.",
            self.limits.max_connections(),
        )
    }

    fn state(&self, page: &mut Families<'_>) -> Result<(), Error> {
        let reloads = &self.reloads;
        let number = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let mut family = page.family(
            "s3proxy_reloads",
            "Times the configuration was read again.",
            MetricType::Counter,
        )?;
        for (result, times) in [("success", &reloads.succeeded), ("failure", &reloads.failed)] {
            counter(&mut family, &[("result", result)], number(times))?;
        }
        for (name, help, time) in [
            (
                "s3proxy_reload_last_success_timestamp_seconds",
                "When the configuration was last read again and taken over.",
                &reloads.last_success,
            ),
            (
                "s3proxy_reload_last_failure_timestamp_seconds",
                "When the configuration was last read again and was wrong.",
                &reloads.last_failure,
            ),
        ] {
            let time = number(time);
            if time > 0 {
                page.gauge(name, help, time)?;
            }
        }
        page.gauge(
            "s3proxy_reload_ok",
            "0 while what is written is wrong and what was read before stays in force.",
            u64::from(!reloads.is_failing()),
        )?;
        page.gauge(
            "s3proxy_draining",
            "1 once the process was asked to end.",
            u64::from(self.lifecycle.is_draining()),
        )?;
        let help = "The version that runs.";
        let mut build = page.family("s3proxy_build", help, MetricType::Info)?;
        build.encode_info(&[("version", VERSION)])
    }
}

fn upstream(page: &mut Families<'_>, stores: &Stores) -> Result<(), Error> {
    let mut asked = page.family(
        "s3proxy_upstream_requests",
        "Requests to stores, by the status of the last answer.",
        MetricType::Counter,
    )?;
    for store in stores.iter() {
        for (status, number) in store.metrics.asked.numbers() {
            let labels = [("profile", store.profile.label()), ("status", &status)];
            counter(&mut asked, &labels, number)?;
        }
    }
    let mut errors = page.family(
        "s3proxy_upstream_errors",
        "Requests to stores that were in vain, by cause.",
        MetricType::Counter,
    )?;
    for store in stores.iter() {
        for (cause, number) in store.metrics.errors.numbers() {
            let labels = [("profile", store.profile.label()), ("cause", cause)];
            counter(&mut errors, &labels, number)?;
        }
    }
    by_profile(
        page,
        stores,
        "s3proxy_upstream_retries",
        "Attempts after the first of a request to a store.",
        |metrics| metrics.retries.get(),
    )?;
    by_profile(
        page,
        stores,
        "s3proxy_upstream_bytes",
        "Bytes that came from stores.",
        |metrics| metrics.received.get(),
    )?;
    let mut waited = page.family(
        "s3proxy_upstream_duration_seconds",
        "From the first attempt of a request to a store to the head of its last answer.",
        MetricType::Histogram,
    )?;
    for store in stores.iter() {
        histogram(&mut waited, &[("profile", store.profile.label())], &store.metrics.waited)?;
    }
    for (name, help, number) in [
        (
            "s3proxy_upstream_in_flight",
            "Requests to the store that are under way, their bodies included.",
            Admission::in_flight as fn(&Admission) -> usize,
        ),
        (
            "s3proxy_upstream_in_flight_limit",
            "Requests to the store that may be under way.",
            Admission::limit,
        ),
    ] {
        let mut family = page.family(name, help, MetricType::Gauge)?;
        for store in stores.iter() {
            let labels = [("profile", store.profile.label())];
            family.encode_family(&labels)?.encode_gauge(&number(&store.load))?;
        }
    }
    Ok(())
}

fn of_cache(page: &mut Families<'_>, cache: &Cache) -> Result<(), Error> {
    let tiers = cache.tiers();
    let statistics = cache.statistics();
    for (name, help, number) in [
        (
            "s3proxy_cache_entries",
            "Objects, and in the tier of blocks their blocks, that are kept.",
            (|tier| tier.entries) as fn(&Tier) -> u64,
        ),
        ("s3proxy_cache_bytes", "Bytes that are held, with what is on its way.", |tier| tier.bytes),
        ("s3proxy_cache_limit_bytes", "Bytes that may be held.", |tier| tier.limit),
    ] {
        let mut family = page.family(name, help, MetricType::Gauge)?;
        for tier in &tiers {
            family.encode_family(&[("tier", tier.name)])?.encode_gauge(&number(tier))?;
        }
    }
    let with_disk = tiers.iter().any(|tier| tier.name == "disk");
    for (name, help, numbers) in [
        (
            "s3proxy_cache_hits",
            "Requests (and, of blocks, blocks) answered from this tier.",
            [
                ("memory", &statistics.memory_hits),
                ("blocks", &statistics.block_hits),
                ("disk", &statistics.disk_hits),
            ],
        ),
        (
            "s3proxy_cache_evictions",
            "What was pushed out of this tier.",
            [
                ("memory", &statistics.memory_evictions),
                ("blocks", &statistics.block_evictions),
                ("disk", &statistics.disk_evictions),
            ],
        ),
    ] {
        let mut family = page.family(name, help, MetricType::Counter)?;
        for (tier, number) in numbers {
            if with_disk || tier != "disk" {
                counter(&mut family, &[("tier", tier)], number.get())?;
            }
        }
    }
    for (name, help, number) in [
        ("s3proxy_cache_misses", "Requests for which a store was asked.", &statistics.misses),
        (
            "s3proxy_cache_collapsed",
            "Requests that waited for, or read along with, another one's fetch.",
            &statistics.collapsed,
        ),
        ("s3proxy_cache_stale_served", "Answers served stale.", &statistics.stale_served),
        (
            "s3proxy_cache_no_room",
            "Fetches that were not kept for want of memory beside others under way.",
            &statistics.no_room,
        ),
        (
            "s3proxy_cache_disk_errors",
            "Reads and writes that the disk failed.",
            &statistics.disk_errors,
        ),
        (
            "s3proxy_cache_disk_damaged",
            "Files found damaged on the disk, and removed.",
            &statistics.disk_damaged,
        ),
    ] {
        let mut family = page.family(name, help, MetricType::Counter)?;
        counter(&mut family, &[], number.get())?;
    }
    page.gauge(
        "s3proxy_cache_fetches_under_way",
        "Objects that are being fetched.",
        cache.fetches_under_way(),
    )?;
    match cache.disk_is_up() {
        Some(up) => page.gauge(
            "s3proxy_cache_disk_up",
            "1 while the disk tier is used, 0 while it is left alone because it fails.",
            u64::from(up),
        ),
        None => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn of_process(page: &mut Families<'_>) -> Result<(), Error> {
    let Some(basics) = crate::admin::process::basics() else { return Ok(()) };
    let mut cpu =
        page.family("process_cpu_seconds", "Processor time, seconds.", MetricType::Counter)?;
    counter(&mut cpu, &[], basics.cpu_seconds)?;
    page.gauge("process_resident_memory_bytes", "Resident memory.", basics.resident_bytes)?;
    page.gauge("process_virtual_memory_bytes", "Virtual memory.", basics.virtual_bytes)?;
    page.gauge("process_open_fds", "Open file descriptors.", basics.open_files)?;
    if let Some(most) = basics.max_files {
        page.gauge("process_max_fds", "How many may be open.", most)?;
    }
    let help = "When the process started, seconds since the Unix epoch.";
    page.gauge("process_start_time_seconds", help, basics.started_seconds)?;
    page.gauge("process_threads", "Threads.", basics.threads)
}

/// The page in the making, family by family.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeGaugeValue + Copy,
    ) -> Result<(), Error> {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }
}

/// One number of a counter family.
fn counter(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    value: impl EncodeCounterValue + Copy,
) -> Result<(), Error> {
    if labels.is_empty() {
        return family.encode_counter::<NoLabelSet, _, u64>(&value, None);
    }
    family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn histogram(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    histogram: &Histogram,
) -> Result<(), Error> {
    let told = histogram.distribution();
    let mut family = family.encode_family(&labels)?;
    family.encode_histogram::<NoLabelSet>(told.sum, told.count, &told.buckets, None)
}

/// One counter of each profile.
fn by_profile(
    page: &mut Families<'_>,
    stores: &Stores,
    name: &str,
    help: &str,
    number: fn(&StoreMetrics) -> u64,
) -> Result<(), Error> {
    let mut family = page.family(name, help, MetricType::Counter)?;
    for store in stores.iter() {
        counter(&mut family, &[("profile", store.profile.label())], number(&store.metrics))?;
    }
    Ok(())
}

/// Hits, and all others, of each profile.
fn by_way(
    page: &mut Families<'_>,
    stores: &Stores,
    name: &str,
    help: &str,
    of: fn(&StoreMetrics) -> &[Histogram; 2],
) -> Result<(), Error> {
    let mut family = page.family(name, help, MetricType::Histogram)?;
    for store in stores.iter() {
        let store: &Store = store;
        for (way, durations) in StoreMetrics::WAYS.iter().zip(of(&store.metrics)) {
            let labels = [("profile", store.profile.label()), ("cache", way)];
            histogram(&mut family, &labels, durations)?;
        }
    }
    Ok(())
}
