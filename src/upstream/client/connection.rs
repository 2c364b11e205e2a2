//! A connection to a store, from the pool or new, for one request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType, Result};

use crate::upstream::answer::is_interim;
use crate::upstream::client::pool::Pool;

/// A connection in use. Dropped, it is closed; it returns to the pool by [`StoreConnection::release`].
pub(super) struct StoreConnection {
    session: HttpSession,
    pool: Arc<Pool>,
    /// Its key in the pool.
    key: u64,
    idle_timeout: Option<Duration>,
    reused: bool,
}

impl StoreConnection {
    /// An idle connection of the pool to this peer, if there is one.
    pub(super) async fn reuse(pool: &Arc<Pool>, peer: &HttpPeer) -> Option<Self> {
        let stream = pool.take(peer.reuse_hash()).await?;
        Some(Self::over(stream, pool, peer, true))
    }

    /// A new connection to this peer.
    ///
    /// # Errors
    /// When there is none within the peer's deadlines.
    pub(super) async fn connect(pool: &Arc<Pool>, peer: &HttpPeer) -> Result<Self> {
        let stream = pool.connect(peer).await.map_err(Error::into_up)?;
        Ok(Self::over(stream, pool, peer, false))
    }

    fn over(stream: Stream, pool: &Arc<Pool>, peer: &HttpPeer, reused: bool) -> Self {
        let mut session = HttpSession::new_with_options(stream, peer);
        session.read_timeout = peer.options.read_timeout;
        session.write_timeout = peer.options.write_timeout;
        Self {
            session,
            pool: Arc::clone(pool),
            key: peer.reuse_hash(),
            idle_timeout: peer.options.idle_timeout,
            reused,
        }
    }

    /// Whether another request was answered on it before.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    /// As [`exchange`].
    pub(super) async fn ask(&mut self, request: RequestHeader) -> Result<ResponseHeader> {
        exchange(&mut self.session, request).await
    }

    /// How long the next pieces of the body may take, each.
    pub(super) fn set_patience(&mut self, pause: Duration) {
        self.session.read_timeout = Some(pause);
    }

    /// The next piece of the body, at most 64 KiB and not empty; `None` at its end. A future
    /// that is dropped loses no byte.
    ///
    /// # Errors
    /// When the connection ends before the body, the body is not well-formed, or no byte arrives for
    /// `read_timeout`.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>> {
        while !self.session.is_body_done() {
            match self.session.read_body_bytes().await.map_err(Error::into_up)? {
                Some(piece) if !piece.is_empty() => return Ok(Some(piece)),
                Some(_) => {}
                None if self.session.is_body_done() => {}
                None => {
                    let error = Error::explain(ErrorType::ReadError, "a body without an end");
                    return Err(error.into_up());
                }
            }
        }
        Ok(None)
    }

    /// Whether the body, if there is one, has been read to its end.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.session.is_body_done()
    }

    /// Gives the connection back to the pool if the store allows another request; not to be called
    /// after an error, nor before the end of the body.
    pub(super) fn release(mut self) {
        self.session.respect_keepalive();
        if self.session.will_keepalive() && self.session.is_body_done() {
            self.pool.keep(self.key, self.session.into_inner(), self.idle_timeout);
        }
    }
}

/// Sends the request and waits for the head of its final answer; interim ones are passed over
/// (RFC 9110, section 15.2).
///
/// # Errors
/// When the connection ends or the head is no HTTP.
pub(crate) async fn exchange(
    session: &mut HttpSession,
    request: RequestHeader,
) -> Result<ResponseHeader> {
    session.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
    loop {
        session.read_response().await.map_err(Error::into_up)?;
        match session.resp_header() {
            Some(head) if !is_interim(head.status) => return Ok(head.clone()),
            _ => {}
        }
    }
}
