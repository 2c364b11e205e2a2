//! What to make of the head of a store's answer: deliver it, answer for the store, refuse, or ask
//! the store once more in another way. Stores such as Ceph RGW ignore `If-Range`, understand a
//! single entity tag only and leave `ETag` and `Content-Range` off; the client gets what RFC 9110
//! demands all the same.

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::refusal::Refusal;
use crate::rfc9110::conditional::{Outcome, Validators, evaluate, if_range_holds};
use crate::rfc9110::date;
use crate::rfc9110::forward::UpstreamConditions;
use crate::rfc9110::range::{ByteRange, ContentRange, RangeRequest, parse_range};

/// Seconds a client is told to wait when a busy store names none.
const DEFAULT_RETRY_AFTER: u32 = 5;

/// How a store is asked for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    /// With the client's method, and of its conditions those a store can be trusted with.
    #[default]
    AsClient,
    /// The whole object: the client's `If-Range` does not hold.
    Whole,
    /// HEAD, for the length and validators that a 416 left out.
    Length,
}

impl Ask {
    /// How a store is asked first. `bytes=-0` names no byte of any object, and stores differ in
    /// what they make of it, so that only the length is asked for.
    #[must_use]
    pub fn first(method: &Method, client: &HeaderMap) -> Self {
        match parse_range(client) {
            RangeRequest::Single(ByteRange::Suffix(0)) if method == Method::GET => Self::Length,
            _ => Self::AsClient,
        }
    }

    /// The method of the request to the store.
    #[must_use]
    pub fn method(self, client: &Method) -> Method {
        match self {
            Self::AsClient | Self::Whole => client.clone(),
            Self::Length => Method::HEAD,
        }
    }
}

/// The request, as far as the answer depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a Method,
    /// What the client sent.
    pub headers: &'a HeaderMap,
    pub ask: Ask,
    /// Whether any of it is a condition; most requests have none, and are spared the comparison.
    pub conditional: bool,
    /// What of it the store was sent.
    pub conditions: &'a UpstreamConditions,
    /// Whether the store's 403 means that the object is missing.
    pub missing_on_403: bool,
}

/// Whether a client's headers hold a condition (RFC 9110, section 13.1).
#[must_use]
pub fn is_conditional(client: &HeaderMap) -> bool {
    const CONDITIONS: [HeaderName; 5] =
        [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE];
    client.keys().any(|name| CONDITIONS.contains(name))
}

/// What becomes of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Its body is the client's: 200 or 206.
    Deliver(StatusCode),
    /// 304 for the client, whatever the store said.
    NotModified,
    /// 200 with no body: a suffix of an empty object.
    Empty,
    AskAgain(Ask),
    Refuse(Refusal),
    /// As `Refuse`, but another attempt may do better.
    RefuseUnlessRetried(Refusal),
}

/// Decides on the status and headers of the store's answer.
#[must_use]
pub fn decide(request: &Request<'_>, status: StatusCode, store: &HeaderMap) -> Decision {
    let refuse = Decision::Refuse;
    match status.as_u16() {
        200 | 206 => decide_object(request, status, store),
        304 if request.conditions.if_none_match.is_some() => Decision::NotModified,
        412 if request.conditions.if_match.is_some() => refuse(Refusal::PreconditionFailed),
        416 if request.conditions.range.is_some() => decide_unsatisfiable(request, store),
        404 => refuse(Refusal::ObjectNotFound),
        403 if request.missing_on_403 => refuse(Refusal::ObjectNotFound),
        401 | 403 => refuse(Refusal::UpstreamForbidden),
        429 => refuse(Refusal::UpstreamBusy(retry_after(store))),
        503 => Decision::RefuseUnlessRetried(Refusal::UpstreamBusy(retry_after(store))),
        500 | 502 | 504 => Decision::RefuseUnlessRetried(Refusal::UpstreamError),
        301 | 302 | 303 | 307 | 308 => refuse(Refusal::UpstreamRedirect),
        304 | 412 | 416 => refuse(Refusal::UpstreamProtocol),
        _ => refuse(Refusal::UpstreamError),
    }
}

