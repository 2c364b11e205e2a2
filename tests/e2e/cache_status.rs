//! `Cache-Status` (RFC 9211), `Age` and the log: what the cache reports about a request.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cached::with_cache;
use crate::client::Answer;
use crate::crowd::await_requests_read;
use crate::faulty::{self, Gate, Step};
use crate::gateway::{Gateway, Setup};
use crate::scene::{Scene, not_modified, tile};

/// The one member of a `Cache-Status`, and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    parameters: BTreeMap<String, Item>,
}

/// A value of RFC 9651, of the types that occur in `Cache-Status`.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    Yes,
    Integer(i64),
    Token(String),
    Text(String),
}

impl Said {
    /// The `Cache-Status` of this answer; a missing or malformed one fails the test.
    pub(crate) fn by(answer: &Answer) -> Self {
        let value = answer.header("cache-status");
        let value = value.unwrap_or_else(|| panic!("no Cache-Status in {answer:?}"));
        Self::parse(value).unwrap_or_else(|| panic!("no structured field: {value:?}"))
    }

    /// One member of a structured field list (RFC 9651, section 4.2.1), which is this cache.
    fn parse(value: &str) -> Option<Self> {
        let mut rest = value.strip_prefix("s3proxy")?;
        let mut parameters = BTreeMap::new();
        while !rest.is_empty() {
            rest = rest.strip_prefix(';')?.trim_start_matches(' ');
            let is_key = |c: char| c.is_ascii_lowercase() || "-_.*0123456789".contains(c);
            let key;
            (key, rest) = rest.split_at(rest.find(|c| !is_key(c)).unwrap_or(rest.len()));
            if !key.starts_with(|c: char| c.is_ascii_lowercase()) {
                return None;
            }
            let value;
            (value, rest) = match rest.strip_prefix('=') {
                Some(text) => Item::parse(text)?,
                None => (Item::Yes, rest),
            };
            // If a parameter occurs twice, the last one counts; this cache never sends one twice.
            if parameters.insert(key.to_owned(), value).is_some() {
                return None;
            }
        }
        Some(Self { parameters })
    }

    pub(crate) fn is(&self, flag: &str) -> bool {
        self.parameters.get(flag) == Some(&Item::Yes)
    }

    /// Seconds of freshness left; zero or negative if stale.
    pub(crate) fn ttl(&self) -> Option<i64> {
        self.integer("ttl")
    }

    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        match self.parameters.get(key)? {
            Item::Integer(integer) => Some(*integer),
            Item::Yes | Item::Token(_) | Item::Text(_) => None,
        }
    }

    pub(crate) fn token(&self, key: &str) -> Option<&str> {
        match self.parameters.get(key)? {
            Item::Token(token) => Some(token),
            Item::Yes | Item::Integer(_) | Item::Text(_) => None,
        }
    }

    /// The sources of the answer's blocks, as its detail reports: memory, disk and store.
    pub(crate) fn blocks(&self) -> Option<[u64; 3]> {
        let Item::Text(text) = self.parameters.get("detail")? else { return None };
        let mut blocks = [0; 3];
        for part in text.split(", ") {
            let Some((name, count)) = part.split_once('=') else {
                assert!(part.starts_with("stale-"), "{text:?}");
                continue;
            };
            let place = ["memory", "disk", "store"].iter().position(|known| *known == name);
            let place = place.unwrap_or_else(|| panic!("{text:?}"));
            assert_eq!(blocks[place], 0, "twice in {text:?}");
            blocks[place] = count.parse().unwrap_or_else(|_| panic!("{text:?}"));
            assert_ne!(blocks[place], 0, "an empty block count in {text:?}");
        }
        Some(blocks)
    }

    /// Whether the combination of parameters is one that the standard allows.
    fn assert_consistent(&self) {
        let forwarded = self.token("fwd").is_some();
        assert!(self.is("hit") != forwarded, "either hit or fwd (section 2): {self:?}");
        for key in ["fwd-status", "stored", "collapsed"] {
            assert!(forwarded || !self.parameters.contains_key(key), "{key} of a hit: {self:?}");
        }
        if let Some(reason) = self.token("fwd") {
            let reasons = ["bypass", "miss", "partial", "request", "stale"];
            assert!(reasons.contains(&reason), "{self:?}");
        }
    }
}

