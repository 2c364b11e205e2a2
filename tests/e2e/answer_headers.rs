//! Headers of answers that the field found wrong: each is tried without a cache, on a miss and on a
//! hit, because two roads lead to a store.

use serde_json::json;

use crate::cached::with_cache;
use crate::client::Answer;
use crate::faulty::{self, Faulty, Step};
use crate::gateway::{Gateway, Setup};

/// A gateway without a cache, and one with a cache, in front of this store.
fn both(store: &Faulty, settings: impl Fn(Setup) -> Setup) -> [Gateway; 2] {
    [
        settings(Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0")).start(),
        settings(with_cache(&store.url())).start(),
    ]
}

/// The answers to the same request: past the cache, as a miss, as a hit.
fn three(gateways: &[Gateway; 2], object: &str, headers: &[(&str, &str)]) -> [Answer; 3] {
    let [uncached, cached] = gateways;
    [uncached, cached, cached].map(|gateway| gateway.object_with(object, headers))
}

fn object_with(headers: &[(&str, &str)]) -> Vec<Step> {
    let own = [
        ("Content-Type", "image/png"),
        ("ETag", "\"v1\""),
        ("Last-Modified", "Tue, 15 Nov 1994 12:45:26 GMT"),
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let own = own.into_iter().filter(|(name, _)| headers.iter().all(|(other, _)| other != name));
    let all: Vec<(&str, &str)> = own.chain(headers.iter().copied()).collect();
    faulty::answer(200, &all, b"tile")
}

#[test]
fn a_default_never_loosens_the_cache_control_of_the_store() {
    for (stored, sent) in [
        (&[("Cache-Control", "no-store")][..], "no-store"),
        (&[("Cache-Control", "private")], "private"),
        (&[("Cache-Control", "no-cache")], "no-cache"),
        (&[("Cache-Control", "max-age=5")], "max-age=5"),
        (
            &[("Cache-Control", "public, max-age=31536000, immutable")],
            "public, max-age=31536000, immutable",
        ),
        (&[("Expires", "Sun, 06 Nov 1994 08:50:37 GMT")], "max-age=60"),
        (&[("Expires", "0")], "max-age=0"),
        (&[], "public, max-age=86400"),
    ] {
        let headers = stored.to_vec();
        let store = Faulty::scripted(move |_, _| object_with(&headers));
        let defaults = both(&store, |setup| setup.env("S3PROXY_CACHE_MAX_AGE", "86400"));
        for answer in three(&defaults, "sky/a.png", &[]) {
            assert_eq!(answer.header("cache-control"), Some(sent), "{stored:?}: {answer:?}");
            assert_eq!(answer.header("expires"), None, "{answer:?}");
        }
    }
}

#[test]
fn the_cache_control_of_the_store_goes_out_without_any_setting_and_the_profiles_wins() {
    let store = Faulty::scripted(|_, _| object_with(&[("Cache-Control", "max-age=5")]));
    for answer in three(&both(&store, |setup| setup), "sky/a.png", &[]) {
        assert_eq!(answer.header("cache-control"), Some("max-age=5"), "{answer:?}");
    }
    let url = store.url();
    let profile = json!({"cache_control": "public, max-age=99"});
    let named = both(&store, |s| s.profile("hips", &url).profile_settings("hips", &profile));
    for answer in three(&named, "hips@sky/a.png", &[]) {
        assert_eq!(answer.header("cache-control"), Some("public, max-age=99"), "{answer:?}");
    }
}

#[test]
fn a_304_does_not_bring_a_default_that_the_object_never_had() {
    let store = Faulty::scripted(|_, _| faulty::answer(304, &[("ETag", "\"v1\"")], b""));
    let [uncached, _cached] = both(&store, |setup| setup.env("S3PROXY_CACHE_MAX_AGE", "86400"));
    let answer = uncached.object_with("sky/a.png", &[("If-None-Match", "\"v1\"")]);
    assert_eq!((answer.status(), answer.header("cache-control")), (304, None), "{answer:?}");
}

#[test]
fn a_404_says_for_how_long_browsers_need_not_ask_again() {
    let store = Faulty::always(faulty::s3_error(404, "NoSuchKey"));
    let url = store.url();
    let [_, cached] = both(&store, |setup| {
        setup
            .env("S3PROXY_CACHE_NEGATIVE_TTL", "60")
            .profile("hush", &url)
            .profile_settings("hush", &json!({"cache_control": "no-store"}))
    });
    for _ in 0..2 {
        let answer = cached.object("sky/missing.png");
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.header("cache-control"), Some("max-age=60"), "{answer:?}");
        let hushed = cached.object("hush@sky/missing.png");
        assert_eq!(hushed.header("cache-control"), Some("no-store"), "{hushed:?}");
    }
}

#[test]
fn headers_of_the_hop_empty_codings_and_bare_tags_are_put_right() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (&[("ETag", "v1")], "etag", Some("\"v1\"")),
        (&[("ETag", "W/\"v1\"")], "etag", Some("W/\"v1\"")),
        (&[("Content-Encoding", "")], "content-encoding", None),
        (&[("Content-Encoding", " , ")], "content-encoding", None),
        (&[("Content-Encoding", "AWS-Chunked")], "content-encoding", None),
        (&[("Content-Encoding", "gzip, AWS-Chunked")], "content-encoding", Some("gzip")),
        (&[("X-Hop", "1"), ("Connection", "keep-alive, X-Hop")], "x-hop", None),
        (&[("X-Hop", "1")], "x-hop", Some("1")),
        (&[("Age", "7200, 0")], "age", Some("7200")),
        (&[("Age", "7200")], "age", Some("7200")),
    ];
    for (stored, name, sent) in cases {
        let headers: Vec<(String, String)> =
            stored.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let store = Faulty::scripted(move |_, _| {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            object_with(&headers)
        });
        let url = store.url();
        let listed = json!({"response_headers": ["x-hop"]});
        let gateways = both(&store, |s| s.profile("hips", &url).profile_settings("hips", &listed));
        for answer in three(&gateways, "hips@sky/a.png", &[]) {
            assert_eq!(answer.status(), 200, "{stored:?}");
            assert_eq!(answer.header(name), *sent, "{stored:?}: {answer:?}");
        }
    }
}

