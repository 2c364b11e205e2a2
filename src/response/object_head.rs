//! The head of a response with an object: which headers of the store are forwarded, and which are set
//! by the gateway. The head of a cached object is made once.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;

use crate::config::Config;
use crate::mime::{MimePolicy, StoredVerdict, is_image, is_scriptable};
use crate::profile::Profile;
use crate::response::gateway_response::NOSNIFF;
use crate::response::refusal::Refusal;

/// Whether this header of the store describes the object and is forwarded.
#[must_use]
pub fn is_object_header(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_RANGE, CONTENT_ENCODING, CONTENT_DISPOSITION, ETAG, LAST_MODIFIED]
        .contains(name)
}

/// The rules for heads of objects that are the same for all profiles.
#[derive(Debug, Clone)]
pub struct ObjectHeads {
    /// `Cache-Control` of image types, for profiles without a `cache_control` of their own.
    pub image_cache_control: Option<HeaderValue>,
    /// Send `Content-Security-Policy: sandbox` with types that can contain scripts.
    pub content_security_policy: bool,
    /// Which media types are allowed, and the type of each key.
    pub mime: MimePolicy,
}

impl ObjectHeads {
    /// The rules of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let image_cache_control = match config.gateway.cache_max_age {
            0 => None,
            seconds => HeaderValue::from_str(&format!("public, max-age={seconds}")).ok(),
        };
        Self {
            image_cache_control,
            content_security_policy: config.gateway.content_security_policy,
            mime: config.mime.clone(),
        }
    }

    /// The type of an object whose profile takes it from the store. A 304 has none and needs none; it
    /// gets a placeholder.
    ///
    /// # Errors
    /// When the type is not allowed.
    pub fn stored_type(
        &self,
        status: StatusCode,
        store: &HeaderMap,
    ) -> Result<HeaderValue, Refusal> {
        if status == StatusCode::NOT_MODIFIED {
            return Ok(HeaderValue::from_static("application/octet-stream"));
        }
        match self.mime.stored_verdict(store) {
            StoredVerdict::Allowed(content_type) => Ok(content_type),
            StoredVerdict::Denied(essence) => Err(Refusal::MediaTypeDenied(essence)),
        }
    }

    /// The head of a response with an object (200, 206), or of a 304.
    ///
    /// # Errors
    /// Never for valid header values; Pingora's header type returns a `Result`.
    pub fn object_head(
        &self,
        status: StatusCode,
        store: &HeaderMap,
        profile: &Profile,
        content_type: &HeaderValue,
    ) -> Result<ResponseHeader> {
        let mut head = ResponseHeader::build_no_case(status, Some(16))?;
        let not_modified = status == StatusCode::NOT_MODIFIED;
        for (name, value) in store {
            let passes = is_object_header(name) || is_listed(name, profile);
            let of_a_body = *name == CONTENT_LENGTH || *name == CONTENT_ENCODING;
            let of_a_part = *name == CONTENT_RANGE && status != StatusCode::PARTIAL_CONTENT;
            // A repeated header of the object would contradict itself: only the first is forwarded.
            let repeated = is_object_header(name) && head.headers.contains_key(name);
            if !passes || not_modified && of_a_body || of_a_part || repeated {
                continue;
            }
            if *name == CONTENT_ENCODING {
                if let Some(encoding) = real_encoding(value) {
                    head.append_header(CONTENT_ENCODING, encoding)?;
                }
                continue;
            }
            head.append_header(name.clone(), value.clone())?;
        }
        head.insert_header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))?;
        head.insert_header(X_CONTENT_TYPE_OPTIONS, NOSNIFF)?;
        if !not_modified {
            head.insert_header(CONTENT_TYPE, content_type.clone())?;
        }
        if self.content_security_policy && is_scriptable(content_type) {
            head.insert_header(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"))?;
        }
        let global = self.image_cache_control.as_ref().filter(|_| is_image(content_type));
        if let Some(cache_control) = profile.cache_control.as_ref().or(global) {
            head.insert_header(CACHE_CONTROL, cache_control.clone())?;
        }
        Ok(head)
    }

    /// The head of a cached object, as for 200. `content_type` is the type by the key; `None` when the
    /// profile takes the type from the store.
    ///
    /// # Errors
    /// When the type is not allowed.
    pub fn cached_head(
        &self,
        store: &HeaderMap,
        profile: &Profile,
        content_type: Option<&HeaderValue>,
    ) -> Result<ResponseHeader, Refusal> {
        let content_type = match content_type {
            Some(content_type) => content_type.clone(),
            None => self.stored_type(StatusCode::OK, store)?,
        };
        let head = self.object_head(StatusCode::OK, store, profile, &content_type);
        head.map_err(|_| Refusal::UpstreamProtocol)
    }

    /// The head of a 304. Stores such as Ceph RGW omit the `ETag` that RFC 9110, section 15.4.5,
    /// requires; then it is `asked_tag`, the only one in the request to the store.
    ///
    /// # Errors
    /// As for [`ObjectHeads::object_head`].
    pub fn not_modified_head(
        &self,
        store: &HeaderMap,
        profile: &Profile,
        content_type: &HeaderValue,
        asked_tag: Option<&HeaderValue>,
    ) -> Result<ResponseHeader> {
        let mut head = self.object_head(StatusCode::NOT_MODIFIED, store, profile, content_type)?;
        if let (None, Some(tag)) = (store.get(ETAG), asked_tag) {
            head.insert_header(ETAG, tag.clone())?;
        }
        Ok(head)
    }
}

/// Whether the profile's `response_headers` list this header. The configuration accepts no pattern
/// that matches a header set by the gateway.
#[must_use]
pub fn is_listed(name: &HeaderName, profile: &Profile) -> bool {
    profile.response_headers.iter().any(|glob| glob.matches(name.as_str()))
}

/// `Content-Encoding` without `aws-chunked`, which some uploads store with an object although its
/// body does not have this encoding.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>
fn real_encoding(value: &HeaderValue) -> Option<HeaderValue> {
    let Ok(text) = value.to_str() else { return Some(value.clone()) };
    if !text.contains("aws-chunked") {
        return Some(value.clone());
    }
    let codings: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    if codings.is_empty() { None } else { HeaderValue::from_str(&codings.join(", ")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_removed_from_content_encoding() {
        for (stored, passed) in [
            ("gzip", Some("gzip")),
            ("aws-chunked", None),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, AWS-chunked", Some("gzip, AWS-chunked")),
            ("gzip, aws-chunked", Some("gzip")),
        ] {
            let passed = passed.map(HeaderValue::from_static);
            assert_eq!(real_encoding(&HeaderValue::from_static(stored)), passed, "{stored}");
        }
    }
}
