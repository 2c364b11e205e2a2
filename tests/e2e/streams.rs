//! Bodies in transfer: cut, smuggled, delayed, aborted, and several stores at once.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Ending, Fate, PATIENCE};
use crate::faults::{assert_failed, hasty};
use crate::faulty::{self, Faulty, Gate, Step, head};
use crate::gateway::Setup;
use crate::tally::{trial, trials};

#[test]
fn a_body_cut_short_is_never_a_whole_looking_answer() {
    let length = [("Content-Length", "100000")];
    let chunked = [("Transfer-Encoding", "chunked")];
    let half = vec![b'h'; 50_000];
    let half_chunked = [b"c350\r\n".as_slice(), &half, b"\r\n"].concat();
    let part_of_chunk = [b"186a0\r\n".as_slice(), &half].concat();
    for (what, headers, body) in [
        ("length", &length, half.clone()),
        ("between chunks", &chunked, half_chunked),
        ("inside a chunk", &chunked, part_of_chunk),
        ("before the first byte", &length, Vec::new()),
    ] {
        for end in [Step::Close, Step::Reset, Step::Stall] {
            let _trial = trial("cut bodies");
            let steps = vec![head(200, headers), Step::Send(body.clone()), end.clone()];
            let upstream = Faulty::always(steps);
            let gateway = hasty(&upstream.url()).tolerate("Upstream").tolerate("imed").start();
            let mut client = gateway.connect();
            client.request("GET", "/s3proxy/s3/sky/a.png", &[("X-Request-ID", "cut")]);
            let answer = client.answer("GET");
            let line = gateway.line_of_id("cut");
            if let Some(answer) = answer {
                if answer.status() == 200 {
                    assert_eq!(answer.ending, Ending::Cut, "{what} {end:?}");
                    assert!(answer.body.iter().all(|b| *b == b'h'), "{what} {end:?}");
                    assert_ne!(client.fate(PATIENCE), Fate::Open, "{what} {end:?}");
                } else {
                    assert!(matches!(answer.status(), 502 | 504), "{what} {end:?}");
                }
            }
            assert!(line["cause"].is_string(), "{what} {end:?}: {line}");
            assert!(upstream.count() <= 2, "{what} {end:?}: no retry after the first byte");
        }
    }
}

#[test]
fn a_body_without_length_or_chunks_is_not_passed_as_whole() {
    let _trial = trial("cut bodies");
    // A store that crashes and one that is done look the same here.
    let upstream =
        Faulty::always(vec![head(200, &[]), Step::Send(b"perhaps all".to_vec()), Step::Close]);
    let gateway = Setup::new(&upstream.url()).tolerate("Upstream").tolerate("s3://").start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    if let Some(answer) = client.answer("GET") {
        let telling = answer.status() == 502 || answer.ending != Ending::Whole;
        assert!(telling, "{answer:?}");
    }
}

#[test]
fn bytes_behind_the_announced_length_never_reach_any_client() {
    let upstream = Faulty::scripted(|request, _| match request.target.as_str() {
        "/sky/long.png" => vec![Step::Send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntileHTTP/1.1 200 OK\r\n\
              Content-Length: 8\r\n\r\npoisoned"
                .to_vec(),
        )],
        _ => faulty::object(b"good"),
    });
    let gateway = Setup::new(&upstream.url()).tolerate("").start();
    for _ in 0..3 {
        let _trial = trial("cut bodies");
        let long = gateway.object("sky/long.png");
        assert!(!long.text().contains("poisoned"), "{long:?}");
        let next = gateway.object("sky/next.png");
        assert_eq!((next.status(), next.text()), (200, "good"));
    }
}

#[test]
fn interim_answers_of_the_store_are_discarded() {
    let upstream = Faulty::always(
        [
            vec![Step::Send(b"HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\n".to_vec())],
            faulty::object(b"tile"),
        ]
        .concat(),
    );
    let gateway = Setup::new(&upstream.url()).tolerate("Upstream").tolerate("s3://").start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    let mut answer = client.answer("GET").expect("an answer");
    while answer.status() < 200 {
        assert_eq!(answer.header("link"), None, "{answer:?}");
        answer = client.answer("GET").expect("a final answer");
    }
    assert!(matches!(answer.status(), 200 | 502), "{answer:?}");
}

