//! Every fault of a store in one table, met on the three roads to a store: a request that passes
//! through the proxy, a fetch of the cache, and `s3proxy check`. All three have one set of rules, so
//! each fault has one verdict and reaches the store equally often; where a row differs it says why.
//! A fetch of the cache meets each fault twice: without an object, and with a stale one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Ending;
use crate::fault_table::rows::{Road, Row, Store, rows};
use crate::faults::{FAULTS, hasty};
use crate::faulty::{self, Faulty, Step};
use crate::gateway::{Gateway, Setup, free_port};
use crate::tally::trial;

mod bodies;
mod rows;

/// Within which every fault has its answer: both attempts, the pause and the document.
const IN_TIME: Duration = Duration::from_secs(5);

/// The store of one row on one road: each has its own, so that none meets the connections and
/// penalties of another.
struct Place {
    store: Option<Faulty>,
    url: String,
}

/// Stale from the start; its connection is not used again.
const OLD: [(&str, &str); 4] =
    [("ETag", "\"old\""), ("Cache-Control", "max-age=60"), ("Age", "60"), ("Connection", "close")];

impl Place {
    fn of(row: &Row, road: Road) -> Self {
        match &row.store {
            Store::Script(script) => {
                let (script, before) = (Arc::clone(script), AtomicUsize::new(0));
                let needs_old = AtomicBool::new(road == Road::Stale);
                let store = Faulty::scripted(move |request, nth| {
                    if request.target.ends_with("warm.png") {
                        before.fetch_add(1, Ordering::SeqCst);
                        return faulty::object(b"warm");
                    }
                    if needs_old.swap(false, Ordering::SeqCst) {
                        before.fetch_add(1, Ordering::SeqCst);
                        return faulty::answer(200, &OLD, b"old");
                    }
                    script(request, nth - before.load(Ordering::SeqCst))
                });
                let url = store.url();
                Self { store: Some(store), url }
            }
            Store::Refuses => {
                Self { store: None, url: format!("http://127.0.0.1:{}", free_port()) }
            }
            Store::Unresolved => {
                Self { store: None, url: "http://nonexistent.invalid:9000".to_owned() }
            }
        }
    }

    /// Whether the first request after the one for `warm.png` came on its connection.
    fn reused_a_connection(&self) -> bool {
        let requests = self.store.as_ref().map(Faulty::requests).unwrap_or_default();
        let after =
            requests.iter().rev().take_while(|request| !request.target.ends_with("warm.png"));
        after.last().is_some_and(|request| request.before > 0)
    }

    /// How many requests came, those for `warm.png` aside.
    fn count(&self) -> usize {
        let requests = self.store.as_ref().map(Faulty::requests).unwrap_or_default();
        requests.iter().filter(|request| !request.target.ends_with("warm.png")).count()
    }
}

/// Asks through a gateway: status, cause in the log, requests at the store.
fn ask(
    gateway: &Gateway,
    profile: &str,
    (row, road): (&Row, Road),
    place: &Place,
) -> (u16, String, usize) {
    let path = |name: &str| format!("/s3proxy/s3/{profile}@sky/{name}.png");
    let old = usize::from(road == Road::Stale);
    if road == Road::Stale {
        assert_eq!(gateway.get(&path("a")).text(), "old", "{}", row.name);
    }
    if row.reused {
        let warm = gateway.get(&path("warm"));
        assert_eq!(warm.status(), 200, "{}", row.name);
        // The proxy puts the connection back into the pool after the answer and before its log line.
        gateway.line_of(&warm);
    }
    let mut client = gateway.connect();
    client.request("GET", &path("a"), &[("X-Request-ID", profile), ("Connection", "close")]);
    let answer = client.answer("GET").unwrap_or_else(|| panic!("{}: no answer", row.name));
    let line = gateway.line_of_id(profile);
    let mut cause = line["cause"].as_str().unwrap_or_default().to_owned();
    let whole = if cause == "upstream_cut" { Ending::Cut } else { Ending::Whole };
    assert_eq!(answer.ending, whole, "{}: {answer:?}", row.name);
    if answer.status() >= 400 && answer.status() != 404 {
        assert_eq!(answer.json()["cause"], json!(cause), "{}: {answer:?}", row.name);
    }
    if road == Road::Stale && answer.status() == 200 && !cause.is_empty() && cause != "upstream_cut"
    {
        assert_eq!(answer.text(), "old", "{}: {answer:?}", row.name);
        assert_eq!(line["severity"], "warning", "{}: {line}", row.name);
    }
    let requests = place.count() - old;
    if row.reused {
        assert!(place.reused_a_connection(), "{}: {road:?}", row.name);
    }
    if place.store.is_some() {
        // The log line of a fetch of the cache counts the attempts up to the head of the answer.
        let rest = if road == Road::Uncached { 0 } else { row.rest };
        let confirmed = usize::from(road == Road::Stale && line["upstream_status"] == 304);
        if line["upstream_attempts"] != json!(requests.saturating_sub(rest + confirmed)) {
            cause += &format!(" (attempts in the log: {})", line["upstream_attempts"]);
        }
    }
    (answer.status(), cause, requests)
}

