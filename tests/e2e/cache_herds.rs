//! Many concurrent clients of one object that is not cached: their requests are coalesced into one
//! request to the store. Requests that cannot be cached are not coalesced, and do not wait for each
//! other.

use std::time::Duration;

use serde_json::json;

use crate::cached::{status, with_cache};
use crate::client::{Client, Ending};
use crate::crowd::{Watched, await_requests_read, connect, numbered};
use crate::faulty::{self, Faulty, Gate, OBJECT_HEADERS, Step, head};
use crate::gateway::{Gateway, free_port};
use crate::tally::trials;

const CROWD: usize = 500;
/// A trial is good if its answer is correct, and if the store received at most one request.
const HERD: &str = "clients of a herd";
const TILE: &str = "/s3proxy/s3/sky/a.png";
const TAG: &str = "\"0123456789abcdef0123456789abcdef\"";

/// The headers of a healthy store's answer, for a body that is sent in steps.
fn object_head(length: usize, more: &[(&str, &str)]) -> Step {
    let length = length.to_string();
    let headers = [&[("Content-Length", length.as_str())], &OBJECT_HEADERS[..], more].concat();
    head(200, &headers)
}

#[test]
fn clients_of_every_kind_are_served_from_one_fetch_in_flight() {
    const LENGTH: usize = 600_000;
    const ARRIVED: usize = 200_000;
    let body = numbered(LENGTH);
    let (held, sent) = (Gate::new(), body.clone());
    let waited = held.clone();
    let store = Faulty::scripted(move |_, _| {
        vec![
            object_head(LENGTH, &[]),
            Step::Send(sent[..ARRIVED].to_vec()),
            Step::Wait(waited.clone()),
            Step::Send(sent[ARRIVED..].to_vec()),
        ]
    });
    let watched = Watched::start(with_cache(&store.url()));
    let gateway = &watched.gateway;
    let mut first = gateway.connect();
    first.request("GET", TILE, &[]);
    store.await_requests(1);
    // Method, headers, status, and the ranges of the body that answer it.
    type Kind<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, std::ops::Range<usize>);
    let early: [Kind<'_>; 6] = [
        ("HEAD", &[], 200, 0..0),
        ("GET", &[("If-None-Match", TAG)], 304, 0..0),
        ("GET", &[("If-Match", "\"x\"")], 412, 0..0),
        ("GET", &[("Range", "bytes=0-99")], 206, 0..100),
        ("GET", &[("Range", "bytes=150000-199999")], 206, 150_000..200_000),
        ("GET", &[("Range", "bytes=7-7"), ("If-Range", TAG)], 206, 7..8),
    ];
    let late: [Kind<'_>; 4] = [
        ("GET", &[], 200, 0..LENGTH),
        ("GET", &[("If-None-Match", "\"x\"")], 200, 0..LENGTH),
        ("GET", &[("Range", "bytes=-100")], 206, LENGTH - 100..LENGTH),
        ("GET", &[("Range", "bytes=199990-400000")], 206, 199_990..400_001),
    ];
    let _trials = trials(HERD, CROWD);
    let mut hasty = connect(gateway, CROWD / 2);
    let mut patient = connect(gateway, CROWD / 2);
    for (nth, client) in patient.iter_mut().enumerate() {
        let (method, headers, ..) = &late[nth % late.len()];
        client.request(method, TILE, headers);
    }
    for (nth, client) in hasty.iter_mut().enumerate() {
        let (method, headers, ..) = &early[nth % early.len()];
        client.request(method, TILE, headers);
    }
    let judge = |client: &mut Client, kind: &Kind<'_>| {
        let (method, headers, expected, stretch) = kind;
        let answer = client.answer(method).expect("an answer");
        assert_eq!((answer.status(), answer.ending), (*expected, Ending::Whole), "{headers:?}");
        if *expected == 412 {
            assert!(answer.refused("precondition_failed", "message").is_string(), "{headers:?}");
        } else {
            assert!(answer.body == body[stretch.clone()], "{headers:?}: {}", answer.body.len());
        }
        let cache_status = status(&answer);
        assert!(cache_status.starts_with("s3proxy; fwd=miss; ttl="), "{cache_status}");
        assert!(cache_status.ends_with("; stored; collapsed"), "{cache_status}");
    };
    for (nth, client) in hasty.iter_mut().enumerate() {
        judge(client, &early[nth % early.len()]);
    }
    await_requests_read(gateway, CROWD);
    held.open();
    for (nth, client) in patient.iter_mut().enumerate() {
        judge(client, &late[nth % late.len()]);
    }
    assert!(first.answer("GET").expect("an answer").body == body);
    assert_eq!(store.count(), 1, "{:?}", store.requests());
    watched.await_fetches_done();
    assert!(status(&gateway.object("sky/a.png")).starts_with("s3proxy; hit"));
}

