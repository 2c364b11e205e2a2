//! Requests from pages of other origins: no permission unless configured, and then only for the
//! listed origins.

use serde_json::json;

use crate::client;
use crate::faulty::{self, Faulty};
use crate::gateway::{Gateway, Setup};

const PORTAL: &str = "https://portal.example.org";
const OBJECT: &str = "/s3proxy/s3/sky/a.png";

fn preflight(gateway: &Gateway, origin: &str, method: &str) -> client::Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "range, if-none-match"),
    ];
    gateway.send("OPTIONS", OBJECT, &headers)
}

#[test]
fn without_configuration_no_answer_has_cors_headers() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    assert_eq!(preflight(&gateway, PORTAL, "GET").status(), 405);
    for path in ["/", OBJECT, "/foo", "/s3proxy/s3/sky/a.exe"] {
        let answer = gateway.send("GET", path, &[("Origin", PORTAL)]);
        let names = answer.head.names();
        let about_cors = names.iter().any(|n| n.starts_with("access-control-"));
        let varies = answer.header("vary").is_some_and(|vary| vary.contains("Origin"));
        assert!(!about_cors && !varies, "{path}: {names:?}");
    }
}

#[test]
fn a_listed_origin_may_read_every_answer() {
    let upstream = Faulty::scripted(|request, _| match request.target.as_str() {
        "/sky/a.png" if request.header("range").is_some() => {
            let mut headers = faulty::OBJECT_HEADERS.to_vec();
            headers.push(("Content-Range", "bytes 0-3/4"));
            faulty::answer(206, &headers, b"tile")
        }
        "/sky/a.png" => faulty::object(b"tile"),
        _ => faulty::s3_error(404, "NoSuchKey"),
    });
    let gateway = Setup::new(&upstream.url())
        .yaml(json!({"cors": {"origins": [PORTAL, "https://other.example.org"]}}))
        .start();
    for (path, headers, status) in [
        (OBJECT, &[][..], 200),
        (OBJECT, &[("Range", "bytes=0-3")], 206),
        (OBJECT, &[("If-None-Match", "*")], 304),
        ("/s3proxy/s3/sky/missing.png", &[], 404),
        ("/s3proxy/s3/sky/a.exe", &[], 415),
        ("/s3proxy/s3/sky/..", &[], 400),
    ] {
        for method in ["GET", "HEAD"] {
            let mut with_origin = headers.to_vec();
            with_origin.push(("Origin", PORTAL));
            let answer = gateway.send(method, path, &with_origin);
            if method == "GET" {
                assert_eq!(answer.status(), status, "{path} {headers:?}");
            }
            let what = format!("{method} {path} {headers:?}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(PORTAL), "{what}");
            let vary = if status >= 400 { "Accept, Origin" } else { "Origin" };
            assert_eq!(answer.header("vary"), Some(vary), "{what}");
            let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
            let exposed = exposed.to_ascii_lowercase();
            for name in ["etag", "content-range", "accept-ranges", "content-length", "cache-status"]
            {
                assert!(
                    exposed.split(',').any(|e| e.trim() == name),
                    "{what}: {name} in {exposed}"
                );
            }
        }
    }
}

#[test]
fn other_origins_and_none_get_no_permission() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).yaml(json!({"cors": {"origins": [PORTAL]}})).start();
    for origin in [
        "https://evil.example.org",
        "https://portal.example.org.evil.test",
        "http://portal.example.org",
        "https://portal.example.org:8443",
        "null",
    ] {
        let answer = gateway.send("GET", OBJECT, &[("Origin", origin)]);
        assert_eq!(answer.status(), 200, "{origin}: the answer is only hidden by the browser");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        assert_eq!(preflight(&gateway, origin, "GET").header("access-control-allow-origin"), None);
    }
    let answer = gateway.get(OBJECT);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("vary"), Some("Origin"), "caches must keep the two apart");
}

#[test]
fn the_gateway_answers_a_preflight() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .env("S3PROXY_REQUIRE_USER", "true")
        .yaml(json!({"cors": {"origins": [PORTAL]}}))
        .start();
    let answer = preflight(&gateway, PORTAL, "GET");
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.text(), "");
    assert_eq!(answer.header("access-control-allow-origin"), Some(PORTAL));
    let methods = answer.header("access-control-allow-methods").unwrap_or_default();
    assert!(methods.contains("GET") && methods.contains("HEAD"), "{methods}");
    assert!(!methods.contains("PUT") && !methods.contains('*'), "{methods}");
    let headers = answer.header("access-control-allow-headers").unwrap_or_default();
    assert!(headers.to_ascii_lowercase().contains("range"), "{headers}");
    assert_eq!(spy.count(), 0);
}

#[test]
fn a_star_admits_everyone() {
    let spy = Faulty::spy();
    for origins in [json!(["*"]), json!("*")] {
        let gateway = Setup::new(&spy.url()).yaml(json!({"cors": {"origins": origins}})).start();
        let answer = gateway.send("GET", OBJECT, &[("Origin", "https://anyone.test")]);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}
