//! The cost of the disk tier: opening a folder of 100,000 objects, a hit, a miss, and sweeping all
//! objects. `cargo bench --bench disk` prints the numbers of `docs/decisions/disk-tier.md`; it
//! writes 2.5 GB to the folder `S3PROXY_BENCH_FOLDER`, by default the folder for temporary files.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench ends when it cannot go on")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use s3proxy::cache::disk::{DiskRecord, DiskState, DiskTier};
use s3proxy::cache::freshness::Freshness;
use s3proxy::cache::key::CacheKey;
use s3proxy::cache::statistics::Statistics;

const CAPACITY: u64 = 1 << 40;

fn record(number: usize, size: usize) -> DiskRecord {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut headers = http::HeaderMap::new();
    for (name, value) in [
        ("content-type", "image/png"),
        ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("etag", "\"0123456789abcdef0123456789abcdef\""),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let mut random = fastrand::Rng::with_seed(number as u64);
    let body: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
    DiskRecord {
        key: key(number, size),
        requested_at: at,
        settings: 0,
        freshness: Freshness {
            generated_at: at,
            fresh_until: at,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        },
        headers,
        body: body.into(),
        held: None,
    }
}

fn key(number: usize, size: usize) -> CacheKey {
    let text = format!("profile endpoint bucket survey/{size}/Norder7/Dir0/Npix{number}.png");
    CacheKey::from_bytes(text.as_bytes())
}

/// CPU time of this process so far, in milliseconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    f64::from(ticks) * 10.0
}

fn open(folder: &Path) -> DiskTier {
    let (clock, before) = (Instant::now(), cpu());
    let tier = DiskTier::open(folder, CAPACITY, Arc::new(Statistics::default()));
    let returned = clock.elapsed();
    while tier.state() == DiskState::Scanning {
        std::thread::sleep(Duration::from_millis(1));
    }
    println!(
        "open: returned in {returned:?}, {} entries found in {:?}, {:.0} ms of CPU",
        tier.entries(),
        clock.elapsed(),
        cpu() - before
    );
    tier
}

/// Reads these keys one after the other; returns the number of hits.
async fn read(tier: &DiskTier, what: &str, keys: impl Iterator<Item = CacheKey>) {
    let before = cpu();
    let (mut times, mut found) = (Vec::new(), 0);
    for key in keys {
        let clock = Instant::now();
        found += usize::from(tier.get(&key).await.is_some());
        times.push(clock.elapsed());
    }
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let each = (cpu() - before) * 1000.0 / f64::from(u32::try_from(times.len()).unwrap());
    println!(
        "{what}: {found} of {} found, {each:.1} us of CPU each, p50 {:?}, p99 {:?}",
        times.len(),
        at(50),
        at(99)
    );
}

fn main() {
    let parent =
        std::env::var_os("S3PROXY_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::TempDir::new_in(parent).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tier = open(folder.path());
        for (size, number) in [(20_000, 100_000), (1_000_000, 500)] {
            let (clock, before) = (Instant::now(), cpu());
            let start = tier.entries();
            for nth in 0..number {
                tier.put(record(nth, size));
                // No faster than records are written: the queue is bounded, and drops the rest.
                while start + nth as u64 > tier.entries() + 32 {
                    tokio::time::sleep(Duration::from_micros(100)).await;
                }
            }
            println!(
                "put {number} of {size}, made included: {:?}, {:.0} ms of CPU",
                clock.elapsed(),
                cpu() - before
            );
        }
        tier.close();
        drop(tier);
        let tier = open(folder.path());
        read(&tier, "hit 20 kB", (0..100_000).map(|nth| key(nth, 20_000))).await;
        read(&tier, "hit 1 MB", (0..500).map(|nth| key(nth, 1_000_000))).await;
        read(&tier, "miss", (0..100_000).map(|nth| key(nth, 1))).await;
        let (over, is_over) = std::sync::mpsc::channel::<()>();
        let (clock, before) = (Instant::now(), cpu());
        tier.remove_where(move |_, _| {
            let _ = &over;
            false
        });
        let _ = is_over.recv();
        println!("sweep of all: {:?}, {:.0} ms of CPU", clock.elapsed(), cpu() - before);
    });
}
