//! Clients that leave or read slowly: a fetch belongs to no client, so it continues and completes
//! without them.

use crate::cached::{status, with_cache};
use crate::client::Ending;
use crate::crowd::{Watched, await_requests_read, connect, numbered};
use crate::faulty::{self, Faulty, Gate, OBJECT_HEADERS, Step, head};

const TILE: &str = "/s3proxy/s3/sky/a.png";

/// The place where the store waits until its first reader has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    BeforeTheHead,
    AfterTheHead,
    InsideTheBody,
}

/// A store that waits at the gate during its first answer.
fn waiting(phase: Phase, body: &[u8], gate: &Gate) -> Faulty {
    let (body, gate) = (body.to_vec(), gate.clone());
    Faulty::scripted(move |request, _| {
        if request.target != "/sky/a.png" {
            return faulty::object(b"another");
        }
        let length = body.len().to_string();
        let length = [("Content-Length", length.as_str())];
        let (first, rest) = body.split_at(body.len() / 2);
        let mut steps = vec![
            head(200, &[&length[..], &OBJECT_HEADERS[..]].concat()),
            Step::Send(first.to_vec()),
            Step::Send(rest.to_vec()),
        ];
        steps.insert(phase as usize, Step::Wait(gate.clone()));
        steps
    })
}

#[test]
fn the_first_client_leaving_does_not_end_the_fetch() {
    for phase in [Phase::BeforeTheHead, Phase::AfterTheHead, Phase::InsideTheBody] {
        for followed in [false, true] {
            let what = format!("{phase:?}, followed: {followed}");
            let (body, gate) = (numbered(2_500_000), Gate::new());
            let store = waiting(phase, &body, &gate);
            let watched = Watched::start(with_cache(&store.url()));
            let gateway = &watched.gateway;
            let mut first = gateway.connect();
            first.request("GET", TILE, &[]);
            store.await_requests(1);
            if phase == Phase::InsideTheBody {
                assert_eq!(first.head().expect("a head").status, 200, "{what}");
                assert!(first.fill_to(100_000), "{what}");
            }
            let follower = followed.then(|| {
                let mut follower = gateway.connect();
                follower.request("GET", TILE, &[]);
                await_requests_read(gateway, 1);
                follower
            });
            drop(first);
            assert_eq!(gateway.get("/").status(), 200, "{what}");
            gate.open();
            if let Some(mut follower) = follower {
                let answer = follower.answer("GET").expect("an answer");
                assert_eq!(answer.ending, Ending::Whole, "{what}");
                assert!(answer.body == body, "{what}");
            }
            watched.await_fetches_done();
            let next = gateway.object("sky/a.png");
            assert!(next.body == body, "{what}");
            assert!(status(&next).starts_with("s3proxy; hit"), "{what}: {}", status(&next));
            assert_eq!(store.count(), 1, "{what}");
            // The body was read to its end: the store connection is reused for the next object.
            assert_eq!(gateway.object("sky/b.png").text(), "another", "{what}");
            assert_eq!(store.connections(), 1, "{what}");
        }
    }
}

#[test]
fn two_hundred_clients_that_leave_cost_one_request() {
    for phase in [Phase::BeforeTheHead, Phase::InsideTheBody] {
        let (body, gate) = (numbered(400_000), Gate::new());
        let store = waiting(phase, &body, &gate);
        let watched = Watched::start(with_cache(&store.url()));
        let mut crowd = connect(&watched.gateway, 200);
        for client in &mut crowd {
            client.request("GET", TILE, &[]);
        }
        await_requests_read(&watched.gateway, crowd.len());
        drop(crowd);
        assert_eq!(watched.gateway.get("/").status(), 200);
        gate.open();
        watched.await_fetches_done();
        let next = watched.gateway.object("sky/a.png");
        assert!(next.body == body, "{phase:?}");
        assert!(status(&next).starts_with("s3proxy; hit"), "{phase:?}: {}", status(&next));
        assert_eq!(store.count(), 1, "{phase:?}");
    }
}

#[test]
fn a_client_that_does_not_read_delays_no_other_client() {
    // More than the kernel buffers for a client that does not read.
    let body = numbered(12 << 20);
    let (sent, length) = (body.clone(), body.len().to_string());
    let store = Faulty::scripted(move |_, _| {
        let headers = [&[("Content-Length", length.as_str())], &OBJECT_HEADERS[..]].concat();
        vec![head(200, &headers), Step::Send(sent.clone())]
    });
    let gateway = with_cache(&store.url()).start();
    let mut slow = gateway.connect();
    slow.request("GET", TILE, &[]);
    let slow_head = slow.head().expect("a head");
    for _ in 0..2 {
        let quick = gateway.object("sky/a.png");
        assert_eq!(quick.ending, Ending::Whole);
        assert!(quick.body == body);
    }
    let (late, ending) = slow.body(&slow_head, "GET");
    assert_eq!(ending, Ending::Whole);
    assert!(late == body);
    assert_eq!(store.count(), 1);
}

#[test]
fn a_follower_that_leaves_does_not_affect_others() {
    let (body, gate) = (numbered(1_000_000), Gate::new());
    let store = waiting(Phase::InsideTheBody, &body, &gate);
    let gateway = with_cache(&store.url()).start();
    let mut crowd = connect(&gateway, 50);
    for client in &mut crowd {
        client.request("GET", TILE, &[]);
    }
    await_requests_read(&gateway, crowd.len());
    let mut stay = crowd.split_off(25);
    drop(crowd);
    gate.open();
    for client in &mut stay {
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.ending, Ending::Whole);
        assert!(answer.body == body);
    }
    assert_eq!(store.count(), 1);
}
