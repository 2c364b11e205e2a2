//! Tens of thousands of mixed requests of many concurrent clients, while objects are changed,
//! deleted and purged behind a gateway whose memory is too small: every answer is checked against
//! every version that existed, and against its permitted age.
//!
//! A second test does the same while the gateway reloads its configuration, drains and starts again.
//!
//! `S3PROXY_STRESS_REQUESTS` is the number of requests of each test, 10,000 unless it is set.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy knows test functions as tests, not what they call"
)]

#[path = "../support/answers.rs"]
mod answers;
#[path = "../support/canary.rs"]
mod canary;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../e2e/client.rs"]
mod client;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../e2e/gateway.rs"]
mod gateway;
#[path = "../e2e/log.rs"]
mod log;
#[path = "../e2e/ports.rs"]
mod ports;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../e2e/running.rs"]
mod running;
#[path = "../e2e/scrape.rs"]
mod scrape;
#[expect(dead_code, reason = "shared with the test of the model")]
#[path = "../support/served_store.rs"]
mod served_store;
#[expect(dead_code, reason = "shared with the quickstart and the benchmarks")]
#[path = "../support/store.rs"]
mod store;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../support/tally.rs"]
mod tally;

#[expect(dead_code, reason = "shared with the test of the model")]
mod ask;
mod crowd;
#[expect(dead_code, reason = "shared with the test of the model")]
mod history;
mod judge;
mod life;
mod multipart;
mod sky;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::crowd::{Crowd, Tally};
use crate::gateway::{Gateway, Setup, free_port};
use crate::life::Life;
use crate::served_store::ServedStore;
use crate::sky::Sky;

/// The cache settings of the gateway, which determine how old an answer may be.
#[derive(Debug, Clone, Copy)]
struct Freshness {
    ttl: &'static str,
    negative_ttl: &'static str,
    stale_while_revalidate: &'static str,
    /// How long before its request an answer may have been current.
    oldest: Duration,
}

/// Every answer is revalidated with the store.
const EXACT: Freshness =
    Freshness { ttl: "0", negative_ttl: "0", stale_while_revalidate: "0", oldest: Duration::ZERO };

/// A second each; real time must pass, or no entry would become stale.
const SHORT: Freshness = Freshness {
    ttl: "1s",
    negative_ttl: "1s",
    stale_while_revalidate: "1s",
    // And a second for the fetch itself: freshness begins with its answer.
    oldest: Duration::from_secs(3),
};

#[test]
fn no_answer_is_wrong_or_too_old() {
    let requests = requested();
    let began = Instant::now();
    let mut total = Tally::default();
    for (nth, freshness, part) in [(1, EXACT, requests / 3), (2, SHORT, requests - requests / 3)] {
        total.add(run(nth, freshness, part));
    }
    let took = began.elapsed().as_secs_f64();
    // Bypasses the capture of the test runner, which hides the output of a passing test.
    let _ = writeln!(
        std::io::stderr(),
        "\n{} requests, {} wrong bodies, {took:.1} s: {total}",
        total.answered(),
        total.wrong.len(),
    );
    let answered = usize::try_from(total.answered()).expect("a number that fits");
    tally::add("requests under stress", answered, total.wrong.len());
    total.assert_right();
    assert_eq!(total.answered(), requests);
    for (what, count) in total.seen() {
        assert!(count > 0, "no {what} among {requests} requests: {total}");
    }
}

#[test]
fn no_answer_is_wrong_or_too_old_while_the_gateway_reloads_and_restarts() {
    let requests = requested();
    let bench = Bench::start(SHORT);
    let life = Life::new(&bench.setup);
    let sky = Sky::new(bench.served.store.clone(), 3);
    let crowd = Crowd {
        sky: &sky,
        gateway: life.address(),
        admin: bench.admin,
        oldest: SHORT.oldest,
        restarts: true,
    };
    let (tally, lived) = life.during(requests, |left| crowd.make(left, 3));
    let _ = writeln!(
        std::io::stderr(),
        "\n{} requests, {} wrong bodies, {lived}: {tally}",
        tally.answered(),
        tally.wrong.len(),
    );
    let answered = usize::try_from(tally.answered()).expect("a number that fits");
    tally::add("requests while it restarts", answered, tally.wrong.len());
    tally.assert_right();
    assert_eq!(tally.answered(), requests);
    assert!(lived.reloads > 0 && lived.restarts > 0, "{lived}");
}

