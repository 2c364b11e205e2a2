//! The life of a connection of HTTP/2: idle, age, drain, clients that cancel, limits, who goes first.

use std::time::{Duration, Instant};

use serde_json::json;

use super::raw::Raw;
use super::{Http2, answer, await_ends, prior_knowledge, start};
use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::{Client, Ending, PATIENCE};
use crate::faulty::{self, Faulty, Gate, Recorded, Step, runtime};
use crate::gateway::Setup;
use crate::origin::Origin;

#[test]
fn an_idle_or_old_connection_ends_with_goaway_and_a_busy_one_answers_first() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    for (setting, end) in [("keepalive_timeout", "idle"), ("http2_max_age", "age")] {
        let setup = with_cache(&origin.url()).yaml(json!({"downstream": {setting: "1s"}}));
        let (setup, admin) = Admin::of(setup);
        let gateway = start(setup);
        let mut http2 = Http2::plain(gateway.address);
        assert_eq!(http2.get("/s3proxy/s3/sky/a.png").text(), "tile");
        let began = Instant::now();
        http2.end().expect("a graceful end");
        assert!(began.elapsed() < Duration::from_secs(5), "{end}");
        await_ends(&admin, end, 1);
    }
}

/// It stayed for as long as it sent requests: the last GOAWAY waits for the answer to a PING.
#[test]
fn a_client_that_never_answers_the_ping_of_goaway_is_ended_all_the_same() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let limits = json!({"http2_max_age": "1s", "header_timeout": "1s"});
    let setup = with_cache(&origin.url()).yaml(json!({ "downstream": limits }));
    let (setup, admin) = Admin::of(setup);
    let gateway = start(setup);
    let mut client = Raw::open(gateway.address, 65_535);
    let (began, mut late) = (Instant::now(), 0);
    while !client.is_closed {
        assert!(began.elapsed() < PATIENCE, "it stays");
        let is_told = client.goaway.is_some();
        let stream = client.request("/s3proxy/s3/sky/a.png", &[]);
        client.read_for(Duration::from_millis(50));
        late += usize::from(is_told && client.received[&stream].is_whole);
    }
    assert!(late > 0, "what it sent before it could know was answered");
    assert_eq!(client.goaway, Some(0), "without an error");
    await_ends(&admin, "age", 1);
}

#[test]
fn at_the_end_of_the_process_requests_are_answered_and_clients_told() {
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |_: &Recorded, _| {
        [vec![Step::Wait(held.clone())], faulty::object(b"tile")].concat()
    });
    let setup = Setup::new(&store.url())
        .yaml(json!({"server": {"lame_duck": "0s", "grace_period": "10s"}}))
        .env("S3PROXY_CACHE_MEMORY", "0");
    let mut gateway = start(setup);
    let mut http2 = Http2::plain(gateway.address);
    let response = http2.begin("GET", "/s3proxy/s3/sky/a.png", &[]);
    store.await_requests(1);
    gateway.signal("TERM");
    gateway.expect_log("the drain", |line| {
        line["event"].as_str().is_some_and(|text| text.contains("SIGTERM"))
    });
    gate.open();
    let answer = runtime().block_on(answer(response)).expect("an answer");
    assert_eq!((answer.text(), answer.ending), ("tile", Ending::Whole));
    let _closed = http2.end();
    assert!(gateway.await_end(Duration::from_secs(10)).success());
}

#[test]
fn a_client_that_cancels_a_request_ends_the_request_to_the_store() {
    let store = Faulty::scripted(|_: &Recorded, _| {
        let length = 256 << 20;
        vec![faulty::head(200, &[("Content-Length", &length.to_string())]), Step::Flood(length)]
    });
    let setup = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = start(setup.tolerate("client_gone"));
    let mut http2 = Http2::plain(gateway.address);
    let response = http2.begin("GET", "/s3proxy/s3/sky/a.png", &[("x-request-id", "left")]);
    let (_head, body) = runtime().block_on(response).expect("a head").into_parts();
    drop(body);
    store.await_hung_up(1);
    assert_eq!(gateway.line_of_id("left")["cause"], "client_gone");
    assert_eq!(http2.get("/s3proxy/").status(), 200);
}

