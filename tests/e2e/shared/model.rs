//! Three replicas next to a model: random reads, overwrites, purges and faults of the engine. No answer has
//! wrong bytes, is older than allowed, or was purged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::faulty::{self, Faulty, Recorded};
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};
use crate::tally;

const KEYS: usize = 6;
const TTL: Duration = Duration::from_secs(2);
/// A busy machine: between the beginning of a request and the answer of the store.
const SLACK: Duration = Duration::from_secs(2);
const RUN: Duration = Duration::from_secs(15);

/// The versions of each object, with the times at which they were written.
type Versions = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

fn current(versions: &Versions, key: &str) -> usize {
    let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
    versions.entry(key.to_owned()).or_insert_with(|| vec![Instant::now()]).len()
}

fn overwrite(versions: &Versions, key: &str) {
    current(versions, key);
    let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(times) = versions.get_mut(key) {
        times.push(Instant::now());
    }
}

/// When this version was replaced, if it was.
fn replaced_at(versions: &Versions, key: &str, version: usize) -> Option<Instant> {
    let versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
    versions.get(key).and_then(|times| times.get(version).copied())
}

fn start(store: &str, engine: &Engine) -> Replica {
    let setup = sharing(store, engine)
        .env("S3PROXY_CACHE_TTL", "2s")
        .env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "0")
        .env("S3PROXY_CACHE_STALE_IF_ERROR", "0")
        .tolerate("shared cache: ")
        .tolerate("purge of ");
    Replica::of(setup)
}

#[test]
fn three_replicas_serve_nothing_wrong_old_or_purged() {
    let Some(mut engine) = Engine::start() else { return };
    let versions: Versions = Arc::default();
    let known = Arc::clone(&versions);
    let store = Faulty::scripted(move |request: &Recorded, _| {
        let key = request.target.trim_start_matches("/sky/").to_owned();
        let body = format!("{key} {}", current(&known, &key));
        faulty::object(body.as_bytes())
    });
    let replicas: Vec<Replica> = (0..3).map(|_| start(&store.url(), &engine)).collect();
    for replica in &replicas {
        replica.await_state("on");
    }
    let _trial = tally::trial("reads of three replicas");
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // The oldest version of each object that may be served, by purges.
    let mut floors: HashMap<String, usize> = HashMap::new();
    let (mut reads, mut purges) = (0, 0);
    let started = Instant::now();
    while started.elapsed() < RUN {
        let key = format!("k{}.png", random.usize(..KEYS));
        let replica = &replicas[random.usize(..replicas.len())];
        match random.u32(..1000) {
            0..40 => overwrite(&versions, &key),
            40..70 => {
                let prefix = random.bool();
                let floor: Vec<(String, usize)> = if prefix {
                    (0..KEYS)
                        .map(|nth| format!("k{nth}.png"))
                        .map(|key| (key.clone(), current(&versions, &key)))
                        .collect()
                } else {
                    vec![(key.clone(), current(&versions, &key))]
                };
                let target = if prefix { "sky/".to_owned() } else { format!("sky/{key}") };
                let said = replica.admin.purge(&target);
                purges += 1;
                let is_obeyed = said["replicas"]["recorded"] == true
                    && said["replicas"]["missing"].as_array().is_some_and(Vec::is_empty);
                if is_obeyed {
                    floors.extend(floor);
                }
            }
            70..74 => match random.u32(..4) {
                0 => drop(engine.ask("FLUSHALL")),
                1 => engine.restart(),
                _ => {
                    engine.signal("STOP");
                    // Some requests meet an engine that does not answer.
                    for _ in 0..5 {
                        assert_eq!(replica.get(&format!("sky/{key}")).0, 200);
                    }
                    engine.signal("CONT");
                }
            },
            _ => {
                let floor = floors.get(&key).copied().unwrap_or(1);
                let asked = Instant::now();
                let (status, body, said) = replica.get(&format!("sky/{key}"));
                reads += 1;
                assert_eq!(status, 200, "seed {seed}");
                let (name, version) = body.split_once(' ').expect("a name and a version");
                let version: usize = version.parse().expect("a version");
                assert_eq!(name, key, "seed {seed}");
                assert!(
                    version >= floor,
                    "seed {seed}: {key} {version} was purged ({floor}): {said}"
                );
                if let Some(replaced) = replaced_at(&versions, &key, version) {
                    let old = asked.saturating_duration_since(replaced);
                    assert!(
                        old <= TTL + SLACK,
                        "seed {seed}: {key} {version} is {old:?} old: {said}"
                    );
                }
            }
        }
    }
    tally::add("reads of three replicas", reads, 0);
    let hits: u64 = replicas.iter().map(|it| it.admin.number("shared_hits")).sum();
    eprintln!(
        "{reads} reads, {purges} purges, {} requests to the store, {hits} shared hits",
        store.count()
    );
    assert!(reads > 100 && hits > 0, "{reads} reads, {hits} shared hits");
}
