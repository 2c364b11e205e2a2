//! `s3proxy check`: being written.

use crate::config::Config;

/// What was found.
#[derive(Debug)]
pub struct Report;

impl Report {
    /// For a person.
    #[must_use]
    pub fn to_text(&self) -> String {
        String::new()
    }

    /// For a machine.
    #[must_use]
    pub fn to_json(&self) -> String {
        String::new()
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        false
    }
}

/// Checks every profile.
pub async fn check_all(_config: &Config, _warnings: &[String]) -> Report {
    Report
}

/// Checks one object.
pub async fn check_object(_config: &Config, _object: &str) -> Report {
    Report
}
