//! The attempts to ask a store for a request that passes through the proxy: the rules of
//! [`crate::upstream::retry`], applied to Pingora's hooks. Pingora connects, pools and repeats.

use std::sync::Arc;
use std::time::Instant;

use http::header::RANGE;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, Result};

use crate::gateway::admit::client_of;
use crate::gateway::context::{BodyPlan, ClientRequest, Context, ObjectRequest};
use crate::gateway::failure::{give_up, is_own};
use crate::gateway::{Gateway, exchange};
use crate::response::refusal::Refusal;
use crate::upstream;
use crate::upstream::admission::{Priority, QueueTimeout};
use crate::upstream::attempt_span::{attempt_span, note_failure};
use crate::upstream::dial::{Dialer, ReadyConnection};
use crate::upstream::error::{of_connect, of_exchange};
use crate::upstream::retry::{AttemptFailure, Attempts, LATE, NextAttempt, RetryPolicy};

/// The `detail` of the log line when the gateway stops waiting for the rest of an error document.
const UNFINISHED: &str = "the store's error document did not end";

impl Gateway {
    /// No attempt yet.
    pub(super) fn attempts(&self) -> Attempts {
        Attempts::start(RetryPolicy::of(&self.upstream), Instant::now())
    }

    /// Takes what a request to the store needs: the share of its client, and a permit. The error is what the
    /// request is refused for.
    pub(super) async fn enter_store(
        &self,
        session: &Session,
        ctx: &mut Context,
    ) -> Result<Result<(), Refusal>> {
        let Some(object) = ctx.object.as_mut() else { return Err(give_up("no object")) };
        if object.member.is_some() {
            // The store knows nothing of members.
            return Ok(Err(Refusal::ArchiveNotCached));
        }
        let head = session.req_header();
        let is_part = head.headers.contains_key(RANGE);
        let priority = if is_part { Priority::Bulk } else { Priority::Whole };
        let store = &object.wanted.store;
        let client = client_of(session, &ctx.transport);
        object.upstream.share = store.shares.acquire(&client, self.upstream.queue_timeout).await;
        if object.upstream.share.is_none() {
            return Ok(Err(Refusal::UserSaturated));
        }
        let permit = store.admission.acquire(priority, QueueTimeout::Short).await;
        if permit.is_none() {
            let refusal = Refusal::UpstreamSaturated;
            store.metrics.errors.count(refusal.cause());
            return Ok(Err(refusal));
        }
        object.upstream.permit = permit;
        if let Some(exchange) = exchange(session) {
            exchange.hold_permit();
        }
        object.prepare_upstream(&ClientRequest::of(head));
        Ok(Ok(()))
    }

    /// The refusal that the code of the store's error decides. Pingora hands on the head of an answer
    /// before its document, so the document is read by a request of its own: `None` where the head
    /// was enough.
    pub(super) async fn refusal_by_code(&self, ctx: &mut Context) -> Option<Refusal> {
        let trace = ctx.trace();
        let object = ctx.object.as_mut()?;
        let by_head = object.upstream.unread_error.take()?;
        if !object.upstream.attempts.ask_in_another_way() {
            return Some(by_head);
        }
        let wanted = &object.wanted;
        let attempts = object.upstream.attempts.clone();
        let (report, attempts, outcome) =
            self.client.read_error(&wanted.store, wanted.target(), attempts, trace.as_ref()).await;
        object.upstream.attempts = attempts;
        object.upstream.status = report.status.or(object.upstream.status);
        object.upstream.code = report.code;
        object.upstream.request_id = report.request_id.or(object.upstream.request_id.take());
        Some(outcome.err().unwrap_or(by_head))
    }

