//! Random keys and URLs made of pieces that gateways mishandle: each key comes back byte for byte,
//! and no URL asks the store for any object but the one it names, decoded once.
//!
//! `S3PROXY_RANDOM_URLS` is the number of keys and of URLs, 1,000 unless it is set;
//! `S3PROXY_RANDOM_SEED` repeats the keys and URLs of a failed run, which prints its seed.

use std::collections::BTreeMap;

use crate::cached::with_cache;
use crate::client::Ending;
use crate::faulty::Faulty;
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::tally::trial;

#[expect(clippy::disallowed_methods, reason = "no setting of the gateway")]
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable} is a number: {error}")))
}

/// The number of trials, and random numbers for them.
fn many() -> (u64, u64, fastrand::Rng) {
    let many = number("S3PROXY_RANDOM_URLS").unwrap_or(1000);
    let seed = number("S3PROXY_RANDOM_SEED").unwrap_or_else(|| u64::from(fastrand::u32(..)));
    (many, seed, fastrand::Rng::with_seed(seed))
}

/// Many of them equal another one if decoded twice, case-folded or normalized to composed letters.
const OF_KEYS: [&str; 56] = [
    "a", "A", "b", "0", "9", ".", "..", "...", "-", "_", "~", " ", "+", "%", "%2", "%2F", "%2f",
    "%25", "%20", "%2B", "%00", "%41", "/", "//", "/a", "a/", "#", "?", "?acl", "&", "=", ";", ":",
    "@", "!", "*", "'", "(", ")", "$", ",", "\\", "\"", "<", "|", "[", "{", "^", "`", "\t", "\n",
    "\u{7f}", "é", "e\u{301}", "日本", "😀",
];

fn some<'a>(of: &[&'a str], random: &mut fastrand::Rng) -> &'a str {
    of[random.usize(..of.len())]
}

/// A key that the gateway serves: no segment of it is made of dots alone.
fn some_key(random: &mut fastrand::Rng) -> String {
    loop {
        let pieces = (0..random.usize(1..12)).map(|_| some(&OF_KEYS, random));
        let key = pieces.collect::<String>() + "k.png";
        if !key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return key;
        }
    }
}

/// One of the ways to write a key in a URL.
fn spelled(key: &str, random: &mut fastrand::Rng) -> String {
    let mut url = String::new();
    for byte in key.bytes() {
        let plain = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                random.u32(..8) > 0
            }
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':'
            | b'@' | b'/' => random.bool(),
            _ => false,
        };
        match plain {
            true => url.push(char::from(byte)),
            false if random.bool() => url.push_str(&format!("%{byte:02X}")),
            false => url.push_str(&format!("%{byte:02x}")),
        }
    }
    url
}

#[test]
fn random_keys_come_back_byte_for_byte_and_are_never_confused() {
    let (many, seed, mut random) = many();
    let mut keys = BTreeMap::new();
    while (keys.len() as u64) < many {
        let key = some_key(&mut random);
        keys.insert(key.clone(), spelled(&key, &mut random));
    }
    let origin = Origin::start();
    for key in keys.keys() {
        origin.put(key, key.as_bytes().to_vec());
    }
    let gateway = with_cache(&origin.url()).start();
    for (key, first) in &keys {
        let _trial = trial("keys");
        let second = spelled(key, &mut random);
        for (tail, asked) in [(first, 1), (&second, 0)] {
            origin.clear();
            let answer = gateway.object(&format!("sky/{tail}"));
            let what = format!("seed {seed}: {key:?} as {tail}: {}", answer.status());
            assert_eq!((answer.status(), answer.ending), (200, Ending::Whole), "{what}");
            assert!(answer.body == key.as_bytes(), "{what}: {:?}", answer.text());
            assert_eq!(origin.count(), asked, "{what}: asked of the store once");
        }
    }
}

const OF_URLS: [&str; 56] = [
    ".",
    "..",
    "...",
    "%2e",
    "%2E%2e",
    ".%2e",
    "%2e.",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "%u002e",
    "..;",
    "..%00",
    "..%5c",
    "%5c..",
    "..\\",
    "/",
    "//",
    "%2f",
    "%2F",
    "%252f",
    "%5c",
    "%00",
    "%0a",
    "%0d%0a",
    "%0d%0aHost:%20evil.test",
    "%09",
    "%20",
    "%7f",
    "%",
    "%2",
    "%zz",
    "%+1",
    "%ff",
    "%c3%a9",
    "%ed%a0%80",
    "@",
    "%40",
    "%2540",
    ":",
    "%3a",
    ";",
    "?",
    "%3f",
    "?list-type=2",
    "#",
    "%23",
    "sky",
    "hips@sky",
    "hips",
    "arn:aws:s3:::x",
    "x--x-s3",
    "127.0.0.1:9",
    "http:",
    "latest/meta-data",
    "k.png",
    "etc/passwd",
];

