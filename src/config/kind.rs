//! The kinds of values: how a value is read, and the same in a form that the documentation and the JSON
//! Schema are generated from. A range is written once, as parameter of the kind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use log::LevelFilter;
use wildmatch::WildMatch;

use crate::config::aliases;
use crate::config::credentials_from::{self, CredentialsFrom};
use crate::config::endpoint_url::{self, EndpointUrl};
use crate::config::engine_url::{self, EngineUrl};
use crate::config::listen::{self, Listen};
use crate::config::proxy::{self, ProxyChoice};
use crate::config::value::{self, Read, size_text, time_text};
use crate::config::{CacheMemory, LogFormat, headers, rules, tracing};
use crate::profile::globs::Globs;
use crate::profile::{ContentTypeFrom, WhichFolders};
use crate::protocol::forwarded::{self, ForwardedHeader};
use crate::protocol::network::Network;
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::s3::secret::Secret;

/// Reads a value of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind<T> {
    pub(super) read: Read<T>,
    pub(super) accepts: Accepts,
}

/// What a kind accepts in the file. `null` is accepted everywhere, and means the default.
#[derive(Debug, Clone, Copy)]
pub(super) enum Accepts {
    Boolean,
    Count {
        min: usize,
        max: usize,
    },
    /// A number from 0 to 1.
    Ratio,
    /// Bytes.
    Size {
        min: u64,
        max: u64,
    },
    /// `auto`, 0, or bytes.
    Memory {
        min: u64,
        max: u64,
    },
    /// Bytes, a power of two.
    BlockSize {
        min: u64,
        max: u64,
    },
    /// Milliseconds.
    Time {
        min: u64,
        max: u64,
    },
    /// Whole seconds from 0.
    Seconds {
        max: u64,
    },
    /// One of a few words.
    Words(fn() -> Vec<&'static str>),
    /// The same in any case.
    AnyCase(fn() -> Vec<&'static str>),
    Text(Form),
    List {
        of: Form,
        at_least: usize,
    },
    BooleanOrList {
        of: Form,
    },
    /// From any text to text of this form.
    Mapping(Form),
    /// A list of rules, each with the fields of a pattern.
    Patterns,
}

/// A form of text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// A noun for the documentation; of one item, where there is a list of them.
    pub(super) name: &'static str,
    /// A regular expression that every accepted text matches; empty where any text does.
    pub(super) pattern: &'static str,
}

impl Accepts {
    /// In a few words of Markdown.
    pub(super) fn text(self) -> String {
        let words = |words: fn() -> Vec<&'static str>| {
            words().iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        };
        let sizes = |min, max| {
            let min = if min == 0 { "0".to_owned() } else { size_text(min) };
            format!("{min} to {}", size_text(max))
        };
        match self {
            Self::Boolean => "`true`, `false`".to_owned(),
            Self::Count { min, max } => format!("{min} to {max}"),
            Self::Ratio => "0 to 1".to_owned(),
            Self::Size { min, max } => sizes(min, max),
            Self::Memory { min, max } => format!("`auto`, `0`, {}", sizes(min, max)),
            Self::BlockSize { min, max } => format!("a power of two, {}", sizes(min, max)),
            Self::Time { min, max } => format!("{} to {}", time_text(min), time_text(max)),
            Self::Seconds { max } => format!("whole seconds, 0 to {max}"),
            Self::Words(all) => words(all),
            Self::AnyCase(all) => format!("{}, in any case", words(all)),
            Self::Text(Form { name, .. }) => name.to_owned(),
            Self::List { of: Form { name, .. }, .. } => format!("list of {name}"),
            Self::BooleanOrList { of: Form { name, .. } } => {
                format!("`true`, `false`, list of {name}")
            }
            Self::Mapping(Form { name, .. }) => format!("mapping of {name}"),
            Self::Patterns => "list of rules".to_owned(),
        }
    }
}

const fn text_kind<T>(read: Read<T>, name: &'static str, pattern: &'static str) -> Kind<T> {
    Kind { read, accepts: Accepts::Text(Form { name, pattern }) }
}

const fn list_kind<T>(read: Read<T>, name: &'static str, pattern: &'static str) -> Kind<T> {
    Kind { read, accepts: Accepts::List { of: Form { name, pattern }, at_least: 0 } }
}