#[test]
fn a_client_that_goes_away_stops_the_fetch() {
    for (what, steps) in [
        ("before the answer", vec![Step::Stall]),
        (
            "inside the body",
            vec![
                head(200, &[("Content-Length", "1000000")]),
                Step::Flood(faulty::MORE_THAN_A_BUFFER),
                Step::Stall,
            ],
        ),
        ("under load", vec![head(200, &[("Content-Length", "1073741824")]), Step::Flood(1 << 30)]),
    ] {
        let upstream = Faulty::always(steps);
        let gateway = Setup::new(&upstream.url())
            .yaml(json!({"upstream": {"first_byte_timeout": "60s", "read_timeout": "60s", "total_timeout": "60s"}}))
            .tolerate("s3://")
            .tolerate("ownstream")
            .start();
        let mut client = gateway.connect();
        client.request("GET", "/s3proxy/s3/sky/a.fits", &[]);
        upstream.await_requests(1);
        if what != "before the answer" {
            assert_eq!(client.head().expect("a head").status, 200, "{what}");
        }
        let _trial = trial("greedy clients");
        drop(client);
        upstream.await_hung_up(1);
        assert_eq!(upstream.count(), 1, "{what}: no retry without a client");
    }
}

#[test]
fn a_client_that_does_not_read_holds_the_store_back() {
    let gate = Gate::new();
    let total: usize = 256 << 20;
    let length = total.to_string();
    let upstream = Faulty::always(vec![
        head(200, &[("Content-Length", &length)]),
        Step::Flood(total),
        Step::Wait(gate.clone()),
    ]);
    let gateway = Setup::new(&upstream.url()).tolerate("s3://").tolerate("ownstream").start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.fits", &[]);
    assert_eq!(client.head().expect("a head").status, 200);
    // The kernel's buffers of four sockets take some megabytes; the gateway's own are small.
    let _trial = trial("greedy clients");
    let taken = faulty::settled(Duration::from_millis(300), || upstream.flooded());
    assert!(taken < 64 << 20, "{taken} bytes were fetched for a client that reads nothing");
    gate.open();
}

#[test]
fn a_client_that_never_reads_is_given_up_in_time() {
    let total: usize = 1 << 30;
    let length = total.to_string();
    let upstream =
        Faulty::always(vec![head(200, &[("Content-Length", &length)]), Step::Flood(total)]);
    let gateway = Setup::new(&upstream.url())
        .yaml(json!({"downstream": {"write_timeout": "500ms"}}))
        .tolerate("s3://")
        .start();
    let mut client = gateway.connect();
    let _trial = trial("greedy clients");
    client.request("GET", "/s3proxy/s3/sky/a.fits", &[("X-Request-ID", "never-reads")]);
    upstream.await_hung_up(1);
    gateway.line_of_id("never-reads");
}

#[test]
fn a_large_object_passes_through_little_memory() {
    let total: usize = 256 << 20;
    let length = total.to_string();
    let upstream =
        Faulty::always(vec![head(200, &[("Content-Length", &length)]), Step::Flood(total)]);
    let gateway = Setup::new(&upstream.url()).start();
    let before = gateway.peak_memory();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.fits", &[]);
    let head = client.head().expect("a head");
    let (read, ending) = client.count_body(&head);
    assert_eq!((read, ending), (total, Ending::Whole));
    let _trial = trial("looks at memory");
    let added = gateway.peak_memory().saturating_sub(before);
    assert!(added < 64 << 20, "{added} bytes");
}

