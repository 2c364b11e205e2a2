//! What the kernel knows of the connection of a client: how much of a response waits in it, and whether the
//! client has left. A response that comes from the cache learns of neither before a write fails.

use std::sync::Arc;

use pingora::protocols::SocketDigest;

/// `TCP_CLOSE` of Linux: the client has reset the connection.
const CLOSED: u8 = 7;

/// The socket of a client.
#[derive(Debug, Clone)]
pub struct ClientSocket(Arc<SocketDigest>);

/// The state of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes that were written and are not sent, because the client has no room for them.
    pub unsent: u64,
    pub has_left: bool,
}

impl ClientSocket {
    /// The socket of a connection.
    #[must_use]
    pub fn new(digest: Arc<SocketDigest>) -> Self {
        Self(digest)
    }

    /// Its state now; `None` where the system does not tell.
    #[must_use]
    pub fn backlog(&self) -> Option<Backlog> {
        let info = self.0.tcp_info()?;
        Some(Backlog {
            unsent: u64::from(info.tcpi_notsent_bytes),
            has_left: info.tcpi_state == CLOSED,
        })
    }
}
