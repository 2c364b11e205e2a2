//! The media-type rule and the cache rule of a key.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::check::report::Finding;
use crate::mime::{MimePolicy, TypeRule, is_scriptable};
use crate::profile::Profile;
use crate::s3::address::ObjectAddress;

/// The rule that determines the media type of a key.
pub(super) fn media_type_rule(mime: &MimePolicy, key: &str) -> String {
    match mime.rule(key) {
        Some(TypeRule::Extension(ending)) => {
            let ending = ending.to_ascii_lowercase();
            format!("by the built-in table of extensions: .{ending}{}", coding_note(mime, key))
        }
        Some(TypeRule::Suffix(suffix)) => {
            format!("by mime.suffixes or mime.also_suffixes: {suffix}")
        }
        Some(TypeRule::Basename(name)) => {
            format!("by mime.extensionless or mime.also_extensionless: {name}")
        }
        Some(TypeRule::Default) => "by mime.default: no other rule matches the key".to_owned(),
        None => "no rule matches the extension or the name, and mime.default is not set".to_owned(),
    }
}

/// A name that states a coding, such as `.gz`, has two types.
fn coding_note(mime: &MimePolicy, key: &str) -> String {
    let Ok(of_key) = mime.key_type(key) else { return String::new() };
    let undecoded = of_key.of(&HeaderMap::new());
    if undecoded == of_key.decoded {
        return String::new();
    }
    let undecoded = String::from_utf8_lossy(undecoded.as_bytes()).into_owned();
    format!("; sent as {undecoded} if the store sends no Content-Encoding")
}

/// What browsers may do with a document of this type.
pub(super) fn sandbox(profile: &Profile, content_type: &HeaderValue) -> Vec<String> {
    if !is_scriptable(content_type) {
        return Vec::new();
    }
    let label = profile.label();
    let key = match &profile.name {
        Some(name) => format!("profiles.{name}.content_security_policy"),
        None => "default_profile.content_security_policy".to_owned(),
    };
    vec![if profile.content_security_policy {
        format!(
            "sent with Content-Security-Policy: sandbox, so that browsers run none of its scripts and a \
             viewer stays blank; {key}: false sends the documents of {label} without it"
        )
    } else {
        format!("sent without Content-Security-Policy ({key} is false): browsers run its scripts")
    }]
}

/// The cache rule of an object; `whole` is the largest object that is cached whole, bytes, and `blocks`
/// whether larger ones are cached in blocks.
pub(super) fn cache_rule(
    profile: &Profile,
    address: &ObjectAddress,
    whole: u64,
    blocks: bool,
) -> (Finding, Vec<String>) {
    let rule = profile.cache.of(&address.key);
    let source = match profile.cache.listed(&address.key) {
        Some((pattern, _)) => format!("by the pattern {}", pattern.pattern()),
        None => "by the rule for all keys".to_owned(),
    };
    if !rule.store {
        let detail = format!("not cached, {source}: every request goes to the store");
        return (Finding::skipped(detail), Vec::new());
    }
    let notes = vec![
        format!(
            "fresh for {} unless the store sets another time; then stale: served during revalidation \
             for {}, and if the store fails for {}",
            span(rule.ttl),
            span(rule.stale_while_revalidate),
            span(rule.stale_if_error),
        ),
        format!(
            "cached whole up to {whole} bytes{}, larger objects {}; negative entries for {}",
            if whole < rule.max_object { ", which is what cache.memory holds" } else { "" },
            if blocks { "in blocks" } else { "not at all (cache.blocks.share is 0)" },
            span(rule.negative_ttl)
        ),
        cache_key(profile, address),
    ];
    (Finding::ok(format!("cached, {source}")), notes)
}

/// The cache key in words; its bytes are in [`crate::cache::key::CacheKey`].
fn cache_key(profile: &Profile, address: &ObjectAddress) -> String {
    format!(
        "cache key: profile {}, endpoint {}, bucket {} and the bytes of the key; no headers, no query",
        profile.label(),
        profile.identity(),
        address.bucket,
    )
}

