//! The cache: its tiers, and which rule holds for which key of which profile.

use super::*;
use crate::config::{BlocksConfig, CacheConfig, CacheMemory, DiskConfig};
use crate::profile::cache_rules::{CacheRules, Rule};
use crate::profile::globs::Globs;

const MINUTE: Duration = Duration::from_secs(60);

/// The rule of a profile without anything written.
fn documented() -> Rule {
    Rule {
        store: true,
        ttl: 5 * MINUTE,
        negative_ttl: MINUTE,
        stale_while_revalidate: 5 * MINUTE,
        stale_if_error: 24 * 60 * MINUTE,
        max_object: 16 << 20,
        client_no_cache: false,
    }
}

#[track_caller]
fn rule<'a>(loaded: &'a Loaded, profile: &str, key: &str) -> &'a Rule {
    named(loaded, profile).cache.of(key)
}

#[test]
fn nothing_written_keeps_tiles_in_memory_by_the_documented_rule() {
    let config = env(&[]).good().config;
    let tiers = CacheConfig {
        memory: CacheMemory::Auto,
        disk: None,
        shared: None,
        archive_directories: 64 << 20,
        background_refreshes: 64,
        revalidate_timeout: Duration::from_secs(1),
        pin_share: 10,
        blocks: BlocksConfig { size: 1 << 20, share: 25, read_ahead: 8 << 20 },
    };
    assert_eq!(config.cache, tiers);
    let rules = &config.profiles.default.as_ref().expect("a default profile").cache;
    assert_eq!(*rules, CacheRules::new(documented(), Globs::default(), Vec::new()));
}

