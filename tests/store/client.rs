//! A minimal client for unusual requests: aws-sigv4 signs, and the request goes over the wire byte
//! for byte as written here.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::store::{Manners, Serving, Store};

pub(crate) const ACCESS_KEY: &str = "AKIDSTORETESTS";
pub(crate) const SECRET_KEY: &str = "store+tests/secret";

/// A store on a free port, and the address to ask it.
pub(crate) async fn start(store: &Store, manners: Manners) -> Serving {
    store.set_manners(manners);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    store.serve(listener, ACCESS_KEY, SECRET_KEY).unwrap()
}

/// One request, signed when sent.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// Path and query exactly as they go over the wire and into the signature.
    pub(crate) target: &'a str,
    pub(crate) host: Option<&'a str>,
    /// Signed.
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    /// Sent, not signed.
    pub(crate) unsigned: Vec<(&'a str, &'a str)>,
    pub(crate) body: &'a [u8],
    /// `None` sends no signature at all.
    pub(crate) keys: Option<(&'a str, &'a str)>,
    pub(crate) token: Option<&'a str>,
    pub(crate) region: &'a str,
    pub(crate) now: SystemTime,
    /// Sent in place of `target`, after signing.
    pub(crate) forged_target: Option<&'a str>,
}

/// A GET signed with the right keys, now.
#[expect(clippy::disallowed_methods, reason = "the store compares the signature with the clock")]
pub(crate) fn get(target: &str) -> Ask<'_> {
    Ask {
        method: "GET",
        target,
        host: None,
        headers: Vec::new(),
        unsigned: Vec::new(),
        body: b"",
        keys: Some((ACCESS_KEY, SECRET_KEY)),
        token: None,
        region: "us-east-1",
        now: SystemTime::now(),
        forged_target: None,
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header; `None` where it was not sent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl<'a> Ask<'a> {
    pub(crate) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) async fn send(&self, serving: &Serving) -> Answer {
        let bytes = self.wire(serving);
        let mut stream = TcpStream::connect(serving.address()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let split = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let body = answer.split_off(split + 4);
        let head = String::from_utf8(answer).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body }
    }

    /// The request as it is written to the connection.
    pub(crate) fn wire(&self, serving: &Serving) -> Vec<u8> {
        let host = self.host.map_or_else(|| serving.address().to_string(), str::to_owned);
        let mut headers: Vec<(String, String)> = vec![("host".to_owned(), host.clone())];
        headers.extend(self.headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        if let Some(keys) = self.keys {
            let signature = self.signature(keys, &host, &headers);
            headers.extend(signature);
        }
        headers.extend(self.unsigned.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let target = self.forged_target.unwrap_or(self.target);
        let mut wire = format!("{} {target} HTTP/1.1\r\nconnection: close\r\n", self.method);
        for (name, value) in headers {
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || self.method == "PUT" {
            wire.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        wire.push_str("\r\n");
        [wire.as_bytes(), self.body].concat()
    }

    fn signature(
        &self,
        (access_key, secret_key): (&str, &str),
        host: &str,
        headers: &[(String, String)],
    ) -> Vec<(String, String)> {
        let token = self.token.map(str::to_owned);
        let identity = Credentials::new(access_key, secret_key, token, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.signature_location = SignatureLocation::Headers;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name("s3")
            .time(self.now)
            .settings(settings)
            .build()
            .unwrap();
        let uri = format!("http://{host}{}", self.target);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request =
            SignableRequest::new(self.method, uri, headers, SignableBody::Bytes(self.body))
                .unwrap();
        let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
        let (signed, _) = instructions.into_parts();
        signed.iter().map(|h| (h.name().to_owned(), h.value().to_owned())).collect()
    }
}

/// The key as SigV4 writes it in a path.
pub(crate) fn encode(key: &str) -> String {
    let mut path = String::new();
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}
