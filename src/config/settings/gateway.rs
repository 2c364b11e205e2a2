//! The settings that hold for the whole gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::config::settings::{Row, Setting, cache};
use crate::config::{LogFormat, rules, value};

pub(super) const HOUR: u64 = 3_600_000;

pub(in crate::config) const LISTEN: Setting<SocketAddr> = Setting::new(
    "listen",
    "S3PROXY_LISTEN",
    "0.0.0.0:8080",
    value::address,
    "The address and port to accept requests on.",
);

pub(in crate::config) const ADMIN_LISTEN: Setting<Option<SocketAddr>> = Setting::new(
    "admin.listen",
    "S3PROXY_ADMIN_LISTEN",
    "127.0.0.1:9090",
    rules::optional_address,
    "The address and port for operators, who may purge the cache there; `off` for none.",
);

pub(in crate::config) const NAME: Setting<String> = Setting::new(
    "name",
    "S3PROXY_NAME",
    "s3proxy",
    value::text,
    "The `name` in the metadata answers of `/` and `/s3proxy/`.",
);

pub(in crate::config) const PATH_PREFIX: Setting<String> = Setting::new(
    "path_prefix",
    "S3PROXY_PATH_PREFIX",
    "/s3proxy",
    rules::path_prefix,
    "The start of every route but `/`. Empty, or starts with a slash and does not end with one.",
);

pub(in crate::config) const REQUIRE_USER: Setting<bool> = Setting::new(
    "require_user",
    "S3PROXY_REQUIRE_USER",
    "false",
    value::boolean,
    "Answer 422 to requests without `X-Auth-Request-User`, as s3proxy 2.0.1 did.",
);

pub(in crate::config) const CACHE_MAX_AGE: Setting<u64> = Setting::new(
    "cache_max_age",
    "S3PROXY_CACHE_MAX_AGE",
    "0",
    value::seconds,
    "Seconds: above 0, images are answered with `Cache-Control: public, max-age=N`.",
);

pub(in crate::config) const CONTENT_SECURITY_POLICY: Setting<bool> = Setting::new(
    "content_security_policy",
    "S3PROXY_CONTENT_SECURITY_POLICY",
    "true",
    value::boolean,
    "Send `Content-Security-Policy: sandbox` with HTML, SVG and XML.",
);

pub(in crate::config) const SERVER_TIMING: Setting<bool> = Setting::new(
    "server_timing",
    "S3PROXY_SERVER_TIMING",
    "false",
    value::boolean,
    "Send `Server-Timing`: what the cache did, and the time of the store and of all.",
);

pub(in crate::config) const BUCKET_VALIDATION: Setting<bool> = Setting::new(
    "bucket_validation",
    "LSST_DISABLE_BUCKET_VALIDATION",
    "true",
    rules::bucket_validation,
    "Hold bucket names to S3's rules; off, Ceph's `tenant:bucket` is admitted. The variable says \
     the opposite: anything but `0`, `f`, `n` and `false` switches the check off.",
);

pub(in crate::config) const CREDENTIALS_FILE: Setting<Option<PathBuf>> = Setting::new(
    "credentials_file",
    "AWS_SHARED_CREDENTIALS_FILE",
    "null",
    value::optional_path,
    "The INI file with the access keys. Unset: `~/.aws/credentials`, if it exists.",
);

pub(in crate::config) const REGION: Setting<String> = Setting::new(
    "region",
    "AWS_DEFAULT_REGION",
    "us-east-1",
    rules::region,
    "The region of profiles that have none of their own.",
);

pub(in crate::config) const LOG_FORMAT: Setting<LogFormat> = Setting::new(
    "log.format",
    "S3PROXY_PROFILE",
    "development",
    rules::log_format,
    "`development` is text for a person, `production` is one JSON object per line.",
);

pub(in crate::config) const LOG_LEVEL: Setting<LevelFilter> = Setting::new(
    "log.level",
    "S3PROXY_LOG_LEVEL",
    "INFO",
    rules::log_level,
    "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`, in any case.",
);

