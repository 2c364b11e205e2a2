//! Preconditions and ranges, with a store that has Ceph RGW's faults and with one that has none.

use crate::client::{Answer, Ending};
use crate::faulty::{self, Faulty};
use crate::gateway::Setup;
use crate::origin::{MODIFIED, Manners, Origin};

const BODY: &str = "0123456789abcdefghij";
const BEFORE: &str = "Tue, 01 Jul 2025 11:59:59 GMT";
const AFTER: &str = "Tue, 01 Jul 2025 12:00:01 GMT";

/// Request headers (`ETAG` stands for the object's tag), the status, and what the body must be.
type Row = (&'static [(&'static str, &'static str)], u16, &'static str);

const RANGES: &[Row] = &[
    (&[("Range", "bytes=0-3")], 206, "0-3"),
    (&[("Range", "bytes=0-0")], 206, "0-0"),
    (&[("Range", "bytes=5-")], 206, "5-19"),
    (&[("Range", "bytes=-4")], 206, "16-19"),
    (&[("Range", "bytes=-400")], 206, "0-19"),
    (&[("Range", "bytes=4-9999")], 206, "4-19"),
    (&[("Range", "bytes=19-19")], 206, "19-19"),
    (&[("Range", "BYTES=0-3")], 206, "0-3"),
    (&[("Range", "bytes=20-")], 416, "*"),
    (&[("Range", "bytes=20-30")], 416, "*"),
    (&[("Range", "bytes=-0")], 416, "*"),
    (&[("Range", "bytes=5-2")], 200, ""),
    (&[("Range", "bytes=x")], 200, ""),
    (&[("Range", "bytes=")], 200, ""),
    (&[("Range", "bytes")], 200, ""),
    (&[("Range", "bytes=-")], 200, ""),
    (&[("Range", "bytes=0x1-3")], 200, ""),
    (&[("Range", "bytes=+1-3")], 200, ""),
    (&[("Range", "items=0-3")], 200, ""),
    (&[("Range", "0-3")], 200, ""),
];

const IF_RANGES: &[Row] = &[
    (&[("Range", "bytes=0-3"), ("If-Range", "ETAG")], 206, "0-3"),
    (&[("Range", "bytes=0-3"), ("If-Range", "\"other\"")], 200, ""),
    (&[("Range", "bytes=0-3"), ("If-Range", "W/ETAG")], 200, ""),
    (&[("Range", "bytes=0-3"), ("If-Range", MODIFIED)], 206, "0-3"),
    (&[("Range", "bytes=0-3"), ("If-Range", BEFORE)], 200, ""),
    (&[("Range", "bytes=0-3"), ("If-Range", AFTER)], 200, ""),
    (&[("Range", "bytes=0-3"), ("If-Range", "nonsense")], 200, ""),
    (&[("Range", "bytes=99-"), ("If-Range", "ETAG")], 416, "*"),
    (&[("Range", "bytes=99-"), ("If-Range", "\"other\"")], 200, ""),
    (&[("If-Range", "\"other\"")], 200, ""),
];

