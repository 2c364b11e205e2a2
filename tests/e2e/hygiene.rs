//! Raw requests that no well-behaved client sends, from RFC 9110 and RFC 9112: those that must be
//! refused, those that must not smuggle a second request, and those that must work.
//!
//! Every case uses its own socket against a spy; no refused request may reach the spy.

#[path = "hygiene/cases.rs"]
mod cases;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use self::cases::{DESYNC, MUST_REJECT, MUST_WORK};
use crate::client::{Answer, Client, Ending, Fate, PATIENCE};
use crate::faulty::Faulty;
use crate::gateway::{Gateway, Setup};
use crate::tally::{self, trial};

const RAW: &str = "raw requests";

/// How long to wait for a second answer.
const QUIET: Duration = Duration::from_millis(300);

struct Battery {
    spy: Faulty,
    gateway: Gateway,
}

impl Battery {
    fn start() -> Self {
        let spy = Faulty::spy();
        let gateway = Setup::new(&spy.url())
            .yaml(json!({"downstream": {"header_timeout": "1s"}}))
            // Each refusal may be logged at any level; these tests check the wire.
            .tolerate("")
            .start();
        Self { spy, gateway }
    }

    /// Sends each case on its own connection, several at a time; collects the failures.
    fn run(
        &self,
        cases: &[(&'static str, &'static str)],
        judge: impl Fn(&str, &mut Client) -> Result<(), String> + Sync,
    ) {
        let next = AtomicUsize::new(0);
        let wrong = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some((name, raw)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let mut client = self.gateway.connect();
                        client.send(bytes_of(name, raw));
                        if let Err(why) = judge(name, &mut client) {
                            wrong.lock().expect("no panic").push(format!("{name}: {why}"));
                        }
                    }
                });
            }
        });
        let mut wrong = wrong.into_inner().expect("no panic");
        wrong.sort();
        tally::add(RAW, cases.len(), wrong.len());
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
        assert_eq!(self.spy.stray(), b"", "bytes behind a request reached the store");
    }

    /// Targets of the requests that reached the store.
    fn targets(&self) -> Vec<String> {
        self.spy.requests().into_iter().map(|request| request.target).collect()
    }
}

/// `{P}` is the path of an object named after the case; characters up to U+FF stand for bytes.
fn bytes_of(name: &str, raw: &str) -> Vec<u8> {
    let path = format!("/s3proxy/s3/sky/{name}.png");
    let raw = raw.replace("{P}", &path);
    raw.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}

/// Every answer until the connection ends or stays silent.
fn answers(name: &str, client: &mut Client) -> Vec<Answer> {
    let method = if name.contains("head") { "HEAD" } else { "GET" };
    let mut answers = Vec::new();
    while client.wait_for_bytes(if answers.is_empty() { PATIENCE } else { QUIET }) {
        match client.answer(method) {
            Some(answer) => answers.push(answer),
            None => break,
        }
    }
    if answers.is_empty() {
        assert_ne!(client.fate(QUIET), Fate::Open, "{name}: neither answered nor closed");
    }
    answers
}

fn is_refusal(status: u16) -> bool {
    (400..500).contains(&status) || status == 501 || status == 505
}

#[test]
fn malformed_requests_are_refused_or_cut_and_never_reach_the_store() {
    let battery = Battery::start();
    battery.run(MUST_REJECT, |name, client| {
        let answers = answers(name, client);
        match answers.as_slice() {
            [] => Ok(()),
            [one] if is_refusal(one.status()) => Ok(()),
            others => Err(format!("{:?}", others.iter().map(Answer::status).collect::<Vec<_>>())),
        }
    });
    assert_eq!(battery.targets(), Vec::<String>::new());
    assert!(MUST_REJECT.len() >= 87, "{} cases", MUST_REJECT.len());
}

