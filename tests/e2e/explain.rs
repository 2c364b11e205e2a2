//! `s3proxy explain`: each reason why an object is or is not served is found and reported, with a
//! running gateway and without one, and no secret is ever printed.

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::admin_kept::await_in_memory;
use crate::cached::with_cache;
use crate::faulty::{self, Faulty, Gate, Step};
use crate::gateway::{ACCESS_KEY, Finished, Setup, free_port};
use crate::origin::{Manners, Origin};
use crate::tls_port::Edge;

const TOKEN: &str = "canary-of-a-session";
const HEADER: &str = "canary-of-a-header";

/// Runs the command, and checks that it prints no secret.
fn run(setup: &Setup, arguments: &[&str]) -> Finished {
    let run = setup.clone().args(&[&["explain"], arguments].concat()).run();
    for secret in ["canary", ACCESS_KEY, "X-Amz-Signature=abc"] {
        let printed = format!("{}{}", run.stdout, run.stderr);
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    assert!(!run.stdout.chars().any(|c| c.is_control() && c != '\n'), "{}", run.stdout);
    run
}

/// The explanation as JSON; checks that the exit code agrees.
fn explain(setup: &Setup, arguments: &[&str]) -> Value {
    let run = run(setup, &[&["--json"], arguments].concat());
    let json: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    let code = if json["served"] == true { 0 } else { 1 };
    assert_eq!(run.status.code(), Some(code), "{run:?}");
    json
}

/// The step of this name: its state, its detail and its notes as one text.
pub(crate) fn step(json: &Value, name: &str) -> String {
    let steps = json["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["name"] == name);
    let step = step.unwrap_or_else(|| panic!("no step {name} in {json:#}"));
    let notes = step["notes"].as_array().expect("notes").iter().filter_map(Value::as_str);
    let lines = [&step["state"], &step["detail"]].into_iter().filter_map(Value::as_str);
    lines.chain(notes).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn assert_step(json: &Value, name: &str, words: &[&str]) {
    let text = step(json, name);
    for word in words {
        assert!(text.contains(word), "{word} in {name}: {text}");
    }
}

#[test]
fn an_object_is_explained_from_its_url_to_its_answer() {
    let origin = Origin::start();
    let etag = origin.put("a b.png", "a tile of the sky");
    let setup = with_cache(&origin.url()).profile("hips", &origin.url());
    for url in [
        "https://data.example.org/s3proxy/s3/hips@sky/a%20b.png?X-Amz-Signature=abc#top",
        "/s3proxy/s3/hips@sky/a%20b.png",
        "hips@sky/a b.png",
        "s3://hips@sky/a b.png",
    ] {
        let json = explain(&setup, &[url]);
        assert_eq!(
            (&json["served"], &json["status"]),
            (&true.into(), &200.into()),
            "{url}: {json:#}"
        );
        assert_eq!((&json["from"], &json["why"]), (&"store".into(), &Value::Null), "{url}");
        let address = json!({"profile": "hips", "bucket": "sky", "key": "a b.png"});
        assert_eq!(json["address"], address, "{url}");
        assert_step(&json, "route", &["/s3proxy/s3/{profile@bucket}/{key}"]);
        assert_step(&json, "address", &["encoded in the request to the store: a%20b.png"]);
        assert_step(&json, "type", &["image/png", "table of extensions: .png"]);
        assert_step(&json, "endpoint", &[&origin.url(), "region us-east-1, addressing path"]);
        assert_step(&json, "credentials", &["access key ...MPLE from section [hips] of "]);
        assert_step(&json, "allowed", &["every bucket"]);
        assert_step(
            &json,
            "cache",
            &["rule for all keys", "fresh for 5m unless", "profile hips", "no query"],
        );
        let store = &json["store"];
        assert_eq!((&store["status"], &store["content_length"]), (&206.into(), &17.into()));
        assert_eq!(store["etag"], etag, "{store}");
        assert!(store["request_id"].is_string() && store["last_modified"].is_string(), "{store}");
        assert_step(&json, "answer", &["ok", "200 image/png, 17 bytes"]);
    }
    let json = explain(&setup, &["hips@sky/a%20b.png"]);
    assert_step(&json, "address", &["decoded once: %20 (space)"]);
}

#[test]
fn the_string_that_is_signed_is_shown_and_nothing_secret() {
    let manners = Manners { session_token: Some(TOKEN.to_owned()), ..Manners::rgw() };
    let origin = Origin::with(manners);
    origin.put("a.png", "tile");
    let setup = Setup::new(&origin.url())
        .env("AWS_SESSION_TOKEN", TOKEN)
        .yaml(json!({"default_profile": {"upstream_headers": {"x-amz-key": HEADER}}}));
    let json = explain(&setup, &["sky/a.png"]);
    assert_eq!(json["served"], true, "{json:#}");
    let scope = "/us-east-1/s3/aws4_request";
    assert_step(
        &json,
        "sent",
        &[
            &format!("GET {}/sky/a.png", origin.url()),
            "host: 127.0.0.1:",
            "authorization: AWS4-HMAC-SHA256 Credential=...MPLE/20",
            scope,
            "Signature=(redacted)",
            "x-amz-security-token: (redacted)",
            "x-amz-key: (redacted)",
            "canonical request:\n| GET\n| /sky/a.png\n| \n| host:127.0.0.1:",
            "| x-amz-security-token:(redacted)\n",
            "| x-amz-key:(redacted)\n",
            "string to sign:\n| AWS4-HMAC-SHA256\n| 20",
        ],
    );
}

#[test]
fn every_obstacle_is_reported_with_a_fix() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let setup = with_cache(&origin.url())
        .profile("hips", &origin.url())
        .profile("down", &format!("http://127.0.0.1:{}", free_port()))
        .env("LSST_RESOURCES_S3_PROFILE_wrong", &origin.url())
        .ini("[wrong]\naws_access_key_id = AKIDE2EXAMPLE\naws_secret_access_key = canary-wrong\n")
        .profile_settings("hips", &json!({"buckets": ["sky"]}));
    for (url, status, cause, from, why, fix) in [
        ("hips@sky/b.png", 404, "object_not_found", "store", "no such key", "spelling of the key"),
        ("hips@sky/", 404, "object_not_found", "gateway", "the key is empty", "name an object"),
        ("hips@sky/a.zip", 415, "media_type_denied", "gateway", "application/zip", "also_allow"),
        ("hips@sky/a.xyz", 415, "media_type_denied", "gateway", "no rule", "mime.also_suffixes"),
        ("hips@sky/folder/", 415, "media_type_denied", "gateway", "folder", "index.html"),
        (
            "hips@sky/noname",
            415,
            "media_type_denied",
            "gateway",
            "no rule",
            "mime.also_extensionless",
        ),
        ("none@sky/a.png", 404, "profile_unknown", "gateway", "known: down, hips, wrong", "case"),
        ("hips@land/a.png", 403, "bucket_not_allowed", "gateway", "does not contain", "buckets"),
        ("wrong@sky/a.png", 403, "upstream_forbidden", "store", "SignatureDoesNotMatch", "[wrong]"),
        ("down@sky/a.png", 502, "upstream_unreachable", "store", "refuses connections", "port"),
    ] {
        let json = explain(&setup, &[url]);
        assert_eq!(json["served"], false, "{url}: {json:#}");
        assert_eq!((&json["status"], &json["cause"]), (&status.into(), &cause.into()), "{url}");
        assert_eq!(json["from"], from, "{url}");
        let [reason, remedy] = ["why", "fix"].map(|name| json[name].as_str().unwrap_or_default());
        assert!(reason.contains(why), "{url}: {why}: {reason}");
        assert!(remedy.contains(fix), "{url}: {fix}: {remedy}");
        let body = if cause == "object_not_found" { "Not found: s3://" } else { "body: {" };
        assert_step(&json, "answer", &["failed", cause, body]);
    }
}

#[test]
fn urls_without_an_object_are_explained_with_the_gateways_answer() {
    let setup = Setup::new("http://127.0.0.1:1");
    for (url, status, words) in [
        ("https://data.example.org/", 200, "page of the gateway"),
        ("https://data.example.org/other/x", 404, "no such page"),
        ("hips@sky", 307, "redirects"),
        ("hips@sky/a/../b.png", 400, ". or .. segment"),
        ("hips@sky/100%", 400, "two hexadecimal digits"),
        ("a@b@sky/k.png", 400, "more than one @"),
    ] {
        let json = explain(&setup, &[url]);
        assert_eq!((&json["served"], &json["status"]), (&false.into(), &status.into()), "{url}");
        assert_step(&json, "address", &["failed", words]);
    }
}

#[test]
fn unusual_keys_are_explained() {
    let origin = Origin::start();
    for key in ["é/ü ñ.png", "plus+/=&.png", "a%20b.png", "tab\t.png", "x//y.png"] {
        origin.put(key, "tile");
    }
    let setup = Setup::new(&origin.url());
    for (url, words) in [
        ("sky/%C3%A9/%C3%BC%20%C3%B1.png", "non-ASCII characters"),
        ("sky/plus+/=&.png", "is a plus sign"),
        ("sky/a%2520b.png", "the URL may be encoded twice"),
        ("sky/tab%09.png", "control characters"),
        ("sky/x//y.png", "empty segments"),
    ] {
        let json = explain(&setup, &[url]);
        assert_eq!(json["served"], true, "{url}: {json:#}");
        assert_step(&json, "address", &[words]);
        let run = run(&setup, &[url]);
        assert!(run.stdout.contains(words), "{run:?}");
    }
}

#[test]
fn entries_of_the_running_gateway_are_reported_and_not_changed() {
    let origin = Origin::start();
    let etag = origin.put("a.png", "a tile of the sky");
    let (setup, admin) = Admin::of(with_cache(&origin.url()));
    let gateway = setup.clone().start();
    let nothing = explain(&setup, &["sky/a.png"]);
    assert_step(&nothing, "gateway", &["ok", "not cached"]);
    gateway.object("sky/a.png");
    gateway.object("sky/missing.png");
    for object in ["sky/a.png", "sky/missing.png"] {
        await_in_memory(&admin, object);
    }
    let before = admin.cache();
    let json = explain(&setup, &["sky/a.png"]);
    assert_eq!((&json["from"], &json["status"]), (&"cache".into(), &200.into()), "{json:#}");
    assert_step(&json, "gateway", &["in memory: whole object, 17 bytes, ETag", "fresh for"]);
    let kept = &json["kept"]["memory"];
    assert_eq!((&kept["what"], &kept["state"]), (&"object".into(), &"fresh".into()), "{kept}");
    assert_eq!((&kept["length"], &kept["etag"]), (&17.into(), &etag.into()), "{kept}");
    assert_eq!(json["kept"]["disk"], Value::Null);
    assert_step(&json, "answer", &["ok", "200 image/png, 17 bytes, from the cache"]);
    origin.put("a.png", "another tile of the sky");
    let newer = explain(&setup, &["sky/a.png"]);
    assert_step(&newer, "answer", &["warning", "; the store has \""]);
    let missing = explain(&setup, &["sky/missing.png"]);
    assert_eq!((&missing["from"], &missing["status"]), (&"cache".into(), &404.into()));
    assert_step(&missing, "gateway", &["negative entry"]);
    origin.put("missing.png", "here now");
    let here = explain(&setup, &["sky/missing.png"]);
    assert_eq!((&here["served"], &here["status"]), (&false.into(), &404.into()), "{here:#}");
    assert!(here["fix"].as_str().is_some_and(|fix| fix.contains("s3proxy purge")), "{here:#}");
    assert_eq!(admin.cache(), before, "inspection changes no counter");
}

#[test]
fn cached_entries_are_reported_while_the_store_fails() {
    let gate = Gate::new();
    let closed = gate.clone();
    let store = Faulty::scripted(move |_, turn| match turn {
        0 => faulty::object(b"tile"),
        _ => vec![Step::Wait(closed.clone()), Step::Close],
    });
    let (setup, admin) = Admin::of(with_cache(&store.url()));
    let setup = setup
        .yaml(json!({"upstream": {"first_byte_timeout": "200ms", "retries": 0}}))
        .tolerate("upstream");
    let gateway = setup.clone().start();
    gateway.object("sky/a.png");
    await_in_memory(&admin, "sky/a.png");
    let json = explain(&setup, &["sky/a.png"]);
    assert_eq!((&json["served"], &json["from"]), (&true.into(), &"cache".into()), "{json:#}");
    assert_step(&json, "answer", &["warning", "200 from the cache, although", "upstream_timeout"]);
    let other = explain(&setup, &["sky/b.png"]);
    assert_eq!((&other["status"], &other["cause"]), (&504.into(), &"upstream_timeout".into()));
    gate.open();
}

#[test]
fn without_a_gateway_or_a_store_the_other_steps_are_reported() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let port = free_port();
    let setup = with_cache(&origin.url()).env("S3PROXY_ADMIN_LISTEN", "127.0.0.1:9");
    let admin = format!("127.0.0.1:{port}");
    let json = explain(&setup, &["--admin", &admin, "sky/a.png"]);
    assert_eq!(json["served"], true, "{json:#}");
    assert_step(&json, "gateway", &["skipped", &format!("no gateway answers on {admin}")]);
    origin.clear();
    let json = explain(&setup, &["--offline", "sky/a.png"]);
    assert_eq!((&json["served"], &json["status"]), (&true.into(), &Value::Null), "{json:#}");
    assert_step(&json, "gateway", &["skipped"]);
    assert_step(&json, "sent", &["canonical request"]);
    assert_step(&json, "answer", &["skipped", "no request is sent to the store"]);
    assert_eq!(explain(&setup, &["--offline", "sky/a.zip"])["status"], 415);
    assert_eq!(origin.count(), 0, "{:?}", origin.requests());
}

#[test]
fn several_urls_have_a_report_each_and_mistakes_their_exit_code() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let setup = Setup::new(&origin.url());
    let both = run(&setup, &["sky/a.png", "sky/b.png"]);
    assert_eq!(both.status.code(), Some(1), "{both:?}");
    let names = ["s3://sky/a.png\n", "\ns3://sky/b.png\n"];
    assert!(names.iter().all(|name| both.stdout.contains(name)), "{}", both.stdout);
    assert_eq!(run(&setup, &["sky/a.png"]).status.code(), Some(0));
    assert_eq!(run(&setup, &[]).status.code(), Some(2));
    let broken = setup.env("S3PROXY_CACHE_MAX_AGE", "-1");
    assert_eq!(run(&broken, &["sky/a.png"]).status.code(), Some(2));
}

