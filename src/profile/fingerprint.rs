//! Which settings an answer was made by: a cached answer is served as long as they are the same.

use http::HeaderName;
use sha2::{Digest as _, Sha256};

use crate::profile::Profile;
use crate::profile::cache_rules::Rule;

/// The settings that have shaped a cached answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// [`Profile::fingerprint`].
    pub profile: u64,
    /// The cache rule for the object key.
    pub rule: Rule,
}

impl Profile {
    /// A hash of the settings of this profile that decide what a store answers and which of its headers
    /// are passed on; the same in every process. Access keys are not among them: they are replaced
    /// often, and a store answers the same. Nor are the settings that are applied whenever an object is
    /// served, such as `buckets`.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let Self {
            missing_on_403,
            content_type,
            content_security_policy,
            response_headers,
            request_headers,
            upstream_headers,
            cache_control,
            // In the cache key.
            name: _,
            endpoint: _,
            // They decide how a store is asked, not what it answers.
            proxy: _,
            further: _,
            hedge: _,
            tls: _,
            region: _,
            addressing: _,
            credentials: _,
            provider: _,
            buckets: _,
            index: _,
            listing: _,
            listing_ttl: _,
            viewer: _,
            hips: _,
            archives: _,
            listed: _,
            surveys: _,
            // By `Fingerprint::rule`.
            cache: _,
        } = self;
        let lists = [response_headers, request_headers];
        let lists = lists.map(|globs| globs.iter().map(ToString::to_string).collect::<Vec<_>>());
        let upstream = upstream_headers.iter().map(|(name, _)| HeaderName::as_str(name));
        let upstream: Vec<_> = upstream.collect();
        // The debug form quotes and separates all values.
        let text = format!(
            "{missing_on_403} {content_type:?} {content_security_policy} {lists:?} {upstream:?} {cache_control:?}"
        );
        let mut fingerprint = [0; 8];
        for (to, from) in fingerprint.iter_mut().zip(Sha256::digest(text)) {
            *to = from;
        }
        u64::from_le_bytes(fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use wildmatch::WildMatch;

    use super::*;
    use crate::profile::ContentTypeFrom;
    use crate::profile::globs::Globs;
    use crate::s3::credentials::Credentials;
    use crate::s3::endpoint::Endpoint;

    #[test]
    fn settings_that_shape_an_answer_change_the_fingerprint_and_access_keys_do_not() {
        let plain = Profile::unsigned(Some("x"), Endpoint::parse("http://a").expect("an endpoint"));
        let globs = |names: &[&str]| names.iter().map(|name| WildMatch::new(name)).collect();
        let changed = [
            Profile { missing_on_403: true, ..plain.clone() },
            Profile { content_type: ContentTypeFrom::Origin, ..plain.clone() },
            Profile { content_security_policy: false, ..plain.clone() },
            Profile { response_headers: globs(&["link"]), ..plain.clone() },
            Profile { response_headers: globs(&["link", "x-*"]), ..plain.clone() },
            Profile { request_headers: globs(&["link"]), ..plain.clone() },
            Profile { cache_control: Some(HeaderValue::from_static("no-cache")), ..plain.clone() },
        ];
        let mut seen = vec![plain.fingerprint()];
        for profile in changed {
            assert_eq!(profile.fingerprint(), profile.clone().fingerprint());
            assert!(!seen.contains(&profile.fingerprint()), "{profile:?}");
            seen.push(profile.fingerprint());
        }
        let rotated = Profile {
            credentials: Credentials::Missing("no key".to_owned()),
            buckets: Some(Globs::default()),
            ..plain.clone()
        };
        assert_eq!(rotated.fingerprint(), plain.fingerprint());
    }
}
