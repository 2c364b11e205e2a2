//! Bodies that break off half-way: the rest is requested by range, of the same version, on both roads to a
//! store.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Answer, Ending};
use crate::crowd::{Watched, await_that};
use crate::faulty::{self, Faulty, Recorded, Step, head, settled};
use crate::gateway::{Gateway, Setup};

const ROADS: [(&str, &str); 2] = [("uncached", "0"), ("cached", "64MiB")];
const BREAKS: [Step; 3] = [Step::Close, Step::Reset, Step::Stall];

fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| b'a' + u8::try_from(at % 23).expect("a letter")).collect()
}

/// The bytes that a request asks for.
fn asked(request: &Recorded, size: usize) -> (usize, usize) {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return (0, size - 1);
    };
    (first.parse().expect("a position"), last.parse().unwrap_or(size - 1).min(size - 1))
}

/// A good answer of a store with ranges, of a version with this tag.
fn answer(request: &Recorded, body: &[u8], tag: &str) -> Vec<Step> {
    let (first, last) = asked(request, body.len());
    let range = format!("bytes {first}-{last}/{}", body.len());
    let headers = [("ETag", tag), ("Content-Range", range.as_str())];
    match request.header("range") {
        Some(_) => faulty::answer(206, &headers, &body[first..=last]),
        None => faulty::answer(200, &headers[..1], body),
    }
}

/// The same, broken off after this many bytes of body.
fn broken(request: &Recorded, body: &[u8], tag: &str, after: usize, end: Step) -> Vec<Step> {
    let mut steps = answer(request, body, tag);
    if let Some(Step::Send(bytes)) = steps.last_mut() {
        bytes.truncate(after);
    }
    steps.push(end);
    steps
}

fn gateway(store: &Faulty, memory: &str) -> Setup {
    let upstream = json!({"upstream": {"read_timeout": "1s", "first_byte_timeout": "1s"}});
    Setup::new(&store.url()).yaml(upstream).env("S3PROXY_CACHE_MEMORY", memory)
}

fn get(gateway: &Gateway, headers: &[(&str, &str)]) -> Answer {
    gateway.object_with("sky/a.png", headers)
}

#[test]
fn a_body_that_breaks_off_arrives_whole() {
    for (road, memory) in ROADS {
        for size in [3_000, 100_000, 3_000_000] {
            for end in BREAKS {
                let what = format!("{road}, {size} bytes, {end:?}");
                let breaks = end.clone();
                let whole = body(size);
                let stored = whole.clone();
                let store = Faulty::scripted(move |request, nth| match nth {
                    0 | 1 => broken(request, &stored, "\"a\"", size / 4, breaks.clone()),
                    _ => answer(request, &stored, "\"a\""),
                });
                let gateway = gateway(&store, memory).start();
                let answer = get(&gateway, &[]);
                assert_eq!((answer.status(), answer.ending), (200, Ending::Whole), "{what}");
                assert!(answer.body == whole, "{what}: other bytes");
                let requests = store.requests();
                assert_eq!(requests.len(), 3, "{what}: {requests:?}");
                for rest in &requests[1..] {
                    assert_eq!(rest.header("if-match"), Some("\"a\""), "{what}");
                    assert!(rest.header("range").is_some(), "{what}");
                }
                let line = gateway.line_of(&answer);
                assert_eq!(line["severity"], "info", "{what}: {line}");
                if road == "cached" {
                    assert!(get(&gateway, &[]).body == whole, "{what}: stored");
                    assert_eq!(store.count(), 3, "{what}: stored");
                } else {
                    assert_eq!(line["upstream_attempts"], json!(3), "{what}: {line}");
                }
            }
        }
    }
}

#[test]
fn each_request_for_the_rest_of_a_body_is_counted() {
    const COUNTER: &str = "s3proxy_upstream_continuations_total{profile=\"default\"}";
    let requests = |status| {
        format!("s3proxy_upstream_requests_total{{profile=\"default\",status=\"{status}\"}}")
    };
    for (road, memory) in ROADS {
        let store = Faulty::scripted(|request, nth| match nth {
            0 | 1 => broken(request, &body(10_000), "\"a\"", 1_000, Step::Reset),
            _ => answer(request, &body(10_000), "\"a\""),
        });
        let watched = Watched::start(gateway(&store, memory));
        assert_eq!(watched.metric(COUNTER), 0, "{road}");
        assert!(get(&watched.gateway, &[]).body == body(10_000), "{road}");
        assert_eq!(watched.metric(COUNTER), 2, "{road}");
        // Each is a request of its own, and none a retry.
        await_that("the first request is counted", || watched.metric(&requests(200)) == 1);
        assert_eq!(watched.metric(&requests(206)), 2, "{road}");
        let retries = "s3proxy_upstream_retries_total{profile=\"default\"}";
        assert_eq!(watched.metric(retries), 0, "{road}");
    }
}

#[test]
fn a_range_that_breaks_off_on_the_uncached_road_arrives_whole() {
    const SIZE: usize = 100_000;
    let store = Faulty::scripted(|request, nth| match nth {
        0 => broken(request, &body(SIZE), "\"a\"", 10_000, Step::Reset),
        _ => answer(request, &body(SIZE), "\"a\""),
    });
    let gateway = gateway(&store, "0").start();
    let answer = get(&gateway, &[("range", "bytes=50000-89999")]);
    assert_eq!((answer.status(), answer.ending), (206, Ending::Whole), "{answer:?}");
    assert!(answer.body == body(SIZE)[50_000..90_000]);
}