/// `5m`, `1d`, `90s`: in the largest unit that divides it.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    if span.subsec_nanos() == 0 { format!("{seconds}s") } else { format!("{span:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::StepState;
    use crate::mime::MimeSettings;
    use crate::profile::cache_rules::{CacheRules, Rule as CacheRule};
    use crate::s3::endpoint::Endpoint;
    use wildmatch::WildMatch;

    #[test]
    fn each_rule_of_media_types_is_named() {
        let settings =
            MimeSettings { default: Some("text/plain".to_owned()), ..MimeSettings::default() };
        let (shipped, with_default) =
            (MimePolicy::new(&MimeSettings::default()), MimePolicy::new(&settings));
        let (shipped, with_default) = (shipped.expect("valid"), with_default.expect("valid"));
        for (key, words) in [
            ("a/Npix1.PNG", "table of extensions: .png"),
            ("a.fits.gz", "table of extensions: .fits"),
            ("a.fits.fz", "mime.also_suffixes: .fits.fz"),
            ("sky/properties", "mime.also_extensionless: properties"),
            ("sky/MOC", "no rule matches"),
        ] {
            let text = media_type_rule(&shipped, key);
            assert!(text.contains(words), "{key}: {text}");
        }
        assert!(media_type_rule(&with_default, "sky/MOC").contains("mime.default"));
    }

    #[test]
    fn the_cache_rule_that_decides_is_named() {
        let stores =
            CacheRule { store: true, ttl: Duration::from_secs(300), ..CacheRule::default() };
        let never = CacheRule::default();
        let cache = CacheRules::new(
            stores,
            [WildMatch::new("*/live/*")].into_iter().collect(),
            vec![never],
        );
        let endpoint = Endpoint::parse("https://s3.example.org").expect("an endpoint");
        let profile = Profile { cache, ..Profile::unsigned(Some("hips"), endpoint) };
        let rule = |key: &str| {
            let (profile_name, bucket) = (Some("hips".to_owned()), "bkt".to_owned());
            let key = key.to_owned();
            cache_rule(&profile, &ObjectAddress { profile: profile_name, bucket, key }, 5, true)
        };
        let (cached, notes) = rule("sky/a.png");
        assert_eq!(
            (cached.state, cached.detail.as_str()),
            (StepState::Ok, "cached, by the rule for all keys")
        );
        assert!(notes.iter().any(|note| note.starts_with("fresh for 5m unless")), "{notes:?}");
        let (not, notes) = rule("sky/live/a.png");
        assert_eq!((not.state, notes.len()), (StepState::Skipped, 0));
        assert!(not.detail.contains("the pattern */live/*"), "{}", not.detail);
    }

    #[test]
    fn the_sandbox_of_documents_is_named_with_its_setting() {
        let endpoint = Endpoint::parse("https://s3.example.org").expect("an endpoint");
        let on = Profile::unsigned(Some("hips"), endpoint);
        let off = Profile { content_security_policy: false, name: None, ..on.clone() };
        let html = HeaderValue::from_static("text/html");
        let [note] = &sandbox(&on, &html)[..] else { panic!("one note") };
        assert!(note.contains("profiles.hips.content_security_policy: false"), "{note}");
        let [note] = &sandbox(&off, &html)[..] else { panic!("one note") };
        assert!(note.contains("(default_profile.content_security_policy is false)"), "{note}");
        assert!(sandbox(&on, &HeaderValue::from_static("image/png")).is_empty());
    }

    #[test]
    fn spans_have_the_largest_unit_that_divides_them() {
        for (seconds, text) in [(0, "0s"), (90, "90s"), (300, "5m"), (3600, "1h"), (86_400, "1d")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(Duration::from_millis(1500)), "1.5s");
    }
}
