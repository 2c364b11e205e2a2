//! `/metrics`: all metrics as OpenMetrics text
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), collected for each scrape.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::cache::Cache;
use crate::collector::outcomes;
use crate::downstream::drain::Lifecycle;
use crate::downstream::http2::Http2Counts;
use crate::downstream::limits::ClientLimits;
use crate::downstream::proxy_protocol::ProxyHeaderCounts;
use crate::downstream::tls::TlsAcceptors;
use crate::gateway::pages::VERSION;
use crate::metrics::histogram::Histogram;
use crate::metrics::store::{Hedges, StoreMetrics};
use crate::metrics::{Metrics, Page};
use crate::reload::Reloads;
use crate::trace::Tracer;
use crate::upstream::admission::Admission;
use crate::upstream::health::HealthState;
use crate::upstream::issue::clock;
use crate::upstream::{CurrentStores, Store, Stores};

use crate::admin::metrics::cache::{cache_counters, cache_tiers, shared_tier};
use crate::admin::metrics::exemplars::{SeriesExemplars, with_exemplars};
use crate::admin::profiles;
use crate::admin::scrape_format::ScrapeFormat;

mod cache;
mod edge;
mod exemplars;

/// Name and text of a metric, and its histograms of hits and of all other requests.
type LatencyHistograms = (&'static str, &'static str, fn(&StoreMetrics) -> &[Histogram; 2]);

/// The histograms of requests of clients.
const LATENCIES: [LatencyHistograms; 2] = [
    (
        "s3proxy_request_duration_seconds",
        "From the head of a request for an object to the end of its answer.",
        |metrics| &metrics.duration,
    ),
    (
        "s3proxy_request_ttfb_seconds",
        "From the head of a request for an object to the head of its answer.",
        |metrics| &metrics.ttfb,
    ),
];

/// The parts of the gateway that have metrics.
#[derive(Debug, Clone)]
pub struct MetricSources {
    pub metrics: Arc<Metrics>,
    pub stores: Arc<CurrentStores>,
    pub cache: Option<Arc<Cache>>,
    pub reloads: Arc<Reloads>,
    pub lifecycle: Arc<Lifecycle>,
    pub limits: Arc<ClientLimits>,
    pub tracer: Option<Arc<Tracer>>,
    pub tls: TlsAcceptors,
    pub proxy_headers: Option<Arc<ProxyHeaderCounts>>,
    pub http2: Option<Arc<Http2Counts>>,
}

impl MetricSources {
    /// The text of a scrape; its size grows with the number of profiles.
    ///
    /// # Errors
    /// Never: writing to a `String` does not fail.
    pub(super) fn scrape(&self, format: ScrapeFormat) -> Result<String, Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut page = String::with_capacity(32 * 1024);
        text::encode(&mut page, &registry)?;
        if format == ScrapeFormat::OpenMetrics && self.tracer.is_some() {
            page = with_exemplars(&page, self.exemplars());
        }
        Ok(format.text(page))
    }

    /// The recorded traces of the latency histograms.
    fn exemplars(&self) -> Vec<SeriesExemplars> {
        let stores = self.stores.load();
        let of_store = |store: &Arc<Store>| {
            LATENCIES
                .iter()
                .flat_map(|(name, _, histograms)| {
                    let ways = StoreMetrics::WAYS.iter().zip(histograms(&store.metrics));
                    ways.map(|(way, histogram)| {
                        let labels = [("profile", store.profile.label()), ("cache", *way)];
                        SeriesExemplars::new(name, &labels, histogram.exemplars())
                    })
                })
                .collect::<Vec<_>>()
        };
        stores.iter().flat_map(of_store).collect()
    }
}

