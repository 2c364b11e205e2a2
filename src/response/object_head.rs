//! The head of an answer with an object: which of the store's headers are passed on, and which are
//! the gateway's own. Objects kept in the cache have theirs made once.

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

/// Whether this header of the store belongs to the object and is passed on as it is.
#[must_use]
pub fn is_object_header(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_RANGE, CONTENT_ENCODING, CONTENT_DISPOSITION, ETAG, LAST_MODIFIED]
        .contains(name)
}

/// The rules for heads that all profiles share.
#[derive(Debug, Clone)]
pub struct ObjectHeads {
    /// For image types, where a profile has no rule of its own.
    pub image_cache_control: Option<HeaderValue>,
    pub content_security_policy: bool,
    /// What may be served, as what.
    pub mime: MimePolicy,
}

impl ObjectHeads {
    /// The rules of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let image_cache_control = match config.cache_max_age {
            0 => None,
            seconds => HeaderValue::from_str(&format!("public, max-age={seconds}")).ok(),
        };
        Self {
            image_cache_control,
            content_security_policy: config.content_security_policy,
            mime: config.mime.clone(),
        }
    }

    /// The type of an object whose profile takes it from the store. A 304 names none and needs
    /// none: the client has it from before.
    ///
    /// # Errors
    /// When the type may not be served.
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

    /// The head of an answer with an object's body (200, 206) or about it (304).
    ///
    /// # Errors
    /// Never for valid header values; Pingora's header type wants to be asked.
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
            // Of the object's own headers one is enough: two would contradict each other.
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

    /// The head of an object that is kept: as for 200. `content_type` is the type by the key, where
    /// that decides.
    ///
    /// # Errors
    /// When the type may not be served.
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

    /// The head of a 304. Stores such as Ceph RGW leave the `ETag` off theirs (RFC 9110, section
    /// 15.4.5, demands it); then it is the one the client named, since only that one was sent.
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

/// Whether the profile's `response_headers` name this header. The configuration admits no pattern
/// that matches a header of the gateway's own.
#[must_use]
pub fn is_listed(name: &HeaderName, profile: &Profile) -> bool {
    profile.response_headers.iter().any(|glob| glob.matches(name.as_str()))
}

/// `Content-Encoding` without `aws-chunked`, which some uploads leave on an object although its
/// body is not encoded so.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>
fn real_encoding(value: &HeaderValue) -> Option<HeaderValue> {
    let Ok(text) = value.to_str() else { return Some(value.clone()) };
    if !text.contains("aws-chunked") {
        return Some(value.clone());
    }
    let kept: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join(", ")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_no_encoding_a_client_knows() {
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
