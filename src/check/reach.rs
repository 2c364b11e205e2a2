//! The way to a store, step by step: its name, its port, its certificate.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use pingora::Error;
use pingora::connectors::TransportConnector;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::check::deadline::Deadline;
use crate::check::report::{CheckStep, Finding};
use crate::check::request::Asker;
use crate::check::transport::{judge_connect, judge_lookup, judge_tls, judge_tunnel};
use crate::config::UpstreamConfig;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::{Endpoint, Target};
use crate::upstream::error::of_connect;
use crate::upstream::peer_tls::PeerTls;
use crate::upstream::tunnel::Tunnel;

/// How many of a name's addresses are tried.
const MAX_ADDRESSES: usize = 8;

/// The steps to a store, and the address for requests, or the refusal that requests get.
pub(super) struct Reached {
    pub steps: Vec<CheckStep>,
    pub socket: Result<SocketAddr, Refusal>,
    /// All addresses that accept connections.
    pub accepting: Vec<SocketAddr>,
}

impl Reached {
    /// An address for the next attempt: one that was not tried, or else another than before.
    pub(super) fn next_address(&self, tried: &[SocketAddr]) -> Result<SocketAddr, Refusal> {
        let first = self.socket.clone()?;
        if tried.is_empty() {
            return Ok(first);
        }
        let last = tried.last();
        let untried = self.accepting.iter().find(|address| !tried.contains(address));
        let other = || self.accepting.iter().find(|address| Some(*address) != last);
        Ok(untried.or_else(other).copied().unwrap_or(first))
    }

    /// Whether an address accepts connections that was not tried.
    pub(super) fn has_untried(&self, tried: &[SocketAddr]) -> bool {
        self.accepting.iter().any(|address| !tried.contains(address))
    }
}

/// Looks the endpoint's name up, connects to its addresses, and speaks TLS with one of them.
/// `target` holds the name the certificate is checked for. Where a proxy is on the way, name and addresses are
/// those of the proxy, and it is asked for a tunnel.
pub(super) async fn reach(
    endpoint: &Endpoint,
    target: &Target,
    tunnel: Option<&Tunnel>,
    peer_tls: Option<&PeerTls>,
    connector: Option<&TransportConnector>,
    upstream: &UpstreamConfig,
    deadline: Deadline,
) -> Reached {
    let mut steps = Vec::new();
    let started = Instant::now();
    let (host, port) = match tunnel {
        Some(tunnel) => (tunnel.proxy.host.as_str(), tunnel.proxy.port),
        None => (endpoint.host.as_str(), endpoint.port),
    };
    let found = resolve(host, port, deadline.at_most(upstream.connect_timeout)).await;
    let took = started.elapsed();
    let finding = judge_lookup(host, found.as_deref()).of_proxy(tunnel);
    steps.push(CheckStep::timed("dns", finding, took));
    let sockets = match found {
        Ok(sockets) => sockets,
        Err(_) => {
            let refusal = tunnel.map_or(Refusal::UpstreamUnresolved, |_| Refusal::UpstreamProxy);
            return given_up(steps, &["tcp", "tls"], refusal);
        }
    };

    let started = Instant::now();
    let connects = connect_all(sockets, deadline.at_most(upstream.connect_timeout)).await;
    let finding = judge_connect(&connects).of_proxy(tunnel);
    steps.push(CheckStep::timed("tcp", finding, started.elapsed()));
    let accepting: Vec<SocketAddr> =
        connects.iter().filter_map(|(socket, result)| result.is_ok().then_some(*socket)).collect();
    let Some(socket) = accepting.first().copied() else {
        let in_time = connects.iter().any(|(_, result)| {
            result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::TimedOut)
        });
        let refusal = match tunnel {
            _ if !in_time => Refusal::UpstreamTimeout,
            Some(_) => Refusal::UpstreamProxy,
            None => Refusal::UpstreamUnreachable,
        };
        return given_up(steps, &["tls"], refusal);
    };
    if let Some(tunnel) = tunnel {
        let started = Instant::now();
        let limit = deadline.at_most(upstream.connect_timeout);
        let opened = tunnel.connect(socket, limit).await;
        let failure = opened.err().map(|error| (of_connect(&error), reason(&error)));
        let judged = failure.as_ref().map(|(failure, why)| (failure, why.clone()));
        let finding = judge_tunnel(tunnel, judged);
        steps.push(CheckStep::timed("proxy", finding, started.elapsed()));
        if let Some((failure, _)) = failure {
            return given_up(steps, &["tls"], failure.refusal());
        }
    }

    if !endpoint.tls {
        steps.push(CheckStep::new("tls", Finding::skipped("the endpoint is plain HTTP")));
        return Reached { steps, socket: Ok(socket), accepting };
    }
    let Some(connector) = connector else {
        return given_up(steps, &["tls"], Refusal::UpstreamUnreachable);
    };
    let asker = Asker { connector, socket, tunnel, tls: true, peer_tls, upstream, deadline };
    let started = Instant::now();
    let secured = asker.secure(target).await;
    let took = started.elapsed();
    let (finding, socket) = match secured {
        Ok(protocol) => {
            let name = &target.server_name;
            let detail = format!("{protocol}, with a trusted certificate for {name}");
            (Finding::ok(detail), Ok(socket))
        }
        Err(error) => {
            let plain = error.may_be_no_tls() && asker.speaks_plain_http(target).await;
            let refusal = error.refusal();
            (judge_tls(&error.to_string(), plain, &target.server_name), Err(refusal))
        }
    };
    steps.push(CheckStep::timed("tls", finding, took));
    Reached { steps, socket, accepting }
}

