//! Readers of header names, header values and `Cache-Control`, and the headers that no
//! configuration may touch.

use http::{HeaderName, HeaderValue};
use wildmatch::WildMatch;

use crate::config::nearest::nearest;
use crate::config::value::{Written, all, list_of, map_of, optional, text};
use crate::s3::secret::Secret;

/// Headers of one connection (RFC 9110, section 7.6.1), never passed on.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Request headers the gateway sets itself, or that would change the request.
const OWN_REQUEST: &[&str] = &[
    "accept-encoding",
    "authorization",
    "content-length",
    "cookie",
    "date",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
];

/// Response headers the gateway sets itself, or never lets through.
const OWN_RESPONSE: &[&str] = &[
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "cache-control",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "location",
    "server",
    "set-cookie",
    "vary",
    "x-content-type-options",
    "x-request-id",
];

/// Patterns of the client's headers to pass to the store.
pub(super) fn request_headers(written: Written<'_>) -> Result<Vec<WildMatch>, String> {
    list_of(written, |name| {
        let pattern = header_pattern(&name, OWN_REQUEST)?;
        match pattern.pattern().starts_with("x-amz-") {
            true => Err(format!(
                "must not contain \"{pattern}\": S3 refuses x-amz-* headers that are not signed; \
                 upstream_headers are"
            )),
            false => Ok(pattern),
        }
    })
}

/// Patterns of the store's headers to pass to the client.
pub(super) fn response_headers(written: Written<'_>) -> Result<Vec<WildMatch>, String> {
    list_of(written, |name| header_pattern(&name, OWN_RESPONSE))
}

fn header_pattern(name: &str, own: &[&str]) -> Result<WildMatch, String> {
    let name = name.to_ascii_lowercase();
    let literal = name.replace(['*', '?'], "x");
    if HeaderName::from_bytes(literal.as_bytes()).is_err() {
        return Err(format!(
            "must contain names of headers, with * and ? as wildcards, not {name:?}"
        ));
    }
    let pattern = WildMatch::new(&name);
    match HOP_BY_HOP.iter().chain(own).find(|own| pattern.matches(own)) {
        Some(refused) => Err(format!(
            "must not contain {name:?}: it matches {refused}, a header of the gateway itself"
        )),
        None => Ok(pattern),
    }
}

/// Headers to add to requests to the store, with their secret values.
pub(super) fn upstream_headers(written: Written<'_>) -> Result<Vec<(HeaderName, Secret)>, String> {
    let mut seen: Vec<HeaderName> = Vec::new();
    map_of(written, |name, value| {
        let value = Secret::new(value);
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(format!("must contain names of headers, not {name:?}"));
        };
        if HOP_BY_HOP.iter().chain(OWN_REQUEST).any(|own| header == *own) {
            return Err(format!("must not contain {header}: the gateway sets it itself"));
        }
        if seen.contains(&header) {
            return Err(format!("must not contain {header} twice"));
        }
        seen.push(header.clone());
        let sendable = value.expose().chars().all(|c| c.is_ascii_graphic() || c == ' ')
            && value.expose().trim() == value.expose()
            && !value.expose().is_empty();
        if !sendable {
            return Err(format!("must give {header} a value of printable ASCII"));
        }
        Ok((header, value))
    })
}

/// The directives of a response's `Cache-Control` (RFC 9111, section 5.2.2; RFC 5861; RFC 8246),
/// and whether each has a number.
const DIRECTIVES: &[(&str, bool)] = &[
    ("immutable", false),
    ("max-age", true),
    ("must-revalidate", false),
    ("must-understand", false),
    ("no-cache", false),
    ("no-store", false),
    ("no-transform", false),
    ("private", false),
    ("proxy-revalidate", false),
    ("public", false),
    ("s-maxage", true),
    ("stale-if-error", true),
    ("stale-while-revalidate", true),
];

