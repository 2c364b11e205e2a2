//! The environment as a value, and how the names of variables are matched.

use std::collections::BTreeMap;

use crate::config::settings::variable;

/// The start of the names whose case does not count.
pub(super) const OWN: &str = "S3PROXY_";

/// Stands in the text of a variable for bytes that are not UTF-8.
const NOT_UTF_8: char = char::REPLACEMENT_CHARACTER;

/// A snapshot of the environment, in which U+FFFD stands for bytes that are not UTF-8.
#[derive(Debug, Clone, Copy)]
pub(super) struct Environment<'a>(pub(super) &'a BTreeMap<String, String>);

impl<'a> Environment<'a> {
    /// A variable's name as spelled in the environment, and its text. The case of `S3PROXY_*`
    /// names does not count (the upper-case spelling wins); that of all others does, and those
    /// count as unset when empty.
    pub(super) fn get(self, name: &str) -> Option<(&'a str, &'a str)> {
        let exact = self.0.get_key_value(name);
        let found = if name.starts_with(OWN) {
            exact.or_else(|| self.0.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)))
        } else {
            exact.filter(|(_, text)| !text.is_empty())
        };
        let found = found.filter(|(_, text)| !text.contains(NOT_UTF_8));
        found.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The names of variables whose text is not UTF-8. [`Self::get`] takes them for unset.
    pub(super) fn not_utf_8(self) -> impl Iterator<Item = &'a str> {
        let wrong = self.0.iter().filter(|(_, text)| text.contains(NOT_UTF_8));
        wrong.map(|(name, _)| name.as_str())
    }

    /// The variables that define named profiles: variable and profile name.
    pub(super) fn profiles(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.keys().filter_map(|variable| {
            let name = variable.strip_prefix(variable::PROFILE_ENDPOINT)?;
            (!name.is_empty()).then_some((variable.as_str(), name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn only_the_case_of_our_own_names_does_not_count() {
        let map = env(&[("s3proxy_name", "a"), ("aws_profile", "b"), ("S3_ENDPOINT_URL", "")]);
        let env = Environment(&map);
        assert_eq!(env.get("S3PROXY_NAME"), Some(("s3proxy_name", "a")));
        assert_eq!(env.get("AWS_PROFILE"), None);
        assert_eq!(env.get("S3_ENDPOINT_URL"), None, "empty is unset");
    }

    #[test]
    fn the_upper_case_spelling_wins() {
        let map = env(&[("s3proxy_name", "a"), ("S3PROXY_NAME", "b")]);
        assert_eq!(Environment(&map).get("S3PROXY_NAME"), Some(("S3PROXY_NAME", "b")));
    }

    #[test]
    fn profile_names_keep_their_case() {
        let map = env(&[
            ("LSST_RESOURCES_S3_PROFILE_hips", "x"),
            ("LSST_RESOURCES_S3_PROFILE_Hips-2", "x"),
            ("LSST_RESOURCES_S3_PROFILE_", "x"),
        ]);
        let names: Vec<&str> = Environment(&map).profiles().map(|(_, name)| name).collect();
        assert_eq!(names, ["Hips-2", "hips"]);
    }
}
