//! The memory tier against a plain model of its entries, and under several threads.

use std::collections::HashMap;
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pingora::http::ResponseHeader;
use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;

use super::{MIB, MemoryTier};
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Budget;
use crate::cache::object::Object;
use crate::cache::statistics::Statistics;

static BYTES: [u8; 16 << 20] = [0; 16 << 20];

fn entry(key: &str, size: usize) -> Arc<Entry> {
    let head = ResponseHeader::build(200, None).unwrap();
    let body = Bytes::from_static(&BYTES).slice(..size);
    let held = Budget::new(u64::MAX).take(size as u64).unwrap();
    Arc::new(Entry {
        key: CacheKey::from_bytes(key.as_bytes()),
        requested_at: SystemTime::UNIX_EPOCH,
        settings: None,
        freshness: Freshness::for_a_while(SystemTime::UNIX_EPOCH, Duration::ZERO),
        pin: None,
        content: EntryContent::Object(Arc::new(Object::new(&head, body, held))),
    })
}

fn tier(capacity: u64) -> MemoryTier {
    MemoryTier::new(capacity, Arc::new(Statistics::default()))
}

/// The stored entries. This does not count as use.
fn stored(tier: &MemoryTier) -> HashMap<CacheKey, Arc<Entry>> {
    let pairs: Vec<_> = tier
        .cache
        .iter()
        .map(|(key, stored)| (key, stored.entry.expect("no room is reserved")))
        .collect();
    let count = pairs.len();
    let stored: HashMap<_, _> = pairs.into_iter().collect();
    assert_eq!(stored.len(), count, "a key is stored once");
    stored
}

/// How many of them are stored.
fn alive(tier: &MemoryTier, entries: &[Arc<Entry>]) -> usize {
    let stored = stored(tier);
    entries.iter().filter(|entry| stored.contains_key(&entry.key)).count()
}

fn evictions(tier: &MemoryTier) -> u64 {
    tier.statistics.memory_evictions.get()
}

#[test]
fn an_entry_comes_back_as_the_same_one() {
    let tier = tier(MIB);
    let tile = entry("tile", 1000);
    assert!(tier.get(b"tile").is_none());
    tier.insert(Arc::clone(&tile));
    assert!(Arc::ptr_eq(&tier.get(b"tile").unwrap(), &tile));
    assert!(tier.get(b"til").is_none() && tier.get(b"").is_none());
    assert_eq!((tier.bytes(), tier.entries(), tier.capacity()), (tile.weight(), 1, MIB));
    assert!(tier.remove(b"tile"));
    assert!(!tier.remove(b"tile"));
    assert_eq!((tier.bytes(), tier.entries(), evictions(&tier)), (0, 0, 0));
}

#[test]
fn a_replaced_entry_leaves_no_weight_and_is_no_eviction() {
    let tier = tier(MIB);
    for size in [1000, 200_000, 10, 0] {
        tier.insert(entry("tile", size));
        assert_eq!((tier.bytes(), tier.entries()), (entry("tile", size).weight(), 1), "{size}");
    }
    assert_eq!(evictions(&tier), 0);
}

#[test]
fn too_large_an_entry_is_refused_and_what_it_would_replace_is_gone() {
    let tier = tier(3 * MIB);
    let tiles: Vec<_> = (0..20).map(|n| entry(&format!("tile/{n}"), 100_000)).collect();
    for tile in &tiles {
        tier.insert(Arc::clone(tile));
    }
    let too_large = usize::try_from(tier.largest()).unwrap() + 1;
    tier.insert(entry("new", too_large));
    assert!(tier.get(b"new").is_none());
    assert_eq!(alive(&tier, &tiles), 20, "nothing was pushed out for it");
    tier.insert(entry("tile/7", too_large));
    assert!(tier.get(b"tile/7").is_none(), "the old one is out of date");
    assert_eq!((tier.entries(), evictions(&tier)), (19, 0));
}

#[test]
fn no_capacity_keeps_nothing() {
    for capacity in [0, 1, 400] {
        let tier = tier(capacity);
        tier.insert(entry("tile", 0));
        assert_eq!((tier.bytes(), tier.entries()), (0, 0), "{capacity}");
    }
}

