//! Which objects are cached and for how long: by configuration, and by the store's headers.

use serde_json::json;

use crate::cache_status::Said;
use crate::cached::{status, with_cache};
use crate::faulty::{self, Faulty};
use crate::gateway::Setup;
use crate::scene::{Scene, tile};

fn without_retries(setup: Setup) -> Setup {
    setup.yaml(json!({"upstream": {"retries": 0}}))
}

#[test]
fn the_ttl_is_that_of_the_first_pattern_the_profile_or_all() {
    let spy = Faulty::spy();
    let gateway = with_cache(&spy.url())
        .env("S3PROXY_CACHE_TTL", "100")
        .profile("hips", &spy.url())
        .yaml(json!({
            // The variable comes before the file.
            "cache": {"ttl": "7s", "patterns": [
                {"match": "*/b*", "ttl": "20s"},
                {"match": "*/bc*", "ttl": "30s"},
                {"match": "*/n*", "negative_ttl": "40s"},
            ]},
            "profiles": {"hips": {"cache": {"ttl": "50s", "patterns": [
                {"match": "tiles/*", "ttl": "60s"},
                {"match": "tiles/b*", "ttl": "70s"},
            ]}}},
        }))
        .start();
    for (object, ttl) in [
        ("sky/x/a.png", 100),
        ("sky/x/b.png", 20),
        ("sky/x/bc.png", 20),
        ("sky/x/n.png", 100),
        ("sky/tiles/a.png", 100),
        ("hips@sky/x/a.png", 50),
        ("hips@sky/x/b.png", 20),
        ("hips@sky/x/n.png", 50),
        ("hips@sky/tiles/b.png", 60),
        ("hips@sky/tiles/n.png", 60),
    ] {
        let said = format!("s3proxy; fwd=miss; fwd-status=200; ttl={ttl}; stored");
        assert_eq!(status(&gateway.object(object)), said, "{object}");
        assert!(Said::by(&gateway.object(object)).is("hit"), "{object}");
    }
    assert_eq!(spy.count(), 10);
}

#[test]
fn a_rule_or_a_profile_can_disable_the_cache() {
    let no_store = json!({"store": false});
    for (what, settings, key, kept) in [
        ("the profile", json!({"cache": no_store}), "a.png", false),
        (
            "a pattern",
            json!({"cache": {"patterns": [{"match": "a*", "store": false}]}}),
            "a.png",
            false,
        ),
        (
            "another pattern",
            json!({"cache": {"patterns": [{"match": "a*", "store": false}]}}),
            "b.png",
            true,
        ),
        (
            "all but a pattern",
            json!({"cache": {"store": false, "patterns": [{"match": "a*", "store": true}]}}),
            "a.png",
            true,
        ),
        ("embargoed", json!({"cache_control": "private, no-store"}), "a.png", false),
        ("private", json!({"cache_control": "private"}), "a.png", false),
        ("headers of clients", json!({"request_headers": ["x-tenant"]}), "a.png", false),
        ("an ordinary profile", json!({"cache_control": "public, max-age=5"}), "a.png", true),
    ] {
        let scene = Scene::start(faulty::object(b"tile"));
        let gateway = with_cache(&scene.url())
            .profile("hips", &scene.url())
            .profile_settings("hips", &settings)
            .start();
        let object = format!("hips@sky/{key}");
        for nth in 1..=3 {
            let answer = gateway.object(&object);
            assert_eq!((answer.status(), answer.text()), (200, "tile"), "{what}");
            assert_eq!(scene.count(), if kept { 1 } else { nth }, "{what}");
            assert_eq!(status(&answer) == "s3proxy; fwd=bypass", !kept, "{what}: {answer:?}");
        }
        scene.store.clear();
        scene.now(faulty::s3_error(404, "NoSuchKey"));
        for nth in 1..=2 {
            assert_eq!(gateway.object(&format!("{object}.jpg")).status(), 404, "{what}");
            assert_eq!(scene.count(), if kept { 1 } else { nth }, "{what}: a missing one");
        }
        // The other profile behaves as before.
        scene.now(faulty::object(b"tile"));
        scene.store.clear();
        gateway.object("sky/a.png");
        gateway.object("sky/a.png");
        assert_eq!(scene.count(), 1, "{what}: not for the default profile");
    }
}

