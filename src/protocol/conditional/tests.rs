//! Every condition alone, then all of them together in the order of section 13.2.2.

use std::time::Duration;

use http::header::DATE;
use proptest::prelude::*;

use super::PreconditionOutcome::{NotModified, PreconditionFailed, Proceed};
use super::*;
use crate::protocol::{HeaderPairs, headers_of};

const BEFORE: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

fn outcome(request: HeaderPairs<'_>, answer: HeaderPairs<'_>) -> PreconditionOutcome {
    let answer = headers_of(answer);
    evaluate(&headers_of(request), &Validators::from_headers(&answer))
}

#[test]
fn each_condition_alone() {
    let object = [("etag", "\"a\""), ("last-modified", SAME)];
    for (name, value, expected) in [
        // 13.1.1, strong comparison.
        ("if-match", "\"a\"", Proceed),
        ("if-match", "a", Proceed),
        ("if-match", "*", Proceed),
        ("if-match", "\"b\", \"a\"", Proceed),
        ("if-match", "W/\"a\"", PreconditionFailed),
        ("if-match", "\"b\"", PreconditionFailed),
        ("if-match", "\"A\"", PreconditionFailed),
        ("if-match", "\"a", PreconditionFailed),
        ("if-match", "", PreconditionFailed),
        // 13.1.2, weak comparison.
        ("if-none-match", "\"a\"", NotModified),
        ("if-none-match", "a", NotModified),
        ("if-none-match", "*", NotModified),
        ("if-none-match", "W/\"a\"", NotModified),
        ("if-none-match", "\"xyzzy\", \"r2d2xxxx\", \"a\"", NotModified),
        ("if-none-match", "W/\"xyzzy\", W/\"a\"", NotModified),
        ("if-none-match", "\"x,y\",\"a\"", NotModified),
        ("if-none-match", "\"b\"", Proceed),
        ("if-none-match", "\"b\", \"c\"", Proceed),
        ("if-none-match", "\"*\"", Proceed),
        ("if-none-match", "\"a", Proceed),
        ("if-none-match", "", Proceed),
        // 13.1.3.
        ("if-modified-since", BEFORE, Proceed),
        ("if-modified-since", SAME, NotModified),
        ("if-modified-since", AFTER, NotModified),
        ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
        ("if-modified-since", "Sun Nov  6 08:49:37 1994", NotModified),
        ("if-modified-since", "Sun Nov  6 08:49:36 1994", Proceed),
        ("if-modified-since", "yesterday", Proceed),
        // 13.1.4.
        ("if-unmodified-since", BEFORE, PreconditionFailed),
        ("if-unmodified-since", SAME, Proceed),
        ("if-unmodified-since", AFTER, Proceed),
        ("if-unmodified-since", "yesterday", Proceed),
        // Range and If-Range are not evaluated here.
        ("if-range", "\"b\"", Proceed),
        ("range", "bytes=0-1", Proceed),
    ] {
        assert_eq!(outcome(&[(name, value)], &object), expected, "{name}: {value}");
    }
    assert_eq!(outcome(&[], &object), Proceed);
}

#[test]
fn lines_of_one_field_are_one_list_and_two_dates_are_invalid() {
    let object = [("etag", "\"a\""), ("last-modified", SAME)];
    for (name, first, second, expected) in [
        ("if-none-match", "\"b\"", "\"a\"", NotModified),
        ("if-none-match", "\"b\"", "\"c\"", Proceed),
        ("if-match", "\"b\"", "\"a\"", Proceed),
        ("if-match", "\"b\"", "\"c\"", PreconditionFailed),
        ("if-modified-since", AFTER, AFTER, Proceed),
        ("if-unmodified-since", BEFORE, BEFORE, Proceed),
    ] {
        assert_eq!(outcome(&[(name, first), (name, second)], &object), expected, "{name}");
    }
}

