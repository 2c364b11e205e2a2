//! Resolves the host names of endpoints in the background, at intervals. When a lookup fails, the last
//! successful result stays in use, so that requests wait for DNS only before the first result.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::{info, warn};
use tokio::sync::watch;

use crate::s3::endpoint::Endpoint;

/// How long a penalised address is passed over while others are left.
const PENALTY: Duration = Duration::from_secs(30);

/// The time to the next look-up after one has failed, while no address is known.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// The addresses of one endpoint.
#[derive(Debug)]
pub struct EndpointAddresses {
    host: String,
    port: u16,
    known: watch::Sender<NameLookup>,
    /// Counts requests: each takes the next address, so that all get their share.
    turn: AtomicUsize,
    started: Instant,
}

/// The look-ups of a name so far.
#[derive(Debug, Clone)]
enum NameLookup {
    Pending,
    Failed,
    Known(Arc<Vec<Address>>),
}

/// One address, and the end of its penalty in milliseconds since start.
#[derive(Debug)]
struct Address {
    socket: SocketAddr,
    penalised_until: AtomicU64,
}

impl Address {
    fn new(socket: SocketAddr) -> Self {
        Self { socket, penalised_until: AtomicU64::new(0) }
    }
}

impl EndpointAddresses {
    /// Addresses of an endpoint: known at once where the host is an address itself.
    #[must_use]
    pub fn new(endpoint: &Endpoint) -> Self {
        let lookup = match endpoint.host.parse::<IpAddr>() {
            Ok(ip) => {
                let address = Address::new(SocketAddr::new(ip, endpoint.port));
                NameLookup::Known(Arc::new(vec![address]))
            }
            Err(_) => NameLookup::Pending,
        };
        Self {
            host: endpoint.host.clone(),
            port: endpoint.port,
            known: watch::Sender::new(lookup),
            turn: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    /// The addresses of a name that resolved to these, in this order.
    #[cfg(test)]
    pub(crate) fn known(sockets: &[SocketAddr]) -> Self {
        let addresses = sockets.iter().map(|socket| Address::new(*socket)).collect();
        Self {
            host: "name.invalid".to_owned(),
            port: 9000,
            known: watch::Sender::new(NameLookup::Known(Arc::new(addresses))),
            turn: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    /// An address to connect to, other than `except` where there is another. Waits at most `timeout`,
    /// and only for the first look-up.
    pub async fn pick(&self, except: Option<SocketAddr>, timeout: Duration) -> Option<SocketAddr> {
        if let NameLookup::Known(addresses) = &*self.known.borrow() {
            return Some(self.choose(addresses, except));
        }
        let mut watcher = self.known.subscribe();
        let answered = watcher.wait_for(|lookup| !matches!(lookup, NameLookup::Pending));
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(lookup)) => match &*lookup {
                NameLookup::Known(addresses) => Some(self.choose(addresses, except)),
                NameLookup::Pending | NameLookup::Failed => None,
            },
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Whether the name has one address only.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(&*self.known.borrow(), NameLookup::Known(addresses) if addresses.len() < 2)
    }

    /// Passes over this address for a while: it gave no connection or no answer.
    pub fn penalise(&self, socket: SocketAddr) {
        if let NameLookup::Known(addresses) = &*self.known.borrow() {
            let until = self.elapsed_millis(PENALTY);
            for address in addresses.iter().filter(|address| address.socket == socket) {
                address.penalised_until.store(until, Ordering::Relaxed);
            }
        }
    }

    fn choose(&self, addresses: &[Address], except: Option<SocketAddr>) -> SocketAddr {
        let now = self.elapsed_millis(Duration::ZERO);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || {
            let start = turn.checked_rem(addresses.len()).unwrap_or(0);
            addresses.iter().cycle().skip(start).take(addresses.len())
        };
        let fresh = |address: &&Address| {
            Some(address.socket) != except && address.penalised_until.load(Ordering::Relaxed) <= now
        };
        // After a failure the other family first: often a whole family has no route.
        let other_family = |address: &&Address| {
            except.is_some_and(|failed| failed.is_ipv4() != address.socket.is_ipv4())
        };
        in_turn()
            .filter(fresh)
            .find(other_family)
            .or_else(|| in_turn().find(fresh))
            .or_else(|| in_turn().find(|address| Some(address.socket) != except))
            .or_else(|| addresses.first())
            .map_or_else(|| SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0), |a| a.socket)
    }

    fn elapsed_millis(&self, plus: Duration) -> u64 {
        u64::try_from((self.started.elapsed() + plus).as_millis()).unwrap_or(u64::MAX)
    }

    /// Looks the name up at this interval until it is dropped. Returns at once for literal addresses.
    pub async fn keep_fresh(&self, every: Duration) {
        if self.host.parse::<IpAddr>().is_ok() {
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
                    self.publish(sockets);
                }
                Err(error) => {
                    if !failing {
                        warn!("name {} does not resolve: {error}", self.host);
                    }
                    failing = true;
                    self.known.send_if_modified(|lookup| {
                        let first = matches!(lookup, NameLookup::Pending);
                        if first {
                            *lookup = NameLookup::Failed;
                        }
                        first
                    });
                }
            }
            let unknown = !matches!(&*self.known.borrow(), NameLookup::Known(_));
            tokio::time::sleep(if unknown { RETRY_AFTER_FAILURE } else { every }).await;
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

    /// Replaces the addresses. Those that stay keep their penalties.
    fn publish(&self, sockets: Vec<SocketAddr>) {
        self.known.send_if_modified(|lookup| {
            let old = match lookup {
                NameLookup::Known(addresses) => Arc::clone(addresses),
                NameLookup::Pending | NameLookup::Failed => Arc::new(Vec::new()),
            };
            let unchanged = old.len() == sockets.len()
                && old.iter().all(|address| sockets.contains(&address.socket));
            if unchanged {
                return false;
            }
            let addresses = sockets.into_iter().map(|socket| {
                let address = Address::new(socket);
                if let Some(before) = old.iter().find(|address| address.socket == socket) {
                    let until = before.penalised_until.load(Ordering::Relaxed);
                    address.penalised_until.store(until, Ordering::Relaxed);
                }
                address
            });
            *lookup = NameLookup::Known(Arc::new(addresses.collect()));
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(sockets: &[&str]) -> EndpointAddresses {
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.parse().unwrap()).collect();
        EndpointAddresses::known(&sockets)
    }

    async fn pick(addresses: &EndpointAddresses, except: Option<&str>) -> String {
        let except = except.map(|socket| socket.parse().unwrap());
        addresses.pick(except, Duration::ZERO).await.unwrap().to_string()
    }

    #[tokio::test]
    async fn literal_addresses_need_no_lookup() {
        for (url, socket) in
            [("http://127.0.0.1:7480", "127.0.0.1:7480"), ("https://[::1]", "[::1]:443")]
        {
            let addresses = EndpointAddresses::new(&Endpoint::parse(url).unwrap());
            assert_eq!(pick(&addresses, None).await, socket);
        }
    }

    #[tokio::test]
    async fn addresses_take_turns_and_a_failed_one_is_passed_over() {
        let addresses = addresses(&["10.0.0.1:1", "10.0.0.2:1"]);
        let first = pick(&addresses, None).await;
        let second = pick(&addresses, None).await;
        assert_ne!(first, second);
        addresses.penalise(first.parse().unwrap());
        for _ in 0..4 {
            assert_eq!(pick(&addresses, None).await, second);
        }
        assert_eq!(pick(&addresses, Some(&second)).await, first, "the only other one is tried");
    }

    #[tokio::test]
    async fn after_a_failure_the_other_family_comes_first() {
        let addresses = addresses(&["[2001:db8::1]:1", "[2001:db8::2]:1", "10.0.0.1:1"]);
        for _ in 0..6 {
            assert_eq!(pick(&addresses, Some("[2001:db8::1]:1")).await, "10.0.0.1:1");
        }
    }

    #[tokio::test]
    async fn a_single_address_is_tried_again_after_any_failure() {
        let addresses = addresses(&["10.0.0.1:1"]);
        addresses.penalise("10.0.0.1:1".parse().unwrap());
        assert_eq!(pick(&addresses, Some("10.0.0.1:1")).await, "10.0.0.1:1");
    }

    #[tokio::test]
    async fn a_name_without_a_look_up_gives_no_address_in_time() {
        let endpoint = Endpoint::parse("http://name.invalid").unwrap();
        let addresses = EndpointAddresses::new(&endpoint);
        assert_eq!(addresses.pick(None, Duration::from_millis(1)).await, None);
    }

    #[tokio::test]
    async fn a_new_answer_replaces_the_addresses() {
        let addresses = addresses(&["10.0.0.1:1"]);
        addresses.publish(vec!["10.0.0.9:1".parse().unwrap()]);
        assert_eq!(pick(&addresses, None).await, "10.0.0.9:1");
    }
}