/// A `Cache-Control` value, or nothing.
pub(super) fn cache_control(written: Written<'_>) -> Result<Option<HeaderValue>, String> {
    let Some(text) = optional(written, text)? else { return Ok(None) };
    let mut seen: Vec<&str> = Vec::new();
    let directives = all(text.split(',').map(|directive| {
        let directive = directive.trim();
        let (name, number) = match directive.split_once('=') {
            Some((name, number)) => (name, Some(number)),
            None => (directive, None),
        };
        let known = DIRECTIVES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((known, takes_number)) = known else {
            let names = DIRECTIVES.iter().map(|(name, _)| *name);
            let meant = nearest(name, names).map(|name| format!("; did you mean {name}?"));
            return Err(format!(
                "must contain directives such as public, max-age=86400, not {name:?}{}",
                meant.unwrap_or_default()
            ));
        };
        let has_number = number.is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n <= 1 << 31));
        if has_number != *takes_number || number.is_some() != *takes_number {
            let needs = if *takes_number { "needs" } else { "takes no" };
            return Err(format!("is refused: {known} {needs} whole number of seconds"));
        }
        if seen.contains(known) {
            return Err(format!("contains {known} twice"));
        }
        seen.push(known);
        Ok(())
    }));
    let both =
        seen.contains(&"public") && (seen.contains(&"private") || seen.contains(&"no-store"));
    let one = match both {
        true => Err("contains both public and private (or no-store)".to_owned()),
        false => Ok(Vec::new()),
    };
    all([directives, one])?;
    HeaderValue::try_from(text).map(Some).map_err(|_| "must be a Cache-Control value".to_owned())
}

/// The directive in this `Cache-Control` that forbids a shared cache to store (RFC 9111, section 3).
pub(super) fn forbids_storing(value: &HeaderValue) -> Option<&'static str> {
    let text = value.to_str().unwrap_or_default();
    let contains = |word: &str| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
    if contains("no-store") {
        Some("contains no-store")
    } else if contains("private") {
        Some("contains private")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_list(items: &[&str]) -> String {
        serde_json::to_string(items).expect("texts make JSON")
    }

    #[test]
    fn no_pattern_may_match_a_header_of_the_gateways_own() {
        for name in [
            "*",
            "host",
            "Range",
            "if-*",
            "authorization",
            "x-*",
            "x-amz-date",
            "?ost",
            "te",
            "cookie",
            "a b",
            "",
            "x-amz-request-payer",
            "connection",
            "accept*",
        ] {
            assert!(request_headers(Written::Text(&json_list(&[name]))).is_err(), "{name}");
        }
        for name in ["*", "set-cookie", "Server", "content-*", "x-*", "a:b"] {
            assert!(response_headers(Written::Text(&json_list(&[name]))).is_err(), "{name}");
        }
        for name in ["x-trace-*", "User-Agent", "traceparent"] {
            assert!(request_headers(Written::Text(&json_list(&[name]))).is_ok(), "{name}");
        }
        let patterns = response_headers(Written::Text(r#"["X-Amz-Meta-*"]"#)).expect("a pattern");
        assert!(patterns[0].matches("x-amz-meta-band"), "patterns are lower case");
    }

    #[test]
    fn upstream_headers_cannot_replace_the_gateways_own_nor_show_their_values() {
        let read = |json: &str| upstream_headers(Written::Text(json));
        let headers = read(r#"{"X-Amz-Request-Payer":"requester"}"#).expect("valid headers");
        assert_eq!(headers[0].0, "x-amz-request-payer");
        assert_eq!(headers[0].1.expose(), "requester");
        for json in [
            r#"{"Host":"hush"}"#,
            r#"{"authorization":"hush"}"#,
            r#"{"x-amz-date":"hush"}"#,
            r#"{"transfer-encoding":"hush"}"#,
            r#"{"a b":"hush"}"#,
            r#"{"x-a":"hush\n"}"#,
            r#"{"x-a":" hush"}"#,
            r#"{"x-a":"hushé"}"#,
            r#"{"x-a":"hush","X-A":"hush"}"#,
            r#"["hush"]"#,
            "hush",
        ] {
            let message = read(json).expect_err(json);
            assert!(!message.contains("hush"), "{message}");
        }
    }

    #[test]
    fn cache_control_is_checked_by_directive() {
        for good in
            ["public, max-age=86400", "private, no-cache", "no-store", "Max-Age=0,immutable"]
        {
            assert!(cache_control(Written::Text(good)).is_ok_and(|v| v.is_some()), "{good}");
        }
        assert_eq!(cache_control(Written::Text("")), Ok(None));
        for bad in [
            "public, private",
            "public, no-store",
            "max-age",
            "max-age=x",
            "max-age=-1",
            "max-age=99999999999",
            "public=1",
            "public,,private",
            "max-age=1, max-age=2",
            "publik",
        ] {
            assert!(cache_control(Written::Text(bad)).is_err(), "{bad}");
        }
        let message = cache_control(Written::Text("publik")).expect_err("a typing mistake");
        assert!(message.contains("did you mean public?"), "{message}");
    }
}
