//! More requests than the gateway accepts: it refuses them quickly, serves cached objects, and
//! protects the store, tiles and other users.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cached::{status, with_cache};
use crate::client::{Answer, Client, Ending, Fate};
use crate::crowd::{Watched, await_that, connect, numbered};
use crate::faulty::{self, Faulty, Gate, Recorded, Step};
use crate::gateway::Setup;
use crate::tally::{trial, trials};

/// Requests while the gateway is over one of its limits.
const OVERLOAD: &str = "requests in overload";

/// The longest wait: `queue_timeout`, plus the time of an answer on a busy machine.
const QUICKLY: Duration = Duration::from_secs(5);

/// A store that answers keys that contain `slow` when the gate opens.
pub(crate) fn slow_behind(gate: &Gate) -> Faulty {
    let gate = gate.clone();
    Faulty::scripted(move |request: &Recorded, _| {
        let mut steps = Vec::new();
        if request.target.contains("slow") {
            steps.push(Step::Wait(gate.clone()));
        }
        match request.header("range") {
            None => steps.extend(faulty::object(b"a tile")),
            Some(_) => {
                let headers = [("ETag", "\"1\""), ("Content-Range", "bytes 0-5/6")];
                steps.extend(faulty::answer(206, &headers, b"a tile"));
            }
        }
        steps
    })
}

/// At most eight concurrent requests to the store; others wait for 100 ms.
pub(crate) fn narrow(store: &str, caching: bool) -> Setup {
    Setup::new(store)
        .env("S3PROXY_UPSTREAM_MAX_IN_FLIGHT", "8")
        .env("S3PROXY_UPSTREAM_CLIENT_SHARE", "100")
        .env("S3PROXY_UPSTREAM_QUEUE_TIMEOUT", "100ms")
        .env("S3PROXY_CACHE_MEMORY", if caching { "64MiB" } else { "0" })
        .tolerate("\"cause\":\"upstream_saturated\"")
}

fn assert_refused(answer: &Answer, code: u16, cause: &str) {
    let _trial = trial(OVERLOAD);
    assert_eq!((answer.status(), answer.ending), (code, Ending::Whole), "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json()["cause"], cause);
}

fn ask(clients: &mut [Client], nth: impl Fn(usize) -> String, headers: &[(&str, &str)]) {
    for (place, client) in clients.iter_mut().enumerate() {
        client.request("GET", &format!("/s3proxy/s3/sky/{}", nth(place)), headers);
    }
}

#[test]
fn store_requests_are_limited_and_hits_are_still_served() {
    for caching in [true, false] {
        let gate = Gate::new();
        let store = slow_behind(&gate);
        let gateway = narrow(&store.url(), caching).start();
        assert_eq!(gateway.object("sky/kept.png").status(), 200);
        let mut clients = connect(&gateway, 8);
        ask(&mut clients, |nth| format!("slow{nth}.png"), &[]);
        store.await_requests(9);
        let began = Instant::now();
        let refused = gateway.object("sky/other.png");
        assert!(began.elapsed() < QUICKLY, "{:?}", began.elapsed());
        assert_refused(&refused, 503, "upstream_saturated");
        assert_eq!(gateway.get("/").status(), 200);
        if caching {
            let _trial = trial(OVERLOAD);
            let kept = gateway.object("sky/kept.png");
            assert!(status(&kept).starts_with("s3proxy; hit"), "{}", status(&kept));
            // A request for an object that is being fetched waits for that fetch.
            let mut follower = gateway.connect();
            follower.request("GET", "/s3proxy/s3/sky/slow0.png", &[]);
            clients.push(follower);
        }
        gate.open();
        let _trials = trials(OVERLOAD, clients.len());
        for client in &mut clients {
            let answer = client.answer("GET").expect("an answer");
            assert_eq!((answer.status(), answer.text()), (200, "a tile"));
        }
        assert_eq!(store.count(), 9, "caching {caching}");
        // Its permits are free again.
        assert_eq!(gateway.object("sky/other.png").status(), 200, "caching {caching}");
    }
}

#[test]
fn one_client_does_not_take_an_uncached_profile_from_the_others() {
    for greedy in [&[("X-Auth-Request-User", "greedy")], &[("X-Forwarded-For", "192.0.2.7")]] {
        let gate = Gate::new();
        let store = slow_behind(&gate);
        let half = narrow(&store.url(), false).env("S3PROXY_UPSTREAM_CLIENT_SHARE", "50");
        let gateway = half.start();
        let mut clients = connect(&gateway, 4);
        ask(&mut clients, |nth| format!("slow{nth}.png"), greedy);
        store.await_requests(4);
        let refused = gateway.object_with("sky/other.png", greedy);
        assert_refused(&refused, 429, "user_saturated");
        let modest = [("X-Auth-Request-User", "modest")];
        let _trials = trials("slow readers of a profile", 2);
        assert_eq!(gateway.object_with("sky/other.png", &modest).status(), 200);
        assert_eq!(gateway.object("sky/other.png").status(), 200, "another address");
        gate.open();
        for client in &mut clients {
            assert_eq!(client.answer("GET").expect("an answer").status(), 200);
        }
        assert_eq!(gateway.object_with("sky/other.png", greedy).status(), 200);
    }
}

#[test]
fn range_requests_leave_permits_for_tiles() {
    for caching in [true, false] {
        let gate = Gate::new();
        let store = slow_behind(&gate);
        let gateway = narrow(&store.url(), caching).start();
        let mut clients = connect(&gateway, 6);
        let range = [("Range", "bytes=0-5")];
        ask(&mut clients, |nth| format!("slow{nth}.fits"), &range);
        store.await_requests(6);
        let refused = gateway.object_with("sky/slow7.fits", &range);
        assert_refused(&refused, 503, "upstream_saturated");
        for nth in 0..4 {
            let _trial = trial(OVERLOAD);
            let tile = gateway.object(&format!("sky/tile{nth}.png"));
            assert_eq!((tile.status(), tile.text()), (200, "a tile"), "caching {caching}");
        }
        gate.open();
        let _trials = trials(OVERLOAD, clients.len());
        for client in &mut clients {
            assert_eq!(client.answer("GET").expect("an answer").status(), 206);
        }
    }
}

#[test]
fn stale_objects_are_served_when_no_permit_is_free() {
    let gate = Gate::new();
    let store = slow_behind(&gate);
    let setup = narrow(&store.url(), true);
    let gateway = setup
        .yaml(json!({"cache": {"ttl": 0, "stale_while_revalidate": 0, "stale_if_error": "1h"}}))
        .start();
    assert_eq!(gateway.object("sky/kept.png").status(), 200);
    let mut clients = connect(&gateway, 8);
    ask(&mut clients, |nth| format!("slow{nth}.png"), &[]);
    store.await_requests(9);
    let _trial = trial(OVERLOAD);
    let kept = gateway.object("sky/kept.png");
    assert_eq!((kept.status(), kept.text()), (200, "a tile"));
    assert!(status(&kept).ends_with("detail=stale-if-error"), "{}", status(&kept));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer("GET").expect("an answer").status(), 200);
    }
}

