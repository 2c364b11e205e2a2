//! Connections to stores that wait for their next request.
//!
//! Pingora makes them; its own pool is not used. It takes a connection back from the task that
//! watches it by way of a lock, and where that task runs on another thread, which is usual for
//! fetches, it may find the lock free and the connection still shared: it then logs an error and
//! closes a good connection. Here the watching task owns the connection and hands it over.

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

/// Makes connections, and keeps those that can be used again.
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

/// A connection that a task watches. The task gives it to whoever sends it a way back.
type IdleConnection = oneshot::Sender<oneshot::Sender<Stream>>;

impl Pool {
    /// A pool that keeps at most so many connections.
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

    /// The connection of this peer that was used last, if one waits and is still open.
    pub(super) async fn take(&self, peer: u64) -> Option<Stream> {
        loop {
            let watched = self.lock().pop(peer)?;
            let (way_back, stream) = oneshot::channel();
            if watched.send(way_back).is_ok()
                && let Ok(mut stream) = stream.await
                && is_quiet(&mut stream)
            {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection to this peer until it is taken, the store closes it, or `patience` is
    /// over.
    pub(super) fn keep(self: &Arc<Self>, peer: u64, stream: Stream, patience: Option<Duration>) {
        let (watched, wanted) = oneshot::channel();
        if !self.lock().push(peer, watched, self.capacity) {
            return;
        }
        let pool = Arc::clone(self);
        let _runs_on = tokio::spawn(async move {
            watch(stream, wanted, patience).await;
            pool.lock().forget_closed(peer);
        });
    }
}

impl IdleConnections {
    fn pop(&mut self, peer: u64) -> Option<IdleConnection> {
        let waiting = self.by_peer.get_mut(&peer)?;
        let watched = waiting.pop();
        if waiting.is_empty() {
            self.by_peer.remove(&peer);
        }
        self.count -= usize::from(watched.is_some());
        watched
    }

    fn push(&mut self, peer: u64, watched: IdleConnection, capacity: usize) -> bool {
        let has_room = self.count < capacity;
        if has_room {
            self.by_peer.entry(peer).or_default().push(watched);
            self.count += 1;
        }
        has_room
    }

    /// Forgets connections of this peer that nobody watches any more.
    fn forget_closed(&mut self, peer: u64) {
        let Some(waiting) = self.by_peer.get_mut(&peer) else { return };
        let before = waiting.len();
        waiting.retain(|watched| !watched.is_closed());
        self.count -= before - waiting.len();
        if waiting.is_empty() {
            self.by_peer.remove(&peer);
        }
    }
}

/// Holds a connection until somebody wants it. Dropped, it is closed.
async fn watch(
    mut stream: Stream,
    mut wanted: oneshot::Receiver<oneshot::Sender<Stream>>,
    patience: Option<Duration>,
) {
    let patience = async {
        match patience {
            Some(patience) => tokio::time::sleep(patience).await,
            None => std::future::pending().await,
        }
    };
    let way_back = tokio::select! {
        biased;
        way_back = &mut wanted => way_back.ok(),
        () = std::future::poll_fn(|cx| poll_stirs(&mut stream, cx)) => None,
        () = patience => None,
    };
    // What has said something unasked is not handed on: a byte of it is lost.
    if let Some(way_back) = way_back {
        let _nobody_waits = way_back.send(stream);
    }
}

/// Whether nothing has come over a connection that waits, not even its end: a store has nothing to
/// say before it is asked.
fn is_quiet(stream: &mut Stream) -> bool {
    poll_stirs(stream, &mut Context::from_waker(Waker::noop())).is_pending()
}

fn poll_stirs(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
    let mut byte = [0; 1];
    Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(|_read| ())
}