const CONDITIONS: &[Row] = &[
    (&[("If-None-Match", "ETAG")], 304, ""),
    (&[("If-None-Match", "W/ETAG")], 304, ""),
    (&[("If-None-Match", "\"a\", ETAG, \"b\"")], 304, ""),
    (&[("If-None-Match", "\"a\",W/ETAG")], 304, ""),
    (&[("If-None-Match", "*")], 304, ""),
    (&[("If-None-Match", "\"other\"")], 200, ""),
    (&[("If-None-Match", "\"a\", \"b\"")], 200, ""),
    (&[("If-None-Match", "\"a,\", \"b\"")], 200, ""),
    (&[("If-None-Match", "\"a\""), ("If-None-Match", "ETAG")], 304, ""),
    (&[("If-Modified-Since", MODIFIED)], 304, ""),
    (&[("If-Modified-Since", AFTER)], 304, ""),
    (&[("If-Modified-Since", "Fri, 01 Jul 2095 12:00:00 GMT")], 304, ""),
    (&[("If-Modified-Since", BEFORE)], 200, ""),
    (&[("If-Modified-Since", "Tuesday, 01-Jul-25 12:00:00 GMT")], 304, ""),
    (&[("If-Modified-Since", "Tue Jul  1 12:00:00 2025")], 304, ""),
    (&[("If-Modified-Since", "yesterday")], 200, ""),
    (&[("If-None-Match", "\"other\""), ("If-Modified-Since", AFTER)], 200, ""),
    (&[("If-None-Match", "ETAG"), ("If-Modified-Since", BEFORE)], 304, ""),
    (&[("If-Match", "ETAG")], 200, ""),
    (&[("If-Match", "*")], 200, ""),
    (&[("If-Match", "\"a\", ETAG")], 200, ""),
    (&[("If-Match", "\"other\"")], 412, ""),
    (&[("If-Match", "\"a\", \"b\"")], 412, ""),
    (&[("If-Match", "W/ETAG")], 412, ""),
    (&[("If-Unmodified-Since", MODIFIED)], 200, ""),
    (&[("If-Unmodified-Since", AFTER)], 200, ""),
    (&[("If-Unmodified-Since", BEFORE)], 412, ""),
    (&[("If-Unmodified-Since", "yesterday")], 200, ""),
    (&[("If-Match", "ETAG"), ("If-Unmodified-Since", BEFORE)], 200, ""),
    (&[("If-Match", "\"other\""), ("If-None-Match", "ETAG")], 412, ""),
    (&[("If-Match", "ETAG"), ("If-None-Match", "ETAG")], 304, ""),
    (&[("If-None-Match", "ETAG"), ("Range", "bytes=0-3")], 304, ""),
    (&[("If-None-Match", "\"other\""), ("Range", "bytes=0-3")], 206, "0-3"),
    (&[("If-Match", "ETAG"), ("Range", "bytes=0-3")], 206, "0-3"),
    (&[("If-Match", "\"other\""), ("Range", "bytes=0-3")], 412, ""),
    (&[("If-Modified-Since", BEFORE), ("Range", "bytes=0-3")], 206, "0-3"),
    (&[("If-Modified-Since", MODIFIED), ("Range", "bytes=0-3")], 304, ""),
    (&[("If-Match", "\"other\""), ("Range", "bytes=99-")], 412, ""),
    (&[("If-None-Match", "ETAG"), ("Range", "bytes=99-")], 304, ""),
];

fn judge(answer: &Answer, etag: &str, status: u16, part: &str) -> Result<(), String> {
    let expect = |what: &str, found: Option<&str>, wanted: Option<&str>| {
        if found == wanted { Ok(()) } else { Err(format!("{what} {found:?}, not {wanted:?}")) }
    };
    let seen = answer.status().to_string();
    expect("status", Some(&seen), Some(&status.to_string()))?;
    expect("ending", Some(&format!("{:?}", answer.ending)), Some("Whole"))?;
    expect("nosniff", answer.header("x-content-type-options"), Some("nosniff"))?;
    let length = answer.header("content-length");
    match status {
        200 | 206 => {
            expect("etag", answer.header("etag"), Some(etag))?;
            expect("last-modified", answer.header("last-modified"), Some(MODIFIED))?;
            expect("type", answer.header("content-type"), Some("image/png"))?;
            let (first, last) = part
                .split_once('-')
                .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))
                .unwrap_or((0_usize, BODY.len() - 1));
            let body = BODY.get(first..=last).unwrap_or_default();
            expect("body", Some(answer.text()), Some(body))?;
            expect("length", length, Some(&body.len().to_string()))?;
            let range = (status == 206).then(|| format!("bytes {part}/20"));
            expect("content-range", answer.header("content-range"), range.as_deref())
        }
        304 => {
            expect("etag", answer.header("etag"), Some(etag))?;
            expect("body", Some(answer.text()), Some(""))
        }
        416 => {
            expect("content-range", answer.header("content-range"), Some("bytes */20"))?;
            expect("length", length, Some(&answer.body.len().to_string()))
        }
        _ => expect("length", length, Some(&answer.body.len().to_string())),
    }
}

