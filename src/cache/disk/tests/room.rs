//! The bounds: room on the disk, in the queue and in memory, and reads at the same time.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::cache::body::StoredBody;

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