/// The next block of a large file is needed while another request holds the only permit: an answer
/// that has begun waits and is not refused.
#[test]
fn an_answer_that_has_begun_waits_for_a_permit() {
    const BLOCK: usize = 64 * 1024;
    let body = numbered(8 * BLOCK);
    let gate = Gate::new();
    let (held, sent) = (gate.clone(), body.clone());
    let store = Faulty::scripted(move |request: &Recorded, _| {
        if request.target.contains("slow") {
            return [vec![Step::Wait(held.clone())], faulty::object(b"a tile")].concat();
        }
        let range = request.header("range").expect("a range").trim_start_matches("bytes=");
        let (first, last) = range.split_once('-').expect("both ends");
        let first: usize = first.parse().expect("a number");
        let last = last.parse().map_or(sent.len() - 1, |last: usize| last.min(sent.len() - 1));
        let place = format!("bytes {first}-{last}/{}", sent.len());
        let headers = [("ETag", "\"1\""), ("Content-Range", place.as_str())];
        faulty::answer(206, &headers, &sent[first..=last])
    });
    let gateway = with_cache(&store.url())
        .env("S3PROXY_CACHE_MAX_OBJECT", "1000")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "64KiB")
        .env("S3PROXY_UPSTREAM_MAX_IN_FLIGHT", "1")
        .env("S3PROXY_UPSTREAM_QUEUE_TIMEOUT", "50ms")
        .start();
    // So that the metadata is cached.
    let first = gateway.object_with("sky/big.fits", &[("Range", "bytes=0-9")]);
    assert_eq!(first.status(), 206);
    let mut reader = Client::narrow(gateway.address);
    reader.request("GET", "/s3proxy/s3/sky/big.fits", &[]);
    let head = reader.head().expect("a head");
    assert_eq!(head.status, 200);
    let mut other = gateway.connect();
    other.request("GET", "/s3proxy/s3/sky/slow.png", &[]);
    let slow = |request: &Recorded| request.target.contains("slow");
    await_that("the other has the place", || store.requests().iter().any(slow));
    let opener = std::thread::spawn(move || {
        // Longer than other requests wait.
        std::thread::sleep(Duration::from_millis(300));
        gate.open();
    });
    let _trials = trials(OVERLOAD, 2);
    let (come, ending) = reader.body(&head, "GET");
    assert_eq!(ending, Ending::Whole);
    assert!(come == body, "other bytes");
    assert_eq!(other.answer("GET").expect("an answer").status(), 200);
    opener.join().expect("the gate is open");
}

#[test]
fn one_user_does_not_starve_the_others() {
    let gate = Gate::new();
    let store = slow_behind(&gate);
    let gateway =
        with_cache(&store.url()).env("S3PROXY_DOWNSTREAM_MAX_REQUESTS_PER_USER", "3").start();
    let mut clients = connect(&gateway, 3);
    ask(&mut clients, |nth| format!("slow{nth}.png"), &[("X-Auth-Request-User", "greedy")]);
    store.await_requests(3);
    let of = |user| gateway.object_with("sky/tile.png", &[("X-Auth-Request-User", user)]);
    assert_refused(&of("greedy"), 429, "user_saturated");
    let _trials = trials(OVERLOAD, 2 + clients.len());
    assert_eq!(of("modest").status(), 200);
    assert_eq!(gateway.object("sky/tile.png").status(), 200, "a request without a user");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer("GET").expect("an answer").status(), 200);
    }
    assert_eq!(of("greedy").status(), 200);
}

