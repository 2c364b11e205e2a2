//! The Pingora applications behind the two listeners: the connection limit is enforced, and each accepted
//! connection has the limits of [`ClientConnection`].

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;

use crate::config::{Config, DownstreamConfig, LogFormat};
use crate::downstream::ClientConnection;
use crate::downstream::limits::ClientLimits;
use crate::downstream::overflow::Overflow;
use crate::metrics::Metrics;

/// An application whose client connections are limited in number, size of head and time.
pub struct Guarded<A> {
    app: Arc<A>,
    config: DownstreamConfig,
    log_format: LogFormat,
    limits: Arc<ClientLimits>,
    metrics: Arc<Metrics>,
    overflow: Overflow,
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
        }
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
        let Some(permit) = self.limits.try_connect() else {
            self.overflow.refuse(stream, &self.limits, &self.metrics, self.log_format).await;
            return None;
        };
        let metrics = Arc::clone(&self.metrics);
        let connection =
            ClientConnection::new(stream, permit, &self.config, self.log_format, metrics);
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
