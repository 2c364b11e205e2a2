//! Stale objects: how the gateway revalidates them, and the meaning of the store's answers.

use serde_json::json;

use crate::cache_status::Said;
use crate::cached::{status, with_cache};
use crate::crowd::Watched;
use crate::faulty::{self, Gate, Step};
use crate::gateway::Setup;
use crate::origin::{MODIFIED, Manners, Object, Origin};
use crate::scene::{Scene, not_modified, tile};

/// Every object is stale at once, and the client waits for the store, unless the object's headers
/// say otherwise.
fn stale_at_once(store: &str) -> Setup {
    let rules = json!({"ttl": 0, "negative_ttl": 0, "stale_while_revalidate": 0});
    with_cache(store).yaml(json!({"cache": rules, "upstream": {"retries": 0}}))
}

#[test]
fn an_object_is_revalidated_by_exactly_its_tag() {
    for (stored, asked) in [
        ("\"0123456789abcdef-12\"", "\"0123456789abcdef-12\""),
        ("W/\"weak\"", "\"weak\""),
        ("bare", "\"bare\""),
        ("\"a,b\"", "\"a,b\""),
    ] {
        let headers = [("ETag", stored), ("Last-Modified", MODIFIED)];
        let scene = Scene::start(tile("tile", &headers));
        let gateway = stale_at_once(&scene.url()).start();
        let first = gateway.object("sky/a.png");
        scene.now(not_modified(&headers));
        let second = gateway.object("sky/a.png");
        assert_eq!((second.status(), second.text()), (200, "tile"), "{stored}");
        assert_eq!(status(&second), "s3proxy; fwd=stale; fwd-status=304; ttl=0; stored");
        assert_eq!(second.header("etag"), first.header("etag"), "{stored}: the stored one stays");
        assert_eq!(second.header("age"), None, "{stored}: the store has just confirmed it");
        let request = scene.last();
        assert_eq!(request.header("if-none-match"), Some(asked), "{stored}");
        assert_eq!(request.header("if-modified-since"), None, "{stored}: the tag says it all");
        assert_eq!(gateway.object("sky/a.png").text(), "tile", "{stored}: and again");
        assert_eq!(scene.last().header("if-none-match"), Some(asked), "{stored}");
        assert_eq!(scene.count(), 3, "{stored}");
    }
}

#[test]
fn an_object_without_a_tag_is_revalidated_by_its_date_and_without_either_fetched_again() {
    let scene = Scene::start(tile("tile", &[("Last-Modified", MODIFIED)]));
    let gateway = stale_at_once(&scene.url()).start();
    gateway.object("sky/a.png");
    scene.now(not_modified(&[("Last-Modified", MODIFIED)]));
    let second = gateway.object("sky/a.png");
    assert_eq!((second.status(), second.text()), (200, "tile"));
    assert_eq!(status(&second), "s3proxy; fwd=stale; fwd-status=304; ttl=0; stored");
    assert_eq!(scene.last().header("if-modified-since"), Some(MODIFIED));
    assert_eq!(scene.last().header("if-none-match"), None);

    scene.now(tile("tile", &[]));
    gateway.object("sky/b.png");
    let second = gateway.object("sky/b.png");
    assert_eq!(status(&second), "s3proxy; fwd=stale; fwd-status=200; ttl=0; stored");
    for name in ["if-none-match", "if-modified-since"] {
        assert_eq!(scene.last().header(name), None, "{name}");
    }
    // A 304 to an unconditional request confirms nothing.
    scene.now(not_modified(&[]));
    let answer = gateway.object("sky/c.png");
    assert_eq!(answer.status(), 502);
    assert_eq!(gateway.line_of(&answer)["cause"], "upstream_protocol");
}

#[test]
fn a_304_without_a_lifetime_leaves_the_one_the_object_had() {
    // Stale at once by its Age, which the 304 does not have.
    let old = [("ETag", "\"a\""), ("Cache-Control", "max-age=60"), ("Age", "61")];
    for (said_on_304, ttl) in [
        (&[("ETag", "\"a\"")][..], 60),
        (&[("ETag", "W/\"a\"")], 60),
        (&[("ETag", "\"a\""), ("Age", "10")], 50),
        (&[("ETag", "\"a\""), ("Cache-Control", "max-age=90")], 90),
        (&[("ETag", "\"a\""), ("Cache-Control", "s-maxage=30"), ("Age", "10")], 20),
    ] {
        let scene = Scene::start(tile("tile", &old));
        let gateway = stale_at_once(&scene.url()).start();
        gateway.object("sky/a.png");
        scene.now(not_modified(said_on_304));
        let said = format!("s3proxy; fwd=stale; fwd-status=304; ttl={ttl}; stored");
        assert_eq!(status(&gateway.object("sky/a.png")), said, "{said_on_304:?}");
        let hit = gateway.object("sky/a.png");
        assert!(Said::by(&hit).is("hit"), "{said_on_304:?}: {hit:?}");
        assert_eq!((hit.text(), hit.header("etag")), ("tile", Some("\"a\"")), "{said_on_304:?}");
        let age: u64 = hit.header("age").and_then(|age| age.parse().ok()).expect("an Age");
        assert!(age < 30, "{said_on_304:?}: it counts from the 304: {age}");
        assert_eq!(scene.count(), 2, "{said_on_304:?}");
    }
}

