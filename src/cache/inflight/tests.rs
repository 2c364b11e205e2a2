//! Fetches by many tasks at once: never two for one key, and no follower waits for ever.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn key(number: u64) -> CacheKey {
    CacheKey::from_bytes(&number.to_le_bytes())
}

fn join(in_flight: &Arc<InFlightFetches<u64>>, number: u64) -> Role<u64> {
    let role = in_flight.join(&key(number), UNIX_EPOCH, None, None, |_| true, || None::<()>);
    role.expect("nothing is cached")
}

#[tokio::test]
async fn a_request_for_a_key_in_flight_follows_its_fetch() {
    let in_flight = Arc::new(InFlightFetches::default());
    let Role::Lead(leader) = join(&in_flight, 1) else { panic!("the first leads") };
    let Role::Follow(fetch) = join(&in_flight, 1) else { panic!("the second follows") };
    assert!(matches!(join(&in_flight, 2), Role::Lead(_)), "another key is another fetch");
    let follower = tokio::spawn(async move { fetch.outcome().await });
    leader.publish(7);
    leader.publish(8);
    let late = in_flight.get(&key(1)).expect("it has not ended");
    assert_eq!(late.outcome().await, Some(7), "the first outcome counts");
    drop(leader);
    assert_eq!(follower.await.expect("no panic"), Some(7));
    assert!(in_flight.get(&key(1)).is_none());
    assert_eq!(in_flight.count(), 0);
}

#[tokio::test]
async fn a_fetch_that_panics_leaves_no_follower_waiting() {
    let in_flight = Arc::new(InFlightFetches::default());
    let Role::Lead(leader) = join(&in_flight, 1) else { panic!("the first leads") };
    let Role::Follow(fetch) = join(&in_flight, 1) else { panic!("the second follows") };
    let task = tokio::spawn(async move {
        let _leader = leader;
        assert_eq!(1 + 1, 3, "as it was meant to");
    });
    assert!(task.await.is_err());
    let outcome = tokio::time::timeout(Duration::from_secs(10), fetch.outcome()).await;
    assert_eq!(outcome.expect("it ends"), None);
    assert!(matches!(join(&in_flight, 1), Role::Lead(_)), "the next one tries again");
}

#[tokio::test]
async fn a_fetch_from_before_a_purge_is_not_followed_and_its_end_harms_no_other() {
    let in_flight: Arc<InFlightFetches<u64>> = Arc::default();
    let Role::Lead(old) = join(&in_flight, 1) else { panic!("the first leads") };
    let after = UNIX_EPOCH + Duration::from_secs(1);
    let join =
        || in_flight.join(&key(1), after, None, None, |fetch| fetch.began >= after, || None::<()>);
    let Ok(Role::Lead(new)) = join() else { panic!("the old one is not usable") };
    drop(old);
    let Ok(Role::Follow(_)) = join() else { panic!("the new one is still in flight") };
    drop(new);
    assert_eq!(in_flight.count(), 0);
}

#[tokio::test]
async fn a_finished_fetch_is_not_followed_again() {
    let in_flight = Arc::new(InFlightFetches::default());
    let Role::Lead(leader) = join(&in_flight, 1) else { panic!("the first leads") };
    let Role::Follow(fetch) = join(&in_flight, 1) else { panic!("the second follows") };
    leader.finish(7);
    assert_eq!(fetch.outcome().await, Some(7));
    let Role::Lead(next) = join(&in_flight, 1) else { panic!("the old one has ended") };
    drop(leader);
    assert!(in_flight.get(&key(1)).is_some(), "its end harms no other");
    drop(next);
}

#[tokio::test]
async fn an_entry_that_a_fetch_has_just_stored_is_used_instead() {
    let in_flight: Arc<InFlightFetches<u64>> = Arc::default();
    let cached = in_flight.join(&key(1), UNIX_EPOCH, None, None, |_| true, || Some("cached"));
    assert_eq!(cached.expect_err("it is cached"), "cached");
    assert_eq!(in_flight.count(), 0);
}

/// The state that the tasks of the stress test share.
struct Stress {
    in_flight: Arc<InFlightFetches<u64>>,
    /// Fetches of each key that run now.
    running: Vec<AtomicUsize>,
    /// The cached value of each key; 0 for none.
    cached: Vec<AtomicU64>,
    fetches: AtomicU64,
    served: AtomicU64,
}

impl Stress {
    /// One task's requests. A fetched value is cached for a moment only, so that fetches begin and end
    /// all the time; some end without an outcome.
    async fn ask(&self, task: usize, rounds: usize) {
        for round in 0..rounds {
            let place = (task + round) % self.cached.len();
            let value = place as u64 + 1;
            let found =
                || Some(self.cached[place].load(Ordering::SeqCst)).filter(|cached| *cached > 0);
            match self.in_flight.join(&key(value), UNIX_EPOCH, None, None, |_| true, found) {
                Err(cached) => assert_eq!(cached, value),
                Ok(Role::Follow(fetch)) => {
                    let outcome = fetch.outcome().await;
                    assert!(outcome.is_none_or(|outcome| outcome == value));
                }
                Ok(Role::Lead(leader)) => {
                    assert_eq!(self.running[place].fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    if round % 7 != 0 {
                        leader.publish(value);
                        self.cached[place].store(value, Ordering::SeqCst);
                    }
                    self.running[place].fetch_sub(1, Ordering::SeqCst);
                    self.fetches.fetch_add(1, Ordering::SeqCst);
                    drop(leader);
                    self.cached[place].store(0, Ordering::SeqCst);
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
    let shared = Arc::new(Stress {
        in_flight: Arc::default(),
        running: (0..KEYS).map(|_| AtomicUsize::new(0)).collect(),
        cached: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
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
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("every follower gets an outcome");
    assert_eq!(shared.served.load(Ordering::SeqCst), (TASKS * ROUNDS) as u64);
    assert!(shared.fetches.load(Ordering::SeqCst) >= KEYS as u64, "fetches were made");
    assert_eq!(shared.in_flight.count(), 0, "and none is left behind");
}

#[test]
fn a_purge_detaches_what_it_covers_and_waits_for_no_fetch() {
    let fetches: Arc<InFlightFetches<()>> = Arc::default();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let lead = |key: &[u8], began| {
        let key = CacheKey::from_bytes(key);
        let Ok(Role::Lead(leader)) = fetches.join(&key, began, None, None, |_| true, || None::<()>)
        else {
            panic!("no other fetch is in flight")
        };
        leader
    };
    let (covered, later, other) = (lead(b"a", at(1)), lead(b"ab", at(9)), lead(b"b", at(1)));
    fetches.purge(|key, began| key.as_bytes().starts_with(b"a") && began <= at(5));
    for (leader, is_purged) in [(&covered, true), (&later, false), (&other, false)] {
        assert_eq!(leader.fetch().is_purged(), is_purged);
        assert_eq!(leader.if_current(|| ()), !is_purged, "a purged fetch stores nothing");
    }
    assert_eq!(fetches.count(), 2);
}