pub(in crate::config) const ACCEPT: Setting<Option<Vec<String>>> = Setting::new(
    "mime.accept",
    "S3PROXY_ACCEPT_MIMETYPES",
    "null",
    rules::optional_media_types,
    "The media types that may be served, in place of the built-in list.",
);

pub(in crate::config) const ALSO_ALLOW: Setting<Vec<String>> = Setting::new(
    "mime.also_allow",
    "S3PROXY_ALSO_ALLOW_MIMETYPES",
    "[]",
    rules::media_types,
    "Media types to add to `mime.accept`.",
);

pub(in crate::config) const DISALLOW: Setting<Vec<String>> = Setting::new(
    "mime.disallow",
    "S3PROXY_DISALLOW_MIMETYPES",
    "[]",
    rules::media_types,
    "Media types to take away from `mime.accept` and `mime.also_allow`.",
);

pub(in crate::config) const EXTENSIONLESS: Setting<Option<Vec<(String, String)>>> = Setting::new(
    "mime.extensionless",
    "S3PROXY_EXTENSIONLESS_MIMETYPES",
    "null",
    rules::optional_media_map,
    "Media types by the last part of the key, for keys no other rule knows, in place of the \
     built-in ones.",
);

pub(in crate::config) const SUFFIXES: Setting<Option<Vec<(String, String)>>> = Setting::new(
    "mime.suffixes",
    "S3PROXY_SUFFIX_MIMETYPES",
    "null",
    rules::optional_media_map,
    "Media types by the end of the key (the longest wins, case counts), for keys the table of \
     endings does not know, in place of the built-in ones.",
);

pub(in crate::config) const DEFAULT_MIMETYPE: Setting<Option<String>> = Setting::new(
    "mime.default",
    "S3PROXY_DEFAULT_MIMETYPE",
    "null",
    rules::optional_media_type,
    "The media type of keys no rule knows; it must be among the accepted ones to be served. \
     Unset, such keys are answered 415.",
);

pub(in crate::config) const CORS_ORIGINS: Setting<Vec<String>> = Setting::new(
    "cors.origins",
    "S3PROXY_CORS_ORIGINS",
    "[]",
    rules::origins,
    "The origins whose pages may read answers, or `\"*\"` alone. None: no CORS headers are sent.",
);

pub(in crate::config) const CORS_CREDENTIALS: Setting<bool> = Setting::new(
    "cors.credentials",
    "S3PROXY_CORS_CREDENTIALS",
    "false",
    value::boolean,
    "Let such pages send cookies; not together with `\"*\"`.",
);

pub(in crate::config) const CORS_MAX_AGE: Setting<Duration> = Setting::new(
    "cors.max_age",
    "S3PROXY_CORS_MAX_AGE",
    "1h",
    value::duration::<0, { 24 * HOUR }>,
    "How long a browser may keep the answer to a preflight request.",
);

pub(in crate::config) const CONNECT_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.connect_timeout",
    "S3PROXY_UPSTREAM_CONNECT_TIMEOUT",
    "2s",
    value::duration::<1, HOUR>,
    "TCP connect and TLS handshake of one attempt.",
);

pub(in crate::config) const FIRST_BYTE_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.first_byte_timeout",
    "S3PROXY_UPSTREAM_FIRST_BYTE_TIMEOUT",
    "15s",
    value::duration::<1, HOUR>,
    "From a request sent to the first byte of its answer; at most `upstream.read_timeout`.",
);

pub(in crate::config) const READ_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.read_timeout",
    "S3PROXY_UPSTREAM_READ_TIMEOUT",
    "30s",
    value::duration::<1, HOUR>,
    "The longest pause between two pieces of an answer.",
);

pub(in crate::config) const TOTAL_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.total_timeout",
    "S3PROXY_UPSTREAM_TOTAL_TIMEOUT",
    "20s",
    value::duration::<1, HOUR>,
    "All attempts of one request together, up to the head of the answer.",
);

