//! The gateway as Pingora calls it: one request from its head to its log line, hook by hook in the
//! order they run. What is decided is decided by pure functions elsewhere; here it is applied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::RANGE;
use pingora::cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, NoCacheReason};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::http::conditional_filter::to_304;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, RangeType, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::cache::Cache;
use crate::cache::lookup::LookupResult;
use crate::config::{Config, DownstreamConfig, UpstreamConfig};
use crate::downstream::drain::Lifecycle;
use crate::downstream::limits::Limits;
use crate::downstream::{Connection, Exchange};
use crate::gateway::context::{Client, Context, ObjectRequest};
use crate::gateway::failure::{Failure, failure, failure_under_way, give_up};
use crate::gateway::hit::open;
use crate::gateway::pages::Pages;
use crate::gateway::storage::{LookupSlot, ReadThrough};
use crate::gateway::upstream_response::receive_body;
use crate::metrics::{Metrics, Page};
use crate::protocol::cors::Cors;
use crate::protocol::request_id::{X_REQUEST_ID, new_request_id, sane_request_id};
use crate::protocol::selection::Serving;
use crate::reload::Reloads;
use crate::response::object_head::ObjectHeads;
use crate::response::refusal::Refusal;
use crate::upstream::admission::{Priority, QueueTimeout};
use crate::upstream::{self, CurrentStores};

mod admit;
pub mod context;
mod failure;
mod hit;
mod log_line;
pub mod pages;
mod respond;
pub mod route;
pub mod storage;
mod upstream_request;
mod upstream_response;

/// Everything requests need, shared by all of them.
pub struct Gateway {
    prefix: String,
    pages: Pages,
    require_user: bool,
    bucket_validation: bool,
    cors: Option<Cors>,
    server_timing: bool,
    heads: Arc<ObjectHeads>,
    cache: Option<&'static ReadThrough>,
    stores: Arc<CurrentStores>,
    upstream: UpstreamConfig,
    downstream: DownstreamConfig,
    lifecycle: Arc<Lifecycle>,
    reloads: Arc<Reloads>,
    metrics: Arc<Metrics>,
    limits: Arc<Limits>,
    log_format: crate::config::LogFormat,
}

/// What requests share with the rest of the process.
#[derive(Debug, Clone)]
pub struct Shared {
    pub stores: Arc<CurrentStores>,
    pub cache: Option<Arc<Cache>>,
    pub heads: Arc<ObjectHeads>,
    pub lifecycle: Arc<Lifecycle>,
    pub reloads: Arc<Reloads>,
    pub metrics: Arc<Metrics>,
    pub limits: Arc<Limits>,
}

impl Gateway {
    /// A gateway on this configuration.
    #[must_use]
    pub fn new(config: &Config, shared: Shared) -> Self {
        let Shared { stores, cache, heads, lifecycle, reloads, metrics, limits } = shared;
        Self {
            prefix: config.path_prefix.clone(),
            pages: Pages::new(&config.name, &config.path_prefix, config.cors.is_some()),
            require_user: config.require_user,
            bucket_validation: config.bucket_validation,
            server_timing: config.server_timing,
            cors: config.cors.clone(),
            heads,
            cache: cache.map(ReadThrough::for_ever),
            stores,
            upstream: config.upstream.clone(),
            downstream: config.downstream,
            lifecycle,
            reloads,
            metrics,
            limits,
            log_format: config.log.format,
        }
    }

    /// What is left of the time for all attempts.
    fn time_left(&self, object: &ObjectRequest) -> Duration {
        self.upstream.total_timeout.saturating_sub(object.upstream.started.elapsed())
    }

    /// Whether a failed attempt may be followed by another.
    fn may_retry(&self, object: &ObjectRequest) -> bool {
        object.upstream.retries < self.upstream.retries && !self.time_left(object).is_zero()
    }
}

