//! Mistakes, contradictions and what was hardly meant: all are reported, where they were written.

use super::*;

#[test]
fn a_mistake_is_reported_even_where_another_place_overrides_it() {
    let case = Case { yaml: "listen: nowhere", ..env(&[("S3PROXY_LISTEN", "[::1]:80")]) };
    let problems = case.bad();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("c.yaml:1: listen: \"nowhere\" must be"), "{problems:?}");
}

#[test]
fn every_mistake_is_reported_in_one_run_in_the_order_of_files_variables_and_options() {
    let mut case = Case {
        yaml: "listne: x\nupstream:\n  retries: 2\n  read_timeout: soon\ncors:\n  max_age: -1\n\
               profiles:\n  hips:\n    endpoint: nowhere\n    credentials:\n      section: none\n",
        ini: "[a]\naws_access_key_id = x\n",
        ..env(&[
            ("S3PROXY_PATH_PREFIX", "s3proxy/"),
            ("S3PROXY_CACHE_MAX_AGE", ""),
            ("S3PROXY_ACCEPT_MIMETYPES", ""),
            ("S3PROXY_STREAM_CHUNK_SIZE", "100"),
            ("S3_ENDPOINT_URL", "s3.example.org"),
            ("AWS_ACCESS_KEY_ID", "AK"),
        ])
    };
    case.flags.listen = Some("8080".to_owned());
    let problems = case.bad();
    let places: Vec<&str> = problems
        .iter()
        .map(|problem| problem.split_once(": ").expect("a place before the text").0)
        .collect();
    assert_eq!(
        places,
        [
            "c.ini:2",
            "c.yaml:1",
            "c.yaml:3",
            "c.yaml:4",
            "c.yaml:6",
            "c.yaml:9",
            "c.yaml:11",
            "AWS_ACCESS_KEY_ID",
            "S3PROXY_ACCEPT_MIMETYPES",
            "S3PROXY_CACHE_MAX_AGE",
            "S3PROXY_PATH_PREFIX",
            "S3PROXY_STREAM_CHUNK_SIZE",
            "S3_ENDPOINT_URL",
            "--listen",
        ],
        "{problems:#?}"
    );
}

