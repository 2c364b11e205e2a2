//! The head of a request of HTTP/2 as one of HTTP/1.1, so that every rule for heads is there once: the limits, the
//! refusals, and what the gateway admits. Values in, bytes out.

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method};

/// The same head as HTTP/1.1; `None` if its target cannot be written (RFC 9113, section 8.3.1), or a value begins or
/// ends with white space (section 8.2.1): the request is malformed.
///
/// `:authority` is the host. A `Host` that says the same is left out, and one that says something else makes two,
/// which are refused. A body without length is marked as in HTTP/1.1. Fields of `Cookie` become one, in the place of
/// the first (section 8.2.3).
pub(super) fn as_http1(request: &Parts, has_body: bool) -> Option<Vec<u8>> {
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    let target = match authority {
        Some(authority) if request.method == Method::CONNECT => authority,
        _ => request.uri.path_and_query()?.as_str(),
    };
    if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return None;
    }
    let fields = || request.headers.iter();
    let has_space =
        |value: &HeaderValue| matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if fields().any(|(_, value)| has_space(value)) {
        return None;
    }
    let length: usize = fields().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut head = Vec::with_capacity(length + target.len() + 128);
    let mut add = |parts: &[&[u8]]| {
        for part in parts {
            head.extend_from_slice(part);
        }
    };
    add(&[request.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
    if let Some(authority) = authority {
        add(&[b"Host: ", authority.as_bytes(), b"\r\n"]);
    }
    let is_same = |host: &HeaderValue| {
        authority.is_some_and(|name| host.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
    };
    let (mut has_length, mut has_cookie) = (false, false);
    for (name, value) in fields() {
        if name == HOST && is_same(value) {
            continue;
        }
        if name == COOKIE {
            if !std::mem::replace(&mut has_cookie, true) {
                add(&[b"cookie: "]);
                for (number, crumb) in request.headers.get_all(COOKIE).iter().enumerate() {
                    let separator = if number > 0 { &b"; "[..] } else { b"" };
                    add(&[separator, crumb.as_bytes()]);
                }
                add(&[b"\r\n"]);
            }
            continue;
        }
        has_length |= name == CONTENT_LENGTH && value.as_bytes() != b"0";
        add(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    if has_body && !has_length {
        add(&[b"Transfer-Encoding: chunked\r\n"]);
    }
    add(&[b"\r\n"]);
    Some(head)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: &str, uri: &str, fields: &[(&str, &str)], has_body: bool) -> Option<String> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        as_http1(&parts, has_body).map(|head| String::from_utf8(head).expect("UTF-8"))
    }

    #[test]
    fn the_authority_is_the_host_and_another_host_stays() {
        for (uri, fields, expected) in [
            (
                "https://h/a%2Fb//c?d",
                &[("range", "bytes=0-1")][..],
                "Host: h\r\nrange: bytes=0-1\r\n",
            ),
            ("https://h:8443/a%2Fb//c?d", &[("host", "H:8443")], "Host: h:8443\r\n"),
            ("https://h/a%2Fb//c?d", &[("host", "other")], "Host: h\r\nhost: other\r\n"),
            ("/a%2Fb//c?d", &[("host", "h")], "host: h\r\n"),
            ("/a%2Fb//c?d", &[], ""),
        ] {
            let expected = format!("GET /a%2Fb//c?d HTTP/1.1\r\n{expected}\r\n");
            assert_eq!(head("GET", uri, fields, false), Some(expected), "{uri} {fields:?}");
        }
    }

    #[test]
    fn other_forms_of_targets_are_those_of_http_1() {
        let connect = head("CONNECT", "h:443", &[], false);
        assert_eq!(connect.as_deref(), Some("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"));
        let all = head("OPTIONS", "*", &[("host", "h")], false);
        assert_eq!(all.as_deref(), Some("OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"));
    }

    /// Three hundred of them were more fields than a head may have.
    #[test]
    fn the_crumbs_of_cookies_are_one_field() {
        let fields =
            [("cookie", "a=1"), ("range", "bytes=0-1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
        let expected = "GET / HTTP/1.1\r\nHost: h\r\ncookie: a=1; b=2; c=3; d=4\r\n\
                        range: bytes=0-1\r\n\r\n";
        assert_eq!(head("GET", "https://h/", &fields, false).as_deref(), Some(expected));
    }

    #[test]
    fn white_space_at_an_end_of_a_value_is_malformed() {
        for (value, is_malformed) in
            [("a b", false), ("", false), (" a", true), ("a ", true), ("\ta", true), ("a\t", true)]
        {
            let head = head("GET", "https://h/", &[("x-test", value)], false);
            assert_eq!(head.is_none(), is_malformed, "{value:?}");
        }
    }

    #[test]
    fn a_body_is_visible_in_the_head() {
        for (length, marks) in [(None, true), (Some("0"), true), (Some("3"), false)] {
            let fields: Vec<_> =
                length.map(|length| ("content-length", length)).into_iter().collect();
            let head = head("POST", "https://h/", &fields, true).expect("a head");
            assert_eq!(head.contains("Transfer-Encoding: chunked\r\n"), marks, "{length:?}");
        }
    }
}
