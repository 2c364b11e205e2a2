//! The configuration as a whole: environment, YAML and INI in, values or problems out.

use super::*;
use crate::config::settings::{FURTHER_VARIABLES, GLOBAL, PROFILE};
use crate::config::{LogFormat, show, show_json};
use crate::s3::endpoint::Addressing;
use crate::s3::profile::{CredentialSource, Credentials, Profile};

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
    assert_eq!(loaded.warnings, [""; 0]);
    let config = loaded.config;
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.name, "s3proxy");
    assert_eq!(config.path_prefix, "/s3proxy");
    assert_eq!(config.log.format, LogFormat::Development);
    assert_eq!(config.log.level, log::LevelFilter::Info);
    assert!(!config.require_user && config.content_security_policy && config.bucket_validation);
    assert_eq!(config.cache_max_age, 0);
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
            dns_refresh: secs(30),
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
        }
    );
    assert_eq!(
        config.server,
        ServerConfig {
            threads: 3,
            lame_duck: secs(5),
            grace_period: secs(15),
            upgrade_sock: "/tmp/s3proxy-upgrade.sock".into(),
        }
    );
    let default = &config.profiles.default;
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
    assert_eq!(loaded.config.listen.port(), 2);
    assert_eq!(loaded.config.name, "file");
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
    ];
    for row in GLOBAL.iter().filter(|row| !free.contains(&row.variable)) {
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
        ("S3PROXY_LOG_LEVEL", "warn", false),
        ("S3PROXY_CACHE_MAX_AGE", "86400", true),
        ("S3PROXY_CACHE_MAX_AGE", "1.0", true),
        ("S3PROXY_CACHE_MAX_AGE", "\"86400\"", false),
        ("S3PROXY_STREAM_CHUNK_SIZE", "4096", true),
        ("S3PROXY_STREAM_CHUNK_SIZE", "4095", false),
        ("S3PROXY_ALSO_ALLOW_MIMETYPES", "[\"a/b\"]", true),
        ("S3PROXY_ALSO_ALLOW_MIMETYPES", "a/b", false),
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
    ] {
        assert_eq!(env(&[(name, text)]).load().is_ok(), good, "{name}={text}");
    }
}

#[test]
fn bucket_validation_is_switched_by_the_variable_of_the_opposite_name() {
    for (text, on) in [("", true), ("0", true), ("FALSE", true), ("1", false), ("no", false)] {
        let loaded = env(&[("LSST_DISABLE_BUCKET_VALIDATION", text)]).good();
        assert_eq!(loaded.config.bucket_validation, on, "{text}");
    }
    assert!(!yaml("bucket_validation: false").good().config.bucket_validation);
}

#[test]
fn a_named_profile_takes_keys_from_its_url_or_its_section_and_never_from_the_environment() {
    let access = [("AWS_ACCESS_KEY_ID", "ENVKEY"), ("AWS_SECRET_ACCESS_KEY", "hush-env")];
    let urls = [
        ("LSST_RESOURCES_S3_PROFILE_hips", "https://hips.example/base/"),
        ("LSST_RESOURCES_S3_PROFILE_url", "http://URLKEY:hush%2Furl@url.example:9000"),
        ("LSST_RESOURCES_S3_PROFILE_none", "https://none.example"),
    ];
    let all: Vec<_> = access.iter().chain(&urls).copied().collect();
    let loaded = Case { env: &all, ini: INI, ..Case::default() }.good();

    let hips = named(&loaded, "hips");
    assert_eq!(hips.endpoint.to_string(), "https://hips.example/base");
    assert_eq!(keys(hips), ("HIPSKEY0002", "hush-hips"));
    assert_eq!(hips.region, "eu-west-1");
    assert_eq!(hips.addressing, Addressing::Path);
    let Credentials::Keys { source, keys: hips_keys } = &hips.credentials else {
        panic!("hips has keys")
    };
    let section = "hips".to_owned();
    assert_eq!(*source, CredentialSource::File { path: "c.ini".into(), section });
    assert!(hips_keys.session_token.is_some());

    let url = named(&loaded, "url");
    assert_eq!(keys(url), ("URLKEY", "hush/url"));
    assert_eq!(url.region, "us-east-1");

    let none = &named(&loaded, "none").credentials;
    let Credentials::Missing(why) = none else { panic!("{none:?}") };
    assert_eq!(why, "there is no section [none] in c.ini");
    assert_eq!(loaded.warnings, ["none@ will be refused: there is no section [none] in c.ini"]);

    assert_eq!(keys(&loaded.config.profiles.default), ("ENVKEY", "hush-env"));
}

