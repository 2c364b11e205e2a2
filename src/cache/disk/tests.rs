//! The tier on real files: found again, never wrong, and off when the disk is.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc;

use http::HeaderMap;
use tempfile::TempDir;

use super::*;
use crate::cache::body::StoredBody;
use crate::cache::clock::process_start;
use crate::cache::disk::folder::Folder;

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
async fn a_sweep_takes_what_it_cannot_read() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    (0..3).for_each(|number| {
        tier.put(record(number));
    });
    is_written(&tier);
    fs::write(bench.file(0), "no record").unwrap();
    fs::remove_file(bench.file(1)).unwrap();
    let (guard, over) = mpsc::channel::<()>();
    tier.remove_where(move |_, _| {
        let _ = &guard;
        false
    });
    assert!(over.recv().is_err(), "the closure is dropped");
    is_written(&tier);
    assert_eq!((tier.entries(), bench.files()), (1, vec![bench.file(2)]));
}

#[tokio::test]
async fn capacity_is_kept_and_the_least_used_goes() {
    let bench = Bench::new();
    let tier = bench.open(50 * 4096);
    for number in 0..50 {
        tier.put(record(number));
        is_written(&tier);
    }
    for _ in 0..3 {
        assert!(tier.get(&key(0)).await.is_some());
    }
    for number in 50..90 {
        tier.put(record(number));
        assert!(tier.get(&key(0)).await.is_some(), "used again and again");
        is_written(&tier);
        assert!(tier.bytes() <= 50 * 4096);
    }
    assert_eq!((tier.entries(), bench.statistics.disk_evictions.get()), (50, 40));
    assert_eq!(bench.files().len(), 50);
    tier.put(record_of(1000, 60 * 4096));
    is_written(&tier);
    assert_eq!((tier.entries(), bench.statistics.disk_dropped.get()), (50, 1), "larger than all");
    tier.close();
    // With less room than before, the surplus is evicted at the start.
    let tier = bench.open(20 * 4096);
    eventually("the rest is evicted", || tier.bytes() <= 20 * 4096);
}

#[tokio::test]
async fn what_finds_no_room_in_the_queue_takes_the_older_version_with_it() {
    let bench = Bench::new();
    let (started, on_start) = mpsc::channel();
    let held = Arc::new(AtomicBool::new(false));
    let hold = Arc::clone(&held);
    let write: Write = Box::new(move |file, bytes, at| {
        if hold.load(Ordering::SeqCst) {
            let _ = started.send(());
            eventually("the disk moves on", || !hold.load(Ordering::SeqCst));
        }
        plain_write()(file, bytes, at)
    });
    let statistics = Arc::clone(&bench.statistics);
    let tier = scanned(DiskTier::open_with(&bench.path(), CAPACITY, statistics, write));
    tier.put(record(1));
    is_written(&tier);
    held.store(true, Ordering::SeqCst);
    tier.put(record(2));
    on_start.recv().unwrap();
    let body = StoredBody::from(vec![1; 16 << 20]);
    (10..20).for_each(|number| {
        tier.put(DiskRecord { body: body.clone(), ..record(number) });
    });
    assert_eq!(bench.statistics.disk_dropped.get(), 7, "3 of 16 MiB fit");
    tier.put(DiskRecord { body, ..record(1) });
    assert_eq!(tier.get(&key(1)).await, None, "not the older one");
    assert_eq!(tier.get(&key(2)).await, Some(record(2)));
    held.store(false, Ordering::SeqCst);
    tier.close();
    assert_eq!(bench.open(CAPACITY).entries(), 4);
}

