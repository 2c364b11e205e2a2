//! A long response is one answer of the store from its first to its last byte: one request, one
//! version, at the pace of its client.

use crate::blocks::{
    BLOCK, PATH, Shelf, Version, assert_hit, assert_is_part, assert_part, assert_whole, held_back,
    in_blocks, of_version, trickling,
};
use crate::cached::status;
use crate::client::{Client, Ending};
use crate::crowd::{Watched, connect};
use crate::faulty::{self, Gate, Step};
use crate::gateway::Setup;

const LENGTH: usize = 200 * BLOCK + 77;

/// Far less read-ahead than the object has bytes.
fn with_little_read_ahead(store: &str) -> Setup {
    in_blocks(store).env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "256KiB")
}

/// The rest of the object passes through after it was overwritten: `wget` resumes what is cut, without
/// a condition, and would write a file of two versions.
#[test]
fn a_file_overwritten_during_a_download_arrives_as_the_old_version_whole() {
    for (headers, head_first) in [
        (&[][..], false),
        (&[], true),
        (&[("Range", "bytes=0-")], false),
        (&[("Range", "bytes=1000-")], true),
        (&[("Range", "bytes=1000-13107277")], false),
    ] {
        let [old, new] = [Version::new(1, LENGTH), Version::new(2, LENGTH)];
        let shelf = Shelf::with(&old);
        let watched = Watched::start(with_little_read_ahead(&shelf.url()));
        if head_first {
            assert_eq!(watched.gateway.send("HEAD", PATH, &[]).status(), 200);
            shelf.asked();
        }
        let gate = Gate::new();
        let held = gate.clone();
        shelf.now_by(move |version, request| held_back(version.answer(request), BLOCK + 10, &held));
        let mut client = watched.gateway.connect();
        client.request("GET", PATH, headers);
        let head = client.head().expect("a head");
        assert_eq!(head.header("etag"), Some(old.etag.as_str()));
        assert!(client.fill_to(BLOCK / 2));
        shelf.overwrite(&new);
        gate.open();
        let (body, ending) = client.body(&head, "GET");
        let start = if head.header("content-range") == Some("bytes 0-13107276/13107277") {
            0
        } else {
            LENGTH - body.len()
        };
        assert_eq!(ending, Ending::Whole, "{headers:?}, {head_first}");
        assert!(old.has(start, &body), "{headers:?}, {head_first}: bytes of another version");
        let asked = shelf.asked();
        assert_eq!(asked.len(), 1, "{headers:?}, {head_first}: {asked:?}");
    }
}

#[test]
fn a_cold_object_read_whole_is_one_request_and_is_cached() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(with_little_read_ahead(&shelf.url()));
    let first = watched.gateway.get(PATH);
    assert_whole(&first, &version.body);
    assert_eq!(
        status(&first),
        "s3proxy; fwd=miss; fwd-status=200; ttl=300; stored; detail=\"store=201\""
    );
    assert_eq!(shelf.asked(), ["GET"]);
    watched.await_fetches_done();
    let again = watched.gateway.get(PATH);
    assert_whole(&again, &version.body);
    assert_hit(&again, 201);
    assert_eq!(shelf.asked(), Vec::<String>::new());
    assert_eq!(watched.counter("block_fetches_abandoned"), 0);
}

#[test]
fn a_gap_between_cached_blocks_is_one_request() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(with_little_read_ahead(&shelf.url()));
    assert_part(&watched.gateway, &version.body, 0..1);
    assert_part(&watched.gateway, &version.body, 150 * BLOCK..151 * BLOCK);
    watched.await_fetches_done();
    shelf.asked();
    assert_whole(&watched.gateway.get(PATH), &version.body);
    let last = format!("GET bytes={}-{} ={}", 151 * BLOCK, LENGTH - 1, version.etag);
    assert_eq!(shelf.asked(), [of_version(1..150, &version.etag), last]);
}

