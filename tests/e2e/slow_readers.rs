//! Clients that read an uncached profile byte by byte, as many as the store's permits.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::faulty::{Faulty, Recorded, Step, answer, head};
use crate::gateway::Setup;
use crate::tally::{trial, trials};

const SLOW: &str = "slow readers of a profile";
const PERMITS: usize = 8;
/// `downstream.tcp_user_timeout` ends those that take nothing for 20 s, `downstream.min_rate` the others
/// after 30 s of waiting, and a busy machine adds some.
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
