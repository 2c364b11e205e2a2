//! The table of settings: where each can be written, its default, and how it is read. Loading,
//! `s3proxy config`, the suggestions for unknown keys and the tests of the documentation all go
//! through it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use log::LevelFilter;
use wildmatch::WildMatch;

use crate::config::LogFormat;
use crate::config::endpoint_url::{EndpointUrl, endpoint_url};
use crate::config::rules;
use crate::config::value::{self, Read};
use crate::s3::endpoint::Addressing;
use crate::s3::profile::ContentTypeFrom;
use crate::secret::Secret;

/// What is said of a setting, whatever its type.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The YAML path; within a profile for the settings of profiles.
    pub path: &'static str,
    /// The environment variable; empty where there is none.
    pub variable: &'static str,
    /// The default as it would be written in YAML; `null` is nothing, or worked out at start.
    pub default: &'static str,
    pub meaning: &'static str,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<T> {
    pub(super) row: Row,
    pub(super) read: Read<T>,
    pub(super) shown: Shown,
}

/// How much of a value a person may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Whole,
    /// A URL without its user info.
    Url,
    /// Not the values of a mapping.
    Names,
    /// With another setting that it is part of.
    Elsewhere,
}

impl<T> Setting<T> {
    const fn new(
        path: &'static str,
        variable: &'static str,
        default: &'static str,
        read: Read<T>,
        meaning: &'static str,
    ) -> Self {
        Self { row: Row { path, variable, default, meaning }, read, shown: Shown::Whole }
    }

    const fn shown(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }
}

const HOUR: u64 = 3_600_000;

pub(super) const LISTEN: Setting<SocketAddr> = Setting::new(
    "listen",
    "S3PROXY_LISTEN",
    "0.0.0.0:8080",
    value::address,
    "The address and port to accept requests on.",
);

pub(super) const NAME: Setting<String> = Setting::new(
    "name",
    "S3PROXY_NAME",
    "s3proxy",
    value::text,
    "The `name` in the metadata answers of `/` and `/s3proxy/`.",
);

pub(super) const PATH_PREFIX: Setting<String> = Setting::new(
    "path_prefix",
    "S3PROXY_PATH_PREFIX",
    "/s3proxy",
    rules::path_prefix,
    "The start of every route but `/`. Empty, or starts with a slash and does not end with one.",
);

pub(super) const REQUIRE_USER: Setting<bool> = Setting::new(
    "require_user",
    "S3PROXY_REQUIRE_USER",
    "false",
    value::boolean,
    "Answer 422 to requests without `X-Auth-Request-User`, as s3proxy 2.0.1 did.",
);

pub(super) const CACHE_MAX_AGE: Setting<u64> = Setting::new(
    "cache_max_age",
    "S3PROXY_CACHE_MAX_AGE",
    "0",
    value::seconds,
    "Seconds: above 0, images are answered with `Cache-Control: public, max-age=N`.",
);

pub(super) const CONTENT_SECURITY_POLICY: Setting<bool> = Setting::new(
    "content_security_policy",
    "S3PROXY_CONTENT_SECURITY_POLICY",
    "true",
    value::boolean,
    "Send `Content-Security-Policy: sandbox` with HTML, SVG and XML.",
);

pub(super) const BUCKET_VALIDATION: Setting<bool> = Setting::new(
    "bucket_validation",
    "LSST_DISABLE_BUCKET_VALIDATION",
    "true",
    rules::bucket_validation,
    "Hold bucket names to S3's rules; off, Ceph's `tenant:bucket` is admitted. The variable says \
     the opposite: anything but `0`, `f`, `n` and `false` switches the check off.",
);

pub(super) const CREDENTIALS_FILE: Setting<Option<PathBuf>> = Setting::new(
    "credentials_file",
    "AWS_SHARED_CREDENTIALS_FILE",
    "null",
    value::optional_path,
    "The INI file with the access keys. Unset: `~/.aws/credentials`, if it exists.",
);