#[test]
fn the_default_profile_looks_in_its_url_then_the_environment_then_its_section() {
    let url = ("S3_ENDPOINT_URL", "https://URLKEY:hush@h");
    let id = ("AWS_ACCESS_KEY_ID", "ENVKEY");
    let secret = ("AWS_SECRET_ACCESS_KEY", "hush");
    let profile = ("AWS_PROFILE", "hips");
    for (env, key) in [
        (&[url, id, secret, profile][..], "URLKEY"),
        (&[id, secret, profile], "ENVKEY"),
        (&[profile], "HIPSKEY0002"),
        (&[], "DEFAULTKEY0001"),
    ] {
        let loaded = Case { env, ini: INI, ..Case::default() }.good();
        assert_eq!(keys(&loaded.config.profiles.default).0, key);
    }
}

#[test]
fn half_a_pair_is_a_mistake_wherever_it_is() {
    assert_eq!(
        env(&[("AWS_SECRET_ACCESS_KEY", "hush")]).bad(),
        ["AWS_SECRET_ACCESS_KEY: is there without AWS_ACCESS_KEY_ID"]
    );
    let case = Case { ini: "\n[x]\naws_secret_access_key = hush", ..Case::default() };
    assert_eq!(
        case.bad(),
        ["c.ini:3: [x] aws_secret_access_key: is there without aws_access_key_id"]
    );
}