/// `explain` showed `cache.max_object` where the memory holds less.
#[test]
fn the_largest_object_that_is_cached_whole_is_that_of_the_running_gateway() {
    let origin = Origin::start();
    for (memory, share) in [("24MiB", "25"), ("128MiB", "25"), ("24MiB", "0")] {
        let (setup, admin) = Admin::of(Setup::new(&origin.url()));
        let setup = setup.env("S3PROXY_CACHE_MEMORY", memory);
        let setup = setup.env("S3PROXY_CACHE_BLOCKS_SHARE", share);
        let text = step(&explain(&setup, &["sky/a.png", "--offline"]), "cache");
        let number = text.split("cached whole up to ").nth(1).and_then(|it| it.split(' ').next());
        let whole: usize =
            number.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(whole < 16 << 20, memory == "24MiB", "{text}");
        let beyond = if share == "0" { "not at all" } else { "in blocks" };
        assert!(text.contains(&format!("larger objects {beyond}")), "{text}");
        origin.put("whole.png", vec![b'x'; whole]);
        origin.put("larger.png", vec![b'x'; whole + 1]);
        let gateway = setup.start();
        gateway.object("sky/whole.png");
        await_in_memory(&admin, "sky/whole.png");
        let kept = |key: &str| admin.send("GET", &format!("/cache/sky/{key}")).json();
        let entry = kept("whole.png");
        assert_eq!(entry["memory"]["what"], "object", "{memory} {share}: {entry}");
        gateway.object("sky/larger.png");
        let entry = kept("larger.png");
        assert_ne!(entry["memory"]["what"], "object", "{memory} {share}: {entry}");
    }
}

