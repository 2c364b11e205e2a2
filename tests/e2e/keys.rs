//! Which URL names which object: decoding, hard keys, and paths that must not reach the store.

use crate::client::Ending;
use crate::faulty::Faulty;
use crate::gateway::Setup;
use crate::origin::{Object, Origin};
use crate::tally::{self, trial, trials};

/// URL tail, the key it names, and the path the store must be sent.
const HARD_KEYS: &[(&str, &str, &str)] = &[
    ("plain.png", "plain.png", "plain.png"),
    ("a%20b.png", "a b.png", "a%20b.png"),
    ("a+b.png", "a+b.png", "a%2Bb.png"),
    ("a%2Bc.png", "a+c.png", "a%2Bc.png"),
    ("%C3%A9.png", "\u{e9}.png", "%C3%A9.png"),
    ("e%CC%81.png", "e\u{301}.png", "e%CC%81.png"),
    ("%E6%98%9F/%F0%9F%94%AD.png", "星/🔭.png", "%E6%98%9F/%F0%9F%94%AD.png"),
    ("%ef%bb%bfbom.png", "\u{feff}bom.png", "%EF%BB%BFbom.png"),
    ("x//y.png", "x//y.png", "x//y.png"),
    ("x%2F%2Fz.png", "x//z.png", "x//z.png"),
    ("/lead.png", "/lead.png", "/lead.png"),
    ("//lead2.png", "//lead2.png", "//lead2.png"),
    ("d%2Fe.png", "d/e.png", "d/e.png"),
    ("a%2541.png", "a%41.png", "a%2541.png"),
    ("a%252F.png", "a%2F.png", "a%252F.png"),
    ("a%25zz.png", "a%zz.png", "a%25zz.png"),
    ("a%23b.png", "a#b.png", "a%23b.png"),
    ("a%3Fb.png", "a?b.png", "a%3Fb.png"),
    ("tab%09x.png", "tab\tx.png", "tab%09x.png"),
    ("cr%0Dlf%0A.png", "cr\rlf\n.png", "cr%0Dlf%0A.png"),
    ("a;b&c=d,e.png", "a;b&c=d,e.png", "a%3Bb%26c%3Dd%2Ce.png"),
    ("(a)!*'$.png", "(a)!*'$.png", "%28a%29%21%2A%27%24.png"),
    ("a:b@c.png", "a:b@c.png", "a%3Ab%40c.png"),
    ("~u_v-w.png", "~u_v-w.png", "~u_v-w.png"),
    ("%7Eu.png", "~u.png", "~u.png"),
    ("quote%22%5C.png", "quote\"\\.png", "quote%22%5C.png"),
    ("%3Ctag%3E%7C%60%5E.png", "<tag>|`^.png", "%3Ctag%3E%7C%60%5E.png"),
    ("...png/..a/.b/c..png", "...png/..a/.b/c..png", "...png/..a/.b/c..png"),
    (".../...a.png", ".../...a.png", ".../...a.png"),
    ("space%20/%20.png", "space / .png", "space%20/%20.png"),
    ("CON.png", "CON.png", "CON.png"),
    ("%61%62.png", "ab.png", "ab.png"),
    ("%7F.png", "\u{7f}.png", "%7F.png"),
];

#[test]
fn hard_keys_come_back_byte_for_byte_from_a_store_that_checks_signatures() {
    let origin = Origin::start();
    for (_, key, _) in HARD_KEYS {
        origin.put(key, key.as_bytes().to_vec());
    }
    let gateway = Setup::new(&origin.url()).start();
    let mut wrong = Vec::new();
    for (tail, key, _) in HARD_KEYS {
        let answer = gateway.object(&format!("sky/{tail}"));
        if answer.status() != 200 || answer.body != key.as_bytes() || answer.ending != Ending::Whole
        {
            wrong.push((tail, answer.status(), String::from_utf8_lossy(&answer.body).into_owned()));
        }
    }
    tally::add("keys", HARD_KEYS.len(), wrong.len());
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), HARD_KEYS.len());
}

#[test]
fn the_store_is_sent_each_key_encoded_once_in_amazons_way() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for (tail, _, path) in HARD_KEYS {
        spy.clear();
        assert_eq!(gateway.object(&format!("sky/{tail}")).status(), 200, "{tail}");
        assert_eq!(spy.only().target, format!("/sky/{path}"), "{tail}");
    }
}

#[test]
fn the_longest_key_is_served_and_a_longer_one_refused() {
    let _trials = trials("keys", 2);
    let origin = Origin::start();
    let longest = format!("{}.png", "k".repeat(1020));
    let unicode = format!("{}.png", "é".repeat(510));
    origin.put(&longest, "long");
    origin.put(&unicode, "long too");
    let gateway = Setup::new(&origin.url()).start();
    assert_eq!(gateway.object(&format!("sky/{longest}")).text(), "long");
    let encoded = format!("sky/{}.png", "%C3%A9".repeat(510));
    assert_eq!(gateway.object(&encoded).text(), "long too");
    let answer = gateway.object(&format!("sky/k{longest}"));
    assert!(matches!(answer.status(), 400 | 404), "{answer:?}");
    assert_eq!(origin.count(), 2);
}

