//! Connections beyond the limit: told so in one write, and closed.

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

/// How long a client may take to read that it is refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);
/// Who is refused while so many others read theirs is cut off without a word.
const MAX_REFUSALS: usize = 256;
/// One line in the log stands for all refusals within this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Connections that were refused.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    in_progress: AtomicUsize,
    log: Mutex<RefusalLog>,
}

#[derive(Debug, Default)]
struct RefusalLog {
    last: Option<Instant>,
    unlogged: u64,
}

impl Overflow {
    /// Answers 503, and closes.
    pub(super) async fn refuse(&self, stream: Stream, limits: &ClientLimits, metrics: &Metrics) {
        let refusal = Refusal::ConnectionsFull;
        metrics.page(Page::Other, Some(refusal.status()));
        metrics.cause(refusal.cause());
        self.log_refusal(limits);
        if self.in_progress.fetch_add(1, Ordering::Relaxed) < MAX_REFUSALS {
            let _gone_or_late =
                tokio::time::timeout(REFUSAL_TIMEOUT, refuse(stream, &refusal)).await;
        }
        self.in_progress.fetch_sub(1, Ordering::Relaxed);
    }

    /// A line for the log, now and then.
    fn log_refusal(&self, limits: &ClientLimits) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.unlogged += 1;
        if log.last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            warn!(
                "connections_full: the limit of client connections (downstream.max_connections) is \
                 reached, {} are open; connections refused since the last such line: {}",
                limits.connections(),
                log.unlogged
            );
            *log = RefusalLog { last: Some(Instant::now()), unlogged: 0 };
        }
    }
}

/// Says why, and waits for the client to have read it: a connection that is closed with a request
/// unread is reset, and the answer lost.
async fn refuse(mut stream: Stream, refusal: &Refusal) -> std::io::Result<()> {
    let id = new_request_id();
    let answer = refusal.response(None, "", &id);
    let body = String::from_utf8_lossy(&answer.body);
    let more = "Retry-After: 1\r\n";
    let response = final_response(answer.status, "Service Unavailable", more, &id, &body);
    stream.write_all(&response).await?;
    stream.flush().await?;
    AsyncWriteExt::shutdown(&mut stream).await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
