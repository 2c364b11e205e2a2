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
use s3proxy::logging::access::{AccessRecord, HttpRequestRecord, json_line};
use s3proxy::metrics::store::{EndedRequest, StoreMetrics};
use s3proxy::mime::{MimePolicy, MimeSettings};
use s3proxy::profile::Profile;
use s3proxy::profile::cache_rules::{CacheRules, Rule};
use s3proxy::profile::globs::Globs;
use s3proxy::protocol::cache_status::{BlockCounts, CacheResult, CacheStatus};
use s3proxy::protocol::forwarded_conditions::upstream_conditions;
use s3proxy::protocol::timestamp::{push_decimal, rfc3339};
use s3proxy::s3::address::ObjectAddress;
use s3proxy::s3::credentials::{CredentialSource, Credentials, Keys};
use s3proxy::s3::endpoint::{Addressing, Endpoint};
use s3proxy::s3::secret::Secret;
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

fn written_line(record: &AccessRecord<'_>, now: SystemTime) -> String {
    let request = &record.http_request;
    let mut line = JsonObject::new(512);
    line.text("timestamp", &rfc3339(now));
    line.text("severity", "info");
    line.text("logger", "s3proxy");
    line.text("event", record.event);
    line.begin_object("httpRequest");
    line.text("requestMethod", request.method.as_str());
    line.text("requestUrl", &request.url);
    line.maybe_text("status", request.status.as_ref().map(StatusCode::as_str));
    line.maybe_text("remoteIp", request.remote_ip.map(ip_text).as_deref());
    line.maybe_text("userAgent", request.user_agent);
    line.end_object();
    line.text("request_id", record.request_id);
    line.maybe_text("user", record.user);
    line.maybe_text("path", record.path.as_deref());
    line.maybe_text("profile", record.profile);
    line.maybe_number("status", record.status);
    let mut did = String::with_capacity(64);
    match record.cache {
        Some(status) => status.push_to(&mut did, BlockCounts::default()),
        None => did.push_str("none"),
    }
    line.text("cache", &did);
    line.maybe_millis("duration_ms", Some(record.duration));
    line.maybe_millis("ttfb_ms", record.ttfb);
    line.maybe_number("bytes_sent", Some(record.bytes_sent));
    line.maybe_text("cause", record.cause);
    line.maybe_text("detail", record.detail);
    if let Some(upstream) = &record.upstream {
        line.maybe_millis("upstream_ms", Some(upstream.duration));
        line.maybe_number("upstream_attempts", Some(upstream.attempts));
        line.maybe_number("upstream_status", upstream.status);
        line.maybe_text("upstream_code", upstream.code);
        line.maybe_text("upstream_request_id", upstream.request_id);
    }
    line.finish()
}

/// JSON that is written field by field, without serde's derive.
struct JsonObject {
    out: Vec<u8>,
    first: bool,
}

impl JsonObject {
    fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        // Without an early end, which lets the compiler look at many bytes at once.
        let special = |byte| !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\';
        if !value.bytes().fold(false, |any, byte| any | special(byte)) {
            self.out.push(b'"');
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        } else {
            // Writing text to a Vec has no way to fail.
            let _written = serde_json::to_writer(&mut self.out, value);
        }
    }

    fn maybe_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn maybe_number(&mut self, name: &str, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            self.key(name);
            let _written = serde_json::to_writer(&mut self.out, &value.into());
        }
    }

    /// Milliseconds with three decimals.
    fn maybe_millis(&mut self, name: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.key(name);
            let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
            let _written = serde_json::to_writer(&mut self.out, &(micros / 1000));
            self.out.push(b'.');
            for place in [100, 10, 1] {
                self.out.extend(u8::try_from(micros / place % 10).map(|digit| b'0' + digit));
            }
        }
    }

    fn begin_object(&mut self, name: &str) {
        self.key(name);
        self.out.push(b'{');
        self.first = true;
    }

    fn end_object(&mut self) {
        self.out.push(b'}');
        self.first = false;
    }

    fn finish(mut self) -> String {
        self.out.push(b'}');
        String::from_utf8(self.out).unwrap_or_default()
    }
}

/// The text of an address.
fn ip_text(ip: IpAddr) -> String {
    let IpAddr::V4(ip) = ip else { return ip.to_string() };
    let mut text = String::with_capacity(15);
    for octet in ip.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        push_decimal(&mut text, octet.into());
    }
    text
}

/// The log line of a hit: derived by serde, as the gateway writes it, and written field by field.
fn log_line(c: &mut Criterion) {
    let key = String::from_utf8_lossy(TILE);
    let record = AccessRecord {
        event: "s3 response",
        http_request: HttpRequestRecord {
            method: &Method::GET,
            url: format!("https://data.example.org/s3proxy/s3/hips@rubin-hips-views/{key}"),
            status: Some(StatusCode::OK),
            remote_ip: Some(IpAddr::from([10, 42, 7, 113])),
            user_agent: Some(
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
        },
        user: Some("somebody"),
        request_id: "9835f7fb-9c07-495a-9802-01d0933312e9",
        path: Some(format!("s3://hips@rubin-hips-views/{key}")),
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
    assert_eq!(json_line(&record, Level::Info, now), written_line(&record, now));
    c.bench_function("log line/hit", |b| {
        b.iter(|| json_line(black_box(&record), Level::Info, now));
    });
    c.bench_function("log line/hit, written field by field", |b| {
        b.iter(|| written_line(black_box(&record), now));
    });
}

criterion_group!(benches, address, mime, sign, answer, cache_rules, metrics, log_line);
criterion_main!(benches);
