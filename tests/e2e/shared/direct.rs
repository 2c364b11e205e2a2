//! What the shared tier has is answered in front of the framework, and as the framework answers it.

use crate::client::Answer;
use crate::direct_hits::logged;
use crate::origin::Origin;
use crate::scene::{Scene, not_modified, tile};
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};

/// Method, key and headers. Each key is requested once, so that memory does not have it.
type Request = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const REQUESTS: &[Request] = &[
    ("GET", "whole.png", &[]),
    ("GET", "close.png", &[("Connection", "close")]),
    ("HEAD", "head.png", &[]),
    ("GET", "part.png", &[("Range", "bytes=2-5")]),
    ("GET", "parts.png", &[("Range", "bytes=0-0,4-5")]),
    ("GET", "beyond.png", &[("Range", "bytes=999999-")]),
    ("GET", "unmodified.png", &[("If-None-Match", "*")]),
    ("GET", "other.png", &[("If-Match", "\"other\"")]),
    ("GET", "origin.png", &[("Origin", "https://portal.example.org")]),
    ("GET", "no-cache.png", &[("Cache-Control", "no-cache")]),
    ("GET", "missing.png", &[]),
    ("HEAD", "missing-too.png", &[]),
    // Nobody has these in the engine: the store is asked.
    ("GET", "new.png", &[]),
    ("GET", "new-missing.png", &[]),
    ("GET", "new-part.png", &[("Range", "bytes=2-5")]),
];

fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let kind = answer.header("content-type").unwrap_or_default().to_owned();
    let boundary = kind.split_once("boundary=").map(|(_, boundary)| boundary.to_owned());
    let plain = |text: &str| match &boundary {
        Some(boundary) => text.replace(boundary.as_str(), "boundary"),
        None => text.to_owned(),
    };
    let headers = answer.head.headers.iter().filter(|(name, _)| {
        !["date", "server-timing"].contains(&name.to_ascii_lowercase().as_str())
    });
    let mut headers: Vec<(String, String)> = headers
        .map(|(name, value)| match name.to_ascii_lowercase() {
            // The rest of its lifetime differs.
            lower if lower == "cache-status" => {
                let parts = value.split("; ").filter(|part| !part.starts_with("ttl="));
                (lower, parts.collect::<Vec<_>>().join("; "))
            }
            lower if lower == "cache-control" => {
                (lower, value.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
            }
            lower if lower == "age" => (lower, String::new()),
            lower => (lower, plain(value)),
        })
        .collect();
    headers.sort();
    (answer.status(), headers, plain(answer.text()))
}

#[test]
fn answers_from_the_shared_tier_are_those_of_the_framework() {
    let Some(engine) = Engine::start() else { return };
    let origin = Origin::start();
    let keys = REQUESTS.iter().map(|(_, key, _)| *key);
    let (new, known): (Vec<&str>, Vec<&str>) = keys.partition(|key| key.starts_with("new"));
    for key in known.iter().chain(&new).filter(|key| !key.contains("missing")) {
        origin.put(key, "a tile of the sky");
    }
    // Each with values of its own: what one of them fetches, the other one must not find.
    let replicas = ["true", "false"].map(|direct| {
        let start = || {
            let setup = sharing(&origin.url(), &engine)
                .env("S3PROXY_CACHE_SHARED_PREFIX", direct)
                .env("S3PROXY_SERVER_DIRECT_HITS", direct)
                .env("S3PROXY_CORS_ORIGINS", "[\"https://portal.example.org\"]");
            let replica = Replica::of(setup);
            replica.await_state("on");
            replica
        };
        let before = start();
        for key in &known {
            before.get(&format!("sky/{key}"));
        }
        before.await_written(known.len() as u64);
        start()
    });
    for (number, (method, key, headers)) in REQUESTS.iter().enumerate() {
        let [direct, framework] = replicas.each_ref().map(|replica| {
            let id = format!("request-{number}");
            let headers: Vec<(&str, &str)> =
                headers.iter().copied().chain([("X-Request-ID", &*id)]).collect();
            let path = format!("/s3proxy/s3/sky/{key}");
            let answer = replica.gateway.send(method, &path, &headers);
            (comparable(&answer), logged(&replica.gateway, &id))
        });
        assert_eq!(direct, framework, "{method} {key} {headers:?}");
    }
    let hits = |replica: &Replica| replica.admin.number("shared_hits");
    assert_eq!(hits(&replicas[0]), hits(&replicas[1]));
    assert_eq!(hits(&replicas[0]), known.len() as u64, "all that were known");
}

/// `Age` says that the store was not asked (RFC 9111, section 5.1).
#[test]
fn what_the_store_has_just_validated_has_no_age() {
    let Some(engine) = Engine::start() else { return };
    for direct in ["true", "false"] {
        let headers = [("ETag", "\"a\""), ("Cache-Control", "max-age=0")];
        let scene = Scene::start(tile("a tile", &headers));
        let setup = sharing(&scene.url(), &engine)
            .env("S3PROXY_CACHE_SHARED_PREFIX", direct)
            .env("S3PROXY_SERVER_DIRECT_HITS", direct)
            .env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "0");
        let replica = Replica::of(setup);
        replica.await_state("on");
        replica.get("sky/a.png");
        replica.await_written(1);
        scene.now(not_modified(&headers));
        let answer = replica.gateway.object("sky/a.png");
        assert_eq!((answer.status(), answer.text()), (200, "a tile"), "{direct}: {answer:?}");
        let status = answer.header("cache-status").expect("a status");
        assert!(status.contains("fwd=stale"), "{direct}: {status}");
        assert_eq!(answer.header("age"), None, "{direct}");
        assert_eq!(scene.count(), 2, "{direct}");
    }
}
