//! The JSON of `GET /status`: numbers of now, rates of the last minute, and the samples of the last minutes.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::admin::status::ring::{
    Gauges, INTERVAL, Ring, SAMPLES, Sample, Totals, is_failure, rate,
};
use crate::cache::Tier;
use crate::gateway::pages::VERSION;
use crate::protocol::timestamp::rfc3339;
use crate::reload::Reloads;

/// The state of the gateway now.
pub(super) struct Facts<'a> {
    pub(super) now: SystemTime,
    /// Since the start of the process.
    pub(super) uptime: Duration,
    pub(super) draining: bool,
    /// The causes that `totals` counts, in their order.
    pub(super) causes: &'a [&'a str],
    pub(super) totals: Totals,
    pub(super) gauges: Gauges,
    pub(super) max_connections: usize,
    /// `None` without a cache.
    pub(super) tiers: Option<Vec<Tier>>,
    /// `None` without a disk tier.
    pub(super) disk_is_up: Option<bool>,
    /// `None` without a tier that replicas share.
    pub(super) shared_is_up: Option<bool>,
    pub(super) profiles: Vec<Value>,
    pub(super) reloads: &'a Reloads,
}

/// The document. Rates and quantiles are those of the last minute; `null` where nothing happened.
pub(super) fn document(facts: &Facts<'_>, ring: &Ring) -> Value {
    let window = ring.window();
    let (passed, seconds) = (&window.passed, window.seconds);
    let per_second = |count| rounded(rate(count, seconds));
    let Gauges { requests_in_flight, store_requests_in_flight, connections, .. } = facts.gauges;
    json!({
        "version": VERSION,
        "now": rfc3339(facts.now),
        "state": if facts.draining { "ending" } else { "ready" },
        "uptime_seconds": facts.uptime.as_secs(),
        "window_seconds": seconds.round(),
        "requests": {
            "per_second": per_second(passed.requests),
            "bytes_per_second": rate(passed.sent, seconds).round(),
            "hit_rate": passed.hit_rate().map(rounded),
            "p50_milliseconds": passed.ttfb_milliseconds(0.5).map(rounded),
            "p99_milliseconds": passed.ttfb_milliseconds(0.99).map(rounded),
            "failures_per_second": per_second(passed.failures(|index| is_failure_at(facts, index))),
            "in_flight": requests_in_flight,
            "total": facts.totals.requests,
        },
        "errors": errors(facts, passed),
        "stores": {
            "requests_per_second": per_second(passed.asked),
            "in_flight": store_requests_in_flight,
        },
        "connections": { "open": connections, "limit": facts.max_connections },
        "cache": facts.tiers.as_ref().map(|tiers| cache(tiers, facts)),
        "profiles": facts.profiles,
        "reloads": reloads(facts.reloads),
        "history": history(facts, ring),
    })
}

fn is_failure_at(facts: &Facts<'_>, index: usize) -> bool {
    facts.causes.get(index).is_some_and(|cause| is_failure(cause))
}

/// The causes that were counted since the start: those of the last minute first.
fn errors(facts: &Facts<'_>, passed: &Totals) -> Vec<Value> {
    let counts = facts.causes.iter().zip(&facts.totals.causes).enumerate();
    let mut rows: Vec<(u64, u64, &str)> = counts
        .filter(|(_, (_, total))| **total > 0)
        .map(|(index, (cause, total))| {
            let recent = passed.causes.get(index).copied().unwrap_or_default();
            (recent, *total, *cause)
        })
        .collect();
    rows.sort_by(|a, b| b.cmp(a));
    let row = |(recent, total, cause): (u64, u64, &str)| {
        json!({
            "cause": cause,
            "failure": is_failure(cause),
            "last_minute": recent,
            "total": total,
        })
    };
    rows.into_iter().map(row).collect()
}

fn cache(tiers: &[Tier], facts: &Facts<'_>) -> Value {
    let tiers = tiers.iter().map(|tier| {
        json!({
            "tier": tier.name,
            "bytes": tier.bytes,
            "limit": tier.limit,
            "entries": tier.entries,
        })
    });
    json!({
        "tiers": tiers.collect::<Vec<_>>(),
        "disk_up": facts.disk_is_up,
        "shared_up": facts.shared_is_up,
    })
}

