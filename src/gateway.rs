//! The gateway as a Pingora proxy: the hooks of [`ProxyHttp`], from the head of a request to its log
//! line. `ARCHITECTURE.md` lists them in the order in which Pingora calls them. The decisions are made by
//! pure functions of lower rooms; the hooks apply them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use pingora::cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, NoCacheReason};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, RangeType, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};

use crate::cache::{Cache, LookupResult};
use crate::config::{Config, DownstreamConfig, UpstreamConfig};
use crate::downstream::drain::Lifecycle;
use crate::downstream::http2::Http2Counts;
use crate::downstream::limits::ClientLimits;
use crate::downstream::proxy_protocol::ProxyHeaderCounts;
use crate::downstream::tls::TlsAcceptors;
use crate::downstream::{ClientConnection, Exchange};
use crate::gateway::attempts::finish_refusal;
use crate::gateway::context::Context;
use crate::gateway::failure::{ProxyFailure, failure, failure_after_head, give_up, is_own};
use crate::gateway::hit::open_hit;
use crate::gateway::log_line::Sent;
use crate::gateway::pages::Pages;
use crate::gateway::storage::{LookupSlot, ReadThrough};
use crate::gateway::to_https::ToHttps;
use crate::gateway::upstream_response::receive_body;
use crate::metrics::Metrics;
use crate::protocol::connection_options::keeps_open;
use crate::protocol::request_id::{X_REQUEST_ID, new_request_id, sane_request_id};
use crate::protocol::selection::Selection;
use crate::reload::Reloads;
use crate::response::object_head::ObjectHeads;
use crate::trace::Tracer;
use crate::upstream::CurrentStores;
use crate::upstream::answer::is_interim;
use crate::upstream::client::StoreClient;
use crate::upstream::deadline::Deadlines;

mod admit;
mod attempts;
mod body_rest;
pub mod context;
mod direct;
mod failure;
mod folder;
pub mod front;
mod hips_list;
mod hit;
mod html;
mod listing;
mod log_line;
mod member;
pub mod pages;
mod request_span;
mod respond;
pub mod route;
pub mod storage;
mod to_https;
mod upstream_request;
mod upstream_response;

/// The proxy that serves client requests. Clones share all state.
#[derive(Clone)]
pub struct Gateway {
    prefix: String,
    pages: Pages,
    require_user: bool,
    bucket_validation: bool,
    server_timing: bool,
    direct_hits: bool,
    heads: Arc<ObjectHeads>,
    cache: Option<&'static ReadThrough>,
    stores: Arc<CurrentStores>,
    upstream: UpstreamConfig,
    /// Reads the codes of errors, see [`Gateway::refusal_by_code`].
    client: Arc<StoreClient>,
    deadlines: Deadlines,
    downstream: DownstreamConfig,
    lifecycle: Arc<Lifecycle>,
    reloads: Arc<Reloads>,
    metrics: Arc<Metrics>,
    limits: Arc<ClientLimits>,
    log_format: crate::config::LogFormat,
    tracer: Option<Arc<Tracer>>,
    to_https: ToHttps,
}

/// The parts of the process that requests use; all are shared with other rooms.
#[derive(Debug, Clone)]
pub struct GatewayDependencies {
    pub stores: Arc<CurrentStores>,
    pub cache: Option<Arc<Cache>>,
    pub heads: Arc<ObjectHeads>,
    pub lifecycle: Arc<Lifecycle>,
    pub reloads: Arc<Reloads>,
    pub metrics: Arc<Metrics>,
    pub limits: Arc<ClientLimits>,
    /// Begins the spans of requests, if there are traces.
    pub tracer: Option<Arc<Tracer>>,
    pub tls: TlsAcceptors,
    /// Where a listener expects headers of the PROXY protocol.
    pub proxy_headers: Option<Arc<ProxyHeaderCounts>>,
    /// Where clients may use HTTP/2.
    pub http2: Option<Arc<Http2Counts>>,
}

