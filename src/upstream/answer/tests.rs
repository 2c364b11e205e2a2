//! The meaning of the answers of stores, well-behaved and not.

use super::*;
use crate::protocol::forwarded_conditions::upstream_conditions;
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

fn decided(client: Pairs, ask: Ask, status: u16, store: &HeaderMap) -> AnswerDecision {
    let headers = map(client);
    let conditions = upstream_conditions(&Method::GET, &headers);
    let request = AnswerContext {
        method: &Method::GET,
        headers: &headers,
        ask,
        conditional: is_conditional(&headers),
        conditions: &conditions,
    };
    decide(&request, StatusCode::from_u16(status).unwrap(), store)
}

fn plain(status: u16) -> AnswerDecision {
    decided(&[], Ask::AsClient, status, &map(OBJECT))
}

#[test]
fn every_status_of_a_store_has_its_answer() {
    use Refusal::{
        ObjectNotFound, UpstreamBusy, UpstreamError, UpstreamProtocol, UpstreamRedirect,
    };
    assert_eq!(plain(200), AnswerDecision::Deliver(StatusCode::OK));
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
        (405, UpstreamError),
        (412, UpstreamProtocol),
        (416, UpstreamProtocol),
        (429, UpstreamBusy(DEFAULT_RETRY_AFTER)),
        (501, UpstreamError),
    ] {
        assert_eq!(plain(status), AnswerDecision::Refuse(refusal), "{status}");
    }
    for status in [401, 403, 404] {
        assert_eq!(plain(status), AnswerDecision::ReadCode, "{status}");
    }
    for mark in ["x-amz-request-id", "x-amz-id-2"] {
        let missing = decided(&[], Ask::AsClient, 404, &map(&[(mark, "tx1")]));
        assert_eq!(missing, AnswerDecision::Refuse(ObjectNotFound), "{mark}");
    }
    for (status, refusal) in [
        (500, UpstreamError),
        (502, UpstreamError),
        (503, UpstreamBusy(DEFAULT_RETRY_AFTER)),
        (504, UpstreamError),
    ] {
        assert_eq!(plain(status), AnswerDecision::RefuseUnlessRetried(refusal), "{status}");
    }
}

#[test]
fn a_busy_stores_own_patience_is_passed_on_within_reason() {
    for (value, seconds) in [("7", 7), ("0", 1), ("999999", 3600), ("soon", 5)] {
        let decision = decided(&[], Ask::AsClient, 429, &map(&[("retry-after", value)]));
        assert_eq!(decision, AnswerDecision::Refuse(Refusal::UpstreamBusy(seconds)), "{value}");
    }
}

#[test]
fn conditions_the_store_cannot_be_trusted_with_are_evaluated_here() {
    for (client, decision) in [
        (&[("if-none-match", "\"x\", \"v1\"")][..], AnswerDecision::NotModified),
        (&[("if-none-match", "*")][..], AnswerDecision::NotModified),
        (&[("if-none-match", "\"x\"")][..], AnswerDecision::Deliver(StatusCode::OK)),
        (
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:38 GMT")][..],
            AnswerDecision::NotModified,
        ),
        (&[("if-match", "\"x\"")][..], AnswerDecision::Refuse(Refusal::PreconditionFailed)),
        (&[("if-match", "W/\"v1\"")][..], AnswerDecision::Refuse(Refusal::PreconditionFailed)),
    ] {
        let found = decided(client, Ask::AsClient, 200, &map(OBJECT));
        assert_eq!(found, decision, "{client:?}");
    }
}

#[test]
fn a_304_or_412_counts_only_where_its_condition_was_sent() {
    let sent = decided(&[("if-none-match", "\"v1\"")], Ask::AsClient, 304, &map(&[]));
    assert_eq!(sent, AnswerDecision::NotModified);
    let sent = decided(&[("if-match", "\"v0\"")], Ask::AsClient, 412, &map(&[]));
    assert_eq!(sent, AnswerDecision::Refuse(Refusal::PreconditionFailed));
}

fn part(content_range: &'static str, length: &'static str) -> HeaderMap {
    map(&[("content-range", content_range), ("content-length", length), ("etag", "\"v1\"")])
}

