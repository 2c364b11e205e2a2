//! The attempts to ask a store for a request that passes through the proxy: the rules of
//! [`crate::upstream::retry`], applied to Pingora's hooks. Pingora connects, pools and repeats.

use std::time::Instant;

use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, Result};

use crate::gateway::Gateway;
use crate::gateway::context::{BodyPlan, Context, ObjectRequest};
use crate::gateway::failure::{give_up, is_own};
use crate::response::refusal::Refusal;
use crate::upstream;
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
        let wanted = &object.wanted;
        let (report, outcome) = self.client.read_error(&wanted.store, wanted.target()).await;
        for _ in 0..report.attempts {
            if let Some(address) = object.upstream.attempts.address() {
                object.upstream.attempts.begin(address);
            }
        }
        object.upstream.attempts.end(Instant::now());
        object.upstream.status = report.status.or(object.upstream.status);
        object.upstream.code = report.code;
        object.upstream.request_id = report.request_id.or(object.upstream.request_id.take());
        Some(outcome.err().unwrap_or(by_head))
    }

    /// The peer of the next attempt, after the pause that precedes it.
    pub(super) async fn peer_of_next_attempt(&self, ctx: &mut Context) -> Result<HttpPeer> {
        let Some(object) = ctx.object.as_mut() else { return Err(give_up("no object")) };
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
        let picked = store.addresses.pick(attempts.address(), self.deadlines.lookup(left)).await;
        let Some(address) = picked else {
            ctx.refusal = Some(Refusal::UpstreamUnresolved);
            return Err(give_up("the endpoint's name does not resolve"));
        };
        attempts.begin(address);
        // The first look-up of the name has taken some of the time.
        let left = attempts.time_left(Instant::now());
        let (tls, target) = (store.profile.endpoint.tls, object.wanted.target());
        let peer = upstream::peer(address, tls, target, &self.upstream, left);
        Ok(if attempts.needs_new_connection() {
            upstream::peer_of_new_connection(peer)
        } else {
            peer
        })
    }
}

/// Decides what follows an attempt that failed.
pub(super) fn attempt_failed(object: &mut ObjectRequest, failure: &AttemptFailure) -> NextAttempt {
    let addresses = &object.wanted.store.addresses;
    let attempts = &mut object.upstream.attempts;
    let now = Instant::now();
    attempts.end(now);
    if let Some(address) = attempts.address().filter(|_| failure.penalises_address()) {
        addresses.penalise(address);
    }
    attempts.failed(failure, addresses.is_single(), now)
}

/// Handles an attempt that got no connection. Returns the error that ends or repeats it in Pingora.
pub(super) fn no_connection(ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
    if let Some(object) = ctx.object.as_mut() {
        let next = attempt_failed(object, &of_connect(&error));
        error.set_retry(next == NextAttempt::Again);
    }
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
    match attempt_failed(object, &failure) {
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
