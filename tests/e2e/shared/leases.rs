//! One fetch for all replicas.

use std::sync::Barrier;
use std::time::Duration;

use crate::client::PATIENCE;
use crate::faulty::{self, Faulty, Gate, Step};
use crate::gateway::{Setup, free_port};
use crate::scene::tile;
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};
use crate::tally::trials;

#[test]
fn five_hundred_clients_of_eight_replicas_cost_the_store_one_request_a_tile() {
    const REPLICAS: usize = 8;
    const CLIENTS: usize = 500;
    const TILES: usize = 20;
    let Some(engine) = Engine::start() else { return };
    let slow = [vec![Step::Pause(Duration::from_millis(150))], faulty::object(b"tile")].concat();
    let store = Faulty::always(slow);
    let start = |nth| {
        let address = format!("127.0.0.{}:{}", nth + 2, free_port());
        let replica = Replica::of(sharing(&store.url(), &engine).listen(&address));
        replica.await_state("on");
        replica
    };
    let replicas: Vec<Replica> = (0..REPLICAS).map(start).collect();
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

/// Two replicas of which the other waits for what the first one fetches.
struct Waiting {
    store: Faulty,
    gate: Gate,
    one: Replica,
    other: Replica,
}

impl Waiting {
    /// Replicas with these settings, which hear messages or not.
    fn start(engine: &Engine, messages: &str, settings: impl Fn(Setup) -> Setup) -> Self {
        let gate = Gate::new();
        let held = [vec![Step::Wait(gate.clone())], faulty::object(b"tile")].concat();
        let store = Faulty::always(held);
        let start = || {
            let replica = Replica::of(settings(sharing(&store.url(), engine)));
            replica.await_state("on");
            replica.await_messages(messages);
            replica
        };
        let (one, other) = (start(), start());
        Self { store, gate, one, other }
    }

    /// Requests a tile of both, calls this while the other one waits, and lets the store answer.
    fn run(&self, meanwhile: impl FnOnce()) {
        std::thread::scope(|scope| {
            let first = scope.spawn(|| self.one.get("sky/a.png"));
            self.store.await_requests(1);
            let second = scope.spawn(|| self.other.get("sky/a.png"));
            self.other.admin.await_number("shared_waits", |waits| waits == 1);
            meanwhile();
            self.gate.open();
            for answer in [first, second] {
                assert_eq!(answer.join().expect("an answer").1, "tile");
            }
        });
        assert_eq!(self.store.count(), 1);
        assert_eq!(self.other.admin.number("shared_hits"), 1);
    }
}

#[test]
fn who_waits_hears_of_the_object_and_does_not_ask_for_it_all_the_time() {
    let Some(engine) = Engine::start() else { return };
    let waiting = Waiting::start(&engine, "on", |setup| setup);
    waiting.run(|| {
        let before = engine.calls("getrange");
        std::thread::sleep(Duration::from_secs(1));
        let looks = engine.calls("getrange") - before;
        assert!(looks <= 8, "{looks} looks in a second: without messages there are 25");
    });
}

#[test]
fn who_may_not_hear_looks_for_the_object() {
    let Some(engine) = Engine::start() else { return };
    let answer = engine.ask("ACL SETUSER deaf on nopass ~* resetchannels +@all");
    assert_eq!(answer, "+OK\r\n");
    let url = engine.url().replace("redis://", "redis://deaf@");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "any").expect("a file");
    let waiting = Waiting::start(&engine, "off", |setup| {
        setup
            .env("S3PROXY_CACHE_SHARED_URL", &url)
            .env("S3PROXY_CACHE_SHARED_PASSWORD_FILE", file.to_str().expect("UTF-8"))
    });
    waiting.run(|| {});
    for replica in [&waiting.one, &waiting.other] {
        replica.await_messages("off");
        let errors = &replica.admin.cache()["shared"]["errors"];
        assert_eq!(errors["access"], 0, "it is no fault: {errors}");
    }
    let said = waiting.one.admin.purge("sky/a.png");
    assert_eq!(said["replicas"]["obeyed"].as_array().map(Vec::len), Some(2), "{said}");
}

#[test]
fn a_subscription_that_breaks_is_made_again_and_loses_no_object() {
    let Some(engine) = Engine::start() else { return };
    let waiting = Waiting::start(&engine, "on", |setup| setup);
    waiting.run(|| {
        let killed = engine.ask("CLIENT KILL TYPE pubsub");
        assert_eq!(killed, ":2\r\n");
    });
    for replica in [&waiting.one, &waiting.other] {
        replica.await_messages("on");
    }
    // Both listen again.
    let deadline = std::time::Instant::now() + PATIENCE;
    while engine.ask("PUBSUB NUMSUB s3proxy:messages") != "*2\r\n$16\r\ns3proxy:messages\r\n:2\r\n"
    {
        assert!(std::time::Instant::now() < deadline, "they do not listen again");
        std::thread::sleep(Duration::from_millis(10));
    }
}
