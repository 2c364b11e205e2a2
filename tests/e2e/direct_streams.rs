//! Random requests in random pieces: a gateway that answers in front of the framework sends what one that
//! does not sends, byte for byte but for what differs from request to request.
//!
//! `S3PROXY_RANDOM_STREAMS` is the number of connections, 100 unless it is set; `S3PROXY_RANDOM_SEED`
//! repeats the streams of a failed run, which prints its seed.

use std::time::Duration;

use crate::cached::with_cache;
use crate::client::Fate;
use crate::gateway::Gateway;
use crate::origin::Origin;
use crate::random_urls::number;
use crate::tally::trial;

const METHODS: &[&str] = &["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "get", "G ET", ""];
const TARGETS: &[&str] = &[
    "/s3proxy/s3/sky/a.png",
    "/s3proxy/s3/sky/a.png",
    "/s3proxy/s3/sky/b.png?x=1",
    "/s3proxy/s3/sky/missing.png",
    "/s3proxy/s3/sky/a.exe",
    "/s3proxy/s3/sky/%zz.png",
    "/s3proxy/",
    "/s3proxy//s3/sky/a.png",
    "http://h/s3proxy/s3/sky/a.png",
    "HTTP://x:80/s3proxy/s3/sky/a.png",
    "http://x/s3proxy",
    "/s3proxy/s3/sky/<a>`.png?\"",
    "*",
    "/nowhere",
    "",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1",
    "",
];
const LINES: &[&str] = &[
    "Host: other",
    "X-Request-ID: mine",
    "Range: bytes=2-5",
    "Range: bytes=-3",
    "Range: bytes=900-",
    "Range: lines=1-2",
    "If-None-Match: *",
    "If-Match: \"other\"",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: close, te",
    "Content-Length: 0",
    "Content-Length: 3",
    "Content-Length: +1",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Origin: https://portal.example.org",
    "Cache-Control: no-cache",
    "Bad Name: x",
    " folded",
    "Empty:",
    "X: \u{e9}",
];
const ENDS: &[&str] = &["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"];

fn some<'a>(of: &[&'a str], random: &mut fastrand::Rng) -> &'a str {
    of[random.usize(..of.len())]
}

fn request(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut head = [METHODS, TARGETS, VERSIONS].map(|of| some(of, random)).join(" ");
    head.push_str(some(ENDS, random));
    head.push_str("Host: h\r\n");
    for _ in 0..random.usize(..4) {
        head.push_str(some(LINES, random));
        head.push_str(some(ENDS, random));
    }
    head.push_str("\r\n");
    let mut head = head.into_bytes();
    if random.u8(..6) == 0 {
        let place = random.usize(..head.len());
        match random.u8(..3) {
            0 => head[place] = random.u8(..),
            1 => drop(head.remove(place)),
            _ => head.insert(place, random.u8(..)),
        }
    }
    head
}

/// Requests, and one more that ends the connection.
fn stream(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut stream: Vec<u8> = (0..random.usize(..5)).flat_map(|_| request(random)).collect();
    stream.extend(b"GET /s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream
}

/// Sends the stream in these pieces. Returns all that is answered, without what differs from request to
/// request.
fn answers(gateway: &Gateway, pieces: &[&[u8]]) -> String {
    let mut client = gateway.connect();
    // The gateway closes the connection after a refusal.
    let _is_open = pieces.iter().all(|piece| client.try_send(piece)) && client.try_end_sending();
    assert_ne!(client.fate(Duration::from_secs(30)), Fate::Open, "the connection ends");
    let text = String::from_utf8_lossy(client.leftover()).into_owned();
    let lines = text.split("\r\n").map(|line| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "date" | "age" | "x-request-id" => name,
            "cache-status" => line.split("ttl=").next().unwrap_or_default().to_owned(),
            "cache-control" => line.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
            _ => match line.split_once("\"request_id\"") {
                Some((before, after)) => {
                    let rest = after.split_once('}').map_or("", |(_, rest)| rest);
                    format!("{before}{rest}")
                }
                None => line.to_owned(),
            },
        }
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

#[test]
fn random_requests_in_random_pieces_are_answered_as_by_the_framework() {
    let many = number("S3PROXY_RANDOM_STREAMS").unwrap_or(100);
    let seed = number("S3PROXY_RANDOM_SEED").unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let mut random = fastrand::Rng::with_seed(seed);
    let origin = Origin::start();
    origin.put("a.png", "a tile of the sky");
    origin.put("b.png", "another tile");
    let gateways = ["true", "false"].map(|direct| {
        let setup = with_cache(&origin.url())
            .env("S3PROXY_SERVER_DIRECT_HITS", direct)
            .env("S3PROXY_CORS_ORIGINS", "[\"https://portal.example.org\"]")
            .env("S3PROXY_NAME", "gateway")
            // Refused requests are warnings.
            .tolerate("");
        setup.start()
    });
    for gateway in &gateways {
        for key in ["a.png", "b.png", "missing.png"] {
            gateway.object(&format!("sky/{key}"));
        }
    }
    for _ in 0..many {
        let _trial = trial("streams");
        let stream = stream(&mut random);
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(random.usize(1..=rest.len().min(200)));
            pieces.push(piece);
            rest = after;
        }
        let [direct, framework] = gateways.each_ref().map(|gateway| answers(gateway, &pieces));
        assert_eq!(direct, framework, "seed {seed}: {}", stream.escape_ascii());
    }
    for gateway in &gateways {
        assert_eq!(gateway.object("sky/a.png").status(), 200, "seed {seed}");
        assert!(!gateway.log_text().contains("panicked"), "seed {seed}");
    }
}
