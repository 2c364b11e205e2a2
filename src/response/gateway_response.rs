//! A complete response that the gateway makes itself: a refusal, a page, a redirect or a preflight
//! response.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};
use pingora::Result;
use pingora::http::ResponseHeader;

/// `X-Content-Type-Options: nosniff`, sent with every response: browsers must not guess another
/// media type than `Content-Type`.
pub const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Status, headers and body of a response without an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayResponse {
    /// The HTTP status code.
    pub status: u16,
    /// The value of `Content-Type`; empty where there is no body.
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// Further headers: `Allow`, `Retry-After`, `Content-Range`, `Location`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl GatewayResponse {
    /// The head of this response, for Pingora.
    ///
    /// # Errors
    /// When the status is not an HTTP status code.
    pub fn head(&self) -> Result<ResponseHeader> {
        let mut head = ResponseHeader::build_no_case(self.status, Some(8))?;
        head.insert_header(CONTENT_TYPE, HeaderValue::from_static(self.content_type))?;
        head.insert_header(CONTENT_LENGTH, HeaderValue::from(self.body.len()))?;
        head.insert_header(X_CONTENT_TYPE_OPTIONS, NOSNIFF)?;
        for (name, value) in &self.headers {
            head.append_header(name.clone(), value.clone())?;
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_describes_the_body_and_has_the_further_headers() {
        let response = GatewayResponse {
            status: 405,
            content_type: "application/json",
            body: b"{}".to_vec(),
            headers: vec![(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"))],
        };
        let head = response.head().expect("a valid status");
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(head.status, 405);
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-length", "2"),
            ("x-content-type-options", "nosniff"),
            ("allow", "GET, HEAD"),
        ] {
            assert_eq!(text(name), Some(value), "{name}");
        }
        assert!(GatewayResponse { status: 42, ..response }.head().is_err());
    }
}
