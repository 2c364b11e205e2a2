//! Connections that are refused before any request: those beyond the limit with a 503, and plain HTTP on the
//! port for TLS with a 400; in one write, and closed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::warn;
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};
use tokio::time::timeout;

use crate::config::LogFormat;
use crate::downstream::final_response::{bad_request_response, final_response};
use crate::downstream::limits::ClientLimits;
use crate::downstream::rare_line::RareLine;
use crate::downstream::transport::peer_of;
use crate::logging::access;
use crate::metrics::{Metrics, Page};
use crate::protocol::head_ids::HeadIds;
use crate::protocol::request_check::BadRequest;
use crate::response::refusal::Refusal;

/// The time a client has for reading the refusal and closing the connection.
const LINGER: Duration = Duration::from_millis(500);
/// The same while [`MAX_LINGERING`] connections linger.
const SHORT_LINGER: Duration = Duration::from_millis(20);
/// The most refused connections that stay open for [`LINGER`].
const MAX_LINGERING: usize = 256;
/// The least time between two log lines about refusals.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Refuses connections beyond the limit.
#[derive(Debug)]
pub(super) struct Overflow {
    /// The name of the limit in the log.
    limit: &'static str,
    lingering: AtomicUsize,
    line: RareLine,
}

impl Overflow {
    pub(super) fn new(limit: &'static str) -> Self {
        Self { limit, lingering: AtomicUsize::new(0), line: RareLine::new(LOG_INTERVAL) }
    }

    /// Sends a 503 with `more` header lines, logs it with the request id and the address of the client, and closes the
    /// connection. A client that waits for a handshake of TLS could not read the response: its connection is just closed,
    /// with `None`.
    pub(super) async fn refuse(
        &self,
        stream: Stream,
        more: Option<&str>,
        limits: &ClientLimits,
        metrics: &Metrics,
        log_format: LogFormat,
    ) {
        let refusal = Refusal::ConnectionsFull;
        metrics.page(Page::Other, Some(refusal.status()));
        metrics.cause(refusal.cause());
        self.log_refusal(limits);
        let ids = HeadIds::unknown();
        access::refused(log_format, peer_of(&stream), (refusal.status(), refusal.cause()), &ids);
        let Some(more) = more else { return };
        let id = ids.request_id.as_str();
        let lingering = self.lingering.fetch_add(1, Ordering::Relaxed);
        let linger = if lingering < MAX_LINGERING { LINGER } else { SHORT_LINGER };
        let refused = refusal.response(None, "", id);
        let body = String::from_utf8_lossy(&refused.body);
        let more = format!("Retry-After: 1\r\n{more}");
        let response = final_response(refused.status, "Service Unavailable", &more, id, &body);
        let _gone_or_late = timeout(linger, send_last(stream, &response)).await;
        self.lingering.fetch_sub(1, Ordering::Relaxed);
    }

    /// Logs refusals, at most one line per [`LOG_INTERVAL`].
    fn log_refusal(&self, limits: &ClientLimits) {
        if let Some(refused) = self.line.note(Instant::now()) {
            warn!(
                "connections_full: the limit of connections ({}) is reached, {} are open; \
                 connections refused since the last such line: {refused}",
                self.limit,
                limits.connections()
            );
        }
    }
}

/// Tells a client that speaks plain HTTP that the port is for TLS, and closes the connection.
pub(super) async fn refuse_plain(stream: Stream, metrics: &Metrics, log_format: LogFormat) {
    let error = BadRequest::TlsRequired;
    metrics.page(Page::Other, Some(error.status()));
    metrics.cause(error.cause());
    let ids = HeadIds::unknown();
    access::refused_head(log_format, peer_of(&stream), error, &ids);
    let response = bad_request_response(error, &ids, "");
    let _gone_or_late = timeout(LINGER, send_last(stream, &response)).await;
}

/// Sends the last response of a connection, then reads until the client closes: TCP resets a connection that
/// is closed with unread bytes, and the client would lose the response.
async fn send_last(mut stream: Stream, response: &[u8]) -> std::io::Result<()> {
    stream.write_all(response).await?;
    stream.flush().await?;
    AsyncWriteExt::shutdown(&mut stream).await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