#[tokio::test]
async fn a_thousand_mutated_files_are_misses_or_right() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    let wanted: Vec<DiskRecord> = (0..1000).map(|number| record_of(number, 20 * number)).collect();
    wanted.iter().for_each(|record| {
        tier.put(record.clone());
    });
    tier.close();
    let mut random = fastrand::Rng::with_seed(3);
    let mut untouched = 0;
    for number in 0..1000 {
        let path = bench.file(number);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let at = random.usize(..bytes.len());
        match number % 9 {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes.truncate(at),
            2 => bytes.extend_from_slice(&whole[..at]),
            3 => bytes.clear(),
            4 => bytes = vec![0; whole.len()],
            // The file of another key.
            5 => bytes = fs::read(bench.file(999)).unwrap(),
            // Part of another file.
            6 => {
                let other = fs::read(bench.file(998)).unwrap();
                let end = whole.len().min(other.len());
                bytes[at.min(end)..end].copy_from_slice(&other[at.min(end)..end]);
            }
            7 => random.shuffle(&mut bytes),
            _ => {}
        }
        untouched += u64::from(bytes == whole);
        fs::write(path, bytes).unwrap();
    }
    let tier = bench.open(CAPACITY);
    let mut right = 0;
    for record in &wanted {
        match tier.get(&record.key).await {
            Some(found) => {
                assert_eq!(&found, record);
                right += 1;
            }
            None => assert_eq!(tier.get(&record.key).await, None),
        }
    }
    assert_eq!((right, bench.statistics.disk_damaged.get()), (untouched, 1000 - untouched));
    assert!((100..200).contains(&untouched), "{untouched}");
    is_written(&tier);
    assert_eq!((tier.entries(), bench.files().len() as u64), (right, right), "removed");
    assert_eq!(bench.statistics.disk_errors.get(), 0);
}

#[tokio::test]
async fn what_is_no_file_is_neither_followed_nor_waited_for() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    (0..4).for_each(|number| {
        tier.put(record(number));
    });
    tier.close();
    let outside = bench.folder.path().join("outside");
    fs::rename(bench.file(0), &outside).unwrap();
    symlink(&outside, bench.file(0)).unwrap();
    fs::remove_file(bench.file(1)).unwrap();
    symlink("/dev/zero", bench.file(1)).unwrap();
    fs::remove_file(bench.file(2)).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(bench.file(2)).status().unwrap();
    assert!(pipe.success());
    let decoy = bench.folder.path().join("decoy");
    fs::write(&decoy, "mine").unwrap();
    symlink(&decoy, bench.path().join("writing")).unwrap();
    let tier = bench.open(CAPACITY);
    for number in 0..3 {
        assert_eq!(tier.get(&key(number)).await, None, "{number}");
    }
    assert_eq!(tier.get(&key(3)).await, Some(record(3)));
    tier.put(record(0));
    is_written(&tier);
    assert_eq!(tier.get(&key(0)).await, Some(record(0)));
    assert_eq!(bench.statistics.disk_damaged.get(), 3);
    assert!(fs::read(&outside).unwrap().starts_with(b"s3pcache"), "left as it was");
    assert_eq!(fs::read(&decoy).unwrap(), b"mine");
    assert_eq!(bench.files().len(), 2);
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

#[tokio::test]
async fn one_process_at_a_time_uses_a_folder() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    tier.put(record(1));
    is_written(&tier);
    let second = bench.open(CAPACITY);
    assert_eq!(second.state(), DiskState::Off("another process uses it".to_owned()));
    second.put(record(2));
    assert_eq!(second.get(&key(1)).await, None);
    second.close();
    assert_eq!(tier.get(&key(1)).await, Some(record(1)));
    tier.close();
    assert_eq!(bench.open(CAPACITY).entries(), 1);
}

