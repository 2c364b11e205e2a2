//! Sends the spans that have ended to a collector of OpenTelemetry, in batches, by OTLP over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>). It is a service of its own: no request waits for it.

mod otlp;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use http::header::CONTENT_TYPE;
use log::{info, warn};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::collector::otlp::{Resource, encode};
use crate::config::{TRACES, TracingConfig, UpstreamConfig, collector_headers, read_file};
use crate::s3::secret::Secret;
use crate::trace::span::SpanRecord;
use crate::trace::{SpanCounts, Tracer};
use crate::upstream::call::{Call, CallBody, Caller};

/// The most spans of one request. OpenTelemetry's default.
pub const BATCH: usize = 512;

/// Spans wait no longer for others to come.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long one request to the collector may take. OpenTelemetry's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses before a batch is sent again that the collector could not take.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The collector, and the tracer whose spans it gets.
pub struct TraceCollector {
    tracer: Arc<Tracer>,
    config: TracingConfig,
    resource: Resource,
    caller: Caller,
    /// Whether the last batch was lost.
    failing: AtomicBool,
    /// One batch at a time.
    sending: Mutex<()>,
}

/// How the collector received a batch.
#[derive(Debug, PartialEq, Eq)]
enum BatchAnswer {
    /// It has taken all but this many spans.
    Taken { rejected: u64 },
    /// It may take it later.
    NotNow(String),
    /// It does not accept it.
    Refused(String),
}

impl TraceCollector {
    /// The collector of this configuration. `version` and `instance` describe the process.
    #[must_use]
    pub fn new(
        config: &TracingConfig,
        upstream: &UpstreamConfig,
        version: &'static str,
        instance: String,
    ) -> Arc<Self> {
        let tracer = Tracer::new(config.sample, config.trust_clients, config.queue, BATCH);
        let resource = Resource { service: config.service_name.clone(), version, instance };
        Arc::new(Self {
            tracer,
            config: config.clone(),
            resource,
            caller: Caller::new(upstream),
            failing: AtomicBool::new(false),
            sending: Mutex::default(),
        })
    }

    /// Begins the spans that it gets.
    #[must_use]
    pub fn tracer(&self) -> &Arc<Tracer> {
        &self.tracer
    }

