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
mod tests {
    use super::*;

    fn json_list(items: &[&str]) -> String {
        serde_json::to_string(items).expect("texts make JSON")
    }

    #[test]
    fn a_prefix_is_empty_or_whole_segments() {
        for prefix in ["", "/s3proxy", "/a/b", "/a.b-c_d~e"] {
            assert_eq!(path_prefix(Written::Text(prefix)).as_deref(), Ok(prefix));
        }
        for prefix in
            ["/", "s3proxy", "/s3proxy/", "//a", "/a//b", "/a/../b", "/.", "/a b", "/a%41"]
        {
            assert!(path_prefix(Written::Text(prefix)).is_err(), "{prefix}");
        }
    }

    #[test]
    fn log_levels_have_pythons_names_in_any_case() {
        assert_eq!(log_level(Written::Text("info")), Ok(LevelFilter::Info));
        assert_eq!(log_level(Written::Text("Warning")), Ok(LevelFilter::Warn));
        assert_eq!(log_level(Written::Text("CRITICAL")), Ok(LevelFilter::Error));
        assert_eq!(log_level(Written::Text("warn")), Ok(LevelFilter::Warn));
        assert_eq!(log_level(Written::Text("Fatal")), Ok(LevelFilter::Error));
        for level in ["", "TRACE", "off"] {
            assert!(log_level(Written::Text(level)).is_err(), "{level}");
        }
    }

    #[test]
    fn the_log_format_is_exact() {
        assert_eq!(log_format(Written::Text("production")), Ok(LogFormat::Production));
        for format in ["Production", "", "prod"] {
            assert!(log_format(Written::Text(format)).is_err(), "{format}");
        }
    }

    #[test]
    fn bucket_validation_is_off_unless_its_variable_says_no() {
        for (text, on) in
            [("0", true), ("F", true), ("n", true), ("False", true), ("no", false), ("1", false)]
        {
            assert_eq!(bucket_validation(Written::Text(text)), Ok(on), "{text}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for good in [&["*"][..], &["https://a.example", "http://b:8080"], &[]] {
            assert!(origins(Written::Text(&json_list(good))).is_ok(), "{good:?}");
        }
        for bad in [
            &["*", "https://a.example"][..],
            &["https://a.example/"],
            &["https://a.example/x"],
            &["https://A.example"],
            &["https://a.example:443"],
            &["a.example"],
            &["null"],
            &["https://*.example"],
        ] {
            assert!(origins(Written::Text(&json_list(bad))).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_variable_may_name_an_origin_without_a_json_list() {
        for (text, expected) in [
            ("*", &["*"][..]),
            ("https://a.example", &["https://a.example"]),
            ("https://a.example, http://b:8080", &["https://a.example", "http://b:8080"]),
        ] {
            let expected = expected.iter().map(|&origin| origin.to_owned()).collect();
            assert_eq!(origins(Written::Text(text)), Ok(expected), "{text}");
        }
        for text in ["", "a.example", "https://a.example/", "*,https://a.example", "null"] {
            assert!(origins(Written::Text(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn bucket_patterns_hold_bucket_letters_and_wildcards() {
        let read = |items: &[&str]| buckets(Written::Text(&json_list(items)));
        let patterns = read(&["rubin-*", "ten:bkt"]).expect("valid").expect("patterns");
        assert!(patterns.matches("rubin-hips") && !patterns.matches("x-rubin-hips"));
        for bad in [&[][..], &[""], &["a/b"], &["a@b"], &["a b"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_memory_of_the_cache_is_auto_none_or_enough() {
        let read = |text| cache_memory::<{ 1 << 20 }, { 1 << 50 }>(Written::Text(text));
        for (text, expected) in [
            ("auto", CacheMemory::Auto),
            ("0", CacheMemory::Bytes(0)),
            ("0MiB", CacheMemory::Bytes(0)),
            ("256MiB", CacheMemory::Bytes(256 << 20)),
            ("256Mi", CacheMemory::Bytes(256 << 20)),
            ("1048576", CacheMemory::Bytes(1 << 20)),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["", "off", "Auto", "256", "1023KiB", "2000TiB", "-1", "40%"] {
            let message = "must be auto, 0, or a size such as 256MiB, from 1MiB to 1024TiB";
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_block_is_a_power_of_two_and_a_mistake_names_the_next_ones() {
        let read = |text| block_size::<{ 64 << 10 }, { 16 << 20 }>(Written::Text(text));
        for (text, bytes) in
            [("64KiB", 64 << 10), ("1Mi", 1 << 20), ("2097152", 2 << 20), ("16MiB", 16 << 20)]
        {
            assert_eq!(read(text), Ok(bytes), "{text}");
        }
        for (text, message) in [
            ("3MiB", "must be a power of two, such as 2MiB or 4MiB"),
            ("1MB", "must be a power of two, such as 512KiB or 1MiB"),
            ("65537", "must be a power of two, such as 64KiB or 128KiB"),
            ("16777215", "must be a power of two, such as 8MiB or 16MiB"),
            ("32KiB", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
            ("32MiB", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
            ("0", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
            ("1", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
            ("auto", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
        ] {
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn percents_are_whole_and_bare() {
        for (text, number) in [("0", 0), ("25", 25), ("90", 90)] {
            assert_eq!(percent::<90>(Written::Text(text)), Ok(number));
        }
        for text in ["", "91", "25%", "0.25", "-1", "256", "all"] {
            let message = "must be a whole number of percent such as 25, from 0 to 90";
            assert_eq!(percent::<90>(Written::Text(text)), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_admin_listener_can_be_off() {
        for text in ["off", ""] {
            assert_eq!(optional_address(Written::Text(text)), Ok(None));
        }
        let yaml: Value = serde_yaml::from_str("off").expect("valid YAML");
        assert_eq!(optional_address(Written::Yaml(&yaml)), Ok(None));
        assert!(optional_address(Written::Text("[::1]:9090")).is_ok_and(|found| found.is_some()));
        assert!(optional_address(Written::Text("localhost:9090")).is_ok_and(|it| it.is_some()));
        for text in ["9090", "localhost", "host:9090", "no"] {
            assert!(optional_address(Written::Text(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn media_types_have_two_halves() {
        for good in ["image/png", "text/html; charset=utf-8"] {
            assert!(media_types(Written::Text(&json_list(&[good]))).is_ok(), "{good}");
        }
        for bad in ["", "png", "image/", "/png", " image/png", "image/\npng"] {
            assert!(media_types(Written::Text(&json_list(&[bad]))).is_err(), "{bad:?}");
        }
        assert!(optional_media_types(Written::Text("")).is_err());
        assert!(optional_media_map(Written::Text("")).is_err());
        assert!(optional_media_map(Written::Text(r#"{"":"a/b"}"#)).is_err());
        assert_eq!(optional_media_type(Written::Text("")), Ok(None));
    }
}