fn decide_object(request: &Request<'_>, status: StatusCode, store: &HeaderMap) -> Decision {
    let mut range_applies = true;
    if request.conditional {
        let validators = Validators::from_headers(store);
        match evaluate(request.headers, &validators) {
            Outcome::Proceed => {}
            Outcome::NotModified => return Decision::NotModified,
            Outcome::PreconditionFailed => return Decision::Refuse(Refusal::PreconditionFailed),
        }
        let store_date = date::of(store, &DATE);
        range_applies = !request.headers.contains_key(IF_RANGE)
            || if_range_holds(request.headers, &validators, store_date);
    }
    if request.ask == Ask::Length {
        return decide_length(request, range_applies, content_length(store));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        if !range_applies {
            return Decision::AskAgain(Ask::Whole);
        }
        return if is_the_range_asked_for(request, store) {
            Decision::Deliver(status)
        } else {
            Decision::Refuse(Refusal::UpstreamProtocol)
        };
    }
    // A body whose end is the end of the connection could be cut short unnoticed.
    let framed = store.contains_key(CONTENT_LENGTH) || store.contains_key(TRANSFER_ENCODING);
    if framed || *request.method == Method::HEAD {
        Decision::Deliver(status)
    } else {
        Decision::Refuse(Refusal::UpstreamProtocol)
    }
}

/// The store said 416 and was then asked for the length: answer the client's range with it.
fn decide_length(request: &Request<'_>, range_applies: bool, length: Option<u64>) -> Decision {
    if !range_applies {
        return Decision::AskAgain(Ask::Whole);
    }
    match (asked_range(request), length) {
        (Some(ByteRange::Suffix(suffix)), Some(0)) if suffix > 0 => Decision::Empty,
        // The object has changed between the two answers, or the store cannot be followed.
        (Some(range), Some(length)) if range.resolve(length).is_some() => {
            Decision::Refuse(Refusal::UpstreamProtocol)
        }
        (_, length) => Decision::Refuse(Refusal::RangeNotSatisfiable(length)),
    }
}

fn decide_unsatisfiable(request: &Request<'_>, store: &HeaderMap) -> Decision {
    let undecided =
        [&IF_MATCH, &IF_UNMODIFIED_SINCE, &IF_NONE_MATCH, &IF_MODIFIED_SINCE, &IF_RANGE]
            .into_iter()
            .any(|name| request.headers.contains_key(name));
    let suffix = matches!(asked_range(request), Some(ByteRange::Suffix(_)));
    match content_range(store) {
        Some(ContentRange::Unsatisfied { len: length }) if !undecided && !suffix => {
            Decision::Refuse(Refusal::RangeNotSatisfiable(Some(length)))
        }
        _ => Decision::AskAgain(Ask::Length),
    }
}

fn asked_range(request: &Request<'_>) -> Option<ByteRange> {
    match parse_range(request.headers) {
        RangeRequest::Single(range) => Some(range),
        RangeRequest::Whole | RangeRequest::Many(_) => None,
    }
}

/// Whether a 206 holds the bytes that were asked for, with the length it claims.
fn is_the_range_asked_for(request: &Request<'_>, store: &HeaderMap) -> bool {
    if request.conditions.range.is_none() {
        return false;
    }
    let Some(range) = asked_range(request) else { return false };
    let Some(ContentRange::Part { first, last, len: length }) = content_range(store) else {
        return false;
    };
    let as_asked = match length {
        Some(length) => range.resolve(length) == Some((first, last)),
        None => true,
    };
    as_asked && content_length(store).is_none_or(|body| Some(body) == (last - first).checked_add(1))
}

fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    ContentRange::parse(headers.get(CONTENT_RANGE)?)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The store's own number of seconds, within reason.
fn retry_after(store: &HeaderMap) -> u32 {
    let seconds = store.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.unwrap_or(DEFAULT_RETRY_AFTER).clamp(1, 3600)
}