/// What an error says, without its kind.
fn reason(error: &Error) -> String {
    let context = error.context.as_ref().map(|context| context.as_str().to_owned());
    context.unwrap_or_else(|| error.to_string())
}

fn given_up(mut steps: Vec<CheckStep>, left: &[&'static str], refusal: Refusal) -> Reached {
    let skipped = || Finding::skipped("not reached");
    steps.extend(left.iter().map(|name| CheckStep::new(name, skipped())));
    Reached { steps, socket: Err(refusal), accepting: Vec::new() }
}

/// The addresses of a name, each once. The lookup runs on a detached thread: a name server
/// that never answers delays neither the check nor its end.
async fn resolve(host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (sender, receiver) = oneshot::channel();
    let host = host.to_owned();
    std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        let _check_is_over = sender.send(found);
    })?;
    let found = match tokio::time::timeout(limit, receiver).await {
        Ok(Ok(found)) => found?,
        Ok(Err(_)) => return Err(io::Error::other("the lookup ended without an answer")),
        Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut)),
    };
    let mut sockets: Vec<SocketAddr> = Vec::new();
    for socket in found {
        if !sockets.contains(&socket) {
            sockets.push(socket);
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::other("the answer has no address"));
    }
    Ok(sockets)
}

/// Connects to all addresses at the same time. The results are in the order of the addresses.
async fn connect_all(
    sockets: Vec<SocketAddr>,
    limit: Duration,
) -> Vec<(SocketAddr, io::Result<()>)> {
    let mut tasks = JoinSet::new();
    for (turn, socket) in sockets.into_iter().take(MAX_ADDRESSES).enumerate() {
        tasks.spawn(async move {
            let connected = tokio::time::timeout(limit, TcpStream::connect(socket)).await;
            let result = match connected {
                Ok(result) => result.map(drop),
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            };
            (turn, socket, result)
        });
    }
    let mut connects = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        connects.extend(joined);
    }
    connects.sort_by_key(|(turn, ..)| *turn);
    connects.into_iter().map(|(_, socket, result)| (socket, result)).collect()
}
