//! AWS Signature Version 4 for one request, over exactly the strings that are sent.
//!
//! This file builds the canonical request, task by task as AWS describes it; `aws-sigv4` derives the
//! signing key and computes the signature. The canonical request of `aws-sigv4` costs more, because it
//! supports every request: requests of the gateway have no body and always the same headers, and the
//! signing key is reused for a day. The tests compare both.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::protocol::timestamp::amz_date_time;
use crate::s3::credentials::{Credentials, Keys};
use crate::s3::endpoint::Target;
use crate::s3::secret::Secret;

pub mod workings;

/// SHA-256 of the empty body that every GET and HEAD has.
const EMPTY_BODY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Headers to set on the request, signature included. `Host` is not among them.
pub type SignedHeaders = Vec<(HeaderName, HeaderValue)>;

/// The request cannot be signed: a configured header or access key is not valid in HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignError;

/// Signs requests with the credentials of one profile.
#[derive(Debug)]
pub struct Signer {
    keys: Option<Keys>,
    region: String,
    /// The headers that are the same in every request, as sent.
    fixed: SignedHeaders,
    /// Every signed header in the order of the canonical request.
    canonical: Vec<CanonicalHeader>,
    /// `host;x-amz-content-sha256;x-amz-date`
    signed_headers: String,
    today: RwLock<Option<Arc<DayKey>>>,
    /// A configured value is not a valid header value.
    unusable: bool,
}

/// A line of the canonical headers.
#[derive(Debug)]
enum CanonicalHeader {
    Host,
    Date,
    /// `name:value\n`, the same in every request.
    Fixed(Secret),
}

/// The credential scope and signing key of one day (UTC).
struct DayKey {
    /// `20130524`
    date: String,
    /// `20130524/us-east-1/s3/aws4_request`
    scope: String,
    signing_key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for DayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DayKey").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer for these credentials in this region. The added headers are sent with every request
    /// and signed.
    #[must_use]
    pub fn new(
        credentials: &Credentials,
        region: &str,
        added_headers: &[(HeaderName, Secret)],
    ) -> Self {
        let keys = match credentials {
            Credentials::Keys { keys, .. } => Some(keys.clone()),
            Credentials::Anonymous | Credentials::Missing(_) => None,
        };
        let mut texts: Vec<(HeaderName, Secret)> = added_headers.to_vec();
        if let Some(keys) = &keys {
            texts.push((X_AMZ_CONTENT_SHA256, Secret::new(EMPTY_BODY_SHA256.to_owned())));
            if let Some(token) = &keys.session_token {
                texts.push((X_AMZ_SECURITY_TOKEN, token.clone()));
            }
        }
        let mut fixed = SignedHeaders::new();
        let mut unusable = false;
        for (name, text) in &texts {
            match HeaderValue::from_str(text.expose()) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    fixed.push((name.clone(), value));
                }
                Err(_) => unusable = true,
            }
        }
        let mut canonical: Vec<(&str, CanonicalHeader)> =
            vec![("host", CanonicalHeader::Host), ("x-amz-date", CanonicalHeader::Date)];
        for (name, text) in &texts {
            let line = format!("{name}:{}\n", canonical_value(text.expose()));
            canonical.push((name.as_str(), CanonicalHeader::Fixed(Secret::new(line))));
        }
        canonical.sort_by_key(|(name, _)| *name);
        let names: Vec<&str> = canonical.iter().map(|(name, _)| *name).collect();
        Self {
            region: region.to_owned(),
            signed_headers: names.join(";"),
            canonical: canonical.into_iter().map(|(_, header)| header).collect(),
            keys,
            fixed,
            today: RwLock::new(None),
            unusable,
        }
    }

    /// The headers of this request at this time: the added headers, and the signature over them,
    /// `Host`, method and path. Without an access key only the added headers.
    ///
    /// # Errors
    /// When a configured value is not a valid header value.
    pub fn sign(
        &self,
        method: &Method,
        target: &Target,
        now: SystemTime,
    ) -> Result<SignedHeaders, SignError> {
        if self.unusable {
            return Err(SignError);
        }
        let mut headers = SignedHeaders::with_capacity(self.fixed.len() + 2);
        headers.extend_from_slice(&self.fixed);
        let Some(keys) = &self.keys else { return Ok(headers) };
        let date_time = amz_date_time(now);
        let day = self.day_key(keys, now, date_time.get(..8).unwrap_or_default());
        let canonical_request = self.canonical_request(method, target, &date_time);
        let string_to_sign = string_to_sign(&date_time, &day.scope, &canonical_request);
        let signature = calculate_signature(&*day.signing_key, string_to_sign.as_bytes());
        let authorization = [
            "AWS4-HMAC-SHA256 Credential=",
            &keys.access_key_id,
            "/",
            &day.scope,
            ", SignedHeaders=",
            &self.signed_headers,
            ", Signature=",
            &signature,
        ]
        .concat();
        for (name, text) in [(X_AMZ_DATE, date_time), (AUTHORIZATION, authorization)] {
            let mut value = HeaderValue::try_from(text).map_err(|_| SignError)?;
            value.set_sensitive(true);
            headers.push((name, value));
        }
        Ok(headers)
    }

    /// Task 1: method, path, query, headers, names of the signed headers, hash of the body.
    fn canonical_request(&self, method: &Method, target: &Target, date_time: &str) -> String {
        let mut request = String::with_capacity(512);
        let (path, query) = target.path.split_once('?').unwrap_or((&target.path, ""));
        for part in [method.as_str(), "\n", path, "\n", &canonical_query(query), "\n"] {
            request.push_str(part);
        }
        for header in &self.canonical {
            match header {
                CanonicalHeader::Host => {
                    for part in ["host:", &target.host, "\n"] {
                        request.push_str(part);
                    }
                }
                CanonicalHeader::Date => {
                    for part in ["x-amz-date:", date_time, "\n"] {
                        request.push_str(part);
                    }
                }
                CanonicalHeader::Fixed(line) => request.push_str(line.expose()),
            }
        }
        for part in ["\n", &self.signed_headers, "\n", EMPTY_BODY_SHA256] {
            request.push_str(part);
        }
        request
    }

    /// Task 3: the signing key of this day, derived again when the day changes.
    fn day_key(&self, keys: &Keys, now: SystemTime, date: &str) -> Arc<DayKey> {
        let today = self.today.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = today.as_ref().filter(|key| key.date == date) {
            return Arc::clone(key);
        }
        drop(today);
        let secret = keys.secret_access_key.expose();
        let signing_key = generate_signing_key(secret, now, &self.region, "s3");
        let key = Arc::new(DayKey {
            date: date.to_owned(),
            scope: format!("{date}/{}/s3/aws4_request", self.region),
            signing_key: Zeroizing::new(signing_key.as_ref().to_vec()),
        });
        *self.today.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&key));
        key
    }
}

