//! `s3proxy config`: the effective configuration for a person, or as JSON.

use std::fmt::Write as _;

use serde_json::json;

use crate::config::layers::Effective;
use crate::config::load::Loaded;

/// One line per setting, `key = value   (source)`, then the warnings, and `more` of them. No secrets.
#[must_use]
pub fn show(loaded: &Loaded, more: &[String]) -> String {
    /// A longer value moves its own source to the right, and no other.
    const WIDEST: usize = 44;
    let width = |text: &str| text.chars().count();
    let keys = loaded.settings.iter().map(|setting| width(&setting.key)).max().unwrap_or(0);
    let values = loaded
        .settings
        .iter()
        .map(|setting| width(&setting.value))
        .filter(|width| *width <= WIDEST)
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for Effective { key, value, source } in &loaded.settings {
        let _ = writeln!(out, "{key:keys$} = {value:values$}   ({source})");
    }
    for warning in loaded.warnings.iter().chain(more) {
        let _ = writeln!(out, "warning: {warning}");
    }
    out
}

/// The same for machines: `{"settings": [{"key", "value", "source"}], "warnings": [text]}`.
#[must_use]
pub fn show_json(loaded: &Loaded, more: &[String]) -> String {
    let warnings: Vec<_> = loaded.warnings.iter().chain(more).collect();
    let settings: Vec<_> = loaded
        .settings
        .iter()
        .map(|Effective { key, value, source }| {
            json!({ "key": key, "value": value, "source": source.to_string() })
        })
        .collect();
    let mut out = json!({ "settings": settings, "warnings": warnings }).to_string();
    out.push('\n');
    out
}
