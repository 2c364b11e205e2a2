//! The memory of the whole process with a disk tier: what waits for the disk or is read from it counts
//! in the memory of the cache, however many clients read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cached::with_cache;
use crate::crowd::{Watched, await_that, numbered};
use crate::faulty::{self, Faulty};
use crate::gateway::Setup;
use crate::tally::trial;

const MIB: usize = 1 << 20;
const MEMORY: usize = 64 * MIB;
/// The bound of `docs/operations.md`: twice the memory of the cache, and this much besides.
const BESIDES: usize = 64 * MIB;
const TILES: usize = 1500;
/// Tiles of 4 to 400 KiB, which take more than the disk has.
const LENGTHS: std::ops::RangeInclusive<usize> = 4 << 10..=400 << 10;

fn length_of(number: usize) -> usize {
    fastrand::Rng::with_seed(number as u64).usize(LENGTHS)
}

/// A store with an object under every key `sky/NUMBER.png`.
fn store() -> Faulty {
    let pattern = numbered(*LENGTHS.end());
    Faulty::scripted(move |request, _| {
        let number = request.target.trim_start_matches("/sky/").trim_end_matches(".png");
        let length = length_of(number.parse().unwrap_or_default());
        let mut steps = faulty::answer(200, &[("ETag", "\"a\"")], &pattern[..length]);
        if request.method == "HEAD" {
            steps.truncate(1);
        }
        steps
    })
}

fn setup(store: &Faulty, folder: &std::path::Path) -> Setup {
    with_cache(&store.url())
        .env("S3PROXY_CACHE_MEMORY", &MEMORY.to_string())
        .env("S3PROXY_CACHE_DISK_PATH", folder.to_str().expect("a path of UTF-8"))
        .env("S3PROXY_CACHE_DISK_SIZE", "128MiB")
}

/// Memory in use now, bytes.
fn memory(watched: &Watched) -> usize {
    let path = format!("/proc/{}/status", watched.gateway.pid());
    let status = std::fs::read_to_string(path).expect("the status of our own child");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kibibytes * 1024
}

/// This number of clients read random tiles for a while. Returns how many they have read.
fn read(watched: &Watched, clients: usize, span: Duration, purges: bool) -> usize {
    let (done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..clients {
            let (done, count) = (&done, &count);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(client as u64);
                let mut connection = watched.gateway.connect();
                while !done.load(Ordering::Relaxed) {
                    let number = random.usize(0..TILES);
                    let path = format!("/s3proxy/s3/sky/{number}.png");
                    let answer = connection.exchange("GET", &path, &[]);
                    assert_eq!((answer.status(), answer.body.len()), (200, length_of(number)));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let until = Instant::now() + span;
        let mut random = fastrand::Rng::with_seed(1);
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            if purges {
                watched.purge(&format!("/sky/{}", random.usize(0..TILES)));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    count.into_inner()
}

#[test]
fn the_process_stays_within_the_documented_memory_while_tiles_go_to_disk_and_come_back() {
    let _trial = trial("looks at memory");
    let (store, folder) = (store(), tempfile::tempdir().expect("a temporary folder"));
    let watched = Watched::start(setup(&store, folder.path()));
    let mut seen = Vec::new();
    for (clients, purges) in [(4, true), (16, true), (64, true), (64, false)] {
        let requests = read(&watched, clients, Duration::from_secs(5), purges);
        seen.push((clients, requests, memory(&watched) / MIB));
    }
    let counters = watched.counters();
    let peak = watched.gateway.peak_memory();
    eprintln!("peak {} MiB, by clients, requests and MiB: {seen:?}", peak / MIB);
    assert!(counters["disk_hits"].as_u64() > Some(100), "the disk is read: {counters}");
    assert!(peak <= MEMORY * 2 + BESIDES, "peak {} MiB: {seen:?}", peak / MIB);
    let held = || watched.counter("memory_bytes");
    await_that("the budget holds", || held() <= MEMORY as u64);
}
