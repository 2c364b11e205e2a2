//! A new connection to one of a name's addresses, by the rules of RFC 8305, section 5: if one address
//! does not answer within [`HEAD_START`] the next one is tried beside it, and the first connection
//! wins. A refused address has the next one tried at once. Nothing is sent before the winner is known,
//! so that no address counts as a retry.
//!
//! Addresses that give no connection, or only a slow one, are passed over for a while
//! ([`crate::upstream::health`]). Addresses of a look-up that ends meanwhile take part.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::{Error, ErrorType, Result};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::upstream::health::Fault;
use crate::upstream::resolve::EndpointAddresses;
use crate::upstream::retry::MAX_ADDRESSES;

/// How long an address may take to connect before the next one is tried, too (RFC 8305, section 8).
pub const HEAD_START: Duration = Duration::from_millis(250);

/// The connections of one attempt that are tried.
struct Race<'a> {
    addresses: &'a EndpointAddresses,
    tried: &'a mut Vec<SocketAddr>,
    /// Those whose connection is awaited.
    pending: Vec<SocketAddr>,
    running: JoinSet<(SocketAddr, io::Result<TcpStream>)>,
    started: Instant,
}

impl Race<'_> {
    fn start(&mut self, address: SocketAddr) {
        if !self.tried.contains(&address) {
            self.tried.push(address);
        }
        self.pending.push(address);
        self.running.spawn(async move { (address, TcpStream::connect(address).await) });
    }

    /// Tries the next address; false if there is none.
    fn start_next(&mut self) -> bool {
        if self.tried.len() >= MAX_ADDRESSES {
            return false;
        }
        let next = self.addresses.pick_untried(self.tried);
        if let Some(next) = next {
            self.start(next);
        }
        next.is_some()
    }

    fn pending_failed(&mut self, fault: Fault) {
        for address in self.pending.drain(..) {
            self.addresses.failed(address, fault, self.started);
        }
    }

    /// The first connection.
    async fn run(&mut self, limit: Duration) -> Result<(SocketAddr, TcpStream)> {
        let over = tokio::time::Instant::now() + limit;
        loop {
            tokio::select! {
                Some(done) = self.running.join_next() => match done {
                    Ok((address, Ok(stream))) => {
                        self.addresses.connected(address);
                        return Ok((address, stream));
                    }
                    Ok((address, Err(error))) => {
                        self.pending.retain(|pending| *pending != address);
                        self.addresses.failed(address, Fault::Connection, self.started);
                        if !self.start_next() && self.running.is_empty() {
                            return Err(no_connection(address, error));
                        }
                    }
                    Err(error) => {
                        let why = "a connection could not be tried";
                        return Err(Error::because(ErrorType::ConnectError, why, error));
                    }
                },
                () = tokio::time::sleep(HEAD_START) => {
                    // A connection may also be slow because the name has moved.
                    self.addresses.ask_for_look_up();
                    let slow = self.pending.len();
                    if self.start_next() {
                        let next = self.pending.split_off(slow);
                        self.pending_failed(Fault::SlowConnection);
                        self.pending = next;
                    }
                }
                () = tokio::time::sleep_until(over) => {
                    self.pending_failed(Fault::Connection);
                    let why = format!("no connection within {} ms", limit.as_millis());
                    return Err(Error::explain(ErrorType::ConnectTimedout, why));
                }
            }
        }
    }
}

/// A connection to `first`, or to another address that `tried` does not hold, within `limit`. Adds the
/// addresses it tries to `tried`.
///
/// # Errors
/// When no address gives a connection in time, or a proxy no tunnel.
pub async fn dial(
    addresses: &EndpointAddresses,
    first: SocketAddr,
    tried: &mut Vec<SocketAddr>,
    limit: Duration,
) -> Result<(SocketAddr, TcpStream)> {
    let (pending, running) = (Vec::new(), JoinSet::new());
    let started = Instant::now();
    let mut race = Race { addresses, tried, pending, running, started };
    race.start(first);
    let dialed = race.run(limit).await;
    let Some(tunnel) = addresses.tunnel() else { return dialed };
    let (address, stream) = dialed.map_err(|error| tunnel.unreachable(error))?;
    let stream = tunnel.open(stream, limit.saturating_sub(started.elapsed())).await?;
    Ok((address, stream))
}

/// The error of a connection that did not come about.
pub(super) fn no_connection(address: SocketAddr, error: io::Error) -> Box<Error> {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    let kind = match error.kind() {
        ConnectionRefused => ErrorType::ConnectRefused,
        TimedOut => ErrorType::ConnectTimedout,
        HostUnreachable | NetworkUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, format!("no connection to {address}"), error)
}

/// Dials for a peer of Pingora, where its pool has no idle connection. Pingora pools a connection under
/// the address of its peer: if another address wins, this peer fails, and the next attempt gets the
/// connection by [`Dialer::take_other`].
#[derive(Debug)]
pub struct Dialer {
    addresses: Arc<EndpointAddresses>,
    limit: Duration,
    dialed: Mutex<Dialed>,
}

#[derive(Debug, Default)]
struct Dialed {
    tried: Vec<SocketAddr>,
    other: Option<(SocketAddr, TcpStream)>,
}

impl Dialer {
    /// For an attempt of a request that has tried these addresses before.
    #[must_use]
    pub fn new(
        addresses: Arc<EndpointAddresses>,
        tried: Vec<SocketAddr>,
        limit: Duration,
    ) -> Arc<Self> {
        let dialed = Mutex::new(Dialed { tried, other: None });
        Arc::new(Self { addresses, limit, dialed })
    }

    fn dialed(&self) -> MutexGuard<'_, Dialed> {
        self.dialed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses that were tried so far.
    #[must_use]
    pub fn tried(&self) -> Vec<SocketAddr> {
        self.dialed().tried.clone()
    }

    /// The other address than that of the peer that has won, if one has.
    #[must_use]
    pub fn other(&self) -> Option<SocketAddr> {
        self.dialed().other.as_ref().map(|(address, _)| *address)
    }

    /// The connection to it.
    #[must_use]
    pub fn take_other(&self) -> Option<(SocketAddr, TcpStream)> {
        self.dialed().other.take()
    }
}

#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, address: &PeerAddress) -> Result<Stream> {
        let Some(first) = address.as_inet().copied() else {
            return Err(Error::explain(ErrorType::InternalError, "not an address of IP"));
        };
        let mut tried = self.tried();
        let dialed = dial(&self.addresses, first, &mut tried, self.limit).await;
        self.dialed().tried = tried;
        match dialed {
            Ok((address, stream)) if address == first => Ok(Stream::from(stream)),
            Ok((address, stream)) => {
                self.dialed().other = Some((address, stream));
                let why = format!("{address} has connected before {first}");
                Err(Error::explain(ErrorType::ConnectTimedout, why))
            }
            Err(error) => Err(error),
        }
    }
}

/// A connection that exists already, for a peer of its address.
#[derive(Debug)]
pub struct ReadyConnection(Mutex<Option<TcpStream>>);

impl ReadyConnection {
    /// Hands this connection to Pingora, once.
    #[must_use]
    pub fn new(stream: TcpStream) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(stream))))
    }
}

#[async_trait]
impl Connect for ReadyConnection {
    async fn connect(&self, _address: &PeerAddress) -> Result<Stream> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let missing = || Error::explain(ErrorType::ConnectError, "the connection is used already");
        stream.map(Stream::from).ok_or_else(missing)
    }
}
