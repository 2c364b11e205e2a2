//! The cache in front of a real RGW: its requests, RGW's answers, and the hits without a request.

use crate::{gateway::Gateway, rgw::Rgw, wire::Answer};

/// Every request revalidates the cached object with RGW.
const ALWAYS_ASK: &[(&str, &str)] = &[
    ("S3PROXY_CACHE_MEMORY", "64MiB"),
    ("S3PROXY_CACHE_TTL", "0"),
    ("S3PROXY_CACHE_NEGATIVE_TTL", "0"),
    ("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "0"),
];

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("none")
}

fn is_hit(answer: &Answer) -> bool {
    status(answer).starts_with("s3proxy; hit; ttl=")
}

#[test]
fn rgw_confirms_cached_objects_until_they_change() {
    let Some(rgw) = Rgw::from_environment("revalidation") else { return };
    let gateway = Gateway::start_with(&rgw, ALWAYS_ASK);
    let path = gateway.path("a.png");
    rgw.put("a.png", b"a tile");
    let first = gateway.ask("GET", &path, &[]);
    assert_eq!((first.status, first.body.as_slice()), (200, &b"a tile"[..]));
    assert_eq!(status(&first), "s3proxy; fwd=miss; fwd-status=200; ttl=0; stored");
    for method in ["GET", "HEAD", "GET"] {
        let again = gateway.ask(method, &path, &[]);
        assert_eq!(again.status, 200);
        // RGW's 304 does not name the version: a HEAD has confirmed it.
        assert_eq!(status(&again), "s3proxy; fwd=stale; fwd-status=200; ttl=0; stored", "{method}");
        for name in ["etag", "last-modified", "content-type", "content-length", "cache-control"] {
            assert_eq!(again.header(name), first.header(name), "{method}: {name}");
        }
        let body: &[u8] = if method == "GET" { b"a tile" } else { b"" };
        assert_eq!(again.body, body, "{method}");
    }
    let part = gateway.ask("GET", &path, &[("Range", "bytes=2-5")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &b"tile"[..]), "{}", status(&part));
    let etag = first.header("etag").expect("an ETag");
    let unchanged = gateway.ask("GET", &path, &[("If-None-Match", etag)]);
    assert_eq!(unchanged.status, 304, "{}", status(&unchanged));

    // Of the same length, so that only RGW's answer distinguishes them.
    rgw.put("a.png", b"A TILE");
    let changed = gateway.ask("GET", &path, &[("If-None-Match", etag)]);
    assert_eq!((changed.status, changed.body.as_slice()), (200, &b"A TILE"[..]));
    assert_eq!(status(&changed), "s3proxy; fwd=stale; fwd-status=200; ttl=0; stored");
    assert_ne!(changed.header("etag"), Some(etag));

    rgw.delete("a.png");
    for method in ["GET", "HEAD"] {
        let gone = gateway.ask(method, &path, &[]);
        assert_eq!(gone.status, 404, "{method}: {}", status(&gone));
    }
    rgw.put("a.png", b"a third");
    let back = gateway.ask("GET", &path, &[]);
    assert_eq!((back.status, back.body.as_slice()), (200, &b"a third"[..]));
}

#[test]
fn two_hundred_tiles_are_asked_of_rgw_once() {
    const TILES: usize = 200;
    let Some(rgw) = Rgw::from_environment("tiles") else { return };
    let gateway = Gateway::start_with(&rgw, &[("S3PROXY_CACHE_MEMORY", "64MiB")]);
    let tile = |number: usize| {
        let line = format!("tile {number} of the sky\n");
        line.repeat(1 + number * 10).into_bytes()
    };
    let key = |number: usize| format!("Norder6/Dir0/Npix{number}.png");
    for number in 0..TILES {
        rgw.put(&key(number), &tile(number));
    }
    let mut hits = 0;
    for round in 0..5 {
        for number in 0..TILES {
            let answer = gateway.ask("GET", &gateway.path(&key(number)), &[]);
            assert_eq!(answer.status, 200, "round {round}, tile {number}: {}", answer.text());
            assert!(answer.body == tile(number), "round {round}, tile {number}: other bytes");
            hits += usize::from(is_hit(&answer));
        }
    }
    assert_eq!(hits, 4 * TILES, "of {} requests", 5 * TILES);
}

#[test]
fn a_missing_tile_is_asked_of_rgw_once() {
    let Some(rgw) = Rgw::from_environment("holes") else { return };
    let gateway = Gateway::start_with(&rgw, &[("S3PROXY_CACHE_MEMORY", "64MiB")]);
    let path = gateway.path("hole.png");
    let first = gateway.ask("GET", &path, &[]);
    assert_eq!(first.status, 404);
    assert_eq!(status(&first), "s3proxy; fwd=miss; fwd-status=404; ttl=60; stored");
    // RGW has the object now; the gateway does not ask for a minute.
    rgw.put("hole.png", b"a tile");
    let again = gateway.ask("GET", &path, &[]);
    assert_eq!(again.status, 404);
    assert!(is_hit(&again), "{}", status(&again));
}
