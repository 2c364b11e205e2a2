//! `upstream_response_filter` and `upstream_response_body_filter`: turns the head of the store's
//! response into the head for the client or a refusal, and forwards or replaces the body.

use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::gateway::context::{BodyPlan, Context, ObjectRequest, UpstreamState};
use crate::gateway::failure::{give_up, try_again};
use crate::gateway::{Gateway, exchange};
use crate::protocol::request_id::{X_REQUEST_ID, sane_request_id};
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::s3::error_code::{ERROR_DOCUMENT_BYTES, error_code};
use crate::upstream::answer::{self, Ask, Decision};

/// The most requests of another kind for one client request: for the length, then for the whole.
const MAX_ASKS: u8 = 3;

const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

impl Gateway {
    /// Decides what the head of the store's response means for this request.
    fn decide(&self, session: &Session, object: &ObjectRequest, head: &ResponseHeader) -> Decision {
        let client = session.req_header();
        let request = answer::Request {
            method: &client.method,
            headers: &client.headers,
            ask: object.upstream.ask,
            conditional: object.conditional,
            conditions: &object.conditions,
            missing_on_403: object.wanted.store.profile.missing_on_403,
        };
        let decision = answer::decide(&request, head.status, &head.headers);
        let unframed = !head.headers.contains_key(CONTENT_LENGTH);
        match decision {
            // Without a length an HTTP/1.0 client cannot detect a truncated body.
            Decision::Deliver(_)
                if unframed
                    && client.version < http::Version::HTTP_11
                    && client.method != Method::HEAD =>
            {
                Decision::Refuse(Refusal::UpstreamProtocol)
            }
            Decision::RefuseUnlessRetried(refusal) if !self.may_retry(object) => {
                Decision::Refuse(refusal)
            }
            Decision::AskAgain(_) if object.upstream.asks >= MAX_ASKS => {
                Decision::Refuse(Refusal::UpstreamProtocol)
            }
            decision => decision,
        }
    }

    /// Turns the head of the store's response into the head for the client, or ends the attempt.
    pub(super) fn receive_head(
        &self,
        session: &Session,
        head: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if let Some(exchange) = exchange(session) {
            exchange.clear_deadline();
        }
        let Some(object) = ctx.object.as_mut() else { return Err(give_up("no object")) };
        object.upstream.ended = Some(Instant::now());
        object.upstream.status = Some(head.status.as_u16());
        object.upstream.request_id = [X_AMZ_REQUEST_ID, X_REQUEST_ID]
            .into_iter()
            .find_map(|name| sane_request_id(head.headers.get(name)))
            .map(str::to_owned);
        let decision = self.decide(session, object, head);
        let profile = &object.wanted.store.profile;
        let rules = &self.heads;
        let content_type = match &object.wanted.content_type {
            Some(content_type) => Ok(content_type.clone()),
            None => self.heads.stored_type(head.status, &head.headers),
        };
        let refusal = match (decision, content_type) {
            (Decision::Deliver(status), Ok(content_type)) => {
                if status == StatusCode::PARTIAL_CONTENT
                    && !head.headers.contains_key(CONTENT_LENGTH)
                    && let Some(length) = answer::length_of_part(&head.headers)
                {
                    object.upstream.body = BodyPlan::PassExactly(length);
                }
                *head = rules.object_head(status, &head.headers, profile, &content_type)?;
                return Ok(());
            }
            (Decision::Empty, Ok(content_type)) => {
                *head = rules.object_head(StatusCode::OK, &head.headers, profile, &content_type)?;
                return Ok(());
            }
            (Decision::NotModified, Ok(content_type)) => {
                let tag = object.conditions.if_none_match.as_ref();
                *head = rules.not_modified_head(&head.headers, profile, &content_type, tag)?;
                object.upstream.body = BodyPlan::Cut { answer: Bytes::new() };
                return Ok(());
            }
            (Decision::Deliver(_) | Decision::Empty | Decision::NotModified, Err(refusal)) => {
                refusal
            }
            (Decision::AskAgain(ask), _) => {
                object.upstream.ask = ask;
                object.upstream.asks = object.upstream.asks.saturating_add(1);
                return Err(try_again("the store has to be asked in another way"));
            }
            (Decision::RefuseUnlessRetried(_), _) => {
                object.upstream.retries = object.upstream.retries.saturating_add(1);
                object.upstream.pause = true;
                return Err(try_again("the store failed"));
            }
            (Decision::Refuse(refusal), _) => refusal,
        };
        // An error document of the store never reaches the client. It is read and replaced, so that
        // the connection to the store can be reused.
        let object_name = ctx.address.as_deref().map(ObjectAddress::name);
        let response = refusal.response(object_name.as_deref(), self.allow(), &ctx.request_id);
        // These refusals are common for range readers: a reusable connection is worth more than
        // their body.
        let terse =
            matches!(refusal, Refusal::PreconditionFailed | Refusal::RangeNotSatisfiable(_));
        ctx.refusal = Some(refusal);
        let is_head = session.req_header().method == Method::HEAD;
        let framed = match head.headers.get(CONTENT_LENGTH) {
            Some(length) => length != "0",
            None => head.headers.contains_key(TRANSFER_ENCODING),
        };
        let has_body = framed
            && !matches!(object.upstream.ask, Ask::Length | Ask::Validators)
            && !matches!(head.status.as_u16(), 204 | 304);
        if !has_body && !is_head && !terse {
            return Err(give_up("the store's answer has no body to replace"));
        }
        let was_object = head.status.is_success();
        *head = response.head()?;
        if !has_body && !is_head {
            head.remove_header(&CONTENT_TYPE);
            head.insert_header(CONTENT_LENGTH, 0)?;
            return Ok(());
        }
        let answer = Bytes::from(response.body);
        object.upstream.body = if was_object {
            BodyPlan::Cut { answer }
        } else {
            BodyPlan::Replace { answer, document: Vec::new() }
        };
        Ok(())
    }
}

/// Forwards a piece of the store's body, or replaces it with the body of a refusal.
///
/// # Errors
/// When a chunked range is longer or shorter than its `Content-Range`.
pub(super) fn receive_body(
    upstream: &mut UpstreamState,
    body: &mut Option<Bytes>,
    end_of_stream: bool,
) -> Result<()> {
    match &mut upstream.body {
        BodyPlan::Pass => {}
        BodyPlan::PassExactly(left) => {
            let arrived = body.as_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(arrived) {
                Some(rest) if rest == 0 || !end_of_stream => *left = rest,
                _ => {
                    let error = Error::explain(
                        ErrorType::ReadError,
                        "the body is longer or shorter than Content-Range says",
                    );
                    return Err(error.into_up());
                }
            }
        }
        BodyPlan::Cut { answer } => *body = Some(std::mem::take(answer)),
        BodyPlan::Replace { answer, document } => {
            document.extend_from_slice(&body.take().unwrap_or_default());
            if end_of_stream || document.len() > ERROR_DOCUMENT_BYTES {
                upstream.code = error_code(document).map(str::to_owned);
                *body = Some(std::mem::take(answer));
                upstream.body = BodyPlan::Cut { answer: Bytes::new() };
            }
        }
    }
    Ok(())
}
