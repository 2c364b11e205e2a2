//! The intermediate results of [`Signer::sign`] as text with secrets redacted, for comparison with the
//! canonical request in a store's `SignatureDoesNotMatch` error.

use std::time::SystemTime;

use http::Method;

use crate::protocol::timestamp::amz_date_time;
use crate::s3::endpoint::Target;
use crate::s3::sign::{CanonicalHeader, Signer, X_AMZ_CONTENT_SHA256, string_to_sign};

/// Replaces a secret value.
pub const REDACTED: &str = "(redacted)";

/// The line of the first header in a canonical request, counted from 0.
const HEADERS_AT: usize = 3;

/// The intermediate results of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workings {
    /// The value of `x-amz-date`.
    pub date_time: String,
    /// `20130524/us-east-1/s3/aws4_request`
    pub scope: String,
    /// `host;x-amz-content-sha256;x-amz-date`
    pub signed_headers: String,
    /// Task 1; secret values are [`REDACTED`].
    pub canonical_request: String,
    /// Task 2, computed from the canonical request with its secrets.
    pub string_to_sign: String,
}

impl Signer {
    /// The intermediate results for this request at this time; `None` when requests are not signed.
    #[must_use]
    pub fn workings(&self, method: &Method, target: &Target, now: SystemTime) -> Option<Workings> {
        let keys = self.keys.as_ref().filter(|_| !self.unusable)?;
        let date_time = amz_date_time(now);
        let day = self.day_key(keys, now, date_time.get(..8).unwrap_or_default());
        let canonical = self.canonical_request(method, target, &date_time);
        let string_to_sign = string_to_sign(&date_time, &day.scope, &canonical);
        let headers = self.canonical.iter().zip(self.signed_headers.split(';'));
        let redacted: Vec<Option<String>> = headers
            .map(|(header, name)| match header {
                CanonicalHeader::Fixed(_) if X_AMZ_CONTENT_SHA256 != *name => {
                    Some(format!("{name}:{REDACTED}"))
                }
                CanonicalHeader::Fixed(_) | CanonicalHeader::Host | CanonicalHeader::Date => None,
            })
            .collect();
        let lines = canonical.split('\n').enumerate().map(|(line, text)| {
            let header = line.checked_sub(HEADERS_AT).and_then(|at| redacted.get(at)?.as_deref());
            header.unwrap_or(text)
        });
        let canonical_request = lines.collect::<Vec<_>>().join("\n");
        Some(Workings {
            canonical_request,
            string_to_sign,
            scope: day.scope.clone(),
            signed_headers: self.signed_headers.clone(),
            date_time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use sha2::{Digest as _, Sha256};

    use crate::profile::Profile;
    use crate::s3::credentials::{CredentialSource, Credentials, Keys};
    use crate::s3::endpoint::Endpoint;
    use crate::s3::secret::Secret;

    fn profile(token: Option<&str>) -> Profile {
        let endpoint = Endpoint::parse("https://s3.example.org").expect("an endpoint");
        let keys = Keys {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI".to_owned()),
            session_token: token.map(|token| Secret::new(token.to_owned())),
        };
        let credentials = Credentials::Keys { keys, source: CredentialSource::Environment };
        let upstream_headers = vec![(
            http::HeaderName::from_static("x-amz-server-side-encryption-customer-key"),
            Secret::new("hush".to_owned()),
        )];
        let upstream_headers = if token.is_some() { upstream_headers } else { Vec::new() };
        Profile { credentials, upstream_headers, ..Profile::unsigned(Some("hips"), endpoint) }
    }

    fn workings(profile: &Profile) -> Workings {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let target = profile.endpoint.target(profile.addressing, "bkt", "a b.png".as_bytes());
        profile.signer().workings(&Method::GET, &target, now).expect("it is signed")
    }

    #[test]
    fn the_stages_are_those_of_the_signature() {
        let workings = workings(&profile(None));
        let expected = "GET\n/bkt/a%20b.png\n\nhost:s3.example.org\n\
                        x-amz-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
                        x-amz-date:20130524T000000Z\n\nhost;x-amz-content-sha256;x-amz-date\n\
                        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(workings.canonical_request, expected);
        let hash = hex::encode(Sha256::digest(expected));
        let scope = "20130524/us-east-1/s3/aws4_request";
        let string = format!("AWS4-HMAC-SHA256\n20130524T000000Z\n{scope}\n{hash}");
        assert_eq!(workings.string_to_sign, string);
    }

    #[test]
    fn secrets_are_signed_and_not_shown() {
        let workings = workings(&profile(Some("a-token")));
        let request = &workings.canonical_request;
        for name in ["x-amz-security-token", "x-amz-server-side-encryption-customer-key"] {
            assert!(request.contains(&format!("\n{name}:(redacted)\n")), "{request}");
        }
        let text = format!("{workings:?}");
        assert!(!text.contains("a-token") && !text.contains("hush") && !text.contains("wJal"));
        let shown = hex::encode(Sha256::digest(request));
        assert!(!workings.string_to_sign.ends_with(&shown), "the true values are signed");
    }

    #[test]
    fn nothing_is_signed_without_an_access_key() {
        let anonymous = Profile { credentials: Credentials::Anonymous, ..profile(None) };
        let target = anonymous.endpoint.target(anonymous.addressing, "bkt", b"k");
        let signer = anonymous.signer();
        assert_eq!(signer.workings(&Method::GET, &target, SystemTime::UNIX_EPOCH), None);
    }
}
