//! The application of the public listener: it reads each request head, answers what needs no store
//! (`direct.rs`), and lets Pingora's proxy answer the rest. Both answer on the same connection.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::{Shutdown as _, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::downstream::{ClientConnection, Received};
use crate::gateway::Gateway;
use crate::gateway::context::Context;
use crate::gateway::direct::Ahead;

/// Answers the requests of a connection.
pub struct Front {
    gateway: Gateway,
    proxy: Arc<HttpProxy<Gateway>>,
    keepalive_timeout: Duration,
}

impl Front {
    /// An application that answers by this gateway, and by the proxy whose hooks are the same gateway.
    #[must_use]
    pub fn new(gateway: Gateway, proxy: HttpProxy<Gateway>, keepalive_timeout: Duration) -> Self {
        Self { gateway, proxy: Arc::new(proxy), keepalive_timeout }
    }

    /// Lets Pingora answer the request that was handed over; `None` if the connection has ended.
    async fn answer_by_proxy(
        &self,
        connection: Box<ClientConnection>,
        shutdown: &ShutdownWatch,
    ) -> Option<Box<ClientConnection>> {
        let mut session = ServerSession::new_http1(connection);
        // 0 is no limit: the head has arrived already.
        session.set_keepalive(if *shutdown.borrow() { None } else { Some(0) });
        let reused = self.proxy.process_new_http(session, shutdown).await?;
        let connection = reused.consume().0.into_any().downcast::<ClientConnection>().ok()?;
        // Left where Pingora refused the request before its first hook.
        drop(connection.exchange().take_admitted::<Context>());
        Some(connection)
    }

    /// Answers requests until one needs Pingora; `None` at the end of the connection.
    async fn answer_directly(
        &self,
        connection: &mut ClientConnection,
        shutdown: &ShutdownWatch,
    ) -> Option<()> {
        let mut shutdown = shutdown.clone();
        let mut stopped = pin!(async move {
            let _stopped_or_gone = shutdown.wait_for(|stopped| *stopped).await;
        });
        loop {
            let head = match connection.receive(self.keepalive_timeout, stopped.as_mut()).await {
                Received::End => return None,
                Received::Other(length) => {
                    connection.hand_over(length);
                    return Some(());
                }
                Received::Head(head) => head,
            };
            let (client, exchange) = (&head.header, connection.exchange());
            let answer = match self.gateway.answer(client, exchange) {
                Ahead::Answer(answer) => Some(answer),
                // In a box: an idle connection keeps no room for it.
                Ahead::Below(below) => {
                    Box::pin(self.gateway.answer_from_below(client, exchange, below)).await
                }
                Ahead::HandedOver => None,
            };
            let Some(answer) = answer else {
                connection.hand_over(head.length);
                return Some(());
            };
            connection.consume(head.length);
            if !self.gateway.send(connection, &head.header, answer).await {
                return None;
            }
        }
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut connection = stream.into_any().downcast::<ClientConnection>().ok()?;
        while self.answer_directly(&mut connection, shutdown).await.is_some() {
            // In a box: an idle connection does not keep the room of Pingora's session.
            connection = Box::pin(self.answer_by_proxy(connection, shutdown)).await?;
        }
        connection.shutdown().await;
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
