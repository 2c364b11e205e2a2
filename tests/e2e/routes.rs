//! Every route except objects: metadata, documentation, redirects, refusals, and the order of the
//! checks.

use serde_json::json;

use crate::client::{self, Ending, Fate, PATIENCE};
use crate::faulty::Faulty;
use crate::gateway::{Gateway, Setup};

/// In `detail`, as s3proxy 2.0.1 had it.
const USER_MISSING: &str = r#"[{"type":"missing","loc":["header","x-auth-request-user"],"msg":"Field required","input":null}]"#;

/// A gateway whose store must receive no request.
fn without_store() -> Gateway {
    Setup::new("http://127.0.0.1:9").start()
}

fn metadata(name: &str) -> String {
    format!(
        "{{\"name\":\"{name}\",\"version\":\"{}\",\
         \"description\":\"An HTTP server exposing data in one or more S3 buckets\",\
         \"repository_url\":\"https://github.com/lsst-dm/s3proxy\",\
         \"documentation_url\":\"https://s3proxy.lsst.io\"}}",
        env!("CARGO_PKG_VERSION")
    )
}

#[test]
fn the_root_and_the_prefix_answer_metadata_byte_for_byte() {
    let gateway = Setup::new("http://127.0.0.1:9").env("S3PROXY_NAME", "tiles").start();
    let root = gateway.get("/");
    assert_eq!(root.status(), 200);
    assert_eq!(root.header("content-type"), Some("application/json"));
    assert_eq!(root.text(), metadata("tiles"));
    let index = gateway.get("/s3proxy/");
    assert_eq!(index.status(), 200);
    assert_eq!(index.header("content-type"), Some("application/json"));
    assert_eq!(index.text(), format!("{{\"metadata\":{}}}", metadata("tiles")));
}

#[test]
fn the_name_is_s3proxy_unless_configured() {
    let gateway = Setup::new("http://127.0.0.1:9").unnamed().start();
    assert_eq!(gateway.get("/").text(), metadata("s3proxy"));
}

#[test]
fn openapi_describes_the_real_routes() {
    let gateway = without_store();
    let answer = gateway.get("/s3proxy/openapi.json");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert!(document["openapi"].as_str().is_some_and(|v| v.starts_with("3.")), "{document}");
    let paths = document["paths"].as_object().expect("paths");
    let object = paths.keys().find(|p| p.starts_with("/s3proxy/s3/{bucket}/{key"));
    let object = object.unwrap_or_else(|| panic!("the object route among {:?}", paths.keys()));
    assert!(paths[object]["get"].is_object() && paths[object]["head"].is_object());
    // The list of surveys is there if profiles have any: hips_list.rs.
    for path in paths.keys().filter(|path| !path.ends_with("/hipslist")) {
        let concrete = path.replace("{bucket}", "sky").split('{').next().unwrap_or("").to_owned();
        let answer = gateway.get(&concrete);
        assert!(!answer.text().contains("route_unknown"), "{path} is documented, not served");
    }
}

#[test]
fn the_docs_work_without_the_internet() {
    let gateway = without_store();
    for path in ["/s3proxy/docs", "/s3proxy/redoc"] {
        let answer = gateway.get(path);
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        let page = answer.text().to_ascii_lowercase();
        for loads in ["src=\"http", "src=\"//", "src='http", "url(http", "@import", "<script"] {
            assert!(!page.contains(loads), "{path} loads something: {loads}");
        }
        for link in page.split("<link").skip(1) {
            assert!(link.contains("href=\"/s3proxy/assets/"), "{path} loads something: {link}");
        }
        assert!(page.contains("/s3/"), "{path} describes the object route");
    }
}

#[test]
fn missing_and_extra_slashes_are_redirected() {
    let gateway = without_store();
    for (path, location) in [
        ("/s3proxy", "http://gateway.test/s3proxy/"),
        ("/s3proxy/s3/sky", "http://gateway.test/s3proxy/s3/sky/"),
        ("/s3proxy/s3/sky?a=b&c", "http://gateway.test/s3proxy/s3/sky/?a=b&c"),
        ("/s3proxy/docs/", "http://gateway.test/s3proxy/docs"),
        ("/s3proxy/redoc/", "http://gateway.test/s3proxy/redoc"),
        ("/s3proxy/openapi.json/", "http://gateway.test/s3proxy/openapi.json"),
    ] {
        let answer = gateway.get(path);
        assert_eq!(answer.status(), 307, "{path}");
        assert_eq!(answer.header("location"), Some(location), "{path}");
    }
}

