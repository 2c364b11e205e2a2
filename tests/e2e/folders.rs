//! Folders: their index object, their listing, the redirect to them, and what each costs the store.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cache_status::Said;
use crate::client::{Answer, Ending};
use crate::faulty::{self, Faulty, Step};
use crate::gateway::{Gateway, Setup};
use crate::origin::{Manners, Object, Origin};
use crate::tally;

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// Folders are listed, and keys of any kind are served.
fn listing(store: &str) -> Setup {
    Setup::new(store).env("S3PROXY_CACHE_MEMORY", "64MiB").yaml(json!({
        "mime": { "also_allow": ["*/*"], "default": "application/octet-stream" },
        "default_profile": { "listing": true },
    }))
}

fn open(gateway: &Gateway, path: &str) -> Answer {
    gateway.send("GET", path, &[BROWSER])
}

/// The links of the table of a page: those to objects and folders.
fn links(page: &str) -> Vec<String> {
    let table = page.split("<tbody>").nth(1).and_then(|rest| rest.split("</tbody>").next());
    let table = table.unwrap_or_else(|| panic!("a table: {page}"));
    let hrefs = table.split("<a href=\"").skip(1).filter_map(|rest| rest.split_once("\">"));
    hrefs
        .filter(|(_, text)| !text.starts_with("Parent Directory"))
        .map(|(href, _)| href.replace("&amp;", "&"))
        .collect()
}

fn next(page: &str) -> Option<String> {
    let link = page.split("rel=\"next\" href=\"").nth(1)?.split('"').next()?;
    Some(link.replace("&amp;", "&"))
}

/// The number of listings that the store was asked for.
fn lists(origin: &Origin) -> usize {
    let is_list = |query: &str| query.contains("list-type=2");
    origin.requests().iter().filter(|request| request.query.as_deref().is_some_and(is_list)).count()
}

/// Keys that other listings lose: 2,500 objects in the folder `h/`.
fn hostile_keys() -> Vec<String> {
    let forms = [
        "plain",
        "<b>",
        "\"q\"",
        "nl\nx",
        "a b",
        "a+b",
        "p%41",
        "q?x=1",
        "h#f",
        "é",
        "e\u{301}",
        "星🔭",
        "'",
        "&amp;",
        "tab\t",
        "a:b",
        "a;b,c@d",
        "\\",
        " lead",
        "trail ",
        "..x",
        "...",
        "%2F",
        "\u{202e}rtl",
        "cr\r",
    ];
    (0..2500).map(|n| format!("h/{}{n:04}", forms[n % forms.len()])).collect()
}

