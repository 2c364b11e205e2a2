//! Clients that read slowly: those that read an uncached profile byte by byte, as many as the store's
//! permits; those around the minimum rate; those with small receive buffers.

use std::time::{Duration, Instant};

use crate::client::{Client, Ending};
use crate::faulty::{Faulty, Recorded, Step, answer, head};
use crate::gateway::Setup;
use crate::tally::{trial, trials};

const SLOW: &str = "slow readers of a profile";
const PERMITS: usize = 8;
/// `downstream.tcp_user_timeout` ends those that acknowledge nothing for 20 s, `downstream.min_rate` the
/// others after 30 s of waiting, and a busy machine adds some.
const LONGEST: Duration = Duration::from_secs(80);

/// A store whose `slow` objects are larger than every buffer on their way.
fn store() -> Faulty {
    Faulty::scripted(|request: &Recorded, _| {
        if request.target.contains("slow") {
            let length = 256 << 20;
            let head = head(200, &[("Content-Length", &length.to_string())]);
            return vec![head, Step::Flood(length)];
        }
        answer(200, &[], b"a tile")
    })
}

#[test]
fn slow_readers_give_up_the_permits_of_a_profile_to_others() {
    let store = store();
    let gateway = Setup::new(&store.url())
        .env("S3PROXY_UPSTREAM_MAX_IN_FLIGHT", &PERMITS.to_string())
        .env("S3PROXY_UPSTREAM_CLIENT_SHARE", "100")
        .env("S3PROXY_UPSTREAM_QUEUE_TIMEOUT", "100ms")
        .env("S3PROXY_CACHE_MEMORY", "0")
        .tolerate("\"cause\":\"upstream_saturated\"")
        .tolerate("client_gone")
        .tolerate("ownstream")
        .start();
    let mut slow: Vec<Client> = (0..PERMITS).map(|_| Client::narrow(gateway.address)).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        client.request("GET", &format!("/s3proxy/s3/sky/slow{number}.png"), &[]);
    }
    store.await_requests(PERMITS);
    let trials = trials(SLOW, PERMITS);
    let began = Instant::now();
    let mut refused = 0;
    while gateway.object("sky/tile.png").status() != 200 {
        refused += 1;
        assert!(began.elapsed() < LONGEST, "the profile is taken after {:?}", began.elapsed());
        // A kilobyte per second.
        let bytes = usize::try_from(began.elapsed().as_millis()).expect("a number of bytes");
        for client in &mut slow {
            client.fill_to(bytes);
        }
    }
    assert!(refused > 0, "the slow clients held every permit");
    // And all of them, not one.
    store.await_hung_up(PERMITS);
    drop(trials);
    for _ in 0..PERMITS {
        let _trial = trial(SLOW);
        assert_eq!(gateway.object("sky/tile.png").status(), 200);
    }
}

/// The kernel's own `TCP_USER_TIMEOUT` ends its connection: its window is closed most of the time.
#[test]
fn a_client_that_reads_slowly_through_a_small_buffer_is_not_taken_for_one_that_vanished() {
    const LENGTH: usize = 16 << 20;
    const SLOWLY: Duration = Duration::from_secs(5);
    let store = Faulty::scripted(|_: &Recorded, _| answer(200, &[], &vec![7; LENGTH]));
    let gateway = Setup::new(&store.url())
        .env("S3PROXY_CACHE_MEMORY", "0")
        .env("S3PROXY_DOWNSTREAM_TCP_USER_TIMEOUT", "1s")
        .start();
    let mut client = Client::narrow(gateway.address);
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    let head = client.head().expect("a head");
    let began = Instant::now();
    while began.elapsed() < SLOWLY {
        // 80 KiB per second.
        let bytes = usize::try_from(began.elapsed().as_millis()).expect("a number of bytes") * 82;
        assert!(client.fill_to(bytes), "cut after {bytes} bytes and {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (body, ending) = client.body(&head, "GET");
    assert_eq!((body.len(), ending), (LENGTH, Ending::Whole));
}

/// Both read at a steady rate, one at a sixth of the least, the other at twice.
#[test]
fn a_client_below_the_minimum_rate_is_ended_and_one_above_is_not() {
    const LEAST: usize = 256 << 10;
    let store = store();
    let gateway = Setup::new(&store.url())
        .env("S3PROXY_DOWNSTREAM_MIN_RATE", &LEAST.to_string())
        .env("S3PROXY_CACHE_MEMORY", "0")
        .tolerate("client_gone")
        .start();
    let begin = |name: &str| {
        let mut client = Client::narrow(gateway.address);
        client.request("GET", &format!("/s3proxy/s3/sky/{name}.png"), &[]);
        assert_eq!(client.head().expect("a head").status, 200);
        client
    };
    let [mut below, mut above] = ["slow-below", "slow-above"].map(begin);
    let began = Instant::now();
    let due = |rate: usize| rate * usize::try_from(began.elapsed().as_millis()).unwrap() / 1000;
    let mut looked = Instant::now();
    // The slow client still gets what the kernel has for it.
    let ended = loop {
        below.fill_to(due(LEAST / 6));
        assert!(above.fill_to(due(2 * LEAST)), "cut after {:?}", began.elapsed());
        if looked.elapsed() >= Duration::from_millis(500) {
            if gateway.log_text().contains("client_gone") {
                break began.elapsed();
            }
            looked = Instant::now();
        }
        assert!(began.elapsed() < LONGEST, "the slow client still reads");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended >= Duration::from_secs(30), "judged after {ended:?}");
    let line = gateway.expect_log("its end", |line| line["cause"] == "client_gone");
    assert!(line["path"].as_str().is_some_and(|path| path.contains("slow-below")), "{line}");
    store.await_hung_up(1);
    // And goes on for as long again.
    while began.elapsed() < ended + Duration::from_secs(10) {
        assert!(above.fill_to(due(2 * LEAST)), "cut after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The answer before, on the same connection, had held a permit. The next one came from memory, in front of the
/// framework: it was taken for one that holds a permit too, of which the client reads nothing, and was cut.
#[test]
fn a_hit_that_follows_a_miss_has_no_minimum_rate() {
    const LENGTH: usize = 15 << 20;
    let store = Faulty::scripted(|request: &Recorded, _| {
        let length = if request.target.contains("large") { LENGTH } else { 10 };
        answer(200, &[], &vec![7; length])
    });
    let gateway = Setup::new(&store.url())
        .env("S3PROXY_CACHE_MEMORY", "256MiB")
        .env("S3PROXY_DOWNSTREAM_MIN_RATE", "1MiB")
        .start();
    assert_eq!(gateway.object("sky/large.png").body.len(), LENGTH);
    let mut client = Client::narrow(gateway.address);
    assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/small.png", &[]).status(), 200);
    client.request("GET", "/s3proxy/s3/sky/large.png", &[]);
    let head = client.head().expect("a head");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(45) {
        // 200 KiB per second.
        let bytes = usize::try_from(began.elapsed().as_millis()).expect("a number of bytes") * 205;
        assert!(client.fill_to(bytes), "cut after {bytes} bytes and {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (body, ending) = client.body(&head, "GET");
    assert_eq!((body.len(), ending), (LENGTH, Ending::Whole));
}
