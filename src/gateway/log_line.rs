//! The access log line and the metrics of a request.

use std::time::{Duration, Instant, SystemTime};

use http::header::{HOST, USER_AGENT};
use http::{HeaderName, StatusCode};
use log::Level;
use pingora::Error;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::config::LogFormat;
use crate::downstream::transport::Transport;
use crate::gateway::Gateway;
use crate::gateway::admit::user;
use crate::gateway::context::{Context, ObjectRequest};
use crate::gateway::request_span::describe;
use crate::logging;
use crate::logging::access::{self, AccessRecord, HttpRequestRecord, RequestUrl, UpstreamRecord};
use crate::logging::json_line::json_line;
use crate::metrics::store::EndedRequest;
use crate::protocol::cache_status::CacheResult;
use crate::response::refusal::Refusal;
use crate::trace::span::Span;
use crate::upstream::hedging::HedgeResult;
use crate::upstream::last_outcome::StoreVerdict;
use crate::upstream::{Store, UpstreamOutcome};

/// The `detail` of the log line when a stale object was served without waiting for the store.
const NOT_AWAITED: &str = "the store failed or was too slow; it is asked again in the background";

/// A request that has ended, and what the client got.
pub(super) struct Sent<'a> {
    pub(super) client: &'a RequestHeader,
    pub(super) status: Option<StatusCode>,
    pub(super) body_bytes: u64,
    /// It ended with an error.
    pub(super) failed: bool,
}

impl<'a> Sent<'a> {
    /// A request that Pingora has answered.
    pub(super) fn of(session: &'a Session, error: Option<&Error>) -> Self {
        Self {
            client: session.req_header(),
            status: session.response_written().map(|head| head.status),
            body_bytes: u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX),
            failed: error.is_some(),
        }
    }
}

impl Gateway {
    /// Logs the request: faults of stores and configuration as warnings, also when a stale object was
    /// served in their place; probes at debug level; other requests at info level.
    pub(super) fn log_request(&self, sent: &Sent<'_>, ctx: &mut Context) {
        let span = ctx.span.take();
        let trace = span.as_ref().map(Span::context);
        let ctx = &*ctx;
        let fault = ctx.refusal.as_ref().is_some_and(Refusal::is_fault)
            || matches!(ctx.failure, Some("upstream_cut" | "internal"));
        let stale_because = ctx.lookup().and_then(|lookup| lookup.fault.as_ref());
        let level = if fault || stale_because.is_some() {
            Level::Warn
        } else if ctx.is_probe {
            Level::Debug
        } else {
            Level::Info
        };
        let upstream = ctx.object.as_deref().and_then(upstream_record);
        let status = sent.status.or_else(|| ctx.refusal.as_ref().and_then(status_of));
        let bytes_sent = sent.body_bytes;
        let duration = ctx.started.elapsed();
        let cause = ctx.failure.or_else(|| ctx.refusal.as_ref().map(Refusal::cause));
        #[expect(clippy::disallowed_methods, reason = "an exemplar says when it ended")]
        let recorded = trace.filter(|it| it.sampled).map(|it| (it.trace_id, SystemTime::now()));
        self.record_metrics(ctx, recorded, (status, cause), duration, bytes_sent);
        if let Some(span) = span.filter(Span::is_recorded) {
            // A probe says nothing of clients, and there are many.
            match ctx.is_probe {
                true => span.cancel(),
                false => describe(span, sent, ctx, (status, cause)),
            }
        }
        if upstream.as_ref().and_then(|upstream| upstream.code).is_some_and(is_access_key_error) {
            self.reloads.early();
        }
        if !log::log_enabled!(target: access::TARGET, level) {
            return;
        }
        let client = sent.client;
        let text =
            |name: HeaderName| client.headers.get(name).and_then(|value| value.to_str().ok());
        let record = AccessRecord {
            event: ctx.event,
            http_request: HttpRequestRecord {
                method: &client.method,
                url: request_url(client, &ctx.transport),
                status,
                remote_ip: ctx.transport.client(&client.headers),
                protocol: ctx.transport.is_http2.then_some("HTTP/2"),
                user_agent: text(USER_AGENT),
            },
            user: user(&client.headers, &ctx.transport)
                .and_then(|user| std::str::from_utf8(user).ok()),
            request_id: &ctx.request_id,
            trace,
            path: ctx.address.as_deref(),
            target: ctx.aliased.as_ref().map(|aliased| &*aliased.target),
            profile: ctx.object.as_ref().map(|object| object.wanted.store.profile.label()),
            status: status.map(|status| status.as_u16()),
            cache: ctx.object.as_ref().map(|object| object.cache_status()),
            blocks: ctx.object.as_ref().and_then(|object| Some(object.blocks.as_ref()?.so_far())),
            duration,
            ttfb: ctx.ttfb,
            bytes_sent,
            cause: cause.or_else(|| stale_because.map(Refusal::cause)),
            detail: ctx.detail.as_deref().or_else(|| fetch_error_detail(ctx)),
            upstream,
        };
        debug_assert!(!sent.failed || record.cause.is_some(), "an error without a cause");
        match self.log_format {
            LogFormat::Production => {
                #[expect(clippy::disallowed_methods, reason = "the timestamp of the line")]
                let now = SystemTime::now();
                logging::access_line(json_line(&record, level, now));
            }
            LogFormat::Development => {
                log::log!(target: access::TARGET, level, "{}", access::text_line(&record));
            }
        }
    }
}