#[test]
fn a_bare_tag_can_be_named_in_if_range() {
    let store = Faulty::scripted(|request, _| match request.header("range") {
        None => object_with(&[("ETag", "v1")]),
        Some(_) => {
            let headers = [("ETag", "v1"), ("Content-Range", "bytes 1-2/4")];
            let all = [&faulty::OBJECT_HEADERS[..1], &headers].concat();
            faulty::answer(206, &all, b"il")
        }
    });
    let [uncached, cached] = both(&store, |setup| setup);
    for gateway in [&uncached, &cached, &cached] {
        let tag = gateway.object("sky/a.png").header("etag").map(str::to_owned).expect("a tag");
        let headers = [("Range", "bytes=1-2"), ("If-Range", tag.as_str())];
        let part = gateway.object_with("sky/a.png", &headers);
        assert_eq!((part.status(), part.text()), (206, "il"), "{part:?}");
    }
}

#[test]
fn a_refused_condition_or_range_has_a_body_from_the_cache_too() {
    let store = Faulty::scripted(|request, _| {
        if request.header("if-match").is_some() {
            faulty::s3_error(412, "PreconditionFailed")
        } else if request.header("range").is_some() {
            faulty::s3_error(416, "InvalidRange")
        } else {
            object_with(&[])
        }
    });
    let gateways = both(&store, |setup| setup);
    let [_, cached] = &gateways;
    assert_eq!(cached.object("sky/a.png").status(), 200);
    for (header, status, cause) in [
        (("If-Match", "\"v2\""), 412, "precondition_failed"),
        (("Range", "bytes=99-"), 416, "range_not_satisfiable"),
    ] {
        for (nth, answer) in three(&gateways, "sky/a.png", &[header]).into_iter().enumerate() {
            assert_eq!(answer.status(), status, "{header:?}: {answer:?}");
            // The store was asked for the length by HEAD, whose answer has no body to replace.
            if nth == 0 && status == 416 {
                continue;
            }
            assert!(answer.refused(cause, "message").is_string(), "{answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
            let range = answer.header("content-range");
            assert_eq!(range, (status == 416).then_some("bytes */4"), "{answer:?}");
        }
        let head = cached.send("HEAD", "/s3proxy/s3/sky/a.png", &[("If-Match", "\"v2\"")]);
        assert_eq!((head.status(), head.body.len()), (412, 0), "{head:?}");
    }
}

#[test]
fn range_numbers_beyond_64_bits_are_clamped_and_never_the_whole_object() {
    let store = Faulty::scripted(|request, _| match request.header("range") {
        _ if request.method == "HEAD" => object_with(&[]),
        Some("bytes=1-") => faulty::answer(
            206,
            &[
                &faulty::OBJECT_HEADERS[..1],
                &[("ETag", "\"v1\""), ("Content-Range", "bytes 1-3/4")],
            ]
            .concat(),
            b"ile",
        ),
        _ => object_with(&[]),
    });
    let gateways = both(&store, |setup| setup);
    assert_eq!(gateways[1].object("sky/a.png").status(), 200);
    for (range, status, body) in [
        ("bytes=1-99999999999999999999", 206, Some("ile")),
        ("bytes=1-18446744073709551615", 206, Some("ile")),
        ("bytes=99999999999999999999-", 416, None),
        ("bytes=99999999999999999999-999999999999999999999", 416, None),
    ] {
        for answer in three(&gateways, "sky/a.png", &[("Range", range)]) {
            assert_eq!(answer.status(), status, "{range}: {answer:?}");
            assert!(body.is_none_or(|body| answer.text() == body), "{range}: {answer:?}");
        }
    }
}

#[test]
fn a_length_that_is_not_one_number_never_reaches_the_client() {
    for length in ["4, 4", "4,5", "+4", "4 4", "0x4", "99999999999999999999"] {
        let store = Faulty::scripted(move |_, _| {
            let headers = [&faulty::OBJECT_HEADERS[..], &[("Content-Length", length)]].concat();
            vec![faulty::head(200, &headers), Step::Send(b"tile".to_vec()), Step::Close]
        });
        let gateways = both(&store, |setup| setup.tolerate("s3://sky/"));
        for answer in three(&gateways, "sky/a.png", &[]) {
            assert_eq!(answer.status(), 502, "{length}: {answer:?}");
            assert!(answer.refused("upstream_protocol", "message").is_string(), "{length}");
            assert_eq!(answer.head.all("content-length").len(), 1, "{length}: {answer:?}");
        }
    }
}