pub(super) const REGION: Setting<String> = Setting::new(
    "region",
    "AWS_DEFAULT_REGION",
    "us-east-1",
    rules::region,
    "The region of profiles that have none of their own.",
);

pub(super) const LOG_FORMAT: Setting<LogFormat> = Setting::new(
    "log.format",
    "S3PROXY_PROFILE",
    "development",
    rules::log_format,
    "`development` is text for a person, `production` is one JSON object per line.",
);

pub(super) const LOG_LEVEL: Setting<LevelFilter> = Setting::new(
    "log.level",
    "S3PROXY_LOG_LEVEL",
    "INFO",
    rules::log_level,
    "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`, in any case.",
);

pub(super) const ACCEPT: Setting<Option<Vec<String>>> = Setting::new(
    "mime.accept",
    "S3PROXY_ACCEPT_MIMETYPES",
    "null",
    rules::optional_media_types,
    "The media types that may be served, in place of the built-in list.",
);

pub(super) const ALSO_ALLOW: Setting<Vec<String>> = Setting::new(
    "mime.also_allow",
    "S3PROXY_ALSO_ALLOW_MIMETYPES",
    "[]",
    rules::media_types,
    "Media types to add to `mime.accept`.",
);

pub(super) const DISALLOW: Setting<Vec<String>> = Setting::new(
    "mime.disallow",
    "S3PROXY_DISALLOW_MIMETYPES",
    "[]",
    rules::media_types,
    "Media types to take away from `mime.accept` and `mime.also_allow`.",
);

pub(super) const EXTENSIONLESS: Setting<Option<Vec<(String, String)>>> = Setting::new(
    "mime.extensionless",
    "S3PROXY_EXTENSIONLESS_MIMETYPES",
    "null",
    rules::optional_media_map,
    "Media types by the last part of the key, for keys no other rule knows, in place of the \
     built-in ones.",
);

pub(super) const SUFFIXES: Setting<Option<Vec<(String, String)>>> = Setting::new(
    "mime.suffixes",
    "S3PROXY_SUFFIX_MIMETYPES",
    "null",
    rules::optional_media_map,
    "Media types by the end of the key (the longest wins, case counts), for keys the table of \
     endings does not know, in place of the built-in ones.",
);

pub(super) const DEFAULT_MIMETYPE: Setting<Option<String>> = Setting::new(
    "mime.default",
    "S3PROXY_DEFAULT_MIMETYPE",
    "null",
    rules::optional_media_type,
    "The media type of keys no rule knows; it must be among the accepted ones to be served. \
     Unset, such keys are answered 415.",
);

pub(super) const CORS_ORIGINS: Setting<Vec<String>> = Setting::new(
    "cors.origins",
    "S3PROXY_CORS_ORIGINS",
    "[]",
    rules::origins,
    "The origins whose pages may read answers, or `\"*\"` alone. None: no CORS headers are sent.",
);

pub(super) const CORS_CREDENTIALS: Setting<bool> = Setting::new(
    "cors.credentials",
    "S3PROXY_CORS_CREDENTIALS",
    "false",
    value::boolean,
    "Let such pages send cookies; not together with `\"*\"`.",
);

pub(super) const CORS_MAX_AGE: Setting<Duration> = Setting::new(
    "cors.max_age",
    "S3PROXY_CORS_MAX_AGE",
    "1h",
    value::duration::<0, { 24 * HOUR }>,
    "How long a browser may keep the answer to a preflight request.",
);

pub(super) const CONNECT_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.connect_timeout",
    "S3PROXY_UPSTREAM_CONNECT_TIMEOUT",
    "2s",
    value::duration::<1, HOUR>,
    "TCP connect and TLS handshake of one attempt.",
);

pub(super) const FIRST_BYTE_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.first_byte_timeout",
    "S3PROXY_UPSTREAM_FIRST_BYTE_TIMEOUT",
    "15s",
    value::duration::<1, HOUR>,
    "From a request sent to the first byte of its answer; at most `upstream.read_timeout`.",
);

