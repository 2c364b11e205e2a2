//! `Server-Timing` (<https://www.w3.org/TR/server-timing/>): the time up to the head of the response,
//! in total and of the store, shown by the developer tools of browsers.

use std::time::Duration;

use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use http::{HeaderName, HeaderValue, Method};

use crate::protocol::cache_status::CacheResult;
use crate::protocol::cache_status::CacheStatus;

pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Lets pages of another origin read the timing (<https://www.w3.org/TR/resource-timing/>).
pub const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");

/// The header value, such as `cache;desc="miss", store;dur=12.3, total;dur=12.9`, in milliseconds.
///
/// `cache` is the outcome of the cache for an object, `store` the time from the first attempt to the
/// head of the store's response, `total` the time from the head of the request to that of the
/// response.
#[must_use]
pub fn value(cache: Option<CacheStatus>, store: Option<Duration>, total: Duration) -> String {
    let cache = cache.map(|cache| format!("cache;desc=\"{}\", ", CacheResult::from(cache).label()));
    let store = store.map(|store| format!("store;dur={}, ", milliseconds(store)));
    let [cache, store] = [cache, store].map(Option::unwrap_or_default);
    format!("{cache}{store}total;dur={}", milliseconds(total))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// The value of `Timing-Allow-Origin`: the origin that may read the response itself.
#[must_use]
pub fn allowed_origin(method: &Method, cors: &[(HeaderName, HeaderValue)]) -> Option<HeaderValue> {
    let allowed = cors.iter().find(|(name, _)| *name == ACCESS_CONTROL_ALLOW_ORIGIN);
    allowed.filter(|_| *method != Method::OPTIONS).map(|(_, origin)| origin.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::cache_status::{ForwardReason, Stale};

    #[test]
    fn the_value_lists_the_known_times() {
        let hit = CacheStatus::Hit { ttl: 9, stale: None, shared: false };
        let stale =
            CacheStatus::Hit { ttl: -9, stale: Some(Stale::WhileRevalidate), shared: false };
        let micros = Duration::from_micros;
        for (cache, store, total, text) in [
            (None, None, 40, "total;dur=0.0"),
            (Some(hit), None, 1_040, "cache;desc=\"hit\", total;dur=1.0"),
            (Some(stale), None, 90, "cache;desc=\"stale\", total;dur=0.1"),
            (
                Some(CacheStatus::passed(ForwardReason::Miss)),
                Some(12_345),
                12_900,
                "cache;desc=\"miss\", store;dur=12.3, total;dur=12.9",
            ),
            (
                Some(CacheStatus::Bypass),
                Some(1),
                2,
                "cache;desc=\"pass\", store;dur=0.0, total;dur=0.0",
            ),
        ] {
            assert_eq!(value(cache, store.map(micros), micros(total)), text);
        }
    }

    #[test]
    fn an_origin_that_may_read_the_response_may_read_its_timing() {
        let origin = HeaderValue::from_static("https://portal.example.org");
        let cors = [(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())];
        assert_eq!(allowed_origin(&Method::GET, &cors), Some(origin));
        assert_eq!(allowed_origin(&Method::OPTIONS, &cors), None);
        assert_eq!(allowed_origin(&Method::GET, &[]), None);
    }
}
