//! The settings of requests and responses: routes, media types, and pages of other origins.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::kind::{self, Kind};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::listen::Listen;
use crate::config::settings::row::{Row, Setting, Shown};
use crate::config::value::DAY;
use crate::protocol::forwarded::ForwardedHeader;
use crate::protocol::network::Network;

settings! {
    /// Folders that stand for others, as written.
    #[derive(Debug, Clone)]
    pub(in crate::config) struct WrittenAliases, aliases at "" {
        aliases: Vec<(String, String)> {
            kind: kind::aliases(),
            variable: "S3PROXY_ALIASES",
            default: "{}",
            reload: "true",
            text: "Folders that stand for others, such as `{hips@sky/current/: hips@sky/dp1_v2/}`: a release is switched by one change. Decoded, with a slash at the end. The longest that matches applies, once.",
        }
        alias_max_age: u64 {
            kind: kind::seconds(),
            default: "60",
            reload: "true",
            text: "How long clients may use an answer for an alias without asking again, seconds: `Cache-Control` allows no more.",
        }
    }
}

settings! {
    /// The routes, and what holds for all responses.
    #[derive(Debug, Clone)]
    pub struct GatewayConfig, gateway at "" {
        listen: Vec<Listen> {
            kind: kind::addresses(),
            variable: "S3PROXY_LISTEN",
            default: "0.0.0.0:8080",
            text: "The address and port to accept requests on, or a list of them. With the word `proxy_protocol` after the port, as in `0.0.0.0:8081 proxy_protocol`, each connection must begin with a header of the PROXY protocol, version 1 or 2, of one of `trusted_proxies`. With the word `http2`, a connection that begins as one of HTTP/2 is one (prior knowledge): for load balancers that use it without TLS.",
        }
        trusted_proxies: Vec<Network> {
            kind: kind::networks(),
            variable: "S3PROXY_TRUSTED_PROXIES",
            default: "[127.0.0.0/8, '::1/128', 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 'fc00::/7']",
            text: "The networks of the proxies and load balancers in front. They alone may name their clients, by `forwarded_header` or the PROXY protocol; what other clients say there is ignored. The default is this machine and all private networks; where clients are in those, too, name your proxies alone. `[]` trusts nobody.",
        }
        forwarded_header: ForwardedHeader {
            kind: kind::forwarded_header(),
            variable: "S3PROXY_FORWARDED_HEADER",
            default: "X-Forwarded-For",
            text: "The header in which these proxies name their clients: `X-Forwarded-For`, with `X-Forwarded-Proto`, or `Forwarded` (RFC 7239). The other one is ignored.",
        }
        name: String {
            kind: kind::text(),
            variable: "S3PROXY_NAME",
            default: "s3proxy",
            text: "The `name` in the metadata that `/` and `/s3proxy/` return.",
        }
        path_prefix: String {
            kind: kind::path_prefix(),
            variable: "S3PROXY_PATH_PREFIX",
            default: "/s3proxy",
            text: "The prefix of every route except `/`. It starts with a slash and does not end with one, or is empty.",
        }
        require_user: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_REQUIRE_USER",
            default: "false",
            text: "Answer 422 to object requests without `X-Auth-Request-User`, as s3proxy 2.0.1 did.",
        }
        cache_max_age: u64 {
            kind: kind::seconds(),
            variable: "S3PROXY_CACHE_MAX_AGE",
            default: "0",
            text: "Send `Cache-Control: public, max-age=N` with images, N in seconds. `0` sends none.",
        }
        content_security_policy: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_CONTENT_SECURITY_POLICY",
            default: "true",
            reload: "true",
            text: "Send `Content-Security-Policy: sandbox` with HTML, SVG and XML: browsers then run none of their scripts. A profile can have its own.",
        }
        server_timing: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_SERVER_TIMING",
            default: "false",
            text: "Send `Server-Timing`: the result of the cache, the time of the store, and the total time.",
        }
        bucket_validation: bool {
            kind: kind::bucket_validation(),
            variable: "LSST_DISABLE_BUCKET_VALIDATION",
            default: "true",
            text: "Refuse bucket names that break S3's naming rules. `false` also accepts `tenant:bucket` of Ceph. The variable has the opposite meaning: any value except `0`, `f`, `n` and `false` turns the check off.",
        }
        credentials_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "AWS_SHARED_CREDENTIALS_FILE",
            default: "null",
            reload: "true",
            text: "The INI file with the access keys. Unset: `~/.aws/credentials`, if it exists.",
        }
        region: String {
            kind: kind::region(),
            variable: "AWS_DEFAULT_REGION",
            default: "us-east-1",
            reload: "true",
            text: "The region of profiles without a region.",
        }
    }
}