    /// Sends what has come within the last second, until none is left; for the end of the process. Blocks, at
    /// most `patience`.
    pub fn end(&self, patience: Duration) {
        if self.tracer.waiting() == 0 {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        let _in_time = runtime.block_on(async { timeout(patience, self.send_all()).await });
        runtime.shutdown_background();
    }

    async fn send_all(&self) {
        let _turn = self.sending.lock().await;
        loop {
            let batch = self.tracer.take();
            if batch.is_empty() {
                return;
            }
            self.send(&batch).await;
        }
    }

    /// Sends spans as they come. Never returns.
    pub async fn run(&self) {
        loop {
            self.tracer.wait_for_batch(LONGEST_WAIT).await;
            let _turn = self.sending.lock().await;
            let batch = self.tracer.take();
            if !batch.is_empty() {
                self.send(&batch).await;
            }
        }
    }

    /// Sends a batch, a few times if the collector cannot take it at once, and counts what became of it.
    async fn send(&self, batch: &[SpanRecord]) {
        let body = encode(batch, &self.resource);
        let number = batch.len() as u64;
        let SpanCounts { sent, unreachable, refused, .. } = &self.tracer.counts;
        let mut pauses = PAUSES.iter();
        let lost = loop {
            match self.ask(&body).await {
                BatchAnswer::Taken { rejected } => {
                    let rejected = rejected.min(number);
                    sent.fetch_add(number - rejected, Ordering::Relaxed);
                    if rejected == 0 {
                        break None;
                    }
                    refused.fetch_add(rejected, Ordering::Relaxed);
                    break Some(format!("it has rejected {rejected} of {number} spans"));
                }
                BatchAnswer::Refused(why) => {
                    refused.fetch_add(number, Ordering::Relaxed);
                    break Some(why);
                }
                BatchAnswer::NotNow(why) => match pauses.next() {
                    Some(pause) => sleep(*pause).await,
                    None => {
                        unreachable.fetch_add(number, Ordering::Relaxed);
                        break Some(why);
                    }
                },
            }
        };
        self.note(lost);
    }

    /// Logs when the collector begins and ceases to fail.
    fn note(&self, lost: Option<String>) {
        let was_failing = self.failing.swap(lost.is_some(), Ordering::Relaxed);
        let endpoint = &self.config.endpoint;
        match lost {
            Some(why) if !was_failing => {
                warn!("traces: the collector {endpoint} takes no spans: {why}; spans are dropped");
            }
            None if was_failing => info!("traces: the collector {endpoint} takes spans again"),
            _ => {}
        }
    }

    async fn ask(&self, body: &[u8]) -> BatchAnswer {
        let headers = match self.config.headers_file.as_deref().map(headers_in) {
            None => Vec::new(),
            Some(Ok(headers)) => headers,
            Some(Err(why)) => return BatchAnswer::NotNow(why),
        };
        let media_type = (CONTENT_TYPE.as_str(), Secret::new("application/x-protobuf".to_owned()));
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let endpoint = &self.config.endpoint;
        let path = format!("{}{TRACES}", endpoint.base_path);
        let call = Call {
            headers: std::iter::once(media_type).chain(headers).collect(),
            body: CallBody::Bytes(body),
            ..Call::new(&Method::POST, &path)
        };
        match timeout(TIMEOUT, Box::pin(self.caller.call(endpoint, &call))).await {
            Ok(Ok((status, reply))) => delivery(status, &reply),
            Ok(Err(why)) => BatchAnswer::NotNow(why),
            Err(_late) => BatchAnswer::NotNow(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

/// What an answer of the collector says (OTLP, sections "OTLP/HTTP Response" and "Throttling").
fn delivery(status: u16, reply: &[u8]) -> BatchAnswer {
    match status {
        200..=299 => BatchAnswer::Taken { rejected: otlp::rejected(reply) },
        429 | 502..=504 => BatchAnswer::NotNow(format!("it answers {status}")),
        _ => BatchAnswer::Refused(format!("it answers {status}")),
    }
}

/// The headers in a file.
fn headers_in(path: &Path) -> Result<Vec<(http::HeaderName, Secret)>, String> {
    let text = read_file(path);
    let text = text.map_err(|error| format!("tracing.headers_file cannot be read: {error}"))?;
    collector_headers(&text)
        .map_err(|mistakes| format!("tracing.headers_file {}", mistakes.join("; it ")))
}

/// The counters of spans by what became of them, with the labels of the metric.
#[must_use]
pub fn outcomes(counts: &SpanCounts) -> [(&'static str, u64); 4] {
    let SpanCounts { sent, queue_full, unreachable, refused } = counts;
    [("sent", sent), ("queue_full", queue_full), ("unreachable", unreachable), ("refused", refused)]
        .map(|(outcome, count): (_, &AtomicU64)| (outcome, count.load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_whether_a_batch_is_sent_again() {
        let refused = |status| BatchAnswer::Refused(format!("it answers {status}"));
        let later = |status| BatchAnswer::NotNow(format!("it answers {status}"));
        for (status, expected) in [
            (200, BatchAnswer::Taken { rejected: 0 }),
            (202, BatchAnswer::Taken { rejected: 0 }),
            (301, refused(301)),
            (400, refused(400)),
            (401, refused(401)),
            (413, refused(413)),
            (429, later(429)),
            (500, refused(500)),
            (502, later(502)),
            (503, later(503)),
            (504, later(504)),
            (505, refused(505)),
        ] {
            assert_eq!(delivery(status, b""), expected, "{status}");
        }
    }
}
