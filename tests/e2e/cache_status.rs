//! `Cache-Status` (RFC 9211), `Age` and the log: what the cache says it did.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cached::with_cache;
use crate::client::Answer;
use crate::faulty::{self, Gate, Step};
use crate::gateway::{Gateway, Setup};
use crate::scene::{Scene, not_modified, tile};

/// The one member of a `Cache-Status`, and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    parameters: BTreeMap<String, Item>,
}

/// A value of RFC 9651 of the kinds that `Cache-Status` has.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    Yes,
    Integer(i64),
    Token(String),
}

impl Said {
    /// What this answer says; an answer that says nothing, or not in the syntax, fails the test.
    pub(crate) fn by(answer: &Answer) -> Self {
        let value = answer.header("cache-status");
        let value = value.unwrap_or_else(|| panic!("no Cache-Status in {answer:?}"));
        Self::parse(value).unwrap_or_else(|| panic!("no structured field: {value:?}"))
    }

    /// One member of a structured field list (RFC 9651, section 4.2.1), which is this cache.
    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';');
        if parts.next()? != "s3proxy" {
            return None;
        }
        let mut parameters = BTreeMap::new();
        for part in parts {
            let part = part.trim_start_matches(' ');
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Item::parse(value)?),
                None => (part, Item::Yes),
            };
            let is_key = |byte: u8| byte.is_ascii_lowercase() || b"-_.*0123456789".contains(&byte);
            if !key.starts_with(|c: char| c.is_ascii_lowercase()) || !key.bytes().all(is_key) {
                return None;
            }
            // Of parameters given twice the last counts; this cache has no reason to give one twice.
            if parameters.insert(key.to_owned(), value).is_some() {
                return None;
            }
        }
        Some(Self { parameters })
    }

    pub(crate) fn is(&self, flag: &str) -> bool {
        self.parameters.get(flag) == Some(&Item::Yes)
    }

    /// Seconds of freshness left, zero or below for what is stale.
    pub(crate) fn ttl(&self) -> Option<i64> {
        self.integer("ttl")
    }

    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        match self.parameters.get(key)? {
            Item::Integer(integer) => Some(*integer),
            Item::Yes | Item::Token(_) => None,
        }
    }

    pub(crate) fn token(&self, key: &str) -> Option<&str> {
        match self.parameters.get(key)? {
            Item::Token(token) => Some(token),
            Item::Yes | Item::Integer(_) => None,
        }
    }

    /// Whether it is what the standard says it can be.
    fn assert_consistent(&self) {
        let forwarded = self.token("fwd").is_some();
        assert!(self.is("hit") != forwarded, "either hit or fwd (section 2): {self:?}");
        for key in ["fwd-status", "stored", "collapsed"] {
            assert!(forwarded || !self.parameters.contains_key(key), "{key} of a hit: {self:?}");
        }
        if let Some(reason) = self.token("fwd") {
            assert!(["bypass", "miss", "request", "stale"].contains(&reason), "{self:?}");
        }
    }
}

impl Item {
    fn parse(text: &str) -> Option<Self> {
        let first = text.bytes().next()?;
        if first.is_ascii_digit() || first == b'-' {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let integer = (1..=15).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_digit());
            return integer.then(|| text.parse().ok().map(Self::Integer))?;
        }
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
        let begins = first.is_ascii_alphabetic() || first == b'*';
        (begins && text.bytes().all(is_token)).then(|| Self::Token(text.to_owned()))
    }
}

#[test]
fn the_reader_of_cache_status_refuses_what_is_no_structured_field() {
    let said = Said::parse("s3proxy; hit; ttl=-3; detail=stale-if-error").expect("valid");
    assert_eq!((said.ttl(), said.token("detail")), (Some(-3), Some("stale-if-error")));
    for text in [
        "",
        "hit",
        "s3proxy; Hit",
        "s3proxy; ttl=",
        "s3proxy; ttl=--1",
        "s3proxy; fwd=a b",
        "s3proxy; hit; hit",
        "s3proxy; ",
        "s3proxy; ttl=1.5s",
        "other; hit",
        "s3proxy , hit",
    ] {
        assert_eq!(Said::parse(text), None, "{text:?}");
    }
}

const PATH: &str = "/s3proxy/s3/sky/a.png";

