//! How long a response may be served: RFC 9111, section 4.2, and RFC 5861. `Cache-Control` is read by
//! Pingora's parser.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::CACHE_CONTROL;
use pingora::cache::cache_control::{CacheControl, Cacheable, InterpretCacheControl};

use crate::profile::cache_rules::Rule;
use crate::protocol::http_date;

/// The shortest lifetime of a hit-for-pass entry.
const MIN_HIT_FOR_PASS: Duration = Duration::from_secs(60);

/// When a response was generated, and how long it may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When the store generated the response, with its `Age` subtracted: `Age` counts from here.
    pub generated_at: SystemTime,
    /// Until then it is served without the store.
    pub fresh_until: SystemTime,
    /// How long after `fresh_until` it is served while it is revalidated in the background.
    pub stale_while_revalidate: Duration,
    /// How long after `fresh_until` it is served if the store fails.
    pub stale_if_error: Duration,
}

/// What a response of some age is served for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreshnessState {
    Fresh,
    /// Served, while it is revalidated in the background.
    StaleWhileRevalidate,
    /// Revalidated first; served if the store fails.
    StaleIfError,
    /// Revalidated first.
    Expired,
}

impl Freshness {
    /// The freshness of an object that has arrived `now`: by its own headers, else by the rule.
    /// `None` if shared caches must not store it (`no-store`, `private`).
    #[must_use]
    pub fn of_object(headers: &HeaderMap, rule: &Rule, now: SystemTime) -> Option<Self> {
        let control = CacheControl::from_headers_named(CACHE_CONTROL.as_str(), headers);
        if control.as_ref().is_some_and(|control| control.is_cacheable() == Cacheable::No) {
            return None;
        }
        let age = Duration::from_secs(http_date::age(headers).unwrap_or_default());
        let control = control.as_ref();
        // A lifetime in its headers began when it was generated, a lifetime of the rule begins here.
        let named = control.and_then(InterpretCacheControl::fresh_duration);
        let named = named.or_else(|| http_date::lifetime(headers, Some(now)));
        let lifetime = named.map_or(rule.ttl, |named| named.saturating_sub(age));
        // With `no-cache` only the store may allow it to be served again (section 4.2.4).
        let never_stale = control.is_some_and(CacheControl::no_cache);
        let window = |named: Option<Duration>, rule: Duration| {
            if never_stale { Duration::ZERO } else { named.unwrap_or(rule) }
        };
        Some(Self {
            generated_at: now.checked_sub(age).unwrap_or(now),
            fresh_until: later(now, lifetime),
            stale_while_revalidate: window(
                control.and_then(InterpretCacheControl::serve_stale_while_revalidate_duration),
                rule.stale_while_revalidate,
            ),
            stale_if_error: window(
                control.and_then(InterpretCacheControl::serve_stale_if_error_duration),
                rule.stale_if_error,
            ),
        })
    }

    /// The freshness of an entry that is never served stale: negative, hit-for-pass, or a block.
    #[must_use]
    pub fn for_a_while(now: SystemTime, lifetime: Duration) -> Self {
        Self {
            generated_at: now,
            fresh_until: later(now, lifetime),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        }
    }

    /// The same, but the response is not served again before the store has confirmed it.
    #[must_use]
    pub fn invalidated(&self) -> Self {
        let never = Duration::ZERO;
        Self {
            fresh_until: self.generated_at,
            stale_while_revalidate: never,
            stale_if_error: never,
            ..*self
        }
    }

    /// The freshness of a response of unknown age: stale since this time, so that the store is asked
    /// before it is served, unless the store fails.
    #[must_use]
    pub fn stale_at(&self, since: SystemTime) -> Self {
        Self {
            generated_at: since,
            fresh_until: since,
            stale_while_revalidate: Duration::ZERO,
            ..*self
        }
    }

    /// What the response is served for at this time.
    #[must_use]
    pub fn at(&self, now: SystemTime) -> FreshnessState {
        let Ok(stale_for) = now.duration_since(self.fresh_until) else {
            return FreshnessState::Fresh;
        };
        if stale_for < self.stale_while_revalidate {
            FreshnessState::StaleWhileRevalidate
        } else if stale_for < self.stale_if_error {
            FreshnessState::StaleIfError
        } else {
            FreshnessState::Expired
        }
    }

    /// Whether the response is served if the store fails.
    #[must_use]
    pub fn usable_if_error(&self, now: SystemTime) -> bool {
        now.duration_since(self.fresh_until).map_or(true, |stale| stale < self.stale_if_error)
    }

    /// Seconds that it is still fresh, rounded up; below zero the seconds since it became stale.
    #[must_use]
    pub fn ttl(&self, now: SystemTime) -> i64 {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match self.fresh_until.duration_since(now) {
            Ok(left) => seconds(left.saturating_add(Duration::from_nanos(999_999_999))),
            Err(error) => -seconds(error.duration()),
        }
    }