#[test]
fn a_crowd_reads_along_with_the_one_answer() {
    const READERS: usize = 8;
    let version = Version::new(1, 40 * BLOCK);
    let shelf = Shelf::with(&version);
    let watched =
        Watched::start(in_blocks(&shelf.url()).env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "8MiB"));
    let gate = Gate::new();
    let held = gate.clone();
    shelf.now_by(move |version, request| held_back(version.answer(request), BLOCK, &held));
    let mut crowd = connect(&watched.gateway, READERS);
    let heads: Vec<_> = crowd
        .iter_mut()
        .map(|client| {
            client.request("GET", PATH, &[]);
            let head = client.head().expect("a head");
            assert!(client.fill_to(BLOCK), "each reads what has arrived");
            head
        })
        .collect();
    gate.open();
    std::thread::scope(|scope| {
        for (client, head) in crowd.iter_mut().zip(&heads) {
            let version = &version;
            scope.spawn(move || {
                let (body, ending) = client.body(head, "GET");
                assert!(ending == Ending::Whole && body == *version.body);
            });
        }
    });
    assert_eq!(shelf.asked(), ["GET"]);
}

/// The client whose answer it is reads nothing: others do not wait for it.
#[test]
fn a_stalled_client_holds_nobody_up() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(with_little_read_ahead(&shelf.url()));
    let mut slow = Client::narrow(watched.gateway.address);
    slow.request("GET", PATH, &[]);
    let head = slow.head().expect("a head");
    for _ in 0..2 {
        assert_whole(&watched.gateway.get(PATH), &version.body);
        assert_part(&watched.gateway, &version.body, LENGTH - 100..LENGTH);
    }
    let (body, ending) = slow.body(&head, "GET");
    assert!(ending == Ending::Whole && body == *version.body);
}

#[test]
fn a_client_that_leaves_ends_the_request_to_the_store() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let watched = Watched::start(with_little_read_ahead(&shelf.url()).tolerate("client_gone"));
    let (gate, last) = (Gate::new(), Gate::new());
    let held = (gate.clone(), last.clone());
    shelf.now_by(move |version, request| {
        trickling(version.answer(request), BLOCK + 1, &held.0, &held.1)
    });
    let mut client = watched.gateway.connect();
    client.request("GET", PATH, &[]);
    assert_eq!(client.head().expect("a head").status, 200);
    assert!(client.fill_to(BLOCK + 1));
    drop(client);
    gate.open();
    shelf.store.await_hung_up(1);
    watched.gateway.expect_log("the leaving", |line| line["cause"] == "client_gone");
    last.open();
    watched.await_fetches_done();
    assert_eq!(watched.counter("block_fetches_abandoned"), 1);
    shelf.now_by(Version::answer);
    assert_part(&watched.gateway, &version.body, LENGTH - 10..LENGTH);
}

/// What is not cached is not requested twice either: the answer at hand is the response.
#[test]
fn an_object_that_cannot_be_cached_is_one_request() {
    let length = 4 * BLOCK;
    let version = Version::new(1, length);
    let weak = Version { etag: "W/\"a\"".to_owned(), ..version.clone() };
    let no_store = |version: &Version, _: &faulty::Recorded| {
        let headers =
            [("ETag", version.etag.as_str()), ("Cache-Control", "no-store"), ("Age", "7")];
        faulty::answer(200, &headers, &version.body)
    };
    let chunked = |version: &Version, _: &faulty::Recorded| {
        let mut body = format!("{:x}\r\n", version.body.len()).into_bytes();
        body.extend_from_slice(&version.body);
        body.extend_from_slice(b"\r\n0\r\n\r\n");
        let headers = [("ETag", version.etag.as_str()), ("Transfer-Encoding", "chunked")];
        vec![faulty::head(200, &headers), Step::Send(body)]
    };
    type Script = fn(&Version, &faulty::Recorded) -> Vec<Step>;
    let cases: [(&str, &Version, Script); 3] = [
        ("no-store", &version, no_store),
        ("chunked", &version, chunked),
        ("a weak tag", &weak, Version::answer),
    ];
    for (what, version, script) in cases {
        let shelf = Shelf::with(version);
        shelf.now_by(script);
        let watched = Watched::start(in_blocks(&shelf.url()));
        for nth in 0..3 {
            let answer = watched.gateway.get(PATH);
            assert_whole(&answer, &version.body);
            assert_eq!(status(&answer), "s3proxy; fwd=miss", "{what}");
            assert_eq!(answer.header("etag"), Some(version.etag.as_str()), "{what}");
            if what == "no-store" {
                assert_eq!(answer.header("age"), Some("7"), "{nth}");
            }
            assert_eq!(shelf.asked(), ["GET"], "{what}, {nth}");
        }
    }
}

