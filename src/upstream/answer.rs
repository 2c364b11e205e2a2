//! The meaning of the head of a store's answer: deliver it, answer for the store, refuse, or send the
//! store another kind of request. Stores such as Ceph RGW ignore `If-Range`, understand a single entity
//! tag only and leave `ETag` and `Content-Range` off; the answer to the client follows RFC 9110
//! nevertheless.

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::protocol::conditional::{PreconditionOutcome, Validators, evaluate, if_range_holds};
use crate::protocol::forwarded_conditions::UpstreamConditions;
use crate::protocol::range::{ByteRange, ContentRange, RangeRequest, parse_range};
use crate::protocol::{http_date, single};
use crate::response::refusal::Refusal;
use crate::upstream::error_verdict;

/// Bytes of the largest object that is believed, 1 PiB: S3 stores objects of at most 50 TB
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html>).
pub const MAX_OBJECT_BYTES: u64 = 1 << 50;

/// `Retry-After` if a busy store sends none, seconds.
const DEFAULT_RETRY_AFTER: u32 = 5;

/// The kind of request that a store gets for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    /// With the client's method, and those of its conditions that stores evaluate correctly.
    #[default]
    AsClient,
    /// HEAD, for the validators to compare with a condition of the client: most such requests end in
    /// a 304, and the body of a GET would be discarded with its connection.
    Validators,
    /// The whole object: the client's `If-Range` does not hold.
    Whole,
    /// HEAD, for the length and validators that a 416 left out.
    Length,
}

impl Ask {
    /// The first kind of request; `sent` are the client's conditions that can be sent to it.
    ///
    /// `bytes=-0` names no byte of any object. Stores answer it differently, so the request is for the
    /// length only.
    #[must_use]
    pub fn first(method: &Method, client: &HeaderMap, sent: &UpstreamConditions) -> Self {
        if method != Method::GET {
            return Self::AsClient;
        }
        let left_to_compare = if client.contains_key(IF_NONE_MATCH) {
            sent.if_none_match.is_none()
        } else {
            client.contains_key(IF_MODIFIED_SINCE)
        };
        match parse_range(client) {
            RangeRequest::Single(range) if range.is_beyond_any_object() => Self::Length,
            _ if left_to_compare => Self::Validators,
            _ => Self::AsClient,
        }
    }

    /// The method of the request to the store.
    #[must_use]
    pub fn method(self, client: &Method) -> Method {
        match self {
            Self::AsClient | Self::Whole => client.clone(),
            Self::Validators | Self::Length => Method::HEAD,
        }
    }
}

/// The request, as far as the meaning of the answer depends on it.
#[derive(Debug, Clone, Copy)]
pub struct AnswerContext<'a> {
    pub method: &'a Method,
    /// What the client sent.
    pub headers: &'a HeaderMap,
    pub ask: Ask,
    /// Whether the client has sent a condition. Most requests have none and need no comparison.
    pub conditional: bool,
    /// The conditions that were sent to the store.
    pub conditions: &'a UpstreamConditions,
}

/// Whether a client's headers hold a condition (RFC 9110, section 13.1).
#[must_use]
pub fn is_conditional(client: &HeaderMap) -> bool {
    const CONDITIONS: [HeaderName; 5] =
        [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE];
    client.keys().any(|name| CONDITIONS.contains(name))
}

/// What follows the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerDecision {
    /// Its body goes to the client: 200 or 206.
    Deliver(StatusCode),
    /// 304 for the client, with any status of the store.
    NotModified,
    /// 200 with no body: a suffix of an empty object.
    Empty,
    AskAgain(Ask),
    /// 401, 403, 404: the code of the error document decides ([`error_verdict::of_document`]). The
    /// answer to a HEAD has no code.
    ReadCode,
    Refuse(Refusal),
    /// As `Refuse`, if no other attempt is left.
    RefuseUnlessRetried(Refusal),
}

impl AnswerDecision {
    /// Whether the store has answered with the object, or with a range that it does not have.
    #[must_use]
    pub fn is_object(&self) -> bool {
        !matches!(self, Self::ReadCode | Self::Refuse(_) | Self::RefuseUnlessRetried(_))
    }
}

