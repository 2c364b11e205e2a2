//! Traces, from the client over the gateway to the store, as a collector of OpenTelemetry receives them.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::cached::with_cache;
use crate::collector::{Collector, attribute};
use crate::crowd::await_requests_read;
use crate::faulty::{self, Faulty, Gate, Recorded, Step};
use crate::gateway::{Setup, free_port};

mod delivery;

pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const PARENT: &str = "00f067aa0ba902b7";

/// The kinds of the schema.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
/// The status of a span that failed.
const ERROR: i32 = 2;

/// A gateway that records every request, and continues the traces of clients.
pub(crate) fn traced(setup: Setup, endpoint: &str) -> Setup {
    setup
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_TRACES_SAMPLER_ARG", "1")
        .env("S3PROXY_TRACING_TRUST_CLIENTS", "true")
}

pub(crate) fn traceparent(trace: &str, parent: &str, flags: &str) -> String {
    format!("00-{trace}-{parent}-{flags}")
}

/// The only span of this name in this trace.
pub(crate) fn one<'a>(spans: &'a [Span], trace: &str, name: &str) -> &'a Span {
    let found: Vec<_> =
        spans.iter().filter(|it| it.name == name && hex::encode(&it.trace_id) == trace).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

pub(crate) fn id(span: &Span) -> String {
    hex::encode(&span.span_id)
}

pub(crate) fn parent(span: &Span) -> String {
    hex::encode(&span.parent_span_id)
}

/// Trace, span and flags of the `traceparent` that the store got.
fn sent_to_store(request: &Recorded) -> (String, String, String) {
    let value = request.header("traceparent").unwrap_or_else(|| panic!("none in {request:?}"));
    let fields: Vec<_> = value.split('-').map(str::to_owned).collect();
    assert_eq!((fields.len(), fields[0].as_str()), (4, "00"), "{value}");
    (fields[1].clone(), fields[2].clone(), fields[3].clone())
}

/// The trace and span in a line of the log.
fn logged(line: &Value) -> (String, String) {
    let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
    (text("trace_id"), text("span_id"))
}

#[test]
fn parent_and_child_are_right_from_the_client_to_the_store() {
    let (collector, store) = (Collector::start(), Faulty::spy());
    let gateway = traced(with_cache(&store.url()), &collector.url()).start();
    let value = traceparent(TRACE, PARENT, "01");
    let headers = [("Traceparent", value.as_str()), ("Tracestate", "congo=t61rcWkgMzE")];
    let answer = gateway.object_with("sky/a.png", &headers);
    assert_eq!(answer.status(), 200);
    let spans = collector.await_spans(4);
    let request = one(&spans, TRACE, "GET object");
    assert_eq!((request.kind, parent(request).as_str()), (SERVER, PARENT));
    assert_eq!(request.trace_state, "congo=t61rcWkgMzE");
    let lookup = one(&spans, TRACE, "cache lookup");
    assert_eq!((lookup.kind, parent(lookup)), (INTERNAL, id(request)));
    let fetch = one(&spans, TRACE, "fetch");
    assert_eq!((fetch.kind, parent(fetch)), (INTERNAL, id(lookup)));
    let attempt = one(&spans, TRACE, "GET");
    assert_eq!((attempt.kind, parent(attempt)), (CLIENT, id(fetch)));
    // The store gets an id of ours, unsigned, and nothing of the client's.
    let asked = store.only();
    assert_eq!(sent_to_store(&asked), (TRACE.to_owned(), id(attempt), "01".to_owned()));
    assert_eq!(asked.header("tracestate"), None);
    assert!(!asked.signed_headers().contains(&"traceparent"));
    assert_eq!(logged(&gateway.line_of(&answer)), (TRACE.to_owned(), id(request)));
    for span in &spans {
        assert!(span.start_time_unix_nano > 1_600_000_000_000_000_000, "{span:?}");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
        assert!(span.status.as_ref().is_none_or(|status| status.code == 0), "{span:?}");
    }
    let of = |span: &Span, name: &str| attribute(&span.attributes, name);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(request, "http.request.method"), text("GET"));
    assert_eq!(of(request, "url.path"), text("/s3proxy/s3/sky/a.png"));
    assert_eq!(of(request, "http.response.status_code"), text("200"));
    assert_eq!(of(request, "server.address"), text("gateway.test"));
    assert_eq!(of(request, "aws.s3.key"), text("a.png"));
    assert_eq!(of(request, "s3proxy.request_id"), text(answer.request_id()));
    assert!(of(lookup, "s3proxy.cache").is_some_and(|it| it.starts_with("fwd=miss")));
    assert_eq!(of(fetch, "s3proxy.found"), text("store"));
    assert_eq!(of(attempt, "url.full"), Some(format!("{}/sky/a.png", store.url())));
    assert_eq!(of(attempt, "server.port"), Some(store.address.port().to_string()));
    assert_eq!(of(attempt, "network.peer.address"), text("127.0.0.1"));
    assert_eq!(of(attempt, "http.response.status_code"), text("200"));
    let resource = collector.resource();
    assert_eq!(attribute(&resource, "service.name"), text("s3proxy"));
    assert_eq!(attribute(&resource, "service.version"), text(env!("CARGO_PKG_VERSION")));
    assert!(attribute(&resource, "service.instance.id").is_some_and(|id| id.len() == 36));
    // A hit asks nobody.
    let other = TRACE.replace("4b", "aa");
    let headers = [("Traceparent", traceparent(&other, PARENT, "01"))];
    gateway.object_with("sky/a.png", &[("Traceparent", headers[0].1.as_str())]);
    let spans = collector.await_spans(6);
    let request = one(&spans, &other, "GET object");
    let lookup = one(&spans, &other, "cache lookup");
    assert_eq!(parent(lookup), id(request));
    assert!(of(lookup, "s3proxy.cache").is_some_and(|it| it.starts_with("hit")));
    assert_eq!((store.count(), collector.spans().len()), (1, 6));
}

