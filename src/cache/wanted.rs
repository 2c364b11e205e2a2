//! What a request wants of the cache.

use std::sync::{Arc, OnceLock};

use http::header::{CACHE_CONTROL, PRAGMA, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use pingora::cache::cache_control::CacheControl;

use crate::cache::key::CacheKey;
use crate::cache::rules::Rule;
use crate::s3::address::ObjectAddress;
use crate::s3::endpoint::Target;
use crate::upstream::Store;

/// An object, as it is wanted and as its store is asked for it.
#[derive(Debug)]
pub struct Wanted {
    pub key: CacheKey,
    pub store: Arc<Store>,
    pub address: Arc<ObjectAddress>,
    /// Made when the store is asked: most requests are answered without.
    target: OnceLock<Target>,
    /// The type by the key; `None` where the object's own type decides.
    pub content_type: Option<HeaderValue>,
    pub rule: Rule,
    pub manner: Manner,
    /// The client wants the store to be asked, and may.
    pub anew: bool,
}

/// How much of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// All of it, or to know whether it has changed: worth fetching it whole.
    Whole,
    /// Its head or a part of it: served from what is kept or on its way, else left to the store.
    Glance,
}

impl Wanted {
    /// What a GET or HEAD of this object wants.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        address: Arc<ObjectAddress>,
        content_type: Option<HeaderValue>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Self {
        let profile = &store.profile;
        let rule = *profile.cache.of(&address.key);
        let glance = *method != Method::GET || headers.contains_key(RANGE);
        Self {
            key: CacheKey::new(profile, &address.bucket, &address.key),
            address,
            target: OnceLock::new(),
            content_type,
            rule,
            manner: if glance { Manner::Glance } else { Manner::Whole },
            anew: rule.client_no_cache && asks_anew(headers),
            store,
        }
    }

    /// The object as its store is asked for it.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.target.get_or_init(|| {
            let (profile, address) = (&self.store.profile, &self.address);
            let key = address.key.as_bytes();
            profile.endpoint.target(profile.addressing, &address.bucket, key)
        })
    }
}

/// Whether a client wants the store to be asked: `no-cache` or `max-age=0` (RFC 9111, section
/// 5.2.1), or the `Pragma` of old (section 5.4).
fn asks_anew(headers: &HeaderMap) -> bool {
    match CacheControl::from_headers_named(CACHE_CONTROL.as_str(), headers) {
        Some(control) => control.no_cache() || control.max_age().ok().flatten() == Some(0),
        None => headers
            .get(PRAGMA)
            .is_some_and(|pragma| pragma.as_bytes().eq_ignore_ascii_case(b"no-cache")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rfc9110::headers_of;

    #[test]
    fn a_reload_in_a_browser_asks_anew() {
        for (headers, anew) in [
            (&[][..], false),
            (&[("cache-control", "no-cache")], true),
            (&[("cache-control", "max-age=0")], true),
            (&[("cache-control", "Max-Age=0, x")], true),
            (&[("cache-control", "max-age=10")], false),
            (&[("pragma", "No-Cache")], true),
            (&[("pragma", "no-cache"), ("cache-control", "max-age=10")], false),
            (&[("cache-control", "no-store")], false),
        ] {
            assert_eq!(asks_anew(&headers_of(headers)), anew, "{headers:?}");
        }
    }
}