/// Asserts that the client gets a cut body that is a beginning of the first version.
fn assert_cut(gateway: &Gateway, answer: &Answer, what: &str) {
    assert_eq!((answer.status(), answer.ending), (200, Ending::Cut), "{what}");
    assert!(body(100_000).starts_with(&answer.body), "{what}: other bytes");
    let line = gateway.line_of(answer);
    assert_eq!(line["cause"], "upstream_cut", "{what}: {line}");
}

#[test]
fn a_body_is_never_continued_with_another_version() {
    const SIZE: usize = 100_000;
    let other = || vec![b'!'; SIZE];
    type Then = Box<dyn Fn(&Recorded) -> Vec<Step> + Send + Sync>;
    for (road, memory) in ROADS {
        let cases: Vec<(&str, &'static str, Then)> = vec![
            ("412", "\"a\"", Box::new(|_| faulty::s3_error(412, "PreconditionFailed"))),
            ("gone", "\"a\"", Box::new(|_| faulty::s3_error(404, "NoSuchKey"))),
            ("another tag", "\"a\"", Box::new(move |request| answer(request, &other(), "\"b\""))),
            (
                "no tag",
                "\"a\"",
                Box::new(move |request| {
                    let (first, last) = asked(request, SIZE);
                    let range = format!("bytes {first}-{last}/{SIZE}");
                    faulty::answer(206, &[("Content-Range", &range)], &other()[first..=last])
                }),
            ),
            (
                "ranges are ignored",
                "\"a\"",
                Box::new(move |_| faulty::answer(200, &[("ETag", "\"a\"")], &other())),
            ),
            (
                "another length",
                "\"a\"",
                Box::new(move |request| answer(request, &vec![b'!'; SIZE + 5], "\"a\"")),
            ),
            (
                "another range",
                "\"a\"",
                Box::new(move |_| {
                    let range = format!("bytes 0-9/{SIZE}");
                    let headers = [("ETag", "\"a\""), ("Content-Range", range.as_str())];
                    faulty::answer(206, &headers, &other()[..10])
                }),
            ),
            (
                "a weak tag",
                "W/\"a\"",
                Box::new(move |request| answer(request, &other(), "W/\"a\"")),
            ),
        ];
        for (name, tag, then) in cases {
            let what = format!("{road}, {name}");
            let store = Faulty::scripted(move |request, nth| match nth {
                0 => broken(request, &body(SIZE), tag, 30_000, Step::Close),
                _ => then(request),
            });
            let gateway = gateway(&store, memory).tolerate("upstream_cut").start();
            let answer = get(&gateway, &[]);
            assert_cut(&gateway, &answer, &what);
            let requests = settled(Duration::from_millis(50), || store.count());
            assert_eq!(requests, if name == "a weak tag" { 1 } else { 2 }, "{what}");
        }
    }
}

#[test]
fn the_requests_for_the_rest_of_a_body_are_limited() {
    for (road, memory) in ROADS {
        let store = Faulty::scripted(|request, _| {
            broken(request, &body(100_000), "\"a\"", 1_000, Step::Reset)
        });
        let gateway = gateway(&store, memory).tolerate("upstream_cut").start();
        let answer = get(&gateway, &[]);
        assert_cut(&gateway, &answer, road);
        let requests = settled(Duration::from_millis(50), || store.count());
        assert_eq!(requests, 4, "{road}: the first one and three for the rest");
    }
}

#[test]
fn a_store_that_is_silent_in_a_body_costs_the_client_a_few_seconds() {
    const SIZE: usize = 100_000;
    for (road, memory) in ROADS {
        let store = Faulty::scripted(|request, nth| match nth {
            0 => broken(request, &body(SIZE), "\"a\"", 30_000, Step::Stall),
            _ => answer(request, &body(SIZE), "\"a\""),
        });
        // With the default read_timeout, 30 s.
        let gateway = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", memory).start();
        let began = Instant::now();
        let answer = get(&gateway, &[]);
        assert!(answer.body == body(SIZE), "{road}: {:?}", answer.ending);
        assert!(began.elapsed() < Duration::from_secs(9), "{road}: {:?}", began.elapsed());
    }
}

#[test]
fn a_client_that_reads_slowly_is_no_silent_store() {
    // More than all buffers on the way.
    const SIZE: usize = 40_000_000;
    let store = Faulty::scripted(|_, _| {
        let length = SIZE.to_string();
        vec![head(200, &[("ETag", "\"a\""), ("Content-Length", &length)]), Step::Flood(SIZE)]
    });
    let gateway = gateway(&store, "0").start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    // Thrice the patience with the store.
    std::thread::sleep(Duration::from_millis(3_000));
    let answer = client.answer("GET").expect("an answer");
    assert_eq!((answer.body.len(), answer.ending), (SIZE, Ending::Whole));
    assert_eq!(store.count(), 1);
}

#[test]
fn a_client_that_closes_its_half_of_the_connection_gets_its_answer() {
    for (road, memory) in ROADS {
        let store = Faulty::scripted(|request, _| {
            let pause = Step::Pause(Duration::from_millis(200));
            [vec![pause], answer(request, &body(100_000), "\"a\"")].concat()
        });
        let gateway = gateway(&store, memory).start();
        let mut client = gateway.connect();
        client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
        client.end_sending();
        let answer = client.answer("GET").unwrap_or_else(|| panic!("{road}: no answer"));
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole), "{road}");
        assert!(answer.body == body(100_000), "{road}");
    }
}