impl Item {
    /// The value at the start of a text, and the text after it.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let first = text.chars().next()?;
        if let Some(string) = text.strip_prefix('"') {
            return Self::parse_string(string);
        }
        let split = |is_part: &dyn Fn(char) -> bool| {
            text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
        };
        if first.is_ascii_digit() || first == '-' {
            let (number, rest) = split(&|c| c.is_ascii_digit() || c == '-');
            let digits = number.strip_prefix('-').unwrap_or(number);
            let is_integer = (1..=15).contains(&digits.len()) && !digits.contains('-');
            return is_integer.then(|| Some((Self::Integer(number.parse().ok()?), rest)))?;
        }
        let (token, rest) =
            split(&|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c));
        let begins = first.is_ascii_alphabetic() || first == '*';
        begins.then(|| (Self::Token(token.to_owned()), rest))
    }

    /// A string behind its first quote (RFC 9651, section 4.2.5).
    fn parse_string(text: &str) -> Option<(Self, &str)> {
        let mut string = String::new();
        let mut chars = text.chars();
        loop {
            match chars.next()? {
                '"' => return Some((Self::Text(string), chars.as_str())),
                '\\' => string.push(chars.next().filter(|c| "\\\"".contains(*c))?),
                c if matches!(c, ' '..='~') => string.push(c),
                _ => return None,
            }
        }
    }
}

#[test]
fn the_cache_status_parser_refuses_malformed_fields() {
    let said = Said::parse("s3proxy; hit; ttl=-3; detail=stale-if-error").expect("valid");
    assert_eq!((said.ttl(), said.token("detail")), (Some(-3), Some("stale-if-error")));
    let said = Said::parse("s3proxy; detail=\"stale-if-error, memory=1, store=12\"; hit");
    let said = said.expect("valid");
    assert_eq!((said.blocks(), said.is("hit")), (Some([1, 0, 12]), true));
    let quoted = Said::parse("s3proxy; detail=\"a; b=\\\"\\\\\"").expect("valid");
    assert_eq!(quoted.parameters.get("detail"), Some(&Item::Text("a; b=\"\\".to_owned())));
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
        "s3proxy; detail=\"a",
        "s3proxy; detail=\"\\a\"",
        "s3proxy; detail=\"é\"",
        "s3proxy; detail=\"a\"b",
        "s3proxyhit",
    ] {
        assert_eq!(Said::parse(text), None, "{text:?}");
    }
}

const PATH: &str = "/s3proxy/s3/sky/a.png";

/// Requests the object in ways that produce every status an object can have.
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

/// A store with one object, which supports the conditions and ranges that this file uses.
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
        let part = |place, body: &[u8]| {
            let mut headers = faulty::OBJECT_HEADERS.to_vec();
            headers.push(("Content-Range", place));
            faulty::answer(206, &headers, body)
        };
        match request.header("range") {
            None => faulty::object(b"tile"),
            Some("bytes=1-2") => part("bytes 1-2/4", b"il"),
            Some(range) if range.starts_with("bytes=0-") => part("bytes 0-3/4", b"tile"),
            Some(_) => faulty::answer(416, &[("Content-Range", "bytes */4")], b""),
        }
    });
    scene
}

fn without_retries(setup: Setup) -> Setup {
    setup.yaml(json!({"upstream": {"retries": 0}}))
}

