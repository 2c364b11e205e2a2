//! A request as the cache sees it.

use std::sync::{Arc, OnceLock};

use http::header::{CACHE_CONTROL, PRAGMA, RANGE};
use http::{HeaderMap, Method};
use pingora::cache::cache_control::CacheControl;

use crate::archive::{ArchiveKind, FirstRead};
use crate::cache::key::CacheKey;
use crate::mime::KeyType;
use crate::profile::cache_rules::Rule;
use crate::profile::fingerprint::Fingerprint;
use crate::protocol::range::{ByteRange, RangeRequest, parse_range};
use crate::protocol::selection::MAX_RANGES;
use crate::s3::address::ObjectAddress;
use crate::s3::endpoint::Target;
use crate::s3::list;
use crate::trace::span::{Span, SpanParent};
use crate::upstream::Store;

/// No object has a byte after this position. For larger positions some stores return the whole
/// object, as stores without support for ranges do.
const FARTHEST: u64 = 1 << 60;

/// A request for an object, and the store that has it.
#[derive(Debug)]
pub struct CacheRequest {
    pub key: CacheKey,
    pub store: Arc<Store>,
    pub address: Arc<ObjectAddress>,
    /// Made when the store is asked: most requests are answered without it.
    target: OnceLock<Target>,
    /// The media type by the key; `None` if the object's own type is used.
    pub content_type: Option<KeyType>,
    pub rule: Rule,
    /// The settings that shape the answer.
    pub settings: Fingerprint,
    pub extent: Extent,
    /// The client wants the object revalidated, and the rule allows it (`no-cache`).
    pub no_cache: bool,
    /// It is a page of a listing: the key of the address is its prefix, the body the store's XML.
    pub is_listing: bool,
    /// The span that its fetches are part of; `None` without traces.
    pub trace: Option<SpanParent>,
}

/// How much of the object is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it, or whether it has changed.
    Whole,
    /// Its head alone, or no byte of it.
    Head,
    /// A range of it. Of several ranges, the first in the object that is not a suffix.
    Range(ByteRange),
}

impl Extent {
    /// Whether the client has said how far it will read. A browser that plays a film requests
    /// everything to the end, and stops early.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        !matches!(self, Self::Whole | Self::Range(ByteRange::FromTo { last: None, .. }))
    }

    fn of(method: &Method, headers: &HeaderMap) -> Self {
        if *method != Method::GET {
            return Self::Head;
        }
        if !headers.contains_key(RANGE) {
            return Self::Whole;
        }
        let part = |range: ByteRange| match range {
            ByteRange::Suffix(0) => Self::Head,
            ByteRange::FromTo { first, .. } if first > FARTHEST => Self::Head,
            range => Self::Range(range),
        };
        match parse_range(headers) {
            RangeRequest::Whole => Self::Whole,
            RangeRequest::Single(range) => part(range),
            RangeRequest::Many(ranges) if ranges.len() > MAX_RANGES => Self::Whole,
            RangeRequest::Many(ranges) => {
                let placed = |range: &&ByteRange| matches!(range, ByteRange::FromTo { .. });
                let first = |range: &&ByteRange| match range {
                    ByteRange::FromTo { first, .. } => *first,
                    ByteRange::Suffix(_) => u64::MAX,
                };
                let placed = ranges.iter().filter(placed).min_by_key(first);
                placed.or(ranges.first()).map_or(Self::Whole, |range| part(*range))
            }
        }
    }
}

impl CacheRequest {
    /// A GET or HEAD request for this object.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        address: Arc<ObjectAddress>,
        content_type: Option<KeyType>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Self {
        let profile = &store.profile;
        let rule = *profile.cache.of(&address.key);
        Self {
            key: CacheKey::new(profile, &address.bucket, &address.key),
            address,
            target: OnceLock::new(),
            content_type,
            rule,
            settings: Fingerprint { profile: store.fingerprint, rule },
            extent: Extent::of(method, headers),
            no_cache: rule.client_no_cache && has_no_cache(headers),
            is_listing: false,
            trace: None,
            store,
        }
    }

    /// A request for an archive of which a member is wanted: for the bytes that its directory is found with.
    #[must_use]
    pub fn archive(
        store: Arc<Store>,
        address: Arc<ObjectAddress>,
        content_type: Option<KeyType>,
        kind: ArchiveKind,
        headers: &HeaderMap,
    ) -> Self {
        let range = match kind.first_read() {
            FirstRead::Head(bytes) => ByteRange::FromTo { first: 0, last: Some(bytes - 1) },
            FirstRead::Tail(bytes) => ByteRange::Suffix(bytes),
        };
        let whole = Self::new(store, address, content_type, &Method::GET, headers);
        Self { extent: Extent::Range(range), ..whole }
    }