/// What this request tells its connection; none where Pingora made the session itself.
fn exchange(session: &Session) -> Option<&Exchange> {
    let connection = session.as_downstream().stream()?.as_any().downcast_ref::<Connection>()?;
    Some(connection.exchange())
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            started: Instant::now(),
            in_flight: self.lifecycle.enter(),
            request_id: String::new(),
            event: "request",
            page: Page::Other,
            of_user: None,
            quiet: false,
            address: None,
            object: None,
            refusal: None,
            failure: None,
            detail: None,
            ttfb: None,
        }
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // No compression: tiles are compressed, and ranges must never be.
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        if let Some(exchange) = exchange(session) {
            exchange.begin();
        }
        // Pingora knows by now whether the client wants to keep its connection.
        let kept = session.as_downstream().get_keepalive().is_some();
        let keepalive = (kept && !self.lifecycle.is_draining() && !self.limits.is_crowded())
            .then_some(self.downstream.keepalive_timeout.as_secs());
        let id = sane_request_id(session.get_header(X_REQUEST_ID)).map(str::to_owned);
        ctx.request_id = id.unwrap_or_else(new_request_id);
        let downstream = session.as_downstream_mut();
        downstream.set_keepalive(keepalive);
        downstream.set_write_timeout(Some(self.downstream.write_timeout));
        downstream.set_pipelining_enabled(true);
        // Interim answers of a store, such as 103, are not for the client.
        downstream.set_ignore_info_resp(true);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        match self.admit(session, ctx) {
            Ok(admit::Admitted::Object(object)) => {
                ctx.object = Some(object);
                Ok(false)
            }
            Ok(admit::Admitted::Answer(answer)) => {
                self.respond(session, ctx, &answer).await?;
                Ok(true)
            }
            Err(refusal) => {
                self.refuse(session, ctx, refusal).await?;
                Ok(true)
            }
        }
    }

    fn request_cache_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        if let (Some(cache), Some(object)) = (self.cache, ctx.object.as_mut())
            && object.wanted.rule.store
        {
            object.told = Some(LookupSlot::new(Arc::clone(&object.wanted)));
            // What Pingora would do besides, the cache does itself: collapsing, freshness, eviction.
            session.cache.enable(cache, None, None, None, None);
        }
        Ok(())
    }

    fn cache_key_callback(&self, _session: &Session, ctx: &mut Context) -> Result<CacheKey> {
        let told = ctx.object.as_ref().and_then(|object| object.told.as_ref());
        told.map(LookupSlot::key).ok_or_else(|| give_up("no object"))
    }

    /// The lookup has found no object: what it found in its place is told by the next hook.
    fn cache_miss(&self, session: &mut Session, ctx: &mut Context) {
        if let Some(object) = ctx.object.as_mut().filter(|object| object.found.is_none()) {
            object.hear();
        }
        session.cache.disable(NoCacheReason::Deferred);
    }

    async fn proxy_upstream_filter(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<bool> {
        match ctx.found().map(|found| &found.what) {
            Some(LookupResult::Refused(refusal)) => {
                let refusal = refusal.clone();
                self.refuse(session, ctx, refusal).await?;
                Ok(false)
            }
            _ => {
                let Some(object) = ctx.object.as_mut() else { return Err(give_up("no object")) };
                let head = session.req_header();
                let is_part = head.headers.contains_key(RANGE);
                let kind = if is_part { Priority::Bulk } else { Priority::Whole };
                let slot = object.wanted.store.load.slot(kind, QueueTimeout::Short).await;
                if slot.is_none() {
                    let refusal = Refusal::UpstreamSaturated;
                    object.wanted.store.metrics.errors.count(refusal.cause());
                    self.refuse(session, ctx, refusal).await?;
                    return Ok(false);
                }
                object.upstream.slot = slot;
                object.pass(&Client { method: &head.method, headers: &head.headers });
                Ok(true)
            }
        }
    }

    async fn cache_hit_filter(
        &self,
        session: &mut Session,
        _meta: &CacheMeta,
        handler: &mut HitHandler,
        _is_fresh: bool,
        ctx: &mut Context,
    ) -> Result<Option<ForcedFreshness>> {
        let opened = match (self.cache, ctx.object.as_mut()) {
            (Some(storage), Some(object)) => {
                object.hear();
                open(storage.cache(), session, object, handler).await
            }
            _ => false,
        };
        // Stale or not, the cache has said that it may be served.
        let (fresh, miss) = (ForcedFreshness::ForceFresh, ForcedFreshness::ForceMiss);
        Ok(Some(if opened { fresh } else { miss }))
    }

    fn cache_not_modified_filter(
        &self,
        _session: &Session,
        _head: &ResponseHeader,
        ctx: &mut Context,
    ) -> Result<bool> {
        let serving = ctx.object.as_ref().map(|object| &object.serving);
        Ok(matches!(serving, Some(Serving::NotModified | Serving::PreconditionFailed)))
    }

    fn range_header_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> RangeType {
        // Called for every hit, 304 included: the place where the head becomes the client's.
        let Some(object) = ctx.object.as_ref() else { return RangeType::None };
        let Some(source) = object.source() else { return RangeType::None };
        ctx.refusal = storage::refused(&object.serving, source.length());
        if let Some(refusal) = &ctx.refusal {
            if let Ok(refused) = storage::refused_head(refusal, &ctx.request_id) {
                *head = refused;
            }
            return RangeType::Invalid;
        }
        *head = source.head().clone();
        if object.serving == Serving::NotModified {
            to_304(head);
        }
        storage::part_of(&object.serving, source.length(), head)
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        let Some(object) = ctx.object.as_mut() else { return Err(give_up("no object")) };
        if std::mem::take(&mut object.upstream.pause) {
            tokio::time::sleep(upstream::retry_pause()).await;
        }
        let remaining = self.time_left(object);
        if remaining.is_zero() {
            ctx.refusal = Some(Refusal::UpstreamTimeout);
            return Err(give_up("no time is left for another attempt"));
        }
        let store = &object.wanted.store;
        let patience = self.upstream.connect_timeout.min(remaining);
        let Some(socket) = store.addresses.pick(object.upstream.socket, patience).await else {
            ctx.refusal = Some(Refusal::UpstreamUnresolved);
            return Err(give_up("the endpoint's name does not resolve"));
        };
        // Waiting for the first lookup has taken of the time.
        let remaining = self.time_left(object).max(Duration::from_millis(1));
        object.upstream.socket = Some(socket);
        object.upstream.attempts = object.upstream.attempts.saturating_add(1);
        let tls = store.profile.endpoint.tls;
        Ok(Box::new(upstream::peer(socket, tls, object.wanted.target(), &self.upstream, remaining)))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(object) = ctx.object.as_mut() {
            object.upstream.ended = Some(Instant::now());
            if let Some(socket) = object.upstream.socket {
                object.wanted.store.addresses.penalise(socket);
            }
            let retry = self.may_retry(object);
            object.upstream.retries = object.upstream.retries.saturating_add(1);
            object.upstream.pause = object.wanted.store.addresses.is_single();
            error.set_retry(retry);
        }
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        *request = self.request_to_store(session, ctx)?;
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        self.receive_head(session, head, ctx)
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if let Some(object) = ctx.object.as_mut() {
            let arrived = body.as_ref().map_or(0, Bytes::len) as u64;
            object.wanted.store.metrics.received.inc_by(arrived);
            receive_body(&mut object.upstream, body, end_of_stream)?;
        }
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        ctx.ttfb = Some(ctx.started.elapsed());
        self.add_age(head, ctx)?;
        self.add_request_headers(session, head, ctx)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        let late = exchange(session).is_some_and(Exchange::deadline_has_passed);
        if let Some(exchange) = exchange(session) {
            exchange.clear_deadline();
        }
        let mut error = error.more_context(format!("Peer: {peer}"));
        if matches!(error.etype(), ErrorType::Custom(_)) {
            return error;
        }
        let Some(object) = ctx.object.as_mut() else { return error };
        object.upstream.ended = Some(Instant::now());
        let answered = session.response_written().is_some();
        let retry = if late {
            ctx.refusal = Some(Refusal::UpstreamTimeout);
            ctx.detail = Some("timed out: the store's answer did not begin in its time".to_owned());
            if let Some(socket) = object.upstream.socket {
                object.wanted.store.addresses.penalise(socket);
            }
            false
        } else if answered || *error.esource() == pingora::ErrorSource::Downstream {
            false
        } else {
            // A kept connection that the store has closed meanwhile costs nothing to replace.
            let stale = client_reused && object.upstream.retries == 0;
            let reset = failure(&error) == Failure::Refuse(Refusal::UpstreamReset);
            reset && (stale || self.may_retry(object))
        };
        if retry {
            object.upstream.retries = object.upstream.retries.saturating_add(1);
            object.upstream.pause = !client_reused;
        }
        error.set_retry(retry);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        let gone = FailToProxy { error_code: 0, can_reuse_downstream: false };
        if !matches!(error.etype(), ErrorType::Custom(_)) && ctx.detail.is_none() {
            ctx.detail = Some(error.to_string());
        }
        if session.response_written().is_some() {
            ctx.failure = Some(failure_under_way(error));
            return gone;
        }
        let refusal = match (ctx.refusal.take(), failure(error)) {
            (Some(refusal), _) | (None, Failure::Refuse(refusal)) => refusal,
            (None, Failure::ClientGone) => {
                ctx.failure = Some("client_gone");
                return gone;
            }
        };
        let error_code = refusal.status();
        session.set_keepalive(None);
        if let Err(error) = self.refuse(session, ctx, refusal).await {
            ctx.failure = Some("client_gone");
            ctx.detail = Some(error.to_string());
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        // The line of the access log says it, with the request id.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        // An object of the cache fails without a word to `fail_to_proxy`.
        if let (Some(error), None, None) = (error, &ctx.failure, &ctx.refusal) {
            ctx.failure = Some(failure_under_way(error));
            ctx.detail = Some(error.to_string());
        }
        self.report(session, error, ctx);
        if let Some(exchange) = exchange(session) {
            exchange.end();
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