#[test]
fn a_range_waits_for_its_own_bytes_and_no_others() {
    let body = numbered(900_000);
    let gates = [Gate::new(), Gate::new()];
    let (sent, held) = (body.clone(), gates.clone());
    let store = Faulty::scripted(move |_, _| {
        vec![
            object_head(sent.len(), &[]),
            Step::Send(sent[..300_000].to_vec()),
            Step::Wait(held[0].clone()),
            Step::Send(sent[300_000..600_000].to_vec()),
            Step::Wait(held[1].clone()),
            Step::Send(sent[600_000..].to_vec()),
        ]
    });
    let gateway = with_cache(&store.url()).start();
    let ask = |range: Option<&str>| {
        let mut client = gateway.connect();
        let headers = range.map(|range| ("Range", range));
        client.request("GET", TILE, headers.as_slice());
        client
    };
    let read = |mut client: Client, stretch: std::ops::Range<usize>| {
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.ending, Ending::Whole, "{stretch:?}");
        assert!(answer.body == body[stretch.clone()], "{stretch:?}");
    };
    let whole = ask(None);
    store.await_requests(1);
    let [start, middle, end, across] = [
        Some("bytes=10-19"),
        Some("bytes=300000-599999"),
        Some("bytes=-10"),
        Some("bytes=0-0,899999-"),
    ]
    .map(ask);
    read(start, 10..20);
    gates[0].open();
    read(middle, 300_000..600_000);
    gates[1].open();
    read(end, 899_990..900_000);
    let mut across = across;
    let parts = across.answer("GET").expect("an answer");
    assert_eq!((parts.status(), parts.ending), (206, Ending::Whole));
    read(whole, 0..900_000);
    assert_eq!(store.count(), 1, "{:?}", store.requests());
}

#[test]
fn a_crowd_for_a_missing_tile_costs_the_store_one_request() {
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |_, _| {
        [vec![Step::Wait(held.clone())], faulty::s3_error(404, "NoSuchKey")].concat()
    });
    let watched = Watched::start(with_cache(&store.url()));
    let _trials = trials(HERD, CROWD);
    let mut crowd = connect(&watched.gateway, CROWD);
    for client in &mut crowd {
        client.request("GET", TILE, &[]);
    }
    await_requests_read(&watched.gateway, CROWD);
    gate.open();
    let mut collapsed = 0;
    for client in &mut crowd {
        let answer = client.answer("GET").expect("an answer");
        assert_eq!((answer.status(), answer.ending), (404, Ending::Whole));
        collapsed += usize::from(status(&answer).ends_with("collapsed"));
    }
    assert_eq!(collapsed, CROWD - 1);
    assert_eq!(watched.counter("collapsed"), CROWD as u64 - 1);
    assert!(status(&watched.gateway.object("sky/a.png")).starts_with("s3proxy; hit"));
    assert_eq!(store.count(), 1, "{:?}", store.requests());
}

/// Starts the clients, lets the store fail once the gateway has read all requests, and collects the
/// causes.
fn fail_everybody(gateway: &Gateway, crowd: usize, fail: impl FnOnce()) -> Vec<String> {
    let mut clients = connect(gateway, crowd);
    for client in &mut clients {
        client.request("GET", TILE, &[]);
    }
    await_requests_read(gateway, crowd);
    fail();
    let causes = clients.iter_mut().map(|client| {
        let answer = client.answer("GET").expect("an answer");
        assert!(matches!(answer.status(), 403 | 502..=504), "{answer:?}");
        assert_eq!(answer.ending, Ending::Whole);
        assert!(!status(&answer).contains("stored"), "{}", status(&answer));
        answer.json()["cause"].as_str().expect("a cause").to_owned()
    });
    let mut causes: Vec<String> = causes.collect();
    causes.dedup();
    causes
}

#[test]
fn a_crowd_at_a_failing_store_costs_one_fetch_with_its_retry() {
    for (what, steps, cause, attempts) in [
        ("busy", faulty::s3_error(503, "SlowDown"), "upstream_busy", 2),
        ("broken", faulty::s3_error(500, "InternalError"), "upstream_error", 2),
        ("forbidden", faulty::s3_error(403, "AccessDenied"), "upstream_forbidden", 1),
        ("elsewhere", faulty::s3_error(301, "PermanentRedirect"), "upstream_redirect", 1),
        ("closing", vec![Step::Close], "upstream_reset", 2),
        ("resetting", vec![Step::Reset], "upstream_reset", 2),
    ] {
        let gate = Gate::new();
        let held = gate.clone();
        let store =
            Faulty::scripted(move |_, _| [vec![Step::Wait(held.clone())], steps.clone()].concat());
        let _trials = trials(HERD, CROWD);
        let gateway = with_cache(&store.url()).tolerate(cause).start();
        let causes = fail_everybody(&gateway, CROWD, || gate.open());
        assert_eq!(causes, [cause], "{what}");
        assert_eq!(store.count(), attempts, "{what}");
        // Failures are not cached.
        let again = gateway.object("sky/a.png");
        assert_eq!(again.json()["cause"], cause, "{what}");
        assert_eq!(store.count(), 2 * attempts, "{what}");
    }
}

