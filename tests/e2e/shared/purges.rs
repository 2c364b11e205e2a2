//! Purges, which all replicas obey, also those that start later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::client::PATIENCE;
use crate::disk::Bench;
use crate::faulty::{self, Faulty};
use crate::gateway::Setup;
use crate::purge::command;
use crate::scene::{Scene, tile};
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};
use crate::tally;

fn names(said: &Value, list: &str) -> usize {
    said["replicas"][list].as_array().expect("a list").len()
}

#[test]
fn a_purge_at_one_replica_is_obeyed_by_all_when_it_returns() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("old", &[]));
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::start(&scene.url(), &engine)).collect();
    for (target, tail) in
        [("sky/a.png", "sky/a.png"), ("sky/", "sky/b/c.png"), ("sky/b/", "sky/b/d.png")]
    {
        scene.now(tile("old", &[]));
        for replica in &replicas {
            assert_eq!(replica.get(tail).1, "old", "{target}");
        }
        scene.now(tile("new", &[]));
        let said = replicas[0].admin.purge(target);
        assert_eq!((names(&said, "obeyed"), names(&said, "missing")), (3, 0), "{said}");
        assert_eq!(said["replicas"]["recorded"], true, "{said}");
        for replica in &replicas {
            assert_eq!(replica.get(tail).1, "new", "{target}");
        }
    }
    let run = command(&replicas[1].admin, &["sky/a.png"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    // Each purge is counted where it was requested: 12 were counted of 4.
    let counted: Vec<u64> = replicas.iter().map(|it| it.admin.number("purges")).collect();
    assert_eq!(counted, [3, 1, 0]);
}

#[test]
fn a_replica_that_starts_later_obeys_earlier_purges() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("old", &[]));
    let one = Replica::start(&scene.url(), &engine);
    one.get("sky/a.png");
    one.get("sky/kept.png");
    one.await_written(2);
    one.admin.purge("sky/a.png");
    // The value is still there; the purge covers it.
    assert_eq!(engine.values().len(), 2);
    scene.now(tile("new", &[]));
    let later = Replica::start(&scene.url(), &engine);
    assert_eq!(later.get("sky/a.png").1, "new");
    assert_eq!(later.get("sky/kept.png").1, "old");
    // What is fetched after the purge is shared again.
    later.await_written(1);
    assert_eq!(one.get("sky/a.png").1, "new");
    assert_eq!(one.admin.number("shared_hits"), 1);
}

#[test]
fn a_replica_that_does_not_answer_is_named_and_obeys_when_it_is_back() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("old", &[]));
    let one = Replica::start(&scene.url(), &engine);
    // Its time passes while it is stopped.
    let other = Replica::of(sharing(&scene.url(), &engine).tolerate("shared cache: not used"));
    other.await_state("on");
    assert_eq!(other.get("sky/a.png").1, "old");
    other.gateway.signal("STOP");
    let run = command(&one.admin, &["sky/a.png"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let said: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((names(&said, "obeyed"), names(&said, "missing")), (1, 1), "{said}");
    let name = said["replicas"]["missing"][0].as_str().expect("a name");
    let warned = format!("{}: sky/a.png: not confirmed by {name}", one.admin.address);
    assert!(run.stderr.contains(&warned), "{run:?}");
    assert!(name.ends_with(&format!("/{}", other.gateway.pid())), "{name}");
    one.gateway.expect_log("a warning", |line| {
        line["event"].as_str().is_some_and(|text| text.contains("did not confirm it"))
    });
    scene.now(tile("new", &[]));
    other.gateway.signal("CONT");
    one.admin.purge("sky/none.png");
    assert_eq!(other.get("sky/a.png").1, "new");
}

#[test]
fn a_purge_without_the_engine_is_recorded_later() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("old", &[]));
    let (one, other) =
        (Replica::start(&scene.url(), &engine), Replica::start(&scene.url(), &engine));
    assert_eq!((one.get("sky/a.png").1, other.get("sky/a.png").1), ("old".into(), "old".into()));
    engine.signal("STOP");
    // Standard error was empty.
    let run = command(&one.admin, &["sky/a.png"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let warned = format!("{}: sky/a.png: purged in this replica alone", one.admin.address);
    assert!(run.stderr.contains(&warned), "{run:?}");
    let said: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(said["replicas"]["recorded"], false, "{said}");
    scene.now(tile("new", &[]));
    assert_eq!(one.get("sky/a.png").1, "new");
    let is_warning = |line: &Value| {
        line["event"].as_str().is_some_and(|text| {
            text.starts_with("shared cache: not used: ") || text.starts_with("purge of ")
        })
    };
    engine.signal("CONT");
    one.await_state("on");
    other.await_state("on");
    one.admin.purge("sky/none.png");
    assert_eq!(other.get("sky/a.png").1, "new");
    for replica in [&one, &one, &other] {
        replica.gateway.expect_log("a warning", is_warning);
    }
}

/// An engine that loses its data loses its purges: values of before could have been served again.
#[test]
fn an_engine_that_has_lost_its_purges_serves_nothing_from_before() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("old", &[]));
    let one = Replica::start(&scene.url(), &engine);
    one.get("sky/a.png");
    one.await_written(1);
    one.admin.purge("sky/a.png");
    engine.ask("DEL s3proxy:purges");
    one.gateway.expect_log("a warning", |line| {
        line["event"].as_str().is_some_and(|text| text.contains("has lost the purges"))
    });
    scene.now(tile("new", &[]));
    assert_eq!(one.get("sky/a.png").1, "new");
    let later = Replica::start(&scene.url(), &engine);
    assert_eq!(later.get("sky/a.png").1, "new");
}