    /// A request for a page of the listing of this folder; the key of the address is its prefix. The rule
    /// of the cache is that of an object with this key, and fresh for `listing_ttl`.
    #[must_use]
    pub fn listing(
        store: Arc<Store>,
        folder: Arc<ObjectAddress>,
        token: Option<&str>,
        headers: &HeaderMap,
    ) -> Self {
        let profile = &store.profile;
        let rule = Rule { ttl: profile.listing_ttl, ..*profile.cache.of(&folder.key) };
        let mut target = profile.endpoint.target(profile.addressing, &folder.bucket, b"");
        target.path.push('?');
        target.path.push_str(&list::query(&folder.key, token));
        Self {
            key: CacheKey::new(profile, &folder.bucket, &folder.key).listing(token),
            address: folder,
            target: OnceLock::from(target),
            content_type: None,
            rule,
            settings: Fingerprint { profile: store.fingerprint, rule },
            extent: Extent::Whole,
            no_cache: rule.client_no_cache && has_no_cache(headers),
            is_listing: true,
            trace: None,
            store,
        }
    }

    /// The request that refreshes the object in the background, with the newest access key; `None` if the
    /// object is not pinned.
    #[must_use]
    pub fn pin(&self) -> Option<Arc<Self>> {
        let is_pinned = !self.is_listing && self.store.profile.cache.pins(&self.address.key);
        is_pinned.then(|| {
            let (store, address) = (self.store.newest(), Arc::clone(&self.address));
            let content_type = self.content_type.clone();
            Arc::new(Self::new(store, address, content_type, &Method::GET, &HeaderMap::new()))
        })
    }

    /// The same request as part of this span.
    #[must_use]
    pub fn traced(self, trace: Option<SpanParent>) -> Self {
        Self { trace, ..self }
    }

    /// The span of the time in which it waits for this fetch, with a link to it, if the fetch is another's.
    #[must_use]
    pub(in crate::cache) fn wait_for(&self, fetch: Option<&SpanParent>) -> Option<Span> {
        let own = self.trace.as_ref()?;
        let fetch = fetch.map(SpanParent::context);
        if fetch == Some(own.context()) {
            return None;
        }
        let mut span = own.part("wait for a fetch")?;
        if let Some(fetch) = fetch {
            span.link(fetch);
        }
        Some(span)
    }

    /// The object's address at its store.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.target.get_or_init(|| {
            let (profile, address) = (&self.store.profile, &self.address);
            let key = address.key.as_bytes();
            profile.endpoint.target(profile.addressing, &address.bucket, key)
        })
    }
}

/// Whether a client wants the object revalidated: `no-cache` or `max-age=0` (RFC 9111, section
/// 5.2.1), or `Pragma` in old clients (section 5.4).
fn has_no_cache(headers: &HeaderMap) -> bool {
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
    use crate::protocol::headers_of;

    #[test]
    fn of_several_ranges_the_first_in_the_object_is_asked_for() {
        let from_to = |first, last| Extent::Range(ByteRange::FromTo { first, last });
        let many = format!("bytes={}", "1-2,".repeat(MAX_RANGES + 1));
        for (range, extent) in [
            ("bytes=5-9", from_to(5, Some(9))),
            ("bytes=5-", from_to(5, None)),
            ("bytes=-5", Extent::Range(ByteRange::Suffix(5))),
            ("bytes=-0", Extent::Head),
            ("bytes=1152921504606846976-", from_to(1 << 60, None)),
            ("bytes=1152921504606846977-", Extent::Head),
            ("bytes=5-18446744073709551615", from_to(5, Some(u64::MAX))),
            ("bytes=70-80,5-9,-3", from_to(5, Some(9))),
            ("bytes=-3,-9", Extent::Range(ByteRange::Suffix(3))),
            ("bytes=x", Extent::Whole),
            (&many, Extent::Whole),
        ] {
            let headers = headers_of(&[("range", range)]);
            assert_eq!(Extent::of(&Method::GET, &headers), extent, "{range}");
            assert_eq!(Extent::of(&Method::HEAD, &headers), Extent::Head, "{range}");
        }
        assert_eq!(Extent::of(&Method::GET, &HeaderMap::new()), Extent::Whole);
    }

    #[test]
    fn a_reload_in_a_browser_has_no_cache() {
        for (headers, no_cache) in [
            (&[][..], false),
            (&[("cache-control", "no-cache")], true),
            (&[("cache-control", "max-age=0")], true),
            (&[("cache-control", "Max-Age=0, x")], true),
            (&[("cache-control", "max-age=10")], false),
            (&[("pragma", "No-Cache")], true),
            (&[("pragma", "no-cache"), ("cache-control", "max-age=10")], false),
            (&[("cache-control", "no-store")], false),
        ] {
            assert_eq!(has_no_cache(&headers_of(headers)), no_cache, "{headers:?}");
        }
    }
}
