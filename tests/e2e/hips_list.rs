//! The list of surveys: what it says of each, where it is off, and what it costs the store.

use std::time::Instant;

use serde_json::{Value, json};

use crate::cached::with_cache;
use crate::client::{Answer, PATIENCE};
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::surveys::PROPERTIES;

const LIST: &str = "/s3proxy/hipslist";

fn setup(origin: &Origin, profile: &Value) -> Setup {
    with_cache(&origin.url()).profile("hips", &origin.url()).profile_settings("hips", profile)
}

fn origin() -> Origin {
    let origin = Origin::start();
    origin.put("dp1/properties", PROPERTIES);
    origin.put("a b/properties", PROPERTIES.replace("/few", "/other"));
    origin
}

/// The records, each as its keywords and values.
fn records(list: &Answer) -> Vec<Vec<(&str, &str)>> {
    list.text()
        .split("\n\n")
        .map(|record| record.lines().filter_map(|line| line.split_once(" = ")))
        .map(|record| record.map(|(keyword, value)| (keyword.trim_end(), value)).collect())
        .filter(|record: &Vec<_>| !record.is_empty())
        .collect()
}

fn value<'a>(record: &[(&str, &'a str)], keyword: &str) -> Option<&'a str> {
    record.iter().find(|(known, _)| *known == keyword).map(|(_, value)| *value)
}

#[test]
fn surveys_are_listed_with_the_urls_of_the_gateway() {
    let origin = origin();
    let profile = json!({ "listed": true, "surveys": ["sky/dp1/", "sky/a b/", "sky/now/"] });
    let aliases = json!({ "aliases": { "hips@sky/now/": "hips@sky/dp1/" } });
    let gateway = setup(&origin, &profile).yaml(aliases).start();
    let list = gateway.get(LIST);
    assert_eq!(list.status(), 200, "{list:?}");
    assert_eq!(list.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(list.header("cache-control"), Some("max-age=60"));
    let records = records(&list);
    let urls: Vec<_> = records.iter().map(|it| value(it, "hips_service_url")).collect();
    let base = "http://gateway.test/s3proxy/s3/hips@sky";
    let expected = ["dp1", "a%20b", "now"].map(|name| format!("{base}/{name}"));
    assert_eq!(urls, expected.iter().map(|url| Some(url.as_str())).collect::<Vec<_>>());
    for (keyword, said) in [
        ("creator_did", "ivo://example/P/few"),
        ("hips_release_date", "2025-07-01T12:00Z"),
        ("hips_status", "private master clonableOnce"),
        ("obs_title", "A few cells"),
        ("hips_frame", "equatorial"),
        ("hips_order", "5"),
        ("hips_tile_format", "png fits"),
    ] {
        assert_eq!(value(&records[0], keyword), Some(said), "{keyword}");
    }
    // Each URL is that of a survey.
    for url in expected {
        let path = url.strip_prefix("http://gateway.test").expect("of the gateway");
        assert_eq!(gateway.get(&format!("{path}/properties")).status(), 200, "{url}");
    }
    // Behind a proxy that ends TLS.
    let forwarded = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")];
    let list = gateway.send("GET", LIST, &forwarded);
    assert!(list.text().contains("= https://gateway.test/s3proxy/s3/hips@sky/dp1\n"), "{list:?}");
}

#[test]
fn the_list_is_read_through_the_cache_and_revalidated_by_clients() {
    let origin = origin();
    let profile = json!({ "listed": true, "surveys": ["sky/dp1/", "sky/a b/"] });
    let setup = setup(&origin, &profile);
    let gateway = setup.yaml(json!({ "cors": { "origins": ["*"] } })).start();
    let first = gateway.send("GET", LIST, &[("Origin", "https://viewer.example")]);
    assert_eq!(first.header("access-control-allow-origin"), Some("*"));
    let tag = first.header("etag").expect("a tag").to_owned();
    let again = gateway.send("GET", LIST, &[("If-None-Match", &tag)]);
    assert_eq!((again.status(), again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(tag.as_str()));
    let head = gateway.send("HEAD", LIST, &[]);
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(first.body.len().to_string().as_str()));
    assert_eq!(origin.count(), 2, "once for each survey: {:?}", origin.requests());
    assert_eq!(gateway.send("POST", LIST, &[]).status(), 405);
}

#[test]
fn a_survey_without_properties_is_left_out_and_the_others_are_listed() {
    let origin = origin();
    origin.put("bare/properties", "hips_order = 3\n");
    origin.put("page/properties", "<html>");
    let surveys = ["sky/none/", "sky/bare/", "sky/page/", "sky/dp1/"];
    for memory in ["64MiB", "0"] {
        let profile = json!({ "listed": true, "surveys": surveys });
        let gateway = setup(&origin, &profile).env("S3PROXY_CACHE_MEMORY", memory).start();
        let list = gateway.get(LIST);
        assert_eq!((list.status(), records(&list).len()), (200, 1), "{list:?}");
        for comment in [
            "# s3://hips@sky/none/ is left out: properties: object_not_found\n",
            "# s3://hips@sky/bare/ is left out: no creator_did, hips_release_date, hips_status\n",
            "# s3://hips@sky/page/ is left out: no creator_did",
        ] {
            assert!(list.text().contains(comment), "{comment} in {list:?}");
        }
        assert_eq!(list.header("cache-control"), Some("no-cache"), "it may be there soon");
    }
}

#[test]
fn without_surveys_of_a_listed_profile_there_is_no_list() {
    let origin = origin();
    for profile in [json!({}), json!({ "listed": true })] {
        let gateway = setup(&origin, &profile).start();
        assert_eq!(gateway.get(LIST).status(), 404, "{profile}");
    }
    let unlisted = setup(&origin, &json!({ "surveys": ["sky/dp1/"] }));
    let gateway = unlisted.tolerate("has no effect without profiles.hips.listed").start();
    assert_eq!(gateway.get(LIST).status(), 404);
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_list_needs_a_user_where_objects_do() {
    let origin = origin();
    let profile = json!({ "listed": true, "surveys": ["sky/dp1/"] });
    let setup = setup(&origin, &profile);
    let limits = json!({ "require_user": true, "downstream": { "max_requests_per_user": 1 } });
    let gateway = setup.yaml(limits).start();
    assert_eq!(gateway.get(LIST).status(), 422);
    let user = [("X-Auth-Request-User", "somebody")];
    assert_eq!(gateway.send("GET", LIST, &user).status(), 200);
    // The one permit of the user is taken once, and given back when the request has been logged.
    let deadline = Instant::now() + PATIENCE;
    while gateway.send("GET", LIST, &user).status() != 200 {
        assert!(Instant::now() < deadline, "the permit is not given back");
    }
}
