//! The request to a store, made from scratch: nothing of the client's request reaches the store but
//! what is named here.

use std::time::SystemTime;

use http::HeaderName;
use http::header::{HOST, IF_MATCH, IF_NONE_MATCH, RANGE};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::answer::Ask;
use crate::gateway::context::Context;
use crate::gateway::{Gateway, exchange, give_up};
use crate::refusal::Refusal;

impl Gateway {
    /// The signed head of one attempt. Starts the time the store has for its answer.
    pub(super) fn request_to_store(
        &self,
        session: &Session,
        ctx: &mut Context,
    ) -> Result<RequestHeader> {
        let Some(object) = ctx.object.as_ref() else { return Err(give_up("no object")) };
        let client = session.req_header();
        let ask = object.upstream.ask;
        let target = &object.wanted.target;
        let mut head = RequestHeader::build_no_case(
            ask.method(&client.method),
            target.path.as_bytes(),
            Some(12),
        )?;
        head.insert_header(HOST, &target.host)?;
        #[expect(clippy::disallowed_methods, reason = "the signature holds the time it is sent")]
        let now = SystemTime::now();
        let Ok(signed) = object.wanted.store.signer.sign(&head.method, target, now) else {
            ctx.refusal = Some(Refusal::CredentialsInvalid);
            return Err(give_up("a configured header or key cannot be sent"));
        };
        for (name, value) in signed {
            head.insert_header(name, value)?;
        }
        if ask == Ask::AsClient {
            let conditions = &object.conditions;
            for (name, value) in [
                (RANGE, &conditions.range),
                (IF_MATCH, &conditions.if_match),
                (IF_NONE_MATCH, &conditions.if_none_match),
            ] {
                if let Some(value) = value {
                    head.insert_header(name, value.clone())?;
                }
            }
        }
        let passed = &object.wanted.store.profile.request_headers;
        if !passed.is_empty() {
            // The configuration admits no pattern that matches a header of the gateway's own.
            let ours: Vec<HeaderName> = head.headers.keys().cloned().collect();
            for (name, value) in &client.headers {
                let listed = passed.iter().any(|glob| glob.matches(name.as_str()));
                if listed && !ours.contains(name) {
                    head.append_header(name.clone(), value.clone())?;
                }
            }
        }
        if let Some(exchange) = exchange(session) {
            let patience = self.upstream.first_byte_timeout.min(self.time_left(object));
            exchange.set_deadline(patience);
        }
        Ok(head)
    }
}
