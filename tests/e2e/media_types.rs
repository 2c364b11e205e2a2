//! Which keys are served and with which media type: the frozen table, the settings that override
//! it, and attempts to bypass it.

use serde_json::json;

use crate::cached::with_cache;
use crate::client::Answer;
use crate::faulty::{self, Faulty};
use crate::files::{Files, Way, YAML, ini};
use crate::gateway::Setup;
use crate::origin::{Object, Origin};
use crate::reload::await_reload;

fn assert_refused(answer: &Answer, media_type: &str, object: &str) {
    let message = format!("Media type {media_type} is not browsable: {object}");
    assert_eq!(answer.status(), 415, "{object}");
    assert_eq!(answer.refused("media_type_denied", "message"), message, "{object}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{object}");
    assert_eq!(answer.header("cache-control"), None, "{object}");
}

#[test]
fn the_type_comes_from_the_key() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for (key, media_type) in [
        ("a.png", "image/png"),
        ("a.PNG", "image/png"),
        ("dir.d/a.jpeg", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.svg", "image/svg+xml"),
        ("a.fits", "image/fits"),
        ("a.fits.gz", "application/gzip"),
        ("a.fits.fz", "image/fits"),
        ("a.vot", "application/xml"),
        ("a.json", "application/json"),
        ("a.pdf", "application/pdf"),
        ("a.xml", "text/xml; charset=utf-8"),
        ("a.csv", "text/csv; charset=utf-8"),
        ("a.csv.gz", "application/gzip"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("properties", "text/plain; charset=utf-8"),
        ("LSSTCam/runs/color_gri/properties", "text/plain; charset=utf-8"),
        ("properties%23.png", "image/png"),
        ("j.json%3F.png", "image/png"),
    ] {
        let answer = gateway.object(&format!("sky/{key}"));
        assert_eq!(answer.status(), 200, "{key}");
        assert_eq!(answer.header("content-type"), Some(media_type), "{key}");
    }
}

#[test]
fn the_type_of_a_compressed_object_describes_its_bytes_on_both_roads() {
    for (encoding, media_type) in
        [(None, "application/gzip"), (Some("gzip"), "text/csv; charset=utf-8")]
    {
        let origin = Origin::start();
        let mut object = Object::new("compressed");
        object.content_type = Some("text/csv".to_owned());
        object.content_encoding = encoding.map(str::to_owned);
        origin.put_object("sky", "a.csv.gz", object);
        let uncached = Setup::new(&origin.url()).start();
        let cached = with_cache(&origin.url()).start();
        for gateway in [&uncached, &cached, &cached] {
            for (method, range) in
                [("GET", &[][..]), ("GET", &[("Range", "bytes=1-2")]), ("HEAD", &[])]
            {
                let answer = gateway.send(method, "/s3proxy/s3/sky/a.csv.gz", range);
                assert_eq!(answer.header("content-type"), Some(media_type), "{answer:?}");
                assert_eq!(answer.header("content-encoding"), encoding, "{answer:?}");
            }
        }
    }
}

#[test]
fn wav_is_served() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let answer = gateway.object("sky/a.wav");
    assert_eq!(answer.status(), 200);
    let media_type = answer.header("content-type");
    assert!(matches!(media_type, Some("audio/wav" | "audio/vnd.wave")), "{media_type:?}");
}

#[test]
fn refusals_name_the_type_with_the_old_text() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).profile("hips", &spy.url()).start();
    for (tail, media_type, object) in [
        ("sky/a.exe", "application/octet-stream", "s3://sky/a.exe"),
        ("sky/a.fits.GZ", "None", "s3://sky/a.fits.GZ"),
        ("sky/a.tar.gz", "application/x-tar", "s3://sky/a.tar.gz"),
        ("sky/a.parquet", "None", "s3://sky/a.parquet"),
        ("sky/a.css", "text/css", "s3://sky/a.css"),
        ("sky/noending", "None", "s3://sky/noending"),
        ("sky/dir.png/", "None", "s3://sky/dir.png/"),
        ("sky/.png", "None", "s3://sky/.png"),
        ("sky/dir/.png", "None", "s3://sky/dir/.png"),
        ("sky/a.png%20", "None", "s3://sky/a.png "),
        ("sky/Properties", "None", "s3://sky/Properties"),
        ("hips@sky/%C3%A9.exe", "application/octet-stream", "s3://hips@sky/é.exe"),
    ] {
        let answer = gateway.object(tail);
        if tail.ends_with(".GZ") {
            assert_refused(&answer, "application/gzip", object);
        } else {
            assert_refused(&answer, media_type, object);
        }
    }
    assert_eq!(spy.count(), 0, "refused keys are not asked for");
}

