//! A connection to a store, from the pool or new, for one request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
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
    /// A connection of the pool to this peer, or else a new one; `fresh` leaves the pool alone.
    ///
    /// # Errors
    /// When there is no connection within the peer's deadlines.
    pub(super) async fn open(pool: &Arc<Pool>, peer: &HttpPeer, fresh: bool) -> Result<Self> {
        let key = peer.reuse_hash();
        let kept = if fresh { None } else { pool.take(key).await };
        let reused = kept.is_some();
        let stream = match kept {
            Some(stream) => stream,
            None => pool.connect(peer).await.map_err(Error::into_up)?,
        };
        let mut session = HttpSession::new_with_options(stream, peer);
        session.read_timeout = peer.options.read_timeout;
        session.write_timeout = peer.options.write_timeout;
        Ok(Self {
            session,
            pool: Arc::clone(pool),
            key,
            idle_timeout: peer.options.idle_timeout,
            reused,
        })
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
