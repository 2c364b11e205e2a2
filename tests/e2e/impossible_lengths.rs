//! A store names a length that no object can have, or a huge one that is possible: neither costs more than
//! an answer.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cached::with_cache;
use crate::client::Client;
use crate::disk::Bench;
use crate::faulty::{self, Faulty, Recorded, Step, head};
use crate::gateway::{Gateway, Setup};

/// No answer takes longer than this.
const SOON: Duration = Duration::from_secs(5);
/// Bytes of the largest object that is believed.
const LARGEST: u64 = 1 << 50;
const IMPOSSIBLE: [u64; 6] = [
    LARGEST + 1,
    10_000_000_000_000_000,
    1_000_000_000_000_000_000,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// A store whose objects have this length, and that sends a few bytes of them and then stalls.
fn store_of(length: u64) -> Faulty {
    Faulty::scripted(move |request, _| {
        let (first, last) = asked(request, length);
        let size = (last - first).saturating_add(1);
        let sent = size.min(100_000);
        let part = format!("bytes {first}-{last}/{length}");
        let announced = if first == 0 && last == length - 1 { length } else { size }.to_string();
        let headers = [("ETag", "\"a\""), ("Content-Length", &announced), ("Content-Range", &part)];
        let head = match request.header("range") {
            Some(_) => head(206, &headers),
            None => head(200, &headers[..2]),
        };
        if request.method == "HEAD" {
            return vec![head];
        }
        let body = vec![b'x'; usize::try_from(sent).expect("a small number")];
        let mut steps = vec![head, Step::Send(body)];
        steps.extend((sent < size).then_some(Step::Stall));
        steps
    })
}

/// The first and the last byte that a request asks for.
fn asked(request: &Recorded, length: u64) -> (u64, u64) {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    match range.and_then(|range| range.split_once('-')) {
        None => (0, length - 1),
        Some(("", count)) => (length - count.parse::<u64>().expect("a number"), length - 1),
        Some((first, last)) => {
            let last = last.parse().unwrap_or(u64::MAX).min(length - 1);
            (first.parse().expect("a number"), last)
        }
    }
}

const RANGES: [Option<&str>; 8] = [
    None,
    Some("bytes=0-9"),
    Some("bytes=0-5000000000000000"),
    Some("bytes=100-"),
    Some("bytes=-1000"),
    Some("bytes=500000000000000-"),
    Some("bytes=500000000000000-700000000000000"),
    Some("bytes=0-9,1000-1500000000000"),
];

/// The status of one answer, whose body nobody reads.
fn status(gateway: &Gateway, method: &str, path: &str, range: Option<&str>) -> u16 {
    let mut client = Client::connect(gateway.address);
    let headers: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
    let began = Instant::now();
    client.request(method, path, &headers);
    let head = client.head().unwrap_or_else(|| panic!("{method} {range:?}: no answer"));
    assert!(began.elapsed() < SOON, "{method} {range:?}: {:?}", began.elapsed());
    head.status
}

/// All requests, with a probe after each.
fn ask_all(gateway: &Gateway, is_right: impl Fn(u16) -> bool, what: &str) {
    for method in ["GET", "HEAD"] {
        for (nth, range) in RANGES.into_iter().enumerate() {
            let path = format!("/s3proxy/s3/sky/{method}{nth}.fits");
            for _ in 0..2 {
                let found = status(gateway, method, &path, range);
                assert!(is_right(found), "{what}, {method} {range:?}: {found}");
            }
            assert_eq!(status(gateway, "GET", "/", None), 200, "{what}, {method} {range:?}");
        }
    }
}

fn patient(setup: Setup) -> Setup {
    setup.yaml(json!({"upstream": {"read_timeout": "2s", "first_byte_timeout": "2s"}}))
}

#[test]
fn a_length_that_no_object_can_have_is_refused() {
    for length in IMPOSSIBLE {
        let store = store_of(length);
        let bench = Bench::new();
        for (road, setup) in [
            ("uncached", Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0")),
            ("cached", with_cache(&store.url())),
            ("on disk", bench.setup(&store.url())),
        ] {
            let gateway = patient(setup.tolerate("upstream_protocol")).start();
            ask_all(&gateway, |status| status == 502, &format!("{length} bytes, {road}"));
        }
    }
}

#[test]
fn the_largest_object_costs_no_more_than_its_answer() {
    let store = store_of(LARGEST);
    let bench = Bench::new();
    for (road, setup) in [
        ("uncached", Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0")),
        ("cached", with_cache(&store.url())),
        ("on disk", bench.setup(&store.url())),
    ] {
        let gateway = patient(setup.tolerate("upstream")).start();
        ask_all(&gateway, |status| matches!(status, 200 | 206), road);
    }
    // Nor does its head that is read from the disk after a restart.
    let gateway = patient(bench.setup(&store.url()).tolerate("upstream")).start();
    ask_all(&gateway, |status| matches!(status, 200 | 206), "after a restart");
    let began = Instant::now();
    let inspected = bench.admin().send("GET", "/cache/sky/GET0.fits");
    assert_eq!(inspected.status(), 200, "{}", inspected.text());
    bench.purge("/sky/GET0.fits");
    // The inspection looks up tens of thousands of blocks of 2^30, beside the threads of requests.
    assert!(began.elapsed() < 4 * SOON, "the inspection and the purge took {:?}", began.elapsed());
}

#[test]
fn a_416_with_an_impossible_length_is_refused() {
    let store = Faulty::scripted(|_, _| {
        faulty::answer(416, &[("Content-Range", "bytes */18446744073709551615")], b"")
    });
    let gateway = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = gateway.tolerate("upstream_protocol").start();
    let answer = gateway.object_with("sky/a.fits", &[("range", "bytes=0-9")]);
    answer.refused("upstream_protocol", "cause");
}
