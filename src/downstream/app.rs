//! The Pingora applications behind the two listeners: the connection limit is enforced, and each accepted
//! connection has the limits of [`ClientConnection`].

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::{Shutdown as _, Stream};
use pingora::server::ShutdownWatch;

use crate::config::{Config, DownstreamConfig, LogFormat};
use crate::downstream::limits::ClientLimits;
use crate::downstream::overflow::{Overflow, refuse_plain};
use crate::downstream::tls::{Handshake, TlsPort, Transport};
use crate::downstream::{ClientConnection, Received};
use crate::metrics::Metrics;

/// An application whose client connections are limited in number, size of head and time.
pub struct Guarded<A> {
    app: Arc<A>,
    config: DownstreamConfig,
    log_format: LogFormat,
    limits: Arc<ClientLimits>,
    metrics: Arc<Metrics>,
    overflow: Overflow,
    tls: Option<Arc<TlsPort>>,
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
            tls: None,
        }
    }

    /// Its connections to this port begin with a TLS handshake.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<TlsPort>>) -> Self {
        Self { tls, ..self }
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
        let tls = self.tls.as_ref().filter(|tls| tls.is_of(&stream));
        let Some(permit) = self.limits.try_connect() else {
            let is_tls = tls.is_some();
            let (metrics, format) = (&self.metrics, self.log_format);
            self.overflow.refuse(stream, is_tls, &self.limits, metrics, format).await;
            return None;
        };
        let (stream, transport) = match tls {
            None => (stream, Transport::default()),
            // Boxed: most connections are plain, and have no room for it.
            Some(tls) => match Box::pin(tls.accept(stream)).await {
                Handshake::Done(stream, transport) => (stream, transport),
                Handshake::Plain(stream) => {
                    Box::pin(refuse_plain(stream, &self.metrics, self.log_format)).await;
                    return None;
                }
                Handshake::Failed => return None,
            },
        };
        let metrics = Arc::clone(&self.metrics);
        let connection = ClientConnection::new(
            stream,
            permit,
            &self.config,
            self.log_format,
            metrics,
            transport,
        );
        let mut open: Option<Stream> = Some(Box::new(connection));
        let (app, shutdown) = (Arc::clone(&self.app), shutdown.clone());
        // Pingora's task has room for a TLS handshake, 9 KB, which an idle connection would keep.
        let _runs_on = tokio::spawn(async move {
            while let Some(connection) = open {
                open = app.process_new(connection, &shutdown).await;
            }
        });
        None
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}
