//! The attempts to ask a store for a request that passes through the proxy: the rules of
//! [`crate::upstream::retry`], applied to Pingora's hooks. Pingora connects, pools and repeats.

use std::sync::Arc;
use std::time::Instant;

use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, Result};

use crate::gateway::Gateway;
use crate::gateway::context::{BodyPlan, Context, ObjectRequest};
use crate::gateway::failure::{give_up, is_own};
use crate::response::refusal::Refusal;
use crate::upstream;
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

    /// The refusal that the code of the store's error decides. Pingora hands on the head of an answer
    /// before its document, so the document is read by a request of its own: `None` where the head
    /// was enough.
    pub(super) async fn refusal_by_code(&self, ctx: &mut Context) -> Option<Refusal> {
        let object = ctx.object.as_mut()?;
        let by_head = object.upstream.unread_error.take()?;
        if !object.upstream.attempts.ask_in_another_way() {
            return Some(by_head);
        }
        let wanted = &object.wanted;
        let attempts = object.upstream.attempts.clone();
        let (report, attempts, outcome) =
            self.client.read_error(&wanted.store, wanted.target(), attempts).await;
        object.upstream.attempts = attempts;
        object.upstream.status = report.status.or(object.upstream.status);
        object.upstream.code = report.code;
        object.upstream.request_id = report.request_id.or(object.upstream.request_id.take());
        Some(outcome.err().unwrap_or(by_head))
    }

    /// The peer of the next attempt, after the pause that precedes it.
    pub(super) async fn peer_of_next_attempt(&self, ctx: &mut Context) -> Result<HttpPeer> {
        let Some(object) = ctx.object.as_mut() else { return Err(give_up("no object")) };
        object.upstream.began = true;
        let attempts = &mut object.upstream.attempts;
        let pause = attempts.pause(upstream::retry_pause(), Instant::now());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let left = attempts.time_left(Instant::now());
        if left.is_zero() {
            ctx.refusal = Some(Refusal::UpstreamTimeout);
            return Err(give_up("no time is left for another attempt"));
        }
        let store = &object.wanted.store;
        let addresses = &store.addresses;
        let other = object.upstream.dialer.take().and_then(|dialer| dialer.take_other());
        // The attempt goes on at the address that has connected first.
        let (chosen, ready) = if let Some((address, stream)) = other {
            (addresses.begin(address), Some(ReadyConnection::new(stream)))
        } else {
            let picked = addresses.pick(attempts.tried(), self.deadlines.lookup(left)).await;
            let Some(chosen) = picked else {
                ctx.refusal = Some(addresses.unresolved());
                return Err(give_up("the endpoint's name does not resolve"));
            };
            attempts.begin(chosen.address, Instant::now());
            (chosen, None)
        };
        object.upstream.chosen = Some(chosen);
        // The first look-up of the name has taken some of the time.
        let left = attempts.time_left(Instant::now());
        let (tls, target) = (store.profile.endpoint.tls, object.wanted.target());
        let mut peer =
            upstream::peer(chosen, addresses.pool_key(chosen), tls, target, &self.upstream, left);
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
    let addresses = &object.wanted.store.addresses;
    let attempts = &mut object.upstream.attempts;
    let now = Instant::now();
    attempts.end(now);
    if let Some(chosen) = object.upstream.chosen {
        addresses.attempt_failed(chosen, failure, reused, attempts.began());
    }
    attempts.failed(failure, addresses.has_other(attempts.tried()), now)
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