#[test]
fn no_spelling_of_a_refused_key_delivers_its_bytes() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for key in [
        "secret.pem",
        "secret.pem?x=.png",
        "secret.pem?.png",
        "a.png/",
        "a.html%20",
        "a.php;.exe",
        "a.PNG.exe",
        "a.png%2F",
        "a.png%EF%BC%8Eexe",
        "a.exe%E2%80%AE",
        "data:image/png,anything",
        "data:image/png;base64,eA==",
        "ab:cd/x?y.png",
        "properties/",
        "x.properties",
    ] {
        let answer = gateway.object(&format!("sky/{key}"));
        assert_eq!(answer.status(), 415, "{key}: {answer:?}");
    }
    assert_eq!(spy.count(), 0);
    for (key, target) in [
        ("secret.pem%23.png", "/sky/secret.pem%23.png"),
        ("secret.pem%3F.png", "/sky/secret.pem%3F.png"),
        ("ab:cd/x.png", "/sky/ab%3Acd/x.png"),
    ] {
        spy.clear();
        assert_eq!(gateway.object(&format!("sky/{key}")).status(), 200, "{key}");
        assert_eq!(spy.only().target, target, "the key whose ending was judged");
    }
}

#[test]
fn the_lists_are_configurable_as_before() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .env("S3PROXY_ALSO_ALLOW_MIMETYPES", r#"["text/markdown"]"#)
        .env("S3PROXY_DISALLOW_MIMETYPES", r#"["text/html"]"#)
        .env("S3PROXY_SUFFIX_MIMETYPES", r#"{".tile.bin2": "image/png"}"#)
        .env("S3PROXY_EXTENSIONLESS_MIMETYPES", r#"{"README": "text/plain"}"#)
        .start();
    for (key, media_type) in [
        ("a.md", Some("text/markdown; charset=utf-8")),
        ("a.html", None),
        ("x.tile.bin2", Some("image/png")),
        ("README", Some("text/plain; charset=utf-8")),
        ("properties", None),
        ("a.vot", None),
    ] {
        let answer = gateway.object(&format!("sky/{key}"));
        match media_type {
            Some(_) => assert_eq!(answer.header("content-type"), media_type, "{key}"),
            None => assert_eq!(answer.status(), 415, "{key}"),
        }
    }
}

#[test]
fn an_accept_list_replaces_the_shipped_one() {
    let spy = Faulty::spy();
    let gateway =
        Setup::new(&spy.url()).env("S3PROXY_ACCEPT_MIMETYPES", r#"["image/png"]"#).start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    assert_eq!(gateway.object("sky/a.txt").status(), 415);
}

#[test]
fn a_default_type_serves_unknown_keys_if_it_is_allowed() {
    let spy = Faulty::spy();
    let setup = Setup::new(&spy.url());
    let text = setup.clone().env("S3PROXY_DEFAULT_MIMETYPE", "text/plain").start();
    let answer = text.object("sky/noending");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.object("sky/a.exe").status(), 415, "known and refused stays refused");
    let octets = setup.env("S3PROXY_DEFAULT_MIMETYPE", "application/octet-stream");
    let octets = octets.tolerate("mime.default").start();
    assert_refused(&octets.object("sky/noending"), "application/octet-stream", "s3://sky/noending");
}

#[test]
fn every_answer_forbids_sniffing() {
    let upstream = Faulty::scripted(|request, _| match request.target.as_str() {
        "/sky/missing.png" => faulty::s3_error(404, "NoSuchKey"),
        "/sky/denied.png" => faulty::s3_error(403, "AccessDenied"),
        "/sky/broken.png" => faulty::answer(301, &[], b""),
        _ => faulty::object(b"tile"),
    });
    let gateway = Setup::new(&upstream.url()).tolerate("denied.png").tolerate("broken.png").start();
    for (method, path, headers) in [
        ("GET", "/", &[][..]),
        ("GET", "/s3proxy", &[][..]),
        ("GET", "/s3proxy/docs", &[][..]),
        ("GET", "/s3proxy/openapi.json", &[][..]),
        ("GET", "/foo", &[][..]),
        ("POST", "/", &[][..]),
        ("GET", "/s3proxy/s3/sky/a.png", &[][..]),
        ("HEAD", "/s3proxy/s3/sky/a.png", &[][..]),
        ("GET", "/s3proxy/s3/sky/a.png", &[("If-None-Match", "*")][..]),
        ("GET", "/s3proxy/s3/sky/a.png", &[("If-Match", "\"other\"")][..]),
        ("GET", "/s3proxy/s3/sky/a.exe", &[][..]),
        ("GET", "/s3proxy/s3/sky/../a.png", &[][..]),
        ("GET", "/s3proxy/s3/sky/missing.png", &[][..]),
        ("GET", "/s3proxy/s3/sky/denied.png", &[][..]),
        ("GET", "/s3proxy/s3/sky/broken.png", &[][..]),
    ] {
        let answer = gateway.send(method, path, headers);
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{method} {path} {}",
            answer.status()
        );
    }
}

#[test]
fn documents_that_can_run_scripts_are_sandboxed_unless_switched_off() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let plain = Setup::new(&spy.url()).yaml(json!({"content_security_policy": false})).start();
    for key in ["a.html", "a.htm", "a.svg", "a.xml", "a.xsl", "a.vot"] {
        for method in ["GET", "HEAD"] {
            let path = format!("/s3proxy/s3/sky/{key}");
            let answer = gateway.send(method, &path, &[]);
            let policy = answer.header("content-security-policy").unwrap_or_default();
            assert!(policy.contains("sandbox"), "{method} {key}: {policy:?}");
            let answer = plain.send(method, &path, &[]);
            assert_eq!(answer.header("content-security-policy"), None, "{method} {key}");
        }
    }
    for key in ["a.png", "a.txt", "a.json", "a.fits"] {
        let answer = gateway.object(&format!("sky/{key}"));
        assert_eq!(answer.header("content-security-policy"), None, "{key}");
    }
}

/// Viewers that are kept in a bucket were blank unless the sandbox was off for every bucket.
#[test]
fn the_sandbox_is_off_for_one_profile_and_a_reload_changes_it() {
    let spy = Faulty::spy();
    let profiles = |viewer: &str| {
        format!(
            "profiles:\n  hips:\n    endpoint: \"{url}\"\n  viewer:\n    endpoint: \"{url}\"\n{viewer}",
            url = spy.url()
        )
    };
    let off = profiles("    content_security_policy: false\n");
    let files = Files::new(Way::Rename, &ini(&["hips", "viewer"]), &off);
    let setup = files.setup(Setup::bare(), "50ms").env("S3PROXY_CACHE_MEMORY", "64MiB");
    let gateway = setup.start();
    let policy = |name: &str| {
        let answer = gateway.object(&format!("{name}@sky/index.html"));
        answer.header("content-security-policy").map(str::to_owned)
    };
    assert_eq!((policy("hips").as_deref(), policy("viewer")), (Some("sandbox"), None));
    files.write_one(YAML, &profiles(""));
    await_reload(&gateway, "profile viewer: settings changed");
    assert_eq!(policy("viewer").as_deref(), Some("sandbox"), "an entry of the old setting");
    files.write_one(YAML, &format!("content_security_policy: false\n{}", profiles("")));
    await_reload(&gateway, "profile viewer: settings changed");
    assert_eq!((policy("hips"), policy("viewer")), (None, None), "the setting of all profiles");
}

#[test]
fn a_script_in_the_path_is_never_reflected_as_html() {
    let origin = Faulty::always(faulty::s3_error(404, "NoSuchKey"));
    let gateway = Setup::new(&origin.url()).start();
    for tail in ["sky/%3Cscript%3Ealert(1)%3C/script%3E.png", "sky/%3Cscript%3E.exe"] {
        let answer = gateway.object(tail);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{tail}");
    }
}

#[test]
fn the_stores_own_type_is_used_where_configured_and_still_has_to_be_allowed() {
    let upstream = Faulty::scripted(|request, _| {
        let types: &[&str] = match request.target.as_str() {
            "/sky/tile" => &["image/png"],
            "/sky/upper" => &["IMAGE/PNG"],
            "/sky/text" => &["text/plain"],
            "/sky/text-latin" => &["text/plain; charset=iso-8859-1"],
            "/sky/script.png" => &["application/x-sh"],
            "/sky/hidden.png" => &["application/x-sh; x=image/png"],
            "/sky/two.png" => &["image/png", "application/x-sh"],
            "/sky/list.png" => &["image/png, application/x-sh"],
            _ => &[],
        };
        let headers: Vec<_> = types.iter().map(|&t| ("Content-Type", t)).collect();
        faulty::answer(200, &headers, b"bytes of the store")
    });
    let gateway = Setup::bare()
        .profile("typed", &upstream.url())
        .profile_settings("typed", &json!({"content_type": "origin"}))
        .tolerate("typed@sky/")
        .start();
    for (key, media_type) in
        [("tile", "image/png"), ("upper", "image/png"), ("text", "text/plain; charset=utf-8")]
    {
        let answer = gateway.object(&format!("typed@sky/{key}"));
        assert_eq!(answer.status(), 200, "{key}");
        let found = answer.header("content-type").map(str::to_ascii_lowercase);
        assert_eq!(found.as_deref(), Some(media_type), "{key}");
    }
    let answer = gateway.object("typed@sky/text-latin");
    assert_eq!(answer.status(), 200);
    for key in ["script.png", "hidden.png", "two.png", "list.png", "none.bin"] {
        for (method, headers) in
            [("GET", &[][..]), ("HEAD", &[]), ("GET", &[("Range", "bytes=0-3")])]
        {
            let path = format!("/s3proxy/s3/typed@sky/{key}");
            let answer = gateway.send(method, &path, headers);
            assert!(matches!(answer.status(), 415 | 502), "{method} {key}: {answer:?}");
            assert!(!answer.text().contains("bytes of the store"), "{method} {key}: {answer:?}");
        }
    }
}
