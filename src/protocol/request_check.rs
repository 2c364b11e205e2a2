//! Requests that are refused before routing: bodies, a missing or malformed `Host`, and unsupported
//! request targets (RFC 9112, sections 3 and 6). A body is refused because ambiguous framing allows
//! request smuggling, and a read gateway needs none.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

/// Why a request is not accepted as HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRequest {
    /// `Transfer-Encoding`, or a `Content-Length` other than 0.
    Body,
    HostMissing,
    HostInvalid,
    /// Neither `/path` nor `http://host/path`.
    Target,
    /// A request line with more than two spaces, a control character or a `#`, or a carriage return
    /// in the middle of a line.
    RequestLine,
    /// Pingora's parser refuses it: field names, version, framing, a repeated `Host`.
    Malformed,
    HeadersTooLarge,
    HeadersTooSlow,
    /// Plain HTTP on the port for TLS.
    TlsRequired,
}

impl BadRequest {
    /// The name in logs and metrics.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Self::Body => "request_body",
            Self::HostMissing => "host_missing",
            Self::HostInvalid => "host_invalid",
            Self::Target => "request_target",
            Self::RequestLine => "request_line",
            Self::Malformed => "request_malformed",
            Self::HeadersTooLarge => "headers_too_large",
            Self::HeadersTooSlow => "headers_too_slow",
            Self::TlsRequired => "tls_required",
        }
    }

    /// The HTTP status of the refusal.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::HeadersTooLarge => 431,
            Self::HeadersTooSlow => 408,
            _ => 400,
        }
    }

    /// The sentence for the client: the fault and, where it is not obvious, the remedy.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Body => "this service is read-only: send the request without a body",
            Self::HostMissing => {
                "the request names no host: it needs the Host header, or :authority in HTTP/2"
            }
            Self::HostInvalid => {
                "the Host header must be a host name or an IP address, with an optional port"
            }
            Self::Target => {
                "the request target must be an absolute path or an http:// or https:// URL"
            }
            Self::RequestLine => {
                "the request line must be a method, a target and a version, with one space between \
                 them; percent-encode spaces, control characters and # in the target"
            }
            Self::Malformed => "the request head is not valid HTTP",
            Self::HeadersTooLarge => {
                "the request line and headers exceed the size limit: send fewer or shorter headers"
            }
            Self::HeadersTooSlow => {
                "the request line and headers did not arrive in time: send the request again"
            }
            Self::TlsRequired => "this port serves HTTPS: use https:// in the URL",
        }
    }
}

/// Checks a request that Pingora's parser accepts. `target` is the request target as sent.
///
/// # Errors
/// The first rule the request breaks.
pub fn inspect(version: Version, target: &[u8], headers: &HeaderMap) -> Result<(), BadRequest> {
    if headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0")
    {
        return Err(BadRequest::Body);
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(BadRequest::Malformed),
        (Some(host), None) if !is_host_header(host.as_bytes()) => {
            return Err(BadRequest::HostInvalid);
        }
        (None, None) if version >= Version::HTTP_11 => return Err(BadRequest::HostMissing),
        _ => {}
    }
    let origin_form = target.first() == Some(&b'/');
    if !origin_form && absolute_form_path(target).is_none() {
        return Err(BadRequest::Target);
    }
    Ok(())
}

/// The path and query of a request target in origin form or absolute form (RFC 9112, sections 3.2.1
/// and 3.2.2).
#[must_use]
pub fn target_path(target: &[u8]) -> &[u8] {
    absolute_form_path(target).unwrap_or(target)
}

fn absolute_form_path(target: &[u8]) -> Option<&[u8]> {
    let (_, path) = absolute_form(target)?;
    Some(if path.first() == Some(&b'/') { path } else { b"/" })
}

/// The authority of a request target in absolute form, and what follows it: a path, a query, or nothing.
#[must_use]
pub fn absolute_form(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    if !is_host_header(authority) || authority.is_empty() {
        return None;
    }
    Some((authority, path))
}

/// `host`, `host:port` or `[v6]:port`; empty is allowed (RFC 9112, section 3.2).
#[must_use]
pub fn is_host_header(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !host.ends_with(b"]") => {
            let (name, port) = host.split_at(colon);
            (name, port.get(1..).unwrap_or_default())
        }
        _ => (host, &[][..]),
    };
    if port.len() > 5 || !port.iter().all(u8::is_ascii_digit) {
        return false;
    }
    if let Some(inner) = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        return inner.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
    }
    name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::HeaderName;

    fn check(
        version: Version,
        target: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<(), BadRequest> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        inspect(version, target.as_bytes(), &map)
    }

    #[test]
    fn ordinary_requests_pass() {
        for (target, host) in [
            ("/", "example.org"),
            ("/s3proxy/s3/b/k?x=1", "example.org:8080"),
            ("/k", "[::1]:8080"),
            ("/k", "[::1]"),
            ("/k", "127.0.0.1"),
            ("/k", ""),
            ("http://example.org/k", "example.org"),
            ("HTTP://example.org", "example.org"),
        ] {
            let headers = [("host", host)];
            assert_eq!(check(Version::HTTP_11, target, &headers), Ok(()), "{target} {host}");
        }
        assert_eq!(check(Version::HTTP_10, "/", &[]), Ok(()));
        let empty_body = [("host", "h"), ("content-length", "0")];
        assert_eq!(check(Version::HTTP_11, "/", &empty_body), Ok(()));
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        let body = BadRequest::Body;
        for (headers, error) in [
            (&[("host", "h"), ("transfer-encoding", "chunked")][..], body),
            (&[("host", "h"), ("transfer-encoding", "identity")][..], body),
            (&[("host", "h"), ("content-length", "5")][..], body),
            (&[("host", "h"), ("content-length", "+0")][..], body),
            (&[("host", "h"), ("content-length", "0"), ("content-length", "1")][..], body),
            (&[], BadRequest::HostMissing),
            (&[("host", "a"), ("host", "a")][..], BadRequest::Malformed),
            (&[("host", "a/b")][..], BadRequest::HostInvalid),
            (&[("host", "a,b")][..], BadRequest::HostInvalid),
            (&[("host", "a b")][..], BadRequest::HostInvalid),
            (&[("host", "u@a")][..], BadRequest::HostInvalid),
            (&[("host", "a:b")][..], BadRequest::HostInvalid),
            (&[("host", "a:123456")][..], BadRequest::HostInvalid),
            (&[("host", "[::1")][..], BadRequest::HostInvalid),
        ] {
            assert_eq!(check(Version::HTTP_11, "/", headers), Err(error), "{headers:?}");
        }
    }

    #[test]
    fn targets_are_paths_or_http_urls() {
        for target in ["*", "example.org:80", "ftp://h/k", "http://", "http://u@h/k", "k", ""] {
            assert_eq!(
                check(Version::HTTP_11, target, &[("host", "h")]),
                Err(BadRequest::Target),
                "{target}"
            );
        }
    }

    #[test]
    fn the_path_of_both_target_forms_is_found() {
        for (target, path) in [
            ("/a?b", "/a?b"),
            ("http://h/a?b", "/a?b"),
            ("https://h:1/", "/"),
            ("http://h", "/"),
            ("http://h?x", "/"),
        ] {
            assert_eq!(target_path(target.as_bytes()), path.as_bytes(), "{target}");
        }
    }
}