impl Collector for MetricSources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let page = &mut encoder;
        let stores = self.stores.load();
        self.requests(page, &stores)?;
        upstream(page, &stores)?;
        if let Some(cache) = &self.cache {
            cache_tiers(page, cache)?;
            cache_counters(page, cache)?;
            if let Some(shared) = cache.shared_status() {
                shared_tier(page, cache, &shared)?;
            }
        }
        self.state(page)?;
        edge::handshakes(page, &self.tls)?;
        edge::validities(page, &self.tls)?;
        edge::http2(page, self.http2.as_deref())?;
        if let Some(counts) = &self.proxy_headers {
            edge::proxy_headers(page, counts)?;
        }
        if let Some(tracer) = &self.tracer {
            spans(page, tracer)?;
        }
        #[cfg(target_os = "linux")]
        process(page)?;
        Ok(())
    }
}

impl MetricSources {
    fn requests(&self, page: &mut DescriptorEncoder<'_>, stores: &Stores) -> Result<(), Error> {
        let pages = self.metrics.pages().flat_map(|(of, statuses)| {
            statuses.counters().map(move |(status, counter)| {
                let (route, profile, cache) = (of.label(), "", "");
                (request_labels(route, profile, status, cache), counter.clone())
            })
        });
        let objects = stores.iter().flat_map(|store| {
            store.metrics.requests.counters().flat_map(move |(cache, statuses)| {
                statuses.counters().map(move |(status, counter)| {
                    let (route, profile) = (Page::Object.label(), store.profile.label());
                    (request_labels(route, profile, status, cache), counter.clone())
                })
            })
        });
        family(
            page,
            "s3proxy_requests",
            "Requests that have ended, by what they were for, the status, and what the cache did.",
            pages.chain(objects),
        )?;
        for (name, help, histograms) in LATENCIES {
            by_way(page, stores, name, help, histograms)?;
        }
        by_profile(
            page,
            stores,
            "s3proxy_response_bytes",
            "Bytes of objects sent to clients.",
            |store| store.metrics.sent.clone(),
        )?;
        family(
            page,
            "s3proxy_refusals",
            "Requests that failed or were refused, by the log's cause.",
            self.metrics
                .causes()
                .counters()
                .map(|(cause, counter)| ([("cause", cause)], counter.clone())),
        )?;
        single(
            page,
            "s3proxy_requests_in_flight",
            "Requests that have begun and not ended.",
            &ConstGauge::new(self.lifecycle.running()),
        )?;
        single(
            page,
            "s3proxy_connections",
            "Connections of clients that are open.",
            &ConstGauge::new(self.limits.connections()),
        )?;
        single(
            page,
            "s3proxy_connections_limit",
            "Connections of clients that may be open.",
            &ConstGauge::new(self.limits.max_connections()),
        )
    }

    fn state(&self, page: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let reloads = &self.reloads;
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let results = [("success", &reloads.succeeded), ("failure", &reloads.failed)];
        family(
            page,
            "s3proxy_reloads",
            "Times the configuration was read again.",
            results.map(|(result, times)| ([("result", result)], ConstCounter::new(number(times)))),
        )?;
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
                single(page, name, help, &ConstGauge::new(time))?;
            }
        }
        single(
            page,
            "s3proxy_reload_ok",
            "0 while the files are invalid and the previous configuration stays in force.",
            &ConstGauge::new(u64::from(!reloads.is_failing())),
        )?;
        single(
            page,
            "s3proxy_draining",
            "1 once the process was asked to end.",
            &ConstGauge::new(u64::from(self.lifecycle.is_draining())),
        )?;
        single(page, "s3proxy_build", "The version that runs.", &Info::new([("version", VERSION)]))
    }
}

fn spans(page: &mut DescriptorEncoder<'_>, tracer: &Tracer) -> Result<(), Error> {
    family(
        page,
        "s3proxy_trace_spans",
        "Spans that have ended, by what became of them.",
        outcomes(&tracer.counts)
            .map(|(outcome, number)| ([("outcome", outcome)], ConstCounter::new(number))),
    )?;
    single(
        page,
        "s3proxy_trace_spans_waiting",
        "Spans that wait for the collector.",
        &ConstGauge::new(tracer.waiting()),
    )
}

fn request_labels<'a>(
    route: &'a str,
    profile: &'a str,
    status: &'a str,
    cache: &'a str,
) -> [(&'static str, &'a str); 4] {
    [("route", route), ("profile", profile), ("status", status), ("cache", cache)]
}

