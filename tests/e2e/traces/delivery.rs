//! How spans reach the collector: what is sent, what is dropped, and that nobody waits for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{CLIENT, PARENT, TRACE, traced, traceparent};
use crate::admin::Admin;
use crate::authority::Authority;
use crate::cached::with_cache;
use crate::client;
use crate::collector::{Collector, Manner};
use crate::crowd::{Watched, await_that};
use crate::faulty::{Faulty, Gate};
use crate::files::{Files, Way, ini, yaml};
use crate::gateway::{Gateway, free_port};
use crate::reload::await_reload;
use crate::tls::front;

#[test]
fn a_collector_behind_tls_is_trusted_as_stores_are() {
    let (authority, collector) = (Authority::new(), Collector::start());
    let store = Faulty::spy();
    let port = front(&authority, "localhost", collector.address);
    let endpoint = format!("https://localhost:{port}/otlp/");
    let certificates = authority.file();
    let setup = traced(with_cache(&store.url()), &endpoint)
        .env("S3PROXY_UPSTREAM_CA_FILE", certificates.to_str().expect("UTF-8"));
    let gateway = setup.start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    collector.await_spans(4);
    assert_eq!(collector.heads()[0].target, "/otlp/v1/traces");
    assert_eq!(collector.heads()[0].header("host"), Some(&*format!("localhost:{port}")));
}

/// The spans by outcome, as the metric counts them.
fn outcome(watched: &Watched, outcome: &str) -> u64 {
    watched.metric(&format!("s3proxy_trace_spans_total{{outcome=\"{outcome}\"}}"))
}

fn hits(gateway: &Gateway, number: usize) {
    let mut client = gateway.connect();
    for _ in 0..number {
        let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]);
        assert_eq!(answer.status(), 200);
    }
}

#[test]
fn a_collector_that_does_not_answer_delays_nobody_and_what_has_no_room_is_counted() {
    let (gate, store) = (Gate::new(), Faulty::spy());
    let held = gate.clone();
    let collector = Collector::with(move |_| Manner::Waits(held.clone()));
    let setup = traced(with_cache(&store.url()), &collector.url());
    let watched = Watched::start(setup.env("OTEL_BSP_MAX_QUEUE_SIZE", "10"));
    hits(&watched.gateway, 1);
    collector.await_requests(1);
    // The collector holds a batch, and goes on holding it.
    hits(&watched.gateway, 50);
    assert_eq!(watched.metric("s3proxy_trace_spans_waiting"), 10);
    // Each hit has two spans.
    let first = collector.spans().len() as u64;
    await_that("all are counted", || outcome(&watched, "queue_full") == 4 + 100 - first - 10);
    assert_eq!(outcome(&watched, "sent"), 0);
    gate.open();
    await_that("the rest is sent", || outcome(&watched, "sent") == first + 10);
    assert_eq!(watched.metric("s3proxy_trace_spans_waiting"), 0);
}

#[test]
fn spans_that_no_collector_takes_are_dropped_and_counted() {
    let store = Faulty::spy();
    let down = format!("http://127.0.0.1:{}", free_port());
    let setup = traced(with_cache(&store.url()), &down).tolerate("takes no spans");
    let watched = Watched::start(setup);
    hits(&watched.gateway, 3);
    await_that("they are dropped", || outcome(&watched, "unreachable") >= 8);
    let complaints = |watched: &Watched| {
        let lines = watched.gateway.lines();
        let lines = lines.iter().filter_map(|line| line.json.as_ref()?["event"].as_str());
        lines.filter(|event| event.contains("takes no spans")).count()
    };
    await_that("it is said", || complaints(&watched) == 1);
    hits(&watched.gateway, 1);
    await_that("they are dropped, too", || outcome(&watched, "unreachable") >= 10);
    assert_eq!(complaints(&watched), 1, "it is said once");
}