#[test]
fn a_missing_object_is_cached_for_its_negative_ttl_or_not_at_all() {
    let missing = Faulty::always(faulty::s3_error(404, "NoSuchKey"));
    let gateway = with_cache(&missing.url())
        .yaml(json!({"cache": {"ttl": "1h", "negative_ttl": "30s", "patterns": [
            {"match": "now*", "negative_ttl": 0},
            {"match": "long*", "negative_ttl": "1h"},
        ]}}))
        .start();
    for (object, said, asked) in [
        ("sky/a.png", "s3proxy; fwd=miss; fwd-status=404; ttl=30; stored", 1),
        ("sky/long.png", "s3proxy; fwd=miss; fwd-status=404; ttl=3600; stored", 1),
        ("sky/now.png", "s3proxy; fwd=miss; fwd-status=404", 3),
    ] {
        missing.clear();
        assert_eq!(status(&gateway.object(object)), said, "{object}");
        for _ in 0..2 {
            let again = gateway.object(object);
            assert_eq!(again.status(), 404, "{object}");
            assert_eq!(Said::by(&again).is("hit"), asked == 1, "{object}: {again:?}");
        }
        assert_eq!(missing.count(), asked, "{object}");
    }
}

#[test]
fn a_new_object_is_served_when_its_negative_entry_expires() {
    let scene = Scene::start(faulty::s3_error(404, "NoSuchKey"));
    let rules = json!({"cache": {"negative_ttl": "1s"}});
    let gateway = with_cache(&scene.url()).yaml(rules).start();
    assert_eq!(gateway.object("sky/a.png").status(), 404);
    scene.now(faulty::object(b"tile"));
    // A negative entry ends only by expiry; a second is the shortest ttl.
    std::thread::sleep(std::time::Duration::from_millis(1050));
    let answer = gateway.object("sky/a.png");
    assert_eq!((answer.status(), answer.text()), (200, "tile"));
    assert_eq!(status(&answer), "s3proxy; fwd=stale; fwd-status=200; ttl=300; stored");
}

#[test]
fn a_403_is_cached_only_where_it_means_missing() {
    let denied = Faulty::always(faulty::s3_error(403, "AccessDenied"));
    let gateway = with_cache(&denied.url())
        .profile("hips", &denied.url())
        .profile_settings("hips", &json!({"missing_on_403": true}))
        .start();
    let first = gateway.object("hips@sky/a.png");
    assert_eq!(first.status(), 404);
    assert_eq!(status(&first), "s3proxy; fwd=miss; fwd-status=403; ttl=60; stored");
    let again = gateway.object("hips@sky/a.png");
    let message = again.refused("object_not_found", "message");
    assert_eq!((again.status(), message), (404, first.json()["message"].clone()));
    assert!(Said::by(&again).is("hit"), "{again:?}");
    assert_eq!(denied.count(), 1);
    for nth in 2..=3 {
        let plain = gateway.object("sky/a.png");
        assert_eq!(plain.status(), 403);
        assert_eq!(status(&plain), "s3proxy; fwd=miss; fwd-status=403");
        gateway.line_of(&plain);
        assert_eq!(denied.count(), nth);
    }
}

