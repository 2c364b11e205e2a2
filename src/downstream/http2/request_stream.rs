//! One stream of an HTTP/2 connection as a connection of its own, which brings one request: its head is read as
//! HTTP/1.1, and the response of HTTP/1.1 that is written becomes frames. So a request gets the same answer, with
//! the same deadlines, whichever way it came.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::downstream::http2::turns::Ticket;
use crate::downstream::http2::wire::Seen;
use crate::protocol::response_scan::{NoResponse, Part, ResponseScan};

/// What the streams of a connection share.
#[derive(Debug, Clone)]
pub(super) struct SharedConnection {
    pub(super) seen: Arc<Seen>,
    pub(super) socket: Option<Arc<SocketDigest>>,
    pub(super) id: UniqueIDType,
}

/// One request and its response.
pub(in crate::downstream) struct RequestStream {
    shared: SharedConnection,
    /// Bytes of the head that were not read yet.
    head: Bytes,
    respond: SendResponse<Bytes>,
    /// Once the head of the response is sent.
    body: Option<SendStream<Bytes>>,
    response: ResponseScan,
    ticket: Ticket,
    /// The response waits for its own window: the client takes nothing more of it.
    waits_for_window: bool,
    /// The client gave the stream up, or the connection has failed.
    is_reset: bool,
    /// Parts of a body that is about to be written: those bytes need not be copied.
    offered: Mutex<Vec<Bytes>>,
    /// The body of the request, which is never read.
    _request_body: Option<RecvStream>,
}

impl RequestStream {
    /// The stream of the request with this head.
    pub(super) fn new(
        shared: SharedConnection,
        head: Vec<u8>,
        respond: SendResponse<Bytes>,
        ticket: Ticket,
        request_body: Option<RecvStream>,
    ) -> Self {
        let is_head = head.starts_with(b"HEAD ");
        Self {
            shared,
            head: head.into(),
            respond,
            body: None,
            response: ResponseScan::new(is_head),
            ticket,
            waits_for_window: false,
            is_reset: false,
            offered: Mutex::default(),
            _request_body: request_body,
        }
    }

    /// How many responses of the connection are on their way, with this one: they share what its client reads.
    pub(in crate::downstream) fn sharers(&self) -> u64 {
        // The connection and its socket have the other two.
        (Arc::strong_count(&self.shared.seen) as u64).saturating_sub(2).max(1)
    }

    /// When the client last took something from the connection, if this response waits for that alone; `None` if it
    /// waits for the client to take more of this response.
    pub(in crate::downstream) fn waits_for_connection(&self) -> Option<Instant> {
        (!self.waits_for_window).then(|| self.shared.seen.turns.progress())
    }

    /// The next writes are of these bytes.
    pub(in crate::downstream) fn offer(&self, parts: &[Bytes]) {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.clear();
        offered.extend_from_slice(parts);
    }

    /// These bytes, without a copy if they were offered.
    fn owned(&self, bytes: &[u8]) -> Bytes {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        let range = bytes.as_ptr_range();
        let of = offered.iter().find(|part| {
            let part = part.as_ptr_range();
            part.start <= range.start && range.end <= part.end
        });
        of.map_or_else(|| Bytes::copy_from_slice(bytes), |part| part.slice_ref(bytes))
    }

    fn failed(&mut self, error: h2::Error) -> io::Error {
        self.is_reset = true;
        if error.is_io() {
            error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
        } else {
            io::Error::new(io::ErrorKind::ConnectionReset, error)
        }
    }

