//! The span of one attempt to get an answer from a store, with the attributes of OpenTelemetry's conventions for
//! clients of HTTP (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span>). It lasts
//! from the choice of an address to the head of the answer.

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::http::RequestHeader;

use crate::protocol::trace_context::{TRACEPARENT, TRACESTATE, TraceContext, trace_state};
use crate::s3::endpoint::Target;
use crate::trace::span::{Span, SpanKind, SpanParent};
use crate::upstream::Store;
use crate::upstream::endpoints::StoreEndpoint;
use crate::upstream::retry::AttemptFailure;
use crate::upstream::turns::Chosen;

/// Begins the span of an attempt at this endpoint of the store; `made` others came before it.
#[must_use]
pub fn attempt_span(
    parent: &SpanParent,
    method: &Method,
    (store, endpoint): (&Store, &StoreEndpoint),
    target: &Target,
    made: u64,
) -> Span {
    let method = if *method == Method::HEAD { "HEAD" } else { "GET" };
    let mut span = parent.named(method, SpanKind::Client);
    if !span.is_recorded() {
        return span;
    }
    let target = store.endpoints.target(endpoint, target);
    let endpoint = endpoint.endpoint();
    let scheme = if endpoint.tls { "https://" } else { "http://" };
    span.text("http.request.method", method);
    span.text("url.full", &[scheme, &target.host, &target.path].concat());
    span.text("server.address", &target.server_name);
    span.number("server.port", endpoint.port.into());
    span.text("s3proxy.profile", store.profile.label());
    if made > 0 {
        span.number("http.request.resend_count", made);
    }
    span
}

/// The head of the request of this attempt, with its id: nothing of the client's `traceparent`. The header is not
/// signed; one that is signed, because the profile adds it to each request, stays as it is.
#[must_use]
pub fn with_traceparent(mut head: RequestHeader, attempt: Option<&Span>) -> RequestHeader {
    if let Some(attempt) = attempt
        && !head.headers.contains_key(TRACEPARENT)
    {
        // The value of a context is one of a header.
        let _always = head.insert_header(TRACEPARENT, attempt.context().to_header());
    }
    head
}

/// Which `tracestate` belongs into a request with this head, where the profile passes it on: with traces only that of
/// the trace that the head continues, joined; `None` if the head begins another trace, or the state is not
/// well-formed (<https://www.w3.org/TR/trace-context/>, section 3.5).
#[must_use]
pub fn passed_trace_state(client: &HeaderMap, head: &RequestHeader) -> Option<HeaderValue> {
    let (theirs, ours) = (TraceContext::of(client)?, TraceContext::of(&head.headers)?);
    if theirs.trace_id != ours.trace_id || head.headers.contains_key(TRACESTATE) {
        return None;
    }
    HeaderValue::try_from(trace_state(client)?).ok()
}

/// Ends the span of an attempt with the head of an answer.
pub fn note_answer(span: Option<Span>, chosen: Option<Chosen>, status: StatusCode) {
    let Some(mut span) = span.filter(Span::is_recorded) else { return };
    if let Some(chosen) = chosen {
        span.text("network.peer.address", &chosen.address.ip().to_string());
        span.number("network.peer.port", chosen.address.port().into());
    }
    span.number("http.response.status_code", status.as_u16().into());
    if status.is_client_error() || status.is_server_error() {
        span.text("error.type", status.as_str());
        span.fail("");
    }
}

/// Ends the span of an attempt without an answer. That of an attempt with one has ended already.
pub fn note_failure(span: Option<Span>, failure: &AttemptFailure) {
    if let Some(mut span) = span {
        let cause = failure.refusal().cause();
        span.text("error.type", cause);
        span.fail(cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::headers_of;
    use crate::trace::{ALL, Tracer};

    const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const OTHER: &str = "00-aaf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn head_of(pairs: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build("GET", b"/sky/a.png", None).expect("a head");
        for (name, value) in pairs {
            head.insert_header(*name, *value).expect("a header");
        }
        head
    }

    /// The store refused each request: the signature was that of another header.
    #[test]
    fn a_traceparent_that_is_signed_is_not_replaced() {
        let attempt = Tracer::new(ALL, false, 8, 8).begin(&HeaderMap::new());
        let signed = with_traceparent(head_of(&[("traceparent", OTHER)]), Some(&attempt));
        assert_eq!(signed.headers["traceparent"], OTHER);
        let without = with_traceparent(head_of(&[]), Some(&attempt));
        assert_eq!(without.headers["traceparent"], attempt.context().to_header());
        assert!(with_traceparent(head_of(&[]), None).headers.is_empty());
    }

    #[test]
    fn a_state_is_passed_on_with_the_trace_to_which_it_belongs_alone() {
        let both = [("traceparent", CLIENT), ("tracestate", "a=1, b=2")];
        for (client, head, expected) in [
            (&both[..], head_of(&[("traceparent", CLIENT)]), Some("a=1,b=2")),
            (&both, head_of(&[("traceparent", OTHER)]), None),
            (&both, head_of(&[("traceparent", CLIENT), ("tracestate", "c=3")]), None),
            (&both[1..], head_of(&[("traceparent", CLIENT)]), None),
            (&[both[0], ("tracestate", "a=1,a=2")], head_of(&[("traceparent", CLIENT)]), None),
        ] {
            let found = passed_trace_state(&headers_of(client), &head);
            let found = found.as_ref().and_then(|value| value.to_str().ok());
            assert_eq!(found, expected, "{client:?} {head:?}");
        }
    }
}
