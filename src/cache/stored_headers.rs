//! The headers of the store that the cache needs again: to make the head of a response, to freshen an
//! object, to find its length.

use http::header::{CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, DATE, EXPIRES};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::profile::Profile;
use crate::protocol::range::ContentRange;
use crate::response::object_head::{is_listed, is_object_header};

/// The same headers in memory of their own: values as they arrive share the memory of the whole head.
#[must_use]
pub(super) fn own_copy(headers: &HeaderMap) -> HeaderMap {
    let own = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
    let copies = headers.iter().filter_map(|(name, value)| Some((name.clone(), own(value)?)));
    copies.collect()
}

/// `Cache-Control` and `Expires`: they stay in force if a 304 comes without them.
#[must_use]
pub(super) fn lifetime_headers(headers: &HeaderMap) -> HeaderMap {
    let mut lifetime = HeaderMap::new();
    append_lifetime(&mut lifetime, headers);
    lifetime
}

/// Adds to the headers of a 304 the `Cache-Control` and `Expires` of the stored response that it lacks:
/// stores leave off headers that have not changed (RFC 9111, section 4.3.4).
pub(super) fn append_lifetime(headers: &mut HeaderMap, stored: &HeaderMap) {
    for name in [CACHE_CONTROL, EXPIRES] {
        if !headers.contains_key(&name) {
            for value in stored.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
    }
}

/// The headers of the store from which the head of a response is made again.
#[must_use]
pub(super) fn for_disk(headers: &HeaderMap, profile: &Profile) -> HeaderMap {
    let is_stored = |name: &HeaderName| {
        is_object_header(name)
            || [CACHE_CONTROL, EXPIRES, CONTENT_TYPE].contains(name)
            || *name == DATE && headers.contains_key(EXPIRES)
            || is_listed(name, profile)
    };
    let stored = headers.iter().filter(|(name, _)| is_stored(name));
    stored.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The length of the whole object, by the `Content-Range` of a response with a range of it.
#[must_use]
pub(super) fn whole_length(headers: &HeaderMap) -> Option<u64> {
    match ContentRange::parse(headers.get(CONTENT_RANGE)?)? {
        ContentRange::Part { len, .. } => len,
        ContentRange::Unsatisfied { .. } => None,
    }
}