fn upstream(page: &mut DescriptorEncoder<'_>, stores: &Stores) -> Result<(), Error> {
    let requests = stores.iter().flat_map(|store| {
        store.metrics.asked.counters().map(|(status, counter)| {
            ([("profile", store.profile.label()), ("status", status)], counter.clone())
        })
    });
    family(
        page,
        "s3proxy_upstream_requests",
        "Requests to stores, by the status of the last answer.",
        requests,
    )?;
    credentials(page, stores)?;
    let errors = stores.iter().flat_map(|store| {
        store.metrics.errors.counters().map(|(cause, counter)| {
            ([("profile", store.profile.label()), ("cause", cause)], counter.clone())
        })
    });
    family(page, "s3proxy_upstream_errors", "Failed requests to stores, by cause.", errors)?;
    by_profile(
        page,
        stores,
        "s3proxy_upstream_retries",
        "Attempts after the first of a request to a store.",
        |store| store.metrics.retries.clone(),
    )?;
    by_profile(
        page,
        stores,
        "s3proxy_upstream_continuations",
        "Requests for the rest of a body that broke off.",
        |store| store.metrics.continuations.clone(),
    )?;
    by_profile(page, stores, "s3proxy_upstream_bytes", "Bytes that came from stores.", |store| {
        store.metrics.received.clone()
    })?;
    let waited = stores.iter().filter_map(|store| {
        let counts = store.metrics.waited.counts();
        (!counts.is_empty()).then(|| ([("profile", store.profile.label())], counts))
    });
    family(
        page,
        "s3proxy_upstream_duration_seconds",
        "From the first attempt of a request to a store to the head of its last answer.",
        waited,
    )?;
    for (name, help, number) in [
        (
            "s3proxy_upstream_in_flight",
            "Requests to the store in flight, including their bodies.",
            Admission::in_flight as fn(&Admission) -> usize,
        ),
        (
            "s3proxy_upstream_in_flight_limit",
            "Limit of requests to the store in flight.",
            Admission::limit,
        ),
    ] {
        by_profile(page, stores, name, help, |store| ConstGauge::new(number(&store.admission)))?;
    }
    let addresses = stores.iter().flat_map(|store| {
        let reports = profiles::reports(store);
        HealthState::NAMES.iter().map(move |state| {
            let number = reports.iter().filter(|report| report.state.as_str() == *state).count();
            ([("profile", store.profile.label()), ("state", *state)], ConstGauge::new(number))
        })
    });
    family(
        page,
        "s3proxy_upstream_addresses",
        "Addresses of the store, by their health.",
        addresses,
    )?;
    edge::client_certificates(page, stores)?;
    endpoints(page, stores)
}

/// The endpoints of stores that have several, and hedges. Other profiles have none of these.
fn endpoints(page: &mut DescriptorEncoder<'_>, stores: &Stores) -> Result<(), Error> {
    let several = || stores.iter().filter(|store| store.endpoints.are_several());
    let urls: Vec<Vec<String>> = several()
        .map(|store| store.endpoints.iter().map(|it| it.endpoint().to_string()).collect())
        .collect();
    let up = several().zip(&urls).flat_map(|(store, urls)| {
        store.endpoints.iter().zip(urls).map(|(endpoint, url)| {
            let up = u32::from(endpoint.fault().is_none());
            ([("profile", store.profile.label()), ("endpoint", url.as_str())], ConstGauge::new(up))
        })
    });
    family(
        page,
        "s3proxy_upstream_endpoint_up",
        "Whether the breaker of the endpoint is closed, so that requests go to it.",
        up,
    )?;
    let hedges = several().filter(|store| store.endpoints.are_hedged()).flat_map(|store| {
        let Hedges { won, lost, not_sent } = &store.metrics.hedges;
        [("won", won), ("lost", lost), ("not_sent", not_sent)].map(|(result, counter)| {
            ([("profile", store.profile.label()), ("result", result)], counter.clone())
        })
    });
    family(
        page,
        "s3proxy_upstream_hedges",
        "Requests to stores whose first byte was late, by what a second endpoint did about it.",
        hedges,
    )
}