impl Gateway {
    /// A gateway on this configuration.
    #[must_use]
    pub fn new(config: &Config, shared: GatewayDependencies) -> Self {
        let tracer = shared.tracer.clone();
        let GatewayDependencies {
            stores, cache, heads, lifecycle, reloads, metrics, limits, ..
        } = shared;
        reloads.cors.store(config.cors.clone().map(Arc::new));
        Self {
            prefix: config.gateway.path_prefix.clone(),
            pages: Pages::new(
                &config.gateway.name,
                &config.gateway.path_prefix,
                config.cors.is_some(),
            ),
            require_user: config.gateway.require_user,
            bucket_validation: config.gateway.bucket_validation,
            server_timing: config.gateway.server_timing,
            direct_hits: config.server.direct_hits,
            heads,
            cache: cache.map(ReadThrough::leak),
            stores,
            upstream: config.upstream.clone(),
            client: Arc::new(StoreClient::new(&config.upstream)),
            deadlines: Deadlines::of(&config.upstream),
            downstream: config.downstream,
            lifecycle,
            reloads,
            metrics,
            limits,
            log_format: config.log.format,
            tracer,
            to_https: ToHttps::of(config.tls.as_ref()),
        }
    }
}

/// The client's request id, or a new one.
fn request_id(client: &RequestHeader) -> String {
    let id = sane_request_id(client.headers.get(X_REQUEST_ID)).map(str::to_owned);
    id.unwrap_or_else(new_request_id)
}