#[test]
fn the_largest_object_of_the_default_limit_fits_from_64_mib_on() {
    let sizes = [64, 65, 100, 127, 128, 255, 256, 400, 1000, 4096, 100_000];
    for mebibytes in sizes {
        let tier = tier(mebibytes * MIB);
        let largest = entry("largest", BYTES.len());
        tier.insert(Arc::clone(&largest));
        assert!(tier.get(b"largest").is_some(), "{mebibytes} MiB");
        assert!(tier.cache.capacity() <= tier.capacity(), "{mebibytes} MiB");
        assert!(tier.cache.num_shards() >= if mebibytes < 256 { 1 } else { 2 }, "{mebibytes} MiB");
    }
}

/// A tier that is full, and the tiles in it that were requested again.
fn full(capacity: u64) -> (MemoryTier, Vec<Arc<Entry>>) {
    let tier = tier(capacity);
    let count = capacity / 2 / entry("tile/000", 100_000).weight();
    let tiles: Vec<_> = (0..count).map(|n| entry(&format!("tile/{n:03}"), 100_000)).collect();
    for round in 0..3 {
        for tile in &tiles {
            if tier.get(tile.key.as_bytes()).is_none() {
                tier.insert(Arc::clone(tile));
                assert_eq!(round, 0, "half of the capacity holds them all");
            }
        }
    }
    (tier, tiles)
}

#[test]
fn reading_four_times_the_capacity_once_leaves_the_tiles_in_use() {
    for mebibytes in [16, 64, 256] {
        let capacity = mebibytes * MIB;
        let (tier, tiles) = full(capacity);
        for n in 0..4 * capacity / 150_000 {
            tier.insert(entry(&format!("once/{n}"), 150_000));
        }
        let alive = alive(&tier, &tiles);
        assert!(alive * 100 >= tiles.len() * 95, "{mebibytes} MiB: {alive} of {}", tiles.len());
        assert!(tier.bytes() <= capacity && tier.bytes() >= capacity / 10 * 9);
        assert!(evictions(&tier) > 0);
    }
}

#[test]
fn objects_of_16_mib_leave_the_tiles_in_use() {
    for mebibytes in [64, 256] {
        let (tier, tiles) = full(mebibytes * MIB);
        for n in 0..40 {
            tier.insert(entry(&format!("once/{n}"), BYTES.len()));
            assert!(tier.bytes() <= tier.capacity());
        }
        let alive = alive(&tier, &tiles);
        assert!(alive * 100 >= tiles.len() * 95, "{mebibytes} MiB: {alive} of {}", tiles.len());
    }
}

#[test]
fn removing_by_condition_takes_those_alone() {
    let tier = tier(64 * MIB);
    for n in 0..1000 {
        tier.insert(entry(&format!("{}/{n}", n % 4), 1000));
    }
    let below = |entry: &Entry| entry.key.as_bytes().starts_with(b"2/");
    let remove = || {
        let mut removed = 0;
        tier.remove_where(below, |entry| removed += u64::from(below(entry)));
        removed
    };
    assert_eq!((remove(), remove()), (250, 0));
    assert_eq!((tier.entries(), evictions(&tier)), (750, 0));
    assert!(tier.get(b"2/2").is_none() && tier.get(b"1/1").is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Insert(u8, usize),
    Remove(u8),
    RemoveEvery(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_u8).prop_map(Step::Get),
        6 => (0..40_u8, prop_oneof![0..2000_usize, 0..60_000_usize])
            .prop_map(|(key, size)| Step::Insert(key, size)),
        1 => (0..40_u8).prop_map(Step::Remove),
        1 => (2..9_usize).prop_map(Step::RemoveEvery),
    ]
}

