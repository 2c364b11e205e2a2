//! The tier of the cache that replicas share: several gateways with a real Valkey or Redis.

mod check;
mod clocks;
mod direct;
mod engine;
mod explain;
mod faults;
mod leases;
mod model;
mod purges;
mod topologies;
mod traces;
mod values;

use std::time::{Duration, Instant};

use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::PATIENCE;
use crate::gateway::{Gateway, Setup};
use crate::shared::engine::Engine;

/// A gateway that shares its cache.
struct Replica {
    gateway: Gateway,
    admin: Admin,
}

impl Replica {
    /// A gateway in front of this store, as soon as it uses the engine.
    fn start(store: &str, engine: &Engine) -> Self {
        let replica = Self::of(sharing(store, engine));
        replica.await_state("on");
        replica
    }

    /// A gateway with these settings, which may not use the engine yet.
    fn of(setup: Setup) -> Self {
        let (setup, admin) = Admin::of(setup);
        Self { gateway: setup.start(), admin }
    }

    /// Waits until it uses the engine (`on`) or leaves it alone (`off`).
    fn await_state(&self, state: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.admin.cache()["shared"]["state"] != state {
            assert!(Instant::now() < deadline, "not {state}: {}", self.admin.cache());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until messages of other replicas come (`on`), or do not (`off`).
    #[track_caller]
    fn await_messages(&self, state: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.admin.cache()["shared"]["messages"] != state {
            assert!(Instant::now() < deadline, "not {state}: {}", self.admin.cache());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until this many values of this replica are in the engine.
    fn await_written(&self, number: u64) {
        self.admin.await_number("shared_writes", |writes| writes >= number);
    }

    /// What it answers to a request for this object: status, body and `Cache-Status`.
    fn get(&self, tail: &str) -> (u16, String, String) {
        let answer = self.gateway.object(tail);
        let status = answer.header("cache-status").unwrap_or("none").to_owned();
        (answer.status(), answer.text().to_owned(), status)
    }
}

/// A gateway in front of this store that shares its cache, and is patient on a busy machine.
fn sharing(store: &str, engine: &Engine) -> Setup {
    with_cache(store)
        .env("S3PROXY_CACHE_SHARED_URL", &engine.url())
        .env("S3PROXY_CACHE_SHARED_TIMEOUT", "1s")
}
