//! The addresses of an endpoint: names are resolved in the background, at intervals, and at once when
//! an address fails. When a look-up fails, the last successful result stays in use, so that requests
//! wait for DNS only before the first result.
//!
//! Where a proxy is on the way the addresses are those of the proxy, and the name of the store is left to it.
//!
//! Which address gets a request is decided by [`crate::upstream::turns`].

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{info, warn};
use tokio::sync::{Notify, watch};

use crate::response::refusal::Refusal;
use crate::s3::endpoint::Endpoint;
use crate::s3::proxy::Proxy;
use crate::upstream::health::{Change, Fault};
use crate::upstream::retry::AttemptFailure;
use crate::upstream::tunnel::Tunnel;
use crate::upstream::turns::{AddressChange, AddressReport, Chosen, Turns};

/// The time to the next look-up after one has failed, while no address is known.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// The shortest time between two look-ups of a name.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Counts the ways whose connections are never exchanged with those of another: through proxies, even where
/// the proxy is the same, and with TLS of one store.
static SCOPES: AtomicU64 = AtomicU64::new(1);

/// The addresses of one endpoint, or of the proxy on the way to it.
#[derive(Debug)]
pub struct EndpointAddresses {
    host: String,
    port: u16,
    is_literal: bool,
    known: watch::Sender<NameLookup>,
    turns: Mutex<Turns>,
    /// Notified when the addresses do not work: the name may have moved.
    wanted: Notify,
    tunnel: Option<Tunnel>,
    /// The upper half of the keys of its connections in a pool.
    scope: u64,
}

/// The look-ups of a name so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameLookup {
    Pending,
    Failed,
    Known,
}

