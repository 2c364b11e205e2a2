//! The Pingora applications behind the two listeners: the connection limit is enforced, and each accepted
//! connection has the limits of [`ClientConnection`].

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::HeaderValue;
use pingora::apps::ServerApp;
use pingora::protocols::{Shutdown as _, Stream};
use pingora::server::ShutdownWatch;

use crate::config::{Config, DownstreamConfig, LogFormat};
use crate::downstream::drain::{Lifecycle, NewConnection};
use crate::downstream::http2::request_stream::RequestStream;
use crate::downstream::http2::{Http2, begins_with_preface};
use crate::downstream::limits::{ClientLimits, ConnectionPermit};
use crate::downstream::opening::{Opening, Openings};
use crate::downstream::overflow::{Overflow, refuse_plain};
use crate::downstream::proxy_protocol::{ProxyHeaderCounts, ProxyHeaders};
use crate::downstream::tls::{Handshake, TlsAcceptor};
use crate::downstream::transport::{Transport, peer_of};
use crate::downstream::{ClientConnection, Received};
use crate::metrics::Metrics;
use crate::protocol::forwarded::TrustedProxies;

/// An application whose client connections are limited in number, size of head and time.
pub struct Guarded<A> {
    app: Arc<A>,
    config: DownstreamConfig,
    log_format: LogFormat,
    limits: Arc<ClientLimits>,
    metrics: Arc<Metrics>,
    overflow: Overflow,
    openings: Openings,
    tls: Option<Arc<TlsAcceptor>>,
    proxy_headers: Option<ProxyHeaders>,
    trusted: Option<Arc<TrustedProxies>>,
    http2: Option<Http2>,
    lifecycle: Option<Arc<Lifecycle>>,
    /// Header lines of answers over TLS that are written here.
    tls_lines: Arc<str>,
}

impl<A> Guarded<A> {
    /// Wraps the application with the limits of this configuration. `limit` names the limit of
    /// connections in the log.
    #[must_use]
    pub fn new(
        app: A,
        limit: &'static str,
        config: &Config,
        limits: Arc<ClientLimits>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            app: Arc::new(app),
            config: config.downstream,
            log_format: config.log.format,
            limits,
            metrics,
            overflow: Overflow::new(limit),
            openings: Openings::default(),
            tls: None,
            proxy_headers: None,
            trusted: None,
            http2: None,
            lifecycle: None,
            tls_lines: "".into(),
        }
    }

    /// Its connections begin so, with handshakes of this acceptor.
    #[must_use]
    pub fn with_tls(self, openings: Openings, tls: Option<Arc<TlsAcceptor>>) -> Self {
        Self { openings, tls, ..self }
    }

    /// Its answers over TLS have this `Strict-Transport-Security`.
    #[must_use]
    pub fn with_hsts(self, value: Option<&HeaderValue>) -> Self {
        let value = value.and_then(|value| value.to_str().ok());
        let lines = value.map(|value| format!("Strict-Transport-Security: {value}\r\n"));
        Self { tls_lines: lines.unwrap_or_default().into(), ..self }
    }

    /// These proxies name its clients.
    #[must_use]
    pub fn behind(self, trusted: Arc<TrustedProxies>, counts: Arc<ProxyHeaderCounts>) -> Self {
        let proxy_headers = Some(ProxyHeaders::new(Arc::clone(&trusted), counts));
        Self { proxy_headers, trusted: Some(trusted), ..self }
    }

    /// Connections may be of HTTP/2.
    #[must_use]
    pub fn with_http2(self, http2: Http2) -> Self {
        Self { http2: Some(http2), ..self }
    }

    /// The end of the process waits for the first requests of its connections.
    #[must_use]
    pub fn counted_by(self, lifecycle: Arc<Lifecycle>) -> Self {
        Self { lifecycle: Some(lifecycle), ..self }
    }

    /// Goes through what precedes the first request of a new connection; `None` if it ends there.
    async fn open(
        &self,
        mut stream: Stream,
        opening: Opening,
        permit: &ConnectionPermit,
    ) -> Option<(Stream, Transport)> {
        let deadline = Instant::now() + self.config.header_timeout;
        if opening.proxy_header {
            let headers = self.proxy_headers.as_ref()?;
            stream = headers.accept(stream, permit, deadline).await?;
        }
        if !opening.tls {
            let mut transport = Transport::default();
            if opening.http2 {
                // What comes first decides; until then it is idle.
                let deadline = Instant::now() + self.config.keepalive_timeout;
                (stream, transport.is_http2) =
                    begins_with_preface(stream, permit, deadline).await?;
            }
            return Some((stream, transport));
        }
        match self.tls.as_ref()?.accept(stream, permit, deadline).await {
            Handshake::Done(stream, transport) => Some((stream, transport)),
            Handshake::Plain(stream) => {
                refuse_plain(stream, &self.metrics, self.log_format).await;
                None
            }
            Handshake::Failed => None,
        }
    }

    fn connection(
        &self,
        stream: Stream,
        permit: ConnectionPermit,
        transport: Transport,
        new: Option<NewConnection>,
    ) -> ClientConnection {
        let metrics = Arc::clone(&self.metrics);
        let (config, format) = (&self.config, self.log_format);
        let tls = (transport, Arc::clone(&self.tls_lines));
        ClientConnection::new(stream, permit, config, format, metrics, tls, new)
    }

    /// Who is at the other end of a connection.
    fn with_peer(&self, stream: &Stream, transport: Transport) -> Transport {
        let peer = peer_of(stream);
        let trusted = self.trusted.as_ref().filter(|it| peer.is_some_and(|peer| it.trusts(peer)));
        Transport { peer, proxies: trusted.cloned(), ..transport }
    }
}