/// A store, and the settings of a gateway before it with an empty cache.
struct Bench {
    served: ServedStore,
    admin: SocketAddr,
    setup: Setup,
    _folder: TempDir,
}

impl Bench {
    fn start(freshness: Freshness) -> Self {
        let served = ServedStore::start("sky");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let disk = folder.path().join("cache");
        let setup = Setup::new(&served.serving.endpoint())
            // The sky changes: a body whose blocks come while its object does ends visibly, and the log says so.
            .tolerate("the object has changed in the store while it was read")
            .env("S3PROXY_CACHE_MEMORY", "3MiB")
            .env("S3PROXY_CACHE_DISK_PATH", disk.to_str().expect("UTF-8"))
            .env("S3PROXY_CACHE_DISK_SIZE", "64MiB")
            .env("S3PROXY_CACHE_TTL", freshness.ttl)
            .env("S3PROXY_CACHE_NEGATIVE_TTL", freshness.negative_ttl)
            .env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", freshness.stale_while_revalidate)
            .env("S3PROXY_CACHE_STALE_IF_ERROR", "0")
            .env("S3PROXY_ADMIN_LISTEN", &admin.to_string())
            .env("S3PROXY_UPSTREAM_PROBE", "false");
        Self { served, admin, setup, _folder: folder }
    }
}

/// One gateway with an empty cache, and this many requests to it.
fn run(seed: u64, freshness: Freshness, requests: u64) -> Tally {
    let bench = Bench::start(freshness);
    let gateway: Gateway = bench.setup.clone().start();
    let sky = Sky::new(bench.served.store.clone(), seed);
    let admin = bench.admin;
    let (gateway_at, oldest) = (gateway.address, freshness.oldest);
    let crowd = Crowd { sky: &sky, gateway: gateway_at, admin, oldest, restarts: false };
    let left = AtomicU64::new(requests);
    let tally = crowd.make(&left, seed);
    let counters = client::send(admin, "GET", "/cache", &[]).json();
    eprintln!("{freshness:?}: {tally}; {counters}");
    if !tally.wrong.is_empty() {
        eprintln!("{}", lines_about(&tally.wrong, &gateway.log_text()));
    }
    for counter in ["disk_hits", "memory_evictions", "revalidated", "purges"] {
        assert!(counters[counter].as_u64() > Some(0), "no {counter}: {counters}");
    }
    for counter in ["disk_damaged", "disk_errors", "cut_fills"] {
        assert_eq!(counters[counter], 0, "{counter}: {counters}");
    }
    tally
}

/// The log lines of the requests whose ids these texts begin or end with, and warnings.
fn lines_about(wrong: &[String], log: &str) -> String {
    let words: Vec<_> = wrong.iter().flat_map(|text| text.split(' ')).collect();
    let ids: Vec<_> = words.into_iter().filter(|word| word.starts_with("stress-")).collect();
    let about = |line: &&str| {
        !line.contains("\"severity\":\"info\"")
            || ids.iter().any(|id| line.contains(&format!("\"{id}\"")))
    };
    log.lines().filter(about).collect::<Vec<_>>().join("\n")
}

#[expect(clippy::disallowed_methods, reason = "the test's only look at the environment")]
fn requested() -> u64 {
    match std::env::var("S3PROXY_STRESS_REQUESTS") {
        Ok(number) => number.parse().expect("S3PROXY_STRESS_REQUESTS is a number"),
        Err(_) => 10_000,
    }
}