#[test]
fn a_refused_batch_is_not_sent_again_and_one_that_is_not_possible_now_is() {
    let (store, manner) = (Faulty::spy(), Arc::new(Mutex::new(Manner::Answers(400))));
    let now = Arc::clone(&manner);
    let collector = Collector::with(move |_| now.lock().expect("no panic").clone());
    let setup = traced(with_cache(&store.url()), &collector.url()).tolerate("takes no spans");
    let watched = Watched::start(setup);
    let spans = || (outcome(&watched, "sent"), outcome(&watched, "refused"));
    hits(&watched.gateway, 1);
    await_that("the spans are refused", || spans() == (0, 4));
    // Not possible now: the same batch is sent until it is taken.
    let so_far = collector.heads().len();
    *manner.lock().expect("no panic") = Manner::Answers(503);
    hits(&watched.gateway, 1);
    collector.await_requests(so_far + 1);
    *manner.lock().expect("no panic") = Manner::Takes;
    await_that("the spans are taken", || spans() == (2, 4));
    watched.gateway.expect_log("the collector is well again", |line| {
        line["event"].as_str().is_some_and(|event| event.ends_with("takes spans again"))
    });
    *manner.lock().expect("no panic") = Manner::Rejects(1);
    hits(&watched.gateway, 2);
    await_that("some are rejected", || {
        let (sent, refused) = spans();
        sent + refused == 10 && refused > 4
    });
    assert_eq!((outcome(&watched, "unreachable"), outcome(&watched, "queue_full")), (0, 0));
}

#[test]
fn a_reload_changes_the_sample_and_the_headers_are_read_each_time() {
    let (collector, store) = (Collector::start(), Faulty::spy());
    let url = store.url();
    let settings = |sample: &str| {
        let tracing = format!(
            "tracing: {{endpoint: '{}', sample: {sample}, headers_file: headers.txt}}\n",
            collector.url()
        );
        yaml(&[("hips", &url)]) + &tracing
    };
    let files = Files::new(Way::Rename, &ini(&["hips"]), &settings("0"));
    let headers = files.path("headers.txt");
    let text = settings("0").replace("headers.txt", headers.to_str().expect("UTF-8"));
    std::fs::write(&headers, "Authorization: Bearer first\n").expect("written");
    files.write(&ini(&["hips"]), &text);
    let gateway = files.setup(with_cache(&url), "0").start();
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    files.write(&ini(&["hips"]), &text.replace("sample: 0", "sample: 1"));
    gateway.signal("HUP");
    await_reload(&gateway, "");
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    let first = collector.await_spans(2);
    assert!(first.iter().all(|span| span.kind != CLIENT), "the first one was not recorded");
    std::fs::write(&headers, "Authorization: Bearer second\nX-Tenant: sky\n").expect("written");
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    collector.await_spans(4);
    let heads = collector.heads();
    assert!(heads.iter().all(|head| head.target == "/v1/traces"), "{heads:?}");
    assert_eq!(heads[0].header("authorization"), Some("Bearer first"));
    let last = heads.last().expect("one");
    assert_eq!(last.header("authorization"), Some("Bearer second"));
    assert_eq!(last.header("x-tenant"), Some("sky"));
    assert!(!gateway.log_text().contains("Bearer"));
}

#[test]
fn the_last_spans_are_sent_before_the_end() {
    let (collector, store) = (Collector::start(), Faulty::spy());
    let mut gateway = traced(with_cache(&store.url()), &collector.url())
        .env("S3PROXY_SERVER_LAME_DUCK", "0s")
        .start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    collector.await_spans(4);
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    gateway.signal("TERM");
    assert!(gateway.await_end(Duration::from_secs(20)).success());
    assert_eq!(collector.spans().len(), 6, "{:#?}", collector.spans());
}

#[test]
fn recorded_requests_are_exemplars_of_the_latency_histograms() {
    let (collector, store) = (Collector::start(), Faulty::spy());
    let (setup, admin) = Admin::of(traced(with_cache(&store.url()), &collector.url()));
    let gateway = setup.start();
    let value = traceparent(TRACE, PARENT, "01");
    assert_eq!(gateway.object_with("sky/a.png", &[("Traceparent", &value)]).status(), 200);
    collector.await_spans(4);
    let scrape = |accept: &str| {
        let answer = client::send(admin.address, "GET", "/metrics", &[("Accept", accept)]);
        answer.text().to_owned()
    };
    let open = scrape("application/openmetrics-text");
    let exemplar = format!(" # {{trace_id=\"{TRACE}\"}} ");
    let named: Vec<_> = open.lines().filter(|line| line.contains(&exemplar)).collect();
    assert_eq!(named.len(), 2, "{named:?}");
    for line in named {
        assert!(line.contains("_bucket{") && line.contains("cache=\"forward\""), "{line}");
    }
    crate::scrape::parse(&open);
    assert!(!scrape("text/plain").contains("trace_id"));
}
