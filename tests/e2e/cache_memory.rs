//! The memory of the cache stays within its configured limit: whatever objects are read, by any
//! number of clients, and however slowly.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::cached::{status, with_cache};
use crate::client::{Client, Ending, Head};
use crate::crowd::{Watched, numbered};
use crate::faulty::{self, Faulty};
use crate::gateway::{Gateway, Setup};
use crate::tally::trial;

const MIB: usize = 1 << 20;

/// Checks how much memory is in use, while or after clients request more than fits.
const LOOKS: &str = "looks at memory";

/// The object of a key: its bytes begin with the path, so that no two are the same.
fn tile(target: &str, length: usize) -> Vec<u8> {
    static PATTERN: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| numbered(8 * MIB));
    let mut bytes = target.as_bytes().to_vec();
    bytes.extend_from_slice(&PATTERN[bytes.len()..length]);
    bytes
}

/// A store with an object of this length under every key, except keys that begin with `no`.
fn boundless(length: usize) -> Faulty {
    Faulty::scripted(move |request, _| {
        if request.target.starts_with("/sky/no") {
            return faulty::s3_error(404, "NoSuchKey");
        }
        faulty::object(&tile(&request.target, length))
    })
}

fn with_memory(store: &Faulty, memory: usize) -> Watched {
    let memory = format!("{memory}");
    Watched::start(with_cache(&store.url()).env("S3PROXY_CACHE_MEMORY", &memory))
}

/// Memory that connections, buffers and the allocator take besides the cache: generous.
const OVERHEAD: usize = 60 * MIB;

#[test]
fn two_hundred_mebibytes_of_tiles_stay_within_thirty_two() {
    const LIMIT: usize = 32 * MIB;
    const LENGTH: usize = 400 * 1024;
    const TILES: usize = 512;
    const READERS: usize = 4;
    let store = boundless(LENGTH);
    let watched = with_memory(&store, LIMIT);
    let before = watched.gateway.peak_memory();
    let (done, hits) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (watched, hits) = (&watched, &hits);
                scope.spawn(move || {
                    let mut client = watched.gateway.connect();
                    let mut random = fastrand::Rng::with_seed(reader as u64);
                    for nth in (reader..TILES).step_by(READERS) {
                        for nth in [nth, random.usize(nth.saturating_sub(20)..=nth)] {
                            let target = format!("/sky/t{nth}.png");
                            let answer =
                                client.exchange("GET", &format!("/s3proxy/s3{target}"), &[]);
                            assert_eq!(answer.status(), 200);
                            assert!(answer.body == tile(&target, LENGTH), "{target}: other bytes");
                            hits.fetch_add(
                                usize::from(status(&answer).starts_with("s3proxy; hit")),
                                Ordering::Relaxed,
                            );
                        }
                    }
                })
            })
            .collect();
        let sampler = scope.spawn(|| {
            let mut highest = 0;
            while !done.load(Ordering::Relaxed) {
                let _trial = trial(LOOKS);
                let counters = watched.counters();
                assert_eq!(counters["memory_limit"], LIMIT);
                let held = counters["memory_bytes"].as_u64().expect("a number");
                assert!(held <= LIMIT as u64, "{held} bytes held");
                highest = highest.max(held);
            }
            highest
        });
        for reader in readers {
            reader.join().expect("right answers");
        }
        done.store(true, Ordering::Relaxed);
        let highest = sampler.join().expect("counters");
        assert!(highest >= LIMIT as u64 / 2, "{highest} bytes held: the memory is used");
    });
    assert!(hits.into_inner() > TILES / 4, "recently read objects are cached");
    let _trial = trial(LOOKS);
    let peak = watched.gateway.peak_memory();
    assert!(peak <= LIMIT * 16 / 10 + OVERHEAD, "{peak} bytes, {before} before");
}

/// Slow readers, each of another 4 MiB object, that have read the headers and nothing more.
fn slow_crowd(gateway: &Gateway) -> Vec<(String, Client, Head)> {
    const SLOW: usize = 64;
    let begun: Vec<_> = (0..SLOW)
        .map(|nth| {
            let target = format!("/sky/s{nth}.png");
            let mut client = Client::narrow(gateway.address);
            client.request("GET", &format!("/s3proxy/s3{target}"), &[]);
            (target, client)
        })
        .collect();
    let with_head = |(target, mut client): (String, Client)| {
        let head = client.head().expect("a head");
        assert_eq!(head.status, 200, "{target}");
        (target, client, head)
    };
    begun.into_iter().map(with_head).collect()
}

