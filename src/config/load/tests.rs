//! The configuration as a whole: environment, YAML and INI in, values or problems out.

mod all_mistakes;
mod cache;
mod mistakes;
mod providers;
mod shared;
mod shipped;
mod shown;
mod stores;

use super::*;
use crate::config::kind::Accepts;
use crate::config::settings::global;
use crate::config::settings::row::Row;
use crate::config::{LogFormat, show};
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
    assert_eq!(config.gateway.listen[0].to_string(), "0.0.0.0:8080");
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
            proxy: None,
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
            http2_max_streams: 128,
            http2_max_age: secs(3600),
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
    assert_eq!(loaded.config.gateway.listen[0].address.port(), 2);
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
fn every_list_may_be_one_text() {
    // Files must exist, and a listener with TLS needs them: src/config/tls/tests.rs has both.
    let alone = |row: &&Row| !row.path.ends_with("_file") && row.path != "tls.listen";
    let lists = global().filter(|row| matches!(row.accepts, Accepts::List { .. })).filter(alone);
    let mut count = 0;
    for row in lists {
        let item = match row.path {
            "cors.origins" => "https://a.example",
            "cache.shared.profiles" => "default",
            "listen" => "127.0.0.1:9",
            "trusted_proxies" => "10.0.0.0/8",
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
