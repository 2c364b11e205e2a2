//! Problems of a configuration, and the place each value comes from.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueSource {
    /// Not written: the built-in value.
    Default,
    /// A file, and the line (from 1) where it is known.
    File { path: PathBuf, line: Option<usize> },
    /// An environment variable, by name.
    Variable(String),
    /// A command line option, with its dashes.
    Flag(&'static str),
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One problem. `Display` is one line and never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub source: ValueSource,
    /// The full path of the YAML key or of the INI section, where the source is a file.
    pub key: Option<String>,
    /// The value as written, already redacted; `None` where it may be a secret.
    pub value: Option<String>,
    /// The mistake, or the allowed values.
    pub message: String,
}

impl Problem {
    /// A problem that belongs to no single key.
    pub(super) fn new(source: ValueSource, message: impl Into<String>) -> Self {
        Self { source, key: None, value: None, message: message.into() }
    }

    /// Names the key.
    pub(super) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Shows the value, which must not be a secret.
    pub(super) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 100;
        write!(f, "{}: ", self.source)?;
        // A variable or an option is its own name; a file needs the key as well.
        if let (ValueSource::File { .. }, Some(key)) = (&self.source, &self.key) {
            write!(f, "{key}: ")?;
        }
        if let Some(value) = &self.value {
            if value.chars().count() > SHOWN {
                let start: String = value.chars().take(SHOWN).collect();
                write!(f, "{start:?}... ")?;
            } else {
                write!(f, "{value:?} ")?;
            }
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_that_says_where_what_and_what_is_allowed() {
        let file = ValueSource::File { path: "conf/a.yaml".into(), line: Some(3) };
        for (problem, text) in [
            (
                Problem::new(ValueSource::Variable("S3PROXY_NAME".into()), "must be text")
                    .key("name")
                    .value("a\nb"),
                r#"S3PROXY_NAME: "a\nb" must be text"#,
            ),
            (
                Problem::new(file.clone(), "must be 0 or 1").key("upstream.retries").value("3"),
                r#"conf/a.yaml:3: upstream.retries: "3" must be 0 or 1"#,
            ),
            (
                Problem::new(file, "is an unknown key").key("x"),
                "conf/a.yaml:3: x: is an unknown key",
            ),
            (Problem::new(ValueSource::Flag("--listen"), "must be"), "--listen: must be"),
        ] {
            assert_eq!(problem.to_string(), text);
        }
    }

    #[test]
    fn a_long_value_is_cut() {
        let problem = Problem::new(ValueSource::Default, "is too long").value("é".repeat(5000));
        assert!(problem.to_string().len() < 300);
    }
}
