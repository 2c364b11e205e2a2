//! Spans as OTLP has them: the messages of `opentelemetry/proto/trace/v1/trace.proto` and
//! `opentelemetry/proto/collector/trace/v1/trace_service.proto`, as far as the gateway writes them
//! (<https://github.com/open-telemetry/opentelemetry-proto>, version 1). `tests/e2e/collector.rs` reads them with
//! the types that OpenTelemetry generates from the whole schema.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::protocol::trace_context::TraceContext;
use crate::trace::span::{AttributeValue, SpanKind, SpanRecord};

/// The bits of the flags that say whether the parent is another service's (`SpanFlags`).
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;
/// The status of a span that has failed.
const ERROR: i32 = 2;

/// The process, as its spans name it (<https://opentelemetry.io/docs/specs/semconv/resource/#service>).
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) service: String,
    pub(super) version: &'static str,
    /// Unique among the processes of the service.
    pub(super) instance: String,
}

#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceMessage>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMessage {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<ScopeMessage>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<LinkMessage>,
    #[prost(message, optional, tag = "15")]
    status: Option<StatusMessage>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct LinkMessage {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(fixed32, tag = "6")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct StatusMessage {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "AnyValueOf", tags = "1, 3")]
    value: Option<AnyValueOf>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AnyValueOf {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

/// The body of the request that sends these spans.
pub(super) fn encode(spans: &[SpanRecord], resource: &Resource) -> Vec<u8> {
    let text = |key: &str, value: &str| Attribute::new(key, AnyValueOf::Text(value.to_owned()));
    let about = ResourceMessage {
        attributes: vec![
            text("service.name", &resource.service),
            text("service.version", resource.version),
            text("service.instance.id", &resource.instance),
        ],
    };
    let scope = ScopeMessage { name: "s3proxy".to_owned(), version: resource.version.to_owned() };
    let spans = spans.iter().map(SpanMessage::of).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    let resource_spans = vec![ResourceSpans { resource: Some(about), scope_spans }];
    ExportRequest { resource_spans }.encode_to_vec()
}

/// How many spans a collector has rejected, by the body of its answer. A body that is none says nothing.
pub(super) fn rejected(reply: &[u8]) -> u64 {
    let reply = ExportResponse::decode(reply).ok();
    let rejected = reply.and_then(|reply| reply.partial_success).map(|it| it.rejected_spans);
    rejected.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

impl Attribute {
    fn new(key: &str, value: AnyValueOf) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

impl SpanMessage {
    fn of(span: &SpanRecord) -> Self {
        let attributes = span.attributes.iter().map(|(key, value)| {
            let value = match value {
                AttributeValue::Text(text) => AnyValueOf::Text(text.clone()),
                AttributeValue::Number(number) => AnyValueOf::Number(*number),
            };
            Attribute::new(key, value)
        });
        let status = span
            .error
            .as_ref()
            .map(|cause| StatusMessage { message: cause.clone().into_owned(), code: ERROR });
        let is_remote = span.kind == SpanKind::Server && span.parent.is_some();
        Self {
            trace_id: span.context.trace_id.to_be_bytes().to_vec(),
            span_id: span.context.span_id.to_be_bytes().to_vec(),
            trace_state: span.trace_state.clone().unwrap_or_default(),
            parent_span_id: span.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            name: span.name.clone().into_owned(),
            kind: match span.kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
                SpanKind::Client => 3,
            },
            start_time_unix_nano: nanoseconds(span.began),
            end_time_unix_nano: nanoseconds(span.ended),
            attributes: attributes.collect(),
            links: span.links.iter().map(LinkMessage::of).collect(),
            status,
            flags: flags(&span.context)
                | PARENT_IS_KNOWN
                | if is_remote { PARENT_IS_REMOTE } else { 0 },
        }
    }
}

impl LinkMessage {
    fn of(context: &TraceContext) -> Self {
        Self {
            trace_id: context.trace_id.to_be_bytes().to_vec(),
            span_id: context.span_id.to_be_bytes().to_vec(),
            flags: flags(context),
        }
    }
}

/// The flags of `traceparent`.
fn flags(context: &TraceContext) -> u32 {
    u32::from(context.sampled)
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use proptest::prelude::*;

    use super::*;

    fn record() -> SpanRecord {
        let began = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001);
        SpanRecord {
            context: TraceContext { trace_id: 0xaabb, span_id: 0xcc, sampled: true },
            parent: Some(0xdd),
            trace_state: Some("a=1".to_owned()),
            name: "GET object".into(),
            kind: SpanKind::Server,
            began,
            ended: began + Duration::from_nanos(5),
            attributes: vec![
                ("url.path", AttributeValue::Text("/é".to_owned())),
                ("server.port", AttributeValue::Number(-7)),
            ],
            links: vec![TraceContext { trace_id: 1, span_id: 2, sampled: false }],
            error: Some("upstream_reset".into()),
        }
    }

    fn resource() -> Resource {
        Resource { service: "sky".to_owned(), version: "1.2.3", instance: "i".to_owned() }
    }

    #[test]
    fn the_schema_of_opentelemetry_reads_every_field() {
        let bytes = encode(&[record()], &resource());
        let read = ExportTraceServiceRequest::decode(&bytes[..]).expect("the schema");
        assert_eq!(read.encode_to_vec(), bytes, "no field is unknown to the schema");
        let of_resource = &read.resource_spans[0];
        let about = of_resource.resource.as_ref().expect("a resource");
        let names: Vec<_> = about.attributes.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(names, ["service.name", "service.version", "service.instance.id"]);
        let scope = of_resource.scope_spans[0].scope.as_ref().expect("a scope");
        assert_eq!((scope.name.as_str(), scope.version.as_str()), ("s3proxy", "1.2.3"));
        let span = &of_resource.scope_spans[0].spans[0];
        assert_eq!(span.trace_id, 0xaabb_u128.to_be_bytes());
        assert_eq!(span.span_id, 0xcc_u64.to_be_bytes());
        assert_eq!(span.parent_span_id, 0xdd_u64.to_be_bytes());
        assert_eq!((span.trace_state.as_str(), span.name.as_str()), ("a=1", "GET object"));
        assert_eq!((span.kind, span.flags), (2, 0x301));
        assert_eq!(span.start_time_unix_nano, 1_700_000_000_000_000_001);
        assert_eq!(span.end_time_unix_nano, 1_700_000_000_000_000_006);
        let values: Vec<_> =
            span.attributes.iter().filter_map(|it| it.value.clone()?.value).collect();
        assert_eq!(values, [Value::StringValue("/é".to_owned()), Value::IntValue(-7)]);
        assert_eq!(span.links[0].span_id, 2_u64.to_be_bytes());
        assert_eq!(span.links[0].flags, 0);
        let status = span.status.as_ref().expect("a status");
        assert_eq!((status.code, status.message.as_str()), (2, "upstream_reset"));
    }

    #[test]
    fn the_number_of_rejected_spans_is_read() {
        let reply = |rejected_spans| ExportResponse {
            partial_success: Some(PartialSuccess { rejected_spans }),
        };
        for (bytes, number) in [
            (Vec::new(), 0),
            (reply(3).encode_to_vec(), 3),
            (reply(-3).encode_to_vec(), 0),
            (b"{\"partialSuccess\":{}}".to_vec(), 0),
        ] {
            assert_eq!(rejected(&bytes), number, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_is_read(
            text: String, trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, number: i64,
        ) {
            let mut span = record();
            span.context = TraceContext { trace_id, span_id, sampled: true };
            span.attributes = vec![
                ("url.path", AttributeValue::Text(text.clone())),
                ("server.port", AttributeValue::Number(number)),
            ];
            let bytes = encode(&[span.clone(), span], &resource());
            let read = ExportTraceServiceRequest::decode(&bytes[..]).expect("the schema");
            prop_assert_eq!(read.encode_to_vec(), bytes);
            let spans = &read.resource_spans[0].scope_spans[0].spans;
            prop_assert_eq!(spans.len(), 2);
            prop_assert_eq!(&spans[1].trace_id[..], &trace_id.to_be_bytes()[..]);
            let first = spans[0].attributes[0].value.clone().and_then(|it| it.value);
            prop_assert_eq!(first, Some(Value::StringValue(text)));
        }

        #[test]
        fn no_reply_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _number = rejected(&bytes);
        }
    }
}