settings! {
    /// The media types as written; `None` is the built-in list or table.
    #[derive(Debug, Clone)]
    pub(in crate::config) struct WrittenMime, mime at "mime." {
        accept: Option<Vec<String>> {
            kind: kind::optional_media_types(),
            variable: "S3PROXY_ACCEPT_MIMETYPES",
            default: "null",
            text: "The media types that may be served. Unset: the built-in list.",
        }
        also_allow: Vec<String> {
            kind: kind::media_types(),
            variable: "S3PROXY_ALSO_ALLOW_MIMETYPES",
            default: "[]",
            text: "Media types to add to `mime.accept`, such as `[text/tab-separated-values]`. This and the other two lists take ranges: `application/*`, and `*/*` for every type.",
        }
        disallow: Vec<String> {
            kind: kind::media_types(),
            variable: "S3PROXY_DISALLOW_MIMETYPES",
            default: "[]",
            text: "Media types to remove from `mime.accept` and `mime.also_allow`, such as `[text/html]`.",
        }
        extensionless: Option<Vec<(String, String)>> {
            kind: kind::optional_media_map(),
            variable: "S3PROXY_EXTENSIONLESS_MIMETYPES",
            default: "null",
            text: "Media types by the last segment of the object key, such as `{properties: text/plain}`, for keys that match no other rule. Unset: the built-in table.",
        }
        also_extensionless: Option<Vec<(String, String)>> {
            kind: kind::optional_media_map(),
            variable: "S3PROXY_ALSO_EXTENSIONLESS_MIMETYPES",
            default: "null",
            text: "Media types to add to `mime.extensionless`, such as `{README: text/plain}`.",
        }
        suffixes: Option<Vec<(String, String)>> {
            kind: kind::optional_media_map(),
            variable: "S3PROXY_SUFFIX_MIMETYPES",
            default: "null",
            text: "Media types by the end of the object key, such as `{\".fits.fz\": image/fits}`, for extensions without a built-in type. The longest match wins; case matters. Unset: the built-in table.",
        }
        also_suffixes: Option<Vec<(String, String)>> {
            kind: kind::optional_media_map(),
            variable: "S3PROXY_ALSO_SUFFIX_MIMETYPES",
            default: "null",
            text: "Media types to add to `mime.suffixes`, such as `{\".parquet\": application/octet-stream}`.",
        }
        default: Option<String> {
            kind: kind::optional_media_type(),
            variable: "S3PROXY_DEFAULT_MIMETYPE",
            default: "null",
            text: "The media type of object keys that match no rule. It must be an accepted type. Unset: such requests are answered 415.",
        }
    }
}

settings! {
    /// Access for pages of other origins, as written.
    #[derive(Debug, Clone)]
    pub(in crate::config) struct WrittenCors, cors at "cors." {
        origins: Vec<String> {
            kind: kind::origins(),
            variable: "S3PROXY_CORS_ORIGINS",
            default: "[]",
            reload: "true",
            text: "The origins whose pages may read responses, such as `[https://data.example.org]`, or `[\"*\"]` for all. The variable also takes one origin, or several with commas between them. `[]` sends no CORS headers.",
        }
        credentials: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_CORS_CREDENTIALS",
            default: "false",
            reload: "true",
            text: "Allow these pages to send cookies. Not allowed together with `\"*\"`.",
        }
        max_age: Duration {
            kind: kind::time::<0, DAY>(),
            variable: "S3PROXY_CORS_MAX_AGE",
            default: "1h",
            reload: "true",
            text: "How long a browser may cache the response to a preflight request.",
        }
    }
}
