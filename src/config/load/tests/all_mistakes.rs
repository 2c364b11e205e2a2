//! Every part of a value that is wrong is reported in one run, and what was accepted without a word.

use super::*;
use crate::config::settings::of_profile;

/// A setting, a value with mistakes, and a part of the report of each.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// Only the first wrong part of a list or a mapping was named.
const ROWS: &[Row] = &[
    (
        "aliases",
        "{h@b/a: h@b/c/, h@b/d/: 1, h@b/e/: nobody@b/e/, 2: h@b/f/}",
        &["with a slash at its end", "\"h@b/d/\" in quotes", "no profile nobody", "pair 4 in"],
    ),
    ("mime.accept", "[png, 1, a/]", &["not \"png\"", "item 2 in quotes", "not \"a/\""]),
    ("mime.also_allow", "[png, 1, a/]", &["not \"png\"", "item 2 in quotes", "not \"a/\""]),
    ("mime.disallow", "[png, 1, a/]", &["not \"png\"", "item 2 in quotes", "not \"a/\""]),
    ("mime.extensionless", "{a: b, c: 1, d: /}", &["\"b\" to \"a\"", "\"c\" in", "\"/\" to \"d\""]),
    ("mime.also_extensionless", "{a: b, '': c/d}", &["\"b\" to \"a\"", "\"c/d\" to \"\""]),
    ("mime.suffixes", "{.a: b, .c: 1, .d: /}", &["\"b\" to", "\".c\" in", "\"/\" to"]),
    ("mime.also_suffixes", "{.a: b, .c: 1, .d: /}", &["\"b\" to", "\".c\" in", "\"/\" to"]),
    (
        "cors.origins",
        "['*', a, 'https://A.example', 1]",
        &["either \"*\" alone", "not \"a\"", "in place of \"https://A.example\"", "item 4 in"],
    ),
    (
        "listen",
        "[x, 1, '127.0.0.1:5', 'localhost:5', '0.0.0.0:6 x']",
        &["IP address or localhost", "item 2 in", "127.0.0.1:5 once", "the words proxy_protocol"],
    ),
    (
        "trusted_proxies",
        "[a, 1, 10.0.0.0/33]",
        &["not \"a\"", "item 2 in quotes", "not \"10.0.0.0/33\""],
    ),
    ("tls.listen", "[x, 1]", &["IP address or localhost", "item 2 in"]),
    ("tls.certificate_file", "[1, '']", &["item 1 in quotes", "the path of a file"]),
    ("tls.key_file", "[1, '']", &["item 1 in quotes", "the path of a file"]),
    ("admin.tls.certificate_file", "[1, '']", &["item 1 in quotes", "the path of a file"]),
    ("admin.tls.key_file", "[1, '']", &["item 1 in quotes", "the path of a file"]),
    ("admin.hosts", "['a:1', b, 1, '']", &["not \"a:1\"", "item 3 in quotes", "not \"\""]),
    ("cache.shared.profiles", "['a b', c/d, 1]", &["\"a b\"", "\"c/d\"", "item 3 in quotes"]),
    ("cache.pin", "['', 1, a]", &["none of them empty", "item 2 in quotes"]),
    (
        "cache.patterns",
        "[{match: '', ttl: x}, {ttl: y}]",
        &["must be a pattern", "\"x\" must be", "\"y\" must be", "needs a match"],
    ),
    (
        "profiles.h.endpoints",
        "[https://a, ftp://b, 'https://A', 1, 'https://k:hush@c']",
        &["has ftp://b", "has https://a twice", "item 4 in quotes", "write the access key"],
    ),
    ("profiles.h.buckets", "['A B', '', C/D]", &["not \"A B\"", "not \"\"", "not \"C/D\""]),
    (
        "profiles.h.response_headers",
        "[set-cookie, content-length, 'x y', 1]",
        &["\"set-cookie\"", "\"content-length\"", "not \"x y\"", "item 4 in quotes"],
    ),
    (
        "profiles.h.request_headers",
        "[host, x-amz-a, 'x y', 1]",
        &["contain \"host\"", "contain \"x-amz-a\"", "not \"x y\"", "item 4 in quotes"],
    ),
    (
        "profiles.h.upstream_headers",
        "{host: a, 'x y': b, x-a: ' c', x-b: 1, x-c: d, X-C: e}",
        &["contain host", "not \"x y\"", "give x-a", "\"x-b\" in quotes", "x-c twice"],
    ),
    (
        "profiles.h.cache_control",
        "'max-age=x, foo, public, private, public'",
        &["max-age needs", "not \"foo\"", "both public and private", "public twice"],
    ),
    (
        "profiles.h.surveys",
        "[b/a, 'x@b/c/', 1]",
        &["with a slash at its end", "without @", "item 3 in quotes"],
    ),
    ("profiles.h.cache.pin", "['', 1, a]", &["none of them empty", "item 2 in quotes"]),
    ("profiles.h.cache.patterns", "[{ttl: x}, 1]", &["\"x\" must be", "needs a match", "mapping"]),
];