#[test]
fn real_stores_confirm_and_replace() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let names_version = manners.validators_on_304;
        let origin = Origin::with(manners);
        origin.put("a.png", "one");
        let gateway = stale_at_once(&origin.url()).start();
        for _ in 0..3 {
            let answer = gateway.object("sky/a.png");
            assert_eq!((answer.status(), answer.text()), (200, "one"));
        }
        let seen: Vec<_> = origin.requests().iter().filter_map(|r| r.status).collect();
        // RGW's 304 does not name the version, so the second revalidation is a HEAD at once.
        let expected: &[u16] = if names_version { &[200, 304, 304] } else { &[200, 304, 200, 200] };
        assert_eq!(seen, expected);
        let etag = origin.put("a.png", "two");
        let answer = gateway.object("sky/a.png");
        assert_eq!((answer.text(), answer.header("etag")), ("two", Some(etag.as_str())));
        assert_eq!(status(&answer), "s3proxy; fwd=stale; fwd-status=200; ttl=0; stored");
        let mut lasting = Object::new("three");
        lasting.cache_control = Some("max-age=60".to_owned());
        origin.put_object("sky", "a.png", lasting);
        assert_eq!(gateway.object("sky/a.png").text(), "three");
        origin.clear();
        assert!(Said::by(&gateway.object("sky/a.png")).is("hit"));
        assert_eq!(origin.count(), 0);
    }
}

#[test]
fn an_object_that_is_gone_does_not_come_back() {
    for negative_ttl in [0, 60] {
        let scene = Scene::start(tile("tile", &[("ETag", "\"a\"")]));
        let rules = json!({"cache": {"negative_ttl": negative_ttl}});
        let gateway = stale_at_once(&scene.url()).yaml(rules).start();
        gateway.object("sky/a.png");
        scene.now(faulty::s3_error(404, "NoSuchKey"));
        let gone = gateway.object("sky/a.png");
        assert_eq!(gone.status(), 404);
        assert_eq!(Said::by(&gone).token("fwd"), Some("stale"));
        scene.now(faulty::s3_error(503, "SlowDown"));
        let then = gateway.object("sky/a.png");
        if negative_ttl == 0 {
            assert_eq!(then.status(), 503, "it is not there to stand in");
            gateway.line_of(&then);
            assert_eq!(scene.last().header("if-none-match"), None, "nothing is kept");
        } else {
            assert_eq!(then.status(), 404);
            assert!(Said::by(&then).is("hit"), "{then:?}");
        }
    }
}

#[test]
fn an_object_that_may_no_longer_be_read_is_not_served() {
    let scene = Scene::start(tile("tile", &[("ETag", "\"a\"")]));
    let gateway = stale_at_once(&scene.url()).start();
    gateway.object("sky/a.png");
    for (status, code) in [(403, "AccessDenied"), (401, "AccessDenied")] {
        scene.now(faulty::s3_error(status, code));
        let answer = gateway.object("sky/a.png");
        assert_eq!(answer.status(), 403);
        let line = gateway.line_of(&answer);
        assert_eq!(line["cache"], format!("fwd=stale; fwd-status={status}"), "{line}");
        assert_eq!(line["upstream_code"], code, "{line}");
    }
}

#[test]
fn a_crowd_at_a_stale_object_costs_one_conditional_request() {
    const CROWD: usize = 100;
    let scene = Scene::start(tile("tile", &[("ETag", "\"a\"")]));
    let gateway = stale_at_once(&scene.url()).start();
    gateway.object("sky/a.png");
    let gate = Gate::new();
    // Fresh from then on: clients that come after the answer cause no request.
    let confirmed = not_modified(&[("ETag", "\"a\""), ("Cache-Control", "max-age=60")]);
    scene.now([vec![Step::Wait(gate.clone())], confirmed].concat());
    let mut crowd: Vec<_> = (0..CROWD).map(|_| gateway.connect()).collect();
    for client in &mut crowd {
        client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    }
    scene.store.await_requests(2);
    gate.open();
    for client in &mut crowd {
        let answer = client.answer("GET").expect("an answer");
        assert_eq!((answer.status(), answer.text()), (200, "tile"));
    }
    assert_eq!(scene.count(), 2);
    assert_eq!(scene.last().header("if-none-match"), Some("\"a\""));
}

