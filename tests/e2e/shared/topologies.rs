//! Engines behind TLS, and clusters.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::client::PATIENCE;
use crate::faulty::Faulty;
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};
use crate::tls::front;

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

/// A cluster of three primaries, each with a replica.
fn cluster() -> Option<Vec<Engine>> {
    if Command::new("redis-cli").arg("--version").output().is_err() {
        eprintln!("SKIPPED: redis-cli is not installed, which makes clusters");
        return None;
    }
    let start =
        |_| Engine::start_with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"]);
    let engines = (0..6).map(start).collect::<Option<Vec<_>>>()?;
    let addresses: Vec<String> = engines.iter().map(|it| it.address().to_string()).collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .expect("redis-cli runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let deadline = Instant::now() + PATIENCE;
    while !engines.iter().all(|it| it.ask("CLUSTER INFO").contains("cluster_state:ok")) {
        assert!(Instant::now() < deadline, "the cluster is not ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(engines)
}

#[test]
fn a_cluster_shares_and_a_fail_over_costs_no_request() {
    const TILES: usize = 30;
    let Some(mut engines) = cluster() else { return };
    let spy = Faulty::spy();
    let hosts: Vec<String> = engines.iter().map(|it| it.address().to_string()).collect();
    let url = format!("redis-cluster://{}", hosts.join(","));
    let start = || {
        let setup = sharing(&spy.url(), &engines[0])
            .env("S3PROXY_CACHE_SHARED_URL", &url)
            .tolerate("shared cache: ");
        let replica = Replica::of(setup);
        replica.await_state("on");
        replica
    };
    let (one, other) = (start(), start());
    for nth in 0..TILES {
        assert_eq!(one.get(&format!("sky/{nth}.png")).0, 200);
    }
    one.await_written(TILES as u64);
    for nth in 0..TILES {
        assert_eq!(other.get(&format!("sky/{nth}.png")).0, 200);
    }
    assert_eq!(spy.count(), TILES);
    let said = one.admin.purge("sky/0.png");
    assert_eq!(said["replicas"]["obeyed"].as_array().map(Vec::len), Some(2), "{said}");
    let primary = engines.iter_mut().find(|it| it.ask("ROLE").contains("master"));
    primary.expect("a primary").kill();
    let started = Instant::now();
    let mut nth = TILES;
    while started.elapsed() < Duration::from_secs(8) {
        assert_eq!(one.get(&format!("sky/{nth}.png")).0, 200);
        assert_eq!(other.get(&format!("sky/{}.png", nth % TILES)).0, 200);
        nth += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    one.await_state("on");
    other.await_state("on");
    let before = other.admin.number("shared_hits");
    for nth in nth..nth + TILES {
        assert_eq!(one.get(&format!("sky/{nth}.png")).0, 200);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(other.get(&format!("sky/{nth}.png")).0, 200);
    }
    assert!(other.admin.number("shared_hits") > before);
}
