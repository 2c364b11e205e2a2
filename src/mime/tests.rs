//! The policy compared with every row of s3proxy 2.0.1, and edge cases.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn policy() -> MimePolicy {
    MimePolicy::new(&MimeSettings::default()).expect("the default settings are valid")
}

fn policy_with(change: impl FnOnce(&mut MimeSettings)) -> MimePolicy {
    let mut settings = MimeSettings::default();
    change(&mut settings);
    MimePolicy::new(&settings).expect("valid settings")
}

/// `+ type` for allowed keys, `- type` or `-` for others.
fn said(policy: &MimePolicy, key: &str) -> String {
    match policy.key_type(key) {
        Ok(allowed) => format!("+ {}", allowed.decoded.to_str().expect("visible ASCII")),
        Err(Some(text)) => format!("- {text}"),
        Err(None) => "-".to_owned(),
    }
}

fn stored(policy: &MimePolicy, values: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for value in values {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        headers.append(header::CONTENT_TYPE, value);
    }
    match policy.stored_verdict(&headers) {
        StoredVerdict::Allowed(value) => format!("+ {}", value.to_str().expect("visible ASCII")),
        StoredVerdict::Denied(Some(text)) => format!("- {text}"),
        StoredVerdict::Denied(None) => "-".to_owned(),
    }
}

#[test]
fn every_extension_has_the_type_and_decision_of_s3proxy_2_0_1() {
    let policy = policy();
    let mut allowed = 0;
    let mut rows = 0;
    for line in include_str!("s3proxy-2.0.1.tsv").lines() {
        let [extension, media_type, fate] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three columns: {line}")
        };
        rows += 1;
        let charset = if media_type.starts_with("text/") { "; charset=utf-8" } else { "" };
        let expected = match (extension, fate) {
            (".wav", _) => "+ audio/wav".to_owned(),
            (_, "allow") => format!("+ {media_type}{charset}"),
            _ => format!("- {media_type}"),
        };
        allowed += usize::from(fate == "allow");
        for key in [
            format!("a{extension}"),
            format!("deep/er.d/a.b{}", extension.to_uppercase()),
            format!("x{extension}.gz"),
        ] {
            // `.gz` is a content coding: without it there is no extension.
            let expected = if key == "a.gz" { "-" } else { &expected };
            assert_eq!(said(&policy, &key), expected, "{key}");
        }
    }
    assert_eq!((rows, allowed), (198, 42));
    assert_eq!(table::EXTENSIONS.len(), rows);
}

#[test]
fn exactly_the_known_extensions_are_served() {
    let policy = policy();
    let served: Vec<_> = table::EXTENSIONS
        .iter()
        .map(|(extension, _)| *extension)
        .filter(|extension| said(&policy, &format!("a.{extension}")).starts_with('+'))
        .collect();
    let expected = "bat c csv fits gif h htm html jpe jpeg jpg js json ksh m1v mjs mp2 mp3 mp4 mpa \
                    mpe mpeg mpg ogg ogv ogx pdf pl png rdf srt svg tif tiff txt wav weba webm \
                    webp wsdl xml xpdl xsl";
    assert_eq!(served.join(" "), expected);
}

