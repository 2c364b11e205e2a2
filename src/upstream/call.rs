//! One request over a connection of its own, to a provider of credentials or a collector of traces: no redirect
//! is followed, and the answer is bounded.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};
use pingora::Error;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;

use crate::certificate::store_tls::StoreTls;
use crate::config::UpstreamConfig;
use crate::logging::reasons::last_reason;
use crate::s3::endpoint::Endpoint;
use crate::s3::provider::reply::MAX_REPLY_BYTES;
use crate::s3::proxy::Proxy;
use crate::s3::secret::Secret;
use crate::upstream::answer::is_interim;
use crate::upstream::certificates::Trusted;
use crate::upstream::dial::ReadyConnection;
use crate::upstream::peer_tls::PeerTls;
use crate::upstream::tunnel::Tunnel;

/// How long a connection may take, and each read and write.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the requests.
pub(crate) struct Caller {
    config: UpstreamConfig,
    /// Made for the first request: most gateways send none.
    connector: OnceLock<TransportConnector>,
}

/// A request. The values of the headers are secrets.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(&'a str, Secret)>,
    pub(crate) body: CallBody<'a>,
    pub(crate) proxy: Option<&'a Proxy>,
    pub(crate) tls: Option<&'a StoreTls>,
}

impl<'a> Call<'a> {
    /// Without headers and body, sent directly.
    pub(crate) fn new(method: &'a Method, path: &'a str) -> Self {
        Self { method, path, headers: Vec::new(), body: CallBody::None, proxy: None, tls: None }
    }
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum CallBody<'a> {
    None,
    Secret(&'a Secret),
    Bytes(&'a [u8]),
}

impl CallBody<'_> {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Secret(secret) => Some(secret.expose().as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

impl Caller {
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        Self { config: config.clone(), connector: OnceLock::new() }
    }

    fn connector(&self) -> Result<&TransportConnector, String> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector);
        }
        // Pingora would panic.
        Trusted::read(&self.config).map_err(|error| error.to_string())?;
        let ca_file = self.config.ca_file.as_ref();
        let mut options = ConnectorOptions::new(1);
        options.ca_file = ca_file.map(|path| path.to_string_lossy().into_owned());
        Ok(self.connector.get_or_init(|| TransportConnector::new(Some(options))))
    }

    /// The status and the body of the answer.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn call(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
    ) -> Result<(u16, Vec<u8>), String> {
        let connector = self.connector()?;
        let tunnel = call.proxy.map(|proxy| Tunnel::new(proxy, endpoint));
        let (host, port) = match call.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&endpoint.host, endpoint.port),
        };
        let mut last = format!("{host} has no address");
        for address in addresses(host, port).await? {
            match connect(connector, endpoint, address, tunnel.as_ref(), call.tls).await {
                Ok(mut session) => {
                    let answered = Box::pin(exchange(&mut session, endpoint, call));
                    return answered.await.map_err(|error| format!("no answer: {error}"));
                }
                Err(error) => {
                    let reason = error.to_string();
                    last = format!("no connection to {address}: {}", last_reason(&reason));
                }
            }
        }
        Err(last)
    }
}

async fn connect(
    connector: &TransportConnector,
    endpoint: &Endpoint,
    address: SocketAddr,
    tunnel: Option<&Tunnel>,
    tls: Option<&StoreTls>,
) -> Result<HttpSession, Box<Error>> {
    #[expect(clippy::disallowed_methods, reason = "given a SocketAddr nothing is resolved")]
    let mut peer = HttpPeer::new(address, endpoint.tls, endpoint.host.clone());
    peer.options.connection_timeout = Some(STEP_TIMEOUT);
    peer.options.total_connection_timeout = Some(STEP_TIMEOUT);
    if let Some(tls) = tls {
        PeerTls::new(tls).apply(&mut peer);
    }
    if let Some(tunnel) = tunnel {
        let stream = tunnel.connect(address, STEP_TIMEOUT).await?;
        peer.options.custom_l4 = Some(ReadyConnection::new(stream));
    }
    let mut session = HttpSession::new(connector.new_stream(&peer).await?);
    session.read_timeout = Some(STEP_TIMEOUT);
    session.write_timeout = Some(STEP_TIMEOUT);
    Ok(session)
}

/// The addresses of a name.
async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = tokio::net::lookup_host((host, port)).await;
    match found {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(format!("{host} does not resolve: {error}")),
    }
}

async fn exchange(
    session: &mut HttpSession,
    endpoint: &Endpoint,
    call: &Call<'_>,
) -> Result<(u16, Vec<u8>), Box<Error>> {
    let length = call.body.bytes().map(<[u8]>::len);
    let mut head = RequestHeader::build(call.method.clone(), call.path.as_bytes(), Some(8))?;
    head.insert_header(HOST, endpoint.authority())?;
    head.insert_header(USER_AGENT, concat!("s3proxy/", env!("CARGO_PKG_VERSION")))?;
    for (name, value) in &call.headers {
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| Error::explain(pingora::ErrorType::InvalidHTTPHeader, "a header value"))?;
        value.set_sensitive(true);
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Error::explain(pingora::ErrorType::InvalidHTTPHeader, "a header name"))?;
        head.insert_header(name, value)?;
    }
    if let Some(length) = length {
        head.insert_header(CONTENT_LENGTH, length)?;
    } else if *call.method == Method::PUT {
        head.insert_header(CONTENT_LENGTH, 0)?;
    }
    session.write_request_header(Box::new(head)).await?;
    if let Some(body) = call.body.bytes() {
        session.write_body(body).await?;
    }
    session.finish_body().await?;
    let status = loop {
        session.read_response().await?;
        match session.resp_header() {
            Some(head) if !is_interim(head.status) => break head.status.as_u16(),
            _ => {}
        }
    };
    let mut body = Vec::new();
    while let Some(piece) = session.read_body_bytes().await? {
        if body.len() + piece.len() > MAX_REPLY_BYTES {
            return Err(Error::explain(
                pingora::ErrorType::InternalError,
                "the answer is too long",
            ));
        }
        body.extend_from_slice(&piece);
    }
    Ok((status, body))
}
