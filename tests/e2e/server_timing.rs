//! `Server-Timing`: off by default; when on, in every answer, with the time of the store if it was
//! asked, and readable by the pages that CORS allows to read the answer.

use std::time::Instant;

use serde_json::json;

use crate::cached::with_cache;
use crate::client::{Answer, PATIENCE};
use crate::gateway::Setup;
use crate::origin::Origin;

const PORTAL: &str = "https://portal.example.org";

/// The metrics by name, each with its parameter: one header, in the syntax of the W3C.
fn metrics(answer: &Answer) -> Vec<(String, String)> {
    let values = answer.head.all("server-timing");
    assert_eq!(values.len(), 1, "{answer:?}");
    let metric = |text: &str| {
        let (name, parameter) = text.trim().split_once(';').expect("a parameter");
        (name.to_owned(), parameter.to_owned())
    };
    values.iter().flat_map(|value| value.split(',')).map(metric).collect()
}

fn cache(metrics: &[(String, String)]) -> Option<&str> {
    let of_cache = metrics.iter().find(|(name, _)| name == "cache");
    of_cache?.1.strip_prefix("desc=\"")?.strip_suffix('"')
}

/// Milliseconds of a metric.
fn duration(metrics: &[(String, String)], name: &str) -> Option<f64> {
    let metric = metrics.iter().find(|(found, _)| found == name);
    metric?.1.strip_prefix("dur=")?.parse().ok()
}

#[test]
fn server_timing_is_off_by_default() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = Setup::new(&origin.url()).yaml(json!({"cors": {"origins": [PORTAL]}})).start();
    let answer = gateway.object_with("sky/a.png", &[("Origin", PORTAL)]);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("server-timing"), None);
    assert_eq!(answer.header("timing-allow-origin"), None);
}

#[test]
fn every_answer_has_its_times() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = with_cache(&origin.url())
        .env("S3PROXY_SERVER_TIMING", "true")
        .yaml(json!({"cors": {"origins": [PORTAL]}}))
        .start();
    for (path, status, did, by_store) in [
        ("/s3proxy/s3/sky/a.png", 200, Some("miss"), true),
        ("/s3proxy/s3/sky/a.png", 200, Some("hit"), false),
        ("/s3proxy/s3/sky/missing.png", 404, Some("miss"), true),
        ("/s3proxy/s3/sky/missing.png", 404, Some("hit"), false),
        ("/s3proxy/s3/sky/a.exe", 415, None, false),
        ("/s3proxy/", 200, None, false),
        ("/none", 404, None, false),
    ] {
        let mut answer = gateway.send("GET", path, &[("Origin", PORTAL)]);
        let deadline = Instant::now() + PATIENCE;
        // The body of the previous answer may be about to be cached.
        while cache(&metrics(&answer)) == Some("collapsed") && Instant::now() < deadline {
            answer = gateway.send("GET", path, &[("Origin", PORTAL)]);
        }
        assert_eq!(answer.status(), status, "{path}");
        let metrics = metrics(&answer);
        assert_eq!(cache(&metrics), did, "{path}: {metrics:?}");
        let total = duration(&metrics, "total").expect("a total");
        let store = duration(&metrics, "store");
        assert_eq!(store.is_some(), by_store, "{path}: {metrics:?}");
        assert!(store.unwrap_or_default() <= total + 0.1, "{path}: {metrics:?}");
        assert_eq!(answer.header("timing-allow-origin"), Some(PORTAL), "{path}");
    }
    for origin in ["https://other.example.org", ""] {
        let headers = [("Origin", origin)];
        let headers = if origin.is_empty() { &[][..] } else { &headers };
        let answer = gateway.object_with("sky/a.png", headers);
        assert!(answer.header("server-timing").is_some());
        assert_eq!(answer.header("timing-allow-origin"), None, "{origin}");
    }
}

#[test]
fn a_request_past_the_cache_has_the_time_of_its_store() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = Setup::new(&origin.url()).env("S3PROXY_SERVER_TIMING", "true").start();
    for (tail, status) in [("sky/a.png", 200), ("sky/missing.png", 404)] {
        let metrics = metrics(&{
            let answer = gateway.object(tail);
            assert_eq!(answer.status(), status);
            answer
        });
        assert_eq!(cache(&metrics), Some("pass"), "{metrics:?}");
        assert!(duration(&metrics, "store").is_some(), "{metrics:?}");
    }
}