/// The state shared with the connection; `None` for sessions that Pingora creates itself.
fn exchange(session: &Session) -> Option<&Exchange> {
    let stream = session.as_downstream().stream()?.as_any();
    Some(stream.downcast_ref::<ClientConnection>()?.exchange())
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.lifecycle.start_request())
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // No compression: image tiles are compressed already, and ranges must not be compressed.
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        if let Some(exchange) = exchange(session) {
            exchange.start_response();
            if let Some(admitted) = exchange.take_admitted::<Context>() {
                *ctx = *admitted;
            } else {
                ctx.transport = exchange.transport().clone();
                ctx.span = self.begin_span(session.req_header());
            }
        }
        // Pingora reads one line of `Connection`, and `keep-alive` only where nothing else is in it.
        let client = session.req_header();
        let keep_alive = keeps_open(client.version, &client.headers);
        let keepalive = (keep_alive && !self.lifecycle.is_draining())
            .then_some(self.downstream.keepalive_timeout.as_secs());
        if ctx.request_id.is_empty() {
            ctx.request_id = request_id(session.req_header());
        }
        let downstream = session.as_downstream_mut();
        downstream.set_keepalive(keepalive);
        // This timeout is of a piece as a whole. On a slow connection of HTTP/2 each piece waits for its turn; there the
        // timeout of `ClientConnection` is the only one.
        let of_piece = (!ctx.transport.is_http2).then_some(self.downstream.write_timeout);
        downstream.set_write_timeout(of_piece);
        downstream.set_pipelining_enabled(true);
        // Interim responses of a store, such as 103, are not forwarded.
        downstream.set_ignore_info_resp(true);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        // Admitted before Pingora read the head (gateway/direct.rs).
        if ctx.object.is_some() {
            return Ok(false);
        }
        if self.answer_folder_or_list(session, ctx).await? {
            return Ok(true);
        }
        match self.admit(session.req_header(), ctx) {
            Ok(admit::Admitted::Object(object)) => {
                ctx.object = Some(object);
                Ok(false)
            }
            Ok(admit::Admitted::Folder | admit::Admitted::HipsList) => {
                self.answer_folder_or_list(session, ctx).await?;
                Ok(true)
            }
            Ok(admit::Admitted::Response(response)) => {
                self.respond(session, ctx, &response).await?;
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
            let (wanted, member) = (Arc::clone(&object.wanted), object.member.clone());
            let slot = LookupSlot::new(wanted, member);
            // The cache was asked before Pingora read the head (gateway/direct.rs).
            if let Some(lookup) = object.lookup.take() {
                slot.put(lookup);
            }
            object.slot = Some(slot);
            // Eviction, cache lock and prediction of Pingora stay off: the cache has its own.
            session.cache.enable(cache, None, None, None, None);
        }
        Ok(())
    }

    fn cache_key_callback(&self, _session: &Session, ctx: &mut Context) -> Result<CacheKey> {
        let slot = ctx.object.as_ref().and_then(|object| object.slot.as_ref());
        slot.map(LookupSlot::key).ok_or_else(|| give_up("no object"))
    }

    /// The lookup returned no object. `proxy_upstream_filter` applies its result.
    fn cache_miss(&self, session: &mut Session, ctx: &mut Context) {
        if let Some(object) = ctx.object.as_mut().filter(|object| object.lookup.is_none()) {
            object.take_lookup();
        }
        session.cache.disable(NoCacheReason::Deferred);
    }

    async fn proxy_upstream_filter(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<bool> {
        let refusal = match ctx.lookup().map(|lookup| &lookup.what) {
            Some(LookupResult::Refused(refusal)) => refusal.clone(),
            _ => match self.enter_store(session, ctx).await? {
                Ok(()) => return Ok(true),
                Err(refusal) => refusal,
            },
        };
        self.refuse(session, ctx, refusal).await?;
        Ok(false)
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
                object.take_lookup();
                open_hit(storage.cache(), session, object, handler).await
            }
            _ => false,
        };
        // The lookup has checked freshness and the stale rules.
        let (fresh, miss) = (ForcedFreshness::ForceFresh, ForcedFreshness::ForceMiss);
        Ok(Some(if opened { fresh } else { miss }))
    }

    fn cache_not_modified_filter(
        &self,
        _session: &Session,
        _head: &ResponseHeader,
        ctx: &mut Context,
    ) -> Result<bool> {
        let selection = ctx.object.as_ref().map(|object| &object.selection);
        Ok(matches!(selection, Some(Selection::NotModified)))
    }

    fn range_header_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> RangeType {
        // Called for every hit, including 304: the head of the response is made here.
        let Some(object) = ctx.object.as_ref() else { return RangeType::None };
        let Some(source) = object.source() else { return RangeType::None };
        *head = source.head().into_owned();
        match object.selection {
            Selection::NotModified => respond::to_not_modified(head),
            _ if source.has_length() => {}
            _ => {
                // A static name and value.
                let _inserted = head.insert_header(TRANSFER_ENCODING, "chunked");
            }
        }
        storage::part_of(&object.selection, source.length(), head)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer_of_next_attempt(session, ctx).await?))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        attempts::no_connection(ctx, error)
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
        if is_interim(head.status) {
            return Ok(());
        }
        self.receive_head(session, head, ctx)
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if let Some(object) = ctx.object.as_mut() {
            let arrived = body.as_ref().map_or(0, Bytes::len) as u64;
            object.wanted.store.metrics.received.inc_by(arrived);
            let was_replacing = object.upstream.body.is_replacing();
            receive_body(&mut object.upstream, body, end_of_stream)?;
            if was_replacing
                && !object.upstream.body.is_replacing()
                && let Some(exchange) = exchange(session)
            {
                exchange.clear_deadline();
            }
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
        self.add_request_headers(session.req_header(), head, ctx)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        let late = exchange(session).is_some_and(Exchange::deadline_expired);
        if let Some(exchange) = exchange(session) {
            exchange.clear_deadline();
        }
        let error = error.more_context(format!("Peer: {peer}"));
        attempts::exchange_failed(session, ctx, error, client_reused, late)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        let gone = FailToProxy { error_code: 0, can_reuse_downstream: false };
        if !is_own(error) && ctx.detail.is_none() {
            ctx.detail = Some(error.to_string());
        }
        if session.response_written().is_some() {
            if !finish_refusal(session, ctx).await && !self.continue_body(session, error, ctx).await
            {
                ctx.failure = Some(failure_after_head(error));
            }
            return gone;
        }
        let by_code = self.refusal_by_code(ctx).await;
        let refusal = match (by_code.or_else(|| ctx.refusal.take()), failure(error)) {
            (Some(refusal), _) | (None, ProxyFailure::Refuse(refusal)) => refusal,
            (None, ProxyFailure::ClientGone) => {
                ctx.failure = Some("client_gone");
                return gone;
            }
        };
        let error_code = refusal.status();
        session.set_keepalive(None);
        if let Err(error) = self.refuse(session, ctx, refusal).await {
            ctx.failure.get_or_insert("client_gone");
            ctx.detail.get_or_insert_with(|| error.to_string());
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        // The access log reports the error, with the request id.
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
        let error = error.filter(|_| !ctx.body_continued);
        // A folder has answered for an object that the store does not have.
        let error = error.filter(|_| !ctx.folder_opened || ctx.failure.is_some());
        // Pingora does not call `fail_to_proxy` for errors of a cached body.
        if let (Some(error), None, None) = (error, &ctx.failure, &ctx.refusal) {
            ctx.failure = Some(failure_after_head(error));
            ctx.detail = Some(error.to_string());
        }
        self.log_request(&Sent::of(session, error), ctx);
        if let Some(exchange) = exchange(session) {
            exchange.finish_response();
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