/// A process that took over from another one removed the records of that one, once it had a new
/// version of anything.
#[tokio::test]
async fn a_folder_that_opens_late_keeps_what_was_not_replaced_meanwhile() {
    let bench = Bench::new();
    let first = bench.open(CAPACITY);
    (0..4).for_each(|number| {
        first.put(record(number));
    });
    is_written(&first);
    let second = bench.open(CAPACITY);
    assert!(matches!(second.state(), DiskState::Off(_)), "the folder is in use");
    second.put(record_of(1, 5));
    second.remove(&key(2));
    first.close();
    drop(first);
    if let Some(off) = &mut second.shared.lock().off {
        off.until = Instant::now();
    }
    second.shared.wake.notify_one();
    eventually("it is open", || second.state() == DiskState::On);
    for (number, is_stored) in [(0, true), (1, false), (2, false), (3, true)] {
        assert_eq!(second.get(&key(number)).await, is_stored.then(|| record(number)), "{number}");
    }
    eventually("their files are gone", || bench.files().len() == 2);
}

#[tokio::test]
async fn an_unusable_folder_is_a_tier_that_is_off() {
    let bench = Bench::new();
    let file = bench.folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.as_path(), &file.join("below"), Path::new("/proc/none")] {
        let tier = scanned(DiskTier::open(path, CAPACITY, Arc::clone(&bench.statistics)));
        assert!(matches!(tier.state(), DiskState::Off(_)), "{path:?}: {:?}", tier.state());
        tier.put(record(1));
        tier.freshen(&key(1), freshness(1));
        tier.remove(&key(1));
        tier.remove_where(|_, _| true);
        assert_eq!(tier.get(&key(1)).await, None);
        assert_eq!((tier.bytes(), tier.entries()), (0, 0));
        tier.close();
    }
    assert_eq!(bench.statistics.disk_dropped.get(), 3);
}

/// A disk that fails every write with this code; with 0 it works.
fn failing(code: &Arc<AtomicI32>) -> Write {
    let code = Arc::clone(code);
    Box::new(move |file, bytes, at| match code.load(Ordering::SeqCst) {
        0 => plain_write()(file, bytes, at),
        code => {
            // As a disk does: something is written, then no more.
            plain_write()(file, &bytes[..bytes.len() / 2], at)?;
            Err(io::Error::from_raw_os_error(code))
        }
    })
}

#[tokio::test]
async fn a_failing_disk_turns_the_tier_off_and_a_working_one_on_again() {
    for (error, attempts) in [(libc::EIO, 3), (libc::EROFS, 1), (libc::EACCES, 1)] {
        let bench = Bench::new();
        let code = Arc::new(AtomicI32::new(0));
        let statistics = Arc::clone(&bench.statistics);
        let write = failing(&code);
        let tier = scanned(DiskTier::open_with(&bench.path(), CAPACITY, statistics, write));
        (0..4).for_each(|number| {
            tier.put(record(number));
        });
        is_written(&tier);
        code.store(error, Ordering::SeqCst);
        // Newer versions, which are not written: the older ones must not come back.
        for number in 0..attempts {
            assert_eq!(tier.state(), DiskState::On);
            tier.put(record_of(number, 5));
            is_written(&tier);
        }
        assert!(matches!(tier.state(), DiskState::Off(_)), "{error}: {:?}", tier.state());
        assert_eq!(tier.get(&key(3)).await, None);
        tier.remove(&key(3));
        assert_eq!(bench.statistics.disk_errors.get(), attempts as u64);
        // Its pause is over, and the disk still fails; then it works.
        let end_pause = || {
            if let Some(off) = &mut tier.shared.lock().off {
                off.until = Instant::now();
            }
            tier.shared.wake.notify_one();
        };
        end_pause();
        let is_paused =
            || tier.shared.lock().off.as_ref().is_some_and(|off| off.until > Instant::now());
        eventually("a further attempt fails", is_paused);
        code.store(0, Ordering::SeqCst);
        end_pause();
        eventually("it works again", || tier.state() == DiskState::On);
        for number in (0..attempts).chain([3]) {
            assert_eq!(tier.get(&key(number)).await, None, "{number}: overwritten or removed");
        }
        eventually("their files are gone", || bench.files().len() == 3 - attempts);
        tier.put(record(9));
        is_written(&tier);
        assert_eq!(tier.get(&key(9)).await, Some(record(9)));
        assert!(!bench.path().join("writing").exists());
    }
}