fn check(rows: &[Row], manners: Manners) {
    let origin = Origin::with(manners);
    let etag = origin.put("a.png", BODY);
    let gateway = Setup::new(&origin.url()).start();
    // One connection for all: an answer with a wrong length would break the framing of the next
    // one.
    let mut client = gateway.connect();
    let mut wrong = Vec::new();
    for (headers, status, part) in rows {
        let filled: Vec<_> = headers.iter().map(|(n, v)| (*n, v.replace("ETAG", &etag))).collect();
        let filled: Vec<_> = filled.iter().map(|(n, v)| (*n, v.as_str())).collect();
        client.request("GET", "/s3proxy/s3/sky/a.png", &filled);
        let Some(answer) = client.answer("GET") else {
            wrong.push(format!("{headers:?}: closed without notice"));
            client = gateway.connect();
            continue;
        };
        if answer.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")) {
            client = gateway.connect();
        }
        if let Err(why) = judge(&answer, &etag, *status, part) {
            wrong.push(format!("{headers:?}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
    let asked = origin.count();
    assert!(asked <= 2 * rows.len(), "{asked} requests to the store for {} rows", rows.len());
}

#[test]
fn ranges_are_answered_right_over_ceph() {
    check(RANGES, Manners::rgw());
}

#[test]
fn ranges_are_answered_right_over_aws() {
    check(RANGES, Manners::aws());
}

#[test]
fn if_range_is_honoured_over_ceph() {
    check(IF_RANGES, Manners::rgw());
}

#[test]
fn if_range_is_honoured_over_aws() {
    check(IF_RANGES, Manners::aws());
}

#[test]
fn preconditions_are_answered_right_over_ceph() {
    check(CONDITIONS, Manners::rgw());
}

#[test]
fn preconditions_are_answered_right_over_aws() {
    check(CONDITIONS, Manners::aws());
}

#[test]
fn a_plain_range_costs_one_request() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let origin = Origin::with(manners);
        origin.put("a.png", BODY);
        let gateway = Setup::new(&origin.url()).start();
        assert_eq!(gateway.object_with("sky/a.png", &[("Range", "bytes=0-3")]).text(), "0123");
        assert_eq!(origin.count(), 1, "{:?}", origin.requests());
        assert_eq!(origin.requests()[0].bytes_sent, 4, "only the range crossed the wire");
    }
}

#[test]
fn a_position_beyond_any_integer_is_unsatisfiable_or_ignored() {
    let origin = Origin::start();
    origin.put("a.png", BODY);
    let gateway = Setup::new(&origin.url()).start();
    for range in ["bytes=99999999999999999999-", "bytes=0-99999999999999999999"] {
        let answer = gateway.object_with("sky/a.png", &[("Range", range)]);
        match answer.status() {
            200 => assert_eq!(answer.text(), BODY, "{range}"),
            206 => assert_eq!(answer.header("content-range"), Some("bytes 0-19/20"), "{range}"),
            416 => assert_eq!(answer.header("content-range"), Some("bytes */20"), "{range}"),
            other => panic!("{range}: {other}"),
        }
    }
}

#[test]
fn several_ranges_give_the_whole_object_or_all_the_parts() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let origin = Origin::with(manners);
        origin.put("a.png", BODY);
        let gateway = Setup::new(&origin.url()).start();
        for range in ["bytes=0-1,4-5", "bytes=0-1, -1", "bytes=0-0,0-0,0-0,0-0", "bytes=0-1,99-"] {
            let answer = gateway.object_with("sky/a.png", &[("Range", range)]);
            assert_eq!(answer.ending, Ending::Whole, "{range}");
            match answer.status() {
                200 => assert_eq!(answer.text(), BODY, "{range}"),
                206 if range == "bytes=0-1,99-" => assert!(!answer.text().is_empty(), "{range}"),
                206 => {
                    let kind = answer.header("content-type").unwrap_or_default();
                    assert!(kind.starts_with("multipart/byteranges"), "{range}: {answer:?}");
                }
                other => panic!("{range}: {other}"),
            }
        }
    }
}

