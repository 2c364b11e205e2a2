//! What an error of a store says: that the object does not exist, that the gateway may not read it, or
//! nothing about the object. Only the first two change what is cached; the rest is an outage.
//!
//! The codes are those of S3: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};

use crate::response::refusal::Refusal;

/// Headers that only S3 sends: their presence shows that the store wrote the answer, and not a load
/// balancer in front of it.
const STORE_MARKS: [HeaderName; 2] =
    [HeaderName::from_static("x-amz-request-id"), HeaderName::from_static("x-amz-id-2")];

/// What a 401, 403 or 404 says with the code of its document; `None` where the document has no code or
/// was not read, as after a HEAD. `missing_on_403`: a denied object counts as missing.
#[must_use]
pub fn of_document(
    status: u16,
    store: &HeaderMap,
    code: Option<&str>,
    missing_on_403: bool,
) -> Refusal {
    match (status, code) {
        (404, Some(_)) => Refusal::ObjectNotFound,
        (404, None) if has_store_mark(store) => Refusal::ObjectNotFound,
        (403, Some("AccessDenied")) if missing_on_403 => Refusal::ObjectNotFound,
        (401 | 403, Some("AccessDenied")) => Refusal::UpstreamForbidden,
        (401 | 403, _) => Refusal::UpstreamRejected,
        _ => Refusal::UpstreamError,
    }
}

/// Whether the head promises an error document in XML. That is enough for an answer that is passed
/// to one client and not cached.
#[must_use]
pub fn promises_document(store: &HeaderMap) -> bool {
    let media_type = store.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.and_then(|it| it.split(';').next()).is_some_and(|it| {
        let it = it.trim();
        it.eq_ignore_ascii_case("application/xml") || it.eq_ignore_ascii_case("text/xml")
    })
}

/// Whether the store itself wrote this answer.
#[must_use]
pub fn has_store_mark(store: &HeaderMap) -> bool {
    STORE_MARKS.iter().any(|name| store.contains_key(name))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_access_denied_and_answers_that_s3_wrote_say_something_about_an_object() {
        use Refusal::{ObjectNotFound, UpstreamError, UpstreamForbidden, UpstreamRejected};
        let mut marked = HeaderMap::new();
        marked.insert("x-amz-id-2", HeaderValue::from_static("x"));
        let bare = HeaderMap::new();
        for (status, headers, code, lenient, plain) in [
            (403, &bare, Some("AccessDenied"), ObjectNotFound, UpstreamForbidden),
            (403, &bare, Some("InvalidAccessKeyId"), UpstreamRejected, UpstreamRejected),
            (403, &bare, Some("SignatureDoesNotMatch"), UpstreamRejected, UpstreamRejected),
            (403, &bare, Some("RequestTimeTooSkewed"), UpstreamRejected, UpstreamRejected),
            (403, &bare, Some("InvalidObjectState"), UpstreamRejected, UpstreamRejected),
            (403, &bare, Some("accessdenied"), UpstreamRejected, UpstreamRejected),
            (403, &marked, None, UpstreamRejected, UpstreamRejected),
            (401, &bare, Some("AccessDenied"), UpstreamForbidden, UpstreamForbidden),
            (401, &marked, Some("Unauthorized"), UpstreamRejected, UpstreamRejected),
            (404, &bare, Some("NoSuchKey"), ObjectNotFound, ObjectNotFound),
            (404, &bare, Some("NoSuchBucket"), ObjectNotFound, ObjectNotFound),
            (404, &marked, None, ObjectNotFound, ObjectNotFound),
            (404, &bare, None, UpstreamError, UpstreamError),
        ] {
            assert_eq!(of_document(status, headers, code, true), lenient, "{status} {code:?}");
            assert_eq!(of_document(status, headers, code, false), plain, "{status} {code:?}");
        }
    }

    #[test]
    fn an_error_document_is_xml() {
        for (value, expected) in [
            ("application/xml", true),
            ("Text/XML; charset=utf-8", true),
            ("text/plain; charset=utf-8", false),
            ("text/html", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(promises_document(&headers), expected, "{value}");
        }
        assert!(!promises_document(&HeaderMap::new()));
    }
}