    /// Hands over the first bytes of a body, at least one. Returns how many.
    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        ends: bool,
    ) -> Poll<io::Result<usize>> {
        let granted = loop {
            let Some(body) = self.body.as_mut() else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            if self.waits_for_window {
                // No more: what a response reserves it keeps from others.
                body.reserve_capacity(1);
                match ready!(body.poll_capacity(context)) {
                    Some(Ok(_more)) => self.waits_for_window = false,
                    Some(Err(error)) => return Poll::Ready(Err(self.failed(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let turns = &self.shared.seen.turns;
            let now = Instant::now();
            let turn = match turns.poll_turn(context, &mut self.ticket, bytes.len(), now) {
                Poll::Ready(Some(turn)) => turn,
                Poll::Ready(None) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Poll::Pending => {
                    body.reserve_capacity(0);
                    return self.poll_reset(context).map(Err);
                }
            };
            body.reserve_capacity(turn);
            let granted = body.capacity().min(turn);
            if granted < turn {
                turns.give_back(turn - granted);
                self.waits_for_window = true;
            }
            if granted > 0 {
                break granted;
            }
        };
        let piece = self.owned(bytes.get(..granted).unwrap_or_default());
        let ends = ends && granted == bytes.len();
        if let Some(body) = self.body.as_mut()
            && let Err(error) = body.send_data(piece, ends)
        {
            return Poll::Ready(Err(self.failed(error)));
        }
        self.response.took(granted);
        Poll::Ready(Ok(granted))
    }

    /// Passes on the first of these bytes of a response. Returns how many.
    fn poll_part(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let broken = |NoResponse| io::Error::from(io::ErrorKind::InvalidData);
        match self.response.next(bytes).map_err(broken)? {
            Part::Framing { length } => Poll::Ready(Ok(length)),
            Part::Body { length, ends } => {
                self.poll_body(context, bytes.get(..length).unwrap_or_default(), ends)
            }
            Part::Head { length, response, ends } => {
                self.shared.seen.turns.head(&mut self.ticket);
                match self.respond.send_response(response, ends) {
                    Ok(body) => self.body = Some(body),
                    Err(error) => return Poll::Ready(Err(self.failed(error))),
                }
                Poll::Ready(Ok(length))
            }
            Part::End { length } => {
                self.shared.seen.turns.head(&mut self.ticket);
                let sent = self.body.as_mut().map(|body| body.send_data(Bytes::new(), true));
                match sent {
                    Some(Err(error)) => Poll::Ready(Err(self.failed(error))),
                    _ => Poll::Ready(Ok(length)),
                }
            }
        }
    }

    /// Ready when the client has given the stream up.
    fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let reset = match self.body.as_mut() {
            Some(body) => body.poll_reset(context),
            None => self.respond.poll_reset(context),
        };
        reset.map(|reset| match reset {
            Ok(reason) => self.failed(reason.into()),
            Err(error) => self.failed(error),
        })
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        self.shared.seen.turns.leave(&self.ticket);
        // A response that is not whole fails visibly.
        if !self.response.has_ended() && !self.is_reset {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

impl AsyncRead for RequestStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.head.is_empty() {
            let length = this.head.len().min(buffer.remaining());
            buffer.put_slice(&this.head.split_to(length));
            return Poll::Ready(Ok(()));
        }
        // A stream brings no second request.
        if this.response.has_ended() {
            return Poll::Ready(Ok(()));
        }
        this.poll_reset(context).map(Err)
    }
}

impl AsyncWrite for RequestStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut passed = 0;
        while let Some(rest) = bytes.get(passed..).filter(|rest| !rest.is_empty()) {
            match this.poll_part(context, rest) {
                Poll::Ready(Ok(length)) => passed += length,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if passed == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(passed))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // In the middle of a response all is on its way, and more is wanted.
        if !self.response.has_ended() {
            return Poll::Ready(Ok(()));
        }
        let turns = &self.shared.seen.turns;
        turns.poll_flush(context, &self.ticket).map(|is_whole| match is_whole {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for RequestStream {
    async fn shutdown(&mut self) {}
}

impl std::fmt::Debug for RequestStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RequestStream").field(&self.ticket).finish()
    }
}

impl UniqueID for RequestStream {
    fn id(&self) -> UniqueIDType {
        self.shared.id
    }
}

impl Ssl for RequestStream {}

#[async_trait]
impl Peek for RequestStream {}

impl GetTimingDigest for RequestStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for RequestStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }

    fn set_proxy_digest(&mut self, _digest: ProxyDigest) {}
}

impl GetSocketDigest for RequestStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.shared.socket.clone()
    }

    fn set_socket_digest(&mut self, _digest: SocketDigest) {}
}
