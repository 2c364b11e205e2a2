//! Requests that the admin listener refuses by their headers. Every client that can connect may purge the
//! cache, and so may the browser of an operator: a page of another site must not be able to use it, neither
//! directly (`Origin`, `Sec-Fetch-Site`) nor with a name of its own that resolves to the address of the
//! listener (DNS rebinding: `Host`).

use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::{HeaderName, Method, StatusCode};
use pingora::http::RequestHeader;

use crate::protocol::request_check::{BadRequest, inspect};

/// <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) message: &'static str,
}

/// Checks a request. `hosts` are the names that `Host` may have besides `localhost`, in lower case.
///
/// # Errors
/// The first rule the request breaks.
pub(super) fn check(request: &RequestHeader, hosts: &[String]) -> Result<(), Refused> {
    let (method, headers) = (&request.method, &request.headers);
    match inspect(request.version, request.raw_path(), headers) {
        // Other methods are answered 405, with or without a body.
        Err(BadRequest::Body) if !matches!(method.as_str(), "GET" | "HEAD" | "PURGE") => {}
        Err(error) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
            return Err(Refused { status, message: error.message() });
        }
        Ok(()) => {}
    }
    if headers.contains_key(ORIGIN) {
        return Err(forbidden("the admin listener serves no pages of a browser (Origin)"));
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if sites.any(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site")) {
        return Err(forbidden(
            "the admin listener serves no requests of other sites (Sec-Fetch-Site: cross-site)",
        ));
    }
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or_default());
    if !host.is_none_or(|host| is_allowed_host(host, hosts)) {
        return Err(forbidden(
            "the Host is neither an IP address, nor localhost, nor a name in admin.hosts",
        ));
    }
    Ok(())
}

/// Whether a request is one of kubelet, which has no client certificate.
pub(super) fn is_probe(request: &RequestHeader) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
        && matches!(request.raw_path(), b"/livez" | b"/readyz")
}

fn forbidden(message: &'static str) -> Refused {
    Refused { status: StatusCode::FORBIDDEN, message }
}

/// Whether a `Host`, with or without a port, is an address, `localhost`, or one of `hosts`. No site can
/// have these names, apart from `hosts`.
fn is_allowed_host(host: &str, hosts: &[String]) -> bool {
    if let Some((address, _port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.split_once(':').map_or(host, |(name, _port)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn status(headers: &[(&'static str, &str)]) -> Option<u16> {
        let mut request = RequestHeader::build("PURGE", b"/sky/a.png", None).expect("a request");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            request.append_header(*name, value).expect("a header");
        }
        let hosts = ["gateway-admin.s3proxy.svc".to_owned()];
        check(&request, &hosts).err().map(|refused| refused.status.as_u16())
    }

    #[test]
    fn only_addresses_and_known_names_are_hosts_of_the_admin_listener() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:9090",
            "[::1]:9090",
            "[::1]",
            "localhost:9090",
            "LOCALHOST",
            "localhost.",
            "gateway-admin.s3proxy.svc:9090",
            "Gateway-Admin.s3proxy.svc",
        ] {
            assert_eq!(status(&[("host", host)]), None, "{host}");
        }
        for host in [
            "rebind.example:9090",
            "127.0.0.1.example",
            "localhost.example",
            "x.localhost",
            "s3proxy.svc",
            "[not:an:address]",
            "2130706433",
            "0x7f000001",
            "",
        ] {
            assert!(matches!(status(&[("host", host)]), Some(400 | 403)), "{host}");
        }
        assert_eq!(status(&[]), Some(400), "HTTP/1.1 requires a Host");
        assert_eq!(status(&[("host", "127.0.0.1"), ("host", "rebind.example")]), Some(400));
    }

    #[test]
    fn pages_of_a_browser_are_refused() {
        let host = ("host", "127.0.0.1:9090");
        assert_eq!(status(&[host, ("origin", "https://evil.example")]), Some(403));
        assert_eq!(status(&[host, ("origin", "null")]), Some(403));
        assert_eq!(status(&[host, ("sec-fetch-site", "cross-site")]), Some(403));
        assert_eq!(status(&[host, ("sec-fetch-site", "none")]), None, "an address typed by hand");
        assert_eq!(status(&[host, ("content-length", "3")]), Some(400));
    }
}