#[test]
fn each_attempt_without_the_cache_has_a_span_of_its_own() {
    let collector = Collector::start();
    let store = Faulty::scripted(|_, nth| match nth {
        0 => faulty::s3_error(500, "InternalError"),
        _ => faulty::object(b"tile"),
    });
    let gateway = traced(Setup::new(&store.url()), &collector.url()).start();
    let value = traceparent(TRACE, PARENT, "01");
    let answer = gateway.object_with("sky/a.png", &[("Traceparent", &value)]);
    assert_eq!(answer.status(), 200);
    let spans = collector.await_spans(3);
    let request = one(&spans, TRACE, "GET object");
    let attempts: Vec<_> = spans.iter().filter(|span| span.kind == CLIENT).collect();
    assert_eq!(attempts.len(), 2, "{spans:#?}");
    for (attempt, asked) in attempts.iter().zip(store.requests()) {
        assert_eq!(parent(attempt), id(request));
        assert_eq!(sent_to_store(&asked), (TRACE.to_owned(), id(attempt), "01".to_owned()));
    }
    let statuses = attempts.iter().map(|it| it.status.as_ref().map_or(0, |status| status.code));
    assert_eq!(statuses.collect::<Vec<_>>(), [ERROR, 0]);
    let resent = attempts.iter().map(|it| attribute(&it.attributes, "http.request.resend_count"));
    assert_eq!(resent.collect::<Vec<_>>(), [None, Some("1".to_owned())]);
    assert_eq!(attribute(&attempts[0].attributes, "error.type"), Some("500".to_owned()));
}

#[test]
fn a_store_that_fails_is_an_error_of_the_request() {
    let (collector, port) = (Collector::start(), free_port());
    let setup = traced(with_cache(&format!("http://127.0.0.1:{port}")), &collector.url());
    let gateway = setup.tolerate("upstream_unreachable").start();
    let value = traceparent(TRACE, PARENT, "01");
    let answer = gateway.object_with("sky/a.png", &[("Traceparent", &value)]);
    answer.refused("upstream_unreachable", "status");
    let spans = collector.await_spans(5);
    for span in spans.iter().filter(|span| span.name != "cache lookup") {
        let status = span.status.clone().unwrap_or_default();
        assert_eq!(
            (status.code, status.message.as_str()),
            (ERROR, "upstream_unreachable"),
            "{span:?}"
        );
    }
    assert_eq!(spans.iter().filter(|span| span.kind == CLIENT).count(), 2, "{spans:#?}");
}

