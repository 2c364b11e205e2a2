//! Engines behind TLS, clusters, and sentinels: the one that fails is replaced, and no request fails meanwhile.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::faulty::Faulty;
use crate::shared::engine::{Engine, Sentinel};
use crate::shared::{Replica, sharing};
use crate::tally::trials;
use crate::tls::front;

/// A busy machine: programs that watch each other take their time.
const LIMIT: Duration = Duration::from_secs(90);

#[track_caller]
fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_engine_behind_tls_is_trusted_by_its_authority_alone() {
    let Some(engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let address: SocketAddr = engine.address();
    let start = |trusted: &Authority| {
        let port = front(&authority, "localhost", address);
        let file = trusted.file();
        let setup = sharing(&spy.url(), &engine)
            .env("S3PROXY_CACHE_SHARED_URL", &format!("rediss://localhost:{port}"))
            .env("S3PROXY_CACHE_SHARED_CA_FILE", file.to_str().expect("UTF-8"));
        Replica::of(setup)
    };
    let one = start(&authority);
    one.await_state("on");
    one.get("sky/a.png");
    one.await_written(1);
    let other = start(&stranger);
    other.gateway.expect_log("a warning", |line| {
        line["event"].as_str().is_some_and(|text| text.starts_with("shared cache: not used: "))
    });
    assert_eq!(other.get("sky/a.png").0, 200);
    assert_eq!(spy.count(), 2);
}

/// Two replicas in front of one store, which share the engine of this URL.
struct Pair {
    spy: Faulty,
    one: Replica,
    other: Replica,
    /// Tiles requested so far: each is another one.
    tiles: usize,
}

impl Pair {
    fn start(url: &str, engine: &Engine) -> Self {
        let spy = Faulty::spy();
        let start = || {
            let setup = sharing(&spy.url(), engine)
                .env("S3PROXY_CACHE_SHARED_URL", url)
                .tolerate("shared cache: ");
            Replica::of(setup)
        };
        let (one, other) = (start(), start());
        one.await_state("on");
        other.await_state("on");
        Self { spy, one, other, tiles: 0 }
    }

    /// Requests one more tile of the first replica, then of the other. Whether the other had it of the first.
    #[track_caller]
    fn shares(&mut self) -> bool {
        self.tiles += 1;
        let tail = format!("sky/{}.png", self.tiles);
        let before = self.spy.count();
        assert_eq!(self.one.get(&tail).0, 200, "{tail}");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(self.other.get(&tail).0, 200, "{tail}");
        self.spy.count() <= before + 1
    }

    /// Requests tiles until the replicas share again, whatever of the engine has failed: many tiles, so that
    /// each server of a cluster has some of them.
    fn await_shared_again(&mut self) {
        const TILES: usize = 40;
        let _trials = trials("requests with a failing engine", TILES);
        let mut row = 0;
        let deadline = Instant::now() + LIMIT;
        while row < TILES {
            assert!(Instant::now() < deadline, "{row} tiles shared in a row");
            row = if self.shares() { row + 1 } else { 0 };
        }
    }
}

/// A cluster of three primaries, each with a replica that can take its place.
fn cluster() -> Option<Vec<Engine>> {
    if Command::new("redis-cli").arg("--version").output().is_err() {
        eprintln!("SKIPPED: redis-cli is not installed, which makes clusters");
        return None;
    }
    let engines = (0..6).map(|_| Engine::of_cluster()).collect::<Option<Vec<_>>>()?;
    let addresses: Vec<String> = engines.iter().map(|it| it.address().to_string()).collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .expect("redis-cli runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    await_that("the cluster is complete", || {
        engines.iter().all(|engine| {
            let role = engine.ask("INFO replication");
            let is_linked = role.contains("role:master") || role.contains("master_link_status:up");
            is_linked && engine.ask("CLUSTER INFO").contains("cluster_state:ok")
        })
    });
    Some(engines)
}

#[test]
fn a_cluster_shares_and_a_fail_over_costs_no_request() {
    let Some(mut engines) = cluster() else { return };
    let hosts: Vec<String> = engines.iter().map(|it| it.address().to_string()).collect();
    let mut pair = Pair::start(&format!("redis-cluster://{}", hosts.join(",")), &engines[0]);
    pair.await_shared_again();
    // Each listens at one server of the cluster, which has the messages of all.
    pair.one.await_messages("on");
    pair.other.await_messages("on");
    let said = pair.one.admin.purge("sky/1.png");
    assert_eq!(said["replicas"]["obeyed"].as_array().map(Vec::len), Some(2), "{said}");
    let is_primary = |engine: &Engine| engine.ask("INFO replication").contains("role:master");
    let at = engines.iter().position(is_primary).expect("a primary");
    engines.remove(at).kill();
    // Requests go on from the first moment; the cluster notices within seconds.
    for _ in 0..20 {
        pair.shares();
    }
    await_that("a replica has taken its place", || {
        pair.shares();
        engines.iter().filter(|engine| is_primary(engine)).count() == 3
    });
    pair.await_shared_again();
    pair.one.await_messages("on");
    pair.other.await_messages("on");
}

#[test]
fn sentinels_name_the_primary_and_a_fail_over_costs_no_request() {
    let Some(mut primary) = Engine::start() else { return };
    let port = primary.address().port().to_string();
    let replica = Engine::start_with(&["--replicaof", "127.0.0.1", &port]).expect("it is there");
    await_that("the replica follows", || {
        replica.ask("INFO replication").contains("master_link_status:up")
    });
    let sentinel = Sentinel::of(&primary);
    await_that("the sentinel knows the replica", || {
        sentinel.ask("SENTINEL MASTER cache").contains("num-slaves\r\n$1\r\n1\r\n")
    });
    let mut pair = Pair::start(&sentinel.url(), &primary);
    pair.await_shared_again();
    pair.one.await_messages("on");
    primary.kill();
    for _ in 0..20 {
        pair.shares();
    }
    await_that("the replica has taken its place", || {
        pair.shares();
        replica.ask("INFO replication").contains("role:master")
    });
    pair.await_shared_again();
    // They listen at the new primary.
    pair.one.await_messages("on");
    pair.other.await_messages("on");
    let said = pair.other.admin.purge("sky/1.png");
    assert_eq!(said["replicas"]["missing"].as_array().map(Vec::len), Some(0), "{said}");
}
