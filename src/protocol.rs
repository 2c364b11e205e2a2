//! Conditional and range requests as RFC 9110 defines them (sections 8.8.3, 13 and 14), as
//! functions of headers alone.
//!
//! The stores behind the gateway know only a part of this: Ceph RGW ignores `If-Range`, leaves
//! `ETag` out of its 304, and understands neither lists of entity tags nor weak ones nor `*`. So
//! [`forward`] says which conditions a store may be asked, and [`conditional`] decides on the
//! headers of its answer.

pub mod cache_status;
pub mod conditional;
pub mod cors;
pub mod entity_tag;
pub mod forwarded_conditions;
pub mod head_scan;
pub mod http_date;
pub mod range;
pub mod request_check;
pub mod request_id;
pub mod selection;
pub mod server_timing;
pub mod timestamp;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The value of a header that must not come twice; `None` when it is missing or repeated.
pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => value,
        _ => None,
    }
}

#[cfg(test)]
pub(crate) fn headers_of(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        headers.append(name, value);
    }
    headers
}