#[test]
fn no_request_is_smuggled_in_another() {
    let battery = Battery::start();
    battery.run(DESYNC, |name, client| {
        let answers = answers(name, client);
        let statuses: Vec<_> = answers.iter().map(Answer::status).collect();
        if answers.len() > 1 || statuses.contains(&101) {
            return Err(format!("{statuses:?}"));
        }
        Ok(())
    });
    let smuggled: Vec<_> =
        battery.targets().into_iter().filter(|t| t.contains("smuggled")).collect();
    assert_eq!(smuggled, Vec::<String>::new());
    for request in battery.spy.requests() {
        assert_eq!(request.method, "GET", "{request:?}");
        for name in ["transfer-encoding", "content-length", "upgrade", "expect", "connection"] {
            assert_eq!(request.header(name), None, "{request:?}");
        }
    }
}

#[test]
fn unusual_but_valid_requests_work() {
    let battery = Battery::start();
    battery.run(MUST_WORK, |name, client| {
        let wanted = if name.starts_with("two-") { 2 } else { 1 };
        for nth in 0..wanted {
            let Some(answer) = client.answer("GET") else {
                return Err(format!("closed instead of answer {nth}"));
            };
            if (answer.status(), answer.text()) != (200, "tile") {
                return Err(format!("{} {}", answer.status(), answer.text()));
            }
        }
        Ok(())
    });
}

#[test]
fn a_request_in_single_bytes_works() {
    let _trial = trial(RAW);
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let mut client = gateway.connect();
    for byte in b"GET /s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer("GET").expect("an answer").text(), "tile");
}

#[test]
fn after_a_refused_body_the_connection_is_closed() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for framing in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
    {
        for path in ["/", "/s3proxy/s3/sky/a.png", "/foo"] {
            let _trial = trial(RAW);
            let mut client = gateway.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n{framing}"));
            if let Some(answer) = client.answer("GET") {
                assert!(is_refusal(answer.status()), "{path} {framing:?}: {answer:?}");
            }
            assert_ne!(client.fate(PATIENCE), Fate::Open, "{path} {framing:?}");
        }
    }
    assert_eq!(spy.count(), 0);
}

/// The answer to a bad request head: complete, with the gateway's headers, and with one log line.
fn assert_told(gateway: &Gateway, client: &mut Client, what: &str, status: u16, causes: &[&str]) {
    let _trial = trial(RAW);
    let answer = client.answer("GET").unwrap_or_else(|| panic!("{what}: closed without an answer"));
    assert_eq!((answer.status(), answer.ending), (status, Ending::Whole), "{what}: {answer:?}");
    assert_ne!(client.fate(PATIENCE), Fate::Open, "{what}: refused, yet kept");
    assert_eq!(client.leftover(), b"", "{what}: bytes too many");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(answer.header("connection"), Some("close"), "{what}");
    assert_eq!(answer.header("server"), None, "{what}");
    assert!(answer.header("date").is_some(), "{what}");
    let body = answer.json();
    let cause = body["cause"].as_str().unwrap_or_default();
    assert!(causes.contains(&cause), "{what}: {body}");
    assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()), "{what}: {body}");
    assert_eq!(body["request_id"], json!(answer.request_id()), "{what}");
    let lines = gateway.lines();
    let lines: Vec<_> = lines.iter().filter(|l| l.text.contains(answer.request_id())).collect();
    assert_eq!(lines.len(), 1, "{what}: {lines:#?}");
    let line = lines[0].json.as_ref().unwrap_or_else(|| panic!("{what}: {lines:?}"));
    assert_eq!(line["request_id"], body["request_id"], "{what}");
    assert_eq!(line["status"], json!(status), "{what}");
    assert_eq!(line["cause"], json!(cause), "{what}");
    assert_eq!(line["severity"], "info", "{what}");
}