pub(in crate::config) const RETRIES: Setting<usize> = Setting::new(
    "upstream.retries",
    "S3PROXY_UPSTREAM_RETRIES",
    "1",
    value::count::<0, 1>,
    "Further attempts after the first: 0 or 1.",
);

pub(in crate::config) const IDLE_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.idle_timeout",
    "S3PROXY_UPSTREAM_IDLE_TIMEOUT",
    "60s",
    value::duration::<1, HOUR>,
    "How long an unused connection to a store is kept.",
);

pub(in crate::config) const KEEPALIVE_POOL_SIZE: Setting<usize> = Setting::new(
    "upstream.keepalive_pool_size",
    "S3PROXY_UPSTREAM_KEEPALIVE_POOL_SIZE",
    "512",
    value::count::<1, 100_000>,
    "How many unused connections are kept, over all stores, by requests that pass the cache by and by \
     its fetches each.",
);

pub(in crate::config) const DNS_REFRESH: Setting<Duration> = Setting::new(
    "upstream.dns_refresh",
    "S3PROXY_UPSTREAM_DNS_REFRESH",
    "30s",
    value::duration::<1000, { 24 * HOUR }>,
    "How often the names of stores are looked up again.",
);

pub(in crate::config) const MAX_IN_FLIGHT: Setting<usize> = Setting::new(
    "upstream.max_in_flight",
    "S3PROXY_UPSTREAM_MAX_IN_FLIGHT",
    "256",
    value::count::<1, 100_000>,
    "Requests to the store of one profile at once; parts of objects get at most three in four of them, \
     so that there is room for tiles.",
);

pub(in crate::config) const QUEUE_TIMEOUT: Setting<Duration> = Setting::new(
    "upstream.queue_timeout",
    "S3PROXY_UPSTREAM_QUEUE_TIMEOUT",
    "1s",
    value::duration::<0, HOUR>,
    "How long a request beyond `upstream.max_in_flight` waits for its turn before it is answered 503; \
     what is kept is served all the same.",
);

pub(in crate::config) const CA_FILE: Setting<Option<PathBuf>> = Setting::new(
    "upstream.ca_file",
    "S3PROXY_UPSTREAM_CA_FILE",
    "null",
    value::optional_path,
    "A PEM file with the certificates to trust in place of the system's.",
);

pub(in crate::config) const HEADER_TIMEOUT: Setting<Duration> = Setting::new(
    "downstream.header_timeout",
    "S3PROXY_DOWNSTREAM_HEADER_TIMEOUT",
    "10s",
    value::duration::<100, HOUR>,
    "From the first byte of a client's request to the end of its headers.",
);

pub(in crate::config) const HEADER_MAX_BYTES: Setting<u64> = Setting::new(
    "downstream.header_max_bytes",
    "S3PROXY_DOWNSTREAM_HEADER_MAX_BYTES",
    "32KiB",
    value::size::<4096, { 1 << 20 }>,
    "Request line and headers together.",
);

pub(in crate::config) const KEEPALIVE_TIMEOUT: Setting<Duration> = Setting::new(
    "downstream.keepalive_timeout",
    "S3PROXY_DOWNSTREAM_KEEPALIVE_TIMEOUT",
    "75s",
    value::duration::<1000, HOUR>,
    "How long an idle connection of a client is kept: longer than the ingress keeps it (60 s for \
     ingress-nginx), or the ingress answers 502 now and then.",
);

pub(in crate::config) const WRITE_TIMEOUT: Setting<Duration> = Setting::new(
    "downstream.write_timeout",
    "S3PROXY_DOWNSTREAM_WRITE_TIMEOUT",
    "60s",
    value::duration::<100, HOUR>,
    "How long one write to a client may take.",
);

