//! A disk that fails or is full, a folder that cannot be used or that another process uses: the tier is off
//! or makes room, and what was replaced meanwhile does not come back.

use std::sync::atomic::AtomicI32;

use super::*;

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
