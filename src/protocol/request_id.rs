//! Request ids (`X-Request-ID`): the client's, if it is safe to log and to search for, or a new one.

use http::{HeaderName, HeaderValue};

/// The header with the id of a request, in requests and responses.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request id in a header value; `None` unless it is 1 to 128 letters, digits, dots, hyphens and
/// underscores.
#[must_use]
pub fn sane_request_id(value: Option<&HeaderValue>) -> Option<&str> {
    let id = value?.to_str().ok()?;
    let sane = (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    sane.then_some(id)
}

/// A random UUID (RFC 9562, version 4).
#[must_use]
pub fn new_request_id() -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = fastrand::u128(..);
    let id = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let mut text = String::with_capacity(36);
    for (place, byte) in id.to_be_bytes().into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(DIGITS.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_request_ids_are_accepted() {
        let long = "x".repeat(129);
        for (value, sane) in [
            ("abc-123_4.5", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            (long.as_str(), false),
        ] {
            let value = HeaderValue::from_str(value).expect("a valid header");
            assert_eq!(sane_request_id(Some(&value)).is_some(), sane, "{value:?}");
        }
        assert_eq!(sane_request_id(None), None);
    }

    #[test]
    fn made_request_ids_are_uuids_of_version_4() {
        let id = new_request_id();
        let bytes = id.as_bytes();
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!([8, 13, 18, 23].map(|at| bytes[at]), [b'-'; 4], "{id}");
        assert_eq!(bytes[14], b'4', "{id}");
        assert!(matches!(bytes[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert_ne!(id, new_request_id());
    }
}