#[test]
fn heads_ranges_and_conditions_of_a_stale_object_revalidate_it_first() {
    let scene = Scene::start(tile("tile", &[("ETag", "\"a\"")]));
    let gateway = stale_at_once(&scene.url()).start();
    gateway.object("sky/a.png");
    scene.now(not_modified(&[("ETag", "\"a\"")]));
    for (nth, (method, headers, status, body)) in [
        ("HEAD", &[][..], 200, ""),
        ("GET", &[("range", "bytes=1-2")], 206, "il"),
        ("GET", &[("if-none-match", "\"a\"")], 304, ""),
        ("GET", &[("if-none-match", "\"b\"")], 200, "tile"),
        ("GET", &[("if-match", "\"b\"")], 412, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = gateway.send(method, "/s3proxy/s3/sky/a.png", headers);
        assert_eq!(answer.status(), status, "{method} {headers:?}");
        if status == 412 {
            assert!(answer.refused("precondition_failed", "message").is_string(), "{answer:?}");
        } else {
            assert_eq!(answer.text(), body, "{method} {headers:?}");
        }
        let said = Said::by(&answer);
        assert_eq!(said.integer("fwd-status"), Some(304), "{method} {headers:?}: {said:?}");
        let request = scene.last();
        assert_eq!(request.header("if-none-match"), Some("\"a\""), "the cache's own question");
        assert_eq!((request.header("range"), request.method.as_str()), (None, "GET"));
        assert_eq!(scene.count(), nth + 2, "{method} {headers:?}");
    }
}

#[test]
fn a_client_can_force_revalidation_only_where_allowed() {
    for (header, value) in
        [("Cache-Control", "no-cache"), ("Cache-Control", "max-age=0"), ("Pragma", "no-cache")]
    {
        for allowed in [false, true] {
            let scene = Scene::start(tile("one", &[("ETag", "\"a\"")]));
            let rules = json!({"cache": {"client_no_cache": allowed}});
            let gateway = with_cache(&scene.url()).yaml(rules).start();
            gateway.object("sky/a.png");
            scene.now(not_modified(&[("ETag", "\"a\"")]));
            let again = gateway.object_with("sky/a.png", &[(header, value)]);
            assert_eq!((again.status(), again.text()), (200, "one"), "{header}");
            if !allowed {
                assert!(Said::by(&again).is("hit"), "{header}: {again:?}");
                assert_eq!(scene.count(), 1, "{header}: {value}");
                continue;
            }
            let said = "s3proxy; fwd=request; fwd-status=304; ttl=300; stored";
            assert_eq!(status(&again), said, "{header}: {value}");
            assert_eq!(scene.last().header("if-none-match"), Some("\"a\""), "{header}");
            scene.now(tile("two", &[("ETag", "\"b\"")]));
            let changed = gateway.object_with("sky/a.png", &[(header, value)]);
            assert_eq!(changed.text(), "two", "{header}: {value}");
            assert!(Said::by(&gateway.object("sky/a.png")).is("hit"), "{header}: {value}");
            assert_eq!(scene.count(), 3, "{header}: {value}");
        }
    }
}

#[test]
fn a_client_can_force_revalidation_of_a_negative_entry() {
    let scene = Scene::start(faulty::s3_error(404, "NoSuchKey"));
    let rules = json!({"cache": {"client_no_cache": true}});
    let gateway = with_cache(&scene.url()).yaml(rules).start();
    assert_eq!(gateway.object("sky/a.png").status(), 404);
    scene.now(tile("tile", &[]));
    assert_eq!(gateway.object("sky/a.png").status(), 404, "it is kept missing");
    let answer = gateway.object_with("sky/a.png", &[("Cache-Control", "no-cache")]);
    assert_eq!((answer.status(), answer.text()), (200, "tile"));
    assert_eq!(Said::by(&answer).token("fwd"), Some("request"));
    assert_eq!(scene.count(), 2);
}

#[test]
fn revalidation_takes_no_new_connection() {
    let scene = Scene::start(tile("tile", &[("ETag", "\"a\"")]));
    let watched = Watched::start(stale_at_once(&scene.url()));
    for nth in 0..100 {
        if nth == 1 {
            scene.now(not_modified(&[("ETag", "\"a\"")]));
        }
        assert_eq!(watched.gateway.object("sky/a.png").text(), "tile");
        // A fetch that has answered may still be in flight for a moment, and would be followed.
        watched.await_fetches_done();
    }
    assert_eq!((scene.count(), scene.store.connections()), (100, 1));
}