#[test]
fn unusual_names() {
    let policy = policy();
    for (key, expected) in [
        // Rules after the table.
        ("LSSTCam/runs/DRP/properties", "+ text/plain; charset=utf-8"),
        ("properties", "+ text/plain; charset=utf-8"),
        ("Properties", "-"),
        ("properties/", "-"),
        ("xproperties", "-"),
        ("a.fits.fz", "+ image/fits"),
        ("a.FITS.FZ", "-"),
        ("a.fz", "-"),
        ("a.vot", "+ application/xml"),
        (".vot", "+ application/xml"),
        ("a.VOT", "-"),
        ("a.vot.gz", "-"),
        // Content codings are ignored, and are case-sensitive.
        ("x.fits.gz", "+ image/fits"),
        ("x.FITS.gz", "+ image/fits"),
        ("x.csv.gz", "+ text/csv; charset=utf-8"),
        ("x.png.Z", "+ image/png"),
        ("x.png.z", "-"),
        ("x.png.bz2", "+ image/png"),
        ("x.png.BZ2", "-"),
        ("x.png.xz", "+ image/png"),
        ("x.png.br", "+ image/png"),
        ("x.fits.GZ", "- application/gzip"),
        ("x.gz", "-"),
        (".png.gz", "-"),
        ("x.png.gz.gz", "- application/gzip"),
        ("x.tgz.gz", "-"),
        // Compressed names, in any case.
        ("x.svgz", "+ image/svg+xml"),
        ("x.SVGZ", "+ image/svg+xml"),
        (".svgz", "-"),
        ("x.tgz", "- application/x-tar"),
        ("x.TAZ", "- application/x-tar"),
        ("x.tz", "- application/x-tar"),
        ("x.tbz2", "- application/x-tar"),
        ("x.txz", "- application/x-tar"),
        // Names without an extension.
        ("", "-"),
        (".png", "-"),
        ("dir/.png", "-"),
        ("dir/..png", "-"),
        ("dir/...png", "-"),
        (".a.png", "+ image/png"),
        ("..a.png", "+ image/png"),
        ("png", "-"),
        ("a.png/", "-"),
        ("a.png/b", "-"),
        ("a.d/b", "-"),
        ("a.", "-"),
        ("a..", "-"),
        ("a..png", "+ image/png"),
        ("a.png ", "-"),
        ("a.png.", "-"),
        // Extensions that are refused.
        ("a.fit", "-"),
        ("a.fts", "-"),
        ("a.tsv", "- text/tab-separated-values"),
        ("a.parquet", "-"),
        ("a.md", "- text/markdown"),
        ("a.yaml", "- application/yaml"),
        ("a.log", "-"),
        ("a.reg", "-"),
        ("a.ecsv", "-"),
        ("a.pmtiles", "-"),
        ("a.bin", "- application/octet-stream"),
    ] {
        assert_eq!(said(&policy, key), expected, "{key:?}");
    }
}

#[test]
fn a_key_is_a_path_and_never_a_url() {
    let policy = policy();
    for (key, expected) in [
        // The whole key is decided on and fetched: these keys end in .png.
        ("properties#.png", "+ image/png"),
        ("j.json?.png", "+ image/png"),
        ("ab:cd/x.png", "+ image/png"),
        ("//[x.png", "+ image/png"),
        // These do not.
        ("x.png#y", "-"),
        ("x.png?y=z", "-"),
        ("ab:cd/x.png?y", "-"),
        ("data:image/png,anything", "-"),
        ("data:text/plain;base64,eA==", "-"),
        ("secret.pem#", "-"),
        ("http://h/x.png#frag.pem", "-"),
    ] {
        assert_eq!(said(&policy, key), expected, "{key:?}");
    }
}

#[test]
fn manipulated_extensions_get_no_type() {
    let policy = policy();
    for (key, expected) in [
        ("x.png/", "-"),
        ("x.png\0.html", "+ text/html; charset=utf-8"),
        ("x.html\0.png", "+ image/png"),
        ("x.png\0", "-"),
        ("x.php;.png", "+ image/png"),
        ("x.png;.php", "- application/x-httpd-php"),
        ("x.PNG.html", "+ text/html; charset=utf-8"),
        ("x.html ", "-"),
        ("x.html.", "-"),
        ("x.html%2e", "-"),
        ("x%2epng", "-"),
        ("x.Png", "+ image/png"),
        ("x\u{ff0e}png", "-"),
        ("x\u{2024}png", "-"),
        ("x.\u{212a}sh", "-"),
        ("x.p\u{200b}ng", "-"),
        ("x.png\u{202e}", "-"),
        ("x.png\n", "-"),
        ("x.png\t", "-"),
    ] {
        assert_eq!(said(&policy, key), expected, "{key:?}");
    }
}

#[test]
fn the_lists_are_combined() {
    let also = policy_with(|s| s.also_allow = vec!["Text/Markdown".to_owned()]);
    assert_eq!(said(&also, "a.md"), "+ text/markdown; charset=utf-8");
    assert_eq!(said(&also, "a.png"), "+ image/png");

    let disallow = policy_with(|s| {
        s.also_allow = vec!["text/markdown".to_owned()];
        s.disallow = vec!["text/markdown".to_owned(), "IMAGE/PNG".to_owned()];
    });
    assert_eq!(said(&disallow, "a.md"), "- text/markdown");
    assert_eq!(said(&disallow, "a.png"), "- image/png");
    assert_eq!(said(&disallow, "a.gif"), "+ image/gif");

    let accept = policy_with(|s| s.accept = vec!["image/png".to_owned()]);
    assert_eq!(said(&accept, "a.png"), "+ image/png");
    assert_eq!(said(&accept, "properties"), "- text/plain");
    assert_eq!(said(&accept, "a.fits.fz"), "- image/fits");
}

