//! What a browser is shown: the landing page, pages of errors, the documentation, and what they load.
//! Every other client gets what s3proxy 2.0.1 answered.

use serde_json::json;

use crate::client::Answer;
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn open(gateway: &Gateway, path: &str) -> Answer {
    gateway.send("GET", path, &[BROWSER])
}

#[track_caller]
fn assert_is_page(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{answer:?}");
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("set-cookie"), None);
    let page = answer.text();
    for part in ["<!DOCTYPE html>", "<html lang=\"en\">", "name=\"viewport\"", "<main>", "<h1>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for inline in ["<script", "style=", "<style", "onclick", "src="] {
        assert!(!page.contains(inline), "{inline}: {page}");
    }
}

#[test]
fn the_landing_page_names_listed_profiles_alone() {
    let origin = Origin::start();
    let gateway = Setup::new(&origin.url())
        .profile("public", &origin.url())
        .profile("embargo", &origin.url())
        .profile_settings(
            "public",
            &json!({ "listed": true, "listing": true, "buckets": ["sky", "dp*"] }),
        )
        .start();
    for path in ["/", "/s3proxy/"] {
        let page = open(&gateway, path);
        assert_eq!(page.status(), 200, "{path}");
        assert_is_page(&page);
        assert_eq!(page.header("vary"), Some("Accept"));
        let text = page.text();
        assert!(text.contains("<a href=\"/s3proxy/s3/public@sky/\">sky</a>"), "{text}");
        assert!(text.contains("http://gateway.test/s3proxy/s3/profile@bucket/"), "{text}");
        assert!(!text.contains("embargo") && !text.contains("dp*"), "{text}");
        // As 2.0.1 answered.
        for accept in ["*/*", "application/json", "application/json, text/html;q=0.9"] {
            let json = gateway.send("GET", path, &[("Accept", accept)]);
            assert_eq!(json.header("content-type"), Some("application/json"), "{accept}");
        }
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_browser_is_shown_errors_as_pages_and_programs_get_json() {
    let origin = Origin::start();
    for cache in ["64MiB", "0"] {
        let gateway = Setup::new(&origin.url()).env("S3PROXY_CACHE_MEMORY", cache).start();
        for (path, status, cause) in [
            ("/s3proxy/s3/sky/none.png", 404, "object_not_found"),
            ("/s3proxy/s3/sky/%3Cscript%3E.png", 404, "object_not_found"),
            ("/s3proxy/s3/sky/a.exe", 415, "media_type_denied"),
            ("/s3proxy/s3/sky/../a.png", 400, "address_invalid"),
            ("/s3proxy/s3/none@sky/a.png", 404, "profile_unknown"),
            ("/none", 404, "route_unknown"),
        ] {
            let page = open(&gateway, path);
            assert_eq!(page.status(), status, "{path}");
            assert_is_page(&page);
            let text = page.text();
            assert!(text.contains(cause), "{path}: {text}");
            assert!(text.contains(page.request_id()), "{path}: {text}");
            let program = gateway.get(path);
            assert_eq!(program.status(), status, "{path}");
            assert_eq!(program.header("content-type"), Some("application/json"), "{path}");
            assert_eq!(program.json()["cause"], cause, "{path}");
        }
    }
}

/// Only the pages said that there is another answer: a cache gave the JSON of a program to browsers.
#[test]
fn every_answer_that_depends_on_accept_says_so_and_no_other_does() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    origin.put("d/b.png", "tile");
    let setup = Setup::new(&origin.url()).yaml(json!({
        "default_profile": { "listing": true },
        "cors": { "origins": ["https://portal.example.org"] },
    }));
    let gateway = setup.start();
    for (path, expected) in [
        ("/", "Accept, Origin"),
        ("/s3proxy/", "Accept, Origin"),
        ("/s3proxy/s3/sky/d/", "Accept, Origin"),
        ("/s3proxy/s3/sky/d", "Accept, Origin"),
        ("/s3proxy/s3/sky/none.png", "Accept, Origin"),
        ("/s3proxy/s3/sky/a.exe", "Accept, Origin"),
        ("/none", "Accept, Origin"),
        ("/s3proxy/s3/sky/a.png", "Origin"),
        ("/s3proxy", "Origin"),
        ("/s3proxy/docs", "Origin"),
        ("/s3proxy/openapi.json", "Origin"),
    ] {
        for accept in ["text/html", "application/json", "*/*"] {
            for method in ["GET", "HEAD"] {
                let answer = gateway.send(method, path, &[("Accept", accept)]);
                assert_eq!(answer.header("vary"), Some(expected), "{method} {path} {accept}");
            }
        }
    }
}

/// The reader was told that the address of a folder ends with a slash, and it did.
#[test]
fn the_page_of_a_folder_that_is_not_listed_says_what_the_operator_can_set() {
    let origin = Origin::start();
    let gateway = Setup::new(&origin.url()).start();
    let page = open(&gateway, "/s3proxy/s3/sky/survey/");
    assert_eq!(page.status(), 415);
    for part in ["lists no folders of this profile.", "listing: true", "ask the operator"] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    let page = open(&gateway, "/s3proxy/s3/sky/a.exe");
    assert!(page.text().contains("allow its media type"), "{}", page.text());
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_sentences_of_an_error_page_end_with_a_full_stop() {
    let origin = Origin::start();
    let gateway = Setup::new(&origin.url()).start();
    for path in ["sky/none.png", "sky/a.exe", "sky/../a.png", "none@sky/a.png", "sky/folder/"] {
        let page = open(&gateway, &format!("/s3proxy/s3/{path}"));
        let sentences: Vec<&str> = page
            .text()
            .split("<p>")
            .skip(1)
            .filter_map(|rest| rest.split_once("</p>"))
            .map(|(sentence, _)| sentence)
            .take(2)
            .collect();
        assert_eq!(sentences.len(), 2, "{path}: {}", page.text());
        for sentence in sentences {
            assert!(sentence.ends_with('.') && !sentence.ends_with(".."), "{path}: {sentence}");
        }
    }
}

#[test]
fn a_failing_store_is_not_blamed_on_the_reader() {
    let gateway = Setup::new("http://127.0.0.1:9").start();
    let page = open(&gateway, "/s3proxy/s3/sky/a.png");
    assert_eq!(page.status(), 502);
    assert_is_page(&page);
    assert!(page.text().contains("nothing is wrong with your request"), "{}", page.text());
    gateway.expect_log("the failed store", |line| line["cause"] == "upstream_unreachable");
}

#[test]
fn what_a_page_loads_is_served_for_ever_under_the_hash_of_its_content() {
    let gateway = Setup::new("http://127.0.0.1:9").start();
    let page = open(&gateway, "/");
    let loaded: Vec<&str> = page
        .text()
        .split("<link")
        .skip(1)
        .filter_map(|link| link.split("href=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(loaded.len(), 2);
    for path in loaded {
        let asset = gateway.get(path);
        assert_eq!(asset.status(), 200, "{path}");
        assert!(asset.header("cache-control").is_some_and(|it| it.contains("immutable")));
        let etag = asset.header("etag").expect("an ETag");
        let known = gateway.send("GET", path, &[("If-None-Match", etag)]);
        assert_eq!((known.status(), known.body.len()), (304, 0), "{path}");
    }
    assert_eq!(gateway.get("/s3proxy/assets/page.css").status(), 404);
}

#[test]
fn the_documentation_names_the_host_that_the_client_used() {
    let gateway = Setup::new("http://127.0.0.1:9").start();
    let proxied = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.7")];
    let docs = gateway.send("GET", "/s3proxy/docs", &proxied);
    assert_is_page(&docs);
    assert!(docs.text().contains("https://gateway.test/s3proxy/s3/"), "{}", docs.text());
    let api = gateway.send("GET", "/s3proxy/openapi.json", &proxied).json();
    assert_eq!(api["servers"][0]["url"], "https://gateway.test");
    let object = &api["paths"]["/s3proxy/s3/{bucket}/{key}"]["get"];
    let text = object.to_string();
    for told in ["multipart/byteranges", "continuation-token", "Folder"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}
