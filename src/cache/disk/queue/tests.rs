//! The queue does the newest thing for each file, and holds no more than it may.

use std::time::{Duration, SystemTime};

use super::*;

fn record(key: &str, size: usize) -> DiskRecord {
    let epoch = SystemTime::UNIX_EPOCH;
    DiskRecord {
        key: CacheKey::from_bytes(key.as_bytes()),
        requested_at: epoch,
        settings: 0,
        freshness: freshness(0),
        headers: http::HeaderMap::new(),
        body: vec![1; size].into(),
        held: None,
    }
}

#[test]
fn memory_that_only_the_queue_holds_gives_way_to_a_fetch() {
    let (budget, other) = (Budget::new(1000), Budget::new(1000));
    let mut queue = Queue::new(1 << 20);
    let mut add = |key: &str, budget: &Arc<Budget>| {
        let held = Arc::new(budget.take(100).unwrap());
        let record = DiskRecord { held: Some(Arc::clone(&held)), ..record(key, 90) };
        assert!(queue.push(FileName::of(&record.key), Job::Write(Arc::new(record))));
        held
    };
    let cached = add("cached", &budget);
    let _foreign = (add("foreign", &other), add("one", &budget), add("two", &budget)).0;
    assert_eq!((budget.held(), queue.bytes()), (300, 4 * (OVERHEAD + 90)), "it waits, and counts");
    let is_queued = |queue: &Queue, key: &str| {
        let name = FileName::of(&CacheKey::from_bytes(key.as_bytes()));
        matches!(queue.find(name), Some(Job::Write(_)))
    };
    assert_eq!(queue.shed(50, &budget), 1);
    assert_eq!(
        (budget.held(), is_queued(&queue, "one"), is_queued(&queue, "two")),
        (200, false, true)
    );
    assert_eq!(queue.shed(500, &budget), 1, "of what memory has, nothing would become free");
    assert_eq!((budget.held(), other.held()), (100, 100));
    assert!(is_queued(&queue, "cached") && is_queued(&queue, "foreign"));
    drop(cached);
    assert_eq!(queue.shed(1, &budget), 1, "evicted meanwhile");
    assert_eq!(budget.held(), 0);
}

fn freshness(seconds: u64) -> Freshness {
    Freshness {
        generated_at: SystemTime::UNIX_EPOCH,
        fresh_until: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    }
}

fn push(queue: &mut Queue, key: &str, size: usize) -> bool {
    let record = record(key, size);
    queue.push(FileName::of(&record.key), Job::Write(Arc::new(record)))
}

fn name(key: &str) -> FileName {
    FileName::of(&CacheKey::from_bytes(key.as_bytes()))
}

/// Takes and does everything: for each job its key and what it was.
fn drain(queue: &mut Queue) -> Vec<String> {
    let mut done = Vec::new();
    while let Some(taken) = queue.take() {
        assert!(queue.done(&taken));
        done.push(match &taken.job {
            Job::Write(record) => {
                let fresh =
                    record.freshness.fresh_until.duration_since(record.requested_at).unwrap();
                format!("write {} for {}", record.body.len(), fresh.as_secs())
            }
            Job::Freshen(..) => "freshen".to_owned(),
            Job::Remove => "remove".to_owned(),
        });
    }
    assert_eq!((queue.len(), queue.bytes, queue.order.len()), (0, 0, 0));
    done
}

#[test]
fn the_newest_for_each_file_is_done_in_the_order_of_the_first() {
    let mut queue = Queue::new(1 << 20);
    assert!(push(&mut queue, "a", 1));
    assert!(push(&mut queue, "b", 2));
    assert!(push(&mut queue, "a", 3));
    assert!(queue.push(name("b"), Job::Remove));
    assert!(push(&mut queue, "c", 4));
    assert_eq!(drain(&mut queue), ["write 3 for 0", "remove", "write 4 for 0"]);
}

#[test]
fn what_comes_while_a_file_is_written_is_done_afterwards() {
    let mut queue = Queue::new(1 << 20);
    assert!(push(&mut queue, "a", 1));
    let taken = queue.take().unwrap();
    assert!(queue.take().is_none());
    assert!(matches!(queue.find(name("a")), Some(Job::Write(_))), "readers still find it");
    assert!(push(&mut queue, "a", 2));
    assert!(queue.done(&taken));
    assert_eq!(drain(&mut queue), ["write 2 for 0"]);
}

#[test]
fn a_freshness_goes_into_the_record_that_waits() {
    let mut queue = Queue::new(1 << 20);
    let key = CacheKey::from_bytes(b"a");
    assert!(push(&mut queue, "a", 1));
    assert!(queue.freshen(name("a"), &key, freshness(60)));
    assert!(queue.freshen(name("b"), &CacheKey::from_bytes(b"b"), freshness(60)));
    assert!(queue.push(name("c"), Job::Remove));
    assert!(queue.freshen(name("c"), &CacheKey::from_bytes(b"c"), freshness(60)));
    assert_eq!(drain(&mut queue), ["write 1 for 60", "freshen", "remove"]);
}

#[test]
fn bodies_are_bounded_and_removals_have_room() {
    let limit = 10 * (OVERHEAD + 1000);
    let mut queue = Queue::new(limit);
    let fitted = (0..20).filter(|n| push(&mut queue, &n.to_string(), 1000)).count();
    assert_eq!((fitted, queue.bytes), (10, limit));
    assert!(!push(&mut queue, "1", 1001), "larger than what it would replace");
    assert!(push(&mut queue, "1", 999));
    assert!(queue.push(name("2"), Job::Remove) && queue.push(name("other"), Job::Remove));
    queue.remove_where(|record| record.body.len() == 999);
    assert_eq!(queue.bytes, limit - 2 * (OVERHEAD + 1000));
    let done = drain(&mut queue);
    assert_eq!(done.iter().filter(|job| *job == "remove").count(), 3);
}

#[test]
fn jobs_are_bounded() {
    let mut queue = Queue::new(0);
    let key = |number: usize| FileName::of(&CacheKey::from_bytes(&number.to_le_bytes()));
    assert!((0..MAX_JOBS).all(|number| queue.push(key(number), Job::Remove)));
    assert!(!queue.push(key(MAX_JOBS), Job::Remove));
    assert!(queue.push(key(1), Job::Remove), "known files need no room");
    assert_eq!(queue.order.len(), MAX_JOBS);
}

#[test]
fn a_job_done_after_all_was_forgotten_says_so() {
    let mut queue = Queue::new(1 << 20);
    assert!(push(&mut queue, "a", 1));
    let taken = queue.take().unwrap();
    assert_eq!(queue.clear(), [name("a")]);
    assert!(!queue.done(&taken));
    assert!(queue.is_empty());
}
