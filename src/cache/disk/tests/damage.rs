//! Files that are damaged, replaced, torn or no files: a miss, never wrong bytes.

use std::os::unix::fs::symlink;

use super::*;
use crate::cache::clock::process_start;
use crate::cache::disk::folder::Folder;

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
            // The file belongs to another key.
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
