//! One request to a store and its answer, over Pingora's own connector, so that certificates and
//! deadlines are those of the gateway. Nothing is retried, and no redirect is followed.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::header::{DATE, HOST, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::connectors::TransportConnector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::{Error, ErrorType};

use crate::check::deadline::Deadline;
use crate::check::verdict::{Question, Reply};
use crate::config::UpstreamConfig;
use crate::profile::Profile;
use crate::protocol::http_date;
use crate::protocol::request_id::sane_request_id;
use crate::s3::endpoint::{Endpoint, Target};
use crate::s3::error_code::error_code;
use crate::upstream;

/// How much of a document is read for its code, bytes.
const DOCUMENT_BYTES: usize = 64 * 1024;

/// The words of rustls before the reason a certificate is refused for.
const CERTIFICATE_REFUSED: &str = "invalid peer certificate";

/// The one byte an object is asked for.
const FIRST_BYTE: HeaderValue = HeaderValue::from_static("bytes=0-0");

/// Asks one address of a store.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub connector: &'a TransportConnector,
    pub socket: SocketAddr,
    pub tls: bool,
    pub upstream: &'a UpstreamConfig,
    pub deadline: Deadline,
}

/// A request as it goes out.
pub(super) struct Request {
    question: Question,
    target: Target,
    head: Box<RequestHeader>,
}

/// A store's answer and when it came.
pub(crate) struct Answer {
    pub reply: Reply,
    pub headers: HeaderMap,
    /// The store's clock.
    pub date: Option<SystemTime>,
    /// This machine's clock at the same time.
    pub now: SystemTime,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AskError {
    /// A key or header of the configuration does not fit into HTTP.
    CannotBeSent,
    NoAnswer,
    Connect(String),
    Tls(String),
    Closed(String),
    NotHttp(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotBeSent => {
                f.write_str("the configured access key or headers are not valid in HTTP")
            }
            Self::NoAnswer => f.write_str("no answer in time"),
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Tls(why) => f.write_str(why),
            Self::Closed(why) => write!(f, "the connection was closed before an answer: {why}"),
            Self::NotHttp(why) => write!(f, "the answer is not HTTP: {why}"),
        }
    }
}

impl From<Box<Error>> for AskError {
    fn from(error: Box<Error>) -> Self {
        use ErrorType::{
            ConnectTimedout, ConnectionClosed, HandshakeError, InvalidCert, ReadError,
            ReadTimedout, TLSHandshakeFailure, TLSHandshakeTimedout, WriteError, WriteTimedout,
        };
        let why = plain_reason(&error.to_string());
        match error.etype() {
            ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout => Self::NoAnswer,
            TLSHandshakeFailure | InvalidCert | HandshakeError => Self::Tls(why),
            ReadError | WriteError | ConnectionClosed => Self::Closed(why),
            kind if kind.as_str().starts_with("Connect") => Self::Connect(why),
            _ => Self::NotHttp(why),
        }
    }
}

impl AskError {
    /// Whether TLS failed for something other than the certificate, as it does at a plain port.
    pub(super) fn may_be_no_tls(&self) -> bool {
        match self {
            Self::Tls(why) => !why.contains(CERTIFICATE_REFUSED),
            Self::NoAnswer | Self::Closed(_) => true,
            _ => false,
        }
    }

    /// Whether a plain request failed as it does at a port of TLS.
    pub(super) fn may_be_tls(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::NotHttp(_))
    }
}

/// The last, most precise part of Pingora's chain of reasons.
fn plain_reason(chain: &str) -> String {
    let reason = match chain.find(CERTIFICATE_REFUSED) {
        Some(start) => chain.get(start..).unwrap_or(chain),
        None => chain.rsplit("cause: ").next().unwrap_or(chain),
    };
    let reason = reason.split(", SNI:").next().unwrap_or(reason);
    reason.trim().to_owned()
}

