//! The status page of the admin listener, and `GET /status`.

use std::time::Instant;

use serde_json::Value;

use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::{self, Answer, PATIENCE};
use crate::faulty::{self, Faulty};
use crate::gateway::Setup;
use crate::scene::Scene;

/// Waits for a status for which this holds.
fn await_status(admin: Admin, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = admin.send("GET", "/status");
        assert_eq!(answer.status(), 200, "{answer:?}");
        let status = answer.json();
        if fits(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: {status:#}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn number(status: &Value, path: &str) -> f64 {
    let found = status.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number {path} in {status:#}"))
}

#[test]
fn the_status_counts_requests_hits_and_failures_by_cause() {
    let scene = Scene::start(faulty::object(b"tile"));
    let (setup, admin) = Admin::of(with_cache(&scene.url()));
    let gateway = setup.start();
    // A sample is the difference of two: the first of them is taken at the start.
    await_status(admin, "the first sample", |status| number(status, "/window_seconds") > 0.0);
    for _ in 0..4 {
        assert_eq!(gateway.object("sky/a.png").status(), 200);
    }
    scene.now(faulty::s3_error(403, "InvalidAccessKeyId"));
    let refused = gateway.object("sky/other.png");
    assert_eq!(refused.status(), 403, "{refused:?}");
    gateway.line_of(&refused);
    let status = await_status(admin, "rates", |status| {
        status.pointer("/requests/hit_rate").is_some_and(Value::is_number)
            && number(status, "/requests/failures_per_second") > 0.0
    });
    assert_eq!(number(&status, "/requests/total"), 5.0 + 1.0, "and one of the harness: {status:#}");
    assert!((number(&status, "/requests/hit_rate") - 0.6).abs() < 1e-9, "{status:#}");
    assert!(number(&status, "/requests/per_second") > 0.0, "{status:#}");
    let (p50, p99) = (
        number(&status, "/requests/p50_milliseconds"),
        number(&status, "/requests/p99_milliseconds"),
    );
    assert!(p50 > 0.0 && p50 <= p99, "{status:#}");
    let error = &status["errors"][0];
    assert_eq!((&error["cause"], &error["total"]), (&"upstream_forbidden".into(), &1.into()));
    assert_eq!((&error["failure"], &error["last_minute"]), (&true.into(), &1.into()));
    let profile = &status["profiles"][0];
    assert_eq!(profile["key_id"], "...MPLE", "{status:#}");
    assert_eq!(profile["last_error"]["code"], "InvalidAccessKeyId");
    assert!(profile["last_success"].is_string() && profile["in_flight_limit"].is_u64());
    assert_eq!(status["cache"]["tiers"][0]["entries"], 1, "{status:#}");
    assert_eq!(number(&status, "/connections/open"), 0.0);
    assert_eq!(status["reloads"]["failing"], false);
    let points = status["history"]["requests_per_second"].as_array().map_or(0, Vec::len);
    assert!(points > 0, "{status:#}");
    assert!(!status.to_string().contains("canary"));
}

#[test]
fn the_status_page_is_html_for_browsers_and_runs_nothing_but_its_own_script() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(Setup::new(&spy.url()));
    let _gateway = setup.start();
    admin.await_listening();
    let browser = |path: &str, site: &str| -> Answer {
        let headers = [("Accept", "text/html,*/*;q=0.8"), ("Sec-Fetch-Site", site)];
        client::send(admin.address, "GET", path, &headers)
    };
    let page = browser("/", "none");
    assert_eq!(page.status(), 200, "{page:?}");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().starts_with("<!doctype html>"), "{}", page.text());
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    for (path, content_type) in [
        ("/status.css", "text/css; charset=utf-8"),
        ("/status.js", "text/javascript; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
        ("/status", "application/json"),
    ] {
        assert!(page.text().contains(path.trim_start_matches('/')), "{path} is named in the page");
        let answer = browser(path, "same-origin");
        assert_eq!(answer.status(), 200, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert!(!answer.body.is_empty(), "{path}");
        assert_eq!(browser(path, "cross-site").status(), 403, "{path}");
    }
    assert_eq!(browser("/", "cross-site").status(), 403);
    let head = client::send(admin.address, "HEAD", "/", &[("Accept", "text/html")]);
    assert_eq!((head.status(), head.body.len()), (200, 0));
    // Everybody else gets the routes as JSON.
    let index = admin.send("GET", "/").json();
    let routes = index["routes"].as_array().expect("a list of routes");
    for route in routes.iter().filter(|route| route["method"] == "GET") {
        let path = route["path"].as_str().expect("a path");
        if !path.contains("PROFILE") {
            let status = admin.send("GET", path).status();
            // The cache of this gateway is off.
            assert_eq!(status, if path == "/cache" { 409 } else { 200 }, "{path}");
        }
    }
}

#[test]
fn the_start_lists_addresses_profiles_and_sizes() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()).profile("hips", &spy.url()));
    let gateway = setup.start();
    for part in [
        format!("admin listener on http://{}/", admin.address),
        format!("profile hips: {}, access key ...MPLE", spy.url()),
        "cache: at most 67108864 bytes in memory, nothing on disk".to_owned(),
        format!("listening on http://{}/s3proxy/", gateway.address),
    ] {
        let told = gateway.log_text();
        assert!(told.contains(&part), "{part} in {told}");
    }
}