/// The file with this setting, and a profile `h`.
fn file_of(path: &str, value: &str) -> String {
    let mut text = String::new();
    let parts: Vec<&str> = path.split('.').collect();
    for (depth, part) in parts.iter().enumerate() {
        text.push_str(&format!("{}{part}:", "  ".repeat(depth)));
        text.push_str(&if depth + 1 == parts.len() { format!(" {value}\n") } else { "\n".into() });
        if depth == 1 && parts[0] == "profiles" {
            text.push_str("    endpoint: http://h\n");
        }
    }
    if parts[0] != "profiles" {
        text.push_str("profiles: {h: {endpoint: \"http://h\"}}\n");
    }
    // Profiles are compared only with the tier.
    if parts.starts_with(&["cache", "shared"]) {
        text = text.replace("  shared:\n", "  shared:\n    url: redis://h\n");
    }
    text
}

#[test]
fn every_wrong_part_of_every_list_and_mapping_is_reported_in_one_run() {
    for (path, value, parts) in ROWS {
        let problems = yaml(&file_of(path, value)).bad();
        for part in *parts {
            let count = problems.iter().filter(|problem| problem.contains(part)).count();
            assert_eq!(count, 1, "{path}: {part}: {problems:#?}");
        }
        assert!(problems.len() <= parts.len(), "{path}: {problems:#?}");
        assert!(problems.iter().all(|problem| problem.contains(path)), "{path}: {problems:#?}");
    }
}

#[test]
fn the_table_of_wrong_parts_has_every_setting_that_has_parts() {
    let has_parts =
        |accepts| matches!(accepts, Accepts::List { .. } | Accepts::Mapping(_) | Accepts::Patterns);
    let global = global().filter(|row| has_parts(row.accepts)).map(|row| row.path.to_owned());
    let of_profile = of_profile().filter(|row| has_parts(row.accepts));
    let of_profile = of_profile.map(|row| format!("profiles.h.{}", row.path));
    for path in global.chain(of_profile) {
        assert!(ROWS.iter().any(|(known, ..)| *known == path), "{path}");
    }
}