    /// The peer of the next attempt, after the pause that precedes it.
    pub(super) async fn peer_of_next_attempt(
        &self,
        session: &Session,
        ctx: &mut Context,
    ) -> Result<HttpPeer> {
        let trace = ctx.trace();
        let Some(object) = ctx.object.as_mut() else { return Err(give_up("no object")) };
        object.upstream.began = true;
        let attempts = &mut object.upstream.attempts;
        let pause = attempts.pause(upstream::retry_pause(), Instant::now());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let endpoints = &object.wanted.store.endpoints;
        let other = object.upstream.dialer.take().and_then(|dialer| dialer.take_other());
        let (store, target) = (&object.wanted.store, object.wanted.target());
        let method = object.upstream.ask.method(&session.req_header().method);
        let mut ready = None;
        let (endpoint, chosen) = loop {
            let endpoint = endpoints.of(attempts);
            let left = endpoints.time_here(attempts, Instant::now());
            if left.is_zero() {
                ctx.refusal = Some(Refusal::UpstreamTimeout);
                return Err(give_up("no time is left for another attempt"));
            }
            // The attempt goes on at the address that has connected first.
            if let Some((address, stream)) = other {
                ready = Some(ReadyConnection::new(stream));
                break (endpoint, endpoint.addresses.begin(address));
            }
            let made = attempts.made().into();
            object.upstream.span = trace
                .as_ref()
                .map(|parent| attempt_span(parent, &method, (store, endpoint), target, made));
            object.upstream.asked = endpoint.ask();
            let addresses = &endpoint.addresses;
            let picked = addresses.pick(attempts.tried(), self.deadlines.lookup(left)).await;
            if let Some(chosen) = picked {
                attempts.begin(chosen.address, Instant::now());
                break (endpoint, chosen);
            }
            let asked = object.upstream.asked.take();
            let failure = AttemptFailure::NoConnection(addresses.unresolved());
            if !endpoints.has_other(attempts.tried_endpoints())
                || endpoints.attempt_failed(attempts, asked, None, &failure, false)
                    != NextAttempt::Again
            {
                ctx.refusal = Some(addresses.unresolved());
                return Err(give_up("the endpoint's name does not resolve"));
            }
        };
        let addresses = &endpoint.addresses;
        object.upstream.chosen = Some(chosen);
        // The first look-up of the name has taken some of the time.
        let left = endpoints.time_here(attempts, Instant::now());
        let (tls, target) =
            (endpoint.endpoint().tls, endpoints.target(endpoint, object.wanted.target()));
        let mut peer =
            upstream::peer(chosen, addresses.pool_key(chosen), tls, &target, &self.upstream, left);
        if let Some(tls) = &store.tls {
            tls.apply(&mut peer);
        }
        if attempts.needs_new_connection() {
            peer = upstream::peer_of_new_connection(peer);
        }
        if let Some(ready) = ready {
            peer.options.custom_l4 = Some(ready);
        } else {
            let limit = self.deadlines.connect(left);
            let dialer = Dialer::new(Arc::clone(addresses), attempts.tried().to_vec(), limit);
            peer.options.custom_l4 = Some(Arc::<Dialer>::clone(&dialer));
            object.upstream.dialer = Some(dialer);
        }
        Ok(peer)
    }
}

/// Decides what follows an attempt that failed. `reused`: on a connection that was idle before.
pub(super) fn attempt_failed(
    object: &mut ObjectRequest,
    failure: &AttemptFailure,
    reused: bool,
) -> NextAttempt {
    note_failure(object.upstream.span.take(), failure);
    let endpoints = &object.wanted.store.endpoints;
    let (asked, chosen) = (object.upstream.asked.take(), object.upstream.chosen);
    let attempts = &mut object.upstream.attempts;
    attempts.end(Instant::now());
    endpoints.attempt_failed(attempts, asked, chosen, failure, reused)
}

/// Handles an attempt that got no connection, or one to another address than that of the peer.
/// Returns the error that ends or repeats it in Pingora.
pub(super) fn no_connection(ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
    let Some(object) = ctx.object.as_mut() else { return error };
    if let Some(dialer) = &object.upstream.dialer {
        for address in dialer.tried() {
            object.upstream.attempts.went_to(address);
        }
        if let Some(address) = dialer.other() {
            object.upstream.attempts.went_to(address);
            error.set_retry(true);
            return error;
        }
    }
    let next = attempt_failed(object, &of_connect(&error), false);
    error.set_retry(next == NextAttempt::Again);
    error
}

/// Handles a connection that failed, before the head of the response or after it. `late`: the time
/// limit of the head or of the error document has passed.
pub(super) fn exchange_failed(
    session: &Session,
    ctx: &mut Context,
    mut error: Box<Error>,
    reused: bool,
    late: bool,
) -> Box<Error> {
    if is_own(&error) {
        return error;
    }
    let Some(object) = ctx.object.as_mut() else { return error };
    error.set_retry(false);
    let client_gone = !late && *error.esource() == ErrorSource::Downstream;
    if session.response_written().is_some() {
        if client_gone {
            return error;
        }
        match &mut object.upstream.body {
            BodyPlan::Replace { answer, document } => {
                object.upstream.code = document.code().map(str::to_owned);
                object.upstream.body = BodyPlan::Unfinished { answer: std::mem::take(answer) };
                ctx.detail = Some(UNFINISHED.to_owned());
            }
            BodyPlan::Cut { answer } if !answer.is_empty() => {
                object.upstream.body = BodyPlan::Unfinished { answer: std::mem::take(answer) };
            }
            _ => {}
        }
        return error;
    }
    if client_gone {
        object.upstream.attempts.end(Instant::now());
        return error;
    }
    let failure = if late { AttemptFailure::Late } else { of_exchange(&error, reused) };
    match attempt_failed(object, &failure, reused) {
        NextAttempt::Again => error.set_retry(true),
        NextAttempt::Refuse(refusal) if late => {
            ctx.refusal = Some(refusal);
            ctx.detail = Some(LATE.to_owned());
        }
        NextAttempt::Refuse(_) => {}
    }
    error
}

/// Writes the body of a refusal whose head was written before the store's error document ended.
/// False if the response was not such a refusal.
pub(super) async fn finish_refusal(session: &mut Session, ctx: &mut Context) -> bool {
    let Some(object) = ctx.object.as_mut() else { return false };
    let BodyPlan::Unfinished { answer } = &mut object.upstream.body else { return false };
    let answer = std::mem::take(answer);
    session.set_keepalive(None);
    let written = session.write_response_body(Some(answer), true).await;
    if let Err(error) = written {
        ctx.failure = Some("client_gone");
        ctx.detail = Some(error.to_string());
    }
    true
}
