//! The span of a request, with the attributes of OpenTelemetry's conventions for servers of HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server>).

use http::header::USER_AGENT;
use http::{HeaderValue, Method, StatusCode, Version};
use pingora::http::RequestHeader;

use crate::downstream::transport::Transport;
use crate::gateway::Gateway;
use crate::gateway::context::Context;
use crate::gateway::log_line::{Sent, request_url};
use crate::metrics::Page;
use crate::trace::span::Span;

/// A method that the conventions do not know.
const OTHER: &str = "_OTHER";

impl Gateway {
    /// The span of a request with this head; `None` without traces.
    pub(super) fn begin_span(&self, client: &RequestHeader) -> Option<Span> {
        self.tracer.as_ref().map(|tracer| tracer.begin(&client.headers))
    }
}

/// Notes the request and what the client got, and ends the span.
pub(super) fn describe(
    mut span: Span,
    sent: &Sent<'_>,
    ctx: &Context,
    (status, cause): (Option<StatusCode>, Option<&str>),
) {
    let client = sent.client;
    let method = known_method(&client.method);
    // Names are few: a key belongs to the attributes.
    let verb = if method == OTHER { "HTTP" } else { method };
    span.rename(match ctx.page {
        Page::Other => verb.to_owned(),
        page => format!("{verb} {}", page.label()),
    });
    span.text("http.request.method", method);
    if method == OTHER {
        span.text("http.request.method_original", client.method.as_str());
    }
    let url = request_url(client, &ctx.transport);
    span.text("url.scheme", url.scheme);
    span.text("url.path", &url.path);
    let (host, port) = split_host(url.host);
    if !host.is_empty() {
        span.text("server.address", host);
    }
    if let Some(port) = port {
        span.number("server.port", port.into());
    }
    if let Some(address) = ctx.transport.client(&client.headers) {
        span.text("client.address", &address.to_string());
    }
    let agent = client.headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    if let Some(agent) = agent.and_then(|agent| std::str::from_utf8(agent).ok()) {
        span.text("user_agent.original", agent);
    }
    span.text("network.protocol.version", version(client.version, &ctx.transport));
    if let Some(status) = status {
        span.number("http.response.status_code", status.as_u16().into());
    }
    span.number("http.response.body.size", sent.body_bytes);
    span.text("s3proxy.request_id", &ctx.request_id);
    if let Some(address) = &ctx.address {
        span.text("aws.s3.bucket", &address.bucket);
        span.text("aws.s3.key", &address.key);
    }
    if let Some(object) = &ctx.object {
        span.text("s3proxy.profile", object.wanted.store.profile.label());
        span.text("s3proxy.cache", &object.cache_status().to_string());
    }
    if let Some(cause) = cause {
        span.text("error.type", cause);
    }
    // What a client does wrong is no error of a server.
    let is_error = status.is_some_and(|status| status.is_server_error());
    if is_error || ctx.failure.is_some_and(|failure| failure != "client_gone") {
        span.fail(ctx.failure.or_else(|| ctx.refusal.as_ref().map(|it| it.cause())).unwrap_or(""));
    }
}

/// A method that the conventions know, or [`OTHER`].
fn known_method(method: &Method) -> &str {
    match method.as_str() {
        known @ ("CONNECT" | "DELETE" | "GET" | "HEAD" | "OPTIONS" | "PATCH" | "POST" | "PUT"
        | "TRACE") => known,
        _ => OTHER,
    }
}

fn version(version: Version, transport: &Transport) -> &'static str {
    match version {
        _ if transport.is_http2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// Host and port of a `Host` header. An IPv6 address keeps its brackets.
fn split_host(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_a_port_and_an_address() {
        for (host, expected) in [
            ("sky.example.org", ("sky.example.org", None)),
            ("sky.example.org:8080", ("sky.example.org", Some(8080))),
            ("[::1]", ("[::1]", None)),
            ("[::1]:80", ("[::1]", Some(80))),
            ("", ("", None)),
            ("h:x", ("h", None)),
        ] {
            assert_eq!(split_host(host), expected, "{host}");
        }
    }
}
