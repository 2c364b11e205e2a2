//! The configuration as a whole: environment, YAML and INI in, values or problems out.

mod cache;
mod providers;
mod shared;
mod shipped;
mod stores;

use super::*;
use crate::config::kind::Accepts;
use crate::config::settings::global;
use crate::config::{LogFormat, show, show_json};
use crate::profile::Profile;
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::Addressing;

const INI: &str = "\
[default]
aws_access_key_id = DEFAULTKEY0001
aws_secret_access_key = hush-default
[hips]
aws_access_key_id = HIPSKEY0002
aws_secret_access_key = hush-hips
aws_session_token = hush-token
region = eu-west-1
";

/// What one test writes, and where.
#[derive(Default)]
struct Case<'a> {
    env: &'a [(&'a str, &'a str)],
    yaml: &'a str,
    ini: &'a str,
    flags: Flags,
}

impl Case<'_> {
    fn load(&self) -> Result<Loaded, Vec<String>> {
        let mut environment: BTreeMap<String, String> =
            self.env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        if !self.yaml.is_empty() {
            environment.insert("S3PROXY_CONFIG".to_owned(), "c.yaml".to_owned());
        }
        if !self.ini.is_empty() {
            environment.insert("AWS_SHARED_CREDENTIALS_FILE".to_owned(), "c.ini".to_owned());
        }
        let read = |path: &Path| match path.to_str() {
            Some("c.yaml") => Ok(self.yaml.to_owned()),
            Some("c.ini" | "/home/u/c.ini") => Ok(self.ini.to_owned()),
            Some("/home/x/.aws/credentials") => Ok(INI.to_owned()),
            Some("ca.pem") => Ok("-----BEGIN CERTIFICATE-----".to_owned()),
            Some("password") => Ok("hush-engine\n".to_owned()),
            Some("mac") => Ok("hush-0123456789abcdef0123456789abcdef\n".to_owned()),
            Some("empty") => Ok(" \n".to_owned()),
            Some("denied") => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let flags = self.flags.clone();
        load(&Inputs { environment, flags, processors: 3, read: &read })
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn good(&self) -> Loaded {
        self.load().expect("a configuration without problems")
    }

    #[track_caller]
    fn bad(&self) -> Vec<String> {
        self.load().expect_err("problems")
    }
}

fn env<'a>(env: &'a [(&'a str, &'a str)]) -> Case<'a> {
    Case { env, ..Case::default() }
}

fn yaml(yaml: &str) -> Case<'_> {
    Case { yaml, ..Case::default() }
}

#[track_caller]
fn named<'a>(loaded: &'a Loaded, name: &str) -> &'a Profile {
    loaded.config.profiles.get(Some(name)).expect("a profile of this name")
}

#[track_caller]
fn default(loaded: &Loaded) -> &Profile {
    loaded.config.profiles.default.as_ref().expect("a default profile")
}

/// Key id and secret.
#[track_caller]
fn keys(profile: &Profile) -> (&str, &str) {
    match &profile.credentials {
        Credentials::Keys { keys, .. } => (&keys.access_key_id, keys.secret_access_key.expose()),
        other => panic!("{} has no keys: {other:?}", profile.label()),
    }
}

#[track_caller]
fn setting<'a>(loaded: &'a Loaded, key: &str) -> &'a Effective {
    loaded.settings.iter().find(|setting| setting.key == key).expect("a setting of this name")
}