#[test]
fn a_head_that_no_parser_accepts_is_answered_and_logged_like_any_other() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let many: String = (0..300).map(|i| format!("X-{i}: y\r\n")).collect();
    let many = format!("GET {{P}} HTTP/1.1\r\nHost: a.test\r\n{many}\r\n");
    let host_twice = "GET {P} HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n";
    let old_coding =
        "GET {P} HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for (what, raw, cause) in [
        ("field", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX[1]: z\r\n\r\n", "request_malformed"),
        ("version", "GET {P} HTTP/3.0\r\nHost: a.test\r\n\r\n", "request_malformed"),
        ("many", many.as_str(), "request_malformed"),
        ("host-twice", host_twice, "request_malformed"),
        ("old-coding", old_coding, "request_body"),
        ("space", "GET {P} x HTTP/1.1\r\nHost: a.test\r\n\r\n", "request_line"),
    ] {
        let mut client = gateway.connect();
        client.send(bytes_of(what, raw));
        assert_told(&gateway, &mut client, what, 400, &["request_malformed", cause]);
        // The same after a good request, which is answered first.
        let mut client = gateway.connect();
        let good = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
        client.send([good.as_bytes(), &bytes_of(what, raw)].concat());
        let first = client.answer("GET").expect("an answer to the good request");
        assert_eq!(first.status(), 200, "{what}");
        assert_told(&gateway, &mut client, what, 400, &["request_malformed", cause]);
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn a_head_too_slow_or_too_large_is_answered_and_logged_like_any_other() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .yaml(json!({"downstream": {"header_timeout": "1s", "header_max_bytes": 4096}}))
        .start();
    let slow = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Slow: ".to_owned();
    // All of it is read in one piece: unread bytes would turn the close into a reset, which may
    // overtake the answer.
    let large = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "v".repeat(5000));
    for (what, raw, status, cause) in
        [("slow", &slow, 408, "headers_too_slow"), ("large", &large, 431, "headers_too_large")]
    {
        let mut client = gateway.connect();
        client.send(raw);
        assert_told(&gateway, &mut client, what, status, &[cause]);
        let mut client = gateway.connect();
        assert_eq!(client.exchange("GET", "/", &[]).status(), 200, "{what}");
        client.send(raw);
        assert_told(&gateway, &mut client, what, status, &[cause]);
    }
    assert_eq!(spy.count(), 0);
}

/// A refused head had a new id, whatever its client had sent.
#[test]
fn a_refused_head_keeps_the_ids_that_have_arrived() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .yaml(json!({"downstream": {"header_timeout": "1s", "header_max_bytes": 4096}}))
        .start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    let large = format!("X: {}\r\n\r\n", "v".repeat(5000));
    for (id, first, last, status) in [
        ("slow", "GET / HTTP/1.1\r\n", "X-Slow: ", 408),
        ("large", "GET / HTTP/1.1\r\n", large.as_str(), 431),
        ("line", "GET / x HTTP/1.1\r\n", "\r\n", 400),
        ("field", "GET / HTTP/1.1\r\n", "X[1]: z\r\n\r\n", 400),
    ] {
        for (id, before) in
            [(format!("{id}-1"), ""), (format!("{id}-2"), "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")]
        {
            let mut client = gateway.connect();
            client.send(format!(
                "{before}{first}Host: a.test\r\nX-Request-ID: {id}\r\n{parent}{last}"
            ));
            if !before.is_empty() {
                assert_eq!(client.answer("GET").expect("an answer").status(), 200, "{id}");
            }
            let answer = client.answer("GET").unwrap_or_else(|| panic!("{id}: no answer"));
            assert_eq!((answer.status(), answer.request_id()), (status, id.as_str()));
            assert_eq!(answer.json()["trace_id"], trace, "{id}");
            let line = gateway.line_of(&answer);
            assert_eq!((&line["request_id"], &line["trace_id"]), (&json!(id), &json!(trace)));
        }
    }
    // Of ids that have not arrived nothing is said.
    let mut client = gateway.connect();
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Request-ID: cut\r\n{}",
        parent.trim_end()
    ));
    let answer = client.answer("GET").expect("an answer");
    assert_eq!((answer.status(), answer.request_id()), (408, "cut"));
    assert_eq!(answer.json().get("trace_id"), None);
    assert_eq!(gateway.line_of(&answer).get("trace_id"), None);
    assert_eq!(spy.count(), 0);
}