pub(super) const READ_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.read_timeout",
    "S3PROXY_UPSTREAM_READ_TIMEOUT",
    "30s",
    value::duration::<1, HOUR>,
    "The longest pause between two pieces of an answer.",
);

pub(super) const TOTAL_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.total_timeout",
    "S3PROXY_UPSTREAM_TOTAL_TIMEOUT",
    "20s",
    value::duration::<1, HOUR>,
    "All attempts of one request together, up to the head of the answer.",
);

pub(super) const RETRIES: Setting<usize> = Setting::new(
    "upstream.retries",
    "S3PROXY_UPSTREAM_RETRIES",
    "1",
    value::count::<0, 1>,
    "Further attempts after the first: 0 or 1.",
);

pub(super) const IDLE_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.idle_timeout",
    "S3PROXY_UPSTREAM_IDLE_TIMEOUT",
    "60s",
    value::duration::<1, HOUR>,
    "How long an unused connection to a store is kept.",
);

pub(super) const KEEPALIVE_POOL_SIZE: Setting<usize> = Setting::new(
    "upstream.keepalive_pool_size",
    "S3PROXY_UPSTREAM_KEEPALIVE_POOL_SIZE",
    "512",
    value::count::<1, 100_000>,
    "How many unused connections are kept, over all stores.",
);

pub(super) const DNS_REFRESH: Setting<Duration> = Setting::new(
    "upstream.dns_refresh",
    "S3PROXY_UPSTREAM_DNS_REFRESH",
    "30s",
    value::duration::<1000, { 24 * HOUR }>,
    "How often the names of stores are looked up again.",
);

pub(super) const CA_FILE: Setting<Option<PathBuf>> = Setting::new(
    "upstream.ca_file",
    "S3PROXY_UPSTREAM_CA_FILE",
    "null",
    value::optional_path,
    "A PEM file with the certificates to trust in place of the system's.",
);

pub(super) const HEADER_TIMEOUT: Setting<Duration> = Setting::new(
    "downstream.header_timeout",
    "S3PROXY_DOWNSTREAM_HEADER_TIMEOUT",
    "10s",
    value::duration::<100, HOUR>,
    "From the first byte of a client's request to the end of its headers.",
);

pub(super) const HEADER_MAX_BYTES: Setting<usize> = Setting::new(
    "downstream.header_max_bytes",
    "S3PROXY_DOWNSTREAM_HEADER_MAX_BYTES",
    "32KiB",
    value::size::<4096, { 1 << 20 }>,
    "Request line and headers together.",
);

pub(super) const KEEPALIVE_TIMEOUT: Setting<Duration> = Setting::new(
    "downstream.keepalive_timeout",
    "S3PROXY_DOWNSTREAM_KEEPALIVE_TIMEOUT",
    "75s",
    value::duration::<1000, HOUR>,
    "How long an idle connection of a client is kept: longer than the ingress keeps it (60 s for \
     ingress-nginx), or the ingress answers 502 now and then.",
);

pub(super) const WRITE_TIMEOUT: Setting<Duration> = Setting::new(
    "downstream.write_timeout",
    "S3PROXY_DOWNSTREAM_WRITE_TIMEOUT",
    "60s",
    value::duration::<100, HOUR>,
    "How long one write to a client may take.",
);

pub(super) const THREADS: Setting<Option<usize>> = Setting::new(
    "server.threads",
    "S3PROXY_SERVER_THREADS",
    "null",
    value::optional_count::<1, 1024>,
    "Threads that serve requests. Unset: as many as the process may use processors.",
);

pub(super) const LAME_DUCK: Setting<Duration> = Setting::new(
    "server.lame_duck",
    "S3PROXY_SERVER_LAME_DUCK",
    "5s",
    value::duration::<0, HOUR>,
    "After SIGTERM: how long requests are still accepted.",
);

pub(super) const GRACE_PERIOD: Setting<Duration> = Setting::new(
    "server.grace_period",
    "S3PROXY_SERVER_GRACE_PERIOD",
    "15s",
    value::duration::<0, HOUR>,
    "After `server.lame_duck`: how long running requests may take to end.",
);

