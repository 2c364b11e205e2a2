//! The Pingora application behind the client listener: enforces the connection limit and passes each
//! accepted connection to the proxy.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::proxy::{HttpProxy, ProxyHttp};
use pingora::server::ShutdownWatch;

use crate::config::{Config, DownstreamConfig, LogFormat};
use crate::downstream::ClientConnection;
use crate::downstream::limits::ClientLimits;
use crate::downstream::overflow::Overflow;
use crate::metrics::Metrics;

/// A proxy whose client connections are limited in number, size of head and time.
pub struct GuardedProxy<P> {
    proxy: Arc<HttpProxy<P>>,
    config: DownstreamConfig,
    log_format: LogFormat,
    limits: Arc<ClientLimits>,
    metrics: Arc<Metrics>,
    overflow: Overflow,
}

impl<P> GuardedProxy<P> {
    /// Wraps the proxy with the limits of this configuration.
    #[must_use]
    pub fn new(
        proxy: HttpProxy<P>,
        config: &Config,
        limits: Arc<ClientLimits>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            proxy: Arc::new(proxy),
            config: config.downstream,
            log_format: config.log.format,
            limits,
            metrics,
            overflow: Overflow::default(),
        }
    }
}

#[async_trait]
impl<P> ServerApp for GuardedProxy<P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let Some(_permit) = self.limits.try_connect() else {
            self.overflow.refuse(stream, &self.limits, &self.metrics).await;
            return None;
        };
        let metrics = Arc::clone(&self.metrics);
        let connection = ClientConnection::new(stream, &self.config, self.log_format, metrics);
        self.proxy.process_new(Box::new(connection), shutdown).await
    }

    async fn cleanup(&self) {
        self.proxy.cleanup().await;
    }
}