/// Whether this header of the store belongs to the object and is passed on as it is.
#[must_use]
pub fn is_object_header(name: &HeaderName) -> bool {
    use http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, ETAG, LAST_MODIFIED};
    [CONTENT_LENGTH, CONTENT_RANGE, CONTENT_ENCODING, CONTENT_DISPOSITION, ETAG, LAST_MODIFIED]
        .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rfc9110::forward::upstream_conditions;
    use http::HeaderValue;

    type Pairs = &'static [(&'static str, &'static str)];

    const OBJECT: Pairs = &[
        ("content-length", "4096"),
        ("etag", "\"v1\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("date", "Mon, 07 Nov 1994 08:49:37 GMT"),
    ];

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn decided(client: Pairs, ask: Ask, status: u16, store: &HeaderMap) -> Decision {
        let headers = map(client);
        let conditions = upstream_conditions(&Method::GET, &headers);
        let request = Request {
            method: &Method::GET,
            headers: &headers,
            ask,
            conditional: is_conditional(&headers),
            conditions: &conditions,
            missing_on_403: false,
        };
        decide(&request, StatusCode::from_u16(status).unwrap(), store)
    }

    fn plain(status: u16) -> Decision {
        decided(&[], Ask::AsClient, status, &map(OBJECT))
    }

    #[test]
    fn every_status_of_a_store_has_its_answer() {
        use Refusal::{
            ObjectNotFound, UpstreamBusy, UpstreamError, UpstreamForbidden, UpstreamProtocol,
            UpstreamRedirect,
        };
        assert_eq!(plain(200), Decision::Deliver(StatusCode::OK));
        for (status, refusal) in [
            (201, UpstreamError),
            (204, UpstreamError),
            (206, UpstreamProtocol),
            (301, UpstreamRedirect),
            (302, UpstreamRedirect),
            (303, UpstreamRedirect),
            (307, UpstreamRedirect),
            (308, UpstreamRedirect),
            (304, UpstreamProtocol),
            (400, UpstreamError),
            (401, UpstreamForbidden),
            (403, UpstreamForbidden),
            (404, ObjectNotFound),
            (405, UpstreamError),
            (412, UpstreamProtocol),
            (416, UpstreamProtocol),
            (429, UpstreamBusy(DEFAULT_RETRY_AFTER)),
            (501, UpstreamError),
        ] {
            assert_eq!(plain(status), Decision::Refuse(refusal), "{status}");
        }
        for (status, refusal) in [
            (500, UpstreamError),
            (502, UpstreamError),
            (503, UpstreamBusy(DEFAULT_RETRY_AFTER)),
            (504, UpstreamError),
        ] {
            assert_eq!(plain(status), Decision::RefuseUnlessRetried(refusal), "{status}");
        }
    }

    #[test]
    fn a_busy_stores_own_patience_is_passed_on_within_reason() {
        for (value, seconds) in [("7", 7), ("0", 1), ("999999", 3600), ("soon", 5)] {
            let decision = decided(&[], Ask::AsClient, 429, &map(&[("retry-after", value)]));
            assert_eq!(decision, Decision::Refuse(Refusal::UpstreamBusy(seconds)), "{value}");
        }
    }

    #[test]
    fn conditions_the_store_cannot_be_trusted_with_are_evaluated_here() {
        for (client, decision) in [
            (&[("if-none-match", "\"x\", \"v1\"")][..], Decision::NotModified),
            (&[("if-none-match", "*")][..], Decision::NotModified),
            (&[("if-none-match", "\"x\"")][..], Decision::Deliver(StatusCode::OK)),
            (&[("if-modified-since", "Sun, 06 Nov 1994 08:49:38 GMT")][..], Decision::NotModified),
            (&[("if-match", "\"x\"")][..], Decision::Refuse(Refusal::PreconditionFailed)),
            (&[("if-match", "W/\"v1\"")][..], Decision::Refuse(Refusal::PreconditionFailed)),
        ] {
            let found = decided(client, Ask::AsClient, 200, &map(OBJECT));
            assert_eq!(found, decision, "{client:?}");
        }
    }

    #[test]
    fn a_304_or_412_counts_only_where_its_condition_was_sent() {
        let sent = decided(&[("if-none-match", "\"v1\"")], Ask::AsClient, 304, &map(&[]));
        assert_eq!(sent, Decision::NotModified);
        let sent = decided(&[("if-match", "\"v0\"")], Ask::AsClient, 412, &map(&[]));
        assert_eq!(sent, Decision::Refuse(Refusal::PreconditionFailed));
    }

    fn part(content_range: &'static str, length: &'static str) -> HeaderMap {
        map(&[("content-range", content_range), ("content-length", length), ("etag", "\"v1\"")])
    }

    #[test]
    fn a_part_must_be_the_part_that_was_asked_for() {
        let deliver = Decision::Deliver(StatusCode::PARTIAL_CONTENT);
        let refuse = Decision::Refuse(Refusal::UpstreamProtocol);
        for (range, content_range, length, decision) in [
            ("bytes=10-19", "bytes 10-19/4096", "10", &deliver),
            ("bytes=4090-9999", "bytes 4090-4095/4096", "6", &deliver),
            ("bytes=-6", "bytes 4090-4095/4096", "6", &deliver),
            ("bytes=10-19", "bytes 10-19/*", "10", &deliver),
            ("bytes=10-19", "bytes 0-9/4096", "10", &refuse),
            ("bytes=10-19", "bytes 10-19/4096", "11", &refuse),
            ("bytes=10-19", "bytes nonsense", "10", &refuse),
            ("bytes=0-1,5-6", "bytes 0-1/4096", "2", &refuse),
        ] {
            let client: Pairs = Box::leak(Box::new([("range", range)]));
            let found = decided(client, Ask::AsClient, 206, &part(content_range, length));
            assert_eq!(&found, decision, "{range} answered by {content_range}");
        }
    }

    #[test]
    fn a_part_of_another_version_is_replaced_by_the_whole() {
        let client: Pairs = &[("range", "bytes=0-9"), ("if-range", "\"v0\"")];
        let found = decided(client, Ask::AsClient, 206, &part("bytes 0-9/4096", "10"));
        assert_eq!(found, Decision::AskAgain(Ask::Whole));
        let whole = decided(client, Ask::Whole, 200, &map(OBJECT));
        assert_eq!(whole, Decision::Deliver(StatusCode::OK));
    }

    #[test]
    fn a_416_names_the_length_even_where_the_store_does_not() {
        let client: Pairs = &[("range", "bytes=9000-")];
        let told = decided(client, Ask::AsClient, 416, &map(&[("content-range", "bytes */4096")]));
        assert_eq!(told, Decision::Refuse(Refusal::RangeNotSatisfiable(Some(4096))));
        let silent = decided(client, Ask::AsClient, 416, &map(&[]));
        assert_eq!(silent, Decision::AskAgain(Ask::Length));
        let asked = decided(client, Ask::Length, 200, &map(OBJECT));
        assert_eq!(asked, Decision::Refuse(Refusal::RangeNotSatisfiable(Some(4096))));
    }

    #[test]
    fn a_range_of_no_bytes_asks_for_the_length_alone() {
        let none: Pairs = &[("range", "bytes=-0")];
        assert_eq!(Ask::first(&Method::GET, &map(none)), Ask::Length);
        assert_eq!(Ask::first(&Method::HEAD, &map(none)), Ask::AsClient);
        assert_eq!(Ask::first(&Method::GET, &map(&[("range", "bytes=-1")])), Ask::AsClient);
        let answer = decided(none, Ask::Length, 200, &map(OBJECT));
        assert_eq!(answer, Decision::Refuse(Refusal::RangeNotSatisfiable(Some(4096))));
    }

    #[test]
    fn a_416_does_not_hide_conditions_that_come_before_the_range() {
        for (client, decision) in [
            (&[("range", "bytes=9000-"), ("if-none-match", "*")][..], Decision::NotModified),
            (
                &[("range", "bytes=9000-"), ("if-range", "\"v0\"")][..],
                Decision::AskAgain(Ask::Whole),
            ),
        ] {
            let told = map(&[("content-range", "bytes */4096")]);
            let first = decided(client, Ask::AsClient, 416, &told);
            assert_eq!(first, Decision::AskAgain(Ask::Length), "{client:?}");
            assert_eq!(decided(client, Ask::Length, 200, &map(OBJECT)), decision, "{client:?}");
        }
    }

    #[test]
    fn the_end_of_an_empty_object_is_empty_and_no_error() {
        let empty = map(&[("content-length", "0"), ("etag", "\"v1\"")]);
        let suffix: Pairs = &[("range", "bytes=-5")];
        assert_eq!(
            decided(suffix, Ask::AsClient, 416, &map(&[("content-range", "bytes */0")])),
            Decision::AskAgain(Ask::Length)
        );
        assert_eq!(decided(suffix, Ask::Length, 200, &empty), Decision::Empty);
        assert_eq!(
            decided(&[("range", "bytes=0-")], Ask::Length, 200, &empty),
            Decision::Refuse(Refusal::RangeNotSatisfiable(Some(0)))
        );
    }

    #[test]
    fn a_body_that_ends_with_the_connection_is_not_trusted() {
        let unframed = decided(&[], Ask::AsClient, 200, &map(&[("etag", "\"v1\"")]));
        assert_eq!(unframed, Decision::Refuse(Refusal::UpstreamProtocol));
        let chunked = decided(&[], Ask::AsClient, 200, &map(&[("transfer-encoding", "chunked")]));
        assert_eq!(chunked, Decision::Deliver(StatusCode::OK));
    }
}
