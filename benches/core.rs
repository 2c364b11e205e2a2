//! The cost of the pure parts of one request: parsing the address, choosing the media type,
//! signing, evaluating the answer. Run `cargo bench --bench core`.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has to stop")]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use log::Level;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use s3proxy::gateway::route::route;
use s3proxy::logging::access::{AccessRecord, HttpRequestRecord, RequestUrl};
use s3proxy::logging::json_line::json_line;
use s3proxy::metrics::store::{EndedRequest, StoreMetrics};
use s3proxy::mime::{MimePolicy, MimeSettings};
use s3proxy::profile::Profile;
use s3proxy::profile::cache_rules::{CacheRules, Rule};
use s3proxy::profile::globs::Globs;
use s3proxy::protocol::cache_status::{CacheResult, CacheStatus};
use s3proxy::protocol::forwarded_conditions::upstream_conditions;
use s3proxy::s3::address::ObjectAddress;
use s3proxy::s3::credentials::{CredentialSource, Credentials, Keys};
use s3proxy::s3::endpoint::{Addressing, Endpoint};
use s3proxy::s3::secret::Secret;
use s3proxy::trace::Tracer;
use s3proxy::upstream::answer::{AnswerContext, Ask, decide};
use wildmatch::WildMatch;

const TILE: &[u8] = b"LSSTCam/runs/DRP/DP2/cosmost2/color_gri/Norder7/Dir20000/Npix29183.webp";
const ESCAPED: &[u8] = b"%E6%98%9F%E5%9B%BE/a%20b%2Bc//%25%C3%A9/%F0%9F%98%80/tile%20%281%29.png";

fn profile() -> Profile {
    let endpoint = Endpoint {
        tls: true,
        host: "s3.example.org".to_owned(),
        port: 9000,
        base_path: String::new(),
    };
    Profile {
        credentials: Credentials::Keys {
            keys: Keys {
                access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
                secret_access_key: Secret::new(
                    "an example of a secret key, 40 bytes....".to_owned(),
                ),
                session_token: None,
            },
            source: CredentialSource::Environment,
        },
        ..Profile::unsigned(Some("hips"), endpoint)
    }
}

fn address(c: &mut Criterion) {
    let path = [b"/s3proxy/s3/hips@rubin-hips-views/", TILE].concat();
    c.bench_function("route", |b| b.iter(|| route("/s3proxy", black_box(&path))));
    c.bench_function("address/tile", |b| {
        b.iter(|| ObjectAddress::parse(b"hips@rubin-hips-views", black_box(TILE), true));
    });
    c.bench_function("address/escaped", |b| {
        b.iter(|| ObjectAddress::parse(b"hips%40sky", black_box(ESCAPED), true));
    });
}

fn mime(c: &mut Criterion) {
    let policy = MimePolicy::new(&MimeSettings::default()).expect("the defaults are valid");
    for key in ["Norder7/Dir20000/Npix29183.webp", "a/b.fits.fz", "HiPS/properties", "x.unknown"] {
        c.bench_function(&format!("mime/{key}").replace("Norder7/Dir20000/", ""), |b| {
            b.iter(|| {
                let _ = black_box(policy.key_type(black_box(key)));
            });
        });
    }
}

fn sign(c: &mut Criterion) {
    let profile = profile();
    let signer = profile.signer();
    let target = profile.endpoint.target(Addressing::Path, "rubin-hips-views", TILE);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    c.bench_function("target", |b| {
        b.iter(|| profile.endpoint.target(Addressing::Path, "rubin-hips-views", black_box(TILE)));
    });
    c.bench_function("sign", |b| {
        b.iter(|| signer.sign(&Method::GET, black_box(&target), now));
    });
    c.bench_function("sign/signing key alone", |b| {
        b.iter(|| {
            aws_sigv4::sign::v4::generate_signing_key(
                black_box("an example of a secret key, 40 bytes...."),
                now,
                "us-east-1",
                "s3",
            )
        });
    });
}

fn answer(c: &mut Criterion) {
    let client = HeaderMap::new();
    let conditions = upstream_conditions(&Method::GET, &client);
    let mut store = HeaderMap::new();
    for (name, value) in [
        ("content-length", "421337"),
        ("etag", "\"2bcd3c4de20c918e19fab5c36249c70d\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("date", "Mon, 07 Nov 1994 08:49:37 GMT"),
        ("content-type", "image/webp"),
        ("x-amz-request-id", "tx00000a1b2c3d4e5f-0065f0a1b2-1234-default"),
    ] {
        store.insert(name, HeaderValue::from_static(value));
    }
    let request = AnswerContext {
        method: &Method::GET,
        headers: &client,
        ask: Ask::AsClient,
        conditional: false,
        conditions: &conditions,
    };
    c.bench_function("answer/200", |b| {
        b.iter(|| decide(black_box(&request), StatusCode::OK, &store));
    });
}

/// Labels as `Family` of prometheus-client looks them up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    profile: Arc<str>,
    cache: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabels {
    profile: Arc<str>,
    cache: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProfileLabel {
    profile: Arc<str>,
}

const BOUNDS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 15.0, 60.0,
];

fn duration_histogram() -> Histogram {
    Histogram::new(BOUNDS)
}

/// A histogram of plain atomics, in microseconds.
#[derive(Default)]
struct PlainHistogram {
    buckets: [AtomicU64; MICROS.len() + 1],
    sum: AtomicU64,
}

const MICROS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 15_000_000, 60_000_000,
];

impl PlainHistogram {
    fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }
}

