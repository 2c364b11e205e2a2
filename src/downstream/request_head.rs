//! Parses a request head ahead of Pingora. Only plain heads are parsed here: Pingora reads all others.

use bytes::Bytes;
use http::{HeaderName, Version};
use pingora::http::{RequestHeader, header_value_from_raw};
use pingora::protocols::http::authority::validate_request_authority;

/// More header fields than a browser behind an ingress sends. Pingora reads heads with more.
const MAX_FIELDS: usize = 64;

/// A request head, and its length in bytes.
#[derive(Debug)]
pub struct RequestHead {
    pub header: RequestHeader,
    pub length: usize,
}

/// The length of the first head in these bytes: it ends with an empty line (RFC 9112, section 2.1).
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let line_end = from + memchr::memchr(b'\n', bytes.get(from..)?)?;
        match bytes.get(line_end + 1..)? {
            [b'\n', ..] => return Some(line_end + 2),
            [b'\r', b'\n', ..] => return Some(line_end + 3),
            _ => from = line_end + 1,
        }
    }
}

/// The head that is exactly these bytes; `None` unless it is plain.
pub(super) fn parse(bytes: &[u8]) -> Option<RequestHeader> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        _ => return None,
    }
    let version = match request.version? {
        0 => Version::HTTP_10,
        1 => Version::HTTP_11,
        _ => return None,
    };
    let count = request.headers.len();
    let mut header =
        RequestHeader::build_no_case(request.method?, request.path?.as_bytes(), Some(count))
            .ok()?;
    header.set_version(version);
    // One copy, which all values share.
    let copy = Bytes::copy_from_slice(bytes);
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = header_value_from_raw(copy.slice_ref(within(&copy, bytes, field.value)?));
        header.append_header(name, value).ok()?;
    }
    // Pingora refuses some heads that it has parsed, such as two `Host` fields.
    validate_request_authority(&header).ok()?;
    Some(header)
}

/// The part of `copy` at the place that `part` has in `original`.
fn within<'a>(copy: &'a [u8], original: &[u8], part: &[u8]) -> Option<&'a [u8]> {
    let start = (part.as_ptr() as usize).checked_sub(original.as_ptr() as usize)?;
    copy.get(start..start.checked_add(part.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for (text, length) in [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET", Some(27)),
            ("GET / HTTP/1.1\nHost: h\n\nGET", Some(24)),
            ("GET / HTTP/1.1\r\n\r\n", Some(18)),
            ("GET / HTTP/1.1\r\nHost: h\r\n", None),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r", None),
            ("", None),
        ] {
            assert_eq!(head_length(text.as_bytes()), length, "{text:?}");
        }
    }

    #[test]
    fn a_plain_head_has_its_target_as_it_was_sent_and_all_fields() {
        let text = "GET /a%2Fb//c?x=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A:  2 \r\nEmpty:\r\n\r\n";
        let header = parse(text.as_bytes()).expect("a plain head");
        assert_eq!(header.raw_path(), b"/a%2Fb//c?x=1");
        assert_eq!(header.version, Version::HTTP_11);
        let values: Vec<_> = header.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(header.headers.get("empty").map(http::HeaderValue::as_bytes), Some(&b""[..]));
    }

    #[test]
    fn other_heads_are_left_to_pingora() {
        for text in [
            "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\r\nmore",
            "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@h\r\n\r\n",
            "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_none(), "{text:?}");
        }
        let many = "A: 1\r\n".repeat(MAX_FIELDS + 1);
        assert!(parse(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).is_none());
    }
}