/// Takes one step on the tier, and compares the result with the entries before.
fn take(tier: &MemoryTier, step: &Step) -> Result<(), TestCaseError> {
    let mut model = stored(tier);
    let evicted = evictions(tier);
    match *step {
        Step::Get(key) => {
            let found = tier.get(key.to_string().as_bytes());
            let expected = model.get(key.to_string().as_bytes());
            prop_assert_eq!(found.as_ref().map(Arc::as_ptr), expected.map(Arc::as_ptr));
        }
        Step::Insert(key, size) => {
            let new = entry(&key.to_string(), size);
            model.remove(&new.key);
            if new.weight() <= tier.largest() {
                model.insert(new.key.clone(), Arc::clone(&new));
            }
            tier.insert(new);
        }
        Step::Remove(key) => {
            let there = model.remove(key.to_string().as_bytes()).is_some();
            prop_assert_eq!(tier.remove(key.to_string().as_bytes()), there);
        }
        Step::RemoveEvery(nth) => {
            let doomed = |entry: &Entry| entry.weight().is_multiple_of(nth as u64);
            let all = model.len();
            model.retain(|_, entry| !doomed(entry));
            let mut removed = 0;
            tier.remove_where(doomed, |_| removed += 1);
            prop_assert_eq!(removed, all - model.len());
        }
    }
    let left = stored(tier);
    for (key, entry) in &left {
        let expected = model.get(key).map(Arc::as_ptr);
        prop_assert_eq!(Some(Arc::as_ptr(entry)), expected, "{:?} is the latest", key);
    }
    let bytes: u64 = left.values().map(|entry| entry.weight()).sum();
    prop_assert_eq!((tier.bytes(), tier.entries()), (bytes, left.len() as u64));
    prop_assert!(bytes <= tier.capacity());
    let gone = (model.len() - left.len()) as u64;
    prop_assert_eq!(evictions(tier) - evicted, gone, "each eviction was counted");
    prop_assert!(gone == 0 || matches!(step, Step::Insert(..)));
    Ok(())
}

proptest! {
    #[test]
    fn agrees_with_a_model(
        capacity in prop_oneof![0..3000_u64, 3000..400_000_u64],
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let tier = tier(capacity);
        for step in &steps {
            take(&tier, step)?;
        }
    }
}

#[test]
fn threads_see_whole_entries_within_the_bound() {
    const THREADS: u64 = 4;
    let tier = tier(300 * MIB);
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    let work = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        start.wait();
        let mut inserted = 0_u64;
        for _ in 0..10_000 {
            let key = format!("tile/{}", random.u32(..2000));
            match random.u32(..100) {
                0 => {
                    tier.remove(key.as_bytes());
                }
                1 if random.u32(..20) == 0 => {
                    tier.remove_where(|entry| entry.key.as_bytes().ends_with(b"7"), |_| ());
                }
                2..50 => {
                    tier.insert(entry(&key, random.usize(..1_000_000)));
                    inserted += 1;
                }
                _ => {
                    let found = tier.get(key.as_bytes());
                    assert!(found.is_none_or(|entry| entry.key.as_bytes() == key.as_bytes()));
                }
            }
            assert!(tier.bytes() <= tier.capacity());
        }
        inserted
    };
    let inserted: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let left = stored(&tier);
    let bytes: u64 = left.values().map(|entry| entry.weight()).sum();
    assert_eq!((tier.bytes(), tier.entries()), (bytes, left.len() as u64));
    assert!((1..inserted).contains(&evictions(&tier)), "the bound was reached");
}

/// The second eviction of an entry comes later than its first: what is requested again after it was evicted
/// outlives what is requested once.
#[test]
fn an_entry_that_was_evicted_too_early_stays_longer() {
    for size in [500, 20_000] {
        let tier = tier(4 * MIB);
        let count = 4 * MIB / entry("tile/000000", size).weight();
        let scan = |from: u64, many: u64| {
            for number in from..from + many {
                tier.insert(entry(&format!("tile/{number:06}"), size));
            }
        };
        // Hot entries fill the tier, but for the part on probation.
        scan(0, count);
        for number in 0..count {
            let _used = tier.get(format!("tile/{number:06}").as_bytes());
        }
        tier.insert(entry("tile/again", size));
        scan(100_000, count / 2);
        assert!(tier.peek(b"tile/again").is_none(), "requested once, it was evicted");
        tier.insert(entry("tile/again", size));
        scan(200_000, count / 2);
        assert!(tier.peek(b"tile/again").is_some(), "{size}: it was evicted too early");
    }
}
