//! A setting as it is declared.

use serde_yaml::Value;

use crate::config::kind::Accepts;
use crate::config::value::Read;

/// All about a setting but its type.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Row {
    /// The YAML path; within a profile for the settings of profiles.
    pub(in crate::config) path: &'static str,
    /// The last part of the path.
    pub(in crate::config) key: &'static str,
    /// The environment variable; empty where there is none.
    pub(in crate::config) variable: &'static str,
    /// The default as it would be written in YAML; `null` is no value, or one that is found at start.
    pub(in crate::config) default: &'static str,
    pub(in crate::config) accepts: Accepts,
    /// Whether a reload applies another value. All others need a restart.
    pub(in crate::config) reload: bool,
    /// Sentences in Markdown.
    pub(in crate::config) text: &'static str,
}

impl Row {
    /// The default, which is written as in the file.
    pub(in crate::config) fn default_value(&self) -> Value {
        serde_yaml::from_str(self.default).unwrap_or(Value::Null)
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Setting<T> {
    pub(in crate::config) row: Row,
    pub(in crate::config) read: Read<T>,
    pub(in crate::config) shown: Shown,
}

/// How much of a value a person may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Shown {
    Whole,
    /// A URL without its user info.
    Url,
    /// Not the values of a mapping.
    Names,
    /// As part of another setting.
    Elsewhere,
}

impl<T> Setting<T> {
    /// The same setting, shown differently.
    pub(in crate::config) const fn shown(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }
}
