//! Members of zip files and PMTiles as objects: what they answer, what they cost at the store, and that no damage
//! and no change of an archive gives a wrong member.

mod damage;
mod explained;
mod maps;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rawzip::CompressionMethod;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cached::{status, with_cache};
use crate::client::{Ending, find};
use crate::configuration::assert_mistakes;
use crate::disk::{Bench, start_scanned, stop};
use crate::faulty::{self, Faulty};
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;
use crate::store::Object;
use crate::zip_file::zip;

fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip(members, CompressionMethod::STORE)
}

/// Tiles with bytes of their own, of this length each.
fn tiles(number: usize, length: usize, salt: &str) -> Vec<(String, Vec<u8>)> {
    let tile = |i: usize| {
        let text = format!("{salt} tile {i} ");
        let bytes: Vec<u8> = text.bytes().cycle().take(length).collect();
        (format!("Norder9/Dir0/Npix{i}.png"), bytes)
    };
    (0..number).map(tile).collect()
}

/// A gateway that serves the members of all archives, and caches large objects in blocks.
fn setup(store: &str) -> Setup {
    with_cache(store)
        .env("S3PROXY_CACHE_MAX_OBJECT", "100000")
        .yaml(json!({"default_profile": {"archives": true}}))
}

fn member(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> crate::client::Answer {
    gateway.send("GET", &format!("/s3proxy/s3/sky/{path}"), headers)
}

fn cause(answer: &crate::client::Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["cause"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn members_are_objects_with_type_tag_ranges_and_conditions() {
    let origin = Origin::start();
    // One archive comes with the first range, the other does not.
    let padding = vec![7; 3 << 20];
    for (size, more) in [("small", &[][..]), ("large", &padding[..])] {
        let archive =
            stored(&[("a/one.png", b"0123456789"), ("pad.png", more), ("é ü.json", b"{}")]);
        let bytes = Object::new(archive.clone());
        let archive_etag = origin.put_object("sky", &format!("{size}.zip"), bytes);
        let gateway = setup(&origin.url()).start();
        let path = format!("{size}.zip/a/one.png");
        let first = member(&gateway, &path, &[]);
        assert_eq!((first.status(), first.text()), (200, "0123456789"), "{size}");
        assert_eq!(first.header("content-type"), Some("image/png"));
        assert_eq!(first.header("content-length"), Some("10"));
        assert_eq!(first.header("accept-ranges"), Some("bytes"));
        let etag = first.header("etag").expect("a tag").to_owned();
        assert!(etag.starts_with('"') && etag != archive_etag, "{etag}");
        let modified = first.header("last-modified").expect("a date").to_owned();
        for (headers, expected, body) in [
            (&[("range", "bytes=2-4")][..], 206, "234"),
            (&[("range", "bytes=-3")], 206, "789"),
            (&[("range", "bytes=20-")], 416, ""),
            (&[("if-none-match", etag.as_str())], 304, ""),
            (&[("if-none-match", archive_etag.as_str())], 200, "0123456789"),
            (&[("if-match", "\"x\"")], 412, ""),
            (&[("if-match", etag.as_str())], 200, "0123456789"),
            (&[("if-modified-since", modified.as_str())], 304, ""),
            (&[("range", "bytes=2-4"), ("if-range", etag.as_str())], 206, "234"),
            (&[("range", "bytes=2-4"), ("if-range", "\"x\"")], 200, "0123456789"),
        ] {
            let answer = member(&gateway, &path, headers);
            assert_eq!(answer.status(), expected, "{size} {headers:?}");
            if expected < 400 {
                assert_eq!(answer.text(), body, "{size} {headers:?}");
                assert_eq!(answer.header("etag"), Some(etag.as_str()), "{size} {headers:?}");
            }
            if expected == 206 {
                assert!(answer.header("content-range").expect("a range").ends_with("/10"));
            }
            gateway.line_of(&answer);
        }
        let several = member(&gateway, &path, &[("range", "bytes=0-1,4-5")]);
        assert!(
            several.text().contains("\r\n\r\n01\r\n") && several.text().contains("\r\n\r\n45\r\n")
        );
        let head = gateway.send("HEAD", &format!("/s3proxy/s3/sky/{path}"), &[]);
        assert_eq!((head.status(), head.header("content-length")), (200, Some("10")));
        assert_eq!(head.header("etag"), Some(etag.as_str()));
        let other = member(&gateway, &format!("{size}.zip/%C3%A9%20%C3%BC.json"), &[]);
        assert_eq!((other.text(), other.header("content-type")), ("{}", Some("application/json")));
        assert!(other.header("etag") != Some(etag.as_str()));
        for missing in ["a/two.png", "a/one.png/", "a//one.png", "A/one.png"] {
            let answer = member(&gateway, &format!("{size}.zip/{missing}"), &[]);
            let expected = if missing.ends_with('/') { [404, 415] } else { [404, 404] };
            assert!(expected.contains(&answer.status()), "{missing}: {answer:?}");
            assert!(answer.text().contains(missing), "{}", answer.text());
        }
        // The archive stays an object.
        let whole = member(&gateway, &format!("{size}.zip"), &[("range", "bytes=0-3")]);
        assert_eq!(whole.status(), 415, "its type is not accepted");
        let line = gateway.line_of(&first);
        assert_eq!(line["path"], format!("s3://sky/{size}.zip/a/one.png"), "{line}");
    }
}

#[test]
fn an_archive_stays_an_object_and_without_the_setting_it_has_no_members() {
    let origin = Origin::start();
    let archive = stored(&[("one.png", b"0123456789")]);
    origin.put("a/x.zip", archive.clone());
    origin.put("b/x.zip", archive.clone());
    origin.put("b/x.zip/one.png", "an object");
    let gateway = with_cache(&origin.url())
        .yaml(json!({
            "default_profile": {"archives": ["sky/a/"]},
            "mime": {"also_allow": ["application/zip"]},
        }))
        .start();
    assert_eq!(member(&gateway, "a/x.zip/one.png", &[]).text(), "0123456789");
    assert_eq!(member(&gateway, "b/x.zip/one.png", &[]).text(), "an object");
    for folder in ["a", "b"] {
        let whole = member(&gateway, &format!("{folder}/x.zip"), &[]);
        assert_eq!(whole.header("content-type"), Some("application/zip"));
        assert!(whole.body == archive, "{folder}");
    }
    // It is whole in memory now.
    origin.clear();
    let again = member(&gateway, "a/x.zip/one.png", &[("range", "bytes=1-2")]);
    assert_eq!((again.status(), again.text()), (206, "12"));
    assert_eq!(origin.count(), 0, "{:?}", origin.requests());
    assert_eq!(member(&gateway, "a/gone.zip/one.png", &[]).status(), 404);
}

/// The tiers below memory are asked before Pingora is: what they have of a member is its whole archive.
#[test]
fn a_member_is_never_the_archive_from_a_tier_below_memory() {
    let origin = Origin::start();
    let archive = stored(&[("a/one.png", b"0123456789")]);
    origin.put_object("sky", "small.zip", Object::new(archive.clone()));
    let bench = Bench::new();
    let setup = bench.setup(&origin.url()).yaml(json!({
        "default_profile": {"archives": true},
        "mime": {"also_allow": ["application/zip"]},
    }));
    for start in ["first", "second"] {
        let gateway = start_scanned(&setup);
        for _ in 0..2 {
            let answer = member(&gateway, "small.zip/a/one.png", &[]);
            let media_type = answer.header("content-type");
            let seen = (answer.status(), answer.text(), media_type);
            assert_eq!(seen, (200, "0123456789", Some("image/png")), "{start}");
        }
        assert!(member(&gateway, "small.zip", &[]).body == archive, "{start}");
        bench.await_records(1);
        stop(gateway);
    }
}

#[test]
fn a_burst_of_members_costs_few_ranged_requests() {
    let origin = Origin::start();
    let tiles = tiles(1000, 4000, "a");
    let archive = zip(&tiles, CompressionMethod::STORE);
    let end_of_299 = find(&archive, &tiles[299].1).expect("a tile") + tiles[299].1.len();
    let etag = origin.put("t.zip", archive);
    let gateway = setup(&origin.url()).start();
    let get_all = |range: std::ops::Range<usize>| {
        std::thread::scope(|scope| {
            for chunk in tiles[range].chunks(25) {
                let gateway = &gateway;
                scope.spawn(move || {
                    for (name, bytes) in chunk {
                        let answer = member(gateway, &format!("t.zip/{name}"), &[]);
                        assert_eq!(answer.status(), 200, "{name}: {answer:?}");
                        assert!(answer.body == *bytes, "{name}");
                    }
                });
            }
        });
    };
    get_all(100..300);
    let requests = origin.requests();
    // The end, the rest of the directory, and 800 kB of tiles in pieces of 512 KiB that begin where readers did.
    assert!(requests.len() <= 12, "{} requests", requests.len());
    let sent: u64 = requests.iter().map(|request| request.bytes_sent).sum();
    assert!(sent < 5 << 20, "{sent} bytes");
    for (place, request) in requests.iter().enumerate() {
        assert_eq!(request.path, "/sky/t.zip");
        assert!(!request.header("range").is_empty(), "{request:?}");
        // All but the first are about the version that the first has named.
        let named = request.header("if-match");
        assert_eq!(named, if place == 0 { "" } else { etag.as_str() }, "{request:?}");
    }
    // Blocks that are read ahead arrive after the answers.
    let admin = Admin { address: gateway.admin.expect("an admin listener") };
    admin.await_number("blocks_under_way", |blocks| blocks == 0);
    origin.clear();
    get_all(100..300);
    // Who reads on is served further ahead than before: which reader was first decides whether those bytes are new.
    for request in origin.requests() {
        let range = request.header("range");
        let first = range.strip_prefix("bytes=").and_then(|range| range.split('-').next());
        let first: usize = first.and_then(|first| first.parse().ok()).expect("a range");
        assert!(first >= end_of_299, "{request:?}");
    }
    let answer = member(&gateway, &format!("t.zip/{}", tiles[200].0), &[]);
    assert!(status(&answer).contains("hit"), "{}", status(&answer));
}

#[test]
fn a_large_member_passes_in_pieces() {
    let origin = Origin::start();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[(i % 3) as usize]).collect();
    origin.put("t.zip", stored(&[("small.png", b"x"), ("large.png", &bytes), ("end.png", b"y")]));
    let gateway = setup(&origin.url()).start();
    for _ in 0..2 {
        let answer = member(&gateway, "t.zip/large.png", &[]);
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
        assert!(answer.body == bytes);
    }
    let part = member(&gateway, "t.zip/large.png", &[("range", "bytes=1500000-2500000")]);
    assert_eq!(part.status(), 206);
    assert!(part.body == bytes[1_500_000..=2_500_000]);
    let several = member(&gateway, "t.zip/large.png", &[("range", "bytes=0-1,2000000-2000001")]);
    assert_eq!((several.status(), several.ending), (206, Ending::Whole));
}

#[test]
fn a_purge_of_the_archive_or_within_it_purges_its_members() {
    let origin = Origin::start();
    let (setup, admin) = Admin::of(setup(&origin.url()));
    origin.put("f/t.zip", stored(&[("d/one.png", b"before")]));
    let gateway = setup.start();
    assert_eq!(member(&gateway, "f/t.zip/d/one.png", &[]).text(), "before");
    for (target, named) in [
        ("sky/f/t.zip", Value::Null),
        ("sky/f/", Value::Null),
        ("sky/f/t.zip/d/one.png", json!("s3://sky/f/t.zip/d/one.png")),
        ("sky/f/t.zip/d/", json!("s3://sky/f/t.zip/d/")),
        ("sky/f/t.zip/", json!("s3://sky/f/t.zip/")),
    ] {
        origin.put("f/t.zip", stored(&[("x.png", b"x"), ("d/one.png", target.as_bytes())]));
        let old = member(&gateway, "f/t.zip/d/one.png", &[]);
        assert!(status(&old).contains("hit"), "{target}: {}", status(&old));
        let answer = admin.purge(target);
        assert_eq!(answer["member"], named, "{answer}");
        if named != Value::Null {
            assert_eq!(answer["purged"], "s3://sky/f/t.zip", "{answer}");
            assert_eq!(answer["below"], false, "{answer}");
        }
        assert_eq!(member(&gateway, "f/t.zip/d/one.png", &[]).text(), target, "{target}");
    }
}

/// The store had answered with wrong bytes once. The directory was known as damaged until the archive was written anew,
/// since the entity tag is that of the right bytes.
#[test]
fn a_purge_forgets_the_directory_too() {
    let good = stored(&[("one.png", b"0123456789")]);
    let is_good = Arc::new(AtomicBool::new(false));
    let (recovered, bytes) = (Arc::clone(&is_good), good.clone());
    let store = Faulty::scripted(move |_, _| {
        let mut body = bytes.clone();
        if !recovered.load(Ordering::SeqCst) {
            let last = body.len() - 22;
            body[last] ^= 1;
        }
        let headers = [("ETag", "\"a\""), ("Last-Modified", "Wed, 01 Jul 2026 10:00:00 GMT")];
        faulty::answer(200, &headers, &body)
    });
    let (setup, admin) = Admin::of(setup(&store.url()).tolerate("archive_damaged"));
    let gateway = setup.start();
    assert_eq!(cause(&member(&gateway, "t.zip/one.png", &[])), "archive_damaged");
    is_good.store(true, Ordering::SeqCst);
    assert_eq!(cause(&member(&gateway, "t.zip/one.png", &[])), "archive_damaged", "it is cached");
    admin.purge("sky/t.zip/one.png");
    assert_eq!(member(&gateway, "t.zip/one.png", &[]).text(), "0123456789");
}

#[test]
fn a_mistake_in_the_settings_is_named() {
    assert_mistakes(
        "cache:\n  memory: 0\nprofiles:\n  a:\n    endpoint: http://a\n    archives: true\n",
        &[(6, "profiles.a.archives: needs the cache and its blocks: cache.memory is 0")],
    );
    assert_mistakes(
        "profiles:\n  a:\n    endpoint: http://a\n    archives: [sky/a]\n",
        &[(4, "with a slash at its end")],
    );
}