/// Asks for the object in ways that have every status an object can have.
fn every_answer(gateway: &Gateway, scene: &Scene, each: impl Fn(&Answer, &str)) {
    let etag = faulty::OBJECT_HEADERS[1].1;
    for (method, path, headers, status) in [
        ("GET", PATH, &[][..], 200),
        ("HEAD", PATH, &[], 200),
        ("GET", PATH, &[("range", "bytes=1-2")], 206),
        ("GET", PATH, &[("range", "bytes=9-")], 416),
        ("GET", PATH, &[("if-none-match", etag)], 304),
        ("GET", PATH, &[("if-match", "\"other\"")], 412),
        ("GET", "/s3proxy/s3/sky/no.png", &[], 404),
        ("GET", "/s3proxy/s3/sky/broken.png", &[], 502),
        ("GET", "/s3proxy/s3/sky/busy.png", &[], 503),
        ("GET", "/s3proxy/s3/sky/denied.png", &[], 403),
    ] {
        let what = format!("{method} {path} {headers:?}");
        let answer = gateway.send(method, path, headers);
        assert_eq!(answer.status(), status, "{what}: {:?}", scene.store.requests());
        each(&answer, &what);
    }
}

/// A store with one object, which understands conditions and ranges as far as they are asked here.
fn store() -> Scene {
    let scene = Scene::start(Vec::new());
    scene.now_by(|request| {
        let etag = faulty::OBJECT_HEADERS[1].1;
        match request.target.rsplit('/').next().unwrap_or_default() {
            "no.png" => return faulty::s3_error(404, "NoSuchKey"),
            "broken.png" => return faulty::s3_error(500, "InternalError"),
            "busy.png" => return faulty::answer(503, &[("Retry-After", "9")], b""),
            "denied.png" => return faulty::s3_error(403, "AccessDenied"),
            _ => {}
        }
        if request.header("if-none-match") == Some(etag) {
            return not_modified(&[("ETag", etag)]);
        }
        if request.header("if-match").is_some_and(|tag| tag != etag) {
            return faulty::s3_error(412, "PreconditionFailed");
        }
        match request.header("range") {
            None => faulty::object(b"tile"),
            Some("bytes=1-2") => {
                let mut headers = faulty::OBJECT_HEADERS.to_vec();
                headers.push(("Content-Range", "bytes 1-2/4"));
                faulty::answer(206, &headers, b"il")
            }
            Some(_) => faulty::answer(416, &[("Content-Range", "bytes */4")], b""),
        }
    });
    scene
}

fn without_retries(setup: Setup) -> Setup {
    setup.yaml(json!({"upstream": {"retries": 0}}))
}

#[test]
fn every_answer_about_an_object_says_what_the_cache_did_and_so_does_its_line_in_the_log() {
    let scene = store();
    let check = |gateway: &Gateway, what: &str, asserts: &dyn Fn(&Said, &Answer, &str)| {
        every_answer(gateway, &scene, |answer, request| {
            let said = Said::by(answer);
            said.assert_consistent();
            asserts(&said, answer, &format!("{what}: {request}"));
            assert_eq!(answer.head.all("date").len(), 1, "{answer:?}");
            let line = gateway.line_of(answer);
            let words = answer.header("cache-status").unwrap_or_default();
            assert_eq!(words.strip_prefix("s3proxy; "), line["cache"].as_str(), "{line}");
        });
    };

    let on = without_retries(with_cache(&scene.url())).start();
    on.object("sky/a.png");
    on.object("sky/no.png");
    check(&on, "from memory", &|said, answer, what| {
        let kept = !matches!(answer.status(), 403 | 502 | 503);
        assert_eq!(said.is("hit"), kept, "{what}: {said:?}");
        if !kept {
            assert_eq!(said.token("fwd"), Some("miss"), "{what}: {said:?}");
            assert!(said.integer("fwd-status").is_some() && !said.is("stored"), "{said:?}");
        }
    });

    let cold = without_retries(with_cache(&scene.url()));
    let cold = cold.yaml(json!({"cache": {"max_object": 1, "negative_ttl": 0}})).start();
    check(&cold, "passed", &|said, _, what| {
        assert_eq!(said.token("fwd"), Some("miss"), "{what}: {said:?}");
        assert!(!said.is("stored"), "{what}: {said:?}");
    });

    let off = without_retries(Setup::new(&scene.url())).start();
    check(&off, "cache off", &|said, _, what| {
        assert_eq!(said.token("fwd"), Some("bypass"), "{what}: {said:?}");
    });
    let rule = without_retries(with_cache(&scene.url())).env("S3PROXY_CACHE_STORE", "false");
    check(&rule.start(), "cache off by rule", &|said, _, what| {
        assert_eq!(said.token("fwd"), Some("bypass"), "{what}: {said:?}");
    });
}

