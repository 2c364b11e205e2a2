//! The YAML file: its values by path, and the line of each.

use std::path::{Path, PathBuf};

use serde_yaml::Value;

use crate::config::nesting::{MAX_DEPTH, too_deep};
use crate::config::positions::Positions;
use crate::config::problem::{Problem, ValueSource};
use crate::config::settings::paths::{PROFILES, place};
use crate::s3::address::is_profile_name;

/// A configuration file that is valid YAML.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    pub(super) root: Value,
    positions: Positions,
}

impl File {
    /// Parses the text of the file at `path`; an empty one has no keys.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Problem> {
        let refused = |error: &serde_yaml::Error| {
            let line = error.location().map(|location| location.line());
            let message = error.to_string();
            // Without the position at its end, which goes to the front with the path.
            let message = message.split(" at line ").next().unwrap_or_default();
            let source = ValueSource::File { path: path.to_owned(), line };
            Problem::new(source, format!("is not valid YAML: {message}"))
        };
        if let Some(line) = too_deep(text) {
            let source = ValueSource::File { path: path.to_owned(), line: Some(line) };
            let message = format!("is nested more than {MAX_DEPTH} levels deep");
            return Err(Problem::new(source, message));
        }
        let mut root: Value = serde_yaml::from_str(text).map_err(|error| refused(&error))?;
        root.apply_merge().map_err(|error| refused(&error))?;
        Ok(Self { path: path.to_owned(), root, positions: Positions::of(text) })
    }

    /// The value at a path; `None` for `null` as well. Items of lists are named by [`crate::config::settings::paths::item`].
    pub(super) fn get<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value> {
        let value = path.iter().try_fold(&self.root, |node, key| child(node, key.as_ref()))?;
        (!value.is_null()).then_some(value)
    }

    /// The file, and the line of the value at a path.
    pub(super) fn source<S: AsRef<str>>(&self, path: &[S]) -> ValueSource {
        ValueSource::File { path: self.path.clone(), line: Some(self.positions.find(path)) }
    }

    /// The names under `profiles`.
    pub(super) fn profiles(&self) -> Vec<&str> {
        let Some(Value::Mapping(profiles)) = self.get(&[PROFILES]) else { return Vec::new() };
        profiles.keys().filter_map(Value::as_str).filter(|name| is_profile_name(name)).collect()
    }
}

fn child<'v>(node: &'v Value, key: &str) -> Option<&'v Value> {
    match node {
        Value::Sequence(items) => items.get(place(key)?),
        _ => node.get(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, Problem> {
        File::parse(Path::new("c.yaml"), text)
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_line() {
        for (text, start) in [
            ("a: 1\nb: [", "c.yaml:"),
            ("name: a\nname: b", "c.yaml:"),
            ("a: 1\n---\nb: 2", "c.yaml"),
            ("a: *nowhere", "c.yaml:1: is not valid YAML"),
        ] {
            let problem = parse(text).expect_err(text).to_string();
            assert!(problem.starts_with(start), "{text}: {problem}");
            assert!(
                problem.contains("is not valid YAML: ") && !problem.contains('\n'),
                "{problem}"
            );
        }
    }

    /// The parser takes 9 s for 20,000 brackets.
    #[test]
    fn a_file_that_is_nested_deeply_is_refused_before_it_is_parsed() {
        let problem = parse(&format!("a: 1\nb: {}", "[".repeat(1_000_000))).expect_err("deep");
        assert_eq!(problem.to_string(), "c.yaml:2: is nested more than 64 levels deep");
    }

    #[test]
    fn merged_mappings_are_read_as_if_written_out() {
        let file = parse("x: &x\n  retries: 0\nupstream:\n  <<: *x\n").expect("valid YAML");
        assert!(file.get(&["upstream", "retries"]).is_some());
    }
}
