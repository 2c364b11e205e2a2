//! Metadata that changes without the bytes: copying an object onto itself leaves its `ETag`, and the
//! next revalidation brings the new headers, wherever the object is stored. What this costs in requests.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::cache_status::Said;
use crate::cached::{status, with_cache};
use crate::client::Answer;
use crate::disk::{Bench, start_scanned, stop};
use crate::faulty;
use crate::gateway::{Gateway, Setup};
use crate::origin::{MODIFIED, Manners, Object, Origin};
use crate::scene::{Scene, not_modified, tile};

const LATER: &str = "Fri, 01 Aug 2025 12:00:00 GMT";

/// Every object is stale at once, and has the type that the store says.
fn stale_at_once(setup: Setup) -> Setup {
    let rules = json!({"ttl": 0, "negative_ttl": 0, "stale_while_revalidate": 0});
    setup.yaml(json!({"cache": rules, "upstream": {"retries": 0}}))
}

/// The same bytes with the `number`th metadata.
fn object(body: &[u8], number: usize) -> Object {
    let mut object = Object::new(body.to_vec());
    object.content_type = Some(format!("image/{}", ["png", "webp", "gif"][number]));
    object.content_disposition = Some(format!("inline; filename=\"{number}.png\""));
    object.last_modified =
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_751_371_200 + number as u64);
    object
}

fn described(answer: &Answer) -> [String; 3] {
    let names = ["content-type", "content-disposition", "last-modified"];
    names.map(|name| answer.header(name).unwrap_or("-").to_owned())
}

fn expected(number: usize) -> [String; 3] {
    let types = ["image/png", "image/webp", "image/gif"];
    let modified = format!("Tue, 01 Jul 2025 12:00:0{number} GMT");
    let disposition = format!("inline; filename=\"{number}.png\"");
    [types[number].to_owned(), disposition, modified]
}

/// The requests since the last call, as method and status.
fn asked(origin: &Origin) -> Vec<String> {
    let requests = origin.requests();
    origin.clear();
    let line = |it: &crate::origin::Request| {
        format!("{} {}", it.method, it.status.map_or(0, |status| status.as_u16()))
    };
    requests.iter().map(line).collect()
}

fn whole(gateway: &Gateway, path: &str, body: &[u8]) -> Answer {
    let answer = gateway.object(path);
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.body == body, "other bytes");
    answer
}

/// A profile that takes the media type from the store.
fn typed(setup: Setup, store: &str) -> Setup {
    setup.profile("typed", store).profile_settings("typed", &json!({"content_type": "origin"}))
}

#[test]
fn metadata_that_changes_without_the_bytes_is_seen_by_the_next_revalidation() {
    for (manners, costs) in [
        (Manners::rgw(), [&["GET 304", "HEAD 200"][..], &["HEAD 200"], &["HEAD 200"]]),
        (Manners::aws(), [&["GET 304", "HEAD 200"], &["GET 304"], &["GET 304", "HEAD 200"]]),
    ] {
        let origin = Origin::with(manners);
        origin.put_object("sky", "a.png", object(b"tile", 0));
        let gateway = stale_at_once(typed(with_cache(&origin.url()), &origin.url())).start();
        let path = "typed@sky/a.png";
        assert_eq!(described(&whole(&gateway, path, b"tile")), expected(0));
        asked(&origin);
        for (number, cost) in [1, 1, 2].into_iter().zip(costs) {
            origin.put_object("sky", "a.png", object(b"tile", number));
            let answer = whole(&gateway, path, b"tile");
            assert_eq!(described(&answer), expected(number), "{}", status(&answer));
            assert!(Said::by(&answer).token("fwd") == Some("stale"), "{answer:?}");
            assert_eq!(asked(&origin), cost, "{number}");
        }
        // Headers that are gone are gone.
        origin.put_object("sky", "a.png", {
            let mut bare = object(b"tile", 0);
            bare.content_disposition = None;
            bare
        });
        let bare = whole(&gateway, path, b"tile");
        assert_eq!(bare.header("content-disposition"), None, "{bare:?}");
    }
}

#[test]
fn what_a_revalidation_costs_in_requests() {
    const OBJECTS: u64 = 20;
    for (manners, unchanged, metadata, bytes) in [
        // The first 304 of RGW shows that it names no version: one request more, once.
        (Manners::rgw(), OBJECTS + 1, OBJECTS, 2 * OBJECTS),
        (Manners::aws(), OBJECTS, 2 * OBJECTS, OBJECTS),
    ] {
        let origin = Origin::with(manners);
        let gateway = stale_at_once(with_cache(&origin.url())).start();
        let put = |body: &[u8], number| {
            for nth in 0..OBJECTS {
                origin.put_object("sky", &format!("{nth}.png"), object(body, number));
            }
        };
        let read = |body: &[u8]| {
            for nth in 0..OBJECTS {
                whole(&gateway, &format!("sky/{nth}.png"), body);
            }
            asked(&origin).len() as u64
        };
        put(b"one", 0);
        assert_eq!(read(b"one"), OBJECTS);
        assert_eq!(read(b"one"), unchanged, "nothing has changed");
        put(b"one", 1);
        assert_eq!(read(b"one"), metadata, "metadata has changed");
        put(b"two", 2);
        assert_eq!(read(b"two"), bytes, "bytes have changed");
    }
}