#[test]
fn slow_readers_of_large_objects_use_bounded_memory_and_delay_no_other_client() {
    const LIMIT: usize = 32 * MIB;
    const LENGTH: usize = 4 * MIB;
    let store = boundless(LENGTH);
    // The memory that such clients use without a cache.
    let plain = Setup::new(&store.url()).start();
    let slow = slow_crowd(&plain);
    for nth in 0..20 {
        assert_eq!(plain.object(&format!("sky/q{nth}.png")).ending, Ending::Whole);
    }
    let without = plain.peak_memory();
    drop(slow);
    let watched = with_memory(&store, LIMIT);
    let mut slow = slow_crowd(&watched.gateway);
    for nth in 0..20 {
        let target = format!("/sky/q{nth}.png");
        let answer = watched.gateway.get(&format!("/s3proxy/s3{target}"));
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
        assert!(answer.body == tile(&target, LENGTH), "{target}: other bytes");
        let _trial = trial(LOOKS);
        let held = watched.counter("memory_bytes");
        assert!(held <= LIMIT as u64, "{held} bytes held");
    }
    let _trial = trial(LOOKS);
    let peak = watched.gateway.peak_memory();
    assert!(peak <= without + LIMIT * 16 / 10, "{peak} bytes, {without} without a cache");
    for (target, client, head) in &mut slow {
        let (body, ending) = client.body(head, "GET");
        assert_eq!(ending, Ending::Whole, "{target}");
        assert!(body == tile(target, LENGTH), "{target}: other bytes");
    }
    drop(slow);
    // The memory they held is free again.
    for _ in 0..2 {
        let answer = watched.gateway.object("sky/after.png");
        assert!(answer.body == tile("/sky/after.png", LENGTH));
        watched.await_fetches_done();
    }
    let after = watched.gateway.object("sky/after.png");
    assert!(status(&after).starts_with("s3proxy; hit"), "{}", status(&after));
}

#[test]
fn keys_of_missing_objects_do_not_fill_the_memory() {
    const LIMIT: usize = 4 * MIB;
    const READERS: usize = 4;
    const BATCH: usize = 50;
    // Fewer where the build is slow, but always more than the memory holds, some 7,000.
    const KEYS: usize = if cfg!(debug_assertions) { 12_000 } else { 200_000 };
    let store = boundless(1000);
    let watched = with_memory(&store, LIMIT);
    let ask = |client: &mut Client, from: usize| {
        for nth in from..from + BATCH {
            let path = format!("/s3proxy/s3/sky/no/Norder9/Dir{nth}0000/Npix{nth}.png");
            client.request("GET", &path, &[]);
        }
        for nth in from..from + BATCH {
            assert_eq!(client.answer("GET").map(|answer| answer.status()), Some(404), "{nth}");
        }
    };
    let run = |keys: std::ops::Range<usize>| {
        std::thread::scope(|scope| {
            for reader in 0..READERS {
                let (watched, keys, store) = (&watched, keys.clone(), &store);
                scope.spawn(move || {
                    let mut client = watched.gateway.connect();
                    for from in keys.step_by(BATCH).skip(reader).step_by(READERS) {
                        ask(&mut client, from);
                        store.clear();
                    }
                });
            }
        });
    };
    run(0..1000);
    let before = watched.gateway.peak_memory();
    run(1000..KEYS);
    let _trial = trial(LOOKS);
    let grown = watched.gateway.peak_memory() - before;
    assert!(grown < 32 * MIB + LIMIT, "{grown} bytes for {KEYS} names");
    assert!(watched.counter("memory_evictions") > 0, "more names than fit");
    let known = format!("/s3proxy/s3/sky/no/Norder9/Dir{0}0000/Npix{0}.png", KEYS - 1);
    assert!(status(&watched.gateway.get(&known)).starts_with("s3proxy; hit"));
}

#[test]
fn without_memory_every_request_goes_to_the_store() {
    let store = boundless(1000);
    let gateway = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0").start();
    let mut asked = 0;
    for _ in 0..2 {
        for (method, key, headers) in [
            ("GET", "a.png", &[][..]),
            ("HEAD", "a.png", &[]),
            ("GET", "a.png", &[("If-None-Match", "\"x\"")]),
            ("GET", "no.png", &[]),
        ] {
            let answer = gateway.send(method, &format!("/s3proxy/s3/sky/{key}"), headers);
            assert_eq!(status(&answer), "s3proxy; fwd=bypass", "{method} {key}");
            asked += 1;
            assert!(store.count() >= asked, "{method} {key}");
            asked = store.count();
        }
    }
}

/// Entries once filled the budget except for an eighth, which had no room for a larger object.
#[test]
fn an_object_larger_than_the_free_memory_evicts_others() {
    const LIMIT: usize = 32 * MIB;
    // Close to the size limit of whole objects, with and without memory reserved for blocks.
    for (share, large) in [("25", 6 * MIB), ("0", 8 * MIB)] {
        let store = Faulty::scripted(move |request, _| {
            let length = if request.target.starts_with("/sky/large") { large } else { MIB };
            faulty::object(&tile(&request.target, length))
        });
        let setup = with_cache(&store.url()).env("S3PROXY_CACHE_BLOCKS_SHARE", share);
        let watched = Watched::start(setup.env("S3PROXY_CACHE_MEMORY", &LIMIT.to_string()));
        for nth in 0..64 {
            assert_eq!(watched.gateway.object(&format!("sky/t{nth}.png")).status(), 200);
        }
        watched.await_fetches_done();
        for nth in 0..3 {
            let key = format!("sky/large{nth}.png");
            let first = watched.gateway.object(&key);
            assert!(status(&first).ends_with("stored"), "{share} %: {}", status(&first));
            assert!(first.body == tile(&format!("/{key}"), large), "{key}: other bytes");
            watched.await_fetches_done();
            let again = watched.gateway.object(&key);
            assert!(status(&again).starts_with("s3proxy; hit"), "{share} %: {key}");
            let _trial = trial(LOOKS);
            assert!(watched.counter("memory_bytes") <= LIMIT as u64);
        }
        assert_eq!(watched.counter("no_room"), 0, "{share} %");
        assert_eq!(watched.counter("block_entries"), 0, "{share} %: kept whole");
    }
}