#[test]
fn a_variable_with_several_mistakes_has_each_reported() {
    let aliases = r#"{"h@b/a/":"i@b/","h@b/c/":1}"#;
    let problems = env(&[
        ("S3PROXY_ALIASES", aliases),
        ("S3PROXY_ALSO_ALLOW_MIMETYPES", "png, a/b, gif"),
        ("S3PROXY_CORS_ORIGINS", "a,b"),
    ])
    .bad();
    for part in [
        "S3PROXY_ALIASES: aliases[\"h@b/a/\"]: there is no profile h",
        "S3PROXY_ALIASES: aliases[\"h@b/a/\"]: its target: there is no profile i",
        "put the value of \"h@b/c/\" in quotes",
        "not \"png\"",
        "not \"gif\"",
        "not \"a\"",
        "not \"b\"",
    ] {
        assert!(problems.iter().any(|it| it.contains(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

/// A mistake in a profile hid that another place names a profile that there is not.
#[test]
fn a_wrong_profile_hides_no_mistake_of_an_alias() {
    let problems = yaml(
        "profiles:\n  a: {endpoint: nowhere}\naliases:\n  a@b/c/: nobody@b/\ncache:\n  shared: {url: \
         \"redis://h\", profiles: [a, none]}\n",
    )
    .bad();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[1].contains("its target: there is no profile nobody"), "{problems:#?}");
    assert!(
        problems[2].contains("\"none\" there is no such profile; there are a"),
        "{problems:#?}"
    );
}

#[test]
fn credentials_of_two_sources_contradict_each_other() {
    let keys = [
        ("section", "s", "is not used: credentials come from"),
        ("process", "p", "is not used: it needs from: process"),
        ("role_arn", "r", "is not used: it needs an access key"),
        ("external_id", "e", "is not used: it needs role_arn and an access key"),
        ("role_session_name", "n", "is not used: it needs role_arn"),
        ("sts_endpoint", "https://s", "is not used: it needs role_arn"),
        ("web_identity_token_file", "/t", "is not used: it needs from: web_identity"),
        ("uri", "https://u", "is not used: it needs from: container"),
        ("token_file", "/t", "is not used: it needs from: container"),
        ("anonymous", "true", "contradicts from"),
    ];
    for (from, needs, allowed) in [
        ("keys", "", &["section", "role_arn"][..]),
        ("process", ", process: p", &["process"]),
        (
            "web_identity",
            ", role_arn: r, web_identity_token_file: /t, sts_endpoint: https://s",
            &["role_arn", "web_identity_token_file", "sts_endpoint", "role_session_name"],
        ),
        ("container", ", uri: https://u", &["uri", "token_file"]),
        ("instance", "", &["uri"]),
        ("anonymous", "", &["anonymous"]),
    ] {
        for (key, value, message) in keys {
            if needs.contains(&format!(", {key}:")) || allowed.contains(&key) {
                continue;
            }
            let text = format!(
                "profiles:\n  h:\n    endpoint: http://h\n    credentials: {{from: {from}{needs}, {key}: \
                 {value}}}\n"
            );
            let problems = yaml(&text).bad();
            let expected = match (from, key) {
                ("anonymous", "section") => "is anonymous and has a section",
                _ => message,
            };
            assert!(problems[0].contains(expected), "{from} and {key}: {problems:#?}");
        }
    }
    let all = "profiles:\n  h:\n    endpoint: http://h\n    credentials: {from: instance, section: s, \
               process: p, anonymous: true}\n";
    assert_eq!(yaml(all).bad().len(), 3, "each is reported");
    let nothing =
        "profiles:\n  h:\n    endpoint: http://h\n    credentials: {from: web_identity}\n";
    let problems = yaml(nothing).bad();
    assert!(problems[0].contains("role_arn, or"), "{problems:#?}");
    assert!(problems[0].contains("web_identity_token_file, or"), "{problems:#?}");
}

/// The default was used without a word. U+FFFD stands for bytes that are not UTF-8.
#[test]
fn a_variable_that_is_not_utf_8_is_a_mistake() {
    let names = global().map(|row| row.variable).chain(variable::FURTHER.iter().copied());
    for name in names.filter(|name| !name.is_empty() && *name != variable::PROFILE_ENDPOINT) {
        let problems = env(&[(name, "a\u{fffd}")]).bad();
        assert_eq!(problems, [format!("{name}: must be text in UTF-8")]);
    }
    for name in ["LSST_RESOURCES_S3_PROFILE_a", "s3proxy_name", "S3PROXY_NAEM"] {
        let problems = env(&[(name, "\u{fffd}")]).bad();
        assert_eq!(problems, [format!("{name}: must be text in UTF-8")]);
    }
    let loaded = env(&[("HOME", "\u{fffd}"), ("LANG", "\u{fffd}")]).good();
    assert!(loaded.warnings.iter().any(|it| it.starts_with("HOME is not UTF-8")));
}

/// Query and fragment were cut off, and blanks were encoded.
#[test]
fn a_url_with_a_part_that_is_not_used_is_a_mistake() {
    for (start, end) in [
        ("profiles:\n  h:\n    endpoint: \"http", "\"\n"),
        (
            "profiles:\n  h:\n    endpoint: http://h\n    credentials: {from: container, uri: \"https",
            "\"}\n",
        ),
        (
            "profiles:\n  h:\n    endpoint: http://h\n    credentials: {from: web_identity, role_arn: r, \
             web_identity_token_file: /t, sts_endpoint: \"https",
            "\"}\n",
        ),
        ("cache: {shared: {url: \"redis", "\"}}\n"),
        ("cache: {shared: {url: \"redis-sentinel", "\"}}\n"),
        ("cors: {origins: [\"http", "\"]}\n"),
    ] {
        for url in ["://x?y", "://x#y", "://x/a b", "://x/a?y", "://x/a#", "://x y"] {
            let problems = yaml(&format!("{start}{url}{end}")).bad();
            assert!(!problems.is_empty(), "{start}{url}");
        }
    }
    let full = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let relative = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    for (name, value) in [
        ("S3_ENDPOINT_URL", "http://x?y"),
        ("AWS_ENDPOINT_URL", "http://x#y"),
        ("LSST_RESOURCES_S3_PROFILE_a", "http://x/a b"),
        (full, "https://x?y"),
        (relative, "/a?b"),
    ] {
        let problems = env(&[(name, value)]).bad();
        assert!(problems[0].starts_with(name), "{name}: {problems:?}");
    }
}
