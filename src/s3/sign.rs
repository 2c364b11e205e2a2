//! AWS Signature Version 4 for one request, computed by the `aws-sigv4` crate over exactly the
//! strings that are sent.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningParams,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderName, HeaderValue};

use crate::s3::endpoint::Target;
use crate::s3::profile::{Credentials, Profile};
use crate::secret::Secret;

/// SHA-256 of the empty body that every GET and HEAD has.
const EMPTY_BODY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Headers to set on the request, signature included. `Host` is not among them.
pub type SignedHeaders = Vec<(HeaderName, HeaderValue)>;

/// The request could not be signed: a configured header or key does not fit into HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignError;

/// Signs requests of one profile. Built once per profile, since the key material is copied into
/// the form `aws-sigv4` takes.
#[derive(Debug)]
pub struct Signer {
    identity: Option<Identity>,
    region: String,
    extra: Vec<(HeaderName, Secret)>,
}

impl Signer {
    /// A signer for this profile's credentials, region and added headers.
    #[must_use]
    pub fn new(profile: &Profile) -> Self {
        let identity = match &profile.credentials {
            Credentials::Keys { keys, .. } => Some(
                aws_credential_types::Credentials::new(
                    keys.access_key_id.clone(),
                    keys.secret_access_key.expose(),
                    keys.session_token.as_ref().map(|token| token.expose().to_owned()),
                    None,
                    "s3proxy",
                )
                .into(),
            ),
            Credentials::Anonymous | Credentials::Missing(_) => None,
        };
        Self { identity, region: profile.region.clone(), extra: profile.upstream_headers.clone() }
    }

    /// The headers for this request at this time: the profile's own, and the signature over them,
    /// `Host`, method and path. Anonymous profiles get their own headers only.
    ///
    /// # Errors
    /// When a configured value cannot stand in a header.
    pub fn sign(
        &self,
        method: &http::Method,
        target: &Target,
        now: SystemTime,
    ) -> Result<SignedHeaders, SignError> {
        let mut headers = SignedHeaders::with_capacity(self.extra.len() + 4);
        for (name, value) in &self.extra {
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| SignError)?;
            value.set_sensitive(true);
            headers.push((name.clone(), value));
        }
        let Some(identity) = &self.identity else { return Ok(headers) };
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name("s3")
            .time(now)
            .settings(settings())
            .build()
            .map_err(|_| SignError)?
            .into();
        let to_sign = std::iter::once(("host", target.host.as_str()))
            .chain(self.extra.iter().map(|(name, value)| (name.as_str(), value.expose())));
        let request = SignableRequest::new(
            method.as_str(),
            target.path.as_str(),
            to_sign,
            SignableBody::Precomputed(EMPTY_BODY_SHA256.to_owned()),
        )
        .map_err(|_| SignError)?;
        let (signed, _) = sign(request, &params).map_err(|_| SignError)?.into_parts();
        for (name, text) in signed.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| SignError)?;
            let mut value = HeaderValue::from_str(text).map_err(|_| SignError)?;
            value.set_sensitive(true);
            headers.push((name, value));
        }
        Ok(headers)
    }
}

/// S3's variant of SigV4: the path is signed as it is sent, neither encoded again nor normalised.
fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::endpoint::{Addressing, Endpoint};
    use crate::s3::profile::{ContentTypeFrom, CredentialSource, Keys};
    use std::time::Duration;

    /// 2013-05-24T00:00:00Z, the date of AWS's examples.
    fn example_time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600)
    }

    fn profile(credentials: Credentials, upstream_headers: &[(&str, &str)]) -> Profile {
        Profile {
            name: None,
            endpoint: Endpoint::aws("us-east-1"),
            region: "us-east-1".to_owned(),
            addressing: Addressing::Virtual,
            credentials,
            buckets: None,
            missing_on_403: false,
            content_type: ContentTypeFrom::Key,
            response_headers: Vec::new(),
            request_headers: Vec::new(),
            upstream_headers: upstream_headers
                .iter()
                .map(|(name, value)| {
                    (HeaderName::try_from(*name).unwrap(), Secret::new((*value).to_owned()))
                })
                .collect(),
            cache_control: None,
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
            let signer = Signer::new(&profile(example_keys(None), extra));
            let headers = signer
                .sign(&http::Method::GET, &example_target(path), example_time())
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
        let signer = Signer::new(&profile(example_keys(Some("token/value")), &[]));
        let headers = signer
            .sign(&http::Method::GET, &example_target("/k"), example_time())
            .expect("the request signs");
        assert_eq!(header(&headers, "x-amz-security-token"), Some("token/value"));
        let authorization = header(&headers, "authorization").unwrap_or_default();
        assert!(authorization.contains("x-amz-date;x-amz-security-token,"), "{authorization}");
    }

    #[test]
    fn anonymous_requests_carry_no_signature() {
        let signer =
            Signer::new(&profile(Credentials::Anonymous, &[("x-amz-request-payer", "requester")]));
        let headers = signer
            .sign(&http::Method::GET, &example_target("/k"), example_time())
            .expect("nothing to fail");
        assert_eq!(headers.len(), 1);
        assert_eq!(header(&headers, "x-amz-request-payer"), Some("requester"));
    }

    #[test]
    fn hard_paths_are_signed_as_they_are_sent() {
        let endpoint = Endpoint::parse("http://h:9000").expect("a valid endpoint");
        let signer = Signer::new(&profile(example_keys(None), &[]));
        let mut seen = std::collections::HashSet::new();
        for key in ["a//b", "a/b", "/a/b", "a%2Fb", "a+b", "a b", "é", "e\u{301}", "a/", "~'()*!"]
        {
            let target = endpoint.target(Addressing::Path, "bkt", key.as_bytes());
            let headers = signer.sign(&http::Method::GET, &target, example_time());
            let headers = headers.expect("every key signs");
            let authorization = header(&headers, "authorization").unwrap_or_default().to_owned();
            assert!(seen.insert(authorization), "two keys share a signature: {key}");
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let signer = Signer::new(&profile(example_keys(Some("tokentoken")), &[("x-k", "ssecret")]));
        let text = format!("{signer:?}");
        assert!(!text.contains("wJalr") && !text.contains("tokentoken"), "{text}");
        assert!(!text.contains("ssecret"), "{text}");
    }
}
