//! Purges, which all replicas obey, also those that start later.

use serde_json::Value;

use crate::gateway::Setup;
use crate::purge::command;
use crate::scene::{Scene, tile};
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};

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
    let said = one.admin.purge("sky/a.png");
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

#[test]
fn without_a_shared_tier_a_purge_says_nothing_of_replicas() {
    let scene = Scene::start(tile("old", &[]));
    let one = Replica::of(Setup::new(&scene.url()).env("S3PROXY_CACHE_MEMORY", "64MiB"));
    let said = one.admin.purge("sky/a.png");
    assert_eq!(said.get("replicas"), None, "{said}");
    assert_eq!(one.admin.cache().get("shared"), None);
}
