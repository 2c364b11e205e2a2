//! Viewers: a browser gets the page of a survey or of a FITS file where the profile says so; all other
//! clients get the object.

use serde_json::json;

use crate::client::Answer;
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn gateway(origin: &Origin, profile: &serde_json::Value, memory: &str) -> Gateway {
    Setup::new(&origin.url())
        .env("S3PROXY_CACHE_MEMORY", memory)
        .yaml(json!({ "default_profile": profile }))
        .start()
}

#[track_caller]
fn assert_is_viewer(answer: &Answer, script: &str) {
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("vary"), Some("Accept"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let name = answer.text().split("src=\"").nth(1).and_then(|rest| rest.split('"').next());
    let name = name.expect("a script");
    assert!(name.contains(script), "{name}");
}

#[test]
fn a_browser_sees_a_survey_and_a_fits_file_and_programs_get_the_object() {
    let origin = Origin::start();
    origin.put("hips/properties", "hips_order = 3\n");
    origin.put("a.fits", "SIMPLE  =                    T");
    for memory in ["0", "64MiB"] {
        let gateway = gateway(&origin, &json!({ "viewer": true }), memory);
        let browse = |path: &str| gateway.send("GET", path, &[BROWSER]);
        assert_is_viewer(&browse("/s3proxy/s3/sky/hips/"), "/s3proxy/assets/sky-");
        let page = browse("/s3proxy/s3/sky/a.fits");
        assert_is_viewer(&page, "/s3proxy/assets/fits-");
        let raw = browse("/s3proxy/s3/sky/a.fits?raw");
        assert!(
            raw.text().starts_with("SIMPLE") && raw.header("vary") == Some("Accept"),
            "{raw:?}"
        );
        let program = gateway.object("sky/a.fits");
        assert!(program.text().starts_with("SIMPLE") && program.header("vary") == Some("Accept"));
        assert_eq!(browse("/s3proxy/s3/sky/none/").status(), 404, "no survey, no listing");
        assert_eq!(gateway.object("sky/hips/").status(), 404, "a program");
    }
}

#[test]
fn the_scripts_of_a_viewer_are_served_with_all_that_they_import() {
    let origin = Origin::start();
    origin.put("hips/properties", "hips_order = 3\n");
    let gateway = gateway(&origin, &json!({ "viewer": true }), "64MiB");
    for path in ["/s3proxy/s3/sky/hips/", "/s3proxy/s3/sky/a.fits"] {
        let page = gateway.send("GET", path, &[BROWSER]);
        let script = page.text().split("src=\"").nth(1).and_then(|rest| rest.split('"').next());
        let mut left = vec![script.expect("a script").to_owned()];
        let mut seen = 0;
        while let Some(path) = left.pop() {
            let script = gateway.get(&path);
            assert_eq!(script.status(), 200, "{path}");
            assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
            seen += 1;
            for imported in script.text().split("from './").skip(1) {
                let name = imported.split('\'').next().unwrap_or_default();
                left.push(format!("/s3proxy/assets/{name}"));
            }
        }
        assert!(seen >= 4, "{path}: {seen} scripts");
    }
}

#[test]
fn a_survey_comes_after_an_index_and_before_a_listing() {
    let origin = Origin::start();
    origin.put("hips/properties", "hips_order = 3\n");
    origin.put("hips/tile.png", "tile");
    origin.put("paged/index.html", "<p>own page");
    origin.put("paged/properties", "hips_order = 3\n");
    origin.put("plain/tile.png", "tile");
    let all = json!({ "viewer": true, "listing": true, "index": "index.html" });
    let gateway = gateway(&origin, &all, "64MiB");
    let browse = |path: &str| gateway.send("GET", &format!("/s3proxy/s3/sky/{path}"), &[BROWSER]);
    assert_is_viewer(&browse("hips/"), "/s3proxy/assets/sky-");
    assert_eq!(browse("paged/").text(), "<p>own page");
    assert!(browse("plain/").text().contains("tile.png"), "a listing");
    assert!(
        browse("hips/?format=json").text().contains("tile.png"),
        "a listing where it is asked for"
    );
    // `?raw` showed the viewer.
    let raw = browse("hips/?raw");
    assert_eq!(raw.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(raw.text().contains("tile.png") && !raw.text().contains("assets/sky-"), "{raw:?}");
    assert_eq!(browse("paged/?raw").text(), "<p>own page");
}

#[test]
fn without_the_setting_nothing_is_a_viewer() {
    let origin = Origin::start();
    origin.put("a.fits", "SIMPLE  =                    T");
    origin.put("hips/properties", "hips_order = 3\n");
    let gateway = gateway(&origin, &json!({}), "64MiB");
    let fits = gateway.send("GET", "/s3proxy/s3/sky/a.fits", &[BROWSER]);
    assert!(fits.text().starts_with("SIMPLE") && fits.header("vary").is_none(), "{fits:?}");
    assert_eq!(gateway.send("GET", "/s3proxy/s3/sky/hips/", &[BROWSER]).status(), 415);
}
