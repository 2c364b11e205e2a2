//! Large objects read by byte range, compared with a model in plain memory: tens of thousands of
//! reads by many concurrent clients, while objects are overwritten, deleted and purged, connections
//! to the store fail, and memory is too small. Every byte of an answer must belong to one version
//! that existed.
//!
//! `S3PROXY_MODEL_READS` is the number of reads, 5,000 unless it is set. `S3PROXY_MODEL_SEED` is
//! the seed that an earlier run printed: it repeats the requests, changes and faults of that run,
//! but not their interleaving, which depends on the scheduler.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy knows test functions as tests, not what they call"
)]

#[path = "../support/answers.rs"]
mod answers;
#[expect(dead_code, reason = "shared with the stress test")]
#[path = "../stress/ask.rs"]
mod ask;
#[path = "../support/canary.rs"]
mod canary;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../e2e/client.rs"]
mod client;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../e2e/gateway.rs"]
mod gateway;
#[expect(dead_code, reason = "shared with the stress test")]
#[path = "../stress/history.rs"]
mod history;
#[path = "../stress/judge.rs"]
mod judge;
#[path = "../e2e/log.rs"]
mod log;
#[path = "../stress/multipart.rs"]
mod multipart;
#[path = "../e2e/ports.rs"]
mod ports;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../e2e/running.rs"]
mod running;
#[path = "../e2e/scrape.rs"]
mod scrape;
#[path = "../support/served_store.rs"]
mod served_store;
#[expect(dead_code, reason = "shared with the quickstart and the benchmarks")]
#[path = "../support/store.rs"]
mod store;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../support/tally.rs"]
mod tally;

mod asking;
mod readers;
mod replica;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::PATIENCE;
use crate::gateway::{Gateway, Setup, free_port};
use crate::readers::{Readers, Tally};
use crate::replica::{LAG, Replica};
use crate::served_store::ServedStore;
use crate::store::Manners;
use crate::weather::Weather;
use crate::world::World;

/// The cache settings of a gateway.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    memory: &'static str,
    on_disk: bool,
    /// Percent for blocks.
    share: &'static str,
    read_ahead: &'static str,
    /// Of objects and of negative entries, and how long they are served stale during revalidation.
    ttl: &'static str,
    /// How long before its request an answer may have been current.
    oldest: Duration,
    manners: fn() -> Manners,
    /// Not every store supports it.
    knows_if_match: bool,
    /// Ways to the store, each with faults of its own.
    endpoints: u64,
    /// The last of them leads to a store of its own, which follows the first one and has other entity tags.
    has_replica: bool,
}

const CASES: [Case; 6] = [
    Case {
        name: "memory, always asked",
        memory: "4MiB",
        on_disk: false,
        share: "50",
        read_ahead: "512KiB",
        ttl: "0",
        oldest: Duration::ZERO,
        manners: Manners::rgw,
        knows_if_match: true,
        endpoints: 1,
        has_replica: false,
    },
    Case {
        name: "memory and disk, fresh for a second",
        memory: "3MiB",
        on_disk: true,
        share: "25",
        read_ahead: "256KiB",
        ttl: "1s",
        // Fresh, stale during revalidation, and the fetch itself.
        oldest: Duration::from_secs(3),
        manners: Manners::aws,
        knows_if_match: false,
        endpoints: 1,
        has_replica: false,
    },
    Case {
        name: "room for three blocks, fresh for a second",
        memory: "1MiB",
        on_disk: false,
        share: "25",
        read_ahead: "0",
        ttl: "1s",
        oldest: Duration::from_secs(3),
        manners: Manners::rgw,
        knows_if_match: true,
        endpoints: 1,
        has_replica: false,
    },
    Case {
        name: "little memory and a disk, always asked",
        memory: "2MiB",
        on_disk: true,
        share: "40",
        read_ahead: "1MiB",
        ttl: "0",
        oldest: Duration::ZERO,
        manners: Manners::aws,
        knows_if_match: false,
        endpoints: 1,
        has_replica: false,
    },
    Case {
        name: "two endpoints, fresh for a second",
        memory: "3MiB",
        on_disk: false,
        share: "50",
        read_ahead: "256KiB",
        ttl: "1s",
        oldest: Duration::from_secs(3),
        manners: Manners::rgw,
        knows_if_match: true,
        endpoints: 2,
        has_replica: false,
    },
    Case {
        name: "two stores with tags of their own, hedged",
        memory: "3MiB",
        on_disk: false,
        share: "50",
        read_ahead: "256KiB",
        ttl: "1s",
        oldest: Duration::from_secs(3),
        manners: Manners::rgw,
        knows_if_match: true,
        endpoints: 2,
        has_replica: true,
    },
];

