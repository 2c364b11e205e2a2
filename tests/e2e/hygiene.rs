//! Raw requests no polite client sends, from RFC 9110 and RFC 9112: what must be refused, what must
//! not slip a second request through, and what must work all the same.
//!
//! Everything goes over sockets of its own against a spy; nothing refused may reach it.

#[path = "hygiene/cases.rs"]
mod cases;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use self::cases::{DESYNC, MUST_REJECT, MUST_WORK, NORMALISED_BY_PINGORA};
use crate::client::{Answer, Client, Fate, PATIENCE};
use crate::faulty::Faulty;
use crate::gateway::{Gateway, Setup};

/// How long a second answer is waited for.
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
            // Each refusal may be logged at any level; what counts here is the wire.
            .tolerate("")
            .start();
        Self { spy, gateway }
    }

    /// Sends each case on a connection of its own, several at a time; collects what is wrong.
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
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
        assert_eq!(self.spy.stray(), b"", "bytes behind a request reached the store");
    }

    /// Targets the store was asked for.
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

/// Every answer up to the end of the connection, or until it stays silent.
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
    assert!(MUST_REJECT.len() >= 84, "{} cases", MUST_REJECT.len());
}

#[test]
fn what_pingora_normalises_before_us_names_exactly_one_object() {
    let battery = Battery::start();
    battery.run(NORMALISED_BY_PINGORA, |name, client| {
        let answers = answers(name, client);
        match answers.as_slice() {
            [] => Ok(()),
            [one] if one.status() == 200 || is_refusal(one.status()) => Ok(()),
            others => Err(format!("{:?}", others.iter().map(Answer::status).collect::<Vec<_>>())),
        }
    });
    for target in battery.targets() {
        assert!(target.starts_with("/sky/") && !target.contains(['#', ' ']), "{target}");
    }
}

#[test]
fn no_second_request_hides_in_the_first() {
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
