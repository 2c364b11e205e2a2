//! Slow readers of cached answers, whose places among `downstream.max_connections` others want.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use super::raw::{ENHANCE_YOUR_CALM, Raw};
use super::{await_ends, start};
use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::narrow;
use crate::gateway::Gateway;
use crate::origin::Origin;

const PATH: &str = "/s3proxy/s3/sky/big.png";
/// As long as the rate is averaged over, at least.
const JUDGED: Duration = Duration::from_secs(30);
/// And with what a busy machine adds.
const LONGEST: Duration = Duration::from_secs(80);

/// Requests objects and opens windows every half second, until the end of all requests. Returns when that was.
fn read_slowly(raw: &mut Raw, requests: usize, each: impl Fn(&mut Raw, u32)) -> Duration {
    let streams: Vec<_> = (0..requests).map(|_| raw.request(PATH, &[])).collect();
    let began = Instant::now();
    while !raw.is_closed && streams.iter().any(|stream| !raw.received[stream].is_reset) {
        assert!(began.elapsed() < LONGEST, "{:?}", raw.received);
        raw.read_for(Duration::from_millis(500));
        for stream in &streams {
            if !raw.received[stream].is_reset {
                each(raw, *stream);
            }
        }
    }
    let whole = streams.iter().filter(|stream| raw.received[stream].is_whole).count();
    assert_eq!(whole, 0, "a response that is cut looks whole");
    began.elapsed()
}

/// A byte of each response at a time: each is reset, and the connection is of use.
fn streams_of_one_byte(address: SocketAddr) {
    let mut raw = Raw::open(address, 1);
    let took = read_slowly(&mut raw, 8, |raw, stream| raw.open_window(stream, 1));
    assert!(took >= JUDGED, "judged after {took:?}");
    assert!(!raw.is_closed && raw.goaway.is_none(), "the connection has ended");
    let small = raw.request("/s3proxy/s3/sky/a.png", &[]);
    raw.open_window(small, 100);
    raw.read_for(Duration::from_secs(2));
    assert!(raw.received[&small].is_whole, "{:?}", raw.received);
}

/// A byte of the connection at a time: it ends, with the reason.
fn connection_of_one_byte(address: SocketAddr) {
    let mut raw = Raw::open(address, 1 << 24);
    let took = read_slowly(&mut raw, 8, |raw, stream| {
        if stream == 1 {
            raw.open_window(0, 1);
        }
    });
    assert!(took >= JUDGED, "judged after {took:?}");
    assert_eq!(raw.goaway, Some(ENHANCE_YOUR_CALM));
}

/// A view of many tiles over a line of 24 KiB a second, where each of them waits for its turn for longer than
/// `downstream.write_timeout`: none is cut, and an urgent one that is asked for later is finished before.
fn many_tiles_on_a_slow_line(address: SocketAddr) {
    let mut raw = Raw::open(address, 1 << 24);
    let streams: Vec<_> = (0..64).map(|_| raw.request(PATH, &[])).collect();
    let (began, mut urgent) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(45) {
        if urgent == 0 && began.elapsed() > Duration::from_secs(20) {
            urgent = raw.request("/s3proxy/s3/sky/urgent.png", &[("priority", "u=1")]);
        }
        raw.read_for(Duration::from_millis(500));
        raw.open_window(0, 12 << 10);
        assert!(!raw.is_closed && raw.goaway.is_none(), "ended after {:?}", began.elapsed());
        let cut = raw.received.values().filter(|received| received.is_reset).count();
        assert_eq!(cut, 0, "cut after {:?}", began.elapsed());
    }
    assert!(raw.received[&urgent].is_whole, "{:?}", raw.received);
    raw.open_window(0, 1 << 30);
    while !raw.is_closed && streams.iter().any(|stream| !raw.received[stream].is_whole) {
        assert!(began.elapsed() < 2 * LONGEST, "{:?}", raw.received);
        raw.read_for(Duration::from_millis(100));
    }
    assert!(streams.iter().all(|stream| raw.received[stream].bytes == 1 << 20));
}

/// A byte at a time over HTTP/1.1: TCP opens no window of so few, and the client is taken for one that has vanished.
fn connection_of_http_1(gateway: &Gateway) {
    let mut client = narrow(gateway.address);
    let head = "GET /s3proxy/s3/sky/huge.png HTTP/1.1\r\nHost: h\r\nX-Request-ID: over-1\r\n\r\n";
    client.write_all(head.as_bytes()).expect("sent");
    let began = Instant::now();
    while !gateway.log_text().contains("over-1") {
        assert!(began.elapsed() < LONGEST, "the client still reads");
        client.read_exact(&mut [0]).expect("a byte");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(gateway.line_of_id("over-1")["cause"], "client_gone");
}

#[test]
fn a_client_that_takes_less_than_the_minimum_rate_of_cached_answers_is_ended() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    origin.put("urgent.png", "0123456789abcdef".repeat(4 << 10));
    origin.put("big.png", "0123456789abcdef".repeat(64 << 10));
    origin.put("huge.png", "0123456789abcdef".repeat(1 << 20));
    for_both(|direct| {
        let setup = with_cache(&origin.url())
            .yaml(json!({"downstream": {"write_timeout": "5s"}}))
            .env("S3PROXY_SERVER_DIRECT_HITS", direct);
        let (setup, admin) = Admin::of(setup);
        let gateway = start(setup.tolerate("client_gone"));
        for key in ["a.png", "urgent.png", "big.png", "huge.png"] {
            assert_eq!(gateway.object(&format!("sky/{key}")).status(), 200);
        }
        let address = gateway.address;
        std::thread::scope(|scope| {
            scope.spawn(|| streams_of_one_byte(address));
            scope.spawn(|| connection_of_one_byte(address));
            scope.spawn(|| many_tiles_on_a_slow_line(address));
            scope.spawn(|| connection_of_http_1(&gateway));
        });
        await_ends(&admin, "slow_reader", 1);
    });
}

/// For hits in front of the framework, and through it, at the same time.
fn for_both(test: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for direct in ["true", "false"] {
            let test = &test;
            scope.spawn(move || test(direct));
        }
    });
}