/// Counters of `GET /cache` that must be above zero over all cases.
const COUNTERS: [&str; 11] = [
    "block_hits",
    "block_disk_hits",
    "block_fetches",
    "blocks_fetched",
    "blocks_read_ahead",
    "block_evictions",
    "direct_reads",
    "versions_dropped",
    "memory_evictions",
    "revalidated",
    "purges",
];

#[test]
fn no_byte_is_wrong() {
    let (reads, seed) = (number("S3PROXY_MODEL_READS"), number("S3PROXY_MODEL_SEED"));
    let reads = reads.unwrap_or(5_000);
    let seed = seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let began = Instant::now();
    let mut total = Tally::default();
    let mut counters: BTreeMap<&str, u64> = BTreeMap::new();
    let mut faults = BTreeMap::new();
    let cases = CASES.len() as u64;
    for (nth, case) in (0..).zip(CASES) {
        let part = reads / cases + u64::from(nth < reads % cases);
        let (tally, report, met) = run(case, part, seed.wrapping_add(nth));
        total.add(tally);
        for name in COUNTERS {
            *counters.entry(name).or_default() += report[name].as_u64().expect("a counter");
        }
        for (fault, count) in met {
            *faults.entry(format!("{fault:?}")).or_insert(0) += count;
        }
    }
    let took = began.elapsed().as_secs_f64();
    // Bypasses the capture of the test runner, which hides the output of a passing test.
    let _ = writeln!(
        std::io::stderr(),
        "\n{} reads, {} wrong, {took:.1} s, seed {seed}: {total}; {counters:?}; faults {faults:?}",
        total.answered(),
        total.wrongs(),
    );
    let (all, wrongs) = (total.answered(), total.wrongs());
    tally::add("reads next to the model", usize_of(all), usize_of(wrongs));
    tally::add("faults under the model", usize_of(faults.values().sum()), usize_of(wrongs));
    let wrong = total.wrong.join("\n");
    assert!(total.wrongs() == 0, "{} wrong, seed {seed}:\n{wrong}", total.wrongs());
    assert!(total.answered() >= reads);
    let counters = counters.into_iter().map(|(name, count)| (name.to_owned(), count));
    for (what, count) in total.seen().into_iter().chain(counters).chain(faults) {
        assert!(count > 0, "no {what} among {reads} reads, seed {seed}: {total}");
    }
}

