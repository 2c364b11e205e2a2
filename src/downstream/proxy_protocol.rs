//! The header of the PROXY protocol before a connection: read within a time, from trusted load balancers alone. The
//! connection then has the address of the client, in the log and for every limit.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use log::{debug, warn};
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{GetSocketDigest as _, SocketDigest, Stream, UniqueID as _};
use tokio::io::AsyncReadExt as _;

use crate::downstream::limits::ConnectionPermit;
use crate::downstream::opening::{Ended, before_requests};
use crate::downstream::rare_line::RareLine;
use crate::downstream::transport::peer_of;
use crate::protocol::forwarded::TrustedProxies;
use crate::protocol::proxy_header::{BadProxyHeader, ProxyHeader, read};

/// Bytes read at once: a header with the addresses and some fields.
const READ: usize = 256;
/// The least time between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Connections by what came of their header, since the start.
#[derive(Debug, Default)]
pub struct ProxyHeaderCounts {
    /// It names a client.
    pub done: AtomicU64,
    /// It names none: the load balancer itself is connected, such as for a health check.
    pub local: AtomicU64,
    /// There was none.
    pub missing: AtomicU64,
    /// It broke the rules of the protocol, or was too long.
    pub malformed: AtomicU64,
    /// It did not arrive in time.
    pub timed_out: AtomicU64,
    /// The other end left before its end.
    pub closed: AtomicU64,
    /// The other end is none of `trusted_proxies`.
    pub untrusted: AtomicU64,
    /// A new connection took the place.
    pub displaced: AtomicU64,
}

/// Reads the headers of connections.
#[derive(Debug)]
pub(super) struct ProxyHeaders {
    trusted: Arc<TrustedProxies>,
    counts: Arc<ProxyHeaderCounts>,
    line: RareLine,
}

/// What ends a connection.
enum Failed {
    Bad(BadProxyHeader),
    Closed,
}

impl ProxyHeaders {
    pub(super) fn new(trusted: Arc<TrustedProxies>, counts: Arc<ProxyHeaderCounts>) -> Self {
        Self { trusted, counts, line: RareLine::new(LOG_INTERVAL) }
    }

    /// Reads the header of a new connection; `None` if the connection is to be closed.
    pub(super) async fn accept(
        &self,
        stream: Stream,
        permit: &ConnectionPermit,
        deadline: Instant,
    ) -> Option<Stream> {
        let counts = &self.counts;
        let peer = peer_of(&stream)?;
        let mut stream = stream.into_any().downcast::<TcpStream>().ok()?;
        if !self.trusted.trusts(peer) {
            counts.untrusted.fetch_add(1, Ordering::Relaxed);
            // At this level only: a port scanner must not fill the log.
            debug!("PROXY protocol: {peer} is none of trusted_proxies");
            return None;
        }
        let read = before_requests(permit, deadline, read_header(&mut stream)).await;
        let (counter, problem) = match read {
            Ok(Ok(Some(client))) => {
                set_client(&mut stream, client);
                counts.done.fetch_add(1, Ordering::Relaxed);
                return Some(stream);
            }
            Ok(Ok(None)) => {
                counts.local.fetch_add(1, Ordering::Relaxed);
                return Some(stream);
            }
            // A check that connects and leaves.
            Ok(Err(Failed::Closed)) => (&counts.closed, None),
            Ok(Err(Failed::Bad(error @ BadProxyHeader::Missing))) => {
                (&counts.missing, Some(error.message()))
            }
            Ok(Err(Failed::Bad(error))) => (&counts.malformed, Some(error.message())),
            Err(Ended::Late) => (&counts.timed_out, Some("no PROXY header in time")),
            Err(Ended::Displaced) => (&counts.displaced, None),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(problem) = problem {
            self.log_closed(peer, problem);
        }
        None
    }

    /// Logs connections of trusted load balancers that were closed, at most one line per [`LOG_INTERVAL`]: all
    /// their clients see a closed connection, and nothing else says why.
    fn log_closed(&self, peer: IpAddr, problem: &str) {
        if let Some(closed) = self.line.note(Instant::now()) {
            warn!(
                "PROXY protocol: {problem}, from {peer}; connections closed since the last such line: {closed}. \
                 The load balancer must send the header where listen has the word proxy_protocol"
            );
        }
    }
}

/// Reads a header and no byte behind it: what follows is read again.
async fn read_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Failed> {
    let mut arrived = Vec::new();
    loop {
        match read(&arrived).map_err(Failed::Bad)? {
            ProxyHeader::Complete { length, client } => {
                stream.rewind(arrived.get(length..).unwrap_or_default());
                return Ok(client);
            }
            ProxyHeader::Incomplete => {}
        }
        let mut bytes = [0; READ];
        let length = stream.read(&mut bytes).await.map_err(|_| Failed::Closed)?;
        if length == 0 {
            return Err(Failed::Closed);
        }
        arrived.extend_from_slice(bytes.get(..length).unwrap_or_default());
    }
}

/// The connection has this client from now on.
fn set_client(stream: &mut TcpStream, client: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(stream.id());
    let _was_empty = digest.peer_addr.set(Some(client.into()));
    stream.set_socket_digest(digest);
}