/// The cache rule of an object key, by the number of patterns; none of them matches.
fn cache_rules(c: &mut Criterion) {
    let key = std::str::from_utf8(TILE).expect("UTF-8");
    for count in [0, 1, 10, 200] {
        let pattern = |nth| WildMatch::new(&format!("*/survey{nth}/Norder*/Npix*.webp"));
        let patterns: Vec<_> = (0..count).map(pattern).collect();
        let each = patterns.clone();
        let by_pattern = vec![Rule::default(); count];
        let rules = CacheRules::new(Rule::default(), Globs::new(patterns), by_pattern);
        c.bench_function(&format!("cache rule/{count} patterns"), |b| {
            b.iter(|| rules.listed(black_box(key)).is_some());
        });
        c.bench_function(&format!("cache rule/{count} patterns, one by one"), |b| {
            b.iter(|| each.iter().any(|pattern| pattern.matches(black_box(key))));
        });
    }
}

/// All metrics of a hit: the gateway's, with counters and histograms of prometheus-client; the same with
/// plain atomics; and with its families, which look labels up.
fn metrics(c: &mut Criterion) {
    let ended = EndedRequest {
        status: Some(200),
        cache: CacheResult::Hit,
        duration: Duration::from_micros(180),
        ttfb: Some(Duration::from_micros(140)),
        bytes: 20_480,
        trace: None,
    };
    let store = StoreMetrics::default();
    c.bench_function("metrics/hit", |b| b.iter(|| store.ended(black_box(&ended))));

    let statuses: [AtomicU64; 25] = Default::default();
    let sent = AtomicU64::new(0);
    let (duration, ttfb) = (PlainHistogram::default(), PlainHistogram::default());
    c.bench_function("metrics/hit, plain atomics", |b| {
        b.iter(|| {
            let ended = black_box(&ended);
            let index = usize::from(ended.status.unwrap_or_default() / 100);
            if let Some(counter) = statuses.get(index) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            duration.observe(ended.duration);
            ttfb.observe(ended.ttfb.unwrap_or_default());
            sent.fetch_add(ended.bytes, Ordering::Relaxed);
        });
    });

    let requests = Family::<RequestLabels, Counter>::default();
    let histograms = [(); 2].map(|()| {
        Family::<WayLabels, Histogram, fn() -> Histogram>::new_with_constructor(duration_histogram)
    });
    let sent = Family::<ProfileLabel, Counter>::default();
    let name: Arc<str> = Arc::from("hips");
    c.bench_function("metrics/hit, families of prometheus-client", |b| {
        b.iter(|| {
            let ended = black_box(&ended);
            let profile = || Arc::clone(&name);
            let status = ended.status.unwrap_or_default();
            let labels = RequestLabels { profile: profile(), cache: ended.cache.label(), status };
            requests.get_or_create(&labels).inc();
            let labels = WayLabels { profile: profile(), cache: "hit" };
            let [duration, ttfb] = &histograms;
            duration.get_or_create(&labels).observe(ended.duration.as_secs_f64());
            let first = ended.ttfb.map_or(0.0, |ttfb| ttfb.as_secs_f64());
            ttfb.get_or_create(&labels).observe(first);
            sent.get_or_create(&ProfileLabel { profile: profile() }).inc_by(ended.bytes);
        });
    });
}

/// The log line of a hit.
fn log_line(c: &mut Criterion) {
    let key = String::from_utf8_lossy(TILE).into_owned();
    let path = format!("/s3proxy/s3/hips@rubin-hips-views/{key}").into();
    let bucket = "rubin-hips-views".to_owned();
    let object = ObjectAddress { profile: Some("hips".to_owned()), bucket, key };
    let record = AccessRecord {
        event: "s3 response",
        http_request: HttpRequestRecord {
            method: &Method::GET,
            url: RequestUrl { scheme: "https", host: "data.example.org", path },
            status: Some(StatusCode::OK),
            remote_ip: Some(IpAddr::from([10, 42, 7, 113])),
            protocol: None,
            user_agent: Some(
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
        },
        user: Some("somebody"),
        request_id: "9835f7fb-9c07-495a-9802-01d0933312e9",
        trace: None,
        path: Some(&object),
        target: None,
        profile: Some("hips"),
        status: Some(200),
        cache: Some(CacheStatus::Hit { ttl: 287, stale: None, shared: false }),
        blocks: None,
        duration: Duration::from_micros(180),
        ttfb: Some(Duration::from_micros(140)),
        bytes_sent: 20_480,
        cause: None,
        detail: None,
        upstream: None,
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_800_000_000_123_456);
    c.bench_function("log line/hit", |b| {
        b.iter(|| json_line(black_box(&record), Level::Info, now));
    });
}

/// What traces add to a hit: the span of a request that is not recorded, one that is, with its part and the queue,
/// and the ids in the log line.
fn trace(c: &mut Criterion) {
    let headers = HeaderMap::new();
    for (name, sample) in [("not recorded", 0), ("recorded", s3proxy::trace::ALL)] {
        let tracer = Tracer::new(sample, false, 64, 64);
        c.bench_function(&format!("trace/a hit that is {name}"), |b| {
            b.iter(|| {
                let span = tracer.begin(black_box(&headers));
                drop(span.parent().part("cache lookup"));
                let mut line = String::with_capacity(128);
                span.context().push_trace_id(&mut line);
                span.context().push_span_id(&mut line);
                drop(span);
                if tracer.waiting() == 64 {
                    drop(tracer.take());
                }
                line
            });
        });
    }
}

criterion_group!(benches, address, mime, sign, answer, cache_rules, metrics, log_line, trace);
criterion_main!(benches);