#[test]
fn a_request_that_waits_for_the_fetch_of_another_links_to_it() {
    let (collector, gate) = (Collector::start(), Gate::new());
    let held = gate.clone();
    let store = Faulty::scripted(move |_, _| {
        [vec![Step::Wait(held.clone())], faulty::object(b"tile")].concat()
    });
    let gateway = traced(with_cache(&store.url()), &collector.url()).start();
    let traces = ["a1".repeat(16), "b2".repeat(16), "c3".repeat(16)];
    let ask = |trace: &str, flags: &str| {
        let mut client = gateway.connect();
        let value = traceparent(trace, PARENT, flags);
        client.request("GET", "/s3proxy/s3/sky/a.png", &[("Traceparent", &value)]);
        client
    };
    let mut clients = vec![ask(&traces[0], "01")];
    store.await_requests(1);
    clients.push(ask(&traces[1], "01"));
    clients.push(ask(&traces[2], "00"));
    await_requests_read(&gateway, 3);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer("GET").expect("an answer").text(), "tile");
    }
    let spans = collector.await_spans(7);
    let (fetch, wait) =
        (one(&spans, &traces[0], "fetch"), one(&spans, &traces[1], "wait for a fetch"));
    assert_eq!(parent(wait), id(one(&spans, &traces[1], "cache lookup")));
    let links: Vec<_> =
        wait.links.iter().map(|it| (it.trace_id.clone(), it.span_id.clone())).collect();
    assert_eq!(links, [(fetch.trace_id.clone(), fetch.span_id.clone())]);
    assert!(spans.iter().all(|span| hex::encode(&span.trace_id) != traces[2]), "{spans:#?}");
    assert_eq!(store.count(), 1);
}

#[test]
fn blocks_are_fetched_and_waited_for_within_the_trace() {
    const LENGTH: usize = 3 << 20;
    let (collector, gate) = (Collector::start(), Gate::new());
    let held = gate.clone();
    let store = Faulty::scripted(move |request, _| {
        let range =
            request.header("range").and_then(|it| it.strip_prefix("bytes=")).expect("a range");
        let (first, last) = range.split_once('-').expect("two ends");
        let (first, last): (usize, usize) =
            (first.parse().expect("a number"), last.parse().expect("one"));
        let last = last.min(LENGTH - 1);
        let (length, part) =
            ((last + 1 - first).to_string(), format!("bytes {first}-{last}/{LENGTH}"));
        let headers = [
            &[("Content-Length", length.as_str()), ("Content-Range", &part)],
            &faulty::OBJECT_HEADERS[..],
        ];
        vec![
            Step::Wait(held.clone()),
            faulty::head(206, &headers.concat()),
            Step::Flood(last + 1 - first),
        ]
    });
    let setup = with_cache(&store.url()).env("S3PROXY_CACHE_MAX_OBJECT", "1MiB");
    let gateway = traced(setup, &collector.url()).start();
    let value = traceparent(TRACE, PARENT, "01");
    let mut client = gateway.connect();
    let headers = [("Traceparent", value.as_str()), ("Range", "bytes=0-99")];
    client.request("GET", "/s3proxy/s3/sky/a.png", &headers);
    store.await_requests(1);
    gate.open();
    assert_eq!(client.answer("GET").expect("an answer").body.len(), 100);
    let spans = collector.await_spans(4);
    let attempt = one(&spans, TRACE, "GET");
    assert_eq!(parent(attempt), id(one(&spans, TRACE, "fetch")));
    assert_eq!(sent_to_store(&store.requests()[0]).1, id(attempt));
}

#[test]
fn a_client_that_is_not_trusted_is_linked_and_decides_nothing() {
    let (collector, store) = (Collector::start(), Faulty::spy());
    let setup = traced(with_cache(&store.url()), &collector.url());
    let gateway = setup.env("S3PROXY_TRACING_TRUST_CLIENTS", "false").start();
    let value = traceparent(TRACE, PARENT, "00");
    let answer = gateway.object_with("sky/a.png", &[("Traceparent", &value)]);
    let spans = collector.await_spans(4);
    let (trace, span) = logged(&gateway.line_of(&answer));
    assert_ne!(trace, TRACE);
    let request = one(&spans, &trace, "GET object");
    assert_eq!((id(request), parent(request).as_str()), (span, ""));
    let links: Vec<_> = request
        .links
        .iter()
        .map(|it| (hex::encode(&it.trace_id), hex::encode(&it.span_id)))
        .collect();
    assert_eq!(links, [(TRACE.to_owned(), PARENT.to_owned())]);
}