#[test]
fn a_range_that_cannot_be_cached_is_one_request() {
    let version = Version { etag: "W/\"a\"".to_owned(), ..Version::new(1, 8 * BLOCK) };
    for range in [100..200, 3 * BLOCK - 5..5 * BLOCK, 8 * BLOCK - 10..8 * BLOCK] {
        let shelf = Shelf::with(&version);
        let watched = Watched::start(in_blocks(&shelf.url()));
        let answer = assert_part(&watched.gateway, &version.body, range.clone());
        assert_eq!(status(&answer), "s3proxy; fwd=miss");
        assert_eq!(shelf.asked().len(), 1, "{range:?}");
    }
    let shelf = Shelf::with(&version);
    let watched = Watched::start(in_blocks(&shelf.url()));
    let answer = crate::blocks::get_range(&watched.gateway, "bytes=70000-");
    assert_is_part(&answer, &version.body, 70_000..8 * BLOCK);
    assert_eq!(shelf.asked().len(), 1);
}

/// Stores that answer 412 to `If-Match` whatever it holds.
#[test]
fn a_store_that_refuses_if_match_serves_whole_objects_and_parts() {
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    shelf.now_by(|version, request| match request.header("if-match") {
        Some(_) => faulty::s3_error(412, "PreconditionFailed"),
        None => version.answer_unconditionally(request),
    });
    let setup = with_little_read_ahead(&shelf.url()).tolerate("answers 412 to If-Match");
    let watched = Watched::start(setup);
    assert_eq!(watched.gateway.send("HEAD", PATH, &[]).status(), 200);
    assert_part(&watched.gateway, &version.body, BLOCK..2 * BLOCK);
    assert_whole(&watched.gateway.get(PATH), &version.body);
    watched.await_fetches_done();
    let asked = shelf.asked();
    let refused = asked.iter().filter(|line| line.contains('=') && line.contains("version"));
    assert_eq!(refused.count(), 1, "asked with If-Match once: {asked:?}");
    assert_hit(&assert_part(&watched.gateway, &version.body, 0..LENGTH), 201);
    watched.gateway.expect_log("why", |line| {
        line.to_string().contains("answers 412 to If-Match with the object's own entity tag")
    });
}

/// Replicas that name different entity tags by turns.
#[test]
fn an_object_whose_replicas_differ_passes_in_one_piece() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let version = Version::new(1, LENGTH);
    let shelf = Shelf::with(&version);
    let turn = AtomicUsize::new(0);
    shelf.now_by(move |version, request| {
        let etag = format!("\"replica-{}\"", turn.fetch_add(1, Ordering::SeqCst) % 2);
        Version { etag, ..version.clone() }.answer(request)
    });
    let setup = with_little_read_ahead(&shelf.url());
    let watched =
        Watched::start(setup.tolerate("as replicas with different").tolerate("upstream_cut"));
    for nth in 0..12 {
        let whole = watched.gateway.get(PATH);
        assert_whole(&whole, &version.body);
        let start = (nth * 7 % 100) * BLOCK;
        assert_part(&watched.gateway, &version.body, start..start + 10);
    }
}

/// A client with a copy asks a store that allows GET alone.
#[test]
fn a_conditional_get_at_a_store_that_refuses_head_is_answered() {
    let modified = "Mon, 30 Jun 2025 12:00:00 GMT";
    for status in [403, 405, 501] {
        for cached in [true, false] {
            let store = faulty::Faulty::scripted(move |request, _| {
                if request.method == "HEAD" {
                    return vec![faulty::head(status, &[("Content-Length", "0")])];
                }
                let headers = [("ETag", "\"a\""), ("Last-Modified", modified)];
                faulty::answer(200, &headers, b"0123456789")
            });
            let setup = in_blocks(&store.url());
            let setup = if cached { setup } else { setup.env("S3PROXY_CACHE_STORE", "false") };
            let gateway = setup.tolerate("cache.max_object has no effect").start();
            let since = |date| gateway.send("GET", PATH, &[("If-Modified-Since", date)]);
            let same = since(modified);
            assert_eq!((same.status(), same.ending), (304, Ending::Whole), "{status}");
            let newer = since("Mon, 30 Jun 2025 11:00:00 GMT");
            assert_eq!((newer.status(), newer.text()), (200, "0123456789"), "{status}");
        }
    }
}
