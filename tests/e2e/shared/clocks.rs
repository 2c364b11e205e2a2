//! Replicas whose times of day differ by more than the lifetime of an object: no clock of theirs decides what is
//! fresh, and which purge covers it.

use crate::clock::{Clock, library};
use crate::scene::{Scene, tile};
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};
use crate::tally::trial;

#[test]
fn replicas_whose_clocks_differ_agree_on_freshness_and_purges() {
    let (Some(engine), Some(library)) = (Engine::start(), library()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let scene = Scene::start(tile("old", &[]));
    let start = |offset: &str| {
        let clock = Clock(folder.path().join(format!("offset{offset}")));
        clock.set(offset);
        let replica = Replica::of(clock.setup(&library, sharing(&scene.url(), &engine)));
        replica.await_state("on");
        replica
    };
    let (ahead, right, behind) = (start("+800"), start("+0"), start("-800"));
    let _trial = trial("steps of the clock");
    let replicas = [&ahead, &right, &behind];
    let mut written = [0; 3];
    for (nth, first) in replicas.iter().enumerate() {
        let tail = format!("sky/{nth}.png");
        let is_shared = |replica: &Replica, text: &str| {
            let (status, body, said) = replica.get(&tail);
            assert_eq!((status, body.as_str()), (200, text), "{tail}: {said}");
            let ttl = said.split("ttl=").nth(1).and_then(|rest| rest.split(';').next());
            let ttl: i64 = ttl.and_then(|ttl| ttl.parse().ok()).unwrap_or_default();
            assert!(said.ends_with("; detail=shared"), "{said}");
            assert!((200..=300).contains(&ttl), "{said}");
        };
        scene.now(tile("old", &[]));
        assert_eq!(first.get(&tail).1, "old");
        written[nth] += 1;
        first.await_written(written[nth]);
        let others = || replicas.iter().enumerate().filter(move |(other, _)| *other != nth);
        for (_, other) in others() {
            is_shared(other, "old");
        }
        // Obeyed by all; and what is fetched then is not taken for older.
        scene.now(tile("new", &[]));
        let said = first.admin.purge(&tail);
        assert_eq!(said["replicas"]["obeyed"].as_array().map(Vec::len), Some(3), "{said}");
        let (last, reader) = others().next_back().expect("another");
        assert_eq!(reader.get(&tail).1, "new");
        written[last] += 1;
        reader.await_written(written[last]);
        for (_, other) in replicas.iter().enumerate().filter(|(at, _)| *at != last) {
            is_shared(other, "new");
        }
    }
    assert_eq!(scene.count(), 2 * replicas.len());
}
