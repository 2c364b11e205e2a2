//! The connections of clients: their limits, timeouts and write buffering.
//!
//! [`ClientConnection`] is the stream that Pingora reads and writes. It enforces limits that Pingora
//! does not have: the size of a request head, the time in which it must arrive, and the time in which
//! a store must start its response.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::protocols::{Shutdown, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::{DownstreamConfig, LogFormat};
use crate::downstream::acknowledged::Acknowledgements;
use crate::downstream::drain::NewConnection;
use crate::downstream::final_response::bad_request_response;
use crate::downstream::http2::request_stream::RequestStream;
use crate::downstream::limits::ConnectionPermit;
use crate::downstream::linger::Linger;
use crate::downstream::pace::Pace;
use crate::downstream::timer::Timer;
use crate::downstream::transport::Transport;
use crate::downstream::write_buffer::WriteBuffer;
use crate::logging::access;
use crate::metrics::{Metrics, Page};
use crate::protocol::head_ids::HeadIds;
use crate::protocol::head_scan::{HeadScan, Scan};
use crate::protocol::request_check::BadRequest;

mod acknowledged;
pub mod app;
pub mod client_socket;
pub mod drain;
mod exchange;
mod final_response;
mod heads;
pub mod http2;
mod idle;
mod lent_stream;
pub mod limits;
mod linger;
mod normal_head;
pub mod opening;
mod overflow;
mod pace;
pub mod proxy_protocol;
mod rare_line;
mod request_head;
mod stream_traits;
mod timer;
pub mod tls;
pub mod transport;
pub mod write_buffer;

pub use exchange::Exchange;
pub use heads::Received;
pub use request_head::RequestHead;

/// How long a client that has closed its half of the connection is taken for one that still reads, although no
/// byte can be written.
const HALF_CLOSED: Duration = Duration::from_secs(3);

/// How long written bytes stay in the buffer at most before they are sent.
const FLUSH_DELAY: Duration = Duration::from_millis(10);

/// The connection of one client.
pub struct ClientConnection {
    stream: Stream,
    permit: ConnectionPermit,
    heads: HeadScan,
    header_timeout: Duration,
    write_timeout: Duration,
    /// Bytes per second.
    min_rate: u64,
    pace: Pace,
    log_format: LogFormat,
    metrics: Arc<Metrics>,
    /// Header lines of answers over TLS.
    tls_lines: Arc<str>,
    /// When the first byte of the current request head arrived.
    head_started: Option<Instant>,
    /// Bytes that `heads` has scanned and nobody has taken: of the next head, and of heads after it.
    ahead: Vec<u8>,
    /// How many of them Pingora may read: those of the head that it gets.
    handed_over: usize,
    /// Bytes of pipelined requests that arrived during a response, at most `max_pipelined`.
    pipelined: Vec<u8>,
    max_pipelined: usize,
    /// The error of a malformed head that arrived in the same read as a valid one before it. It is
    /// answered after the response to the valid one.
    bad_head: Option<(BadRequest, HeadIds)>,
    /// Of a head that only Pingora reads, and may refuse.
    unparsed: Option<Box<HeadIds>>,
    /// A malformed head was refused: nothing more is read.
    ended: bool,
    write_buffer: WriteBuffer,
    /// Written bytes may still be in `write_buffer` or in the stream.
    needs_flush: bool,
    /// When the client closed its half of the connection.
    half_closed: Option<Instant>,
    read_timer: Timer,
    idle_timer: Timer,
    write_timer: Timer,
    acknowledgements: Acknowledgements,
    flush_timer: Timer,
    linger: Linger,
    exchange: Exchange,
    /// Until the first request.
    new: Option<NewConnection>,
    /// The process ends: no further request is waited for.
    stopped: bool,
}

impl ClientConnection {
    fn new(
        stream: Stream,
        permit: ConnectionPermit,
        limits: &DownstreamConfig,
        log_format: LogFormat,
        metrics: Arc<Metrics>,
        (transport, tls_lines): (Transport, Arc<str>),
        new: Option<NewConnection>,
    ) -> Self {
        Self {
            stream,
            permit,
            heads: HeadScan::new(limits.header_max_bytes),
            header_timeout: limits.header_timeout,
            write_timeout: limits.write_timeout,
            min_rate: limits.min_rate,
            pace: Pace::default(),
            log_format,
            metrics,
            tls_lines,
            head_started: None,
            ahead: Vec::new(),
            handed_over: 0,
            pipelined: Vec::new(),
            max_pipelined: limits.header_max_bytes,
            bad_head: None,
            unparsed: None,
            ended: false,
            write_buffer: WriteBuffer::default(),
            needs_flush: false,
            half_closed: None,
            read_timer: Timer::default(),
            idle_timer: Timer::default(),
            write_timer: Timer::default(),
            acknowledgements: Acknowledgements::new(limits.tcp_user_timeout),
            flush_timer: Timer::default(),
            linger: Linger::default(),
            exchange: Exchange::new(transport),
            new,
            stopped: false,
        }
    }

