//! How a client is connected: what no request can say of itself, and whose word is taken for the rest.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use pingora::protocols::Stream;

use crate::protocol::forwarded::TrustedProxies;

/// How a client is connected.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    /// Through TLS of the gateway's own.
    pub is_tls: bool,
    /// By HTTP/2.
    pub is_http2: bool,
    /// The client has presented a certificate of an authority that is accepted.
    pub has_certificate: bool,
    /// The common name of this certificate.
    pub user: Option<Arc<str>>,
    /// The other end of the connection, or the one that a trusted load balancer has named by the PROXY
    /// protocol: the client, or the last proxy before the gateway.
    pub peer: Option<IpAddr>,
    /// The trusted proxies, if the other end is one of them.
    pub proxies: Option<Arc<TrustedProxies>>,
}

impl Transport {
    /// The address of the client of a request with these headers.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = self.peer?;
        Some(self.proxies.as_ref().map_or(peer, |proxies| proxies.client(headers, peer)))
    }

    /// The scheme of the URL as the client wrote it.
    #[must_use]
    pub fn scheme(&self, headers: &HeaderMap) -> &'static str {
        let forwarded = self.proxies.as_ref().and_then(|proxies| proxies.scheme(headers));
        forwarded.unwrap_or(if self.is_tls { "https" } else { "http" })
    }
}

/// The other end of a connection. An IPv4 client of a listener on `[::]` has its IPv4 address, not
/// `::ffff:192.0.2.1`.
pub(super) fn peer_of(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip().to_canonical())
}

/// The other end of a connection, for the log.
pub(super) fn shown(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::forwarded::ForwardedHeader;
    use crate::protocol::headers_of;
    use crate::protocol::network::Network;

    #[test]
    fn only_a_trusted_proxy_names_its_client_and_its_scheme() {
        let headers =
            headers_of(&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")]);
        let peer: IpAddr = "10.0.0.1".parse().expect("an address");
        let direct = Transport { peer: Some(peer), ..Transport::default() };
        assert_eq!((direct.client(&headers), direct.scheme(&headers)), (Some(peer), "http"));
        let proxies = TrustedProxies {
            networks: Network::parse("10.0.0.0/8").into_iter().collect(),
            header: ForwardedHeader::XForwardedFor,
        };
        let behind = Transport { proxies: Some(Arc::new(proxies)), ..direct };
        let client = "192.0.2.1".parse().ok();
        assert_eq!((behind.client(&headers), behind.scheme(&headers)), (client, "https"));
        let none = HeaderMap::new();
        let tls = Transport { is_tls: true, ..behind };
        assert_eq!((tls.client(&none), tls.scheme(&none)), (Some(peer), "https"));
        assert_eq!(Transport::default().client(&headers), None);
    }
}