#[test]
fn an_object_without_a_validator_cannot_match_it() {
    for (name, value, expected) in [
        ("if-match", "\"a\"", PreconditionFailed),
        ("if-match", "*", Proceed),
        ("if-none-match", "\"a\"", Proceed),
        ("if-none-match", "*", NotModified),
        ("if-modified-since", AFTER, Proceed),
        ("if-unmodified-since", BEFORE, Proceed),
    ] {
        assert_eq!(outcome(&[(name, value)], &[]), expected, "{name}: {value}");
        let repeated = [("etag", "\"a\""), ("etag", "\"a\""), ("last-modified", "?")];
        assert_eq!(outcome(&[(name, value)], &repeated), expected, "{name}: {value}");
    }
}

#[test]
fn tags_of_the_object_may_be_weak_or_lack_their_quotes() {
    for (etag, name, value, expected) in [
        ("W/\"a\"", "if-none-match", "\"a\"", NotModified),
        ("W/\"a\"", "if-none-match", "W/\"a\"", NotModified),
        ("W/\"a\"", "if-match", "\"a\"", PreconditionFailed),
        ("W/\"a\"", "if-match", "W/\"a\"", PreconditionFailed),
        ("a", "if-none-match", "\"a\"", NotModified),
        ("a", "if-match", "\"a\"", Proceed),
    ] {
        assert_eq!(outcome(&[(name, value)], &[("etag", etag)]), expected, "{etag} {name}");
    }
}

#[test]
fn conditions_take_precedence_as_section_13_2_2_says() {
    // Each condition absent, passing or failing: 81 combinations against the five steps.
    let object = [("etag", "\"a\""), ("last-modified", SAME)];
    let if_match = [None, Some("\"a\""), Some("\"b\"")];
    let if_unmodified_since = [None, Some(SAME), Some(BEFORE)];
    let if_none_match = [None, Some("\"b\""), Some("\"a\"")];
    let if_modified_since = [None, Some(BEFORE), Some(SAME)];
    for (m, match_value) in if_match.into_iter().enumerate() {
        for (u, unmodified) in if_unmodified_since.into_iter().enumerate() {
            for (n, none_match) in if_none_match.into_iter().enumerate() {
                for (s, modified) in if_modified_since.into_iter().enumerate() {
                    let request: Vec<_> = [
                        match_value.map(|value| ("if-match", value)),
                        unmodified.map(|value| ("if-unmodified-since", value)),
                        none_match.map(|value| ("if-none-match", value)),
                        modified.map(|value| ("if-modified-since", value)),
                    ]
                    .into_iter()
                    .flatten()
                    .collect();
                    let first = if m > 0 { m } else { u };
                    let second = if n > 0 { n } else { s };
                    let expected = match (first, second) {
                        (2, _) => PreconditionFailed,
                        (_, 2) => NotModified,
                        _ => Proceed,
                    };
                    assert_eq!(outcome(&request, &object), expected, "{request:?}");
                }
            }
        }
    }
}

#[test]
fn a_malformed_field_still_takes_precedence_over_the_date() {
    let object = [("etag", "\"a\""), ("last-modified", SAME)];
    for (request, expected) in [
        ([("if-none-match", "junk, junk"), ("if-modified-since", AFTER)], Proceed),
        ([("if-match", "junk, junk"), ("if-unmodified-since", AFTER)], PreconditionFailed),
    ] {
        assert_eq!(outcome(&request, &object), expected, "{request:?}");
    }
}