#[test]
fn answers_are_never_mixed_up_under_load() {
    let upstream = Faulty::scripted(|request, _| {
        let length = 1 + request.target.len() * 997 % 50_000;
        let body: Vec<u8> = request.target.bytes().cycle().take(length).collect();
        match request.target.len() % 7 {
            0 => faulty::s3_error(404, "NoSuchKey"),
            1 => [faulty::object(&body), vec![Step::Close]].concat(),
            _ => faulty::object(&body),
        }
    });
    let gateway = Setup::new(&upstream.url()).start();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let mut client = gateway.connect();
            scope.spawn(move || {
                for nth in 0..100 {
                    let target = format!("/sky/{thread}/{}.png", "n".repeat(1 + nth * 7 % 40));
                    let method = if nth % 5 == 0 { "HEAD" } else { "GET" };
                    let answer = client.exchange(method, &format!("/s3proxy/s3{target}"), &[]);
                    if target.len() % 7 == 0 {
                        assert_eq!(answer.status(), 404, "{target}");
                        continue;
                    }
                    let length = 1 + target.len() * 997 % 50_000;
                    let body: Vec<u8> = target.bytes().cycle().take(length).collect();
                    assert_eq!(answer.header("content-length"), Some(&*length.to_string()));
                    let expected = if method == "GET" { body } else { Vec::new() };
                    assert!(answer.body == expected, "{method} {target}: another body");
                }
            });
        }
    });
}