#[test]
fn every_variable_refuses_what_it_cannot_mean() {
    // The names and places where any text is good.
    let free = [
        "S3PROXY_NAME",
        "LSST_DISABLE_BUCKET_VALIDATION",
        "AWS_PROFILE",
        "S3PROXY_SERVER_UPGRADE_SOCK",
        "S3PROXY_CACHE_DISK_PATH",
        // Not read without an engine.
        "S3PROXY_CACHE_SHARED_PASSWORD_FILE",
        "S3PROXY_CACHE_SHARED_CA_FILE",
        "S3PROXY_CACHE_SHARED_MAC_KEY_FILE",
        // None.
        "",
    ];
    for row in global().filter(|row| !free.contains(&row.variable)) {
        let problems = env(&[(row.variable, "?? \n")]).bad();
        assert!(problems[0].starts_with(&format!("{}: ", row.variable)), "{problems:?}");
        assert!(!problems[0].contains('\n'), "{problems:?}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    for (name, path) in [
        ("S3PROXY_CONFIG", "missing.yaml"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/pod-secrets/missing.ini"),
        ("S3PROXY_UPSTREAM_CA_FILE", "denied"),
    ] {
        let problems = env(&[(name, path)]).bad();
        let start = format!("{name}: {path:?} cannot be read: ");
        assert!(problems[0].starts_with(&start), "{problems:?}");
    }
    assert!(env(&[("S3PROXY_UPSTREAM_CA_FILE", "ca.pem")]).load().is_ok());
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        (
            "upstream:\n  read_timeout: 5s",
            "c.yaml:2: upstream.read_timeout: upstream.first_byte_timeout (15s) must not be \
             longer than upstream.read_timeout (5s)",
        ),
        (
            "listen: 127.0.0.1:7\nadmin:\n  listen: 0.0.0.0:7",
            "c.yaml:1: listen: listen (127.0.0.1:7) and admin.listen (0.0.0.0:7) need different \
             ports",
        ),
        (
            "cors:\n  origins: ['*']\n  credentials: true",
            "c.yaml:3: cors.credentials: browsers refuse cors.credentials together with the \
             origin *: name the origins",
        ),
    ] {
        assert_eq!(yaml(text).bad(), [expected]);
    }
}

/// Any other mistake of one of the two settings hid it, although the addresses could be read.
#[test]
fn one_port_in_two_settings_is_told_whatever_else_is_wrong_with_them() {
    const TLS: &str = "tls: {certificate_file: ca.pem, key_file: denied, listen:";
    for (text, expected) in [
        // A problem that is not of the value.
        (
            "listen: ['127.0.0.1:7', '127.0.0.2:7 http2']\nadmin: {listen: '127.0.0.1:7'}"
                .to_owned(),
            &[
                "listen (127.0.0.1:7) and listen (127.0.0.2:7 http2)",
                "listen (127.0.0.1:7) and admin",
            ][..],
        ),
        // A list with a part that cannot be read.
        (
            "listen: ['127.0.0.1:7', nowhere]\nadmin: {listen: '127.0.0.1:7'}".to_owned(),
            &["listen (127.0.0.1:7) and admin.listen (127.0.0.1:7)"],
        ),
        // An address with a word that cannot be read.
        (
            format!("listen: '127.0.0.1:7 http3'\n{TLS} '127.0.0.1:7 http2'}}"),
            &["tls.listen (127.0.0.1:7 http2) and listen (127.0.0.1:7)"],
        ),
        (
            "listen: '127.0.0.1:7'\nadmin: {listen: '127.0.0.1:7 http2'}".to_owned(),
            &["listen (127.0.0.1:7) and admin.listen (127.0.0.1:7 http2)"],
        ),
        // Several conflicts of one setting.
        (
            format!(
                "listen: '127.0.0.1:7'\n{TLS} '127.0.0.1:7'}}\nadmin: {{listen: '127.0.0.1:7'}}"
            ),
            &[
                "tls.listen (127.0.0.1:7) and listen (127.0.0.1:7)",
                "tls.listen (127.0.0.1:7) and admin.listen (127.0.0.1:7)",
                "listen (127.0.0.1:7) and admin.listen (127.0.0.1:7)",
            ],
        ),
    ] {
        let problems = yaml(&text).bad();
        let told: Vec<_> = problems.iter().filter(|it| it.contains("need different")).collect();
        assert_eq!(told.len(), expected.len(), "{text}: {problems:#?}");
        for part in expected {
            assert!(told.iter().any(|it| it.contains(&format!(": {part}"))), "{part}: {told:#?}");
        }
    }
    // A default that stands in for what cannot be read is on no port.
    let problems = yaml("listen: nowhere\nadmin: {listen: '127.0.0.1:8080'}").bad();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    // A mistake in the file that a variable replaces hides none of the variable.
    let replaced = Case {
        yaml: "listen: nowhere\nadmin: {listen: '127.0.0.1:7'}",
        ..env(&[("S3PROXY_LISTEN", "127.0.0.1:7")])
    };
    assert_eq!(replaced.bad().len(), 2, "{:#?}", replaced.bad());
}

/// The first listener made `trusted_proxies` wrong, which hid the second.
#[test]
fn every_listener_with_a_header_of_proxies_nobody_trusts_is_told() {
    let text = "trusted_proxies: []\nlisten: '127.0.0.1:7 proxy_protocol'\ntls: {certificate_file: ca.pem, \
                key_file: denied, listen: '127.0.0.1:8 proxy_protocol'}";
    let problems = yaml(text).bad();
    let told = problems.iter().filter(|it| it.contains("needs trusted_proxies")).count();
    assert_eq!(told, 2, "{problems:#?}");
}

/// One contradiction of a setting hid another one.
#[test]
fn a_setting_that_contradicts_two_others_is_told_twice() {
    let text = "upstream: {first_byte_timeout: 9s, read_timeout: 5s, ca_file: empty}\ncache: {shared: {url: \
                'redis://h', ca_file: password}}";
    let problems = yaml(text).bad();
    assert_eq!(problems.len(), 4, "{problems:#?}");
}

#[test]
fn what_was_hardly_meant_is_a_warning() {
    for (case, part) in [
        (env(&[("S3PROXY_STREAM_CHUNK_SIZE", "262144")]), "is ignored"),
        (env(&[("S3PROXY_CACHE_MAXAGE", "1")]), "did you mean S3PROXY_CACHE_MAX_AGE?"),
        (env(&[("S3_ENDPOINT_URL", "http://h")]), "URLs without a profile will be refused"),
        (env(&[("LSST_RESOURCES_S3_PROFILE_x", "")]), "LSST_RESOURCES_S3_PROFILE_x is empty"),
        (yaml("server: {grace_period: 30s}"), "make 35s together"),
        (yaml("cache: {disk: {size: 1GiB}}"), "cache.disk.size has no effect without"),
        (
            yaml("cache: {disk: {path: a}, memory: 0}"),
            "cache.disk.path has no effect: cache.memory",
        ),
        (
            yaml("cache: {memory: 8MiB, max_object: 5MiB}"),
            "cache.max_object is 5MiB, more than half of cache.memory, 8MiB",
        ),
        (
            yaml("cache: {memory: 64MiB, blocks: {size: 8MiB}}"),
            "cache.blocks.size is 8MiB, more than a third of the 25 % of cache.memory, 64MiB, that \
             blocks may use: no block will be cached in memory",
        ),
        (
            yaml("cache: {memory: 64MiB, blocks: {share: 4}}"),
            "cache.blocks.size is 1MiB, more than a third of the 4 % of cache.memory",
        ),
        (
            yaml("cache: {memory: 64MiB, blocks: {read_ahead: 17MiB}}"),
            "cache.blocks.read_ahead is 17MiB, more than the 25 % of cache.memory, 64MiB, that \
             blocks may use: prefetched blocks may be evicted",
        ),
        (
            yaml("cache: {memory: 8MiB, patterns: [{match: a, max_object: 5MiB}]}"),
            "cache.patterns[0].max_object is 5MiB",
        ),
        (
            yaml("cache: {memory: 8MiB}\nprofiles: {a: {cache: {max_object: 5MiB}}}"),
            "profiles.a.cache.max_object is 5MiB",
        ),
        (
            yaml("mime: {accept: [a/b], default: c/d}"),
            "mime.default is c/d, which is not an accepted type",
        ),
    ] {
        let warnings = case.good().warnings;
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:?}");
    }
}