impl Request {
    /// The request that puts this question, signed at this time.
    ///
    /// # Errors
    /// When a configured value cannot be sent.
    pub(super) fn new(
        question: Question,
        profile: &Profile,
        target: Target,
        now: SystemTime,
    ) -> Result<Self, AskError> {
        let signer = match question {
            Question::Object => profile.signer(),
            Question::Service | Question::Bucket => without_object_headers(profile).signer(),
        };
        let signed = signer.sign(&Method::GET, &target, now).map_err(|_| AskError::CannotBeSent)?;
        let mut head = unsigned(&target)?;
        for (name, value) in signed {
            head.insert_header(name, value)?;
        }
        if question == Question::Object {
            head.insert_header(RANGE, FIRST_BYTE)?;
        }
        Ok(Self { question, target, head })
    }

    /// `GET https://host/path` with the names of the headers; never a value that is secret.
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

fn unsigned(target: &Target) -> Result<Box<RequestHeader>, AskError> {
    let mut head = RequestHeader::build(Method::GET, target.path.as_bytes(), Some(8))?;
    head.insert_header(HOST, &target.host)?;
    Ok(Box::new(head))
}

impl Asker<'_> {
    /// Connects with TLS; the version, such as `TLSv1.3`.
    pub(super) async fn secure(&self, target: &Target) -> Result<String, AskError> {
        let stream = self.connect(target, true).await?;
        let digest = stream.get_ssl_digest();
        Ok(digest.map_or_else(|| "TLS".to_owned(), |digest| digest.version.replace('_', ".")))
    }

    /// Whether the port answers HTTP without TLS. No credentials are sent.
    pub(super) async fn speaks_plain_http(&self, target: &Target) -> bool {
        let limit = self.deadline.at_most(self.upstream.connect_timeout);
        let exchange = async {
            let target = Target { path: "/".to_owned(), ..target.clone() };
            self.head(&target, unsigned(&target)?, false).await
        };
        matches!(tokio::time::timeout(limit, exchange).await, Ok(Ok(_)))
    }

    /// Whether the port answers TLS, whatever its certificate.
    pub(super) async fn speaks_tls(&self, target: &Target) -> bool {
        match self.secure(target).await {
            Ok(_) => true,
            Err(AskError::Tls(why)) => why.contains(CERTIFICATE_REFUSED),
            Err(_) => false,
        }
    }