#[test]
fn a_slow_store_delays_no_request_to_another() {
    let gate = Gate::new();
    let slow = Faulty::always([vec![Step::Wait(gate.clone())], faulty::object(b"late")].concat());
    let quick = Faulty::spy();
    let gateway = Setup::new(&quick.url())
        .profile("slow", &slow.url())
        .yaml(json!({"upstream": {"first_byte_timeout": "30s", "read_timeout": "30s", "total_timeout": "30s"}}))
        .start();
    let mut waiting: Vec<_> = (0..64)
        .map(|i| {
            let mut client = gateway.connect();
            client.request("GET", &format!("/s3proxy/s3/slow@sky/{i}.png"), &[]);
            client
        })
        .collect();
    slow.await_requests(64);
    let _trials = trials("greedy clients", 64);
    for _ in 0..10 {
        let began = Instant::now();
        assert_eq!(gateway.get("/").status(), 200);
        assert_eq!(gateway.object("sky/a.png").text(), "tile");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    gate.open();
    for client in &mut waiting {
        assert_eq!(client.answer("GET").expect("an answer").text(), "late");
    }
}

#[test]
fn many_dead_stores_delay_no_request_to_another() {
    let dead = Faulty::always(vec![Step::Stall]);
    let quick = Faulty::spy();
    let gateway = hasty(&quick.url())
        .profile("dead", &dead.url())
        .profile("gone", "http://nonexistent.invalid")
        .tolerate("dead@sky")
        .tolerate("gone@sky")
        .tolerate("invalid")
        .tolerate("imed")
        .start();
    let mut waiting: Vec<_> = (0..32)
        .map(|i| {
            let mut client = gateway.connect();
            let profile = if i % 2 == 0 { "dead" } else { "gone" };
            client.request("GET", &format!("/s3proxy/s3/{profile}@sky/{i}.png"), &[]);
            client
        })
        .collect();
    let _trials = trials("greedy clients", waiting.len());
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(gateway.get("/").status(), 200);
        assert_eq!(gateway.object("sky/a.png").text(), "tile");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for client in &mut waiting {
        let answer = client.answer("GET").expect("an answer");
        assert!(matches!(answer.status(), 502 | 504), "{answer:?}");
    }
}

/// A part of an object of 1000 bytes, as a store sends it with these additional headers.
fn part(content_range: &str, framing: (&str, &str), body: &[u8]) -> Vec<Step> {
    let mut headers = faulty::OBJECT_HEADERS.to_vec();
    headers.extend([("Content-Range", content_range), framing]);
    vec![head(206, &headers), Step::Send(body.to_vec()), Step::Close]
}

const CHUNKED: (&str, &str) = ("Transfer-Encoding", "chunked");

#[test]
fn a_part_without_a_detectable_end_is_a_bad_gateway() {
    let upstream = Faulty::always(part("bytes 0-3/1000", ("X-Framing", "none"), b"tile"));
    let gateway = Setup::new(&upstream.url()).start();
    let answer = gateway.object_with("sky/a.png", &[("Range", "bytes=0-3")]);
    let line = assert_failed(&gateway, &answer, &[502]);
    assert_eq!(line["cause"], "upstream_protocol", "{line}");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_part_in_chunks_of_another_length_than_it_says_is_never_whole() {
    for (what, chunks, whole) in [
        ("as long as it says", "a\r\n0123456789\r\n0\r\n\r\n", true),
        ("in two chunks", "4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n", true),
        ("shorter", "5\r\n01234\r\n0\r\n\r\n", false),
        ("empty", "0\r\n\r\n", false),
        ("longer", "f\r\n0123456789abcde\r\n0\r\n\r\n", false),
        ("one chunk too many", "a\r\n0123456789\r\n1\r\na\r\n0\r\n\r\n", false),
    ] {
        let _trial = trial("cut bodies");
        let upstream = Faulty::always(part("bytes 0-9/1000", CHUNKED, chunks.as_bytes()));
        let gateway = Setup::new(&upstream.url()).start();
        let mut client = gateway.connect();
        let headers = [("Range", "bytes=0-9"), ("X-Request-ID", "part")];
        client.request("GET", "/s3proxy/s3/sky/a.png", &headers);
        let answer = client.answer("GET").unwrap_or_else(|| panic!("{what}: no answer"));
        let line = gateway.line_of_id("part");
        if whole {
            assert_eq!((answer.status(), answer.ending), (206, Ending::Whole), "{what}");
            assert_eq!(answer.text(), "0123456789", "{what}");
            continue;
        }
        assert!(line["cause"].is_string() && line["severity"] == "warning", "{what}: {line}");
        assert!("0123456789".starts_with(answer.text()) || answer.status() == 502, "{what}");
        assert!(answer.ending == Ending::Cut || answer.status() == 502, "{what}: {answer:?}");
        assert_ne!(client.fate(PATIENCE), Fate::Open, "{what}");
    }
}

#[test]
fn a_body_in_a_coding_we_cannot_undo_is_a_bad_gateway() {
    for coding in ["gzip", "gzip, chunked", "chunked, gzip", "x"] {
        for (status, range) in [(200, None), (206, Some(("Range", "bytes=0-3")))] {
            let upstream = Faulty::scripted(move |_, _| {
                let mut headers = faulty::OBJECT_HEADERS.to_vec();
                headers.push(("Transfer-Encoding", coding));
                if status == 206 {
                    headers.push(("Content-Range", "bytes 0-3/1000"));
                }
                let body = b"4\r\ntile\r\n0\r\n\r\n".to_vec();
                vec![head(status, &headers), Step::Send(body), Step::Close]
            });
            let gateway = Setup::new(&upstream.url()).start();
            let headers: Vec<_> = range.into_iter().collect();
            let answer = gateway.object_with("sky/a.png", &headers);
            assert_failed(&gateway, &answer, &[502]);
            assert!(!answer.text().contains("tile"), "{coding}: {answer:?}");
        }
    }
}

#[test]
fn a_part_of_unknown_total_is_still_the_part_asked_for() {
    for (content_range, status) in [("bytes 100-109/*", 206), ("bytes 0-9/*", 502)] {
        let upstream = Faulty::always(part(content_range, ("Content-Length", "10"), b"0123456789"));
        let gateway = Setup::new(&upstream.url()).start();
        let answer = gateway.object_with("sky/a.png", &[("Range", "bytes=100-109")]);
        if status == 502 {
            assert_failed(&gateway, &answer, &[502]);
        } else {
            assert_eq!((answer.status(), answer.text()), (206, "0123456789"), "{answer:?}");
        }
        assert_eq!(upstream.count(), 1, "{content_range}");
    }
}
