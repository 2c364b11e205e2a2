//! Connections beyond the limit: refused with a 503 in one write, and closed.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::warn;
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};

use crate::downstream::final_response;
use crate::downstream::limits::ClientLimits;
use crate::metrics::{Metrics, Page};
use crate::protocol::request_id::new_request_id;
use crate::response::refusal::Refusal;

/// The time a client has for reading the refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);
/// The most refusals in progress at once; connections beyond that are closed without a response.
const MAX_REFUSALS: usize = 256;
/// The least time between two log lines about refusals.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Refuses connections beyond the limit.
#[derive(Debug)]
pub(super) struct Overflow {
    /// The name of the limit in the log.
    limit: &'static str,
    in_progress: AtomicUsize,
    log: Mutex<RefusalLog>,
}

#[derive(Debug, Default)]
struct RefusalLog {
    last: Option<Instant>,
    unlogged: u64,
}

impl Overflow {
    pub(super) fn new(limit: &'static str) -> Self {
        Self { limit, in_progress: AtomicUsize::new(0), log: Mutex::default() }
    }

    /// Sends a 503 and closes the connection.
    pub(super) async fn refuse(&self, stream: Stream, limits: &ClientLimits, metrics: &Metrics) {
        let refusal = Refusal::ConnectionsFull;
        metrics.page(Page::Other, Some(refusal.status()));
        metrics.cause(refusal.cause());
        self.log_refusal(limits);
        if self.in_progress.fetch_add(1, Ordering::Relaxed) < MAX_REFUSALS {
            let _gone_or_late =
                tokio::time::timeout(REFUSAL_TIMEOUT, send_refusal(stream, &refusal)).await;
        }
        self.in_progress.fetch_sub(1, Ordering::Relaxed);
    }

    /// Logs refusals, at most one line per [`LOG_INTERVAL`].
    fn log_refusal(&self, limits: &ClientLimits) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.unlogged += 1;
        if log.last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            warn!(
                "connections_full: the limit of connections ({}) is reached, {} are open; \
                 connections refused since the last such line: {}",
                self.limit,
                limits.connections(),
                log.unlogged
            );
            *log = RefusalLog { last: Some(Instant::now()), unlogged: 0 };
        }
    }
}

/// Sends the refusal, then reads until the client closes: TCP resets a connection that is closed with
/// unread bytes, and the client would lose the response.
async fn send_refusal(mut stream: Stream, refusal: &Refusal) -> std::io::Result<()> {
    let id = new_request_id();
    let refused = refusal.response(None, "", &id);
    let body = String::from_utf8_lossy(&refused.body);
    let more = "Retry-After: 1\r\n";
    let response = final_response(refused.status, "Service Unavailable", more, &id, &body);
    stream.write_all(&response).await?;
    stream.flush().await?;
    AsyncWriteExt::shutdown(&mut stream).await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