/// A `traceparent` of the profile was replaced after it had been signed, and the `tracestate` of a client stood beside
/// the id of another trace.
#[test]
fn headers_of_traces_that_a_profile_sends_keep_signature_and_trace() {
    let (collector, store) = (Collector::start(), Faulty::spy());
    let (own, value) = (TRACE.replace("4b", "bb"), traceparent(TRACE, PARENT, "01"));
    let own = traceparent(&own, PARENT, "01");
    let state = [("Traceparent", value.as_str()), ("Tracestate", "a=1"), ("Tracestate", "b=2")];
    for (trusts, sent, expected) in [
        ("true", &state[..], Some("a=1,b=2")),
        ("false", &state, None),
        ("true", &state[1..], None),
        ("true", &[state[0], ("Tracestate", "a=1,a=2")], None),
    ] {
        let profiles = json!({
            "signs": {"upstream_headers": {"traceparent": own}},
            "passes": {"request_headers": ["traceparent", "tracestate"]},
        });
        let gateway = traced(Setup::new(&store.url()), &collector.url())
            .env("S3PROXY_TRACING_TRUST_CLIENTS", trusts)
            .profile("signs", &store.url())
            .profile("passes", &store.url())
            .yaml(json!({ "profiles": profiles }))
            .tolerate("which is sent as it is")
            .start();
        assert_eq!(gateway.object_with("signs@sky/a.png", sent).status(), 200);
        let asked = store.requests().pop().expect("a request");
        assert_eq!(asked.header("traceparent"), Some(own.as_str()), "{trusts} {sent:?}");
        assert!(asked.signed_headers().contains(&"traceparent"), "{asked:?}");
        assert_eq!(gateway.object_with("passes@sky/a.png", sent).status(), 200);
        let asked = store.requests().pop().expect("a request");
        assert_eq!(asked.header("tracestate"), expected, "{trusts} {sent:?}");
        let goes_on = trusts == "true" && sent[0].0 == "Traceparent";
        assert_eq!(sent_to_store(&asked).0 == TRACE, goes_on, "{asked:?}");
    }
}

#[test]
fn a_trace_that_is_not_recorded_has_ids_in_log_and_store_and_no_spans() {
    let (collector, store) = (Collector::start(), Faulty::spy());
    let setup = traced(with_cache(&store.url()), &collector.url());
    let gateway = setup.env("OTEL_TRACES_SAMPLER_ARG", "0").start();
    // One that is not well-formed is as none.
    for (nth, value) in [traceparent(TRACE, PARENT, "00"), "00-x".to_owned()].iter().enumerate() {
        let answer = gateway.object_with(&format!("sky/{nth}.png"), &[("Traceparent", value)]);
        let (trace, span) = logged(&gateway.line_of(&answer));
        assert_eq!(trace == TRACE, nth == 0, "{value}");
        assert_ne!(span, PARENT);
        let (sent, sent_span, flags) = sent_to_store(&store.requests()[nth]);
        assert_eq!((sent, flags.as_str()), (trace, "00"));
        assert!(sent_span != span && sent_span != PARENT);
    }
    drop(gateway);
    assert!(collector.heads().is_empty(), "{:#?}", collector.spans());
}

#[test]
fn without_traces_no_header_and_no_field_is_added() {
    let store = Faulty::spy();
    let gateway = with_cache(&store.url()).start();
    let value = traceparent(TRACE, PARENT, "01");
    let headers = [("Traceparent", value.as_str()), ("Tracestate", "a=1")];
    let answer = gateway.object_with("sky/a.png", &headers);
    let asked = store.only();
    assert!(asked.header("traceparent").is_none() && asked.header("tracestate").is_none());
    let line = gateway.line_of(&answer);
    assert!(line.get("trace_id").is_none() && line.get("span_id").is_none(), "{line}");
}
