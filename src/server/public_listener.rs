//! The service of the public listener. With a shared tier, the connection of which requests wait for answers is kept in
//! its threads: an answer wakes no other thread.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening;

use crate::cache::Cache;

/// The public listener, and the connection to the shared tier, if there is one.
pub(super) struct PublicListener<A> {
    pub(super) service: listening::Service<A>,
    /// The cache with a shared tier.
    pub(super) cache: Option<Arc<Cache>>,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for PublicListener<A> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        if let Some(cache) = self.cache.take() {
            // As long as these threads run: requests end after the listener has.
            let _runs_on = tokio::spawn(async move { cache.read_shared().await });
        }
        Service::start_service(&mut self.service, fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        Service::name(&self.service)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Service::listen_addresses(&self.service)
    }
}
