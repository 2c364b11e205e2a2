//! Requests without TLS where clients are to use it (`tls.redirect_to_https`), and the header by which a browser
//! does so from then on (RFC 6797).

use http::header::{CACHE_CONTROL, HOST, LOCATION, VARY};
use http::{HeaderName, HeaderValue, Method};
use pingora::http::RequestHeader;

use crate::config::TlsConfig;
use crate::downstream::transport::Transport;
use crate::protocol::request_check::{BadRequest, target_path};
use crate::response::gateway_response::GatewayResponse;
use crate::response::refusal::Refusal;

pub(super) const STRICT_TRANSPORT_SECURITY: HeaderName =
    HeaderName::from_static("strict-transport-security");

/// How long a client may use a redirect without asking again: an operator may change the port.
const MAX_AGE: &str = "max-age=3600";

/// The port for HTTPS.
const HTTPS: u16 = 443;

/// What leads clients to HTTPS.
#[derive(Debug, Clone, Default)]
pub(super) struct ToHttps {
    /// The port of the URLs of redirects; `None`: there are none.
    port: Option<u16>,
    /// The value of `Strict-Transport-Security`.
    hsts: Option<HeaderValue>,
}

impl ToHttps {
    /// As configured.
    pub(super) fn of(tls: Option<&TlsConfig>) -> Self {
        let port = tls.and_then(|tls| tls.redirect_port);
        Self { port, hsts: tls.and_then(|tls| tls.hsts.clone()) }
    }

    /// The value of `Strict-Transport-Security` for an answer over this connection. It has no meaning without TLS
    /// (RFC 6797, section 7.2).
    pub(super) fn hsts(&self, transport: &Transport) -> Option<&HeaderValue> {
        self.hsts.as_ref().filter(|_| transport.is_tls)
    }

    /// The redirect of a request to HTTPS; `None` if its client uses TLS already, with the gateway or with a
    /// trusted proxy.
    ///
    /// # Errors
    /// A request of HTTP/1.0 does not say which host it is for.
    pub(super) fn redirect(
        &self,
        client: &RequestHeader,
        transport: &Transport,
    ) -> Result<Option<GatewayResponse>, Refusal> {
        match self.port {
            Some(port) if !transport.is_tls && transport.scheme(&client.headers) == "http" => {
                let mut moved = moved(client, port)?;
                // A proxy that caches would redirect the clients that use TLS already, for ever.
                if let Some(proxies) = &transport.proxies {
                    moved.headers.push((VARY, proxies.scheme_header().into()));
                }
                Ok(Some(moved))
            }
            _ => Ok(None),
        }
    }
}

fn moved(client: &RequestHeader, port: u16) -> Result<GatewayResponse, Refusal> {
    let host = client.headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let location = location(host, port, target_path(client.raw_path()));
    let location = location.and_then(|location| HeaderValue::from_bytes(&location).ok());
    let location = location.ok_or(Refusal::BadRequest(BadRequest::TlsRequired))?;
    let keeps_method = !matches!(client.method, Method::GET | Method::HEAD);
    Ok(GatewayResponse {
        // Every client knows 301; 308 keeps the method (RFC 9110, section 15.4).
        status: if keeps_method { 308 } else { 301 },
        content_type: "",
        body: Vec::new(),
        headers: vec![(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static(MAX_AGE))],
    })
}

/// The URL of this path and query at the port of HTTPS; `None` without a host. `host` has the form of `Host`.
fn location(host: &[u8], port: u16, path_and_query: &[u8]) -> Option<Vec<u8>> {
    let name = match host.iter().rposition(|byte| *byte == b':') {
        // The colons of an IPv6 address stand in brackets.
        Some(colon) if !host.ends_with(b"]") => host.get(..colon)?,
        _ => host,
    };
    if name.is_empty() {
        return None;
    }
    let mut location = b"https://".to_vec();
    location.extend_from_slice(name);
    if port != HTTPS {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    location.extend_from_slice(path_and_query);
    Some(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_has_the_host_of_the_client_and_the_port_of_https() {
        for (host, port, expected) in [
            ("sky.example.org", 443, "https://sky.example.org/a?b"),
            ("sky.example.org:8080", 443, "https://sky.example.org/a?b"),
            ("sky.example.org:8080", 8443, "https://sky.example.org:8443/a?b"),
            ("sky.example.org:", 8443, "https://sky.example.org:8443/a?b"),
            ("192.0.2.1", 8443, "https://192.0.2.1:8443/a?b"),
            ("[::1]", 8443, "https://[::1]:8443/a?b"),
            ("[::1]:8080", 443, "https://[::1]/a?b"),
        ] {
            let found = location(host.as_bytes(), port, b"/a?b").expect(host);
            assert_eq!(String::from_utf8_lossy(&found), expected, "{host}");
        }
        assert_eq!(location(b"", 443, b"/"), None);
        assert_eq!(location(b":8080", 443, b"/"), None);
    }
}
