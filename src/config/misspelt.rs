//! Variables that are not read, but whose names are close to those that are.

use crate::config::env::{Environment, OWN};
use crate::config::ignored;
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

/// Whether a variable of this name is read.
pub(super) fn is_read(name: &str) -> bool {
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
    if !FAMILIES.iter().any(|start| upper.starts_with(start)) || is_of_others(&upper) {
        return None;
    }
    if let Some(profile) = misspelt_profile(name, &upper) {
        return Some(format!("{}{profile}", variable::PROFILE_ENDPOINT));
    }
    let known = nearest(&upper, settings::variables());
    known.or_else(|| with_words_left_out(&upper, settings::variables())).map(str::to_owned)
}

/// The candidate of which this name leaves out the fewest words, at most two, and no other: `S3_ENDPOINT`
/// of `S3_ENDPOINT_URL`.
fn with_words_left_out<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let words: Vec<&str> = name.split('_').collect();
    // With a warning of its own, if the other is not set.
    if words.len() < 2 || name == "AWS_REGION" {
        return None;
    }
    let left_out = |candidate: &'a str| {
        let mut rest = words.iter().peekable();
        let mut left_out = 0_usize;
        for word in candidate.split('_') {
            if rest.next_if(|next| **next == word).is_none() {
                left_out += 1;
            }
        }
        (rest.peek().is_none() && left_out <= 2).then_some((left_out, candidate))
    };
    candidates.into_iter().filter_map(left_out).min().map(|(_, candidate)| candidate)
}

/// The starts of the names that are read, and of their misspellings.
const FAMILIES: [&str; 4] = ["S3PROXY", "S3_", "AWS_", "LSST_"];

/// Whether other programs read this variable, though its name is near to one of ours.
fn is_of_others(upper: &str) -> bool {
    ignored::NAMES.iter().any(|(name, _)| *name == upper)
        || (upper.starts_with("AWS_ENDPOINT_URL_") && !upper.starts_with("AWS_ENDPOINT_URL_S3"))
}

/// The name of the profile after a misspelt [`variable::PROFILE_ENDPOINT`], such as `hips` of
/// `LSST_RESOURCE_S3_PROFILE_hips`.
fn misspelt_profile<'n>(name: &'n str, upper: &str) -> Option<&'n str> {
    let end = upper.find("PROFILE_")? + "PROFILE_".len();
    let (start, profile) = (upper.get(..end)?, name.get(end..)?);
    nearest(start, [variable::PROFILE_ENDPOINT]).map(|_| profile).filter(|name| !name.is_empty())
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
            ("LSST_RESOURCE_S3_PROFILE_x", Some("LSST_RESOURCES_S3_PROFILE_x")),
            ("LSST_DISABLE_BUCKET_VALIDATON", Some("LSST_DISABLE_BUCKET_VALIDATION")),
            ("AWS_ACESS_KEY_ID", Some("AWS_ACCESS_KEY_ID")),
            ("AWS_SHARED_CREDENTIAL_FILE", Some("AWS_SHARED_CREDENTIALS_FILE")),
            ("S3_ENDPOINT_URI", Some("S3_ENDPOINT_URL")),
            ("S3_ENDPOINT", Some("S3_ENDPOINT_URL")),
            ("AWS_ENDPOINT", Some("AWS_ENDPOINT_URL")),
            ("AWS_SECRET_KEY", Some("AWS_SECRET_ACCESS_KEY")),
            ("AWS_CREDENTIALS_FILE", Some("AWS_SHARED_CREDENTIALS_FILE")),
            ("S3PROXY_MAX_AGE", Some("S3PROXY_CACHE_MAX_AGE")),
            ("AWS_ENDPOINT_URL_STS", None),
            ("AWS_MAX_ATTEMPTS", None),
            ("LSST_RESOURCES_S3_PROFILES_x", Some("LSST_RESOURCES_S3_PROFILE_<name>")),
            ("s3_endpoint_url", Some("S3_ENDPOINT_URL")),
            ("AWS_REGION", Some("AWS_DEFAULT_REGION")),
            ("S3PROXY_PORT", None),
            ("S3PROXY_SERVICE_HOST", None),
            ("S3PROXY_PORT_8080_TCP_ADDR", None),
            ("s3proxy_name", None),
            ("S3PROXY_SOMETHING_ELSE", None),
            ("AWS_PROFILES", Some("AWS_PROFILE")),
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