#[test]
fn changed_metadata_reaches_the_disk_and_objects_in_blocks() {
    const LARGE: usize = 24 << 20;
    for manners in [Manners::rgw(), Manners::aws()] {
        for (key, body) in [("a.png", b"tile".to_vec()), ("b.png", vec![7; LARGE])] {
            let (bench, origin) = (Bench::new(), Origin::with(manners.clone()));
            origin.put_object("sky", key, object(&body, 0));
            let setup = stale_at_once(typed(bench.setup(&origin.url()), &origin.url()));
            let path = format!("typed@sky/{key}");
            let head = |gateway: &Gateway| {
                let part = gateway.object_with(&path, &[("range", "bytes=1-3")]);
                assert_eq!((part.status(), &part.body[..]), (206, &body[1..4]), "{part:?}");
                part
            };
            let gateway = start_scanned(&setup);
            assert_eq!(described(&head(&gateway)), expected(0), "{key}");
            stop(gateway);
            // From disk, confirmed with other metadata, and written again.
            origin.put_object("sky", key, object(&body, 1));
            let gateway = start_scanned(&setup);
            assert_eq!(described(&head(&gateway)), expected(1), "{key}");
            stop(gateway);
            let fresh = setup.yaml(json!({"cache": {"stale_if_error": "1h"}}));
            asked(&origin);
            drop(origin);
            let gateway = start_scanned(&fresh.tolerate("upstream_unreachable"));
            let stale = gateway.send("HEAD", &format!("/s3proxy/s3/{path}"), &[]);
            assert_eq!(described(&stale), expected(1), "{key}: {}", status(&stale));
        }
    }
}

#[test]
fn a_304_with_another_strong_tag_confirms_nothing() {
    let old = [("ETag", "\"a\""), ("Last-Modified", MODIFIED)];
    for other in ["\"b\"", "W/\"b\""] {
        let scene = Scene::start(tile("old", &old));
        let gateway = stale_at_once(with_cache(&scene.url())).start();
        assert_eq!(gateway.object("sky/a.png").text(), "old");
        scene.now_by(move |request| match request.header("if-none-match") {
            Some(_) => not_modified(&[("ETag", other), ("Last-Modified", MODIFIED)]),
            None => tile("new", &[("ETag", other), ("Last-Modified", LATER)]),
        });
        let answer = gateway.object("sky/a.png");
        assert_eq!((answer.text(), answer.header("etag")), ("new", Some(other)), "{answer:?}");
        assert_eq!(scene.count(), 3, "{other}");
    }
}

#[test]
fn a_304_brings_the_headers_that_it_has() {
    let old = [("ETag", "\"a\""), ("Last-Modified", MODIFIED), ("Content-Disposition", "inline")];
    let scene = Scene::start(tile("old", &old));
    let gateway = stale_at_once(with_cache(&scene.url())).start();
    gateway.object("sky/a.png");
    let newer = [
        ("ETag", "\"a\""),
        ("Last-Modified", MODIFIED),
        ("Content-Disposition", "attachment"),
        ("Cache-Control", "max-age=60"),
        ("Content-Length", "9"),
    ];
    scene.now(not_modified(&newer));
    for fwd in [Some("stale"), None] {
        let answer = gateway.object("sky/a.png");
        assert_eq!((answer.text(), Said::by(&answer).token("fwd")), ("old", fwd), "{answer:?}");
        assert_eq!(answer.header("content-disposition"), Some("attachment"));
        assert_eq!(answer.header("cache-control"), Some("max-age=60"));
        assert_eq!(answer.header("content-length"), Some("3"));
    }
    assert_eq!(scene.count(), 2);
}

#[test]
fn where_head_is_refused_a_304_confirms_and_head_is_not_asked_again() {
    let old = [("ETag", "\"a\""), ("Last-Modified", MODIFIED)];
    let scene = Scene::start(tile("old", &old));
    let gateway = stale_at_once(with_cache(&scene.url())).start();
    gateway.object("sky/a.png");
    scene.now_by(move |request| match request.method.as_str() {
        "HEAD" => vec![faulty::head(405, &[])],
        _ if request.header("if-none-match").is_some() => not_modified(&[]),
        _ => tile("old", &old),
    });
    // The first time a HEAD, and in its place a GET of one byte.
    for count in [4, 5, 6] {
        let answer = gateway.object("sky/a.png");
        assert_eq!((answer.status(), answer.text()), (200, "old"), "{}", status(&answer));
        assert_eq!(scene.count(), count);
    }
}

#[test]
fn the_uncached_road_passes_the_304_of_a_store_as_it_is() {
    for (said, tag, modified) in [
        (&[("ETag", "\"b\""), ("Last-Modified", LATER)][..], "\"b\"", Some(LATER)),
        // RFC 9110, section 15.4.5: RGW leaves off the tag, and it is the one asked about.
        (&[], "\"a\"", None),
    ] {
        let scene = Scene::start(not_modified(said));
        let gateway = Setup::new(&scene.url()).start();
        let answer = gateway.object_with("sky/a.png", &[("If-None-Match", "\"a\"")]);
        assert_eq!(answer.status(), 304, "{answer:?}");
        assert_eq!((answer.header("etag"), answer.header("last-modified")), (Some(tag), modified));
        assert_eq!(scene.count(), 1);
    }
}