#[test]
fn a_crowd_at_a_silent_store_waits_for_one_timeout() {
    let store = Faulty::always(vec![Step::Stall]);
    // Long enough for the gateway to read all requests before it has passed.
    let setup = with_cache(&store.url()).yaml(json!({"upstream": {"first_byte_timeout": "4s"}}));
    let gateway = setup.tolerate("upstream_timeout").start();
    let _trials = trials(HERD, CROWD);
    let causes = fail_everybody(&gateway, CROWD, || {});
    assert_eq!(causes, ["upstream_timeout"]);
    assert_eq!(store.count(), 1);
}

#[test]
fn a_crowd_at_a_store_that_is_down_shares_its_attempts() {
    let setup = with_cache(&format!("http://127.0.0.1:{}", free_port()));
    let watched = Watched::start(setup.tolerate("upstream_unreachable"));
    let causes = fail_everybody(&watched.gateway, CROWD, || {});
    assert_eq!(causes.len(), 1, "{causes:?}");
    let (misses, collapsed) = (watched.counter("misses"), watched.counter("collapsed"));
    assert_eq!(misses + collapsed, CROWD as u64);
    assert!(collapsed > misses, "{misses} fetches for {CROWD} clients");
}

#[test]
fn uncacheable_objects_are_streamed_to_all_clients_concurrently() {
    const CLIENTS: usize = 100;
    let length = [("Content-Length", "65536"), OBJECT_HEADERS[1]];
    let weak = [("Content-Length", "65536"), ("ETag", "W/\"a\"")];
    let chunked = [("Transfer-Encoding", "chunked"), OBJECT_HEADERS[1]];
    let plain = vec![b'x'; 65_536];
    let in_chunks = [b"10000\r\n".as_slice(), &plain, b"\r\n0\r\n\r\n"].concat();
    for (what, framing, more, sent) in [
        ("no-store", length, Some(("Cache-Control", "no-store")), &plain),
        ("private", length, Some(("Cache-Control", "private, max-age=60")), &plain),
        ("too large, and blocks are not kept", length, None, &plain),
        ("too large, and of no certain version", weak, None, &plain),
        ("of unknown length", chunked, None, &in_chunks),
    ] {
        let gate = Gate::new();
        let (held, sent) = (gate.clone(), sent.clone());
        let store = Faulty::scripted(move |_, _| {
            let headers = [&framing[..], more.as_slice()].concat();
            vec![head(200, &headers), Step::Wait(held.clone()), Step::Send(sent.clone())]
        });
        let mut setup = with_cache(&store.url());
        if what.starts_with("too large") {
            setup = setup.env("S3PROXY_CACHE_MAX_OBJECT", "65535");
        }
        if what.ends_with("blocks are not kept") {
            setup = setup.env("S3PROXY_CACHE_BLOCKS_SHARE", "0");
        }
        let gateway = setup.start();
        let mut crowd = connect(&gateway, CLIENTS);
        for client in &mut crowd {
            client.request("GET", TILE, &[]);
        }
        // One request for each client, the first of which finds out: the gate opens when all have
        // reached the store.
        store.await_requests(CLIENTS);
        gate.open();
        for client in &mut crowd {
            let answer = client.answer("GET").expect("an answer");
            assert_eq!((answer.status(), answer.ending), (200, Ending::Whole), "{what}");
            assert!(answer.body == plain, "{what}");
            assert_eq!(status(&answer), "s3proxy; fwd=miss", "{what}");
        }
        assert_eq!(store.count(), CLIENTS, "{what}");
        // The gateway remembers that the object cannot be cached.
        assert!(gateway.object("sky/a.png").body == plain, "{what}");
        assert_eq!(store.count(), CLIENTS + 1, "{what}");
    }
}

#[test]
fn a_fetch_of_one_object_does_not_delay_others() {
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |request, _| match request.target.as_str() {
        "/sky/a.png" => [vec![Step::Wait(held.clone())], faulty::object(b"late")].concat(),
        _ => faulty::object(b"tile"),
    });
    let gateway = with_cache(&store.url()).start();
    let mut crowd = connect(&gateway, 100);
    for client in &mut crowd {
        client.request("GET", TILE, &[]);
    }
    await_requests_read(&gateway, crowd.len());
    for nth in 0..100 {
        assert_eq!(gateway.object(&format!("sky/b{nth}.png")).text(), "tile");
    }
    assert!(!crowd[0].wait_for_bytes(Duration::from_millis(1)));
    gate.open();
    for client in &mut crowd {
        assert_eq!(client.answer("GET").expect("an answer").text(), "late");
    }
    assert_eq!(store.count(), 101);
}

#[test]
fn misses_one_after_the_other_share_a_connection_to_the_store() {
    let store = Faulty::spy();
    let gateway = with_cache(&store.url()).start();
    for nth in 0..200 {
        assert_eq!(gateway.object(&format!("sky/b{nth}.png")).text(), "tile");
    }
    assert_eq!(store.count(), 200);
    // A connection may be lost now and then: different threads return it to the pool and take it
    // out.
    assert!(store.connections() <= 5, "{} connections", store.connections());
}