impl Gateway {
    /// Adds the request to the metrics.
    fn record_metrics(
        &self,
        ctx: &Context,
        trace: Option<(u128, SystemTime)>,
        (status, cause): (Option<StatusCode>, Option<&str>),
        duration: Duration,
        bytes: u64,
    ) {
        let status = status.map(|status| status.as_u16());
        if let Some(cause) = cause {
            self.metrics.cause(cause);
        }
        let Some(object) = ctx.object.as_deref() else {
            return self.metrics.page(ctx.page, status);
        };
        let store = &object.wanted.store;
        let cache = CacheResult::from(object.cache_status());
        store.metrics.ended(&EndedRequest {
            status,
            cache,
            duration,
            ttfb: ctx.ttfb,
            bytes,
            trace,
        });
        self.note_exchange(ctx);
    }

    /// Adds the exchange with the store, if this request itself has had one.
    pub(super) fn note_exchange(&self, ctx: &Context) {
        let Some(object) = ctx.object.as_deref() else { return };
        let store = &object.wanted.store;
        // What the cache asks for on its own, its fetches count.
        let upstream = &object.upstream;
        if !upstream.began {
            return;
        }
        let now = Instant::now();
        store.note(&UpstreamOutcome {
            status: upstream.status,
            code: upstream.code.as_deref(),
            attempts: upstream.attempts.made().saturating_sub(upstream.continued),
            waited: upstream.attempts.duration(now),
            ago: upstream.attempts.since_end(now),
            verdict: match &ctx.refusal {
                Some(refusal) => StoreVerdict::of(refusal),
                None if upstream.answered => StoreVerdict::Answered,
                None => StoreVerdict::Unknown,
            },
            refusal: ctx.refusal.as_ref(),
        });
        if ctx.failure == Some("upstream_cut") {
            Store::note_cut(&store.metrics, &store.last_outcome);
        }
    }
}

/// Whether a store's error code rejects the access key: it may have been rotated, and the
/// configuration is reloaded early.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn is_access_key_error(code: &str) -> bool {
    matches!(code, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken")
}

fn status_of(refusal: &Refusal) -> Option<StatusCode> {
    StatusCode::from_u16(refusal.status()).ok()
}

/// Scheme, host and raw path. The query is left out: the gateway ignores it, and it may contain a
/// token.
pub(super) fn request_url<'a>(client: &'a RequestHeader, transport: &Transport) -> RequestUrl<'a> {
    let scheme = transport.scheme(&client.headers);
    let host = client.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let target = crate::protocol::request_check::target_path(client.raw_path());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    RequestUrl { scheme, host, path: String::from_utf8_lossy(path) }
}

/// The error detail of the cache's fetch.
fn fetch_error_detail(ctx: &Context) -> Option<&str> {
    let lookup = ctx.lookup()?;
    match (&lookup.report, &lookup.fault) {
        (Some(report), _) => report.detail.as_deref(),
        // Followers of a fetch that failed have the cause, and their leader the detail.
        (None, Some(_)) => Some(NOT_AWAITED),
        (None, None) => None,
    }
}

fn upstream_record(object: &ObjectRequest) -> Option<UpstreamRecord<'_>> {
    let upstream = &object.upstream;
    let endpoints = &object.wanted.store.endpoints;
    let endpoint = |place: Option<usize>| {
        place.filter(|_| endpoints.are_several()).map(|place| endpoints.at(place).endpoint())
    };
    if upstream.attempts.made() == 0 {
        let report = object.lookup()?.report.as_ref()?;
        return Some(UpstreamRecord {
            duration: report.duration,
            attempts: report.attempts,
            status: report.status,
            code: report.code.as_deref(),
            request_id: report.request_id.as_deref(),
            endpoint: endpoint(report.endpoint),
            hedge: report.hedge.map(HedgeResult::as_str),
        });
    }
    Some(UpstreamRecord {
        duration: upstream.attempts.duration(Instant::now()),
        attempts: upstream.attempts.made(),
        status: upstream.status,
        code: upstream.code.as_deref(),
        request_id: upstream.request_id.as_deref(),
        endpoint: endpoint(upstream.attempts.endpoint()),
        hedge: None,
    })
}
