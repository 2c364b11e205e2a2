//! The way to a store through a proxy: a tunnel by `CONNECT`, over which a request goes as over any other
//! connection. The proxy resolves the name of the store; TLS is between gateway and store.
//!
//! | the proxy | error of Pingora | refusal | another attempt |
//! |---|---|---|---|
//! | has no name in DNS | | `upstream_proxy` | no |
//! | gives no connection, closes it, answers 5xx or no HTTP | `ConnectProxyFailure` | `upstream_proxy` | as for an address without connection |
//! | answers 3xx or 4xx: it wants credentials, or forbids the store | [`FORBIDS`] | `upstream_proxy` | no |
//! | does not answer in time | `ConnectTimedout` | `upstream_timeout` | as for an address without connection |

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::protocol::connect::{ConnectReply, MAX_HEAD, connect_reply, connect_request};
use crate::s3::endpoint::Endpoint;
use crate::s3::proxy::{Proxy, authority};
use crate::s3::secret::Secret;
use crate::upstream::dial::no_connection;

/// The kind of error where a proxy refuses for good.
pub const FORBIDS: ErrorType = ErrorType::Custom("ProxyForbids");

/// A proxy, and the store behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    pub proxy: Proxy,
    /// Host and port of the store.
    pub target: String,
    tls: bool,
}

impl Tunnel {
    /// The tunnel to this endpoint.
    #[must_use]
    pub fn new(proxy: &Proxy, endpoint: &Endpoint) -> Self {
        let target = authority(&endpoint.host, endpoint.port);
        Self { proxy: proxy.clone(), target, tls: endpoint.tls }
    }

    /// A new connection to this address of the proxy, and the tunnel over it, within `limit`.
    ///
    /// # Errors
    /// As [`Tunnel::open`].
    pub async fn connect(&self, address: SocketAddr, limit: Duration) -> Result<TcpStream> {
        let over = Instant::now() + limit;
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                self.open(stream, over.saturating_duration_since(Instant::now())).await
            }
            Ok(Err(error)) => Err(self.unreachable(no_connection(address, error))),
            Err(_late) => Err(self.late(limit)),
        }
    }

    /// Opens the tunnel over a connection to the proxy, within `limit`.
    ///
    /// # Errors
    /// As the table above says. No message contains the credentials.
    pub async fn open(&self, mut stream: TcpStream, limit: Duration) -> Result<TcpStream> {
        let reply = tokio::time::timeout(limit, self.ask(&mut stream)).await;
        let failed = |why: String| Err(Error::explain(ErrorType::ConnectProxyFailure, why));
        let Self { proxy, target, .. } = self;
        match reply {
            Err(_late) => Err(self.late(limit)),
            Ok(Err(error)) => {
                let why =
                    format!("the proxy {proxy} closed the connection during CONNECT {target}");
                Err(Error::because(ErrorType::ConnectProxyFailure, why, error))
            }
            Ok(Ok(ConnectReply::Established)) => Ok(stream),
            Ok(Ok(ConnectReply::Refused(status @ 300..=499))) => {
                let why = format!(
                    "the proxy {proxy} answered CONNECT {target} with {status}{}",
                    self.hint(status)
                );
                Err(Error::explain(FORBIDS, why))
            }
            Ok(Ok(ConnectReply::Refused(status))) => failed(format!(
                "the proxy {proxy} answered CONNECT {target} with {status}: it does not reach the store"
            )),
            Ok(Ok(ConnectReply::Incomplete | ConnectReply::Malformed)) => {
                failed(format!("{proxy} does not answer CONNECT {target} as a proxy does"))
            }
        }
    }

    async fn ask(&self, stream: &mut TcpStream) -> io::Result<ConnectReply> {
        let authorization = self.proxy.authorization.as_ref();
        let head = connect_request(&self.target, authorization.map(Secret::expose));
        stream.write_all(Secret::new(head).expose().as_bytes()).await?;
        let mut received = Vec::new();
        let mut piece = [0; 1024];
        loop {
            let count = stream.read(&mut piece).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            received.extend_from_slice(piece.get(..count).unwrap_or_default());
            match connect_reply(&received) {
                ConnectReply::Incomplete if received.len() < MAX_HEAD => {}
                reply => return Ok(reply),
            }
        }
    }

    /// What to do about a status.
    fn hint(&self, status: u16) -> &'static str {
        match status {
            407 if self.proxy.authorization.is_some() => {
                ": it does not accept the user and password in its URL"
            }
            407 => ": it wants a user and a password in its URL",
            403 | 405 if !self.tls => {
                ": it does not allow this store; most proxies allow CONNECT to port 443 alone"
            }
            _ => ": it does not allow this store",
        }
    }

    /// The error where the proxy is silent for so long.
    #[must_use]
    pub fn late(&self, limit: Duration) -> Box<Error> {
        let Self { proxy, target, .. } = self;
        let why = format!(
            "no tunnel to {target} through the proxy {proxy} within {} ms",
            limit.as_millis()
        );
        Error::explain(ErrorType::ConnectTimedout, why)
    }

    /// The error of a connection to an address of the proxy, with the name of the proxy.
    #[must_use]
    pub fn unreachable(&self, error: Box<Error>) -> Box<Error> {
        let kind = match error.etype() {
            ErrorType::ConnectTimedout => ErrorType::ConnectTimedout,
            _ => ErrorType::ConnectProxyFailure,
        };
        Error::because(kind, format!("no connection to the proxy {}", self.proxy), error)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Opens a tunnel through a proxy that answers so; its request, and the error.
    async fn through(answer: &'static [u8], closes: bool) -> (String, Option<Box<Error>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Proxy::parse(&format!("http://u:hush@127.0.0.1:{port}")).unwrap();
        let tunnel = Tunnel::new(&proxy, &Endpoint::parse("http://store:9000").unwrap());
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            (request, (!closes).then_some(stream))
        };
        let limit = Duration::from_millis(200);
        let (opened, (request, _open)) = tokio::join!(tunnel.open(stream, limit), served);
        (String::from_utf8(request).unwrap(), opened.err())
    }

    #[tokio::test]
    async fn each_answer_of_a_proxy_has_its_error_without_the_credentials() {
        for (answer, closes, kind, words) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], false, None, ""),
            (b"HTTP/1.1 407 x\r\n\r\n", true, Some(FORBIDS), "does not accept the user"),
            (b"HTTP/1.1 403 x\r\n\r\n", true, Some(FORBIDS), "port 443 alone"),
            (b"HTTP/1.1 502 x\r\n\r\n", true, Some(ErrorType::ConnectProxyFailure), "with 502"),
            (b"HTTP/1.1 20", true, Some(ErrorType::ConnectProxyFailure), "closed the connection"),
            (b"220 smtp", false, Some(ErrorType::ConnectProxyFailure), "as a proxy does"),
            (b"HTTP/1.1 20", false, Some(ErrorType::ConnectTimedout), "within 200 ms"),
        ] {
            let (request, error) = through(answer, closes).await;
            assert!(request.starts_with("CONNECT store:9000 HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("Proxy-Authorization: Basic dTpodXNo\r\n"), "{request}");
            let text = error.as_ref().map(|error| format!("{error} {error:?}")).unwrap_or_default();
            assert_eq!(error.map(|error| error.etype().clone()), kind, "{text}");
            assert!(text.contains(words), "{text}");
            assert!(!text.contains("hush") && !text.contains("dTpodXNo"), "{text}");
        }
    }
}
