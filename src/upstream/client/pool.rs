//! Idle connections to stores.
//!
//! Pingora connects, but its pool is not used. That pool takes a connection from the task that watches
//! it through a lock. If the task runs on another thread, as it usually does for fetches, the lock may
//! be free while the connection is still shared: the pool then logs an error and closes a good
//! connection. Here the watching task owns the connection and hands it over.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pingora::Result;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::oneshot;

/// Makes connections, and holds idle ones.
pub(super) struct Pool {
    connector: TransportConnector,
    idle: Mutex<IdleConnections>,
    capacity: usize,
}

#[derive(Default)]
struct IdleConnections {
    by_peer: HashMap<u64, Vec<IdleConnection>>,
    count: usize,
}

/// An idle connection. A task watches it, and sends it to the channel it receives here.
type IdleConnection = oneshot::Sender<oneshot::Sender<Stream>>;

impl Pool {
    /// A pool of at most `capacity` idle connections.
    pub(super) fn new(options: ConnectorOptions, capacity: usize) -> Arc<Self> {
        let connector = TransportConnector::new(Some(options));
        Arc::new(Self { connector, idle: Mutex::default(), capacity })
    }

    fn lock(&self) -> MutexGuard<'_, IdleConnections> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection.
    ///
    /// # Errors
    /// When there is none within the peer's deadlines.
    pub(super) async fn connect(&self, peer: &HttpPeer) -> Result<Stream> {
        self.connector.new_stream(peer).await
    }

    /// The idle connection to this peer that was used last and is still open.
    pub(super) async fn take(&self, peer: u64) -> Option<Stream> {
        loop {
            let idle = self.lock().pop(peer)?;
            let (way_back, stream) = oneshot::channel();
            if idle.send(way_back).is_ok()
                && let Ok(mut stream) = stream.await
                && is_quiet(&mut stream)
            {
                return Some(stream);
            }
        }
    }

    /// Holds an idle connection to this peer until it is taken, the store closes it, or
    /// `idle_timeout` is over.
    pub(super) fn keep(
        self: &Arc<Self>,
        peer: u64,
        stream: Stream,
        idle_timeout: Option<Duration>,
    ) {
        let (idle, wanted) = oneshot::channel();
        if !self.lock().push(peer, idle, self.capacity) {
            return;
        }
        let pool = Arc::clone(self);
        let _runs_on = tokio::spawn(async move {
            watch(stream, wanted, idle_timeout).await;
            pool.lock().forget_closed(peer);
        });
    }
}

impl IdleConnections {
    fn pop(&mut self, peer: u64) -> Option<IdleConnection> {
        let of_peer = self.by_peer.get_mut(&peer)?;
        let last = of_peer.pop();
        if of_peer.is_empty() {
            self.by_peer.remove(&peer);
        }
        self.count -= usize::from(last.is_some());
        last
    }

    fn push(&mut self, peer: u64, idle: IdleConnection, capacity: usize) -> bool {
        if self.count >= capacity {
            self.drop_one_of_others(peer);
        }
        let has_room = self.count < capacity;
        if has_room {
            self.by_peer.entry(peer).or_default().push(idle);
            self.count += 1;
        }
        has_room
    }

    /// Makes room: connections of another group may be dead ([`crate::upstream::pool_trust`]), and are
    /// not used again.
    fn drop_one_of_others(&mut self, peer: u64) {
        let other = self.by_peer.keys().find(|other| **other != peer).copied();
        if let Some(closed) = other.and_then(|other| self.pop(other)) {
            drop(closed);
        }
    }

    /// Removes the connections to this peer whose task has ended.
    fn forget_closed(&mut self, peer: u64) {
        let Some(of_peer) = self.by_peer.get_mut(&peer) else { return };
        let before = of_peer.len();
        of_peer.retain(|idle| !idle.is_closed());
        self.count -= before - of_peer.len();
        if of_peer.is_empty() {
            self.by_peer.remove(&peer);
        }
    }
}

/// Holds a connection until a request takes it. Dropped, it is closed.
async fn watch(
    mut stream: Stream,
    mut wanted: oneshot::Receiver<oneshot::Sender<Stream>>,
    idle_timeout: Option<Duration>,
) {
    let timeout = async {
        match idle_timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let way_back = tokio::select! {
        biased;
        way_back = &mut wanted => way_back.ok(),
        () = std::future::poll_fn(|cx| poll_stirs(&mut stream, cx)) => None,
        () = timeout => None,
    };
    // A connection with unrequested bytes is closed: one of them has been read and is lost.
    if let Some(way_back) = way_back {
        let _request_is_gone = way_back.send(stream);
    }
}

/// Whether nothing has arrived on an idle connection, not even its end: no answer comes before a
/// request.
fn is_quiet(stream: &mut Stream) -> bool {
    poll_stirs(stream, &mut Context::from_waker(Waker::noop())).is_pending()
}

fn poll_stirs(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
    let mut byte = [0; 1];
    Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(|_read| ())
}
