//! `/metrics`: the counters, as a program reads them.

use std::collections::BTreeSet;

use crate::cached::with_cache;
use crate::client::Client;
use crate::credentials::with_issued;
use crate::crowd::{Watched, await_that, numbered};
use crate::endpoints::with_two;
use crate::faulty::{self, Faulty, Gate, Recorded, Step};
use crate::gateway::{ACCESS_KEY, SECRET_KEY};
use crate::origin::Origin;
pub(crate) use crate::scrape::{Numbers, parse};

/// `S3_ENDPOINT_URL` beside `[default]` made two profiles of one label, and every series twice.
#[test]
fn the_default_profile_and_its_section_are_one_profile() {
    let origin = Origin::start();
    origin.put("a.png", "a tile");
    let section = format!(
        "[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}"
    );
    let watched = Watched::start(with_cache(&origin.url()).ini(&section));
    let cache = |answer: &crate::client::Answer| {
        answer.header("cache-status").unwrap_or_default().to_owned()
    };
    assert_eq!(watched.gateway.object("sky/a.png").status(), 200);
    let again = watched.gateway.object("default@sky/a.png");
    assert!(cache(&again).contains("; hit"), "one cache entry: {}", cache(&again));
    let series = |text: &str| text.matches("s3proxy_upstream_in_flight{").count();
    assert_eq!(series(&watched.scrape()), 1);
    parse(&watched.scrape());
}

/// With 500 profiles the page had 4.8 MB, most of it empty histograms.
#[test]
fn a_profile_that_was_never_requested_has_no_histograms() {
    let origin = Origin::start();
    origin.put("a.png", "a tile");
    let watched = Watched::start(with_cache(&origin.url()).profile("hips", &origin.url()));
    let histograms = |profile: &str| {
        let numbers = parse(&watched.scrape());
        let label = format!("profile=\"{profile}\"");
        let names = numbers.keys().filter(|name| name.contains(&label));
        names.filter(|name| name.contains("_seconds_count")).count()
    };
    assert_eq!((histograms("default"), histograms("hips")), (0, 0));
    assert_eq!(watched.gateway.object("sky/a.png").status(), 200);
    // Hits and others, of duration and time to the first byte; requests to the store.
    await_that("the request is counted", || histograms("default") == 5);
    assert_eq!(histograms("hips"), 0);
    assert_eq!(watched.gateway.object("hips@sky/a.png").status(), 200);
    await_that("the request is counted", || histograms("hips") == 5);
}

/// The request counters of a scrape, by all their labels.
fn requests(numbers: &Numbers) -> Vec<String> {
    let of = numbers.iter().filter(|(name, _)| name.starts_with("s3proxy_requests_total"));
    of.filter(|(_, number)| **number > 0.0)
        .map(|(name, number)| {
            let value = |label: &str| {
                let (_, rest) = name.split_once(&format!("{label}=\"")).expect("the label");
                rest.split('"').next().unwrap_or_default().to_owned()
            };
            let labels = ["route", "profile", "status", "cache"].map(value).join(" ");
            format!("{labels}: {number}")
        })
        .collect()
}