const NOT_EMPTY: &str = "[\\s\\S]";
const ADDRESSES: &str = "^.+:[0-9]+( +(proxy_protocol|http2))* *$";
const ADDRESSES_OR_OFF: &str = "^(off|.+:[0-9]+( +proxy_protocol)* *)?$";
const NETWORK: &str = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$";
const ADDRESS_OR_OFF: &str = "^(off|.+:[0-9]+)?$";
const PATH_PREFIX: &str = "^(/[A-Za-z0-9._~-]+)*$";
const REGION: &str = "^[A-Za-z0-9._-]{1,63}$";
const INDEX_NAME: &str = "^([^/\u{0}]{1,255})?$";
const MEDIA_TYPE: &str = "^[!-.0-~][ -.0-~]*/[ -~]*[!-~]$";
const ORIGIN: &str = "^(\\*|https?://[^/@]+)$";
const LINE: &str = "^[^\u{0}-\u{1f}\u{7f}]+$";
const URL: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[^?#\\s]+$";
const COLLECTOR: &str = "^([Hh][Tt][Tt][Pp][Ss]?://[^?#@\\s]+)?$";
const FOLDER: &str = "^[^/]+/(.*/)?$";
const HOST_NAME: &str = "^[A-Za-z0-9._-]+$";
const BUCKETS: &str = "^[A-Za-z0-9._:*?-]+$";
const HEADERS: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~?-]+$";
const HEADER_VALUE: &str = "^[!-~]([ -~]*[!-~])?$";
const ENGINE: &str = "^([Rr][Ee][Dd][Ii][Ss][Ss]?(-[A-Za-z]+)?://.+)?$";
const PROXY: &str = "^(off|([Hh][Tt][Tt][Pp]://)?[^/]+:[0-9]+/?)?$";
const ENGINE_PREFIX: &str = "^[A-Za-z0-9._:-]{1,64}$";
const PROFILE_NAME: &str = "^[A-Za-z0-9._-]+$";
const ENDPOINT: &str = "^(aws|[Hh][Tt][Tt][Pp][Ss]?://[^?#\\s]+)$";
const ENDPOINTS: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[^@?#\\s]+$";

pub(super) const fn boolean() -> Kind<bool> {
    Kind { read: value::boolean, accepts: Accepts::Boolean }
}

/// A boolean, or nothing.
pub(super) const fn optional_boolean() -> Kind<Option<bool>> {
    Kind { read: value::optional_boolean, accepts: Accepts::Boolean }
}

/// See [`rules::bucket_validation`].
pub(super) const fn bucket_validation() -> Kind<bool> {
    Kind { read: rules::bucket_validation, accepts: Accepts::Boolean }
}

pub(super) const fn text() -> Kind<String> {
    text_kind(value::text, "text", "")
}

pub(super) const fn optional_path() -> Kind<Option<PathBuf>> {
    text_kind(value::optional_path, "path", NOT_EMPTY)
}

/// See [`Listen`].
pub(super) const fn addresses() -> Kind<Vec<Listen>> {
    let of = Form { name: "IP addresses and ports", pattern: ADDRESSES };
    Kind { read: listen::addresses, accepts: Accepts::List { of, at_least: 1 } }
}

/// Addresses, or none.
pub(super) const fn optional_addresses() -> Kind<Vec<Listen>> {
    list_kind(listen::optional_addresses, "IP addresses and ports, or `off`", ADDRESSES_OR_OFF)
}

/// Networks and addresses.
pub(super) const fn networks() -> Kind<Vec<Network>> {
    list_kind(rules::networks, "networks such as `10.0.0.0/8`", NETWORK)
}

/// See [`ForwardedHeader`].
pub(super) const fn forwarded_header() -> Kind<ForwardedHeader> {
    let accepts = Accepts::Words(|| rules::words(forwarded::HEADERS));
    Kind { read: rules::forwarded_header, accepts }
}

/// Paths of files.
pub(super) const fn paths() -> Kind<Vec<PathBuf>> {
    list_kind(value::paths, "paths", NOT_EMPTY)
}

pub(super) const fn optional_address() -> Kind<Option<SocketAddr>> {
    text_kind(rules::optional_address, "IP address and port, or `off`", ADDRESS_OR_OFF)
}

pub(super) const fn count<N: TryFrom<usize>, const MIN: usize, const MAX: usize>() -> Kind<N> {
    Kind { read: value::count::<N, MIN, MAX>, accepts: Accepts::Count { min: MIN, max: MAX } }
}

/// See [`value::automatic_count`].
pub(super) const fn automatic_count<const MIN: usize, const MAX: usize>() -> Kind<usize> {
    Kind {
        read: value::automatic_count::<MIN, MAX>,
        accepts: Accepts::Count { min: MIN, max: MAX },
    }
}

/// From 0 to `MAX` percent.
pub(super) const fn percent<const MAX: usize>() -> Kind<u8> {
    Kind { read: rules::percent::<MAX>, accepts: Accepts::Count { min: 0, max: MAX } }
}

/// From 0 to 1, as parts per million.
pub(super) const fn ratio() -> Kind<u32> {
    Kind { read: tracing::ratio, accepts: Accepts::Ratio }
}

/// From `MIN` to `MAX` bytes.
pub(super) const fn size<N: TryFrom<u64>, const MIN: u64, const MAX: u64>() -> Kind<N> {
    Kind { read: value::size::<N, MIN, MAX>, accepts: Accepts::Size { min: MIN, max: MAX } }
}

/// `auto`, 0, or from `MIN` to `MAX` bytes.
pub(super) const fn memory<const MIN: u64, const MAX: u64>() -> Kind<CacheMemory> {
    Kind { read: rules::cache_memory::<MIN, MAX>, accepts: Accepts::Memory { min: MIN, max: MAX } }
}

/// A power of two from `MIN` to `MAX` bytes.
pub(super) const fn block_size<const MIN: u64, const MAX: u64>() -> Kind<u64> {
    let accepts = Accepts::BlockSize { min: MIN, max: MAX };
    Kind { read: rules::block_size::<MIN, MAX>, accepts }
}

/// From `MIN` to `MAX` milliseconds.
pub(super) const fn time<const MIN: u64, const MAX: u64>() -> Kind<Duration> {
    Kind { read: value::duration::<MIN, MAX>, accepts: Accepts::Time { min: MIN, max: MAX } }
}

/// Seconds up to what HTTP can express.
pub(super) const fn seconds() -> Kind<u64> {
    Kind { read: value::seconds, accepts: Accepts::Seconds { max: value::MAX_SECONDS } }
}

pub(super) const fn log_format() -> Kind<LogFormat> {
    let accepts = Accepts::Words(|| rules::words(rules::LOG_FORMATS));
    Kind { read: rules::log_format, accepts }
}

pub(super) const fn log_level() -> Kind<LevelFilter> {
    let accepts = Accepts::AnyCase(|| rules::words(rules::LOG_LEVELS));
    Kind { read: rules::log_level, accepts }
}

pub(super) const fn addressing() -> Kind<Option<Addressing>> {
    let accepts = Accepts::Words(|| rules::words(rules::ADDRESSINGS));
    Kind { read: rules::addressing, accepts }
}

pub(super) const fn content_type() -> Kind<ContentTypeFrom> {
    let accepts = Accepts::Words(|| rules::words(rules::CONTENT_TYPES));
    Kind { read: rules::content_type, accepts }
}

pub(super) const fn path_prefix() -> Kind<String> {
    text_kind(rules::path_prefix, "empty, or `/` and segments", PATH_PREFIX)
}

pub(super) const fn region() -> Kind<String> {
    text_kind(rules::region, "region", REGION)
}

pub(super) const fn optional_region() -> Kind<Option<String>> {
    text_kind(rules::optional_region, "region", REGION)
}

pub(super) const fn optional_section() -> Kind<Option<String>> {
    text_kind(rules::optional_section, "name of an INI section", "")
}

pub(super) const fn index_name() -> Kind<Option<String>> {
    text_kind(rules::index_name, "name of an object", INDEX_NAME)
}

pub(super) const fn optional_media_type() -> Kind<Option<String>> {
    text_kind(rules::optional_media_type, "media type", MEDIA_TYPE)
}

pub(super) const fn media_types() -> Kind<Vec<String>> {
    list_kind(rules::media_types, "media types", MEDIA_TYPE)
}

pub(super) const fn optional_media_types() -> Kind<Option<Vec<String>>> {
    list_kind(rules::optional_media_types, "media types", MEDIA_TYPE)
}

pub(super) const fn optional_media_map() -> Kind<Option<Vec<(String, String)>>> {
    let form = Form { name: "names to media types", pattern: MEDIA_TYPE };
    Kind { read: rules::optional_media_map, accepts: Accepts::Mapping(form) }
}

/// See [`credentials_from::CredentialsFrom`].
pub(super) const fn credentials_from() -> Kind<Option<CredentialsFrom>> {
    let accepts = Accepts::Words(|| rules::words(credentials_from::WORDS));
    Kind { read: credentials_from::credentials_from, accepts }
}

/// Text without control characters.
pub(super) const fn optional_line() -> Kind<Option<String>> {
    text_kind(credentials_from::optional_line, "text", LINE)
}

/// The URL of a provider of credentials.
pub(super) const fn provider_url() -> Kind<Option<Endpoint>> {
    text_kind(credentials_from::provider_url, "URL", URL)
}

/// Folders to the folders that they stand for, in the order written.
pub(super) const fn aliases() -> Kind<Vec<(String, String)>> {
    let form = Form { name: "folders to folders", pattern: FOLDER };
    Kind { read: value::map, accepts: Accepts::Mapping(form) }
}

pub(super) const fn origins() -> Kind<Vec<String>> {
    list_kind(rules::origins, "origins, or `\"*\"`", ORIGIN)
}

pub(super) const fn host_names() -> Kind<Vec<String>> {
    list_kind(rules::host_names, "host names", HOST_NAME)
}

pub(super) const fn buckets() -> Kind<Option<Globs>> {
    let of = Form { name: "bucket names with `*` and `?`", pattern: BUCKETS };
    Kind { read: rules::buckets, accepts: Accepts::List { of, at_least: 1 } }
}

pub(super) const fn request_headers() -> Kind<Vec<WildMatch>> {
    list_kind(headers::request_headers, "header names with `*` and `?`", HEADERS)
}

pub(super) const fn response_headers() -> Kind<Vec<WildMatch>> {
    list_kind(headers::response_headers, "header names with `*` and `?`", HEADERS)
}

pub(super) const fn upstream_headers() -> Kind<Vec<(HeaderName, Secret)>> {
    let form = Form { name: "header names to values", pattern: HEADER_VALUE };
    Kind { read: headers::upstream_headers, accepts: Accepts::Mapping(form) }
}

pub(super) const fn cache_control() -> Kind<Option<HeaderValue>> {
    text_kind(headers::cache_control, "directives of `Cache-Control`", NOT_EMPTY)
}

pub(super) const fn endpoint() -> Kind<Option<EndpointUrl>> {
    text_kind(endpoint_url::endpoint_url, "URL, or `aws`", ENDPOINT)
}

/// URLs without credentials, in order.
pub(super) const fn endpoints() -> Kind<Vec<Endpoint>> {
    list_kind(endpoint_url::endpoints, "URLs", ENDPOINTS)
}

/// `off`, or the URL of a proxy.
pub(super) const fn proxy() -> Kind<Option<ProxyChoice>> {
    text_kind(proxy::proxy_choice, "URL of a proxy, or `off`", PROXY)
}

pub(super) const fn engine_url() -> Kind<Option<EngineUrl>> {
    text_kind(engine_url::engine_url, "URL of a Valkey or Redis", ENGINE)
}

pub(super) const fn collector_url() -> Kind<Option<Endpoint>> {
    text_kind(tracing::collector_url, "URL of a collector", COLLECTOR)
}

pub(super) const fn service_name() -> Kind<String> {
    text_kind(tracing::service_name, "text", NOT_EMPTY)
}

pub(super) const fn engine_prefix() -> Kind<String> {
    text_kind(engine_url::engine_prefix, "letters, digits and `._:-`", ENGINE_PREFIX)
}

pub(super) const fn profile_names() -> Kind<Option<Vec<String>>> {
    list_kind(rules::profile_names, "names of profiles", PROFILE_NAME)
}

pub(super) const fn patterns() -> Kind<usize> {
    Kind { read: rules::patterns, accepts: Accepts::Patterns }
}

pub(super) const fn folders() -> Kind<Vec<String>> {
    list_kind(aliases::survey_folders, "folders, `bucket/prefix/`", FOLDER)
}

pub(super) const fn which_folders() -> Kind<WhichFolders> {
    let of = Form { name: "folders, `bucket/prefix/`", pattern: FOLDER };
    Kind { read: aliases::which_folders, accepts: Accepts::BooleanOrList { of } }
}

pub(super) const fn key_patterns() -> Kind<Option<Globs>> {
    list_kind(rules::key_patterns, "object keys with `*` and `?`", NOT_EMPTY)
}

pub(super) const fn key_pattern() -> Kind<Option<WildMatch>> {
    text_kind(rules::key_pattern, "object keys with `*` and `?`", NOT_EMPTY)
}