/// A bucket without a key is redirected to the URL with a slash, and to no other.
const HERE: &str = "http://gateway.test/s3proxy/s3/";

/// The path after the prefix in a hostile URL.
fn some_tail(random: &mut fastrand::Rng) -> String {
    let start = some(&["sky/", "hips@sky/", "sky", "hips@", ""], random);
    let glue = some(&["", "/", "/", "%2f"], random);
    let pieces: Vec<_> = (0..random.usize(1..7)).map(|_| some(&OF_URLS, random)).collect();
    let end = some(&["", ".png", "/k.png", ".png?x=/../", "%00.png"], random);
    format!("{start}{}{end}", pieces.join(glue))
}

/// `None` if an escape is malformed.
fn decoded(url: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = url.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            byte => byte,
        });
    }
    Some(bytes)
}

/// The error in a request to the store for `target` on account of `tail`, if there is one.
fn wrong(tail: &str, target: &str) -> Option<&'static str> {
    let named = decoded(tail.split('?').next().unwrap_or_default());
    let (Some(named), Some(asked)) = (named, target.strip_prefix('/').and_then(decoded)) else {
        return Some("an escape that is none");
    };
    let dotted = |segment: &[u8]| matches!(segment, b"." | b"..");
    if asked.split(|byte| *byte == b'/').any(dotted) {
        return Some("a segment of dots");
    }
    if target.contains(['?', '#', '\\']) || asked.contains(&0) {
        return Some("a byte that ends or splits a path");
    }
    let Some((bucket, key)) = target.trim_start_matches('/').split_once('/') else {
        return Some("no bucket and key");
    };
    let of_a_bucket = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if key.is_empty() || bucket.len() < 3 || !bucket.chars().all(of_a_bucket) {
        return Some("not an object");
    }
    // No character is dropped, added, decoded twice or resolved on the way.
    match named.strip_suffix(asked.as_slice()) {
        Some(b"" | b"hips@") => None,
        _ => Some("another object than the URL names"),
    }
}

#[test]
fn a_random_url_requests_its_object_or_none() {
    let (many, seed, mut random) = many();
    let (spy, bystander) = (Faulty::spy(), Faulty::spy());
    let gateway = Setup::new(&spy.url())
        .profile("hips", &spy.url())
        .env("LSST_RESOURCES_S3_PROFILE_other", &bystander.url())
        .tolerate("other")
        .tolerate("k.png")
        .start();
    let (mut served, mut refused) = (0, 0);
    for _ in 0..many {
        let _trial = trial("hostile URLs");
        let tail = some_tail(&mut random);
        spy.clear();
        let answer = gateway.object(&tail);
        let what = format!("seed {seed}: {tail:?}: {}", answer.status());
        match spy.requests().as_slice() {
            [] => {
                refused += 1;
                let back = answer.header("location").is_none_or(|to| to.starts_with(HERE));
                let status = answer.status();
                assert!(matches!(status, 307 | 400 | 404 | 415) && back, "{what}: {answer:?}");
            }
            [one] => {
                served += 1;
                assert_eq!((answer.status(), one.method.as_str()), (200, "GET"), "{what}");
                assert_eq!(wrong(&tail, &one.target), None, "{what}: {}", one.target);
                assert_eq!(one.header("host"), Some(&*spy.address.to_string()), "{what}: {one:?}");
            }
            all => panic!("{what}: {all:?}"),
        }
    }
    assert_eq!(bystander.connections(), 0, "seed {seed}");
    assert!(served > 0 && refused > served, "seed {seed}: {served} served, {refused} refused");
}

#[test]
fn the_judge_of_urls_detects_wrong_targets() {
    for (tail, target) in [
        ("sky/a%20b.png", "/sky/a%20b.png"),
        ("hips@sky//x/%2e%2e%2e/k.png?a=b", "/sky//x/.../k.png"),
        ("sky/%252e%252e/k.png", "/sky/%252e%252e/k.png"),
    ] {
        assert_eq!(wrong(tail, target), None, "{tail} {target}");
    }
    for (tail, target) in [
        ("sky/../x/k.png", "/x/k.png"),
        ("sky/%2e%2e/k.png", "/sky/%2E%2E/k.png"),
        ("sky/%252e%252e/k.png", "/sky/%2e%2e/k.png"),
        ("sky//k.png", "/sky/k.png"),
        ("sky/%2541.png", "/sky/A.png"),
        ("sky/k.png", "/sky/k.png?list-type=2"),
        ("sky/x%00.png", "/sky/x%00.png"),
        ("hips%2540x@sky/k.png", "/sky/k.png"),
        ("sky%2Fa/k.png", "/sky%2Fa/k.png"),
        ("sky/", "/sky/"),
        ("sky/%zz.png", "/sky/%25zz.png"),
    ] {
        assert!(wrong(tail, target).is_some(), "{tail} {target}");
    }
}
