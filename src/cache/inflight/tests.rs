//! Fetches by many tasks at once: never two for one key, and nobody is left waiting.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn key(number: u64) -> CacheKey {
    CacheKey::from_bytes(&number.to_le_bytes())
}

fn join(flights: &Arc<InFlightFetches<u64>>, number: u64) -> Part<u64> {
    let part = flights.join(&key(number), UNIX_EPOCH, |_| true, || None::<()>);
    part.expect("nothing is kept")
}

#[tokio::test]
async fn who_comes_while_a_fetch_is_under_way_follows_it() {
    let flights = Arc::new(InFlightFetches::default());
    let Part::Lead(landing) = join(&flights, 1) else { panic!("the first leads") };
    let Part::Follow(flight) = join(&flights, 1) else { panic!("the second follows") };
    assert!(matches!(join(&flights, 2), Part::Lead(_)), "another key is another fetch");
    let follower = tokio::spawn(async move { flight.outcome().await });
    landing.make_known(7);
    landing.make_known(8);
    let late = flights.under_way(&key(1)).expect("it has not ended");
    assert_eq!(late.outcome().await, Some(7), "the first word counts");
    drop(landing);
    assert_eq!(follower.await.expect("no panic"), Some(7));
    assert!(flights.under_way(&key(1)).is_none());
    assert_eq!(flights.count(), 0);
}

#[tokio::test]
async fn a_fetch_that_panics_leaves_nobody_waiting() {
    let flights = Arc::new(InFlightFetches::default());
    let Part::Lead(landing) = join(&flights, 1) else { panic!("the first leads") };
    let Part::Follow(flight) = join(&flights, 1) else { panic!("the second follows") };
    let task = tokio::spawn(async move {
        let _landing = landing;
        assert_eq!(1 + 1, 3, "as it was meant to");
    });
    assert!(task.await.is_err());
    let outcome = tokio::time::timeout(Duration::from_secs(10), flight.outcome()).await;
    assert_eq!(outcome.expect("is told"), None);
    assert!(matches!(join(&flights, 1), Part::Lead(_)), "the next one tries again");
}

#[tokio::test]
async fn a_fetch_from_before_a_purge_is_not_followed_and_its_end_harms_no_other() {
    let flights: Arc<InFlightFetches<u64>> = Arc::default();
    let Part::Lead(old) = join(&flights, 1) else { panic!("the first leads") };
    let after = UNIX_EPOCH + Duration::from_secs(1);
    let join = || flights.join(&key(1), after, |flight| flight.began >= after, || None::<()>);
    let Ok(Part::Lead(new)) = join() else { panic!("the old one is not usable") };
    drop(old);
    let Ok(Part::Follow(_)) = join() else { panic!("the new one is still under way") };
    drop(new);
    assert_eq!(flights.count(), 0);
}

#[tokio::test]
async fn who_has_no_use_for_an_outcome_does_not_meet_it_again() {
    let flights = Arc::new(InFlightFetches::default());
    let Part::Lead(landing) = join(&flights, 1) else { panic!("the first leads") };
    let Part::Follow(flight) = join(&flights, 1) else { panic!("the second follows") };
    landing.end_with(7);
    assert_eq!(flight.outcome().await, Some(7));
    let Part::Lead(next) = join(&flights, 1) else { panic!("the old one has ended") };
    drop(landing);
    assert!(flights.under_way(&key(1)).is_some(), "its end harms no other");
    drop(next);
}

#[tokio::test]
async fn what_a_fetch_has_just_left_is_taken_in_its_place() {
    let flights: Arc<InFlightFetches<u64>> = Arc::default();
    let kept = flights.join(&key(1), UNIX_EPOCH, |_| true, || Some("kept"));
    assert_eq!(kept.expect_err("is kept"), "kept");
    assert_eq!(flights.count(), 0);
}

/// What the tasks of the stress test share.
struct Shared {
    flights: Arc<InFlightFetches<u64>>,
    /// Fetches of each key that run now.
    running: Vec<AtomicUsize>,
    /// What is kept of each key; 0 for nothing.
    kept: Vec<AtomicU64>,
    fetches: AtomicU64,
    served: AtomicU64,
}

impl Shared {
    /// One task's requests. What is fetched is kept for a moment and then forgotten, so that fetches
    /// begin and end all the time; some end without a word.
    async fn ask(&self, task: usize, rounds: usize) {
        for round in 0..rounds {
            let place = (task + round) % self.kept.len();
            let value = place as u64 + 1;
            let found = || Some(self.kept[place].load(Ordering::SeqCst)).filter(|kept| *kept > 0);
            match self.flights.join(&key(value), UNIX_EPOCH, |_| true, found) {
                Err(kept) => assert_eq!(kept, value),
                Ok(Part::Follow(flight)) => {
                    let outcome = flight.outcome().await;
                    assert!(outcome.is_none_or(|outcome| outcome == value));
                }
                Ok(Part::Lead(landing)) => {
                    assert_eq!(self.running[place].fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    if round % 7 != 0 {
                        landing.make_known(value);
                        self.kept[place].store(value, Ordering::SeqCst);
                    }
                    self.running[place].fetch_sub(1, Ordering::SeqCst);
                    self.fetches.fetch_add(1, Ordering::SeqCst);
                    drop(landing);
                    self.kept[place].store(0, Ordering::SeqCst);
                }
            }
            self.served.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn there_are_never_two_fetches_of_one_key() {
    const KEYS: usize = 4;
    const TASKS: usize = 32;
    const ROUNDS: usize = 400;
    let shared = Arc::new(Shared {
        flights: Arc::default(),
        running: (0..KEYS).map(|_| AtomicUsize::new(0)).collect(),
        kept: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
        fetches: AtomicU64::new(0),
        served: AtomicU64::new(0),
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { shared.ask(task, ROUNDS).await })
        })
        .collect();
    let all = async {
        for task in tasks {
            task.await.expect("no assertion failed");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("nobody is left waiting");
    assert_eq!(shared.served.load(Ordering::SeqCst), (TASKS * ROUNDS) as u64);
    assert!(shared.fetches.load(Ordering::SeqCst) >= KEYS as u64, "fetches were made");
    assert_eq!(shared.flights.count(), 0, "and none is left behind");
}