    /// The state that this connection shares with the request in progress.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Refuses a malformed head and ends the connection. Pingora would close it without a response,
    /// or send an error page of its own. The response is written once and not retried: if it does not
    /// fit into the socket buffer, the client is not reading.
    fn refuse(&mut self, context: &mut Context<'_>, error: BadRequest, ids: &HeadIds) {
        self.ended = true;
        let Transport { peer, is_tls, .. } = *self.exchange.transport();
        let more = if is_tls { &*self.tls_lines } else { "" };
        access::refused_head(self.log_format, peer, error, ids);
        self.metrics.page(Page::Other, Some(error.status()));
        self.metrics.cause(error.cause());
        if Pin::new(&mut self.stream)
            .poll_write(context, &bad_request_response(error, ids, more))
            .is_ready()
        {
            let _sent_or_not = Pin::new(&mut self.stream).poll_flush(context);
        }
    }

    /// During a response Pingora reads in order to detect that the client has disconnected. Bytes of
    /// a pipelined request are stored, so that Pingora does not take them for a disconnect.
    fn poll_client_disconnect(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.head_started = None;
        self.flush_after_delay(context);
        while self.pipelined.len() < self.max_pipelined && !self.ended {
            let mut bytes = [0; 256];
            let mut arrived = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut arrived) {
                Poll::Pending => break,
                Poll::Ready(read) => read?,
            }
            if arrived.filled().is_empty() {
                return self.poll_half_closed(context);
            }
            self.pipelined.extend_from_slice(arrived.filled());
        }
        let Some(deadline) = self.exchange.deadline() else { return Poll::Pending };
        ready!(self.read_timer.poll(context, deadline));
        self.exchange.expire_deadline();
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// The client sends nothing more: it has gone, or still reads. That shows when the answer is written,
    /// so the end is reported only if no byte could be written for [`HALF_CLOSED`].
    fn poll_half_closed(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let since = *self.half_closed.get_or_insert_with(|| {
            self.exchange.note_write();
            Instant::now()
        });
        let end = self.exchange.written_at().unwrap_or(since).max(since) + HALF_CLOSED;
        match self.exchange.deadline().filter(|deadline| *deadline < end) {
            Some(deadline) => {
                ready!(self.read_timer.poll(context, deadline));
                self.exchange.expire_deadline();
                Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
            }
            None => {
                ready!(self.read_timer.poll(context, end));
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Sends buffered bytes after [`FLUSH_DELAY`], so that a client gets them although the store
    /// pauses.
    fn flush_after_delay(&mut self, context: &mut Context<'_>) {
        if !self.needs_flush {
            return;
        }
        let started = *self.flush_timer.started.get_or_insert_with(Instant::now);
        if self.flush_timer.poll(context, started + FLUSH_DELAY).is_ready()
            && self.write_buffer.poll_flush(&mut self.stream, context).is_ready()
        {
            self.mark_flushed();
        }
    }

    fn mark_flushed(&mut self) {
        self.needs_flush = false;
        self.flush_timer.started = None;
    }

    /// Reads bytes of a request head and enforces its size limit and timeout.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            ready!(self.poll_head_bytes(context, buffer))?;
            if self.ended || buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let arrived = buffer.filled_mut().get_mut(before..).unwrap_or_default();
            match self.heads.feed(arrived) {
                Scan::Fine { length } => buffer.set_filled(before + length),
                Scan::Bad { start: 0, error } => {
                    let ids = HeadIds::of(&[&self.ahead, &*arrived].concat());
                    buffer.set_filled(before);
                    self.refuse(context, error, &ids);
                    return Poll::Ready(Ok(()));
                }
                Scan::Bad { start, error } => {
                    let ids = HeadIds::of(arrived.get(start..).unwrap_or_default());
                    self.bad_head = Some((error, ids));
                    buffer.set_filled(before + start);
                }
            }
            if !self.heads.in_head() {
                self.head_started = None;
            } else if self.head_started.is_none() {
                self.head_started = Some(Instant::now());
            }
            // A read of empty lines alone is not passed on: no bytes would be the end of the stream.
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads bytes into the buffer, none at the end of the stream; refuses a head that is too slow.
    fn poll_head_bytes(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.pipelined.is_empty() {
            let fits = self.pipelined.len().min(buffer.remaining());
            buffer.put_slice(self.pipelined.get(..fits).unwrap_or_default());
            self.pipelined.drain(..fits);
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        if !self.heads.in_head() {
            return Poll::Pending;
        }
        let started = *self.head_started.get_or_insert_with(Instant::now);
        ready!(self.read_timer.poll(context, started + self.header_timeout));
        let ids = HeadIds::of(&self.ahead);
        self.refuse(context, BadRequest::HeadersTooSlow, &ids);
        Poll::Ready(Ok(()))
    }

    /// Whether the bytes about to be written are Pingora's own error response to a head that it
    /// cannot parse: no response of the gateway has started.
    fn is_pingora_error_response(&self) -> bool {
        !self.exchange.is_responding()
    }

    /// The stream, if this is one of HTTP/2.
    fn http2_stream(&self) -> Option<&RequestStream> {
        (*self.stream).as_any().downcast_ref()
    }

    /// The least bytes per second of this response: the responses of a connection of HTTP/2 share its rate.
    fn share_of_min_rate(&self) -> u64 {
        self.min_rate.div_ceil(self.http2_stream().map_or(1, RequestStream::sharers))
    }

    /// A write waits for the client. Whether it reads too slowly: an answer that holds a permit, or one over HTTP/2,
    /// where a place among the connections costs a client no connection. The connection has a pace of its own.
    fn reads_too_slowly(&mut self, waits_for_connection: bool) -> bool {
        let now = Instant::now();
        if waits_for_connection {
            self.pace.resume(now);
            return false;
        }
        if !self.exchange.holds_permit() && self.http2_stream().is_none() {
            self.pace.reset();
            return false;
        }
        self.pace.is_too_slow(self.share_of_min_rate(), now)
    }

    /// Fails a write that has been pending for longer than the write timeout, or of a client that has
    /// vanished, or reads too slowly.
    fn enforce_write_timeout<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        if written.is_ready() {
            self.acknowledgements.reset();
            if self.write_timer.started.take().is_some() {
                self.pace.resume(Instant::now());
            }
            return written;
        }
        let progress = self.http2_stream().and_then(RequestStream::waits_for_connection);
        if self.reads_too_slowly(progress.is_some()) {
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
        if self.acknowledgements.poll_stopped(&self.stream, context).is_pending() {
            let started = *self.write_timer.started.get_or_insert_with(Instant::now);
            // Of a slow connection each response has its turn, if it takes long.
            let since = progress.map_or(started, |progress| progress.max(started));
            ready!(self.write_timer.poll(context, since + self.write_timeout));
        }
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if this.exchange.is_responding() {
            return this.poll_client_disconnect(context);
        }
        if this.handed_over > 0 {
            this.give_ahead(buffer);
            return Poll::Ready(Ok(()));
        }
        if let Some((error, ids)) = this.bad_head.take() {
            this.refuse(context, error, &ids);
        }
        if !this.ended {
            ready!(this.poll_head(context, buffer))?;
        }
        if this.ended {
            // At the end of the stream Pingora closes the connection at once.
            ready!(this.linger.poll(&mut this.stream, context));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let this = &mut *self;
        if this.is_pingora_error_response() {
            if !this.ended {
                let ids = this.unparsed.take().map_or_else(HeadIds::unknown, |ids| *ids);
                this.refuse(context, BadRequest::Malformed, &ids);
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = this.write_buffer.poll_write(&mut this.stream, context, bytes);
        this.needs_flush |= written.is_ready();
        if let Poll::Ready(Ok(length)) = &written {
            this.pace.wrote(*length);
            if this.half_closed.is_some() || this.exchange.limits_silence() {
                this.exchange.note_write();
            }
        }
        if written.is_ready()
            && this.exchange.flushes_immediately()
            && this.write_buffer.poll_flush(&mut this.stream, context).is_ready()
        {
            this.mark_flushed();
        }
        this.enforce_write_timeout(context, written)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        let flushed = this.write_buffer.poll_flush(&mut this.stream, context);
        if flushed.is_ready() {
            self.mark_flushed();
        }
        self.enforce_write_timeout(context, flushed)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        ready!(this.write_buffer.poll_flush(&mut this.stream, context))?;
        ready!(this.linger.poll(&mut this.stream, context));
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for ClientConnection {
    async fn shutdown(&mut self) {
        // Buffered bytes are written once; bytes that the client does not accept now are lost.
        poll_fn(|context| {
            let _left_or_not = self.write_buffer.poll_flush(&mut self.stream, context);
            Poll::Ready(())
        })
        .await;
        // A new connection has its place: it is closed at once. It has nothing to read any more.
        if !self.permit.is_claimed() {
            poll_fn(|context| self.linger.poll(&mut self.stream, context)).await;
        }
        self.stream.shutdown().await;
    }
}