#[test]
fn a_part_must_be_the_part_that_was_asked_for() {
    let deliver = AnswerDecision::Deliver(StatusCode::PARTIAL_CONTENT);
    let refuse = AnswerDecision::Refuse(Refusal::UpstreamProtocol);
    for (range, content_range, length, decision) in [
        ("bytes=10-19", "bytes 10-19/4096", "10", &deliver),
        ("bytes=4090-9999", "bytes 4090-4095/4096", "6", &deliver),
        ("bytes=-6", "bytes 4090-4095/4096", "6", &deliver),
        ("bytes=10-19", "bytes 10-19/*", "10", &deliver),
        ("bytes=10-19", "bytes 10-14/*", "5", &deliver),
        ("bytes=10-19", "bytes 0-9/*", "10", &refuse),
        ("bytes=10-19", "bytes 10-20/*", "11", &refuse),
        ("bytes=-6", "bytes 4090-4095/*", "6", &refuse),
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
fn a_length_that_no_object_can_have_is_refused() {
    let refuse = AnswerDecision::Refuse(Refusal::UpstreamProtocol);
    let first = &[("range", "bytes=0-9")];
    for (length, range, deliver) in [
        ("1125899906842624", "bytes 0-9/1125899906842624", true),
        ("1125899906842625", "bytes 0-9/1125899906842625", false),
        ("1000000000000000000", "bytes 0-9/1000000000000000000", false),
        ("9223372036854775807", "bytes 0-9/9223372036854775807", false),
        ("18446744073709551615", "bytes 0-9/18446744073709551615", false),
    ] {
        let whole = decided(&[], Ask::AsClient, 200, &map(&[("content-length", length)]));
        assert_eq!(whole != refuse, deliver, "{length}");
        let found = decided(first, Ask::AsClient, 206, &part(range, "10"));
        assert_eq!(found != refuse, deliver, "{range}");
    }
    for range in ["bytes */18446744073709551615", "bytes */1125899906842625"] {
        let headers = map(&[("content-range", range)]);
        assert_eq!(decided(first, Ask::AsClient, 416, &headers), refuse, "{range}");
    }
}

#[test]
fn a_part_of_another_version_is_replaced_by_the_whole() {
    let client: Pairs = &[("range", "bytes=0-9"), ("if-range", "\"v0\"")];
    let found = decided(client, Ask::AsClient, 206, &part("bytes 0-9/4096", "10"));
    assert_eq!(found, AnswerDecision::AskAgain(Ask::Whole));
    let whole = decided(client, Ask::Whole, 200, &map(OBJECT));
    assert_eq!(whole, AnswerDecision::Deliver(StatusCode::OK));
}

#[test]
fn a_416_names_the_length_even_where_the_store_does_not() {
    let client: Pairs = &[("range", "bytes=9000-")];
    let told = decided(client, Ask::AsClient, 416, &map(&[("content-range", "bytes */4096")]));
    assert_eq!(told, AnswerDecision::Refuse(Refusal::RangeNotSatisfiable(Some(4096))));
    let silent = decided(client, Ask::AsClient, 416, &map(&[]));
    assert_eq!(silent, AnswerDecision::AskAgain(Ask::Length));
    let asked = decided(client, Ask::Length, 200, &map(OBJECT));
    assert_eq!(asked, AnswerDecision::Refuse(Refusal::RangeNotSatisfiable(Some(4096))));
}

fn first(method: &Method, client: Pairs) -> Ask {
    let client = map(client);
    Ask::first(method, &client, &upstream_conditions(method, &client))
}

#[test]
fn revalidations_a_store_cannot_answer_begin_with_its_validators() {
    let date = "Sun, 06 Nov 1994 08:49:38 GMT";
    for (client, ask) in [
        (&[("if-none-match", "\"v1\"")][..], Ask::AsClient),
        (&[("if-none-match", "\"v0\", \"v1\"")][..], Ask::Validators),
        (&[("if-none-match", "*")][..], Ask::Validators),
        (&[("if-modified-since", date)][..], Ask::Validators),
        (&[("if-none-match", "\"v1\""), ("if-modified-since", date)][..], Ask::AsClient),
        (&[("if-match", "\"v1\"")][..], Ask::AsClient),
        (&[("if-unmodified-since", date)][..], Ask::AsClient),
        (&[], Ask::AsClient),
    ] {
        let client: Pairs = Box::leak(client.to_vec().into_boxed_slice());
        assert_eq!(first(&Method::GET, client), ask, "{client:?}");
        assert_eq!(first(&Method::HEAD, client), Ask::AsClient, "{client:?}");
    }
    let same: Pairs = &[("if-none-match", "\"v0\", \"v1\"")];
    assert_eq!(decided(same, Ask::Validators, 200, &map(OBJECT)), AnswerDecision::NotModified);
    let other: Pairs = &[("if-none-match", "\"v0\", \"v2\"")];
    let again = AnswerDecision::AskAgain(Ask::AsClient);
    assert_eq!(decided(other, Ask::Validators, 200, &map(OBJECT)), again);
    let other: Pairs =
        &[("if-none-match", "\"v0\", \"v2\""), ("if-range", "\"v0\""), ("range", "bytes=0-9")];
    let whole = AnswerDecision::AskAgain(Ask::Whole);
    assert_eq!(decided(other, Ask::Validators, 200, &map(OBJECT)), whole);
}

#[test]
fn a_range_of_no_bytes_asks_for_the_length_alone() {
    let none: Pairs = &[("range", "bytes=-0")];
    assert_eq!(first(&Method::GET, none), Ask::Length);
    assert_eq!(first(&Method::HEAD, none), Ask::AsClient);
    assert_eq!(first(&Method::GET, &[("range", "bytes=-1")]), Ask::AsClient);
    let answer = decided(none, Ask::Length, 200, &map(OBJECT));
    assert_eq!(answer, AnswerDecision::Refuse(Refusal::RangeNotSatisfiable(Some(4096))));
}

#[test]
fn a_416_does_not_hide_conditions_that_come_before_the_range() {
    for (client, decision) in [
        (&[("range", "bytes=9000-"), ("if-none-match", "*")][..], AnswerDecision::NotModified),
        (
            &[("range", "bytes=9000-"), ("if-range", "\"v0\"")][..],
            AnswerDecision::AskAgain(Ask::Whole),
        ),
    ] {
        let told = map(&[("content-range", "bytes */4096")]);
        let first = decided(client, Ask::AsClient, 416, &told);
        assert_eq!(first, AnswerDecision::AskAgain(Ask::Length), "{client:?}");
        assert_eq!(decided(client, Ask::Length, 200, &map(OBJECT)), decision, "{client:?}");
    }
}

#[test]
fn the_end_of_an_empty_object_is_empty_and_no_error() {
    let empty = map(&[("content-length", "0"), ("etag", "\"v1\"")]);
    let suffix: Pairs = &[("range", "bytes=-5")];
    assert_eq!(
        decided(suffix, Ask::AsClient, 416, &map(&[("content-range", "bytes */0")])),
        AnswerDecision::AskAgain(Ask::Length)
    );
    assert_eq!(decided(suffix, Ask::Length, 200, &empty), AnswerDecision::Empty);
    assert_eq!(
        decided(&[("range", "bytes=0-")], Ask::Length, 200, &empty),
        AnswerDecision::Refuse(Refusal::RangeNotSatisfiable(Some(0)))
    );
}

#[test]
fn a_body_that_ends_with_the_connection_is_not_trusted() {
    let refuse = AnswerDecision::Refuse(Refusal::UpstreamProtocol);
    for (store, decision) in [
        (&[("etag", "\"v1\"")][..], &refuse),
        (&[("transfer-encoding", "gzip")][..], &refuse),
        (&[("transfer-encoding", "gzip, chunked")][..], &refuse),
        (&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")][..], &refuse),
        (&[("transfer-encoding", "Chunked")][..], &AnswerDecision::Deliver(StatusCode::OK)),
    ] {
        assert_eq!(&decided(&[], Ask::AsClient, 200, &map(store)), decision, "{store:?}");
    }
    let unframed = map(&[("content-range", "bytes 0-9/4096")]);
    assert_eq!(decided(&[("range", "bytes=0-9")], Ask::AsClient, 206, &unframed), refuse);
}