pub(in crate::config) const MAX_CONNECTIONS: Setting<usize> = Setting::new(
    "downstream.max_connections",
    "S3PROXY_DOWNSTREAM_MAX_CONNECTIONS",
    "4096",
    value::count::<16, 1_000_000>,
    "Connections of clients at once; further ones are answered 503 and closed. Where more than three in \
     four are open, answers end their connections.",
);

pub(in crate::config) const MAX_REQUESTS_PER_USER: Setting<usize> = Setting::new(
    "downstream.max_requests_per_user",
    "S3PROXY_DOWNSTREAM_MAX_REQUESTS_PER_USER",
    "0",
    value::count::<0, 1_000_000>,
    "Requests of one `X-Auth-Request-User` at once; further ones are answered 429. `0`: no limit.",
);

pub(in crate::config) const THREADS: Setting<Option<usize>> = Setting::new(
    "server.threads",
    "S3PROXY_SERVER_THREADS",
    "null",
    value::optional_count::<1, 1024>,
    "Threads that serve requests. Unset: as many as the process may use processors.",
);

pub(in crate::config) const LAME_DUCK: Setting<Duration> = Setting::new(
    "server.lame_duck",
    "S3PROXY_SERVER_LAME_DUCK",
    "5s",
    value::duration::<0, HOUR>,
    "After SIGTERM: how long requests are still accepted.",
);

pub(in crate::config) const GRACE_PERIOD: Setting<Duration> = Setting::new(
    "server.grace_period",
    "S3PROXY_SERVER_GRACE_PERIOD",
    "15s",
    value::duration::<0, HOUR>,
    "After `server.lame_duck`: how long running requests may take to end.",
);

pub(in crate::config) const RELOAD_INTERVAL: Setting<Duration> = Setting::new(
    "server.reload_interval",
    "S3PROXY_SERVER_RELOAD_INTERVAL",
    "2s",
    value::duration::<0, HOUR>,
    "How often the credentials file and the YAML file are looked at; what has changed and then stands \
     still as long is taken over. `0`: only on SIGHUP, and when a store no longer knows a key.",
);

pub(in crate::config) const UPGRADE_SOCK: Setting<PathBuf> = Setting::new(
    "server.upgrade_sock",
    "S3PROXY_SERVER_UPGRADE_SOCK",
    "/tmp/s3proxy-upgrade.sock",
    value::path,
    "Where a new process takes over the listening sockets of an old one (SIGQUIT).",
);

/// The settings that hold for the whole gateway.
pub const ALL: &[Row] = &[
    LISTEN.row,
    NAME.row,
    PATH_PREFIX.row,
    REQUIRE_USER.row,
    CACHE_MAX_AGE.row,
    CONTENT_SECURITY_POLICY.row,
    SERVER_TIMING.row,
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
    MAX_IN_FLIGHT.row,
    QUEUE_TIMEOUT.row,
    CA_FILE.row,
    HEADER_TIMEOUT.row,
    HEADER_MAX_BYTES.row,
    KEEPALIVE_TIMEOUT.row,
    WRITE_TIMEOUT.row,
    MAX_CONNECTIONS.row,
    MAX_REQUESTS_PER_USER.row,
    THREADS.row,
    LAME_DUCK.row,
    GRACE_PERIOD.row,
    RELOAD_INTERVAL.row,
    UPGRADE_SOCK.row,
    ADMIN_LISTEN.row,
    cache::MEMORY.row,
    cache::DISK_PATH.row,
    cache::DISK_SIZE.row,
    cache::BACKGROUND_REFRESHES.row,
    cache::BLOCKS_SIZE.row,
    cache::BLOCKS_SHARE.row,
    cache::BLOCKS_READ_AHEAD.row,
    cache::STORE.row,
    cache::TTL.row,
    cache::NEGATIVE_TTL.row,
    cache::STALE_WHILE_REVALIDATE.row,
    cache::STALE_IF_ERROR.row,
    cache::MAX_OBJECT.row,
    cache::CLIENT_NO_CACHE.row,
    cache::PATTERNS.row,
];