#[test]
fn requests_are_counted_by_route_profile_status_and_cache_result() {
    let origin = Origin::start();
    origin.put("a.png", "a tile");
    origin.put("big.fits", numbered(300_000));
    let folder = tempfile::tempdir().expect("a folder");
    let setup = with_cache(&origin.url())
        .profile("hips", &origin.url())
        .env("S3PROXY_CACHE_DISK_PATH", folder.path().to_str().expect("UTF-8"))
        .env("S3PROXY_CACHE_MAX_OBJECT", "100000")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .tolerate("\"status\":400")
        .tolerate("\"status\": 400");
    let watched = Watched::start(setup);
    let gateway = &watched.gateway;
    let get = |tail: &str| gateway.object(tail).status();
    assert_eq!((get("sky/a.png"), get("sky/a.png"), get("sky/a.png")), (200, 200, 200));
    assert_eq!(
        (get("hips@sky/a.png"), get("hips@sky/none.png"), get("hips@sky/none.png")),
        (200, 404, 404)
    );
    let part = |range| gateway.object_with("sky/big.fits", &[("Range", range)]).status();
    assert_eq!((part("bytes=0-9"), part("bytes=5-99999"), part("bytes=0-9")), (206, 206, 206));
    assert_eq!((get("sky/a.exe"), get("nobody@sky/a.png")), (415, 404));
    for (page, status) in [("/", 200), ("/s3proxy/", 200), ("/s3proxy/docs", 200), ("/none", 404)] {
        assert_eq!(gateway.get(page).status(), status, "{page}");
    }
    let mut rude = gateway.connect();
    rude.send("GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n");
    assert_eq!(rude.answer("GET").expect("an answer").status(), 400);
    let expected = [
        "docs  200 : 1",
        "metadata  200 : 1",
        "object  404 : 1",
        "object  415 : 1",
        "object default 200 hit: 2",
        "object default 200 miss: 1",
        "object default 206 hit: 1",
        "object default 206 miss: 1",
        "object default 206 partial: 1",
        "object hips 200 miss: 1",
        "object hips 404 hit: 1",
        "object hips 404 miss: 1",
        "other  400 : 1",
        "other  404 : 1",
    ];
    let seen = |numbers: &Numbers| {
        let mut seen = requests(numbers);
        // The gateway also received a request when it started.
        seen.retain(|line| !line.starts_with("index"));
        seen.sort();
        seen
    };
    // A request is counted when it ends, which may be a moment after its answer.
    await_that("all have ended", || seen(&parse(&watched.scrape())).len() >= expected.len());
    let scraped = watched.scrape();
    let numbers = parse(&scraped);
    assert_eq!(seen(&numbers), expected);
    let number =
        |name: &str| *numbers.get(name).unwrap_or_else(|| panic!("no {name} in {scraped}"));
    for (name, value) in [
        ("s3proxy_request_duration_seconds_count{cache=\"hit\",profile=\"default\"}", 3.0),
        ("s3proxy_request_ttfb_seconds_count{cache=\"forward\",profile=\"default\"}", 3.0),
        ("s3proxy_response_bytes_total{profile=\"default\"}", 18.0 + 20.0 + 99_995.0),
        ("s3proxy_upstream_requests_total{profile=\"default\",status=\"200\"}", 1.0),
        ("s3proxy_upstream_requests_total{profile=\"default\",status=\"206\"}", 2.0),
        ("s3proxy_upstream_requests_total{profile=\"hips\",status=\"404\"}", 1.0),
        ("s3proxy_upstream_duration_seconds_count{profile=\"hips\"}", 2.0),
        ("s3proxy_upstream_bytes_total{profile=\"default\"}", 6.0 + 2.0 * 65536.0),
        ("s3proxy_upstream_retries_total{profile=\"default\"}", 0.0),
        ("s3proxy_upstream_in_flight{profile=\"default\"}", 0.0),
        ("s3proxy_upstream_in_flight_limit{profile=\"hips\"}", 256.0),
        ("s3proxy_refusals_total{cause=\"media_type_denied\"}", 1.0),
        ("s3proxy_refusals_total{cause=\"object_not_found\"}", 2.0),
        ("s3proxy_refusals_total{cause=\"profile_unknown\"}", 1.0),
        ("s3proxy_refusals_total{cause=\"request_malformed\"}", 1.0),
        ("s3proxy_cache_hits_total{tier=\"memory\"}", 5.0),
        ("s3proxy_cache_disk_up", 1.0),
        ("s3proxy_cache_disk_errors_total", 0.0),
        ("s3proxy_reloads_total{result=\"success\"}", 0.0),
        ("s3proxy_reload_ok", 1.0),
        ("s3proxy_draining", 0.0),
    ] {
        assert_eq!(number(name), value, "{name} in {scraped}");
    }
    let limits = ["memory", "blocks"]
        .map(|tier| number(&format!("s3proxy_cache_limit_bytes{{tier=\"{tier}\"}}")));
    assert_eq!(limits.iter().sum::<f64>(), f64::from(64 << 20));
    assert!(number("s3proxy_cache_entries{tier=\"blocks\"}") >= 2.0);
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_threads"] {
        assert!(number(name) > 1.0, "{name}");
    }
}

/// No text of clients' requests or of stores' objects becomes a label.
#[test]
fn labels_are_bounded_and_hold_no_client_data() {
    let origin = Origin::start();
    origin.put("folder7/a.png", "a tile");
    let watched = Watched::start(with_cache(&origin.url()));
    let gateway = &watched.gateway;
    assert_eq!(gateway.object("sky/folder7/a.png").status(), 200);
    let before = parse(&watched.scrape());
    for nth in 0..50 {
        let tail = format!("sky/folder7/none{nth}.png");
        let user = format!("user{nth}");
        let headers = [("X-Auth-Request-User", user.as_str()), ("User-Agent", &user)];
        assert_eq!(gateway.object_with(&tail, &headers).status(), 404);
        assert_eq!(gateway.object(&format!("nobody{nth}@sky/a.png")).status(), 404);
        assert_eq!(gateway.get(&format!("/page{nth}")).status(), 404);
    }
    let scraped = watched.scrape();
    let after = parse(&scraped);
    let fresh: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    // New series: 404 on some routes that had none before.
    assert!(fresh.len() <= 8, "{fresh:?}");
    for text in ["user1", "none1", "nobody", "page1", "folder7", "sky/", SECRET_KEY, ACCESS_KEY] {
        assert!(!scraped.contains(text), "{text} in {scraped}");
    }
    let known =
        ["route", "profile", "status", "cache", "cause", "tier", "result", "state", "version"];
    for name in after.keys() {
        let labels = name.split_once('{').map_or("", |(_, labels)| labels);
        for label in labels.split("\",").filter_map(|label| label.split('=').next()) {
            assert!(label.is_empty() || known.contains(&label), "{name}");
        }
    }
}

