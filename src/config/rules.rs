//! Readers of values with rules of their own: prefixes, log levels, media types, origins, patterns of
//! buckets and keys, and the memory of the cache.

use std::net::SocketAddr;

use log::LevelFilter;
use serde_yaml::Value;
use wildmatch::WildMatch;

use crate::config::value::{
    Written, address, all, count, list_of, map_of, optional, size, size_text, text,
};
use crate::config::{CacheMemory, LogFormat};
use crate::profile::ContentTypeFrom;
use crate::profile::globs::Globs;
use crate::protocol::forwarded::{ForwardedHeader, HEADERS};
use crate::protocol::network::Network;
use crate::s3::address::is_profile_name;
use crate::s3::endpoint::{Addressing, Endpoint};

/// One of a few words, exactly as written.
pub(super) fn one_of<T: Copy>(written: Written<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let text = text(written).unwrap_or_default();
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}

/// The words of [`one_of`].
pub(super) fn words<T>(words: &[(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}

pub(super) const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("development", LogFormat::Development), ("production", LogFormat::Production)];

/// Python's names of the log levels, with its short ones. `CRITICAL` logs errors.
pub(super) const LOG_LEVELS: &[(&str, LevelFilter)] = &[
    ("DEBUG", LevelFilter::Debug),
    ("INFO", LevelFilter::Info),
    ("WARNING", LevelFilter::Warn),
    ("ERROR", LevelFilter::Error),
    ("CRITICAL", LevelFilter::Error),
    ("WARN", LevelFilter::Warn),
    ("FATAL", LevelFilter::Error),
];

pub(super) const ADDRESSINGS: &[(&str, Addressing)] =
    &[("path", Addressing::Path), ("virtual", Addressing::Virtual)];

pub(super) const CONTENT_TYPES: &[(&str, ContentTypeFrom)] =
    &[("key", ContentTypeFrom::Key), ("origin", ContentTypeFrom::Origin)];

/// Names of profiles, or nothing for all of them.
pub(super) fn profile_names(written: Written<'_>) -> Result<Option<Vec<String>>, String> {
    optional(written, |written| {
        list_of(written, |name| match is_profile_name(&name) {
            true => Ok(name),
            false => Err(format!("has a name that no profile can have: {name:?}")),
        })
    })
}

/// One of [`LOG_FORMATS`].
pub(super) fn log_format(written: Written<'_>) -> Result<LogFormat, String> {
    one_of(written, LOG_FORMATS)
}

/// One of [`LOG_LEVELS`], in any case.
pub(super) fn log_level(written: Written<'_>) -> Result<LevelFilter, String> {
    let upper = text(written).unwrap_or_default().to_ascii_uppercase();
    one_of(Written::Text(&upper), LOG_LEVELS)
}

/// One of [`ADDRESSINGS`], or nothing for the default of the endpoint.
pub(super) fn addressing(written: Written<'_>) -> Result<Option<Addressing>, String> {
    optional(written, |written| one_of(written, ADDRESSINGS))
}

/// One of [`CONTENT_TYPES`].
pub(super) fn content_type(written: Written<'_>) -> Result<ContentTypeFrom, String> {
    one_of(written, CONTENT_TYPES)
}

/// Whether bucket names are checked. The variable is `LSST_DISABLE_...`, so its meaning is inverted:
/// any text but `0`, `f`, `n` and `false` turns the check off.
pub(super) fn bucket_validation(written: Written<'_>) -> Result<bool, String> {
    match written {
        Written::Text(text) => {
            Ok(["", "0", "f", "n", "false"].contains(&text.to_ascii_lowercase().as_str()))
        }
        Written::Yaml(_) => super::value::boolean(written),
    }
}

/// Empty, or segments that each start with `/`.
pub(super) fn path_prefix(written: Written<'_>) -> Result<String, String> {
    let prefix = text(written)?;
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    let valid = match prefix.strip_prefix('/') {
        None => prefix.is_empty(),
        Some(segments) => segments.split('/').all(is_segment),
    };
    if valid {
        Ok(prefix)
    } else {
        Err("must be empty, or start with / and not end with one, and be made of letters, digits \
             and -._~ between single slashes"
            .to_owned())
    }
}

/// A region of the credential scope, or nothing.
pub(super) fn optional_region(written: Written<'_>) -> Result<Option<String>, String> {
    optional(written, region)
}

/// A region of the credential scope.
pub(super) fn region(written: Written<'_>) -> Result<String, String> {
    let region = text(written)?;
    let valid = (1..=63).contains(&region.len())
        && region.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if valid { Ok(region) } else { Err("must be a region such as us-east-1".to_owned()) }
}

/// The name of an INI section, or nothing.
pub(super) fn optional_section(written: Written<'_>) -> Result<Option<String>, String> {
    optional(written, text)
}

/// The last segment of a key, or nothing.
pub(super) fn index_name(written: Written<'_>) -> Result<Option<String>, String> {
    optional(written, |written| {
        let name = text(written)?;
        let is_segment = (1..=255).contains(&name.len())
            && !name.contains(['/', '\0'])
            && !matches!(name.as_str(), "." | "..");
        let wrong = "must be the name of an object without a slash, such as index.html";
        if is_segment { Ok(name) } else { Err(wrong.to_owned()) }
    })
}

/// A media type that can be sent in a header, or nothing.
pub(super) fn optional_media_type(written: Written<'_>) -> Result<Option<String>, String> {
    let kind = optional(written, text)?;
    if kind.as_deref().is_none_or(is_media_type) {
        Ok(kind)
    } else {
        Err("must be a media type such as application/octet-stream".to_owned())
    }
}

/// Media types.
pub(super) fn media_types(written: Written<'_>) -> Result<Vec<String>, String> {
    list_of(written, |kind| match is_media_type(&kind) {
        true => Ok(kind),
        false => Err(format!("must contain media types such as image/png, not {kind:?}")),
    })
}

/// Media types, or nothing.
pub(super) fn optional_media_types(written: Written<'_>) -> Result<Option<Vec<String>>, String> {
    if let Written::Text("") = written {
        return Err("must be a JSON list of texts, such as [\"a\", \"b\"]".to_owned());
    }
    optional(written, media_types)
}

/// Media types by name or ending, or nothing.
pub(super) fn optional_media_map(
    written: Written<'_>,
) -> Result<Option<Vec<(String, String)>>, String> {
    if let Written::Text("") = written {
        return Err("must be a JSON object of texts, such as {\"name\": \"value\"}".to_owned());
    }
    optional(written, |written| {
        map_of(written, |name, kind| match !name.is_empty() && is_media_type(&kind) {
            true => Ok((name, kind)),
            false => Err(format!("must give media types to names, not {kind:?} to {name:?}")),
        })
    })
}

fn is_media_type(kind: &str) -> bool {
    let visible = kind.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    let parts = kind.split_once('/');
    visible && kind.trim() == kind && parts.is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
}

/// Origins as browsers send them, or a single `*`.
pub(super) fn origins(written: Written<'_>) -> Result<Vec<String>, String> {
    let (mut number, mut any) = (0, false);
    let origins = list_of(written, |origin| {
        number += 1;
        if origin == "*" {
            any = true;
            return Ok(origin);
        }
        match Endpoint::parse(&origin) {
            Ok(url) if !url.base_path.is_empty() => Err(not_an_origin(&origin)),
            Ok(url) if url.to_string() == *origin => Ok(origin),
            Ok(url) => Err(format!("must contain {:?} in place of {origin:?}", url.to_string())),
            Err(_) => Err(not_an_origin(&origin)),
        }
    });
    let alone = match any && number > 1 {
        true => Err("must be either \"*\" alone or a list of origins".to_owned()),
        false => Ok(Vec::new()),
    };
    all([alone, origins]).map(|lists| lists.concat())
}

fn not_an_origin(origin: &str) -> String {
    format!("must contain origins such as https://a.example, not {origin:?}")
}

/// Host names without a port, in lower case and without a dot at the end.
pub(super) fn host_names(written: Written<'_>) -> Result<Vec<String>, String> {
    let is_valid = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    list_of(written, |name| match is_valid(&name) {
        true => Ok(name.trim_end_matches('.').to_ascii_lowercase()),
        false => Err(format!("must contain host names without a port, not {name:?}")),
    })
}

/// Patterns of bucket names, or nothing for every bucket.
pub(super) fn buckets(written: Written<'_>) -> Result<Option<Globs>, String> {
    let patterns = optional(written, |written| {
        let valid = |pattern: &str| {
            !pattern.is_empty()
                && pattern.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:*?".contains(&b))
        };
        list_of(written, |pattern| match valid(&pattern) {
            true => Ok(WildMatch::new(&pattern)),
            false => Err(format!(
                "must contain names of buckets, with * and ? as wildcards, not {pattern:?}"
            )),
        })
    })?;
    if patterns.as_ref().is_some_and(Vec::is_empty) {
        return Err("must name at least one bucket; leave it out to admit every bucket".to_owned());
    }
    Ok(patterns.map(|patterns| patterns.into_iter().collect()))
}

/// `auto`, 0, or a number of bytes from `MIN` to `MAX`.
pub(super) fn cache_memory<const MIN: u64, const MAX: u64>(
    written: Written<'_>,
) -> Result<CacheMemory, String> {
    if text(written).is_ok_and(|text| text.trim() == "auto") {
        return Ok(CacheMemory::Auto);
    }
    match size::<u64, 0, MAX>(written) {
        Ok(bytes) if bytes == 0 || bytes >= MIN => Ok(CacheMemory::Bytes(bytes)),
        _ => {
            let (min, max) = (size_text(MIN), size_text(MAX));
            Err(format!("must be auto, 0, or a size such as 256MiB, from {min} to {max}"))
        }
    }
}

/// A power of two from `MIN` to `MAX` bytes, which are powers of two themselves.
pub(super) fn block_size<const MIN: u64, const MAX: u64>(
    written: Written<'_>,
) -> Result<u64, String> {
    let bytes = size::<u64, 0, { u64::MAX }>(written).ok();
    match bytes.filter(|bytes| (MIN..=MAX).contains(bytes)) {
        Some(bytes) if bytes.is_power_of_two() => Ok(bytes),
        Some(bytes) => {
            let above = bytes.next_power_of_two();
            let (below, above) = (size_text(above / 2), size_text(above));
            Err(format!("must be a power of two, such as {below} or {above}"))
        }
        None => {
            let (min, max) = (size_text(MIN), size_text(MAX));
            Err(format!("must be a size such as 1MiB, a power of two from {min} to {max}"))
        }
    }
}

/// A whole number of percent up to `MAX`, without a sign for it.
pub(super) fn percent<const MAX: usize>(written: Written<'_>) -> Result<u8, String> {
    let number = count::<u8, 0, MAX>(written);
    number.map_err(|_| format!("must be a whole number of percent such as 25, from 0 to {MAX}"))
}

/// The address of a listener, or `off`.
pub(super) fn optional_address(written: Written<'_>) -> Result<Option<SocketAddr>, String> {
    match text(written).as_deref() {
        Ok("" | "off") => Ok(None),
        _ => address(written).map(Some).map_err(|message| format!("{message}, or off")),
    }
}

/// Networks, or none.
pub(super) fn networks(written: Written<'_>) -> Result<Vec<Network>, String> {
    let all = optional(written, |written| {
        list_of(written, |text| {
            Network::parse(&text).ok_or_else(|| {
                format!("must contain networks such as 10.0.0.0/8, or IP addresses, not {text:?}")
            })
        })
    })?;
    Ok(all.unwrap_or_default())
}

/// One of [`HEADERS`].
pub(super) fn forwarded_header(written: Written<'_>) -> Result<ForwardedHeader, String> {
    one_of(written, HEADERS)
}

/// The number of patterns in a list, whose fields are read separately.
pub(super) fn patterns(written: Written<'_>) -> Result<usize, String> {
    match written {
        Written::Yaml(Value::Sequence(patterns)) => Ok(patterns.len()),
        _ => Err("must be a list, such as [{match: \"*/Norder*/*\", ttl: 1h}]".to_owned()),
    }
}

/// Patterns of object keys; none is a list of none.
pub(super) fn key_patterns(written: Written<'_>) -> Result<Option<Globs>, String> {
    let patterns = optional(written, |written| {
        list_of(written, |pattern| match pattern.is_empty() {
            true => {
                Err("must contain patterns of keys, such as */Norder3/*, none of them empty"
                    .to_owned())
            }
            false => Ok(WildMatch::new(&pattern)),
        })
    })?;
    Ok(patterns.map(|patterns| patterns.into_iter().collect()))
}

/// A pattern of keys, or nothing.
pub(super) fn key_pattern(written: Written<'_>) -> Result<Option<WildMatch>, String> {
    match optional(written, text)? {
        Some(pattern) if pattern.is_empty() => {
            Err("must be a pattern of keys, such as */Norder*/*".to_owned())
        }
        pattern => Ok(pattern.as_deref().map(WildMatch::new)),
    }
}

#[cfg(test)]
mod tests;