#[test]
fn redirects_trust_the_forwarded_scheme_only_with_an_address() {
    let gateway = without_store();
    for (headers, scheme) in [
        (vec![("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.7")], "https"),
        (vec![("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "x, 2001:db8::1")], "https"),
        (vec![("X-Forwarded-Proto", "https")], "http"),
        (vec![("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "unknown")], "http"),
        (vec![("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Host", "evil.test")], "http"),
    ] {
        let answer = gateway.send("GET", "/s3proxy", &headers);
        let location = format!("{scheme}://gateway.test/s3proxy/");
        assert_eq!(answer.header("location"), Some(location.as_str()), "{headers:?}");
    }
    let hostile = [("X-Forwarded-Proto", "javascript"), ("X-Forwarded-For", "192.0.2.7")];
    let answer = gateway.send("GET", "/s3proxy", &hostile);
    assert_eq!(answer.header("location"), Some("http://gateway.test/s3proxy/"));
}

#[test]
fn every_other_path_is_not_found() {
    let gateway = without_store();
    for path in [
        "/foo",
        "/s3proxy/s3",
        "/s3proxy/s3/",
        "/s3proxy//s3/b/k.png",
        "//s3proxy/",
        "/S3PROXY/",
        "/docs",
        "/openapi.json",
        "/s3proxyx/",
        "/metrics",
        "/healthz",
        "/favicon.ico",
    ] {
        let answer = gateway.get(path);
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.refused("route_unknown", "detail"), "Not Found", "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
}

#[test]
fn an_empty_bucket_never_reaches_the_store() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).profile("hips", &spy.url()).start();
    for path in ["/s3proxy/s3//k.png", "/s3proxy/s3/hips@/k.png"] {
        let answer = gateway.get(path);
        assert!(matches!(answer.status(), 400 | 404), "{path}: {answer:?}");
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn the_prefix_is_configurable() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).env("S3PROXY_PATH_PREFIX", "/api/tiles").start();
    assert_eq!(gateway.get("/api/tiles/").status(), 200);
    assert_eq!(gateway.get("/api/tiles/s3/sky/a.png").status(), 200);
    assert_eq!(gateway.get("/s3proxy/").refused("route_unknown", "detail"), "Not Found");
    let location = gateway.get("/api/tiles").header("location").map(str::to_owned);
    assert_eq!(location.as_deref(), Some("http://gateway.test/api/tiles/"));
    assert_eq!(spy.count(), 1);
}

#[test]
fn only_get_and_head_are_allowed() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE", "PROPFIND", "get"] {
        for path in ["/", "/s3proxy/", "/s3proxy/docs", "/s3proxy/s3/sky/a.png"] {
            let answer = client::send(gateway.address, method, path, &[]);
            assert_eq!(answer.status(), 405, "{method} {path}");
            let detail = answer.refused("method_not_allowed", "detail");
            assert_eq!(detail, "Method Not Allowed", "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
        assert_eq!(client::send(gateway.address, method, "/foo", &[]).status(), 404, "{method}");
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn a_required_user_is_asked_for_with_the_old_body() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).env("S3PROXY_REQUIRE_USER", "true").start();
    for path in ["/s3proxy/", "/s3proxy/s3/sky/a.png"] {
        let answer = gateway.get(path);
        assert_eq!(answer.status(), 422, "{path}");
        assert_eq!(answer.refused("user_missing", "detail").to_string(), USER_MISSING, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    assert_eq!(spy.count(), 0);
    for path in ["/", "/s3proxy/openapi.json", "/s3proxy/docs"] {
        assert_eq!(gateway.get(path).status(), 200, "{path} requires no user");
    }
    for headers in [
        vec![("X-Auth-Request-User", "ada")],
        vec![("X-Auth-Request-User", "")],
        vec![("X-Auth-Request-User", "ada"), ("X-Auth-Request-User", "grace")],
    ] {
        let answer = gateway.object_with("sky/a.png", &headers);
        assert_eq!(answer.status(), 200, "{headers:?}");
    }
}

#[test]
fn the_user_is_optional_unless_required() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    assert_eq!(gateway.get("/s3proxy/").status(), 200);
    assert_eq!(gateway.object("sky/a.png").status(), 200);
}

#[test]
fn checks_come_in_the_old_order() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).env("S3PROXY_REQUIRE_USER", "true").start();
    let user = [("X-Auth-Request-User", "ada")];
    for (method, path, headers, status) in [
        ("POST", "/s3proxy/nothing", &[][..], 404),
        ("POST", "/s3proxy/s3/sky/a.exe", &[][..], 405),
        ("GET", "/s3proxy/s3/sky/a.exe", &[][..], 422),
        ("GET", "/s3proxy/s3/sky/a.exe", &user[..], 415),
        ("GET", "/s3proxy/s3/sky/a.png", &user[..], 200),
    ] {
        let answer = client::send(gateway.address, method, path, headers);
        assert_eq!(answer.status(), status, "{method} {path} {headers:?}");
    }
    assert_eq!(spy.count(), 1, "only the last one was for the store");
}

#[test]
fn an_unknown_profile_is_not_found_and_named() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let answer = gateway.object("hips@sky/a.png");
    assert_eq!(answer.status(), 404);
    let body = answer.json();
    assert!(body["message"].as_str().is_some_and(|m| m.contains("hips")), "{body}");
    assert_eq!(spy.count(), 0);
}

#[test]
fn new_refusals_are_json_with_a_cause_and_the_request_id() {
    let gateway = without_store();
    let answer = gateway.object("sky/a/../b.png");
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    assert!(body["cause"].as_str().is_some_and(|c| !c.is_empty()), "{body}");
    assert_eq!(body["request_id"], json!(answer.request_id()), "{body}");
}

#[test]
fn head_has_the_headers_of_get_on_every_route() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for path in [
        "/",
        "/s3proxy",
        "/s3proxy/",
        "/s3proxy/docs",
        "/s3proxy/openapi.json",
        "/foo",
        "/s3proxy/s3/sky/a.exe",
        "/s3proxy/s3/sky/..",
        "/s3proxy/s3/sky/",
    ] {
        crate::objects::assert_head_is_get(&gateway, path, &[]);
    }
}

#[test]
fn a_connection_of_http_1_0_is_kept_when_asked_for_in_any_case() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for path in ["/", "/s3proxy/s3/sky/a.png", "/no-such-page"] {
        for value in ["keep-alive", "Keep-Alive", "KEEP-ALIVE", "foo, Keep-Alive"] {
            let mut client = gateway.connect();
            for _ in 0..3 {
                client.send(format!("GET {path} HTTP/1.0\r\nConnection: {value}\r\n\r\n"));
                let answer = client.answer("GET");
                let answer = answer.unwrap_or_else(|| panic!("{path} {value}: closed"));
                assert_eq!(answer.ending, Ending::Whole, "{path} {value}");
                let kept = answer.header("connection").unwrap_or_default().to_ascii_lowercase();
                assert_eq!(kept, "keep-alive", "{path} {value}: {answer:?}");
            }
        }
        let mut client = gateway.connect();
        client.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert!(client.answer("GET").is_some(), "{path}");
        assert_ne!(client.fate(PATIENCE), Fate::Open, "{path}: kept unasked");
    }
}

#[test]
fn a_redirect_without_a_host_names_a_path_alone() {
    let gateway = without_store();
    for (head, location) in [
        ("GET /s3proxy HTTP/1.0\r\n", "/s3proxy/"),
        ("GET /s3proxy/s3/sky?a=b HTTP/1.0\r\n", "/s3proxy/s3/sky/?a=b"),
        ("GET /s3proxy HTTP/1.1\r\nHost:\r\nConnection: close\r\n", "/s3proxy/"),
    ] {
        let mut client = gateway.connect();
        client.send(format!("{head}\r\n"));
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.status(), 307, "{head:?}");
        assert_eq!(answer.header("location"), Some(location), "{head:?}");
    }
}