/// Task 2: the time, the scope, the hash of the canonical request.
pub(in crate::s3) fn string_to_sign(
    date_time: &str,
    scope: &str,
    canonical_request: &str,
) -> String {
    let mut text = String::with_capacity(160);
    for part in ["AWS4-HMAC-SHA256\n", date_time, "\n", scope, "\n"] {
        text.push_str(part);
    }
    for byte in Sha256::digest(canonical_request) {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

/// The sorted query parameters, each with an `=`. Requests for objects have no query; only
/// `s3proxy check` sends one, for a bucket.
fn canonical_query(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let mut parameters: Vec<String> =
        query
            .split('&')
            .map(|parameter| {
                if parameter.contains('=') { parameter.to_owned() } else { format!("{parameter}=") }
            })
            .collect();
    parameters.sort();
    parameters.join("&")
}

/// A header value without leading and trailing spaces, and with runs of spaces collapsed.
fn canonical_value(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    use crate::s3::credentials::{CredentialSource, Keys};
    use crate::s3::endpoint::{Addressing, Endpoint};
    use proptest::prelude::*;
    use std::time::Duration;

    /// 2013-05-24T00:00:00Z, the date of AWS's examples.
    fn example_time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600)
    }

    fn profile(credentials: Credentials, upstream_headers: &[(&str, &str)]) -> Profile {
        Profile {
            addressing: Addressing::Virtual,
            credentials,
            upstream_headers: upstream_headers
                .iter()
                .map(|(name, value)| {
                    (HeaderName::try_from(*name).unwrap(), Secret::new((*value).to_owned()))
                })
                .collect(),
            ..Profile::unsigned(None, Endpoint::aws("us-east-1"))
        }
    }

    fn example_keys(session_token: Option<&str>) -> Credentials {
        Credentials::Keys {
            keys: Keys {
                access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
                secret_access_key: Secret::new(
                    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
                ),
                session_token: session_token.map(|token| Secret::new(token.to_owned())),
            },
            source: CredentialSource::Environment,
        }
    }

    fn example_target(path: &str) -> Target {
        Target {
            host: "examplebucket.s3.amazonaws.com".to_owned(),
            server_name: "examplebucket.s3.amazonaws.com".to_owned(),
            path: path.to_owned(),
        }
    }

    /// The signature that `aws-sigv4` computes for the same request.
    fn signed_by_aws(profile: &Profile, target: &Target, now: SystemTime) -> String {
        use aws_sigv4::http_request as aws;
        let Credentials::Keys { keys, .. } = &profile.credentials else { panic!("no keys") };
        let identity = aws_credential_types::Credentials::new(
            keys.access_key_id.clone(),
            keys.secret_access_key.expose(),
            keys.session_token.as_ref().map(|token| token.expose().to_owned()),
            None,
            "test",
        )
        .into();
        let mut settings = aws::SigningSettings::default();
        settings.percent_encoding_mode = aws::PercentEncodingMode::Single;
        settings.payload_checksum_kind = aws::PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = aws::UriPathNormalizationMode::Disabled;
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region(&profile.region)
            .name("s3")
            .time(now)
            .settings(settings)
            .build()
            .expect("every parameter is set")
            .into();
        let headers = std::iter::once(("host", target.host.as_str())).chain(
            profile.upstream_headers.iter().map(|(name, value)| (name.as_str(), value.expose())),
        );
        let body = aws::SignableBody::Bytes(&[]);
        let request = aws::SignableRequest::new("GET", target.path.as_str(), headers, body)
            .expect("the request is valid");
        let (signed, _) = aws::sign(request, &params).expect("the request signs").into_parts();
        let authorization = signed.headers().find(|(name, _)| *name == "authorization");
        authorization.map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    fn header<'a>(headers: &'a SignedHeaders, name: &str) -> Option<&'a str> {
        headers.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.to_str().ok())
    }

    /// The examples of
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
    #[test]
    fn signatures_are_those_aws_publishes() {
        for (path, extra, signed, signature) in [
            (
                "/test.txt",
                &[("range", "bytes=0-9")][..],
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "/?lifecycle",
                &[][..],
                "host;x-amz-content-sha256;x-amz-date",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "/?max-keys=2&prefix=J",
                &[][..],
                "host;x-amz-content-sha256;x-amz-date",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let signer = profile(example_keys(None), extra).signer();
            let headers = signer
                .sign(&Method::GET, &example_target(path), example_time())
                .expect("the example signs");
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/\
                 aws4_request, SignedHeaders={signed}, Signature={signature}"
            );
            assert_eq!(header(&headers, "authorization"), Some(expected.as_str()), "{path}");
            assert_eq!(header(&headers, "x-amz-date"), Some("20130524T000000Z"));
            assert_eq!(header(&headers, "x-amz-content-sha256"), Some(EMPTY_BODY_SHA256));
        }
    }

    #[test]
    fn a_session_token_is_sent_and_signed() {
        let signer = profile(example_keys(Some("token/value")), &[]).signer();
        let headers = signer
            .sign(&Method::GET, &example_target("/k"), example_time())
            .expect("the request signs");
        assert_eq!(header(&headers, "x-amz-security-token"), Some("token/value"));
        let authorization = header(&headers, "authorization").unwrap_or_default();
        assert!(authorization.contains("x-amz-date;x-amz-security-token,"), "{authorization}");
    }

    #[test]
    fn anonymous_requests_carry_no_signature() {
        let signer =
            profile(Credentials::Anonymous, &[("x-amz-request-payer", "requester")]).signer();
        let headers = signer
            .sign(&Method::GET, &example_target("/k"), example_time())
            .expect("nothing to fail");
        assert_eq!(headers.len(), 1);
        assert_eq!(header(&headers, "x-amz-request-payer"), Some("requester"));
    }

    #[test]
    fn unusual_paths_are_signed_as_they_are_sent() {
        let endpoint = Endpoint::parse("http://h:9000").expect("a valid endpoint");
        let signer = profile(example_keys(None), &[]).signer();
        let mut seen = std::collections::HashSet::new();
        for key in ["a//b", "a/b", "/a/b", "a%2Fb", "a+b", "a b", "é", "e\u{301}", "a/", "~'()*!"]
        {
            let target = endpoint.target(Addressing::Path, "bkt", key.as_bytes());
            let headers = signer.sign(&Method::GET, &target, example_time());
            let headers = headers.expect("every key signs");
            let authorization = header(&headers, "authorization").unwrap_or_default().to_owned();
            assert!(seen.insert(authorization), "two keys share a signature: {key}");
        }
    }

    proptest! {
        #[test]
        fn signatures_are_those_of_aws_sigv4(
            key in ".{1,40}",
            bucket in "[a-z0-9.-]{3,20}",
            token in proptest::option::of("[A-Za-z0-9/+=]{1,40}"),
            extra in proptest::option::of("[!-~]([ -~]{0,20}[!-~])?"),
            seconds in 0u64..4_000_000_000,
        ) {
            let extra = extra.as_deref().map(|value| ("x-amz-request-payer", value));
            let profile = profile(example_keys(token.as_deref()), extra.as_slice());
            let endpoint = Endpoint::parse("http://store.example:9000/base").unwrap();
            let target = endpoint.target(Addressing::Path, &bucket, key.as_bytes());
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let signed = profile.signer().sign(&Method::GET, &target, now).unwrap();
            let expected = signed_by_aws(&profile, &target, now);
            prop_assert_eq!(header(&signed, "authorization"), Some(expected.as_str()));
        }
    }

    #[test]
    fn the_signing_key_changes_with_the_day() {
        let profile = profile(example_keys(None), &[]);
        let signer = profile.signer();
        let target = example_target("/k");
        let midnight = example_time();
        for now in [midnight, midnight - Duration::from_secs(1), midnight, midnight] {
            let signed = signer.sign(&Method::GET, &target, now).expect("the request signs");
            let expected = signed_by_aws(&profile, &target, now);
            assert_eq!(header(&signed, "authorization"), Some(expected.as_str()), "{now:?}");
        }
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let signer = profile(example_keys(Some("tokentoken")), &[("x-k", "ssecret")]).signer();
        let text = format!("{signer:?}");
        assert!(!text.contains("wJalr") && !text.contains("tokentoken"), "{text}");
        assert!(!text.contains("ssecret"), "{text}");
    }
}