#[test]
fn vectors_after_go_net_http() {
    // The conditional cases of TestServeContent and TestServeFile in Go's net/http.
    for (etag, modified, name, value, expected) in [
        ("\"foo\"", None, "if-none-match", "\"foo\"", NotModified),
        ("\"foo\"", None, "if-none-match", "\"Foo\"", Proceed),
        ("\"foo\"", None, "if-none-match", "\"baz\", W/\"foo\"", NotModified),
        ("W/\"foo\"", None, "if-none-match", "\"foo\"", NotModified),
        ("\"A\"", None, "if-match", "W/\"A\"", PreconditionFailed),
        ("\"A\"", None, "if-match", "\"A\"", Proceed),
        ("\"A\"", None, "if-match", "\"Z\"", PreconditionFailed),
        ("\"A\"", Some(SAME), "if-unmodified-since", SAME, Proceed),
        ("\"A\"", Some(AFTER), "if-unmodified-since", SAME, PreconditionFailed),
        ("\"A\"", Some(SAME), "if-modified-since", SAME, NotModified),
    ] {
        let mut answer = vec![("etag", etag)];
        answer.extend(modified.map(|date| ("last-modified", date)));
        assert_eq!(outcome(&[(name, value)], &answer), expected, "{etag} {name}: {value}");
    }
}

#[test]
fn if_range_holds_for_an_equal_strong_validator_only() {
    let strong = [("etag", "\"a\""), ("last-modified", SAME), ("date", AFTER)];
    let weak = [("etag", "W/\"a\""), ("last-modified", SAME), ("date", AFTER)];
    let fresh = [("etag", "\"a\""), ("last-modified", SAME), ("date", SAME)];
    let undated = [("etag", "\"a\""), ("last-modified", SAME)];
    let bare = [("date", AFTER)];
    let cases: &[(HeaderPairs<'_>, &[&str], bool)] = &[
        (&strong, &[], true),
        (&bare, &[], true),
        (&strong, &["\"a\""], true),
        (&strong, &["\"b\""], false),
        (&strong, &["W/\"a\""], false),
        (&strong, &["a"], false),
        (&strong, &["*"], false),
        (&strong, &["\"a\", \"b\""], false),
        (&strong, &["\"a\"", "\"a\""], false),
        (&strong, &[""], false),
        (&weak, &["\"a\""], false),
        (&weak, &["W/\"a\""], false),
        (&bare, &["\"a\""], false),
        (&strong, &[SAME], true),
        (&strong, &["Sun Nov  6 08:49:37 1994"], true),
        (&strong, &[BEFORE], false),
        (&strong, &[AFTER], false),
        (&fresh, &[SAME], false),
        (&fresh, &["\"a\""], true),
        (&undated, &[SAME], false),
        (&bare, &[SAME], false),
    ];
    for (answer, lines, expected) in cases {
        let answer = headers_of(answer);
        let request: Vec<_> = lines.iter().map(|line| ("if-range", *line)).collect();
        let validators = Validators::from_headers(&answer);
        let holds =
            if_range_holds(&headers_of(&request), &validators, http_date::of(&answer, &DATE));
        assert_eq!(holds, *expected, "{answer:?} {lines:?}");
    }
}

#[test]
fn fractions_of_a_second_are_ignored() {
    let request = headers_of(&[("if-modified-since", SAME), ("if-unmodified-since", SAME)]);
    let second = http_date::of(&request, &IF_MODIFIED_SINCE).expect("a date");
    for (offset, expected) in [(0, NotModified), (999, NotModified), (1000, PreconditionFailed)] {
        let last_modified = Some(second + Duration::from_millis(offset));
        let validators = Validators { etag: None, last_modified };
        assert_eq!(evaluate(&request, &validators), expected, "{offset} ms");
    }
}

proptest! {
    #[test]
    fn evaluating_never_panics(
        values in proptest::collection::vec((0usize..5, "[W/\"a*, 0-9GMT:]{0,16}"), 0..6),
        etag in "[W/\"a*, ]{0,8}",
    ) {
        let names = [
            "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
        ];
        let pairs: Vec<_> = values.iter().map(|(i, value)| (names[*i], value.as_str())).collect();
        let request = headers_of(&pairs);
        let answer = headers_of(&[("etag", &etag), ("last-modified", SAME)]);
        let validators = Validators::from_headers(&answer);
        let _ = evaluate(&request, &validators);
        let _ = if_range_holds(&request, &validators, validators.last_modified);
    }
}
