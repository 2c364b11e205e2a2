//! The parts of a store's answer besides the object: its id of the request, and the code of its
//! error document, such as `NoSuchKey`. Both are for the log and for operators, never for clients.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::protocol::request_id::{X_REQUEST_ID, sane_request_id};
use crate::s3::error_code::{ERROR_DOCUMENT_BYTES, error_code};

const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// The store's own id of the request that it answers with these headers.
#[must_use]
pub fn request_id(store: &HeaderMap) -> Option<&str> {
    [X_AMZ_REQUEST_ID, X_REQUEST_ID].iter().find_map(|name| sane_request_id(store.get(name)))
}

/// Whether a body follows this head whose end the head or chunks mark: only then the connection can
/// be used again. The answer to a HEAD has none.
#[must_use]
pub fn has_body(status: StatusCode, store: &HeaderMap, asked_for_head: bool) -> bool {
    let framed = match store.get(CONTENT_LENGTH) {
        Some(length) => length != "0",
        None => store.contains_key(TRANSFER_ENCODING),
    };
    framed && !asked_for_head && !matches!(status.as_u16(), 204 | 304)
}

/// The arriving bytes of an error document, up to [`ERROR_DOCUMENT_BYTES`].
#[derive(Debug, Clone, Default)]
pub struct ErrorDocument(Vec<u8>);

impl ErrorDocument {
    /// Adds a piece; bytes over the limit are dropped.
    pub fn push(&mut self, piece: &[u8]) {
        let room = ERROR_DOCUMENT_BYTES.saturating_sub(self.0.len());
        self.0.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// Whether no more of it is read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= ERROR_DOCUMENT_BYTES
    }

    /// The code. A truncated document may contain it too.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        error_code(&self.0)
    }

    /// The bytes read so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_id_of_amazon_comes_before_that_of_others() {
        let both = headers(&[("x-request-id", "tx2"), ("x-amz-request-id", "tx1")]);
        assert_eq!(request_id(&both), Some("tx1"));
        assert_eq!(request_id(&headers(&[("x-request-id", "tx2")])), Some("tx2"));
        let odd = headers(&[("x-amz-request-id", "a b"), ("x-request-id", "tx2")]);
        assert_eq!(request_id(&odd), Some("tx2"));
        assert_eq!(request_id(&HeaderMap::new()), None);
    }

    #[test]
    fn a_body_follows_where_the_head_says_so() {
        let length = [("content-length", "9")];
        for (status, pairs, asked_for_head, expected) in [
            (404, &length[..], false, true),
            (404, &[("transfer-encoding", "chunked")], false, true),
            (404, &[("content-length", "0")], false, false),
            (404, &[], false, false),
            (404, &length, true, false),
            (304, &length, false, false),
            (200, &length, false, true),
            (204, &length, false, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = has_body(status, &headers(pairs), asked_for_head);
            assert_eq!(found, expected, "{status} {pairs:?} {asked_for_head}");
        }
    }

    #[test]
    fn no_more_of_a_document_is_read_than_the_limit() {
        let mut document = ErrorDocument::default();
        document.push(b"<Error><Code>NoSuch");
        assert_eq!((document.code(), document.is_full()), (None, false));
        document.push(b"Key</Code>");
        assert_eq!(document.code(), Some("NoSuchKey"));
        document.push(&vec![b'x'; ERROR_DOCUMENT_BYTES]);
        assert!(document.is_full());
        assert_eq!(document.bytes().len(), ERROR_DOCUMENT_BYTES);
        assert_eq!(document.code(), Some("NoSuchKey"));
    }
}
