//! Bodies that arrive incomplete: every reader can detect it, and no part is cached.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::cached::{status, with_cache};
use crate::client::{Client, Ending};
use crate::crowd::{Watched, await_requests_read, await_that, connect, numbered};
use crate::faulty::{self, Faulty, Gate, OBJECT_HEADERS, Step, head};
use crate::tally::trial;

const TILE: &str = "/s3proxy/s3/sky/a.png";
const READERS: usize = 8;

fn whole(framing: (&str, &str), body: &[u8]) -> Vec<Step> {
    let headers = [&[framing], &OBJECT_HEADERS[..]].concat();
    vec![head(200, &headers), Step::Send(body.to_vec())]
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in body.chunks(10_000) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

#[test]
fn every_reader_detects_a_cut_body_and_nothing_is_cached() {
    let body = numbered(1_300_000);
    let length = body.len().to_string();
    let (length, chunked) = (("Content-Length", length.as_str()), ("Transfer-Encoding", "chunked"));
    for (what, framing, sent, end) in [
        ("closed", length, body.clone(), Step::Close),
        ("reset", length, body.clone(), Step::Reset),
        ("stalled", length, body.clone(), Step::Stall),
        ("closed in a chunk", chunked, in_chunks(&body), Step::Close),
        ("reset in a chunk", chunked, in_chunks(&body), Step::Reset),
        (
            "no chunk after this",
            chunked,
            [in_chunks(&body)[..9000].to_vec(), b"\r\nzz\r\n".to_vec()].concat(),
            Step::Stall,
        ),
    ] {
        let (gate, well) = (Gate::new(), Arc::new(AtomicBool::new(false)));
        let (held, healed) = (gate.clone(), Arc::clone(&well));
        let healthy = match framing.0 {
            "Content-Length" => whole(framing, &body),
            _ => whole(framing, &in_chunks(&body)),
        };
        let mut cut = whole(framing, &sent[..sent.len() / 3]);
        cut.extend([Step::Wait(held), end]);
        let store = Faulty::scripted(move |_, _| {
            if healed.load(Ordering::SeqCst) { healthy.clone() } else { cut.clone() }
        });
        let setup = with_cache(&store.url())
            .yaml(json!({"upstream": {"first_byte_timeout": "1s", "read_timeout": "1s"}}));
        let watched = Watched::start(setup.tolerate("upstream_cut").tolerate("pstream"));
        let mut readers = connect(&watched.gateway, READERS);
        for reader in &mut readers {
            reader.request("GET", TILE, &[]);
        }
        await_requests_read(&watched.gateway, READERS);
        let asked = if framing == length { 1 } else { READERS };
        store.await_requests(asked);
        gate.open();
        for reader in &mut readers {
            let _trial = trial("cut bodies");
            let Some(answer) = reader.answer("GET") else { continue };
            if answer.status() == 200 {
                assert_eq!(answer.ending, Ending::Cut, "{what}");
                assert!(body.starts_with(&answer.body), "{what}: other bytes");
            } else {
                assert!(matches!(answer.status(), 502 | 504), "{what}: {}", answer.status());
            }
        }
        // The rest of the body is requested once: this store does not support ranges.
        let rest = usize::from(framing == length);
        assert_eq!(store.count(), asked + rest, "{what}: a body that has begun is not begun again");
        if framing == length {
            watched.await_fetches_done();
            assert_eq!(watched.counter("cut_fills"), 1, "{what}");
            // A reader that received the error releases its reference a moment later.
            await_that("nothing is held", || watched.counter("memory_bytes") == 0);
        }
        well.store(true, Ordering::SeqCst);
        let next = watched.gateway.object("sky/a.png");
        assert_eq!((next.status(), next.ending), (200, Ending::Whole), "{what}");
        assert!(next.body == body, "{what}");
        assert!(status(&next).starts_with("s3proxy; fwd=miss"), "{what}: {}", status(&next));
        assert_eq!(store.count(), asked + rest + 1, "{what}");
        let again = watched.gateway.object("sky/a.png");
        assert!(again.body == body, "{what}");
        // A chunked body reveals its length too late to be cached.
        let uncached = usize::from(framing != length);
        assert_eq!(store.count(), asked + rest + 1 + uncached, "{what}");
    }
}

#[test]
fn a_range_of_a_cut_body_is_whole_where_its_bytes_arrived() {
    let body = numbered(400_000);
    let gate = Gate::new();
    let held = gate.clone();
    let mut cut = whole(("Content-Length", "400000"), &body[..200_000]);
    cut.extend([Step::Wait(held), Step::Close]);
    let store = Faulty::always(cut);
    let gateway = with_cache(&store.url()).tolerate("upstream_cut").start();
    let mut first = gateway.connect();
    first.request("GET", TILE, &[]);
    store.await_requests(1);
    let mut readers = connect(&gateway, 3);
    let ranges = ["bytes=0-99", "bytes=199990-200010", "bytes=-5"];
    for (reader, range) in readers.iter_mut().zip(ranges) {
        reader.request("GET", TILE, &[("Range", range)]);
    }
    await_requests_read(&gateway, 4);
    gate.open();
    let [early, across, last] = &mut readers[..] else { panic!("three readers") };
    let early = early.answer("GET").expect("an answer");
    assert_eq!((early.status(), early.ending), (206, Ending::Whole));
    assert!(early.body == body[..100]);
    for reader in [across, last] {
        let _trial = trial("cut bodies");
        if let Some(answer) = reader.answer("GET") {
            assert!(answer.status() != 206 || answer.ending == Ending::Cut, "{answer:?}");
        }
    }
    assert_eq!(first.answer("GET").map(|answer| answer.ending), Some(Ending::Cut));
}

#[test]
fn bytes_after_the_content_length_are_discarded() {
    let store = Faulty::scripted(|request, _| match request.target.as_str() {
        "/sky/a.png" => {
            let mut steps = faulty::object(b"tile");
            steps.push(Step::Send(
                [b"more".as_slice(), b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"]
                    .concat(),
            ));
            steps
        }
        target => faulty::object(target.as_bytes()),
    });
    let gateway = with_cache(&store.url()).tolerate("more data than expected").start();
    for nth in 0..20 {
        let long = gateway.object("sky/a.png");
        let right = long.ending != Ending::Whole || long.text() == "tile";
        assert!(right, "{long:?}");
        let next = format!("sky/b{nth}.png");
        assert_eq!(gateway.object(&next).text(), format!("/{next}"));
    }
}

#[test]
fn a_length_that_contradicts_the_chunks_is_never_cached() {
    for (length, chunks) in [("9", "4\r\ntile\r\n0\r\n\r\n"), ("2", "4\r\ntile\r\n0\r\n\r\n")] {
        let headers =
            [&[("Content-Length", length), ("Transfer-Encoding", "chunked")], &OBJECT_HEADERS[..]]
                .concat();
        let store = Faulty::always(vec![head(200, &headers), Step::Send(chunks.into())]);
        let gateway = with_cache(&store.url()).tolerate("pstream").start();
        for nth in 1..4 {
            let _trial = trial("cut bodies");
            let mut client = gateway.connect();
            client.request("GET", TILE, &[]);
            if let Some(answer) = client.answer("GET") {
                let short = answer.status() == 200 && answer.ending == Ending::Whole;
                assert!(!short || answer.text() == "tile", "{length}: {answer:?}");
                assert!(!status(&answer).contains("hit"), "{length}: {answer:?}");
            }
            assert!(store.count() >= nth, "{length}");
        }
    }
}

#[test]
fn no_truncated_body_looks_whole_or_is_cached() {
    const ROUNDS: usize = 300;
    let body = Arc::new(numbered(150_000));
    let sent = Arc::clone(&body);
    let seen: Mutex<HashMap<String, usize>> = Mutex::default();
    let store = Faulty::scripted(move |request, _| {
        let mut seen = seen.lock().expect("no script panics");
        let nth = seen.entry(request.target.clone()).or_default();
        *nth += 1;
        if *nth > 1 {
            return faulty::object(&sent);
        }
        // Another cut position in every round, the first and the last byte included.
        let round: usize = request
            .target
            .bytes()
            .filter(u8::is_ascii_digit)
            .fold(0, |n, digit| n * 10 + usize::from(digit - b'0'));
        let cut = (round * 7919) % sent.len();
        let mut steps = whole(("Content-Length", "150000"), &sent[..cut]);
        // So that most readers arrive while the fetch is in flight.
        steps.push(Step::Pause(Duration::from_millis(3)));
        steps.push(if round.is_multiple_of(2) { Step::Close } else { Step::Reset });
        steps
    });
    let watched = Watched::start(with_cache(&store.url()).tolerate("upstream_cut"));
    let (cuts, together) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let barrier = Barrier::new(READERS);
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (body, barrier, watched, cuts, together) =
                (&body, &barrier, &watched, &cuts, &together);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    barrier.wait();
                    let _trial = trial("cut bodies");
                    let path = format!("/s3proxy/s3/sky/t{round}.png");
                    let mut client = Client::connect(watched.gateway.address);
                    client.request("GET", &path, &[]);
                    if let Some(answer) = client.answer("GET") {
                        assert_eq!(answer.status(), 200);
                        together.fetch_add(
                            usize::from(status(&answer).ends_with("collapsed")),
                            Ordering::Relaxed,
                        );
                        cuts.fetch_add(
                            usize::from(answer.ending == Ending::Cut),
                            Ordering::Relaxed,
                        );
                        // A late reader is served by a fetch of its own.
                        let complete = answer.body == **body;
                        assert_eq!(
                            complete,
                            answer.ending == Ending::Whole,
                            "{path}: {} bytes",
                            answer.body.len()
                        );
                        assert!(body.starts_with(&answer.body), "{path}: other bytes");
                    }
                    barrier.wait();
                    if reader == round % READERS {
                        let after = watched.gateway.get(&path);
                        assert!(
                            after.ending == Ending::Whole && after.body == **body,
                            "{path}: was kept"
                        );
                    }
                }
            });
        }
    });
    assert_eq!(watched.counter("cut_fills"), ROUNDS as u64);
    let (cuts, together) = (cuts.into_inner(), together.into_inner());
    assert!(cuts >= ROUNDS, "{cuts} readers saw a cut");
    assert!(together >= ROUNDS, "{together} readers shared a fetch");
}