pub(super) const UPGRADE_SOCK: Setting<PathBuf> = Setting::new(
    "server.upgrade_sock",
    "S3PROXY_SERVER_UPGRADE_SOCK",
    "/tmp/s3proxy-upgrade.sock",
    value::path,
    "Where a new process takes over the listening sockets of an old one (SIGQUIT).",
);

/// The settings that hold for the whole gateway.
pub const GLOBAL: &[Row] = &[
    LISTEN.row,
    NAME.row,
    PATH_PREFIX.row,
    REQUIRE_USER.row,
    CACHE_MAX_AGE.row,
    CONTENT_SECURITY_POLICY.row,
    BUCKET_VALIDATION.row,
    CREDENTIALS_FILE.row,
    REGION.row,
    LOG_FORMAT.row,
    LOG_LEVEL.row,
    ACCEPT.row,
    ALSO_ALLOW.row,
    DISALLOW.row,
    EXTENSIONLESS.row,
    SUFFIXES.row,
    DEFAULT_MIMETYPE.row,
    CORS_ORIGINS.row,
    CORS_CREDENTIALS.row,
    CORS_MAX_AGE.row,
    CONNECT_TIMEOUT.row,
    FIRST_BYTE_TIMEOUT.row,
    READ_TIMEOUT.row,
    TOTAL_TIMEOUT.row,
    RETRIES.row,
    IDLE_TIMEOUT.row,
    KEEPALIVE_POOL_SIZE.row,
    DNS_REFRESH.row,
    CA_FILE.row,
    HEADER_TIMEOUT.row,
    HEADER_MAX_BYTES.row,
    KEEPALIVE_TIMEOUT.row,
    WRITE_TIMEOUT.row,
    THREADS.row,
    LAME_DUCK.row,
    GRACE_PERIOD.row,
    UPGRADE_SOCK.row,
];

/// The settings of one profile; their paths are within `default_profile` or `profiles.NAME`, and
/// only the endpoint and the section have variables, which differ between the two.
pub(super) mod profile {
    use super::*;

    pub(in crate::config) const ENDPOINT: Setting<Option<EndpointUrl>> = Setting::new(
        "endpoint",
        "",
        "null",
        endpoint_url,
        "The URL of the store, with or without `key:secret@`, or `aws`. Unset: for a named profile \
         that of the default profile, for the default profile AWS.",
    )
    .shown(Shown::Url);

    pub(in crate::config) const REGION: Setting<Option<String>> = Setting::new(
        "region",
        "",
        "null",
        rules::optional_region,
        "The region to sign for. Unset: `region` of the INI section, else the global `region`.",
    );

    pub(in crate::config) const ADDRESSING: Setting<Option<Addressing>> = Setting::new(
        "addressing",
        "",
        "null",
        rules::addressing,
        "`path` or `virtual`. Unset: `virtual` for AWS, `path` for an endpoint with a URL.",
    );

    pub(in crate::config) const SECTION: Setting<Option<String>> = Setting::new(
        "credentials.section",
        "",
        "null",
        rules::optional_section,
        "The INI section with the keys. Unset: the one with the name of the profile, `default` for \
         the default profile.",
    )
    .shown(Shown::Elsewhere);

    pub(in crate::config) const ANONYMOUS: Setting<bool> = Setting::new(
        "credentials.anonymous",
        "",
        "false",
        value::boolean,
        "Send requests unsigned, to public buckets. It must be said: it is never taken from absent keys.",
    )
    .shown(Shown::Elsewhere);

    pub(in crate::config) const BUCKETS: Setting<Option<Vec<WildMatch>>> = Setting::new(
        "buckets",
        "",
        "null",
        rules::buckets,
        "The buckets that may be named, with `*` and `?` as wildcards. Unset: every bucket.",
    );

    pub(in crate::config) const MISSING_ON_403: Setting<bool> = Setting::new(
        "missing_on_403",
        "",
        "false",
        value::boolean,
        "Answer 404 for the store's 403: without the right to list a bucket, missing keys are 403.",
    );