fn reloads(reloads: &Reloads) -> Value {
    let time =
        |seconds: u64| (seconds > 0).then(|| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)));
    json!({
        "succeeded": reloads.succeeded.load(Ordering::Relaxed),
        "failed": reloads.failed.load(Ordering::Relaxed),
        "last_success": time(reloads.last_success.load(Ordering::Relaxed)),
        "last_failure": time(reloads.last_failure.load(Ordering::Relaxed)),
        "failing": reloads.is_failing(),
    })
}

/// The samples as one list for each chart, the oldest first.
fn history(facts: &Facts<'_>, ring: &Ring) -> Value {
    let list = |of: &dyn Fn(&Sample) -> Option<f64>| -> Vec<Value> {
        ring.samples().map(|sample| of(sample).map(rounded).into()).collect()
    };
    let per_second = |sample: &Sample, count| Some(rate(count, sample.seconds));
    let gauge = |of: &dyn Fn(&Gauges) -> u64| -> Vec<u64> {
        ring.samples().map(|sample| of(&sample.gauges)).collect()
    };
    json!({
        "interval_seconds": INTERVAL.as_secs(),
        "limit": SAMPLES,
        "requests_per_second": list(&|it| per_second(it, it.passed.requests)),
        "failures_per_second": list(&|it| {
            per_second(it, it.passed.failures(|index| is_failure_at(facts, index)))
        }),
        "hit_rate": list(&|it| it.passed.hit_rate()),
        "p50_milliseconds": list(&|it| it.passed.ttfb_milliseconds(0.5)),
        "p99_milliseconds": list(&|it| it.passed.ttfb_milliseconds(0.99)),
        "bytes_per_second": list(&|it| per_second(it, it.passed.sent).map(f64::round)),
        "store_requests_in_flight": gauge(&|it| it.store_requests_in_flight as u64),
        "connections": gauge(&|it| it.connections as u64),
        "memory_bytes": gauge(&|it| it.memory_bytes),
        "disk_bytes": gauge(&|it| it.disk_bytes),
    })
}

/// Three digits after the point.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_rates_of_the_last_minute_and_every_sample() {
        let mut ring = Ring::default();
        let totals = |requests: u64, causes: [u64; 3]| Totals {
            requests,
            objects: requests,
            hits: requests / 2,
            causes: causes.to_vec(),
            ..Totals::default()
        };
        ring.add(Duration::ZERO, totals(0, [0; 3]), Gauges::default());
        ring.add(Duration::from_secs(2), totals(10, [0, 1, 0]), Gauges::default());
        let now = totals(30, [7, 5, 0]);
        ring.add(Duration::from_secs(4), now.clone(), Gauges::default());
        let reloads = Reloads::default();
        let facts = Facts {
            now: UNIX_EPOCH,
            uptime: Duration::from_secs(5),
            draining: false,
            causes: &["object_not_found", "upstream_timeout", "internal"],
            totals: now,
            gauges: Gauges { connections: 3, ..Gauges::default() },
            max_connections: 10,
            tiers: None,
            disk_is_up: None,
            shared_is_up: None,
            profiles: Vec::new(),
            reloads: &reloads,
        };
        let document = document(&facts, &ring);
        assert_eq!(document["requests"]["per_second"], 7.5, "{document}");
        assert_eq!(document["requests"]["failures_per_second"], 1.25, "{document}");
        assert_eq!(document["requests"]["hit_rate"], 0.5);
        assert_eq!(document["requests"]["p99_milliseconds"], Value::Null);
        assert_eq!(document["connections"], json!({ "open": 3, "limit": 10 }));
        assert_eq!(document["cache"], Value::Null);
        let causes = json!([
            { "cause": "object_not_found", "failure": false, "last_minute": 7, "total": 7 },
            { "cause": "upstream_timeout", "failure": true, "last_minute": 5, "total": 5 },
        ]);
        assert_eq!(document["errors"], causes);
        assert_eq!(document["history"]["requests_per_second"], json!([5.0, 10.0]));
        assert_eq!(document["history"]["failures_per_second"], json!([0.5, 2.0]));
    }
}
