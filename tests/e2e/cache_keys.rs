//! Which requests share an entry: those for the same object of the same profile, and no others.

use crate::cached::{status, with_cache};
use crate::client::Client;
use crate::faulty::{self, Faulty, Recorded};
use crate::gateway::Setup;

const PROFILES: [&str; 3] = ["", "one@", "two@"];
const BUCKETS: [&str; 3] = ["sky", "sea", "sky.b"];

/// URL tails that a careless key derivation would merge with each other; some also with a bucket or
/// a profile before them.
const TAILS: &[&str] = &[
    "k.png",
    "K.png",
    "k.PNG",
    "k.png/",
    "k.png//",
    "/k.png",
    "//k.png",
    "a/b.png",
    "a//b.png",
    "A/b.png",
    "a%2Fb.png/",
    "a%252Fb.png",
    "a%25252Fb.png",
    "a%20b.png",
    "a+b.png",
    "a%2520b.png",
    "caf%C3%A9.png",
    "cafe%CC%81.png",
    "cafe.png",
    "%EF%BB%BFk.png",
    "sky/k.png",
    "one@sky/k.png",
    "a@b/k.png",
    "b/k.png",
    "k.png%3Fx=1",
    "k.png%23x",
    "k%00.png",
    "k.png%20",
    "%20k.png",
    "k%0A.png",
    "%E2%84%AA.png",
    "k%CC%87.png",
];

/// A store whose objects contain the request they answer.
fn telling() -> Faulty {
    Faulty::scripted(|request: &Recorded, _| {
        let authorization = request.header("authorization").unwrap_or_default();
        let (_, signed) = authorization.split_once("Credential=").unwrap_or_default();
        let who = signed.split('/').next().unwrap_or_default();
        let text = format!("{who} {} ", request.target);
        faulty::object(text.repeat(40).as_bytes())
    })
}

fn profiles(setup: Setup, url: &str) -> Setup {
    ["one", "two"].into_iter().fold(setup, |setup, name| {
        setup.env(&format!("LSST_RESOURCES_S3_PROFILE_{name}"), url).ini(&format!(
            "[{name}]\naws_access_key_id = AKID{name}\naws_secret_access_key = secret-{name}\n"
        ))
    })
}

#[test]
fn similar_keys_never_share_an_entry() {
    const REQUESTS: usize = 4000;
    let store = telling();
    let any_type = |setup: Setup| {
        profiles(setup.env("S3PROXY_DEFAULT_MIMETYPE", "text/plain"), &store.url()).start()
    };
    let plain = any_type(Setup::new(&store.url()));
    let gateway = any_type(with_cache(&store.url()));
    let mut objects: Vec<(String, Vec<u8>)> = Vec::new();
    for label in PROFILES {
        for bucket in BUCKETS {
            for tail in TAILS {
                let path = format!("/s3proxy/s3/{label}{bucket}/{tail}");
                let mut once = Client::connect(plain.address);
                let answer = once.exchange("GET", &path, &[]);
                if answer.status() == 200 {
                    objects.push((path, answer.body));
                }
            }
        }
    }
    assert!(objects.len() >= 9 * (TAILS.len() - 1), "{} objects are served", objects.len());
    let mut bodies: Vec<&[u8]> = objects.iter().map(|(_, body)| body.as_slice()).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), objects.len(), "every name is an object of its own");
    store.clear();
    let mut random = fastrand::Rng::with_seed(3);
    let mut fetches = 0;
    let mut cached = gateway.connect();
    for _ in 0..REQUESTS {
        let (path, body) = &objects[random.usize(..objects.len())];
        let answer = cached.exchange("GET", path, &[]);
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.body == *body, "{path}: {:?}", String::from_utf8_lossy(&answer.body));
        fetches += usize::from(status(&answer).contains("fwd-status=200"));
    }
    assert_eq!(store.count(), fetches);
    assert!(fetches <= objects.len(), "{fetches} fetches of {} objects", objects.len());
}

#[test]
fn encodings_of_one_key_share_an_entry() {
    let store = telling();
    let gateway = with_cache(&store.url()).start();
    for spellings in [
        &["a/b.png", "a%2Fb.png", "a%2fb.png", "%61/b%2Epng"][..],
        &["caf%C3%A9.png", "caf%c3%a9.png"],
        &["~k.png", "%7Ek.png"],
        &["k%20k.png", "%6B%20k.png"],
    ] {
        store.clear();
        let first = gateway.object(&format!("sky/{}", spellings[0]));
        assert_eq!(first.status(), 200);
        for spelling in spellings {
            let answer = gateway.object(&format!("sky/{spelling}"));
            assert_eq!(answer.body, first.body, "{spelling}");
        }
        assert_eq!(store.count(), 1, "{spellings:?}");
    }
}

#[test]
fn a_query_is_not_part_of_the_cache_key() {
    let store = telling();
    let gateway = with_cache(&store.url()).start();
    let first = gateway.object("sky/k.png");
    for query in [
        "?",
        "?x=1",
        "?x=2&cb=17",
        "?X-Amz-Signature=0",
        "?versionId=3",
        "?%2F..%2F",
        "?a=b/../c.png",
    ] {
        let answer = gateway.object(&format!("sky/k.png{query}"));
        assert_eq!((answer.status(), &answer.body), (200, &first.body), "{query}");
    }
    assert_eq!(store.only().target, "/sky/k.png");
}

#[test]
fn two_stores_never_share_an_entry() {
    let (store, other) = (telling(), Faulty::always(faulty::object(b"of the other store")));
    let gateway = profiles(with_cache(&store.url()), &other.url()).start();
    for _ in 0..3 {
        assert!(gateway.object("sky/k.png").text().contains(" /sky/k.png "));
        assert_eq!(gateway.object("one@sky/k.png").text(), "of the other store");
    }
    assert_eq!((store.count(), other.count()), (1, 1));
}