    /// The value of `Age`, seconds.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> u64 {
        now.duration_since(self.generated_at).map_or(0, |age| age.as_secs())
    }
}

/// How long an object is remembered as one that is not cached.
#[must_use]
pub fn hit_for_pass_lifetime(rule: &Rule) -> Duration {
    rule.ttl.max(MIN_HIT_FOR_PASS)
}

/// The time after this span. Spans beyond a century count as a century.
fn later(now: SystemTime, span: Duration) -> SystemTime {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now.checked_add(span.min(CENTURY)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::protocol::headers_of;

    fn rule() -> Rule {
        Rule {
            store: true,
            ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(60),
            stale_while_revalidate: Duration::from_secs(100),
            stale_if_error: Duration::from_secs(1000),
            max_object: 1 << 24,
            client_no_cache: false,
        }
    }

    /// 1994-11-06 08:49:37.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    #[test]
    fn an_object_says_how_long_it_is_fresh_or_the_rule_does() {
        // Headers, then: seconds of freshness, of stale-while-revalidate, of stale-if-error, age.
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<(i64, u64, u64, u64)>);
        let cases: &[Case<'_>] = &[
            (&[], Some((300, 100, 1000, 0))),
            (&[("age", "50")], Some((300, 100, 1000, 50))),
            (&[("cache-control", "max-age=60")], Some((60, 100, 1000, 0))),
            (&[("cache-control", "max-age=60"), ("age", "50")], Some((10, 100, 1000, 50))),
            (&[("cache-control", "max-age=60"), ("age", "70")], Some((0, 100, 1000, 70))),
            (&[("cache-control", "max-age=60, s-maxage=20")], Some((20, 0, 0, 0))),
            (&[("cache-control", "max-age=60, must-revalidate")], Some((60, 0, 0, 0))),
            (&[("cache-control", "stale-while-revalidate=7")], Some((300, 7, 1000, 0))),
            (&[("cache-control", "stale-if-error=7")], Some((300, 100, 7, 0))),
            (&[("cache-control", "no-cache")], Some((0, 0, 0, 0))),
            (&[("cache-control", "no-cache, max-age=9, stale-if-error=7")], Some((0, 0, 0, 0))),
            (&[("cache-control", "public")], Some((300, 100, 1000, 0))),
            (&[("cache-control", "no-store")], None),
            (&[("cache-control", "max-age=9"), ("cache-control", "private")], None),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some((60, 100, 1000, 0))),
            (
                &[
                    ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                    ("date", "Sun, 06 Nov 1994 08:50:07 GMT"),
                ],
                Some((30, 100, 1000, 0)),
            ),
            (&[("expires", "0")], Some((0, 100, 1000, 0))),
            (&[("expires", "Sun, 06 Nov 1994 08:00:00 GMT")], Some((0, 100, 1000, 0))),
            (
                &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("cache-control", "max-age=5")],
                Some((5, 100, 1000, 0)),
            ),
            (&[("cache-control", "max-age=99999999999999")], Some((2_147_483_647, 100, 1000, 0))),
        ];
        for (headers, expected) in cases {
            let freshness = Freshness::of_object(&headers_of(headers), &rule(), now());
            let seen = freshness.map(|f| {
                let [swr, sie] = [f.stale_while_revalidate, f.stale_if_error].map(|d| d.as_secs());
                (f.ttl(now()), swr, sie, f.age(now()))
            });
            assert_eq!(seen, *expected, "{headers:?}");
        }
    }

    #[test]
    fn a_response_is_fresh_then_stale_while_revalidate_then_stale_if_error_then_expired() {
        let freshness = Freshness::of_object(&HeaderMap::new(), &rule(), now());
        let freshness = freshness.expect("an object without headers is stored");
        for (after, state, ttl) in [
            (0, FreshnessState::Fresh, 300),
            (299, FreshnessState::Fresh, 1),
            (300, FreshnessState::StaleWhileRevalidate, 0),
            (399, FreshnessState::StaleWhileRevalidate, -99),
            (400, FreshnessState::StaleIfError, -100),
            (1299, FreshnessState::StaleIfError, -999),
            (1300, FreshnessState::Expired, -1000),
        ] {
            let later = now() + Duration::from_secs(after);
            assert_eq!(freshness.at(later), state, "after {after} s");
            assert_eq!(freshness.ttl(later), ttl, "after {after} s");
            assert_eq!(
                freshness.usable_if_error(later),
                state != FreshnessState::Expired,
                "after {after} s"
            );
        }
    }

    #[test]
    fn an_entry_that_is_never_served_stale_expires_with_its_freshness() {
        let freshness = Freshness::for_a_while(now(), Duration::from_secs(60));
        assert_eq!(freshness.at(now() + Duration::from_secs(59)), FreshnessState::Fresh);
        assert_eq!(freshness.at(now() + Duration::from_secs(60)), FreshnessState::Expired);
        assert_eq!(freshness.age(now() - Duration::from_secs(5)), 0, "the clock went back");
    }
}
