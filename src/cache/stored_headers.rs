//! The headers of the store that the cache needs again: to make the head of a response, to freshen an
//! object, to find its length.

use std::time::SystemTime;

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    EXPIRES,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cache::confirmation::ConfirmedHeaders;
use crate::cache::object::ObjectBody;
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
    for name in [CACHE_CONTROL, EXPIRES] {
        for value in headers.get_all(&name) {
            lifetime.append(name.clone(), value.clone());
        }
    }
    lifetime
}

/// The headers of a stored object after the store has confirmed its body, `now`: all those of a HEAD, or
/// the stored ones updated by those of a 304 (RFC 9111, section 3.2). Its length stays, and in a 304 what
/// depends on the body (`confirmation.rs`).
pub(super) fn confirmed_headers(
    source: &ObjectBody,
    answer: &ConfirmedHeaders,
    now: SystemTime,
) -> HeaderMap {
    let mut headers = match answer {
        ConfirmedHeaders::All(headers) => headers.clone(),
        ConfirmedHeaders::Some(newer) => {
            let mut headers = source.head().headers.clone();
            headers.remove(CACHE_CONTROL);
            headers.extend(source.lifetime().into_owned());
            let mut newer = newer.clone();
            newer.remove(CONTENT_TYPE);
            newer.remove(CONTENT_ENCODING);
            if headers.contains_key(ETAG) {
                // It is the same, or a weak form of it.
                newer.remove(ETAG);
            }
            // `Expires` counts from the `Date` of the answer.
            if !newer.contains_key(DATE)
                && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now))
            {
                newer.insert(DATE, date);
            }
            // Where a name is repeated, the first value replaces and the others are added.
            headers.extend(newer);
            headers
        }
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(source.length()));
    headers
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