#[test]
fn answers_that_concern_no_object_do_not_mention_the_cache() {
    let scene = store();
    let gateway = with_cache(&scene.url()).start();
    gateway.object("sky/a.png");
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/s3proxy/", 200),
        ("GET", "/s3proxy/docs", 200),
        ("GET", "/s3proxy/openapi.json", 200),
        ("GET", "/s3proxy", 307),
        ("GET", "/nothing", 404),
        ("GET", "/s3proxy/s3/none@sky/a.png", 404),
        ("GET", "/s3proxy/s3/sky/", 404),
        ("GET", "/s3proxy/s3/sky/..", 400),
        ("GET", "/s3proxy/s3/sky/a.exe", 415),
        ("POST", PATH, 405),
    ] {
        let answer = gateway.send(method, path, &[]);
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.header("cache-status"), None, "{method} {path}");
        assert_eq!(answer.header("age"), None, "{method} {path}");
        // Probes leave no line.
        if path != "/" {
            assert_eq!(gateway.line_of(&answer)["cache"], "none", "{method} {path}");
        }
    }
}

#[test]
fn age_counts_from_the_stores_answer_on_hits_alone() {
    let scene = Scene::start(tile("a", &[("Age", "100")]));
    let gateway = with_cache(&scene.url()).start();
    let first = gateway.object("sky/a.png");
    assert_eq!(first.header("age"), None, "it has just come: {first:?}");
    let age = |headers: &[(&str, &str)]| {
        let answer = gateway.object_with("sky/a.png", headers);
        assert!(Said::by(&answer).is("hit"), "{answer:?}");
        answer.header("age").and_then(|age| age.parse::<u64>().ok()).expect("an Age")
    };
    let before = age(&[]);
    assert!((100..110).contains(&before), "the store's Age counts: {before}");
    // The one thing that needs time to pass: Age has a resolution of a second.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let after = age(&[]);
    assert!(after > before && after < before + 30, "{before}, a second later {after}");
    for headers in [("range", "bytes=0-0"), ("if-modified-since", "Wed, 01 Jul 2026 10:00:00 GMT")]
    {
        assert!(age(&[headers]) >= after, "{headers:?}");
    }
    assert_eq!(scene.count(), 1);
}

/// Names of the fields about the store in a line.
fn upstream_fields(line: &Value) -> Vec<&str> {
    let line = line.as_object().expect("an object");
    line.keys().map(String::as_str).filter(|name| name.starts_with("upstream_")).collect()
}

#[test]
fn the_log_tells_of_the_store_where_this_request_had_it_asked() {
    let all = ["upstream_ms", "upstream_attempts", "upstream_status"];
    let gate = Gate::new();
    let scene = Scene::start(tile("a", &[("ETag", "\"a\"")]));
    let rules = json!({"cache": {"ttl": 0, "stale_while_revalidate": 0}});
    let gateway = with_cache(&scene.url()).yaml(rules).start();

    let miss = gateway.line_of(&gateway.object("sky/a.png"));
    assert_eq!(upstream_fields(&miss), all, "{miss}");
    assert_eq!((&miss["upstream_status"], &miss["upstream_attempts"]), (&json!(200), &json!(1)));
    assert_eq!(miss["cache"], "fwd=miss; fwd-status=200; ttl=0; stored", "{miss}");

    scene.now(not_modified(&[("Cache-Control", "max-age=60")]));
    let stale = gateway.line_of(&gateway.object("sky/a.png"));
    assert_eq!(upstream_fields(&stale), all, "{stale}");
    assert_eq!(stale["upstream_status"], 304, "{stale}");
    assert_eq!(stale["cache"], "fwd=stale; fwd-status=304; ttl=60; stored", "{stale}");

    let hit = gateway.line_of(&gateway.object("sky/a.png"));
    assert!(upstream_fields(&hit).is_empty(), "{hit}");
    assert!(hit["cache"].as_str().is_some_and(|cache| cache.starts_with("hit; ttl=")), "{hit}");
    assert_eq!((&hit["status"], &hit["bytes_sent"]), (&json!(200), &json!(1)), "{hit}");
    assert_eq!(hit["severity"], "info", "{hit}");

    scene.now([vec![Step::Wait(gate.clone())], tile("b", &[])].concat());
    let mut leader = gateway.connect();
    leader.request("GET", "/s3proxy/s3/sky/b.png", &[]);
    scene.store.await_requests(3);
    let mut follower = gateway.connect();
    follower.request("GET", "/s3proxy/s3/sky/b.png", &[]);
    // A follower leaves no trace before the answer comes: without ttl it would ask for itself if it
    // came too late, and be one more request.
    assert!(!follower.wait_for_bytes(std::time::Duration::from_millis(300)));
    gate.open();
    let leader = gateway.line_of(&leader.answer("GET").expect("an answer"));
    let follower = gateway.line_of(&follower.answer("GET").expect("an answer"));
    assert_eq!(upstream_fields(&leader), all, "{leader}");
    assert!(upstream_fields(&follower).is_empty(), "{follower}");
    assert_eq!(follower["cache"], "fwd=miss; ttl=0; stored; collapsed", "{follower}");
    assert_eq!(scene.count(), 3);
}
