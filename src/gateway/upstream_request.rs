//! `upstream_request_filter`: the signed request to the store for a request that bypasses the cache.
//! Of the client's headers only supported conditions and those listed in the profile's
//! `request_headers` are forwarded.

use std::time::Instant;

use http::HeaderName;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::gateway::context::Context;
use crate::gateway::failure::give_up;
use crate::gateway::{Gateway, exchange};
use crate::protocol::connection_options::has_option;
use crate::protocol::forwarded_conditions::UpstreamConditions;
use crate::protocol::trace_context::TRACESTATE;
use crate::upstream::answer::Ask;
use crate::upstream::attempt_span::{passed_trace_state, with_traceparent};
use crate::upstream::request::{signed_request, signing_time};

impl Gateway {
    /// The signed head of one attempt. Starts the deadline for the store's response.
    pub(super) fn request_to_store(
        &self,
        session: &Session,
        ctx: &mut Context,
    ) -> Result<RequestHeader> {
        let Some(object) = ctx.object.as_ref() else { return Err(give_up("no object")) };
        let client = session.req_header();
        let ask = object.upstream.ask;
        let none = UpstreamConditions::default();
        let conditions = if ask == Ask::AsClient { &object.conditions } else { &none };
        let method = ask.method(&client.method);
        let store = &object.wanted.store;
        let endpoint = store.endpoints.at(object.upstream.attempts.endpoint().unwrap_or(0));
        let target = store.endpoints.target(endpoint, object.wanted.target());
        let mut head =
            match signed_request(&store.signer, &target, &method, conditions, signing_time()) {
                Ok(head) => with_traceparent(head, object.upstream.span.as_ref()),
                Err(refusal) => {
                    ctx.refusal = Some(refusal);
                    return Err(give_up("a request with the configured headers cannot be made"));
                }
            };
        let passed = &store.profile.request_headers;
        if !passed.is_empty() {
            // The configuration accepts no pattern that matches a header set by the gateway.
            let mut ours: Vec<HeaderName> = head.headers.keys().cloned().collect();
            let listed = |name: &HeaderName| passed.iter().any(|glob| glob.matches(name.as_str()));
            if object.upstream.span.is_some() {
                if listed(&TRACESTATE)
                    && let Some(state) = passed_trace_state(&client.headers, &head)
                {
                    head.insert_header(TRACESTATE, state)?;
                }
                ours.push(TRACESTATE);
            }
            for (name, value) in &client.headers {
                // A field that `Connection` names is none of the store (RFC 9110, section 7.6.1).
                let is_of_the_hop = || has_option(&client.headers, name.as_str());
                if listed(name) && !ours.contains(name) && !is_of_the_hop() {
                    head.append_header(name.clone(), value.clone())?;
                }
            }
        }
        if let Some(exchange) = exchange(session) {
            let left = store.endpoints.time_here(&object.upstream.attempts, Instant::now());
            exchange.set_deadline(self.deadlines.head(left));
        }
        Ok(head)
    }
}
