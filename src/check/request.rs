//! One request to a store and its answer. The head, the deadlines, the meaning of errors and the
//! reading of error documents are those of [`crate::upstream`], over Pingora's own connector, so that
//! certificates are those of the gateway. No redirect is followed. The caller
//! decides whether another attempt follows.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::Error;
use pingora::connectors::TransportConnector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;

use crate::check::deadline::Deadline;
use crate::check::reply::reply;
use crate::check::verdict::{Probe, StoreReply};
use crate::config::UpstreamConfig;
use crate::logging::reasons::{CERTIFICATE_REFUSED, last_reason};
use crate::profile::Profile;
use crate::protocol::forwarded_conditions::UpstreamConditions;
use crate::protocol::http_date;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::{Endpoint, Target};
use crate::upstream;
use crate::upstream::client::exchange;
use crate::upstream::deadline::Deadlines;
use crate::upstream::dial::ReadyConnection;
use crate::upstream::error::{is_of_tls, of_connect, of_exchange};
use crate::upstream::error_document::ErrorDocument;
use crate::upstream::peer_tls::PeerTls;
use crate::upstream::request::{signed_request, unsigned_request};
use crate::upstream::retry::AttemptFailure;
use crate::upstream::tunnel::Tunnel;
use crate::upstream::turns::Chosen;

/// The requested byte of an object.
const FIRST_BYTE: HeaderValue = HeaderValue::from_static("bytes=0-0");

/// Sends requests to one address of a store.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub connector: &'a TransportConnector,
    pub socket: SocketAddr,
    /// Where the address is that of a proxy.
    pub tunnel: Option<&'a Tunnel>,
    pub tls: bool,
    /// Where TLS differs from that with all stores.
    pub peer_tls: Option<&'a PeerTls>,
    pub upstream: &'a UpstreamConfig,
    pub deadline: Deadline,
}

/// A request, signed and ready to be sent.
pub(super) struct ProbeRequest {
    probe: Probe,
    target: Target,
    head: RequestHeader,
}

/// A store's answer and the time it came.
pub(crate) struct ProbeAnswer {
    pub reply: StoreReply,
    pub headers: HeaderMap,
    /// The store's clock.
    pub date: Option<SystemTime>,
    /// This machine's clock at the same time.
    pub now: SystemTime,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AskError {
    failure: AttemptFailure,
    /// The reason in Pingora's words.
    why: String,
    is_of_tls: bool,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = &self.why;
        match self.refusal() {
            Refusal::Internal => {
                f.write_str("the configured access key or headers are not valid in HTTP")
            }
            Refusal::UpstreamTimeout => f.write_str("no answer in time"),
            _ if self.is_of_tls => f.write_str(why),
            Refusal::UpstreamUnreachable => write!(f, "no connection: {why}"),
            Refusal::UpstreamProxy => write!(f, "no tunnel: {why}"),
            Refusal::UpstreamReset => {
                write!(f, "the connection was closed before an answer: {why}")
            }
            _ => write!(f, "the answer is not HTTP: {why}"),
        }
    }
}

impl AskError {
    /// The request cannot be made.
    pub(super) fn cannot_be_sent(refusal: Refusal) -> Self {
        Self { failure: AttemptFailure::Final(refusal), why: String::new(), is_of_tls: false }
    }

    fn late(failure: AttemptFailure) -> Self {
        Self { failure, why: String::new(), is_of_tls: false }
    }

    fn new(error: &Error, failure: AttemptFailure) -> Self {
        Self {
            failure,
            why: last_reason(&error.to_string()).to_owned(),
            is_of_tls: is_of_tls(error),
        }
    }

    /// What it means for another attempt.
    pub(super) fn failure(&self) -> &AttemptFailure {
        &self.failure
    }

    /// What a client gets whose request meets this error.
    pub(super) fn refusal(&self) -> Refusal {
        self.failure.refusal()
    }

    /// Whether it is an error as TLS meets at a plain port, and not one of the certificate.
    pub(super) fn may_be_no_tls(&self) -> bool {
        if self.is_of_tls {
            return !self.is_of_certificate();
        }
        matches!(self.refusal(), Refusal::UpstreamTimeout | Refusal::UpstreamReset)
    }

    /// Whether it is an error as a plain request meets at a TLS port.
    pub(super) fn may_be_tls(&self) -> bool {
        matches!(self.refusal(), Refusal::UpstreamReset | Refusal::UpstreamProtocol)
    }

    fn is_of_certificate(&self) -> bool {
        self.is_of_tls && self.why.contains(CERTIFICATE_REFUSED)
    }
}

impl ProbeRequest {
    /// The request of this probe, signed for this time.
    ///
    /// # Errors
    /// When a configured value cannot be sent.
    pub(super) fn new(
        probe: Probe,
        profile: &Profile,
        target: Target,
        now: SystemTime,
    ) -> Result<Self, AskError> {
        let (signer, range) = match probe {
            Probe::Object => (profile.signer(), Some(FIRST_BYTE)),
            Probe::Service | Probe::Bucket => (without_object_headers(profile).signer(), None),
        };
        let conditions = UpstreamConditions { range, ..UpstreamConditions::default() };
        let head = signed_request(&signer, &target, &Method::GET, &conditions, now)
            .map_err(AskError::cannot_be_sent)?;
        Ok(Self { probe, target, head })
    }

    /// `GET https://host/path` with the names of the headers, without their values.
    pub(super) fn describe(&self, tls: bool) -> String {
        let scheme = if tls { "https" } else { "http" };
        let mut names: Vec<&str> = self.head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let authorization = self.head.headers.get(http::header::AUTHORIZATION);
        let signed = authorization
            .and_then(|value| {
                value.to_str().ok()?.split("SignedHeaders=").nth(1)?.split(',').next()
            })
            .unwrap_or("none");
        let Target { host, path, .. } = &self.target;
        format!("GET {scheme}://{host}{path} with headers {}; signed: {signed}", names.join(", "))
    }
}