#[test]
fn nothing_written_is_a_configuration_with_the_documented_defaults() {
    let loaded = env(&[]).good();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].starts_with("no profile has credentials"));
    let config = loaded.config;
    assert_eq!(config.gateway.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.gateway.name, "s3proxy");
    assert_eq!(config.gateway.path_prefix, "/s3proxy");
    assert_eq!(config.log.format, LogFormat::Development);
    assert_eq!(config.log.level, log::LevelFilter::Info);
    assert!(
        !config.gateway.require_user
            && config.gateway.content_security_policy
            && config.gateway.bucket_validation
    );
    assert_eq!(config.gateway.cache_max_age, 0);
    assert_eq!(config.cors, None);
    let secs = Duration::from_secs;
    assert_eq!(
        config.upstream,
        UpstreamConfig {
            connect_timeout: secs(2),
            first_byte_timeout: secs(15),
            read_timeout: secs(30),
            total_timeout: secs(20),
            retries: 1,
            idle_timeout: secs(60),
            keepalive_pool_size: 512,
            probe: true,
            dns_refresh: secs(30),
            max_in_flight: 256,
            client_share: 50,
            queue_timeout: secs(1),
            ca_file: None,
        }
    );
    assert_eq!(
        config.downstream,
        DownstreamConfig {
            header_timeout: secs(10),
            header_max_bytes: 32 << 10,
            keepalive_timeout: secs(75),
            write_timeout: secs(60),
            min_rate: 8 << 10,
            tcp_user_timeout: secs(20),
            max_connections: 4096,
            max_requests_per_user: 0,
        }
    );
    assert_eq!(
        config.server,
        ServerConfig {
            threads: 3,
            lame_duck: secs(5),
            grace_period: secs(15),
            reload_interval: secs(2),
            upgrade_sock: None,
            direct_hits: true,
        }
    );
    assert_eq!(
        config.admin_listen.map(|address| address.to_string()),
        Some("127.0.0.1:9090".into())
    );
    let default = config.profiles.default.as_ref().expect("a default profile");
    assert_eq!(default.endpoint.to_string(), "https://s3.us-east-1.amazonaws.com");
    assert_eq!(default.addressing, Addressing::Virtual);
    assert!(matches!(default.credentials, Credentials::Missing(_)));
    assert!(config.profiles.named.is_empty());
}

#[test]
fn a_later_place_wins_and_says_so() {
    let mut case = Case {
        yaml: "listen: 127.0.0.1:1\nname: file\nlog: {level: ERROR}",
        ..env(&[("s3proxy_listen", "127.0.0.1:2"), ("S3PROXY_LOG_LEVEL", "warning")])
    };
    case.flags.log_level = Some("debug".to_owned());
    let loaded = case.good();
    assert_eq!(loaded.config.gateway.listen.port(), 2);
    assert_eq!(loaded.config.gateway.name, "file");
    assert_eq!(loaded.config.log.level, log::LevelFilter::Debug);
    for (key, source) in [
        ("listen", "s3proxy_listen"),
        ("name", "c.yaml:2"),
        ("log.level", "--log-level"),
        ("log.format", "default"),
    ] {
        assert_eq!(setting(&loaded, key).source.to_string(), source, "{key}");
    }
    assert_eq!(loaded.config_file, Some("c.yaml".into()));
}

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
fn variables_have_todays_meanings() {
    for (name, text, good) in [
        ("S3PROXY_PATH_PREFIX", "", true),
        ("S3PROXY_PATH_PREFIX", "/", false),
        ("S3PROXY_PROFILE", "production", true),
        ("S3PROXY_PROFILE", "Production", false),
        ("S3PROXY_LOG_LEVEL", "critical", true),
        ("S3PROXY_LOG_LEVEL", "warn", true),
        ("S3PROXY_CACHE_MAX_AGE", "86400", true),
        ("S3PROXY_CACHE_MAX_AGE", "1.0", true),
        ("S3PROXY_CACHE_MAX_AGE", "\"86400\"", false),
        ("S3PROXY_STREAM_CHUNK_SIZE", "4096", true),
        ("S3PROXY_STREAM_CHUNK_SIZE", "4095", false),
        ("S3PROXY_ALSO_ALLOW_MIMETYPES", "[\"a/b\"]", true),
        ("S3PROXY_ALSO_ALLOW_MIMETYPES", "a/b", true),
        ("S3PROXY_ALSO_ALLOW_MIMETYPES", "", false),
        ("S3PROXY_SUFFIX_MIMETYPES", "{\".x\":\"a/b\"}", true),
        ("S3PROXY_SUFFIX_MIMETYPES", "", false),
        ("S3PROXY_DEFAULT_MIMETYPE", "", true),
        ("S3PROXY_CONFIG", "", true),
        ("S3_ENDPOINT_URL", "", true),
        ("S3_ENDPOINT_URL", "https://h/", true),
        ("S3_ENDPOINT_URL", "h", false),
        ("LSST_RESOURCES_S3_PROFILE_x", "https://key@h", false),
        ("LSST_RESOURCES_S3_PROFILE_x", "https://key:a%2Fb@h", true),
        ("LSST_RESOURCES_S3_PROFILE_x", "https://key:a/b@h", false),
        ("S3PROXY_SOMETHING_ELSE", "x", true),
        ("S3PROXY_PORT", "tcp://10.0.0.1:8080", true),
        ("S3PROXY_ADMIN_LISTEN", "off", true),
        ("S3PROXY_ADMIN_LISTEN", "", true),
        ("S3PROXY_ADMIN_LISTEN", "9090", false),
        ("S3PROXY_ADMIN_LISTEN", "0.0.0.0:8080", false),
        ("S3PROXY_LISTEN", "0.0.0.0:9090", false),
        ("S3PROXY_LISTEN", "[::1]:9090", true),
        ("S3PROXY_CACHE_MEMORY", "auto", true),
        ("S3PROXY_CACHE_MEMORY", "256Mi", true),
        ("S3PROXY_CACHE_MEMORY", "256", false),
        ("S3PROXY_CACHE_DISK_PATH", "", true),
        ("S3PROXY_CACHE_MEMORY", "512M", true),
        ("S3PROXY_LISTEN", "localhost:8080", true),
        ("S3PROXY_CORS_ORIGINS", "*", true),
        ("S3PROXY_CORS_ORIGINS", "https://data.example.org", true),
        ("S3PROXY_CACHE_DISK_SIZE", "63MiB", false),
        ("S3PROXY_CACHE_DISK_SIZE", "64MiB", true),
        ("S3PROXY_CACHE_TTL", "300", true),
        ("S3PROXY_CACHE_TTL", "0", true),
        ("S3PROXY_CACHE_TTL", "366d", false),
        ("S3PROXY_CACHE_NEGATIVE_TTL", "2h", true),
        ("S3PROXY_CACHE_MAX_OBJECT", "16MB", true),
        ("S3PROXY_CACHE_BACKGROUND_REFRESHES", "0", false),
    ] {
        assert_eq!(env(&[(name, text)]).load().is_ok(), good, "{name}={text}");
    }
}