#[test]
fn paths_that_name_no_object_are_refused_with_a_reason() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).profile("hips", &spy.url()).start();
    for tail in [
        "sky/../k.png",
        "sky/./k.png",
        "sky/x/../y.png",
        "sky/x/..",
        "sky/..%2f..%2fetc.png",
        "sky/%2e%2e/k.png",
        "sky/%2E./k.png",
        "sky/%2e/k.png",
        "sky/x/%2e%2e%2fk.png",
        "../sky/k.png",
        "%2e%2e/k.png",
        "..%2fsky/k.png",
        "sky%2Fx/k.png",
        "sky/nul%00.png",
        "sky/%.png",
        "sky/%2.png",
        "sky/%zz.png",
        "sky/%+1.png",
        "sky/%FF.png",
        "sky/%C0%AF.png",
        "sky/%ED%A0%80.png",
        "@sky/k.png",
        "hips@/k.png",
        "a@b@sky/k.png",
        "hips%40a@sky/k.png",
        "hips:x@sky/k.png",
        "%5Bsky/k.png",
        "s%20ky/k.png",
        "sky%3Fq/k.png",
        "sky%23q/k.png",
        "sky%00/k.png",
        "sk%C3%A9/k.png",
        "ten:sky/k.png",
        "ten%3Asky/k.png",
        "arn:aws:s3:us-west-2:123456789012:accesspoint:foo/k.png",
        "x--use1-az4--x-s3/k.png",
        "hips@x--use1-az4--x-s3/k.png",
    ] {
        let _trial = trial("hostile URLs");
        let answer = gateway.object(tail);
        assert_eq!(answer.status(), 400, "{tail}: {answer:?}");
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.len() > 10, "{tail}: {message:?}");
    }
    assert_eq!(spy.count(), 0, "{:?}", spy.requests());
}

#[test]
fn nothing_in_a_url_moves_a_request_to_another_host() {
    let spy = Faulty::spy();
    let bystander = Faulty::spy();
    let gateway = Setup::new(&spy.url()).profile("hips", &spy.url()).start();
    let there = bystander.address;
    let tails = [
        format!("{there}@sky/k.png"),
        format!("hips@{there}/k.png"),
        format!("hips@sky@{there}/k.png"),
        format!("hips@sky:{}/k.png", there.port()),
        format!("http:%2F%2F{there}/k.png"),
        format!("hips@sky%2540{there}/k.png"),
        format!("sky%0d%0aHost:%20{there}/k.png"),
        "hips@169.254.169.254/latest/meta-data.png".to_owned(),
        "evil.example@sky/k.png".to_owned(),
    ];
    let _trials = trials("hostile URLs", tails.len() + 1);
    for tail in tails {
        gateway.object(&tail);
    }
    let absolute = format!("http://{there}/s3proxy/s3/sky/k.png");
    gateway.send("GET", &absolute, &[]);
    assert_eq!(bystander.connections(), 0, "{:?}", bystander.requests());
    for request in spy.requests() {
        assert_eq!(request.header("host"), Some(spy.address.to_string().as_str()), "{request:?}");
    }
}

/// Some of them were refused as no valid HTTP, and others accepted.
#[test]
fn bytes_that_browsers_encode_are_accepted_as_they_are() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let _trials = trials("hostile URLs", 2);
    for path in ["sky/a<b>`c\"\\^{|}.png?d=<\"`>", "sky/a%3Cb%3E%60c%22%5C%5E%7B%7C%7D.png"] {
        spy.clear();
        assert_eq!(gateway.object(path).status(), 200, "{path}");
        assert_eq!(spy.only().target, "/sky/a%3Cb%3E%60c%22%5C%5E%7B%7C%7D.png", "{path}");
    }
}

#[test]
fn a_redirect_names_the_host_of_a_target_in_absolute_form() {
    let gateway = Setup::new(&Faulty::spy().url()).start();
    let answer = gateway.send("GET", "http://b.test:81/s3proxy", &[]);
    assert_eq!(answer.header("location"), Some("http://b.test:81/s3proxy/"));
}

#[test]
fn ceph_tenants_are_admitted_when_validation_is_disabled_as_today() {
    let spy = Faulty::spy();
    for (value, status) in [("1", 200), ("true", 200), ("0", 400), ("False", 400), ("n", 400)] {
        let gateway = Setup::new(&spy.url()).env("LSST_DISABLE_BUCKET_VALIDATION", value).start();
        spy.clear();
        assert_eq!(gateway.object("ten:sky/k.png").status(), status, "{value}");
        if status == 200 {
            assert_eq!(spy.only().target, "/ten%3Asky/k.png");
        }
        for tail in ["ten:../k.png", "../k.png", "arn:aws:s3:::x/k.png", "hips@x--x-s3/k.png"] {
            let _trial = trial("hostile URLs");
            let answer = gateway.object(tail);
            assert!(matches!(answer.status(), 400 | 404), "{value} {tail}: {answer:?}");
        }
        assert!(spy.count() <= 1, "{:?}", spy.requests());
    }
}

#[test]
fn names_that_look_alike_stay_apart() {
    let origin = Origin::start();
    let names = [
        ("sky", "a.png"),
        ("sky", "A.png"),
        ("sky", "a//b.png"),
        ("sky", "a/b.png"),
        ("sky", "/a/b.png"),
        ("sky", "a%2Fb.png"),
        ("sky", "\u{e9}.png"),
        ("sky", "e\u{301}.png"),
        ("sky", "a b.png"),
        ("sky", "a+b.png"),
        ("sky", "a%20b.png"),
        ("sky2", "a.png"),
        ("sky2", "sky/a.png"),
    ];
    origin.create_bucket("sky2");
    for (bucket, key) in names {
        origin.put_object(bucket, key, Object::new(format!("{bucket} | {key}")));
    }
    let gateway = Setup::new(&origin.url()).start();
    let _trials = trials("keys", names.len());
    for _ in 0..2 {
        for (bucket, key) in names {
            let encoded: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
            let answer = gateway.object(&format!("{bucket}/{encoded}"));
            assert_eq!(answer.text(), format!("{bucket} | {key}"));
        }
    }
}