    /// Sends the request, and reads the head of the answer and its document. Of an object that is
    /// there, nothing is read.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, AskError> {
        let Request { question, target, head } = request;
        let (mut session, head) = self.head(&target, head, self.tls).await?;
        let now = clock();
        let is_object = question == Question::Object && head.status.is_success();
        let document = if is_object { Vec::new() } else { self.document(&mut session).await };
        let headers = head.headers.clone();
        Ok(Answer {
            reply: reply(self.tls, head.status.as_u16(), &headers, &document),
            date: http_date::of(&headers, &DATE),
            headers,
            now,
        })
    }

    async fn connect(&self, target: &Target, tls: bool) -> Result<Stream, AskError> {
        let limit = self.deadline.at_most(self.upstream.connect_timeout);
        let peer = upstream::peer(self.socket, tls, target, self.upstream, limit);
        Ok(in_time(limit, Box::pin(self.connector.new_stream(&peer))).await??)
    }

    async fn head(
        &self,
        target: &Target,
        request: Box<RequestHeader>,
        tls: bool,
    ) -> Result<(HttpSession, ResponseHeader), AskError> {
        let mut session = HttpSession::new(self.connect(target, tls).await?);
        let limit = self.deadline.at_most(self.upstream.first_byte_timeout);
        let read = async {
            session.write_request_header(request).await?;
            loop {
                session.read_response().await?;
                match session.resp_header() {
                    Some(head) if head.status.is_informational() => {}
                    Some(head) => return Ok(head.clone()),
                    None => return Err(Error::new(ErrorType::InvalidHTTPHeader)),
                }
            }
        };
        let head = in_time(limit, read).await??;
        Ok((session, head))
    }

    /// The document as far as it arrives in time, up to a limit.
    async fn document(&self, session: &mut HttpSession) -> Vec<u8> {
        let mut document = Vec::new();
        let limit = self.deadline.at_most(self.upstream.read_timeout);
        let read = async {
            while let Ok(Some(piece)) = session.read_body_bytes().await {
                let room = DOCUMENT_BYTES.saturating_sub(document.len());
                document.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                if document.len() >= DOCUMENT_BYTES {
                    break;
                }
            }
        };
        // A document cut short may hold its code all the same.
        let _in_time = tokio::time::timeout(limit, read).await;
        document
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, AskError> {
    tokio::time::timeout(limit, work).await.map_err(|_| AskError::NoAnswer)
}

/// This machine's clock.
#[expect(clippy::disallowed_methods, reason = "signatures hold the time, which is checked here")]
pub(crate) fn clock() -> SystemTime {
    SystemTime::now()
}

/// Reads from an answer what a verdict depends on.
fn reply(tls: bool, status: u16, headers: &HeaderMap, document: &[u8]) -> Reply {
    let named = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
    let region = named.or_else(|| element(document, "Region")).filter(|name| is_name(name));
    let scheme = if tls { "https" } else { "http" };
    let location = match headers.get(LOCATION) {
        Some(url) => url.to_str().ok().and_then(|url| Endpoint::parse(url).ok()),
        None => element(document, "Endpoint")
            .and_then(|host| Endpoint::parse(&format!("{scheme}://{host}")).ok()),
    };
    let is_list = ["<ListAllMyBucketsResult", "<ListBucketResult"]
        .iter()
        .any(|start| document.windows(start.len()).any(|window| window == start.as_bytes()));
    Reply {
        status,
        code: error_code(document).map(str::to_owned),
        region: region.map(str::to_owned),
        location: location.map(|to| Endpoint { base_path: String::new(), ..to }),
        request_id: ["x-amz-request-id", "x-request-id"]
            .iter()
            .find_map(|name| sane_request_id(headers.get(*name)))
            .map(str::to_owned),
        is_list,
    }
}

/// The text of the first element of this name.
fn element<'a>(document: &'a [u8], name: &str) -> Option<&'a str> {
    let document = std::str::from_utf8(document).ok()?;
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_of(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn answers_are_read_for_what_names_the_fault() {
        let document = b"<Error><Code>AuthorizationHeaderMalformed</Code>\
            <Region>eu-west-1</Region></Error>";
        let headers = headers_of(&[("x-amz-request-id", "tx01"), ("server", "x")]);
        let read = reply(true, 400, &headers, document);
        assert_eq!(read.code.as_deref(), Some("AuthorizationHeaderMalformed"));
        assert_eq!(read.region.as_deref(), Some("eu-west-1"));
        assert_eq!(read.request_id.as_deref(), Some("tx01"));
        assert!(!read.is_list);
        assert!(reply(true, 200, &headers, b"<?xml?><ListBucketResult xmlns=''>").is_list);
    }

    #[test]
    fn redirects_are_read_without_the_path_they_lead_to() {
        for (headers, document, location) in [
            (
                &[("location", "https://s3.example.org/a?X-Amz-Signature=1")][..],
                "",
                "https://s3.example.org",
            ),
            (&[("location", "/relative")][..], "", ""),
            (
                &[][..],
                "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>",
                "http://b.s3.eu-west-1.amazonaws.com",
            ),
            (&[][..], "<Endpoint>no host</Endpoint>", ""),
        ] {
            let read = reply(false, 301, &headers_of(headers), document.as_bytes());
            let shown = read.location.map(|to| to.to_string()).unwrap_or_default();
            assert_eq!(shown, location, "{document}");
        }
    }

    #[test]
    fn what_a_store_says_is_taken_for_a_region_only_if_it_looks_like_one() {
        for document in ["<Region></Region>", "<Region>a\u{1b}[2J</Region>", "<Region>x", ""] {
            assert_eq!(reply(true, 400, &HeaderMap::new(), document.as_bytes()).region, None);
        }
    }

    #[test]
    fn the_reason_of_a_failed_handshake_is_found_in_the_chain() {
        for (chain, reason) in [
            (
                "Upstream TLSHandshakeFailure context: TLS connect() failed:  TLSHandshakeFailure \
                 context: tls connect error: invalid peer certificate: UnknownIssuer, SNI: h",
                "invalid peer certificate: UnknownIssuer",
            ),
            (" ConnectionClosed context: x cause: reset by peer", "reset by peer"),
            ("plain", "plain"),
        ] {
            assert_eq!(plain_reason(chain), reason);
        }
    }
}