#[test]
fn keys_with_a_line_break_at_the_end_are_refused() {
    let problems = env(&[("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "hush\n")]).bad();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("AWS_SECRET_ACCESS_KEY: must be printable"), "{problems:?}");
}

#[test]
fn the_default_endpoint_has_two_variables_and_the_first_wins() {
    let one = ("S3_ENDPOINT_URL", "https://one.example");
    let two = ("AWS_ENDPOINT_URL_S3", "https://two.example");
    let none = ("S3_ENDPOINT_URL", "");
    let file = "default_profile: {endpoint: https://file.example}";
    for (env, yaml, endpoint) in [
        (&[one, two][..], file, "https://one.example"),
        (&[none, two], file, "https://two.example"),
        (&[none], file, "https://file.example"),
        (&[none], "", "https://s3.us-east-1.amazonaws.com"),
    ] {
        let loaded = Case { env, yaml, ..Case::default() }.good();
        assert_eq!(loaded.config.profiles.default.endpoint.to_string(), endpoint);
    }
}

#[test]
fn a_section_without_an_endpoint_is_a_profile_on_the_default_one_with_a_warning() {
    let case = Case {
        env: &[
            ("S3_ENDPOINT_URL", "https://default.example"),
            ("LSST_RESOURCES_S3_PROFILE_Hips", "https://hips.example"),
        ],
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    let orphan = named(&loaded, "hips");
    assert_eq!(orphan.endpoint.to_string(), "https://default.example");
    assert_eq!(keys(orphan).0, "HIPSKEY0002");
    assert_eq!(loaded.orphan_sections, ["hips"]);
    assert_eq!(
        loaded.warnings,
        [
            "Hips@ will be refused: there is no section [Hips] in c.ini; did you mean [hips]?",
            "c.ini:4: section [hips] has no endpoint (there is one for Hips): hips@ uses its \
             keys at the endpoint of the default profile; set LSST_RESOURCES_S3_PROFILE_hips if \
             that is wrong",
        ]
    );
    assert_eq!(keys(named(&loaded, "default")).0, "DEFAULTKEY0001");
}

#[test]
fn a_section_without_keys_makes_no_profile() {
    let loaded = Case { ini: "[x]\nregion = y", ..Case::default() }.good();
    assert!(loaded.config.profiles.named.is_empty());
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn yaml_names_sections_and_anonymous_access() {
    let case = Case {
        yaml: "default_profile: {credentials: {section: hips}}\n\
               profiles:\n  a: {credentials: {section: hips}, region: mars-1}\n  \
               p: {credentials: {anonymous: true}, endpoint: aws, region: eu-west-3}\n",
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    assert_eq!(keys(&loaded.config.profiles.default).0, "HIPSKEY0002");
    assert_eq!(loaded.config.profiles.default.region, "eu-west-1");
    assert_eq!(keys(named(&loaded, "a")).0, "HIPSKEY0002");
    assert_eq!(named(&loaded, "a").region, "mars-1");
    let public = named(&loaded, "p");
    assert_eq!(public.credentials, Credentials::Anonymous);
    assert_eq!(public.endpoint.to_string(), "https://s3.eu-west-3.amazonaws.com");
    assert_eq!(public.addressing, Addressing::Virtual);
    assert_eq!(loaded.config.profiles.get(Some("hips")).map(|p| p.label()), None, "taken by a");
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn credentials_that_contradict_each_other_are_refused() {
    for (yaml, start) in [
        (
            "profiles:\n  a:\n    endpoint: https://k:hush@h\n    credentials:\n      \
             anonymous: true\n",
            "c.yaml:5: profiles.a.credentials: is anonymous and has keys in the endpoint URL",
        ),
        (
            "profiles:\n  a:\n    credentials:\n      section: hips\n      anonymous: true\n",
            "c.yaml:5: profiles.a.credentials: is anonymous and has a section",
        ),
        (
            "profiles:\n  a:\n    credentials:\n      section: hpis\n",
            "c.yaml:4: profiles.a.credentials.section: there is no section [hpis] in c.ini; did \
             you mean [hips]?",
        ),
    ] {
        let problems = Case { yaml, ini: INI, ..Case::default() }.bad();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(start), "{problems:?}");
    }
}

#[test]
fn an_environment_endpoint_replaces_that_of_the_file_with_its_keys() {
    let case = Case {
        env: &[("LSST_RESOURCES_S3_PROFILE_hips", "https://env.example")],
        yaml: "profiles:\n  hips:\n    endpoint: https://FILEKEY:hush@file.example\n    \
               addressing: virtual\n    missing_on_403: true\n    buckets: [a-*]\n",
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    let hips = named(&loaded, "hips");
    assert_eq!(hips.endpoint.to_string(), "https://env.example");
    assert_eq!(keys(hips).0, "HIPSKEY0002");
    assert_eq!(hips.addressing, Addressing::Virtual);
    assert!(hips.missing_on_403 && hips.admits("a-b") && !hips.admits("b"));
}

#[test]
fn regions_come_from_profile_section_or_the_global_setting() {
    let case = Case {
        env: &[("AWS_DEFAULT_REGION", "env-1"), ("AWS_REGION", "unread-1")],
        yaml: "region: file-1\nprofiles: {hips: {}, a: {}, b: {region: own-1}}",
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    for (name, region, source) in [
        ("hips", "eu-west-1", "c.ini:8"),
        ("a", "env-1", "AWS_DEFAULT_REGION"),
        ("b", "own-1", "c.yaml:2"),
    ] {
        assert_eq!(named(&loaded, name).region, region, "{name}");
        let shown = setting(&loaded, &format!("profiles.{name}.region"));
        assert_eq!((shown.value.as_str(), shown.source.to_string().as_str()), (region, source));
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
fn the_credentials_file_in_the_home_directory_is_optional() {
    let loaded = env(&[("HOME", "/home/x")]).good();
    assert_eq!(keys(&loaded.config.profiles.default).0, "DEFAULTKEY0001");
    assert_eq!(loaded.credentials_file, Some("/home/x/.aws/credentials".into()));
    assert_eq!(env(&[("HOME", "/home/y")]).good().warnings, [""; 0]);
    let tilde = [("HOME", "/home/u"), ("AWS_SHARED_CREDENTIALS_FILE", "~/c.ini")];
    assert_eq!(env(&tilde).good().credentials_file, Some("/home/u/c.ini".into()));
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
        (env(&[("S3PROXY_STREAM_CHUNK_SIZE", "262144")]), "has no effect"),
        (env(&[("S3PROXY_CACHE_MAXAGE", "1")]), "did you mean S3PROXY_CACHE_MAX_AGE?"),
        (env(&[("S3_ENDPOINT_URL", "http://h")]), "URLs without a profile will be refused"),
        (env(&[("LSST_RESOURCES_S3_PROFILE_x", "")]), "LSST_RESOURCES_S3_PROFILE_x is empty"),
        (yaml("server: {grace_period: 30s}"), "make 35s together"),
        (
            yaml("mime: {accept: [a/b], default: c/d}"),
            "mime.default is c/d, which may not be served",
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
            "profiles.hips.credentials = key ending 0002, section [hips] (c.ini:4)",
        ),
    ] {
        assert_eq!(line(key), expected);
    }
    let json: serde_json::Value = serde_json::from_str(&show_json(&loaded)).expect("valid JSON");
    assert_eq!(json["settings"][0]["key"], "listen");
    assert_eq!(json["settings"].as_array().map(Vec::len), Some(loaded.settings.len()));
}

const FULL: &str = include_str!("../../../conf/s3proxy.yaml");
const MINIMAL: &str = include_str!("../../../conf/minimal.yaml");
const EXAMPLE_INI: &str = include_str!("../../../conf/aws-credentials.ini.example");
const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_shipped_files_load() {
    for (name, text) in [("s3proxy.yaml", FULL), ("minimal.yaml", MINIMAL)] {
        for ini in ["", EXAMPLE_INI] {
            let loaded = Case { yaml: text, ini, ..Case::default() }.good();
            assert_eq!(named(&loaded, "hips").endpoint.to_string(), "https://s3.example.org");
            if ini.is_empty() {
                continue;
            }
            assert_eq!(keys(named(&loaded, "hips")).0, "PLACEHOLDER-HIPS-KEY-ID", "{name}");
            assert_eq!(loaded.orphan_sections, ["embargo"], "{name}");
        }
    }
}

#[test]
fn the_shipped_full_example_says_the_defaults() {
    let defaults = env(&[]).good().settings;
    let full = yaml(FULL).good();
    for expected in defaults {
        let found = setting(&full, &expected.key);
        assert_eq!(found.value, expected.value, "{}", expected.key);
    }
}

/// The paths of every mapping of a YAML text whose keys are settings.
fn mappings(node: &serde_yaml::Value, path: &[String], found: &mut Vec<Vec<String>>) {
    let Some(mapping) = node.as_mapping() else { return };
    if path.last().is_some_and(|last| last == "upstream_headers") {
        return;
    }
    found.push(path.to_vec());
    for (key, value) in mapping {
        let mut below = path.to_vec();
        below.push(key.as_str().expect("keys are text").to_owned());
        mappings(value, &below, found);
    }
}

#[test]
fn a_stray_key_in_any_mapping_of_the_full_example_is_reported_by_path_and_line() {
    let root: serde_yaml::Value = serde_yaml::from_str(FULL).expect("valid YAML");
    let mut found = Vec::new();
    mappings(&root, &[], &mut found);
    assert!(found.len() >= 10, "{found:?}");
    for path in found {
        // Below the key of the mapping, two columns further in.
        let opening = crate::config::lines::Lines::of(FULL).find(&path);
        let at = if path.is_empty() { 0 } else { opening };
        let mut lines: Vec<String> = FULL.lines().map(str::to_owned).collect();
        lines.insert(at, format!("{}stray: 1", "  ".repeat(path.len())));
        let problems = yaml(&lines.join("\n")).bad();
        let key = path.iter().map(String::as_str).chain(["stray"]).collect::<Vec<_>>().join(".");
        let start = format!("c.yaml:{}: {key}: ", at + 1);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with(&start), "{start} in {problems:?}");
    }
}

#[test]
fn every_setting_is_in_the_documentation_and_in_the_full_example() {
    let root: serde_yaml::Value = serde_yaml::from_str(FULL).expect("valid YAML");
    let has = |path: &str| path.split('.').try_fold(&root, |node, key| node.get(key)).is_some();
    for row in GLOBAL {
        assert!(has(row.path), "conf/s3proxy.yaml lacks {}", row.path);
    }
    for row in PROFILE {
        assert!(
            has(&format!("profiles.hips.{}", row.path)),
            "conf/s3proxy.yaml lacks {}",
            row.path
        );
    }
    for row in GLOBAL.iter().chain(PROFILE) {
        let line = if row.variable.is_empty() {
            format!("| `{}` | `{}` | {} |", row.path, row.default, row.meaning)
        } else {
            format!("| `{}` | `{}` | `{}` | {} |", row.path, row.variable, row.default, row.meaning)
        };
        assert!(DOCUMENTATION.contains(&line), "docs/configuration.md lacks this line:\n{line}");
    }
    for name in FURTHER_VARIABLES {
        assert!(DOCUMENTATION.contains(&format!("`{name}")), "docs/configuration.md lacks {name}");
    }
    for row in GLOBAL.iter().filter(|row| !row.variable.is_empty()) {
        assert!(FULL.contains(row.variable), "conf/s3proxy.yaml lacks {}", row.variable);
    }
}

#[test]
fn every_setting_of_the_table_is_read() {
    let loaded = env(&[]).good();
    for row in GLOBAL {
        setting(&loaded, row.path);
    }
    for row in PROFILE.iter().filter(|row| !row.path.starts_with("credentials.")) {
        setting(&loaded, &format!("default_profile.{}", row.path));
    }
    setting(&loaded, "default_profile.credentials");
}