    pub(in crate::config) const CONTENT_TYPE: Setting<ContentTypeFrom> = Setting::new(
        "content_type",
        "",
        "key",
        rules::content_type,
        "`key` takes the media type from the end of the key, `origin` from the store.",
    );

    pub(in crate::config) const RESPONSE_HEADERS: Setting<Vec<WildMatch>> = Setting::new(
        "response_headers",
        "",
        "[]",
        rules::response_headers,
        "Further headers of the store to pass to the client, with `*` and `?` as wildcards.",
    );

    pub(in crate::config) const REQUEST_HEADERS: Setting<Vec<WildMatch>> = Setting::new(
        "request_headers",
        "",
        "[]",
        rules::request_headers,
        "Headers of the client to pass to the store, unsigned, with `*` and `?` as wildcards.",
    );

    pub(in crate::config) const UPSTREAM_HEADERS: Setting<Vec<(HeaderName, Secret)>> =
        Setting::new(
            "upstream_headers",
            "",
            "{}",
            rules::upstream_headers,
            "Headers to add to every request to the store and to sign; their values are secrets.",
        )
        .shown(Shown::Names);

    pub(in crate::config) const CACHE_CONTROL: Setting<Option<HeaderValue>> = Setting::new(
        "cache_control",
        "",
        "null",
        rules::cache_control,
        "`Cache-Control` of this profile's answers, in place of the `cache_max_age` rule.",
    );
}

/// The settings every profile has.
pub const PROFILE: &[Row] = &[
    profile::ENDPOINT.row,
    profile::REGION.row,
    profile::ADDRESSING.row,
    profile::SECTION.row,
    profile::ANONYMOUS.row,
    profile::BUCKETS.row,
    profile::MISSING_ON_403.row,
    profile::CONTENT_TYPE.row,
    profile::RESPONSE_HEADERS.row,
    profile::REQUEST_HEADERS.row,
    profile::UPSTREAM_HEADERS.row,
    profile::CACHE_CONTROL.row,
];

/// The path of the configuration file.
pub const CONFIG_FILE: &str = "S3PROXY_CONFIG";
/// A size of 4096 or more, which nothing depends on any more.
pub(super) const STREAM_CHUNK_SIZE: &str = "S3PROXY_STREAM_CHUNK_SIZE";
/// The endpoint of the default profile.
pub(super) const DEFAULT_ENDPOINT: &str = "S3_ENDPOINT_URL";
/// The same, where the former is empty.
pub(super) const AWS_ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";
/// The INI section of the default profile.
pub(super) const DEFAULT_SECTION: &str = "AWS_PROFILE";
pub(super) const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
pub(super) const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
pub(super) const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
/// The endpoint of a named profile, by the rest of the variable's name.
pub(super) const PROFILE_ENDPOINT: &str = "LSST_RESOURCES_S3_PROFILE_";

/// The variables that stand for no single row of the table.
pub const FURTHER_VARIABLES: &[&str] = &[
    CONFIG_FILE,
    STREAM_CHUNK_SIZE,
    DEFAULT_ENDPOINT,
    AWS_ENDPOINT,
    DEFAULT_SECTION,
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    PROFILE_ENDPOINT,
];

/// Every variable that is read.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    let of_rows = GLOBAL.iter().map(|row| row.variable).filter(|name| !name.is_empty());
    of_rows.chain(FURTHER_VARIABLES.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_has_the_name_of_one_that_kubernetes_sets_for_a_service_called_s3proxy() {
        for name in variables() {
            assert!(!name.starts_with("S3PROXY_PORT"), "{name}");
            assert!(!name.starts_with("S3PROXY_SERVICE_"), "{name}");
        }
    }

    #[test]
    fn no_path_and_no_variable_is_used_twice() {
        let mut names: Vec<&str> = GLOBAL.iter().map(|row| row.path).chain(variables()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_meaning_is_a_sentence() {
        for row in GLOBAL.iter().chain(PROFILE) {
            assert!(row.meaning.ends_with('.'), "{}", row.path);
        }
    }
}