/// Credentials for a limited time. Profiles with another source have none of these.
fn credentials(page: &mut DescriptorEncoder<'_>, stores: &Stores) -> Result<(), Error> {
    let now = clock();
    let issued = || stores.iter().filter_map(|store| Some((store, store.issuance.as_ref()?)));
    let left = issued().filter_map(|(store, issuance)| {
        let left = issuance.seconds_left(now)?;
        Some(([("profile", store.profile.label())], ConstGauge::new(left)))
    });
    family(
        page,
        "s3proxy_credentials_expiry_seconds",
        "Time until the credentials of the profile expire, negative afterwards.",
        left,
    )?;
    let renewals = issued().flat_map(|(store, issuance)| {
        let state = issuance.state();
        [("success", state.succeeded), ("failure", state.failed)].map(|(result, times)| {
            ([("profile", store.profile.label()), ("result", result)], ConstCounter::new(times))
        })
    });
    family(
        page,
        "s3proxy_credentials_renewals",
        "Requests to the provider of the profile's credentials.",
        renewals,
    )
}

#[cfg(target_os = "linux")]
fn process(page: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let Some(basics) = crate::admin::process::basics() else { return Ok(()) };
    let cpu = ConstCounter::new(basics.cpu_seconds);
    single(page, "process_cpu_seconds", "Processor time, seconds.", &cpu)?;
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory.", Some(basics.resident_bytes)),
        ("process_virtual_memory_bytes", "Virtual memory.", Some(basics.virtual_bytes)),
        ("process_open_fds", "Open file descriptors.", Some(basics.open_files)),
        ("process_max_fds", "How many may be open.", basics.max_files),
        ("process_threads", "Threads.", Some(basics.threads)),
    ] {
        if let Some(value) = value {
            single(page, name, help, &ConstGauge::new(value))?;
        }
    }
    single(
        page,
        "process_start_time_seconds",
        "When the process started, seconds since the Unix epoch.",
        &ConstGauge::new(basics.started_seconds),
    )
}

/// Writes a metric without labels.
fn single(
    page: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), Error> {
    metric.encode(page.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Writes a metric for each set of labels. A `Family` of prometheus-client would keep the series of
/// removed profiles, and two families cannot write to one name (docs/dependencies.md has the numbers).
fn family<'a, M: EncodeMetric + TypedMetric, const N: usize>(
    page: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metrics: impl IntoIterator<Item = ([(&'static str, &'a str); N], M)>,
) -> Result<(), Error> {
    let mut metrics = metrics.into_iter().peekable();
    // Strict readers want a series below each name.
    if metrics.peek().is_none() {
        return Ok(());
    }
    let mut encoder = page.encode_descriptor(name, help, None, M::TYPE)?;
    for (labels, metric) in metrics {
        metric.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Writes a metric of each profile.
fn by_profile<M: EncodeMetric + TypedMetric>(
    page: &mut DescriptorEncoder<'_>,
    stores: &Stores,
    name: &str,
    help: &str,
    metric: impl Fn(&Store) -> M,
) -> Result<(), Error> {
    let metrics = stores.iter().map(|store| ([("profile", store.profile.label())], metric(store)));
    family(page, name, help, metrics)
}

/// Writes the histograms of hits, and of all other requests, of each profile that has had a request: with
/// hundreds of profiles, empty histograms would be most of the page.
fn by_way(
    page: &mut DescriptorEncoder<'_>,
    stores: &Stores,
    name: &str,
    help: &str,
    histograms: fn(&StoreMetrics) -> &[Histogram; 2],
) -> Result<(), Error> {
    let requested = stores.iter().filter(|store| store.metrics.has_ended_any());
    let metrics = requested.flat_map(|store| {
        StoreMetrics::WAYS.iter().zip(histograms(&store.metrics)).map(|(way, histogram)| {
            ([("profile", store.profile.label()), ("cache", *way)], histogram.counts())
        })
    });
    family(page, name, help, metrics)
}
