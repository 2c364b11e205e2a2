//! The first request for an object, of any kind: afterwards there is a correct entry or none, and
//! `Cache-Status` reports which. With blocks every first request leaves an entry; without blocks
//! only a request for the whole object does.

use crate::cached::{status, with_cache};
use crate::client::{Answer, Ending};
use crate::crowd::{Watched, numbered};
use crate::origin::{MODIFIED, Manners, Origin, Request};

const BODY: &str = "0123456789";

/// The entry that a first request leaves, which can or cannot answer a GET of the whole object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The object.
    Whole,
    /// With blocks the object, as it fits into the first block; without them no entry.
    WholeByBlock,
    /// With blocks the metadata and perhaps some bytes; without them no entry.
    Part,
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// What an answer's `Cache-Status` reports: whether the store was asked, and whether the object is
/// now cached.
fn asked_and_cached(answer: &Answer) -> (bool, bool) {
    let words: Vec<&str> = status(answer).split("; ").collect();
    let forwarded = words.iter().any(|word| word.starts_with("fwd="));
    assert_ne!(forwarded, words.contains(&"hit"), "{words:?}");
    (forwarded, !forwarded || words.contains(&"stored"))
}

/// The body, unless it says why there is no object.
fn object_text(answer: &Answer) -> &str {
    if answer.status() < 400 { answer.text() } else { "" }
}

#[test]
fn after_any_first_request_a_get_and_cache_status_are_correct() {
    use Left::{Part, Whole, WholeByBlock};
    for (store, manners, blocks) in [
        ("rgw", Manners::rgw(), true),
        ("aws", Manners::aws(), true),
        ("rgw", Manners::rgw(), false),
        ("aws", Manners::aws(), false),
    ] {
        let origin = Origin::with(manners);
        let share = if blocks { "25" } else { "0" };
        let setup = with_cache(&origin.url()).env("S3PROXY_CACHE_BLOCKS_SHARE", share);
        let watched = Watched::start(setup);
        let gateway = &watched.gateway;
        let etag = origin.put("a.png", BODY);
        let weak = format!("W/{etag}");
        let before = "Mon, 30 Jun 2025 12:00:00 GMT";
        let cases: &[(&str, Headers<'_>, u16, &str, Left)] = &[
            ("GET", &[], 200, BODY, Whole),
            ("HEAD", &[], 200, "", Part),
            ("HEAD", &[("if-none-match", &etag)], 304, "", Part),
            ("HEAD", &[("if-match", "\"x\"")], 412, "", Part),
            ("GET", &[("range", "bytes=2-4")], 206, "234", WholeByBlock),
            ("GET", &[("range", "bytes=0-")], 206, BODY, WholeByBlock),
            ("GET", &[("range", "bytes=-3")], 206, "789", Part),
            ("GET", &[("range", "bytes=-0")], 416, "", Part),
            ("GET", &[("range", "bytes=10-")], 416, "", WholeByBlock),
            ("GET", &[("range", "bytes=2000000-2000009")], 416, "", Part),
            ("GET", &[("range", "bytes=2-4"), ("if-range", &etag)], 206, "234", WholeByBlock),
            ("GET", &[("range", "bytes=2-4"), ("if-range", "\"x\"")], 200, BODY, WholeByBlock),
            ("GET", &[("range", "bytes=2-4"), ("if-none-match", &etag)], 304, "", WholeByBlock),
            ("GET", &[("if-none-match", &etag)], 304, "", Whole),
            ("GET", &[("if-none-match", &weak)], 304, "", Whole),
            ("GET", &[("if-none-match", "*")], 304, "", Whole),
            ("GET", &[("if-none-match", "\"x\"")], 200, BODY, Whole),
            ("GET", &[("if-none-match", "\"x\", \"y\"")], 200, BODY, Whole),
            ("GET", &[("if-match", &etag)], 200, BODY, Whole),
            ("GET", &[("if-match", "\"x\"")], 412, "", Whole),
            ("GET", &[("if-modified-since", MODIFIED)], 304, "", Whole),
            ("GET", &[("if-modified-since", before)], 200, BODY, Whole),
            ("GET", &[("if-unmodified-since", before)], 412, "", Whole),
        ];
        for (nth, (method, headers, expected, body, left)) in cases.iter().enumerate() {
            let what = format!("{store}, {share} % blocks: {method} {headers:?}");
            let kept = *left == Whole || blocks;
            let serves_all = *left == Whole || blocks && *left == WholeByBlock;
            let key = format!("touch{nth}.png");
            assert_eq!(origin.put(&key, BODY), etag);
            origin.clear();
            let path = format!("/s3proxy/s3/sky/{key}");
            let first = gateway.send(method, &path, headers);
            assert_eq!((first.status(), object_text(&first)), (*expected, *body), "{what}");
            assert_eq!(first.ending, Ending::Whole, "{what}");
            assert_eq!(asked_and_cached(&first), (true, kept), "{what}: {}", status(&first));
            let asked = origin.count();
            // A request that the store cannot answer alone takes an additional HEAD.
            let beyond = headers.iter().any(|(_, value)| value.starts_with("bytes=2000000"));
            assert!(
                (1..=if kept { 1 + usize::from(beyond) } else { 3 }).contains(&asked),
                "{what}: {:?}",
                origin.requests()
            );
            // A 304 does not wait for the body.
            watched.await_fetches_done();
            let plain = gateway.get(&path);
            assert_eq!((plain.status(), plain.text()), (200, BODY), "{what}");
            assert_eq!(plain.header("content-length"), Some("10"), "{what}");
            assert_eq!(plain.header("content-range"), None, "{what}");
            assert_eq!(plain.header("etag"), Some(etag.as_str()), "{what}");
            assert_eq!(asked_and_cached(&plain), (!serves_all, true), "{what}: {}", status(&plain));
            assert_eq!(origin.count() - asked, usize::from(!serves_all), "{what}");
            let again = gateway.send(method, &path, headers);
            assert_eq!((again.status(), object_text(&again)), (*expected, *body), "{what}");
            assert_eq!(asked_and_cached(&again), (false, true), "{what}: {}", status(&again));
            assert_eq!(origin.count() - asked, usize::from(!serves_all), "{what}");
        }
    }
}

#[test]
fn several_ranges_of_a_cold_object_leave_no_wrong_entry() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let origin = Origin::with(manners);
        origin.put("a.png", BODY);
        let gateway = with_cache(&origin.url()).start();
        let parts = gateway.object_with("sky/a.png", &[("Range", "bytes=0-1,5-6")]);
        assert!(matches!(parts.status(), 200 | 206), "{parts:?}");
        assert_eq!(parts.ending, Ending::Whole);
        let asked = origin.count();
        let plain = gateway.object("sky/a.png");
        assert_eq!((plain.status(), plain.text()), (200, BODY));
        assert_eq!(asked_and_cached(&parts).1, origin.count() == asked, "{}", status(&parts));
    }
}

