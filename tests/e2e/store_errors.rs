//! Errors of a store that say nothing about the object: no answer "not found" is made of them, and no
//! cached object is lost.

use serde_json::json;

use crate::admin::Admin;
use crate::cached::{status, with_cache};
use crate::faulty::{self, Faulty, Step};
use crate::gateway::Setup;
use crate::scene::{Scene, tile};

const REJECTIONS: [&str; 4] =
    ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "InvalidObjectState"];

/// 404 of a load balancer without a back end.
fn no_back_end() -> Vec<Step> {
    faulty::answer(404, &[("Content-Type", "text/plain; charset=utf-8")], b"default backend - 404")
}

fn lenient(setup: Setup) -> Setup {
    setup.tolerate("upstream_forbidden").tolerate("upstream_error").yaml(json!({
        "profiles": {"hips": {"missing_on_403": true}},
        "upstream": {"retries": 0},
    }))
}

#[test]
fn a_rejected_access_key_is_not_answered_as_a_missing_object() {
    for cached in [false, true] {
        let scene = Scene::start(Vec::new());
        let url = scene.url();
        let setup = if cached { with_cache(&url) } else { Setup::new(&url) };
        let (setup, admin) = Admin::of(lenient(setup.profile("hips", &url)));
        let gateway = setup.start();
        for code in REJECTIONS {
            scene.now_by(move |request| match request.method.as_str() {
                "HEAD" => faulty::answer(403, &[("x-amz-request-id", "tx1")], b""),
                _ => faulty::s3_error(403, code),
            });
            for method in ["GET", "HEAD", "GET"] {
                let answer = gateway.send(method, "/s3proxy/s3/hips@sky/a.png", &[]);
                assert_eq!(answer.status(), 403, "{method} {code}, cached: {cached}");
                let line = gateway.line_of(&answer);
                assert_eq!(line["cause"], "upstream_forbidden", "{line}");
                assert_eq!(line["upstream_code"], code, "{line}");
            }
            let profiles = admin.send("GET", "/profiles").json();
            let text = profiles.to_string();
            assert!(text.contains(code), "cached: {cached}: {text}");
        }
        // The permission to list is missing: the object is missing.
        scene.now_by(|request| match request.method.as_str() {
            "HEAD" => faulty::answer(403, &[("x-amz-request-id", "tx1")], b""),
            _ => faulty::s3_error(403, "AccessDenied"),
        });
        for method in ["HEAD", "GET"] {
            let path = "/s3proxy/s3/hips@sky/a.png";
            let answer = gateway.send(method, path, &[]);
            assert_eq!(answer.status(), 404, "{method}, cached: {cached}");
            gateway.line_of(&answer);
        }
    }
}

#[test]
fn a_404_that_the_store_did_not_write_is_not_answered_as_a_missing_object() {
    let upstream = Faulty::scripted(|_, _| no_back_end());
    for cached in [false, true] {
        let url = upstream.url();
        let setup = if cached { with_cache(&url) } else { Setup::new(&url) };
        let gateway = setup.tolerate("upstream_error").start();
        let answer = gateway.object("sky/a.png");
        assert_eq!(answer.status(), 502, "cached: {cached}");
        assert_eq!(gateway.line_of(&answer)["cause"], "upstream_error");
    }
}

#[test]
fn an_error_that_says_nothing_about_the_object_leaves_it_in_the_cache() {
    let scene = Scene::start(Vec::new());
    let rules = json!({"cache": {"ttl": 0, "stale_while_revalidate": 0}});
    for profile in ["", "hips@"] {
        for (failure, cause) in REJECTIONS
            .map(|code| (faulty::s3_error(403, code), "upstream_forbidden"))
            .into_iter()
            .chain([
                (faulty::s3_error(401, "Unauthorized"), "upstream_forbidden"),
                (faulty::answer(403, &[], b""), "upstream_forbidden"),
                (faulty::s3_error(400, "ExpiredToken"), "upstream_error"),
                (faulty::answer(307, &[("Location", "/")], b""), "upstream_redirect"),
                (no_back_end(), "upstream_error"),
            ])
        {
            scene.now(tile("old", &[("ETag", "\"a\"")]));
            let setup = lenient(with_cache(&scene.url()).profile("hips", &scene.url()));
            let gateway = setup.yaml(rules.clone()).tolerate("upstream_redirect").start();
            let object = format!("{profile}sky/a.png");
            gateway.object(&object);
            scene.now(failure);
            for _ in 0..2 {
                let answer = gateway.object(&object);
                assert_eq!((answer.status(), answer.text()), (200, "old"), "{cause}");
                assert!(status(&answer).contains("detail=stale-if-error"), "{answer:?}");
                assert_eq!(gateway.line_of(&answer)["cause"], cause);
            }
            scene.now(faulty::s3_error(404, "NoSuchBucket"));
            assert_eq!(gateway.object(&object).status(), 404, "the store says that it is gone");
        }
    }
}