/// A disk that is full with this many records.
fn full_at(root: PathBuf, limit: usize) -> Write {
    Box::new(move |file, bytes, at| {
        let folders =
            fs::read_dir(&root)?.filter_map(|entry| fs::read_dir(entry.ok()?.path()).ok());
        if folders.map(Iterator::count).sum::<usize>() >= limit {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        plain_write()(file, bytes, at)
    })
}

#[tokio::test]
async fn a_full_disk_makes_room_by_itself() {
    let bench = Bench::new();
    let open = |limit| {
        let (write, statistics) = (full_at(bench.path(), limit), Arc::clone(&bench.statistics));
        scanned(DiskTier::open_with(&bench.path(), CAPACITY, statistics, write))
    };
    let tier = open(40);
    for number in 0..80 {
        tier.put(record_of(number, 60_000));
        is_written(&tier);
        assert_eq!(tier.get(&key(number)).await, Some(record_of(number, 60_000)));
    }
    assert_eq!(tier.state(), DiskState::On);
    assert!((20..=40).contains(&tier.entries()), "{} are left", tier.entries());
    assert!(bench.statistics.disk_errors.get() >= 1, "it was full");
    tier.close();
    // Other programs have filled it meanwhile: its records are served, and evicted.
    let tier = open(5);
    assert_eq!(tier.get(&key(79)).await, Some(record_of(79, 60_000)));
    for number in 100..103 {
        tier.put(record_of(number, 60_000));
        is_written(&tier);
    }
    assert_eq!(tier.get(&key(102)).await, Some(record_of(102, 60_000)));
    assert_eq!(tier.state(), DiskState::On);
}

#[tokio::test]
async fn a_torn_freshness_is_a_miss() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    tier.put(record(1));
    tier.close();
    let tear: Write = Box::new(|file, bytes, at| {
        let end = if at == record::FRESHNESS_AT { bytes.len() / 2 } else { bytes.len() };
        plain_write()(file, &bytes[..end], at)
    });
    let statistics = Arc::clone(&bench.statistics);
    let tier = scanned(DiskTier::open_with(&bench.path(), CAPACITY, statistics, tear));
    tier.freshen(&key(1), freshness(123_456_789));
    is_written(&tier);
    assert_eq!(tier.get(&key(1)).await, None);
    assert_eq!(bench.statistics.disk_damaged.get(), 1);
}

#[tokio::test]
async fn too_many_reads_at_once_are_misses() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    // Too large to be read at once.
    let record = || record_of(1, 2 << 20);
    tier.put(record());
    is_written(&tier);
    let all = tier.shared.reads.acquire_many(READ_PERMITS).await.unwrap();
    assert_eq!(tier.get(&key(1)).await, None);
    assert_eq!(bench.statistics.disk_busy.get(), 1);
    drop(all);
    assert_eq!(tier.get(&key(1)).await, Some(record()));
}

/// What was just written is in the memory of the kernel: it is read although no thread may read.
#[tokio::test]
async fn what_the_kernel_has_is_read_without_a_thread() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    for (number, size) in [(1, 0), (2, 4096), (3, 1 << 20)] {
        tier.put(record_of(number, size));
    }
    is_written(&tier);
    let folder = tier.shared.folder.get().expect("the folder is open");
    let read = |number| tier.shared.read_now.read(folder, FileName::of(&key(number)), &key(number));
    if read(1).is_none() {
        // This file system cannot say whether it has a file in memory.
        assert_eq!(tier.get(&key(1)).await, Some(record_of(1, 0)));
        return;
    }
    let all = tier.shared.reads.acquire_many(READ_PERMITS).await.unwrap();
    for (number, size) in [(1, 0), (2, 4096), (3, 1 << 20)] {
        assert_eq!(tier.get(&key(number)).await, Some(record_of(number, size)));
    }
    assert_eq!(bench.statistics.disk_busy.get(), 0);
    drop(all);
}