#[test]
fn cache_status_is_correct_for_a_missing_object() {
    let origin = Origin::start();
    let gateway = with_cache(&origin.url()).start();
    let cases: [(&str, Headers<'_>); 5] = [
        ("GET", &[]),
        ("HEAD", &[]),
        ("GET", &[("range", "bytes=0-1")]),
        ("GET", &[("if-none-match", "\"x\"")]),
        ("GET", &[("if-match", "*")]),
    ];
    for (nth, (method, headers)) in cases.into_iter().enumerate() {
        let path = format!("/s3proxy/s3/sky/no{nth}.png");
        origin.clear();
        let first = gateway.send(method, &path, headers);
        assert_eq!(first.status(), 404, "{method} {headers:?}");
        let (_, kept) = asked_and_cached(&first);
        assert_eq!(origin.count(), 1, "{method} {headers:?}");
        let then = gateway.get(&path);
        assert_eq!(then.status(), 404, "{method} {headers:?}");
        assert_eq!(asked_and_cached(&then).0, !kept, "{method} {headers:?}");
        assert_eq!(origin.count(), 1 + usize::from(!kept), "{method} {headers:?}");
    }
}

#[test]
fn a_client_that_disconnects_at_once_leaves_a_correct_entry_or_none() {
    let origin = Origin::start();
    let body = numbered(300_000);
    let watched = Watched::start(with_cache(&origin.url()).tolerate("client_gone"));
    let cases: [(&str, Headers<'_>); 4] = [
        ("GET", &[]),
        ("HEAD", &[]),
        ("GET", &[("Range", "bytes=5-99999")]),
        ("GET", &[("If-None-Match", "\"x\"")]),
    ];
    for (nth, (method, headers)) in cases.into_iter().enumerate() {
        let key = format!("left{nth}.png");
        origin.put(&key, body.clone());
        let path = format!("/s3proxy/s3/sky/{key}");
        for _ in 0..20 {
            let mut client = watched.gateway.connect();
            client.request(method, &path, headers);
        }
        let plain = watched.gateway.get(&path);
        assert_eq!((plain.status(), plain.ending), (200, Ending::Whole), "{method} {headers:?}");
        assert!(plain.body == body, "{method} {headers:?}");
        watched.await_fetches_done();
        let again = watched.gateway.get(&path);
        assert!(again.body == body, "{method} {headers:?}");
        assert_eq!(asked_and_cached(&again), (false, true), "{method} {headers:?}");
        // All of it is requested once. The part that was requested before does not hold it.
        let whole = |request: &&Request| {
            let range = request.header("range");
            request.method == "GET" && request.path.ends_with(&key) && range.is_empty()
        };
        let fetched = origin.requests().iter().filter(whole).count();
        assert_eq!(fetched, 1, "{method} {headers:?}");
        let bodies = |request: &&Request| request.method == "GET" && request.path.ends_with(&key);
        let asked = origin.requests().iter().filter(bodies).count();
        // A request for a part ends with its client, so each of these clients may cause one.
        let parts = if headers.iter().any(|(name, _)| *name == "Range") { 20 } else { 0 };
        assert!((1..=1 + parts).contains(&asked), "{method} {headers:?}: {asked}");
    }
}