#[test]
fn bucket_validation_is_switched_by_the_variable_of_the_opposite_name() {
    for (text, on) in [("", true), ("0", true), ("FALSE", true), ("1", false), ("no", false)] {
        let loaded = env(&[("LSST_DISABLE_BUCKET_VALIDATION", text)]).good();
        assert_eq!(loaded.config.gateway.bucket_validation, on, "{text}");
    }
    assert!(!yaml("bucket_validation: false").good().config.gateway.bucket_validation);
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
fn every_list_may_be_one_text() {
    let lists = global().filter(|row| matches!(row.accepts, Accepts::List { .. }));
    let mut count = 0;
    for row in lists {
        let item = match row.path {
            "cors.origins" => "https://a.example",
            "cache.shared.profiles" => "default",
            path if path.starts_with("mime.") => "image/png",
            _ => "a.example",
        };
        let value = |value: &str| {
            let keys: Vec<&str> = row.path.split('.').collect();
            let inner = format!("{}: {value}", keys[keys.len() - 1]);
            let outer = keys.iter().rev().skip(1);
            outer.fold(inner, |inner, key| format!("{key}: {{ {inner} }}"))
        };
        let read = |written: Case<'_>| {
            let shown = written.good().settings.into_iter().find(|it| it.key == row.path);
            // Some are shown as they were written, with or without brackets.
            let shown = shown.expect("the setting is shown").value;
            shown.trim_matches(['[', ']', '"']).to_owned()
        };
        let many = format!("[{item}]");
        assert_eq!(read(yaml(&value(item))), read(yaml(&value(&many))), "{}", row.path);
        if !row.variable.is_empty() {
            let many = format!("[\"{item}\"]");
            let of_variable = |text| read(env(&[(row.variable, text)]));
            assert_eq!(of_variable(item), of_variable(&many), "{}", row.path);
        }
        count += 1;
    }
    assert!(count >= 4, "{count} lists");
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
    let shown = format!("{}{}{loaded:?}", show(&loaded), show_json(&loaded));
    assert!(!shown.contains("hush"), "{shown}");
    assert!(!show(&loaded).contains("HIPSKEY"), "only the end of a key id is shown");
    assert!(show(&loaded).contains("key ending 0002, section [hips]"), "{}", show(&loaded));

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
    let shown = show(&loaded);
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
    let json: serde_json::Value = serde_json::from_str(&show_json(&loaded)).expect("valid JSON");
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
