//! Keys that other gateways lose: each must arrive byte for byte, or be refused by a rule.

use crate::hard_keys::{DOTTED_KEYS, HARD_KEYS};
use crate::tally::{self, trial, trials};
use crate::{gateway::Gateway, rgw::Rgw};

const KEYS: &str = "keys at Ceph RGW";

/// Keys the gateway serves. Several pairs differ only in what a careless decoder would merge.
fn served() -> Vec<String> {
    let mut keys: Vec<String> = HARD_KEYS.map(str::to_owned).into();
    keys.push(format!("{}.png", "L".repeat(900)));
    keys.push(format!("{}.png", "M".repeat(1020)));
    keys
}

#[test]
fn hard_keys_arrive_byte_for_byte() {
    let Some(rgw) = Rgw::from_environment("keys") else { return };
    let gateway = Gateway::start(&rgw);
    let keys = served();
    for (number, key) in keys.iter().enumerate() {
        rgw.put(key, format!("object {number}").as_bytes());
    }
    // All are stored before the first is read, so that a merged pair is detected.
    let mut lost = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let answer = gateway.ask("GET", &gateway.path(key), &[]);
        if answer.status != 200 || answer.text() != format!("object {number}") {
            lost.push(format!("{key:?}: {} {}", answer.status, answer.text()));
        }
    }
    tally::add(KEYS, keys.len(), lost.len());
    assert!(lost.is_empty(), "{} of {} keys:\n{}", lost.len(), keys.len(), lost.join("\n"));
}

#[test]
fn keys_with_dot_segments_are_refused_although_the_store_has_them() {
    let Some(rgw) = Rgw::from_environment("dots") else { return };
    let gateway = Gateway::start(&rgw);
    rgw.put("b.png", b"what the dots would lead to");
    for key in DOTTED_KEYS {
        let _trial = trial(KEYS);
        rgw.put(key, b"an object");
        for path in [gateway.path(key), gateway.path(key).replace('.', "%2E")] {
            let answer = gateway.ask("GET", &path, &[]);
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        }
    }
}

#[test]
fn one_key_has_many_spellings() {
    let Some(rgw) = Rgw::from_environment("spellings") else { return };
    let gateway = Gateway::start(&rgw);
    let _trials = trials(KEYS, 2);
    rgw.put("a+b@c,d;e=f&g'(h)!.png", b"punctuation");
    rgw.put("x/z.png", b"slash");
    let base = gateway.path("");
    for (spelling, expected) in [
        ("a+b@c,d;e=f&g'(h)!.png", "punctuation"),
        ("a%2Bb%40c%2Cd%3Be%3Df%26g%27%28h%29%21.png", "punctuation"),
        ("%61%2bb@c,d;e=f&g'(h)!%2epng", "punctuation"),
        ("x/z.png", "slash"),
        ("x%2Fz.png", "slash"),
        ("x%2fz.png", "slash"),
        ("x/z.png?response-content-type=text/html", "slash"),
        ("x/z.png?acl", "slash"),
    ] {
        let answer = gateway.ask("GET", &format!("{base}{spelling}"), &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{spelling}");
        assert_eq!(answer.header("content-type"), Some("image/png"), "{spelling}");
    }
}

/// RGW takes the wire path `/bucket%2Fkey` for the key `key` of `bucket`, and lists a bucket when
/// the key is empty: no URL may lead to either.
#[test]
fn a_bucket_segment_cannot_smuggle_a_key_nor_an_empty_key_a_listing() {
    let Some(rgw) = Rgw::from_environment("smuggling") else { return };
    let gateway = Gateway::start(&rgw);
    rgw.put("a/b.png", b"an object");
    let bucket = &rgw.bucket;
    for (path, expected) in [
        (format!("/s3proxy/s3/rgw@{bucket}%2Fa/b.png"), 400),
        (format!("/s3proxy/s3/rgw@{bucket}%2fa%2fb.png/"), 400),
        (format!("/s3proxy/s3/rgw@{bucket}%3Flist-type=2/b.png"), 400),
        (format!("/s3proxy/s3/rgw@../{bucket}/a/b.png"), 400),
        (format!("/s3proxy/s3/rgw@{bucket}/"), 404),
        (format!("/s3proxy/s3/rgw@{bucket}/?list-type=2"), 404),
    ] {
        let answer = gateway.ask("GET", &path, &[]);
        assert_eq!(answer.status, expected, "{path}: {}", answer.text());
    }
}
