//! Traces: which requests are recorded, the spans of those that are, and the queue in which they wait for the
//! collector. A request that is not recorded has ids, for its log line and for the store, and nothing else.

pub mod span;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::protocol::trace_context::{TraceContext, trace_state};
use crate::trace::span::{Span, SpanKind, SpanRecord};

/// A ratio of 1, in parts per million.
pub const ALL: u32 = 1_000_000;

/// Begins the spans of requests, and holds the spans that have ended.
#[derive(Debug)]
pub struct Tracer {
    /// Parts per million of the traces that begin here.
    sample: AtomicU64,
    trusts_clients: AtomicBool,
    ended: Mutex<VecDeque<SpanRecord>>,
    /// The most spans that wait.
    room: usize,
    /// How many are worth a request to the collector before its time.
    batch: usize,
    is_batch: Notify,
    pub counts: SpanCounts,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    /// The collector has taken them.
    pub sent: AtomicU64,
    /// Dropped: the queue was full.
    pub queue_full: AtomicU64,
    /// Dropped: the collector did not answer, or was not ready, each time it was asked.
    pub unreachable: AtomicU64,
    /// Dropped: the collector does not accept them.
    pub refused: AtomicU64,
}

impl Tracer {
    /// A tracer with room for `room` ended spans, of which `batch` are sent at once. `sample`: parts per
    /// million.
    #[must_use]
    pub fn new(sample: u32, trusts_clients: bool, room: usize, batch: usize) -> Arc<Self> {
        Arc::new(Self {
            sample: AtomicU64::new(sample.into()),
            trusts_clients: AtomicBool::new(trusts_clients),
            ended: Mutex::default(),
            room,
            batch: batch.min(room),
            is_batch: Notify::new(),
            counts: SpanCounts::default(),
        })
    }

    /// Later requests follow these settings.
    pub fn set(&self, sample: u32, trusts_clients: bool) {
        self.sample.store(sample.into(), Ordering::Relaxed);
        self.trusts_clients.store(trusts_clients, Ordering::Relaxed);
    }

    /// The span of a request: part of the client's trace if clients are trusted and the request names one,
    /// else the first of a new trace, with a link to the client's if that is recorded.
    #[must_use]
    pub fn begin(self: &Arc<Self>, headers: &HeaderMap) -> Span {
        let client = TraceContext::of(headers);
        let trusted = client.filter(|_| self.trusts_clients.load(Ordering::Relaxed));
        let trace_id = trusted.map_or_else(new_trace_id, |client| client.trace_id);
        let sampled = match trusted {
            Some(client) => client.sampled,
            None => is_sampled(trace_id, self.sample.load(Ordering::Relaxed)),
        };
        let context = TraceContext { trace_id, span_id: new_span_id(), sampled };
        let mut span = Span::new(self, context, "request", SpanKind::Server);
        if sampled {
            match (trusted, client) {
                (Some(parent), _) => span.continue_from(parent.span_id, trace_state(headers)),
                (None, Some(client)) => span.link(client),
                (None, None) => {}
            }
        }
        span
    }

    /// Queues a span that has ended, or counts it if there is no room.
    fn push(&self, span: SpanRecord) {
        let mut ended = self.lock();
        if ended.len() >= self.room {
            drop(ended);
            self.counts.queue_full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        ended.push_back(span);
        let is_batch = ended.len() >= self.batch;
        drop(ended);
        if is_batch {
            self.is_batch.notify_one();
        }
    }

    /// Takes the oldest spans, at most a batch.
    #[must_use]
    pub fn take(&self) -> Vec<SpanRecord> {
        let mut ended = self.lock();
        let number = ended.len().min(self.batch);
        ended.drain(..number).collect()
    }

    /// The number of spans that wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.lock().len() as u64
    }

    /// Waits until there is a batch, at most this long.
    pub async fn wait_for_batch(&self, longest: Duration) {
        if self.lock().len() < self.batch {
            let _a_batch_or_late = timeout(longest, self.is_batch.notified()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SpanRecord>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a trace that begins here is recorded. By the last eight bytes of the trace id without their last
/// bit, as the sampler `traceidratio` of OpenTelemetry's SDKs decides: all services with one ratio agree.
#[must_use]
pub fn is_sampled(trace_id: u128, parts_per_million: u64) -> bool {
    let random = (trace_id & u128::from(u64::MAX)) >> 1;
    random < (u128::from(parts_per_million) << 63) / u128::from(ALL)
}

fn new_trace_id() -> u128 {
    fastrand::u128(1..)
}

fn new_span_id() -> u64 {
    fastrand::u64(1..)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::protocol::trace_context::{TRACEPARENT, TRACESTATE};

    fn headers(sampled: bool) -> HeaderMap {
        let context = TraceContext { trace_id: 7, span_id: 9, sampled };
        HeaderMap::from_iter([
            (TRACEPARENT, context.to_header()),
            (TRACESTATE, HeaderValue::from_static("a=1")),
        ])
    }

    #[test]
    fn the_ratio_decides_over_traces_that_begin_here() {
        fastrand::seed(19);
        for (parts, least, most) in [(0, 0, 0), (10_000, 50, 150), (ALL, 10_000, 10_000)] {
            let taken = (0..10_000).filter(|_| is_sampled(new_trace_id(), parts.into())).count();
            assert!((least..=most).contains(&taken), "{parts}: {taken}");
        }
        assert!(is_sampled(u128::MAX, ALL.into()));
        assert!(is_sampled(1 << 100, 1) && !is_sampled(u128::MAX, u64::from(ALL) - 1));
    }

    #[test]
    fn a_trusted_client_decides_and_another_one_is_linked() {
        let none = HeaderMap::new();
        for (trusts, sample, headers, sampled) in [
            (true, ALL, &none, true),
            (true, 0, &none, false),
            (true, 0, &headers(true), true),
            (true, ALL, &headers(false), false),
            (false, 0, &headers(true), false),
            (false, ALL, &headers(false), true),
        ] {
            let tracer = Tracer::new(sample, trusts, 8, 8);
            let span = tracer.begin(headers);
            let (context, has_client) = (span.context(), !headers.is_empty());
            assert_eq!(context.sampled, sampled, "{trusts} {sample} {headers:?}");
            assert_ne!(context.span_id, 9);
            assert_eq!(context.trace_id == 7, trusts && has_client);
            drop(span);
            let spans = tracer.take();
            assert_eq!(spans.len(), usize::from(sampled));
            for span in spans {
                let continued = trusts && has_client;
                assert_eq!(span.parent, continued.then_some(9));
                assert_eq!(span.trace_state.as_deref(), continued.then_some("a=1"));
                assert_eq!(span.links.len(), usize::from(has_client && !trusts));
            }
        }
    }

    #[test]
    fn a_full_queue_drops_the_newest_spans_and_counts_them() {
        let tracer = Tracer::new(ALL, false, 3, 2);
        let none = HeaderMap::new();
        let first = tracer.begin(&none).context();
        for _ in 0..4 {
            drop(tracer.begin(&none));
        }
        // The first one has ended, too: its handle was dropped at once.
        assert_eq!((tracer.waiting(), tracer.counts.queue_full.load(Ordering::Relaxed)), (3, 2));
        let batch = tracer.take();
        assert_eq!((batch.len(), batch[0].context), (2, first));
        assert_eq!((tracer.take().len(), tracer.take().len()), (1, 0));
        tracer.set(0, false);
        assert!(!tracer.begin(&none).context().sampled, "the settings in force count");
    }
}
