//! A span: a part of the work for a request, which begins, has notes, and ends when it is dropped.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::protocol::trace_context::TraceContext;
use crate::trace::{Tracer, new_span_id};

/// The most bytes of a text in a span.
const MAX_TEXT: usize = 1024;

/// What a span is about (<https://opentelemetry.io/docs/specs/otel/trace/api/#spankind>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// The answer to a client.
    Server,
    /// A request to another service.
    Client,
    /// Work of the gateway itself.
    Internal,
}

/// A note about a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    Text(String),
    Number(i64),
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRecord {
    pub context: TraceContext,
    /// The id of the span that it is part of; `None` for the first of a trace.
    pub parent: Option<u64>,
    /// Of the client, as it was received.
    pub trace_state: Option<String>,
    pub name: Cow<'static, str>,
    pub kind: SpanKind,
    pub began: SystemTime,
    /// Not before `began`.
    pub ended: SystemTime,
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Spans of other traces that it depends on.
    pub links: Vec<TraceContext>,
    /// It failed in this way.
    pub error: Option<Cow<'static, str>>,
}

/// A span that has begun. Dropped, it ends.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    /// `None` if it is not recorded.
    recording: Option<Box<Recording>>,
}

#[derive(Debug)]
struct Recording {
    tracer: Arc<Tracer>,
    since: Instant,
    record: SpanRecord,
}

/// The span that further spans are part of.
#[derive(Debug, Clone)]
pub struct SpanParent {
    context: TraceContext,
    /// `None` if its trace is not recorded.
    tracer: Option<Arc<Tracer>>,
}

impl Span {
    /// A span that begins now. It is recorded if its context is sampled.
    pub(super) fn new(
        tracer: &Arc<Tracer>,
        context: TraceContext,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
    ) -> Self {
        if !context.sampled {
            return Self { context, recording: None };
        }
        #[expect(clippy::disallowed_methods, reason = "a span says when it began")]
        let now = SystemTime::now();
        let record = SpanRecord {
            context,
            parent: None,
            trace_state: None,
            name: name.into(),
            kind,
            began: now,
            ended: now,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        };
        let recording = Recording { tracer: Arc::clone(tracer), since: Instant::now(), record };
        Self { context, recording: Some(Box::new(recording)) }
    }

    /// How others name it.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// The same, for spans that are part of it.
    #[must_use]
    pub fn parent(&self) -> SpanParent {
        let tracer = self.recording.as_ref().map(|recording| Arc::clone(&recording.tracer));
        SpanParent { context: self.context, tracer }
    }

    /// Whether notes about it are kept.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// It is part of this span of the client.
    pub(super) fn continue_from(&mut self, parent: u64, trace_state: Option<String>) {
        if let Some(recording) = &mut self.recording {
            recording.record.parent = Some(parent);
            recording.record.trace_state = trace_state;
        }
    }

    /// Gives it another name, one of few.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(recording) = &mut self.recording {
            recording.record.name = name.into();
        }
    }

    /// Notes a text, of which the first 1,024 bytes are kept.
    pub fn text(&mut self, name: &'static str, value: &str) {
        if let Some(recording) = &mut self.recording {
            let value = value.get(..value.floor_char_boundary(MAX_TEXT)).unwrap_or_default();
            recording.record.attributes.push((name, AttributeValue::Text(value.to_owned())));
        }
    }

    /// Notes a number.
    pub fn number(&mut self, name: &'static str, value: u64) {
        if let Some(recording) = &mut self.recording {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            recording.record.attributes.push((name, AttributeValue::Number(value)));
        }
    }

    /// Notes that it failed, and how.
    pub fn fail(&mut self, cause: impl Into<Cow<'static, str>>) {
        if let Some(recording) = &mut self.recording {
            recording.record.error = Some(cause.into());
        }
    }

    /// Ends it without a trace of it.
    pub fn cancel(mut self) {
        self.recording = None;
    }

    /// Notes that it depends on a span of another trace.
    pub fn link(&mut self, other: TraceContext) {
        if let Some(recording) = &mut self.recording {
            recording.record.links.push(other);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            let Recording { tracer, since, mut record } = *recording;
            let ended = record.began.checked_add(since.elapsed());
            record.ended = ended.unwrap_or(record.began);
            tracer.push(record);
        }
    }
}

impl SpanParent {
    /// How others name it.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// A span of work in this process; `None` if the trace is not recorded, since nobody else gets to know its
    /// id.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Option<Span> {
        self.tracer.as_ref().map(|tracer| self.child(tracer, name, SpanKind::Internal))
    }

    /// The parent of spans below one that begins later, by [`SpanParent::begin`].
    #[must_use]
    pub fn next(&self) -> Self {
        Self { context: self.below(), tracer: self.tracer.clone() }
    }

    /// Begins the span that `next` has promised.
    #[must_use]
    pub fn begin(&self, next: &Self, name: &'static str) -> Option<Span> {
        let tracer = self.tracer.as_ref()?;
        let mut span = Span::new(tracer, next.context, name, SpanKind::Internal);
        span.continue_from(self.context.span_id, None);
        Some(span)
    }

    /// A span whose id others get to know, recorded or not.
    #[must_use]
    pub fn named(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Span {
        match &self.tracer {
            Some(tracer) => self.child(tracer, name, kind),
            None => Span { context: self.below(), recording: None },
        }
    }

    fn child(
        &self,
        tracer: &Arc<Tracer>,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
    ) -> Span {
        let mut span = Span::new(tracer, self.below(), name, kind);
        span.continue_from(self.context.span_id, None);
        span
    }

    fn below(&self) -> TraceContext {
        TraceContext { span_id: new_span_id(), ..self.context }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::trace::ALL;

    #[test]
    fn spans_know_their_parents_and_end_when_they_are_dropped() {
        let tracer = Tracer::new(ALL, false, 8, 8);
        let mut request = tracer.begin(&HeaderMap::new());
        request.text("url.path", &"é".repeat(1000));
        let part = request.parent().part("cache lookup").expect("recorded");
        let call = part.parent().named("GET", SpanKind::Client);
        let ids = [&request, &part, &call].map(|span| span.context());
        assert!(ids.iter().all(|id| id.trace_id == ids[0].trace_id));
        assert_eq!(tracer.waiting(), 0);
        drop((call, part, request));
        let spans = tracer.take();
        let parents: Vec<_> = spans.iter().map(|span| span.parent).collect();
        assert_eq!(parents, [Some(ids[1].span_id), Some(ids[0].span_id), None]);
        assert!(spans.iter().all(|span| span.ended >= span.began));
        let AttributeValue::Text(path) = &spans[2].attributes[0].1 else { panic!("{spans:?}") };
        assert_eq!(path.len(), 1024);
    }

    #[test]
    fn what_is_not_recorded_has_ids_for_others_and_nothing_else() {
        let tracer = Tracer::new(0, false, 8, 8);
        let mut request = tracer.begin(&HeaderMap::new());
        request.text("url.path", "/");
        request.fail("internal");
        let parent = request.parent();
        assert!(parent.part("cache lookup").is_none());
        let call = parent.named("GET", SpanKind::Client).context();
        assert_eq!(call.trace_id, request.context().trace_id);
        assert!(call.span_id != request.context().span_id && !call.sampled);
        drop(request);
        assert_eq!(tracer.waiting(), 0);
    }
}
