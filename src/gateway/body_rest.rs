//! A body that breaks off on its way from the store through the proxy. Pingora hands on what has arrived,
//! then the error; here the rest is requested and written to the client. `docs/decisions/broken-bodies.md`
//! has the reasons.

use std::time::Instant;

use pingora::proxy::Session;
use pingora::{Error, ErrorSource};

use crate::downstream::Exchange;
use crate::gateway::context::Context;
use crate::gateway::{Gateway, exchange};
use crate::response::refusal::Refusal;
use crate::upstream::client::{BodyOrigin, StoreBody};
use crate::upstream::error::refusal;

impl Gateway {
    /// Writes the rest of a body of the store that broke off. Returns whether this concludes the response:
    /// the client has all of it, or has gone. False if the body is cut.
    pub(super) async fn continue_body(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> bool {
        let silent = exchange(session).is_some_and(Exchange::deadline_expired);
        let trace = ctx.trace();
        let Some(object) = ctx.object.as_mut() else { return false };
        let Some(mut rest) = object.upstream.rest.take() else { return false };
        if !silent && *error.esource() != ErrorSource::Upstream {
            return false;
        }
        if let Some(exchange) = exchange(session) {
            exchange.allow_silence();
            // The connection is not polled while the store is awaited.
            exchange.flush_immediately();
        }
        // What the client lacks, whatever else has arrived here.
        rest.arrived(session.body_bytes_sent() as u64);
        session.set_keepalive(None);
        let wanted = &object.wanted;
        let (store, target) = (wanted.store.newest(), wanted.target());
        let attempts = &mut object.upstream.attempts;
        let broke_off = if silent { Refusal::UpstreamTimeout } else { refusal(error) };
        let mut body = StoreBody::of_rest(
            &self.client,
            (&store, target),
            *rest,
            BodyOrigin { endpoint: attempts.endpoint(), address: attempts.address() },
            broke_off,
            trace,
        );
        let is_whole = loop {
            let next = body.next().await;
            let Ok(Some(piece)) = next else { break next.is_ok() };
            store.metrics.received.inc_by(piece.len() as u64);
            if let Err(error) = session.write_response_body(Some(piece), false).await {
                ctx.failure = Some("client_gone");
                ctx.detail = Some(error.to_string());
                return true;
            }
        };
        if let Some(address) = body.address() {
            for _ in 0..body.continuations() {
                attempts.begin(address, Instant::now());
            }
            object.upstream.continued = body.continuations();
        }
        if !is_whole {
            return false;
        }
        match session.write_response_body(None, true).await {
            Ok(()) => ctx.body_continued = true,
            Err(error) => {
                ctx.failure = Some("client_gone");
                ctx.detail = Some(error.to_string());
            }
        }
        true
    }
}