#[test]
fn head_ignores_ranges_and_answers_preconditions() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let origin = Origin::with(manners);
        let etag = origin.put("a.png", BODY);
        let gateway = Setup::new(&origin.url()).start();
        let other = "\"other\"";
        for (headers, status) in [
            (&[("Range", "bytes=0-3")][..], 200),
            (&[("Range", "bytes=99-")][..], 200),
            (&[("If-None-Match", etag.as_str())][..], 304),
            (&[("If-None-Match", "*")][..], 304),
            (&[("If-None-Match", other)][..], 200),
            (&[("If-Modified-Since", MODIFIED)][..], 304),
            (&[("If-Match", other)][..], 412),
        ] {
            let answer = gateway.send("HEAD", "/s3proxy/s3/sky/a.png", headers);
            assert_eq!(answer.status(), status, "{headers:?}");
            if status == 200 {
                assert_eq!(answer.header("content-length"), Some("20"), "{headers:?}");
                assert_eq!(answer.header("content-range"), None, "{headers:?}");
            }
        }
    }
}

#[test]
fn a_range_of_an_empty_object_is_unsatisfiable_or_the_whole_of_it() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let origin = Origin::with(manners);
        origin.put("empty.png", "");
        let gateway = Setup::new(&origin.url()).start();
        for range in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
            let answer = gateway.object_with("sky/empty.png", &[("Range", range)]);
            match answer.status() {
                416 => assert_eq!(answer.header("content-range"), Some("bytes */0"), "{range}"),
                200 => assert_eq!(answer.text(), "", "{range}"),
                other => panic!("{range}: {other}"),
            }
        }
    }
}

#[test]
fn a_missing_object_stays_missing_under_any_condition() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let origin = Origin::with(manners);
        let gateway = Setup::new(&origin.url()).start();
        for headers in [
            [("If-None-Match", "*")],
            [("If-None-Match", "\"x\"")],
            [("If-Match", "\"x\"")],
            [("Range", "bytes=0-3")],
            [("If-Modified-Since", AFTER)],
        ] {
            let answer = gateway.object_with("sky/missing.png", &headers);
            assert_eq!(answer.status(), 404, "{headers:?}");
        }
    }
}

#[test]
fn revalidation_costs_a_head_and_a_body_only_when_it_has_changed() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let origin = Origin::with(manners);
        let etag = origin.put("a.png", BODY);
        let gateway = Setup::new(&origin.url()).start();
        let list = format!("\"a\", {etag}, \"b\"");
        for (header, status, asked) in [
            (("If-Modified-Since", MODIFIED), 304, &["HEAD"][..]),
            (("If-Modified-Since", AFTER), 304, &["HEAD"]),
            (("If-None-Match", list.as_str()), 304, &["HEAD"]),
            (("If-None-Match", "*"), 304, &["HEAD"]),
            (("If-Modified-Since", BEFORE), 200, &["HEAD", "GET"]),
            (("If-None-Match", "\"a\", \"b\""), 200, &["HEAD", "GET"]),
        ] {
            origin.clear();
            let answer = gateway.object_with("sky/a.png", &[header]);
            assert_eq!(answer.status(), status, "{header:?}");
            let methods: Vec<_> = origin.requests().into_iter().map(|r| r.method).collect();
            assert_eq!(methods, asked, "{header:?}");
            assert_eq!(answer.text(), if status == 200 { BODY } else { "" }, "{header:?}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()), "{header:?}");
            assert_eq!(answer.header("last-modified"), Some(MODIFIED), "{header:?}");
        }
    }
}

#[test]
fn revalidation_keeps_the_connection_to_the_store() {
    // Too large to be drained in order to reuse the connection.
    let spy = Faulty::always(faulty::object(&vec![b'x'; 4 << 20]));
    let gateway = Setup::new(&spy.url()).start();
    let header = |name: &str| {
        let found = faulty::OBJECT_HEADERS.into_iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| value).expect("a header of every object")
    };
    let modified = header("Last-Modified");
    let list = format!("\"a\", {}", header("ETag"));
    // One client: its next request is read when the exchange with the store has ended.
    let mut client = gateway.connect();
    for (header, status) in [
        (("If-Modified-Since", modified), 304),
        (("If-None-Match", list.as_str()), 304),
        (("If-None-Match", "*"), 304),
        (("If-Modified-Since", modified), 304),
    ] {
        let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[header]);
        assert_eq!(answer.status(), status, "{header:?}");
    }
    let methods: Vec<_> = spy.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["HEAD"; 4]);
    assert_eq!(spy.connections(), 1);
}