/// A replica that had not said again that it is there was not waited for, and served what was purged.
#[test]
fn a_purge_waits_for_all_replicas_although_the_engine_has_lost_its_list() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("old", &[]));
    let start = || {
        let replica = Replica::of(sharing(&scene.url(), &engine).tolerate("shared cache: "));
        replica.await_state("on");
        replica
    };
    let (one, other) = (start(), start());
    // It knows the other from then on.
    one.admin.purge("sky/none.png");
    for nth in 0..4 {
        let tail = format!("sky/{nth}.png");
        scene.now(tile("old", &[]));
        assert_eq!(other.get(&tail).1, "old");
        engine.ask("FLUSHALL");
        scene.now(tile("new", &[]));
        let said = one.admin.purge(&tail);
        assert_eq!((names(&said, "obeyed"), names(&said, "missing")), (2, 0), "{said}");
        assert_eq!(other.get(&tail).1, "new");
    }
    other.gateway.signal("STOP");
    engine.ask("FLUSHALL");
    let run = command(&one.admin, &["sky/a.png"]);
    other.gateway.signal("CONT");
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let said: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let name = said["replicas"]["missing"][0].as_str().expect("a name");
    assert!(name.ends_with(&format!("/{}", other.gateway.pid())), "{said}");
    one.gateway.expect_log("a warning", |line| {
        line["event"].as_str().is_some_and(|text| text.contains("did not confirm it"))
    });
}

/// A fetch that begins between the two parts of a purge may not read the value that it covers.
#[test]
fn no_fetch_that_meets_a_purge_brings_back_what_it_covers() {
    const READERS: usize = 4;
    const KEYS: usize = 8;
    const PURGES: usize = 60;
    let Some(engine) = Engine::start() else { return };
    let version = Arc::new(AtomicUsize::new(0));
    let current = Arc::clone(&version);
    let store = Faulty::scripted(move |_, _| {
        faulty::object(current.load(Ordering::SeqCst).to_string().as_bytes())
    });
    let replicas = [Replica::start(&store.url(), &engine), Replica::start(&store.url(), &engine)];
    let (floor, has_ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let reads = AtomicUsize::new(0);
    let _trial = tally::trial("reads of three replicas");
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (replicas, floor, has_ended, reads) = (&replicas, &floor, &has_ended, &reads);
            scope.spawn(move || {
                let replica = &replicas[reader % replicas.len()];
                for nth in 0_usize.. {
                    if has_ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let least = floor.load(Ordering::SeqCst);
                    let (_, body, said) = replica.get(&format!("sky/{}.png", nth % KEYS));
                    let found: usize = body.parse().expect("a version");
                    assert!(found >= least, "{found} was purged ({least}): {said}");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for nth in 0..PURGES {
            let newer = version.fetch_add(1, Ordering::SeqCst) + 1;
            let said = replicas[nth % replicas.len()].admin.purge("sky/");
            if (names(&said, "obeyed"), names(&said, "missing")) == (2, 0) {
                floor.store(newer, Ordering::SeqCst);
            }
        }
        has_ended.store(true, Ordering::SeqCst);
    });
    assert!(floor.load(Ordering::SeqCst) > 0 && reads.load(Ordering::Relaxed) > PURGES);
}

/// Its disk has records from before a purge that it cannot know of yet.
#[test]
fn a_replica_that_starts_later_serves_nothing_of_its_disk_that_was_purged_meanwhile() {
    let Some(engine) = Engine::start() else { return };
    let scene = Scene::start(tile("old", &[]));
    let bench = Bench::new();
    let setup = || {
        bench
            .setup(&scene.url())
            .env("S3PROXY_CACHE_SHARED_URL", &engine.url())
            .tolerate("shared cache: not used")
    };
    // It may notice that the engine does not answer.
    let one = Replica::of(sharing(&scene.url(), &engine).tolerate("shared cache: not used"));
    one.await_state("on");
    let mut gateway = setup().start();
    for tail in ["sky/a.png", "sky/kept.png"] {
        assert_eq!(gateway.object(tail).text(), "old");
    }
    bench.await_records(2);
    gateway.signal("TERM");
    assert!(gateway.await_end(PATIENCE).success());
    one.admin.purge("sky/a.png");
    engine.signal("STOP");
    scene.now(tile("new", &[]));
    let gateway = setup().start();
    assert_eq!(gateway.object("sky/a.png").text(), "new");
    engine.signal("CONT");
    let replica = Replica { gateway, admin: bench.admin() };
    replica.await_state("on");
    assert_eq!(replica.get("sky/kept.png").1, "old", "what was not purged is of use again");
}

#[test]
fn without_a_shared_tier_a_purge_says_nothing_of_replicas() {
    let scene = Scene::start(tile("old", &[]));
    let one = Replica::of(Setup::new(&scene.url()).env("S3PROXY_CACHE_MEMORY", "64MiB"));
    let said = one.admin.purge("sky/a.png");
    assert_eq!(said.get("replicas"), None, "{said}");
    assert_eq!(one.admin.cache().get("shared"), None);
}
