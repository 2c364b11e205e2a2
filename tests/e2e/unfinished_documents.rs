//! Stores that send the head of an answer that the client does not get, and then not its body: the status
//! is known, so the client gets its answer within seconds, with the default timeouts.

use std::time::{Duration, Instant};

use crate::client::Ending;
use crate::faulty::{Faulty, Step, head};
use crate::gateway::Setup;

/// Status and headers of the store, and the status that the client gets.
type Case<'a> = (u16, &'a [(&'a str, &'a str)], u16);

/// Two attempts of two seconds each, and a pause.
const IN_TIME: Duration = Duration::from_secs(6);

/// An answer whose body does not come, comes in part, or never ends.
fn bodies(status: u16, headers: &[(&str, &str)]) -> Vec<(&'static str, Vec<Step>)> {
    let head = || head(status, headers);
    let start = || Step::Send(b"<Error><Code>".to_vec());
    let trickle = std::iter::repeat_n(
        [Step::Send(b" ".to_vec()), Step::Pause(Duration::from_millis(500))],
        100,
    );
    vec![
        ("silent", vec![head(), Step::Stall]),
        ("half", vec![head(), start(), Step::Stall]),
        ("trickle", std::iter::once(head()).chain(trickle.flatten()).collect()),
    ]
}

#[test]
fn a_client_does_not_wait_for_the_body_of_an_answer_that_it_does_not_get() {
    let length = ("Content-Length", "1000");
    let s3 = ("x-amz-request-id", "tx1");
    let chunked = ("Transfer-Encoding", "chunked");
    let heads: &[Case<'_>] = &[
        (404, &[length, s3], 404),
        (404, &[chunked, s3], 404),
        (404, &[length], 502),
        (403, &[length, s3], 403),
        (400, &[length], 502),
        (301, &[length, ("Location", "http://elsewhere.invalid/")], 502),
        (412, &[length], 502),
        (500, &[length], 502),
        (503, &[length, ("Retry-After", "1")], 503),
        (416, &[length], 502),
        (204, &[], 502),
        (200, &[length, ("Content-Encoding", "x"), ("Transfer-Encoding", "gzip, chunked")], 502),
        (206, &[length, ("Content-Range", "bytes 5-1004/2000")], 502),
        (206, &[length], 502),
    ];
    let mut wrong = Vec::new();
    for memory in ["0", "64MiB"] {
        let mut setup = Setup::new("http://127.0.0.1:9").env("S3PROXY_CACHE_MEMORY", memory);
        setup = setup.tolerate("");
        let mut cases = Vec::new();
        for (status, headers, expected) in heads {
            for (name, steps) in bodies(*status, headers) {
                let store = Faulty::always(steps);
                let profile = format!("p{}", cases.len());
                setup = setup.profile(&profile, &store.url());
                let what = format!("{status} {headers:?} {name}, memory {memory}");
                cases.push((what, *expected, profile, store));
            }
        }
        let gateway = setup.start();
        std::thread::scope(|scope| {
            let asking = cases.iter().map(|(what, expected, profile, _store)| {
                let gateway = &gateway;
                let asking = scope.spawn(move || {
                    let began = Instant::now();
                    let answer = gateway.get(&format!("/s3proxy/s3/{profile}@sky/a.png"));
                    let took = began.elapsed();
                    let is_right = answer.status() == *expected && answer.ending == Ending::Whole;
                    (!is_right || took > IN_TIME).then(|| {
                        let line = gateway.line_of(&answer);
                        format!("{what}: {took:?}: {line} {answer:?}")
                    })
                });
                (what, asking)
            });
            let asking: Vec<_> = asking.collect();
            wrong.extend(asking.into_iter().filter_map(|(what, asking)| {
                asking.join().unwrap_or_else(|_| Some(format!("{what}: no answer")))
            }));
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