impl EndpointAddresses {
    /// Addresses of an endpoint: known at once where the host is an address itself.
    #[must_use]
    pub fn new(endpoint: &Endpoint, proxy: Option<&Proxy>) -> Self {
        let (host, port) = match proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&endpoint.host, endpoint.port),
        };
        let scope = proxy.map_or(0, |_| SCOPES.fetch_add(1, Ordering::Relaxed));
        let literal = host.parse::<IpAddr>().ok();
        let sockets: Vec<_> = literal.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        let lookup = if literal.is_some() { NameLookup::Known } else { NameLookup::Pending };
        Self {
            host: host.clone(),
            port,
            is_literal: literal.is_some(),
            known: watch::Sender::new(lookup),
            turns: Mutex::new(Turns::new(&sockets)),
            wanted: Notify::new(),
            tunnel: proxy.map(|proxy| Tunnel::new(proxy, endpoint)),
            scope,
        }
    }

    /// The addresses of a name that resolved to these, in this order.
    #[cfg(test)]
    pub(crate) fn known(sockets: &[SocketAddr]) -> Self {
        Self {
            host: "name.invalid".to_owned(),
            port: 9000,
            is_literal: false,
            known: watch::Sender::new(NameLookup::Known),
            turns: Mutex::new(Turns::new(sockets)),
            wanted: Notify::new(),
            tunnel: None,
            scope: 0,
        }
    }

    /// The same, whose connections are exchanged with those of no other: they trust other authorities, or
    /// present another certificate.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { scope: SCOPES.fetch_add(1, Ordering::Relaxed), ..self }
    }

    /// The tunnel to open over a new connection to one of the addresses.
    #[must_use]
    pub fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.as_ref()
    }

    /// The key of connections to this address in a pool, besides those that Pingora forms.
    #[must_use]
    pub fn pool_key(&self, chosen: Chosen) -> u64 {
        // Below half of the range, which belongs to connections that are never pooled.
        (self.scope & 0x3fff_ffff) << 32 | chosen.group.key() & 0xffff_ffff
    }

    /// The refusal where the name does not resolve.
    #[must_use]
    pub fn unresolved(&self) -> Refusal {
        match self.tunnel {
            Some(_) => Refusal::UpstreamProxy,
            None => Refusal::UpstreamUnresolved,
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the next attempt of a request goes that has tried these addresses. Waits at most
    /// `timeout`, and only for the first look-up.
    pub async fn pick(&self, tried: &[SocketAddr], timeout: Duration) -> Option<Chosen> {
        if *self.known.borrow() != NameLookup::Known {
            let mut watcher = self.known.subscribe();
            let answered = watcher.wait_for(|lookup| *lookup != NameLookup::Pending);
            let lookup = *tokio::time::timeout(timeout, answered).await.ok()?.ok()?;
            if lookup != NameLookup::Known {
                return None;
            }
        }
        let chosen = self.turns().choose(tried, Instant::now());
        if chosen.is_some_and(|chosen| !chosen.is_usable) {
            self.ask_for_look_up();
        }
        chosen
    }

    /// An address that was not tried, if there is one.
    pub(super) fn pick_untried(&self, tried: &[SocketAddr]) -> Option<SocketAddr> {
        self.turns().choose_untried(tried, Instant::now()).map(|chosen| chosen.address)
    }

    /// A request goes to this address, which was not chosen by [`EndpointAddresses::pick`].
    #[must_use]
    pub fn begin(&self, address: SocketAddr) -> Chosen {
        let chosen = self.turns().begin(address, Instant::now());
        chosen.unwrap_or_else(|| Chosen::unknown(address))
    }

    /// Whether the name has an address besides these.
    #[must_use]
    pub fn has_other(&self, tried: &[SocketAddr]) -> bool {
        self.turns().has_other(tried)
    }

    /// A connection to this address came about.
    pub(super) fn connected(&self, address: SocketAddr) {
        let changes = self.turns().connected(address, Instant::now());
        for change in changes {
            self.log(change, true);
        }
    }

    /// The head of an answer came. `is_error`: 500, 502, 503 or 504.
    pub fn answered(&self, from: Chosen, is_error: bool) {
        let mut turns = self.turns();
        let change = turns.answered(from, is_error, Instant::now());
        let has_others = turns.len() > 1;
        drop(turns);
        if let Some(change) = change {
            self.log(change, has_others);
        }
    }

    /// A request to this address failed that was sent at this time. Asks for a look-up: the name may
    /// have moved.
    pub fn failed(&self, address: SocketAddr, fault: Fault, sent: Instant) {
        let mut turns = self.turns();
        let change = turns.failed(address, fault, sent, Instant::now());
        let has_others = turns.len() > 1;
        drop(turns);
        if let Some(change) = change {
            self.log(change, has_others);
        }
        self.ask_for_look_up();
    }

    /// An attempt failed that was made at this time. `reused`: on a connection that was idle before.
    pub fn attempt_failed(
        &self,
        at: Chosen,
        failure: &AttemptFailure,
        reused: bool,
        sent: Instant,
    ) {
        if failure.discredits_pool(reused) {
            self.turns().connection_died(at, Instant::now());
            self.ask_for_look_up();
        }
        if let Some(fault) = failure.fault() {
            self.failed(at.address, fault, sent);
        }
    }

    /// Has the name looked up as soon as its last look-up is [`SHORTEST_PAUSE`] ago.
    pub(super) fn ask_for_look_up(&self) {
        if !self.is_literal {
            self.wanted.notify_one();
        }
    }

    /// What an operator sees of each address.
    #[must_use]
    pub fn report(&self) -> Vec<AddressReport> {
        self.turns().report(Instant::now())
    }

    /// With one address there is no choice, and the lines of the requests say all.
    fn log(&self, AddressChange { address, change }: AddressChange, has_others: bool) {
        if !has_others {
            return;
        }
        match change {
            Change::PassedOver { fault, time } => warn!(
                "store {}: address {address} is passed over for {} s: {}",
                self.host,
                time.as_secs(),
                fault.as_str()
            ),
            Change::Healthy => info!("store {}: address {address} answers again", self.host),
        }
    }

    /// Looks the name up at this interval, and when an address fails, until it is dropped. Returns at
    /// once for literal addresses.
    pub async fn keep_fresh(&self, every: Duration) {
        if self.is_literal {
            return;
        }
        let mut failing = false;
        loop {
            match self.look_up().await {
                Ok(sockets) => {
                    if failing {
                        info!("name {} resolves again", self.host);
                    }
                    failing = false;
                    self.publish(&sockets);
                }
                Err(error) => {
                    if !failing {
                        warn!("name {} does not resolve: {error}", self.host);
                    }
                    failing = true;
                    self.known.send_if_modified(|lookup| {
                        let first = *lookup == NameLookup::Pending;
                        if first {
                            *lookup = NameLookup::Failed;
                        }
                        first
                    });
                }
            }
            let unknown = *self.known.borrow() != NameLookup::Known;
            let pause = if unknown { RETRY_AFTER_FAILURE } else { every };
            tokio::time::sleep(pause.min(SHORTEST_PAUSE)).await;
            tokio::select! {
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(pause.saturating_sub(SHORTEST_PAUSE)) => {}
            }
        }
    }

    async fn look_up(&self) -> std::io::Result<Vec<SocketAddr>> {
        let mut sockets: Vec<SocketAddr> =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        let mut seen = std::collections::HashSet::new();
        sockets.retain(|socket| seen.insert(*socket));
        if sockets.is_empty() {
            return Err(std::io::Error::other("the answer holds no address"));
        }
        Ok(sockets)
    }

    /// Replaces the addresses. Those that stay keep their health.
    fn publish(&self, sockets: &[SocketAddr]) {
        let is_first = *self.known.borrow() != NameLookup::Known;
        if self.turns().replace(sockets) && !is_first {
            let shown: Vec<String> = sockets.iter().map(SocketAddr::to_string).collect();
            info!("name {} resolves to other addresses: {}", self.host, shown.join(", "));
        }
        self.known.send_replace(NameLookup::Known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(sockets: &[&str]) -> EndpointAddresses {
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.parse().unwrap()).collect();
        EndpointAddresses::known(&sockets)
    }

    async fn pick(addresses: &EndpointAddresses, tried: &[&str]) -> String {
        let tried: Vec<_> = tried.iter().map(|socket| socket.parse().unwrap()).collect();
        addresses.pick(&tried, Duration::ZERO).await.unwrap().address.to_string()
    }

    #[tokio::test]
    async fn literal_addresses_need_no_lookup() {
        for (url, socket) in
            [("http://127.0.0.1:7480", "127.0.0.1:7480"), ("https://[::1]", "[::1]:443")]
        {
            let addresses = EndpointAddresses::new(&Endpoint::parse(url).unwrap(), None);
            assert_eq!(pick(&addresses, &[]).await, socket);
        }
    }

    #[tokio::test]
    async fn the_addresses_of_a_way_through_a_proxy_are_those_of_the_proxy() {
        let proxy = Proxy::parse("http://127.0.0.1:3128").unwrap();
        let endpoint = Endpoint::parse("https://nonexistent.invalid").unwrap();
        let ways = [0, 1].map(|_| EndpointAddresses::new(&endpoint, Some(&proxy)));
        for addresses in &ways {
            assert_eq!(pick(addresses, &[]).await, "127.0.0.1:3128");
            assert_eq!(addresses.tunnel().unwrap().target, "nonexistent.invalid:443");
        }
        let chosen = Chosen::unknown("127.0.0.1:3128".parse().unwrap());
        let direct = EndpointAddresses::new(&endpoint, None);
        let keys = [&ways[0], &ways[1], &direct].map(|way| way.pool_key(chosen));
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2], "{keys:?}");
    }

    #[tokio::test]
    async fn addresses_take_turns_and_a_failed_one_is_passed_over() {
        let addresses = addresses(&["10.0.0.1:1", "10.0.0.2:1"]);
        let first = pick(&addresses, &[]).await;
        let second = pick(&addresses, &[]).await;
        assert_ne!(first, second);
        addresses.failed(first.parse().unwrap(), Fault::Connection, Instant::now());
        for _ in 0..4 {
            assert_eq!(pick(&addresses, &[]).await, second);
        }
        assert_eq!(pick(&addresses, &[&second]).await, first, "the only other one is tried");
    }

    #[tokio::test]
    async fn a_single_address_is_tried_again_after_any_failure() {
        let addresses = addresses(&["10.0.0.1:1"]);
        addresses.failed("10.0.0.1:1".parse().unwrap(), Fault::Late, Instant::now());
        assert_eq!(pick(&addresses, &["10.0.0.1:1"]).await, "10.0.0.1:1");
    }

    #[tokio::test]
    async fn a_name_without_a_look_up_gives_no_address_in_time() {
        let endpoint = Endpoint::parse("http://name.invalid").unwrap();
        let addresses = EndpointAddresses::new(&endpoint, None);
        assert_eq!(addresses.pick(&[], Duration::from_millis(1)).await, None);
    }

    #[tokio::test]
    async fn a_new_answer_replaces_the_addresses() {
        let addresses = addresses(&["10.0.0.1:1"]);
        addresses.publish(&["10.0.0.9:1".parse().unwrap()]);
        assert_eq!(pick(&addresses, &[]).await, "10.0.0.9:1");
    }

    #[tokio::test]
    async fn a_failed_address_has_the_name_looked_up_at_once_but_not_twice_a_second() {
        let endpoint = Endpoint::parse("http://localhost:9000").unwrap();
        let addresses = EndpointAddresses::new(&endpoint, None);
        let stale: SocketAddr = "10.0.0.1:9000".parse().unwrap();
        let asked_again = async {
            let mut looked_up = addresses.known.subscribe();
            looked_up.changed().await.unwrap();
            let since = Instant::now();
            addresses.turns().replace(&[stale]);
            addresses.failed(stale, Fault::Connection, since);
            looked_up.changed().await.unwrap();
            assert!(since.elapsed() >= SHORTEST_PAUSE.mul_f32(0.9), "{:?}", since.elapsed());
            assert!(addresses.has_other(&[stale]), "the new addresses are known");
        };
        let hour = Duration::from_secs(3600);
        tokio::select! {
            () = addresses.keep_fresh(hour) => unreachable!("it never ends"),
            () = asked_again => {}
        }
    }
}
