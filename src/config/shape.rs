//! The keys of the YAML file: unknown ones, and values that must be mappings.

use serde_yaml::Value;

use crate::config::file::File;
use crate::config::nearest::nearest;
use crate::config::problem::Problem;
use crate::config::settings::paths::{
    CACHE, DEFAULT_PROFILE, PATTERNS, PROFILES, item, place, written,
};
use crate::config::settings::{PATTERN, cache, global, of_profile};
use crate::s3::address::is_profile_name;

/// Every key that is not a setting, and every value that must be a mapping and is not.
pub(super) fn problems(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    Shape(file).check_mapping(&file.root, &mut Vec::new(), &known_paths(), &mut problems);
    problems
}

/// Collects problems of one file.
struct Shape<'f>(&'f File);

impl Shape<'_> {
    /// Checks a mapping of settings, or a setting that is a list of such mappings.
    fn check_below(
        &self,
        node: &Value,
        path: &mut Vec<String>,
        known: &[Vec<&'static str>],
        problems: &mut Vec<Problem>,
    ) {
        if !is_setting(known, path) {
            self.check_mapping(node, path, known, problems);
        } else if let Value::Sequence(items) = node
            && children(known, path) == [ITEM]
        {
            for (at, node) in items.iter().enumerate() {
                path.push(item(at));
                self.check_mapping(node, path, known, problems);
                path.pop();
            }
        }
    }

    fn check_mapping(
        &self,
        node: &Value,
        path: &mut Vec<String>,
        known: &[Vec<&'static str>],
        problems: &mut Vec<Problem>,
    ) {
        let names = children(known, path);
        let mapping = match node {
            Value::Null => return,
            Value::Mapping(mapping) => mapping,
            _ => {
                let message = format!("must be a mapping, with keys such as {}", names.join(", "));
                problems.push(self.problem(path, message));
                return;
            }
        };
        for (key, child) in mapping {
            let Value::String(key) = key else {
                let message = "has a key that is not text; put it in quotes";
                problems.push(self.problem(path, message.to_owned()));
                continue;
            };
            path.push(key.clone());
            let any_name = names.first() == Some(&ANY);
            if any_name && !is_profile_name(key) {
                let message =
                    "cannot be used in a URL: names of profiles consist of letters, digits and ._-";
                problems.push(self.problem(path, message.to_owned()));
            } else if !any_name && !names.contains(&key.as_str()) {
                problems.push(self.problem(path, unknown(path, &names, known)));
            } else {
                self.check_below(child, path, known, problems);
            }
            path.pop();
        }
    }

    fn problem(&self, path: &[String], message: String) -> Problem {
        let key = if path.is_empty() { "the file".to_owned() } else { written(path) };
        Problem::new(self.0.source(path), message).key(key)
    }
}

/// Stands for any name in a known path.
const ANY: &str = "*";
/// Stands for any item of a list.
const ITEM: &str = "[N]";

fn known_paths() -> Vec<Vec<&'static str>> {
    let mut known: Vec<Vec<&str>> = Vec::new();
    let rule = || cache::rule::ROWS.iter().map(|row| row.key);
    let pattern = || PATTERN.iter().map(|row| row.key).chain(rule());
    let mut add = |prefix: &[&'static str], path: &'static str| {
        known.push(prefix.iter().copied().chain(path.split('.')).collect());
    };
    global().for_each(|row| add(&[], row.path));
    pattern().for_each(|key| add(&[CACHE, PATTERNS, ITEM], key));
    for profile in [&[DEFAULT_PROFILE][..], &[PROFILES, ANY]] {
        of_profile().for_each(|row| add(profile, row.path));
        let cache = [profile, &[CACHE]].concat();
        rule().for_each(|key| add(&cache, key));
        let item = [profile, &[CACHE, PATTERNS, ITEM]].concat();
        pattern().for_each(|key| add(&item, key));
    }
    known
}

fn leads_to(known: &[&str], path: &[String]) -> bool {
    let matches = |known: &str, key: &str| match known {
        ANY => true,
        ITEM => place(key).is_some(),
        _ => known == key,
    };
    known.len() >= path.len() && known.iter().zip(path).all(|(known, key)| matches(known, key))
}

fn is_setting(known: &[Vec<&'static str>], path: &[String]) -> bool {
    known.iter().any(|known| known.len() == path.len() && leads_to(known, path))
}

/// The known keys of the mapping at `path`.
fn children(known: &[Vec<&'static str>], path: &[String]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for known in known.iter().filter(|known| leads_to(known, path)) {
        if let Some(name) = known.get(path.len())
            && !names.contains(name)
        {
            names.push(*name);
        }
    }
    names
}

/// The message for an unknown key. It suggests a key of the same mapping, or else the path of the
/// setting with this name.
fn unknown(path: &[String], siblings: &[&str], known: &[Vec<&'static str>]) -> String {
    let Some((key, parents)) = path.split_last() else { return String::new() };
    let elsewhere = || {
        let found = known.iter().find(|known| known.last().is_some_and(|last| last == key))?;
        Some(written(found).replace(ANY, "NAME").replace(&format!(".{ITEM}"), ITEM))
    };
    let beside = nearest(key, siblings.iter().copied())
        .map(|name| written(&parents.iter().map(String::as_str).chain([name]).collect::<Vec<_>>()));
    match beside.or_else(elsewhere) {
        Some(meant) => format!("is an unknown key; did you mean {meant}?"),
        None => format!("is an unknown key; known here are {}", siblings.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let file = File::parse(Path::new("c.yaml"), text).expect("valid YAML");
        super::problems(&file).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_keys_are_named_by_path_and_line_with_what_was_meant() {
        for (text, expected) in [
            ("lisen: x", "c.yaml:1: lisen: is an unknown key; did you mean listen?"),
            (
                "upstream:\n  # x\n  retrys: 1",
                "c.yaml:3: upstream.retrys: is an unknown key; did you mean upstream.retries?",
            ),
            (
                "connect_timeout: 1s",
                "c.yaml:1: connect_timeout: is an unknown key; did you mean \
                 upstream.connect_timeout?",
            ),
            (
                "profiles:\n  my.hips:\n    endpiont: x",
                "c.yaml:3: profiles.my.hips.endpiont: is an unknown key; did you mean \
                 profiles.my.hips.endpoint?",
            ),
            (
                "profiles:\n  hips:\n    credentials:\n      secret: hush",
                "c.yaml:4: profiles.hips.credentials.secret: is an unknown key; known here are \
                 section, anonymous, from, process, role_arn, role_session_name, external_id, \
                 web_identity_token_file, sts_endpoint, uri, token_file",
            ),
            (
                "cache:\n  patterns:\n  - match: a\n  - match: b\n    tll: 1h",
                "c.yaml:5: cache.patterns[1].tll: is an unknown key; did you mean \
                 cache.patterns[1].ttl?",
            ),
            (
                "profiles:\n  a:\n    cache: {patterns: [{mtach: a}]}",
                "c.yaml:3: profiles.a.cache.patterns[0].mtach: is an unknown key; did you mean \
                 profiles.a.cache.patterns[0].match?",
            ),
            (
                "match: a",
                "c.yaml:1: match: is an unknown key; did you mean cache.patterns[N].match?",
            ),
            (
                "anonymous: true",
                "c.yaml:1: anonymous: is an unknown key; did you mean \
                 default_profile.credentials.anonymous?",
            ),
        ] {
            assert_eq!(problems(text), [expected], "{text}");
        }
    }

    #[test]
    fn a_value_in_place_of_a_mapping_is_reported() {
        for (text, start) in [
            ("- a", "c.yaml:1: the file: must be a mapping"),
            ("log: 1", "c.yaml:1: log: must be a mapping, with keys such as format, level"),
            ("profiles: [a]", "c.yaml:1: profiles: must be a mapping"),
            (
                "cache:\n  patterns:\n    - match: a\n    - b",
                "c.yaml:4: cache.patterns[1]: must be a mapping, with keys such as match, store",
            ),
            ("profiles:\n  a: b", "c.yaml:2: profiles.a: must be a mapping"),
            ("1: a", "c.yaml:1: the file: has a key that is not text"),
            ("profiles:\n  a@b: {}", "c.yaml:2: profiles.a@b: cannot be used in a URL"),
        ] {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(start), "{text}: {found:?}");
        }
    }

    #[test]
    fn empty_files_and_empty_sections_are_fine() {
        for text in ["", "# nothing", "log:", "profiles:\n  hips:\n", "name: null"] {
            assert_eq!(problems(text), [""; 0], "{text}");
        }
    }
}