#[test]
fn store_failures_are_counted_by_cause_and_requests_in_flight_are_reported() {
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |request: &Recorded, _| {
        let has = |word: &str| request.target.contains(word);
        match () {
            () if has("busy") => faulty::s3_error(503, "SlowDown"),
            () if has("denied") => faulty::s3_error(403, "AccessDenied"),
            () if has("reset") => vec![Step::Reset],
            () => [vec![Step::Wait(held.clone())], faulty::object(b"a tile")].concat(),
        }
    });
    let setup = crate::gateway::Setup::new(&store.url()).tolerate("\"cause\":\"upstream_");
    let watched = Watched::start(setup);
    for (tile, status) in [("busy.png", 503), ("denied.png", 403), ("reset.png", 502)] {
        assert_eq!(watched.gateway.object(&format!("sky/{tile}")).status(), status);
    }
    let mut waiting: Client = watched.gateway.connect();
    waiting.request("GET", "/s3proxy/s3/sky/slow.png", &[]);
    let in_flight = "s3proxy_upstream_in_flight{profile=\"default\"}";
    await_that("one is in flight", || watched.metric(in_flight) == 1);
    assert_eq!(watched.metric("s3proxy_requests_in_flight"), 1);
    gate.open();
    assert_eq!(waiting.answer("GET").expect("an answer").status(), 200);
    await_that("none is in flight", || watched.metric(in_flight) == 0);
    let numbers = parse(&watched.scrape());
    for (cause, status) in
        [("upstream_busy", "503"), ("upstream_forbidden", "403"), ("upstream_reset", "none")]
    {
        let error =
            format!("s3proxy_upstream_errors_total{{cause=\"{cause}\",profile=\"default\"}}");
        assert_eq!(numbers.get(&error), Some(&1.0), "{numbers:#?}");
        let asked =
            format!("s3proxy_upstream_requests_total{{profile=\"default\",status=\"{status}\"}}");
        assert_eq!(numbers.get(&asked), Some(&1.0), "{numbers:#?}");
    }
    // `busy` and `reset` had their retry. Where the reset met a connection that was in use before, which is not sure to be
    // back in the pool in time, that was replaced besides. The store has seen each of them.
    let (asked, clients) = (store.count(), 4);
    assert!([clients + 2, clients + 3].contains(&asked), "{asked}");
    let retries = numbers["s3proxy_upstream_retries_total{profile=\"default\"}"];
    assert_eq!(retries.to_string(), (asked - clients).to_string());
}

/// The same with a shared tier that nothing serves.
pub(crate) fn with_silent_engine(setup: crate::gateway::Setup) -> crate::gateway::Setup {
    setup.env("S3PROXY_CACHE_SHARED_URL", "redis://127.0.0.1:1").tolerate("shared cache: not used")
}

/// The documented metrics are those of a scrape.
#[test]
fn the_documented_metrics_are_those_of_a_scrape() {
    let origin = Origin::start();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().to_str().expect("UTF-8");
    origin.put("a.png", "a tile");
    let setup = with_cache(&origin.url()).env("S3PROXY_CACHE_DISK_PATH", disk);
    let setup = with_two(with_issued(setup, &origin.url()), &origin.url());
    let edge = crate::tls_port::Edge::new();
    let setup = edge.with_client_certificate(setup, "issued");
    let setup = with_silent_engine(edge.setup_behind(setup));
    let setup = setup.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let watched = Watched::start(setup.env("OTEL_TRACES_SAMPLER_ARG", "0"));
    // A profile has histograms from its first request on.
    assert_eq!(watched.gateway.object("sky/a.png").status(), 200);
    let is_counted = || watched.scrape().contains("s3proxy_request_ttfb_seconds_count");
    await_that("the request is counted", is_counted);
    let scraped = watched.scrape();
    let exposed: BTreeSet<&str> = scraped
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `s3proxy_") || line.starts_with("| `process_"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','));
    let documented: BTreeSet<&str> = names
        .map(|name| name.trim().trim_matches('`'))
        .map(|name| name.strip_suffix("_total").or(name.strip_suffix("_info")).unwrap_or(name))
        .collect();
    // These do not exist before the first reload.
    let later = [
        "s3proxy_reload_last_success_timestamp_seconds",
        "s3proxy_reload_last_failure_timestamp_seconds",
    ];
    let missing: Vec<_> =
        documented.difference(&exposed).filter(|name| !later.contains(name)).collect();
    let undocumented: Vec<_> = exposed.difference(&documented).collect();
    assert!(
        missing.is_empty() && undocumented.is_empty(),
        "not there: {missing:?}; not documented: {undocumented:?}"
    );
}