#[test]
fn configured_rules_apply_in_order() {
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let policy = policy_with(|s| {
        s.also_allow = vec!["application/x-a".to_owned(), "application/x-b".to_owned()];
        s.suffixes = vec![
            pair(".x", "application/x-a"),
            pair("y.x", "application/x-b"),
            pair("/only/here", "application/x-a"),
            pair(".latin", "text/plain; charset=iso-8859-1"),
            pair(".png", "application/x-a"),
            pair(".no", "application/x-c"),
            pair(".twice", "application/x-c"),
            pair(".twice", "application/x-a"),
        ];
        s.extensionless = vec![pair("README", "text/plain"), pair("zarr.q", "application/json")];
    });
    for (key, expected) in [
        ("a.x", "+ application/x-a"),
        ("ay.x", "+ application/x-b"),
        ("aY.x", "+ application/x-a"),
        ("a/only/here", "+ application/x-a"),
        ("a.latin", "+ text/plain; charset=iso-8859-1"),
        ("a.no", "- application/x-c"),
        ("a.twice", "+ application/x-a"),
        // The table comes first, then suffixes, then basenames.
        ("a.png", "+ image/png"),
        (".png", "+ application/x-a"),
        ("d/README", "+ text/plain; charset=utf-8"),
        ("zarr.q", "+ application/json"),
        // Both lists replace the default.
        ("properties", "-"),
        ("a.vot", "-"),
    ] {
        assert_eq!(said(&policy, key), expected, "{key}");
    }
}

/// To serve `.parquet`, `mime.suffixes` replaced the built-in table, and `.fits.fz` was 415.
#[test]
fn added_rules_leave_the_built_in_ones_in_place() {
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let policy = policy_with(|s| {
        s.also_suffixes = vec![pair(".parquet", "image/x-p"), pair(".vot", "text/plain")];
        s.also_extensionless = vec![pair("README", "text/plain")];
        s.also_allow = vec!["image/*".to_owned()];
    });
    for (key, expected) in [
        ("a.parquet", "+ image/x-p"),
        ("a.vot", "+ text/plain; charset=utf-8"),
        ("a.fits.fz", "+ image/fits"),
        ("properties", "+ text/plain; charset=utf-8"),
        ("README", "+ text/plain; charset=utf-8"),
    ] {
        assert_eq!(said(&policy, key), expected, "{key}");
    }
}

#[test]
fn ranges_of_types_are_allowed_and_disallowed() {
    let all = policy_with(|s| {
        s.also_allow = vec!["*/*".to_owned()];
        s.disallow = vec!["TEXT/*".to_owned(), "application/x-httpd-php".to_owned()];
        s.default = Some("application/octet-stream".to_owned());
    });
    for (key, expected) in [
        ("a.h5", "+ application/x-hdf5"),
        ("a.zip", "+ application/zip"),
        ("a.mov", "+ video/quicktime"),
        ("chunk/0.0", "+ application/octet-stream"),
        ("a.md", "- text/markdown"),
        ("a.html", "- text/html"),
        ("a.php", "- application/x-httpd-php"),
    ] {
        assert_eq!(said(&all, key), expected, "{key}");
    }
    assert_eq!(stored(&all, &["image/*"]), "- image/*");
    let some = policy_with(|s| s.also_allow = vec!["application/*".to_owned()]);
    assert_eq!(said(&some, "a.zip"), "+ application/zip");
    assert_eq!(said(&some, "a.md"), "- text/markdown");
}

#[test]
fn the_default_type_is_for_unknown_keys_and_subject_to_the_list() {
    let unlisted = policy_with(|s| s.default = Some("application/octet-stream".to_owned()));
    assert_eq!(said(&unlisted, "a.parquet"), "- application/octet-stream");
    let listed = policy_with(|s| {
        s.default = Some("application/octet-stream".to_owned());
        s.also_allow = s.default.iter().cloned().collect();
    });
    for (key, expected) in [
        ("a.parquet", "+ application/octet-stream"),
        ("noending", "+ application/octet-stream"),
        ("a.png", "+ image/png"),
        ("properties", "+ text/plain; charset=utf-8"),
        ("a.php", "- application/x-httpd-php"),
    ] {
        assert_eq!(said(&listed, key), expected, "{key}");
    }
    assert_eq!(stored(&unlisted, &[]), "- application/octet-stream");
    assert_eq!(stored(&listed, &[]), "+ application/octet-stream");
}