/// Runs the check: the answer a client would get, and requests at the store.
fn check(row: &Row, place: &Place) -> (u16, String, usize) {
    let setup = hasty("http://127.0.0.1:9").profile("p", &place.url);
    let run = setup.args(&["check", "--json", "p@sky/a.png"]).run();
    let report: Value = serde_json::from_str(&run.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {run:?}", row.name));
    let steps = report["sections"][0]["steps"].as_array().expect("steps");
    let answer = steps.iter().find(|step| step["name"] == "answer").expect("an answer");
    let detail = answer["detail"].as_str().expect("a detail");
    let (status, rest) = detail.split_once(' ').expect("a status");
    let cause = if answer["state"] == "ok" { "" } else { rest };
    (status.parse().expect("a status"), cause.to_owned(), place.count())
}

#[test]
fn every_fault_has_one_verdict_on_every_road() {
    let rows = rows();
    let mut wrong = Vec::new();
    for road in [Road::Uncached, Road::Cached, Road::Stale, Road::Check] {
        let places: Vec<Place> = rows.iter().map(|row| Place::of(row, road)).collect();
        let profile = |nth: usize| format!("p{nth}");
        let gateway = (road != Road::Check).then(|| {
            let memory = if road == Road::Uncached { "0" } else { "64MiB" };
            let rules = json!({"stale_while_revalidate": 0, "revalidate_timeout": "1m"});
            let setup = hasty("http://127.0.0.1:9")
                .yaml(json!({"cache": rules}))
                .env("S3PROXY_CACHE_MEMORY", memory)
                // Among several threads Pingora loses a connection of its pool now and then: the
                // thread that watched it has not yet dropped it when another takes it.
                .env("S3PROXY_SERVER_THREADS", "1")
                .tolerate("nonexistent.invalid")
                .tolerate("Peer sent more data than expected");
            let with = |setup: Setup, (nth, place): (usize, &Place)| {
                setup.profile(&profile(nth), &place.url)
            };
            places.iter().enumerate().fold(setup, with).start()
        });
        for (nth, (row, place)) in rows.iter().zip(&places).enumerate() {
            if road == Road::Stale && place.store.is_none() {
                // No object could come from there: stale.rs has a store that goes away.
                continue;
            }
            let _trial = trial(FAULTS);
            let began = Instant::now();
            let (status, cause, requests) = match &gateway {
                Some(gateway) => ask(gateway, &profile(nth), (row, road), place),
                None => check(row, place),
            };
            let took = began.elapsed();
            let expected = row.on(road);
            let is_right = (status, cause.as_str(), requests)
                == (expected.status, expected.cause, expected.requests);
            if !is_right || took > IN_TIME {
                wrong.push(format!(
                    "{road:?}, {}: {status} {cause:?} {requests} in {took:?}, not {expected:?}",
                    row.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_gives_a_reason_for_every_difference_and_has_no_idle_one() {
    for row in rows() {
        for (road, verdict, why) in &row.but {
            assert!(!why.is_empty(), "{}", row.name);
            assert_ne!(*verdict, row.usual(*road), "{} on {road:?}", row.name);
        }
    }
}

/// Without the cache, the request that reads the code of an error began with retries and time of its own.
#[test]
fn retries_are_counted_alike_with_and_without_the_cache() {
    let error = |status| faulty::s3_error(status, "InternalError");
    let mut wrong = Vec::new();
    for retries in [0_usize, 1] {
        for memory in ["0", "64MiB"] {
            for (what, steps, method, expected) in [
                ("500", vec![error(500)], "GET", 1 + retries),
                ("503", vec![error(503)], "GET", 1 + retries),
                ("reset", vec![vec![Step::Reset]], "GET", 1 + retries),
                ("HEAD 502", vec![error(502)], "HEAD", 1 + retries),
                ("429", vec![error(429)], "GET", 1),
                ("late", vec![vec![Step::Stall]], "GET", 1),
                // The code of the 403 is read by another request without the cache, or after a HEAD.
                ("HEAD 403", vec![error(403), error(500)], "HEAD", 2 + retries),
                (
                    "500, HEAD 403",
                    vec![error(500), error(403), error(500)],
                    "HEAD",
                    1 + 2 * retries,
                ),
                ("500, 403", vec![error(500), error(403), error(500)], "GET", 1 + retries),
            ] {
                let again = memory == "0" && what == "500, 403" && retries == 1;
                let expected = expected + usize::from(again);
                let store = Faulty::scripted(move |_, nth| {
                    steps.get(nth).or(steps.last()).cloned().unwrap_or_default()
                });
                let gateway = hasty("http://127.0.0.1:9")
                    .env("S3PROXY_CACHE_MEMORY", memory)
                    .env("S3PROXY_UPSTREAM_RETRIES", &retries.to_string())
                    .profile("p", &store.url())
                    .profile_settings("p", &json!({"missing_on_403": true}))
                    .tolerate("\"cause\":\"upstream_")
                    .tolerate("Peer sent more data than expected")
                    .start();
                let answer = gateway.send(method, "/s3proxy/s3/p@sky/a.png", &[]);
                let line = gateway.line_of(&answer);
                let seen = (store.count(), &line["upstream_attempts"]);
                if seen != (expected, &json!(expected)) {
                    wrong.push(format!(
                        "{what}, {retries} retries, memory {memory}: {seen:?}, not {expected}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