/// The headers of the whole object, by those of its first byte; `None` where
/// these are of another part, or do not name the length.
#[must_use]
pub fn of_whole(part: &HeaderMap) -> Option<HeaderMap> {
    let place = part.get(CONTENT_RANGE).and_then(ContentRange::parse);
    let mut headers = part.clone();
    match place {
        None => {}
        Some(ContentRange::Part { len: Some(length), .. }) => {
            headers.remove(CONTENT_RANGE);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Some(_) => return None,
    }
    Some(headers)
}

/// Decides on the status and headers of the store's answer.
#[must_use]
pub fn decide(
    request: &AnswerContext<'_>,
    status: StatusCode,
    store: &HeaderMap,
) -> AnswerDecision {
    let refuse = AnswerDecision::Refuse;
    match status.as_u16() {
        // Some stores allow GET and not HEAD: the conditions are compared with the answer to GET.
        400 | 401 | 403 | 405 | 501 if request.ask == Ask::Validators => {
            AnswerDecision::AskAgain(Ask::AsClient)
        }
        // RFC 9110, section 8.6: what frames a body is one number, or nothing that can be relied on.
        200 | 206 if !has_valid_length(store) || names_impossible_length(store) => {
            refuse(Refusal::UpstreamProtocol)
        }
        200 | 206 => decide_object(request, status, store),
        304 if request.conditions.revalidate() => AnswerDecision::NotModified,
        412 if request.conditions.if_match.is_some() => refuse(Refusal::PreconditionFailed),
        416 if names_impossible_length(store) => refuse(Refusal::UpstreamProtocol),
        416 if request.conditions.range.is_some() => decide_unsatisfiable(request, store),
        404 if error_verdict::has_store_mark(store) => refuse(Refusal::ObjectNotFound),
        401 | 403 | 404 => AnswerDecision::ReadCode,
        429 => refuse(Refusal::UpstreamBusy(retry_after(store))),
        // A store that names a time is not asked again before.
        503 if store.contains_key(RETRY_AFTER) => refuse(Refusal::UpstreamBusy(retry_after(store))),
        503 => AnswerDecision::RefuseUnlessRetried(Refusal::UpstreamBusy(retry_after(store))),
        500 | 502 | 504 => AnswerDecision::RefuseUnlessRetried(Refusal::UpstreamError),
        301 | 302 | 303 | 307 | 308 => refuse(Refusal::UpstreamRedirect),
        304 | 412 | 416 => refuse(Refusal::UpstreamProtocol),
        _ => refuse(Refusal::UpstreamError),
    }
}

fn decide_object(
    request: &AnswerContext<'_>,
    status: StatusCode,
    store: &HeaderMap,
) -> AnswerDecision {
    let mut range_applies = true;
    if request.conditional {
        let validators = Validators::from_headers(store);
        match evaluate(request.headers, &validators) {
            PreconditionOutcome::Proceed => {}
            PreconditionOutcome::NotModified => return AnswerDecision::NotModified,
            PreconditionOutcome::PreconditionFailed => {
                return AnswerDecision::Refuse(Refusal::PreconditionFailed);
            }
        }
        let store_date = http_date::of(store, &DATE);
        range_applies = !request.headers.contains_key(IF_RANGE)
            || if_range_holds(request.headers, &validators, store_date);
    }
    match request.ask {
        Ask::Length => return decide_length(request, range_applies, content_length(store)),
        Ask::Validators if range_applies => return AnswerDecision::AskAgain(Ask::AsClient),
        Ask::Validators => return AnswerDecision::AskAgain(Ask::Whole),
        Ask::AsClient | Ask::Whole => {}
    }
    if *request.method != Method::HEAD && !is_framed(store) {
        return AnswerDecision::Refuse(Refusal::UpstreamProtocol);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        if !range_applies {
            return AnswerDecision::AskAgain(Ask::Whole);
        }
        return if is_the_range_asked_for(request, store) {
            AnswerDecision::Deliver(status)
        } else {
            AnswerDecision::Refuse(Refusal::UpstreamProtocol)
        };
    }
    AnswerDecision::Deliver(status)
}

/// Whether the body has a marked end: a length, or chunks and no other coding. A body that ends with
/// its connection could be cut short unnoticed (RFC 9112, section 6.3).
fn is_framed(store: &HeaderMap) -> bool {
    let mut codings = store.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => store.contains_key(CONTENT_LENGTH),
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// The length of the body of an object, as far as the head states it: by `Content-Length`, or for a
/// part in chunks by `Content-Range`.
#[must_use]
pub fn body_length(status: StatusCode, store: &HeaderMap) -> Option<u64> {
    match content_length(store) {
        None if status == StatusCode::PARTIAL_CONTENT => match content_range(store)? {
            ContentRange::Part { first, last, .. } => (last - first).checked_add(1),
            ContentRange::Unsatisfied { .. } => None,
        },
        length => length,
    }
}

/// Whether this status speaks against the address that sent it, and not about the object.
#[must_use]
pub fn is_error_of_address(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether another head follows this one (RFC 9110, section 15.2). A switch of protocols is final: no
/// request asks for one, and no answer follows it.
#[must_use]
pub fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The store said 416 and was then asked for the length: answer the client's range with it.
fn decide_length(
    request: &AnswerContext<'_>,
    range_applies: bool,
    length: Option<u64>,
) -> AnswerDecision {
    if !range_applies {
        return AnswerDecision::AskAgain(Ask::Whole);
    }
    match (asked_range(request), length) {
        (Some(ByteRange::Suffix(suffix)), Some(0)) if suffix > 0 => AnswerDecision::Empty,
        // The object has changed between the two answers, or the store contradicts itself: another
        // request shows which.
        (Some(range), Some(length)) if range.resolve(length).is_some() => {
            AnswerDecision::AskAgain(Ask::AsClient)
        }
        (_, length) => AnswerDecision::Refuse(Refusal::RangeNotSatisfiable(length)),
    }
}

fn decide_unsatisfiable(request: &AnswerContext<'_>, store: &HeaderMap) -> AnswerDecision {
    let undecided =
        [&IF_MATCH, &IF_UNMODIFIED_SINCE, &IF_NONE_MATCH, &IF_MODIFIED_SINCE, &IF_RANGE]
            .into_iter()
            .any(|name| request.headers.contains_key(name));
    let suffix = matches!(asked_range(request), Some(ByteRange::Suffix(_)));
    match content_range(store) {
        Some(ContentRange::Unsatisfied { len: length }) if !undecided && !suffix => {
            AnswerDecision::Refuse(Refusal::RangeNotSatisfiable(Some(length)))
        }
        _ => AnswerDecision::AskAgain(Ask::Length),
    }
}

fn asked_range(request: &AnswerContext<'_>) -> Option<ByteRange> {
    match parse_range(request.headers) {
        RangeRequest::Single(range) => Some(range),
        RangeRequest::Whole | RangeRequest::Many(_) => None,
    }
}

/// Whether a 206 holds the requested bytes, with the length it claims.
fn is_the_range_asked_for(request: &AnswerContext<'_>, store: &HeaderMap) -> bool {
    if request.conditions.range.is_none() {
        return false;
    }
    let Some(range) = asked_range(request) else { return false };
    let Some(ContentRange::Part { first, last, len: length }) = content_range(store) else {
        return false;
    };
    let as_asked = match (length, range) {
        (Some(length), _) => range.resolve(length) == Some((first, last)),
        (None, ByteRange::FromTo { first: asked, last: until }) => {
            first == asked && until.is_none_or(|until| last <= until)
        }
        (None, ByteRange::Suffix(_)) => false,
    };
    as_asked && content_length(store).is_none_or(|body| Some(body) == (last - first).checked_add(1))
}

fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    ContentRange::parse(headers.get(CONTENT_RANGE)?)
}

/// The value of `Content-Length`, where there is one of digits alone.
#[must_use]
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    let text = single(headers, &CONTENT_LENGTH)?.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether there is one usable `Content-Length`, or none at all.
fn has_valid_length(headers: &HeaderMap) -> bool {
    !headers.contains_key(CONTENT_LENGTH) || content_length(headers).is_some()
}

/// Whether a head names a length of the object, or of its part, that no object can have.
fn names_impossible_length(headers: &HeaderMap) -> bool {
    let whole = match content_range(headers) {
        // A position is less than the length.
        Some(ContentRange::Part { last, len, .. }) => len.unwrap_or(last.saturating_add(1)),
        Some(ContentRange::Unsatisfied { len }) => len,
        None => 0,
    };
    content_length(headers).unwrap_or_default().max(whole) > MAX_OBJECT_BYTES
}

/// The store's own number of seconds, within reason.
fn retry_after(store: &HeaderMap) -> u32 {
    let seconds = store.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.unwrap_or(DEFAULT_RETRY_AFTER).clamp(1, 3600)
}

#[cfg(test)]
mod tests;