#[test]
fn connections_over_the_limit_are_refused_and_others_are_served() {
    const MOST: usize = 16;
    let store = Faulty::spy();
    let setup = Setup::new(&store.url())
        .env("S3PROXY_DOWNSTREAM_MAX_CONNECTIONS", "16")
        .tolerate("connections_full");
    let watched = Watched::start(setup);
    let gateway = &watched.gateway;
    await_that("no connection is left of the start", || watched.metric("s3proxy_connections") == 0);
    let mut open = connect(gateway, MOST);
    for client in &mut open {
        // The second request head is left unfinished, so that the connection stays open. The answer to the
        // first shows that the gateway has read both.
        let request = "GET / HTTP/1.1\r\nHost: gateway.test\r\n";
        client.send(format!("{request}\r\n{request}"));
        assert_eq!(client.answer("GET").expect("an answer").status(), 200);
    }
    await_that("all are taken in", || watched.metric("s3proxy_connections") == MOST as u64);
    let refused = gateway.get("/");
    assert_refused(&refused, 503, "connections_full");
    assert_eq!(refused.header("connection"), Some("close"));
    let _trials = trials(OVERLOAD, MOST);
    for client in &mut open {
        client.send("\r\n");
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(watched.metric("s3proxy_refusals_total{cause=\"connections_full\"}"), 1);
    // All wait for a request now: a new connection takes the place of one, though not within milliseconds of
    // a refusal, which has found none idle.
    await_that("there is a place", || gateway.get("/").status() == 200);
    gateway.expect_log("the refusals", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("connections_full"))
            || line["event"].as_str().is_some_and(|text| text.contains("connections_full"))
    });
}

/// Idle connections kept their places, and the connection of each newcomer ended after one answer.
#[test]
fn the_longest_idle_connections_make_room_for_new_ones() {
    const MOST: usize = 16;
    let store = Faulty::spy();
    let setup = Setup::new(&store.url()).env("S3PROXY_DOWNSTREAM_MAX_CONNECTIONS", "16");
    let watched = Watched::start(setup);
    let gateway = &watched.gateway;
    await_that("no connection is left of the start", || watched.metric("s3proxy_connections") == 0);
    let mut open = connect(gateway, MOST);
    await_that("all are taken in", || watched.metric("s3proxy_connections") == MOST as u64);
    // The first two never send a byte.
    for client in &mut open[2..] {
        assert_eq!(client.exchange("GET", "/", &[]).status(), 200);
    }
    let mut new = gateway.connect();
    for _ in 0..3 {
        let answer = new.exchange("GET", "/", &[]);
        assert_eq!((answer.status(), answer.header("connection")), (200, Some("keep-alive")));
    }
    for client in &mut open[..2] {
        let fate = client.fate(Duration::from_secs(10));
        assert_eq!(fate, Fate::Closed, "the longest idle ones are closed");
    }
    for client in &mut open[2..] {
        let answer = client.exchange("GET", "/", &[]);
        assert_eq!(answer.status(), 200, "the others stay open");
    }
    assert_eq!(watched.metric("s3proxy_refusals_total{cause=\"connections_full\"}"), 0);
}

#[test]
fn each_refused_connection_is_answered_and_its_id_is_in_the_log() {
    const MOST: usize = 16;
    const REFUSED: usize = 400;
    let store = Faulty::spy();
    let setup = Setup::new(&store.url())
        .env("S3PROXY_DOWNSTREAM_MAX_CONNECTIONS", "16")
        .tolerate("connections_full");
    let watched = Watched::start(setup);
    let gateway = &watched.gateway;
    await_that("no connection is left of the start", || watched.metric("s3proxy_connections") == 0);
    let mut open = connect(gateway, MOST);
    for client in &mut open {
        client.send("GET / HTTP/1.1\r\nHost: gateway.test\r\n");
    }
    await_that("all are taken in", || watched.metric("s3proxy_connections") == MOST as u64);
    let mut refused = connect(gateway, REFUSED);
    let mut ids = Vec::new();
    for client in &mut refused {
        let answer = client.answer("GET").expect("an answer, not a cut connection");
        assert_refused(&answer, 503, "connections_full");
        ids.push(answer.request_id().to_owned());
    }
    // Reading the log takes a connection.
    drop((open, refused));
    await_that("there is room", || gateway.get("/").status() == 200);
    let logged = || {
        let log = gateway.log_text();
        let lines = log.lines().filter(|line| line.contains(r#""cause":"connections_full""#));
        let lines: Vec<&str> = lines.filter(|line| line.contains("127.0.0.1")).collect();
        ids.iter().filter(|id| lines.iter().any(|line| line.contains(id.as_str()))).count()
    };
    await_that("each id is in the log, with the address", || logged() == REFUSED);
}