#[test]
fn a_client_that_cancels_before_the_head_ends_the_request_to_the_store() {
    let store = Faulty::always(vec![Step::Stall]);
    let setup = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = start(setup.tolerate("client_gone"));
    let mut http2 = Http2::plain(gateway.address);
    let response = http2.begin("GET", "/s3proxy/s3/sky/a.png", &[("x-request-id", "left")]);
    store.await_requests(1);
    drop(response);
    store.await_hung_up(1);
    assert_eq!(gateway.line_of_id("left")["cause"], "client_gone");
}

#[test]
fn a_stream_that_is_not_read_is_given_up_and_others_go_on() {
    let origin = Origin::start();
    origin.put("big.png", "0123456789abcdef".repeat(1 << 20));
    origin.put("a.png", "tile");
    let setup = with_cache(&origin.url()).yaml(json!({"downstream": {"write_timeout": "1s"}}));
    let gateway = start(setup.tolerate("client_gone"));
    for direct in [false, true] {
        let mut http2 = Http2::plain(gateway.address);
        let id = format!("unread-{direct}");
        let response = http2.begin("GET", "/s3proxy/s3/sky/big.png", &[("x-request-id", &*id)]);
        let (_head, mut body) = runtime().block_on(response).expect("a head").into_parts();
        // Its window is never opened again.
        assert_eq!(gateway.line_of_id(&id)["cause"], "client_gone");
        assert_eq!(http2.get("/s3proxy/s3/sky/a.png").text(), "tile");
        let cut = runtime().block_on(async {
            while let Some(piece) = body.data().await {
                if piece.is_err() {
                    return true;
                }
            }
            false
        });
        assert!(cut, "a short body looks whole");
    }
}

#[test]
fn the_requests_of_a_slow_connection_share_the_minimum_rate() {
    let store = Faulty::scripted(|_: &Recorded, _| {
        let length = 256 << 20;
        vec![faulty::head(200, &[("Content-Length", &length.to_string())]), Step::Flood(length)]
    });
    let setup = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = start(setup.tolerate("client_gone"));
    let mut http2 = Http2::narrow(gateway.address);
    let responses: Vec<_> = (0..8)
        .map(|number| http2.begin("GET", &format!("/s3proxy/s3/sky/{number}.png"), &[]))
        .collect();
    runtime().block_on(async {
        let mut bodies = Vec::new();
        for response in responses {
            bodies.push(response.await.expect("a head").into_body());
        }
        // All together read more than the minimum rate, each of them less; judged after 30 s.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(45) {
            for body in &mut bodies {
                let piece = body.data().await.expect("a body that goes on").expect("no reset");
                body.flow_control().release_capacity(piece.len()).expect("its own bytes");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

#[test]
fn requests_in_progress_have_a_place_among_the_connections() {
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |_: &Recorded, _| {
        [vec![Step::Wait(held.clone())], faulty::object(b"tile")].concat()
    });
    let setup = Setup::new(&store.url())
        .yaml(json!({"downstream": {"max_connections": 16}}))
        .env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = start(setup.tolerate("connections_full"));
    let mut http2 = Http2::plain(gateway.address);
    let held: Vec<_> = (0..15)
        .map(|number| http2.begin("GET", &format!("/s3proxy/s3/sky/{number}.png"), &[]))
        .collect();
    store.await_requests(15);
    let refused = http2.get("/s3proxy/s3/sky/more.png");
    assert_eq!((refused.status(), &refused.json()["cause"]), (503, &json!("connections_full")));
    gate.open();
    for response in held {
        let answer = runtime().block_on(answer(response)).expect("an answer");
        assert_eq!(answer.text(), "tile");
    }
    assert_eq!(http2.get("/s3proxy/s3/sky/more.png").text(), "tile");
}

#[test]
fn both_versions_share_a_port_without_tls() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let (setup, address) = prior_knowledge(with_cache(&origin.url()));
    let _gateway = setup.start();
    let mut one = Client::connect(address);
    for _ in 0..2 {
        assert_eq!(one.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).text(), "tile");
    }
    assert_eq!(Http2::plain(address).get("/s3proxy/s3/sky/a.png").text(), "tile");
    // The shortest request that there is.
    let mut short = Client::connect(address);
    short.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(short.answer("GET").expect("an answer").status(), 200);
}
