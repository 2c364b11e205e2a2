//! The tier of the cache that replicas share.

use super::*;
use crate::config::{EngineConfig, EngineUrl, SharedConfig, Topology};
use crate::s3::secret::Secret;

/// The warnings about the shared tier.
fn about_shared(mut warnings: Vec<String>) -> Vec<String> {
    warnings.retain(|line| line.starts_with("cache.shared"));
    warnings
}

#[test]
fn every_setting_of_the_shared_tier_has_a_variable_and_a_key() {
    let variables = [
        ("S3PROXY_CACHE_SHARED_URL", "rediss://u@valkey"),
        ("S3PROXY_CACHE_SHARED_PASSWORD_FILE", "password"),
        ("S3PROXY_CACHE_SHARED_CA_FILE", "ca.pem"),
        ("S3PROXY_CACHE_SHARED_MAC_KEY_FILE", "mac"),
        ("S3PROXY_CACHE_SHARED_PREFIX", "tiles"),
        ("S3PROXY_CACHE_SHARED_TIMEOUT", "50ms"),
        ("S3PROXY_CACHE_SHARED_MAX_OBJECT", "1MiB"),
        ("S3PROXY_CACHE_SHARED_PROFILES", "[\"default\"]"),
    ];
    let file = "cache:\n  shared: {url: 'rediss://u@valkey', password_file: password, ca_file: ca.pem, \
                mac_key_file: mac, prefix: tiles, timeout: 50ms, max_object: 1MiB, \
                profiles: [default]}\ndefault_profile: {}\n";
    for case in [env(&variables), yaml(file)] {
        let loaded = case.good();
        let url = EngineUrl {
            tls: true,
            topology: Topology::Single,
            user: Some("u".to_owned()),
            hosts: vec![("valkey".to_owned(), 6379)],
            database: 0,
        };
        let engine = EngineConfig {
            url,
            password_file: Some("password".into()),
            ca_file: Some("ca.pem".into()),
            timeout: Duration::from_millis(50),
        };
        let expected = SharedConfig {
            engine,
            prefix: "tiles".to_owned(),
            max_object: 1 << 20,
            mac_key: Some(Secret::new("hush-0123456789abcdef0123456789abcdef".to_owned())),
            profiles: Some(vec!["default".to_owned()]),
        };
        assert_eq!(loaded.config.cache.shared, Some(expected));
        assert_eq!(about_shared(loaded.warnings), [""; 0]);
        assert!(!format!("{:?} {:?}", loaded.config, loaded.settings).contains("hush"));
    }
}

#[test]
fn every_mistake_of_the_shared_tier_is_reported_in_one_run() {
    let file = "cache:\n  shared:\n    url: redis://valkey\n    password_file: empty\n    ca_file: ca.pem\n    \
                mac_key_file: password\n    prefix: 'a{b}'\n    timeout: 2s\n    max_object: 1\n    \
                profiles: [hips, none]\nprofiles:\n  hips: {endpoint: 'http://h'}\n";
    assert_eq!(
        yaml(file).bad(),
        [
            "c.yaml:4: cache.shared.password_file: \"empty\" names an empty file",
            "c.yaml:5: cache.shared.ca_file: cache.shared.ca_file needs a cache.shared.url that begins \
             with rediss",
            "c.yaml:6: cache.shared.mac_key_file: \"password\" names a file with less than 32 characters",
            "c.yaml:7: cache.shared.prefix: \"a{b}\" must be 1 to 64 letters, digits and ._:-",
            "c.yaml:8: cache.shared.timeout: \"2s\" must be a time such as 5s or 1m30s, from 10ms \
             to 1s",
            "c.yaml:9: cache.shared.max_object: \"1\" must be a size such as 32KiB, from 1KiB to 64MiB",
            "c.yaml:10: cache.shared.profiles: \"none\" there is no such profile; there are hips",
        ]
    );
    let secret = yaml("cache: {shared: {url: 'redis://u:hush@h'}}").bad();
    assert_eq!(secret.len(), 1);
    assert!(!secret[0].contains("hush") && secret[0].contains("must not contain a password"));
    let gone = yaml("cache: {shared: {url: 'redis://h', mac_key_file: denied}}").bad();
    assert!(gone[0].contains("cannot be read"), "{gone:?}");
}

#[test]
fn settings_without_an_effect_give_a_warning() {
    let warnings = |text: &str| about_shared(yaml(text).good().warnings);
    assert_eq!(
        warnings(
            "cache: {shared: {password_file: password, profiles: [default]}}\ndefault_profile: {}"
        ),
        [
            "cache.shared.password_file, cache.shared.profiles have no effect without cache.shared.url"
        ]
    );
    let off = warnings("cache: {memory: 0, shared: {url: 'redis://h'}}");
    assert!(off.iter().any(|line| line.starts_with("cache.shared.url has no effect")), "{off:?}");
    assert_eq!(warnings("cache: {shared: {prefix: s3proxy, timeout: 150ms}}"), [""; 0]);
}
