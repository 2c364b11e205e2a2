//! The head of a response with an object: which headers of the store are forwarded, and which are set
//! by the gateway. The head of a cached object is made once.

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;

use crate::config::Config;
use crate::mime::{KeyType, MimePolicy, StoredVerdict, is_image, is_scriptable};
use crate::profile::Profile;
use crate::protocol::connection_options::has_option;
use crate::protocol::entity_tag::EntityTag;
use crate::protocol::http_date;
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
        Self { image_cache_control, mime: config.mime.clone() }
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
            let of_the_hop = has_option(store, name.as_str());
            if !passes || not_modified && of_a_body || of_a_part || repeated || of_the_hop {
                continue;
            }
            if *name == CONTENT_ENCODING {
                if let Some(encoding) = real_encoding(value) {
                    head.append_header(CONTENT_ENCODING, encoding)?;
                }
                continue;
            }
            if *name == ETAG {
                head.append_header(ETAG, quoted(value))?;
                continue;
            }
            head.append_header(name.clone(), value.clone())?;
        }
        head.insert_header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))?;
        head.insert_header(X_CONTENT_TYPE_OPTIONS, NOSNIFF)?;
        if !not_modified {
            head.insert_header(CONTENT_TYPE, content_type.clone())?;
        }
        if profile.content_security_policy && is_scriptable(content_type) {
            head.insert_header(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"))?;
        }
        if let Some(age) = http_date::age(store) {
            head.insert_header(AGE, HeaderValue::from(age))?;
        }
        self.set_cache_control(&mut head, store, profile, content_type, !not_modified)?;
        Ok(head)
    }

    /// `Cache-Control` is the profile's, or else the store's, or else the default for images, which never
    /// weakens the store's. `Expires` is sent as `max-age`: `Date` is the time of sending, so `Expires`
    /// minus `Date` would count the age a second time beside `Age`. Without `is_complete` the headers are
    /// those of a 304, from which a store may leave off a stricter one: there is no default then.
    fn set_cache_control(
        &self,
        head: &mut ResponseHeader,
        store: &HeaderMap,
        profile: &Profile,
        content_type: &HeaderValue,
        is_complete: bool,
    ) -> Result<()> {
        head.remove_header(&CACHE_CONTROL);
        head.remove_header(&EXPIRES);
        if let Some(cache_control) = &profile.cache_control {
            head.insert_header(CACHE_CONTROL, cache_control.clone())?;
        } else if store.contains_key(CACHE_CONTROL) {
            for value in store.get_all(CACHE_CONTROL) {
                head.append_header(CACHE_CONTROL, value.clone())?;
            }
        } else if let Some(lifetime) = http_date::lifetime(store, None) {
            head.insert_header(CACHE_CONTROL, format!("max-age={}", lifetime.as_secs()))?;
        } else if let Some(default) = &self.image_cache_control
            && is_image(content_type)
            && is_complete
        {
            head.insert_header(CACHE_CONTROL, default.clone())?;
        }
        Ok(())
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
        content_type: Option<&KeyType>,
    ) -> Result<ResponseHeader, Refusal> {
        let content_type = match content_type {
            Some(content_type) => content_type.of(store),
            None => self.stored_type(StatusCode::OK, store)?,
        };
        let head = self.object_head(StatusCode::OK, store, profile, &content_type);
        let mut head = head.map_err(|_| Refusal::UpstreamProtocol)?;
        // The cache counts the age itself, beginning with the store's.
        head.remove_header(&AGE);
        Ok(head)
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
        store_status: StatusCode,
    ) -> Result<ResponseHeader> {
        let mut head = self.object_head(StatusCode::NOT_MODIFIED, store, profile, content_type)?;
        if store_status != StatusCode::NOT_MODIFIED {
            self.set_cache_control(&mut head, store, profile, content_type, true)?;
        }
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

/// An entity tag in the quotes that RFC 9110, section 8.8.3, requires: without them a client's
/// `If-Range` and `If-Match` cannot name it.
fn quoted(tag: &HeaderValue) -> HeaderValue {
    if EntityTag::parse(tag.as_bytes()).is_some() {
        return tag.clone();
    }
    let bare = EntityTag::parse_lenient(tag.as_bytes());
    bare.and_then(|bare| bare.strong_header()).unwrap_or_else(|| tag.clone())
}

/// `Content-Encoding` without empty elements and without `aws-chunked`, which some uploads leave on an
/// object although its body is not encoded so.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>
fn real_encoding(value: &HeaderValue) -> Option<HeaderValue> {
    let Ok(text) = value.to_str() else { return Some(value.clone()) };
    let elements = || text.split(',').map(str::trim);
    let is_real = |coding: &&str| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked");
    if elements().all(|coding| is_real(&coding)) {
        return Some(value.clone());
    }
    let real: Vec<&str> = elements().filter(is_real).collect();
    if real.is_empty() { None } else { HeaderValue::from_str(&real.join(", ")).ok() }
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
            ("gzip, AWS-Chunked", Some("gzip")),
            ("AWS-CHUNKED", None),
            ("", None),
            (" , ", None),
            ("gzip,", Some("gzip")),
            ("gzip, br", Some("gzip, br")),
            ("gzip, aws-chunked", Some("gzip")),
        ] {
            let passed = passed.map(HeaderValue::from_static);
            assert_eq!(real_encoding(&HeaderValue::from_static(stored)), passed, "{stored}");
        }
    }
}