#[test]
fn cache_status_and_log_line_are_correct_for_every_object_answer() {
    let scene = store();
    let check = |gateway: &Gateway, what: &str, asserts: &dyn Fn(&Said, &Answer, &str)| {
        every_answer(gateway, &scene, |answer, request| {
            let said = Said::by(answer);
            said.assert_consistent();
            asserts(&said, answer, &format!("{what}: {request}"));
            assert_eq!(answer.head.all("date").len(), 1, "{answer:?}");
            let line = gateway.line_of(answer);
            let words = answer.header("cache-status").unwrap_or_default();
            // The sources of blocks are reported as separate numbers.
            let words = words.split("; detail=\"").next().unwrap_or_default();
            assert_eq!(words.strip_prefix("s3proxy; "), line["cache"].as_str(), "{line}");
            let numbers = ["blocks_memory", "blocks_disk", "blocks_store"].map(|name| &line[name]);
            match said.blocks() {
                Some(blocks) => assert_eq!(json!(numbers), json!(blocks), "{line}"),
                None => assert_eq!(json!(numbers), json!([null, null, null]), "{line}"),
            }
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

    let large = json!({"cache": {"max_object": 1, "negative_ttl": 0}});
    let passing = json!({"cache": {"blocks": {"share": 0}}});
    let cold = without_retries(with_cache(&scene.url()));
    let cold = cold.yaml(large.clone()).yaml(passing).start();
    check(&cold, "passed", &|said, _, what| {
        assert_eq!(said.token("fwd"), Some("miss"), "{what}: {said:?}");
        assert!(!said.is("stored") && said.blocks().is_none(), "{what}: {said:?}");
    });

    let blocks = without_retries(with_cache(&scene.url())).yaml(large).start();
    blocks.object("sky/a.png");
    check(&blocks, "from blocks", &|said, answer, what| {
        let is_there = answer.status() < 403 || matches!(answer.status(), 412 | 416);
        assert_eq!(said.is("hit"), is_there, "{what}: {said:?}");
        let has_bytes = what.contains(" GET ") && matches!(answer.status(), 200 | 206);
        assert_eq!(said.blocks(), has_bytes.then_some([1, 0, 0]), "{what}: {said:?}");
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
        // Probes are not logged.
        if path != "/" {
            assert_eq!(gateway.line_of(&answer)["cache"], "none", "{method} {path}");
        }
    }
}

#[test]
fn age_counts_from_the_stores_own_age_on_misses_and_hits() {
    let scene = Scene::start(tile("a", &[("Age", "100")]));
    let gateway = with_cache(&scene.url()).start();
    let first = gateway.object("sky/a.png");
    assert_eq!(first.header("age"), Some("100"), "the store's own: {first:?}");
    let age = |headers: &[(&str, &str)]| {
        let answer = gateway.object_with("sky/a.png", headers);
        assert!(Said::by(&answer).is("hit"), "{answer:?}");
        answer.header("age").and_then(|age| age.parse::<u64>().ok()).expect("an Age")
    };
    let before = age(&[]);
    assert!((100..110).contains(&before), "the store's Age counts: {before}");
    // The one check that needs time to pass: Age has a resolution of a second.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let after = age(&[]);
    assert!(after > before && after < before + 30, "{before}, a second later {after}");
    for headers in [("range", "bytes=0-0"), ("if-modified-since", "Wed, 01 Jul 2026 10:00:00 GMT")]
    {
        assert!(age(&[headers]) >= after, "{headers:?}");
    }
    assert_eq!(scene.count(), 1);
}

/// Names of the upstream fields in a log line.
fn upstream_fields(line: &Value) -> Vec<&str> {
    let line = line.as_object().expect("an object");
    line.keys().map(String::as_str).filter(|name| name.starts_with("upstream_")).collect()
}

#[test]
fn the_log_has_upstream_fields_if_this_request_asked_the_store() {
    let all = ["upstream_ms", "upstream_attempts", "upstream_status"];
    let gate = Gate::new();
    let scene = Scene::start(tile("a", &[("ETag", "\"a\"")]));
    let rules = json!({"cache": {"ttl": 0, "stale_while_revalidate": 0}});
    let gateway = with_cache(&scene.url()).yaml(rules).start();

    let miss = gateway.line_of(&gateway.object("sky/a.png"));
    assert_eq!(upstream_fields(&miss), all, "{miss}");
    assert_eq!((&miss["upstream_status"], &miss["upstream_attempts"]), (&json!(200), &json!(1)));
    assert_eq!(miss["cache"], "fwd=miss; fwd-status=200; ttl=0; stored", "{miss}");

    scene.now(not_modified(&[("ETag", "\"a\""), ("Cache-Control", "max-age=60")]));
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
    // Without a ttl, a follower that comes too late would send a request of its own, which would be one too many.
    await_requests_read(&gateway, 2);
    assert!(!follower.wait_for_bytes(std::time::Duration::from_millis(1)));
    gate.open();
    let leader = gateway.line_of(&leader.answer("GET").expect("an answer"));
    let follower = gateway.line_of(&follower.answer("GET").expect("an answer"));
    assert_eq!(upstream_fields(&leader), all, "{leader}");
    assert!(upstream_fields(&follower).is_empty(), "{follower}");
    assert_eq!(follower["cache"], "fwd=miss; ttl=0; stored; collapsed", "{follower}");
    assert_eq!(scene.count(), 3);
}