/// Answers the requests of a connection.
async fn answer<A: ServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    connection: ClientConnection,
    shutdown: &ShutdownWatch,
) {
    let mut open: Option<Stream> = Some(Box::new(connection));
    while let Some(connection) = open {
        open = app.process_new(connection, shutdown).await;
    }
}

impl<A: ServerApp + Send + Sync + 'static> Guarded<A> {
    /// Answers the requests of a connection of HTTP/2.
    async fn serve(
        self: Arc<Self>,
        http2: &Http2,
        stream: Stream,
        (permit, new): (ConnectionPermit, Option<NewConnection>),
        transport: Transport,
        shutdown: ShutdownWatch,
    ) {
        let (stopped, peer) = (shutdown.clone(), transport.peer);
        let answer = move |request: RequestStream| {
            let (this, transport) = (Arc::clone(&self), transport.clone());
            let shutdown = shutdown.clone();
            async move { this.answer_stream(request, transport, &shutdown).await }
        };
        http2.serve(stream, peer, (&permit, new), &stopped, answer).await;
    }

    /// Answers one request of a connection of HTTP/2, which needs as much room as a connection.
    async fn answer_stream(
        &self,
        request: RequestStream,
        transport: Transport,
        shutdown: &ShutdownWatch,
    ) {
        match self.limits.try_connect() {
            Some(permit) => {
                let connection = self.connection(Box::new(request), permit, transport, None);
                answer(&self.app, connection, shutdown).await;
            }
            None => {
                let (metrics, format) = (&self.metrics, self.log_format);
                let (stream, limits) = (Box::new(request), &self.limits);
                let more = if transport.is_tls { &*self.tls_lines } else { "" };
                self.overflow.refuse(stream, Some(more), limits, metrics, format).await;
            }
        }
    }
}

/// An application of Pingora that answers one request of each connection, and gets its head in the same form as
/// the public listener.
pub struct OneRequest<A> {
    app: Arc<A>,
    idle: Duration,
}

impl<A> OneRequest<A> {
    /// The request may take `idle` to begin.
    #[must_use]
    pub fn new(app: A, idle: Duration) -> Self {
        Self { app: Arc::new(app), idle }
    }
}

#[async_trait]
impl<A> ServerApp for OneRequest<A>
where
    A: ServerApp + Send + Sync + 'static,
{
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut connection = stream.into_any().downcast::<ClientConnection>().ok()?;
        let length = match connection.receive(self.idle, pin!(pending())).await {
            Received::Head(head) => head.length,
            Received::Other(length) => length,
            Received::End => {
                connection.shutdown().await;
                return None;
            }
        };
        connection.hand_over(length);
        self.app.process_new(connection, shutdown).await
    }
}

#[async_trait]
impl<A> ServerApp for Guarded<A>
where
    A: ServerApp + Send + Sync + 'static,
{
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let opening = self.openings.of(&stream);
        let Some(permit) = self.limits.try_connect() else {
            let (metrics, format) = (&self.metrics, self.log_format);
            let more = (!opening.tls).then_some("");
            self.overflow.refuse(stream, more, &self.limits, metrics, format).await;
            return None;
        };
        let new = self.lifecycle.as_ref().map(Lifecycle::open_connection);
        let (stream, transport) = match opening == Opening::default() {
            true => (stream, Transport::default()),
            // Boxed: most connections begin with a request, and need no room for it.
            false => Box::pin(self.open(stream, opening, &permit)).await?,
        };
        let transport = self.with_peer(&stream, transport);
        let (this, shutdown) = (Arc::clone(self), shutdown.clone());
        // Pingora's task has room for a TLS handshake, 9 KB, which an idle connection would keep.
        let _runs_on = match self.http2.as_ref().filter(|_| transport.is_http2) {
            Some(http2) => {
                let http2 = http2.clone();
                tokio::spawn(async move {
                    this.serve(&http2, stream, (permit, new), transport, shutdown).await;
                })
            }
            None => {
                let connection = self.connection(stream, permit, transport, new);
                let app = Arc::clone(&self.app);
                tokio::spawn(async move { answer(&app, connection, &shutdown).await })
            }
        };
        None
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}
