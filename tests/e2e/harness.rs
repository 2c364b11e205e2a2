//! The harness itself: with a client that did not detect a cut body, or a store that did not verify
//! signatures, every other test could pass wrongly.

use std::time::Duration;

use crate::client::{self, Client, Ending, Fate, PATIENCE};
use crate::faulty::{self, Faulty, Gate, Step, head};
use crate::origin::{Manners, Origin};

#[test]
fn the_client_distinguishes_whole_bodies_from_cut_ones() {
    let length = [("Content-Length", "4")];
    let chunked = [("Transfer-Encoding", "chunked")];
    for (steps, body, ending) in [
        (vec![head(200, &length), Step::Send(b"tile".to_vec())], "tile", Ending::Whole),
        (vec![head(200, &length), Step::Send(b"ti".to_vec()), Step::Close], "ti", Ending::Cut),
        (vec![head(200, &length), Step::Send(b"ti".to_vec()), Step::Reset], "ti", Ending::Cut),
        (
            vec![head(200, &chunked), Step::Send(b"4\r\ntile\r\n0\r\n\r\n".to_vec())],
            "tile",
            Ending::Whole,
        ),
        (
            vec![head(200, &chunked), Step::Send(b"4\r\ntile\r\n".to_vec()), Step::Close],
            "tile",
            Ending::Cut,
        ),
        (
            vec![head(200, &chunked), Step::Send(b"8\r\nti".to_vec()), Step::Close],
            "ti",
            Ending::Cut,
        ),
        (vec![head(200, &[]), Step::Send(b"ti".to_vec()), Step::Close], "ti", Ending::UntilClose),
        (vec![head(304, &length)], "", Ending::Whole),
    ] {
        let store = Faulty::always(steps.clone());
        let mut client = Client::connect(store.address);
        let answer = client.exchange("GET", "/", &[]);
        // A reset may overtake the bytes sent before it.
        if !matches!(steps.last(), Some(Step::Reset)) {
            assert_eq!(answer.text(), body, "{steps:?}");
        }
        assert_eq!(answer.ending, ending, "{steps:?}");
    }
}

#[test]
fn the_scripted_store_counts_requests_connections_and_strays() {
    let store = Faulty::spy();
    let mut client = Client::connect(store.address);
    assert_eq!(client.exchange("GET", "/a", &[]).text(), "tile");
    assert_eq!(client.exchange("GET", "/b", &[("X-Y", "z")]).text(), "tile");
    assert_eq!((store.count(), store.connections()), (2, 1));
    assert_eq!(store.requests()[1].header("x-y"), Some("z"));
    client.send("not a request");
    drop(client);
    store.await_hung_up(1);
    assert_eq!(store.stray(), b"not a request");
}

#[test]
fn a_gate_holds_an_answer_back_until_it_opens() {
    let gate = Gate::new();
    let store = Faulty::always([vec![Step::Wait(gate.clone())], faulty::object(b"late")].concat());
    let mut client = Client::connect(store.address);
    client.request("GET", "/", &[]);
    store.await_requests(1);
    assert!(!client.wait_for_bytes(Duration::from_millis(100)));
    gate.open();
    assert_eq!(client.answer("GET").expect("an answer").text(), "late");
}

#[test]
fn the_client_sees_a_connection_close_and_reset() {
    for (step, fate) in [(Step::Close, Fate::Closed), (Step::Reset, Fate::Reset)] {
        let store = Faulty::always(vec![step.clone()]);
        let mut client = Client::connect(store.address);
        client.request("GET", "/", &[]);
        assert_eq!(client.fate(PATIENCE), fate, "{step:?}");
    }
}

#[test]
fn the_verifying_store_refuses_what_is_not_signed() {
    let origin = Origin::with(Manners::aws());
    origin.put("a.png", "tile");
    let answer = client::send(origin.address(), "GET", "/sky/a.png", &[]);
    assert_eq!(answer.status(), 403, "{answer:?}");
}