#[test]
fn every_setting_has_a_variable_and_a_key() {
    let variables = [
        ("S3PROXY_CACHE_MEMORY", "512Mi"),
        ("S3PROXY_CACHE_DISK_PATH", "/cache"),
        ("S3PROXY_CACHE_DISK_SIZE", "1GiB"),
        ("S3PROXY_CACHE_BACKGROUND_REFRESHES", "8"),
        ("S3PROXY_CACHE_REVALIDATE_TIMEOUT", "9s"),
        ("S3PROXY_CACHE_PIN_SHARE", "20"),
        ("S3PROXY_CACHE_ARCHIVE_DIRECTORIES", "2MiB"),
        ("S3PROXY_CACHE_BLOCKS_SIZE", "2Mi"),
        ("S3PROXY_CACHE_BLOCKS_SHARE", "40"),
        ("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "4MiB"),
        ("S3PROXY_CACHE_STORE", "no"),
        ("S3PROXY_CACHE_TTL", "1"),
        ("S3PROXY_CACHE_NEGATIVE_TTL", "2s"),
        ("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "3s"),
        ("S3PROXY_CACHE_STALE_IF_ERROR", "4s"),
        ("S3PROXY_CACHE_MAX_OBJECT", "5"),
        ("S3PROXY_CACHE_CLIENT_NO_CACHE", "yes"),
    ];
    let file = "cache:\n  memory: 512MiB\n  disk: {path: /cache, size: 1GiB}\n  \
                archive_directories: 2MiB\n  background_refreshes: 8\n  revalidate_timeout: 9s\n  pin_share: 20\n  blocks: {size: 2MiB, share: 40, read_ahead: 4MiB}\n  store: false\n  ttl: 1\n  negative_ttl: 2s\n  \
                stale_while_revalidate: 3s\n  stale_if_error: 4s\n  max_object: 5\n  \
                client_no_cache: true\ndefault_profile: {}\n";
    let seconds = Duration::from_secs;
    for case in [env(&variables), yaml(file)] {
        let config = case.good().config;
        let tiers = CacheConfig {
            memory: CacheMemory::Bytes(512 << 20),
            disk: Some(DiskConfig { path: "/cache".into(), size: 1 << 30 }),
            shared: None,
            archive_directories: 2 << 20,
            background_refreshes: 8,
            revalidate_timeout: seconds(9),
            pin_share: 20,
            blocks: BlocksConfig { size: 2 << 20, share: 40, read_ahead: 4 << 20 },
        };
        assert_eq!(config.cache, tiers);
        let rule = Rule {
            store: false,
            ttl: seconds(1),
            negative_ttl: seconds(2),
            stale_while_revalidate: seconds(3),
            stale_if_error: seconds(4),
            max_object: 5,
            client_no_cache: true,
        };
        assert_eq!(config.profiles.default.as_ref().expect("a default profile").cache.base, rule);
    }
}

const LAYERED: &str = "\
cache:
  ttl: 10m
  patterns:
  - match: '*.json'
    ttl: 1s
  - {match: 'a/*', store: false}
default_profile:
  cache: {ttl: 30m}
profiles:
  own:
    cache:
      negative_ttl: 2m
      max_object: 1MiB
      patterns:
      - match: 'a/b*'
        stale_if_error: 0
      - {match: '*/b/*', ttl: 3m}
      - {match: 'a/b*', ttl: 9m}
  none:
";

#[test]
fn a_pattern_of_the_profile_counts_before_one_for_all_before_the_profile_before_all() {
    let loaded = yaml(LAYERED).good();
    let all = Rule { ttl: 10 * MINUTE, ..documented() };
    let own = Rule { negative_ttl: 2 * MINUTE, max_object: 1 << 20, ..all };
    for (profile, key, expected) in [
        ("none", "x", all),
        ("none", "x.json", Rule { ttl: Duration::from_secs(1), ..all }),
        ("none", "a/x.json", Rule { ttl: Duration::from_secs(1), ..all }),
        ("none", "a/x", Rule { store: false, ..all }),
        ("own", "x", own),
        ("own", "x.json", Rule { ttl: Duration::from_secs(1), ..own }),
        ("own", "a/x", Rule { store: false, ..own }),
        ("own", "a/b/x.json", Rule { stale_if_error: Duration::ZERO, ..own }),
        ("own", "x/b/x.json", Rule { ttl: 3 * MINUTE, ..own }),
    ] {
        assert_eq!(rule(&loaded, profile, key), &expected, "{profile} {key}");
    }
    let default = &default(&loaded).cache;
    assert_eq!(default.of("x").ttl, 30 * MINUTE);
    assert_eq!(default.of("x.json").ttl, Duration::from_secs(1));
}

#[test]
fn a_profile_shows_the_value_it_has_and_where_it_comes_from() {
    let loaded = Case { yaml: LAYERED, ..env(&[("S3PROXY_CACHE_TTL", "7m")]) }.good();
    for (key, value, source) in [
        ("cache.ttl", "7m", "S3PROXY_CACHE_TTL"),
        ("cache.disk.path", "(none)", "default"),
        (
            "cache.patterns",
            r#"[{"match":"*.json","ttl":"1s"},{"match":"a/*","store":false}]"#,
            "c.yaml:3",
        ),
        ("default_profile.cache.ttl", "30m", "c.yaml:8"),
        ("profiles.own.cache.ttl", "7m", "S3PROXY_CACHE_TTL"),
        ("profiles.own.cache.negative_ttl", "2m", "c.yaml:12"),
        ("profiles.own.cache.stale_if_error", "1d", "default"),
        ("profiles.none.cache.patterns", "[]", "default"),
    ] {
        let shown = setting(&loaded, key);
        assert_eq!((shown.value.as_str(), shown.source.to_string().as_str()), (value, source));
    }
    assert!(!show(&loaded, &[]).contains("patterns["), "{}", show(&loaded, &[]));
}

#[test]
fn what_is_for_one_client_is_never_kept() {
    for (settings, forbidden) in [
        ("cache_control: no-store", true),
        ("cache_control: 'Private, max-age=60'", true),
        ("cache_control: 'max-age=60, NO-STORE'", true),
        ("request_headers: [traceparent]", true),
        ("cache_control: no-cache", false),
        ("cache_control: 'public, max-age=60'", false),
        ("request_headers: []", false),
    ] {
        let text = format!(
            "cache:\n  store: true\n  patterns: [{{match: 'a*', store: true}}]\n\
             profiles:\n  p:\n    {settings}\n    cache:\n      ttl: 1h\n      \
             patterns: [{{match: 'b*', ttl: 2h}}]\n  q:\n"
        );
        let loaded = Case { env: &[("S3PROXY_CACHE_STORE", "true")], ..yaml(&text) }.good();
        for key in ["x", "a", "b"] {
            assert_eq!(rule(&loaded, "p", key).store, !forbidden, "{settings} {key}");
            assert!(rule(&loaded, "q", key).store, "another profile, {key}");
        }
        let shown = setting(&loaded, "profiles.p.cache.store");
        let expected =
            if forbidden { ("false", "c.yaml:6") } else { ("true", "S3PROXY_CACHE_STORE") };
        assert_eq!((shown.value.as_str(), shown.source.to_string().as_str()), expected);
    }
}

#[test]
fn to_keep_what_must_not_be_kept_is_a_mistake_with_both_names() {
    let text = "profiles:\n  p:\n    cache_control: private\n    cache:\n      store: true\n      \
                patterns:\n      - {match: a, store: false}\n      - match: b\n        store: true\n  \
                q:\n    request_headers: [traceparent]\n    cache: {max_object: x, store: true}\n";
    assert_eq!(
        yaml(text).bad(),
        [
            "c.yaml:5: profiles.p.cache.store: is true, but this profile cannot be cached: \
             profiles.p.cache_control contains private",
            "c.yaml:9: profiles.p.cache.patterns[1].store: is true, but this profile \
             cannot be cached: profiles.p.cache_control contains private",
            "c.yaml:12: profiles.q.cache.max_object: \"x\" must be a size such as 32KiB, from 0 bytes \
             to 1024TiB",
            "c.yaml:12: profiles.q.cache.store: is true, but this profile cannot be cached: \
             profiles.q.request_headers forwards headers of clients to the store, so responses may \
             depend on them",
        ]
    );
}

#[test]
fn mistakes_in_patterns_are_named_by_place_and_line_in_one_run() {
    let text = "\
cache:
  ttl: soon
  patterns:
  - ttl: 1h
  - match: ''
  - match: 'a'
    ttl: never
    tll: 1h
    memory: 1MiB
  - b
  -
profiles:
  p:
    cache:
      max_object: much
      patterns: {match: a}
      memory: 1GiB
  q:
    cache:
      patterns:
        - {match: 1}
";
    let problems = Case { yaml: text, env: &[("S3PROXY_CACHE_MEMORY", "40%")], ..env(&[]) }.bad();
    let expected = [
        "c.yaml:2: cache.ttl: \"soon\" must be a time",
        "c.yaml:4: cache.patterns[0]: needs a match: the object keys it applies to",
        "c.yaml:5: cache.patterns[1].match: \"\" must be a pattern of keys",
        "c.yaml:7: cache.patterns[2].ttl: \"never\" must be a time",
        "c.yaml:8: cache.patterns[2].tll: is an unknown key; did you mean cache.patterns[2].ttl?",
        "c.yaml:9: cache.patterns[2].memory: is an unknown key; did you mean cache.memory?",
        "c.yaml:10: cache.patterns[3]: must be a mapping, with keys such as match, store, ttl",
        "c.yaml:11: cache.patterns[4]: needs a match",
        "c.yaml:15: profiles.p.cache.max_object: \"much\" must be a size",
        "c.yaml:16: profiles.p.cache.patterns: must be a list, such as [{match",
        "c.yaml:17: profiles.p.cache.memory: is an unknown key; did you mean cache.memory?",
        "c.yaml:21: profiles.q.cache.patterns[0].match: \"1\" must be text",
        "S3PROXY_CACHE_MEMORY: \"40%\" must be auto, 0, or a size",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{expected} is not\n{problem}");
    }
}

#[test]
fn mistakes_in_the_settings_of_blocks_say_where_and_what_to_write() {
    let text =
        "cache:\n  blocks:\n    size: 3MiB\n    share: 25%\n    read_ahead: 1GiB\n    sise: 1\n";
    let variables = [
        ("S3PROXY_CACHE_BLOCKS_SIZE", "32MiB"),
        ("S3PROXY_CACHE_BLOCKS_SHARE", "91"),
        ("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "-1"),
    ];
    assert_eq!(
        Case { yaml: text, ..env(&variables) }.bad(),
        [
            "c.yaml:3: cache.blocks.size: \"3MiB\" must be a power of two, such as 2MiB or 4MiB",
            "c.yaml:4: cache.blocks.share: \"25%\" must be a whole number of percent such as 25, \
             from 0 to 90",
            "c.yaml:5: cache.blocks.read_ahead: \"1GiB\" must be a size such as 32KiB, from 0 bytes \
             to 256MiB",
            "c.yaml:6: cache.blocks.sise: is an unknown key; did you mean cache.blocks.size?",
            "S3PROXY_CACHE_BLOCKS_READ_AHEAD: \"-1\" must be a size such as 32KiB, from 0 bytes to \
             256MiB",
            "S3PROXY_CACHE_BLOCKS_SHARE: \"91\" must be a whole number of percent such as 25, from \
             0 to 90",
            "S3PROXY_CACHE_BLOCKS_SIZE: \"32MiB\" must be a size such as 1MiB, a power of two from \
             64KiB to 16MiB",
        ]
    );
}

#[test]
fn no_read_ahead_is_less_than_a_block_except_none() {
    for (text, expected) in [
        (
            "cache: {blocks: {read_ahead: 1048575}}",
            "c.yaml:1: cache.blocks.read_ahead: cache.blocks.read_ahead (1048575 bytes) must be 0, \
             or at least one block (cache.blocks.size, 1MiB)",
        ),
        (
            "cache:\n  blocks:\n    size: 16MiB",
            "c.yaml:3: cache.blocks.size: cache.blocks.read_ahead (8MiB) must be 0, or at least one \
             block (cache.blocks.size, 16MiB)",
        ),
    ] {
        assert_eq!(yaml(text).bad(), [expected]);
    }
    for (text, read_ahead) in [
        ("cache: {blocks: {read_ahead: 0}}", 0),
        ("cache: {blocks: {read_ahead: 1MiB}}", 1 << 20),
        ("cache: {blocks: {size: 64KiB, read_ahead: 100KiB}}", 100 << 10),
    ] {
        assert_eq!(yaml(text).good().config.cache.blocks.read_ahead, read_ahead, "{text}");
    }
}

#[test]
fn limits_that_may_be_odd_but_are_meant_raise_no_warning() {
    for text in [
        "cache: {negative_ttl: 2h}",
        "cache: {memory: 8MiB}",
        "cache: {memory: 0, max_object: 1GiB}",
        "cache: {max_object: 1GiB}",
        "cache: {memory: 10MiB, max_object: 5MiB}",
        "cache: {memory: 12MiB, blocks: {size: 1MiB, share: 25, read_ahead: 2MiB}}",
        "cache: {memory: 0, blocks: {size: 16MiB, read_ahead: 16MiB}}",
        "cache: {memory: 8MiB, blocks: {size: 16MiB, share: 0, read_ahead: 16MiB}}",
        "cache: {blocks: {size: 16MiB, share: 1, read_ahead: 256MiB}}",
        "admin: {listen: off}",
    ] {
        let text = format!("{text}\ndefault_profile: {{}}");
        let case = Case { ini: INI, ..yaml(&text) };
        let warnings = case.good().warnings;
        assert!(warnings.iter().all(|warning| warning.contains("[hips]")), "{text} {warnings:?}");
    }
}

#[test]
fn profiles_of_surveys_pin_what_viewers_request_first_unless_a_list_is_written() {
    let profiles = "profiles:\n  hips: {hips: true}\n  none: {hips: true, cache: {pin: []}}\n  \
                    own: {cache: {pin: ['*.json']}}\n  plain: {}\n";
    let of_all = format!("cache: {{pin: ['a*']}}\n{profiles}");
    for (file, profile, key, pinned) in [
        (profiles, "hips", "s/properties", true),
        (profiles, "hips", "properties", true),
        (profiles, "hips", "s/other-properties", false),
        (profiles, "hips", "s/Moc.fits", true),
        (profiles, "hips", "s/Norder3/Allsky.webp", true),
        (profiles, "hips", "Norder0/Dir0/Npix3.fits", true),
        (profiles, "hips", "s/Norder4/Dir0/Npix3.fits", false),
        (profiles, "none", "properties", false),
        (profiles, "own", "a.json", true),
        (profiles, "own", "properties", false),
        (profiles, "plain", "properties", false),
        (&of_all, "hips", "a.png", true),
        (&of_all, "hips", "properties", false),
        (&of_all, "own", "a.png", false),
        (&of_all, "none", "a.png", false),
    ] {
        let loaded = yaml(file).good();
        assert_eq!(named(&loaded, profile).cache.pins(key), pinned, "{profile} {key}");
    }
}
