//! The environment as a value: which variables are read, how their names are matched, and which
//! unread variables are probably misspelt.

use std::collections::BTreeMap;

use crate::config::nearest::nearest;
use crate::config::settings;

const OWN: &str = "S3PROXY_";

/// A snapshot of the environment.
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
        found.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The variables that define named profiles: variable and profile name.
    pub(super) fn profiles(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.keys().filter_map(|variable| {
            let name = variable.strip_prefix(settings::PROFILE_ENDPOINT)?;
            (!name.is_empty()).then_some((variable.as_str(), name))
        })
    }

    /// A line for every variable whose name is close to the name of one that is read.
    pub(super) fn near_misses(self) -> Vec<String> {
        let unread = self.0.keys().filter(|name| !is_read(name));
        let mut lines: Vec<String> = unread
            .filter_map(|name| {
                let meant = meant(name)?;
                Some(format!("{name} is not read; did you mean {meant}?"))
            })
            .collect();
        if self.get("AWS_REGION").is_some() && self.get("AWS_DEFAULT_REGION").is_none() {
            lines.push("AWS_REGION is not read; did you mean AWS_DEFAULT_REGION?".to_owned());
        }
        lines
    }
}

fn is_read(name: &str) -> bool {
    if let Some(profile) = name.strip_prefix(settings::PROFILE_ENDPOINT) {
        return !profile.is_empty();
    }
    settings::variables()
        .any(|known| known == name || (known.starts_with(OWN) && known.eq_ignore_ascii_case(name)))
}

fn meant(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    // Kubernetes sets these for a service that is called s3proxy.
    if upper.starts_with("S3PROXY_PORT") || upper.starts_with("S3PROXY_SERVICE_") {
        return None;
    }
    if upper.starts_with("LSST_RESOURCES_S3_PROF") {
        return Some(format!("{}<name>", settings::PROFILE_ENDPOINT));
    }
    // Names of others are near each other by nature (AWS_PROFILE, AWS_PROFILES): only the case
    // of those is looked at.
    if upper.starts_with("S3PROXY") || upper.starts_with("S3_PROXY") {
        nearest(&upper, settings::variables()).map(str::to_owned)
    } else {
        settings::variables().find(|known| *known == upper).map(str::to_owned)
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

    #[test]
    fn a_near_miss_is_named_and_a_stranger_is_not() {
        for (name, meant) in [
            ("S3PROXY_CACHE_MAXAGE", Some("S3PROXY_CACHE_MAX_AGE")),
            ("s3proxy_log_levle", Some("S3PROXY_LOG_LEVEL")),
            ("S3_PROXY_NAME", Some("S3PROXY_NAME")),
            ("LSST_RESOURCES_S3_PROFILE_", Some("LSST_RESOURCES_S3_PROFILE_<name>")),
            ("lsst_resources_s3_profile_x", Some("LSST_RESOURCES_S3_PROFILE_<name>")),
            ("LSST_RESOURCES_S3_PROFILES_x", Some("LSST_RESOURCES_S3_PROFILE_<name>")),
            ("s3_endpoint_url", Some("S3_ENDPOINT_URL")),
            ("AWS_REGION", Some("AWS_DEFAULT_REGION")),
            ("S3PROXY_PORT", None),
            ("S3PROXY_SERVICE_HOST", None),
            ("S3PROXY_PORT_8080_TCP_ADDR", None),
            ("s3proxy_name", None),
            ("S3PROXY_SOMETHING_ELSE", None),
            ("AWS_PROFILES", None),
            ("AWS_ROLE_ARN", None),
            ("LSST_RESOURCES_NUM_WORKERS", None),
            ("PATH", None),
        ] {
            let map = env(&[(name, "x")]);
            let lines = Environment(&map).near_misses();
            let expected: Vec<String> = meant
                .map(|meant| format!("{name} is not read; did you mean {meant}?"))
                .into_iter()
                .collect();
            assert_eq!(lines, expected, "{name}");
        }
    }
}
