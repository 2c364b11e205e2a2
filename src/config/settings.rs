//! The table of settings: where each can be written, its default, and how it is read. Loading,
//! `s3proxy config`, the suggestions for unknown keys and the tests of the documentation all go
//! through it.

pub(super) mod cache;
pub(super) mod gateway;
pub(super) mod profile;

use crate::config::file::{DEFAULT_PROFILE, PATTERNS, PROFILES};
use crate::config::value::Read;

pub use cache::PATTERN;
pub use cache::rule::ALL as RULE;
pub use gateway::ALL as GLOBAL;
pub use profile::ALL as PROFILE;

/// What is said of a setting, whatever its type.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The YAML path; within a profile for the settings of profiles.
    pub path: &'static str,
    /// The environment variable; empty where there is none.
    pub variable: &'static str,
    /// The default as it would be written in YAML; `null` is nothing, or worked out at start.
    pub default: &'static str,
    pub meaning: &'static str,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<T> {
    pub(super) row: Row,
    pub(super) read: Read<T>,
    pub(super) shown: Shown,
}

/// How much of a value a person may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Whole,
    /// A URL without its user info.
    Url,
    /// Not the values of a mapping.
    Names,
    /// With another setting that it is part of.
    Elsewhere,
}

impl<T> Setting<T> {
    const fn new(
        path: &'static str,
        variable: &'static str,
        default: &'static str,
        read: Read<T>,
        meaning: &'static str,
    ) -> Self {
        Self { row: Row { path, variable, default, meaning }, read, shown: Shown::Whole }
    }

    /// The same setting, shown otherwise.
    pub(super) const fn shown(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }
}

/// The path of the configuration file.
pub const CONFIG_FILE: &str = "S3PROXY_CONFIG";
/// A size of 4096 or more, which nothing depends on any more.
pub(super) const STREAM_CHUNK_SIZE: &str = "S3PROXY_STREAM_CHUNK_SIZE";
/// The endpoint of the default profile.
pub(super) const DEFAULT_ENDPOINT: &str = "S3_ENDPOINT_URL";
/// The same, where the former is empty.
pub(super) const AWS_ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";
/// The INI section of the default profile.
pub(super) const DEFAULT_SECTION: &str = "AWS_PROFILE";
pub(super) const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
pub(super) const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
pub(super) const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
/// The endpoint of a named profile, by the rest of the variable's name.
pub(super) const PROFILE_ENDPOINT: &str = "LSST_RESOURCES_S3_PROFILE_";

/// The variables that stand for no single row of the table.
pub const FURTHER_VARIABLES: &[&str] = &[
    CONFIG_FILE,
    STREAM_CHUNK_SIZE,
    DEFAULT_ENDPOINT,
    AWS_ENDPOINT,
    DEFAULT_SECTION,
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    PROFILE_ENDPOINT,
];

/// Every variable that is read.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    let of_rows = GLOBAL.iter().map(|row| row.variable).filter(|name| !name.is_empty());
    of_rows.chain(FURTHER_VARIABLES.iter().copied())
}

/// Whether another value of this setting, given by its full path, is taken over by a running gateway:
/// what makes up profiles. All else needs a restart.
#[must_use]
pub fn is_live(key: &str) -> bool {
    let of_profiles = [PROFILES, DEFAULT_PROFILE]
        .into_iter()
        .any(|section| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')));
    let of_rules = key.strip_prefix("cache.").is_some_and(|field| {
        let field = field.split(['.', '[']).next().unwrap_or_default();
        field == PATTERNS || RULE.iter().any(|row| row.path == field)
    });
    of_profiles
        || of_rules
        || [gateway::REGION.row.path, gateway::CREDENTIALS_FILE.row.path].contains(&key)
}

#[cfg(test)]
mod tests {
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
        let mut names: Vec<&str> = GLOBAL.iter().map(|row| row.path).chain(variables()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_meaning_is_a_sentence() {
        for row in GLOBAL.iter().chain(PROFILE).chain(RULE).chain(PATTERN) {
            assert!(row.meaning.ends_with('.'), "{}", row.path);
        }
    }
}