#[test]
fn no_other_error_is_ever_cached() {
    for (error, code) in [
        (400, "InvalidRequest"),
        (401, "Unauthorized"),
        (403, "AccessDenied"),
        (405, "MethodNotAllowed"),
        (409, "OperationAborted"),
        (410, "Gone"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (501, "NotImplemented"),
        (502, "BadGateway"),
        (503, "SlowDown"),
        (504, "GatewayTimeout"),
        (301, "PermanentRedirect"),
    ] {
        let scene = Scene::start(faulty::s3_error(error, code));
        let gateway = without_retries(with_cache(&scene.url())).start();
        for nth in 1..=2 {
            let answer = gateway.object("sky/a.png");
            assert!(answer.status() >= 400, "{error}");
            assert!(!Said::by(&answer).is("stored"), "{error}: {answer:?}");
            if answer.status() != 404 {
                gateway.line_of(&answer);
            }
            assert_eq!(scene.count(), nth, "{error}");
        }
        scene.now(faulty::object(b"tile"));
        assert_eq!(gateway.object("sky/a.png").text(), "tile", "{error}: it is over at once");
    }
}

#[test]
fn the_stores_lifetime_of_an_object_overrides_the_rule() {
    const SENT: (&str, &str) = ("Date", "Wed, 01 Jul 2026 10:00:00 GMT");
    let minute_later = ("Expires", "Wed, 01 Jul 2026 10:01:00 GMT");
    let hour_before = ("Expires", "Wed, 01 Jul 2026 09:00:00 GMT");
    for (headers, ttl, least_age) in [
        (&[][..], 300, 0),
        (&[("Cache-Control", "public")], 300, 0),
        (&[("Cache-Control", "max-age=60")], 60, 0),
        (&[("Cache-Control", "MAX-AGE=\"60\" , public")], 60, 0),
        (&[("Cache-Control", "max-age=60, s-maxage=20")], 20, 0),
        (&[("Cache-Control", "max-age=0, s-maxage=20")], 20, 0),
        (&[("Cache-Control", "max-age=60, must-revalidate")], 60, 0),
        (&[SENT, minute_later], 60, 0),
        (&[SENT, minute_later, ("Cache-Control", "max-age=5")], 5, 0),
        (&[("Cache-Control", "max-age=60"), ("Age", "50")], 10, 50),
        (&[SENT, minute_later, ("Age", "50")], 10, 50),
        (&[("Age", "50")], 300, 50),
        (&[SENT, hour_before], 0, 0),
        (&[("Expires", "0")], 0, 0),
        (&[("Cache-Control", "max-age=0")], 0, 0),
        (&[("Cache-Control", "max-age=60"), ("Age", "60")], 0, 60),
        (&[("Cache-Control", "max-age=60"), ("Age", "99")], 0, 99),
        (&[("Cache-Control", "no-cache")], 0, 0),
        (&[("Cache-Control", "no-cache, max-age=60")], 0, 0),
    ] {
        let scene = Scene::start(tile("tile", headers));
        let rules = json!({"cache": {"ttl": "5m", "stale_while_revalidate": 0}});
        let gateway = with_cache(&scene.url()).yaml(rules).start();
        let first = gateway.object("sky/a.png");
        let said = format!("s3proxy; fwd=miss; fwd-status=200; ttl={ttl}; stored");
        assert_eq!(status(&first), said, "{headers:?}");
        let second = gateway.object("sky/a.png");
        let said = Said::by(&second);
        if ttl == 0 {
            assert_eq!(said.token("fwd"), Some("stale"), "{headers:?}: {second:?}");
            assert_eq!(scene.count(), 2, "{headers:?}");
        } else {
            assert!(said.is("hit"), "{headers:?}: {second:?}");
            let age = second.header("age").and_then(|age| age.parse::<i64>().ok());
            assert!(age.is_some_and(|age| age >= least_age), "{headers:?}: {second:?}");
            assert_eq!(scene.count(), 1, "{headers:?}");
        }
    }
}

#[test]
fn an_object_that_is_not_for_shared_caches_bypasses_the_cache() {
    for control in ["no-store", "private", "max-age=60, no-store", "Private, max-age=60"] {
        let scene = Scene::start(tile("one", &[("Cache-Control", control)]));
        let gateway = with_cache(&scene.url()).start();
        let first = gateway.object("sky/a.png");
        assert_eq!((first.status(), first.text()), (200, "one"), "{control}");
        assert_eq!(status(&first), "s3proxy; fwd=miss", "{control}");
        let found_out = scene.count();
        scene.now(tile("two", &[("Cache-Control", control)]));
        for nth in 1..=2 {
            let answer = gateway.object("sky/a.png");
            assert_eq!((answer.text(), status(&answer)), ("two", "s3proxy; fwd=miss"), "{control}");
            assert_eq!(scene.count(), found_out + nth, "{control}: one request for each");
        }
        // The log line describes the request by which the client got its bytes.
        let line = gateway.line_of(&gateway.object("sky/a.png"));
        assert_eq!(
            (&line["upstream_status"], &line["upstream_attempts"]),
            (&json!(200), &json!(1))
        );
    }
}
