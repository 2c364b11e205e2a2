//! The tier on real files: found again, swept, private.

mod damage;
mod off;
mod room;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use http::HeaderMap;
use tempfile::TempDir;

use super::*;

const CAPACITY: u64 = 1 << 30;

fn key(number: usize) -> CacheKey {
    CacheKey::from_bytes(format!("bucket/survey/Npix{number}.png").as_bytes())
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn freshness(until: u64) -> Freshness {
    Freshness {
        generated_at: time(1000),
        fresh_until: time(until),
        stale_while_revalidate: Duration::from_secs(1),
        stale_if_error: Duration::from_secs(2),
    }
}

fn record_of(number: usize, size: usize) -> DiskRecord {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let body: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
    let mut headers = HeaderMap::new();
    headers.insert("etag", format!("\"{number}\"").parse().unwrap());
    DiskRecord {
        key: key(number),
        requested_at: time(number as u64),
        settings: 0,
        freshness: freshness(2000),
        headers,
        body: body.into(),
        held: None,
    }
}

fn record(number: usize) -> DiskRecord {
    record_of(number, 1000 + number)
}

/// A tier in a folder of its own, with its counters.
struct Bench {
    folder: TempDir,
    statistics: Arc<Statistics>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), statistics: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Opens the tier and waits until it has looked through its folder.
    fn open(&self, capacity: u64) -> DiskTier {
        scanned(DiskTier::open(&self.path(), capacity, Arc::clone(&self.statistics)))
    }

    fn file(&self, number: usize) -> PathBuf {
        self.path().join(FileName::of(&key(number)).path())
    }

    /// All files of records.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if folder.is_dir() {
                found.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        found
    }
}

/// Waits, bounded, until something in the background has come about.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in 20 s");
        std::thread::yield_now();
    }
}

fn scanned(tier: DiskTier) -> DiskTier {
    eventually("the scan", || tier.state() != DiskState::Scanning);
    tier
}

fn is_written(tier: &DiskTier) {
    eventually("the queue is empty", || tier.shared.lock().queue.is_empty());
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    let sizes = [0, 1, 3000, record::PIECE, 3 * record::PIECE + 1, 2_000_000];
    let records: Vec<DiskRecord> =
        (0..).zip(sizes).map(|(number, size)| record_of(number, size)).collect();
    for record in &records {
        tier.put(record.clone());
        assert_eq!(tier.get(&record.key).await.as_ref(), Some(record), "at once");
    }
    tier.close();
    let (bytes, entries) = (tier.bytes(), tier.entries());
    assert_eq!(entries, 6);
    let tier = bench.open(CAPACITY);
    assert_eq!((tier.state(), tier.bytes(), tier.entries()), (DiskState::On, bytes, entries));
    for record in &records {
        assert_eq!(tier.get(&record.key).await.as_ref(), Some(record));
    }
    assert_eq!(tier.get(&key(99)).await, None);
    assert_eq!(bench.statistics.disk_errors.get() + bench.statistics.disk_damaged.get(), 0);
}

#[tokio::test]
async fn a_confirmed_record_is_fresh_after_a_restart_and_its_body_is_not_written_again() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    tier.put(record(1));
    is_written(&tier);
    let inode = fs::metadata(bench.file(1)).unwrap().ino();
    tier.freshen(&key(1), freshness(9000));
    tier.freshen(&key(2), freshness(9000));
    let expected = DiskRecord { freshness: freshness(9000), ..record(1) };
    assert_eq!(tier.get(&key(1)).await.as_ref(), Some(&expected), "at once");
    tier.close();
    assert_eq!(fs::metadata(bench.file(1)).unwrap().ino(), inode, "the same file");
    let tier = bench.open(CAPACITY);
    assert_eq!(tier.get(&key(1)).await, Some(expected));
    assert_eq!((tier.get(&key(2)).await, tier.entries()), (None, 1));
}