/// Where a store lists its buckets.
pub(super) fn service_target(endpoint: &Endpoint) -> Target {
    Target {
        host: endpoint.authority(),
        server_name: endpoint.host.clone(),
        path: format!("{}/", endpoint.base_path),
    }
}

/// Where a store lists the first key of a bucket. A list, and not HEAD, because its errors have a
/// document that names their code.
pub(super) fn bucket_target(profile: &Profile, bucket: &str) -> Target {
    let mut target = profile.endpoint.target(profile.addressing, bucket, b"");
    target.path.push_str("?list-type=2&max-keys=1");
    target
}

/// Keys of SSE-C belong to requests for objects; stores refuse them with any other.
fn without_object_headers(profile: &Profile) -> Profile {
    let mut profile = profile.clone();
    profile
        .upstream_headers
        .retain(|(name, _)| !name.as_str().starts_with("x-amz-server-side-encryption-customer-"));
    profile
}

impl Asker<'_> {
    /// Connects with TLS; the version, such as `TLSv1.3`.
    pub(super) async fn secure(&self, target: &Target) -> Result<String, AskError> {
        let stream = self.connect(target, true, self.upstream.total_timeout).await?;
        let digest = stream.get_ssl_digest();
        Ok(digest.map_or_else(|| "TLS".to_owned(), |digest| digest.version.replace('_', ".")))
    }

    /// Whether the port answers HTTP without TLS. No credentials are sent.
    pub(super) async fn speaks_plain_http(&self, target: &Target) -> bool {
        let limit = self.deadline.at_most(self.upstream.connect_timeout);
        let target = Target { path: "/".to_owned(), ..target.clone() };
        let Ok(request) = unsigned_request(&target, &Method::GET) else { return false };
        self.head(&target, request, false, limit).await.is_ok()
    }

    /// Whether the port answers TLS, with any certificate.
    pub(super) async fn speaks_tls(&self, target: &Target) -> bool {
        match self.secure(target).await {
            Ok(_) => true,
            Err(error) => error.is_of_certificate(),
        }
    }

    /// Sends the request, and reads the head of the answer and its document. The body of an object is
    /// not read. `left` is the rest of the time for all attempts.
    pub(super) async fn ask(
        &self,
        request: ProbeRequest,
        left: Duration,
    ) -> Result<ProbeAnswer, AskError> {
        let ProbeRequest { probe, target, head } = request;
        let (mut session, head) = self.head(&target, head, self.tls, left).await?;
        let now = clock();
        let is_success = head.status.is_success();
        let mut document = ErrorDocument::default();
        if probe != Probe::Object || !is_success {
            let limits = Deadlines::of(self.upstream);
            let limit = if is_success { self.upstream.read_timeout } else { limits.document(None) };
            self.read(&mut session, &mut document, limit).await;
        }
        let headers = head.headers.clone();
        Ok(ProbeAnswer {
            reply: reply(self.tls, head.status.as_u16(), &headers, &document),
            date: http_date::of(&headers, &DATE),
            headers,
            now,
        })
    }

    async fn connect(
        &self,
        target: &Target,
        tls: bool,
        left: Duration,
    ) -> Result<Stream, AskError> {
        let limit = Deadlines::of(self.upstream).connect(self.deadline.at_most(left));
        let chosen = Chosen::unknown(self.socket);
        let mut peer =
            upstream::peer(chosen, chosen.group.key(), tls, target, self.upstream, limit);
        if let Some(tls) = self.peer_tls {
            tls.apply(&mut peer);
        }
        let connected = Box::pin(async {
            if let Some(tunnel) = self.tunnel {
                let stream = tunnel.connect(self.socket, limit).await?;
                peer.options.custom_l4 = Some(ReadyConnection::new(stream));
            }
            self.connector.new_stream(&peer).await
        });
        match tokio::time::timeout(limit, connected).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let error = error.into_up();
                Err(AskError::new(&error, of_connect(&error)))
            }
            Err(_) => Err(AskError::late(AttemptFailure::NoConnection(Refusal::UpstreamTimeout))),
        }
    }

    async fn head(
        &self,
        target: &Target,
        request: RequestHeader,
        tls: bool,
        left: Duration,
    ) -> Result<(HttpSession, ResponseHeader), AskError> {
        let mut session = HttpSession::new(self.connect(target, tls, left).await?);
        let limit = Deadlines::of(self.upstream).head(self.deadline.at_most(left));
        match tokio::time::timeout(limit, exchange(&mut session, request)).await {
            Ok(Ok(head)) => Ok((session, head)),
            Ok(Err(error)) => Err(AskError::new(&error, of_exchange(&error, false))),
            Err(_) => Err(AskError::late(AttemptFailure::Late)),
        }
    }

    /// Reads the part of the document that arrives within the time limit: a truncated document may
    /// contain its code.
    async fn read(&self, session: &mut HttpSession, document: &mut ErrorDocument, limit: Duration) {
        let read = async {
            while !document.is_full()
                && let Ok(Some(piece)) = session.read_body_bytes().await
            {
                document.push(&piece);
            }
        };
        let _in_time = tokio::time::timeout(self.deadline.at_most(limit), read).await;
    }
}

/// This machine's clock.
#[expect(clippy::disallowed_methods, reason = "signatures hold the time, and it is compared here")]
pub(crate) fn clock() -> SystemTime {
    SystemTime::now()
}
