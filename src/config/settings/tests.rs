//! The declarations are consistent, and the files generated from them are up to date.

mod generated;
mod schema;

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
    let mut names: Vec<&str> = global().map(|row| row.path).chain(variables()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_text_is_a_sentence() {
    for row in global().chain(of_profile()).chain(PATTERN) {
        assert!(row.text.ends_with('.'), "{}", row.path);
    }
}

#[test]
fn a_reload_applies_profiles_credentials_and_rules_of_the_cache() {
    for key in [
        "region",
        "credentials_file",
        "cache.ttl",
        "cache.patterns",
        "cache.patterns[1].ttl",
        "default_profile.endpoint",
        "profiles.hips.cache.ttl",
    ] {
        assert!(is_live(key), "{key}");
    }
    for key in ["listen", "cache.memory", "cache.blocks.size", "cache.disk.path", "profiles", "x"] {
        assert!(!is_live(key), "{key}");
    }
}
