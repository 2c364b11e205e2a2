//! Variables that s3proxy 2.0.1, or the AWS tools, heed and s3proxy does not.

use crate::config::env::Environment;

/// Each name, and what happens instead. Proxies are looked for in lower case as well.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("ALL_PROXY", PROXY),
    ("AWS_CONFIG_FILE", "set the region with AWS_DEFAULT_REGION, and the rest in the YAML file"),
    ("AWS_DEFAULT_PROFILE", "name the section with AWS_PROFILE"),
    ("AWS_MAX_ATTEMPTS", "upstream.retries and upstream.total_timeout limit the attempts"),
    ("AWS_RETRY_MODE", "upstream.retries and upstream.total_timeout limit the attempts"),
    ("AWS_USE_FIPS_ENDPOINT", ENDPOINT),
    ("AWS_USE_DUALSTACK_ENDPOINT", ENDPOINT),
    ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "variables of endpoints are always read"),
    ("REQUESTS_CA_BUNDLE", "name the certificates with S3PROXY_UPSTREAM_CA_FILE"),
];

const PROXY: &str = "name the proxy with HTTPS_PROXY, HTTP_PROXY or upstream.proxy";
const ENDPOINT: &str = "name the endpoint with S3_ENDPOINT_URL";

/// A line for each of these variables that is set.
pub(super) fn warnings(env: Environment<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, instead) in NAMES {
        let lower = name.to_ascii_lowercase();
        let spellings = [*name, lower.as_str()];
        let spellings = if *instead == PROXY { &spellings[..] } else { &spellings[..1] };
        for name in spellings.iter().filter(|name| env.get(name).is_some()) {
            lines.push(format!("{name} is not used: {instead}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(name: &str, text: &str) -> Vec<String> {
        warnings(Environment(&BTreeMap::from([(name.to_owned(), text.to_owned())])))
    }

    #[test]
    fn what_2_0_1_heeded_is_not_ignored_without_a_word() {
        for name in ["ALL_PROXY", "all_proxy", "AWS_CONFIG_FILE"] {
            let lines = of(name, "hush");
            assert_eq!(lines.len(), 1, "{name}");
            assert!(lines[0].starts_with(&format!("{name} is not used: ")), "{lines:?}");
            assert!(!lines[0].contains("hush"), "{lines:?}");
            assert!(of(name, "").is_empty(), "{name}: empty is unset");
        }
        for name in ["AWS_ENDPOINT_URL", "HTTPS_PROXY", "http_proxy", "NO_PROXY"] {
            assert!(of(name, "https://a").is_empty(), "{name}");
        }
        assert!(of("PATH", "/bin").is_empty());
    }
}
