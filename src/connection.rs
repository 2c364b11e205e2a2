//! One client's connection as Pingora reads it, with what Pingora does not limit: the size of a
//! request head, the time until it is complete, and the time until the store has answered.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::access_log;
use crate::config::DownstreamConfig;
use crate::gateway::Gateway;
use crate::head_scan::{HeadScan, Scan};
use crate::hygiene::BadRequest;

/// Hands every accepted connection to the proxy, guarded.
pub struct GuardedProxy {
    proxy: Arc<HttpProxy<Gateway>>,
    limits: DownstreamConfig,
}

impl GuardedProxy {
    /// The proxy behind connections that keep to these limits.
    #[must_use]
    pub fn new(proxy: HttpProxy<Gateway>, limits: DownstreamConfig) -> Self {
        Self { proxy: Arc::new(proxy), limits }
    }
}

#[async_trait]
impl ServerApp for GuardedProxy {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let connection = Connection::new(stream, &self.limits);
        self.proxy.process_new(Box::new(connection), shutdown).await
    }

    async fn cleanup(&self) {
        self.proxy.cleanup().await;
    }
}

/// A deadline for the store's answer, kept by the request and watched by its connection, because
/// Pingora has one read timeout for the first byte and for every later one.
#[derive(Debug)]
pub struct AnswerDeadline {
    base: Instant,
    /// Milliseconds since `base`; 0 while no answer is waited for.
    at: AtomicU64,
    passed: AtomicBool,
}

impl AnswerDeadline {
    fn new() -> Self {
        Self { base: Instant::now(), at: AtomicU64::new(0), passed: AtomicBool::new(false) }
    }

    /// From now on the answer has this long.
    pub fn set(&self, patience: Duration) {
        let at = (self.base.elapsed() + patience).as_millis();
        self.passed.store(false, Ordering::Relaxed);
        self.at.store(u64::try_from(at).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// The answer is here.
    pub fn clear(&self) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// Whether the last answer waited for did not come in time.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.passed.load(Ordering::Relaxed)
    }

    fn instant(&self) -> Option<Instant> {
        match self.at.load(Ordering::Relaxed) {
            0 => None,
            at => self.base.checked_add(Duration::from_millis(at)),
        }
    }
}

/// A client's connection.
pub struct Connection {
    stream: Stream,
    heads: HeadScan,
    header_timeout: Duration,
    /// When the head being read began.
    head_started: Option<Instant>,
    /// A bad head was found: nothing more is read.
    ended: bool,
    timer: Option<Pin<Box<Sleep>>>,
    answer_deadline: AnswerDeadline,
}

impl Connection {
    fn new(stream: Stream, limits: &DownstreamConfig) -> Self {
        Self {
            stream,
            heads: HeadScan::new(limits.header_max_bytes),
            header_timeout: limits.header_timeout,
            head_started: None,
            ended: false,
            timer: None,
            answer_deadline: AnswerDeadline::new(),
        }
    }

    /// The deadline that requests on this connection set for the store.
    #[must_use]
    pub fn answer_deadline(&self) -> &AnswerDeadline {
        &self.answer_deadline
    }

    /// Ends the connection for a bad head. Answers in place of Pingora, which would hang up without
    /// a word, but only where no other answer can be under way. One write: if it does not fit into
    /// the socket, the client is not reading anyway.
    fn refuse(&mut self, context: &mut Context<'_>, error: BadRequest, answer: bool) {
        self.ended = true;
        let digest = self.stream.get_socket_digest();
        let client = digest.as_ref().and_then(|digest| digest.peer_addr()?.as_inet());
        access_log::refused_connection(client.map(std::net::SocketAddr::ip), error);
        if answer && Pin::new(&mut self.stream).poll_write(context, &answer_bytes(error)).is_ready()
        {
            let _sent_or_not = Pin::new(&mut self.stream).poll_flush(context);
        }
    }

    /// Ready when `deadline` has passed; otherwise the task is woken then.
    fn poll_timer(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }

    /// What to do while nothing arrives: end what has taken too long.
    fn poll_deadlines(
        &mut self,
        context: &mut Context<'_>,
        between_answers: bool,
    ) -> Poll<std::io::Result<()>> {
        if let Some(started) = self.head_started {
            ready!(self.poll_timer(context, started + self.header_timeout));
            self.refuse(context, BadRequest::HeadersTooSlow, between_answers);
            return Poll::Ready(Ok(()));
        }
        self.poll_answer_deadline(context)
    }

    /// Fails the read under way when the store has taken too long, which ends the request.
    fn poll_answer_deadline(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Some(deadline) = self.answer_deadline.instant() else { return Poll::Pending };
        ready!(self.poll_timer(context, deadline));
        self.answer_deadline.clear();
        self.answer_deadline.passed.store(true, Ordering::Relaxed);
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        // While an answer is under way Pingora listens for the client's leaving with one byte.
        let between_answers = buffer.remaining() > 1;
        if this.ended {
            return if between_answers {
                Poll::Ready(Ok(()))
            } else {
                this.poll_answer_deadline(context)
            };
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending => return this.poll_deadlines(context, between_answers),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {}
        }
        let arrived = buffer.filled().get(before..).unwrap_or_default();
        if let Scan::Bad { start, error } = this.heads.feed(arrived) {
            // Whole heads before the bad one in this read are still answered.
            buffer.set_filled(before + start);
            this.refuse(context, error, between_answers && start == 0);
            return Poll::Ready(Ok(()));
        }
        if !this.heads.in_head() {
            this.head_started = None;
        } else if this.head_started.is_none() {
            this.head_started = Some(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

/// The whole answer to a head that never reaches the gateway's own code.
fn answer_bytes(error: BadRequest) -> Vec<u8> {
    let reason = match error {
        BadRequest::HeadersTooLarge => "Request Header Fields Too Large",
        BadRequest::HeadersTooSlow => "Request Timeout",
        _ => "Bad Request",
    };
    let body = serde_json::json!({ "message": error.message(), "cause": error.cause() });
    let body = body.to_string();
    format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        error.status(),
        body.len(),
    )
    .into_bytes()
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

// What Pingora asks of a connection besides reading and writing: all answered by the stream inside.

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connection").field(&self.stream).finish()
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Connection {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

#[async_trait]
impl Peek for Connection {}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}
