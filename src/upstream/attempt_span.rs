//! The span of one attempt to get an answer from a store, with the attributes of OpenTelemetry's conventions for
//! clients of HTTP (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span>). It lasts
//! from the choice of an address to the head of the answer.

use http::{Method, StatusCode};
use pingora::http::RequestHeader;

use crate::protocol::trace_context::TRACEPARENT;
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
/// signed.
#[must_use]
pub fn with_traceparent(mut head: RequestHeader, attempt: Option<&Span>) -> RequestHeader {
    if let Some(attempt) = attempt {
        // The value of a context is one of a header.
        let _always = head.insert_header(TRACEPARENT, attempt.context().to_header());
    }
    head
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