#[tokio::test]
async fn what_is_removed_is_gone_at_once_and_after_a_restart() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    tier.put(record(1));
    tier.put(record(2));
    is_written(&tier);
    tier.remove(&key(1));
    tier.remove(&key(3));
    assert_eq!(tier.get(&key(1)).await, None);
    tier.close();
    let tier = bench.open(CAPACITY);
    assert_eq!((tier.get(&key(1)).await, tier.get(&key(2)).await), (None, Some(record(2))));
}

#[tokio::test]
async fn a_sweep_removes_what_is_covered_and_says_when_it_is_over() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    (0..100).for_each(|number| {
        tier.put(record(number));
    });
    let (guard, over) = mpsc::channel::<()>();
    tier.remove_where(move |key, requested_at| {
        let _ = &guard;
        key.ends_with(b"7.png") && requested_at < time(50)
    });
    assert!(over.recv().is_err(), "the closure is dropped");
    for number in 0..100 {
        let is_covered = number % 10 == 7 && number < 50;
        let found = tier.get(&key(number)).await;
        assert_eq!(found, (!is_covered).then(|| record(number)), "{number}");
    }
    is_written(&tier);
    assert_eq!((tier.entries(), bench.files().len()), (95, 95));
}

/// A purge and a restart right after it: a sweep that was given up left files for the next process.
#[tokio::test]
async fn a_sweep_is_finished_before_the_tier_closes() {
    let bench = Bench::new();
    let tier = scanned(bench.open(CAPACITY));
    (0..1500).for_each(|number| {
        tier.put(record(number));
    });
    is_written(&tier);
    tier.remove_where(|key, _| key.ends_with(b"7.png"));
    tier.close();
    let tier = scanned(bench.open(CAPACITY));
    assert_eq!(tier.entries(), 1350);
    assert_eq!(tier.get(&key(1497)).await, None);
    assert_eq!(tier.get(&key(1498)).await, Some(record(1498)));
}

#[tokio::test]
async fn all_is_private_and_inside_the_folder() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    for key in ["../../escape", "/etc/passwd", "a\0b", "", "..", &"long".repeat(1000)] {
        let key = CacheKey::from_bytes(key.as_bytes());
        tier.put(DiskRecord { key, ..record(1) });
    }
    tier.close();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = bench.files();
    assert_eq!(files.len(), 6);
    assert!(files.iter().all(|file| mode(file) == 0o600));
    assert!(files.iter().all(|file| mode(file.parent().unwrap()) == 0o700));
    assert_eq!((mode(&bench.path()), mode(&bench.path().join("lock"))), (0o700, 0o600));
    let beside: Vec<_> = fs::read_dir(bench.folder.path()).unwrap().collect();
    assert_eq!(beside.len(), 1, "nothing beside the folder: {beside:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_at_once_see_whole_records_that_never_go_back() {
    let bench = Bench::new();
    let tier = Arc::new(bench.open(64 * 4096));
    let version = |number: usize, version: usize| {
        let mut record = record_of(number + 100 * version, 5000);
        record.key = key(number);
        record.requested_at = time(version as u64);
        record
    };
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let tier = Arc::clone(&tier);
            tokio::spawn(async move {
                let mut last = [0; 20];
                for round in 0..200 {
                    let number = round % 20;
                    if let Some(found) = tier.get(&key(number)).await {
                        let seen = found.requested_at.duration_since(time(0)).unwrap().as_secs();
                        let seen = usize::try_from(seen).unwrap();
                        assert!(seen >= last[number], "{number} went back");
                        last[number] = seen;
                        assert_eq!(found.body, version(number, seen).body);
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for nth in 1..30 {
        for number in 0..20 {
            tier.put(version(number, nth));
            tier.freshen(&key(number), freshness(2000));
        }
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
    is_written(&tier);
    let names: HashSet<PathBuf> = bench.files().into_iter().collect();
    assert_eq!(names.len() as u64, tier.entries());
    assert_eq!(bench.statistics.disk_errors.get() + bench.statistics.disk_damaged.get(), 0);
}