#[test]
fn an_invalid_type_is_reported() {
    type Adjust = fn(&mut MimeSettings, String);
    let places: [(&str, Adjust); 6] = [
        ("accept", |s, text| s.accept.push(text)),
        ("also_allow", |s, text| s.also_allow.push(text)),
        ("disallow", |s, text| s.disallow.push(text)),
        ("suffixes", |s, text| s.suffixes.push((".x".to_owned(), text))),
        ("extensionless", |s, text| s.extensionless.push(("x".to_owned(), text))),
        ("default", |s, text| s.default = Some(text)),
    ];
    for (place, change) in places {
        for text in ["", "png", "image/png, text/html", "text/plain\r\nX: y", "text/pl\u{e4}in"] {
            let mut settings = MimeSettings::default();
            change(&mut settings, text.to_owned());
            assert_eq!(MimePolicy::new(&settings).err().as_deref(), Some(text), "{place}");
        }
    }
    for (_, change) in places.into_iter().take(3) {
        for text in ["image/x*", "*/png", "*/x*", "text/plain; charset=utf-8"] {
            let mut settings = MimeSettings::default();
            change(&mut settings, text.to_owned());
            assert_eq!(MimePolicy::new(&settings).err().as_deref(), Some(text));
        }
    }
}

#[test]
fn the_type_of_the_store_is_decided_by_its_essence() {
    let policy = policy();
    for (values, expected) in [
        (&["image/png"][..], "+ image/png"),
        (&["IMAGE/PNG"], "+ image/png"),
        (&["text/html"], "+ text/html; charset=utf-8"),
        (&["text/plain;charset=iso-8859-1"], "+ text/plain;charset=iso-8859-1"),
        (&["text/html;x=\"image/png\""], "+ text/html;x=\"image/png\"; charset=utf-8"),
        (&["text/html;x=image/png"], "-"),
        (&["binary/octet-stream"], "- binary/octet-stream"),
        (&["Application/X-Httpd-PHP; x=\"image/png\""], "- application/x-httpd-php"),
        (&["image/png2"], "- image/png2"),
        (&["image/*"], "- image/*"),
        (&["image/png, text/html"], "-"),
        (&["text/html, image/png"], "-"),
        (&["image/png", "text/html"], "-"),
        (&["image/png", "image/png"], "-"),
        (&["image/png; x=\"y"], "-"),
        (&["image/png text/html"], "-"),
        (&["image"], "-"),
        (&[""], "-"),
        (&["imag\u{e9}/png"], "-"),
        (&[], "-"),
    ] {
        assert_eq!(stored(&policy, values), expected, "{values:?}");
    }
}

#[test]
fn images_and_scriptable_types() {
    let kinds: BTreeMap<&str, (bool, bool)> = [
        ("image/png", (true, false)),
        ("image/fits", (true, false)),
        ("IMAGE/GIF", (true, false)),
        ("image/svg+xml", (true, true)),
        ("Image/SVG+XML; charset=utf-8", (true, true)),
        ("text/html; charset=utf-8", (false, true)),
        ("text/html;x=image/png", (false, true)),
        ("text/xml; charset=utf-8", (false, true)),
        ("application/xml", (false, true)),
        ("application/xhtml+xml", (false, true)),
        ("application/json", (false, false)),
        ("text/plain; x=+xml", (false, false)),
        ("text/htmlx", (false, false)),
        ("application/image", (false, false)),
        ("xml", (false, false)),
        ("", (false, false)),
    ]
    .into();
    for (text, expected) in kinds {
        let value = HeaderValue::from_static(text);
        assert_eq!((is_image(&value), is_scriptable(&value)), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn no_key_panics_and_an_allowed_one_ends_in_a_known_name(key in "\\PC{0,40}") {
        let policy = policy();
        if let Ok(allowed) = policy.key_type(&key) {
            prop_assert!(key.contains('.') || key.ends_with("properties"));
            prop_assert!(allowed.decoded.to_str().is_ok());
        }
    }

    #[test]
    fn directories_never_matter(
        directory in "[a-z./#?:]{0,12}",
        name in "[.]{0,2}[a-z]{1,3}([.](png|gz|Z|svgz|md|fz|vot|x)){0,3}",
    ) {
        let policy = policy();
        let nested = format!("{directory}/{name}");
        prop_assert_eq!(policy.key_type(&nested), policy.key_type(&name));
    }
}