#[tokio::test]
async fn a_process_that_died_while_writing_leaves_old_new_or_nothing() {
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    tier.put(record(1));
    tier.close();
    // The state when it dies: a part of a new version, not yet renamed.
    let next = DiskRecord { headers: HeaderMap::new(), ..record(1) };
    let head = record::head_bytes(&next, process_start()).unwrap();
    fs::write(bench.path().join("writing"), &head[..head.len() / 2]).unwrap();
    let tier = bench.open(CAPACITY);
    assert_eq!(tier.get(&key(1)).await, Some(record(1)));
    assert!(!bench.path().join("writing").exists());
    tier.put(next.clone());
    is_written(&tier);
    assert_eq!(tier.get(&key(1)).await, Some(next));
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

#[test]
fn a_folder_that_is_a_link_is_refused() {
    let bench = Bench::new();
    drop(Folder::open(&bench.path(), plain_write()).unwrap());
    let elsewhere = bench.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::remove_dir(bench.path().join("7f")).unwrap();
    symlink(&elsewhere, bench.path().join("7f")).unwrap();
    let refused = Folder::open(&bench.path(), plain_write()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::NotADirectory);
}

#[tokio::test]
async fn a_record_takes_its_room_before_it_is_read_and_is_a_miss_without() {
    use crate::cache::memory::budget::Budget;
    let bench = Bench::new();
    let tier = bench.open(CAPACITY);
    tier.put(record_of(1, 60_000));
    is_written(&tier);
    let budget = Budget::new(100_000);
    let room = |bytes| Ok(Some(Arc::new(budget.take(bytes).ok_or(NoRoom)?)));
    let first = tier.read(&key(1), room).await.expect("there is room");
    assert_eq!(first, record_of(1, 60_000));
    assert!((60_000..70_000).contains(&budget.held()), "{}", budget.held());
    assert_eq!(tier.read(&key(1), room).await, None, "no room for a second copy");
    drop(first);
    assert_eq!(budget.held(), 0);
    assert!(tier.read(&key(1), room).await.is_some(), "and the file is still there");
}

/// The bodies that wait outside of every budget are bounded, whatever is put, replaced and removed.
#[tokio::test]
async fn at_most_8_mib_wait_to_be_written_without_being_counted() {
    let bench = Bench::new();
    let held = Arc::new(AtomicBool::new(false));
    let hold = Arc::clone(&held);
    let write: Write = Box::new(move |file, bytes, at| {
        eventually("the disk moves on", || !hold.load(Ordering::SeqCst));
        plain_write()(file, bytes, at)
    });
    let statistics = Arc::clone(&bench.statistics);
    let tier = scanned(DiskTier::open_with(&bench.path(), CAPACITY, statistics, write));
    held.store(true, Ordering::SeqCst);
    let (budget, mut random) = (Budget::new(1 << 30), fastrand::Rng::with_seed(1));
    let uncounted = |number: usize| match tier.shared.lock().queue.find(FileName::of(&key(number)))
    {
        Some(Job::Write(record)) if record.held.is_none() => record.body.len(),
        _ => 0,
    };
    let mut most = 0;
    for _ in 0..200 {
        let (number, bytes) = (random.usize(0..40), random.u64(1..3 << 20));
        if random.u8(..) < 64 {
            tier.remove(&key(number));
        } else {
            let held = Some(Arc::new(budget.take(bytes).expect("there is room")));
            let body = StoredBody::from(vec![1; usize::try_from(bytes).unwrap()]);
            tier.put(DiskRecord { body, held, ..record(number) });
        }
        most = most.max((0..40).map(uncounted).sum());
    }
    assert!(most <= UNCOUNTED_BYTES, "{most} bytes");
    assert!(most > UNCOUNTED_BYTES / 2 && budget.held() > 0, "both kinds: {most} bytes");
    held.store(false, Ordering::SeqCst);
}
