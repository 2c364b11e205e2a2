//! Checks of AWS that `s3s` does not make: that the headers which must be signed are signed, the
//! region, and the session token.

use ::http::HeaderMap;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Result, s3_error};

use super::log::signed_headers;
use super::{Store, read};

/// Checks a request whose signature, if it has one, is known to be right.
///
/// # Errors
/// The S3 error to answer with.
pub(crate) fn check_signed(store: &Store, headers: &HeaderMap) -> S3Result<()> {
    let signed = signed_headers(headers);
    let is_signed = |name: &str| signed.iter().any(|other| other == name);
    if !is_signed("host") {
        return Err(s3_error!(AccessDenied, "the host header must be signed"));
    }
    for name in headers.keys().map(::http::HeaderName::as_str) {
        if name.starts_with("x-amz-") && !is_signed(name) {
            return Err(s3_error!(AccessDenied, "{name} is present in the request but not signed"));
        }
    }
    // `s3s` skips a name that is listed as signed and not sent.
    if let Some(name) = signed.iter().find(|name| !headers.contains_key(name.as_str())) {
        return Err(s3_error!(SignatureDoesNotMatch, "{name} is signed but was not sent"));
    }
    let manners = store.manners();
    if let Some(region) = &manners.region
        && signed_region(headers) != Some(region)
    {
        return Err(s3_error!(
            AuthorizationHeaderMalformed,
            "the region is wrong: expect {region}"
        ));
    }
    if let Some(token) = &manners.session_token {
        match headers.get("x-amz-security-token").map(|value| value.as_bytes()) {
            None => return Err(s3_error!(InvalidAccessKeyId, "the session token is missing")),
            Some(sent) if sent != token.as_bytes() => return Err(s3_error!(InvalidToken)),
            Some(_) => {}
        }
    }
    Ok(())
}

/// `Credential=AKID/20250701/REGION/s3/aws4_request`
fn signed_region(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get("authorization")?.to_str().ok()?;
    authorization.split_once("Credential=")?.1.split('/').nth(2)
}

/// The access keys that the store accepts at present.
pub(crate) struct KnownKeys(pub(crate) Store);

#[async_trait::async_trait]
impl S3Auth for KnownKeys {
    /// An unknown access key is refused as AWS and Ceph RGW refuse it.
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let keys = read(&self.0.0.keys);
        let secret = keys.get(access_key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(SecretKey::from(secret.as_str()))
    }
}

/// Access to everything but reads of objects; such a request must be signed.
pub(crate) struct SignedOnly(pub(crate) Store);

#[async_trait::async_trait]
impl S3Access for SignedOnly {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        match context.credentials() {
            None => Err(s3_error!(AccessDenied, "a signature is required")),
            Some(Credentials { .. }) => check_signed(&self.0, context.headers()),
        }
    }
}

/// `bucket.localhost:PORT` names a bucket; other hosts do not.
pub(crate) struct LocalHost {
    suffix: String,
}

impl LocalHost {
    pub(crate) fn new(port: u16) -> Self {
        Self { suffix: format!(".localhost:{port}") }
    }

    /// The bucket that a `Host` header names.
    pub(crate) fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        host.strip_suffix(self.suffix.as_str())
    }
}

impl S3Host for LocalHost {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => parsed.with_bucket(bucket),
            None => parsed,
        })
    }
}
