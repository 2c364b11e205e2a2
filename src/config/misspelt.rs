//! Variables that are not read, but whose names are close to those that are.

use crate::config::env::{Environment, OWN};
use crate::config::nearest::nearest;
use crate::config::settings::{self, variable};

/// A line for every variable whose name is close to the name of one that is read.
pub(super) fn warnings(env: Environment<'_>) -> Vec<String> {
    let unread = env.0.keys().filter(|name| !is_read(name));
    let mut lines: Vec<String> = unread
        .filter_map(|name| {
            let meant = meant(name)?;
            Some(format!("{name} is not read; did you mean {meant}?"))
        })
        .collect();
    if env.get("AWS_REGION").is_some() && env.get("AWS_DEFAULT_REGION").is_none() {
        lines.push("AWS_REGION is not read; did you mean AWS_DEFAULT_REGION?".to_owned());
    }
    lines
}

fn is_read(name: &str) -> bool {
    if let Some(profile) = name.strip_prefix(variable::PROFILE_ENDPOINT) {
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
        return Some(format!("{}<name>", variable::PROFILE_ENDPOINT));
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
    use std::collections::BTreeMap;

    use super::*;

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
            let map = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
            let lines = warnings(Environment(&map));
            let expected: Vec<String> = meant
                .map(|meant| format!("{name} is not read; did you mean {meant}?"))
                .into_iter()
                .collect();
            assert_eq!(lines, expected, "{name}");
        }
    }
}
