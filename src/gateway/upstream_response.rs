//! `upstream_response_filter` and `upstream_response_body_filter`: turns the head of the store's
//! response into the head for the client or a refusal, and forwards or replaces the body.

use std::time::Instant;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::gateway::attempts::attempt_failed;
use crate::gateway::context::{BodyPlan, Context, ObjectRequest, UpstreamState};
use crate::gateway::failure::{give_up, try_again};
use crate::gateway::respond::cache_control_of_404;
use crate::gateway::{Gateway, exchange};
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::upstream::answer::{self, AnswerDecision, Ask};
use crate::upstream::attempt_span::note_answer;
use crate::upstream::error_document::{self, ErrorDocument};
use crate::upstream::error_verdict;
use crate::upstream::rest::BodyRest;
use crate::upstream::retry::{AttemptFailure, NextAttempt};

impl Gateway {
    /// What the head of a store's answer means for this request.
    fn decide(
        &self,
        session: &Session,
        object: &mut ObjectRequest,
        head: &ResponseHeader,
    ) -> AnswerDecision {
        let client = session.req_header();
        let context = answer::AnswerContext {
            method: &client.method,
            headers: &client.headers,
            ask: object.upstream.ask,
            conditional: object.conditional,
            conditions: &object.conditions,
        };
        let decision = answer::decide(&context, head.status, &head.headers);
        let endpoints = &object.wanted.store.endpoints;
        let decision = endpoints.decide(decision, head.status, &object.upstream.attempts);
        let unframed = !head.headers.contains_key(CONTENT_LENGTH);
        match decision {
            // Without a length an old client could not distinguish a whole body from a truncated one.
            AnswerDecision::Deliver(_)
                if unframed
                    && client.version < http::Version::HTTP_11
                    && client.method != Method::HEAD =>
            {
                AnswerDecision::Refuse(Refusal::UpstreamProtocol)
            }
            AnswerDecision::RefuseUnlessRetried(refusal) => {
                let failure = AttemptFailure::Answer(refusal.clone());
                match attempt_failed(object, &failure, false) {
                    NextAttempt::Again => AnswerDecision::RefuseUnlessRetried(refusal),
                    NextAttempt::Refuse(refusal) => AnswerDecision::Refuse(refusal),
                }
            }
            AnswerDecision::ReadCode => {
                let lenient = object.wanted.store.profile.missing_on_403;
                let status = head.status.as_u16();
                match error_verdict::of_document(status, &head.headers, None, lenient) {
                    Refusal::UpstreamError if error_verdict::promises_document(&head.headers) => {
                        AnswerDecision::Refuse(Refusal::ObjectNotFound)
                    }
                    // The client gets the same 401 or 403 for each code.
                    refusal if refusal != Refusal::UpstreamError && !lenient => {
                        AnswerDecision::Refuse(refusal)
                    }
                    refusal => {
                        object.upstream.unread_error = Some(refusal);
                        AnswerDecision::ReadCode
                    }
                }
            }
            AnswerDecision::AskAgain(_) if !object.upstream.attempts.ask_in_another_way() => {
                AnswerDecision::Refuse(Refusal::UpstreamProtocol)
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
        object.upstream.attempts.end(Instant::now());
        note_answer(object.upstream.span.take(), object.upstream.chosen, head.status);
        let is_error = answer::is_error_of_address(head.status);
        if let Some(chosen) = object.upstream.chosen {
            let endpoints = &object.wanted.store.endpoints;
            let endpoint = endpoints.at(object.upstream.attempts.endpoint().unwrap_or(0));
            endpoint.addresses.answered(chosen, is_error);
        }
        if let Some(asked) = object.upstream.asked.take() {
            asked.answered(is_error);
        }
        object.upstream.status = Some(head.status.as_u16());
        object.upstream.request_id = error_document::request_id(&head.headers).map(str::to_owned);
        let decision = self.decide(session, object, head);
        object.upstream.answered = matches!(
            decision,
            AnswerDecision::Deliver(_) | AnswerDecision::Empty | AnswerDecision::NotModified
        );
        let profile = &object.wanted.store.profile;
        let rules = &self.heads;
        let content_type = match &object.wanted.content_type {
            Some(content_type) => Ok(content_type.of(&head.headers)),
            None => self.heads.stored_type(head.status, &head.headers),
        };
        let refusal = match (decision, content_type) {
            (AnswerDecision::Deliver(status), Ok(content_type)) => {
                if status == StatusCode::PARTIAL_CONTENT
                    && !head.headers.contains_key(CONTENT_LENGTH)
                    && let Some(length) = answer::body_length(status, &head.headers)
                {
                    object.upstream.body = BodyPlan::PassExactly(length);
                }
                if session.req_header().method == Method::GET
                    && let Some(rest) = BodyRest::of(head.status, &head.headers)
                {
                    if let Some(exchange) = exchange(session) {
                        exchange.limit_silence(self.deadlines.pause(true));
                    }
                    object.upstream.rest = Some(Box::new(rest));
                }
                *head = rules.object_head(status, &head.headers, profile, &content_type)?;
                return Ok(());
            }
            (AnswerDecision::Empty, Ok(content_type)) => {
                *head = rules.object_head(StatusCode::OK, &head.headers, profile, &content_type)?;
                return Ok(());
            }
            (AnswerDecision::NotModified, Ok(content_type)) => {
                let tag = object.conditions.if_none_match.as_ref();
                *head = rules.not_modified_head(
                    &head.headers,
                    profile,
                    &content_type,
                    tag,
                    head.status,
                )?;
                object.upstream.body = BodyPlan::Cut { answer: Bytes::new() };
                return Ok(());
            }
            (
                AnswerDecision::Deliver(_) | AnswerDecision::Empty | AnswerDecision::NotModified,
                Err(refusal),
            ) => refusal,
            (AnswerDecision::AskAgain(ask), _) => {
                object.upstream.ask = ask;
                return Err(try_again("the store has to be asked in another way"));
            }
            (AnswerDecision::ReadCode, _) => {
                return Err(give_up("the code of the store's error decides"));
            }
            (AnswerDecision::RefuseUnlessRetried(_), _) => {
                return Err(try_again("the store failed"));
            }
            (AnswerDecision::Refuse(refusal), _) => refusal,
        };
        if refusal == Refusal::ObjectNotFound && ctx.folder.is_some() {
            ctx.refusal = Some(refusal);
            return Err(give_up("a folder may answer"));
        }
        // An error document of the store never reaches the client. It is read and replaced, so that
        // the connection to the store can be reused.
        let object_name = ctx.address.as_deref().map(ObjectAddress::name);
        let mut response = refusal.response(object_name.as_deref(), self.allow(), &ctx.request_id);
        if refusal == Refusal::ObjectNotFound {
            let value = cache_control_of_404(object);
            response.headers.extend(value.map(|value| (CACHE_CONTROL, value)));
        }
        let request_id = &ctx.request_id;
        self.refusal_as_page(
            session.req_header(),
            &refusal,
            object_name.as_deref(),
            request_id,
            &mut response,
        );
        // Readers of ranges meet these often. If the store sent no body that could be replaced, a
        // reusable connection is worth more than the body of the refusal.
        let terse =
            matches!(refusal, Refusal::PreconditionFailed | Refusal::RangeNotSatisfiable(_));
        ctx.refusal = Some(refusal);
        ctx.depends_on_accept = true;
        let is_head = session.req_header().method == Method::HEAD;
        let asked_for_head = matches!(object.upstream.ask, Ask::Length | Ask::Validators);
        let has_body = error_document::has_body(head.status, &head.headers, asked_for_head);
        if !has_body && !is_head && !terse {
            return Err(give_up("the store's answer has no body to replace"));
        }
        // Its body may be large, or may not come: nothing of it is awaited.
        let was_object = head.status.is_success();
        if has_body && was_object && !is_head && !terse {
            return Err(give_up("the store's answer is not forwarded"));
        }
        *head = response.head()?;
        if !has_body && !is_head {
            head.remove_header(&CONTENT_TYPE);
            head.insert_header(CONTENT_LENGTH, 0)?;
            return Ok(());
        }
        let answer = Bytes::from(response.body);
        if let Some(exchange) = exchange(session) {
            exchange.set_deadline(self.deadlines.document(None));
            // The rest of the body may not come, and Pingora waits for it after the end of the answer.
            exchange.flush_immediately();
        }
        object.upstream.body = if was_object {
            BodyPlan::Cut { answer }
        } else {
            BodyPlan::Replace { answer, document: ErrorDocument::default() }
        };
        Ok(())
    }
}

/// Forwards a piece of the store's body, or replaces it with the body of a refusal.
///
/// # Errors
/// When a chunked range is longer or shorter than its `Content-Range`, or an error document is too long:
/// what is left of the answer is written by `finish_refusal`.
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
        BodyPlan::Unfinished { .. } => *body = None,
        BodyPlan::Replace { answer, document } => {
            document.push(&body.take().unwrap_or_default());
            if end_of_stream {
                upstream.code = document.code().map(str::to_owned);
                *body = Some(std::mem::take(answer));
                upstream.body = BodyPlan::Cut { answer: Bytes::new() };
            } else if document.is_full() {
                // Pingora would go on reading, and nothing would send what it has written.
                upstream.code = document.code().map(str::to_owned);
                upstream.body = BodyPlan::Unfinished { answer: std::mem::take(answer) };
                return Err(give_up("the store's error document is too long"));
            }
        }
    }
    Ok(())
}
