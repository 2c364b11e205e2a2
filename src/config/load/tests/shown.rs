//! What `s3proxy config` shows of a configuration, and that no secret is in it.

use super::*;
use crate::config::show_json;

#[test]
fn nothing_that_is_shown_or_reported_holds_a_secret() {
    let good = Case {
        env: &[
            ("S3_ENDPOINT_URL", "https://URLKEY12345:hush@h"),
            ("AWS_ACCESS_KEY_ID", "ENVKEY123456"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_SESSION_TOKEN", "hush"),
        ],
        yaml: "profiles:\n  hips:\n    upstream_headers: {x-key: hush}\n  b:\n    endpoint: \
               http://b:hush@b",
        ini: INI,
        ..Case::default()
    };
    let loaded = good.good();
    let shown = format!("{}{}{loaded:?}", show(&loaded, &[]), show_json(&loaded, &[]));
    assert!(!shown.contains("hush"), "{shown}");
    assert!(!show(&loaded, &[]).contains("HIPSKEY"), "only the end of a key id is shown");
    assert!(
        show(&loaded, &[]).contains("key ending 0002, section [hips]"),
        "{}",
        show(&loaded, &[])
    );

    let bad = Case {
        env: &[
            ("S3_ENDPOINT_URL", "https://a:hush@h:0"),
            ("LSST_RESOURCES_S3_PROFILE_x", "https://a:hu/hush@h"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
        ],
        yaml: "profiles:\n  a:\n    upstream_headers: {host: hush}\n    secret: hush\n  b:\n    \
               endpoint: [https://a:hush@h]\n  c:\n    upstream_headers: [hush]\n    \
               credentials: {section: {a: hush}}\n",
        ini: "[a]\naws_access_key_id = hush\n[b]\nregion = hu sh\n",
        ..Case::default()
    };
    let problems = bad.bad();
    assert_eq!(problems.len(), 10, "{problems:#?}");
    assert!(!problems.concat().contains("hush"), "{problems:#?}");
}

#[test]
fn what_is_shown_is_aligned_and_says_where_each_value_came_from() {
    let case = Case {
        env: &[("S3PROXY_LOG_LEVEL", "DEBUG")],
        yaml: "profiles:\n  hips:\n    endpoint: https://h\n",
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    let shown = show(&loaded, &[]);
    let line = |key: &str| {
        let found = shown.lines().find(|line| line.split(" = ").next().map(str::trim) == Some(key));
        found.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (key, expected) in [
        ("listen", "listen = 0.0.0.0:8080 (default)"),
        ("log.level", "log.level = DEBUG (S3PROXY_LOG_LEVEL)"),
        ("profiles.hips.endpoint", "profiles.hips.endpoint = https://h (c.yaml:3)"),
        ("profiles.hips.addressing", "profiles.hips.addressing = path (default)"),
        (
            "profiles.hips.credentials",
            "profiles.hips.credentials = access key ending 0002, section [hips] (c.ini:4)",
        ),
    ] {
        assert_eq!(line(key), expected);
    }
    let json: serde_json::Value =
        serde_json::from_str(&show_json(&loaded, &[])).expect("valid JSON");
    assert_eq!(json["settings"][0]["key"], "listen");
    assert_eq!(json["settings"].as_array().map(Vec::len), Some(loaded.settings.len()));
}

/// `bucket_validation` showed the text of its variable, which has the opposite meaning.
#[test]
fn settings_are_shown_as_they_are_in_force() {
    let loaded = env(&[
        ("LSST_DISABLE_BUCKET_VALIDATION", "1"),
        ("S3PROXY_REQUIRE_USER", "yes"),
        ("S3PROXY_LISTEN", "localhost:8080"),
        ("S3PROXY_ADMIN_LISTEN", ""),
        ("S3PROXY_LOG_LEVEL", "warn"),
        ("S3PROXY_CORS_ORIGINS", "*"),
    ])
    .good();
    for (key, value) in [
        ("bucket_validation", "false"),
        ("require_user", "true"),
        ("listen", "127.0.0.1:8080"),
        ("admin.listen", "off"),
        ("log.level", "WARNING"),
        ("cors.origins", "[\"*\"]"),
    ] {
        assert_eq!(setting(&loaded, key).value, value, "{key}");
    }
}