#[test]
fn every_one_of_2500_hostile_keys_is_listed_and_its_link_leads_to_it() {
    let origin = Origin::start();
    let mut keys = hostile_keys();
    // Folders with names that are lost elsewhere, each with an object.
    let below = ["h//x", "h/<d>/x", "h/a b/x", "h/%2F/x", "h/nl\n/x"];
    keys.extend(below.map(str::to_owned));
    for key in &keys {
        origin.put(key, key.as_bytes().to_vec());
    }
    let gateway = listing(&origin.url()).start();
    let mut client = gateway.connect();
    let mut wrong = Vec::new();
    let mut found = BTreeSet::new();
    let mut folders = vec!["/s3proxy/s3/sky/h/".to_owned()];
    let mut pages = 0;
    while let Some(page) = folders.pop() {
        let answer = client.exchange("GET", &page, &[BROWSER]);
        assert_eq!(answer.status(), 200, "{page}: {}", answer.text());
        pages += 1;
        folders.extend(next(answer.text()));
        for link in links(answer.text()) {
            if link.ends_with('/') {
                folders.push(link);
                continue;
            }
            let object = client.exchange("GET", &link, &[]);
            let body = String::from_utf8_lossy(&object.body).into_owned();
            if object.status() != 200 || !keys.contains(&body) {
                wrong.push((link, object.status(), body));
            } else {
                assert!(found.insert(body), "{link} is listed twice");
            }
        }
    }
    tally::add("keys", keys.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(found.len(), keys.len());
    // 2,505 entries in three pages, and five folders.
    assert_eq!((pages, lists(&origin)), (8, 8));

    // The same for a program that follows no next page, and as JSON: from the cache.
    let whole = gateway.object("sky/h/");
    assert_eq!((whole.status(), whole.ending), (200, Ending::Whole));
    assert_eq!(whole.header("transfer-encoding"), Some("chunked"));
    assert_eq!(links(whole.text()).len(), 2505);
    let mut next = Some("/s3proxy/s3/sky/h/?format=json".to_owned());
    let mut named = BTreeSet::new();
    while let Some(page) = next {
        let answer = client.exchange("GET", &page, &[]).json();
        let objects = answer["objects"].as_array().expect("objects").iter();
        named.extend(objects.map(|object| object["key"].as_str().expect("a key").to_owned()));
        next = answer["next"].as_str().map(str::to_owned);
    }
    assert_eq!(named.len(), 2500);
    assert_eq!(lists(&origin), 8, "all pages were fresh");
}

#[test]
fn keys_that_no_url_can_name_are_shown_without_a_link() {
    let origin = Origin::start();
    origin.put("d/../x", "x");
    origin.put("d/.", "x");
    origin.put("d/ok", "x");
    let gateway = listing(&origin.url()).start();
    let page = open(&gateway, "/s3proxy/s3/sky/d/");
    assert_eq!(links(page.text()), ["/s3proxy/s3/sky/d/ok"]);
    assert_eq!(page.text().matches("no URL can name this key").count(), 2, "{}", page.text());
}

#[test]
fn a_crowd_costs_the_store_one_listing() {
    let origin = Origin::start();
    origin.put("d/a.png", "x");
    let gateway = Arc::new(listing(&origin.url()).start());
    let barrier = Arc::new(Barrier::new(16));
    let crowd: Vec<_> = (0..16)
        .map(|_| {
            let (gateway, barrier) = (Arc::clone(&gateway), Arc::clone(&barrier));
            thread::spawn(move || {
                let mut client = gateway.connect();
                barrier.wait();
                client.exchange("GET", "/s3proxy/s3/sky/d/", &[BROWSER]).status()
            })
        })
        .collect();
    for member in crowd {
        assert_eq!(member.join().expect("no panic"), 200);
    }
    assert_eq!(lists(&origin), 1);
    let again = open(&gateway, "/s3proxy/s3/sky/d/");
    assert!(Said::by(&again).is("hit"), "{again:?}");
    assert!(again.header("cache-control").is_some_and(|value| value.starts_with("max-age=")));
}

#[test]
fn a_listing_is_purged_with_its_prefix_and_with_what_is_in_it() {
    let origin = Origin::start();
    let (setup, admin) = Admin::of(listing(&origin.url()));
    let gateway = setup.start();
    admin.await_listening();
    for target in ["sky/a/b/", "sky/a/", "sky/a/b/c.png", "sky/"] {
        origin.put("a/b/c.png", "x");
        admin.purge("sky/");
        let page = open(&gateway, "/s3proxy/s3/sky/a/b/");
        assert_eq!(links(page.text()), ["/s3proxy/s3/sky/a/b/c.png"], "{target}");
        origin.delete("a/b/c.png");
        origin.put("a/b/new.png", "x");
        admin.purge(target);
        let page = open(&gateway, "/s3proxy/s3/sky/a/b/");
        assert_eq!(links(page.text()), ["/s3proxy/s3/sky/a/b/new.png"], "{target}");
        origin.delete("a/b/new.png");
    }
}

#[test]
fn without_permission_the_answer_names_list_bucket() {
    for cache in ["64MiB", "0"] {
        let origin = Origin::with(Manners { may_list: false, ..Manners::rgw() });
        origin.put("d/a.png", "x");
        for lenient in [false, true] {
            let gateway = listing(&origin.url())
                .env("S3PROXY_CACHE_MEMORY", cache)
                .yaml(json!({ "default_profile": { "missing_on_403": lenient } }))
                .start();
            for _ in 0..2 {
                let answer = gateway.object("sky/d/");
                assert_eq!(answer.status(), 403, "{}", answer.text());
                let message = answer.refused("listing_denied", "message").to_string();
                assert!(message.contains("s3:ListBucket"), "{message}");
                gateway.expect_log("the denied listing", |line| line["cause"] == "listing_denied");
            }
            assert_eq!(open(&gateway, "/s3proxy/s3/sky/d/a.png").status(), 200);
        }
    }
}

#[test]
fn a_folder_is_its_index_object_else_its_listing_else_missing() {
    for cache in ["64MiB", "0"] {
        let origin = Origin::start();
        origin.put("hips/index.html", "<p>survey</p>");
        origin.put("hips/Norder3/Dir0/Npix0.png", "tile");
        origin.put("bare/x.png", "x");
        let gateway = listing(&origin.url())
            .env("S3PROXY_CACHE_MEMORY", cache)
            .yaml(json!({ "default_profile": { "index": "index.html" } }))
            .start();
        let index = open(&gateway, "/s3proxy/s3/sky/hips/");
        assert_eq!((index.status(), index.text()), (200, "<p>survey</p>"), "{cache}");
        let listed = open(&gateway, "/s3proxy/s3/sky/hips/Norder3/");
        assert_eq!(links(listed.text()), ["/s3proxy/s3/sky/hips/Norder3/Dir0/"], "{cache}");
        // What is in it is asked for explicitly.
        let listed = gateway.object("sky/hips/?format=json").json();
        assert_eq!(listed["folders"][0]["name"], "Norder3/");
        for (path, to) in [
            ("sky/hips", "sky/hips/"),
            ("sky/hips/Norder3", "sky/hips/Norder3/"),
            ("sky/bare?a=b", "sky/bare/?a=b"),
            ("sky/bare%2F", "sky/bare/"),
        ] {
            let answer = gateway.object(path);
            let location = format!("http://gateway.test/s3proxy/s3/{to}");
            assert_eq!(answer.status(), 307, "{path} {cache}: {}", answer.text());
            assert_eq!(answer.header("location"), Some(location.as_str()), "{path}");
        }
        for path in ["sky/none/", "sky/none", "sky/hips/none"] {
            let answer = gateway.object(path);
            assert_eq!(answer.status(), 404, "{path} {cache}: {}", answer.text());
            answer.refused("object_not_found", "message");
        }
        // A missing tile costs no listing.
        origin.clear();
        assert_eq!(gateway.object("sky/hips/none.png").status(), 404);
        assert_eq!(lists(&origin), 0);
        let head = gateway.send("HEAD", "/s3proxy/s3/sky/bare/", &[]);
        assert_eq!((head.status(), head.body.len()), (200, 0));
    }
}

/// A redirect needs no permission to list where there is no listing.
#[test]
fn an_index_needs_no_list_bucket() {
    for cache in ["64MiB", "0"] {
        let origin = Origin::with(Manners { may_list: true, ..Manners::rgw() });
        origin.put("hips/index.html", "<p>survey</p>");
        let gateway = Setup::new(&origin.url())
            .env("S3PROXY_CACHE_MEMORY", cache)
            .yaml(json!({ "default_profile": { "index": "index.html" } }))
            .start();
        assert_eq!(gateway.object("sky/hips/").text(), "<p>survey</p>", "{cache}");
        assert_eq!(gateway.object("sky/hips").status(), 307, "{cache}");
        assert_eq!(gateway.object("sky/other/").status(), 404, "{cache}");
        assert_eq!(gateway.object("sky/other").status(), 415, "{cache}");
        assert_eq!(lists(&origin), 0);
    }
}

#[test]
fn where_it_is_off_no_store_is_asked_for_a_folder() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for (path, status) in [("sky/", 404), ("sky/hips/", 415), ("sky/hips", 415)] {
        assert_eq!(gateway.object(path).status(), status, "{path}");
        assert_eq!(open(&gateway, &format!("/s3proxy/s3/{path}")).status(), status, "{path}");
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn the_rules_of_objects_hold_for_listings() {
    let origin = Origin::start();
    origin.put_object("secret", "d/a.png", Object::new("x"));
    origin.put("d/a.png", "x");
    origin.put("d/b.exe", "x");
    let gateway = Setup::new(&origin.url())
        .yaml(json!({ "default_profile": { "listing": true, "buckets": ["sky"] } }))
        .start();
    for path in ["secret/", "secret/d/", "secret/d"] {
        assert_eq!(gateway.object(path).status(), 403, "{path}");
    }
    assert_eq!(origin.count(), 0, "an embargoed bucket is never listed");
    let page = open(&gateway, "/s3proxy/s3/sky/d/");
    assert_eq!(links(page.text()), ["/s3proxy/s3/sky/d/a.png"]);
    assert!(page.text().contains("not served here: 1."), "{}", page.text());
    let user = Setup::new(&origin.url())
        .env("S3PROXY_REQUIRE_USER", "true")
        .yaml(json!({ "default_profile": { "listing": true } }))
        .start();
    assert_eq!(user.object("sky/d/").status(), 422);
}

/// An object whose key is the prefix itself is a marker if it is empty, and an object otherwise.
#[test]
fn the_object_with_the_name_of_a_folder_has_a_link() {
    let origin = Origin::start();
    origin.put("d/", "");
    origin.put("d/e/", "content");
    let gateway = listing(&origin.url()).start();
    assert_eq!(links(open(&gateway, "/s3proxy/s3/sky/d/").text()), ["/s3proxy/s3/sky/d/e/"]);
    let found = links(open(&gateway, "/s3proxy/s3/sky/d/e/").text());
    assert_eq!(found, ["/s3proxy/s3/sky/d/e/?object"]);
    assert_eq!(gateway.get(&found[0]).text(), "content");
}

fn xml(inner: &str) -> Vec<Step> {
    let body = format!("<ListBucketResult><Name>sky</Name>{inner}</ListBucketResult>");
    faulty::answer(200, &[("Content-Type", "application/xml")], body.as_bytes())
}

#[test]
fn the_answer_of_a_hostile_store_is_bounded() {
    let flood = vec![b' '; 9 << 20];
    let many = "<Contents><Key>d/x</Key></Contents>".repeat(2001);
    let scripts = [
        ("no XML", faulty::answer(200, &[], b"hello")),
        ("too long", faulty::answer(200, &[], &flood)),
        ("too many keys", xml(&many)),
        ("keys of another folder", xml("<Contents><Key>secret/x</Key></Contents>")),
        ("truncated without a token", xml("<IsTruncated>true</IsTruncated>")),
        ("an entity", xml("<Contents><Key>d/&bomb;</Key></Contents>")),
    ];
    for cache in ["64MiB", "0"] {
        for (what, script) in &scripts {
            let store = Faulty::always(script.clone());
            let gateway = listing(&store.url()).env("S3PROXY_CACHE_MEMORY", cache).start();
            let answer = gateway.object("sky/d/");
            assert_eq!(answer.status(), 502, "{what} {cache}: {}", answer.text());
            answer.refused("upstream_protocol", "message");
            gateway.expect_log("the refused page", |line| line["cause"] == "upstream_protocol");
        }
    }
}

/// Clients that follow no next page must not take a part for the whole.
#[test]
fn a_listing_that_cannot_be_completed_ends_visibly() {
    let object = "<Contents><Key>d/x</Key></Contents>";
    let page = |token: &str| {
        xml(&format!(
            "{object}<IsTruncated>true</IsTruncated>\
             <NextContinuationToken>{token}</NextContinuationToken>"
        ))
    };
    let (same, first, denied) =
        (page("same"), page("first"), faulty::s3_error(403, "AccessDenied"));
    for endless in [true, false] {
        let (same, first, denied) = (same.clone(), first.clone(), denied.clone());
        let store = Faulty::scripted(move |request, _| match request.target.contains("first") {
            _ if endless => same.clone(),
            false => first.clone(),
            true => denied.clone(),
        });
        let gateway = listing(&store.url()).start();
        let answer = gateway.object("sky/d/");
        assert_eq!((answer.status(), answer.ending), (200, Ending::Cut), "{}", answer.text());
        gateway.expect_log("the cut listing", |line| line["cause"] == "upstream_cut");
        // A browser is shown the page, and a link to the next one.
        assert!(next(open(&gateway, "/s3proxy/s3/sky/d/").text()).is_some());
    }
}

#[test]
fn a_token_that_the_store_did_not_make_is_the_fault_of_the_client() {
    let origin = Origin::start();
    origin.put("d/a.png", "x");
    let gateway = listing(&origin.url()).start();
    let long = "t".repeat(2049);
    for token in ["zz", "", &long] {
        let answer = gateway.object(&format!("sky/d/?continuation-token={token}"));
        assert_eq!(answer.status(), 400, "{token}: {}", answer.text());
        answer.refused("address_invalid", "message");
    }
}

/// The signature covers the query, and the keys of SSE-C are no part of a listing.
#[test]
fn a_listing_is_signed_and_carries_no_header_of_objects() {
    let spy = Faulty::always(xml("<Contents><Key>d/a.png</Key></Contents>"));
    let sse = "x-amz-server-side-encryption-customer-key";
    let gateway = Setup::new(&spy.url())
        .yaml(json!({ "default_profile": {
            "listing": true,
            "upstream_headers": { sse: "c2VjcmV0", "x-amz-request-payer": "requester" },
        } }))
        .start();
    assert_eq!(gateway.object("sky/d/").status(), 200);
    let asked = spy.only();
    assert_eq!(
        asked.target,
        "/sky/?delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix=d%2F"
    );
    assert!(asked.header(sse).is_none() && asked.header("x-amz-request-payer").is_some());
    let signed: Vec<String> =
        asked.signed_headers().iter().map(|name| (*name).to_owned()).collect();
    assert!(!signed.contains(&sse.to_owned()), "{signed:?}");
    let _: Value = gateway.object("sky/d/?format=json").json();
}

#[test]
fn check_and_explain_say_what_answers_for_a_folder() {
    let origin = Origin::start();
    origin.put("hips/index.html", "<p>survey</p>");
    origin.put("bare/x.png", "x");
    let setup =
        listing(&origin.url()).yaml(json!({ "default_profile": { "index": "index.html" } }));
    for (url, words) in [
        ("sky/hips/", "hips/index.html answers for it"),
        ("sky/bare/", "200: a listing"),
        ("sky/", "200: a listing"),
    ] {
        for command in ["check", "explain"] {
            let run = setup.clone().args(&[command, url]).run();
            assert_eq!(run.status.code(), Some(0), "{command} {url}: {run:?}");
            assert!(run.stdout.contains(words), "{command} {url}: {}", run.stdout);
        }
    }
    let origin = Origin::with(Manners { may_list: false, ..Manners::rgw() });
    let buckets = json!({ "default_profile": { "buckets": ["sky"] } });
    let run = listing(&origin.url()).yaml(buckets).args(&["check"]).run();
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stdout.contains("the listing of every folder is refused"), "{}", run.stdout);
}