#[test]
fn the_sandbox_of_a_document_is_explained_with_the_setting_that_ends_it() {
    let origin = Origin::start();
    origin.put("index.html", "<p>");
    let setup = Setup::bare().profile("hips", &origin.url()).profile("viewer", &origin.url());
    let setup = setup.profile_settings("viewer", &json!({"content_security_policy": false}));
    let key = "profiles.hips.content_security_policy: false";
    assert_step(&explain(&setup, &["hips@sky/index.html"]), "type", &["sandbox", key]);
    assert_step(&explain(&setup, &["viewer@sky/index.html"]), "type", &["sent without"]);
}

/// A folder with a viewer was said to be a listing, and the page of a FITS file was not named.
#[test]
fn what_browsers_and_programs_get_where_there_is_a_viewer_is_explained() {
    let origin = Origin::start();
    origin.put("a.fits", "SIMPLE");
    let setup = Setup::bare()
        .profile("views", &origin.url())
        .profile_settings("views", &json!({"viewer": true}))
        .profile("both", &origin.url())
        .profile_settings("both", &json!({"viewer": true, "listing": true}))
        .profile("lists", &origin.url())
        .profile_settings("lists", &json!({"listing": true}));
    let browser = "a browser gets the viewer, if the folder holds the properties of a HiPS survey";
    for (url, parts) in [
        ("views@sky/hips/", [browser, "?raw get 404: the profile lists no folders"]),
        ("both@sky/hips/", [browser, "?raw get a listing, if the access key has s3:ListBucket"]),
        ("lists@sky/hips/", ["200: a listing, if the access key", "s3:ListBucket"]),
        ("views@sky/a.fits", ["200 image/fits", "a browser gets a page with header and picture"]),
    ] {
        let json = explain(&setup, &[url]);
        assert_eq!(json["served"], true, "{url}: {json:#}");
        assert_step(&json, "answer", &parts);
    }
}

#[test]
fn a_url_that_is_redirected_to_https_is_explained_as_such() {
    let edge = Edge::new();
    let setup = edge.setup(with_cache("http://127.0.0.1:1"));
    let setup = setup.yaml(json!({ "tls": { "redirect_to_https": true } }));
    for (argument, is_redirected) in [
        ("http://data.example.org/s3proxy/s3/sky/a.png", true),
        ("https://data.example.org/s3proxy/s3/sky/a.png", false),
        ("sky/a.png", false),
    ] {
        let text = step(&explain(&setup, &["--offline", argument]), "route");
        assert_eq!(text.contains("redirected to https"), is_redirected, "{argument}: {text}");
    }
}
