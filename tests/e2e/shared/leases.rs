//! One fetch for all replicas.

use std::sync::Barrier;
use std::time::Duration;

use crate::client::PATIENCE;
use crate::faulty::{self, Faulty, Gate, Step};
use crate::scene::tile;
use crate::shared::Replica;
use crate::shared::engine::Engine;
use crate::tally::trials;

#[test]
fn many_clients_of_several_replicas_cost_the_store_one_request_a_tile() {
    const REPLICAS: usize = 4;
    const CLIENTS: usize = 100;
    const TILES: usize = 20;
    let Some(engine) = Engine::start() else { return };
    let slow = [vec![Step::Pause(Duration::from_millis(150))], faulty::object(b"tile")].concat();
    let store = Faulty::always(slow);
    let replicas: Vec<Replica> =
        (0..REPLICAS).map(|_| Replica::start(&store.url(), &engine)).collect();
    let sum = |name: &str| replicas.iter().map(|it| it.admin.number(name)).sum::<u64>();
    // A command that the engine does not answer within a second, on a busy machine, excuses a request.
    const ATTEMPTS: usize = 4;
    for attempt in 0..ATTEMPTS {
        let (asked, leased, failed) = (store.count(), sum("shared_leases"), errors(&replicas));
        herd(&replicas, attempt, CLIENTS, TILES);
        if errors(&replicas) == failed {
            assert_eq!(store.count() - asked, TILES, "{:?}", store.requests());
            assert_eq!(sum("shared_leases") - leased, TILES as u64);
            assert!(sum("shared_waits") > 0);
            return;
        }
    }
    panic!("commands of the engine failed in {ATTEMPTS} attempts: {}", replicas[0].admin.cache());
}

/// How many commands have failed.
fn errors(replicas: &[Replica]) -> u64 {
    let of = |replica: &Replica| {
        let errors = replica.admin.cache()["shared"]["errors"].clone();
        errors
            .as_object()
            .expect("causes")
            .values()
            .filter_map(serde_json::Value::as_u64)
            .sum::<u64>()
    };
    replicas.iter().map(of).sum()
}

/// Clients that all request the same tiles of all replicas at once.
fn herd(replicas: &[Replica], attempt: usize, clients: usize, tiles: usize) {
    let _trials = trials("clients of a herd", clients);
    let barrier = Barrier::new(clients);
    std::thread::scope(|scope| {
        for client in 0..clients {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for nth in 0..tiles {
                    let at = (client + nth) % replicas.len();
                    let tile = (client * 7 + nth) % tiles;
                    let (status, body, _) = replicas[at].get(&format!("sky/{attempt}/{tile}.png"));
                    assert_eq!((status, body.as_str()), (200, "tile"), "client {client}");
                }
            });
        }
    });
}

#[test]
fn nobody_waits_for_what_another_replica_does_not_share() {
    let Some(engine) = Engine::start() else { return };
    let gate = Gate::new();
    let steps = tile("private", &[("Cache-Control", "private")]);
    let held = [vec![Step::Wait(gate.clone())], steps.clone()].concat();
    let store = Faulty::scripted(move |_, nth| if nth == 0 { held.clone() } else { steps.clone() });
    let (one, other) =
        (Replica::start(&store.url(), &engine), Replica::start(&store.url(), &engine));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| one.get("sky/a.png"));
        store.await_requests(1);
        let second = scope.spawn(|| other.get("sky/a.png"));
        other.admin.await_number("shared_waits", |waits| waits == 1);
        gate.open();
        assert_eq!(first.join().expect("an answer").1, "private");
        assert_eq!(second.join().expect("an answer").1, "private");
    });
    assert_eq!(store.count(), 2);
}

#[test]
fn the_lease_of_a_replica_that_dies_ends() {
    let Some(engine) = Engine::start() else { return };
    let gate = Gate::new();
    let held = [vec![Step::Wait(gate.clone())], faulty::object(b"tile")].concat();
    let store = Faulty::scripted(
        move |_, nth| if nth == 0 { held.clone() } else { faulty::object(b"tile") },
    );
    let mut one = Replica::start(&store.url(), &engine);
    let other = Replica::start(&store.url(), &engine);
    let address = one.gateway.address;
    std::thread::scope(|scope| {
        let _first = scope.spawn(move || {
            let mut client = crate::client::Client::connect(address);
            client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
            let _ended = client.fate(PATIENCE);
        });
        store.await_requests(1);
        one.gateway.signal("KILL");
        let _killed = one.gateway.await_end(PATIENCE);
        assert_eq!(other.get("sky/a.png").1, "tile");
    });
    gate.open();
    assert_eq!(store.count(), 2);
}
