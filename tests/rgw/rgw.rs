//! The store itself: a client that signs with `aws-sigv4` and talks to it directly.

use crate::wire::{Answer, ask};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4::SigningParams,
};
use std::{
    io::Write as _,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Once,
    time::{SystemTime, UNIX_EPOCH},
};

const ENDPOINT: &str = "S3PROXY_TEST_RGW_ENDPOINT";
const ACCESS_KEY: &str = "S3PROXY_TEST_RGW_ACCESS_KEY";
const SECRET_KEY: &str = "S3PROXY_TEST_RGW_SECRET_KEY";

/// An RGW and one bucket in it.
#[derive(Debug)]
pub(crate) struct Rgw {
    /// `host:port`, as it stands in URLs.
    pub(crate) authority: String,
    pub(crate) address: SocketAddr,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) bucket: String,
}

impl Rgw {
    /// The RGW named by the environment, with a new bucket for `purpose`; `None`, and a prominent
    /// message, if the environment names none.
    ///
    /// # Panics
    /// When the variables are incomplete, or the RGW does not create the bucket.
    pub(crate) fn from_environment(purpose: &str) -> Option<Self> {
        let Some(endpoint) = variable(ENDPOINT) else {
            say_skipped();
            return None;
        };
        let authority = endpoint
            .strip_prefix("http://")
            .unwrap_or_else(|| panic!("{ENDPOINT} must be http://host:port, not {endpoint:?}"))
            .trim_end_matches('/');
        let address = authority.to_socket_addrs().expect(ENDPOINT).next().expect(ENDPOINT);
        let unique = now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos();
        let rgw = Self {
            authority: authority.to_owned(),
            address,
            access_key: variable(ACCESS_KEY).expect(ACCESS_KEY),
            secret_key: variable(SECRET_KEY).expect(SECRET_KEY),
            bucket: format!("s3proxy-test-{purpose}-{unique}"),
        };
        let created = rgw.ask("PUT", &format!("/{}", rgw.bucket), &[], b"");
        assert_eq!(created.status, 200, "creating bucket {}: {}", rgw.bucket, created.text());
        Some(rgw)
    }

    /// Stores `body` at `key`.
    ///
    /// # Panics
    /// When the RGW refuses.
    pub(crate) fn put(&self, key: &str, body: &[u8]) {
        let path = format!("/{}/{}", self.bucket, encode(key));
        let stored = self.ask("PUT", &path, &[("x-amz-meta-origin", "a test")], body);
        assert_eq!(stored.status, 200, "storing {key:?}: {}", stored.text());
    }

    /// Removes the object at `key`.
    ///
    /// # Panics
    /// When the RGW refuses.
    pub(crate) fn delete(&self, key: &str) {
        let path = format!("/{}/{}", self.bucket, encode(key));
        let removed = self.ask("DELETE", &path, &[], b"");
        assert_eq!(removed.status, 204, "removing {key:?}: {}", removed.text());
    }

    /// Reads `key` of this bucket, with the headers given.
    pub(crate) fn get(&self, key: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", &format!("/{}/{}", self.bucket, encode(key)), headers, b"")
    }

    /// Sends a signed request; `path` goes to the wire, and into the signature, as it is.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut sent = self.signature(method, path, body);
        sent.extend(headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        ask(self.address, method, path, &sent, body)
    }

    /// Sends a GET for `path` under the signature of another path.
    pub(crate) fn ask_as(&self, signed: &str, path: &str) -> Answer {
        ask(self.address, "GET", path, &self.signature("GET", signed, b""), b"")
    }

    fn signature(&self, method: &str, path: &str, body: &[u8]) -> Vec<(String, String)> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity =
            Credentials::new(&self.access_key, &self.secret_key, None, None, "environment").into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(now())
            .settings(settings)
            .build()
            .expect("every parameter is given")
            .into();
        let url = format!("http://{}{path}", self.authority);
        let request =
            SignableRequest::new(method, &url, std::iter::empty(), SignableBody::Bytes(body))
                .expect("a path that is a URL");
        let (instructions, _) = sign(request, &parameters).expect("a signature").into_parts();
        instructions
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .chain([("host".to_owned(), self.authority.clone())])
            .collect()
    }
}

/// Percent-encodes everything but unreserved characters and `/`.
pub(crate) fn encode(key: &str) -> String {
    let mut encoded = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[expect(clippy::disallowed_methods, reason = "the tests' only look at the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "a signature carries the time it was made")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Writes directly to standard error: the test runner hides the output of a passing test.
fn say_skipped() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = writeln!(
            std::io::stderr(),
            "\nSKIPPED: the tests against Ceph RGW did nothing, {ENDPOINT} is not set. \
             tests/rgw/run starts an RGW and runs them.\n"
        );
    });
}
