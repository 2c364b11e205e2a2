//! The settings of one profile. Their paths are within `default_profile` or `profiles.NAME`, and only
//! the endpoint and the section have variables, which differ between the two.

use http::{HeaderName, HeaderValue};
use wildmatch::WildMatch;

use crate::config::endpoint_url::{EndpointUrl, endpoint_url};
use crate::config::settings::{Row, Setting, Shown, cache};
use crate::config::{headers, rules, value};
use crate::profile::ContentTypeFrom;
use crate::s3::endpoint::Addressing;
use crate::s3::secret::Secret;

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
    headers::response_headers,
    "Further headers of the store to pass to the client, with `*` and `?` as wildcards.",
);

pub(in crate::config) const REQUEST_HEADERS: Setting<Vec<WildMatch>> = Setting::new(
    "request_headers",
    "",
    "[]",
    headers::request_headers,
    "Headers of the client to pass to the store, unsigned, with `*` and `?` as wildcards.",
);

pub(in crate::config) const UPSTREAM_HEADERS: Setting<Vec<(HeaderName, Secret)>> = Setting::new(
    "upstream_headers",
    "",
    "{}",
    headers::upstream_headers,
    "Headers to add to every request to the store and to sign; their values are secrets.",
)
.shown(Shown::Names);

pub(in crate::config) const CACHE_CONTROL: Setting<Option<HeaderValue>> = Setting::new(
    "cache_control",
    "",
    "null",
    headers::cache_control,
    "`Cache-Control` of this profile's answers, in place of the `cache_max_age` rule.",
);

/// The settings every profile has.
pub const ALL: &[Row] = &[
    ENDPOINT.row,
    REGION.row,
    ADDRESSING.row,
    SECTION.row,
    ANONYMOUS.row,
    BUCKETS.row,
    MISSING_ON_403.row,
    CONTENT_TYPE.row,
    RESPONSE_HEADERS.row,
    REQUEST_HEADERS.row,
    UPSTREAM_HEADERS.row,
    CACHE_CONTROL.row,
    cache::PATTERNS.row,
];
