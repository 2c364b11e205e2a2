//! Many concurrent clients of a cache, and a check that the gateway has read all their requests.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{self, Client, PATIENCE};
use crate::gateway::{Gateway, Setup, free_port};

/// A gateway and the counters of its cache.
pub(crate) struct Watched {
    pub(crate) gateway: Gateway,
    admin: SocketAddr,
}

impl Watched {
    pub(crate) fn start(setup: Setup) -> Self {
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let gateway = setup.env("S3PROXY_ADMIN_LISTEN", &admin.to_string()).start();
        // The admin listener starts beside the public one, and may be ready a moment later.
        await_that("the admin listener is there", || TcpStream::connect(admin).is_ok());
        Self { gateway, admin }
    }

    /// `GET /cache`.
    pub(crate) fn counters(&self) -> Value {
        client::send(self.admin, "GET", "/cache", &[]).json()
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counters = self.counters();
        counters[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counters}"))
    }

    /// `GET /metrics`.
    pub(crate) fn scrape(&self) -> String {
        let answer = client::send(self.admin, "GET", "/metrics", &[]);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.text().to_owned()
    }

    /// Purges an object or a prefix.
    pub(crate) fn purge(&self, target: &str) {
        let answer = client::send(self.admin, "PURGE", target, &[]);
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }

    /// The number of a metric, by name and labels as written in the scrape.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let scraped = self.scrape();
        let value = scraped.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {name} in {scraped}"));
        value.parse().unwrap_or_else(|error| panic!("{name} {value}: {error}"))
    }

    /// Waits until no fetch is in flight, of an object or of a block.
    pub(crate) fn await_fetches_done(&self) {
        await_that("no fetch is in flight", || {
            let counters = self.counters();
            counters["fetches_under_way"] == 0 && counters["blocks_under_way"] == 0
        });
    }
}

/// Polls until the condition holds.
pub(crate) fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Connects this number of clients.
pub(crate) fn connect(gateway: &Gateway, clients: usize) -> Vec<Client> {
    (0..clients).map(|_| gateway.connect()).collect()
}

/// Waits until the gateway has read everything sent on this number of open connections: no byte is
/// left in the kernel. A request after that arrives while the gateway works on them.
pub(crate) fn await_requests_read(gateway: &Gateway, connections: usize) {
    await_that("the gateway has read every request", || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the sockets of this machine");
        let unread: Vec<bool> = table.lines().filter_map(|line| unread(line, gateway)).collect();
        unread.len() >= connections && !unread.contains(&true)
    });
    for _ in 0..4 {
        assert_eq!(gateway.get("/").status(), 200);
    }
}

/// Whether bytes wait to be read by the gateway on an open connection.
fn unread(line: &str, gateway: &Gateway) -> Option<bool> {
    const ESTABLISHED: &str = "01";
    let mut columns = line.split_whitespace().skip(1);
    let (local, _remote, state) = (columns.next()?, columns.next()?, columns.next()?);
    let (_, port) = local.split_once(':')?;
    let (_, received) = columns.next()?.split_once(':')?;
    let ours = u16::from_str_radix(port, 16).ok()? == gateway.address.port();
    (ours && state == ESTABLISHED).then(|| received.bytes().any(|digit| digit != b'0'))
}

/// `length` bytes of which no sequence repeats within a short distance.
pub(crate) fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i / 251 + i) % 251).expect("below 251")).collect()
}