/// One gateway with an empty cache, this many reads through it, and every object once more when
/// there are no faults any more.
fn run(case: Case, reads: u64, seed: u64) -> (Tally, Value, BTreeMap<weather::Fault, u64>) {
    let served = ServedStore::start("model");
    served.store.set_manners((case.manners)());
    let follower = case.has_replica.then(|| ServedStore::start("model"));
    if let Some(follower) = &follower {
        follower.store.set_manners((case.manners)());
    }
    let weather: Vec<Weather> = served.runtime.block_on(async {
        let mut weather = Vec::new();
        for nth in 0..case.endpoints {
            let last = follower.as_ref().filter(|_| nth + 1 == case.endpoints);
            let address = last.unwrap_or(&served).serving.address();
            weather.push(Weather::before(address, case.knows_if_match, seed + nth).await);
        }
        weather
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let urls: Vec<_> = weather.iter().map(|it| format!("http://{}", it.address)).collect();
    let mut setup = Setup::new(&urls[0])
        .without("S3_ENDPOINT_URL")
        .yaml(json!({"default_profile": {"endpoints": urls, "hedge": case.has_replica}}))
        .env("S3PROXY_CACHE_MEMORY", case.memory)
        .env("S3PROXY_CACHE_MAX_OBJECT", "256KiB")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .env("S3PROXY_CACHE_BLOCKS_SHARE", case.share)
        .env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", case.read_ahead)
        .env("S3PROXY_CACHE_TTL", case.ttl)
        .env("S3PROXY_CACHE_NEGATIVE_TTL", case.ttl)
        .env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", case.ttl)
        .env("S3PROXY_CACHE_STALE_IF_ERROR", "0")
        .env("S3PROXY_ADMIN_LISTEN", &admin.to_string())
        .env("S3PROXY_UPSTREAM_PROBE", "false")
        // Failures of the store are expected in the log.
        .tolerate("\"cause\":\"upstream_")
        .tolerate("the breaker of endpoint")
        // So is the warning about its small memory.
        .tolerate("\"event\":\"cache.");
    if case.on_disk {
        setup = setup
            .env("S3PROXY_CACHE_DISK_PATH", folder.path().join("cache").to_str().expect("UTF-8"))
            .env("S3PROXY_CACHE_DISK_SIZE", "64MiB");
    }
    let gateway: Gateway = setup.start();
    let lag = if case.has_replica { LAG } else { Duration::ZERO };
    let replica = follower.as_ref().map(|follower| Replica::new(follower.store.clone()));
    let world = World::new(served.store.clone(), replica, seed);
    // Until the replica has the first versions.
    std::thread::sleep(lag);
    let readers = Readers {
        world: &world,
        weather: &weather,
        gateway: gateway.address,
        admin,
        oldest: case.oldest,
        lag,
    };
    let mut tally = readers.read(reads, seed);
    weather.iter().for_each(Weather::clear_up);
    // Until entries of deleted versions may not be served any longer.
    std::thread::sleep(lag + case.oldest.max(Duration::from_millis(600)));
    tally.add(readers.read_all_again());
    let report = at_rest(admin);
    let name = case.name;
    eprintln!("{name}: {tally}; {report}");
    if tally.wrongs() > 0 {
        eprintln!("{}", lines_about(&tally.wrong, &gateway.log_text()));
    }
    let number = |name: &str| report[name].as_u64().expect("a number");
    assert!(number("memory_bytes") <= number("memory_limit"), "{name}: {report}");
    for counter in ["disk_damaged", "disk_errors"] {
        assert_eq!(report[counter], 0, "{name}: {counter}: {report}");
    }
    let mut faults = BTreeMap::new();
    for (fault, count) in weather.iter().flat_map(Weather::counts) {
        *faults.entry(fault).or_default() += count;
    }
    (tally, report, faults)
}

/// `GET /cache`, once no fetch is in flight.
fn at_rest(admin: std::net::SocketAddr) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = client::send(admin, "GET", "/cache", &[]).json();
        if report["fetches_under_way"] == 0 {
            return report;
        }
        assert!(Instant::now() < deadline, "fetches go on: {report}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The log lines of the requests whose ids these texts begin with, and warnings.
fn lines_about(wrong: &[String], log: &str) -> String {
    let ids: Vec<_> = wrong.iter().filter_map(|text| text.split(' ').next()).collect();
    let about = |line: &&str| ids.iter().any(|id| line.contains(&format!("\"{id}\"")));
    log.lines().filter(about).collect::<Vec<_>>().join("\n")
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("a number that fits")
}

#[expect(clippy::disallowed_methods, reason = "the test's only look at the environment")]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable} is a number: {error}")))
}
