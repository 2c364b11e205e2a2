//! The processes that a command is for: one, several, or all replicas behind a DNS name. Their answers are
//! collected side by side, so that one that is down delays the others no longer than itself.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::thread;

use crate::certificate::command_tls::CommandTls;
use crate::config::Config;

/// Requests to replicas at the same time.
const AT_ONCE: usize = 16;
/// Replicas of one name that are asked; no deployment has as many.
const MAX_REPLICAS: usize = 1024;

/// Where replicas are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replicas {
    /// `dns:NAME:PORT`: every address of the name.
    Dns { name: String, port: u16 },
    /// `ADDRESS:PORT`: one process.
    Address(SocketAddr),
}

/// One process: the name that an operator knows it by, and its addresses, which are tried in turn.
#[derive(Debug, Clone)]
pub struct Replica {
    pub label: String,
    /// The name, or the address, by which the operator asks for it: it is in its certificate.
    pub host: String,
    pub addresses: Vec<SocketAddr>,
    /// It was named by a URL with `https`.
    pub is_https: bool,
    /// `None`: it speaks no TLS.
    pub tls: Option<CommandTls>,
}

impl Replica {
    /// The admin listener of the process with this configuration, if it has one.
    #[must_use]
    pub fn own(config: &Config) -> Option<Self> {
        let files = config.admin_tls.as_ref();
        let tls = files.and_then(|files| CommandTls::to(&files.identities));
        Some(Self { tls, ..config.admin_listen?.into() })
    }
}

impl FromStr for Replicas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("dns:") {
            let (name, port) = name_and_port(name).ok_or("must be dns:NAME:PORT")?;
            return Ok(Self::Dns { name, port });
        }
        text.parse().map(Self::Address).map_err(|_| {
            "must be dns:NAME:PORT, for all addresses of a name, or ADDRESS:PORT".to_owned()
        })
    }
}

impl FromStr for Replica {
    type Err = String;

    /// `http://HOST:PORT` or `https://HOST:PORT`, with any path, or `HOST:PORT`. Resolves a name.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let place = rest.split('/').next().unwrap_or_default();
        let found = name_and_port(place).filter(|_| matches!(scheme, "" | "http" | "https"));
        let (host, port) = found.ok_or_else(|| {
            format!("{text}: must be http://HOST:PORT, https://HOST:PORT or HOST:PORT")
        })?;
        let addresses = resolve(&host, port)?;
        let is_https = scheme == "https";
        Ok(Self { label: place.to_owned(), host, addresses, is_https, tls: None })
    }
}

impl Replica {
    /// The process at this address, asked for as `host`.
    fn at(address: SocketAddr, host: String) -> Self {
        let (label, addresses) = (address.to_string(), vec![address]);
        Self { label, host, addresses, is_https: false, tls: None }
    }
}

impl From<SocketAddr> for Replica {
    fn from(address: SocketAddr) -> Self {
        Self::at(address, address.ip().to_string())
    }
}

fn name_and_port(text: &str) -> Option<(String, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    let name = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
    let is_name = !name.is_empty() && !name.contains(['/', '@', ' ', '?', '#']);
    Some((name.to_owned(), port.parse().ok().filter(|port| *port != 0)?)).filter(|_| is_name)
}

fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (name, port).to_socket_addrs();
    let found = found.map_err(|error| format!("{name}: cannot be resolved: {error}"))?;
    let mut addresses: Vec<SocketAddr> = found.take(MAX_REPLICAS).collect();
    if addresses.is_empty() {
        return Err(format!("{name}: has no address"));
    }
    let mut seen = Vec::new();
    addresses.retain(|address| {
        let is_new = !seen.contains(address);
        seen.push(*address);
        is_new
    });
    Ok(addresses)
}

/// Every replica once, sorted by address. Blocks while names are resolved.
///
/// # Errors
/// A name that cannot be resolved: without its addresses a command cannot say that it reached all.
pub fn find(places: &[Replicas]) -> Result<Vec<Replica>, String> {
    let mut found = BTreeMap::new();
    for place in places {
        match place {
            Replicas::Address(address) => {
                found.insert(*address, address.ip().to_string());
            }
            Replicas::Dns { name, port } => {
                found.extend(resolve(name, *port)?.into_iter().map(|at| (at, name.clone())));
            }
        }
    }
    Ok(found.into_iter().map(|(address, host)| Replica::at(address, host)).collect())
}

/// Does this for each replica, several at the same time; the results are in the order of the replicas.
pub fn for_each<T: Send>(replicas: &[Replica], ask: impl Fn(&Replica) -> T + Sync) -> Vec<T> {
    let mut answers = Vec::with_capacity(replicas.len());
    for group in replicas.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let ask = &ask;
            let asked: Vec<_> =
                group.iter().map(|replica| scope.spawn(move || ask(replica))).collect();
            // A thread does not panic; if it did, its replica would have no answer.
            answers.extend(asked.into_iter().filter_map(|thread| thread.join().ok()));
        });
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_replicas_are_read() {
        let dns = |name: &str, port| Ok(Replicas::Dns { name: name.to_owned(), port });
        assert_eq!("dns:s3proxy-admin:9090".parse(), dns("s3proxy-admin", 9090));
        assert_eq!("dns:[::1]:9090".parse(), dns("::1", 9090));
        let address = SocketAddr::from(([127, 0, 0, 2], 9090));
        assert_eq!("127.0.0.2:9090".parse(), Ok(Replicas::Address(address)));
        for wrong in
            ["dns:a", "dns::9090", "dns:a:0", "dns:a:x", "dns:http://a:1", "a:1", "", "dns:"]
        {
            assert!(wrong.parse::<Replicas>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls_and_addresses_name_one_process() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9090));
        for text in [
            "127.0.0.1:9090",
            "http://127.0.0.1:9090",
            "http://127.0.0.1:9090/status",
            "https://127.0.0.1:9090/status",
        ] {
            let replica: Replica = text.parse().expect("an address");
            assert_eq!(
                (replica.label.as_str(), replica.host.as_str(), replica.addresses),
                ("127.0.0.1:9090", "127.0.0.1", vec![address])
            );
            assert_eq!((replica.is_https, replica.tls.is_none()), (text.contains("https"), true));
        }
        let replica: Replica = "[::1]:9090".parse().expect("an address");
        assert_eq!((replica.label.as_str(), replica.host.as_str()), ("[::1]:9090", "::1"));
        for wrong in [
            "ftp://127.0.0.1:9090",
            "https://127.0.0.1",
            "http://127.0.0.1",
            "http://u:p@h:1/",
            "/status",
        ] {
            assert!(wrong.parse::<Replica>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_replica_is_asked_once_and_answers_keep_their_order() {
        let places = ["127.0.0.3:1", "dns:127.0.0.2:1", "127.0.0.2:1", "127.0.0.3:1"];
        let places: Vec<Replicas> = places.iter().map(|it| it.parse().expect("a place")).collect();
        let replicas = find(&places).expect("addresses");
        let labels = for_each(&replicas, |replica| replica.label.clone());
        assert_eq!(labels, ["127.0.0.2:1", "127.0.0.3:1"]);
        // Its certificate is for the name that was asked for.
        let named = find(&["dns:localhost:1".parse().expect("a place")]).expect("addresses");
        assert!(named.iter().all(|it| it.host == "localhost"), "{named:?}");
        let many: Vec<Replica> =
            (1..=40).map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into()).collect();
        let ports = for_each(&many, |replica| replica.addresses[0].port());
        assert_eq!(ports, (1..=40).collect::<Vec<_>>());
    }
}
