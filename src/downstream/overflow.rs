//! Connections beyond the limit: told so in one write, and closed.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::warn;
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};

use crate::downstream::last_words;
use crate::downstream::limits::Limits;
use crate::metrics::{Metrics, Page};
use crate::protocol::request_id::new_request_id;
use crate::response::refusal::Refusal;

/// How long a client may take to read that it is refused.
const FAREWELL: Duration = Duration::from_millis(500);
/// Who is refused while so many others read theirs is cut off without a word.
const MOST_FAREWELLS: usize = 256;
/// One line in the log stands for all refusals within this time.
const QUIET: Duration = Duration::from_secs(1);

/// Connections that were refused.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    reading: AtomicUsize,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Overflow {
    /// Answers 503, and closes.
    pub(super) async fn answer(&self, stream: Stream, limits: &Limits, metrics: &Metrics) {
        let refusal = Refusal::ConnectionsFull;
        metrics.page(Page::Other, Some(refusal.status()));
        metrics.cause(refusal.cause());
        self.tell(limits);
        if self.reading.fetch_add(1, Ordering::Relaxed) < MOST_FAREWELLS {
            let _gone_or_late = tokio::time::timeout(FAREWELL, farewell(stream, &refusal)).await;
        }
        self.reading.fetch_sub(1, Ordering::Relaxed);
    }

    /// A line for the log, now and then.
    fn tell(&self, limits: &Limits) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.untold += 1;
        if told.last.is_none_or(|last| last.elapsed() >= QUIET) {
            warn!(
                "connections_full: the limit of client connections (downstream.max_connections) is \
                 reached, {} are open; connections refused since the last such line: {}",
                limits.connections(),
                told.untold
            );
            *told = Told { last: Some(Instant::now()), untold: 0 };
        }
    }
}

/// Says why, and waits for the client to have read it: a connection that is closed with a request
/// unread is reset, and the answer lost.
async fn farewell(mut stream: Stream, refusal: &Refusal) -> std::io::Result<()> {
    let id = new_request_id();
    let answer = refusal.answer(None, "", &id);
    let body = String::from_utf8_lossy(&answer.body);
    let more = "Retry-After: 1\r\n";
    let words = last_words(answer.status, "Service Unavailable", more, &id, &body);
    stream.write_all(&words).await?;
    stream.flush().await?;
    AsyncWriteExt::shutdown(&mut stream).await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
