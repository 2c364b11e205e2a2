//! HTTP as its standards define it, as pure functions of requests, headers and times: no input or
//! output, no clock, no Pingora.
//!
//! - Requests: [`head_scan`] finds request heads in a byte stream (RFC 9112), [`request_check`] refuses
//!   ambiguous and malformed requests (RFC 9110 and 9112), [`connection_options`] reads `Connection`,
//!   [`request_id`] handles `X-Request-ID`, [`trace_context`] reads and writes `traceparent` (W3C), [`head_ids`]
//!   finds both in a head that is refused.
//! - Clients behind proxies: [`forwarded`] reads `X-Forwarded-For` and `Forwarded` (RFC 7239), [`proxy_header`] the
//!   PROXY protocol, [`network`] says who is trusted.
//! - HTTP/2 (RFC 9113): [`frames`] finds the frames in a byte stream, [`frame_scan`] the heads and floods among those
//!   of a client, [`priority`] reads `Priority` (RFC 9218), [`response_scan`] takes responses of HTTP/1.1 apart.
//! - Conditional and range requests (RFC 9110, sections 8.8.3, 13 and 14): [`entity_tag`],
//!   [`http_date`], [`range`], [`conditional`] evaluates preconditions, [`selection`] selects what a
//!   client gets of a representation, [`forwarded_conditions`] selects what is forwarded to a store.
//! - Responses: [`accept`] finds the form that a client prefers (RFC 9110, section 12.5.1), [`cache_status`] (RFC 9211), [`cors`] (Fetch standard), [`server_timing`] (W3C), and
//!   [`timestamp`] (RFC 3339 and `x-amz-date`).
//!
//! Stores implement only a part of RFC 9110: Ceph RGW ignores `If-Range`, omits `ETag` from a 304, and
//! supports neither lists of entity tags nor weak ones nor `*`. Therefore [`forwarded_conditions`]
//! forwards only conditions that stores support, and [`conditional`] evaluates the others on the
//! headers of the store's response.

pub mod accept;
pub mod cache_status;
pub mod conditional;
pub mod connect;
pub mod connection_options;
pub mod cors;
pub mod entity_tag;
pub mod forwarded;
pub mod forwarded_conditions;
pub mod frame_scan;
pub mod frames;
pub mod freshness_limit;
pub mod head_ids;
pub mod head_scan;
pub mod http_date;
pub mod network;
pub mod priority;
pub mod proxy_header;
pub mod range;
pub mod request_check;
pub mod request_id;
pub mod response_scan;
pub mod selection;
pub mod server_timing;
pub mod timestamp;
pub mod trace_context;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The value of a header that must not be repeated; `None` when it is missing or repeated.
pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => value,
        _ => None,
    }
}

/// Names and values of headers, for tests.
#[cfg(test)]
pub(crate) type HeaderPairs<'a> = &'a [(&'a str, &'a str)];

#[cfg(test)]
pub(crate) fn headers_of(pairs: HeaderPairs<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        headers.append(name, value);
    }
    headers
}
