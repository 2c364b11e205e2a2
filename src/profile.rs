//! A profile: one S3 store as the gateway reaches it, with the credentials it signs with and the
//! rules for what it answers.

pub mod cache_rules;

use http::{HeaderName, HeaderValue};
use wildmatch::WildMatch;

use crate::profile::cache_rules::CacheRules;
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::s3::secret::Secret;
use crate::s3::sign::Signer;

/// Stands for the profile of URLs without one.
pub const DEFAULT_LABEL: &str = "default";

/// Everything needed to turn a bucket and key into a signed request, and its answer into ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name before the `@`; `None` for the default profile of URLs without one.
    pub name: Option<String>,
    pub endpoint: Endpoint,
    /// The region of the credential scope, such as `us-east-1`.
    pub region: String,
    pub addressing: Addressing,
    pub credentials: Credentials,
    /// The buckets that may be named; `None` admits every bucket.
    pub buckets: Option<Vec<WildMatch>>,
    /// Answer 404 for the store's 403: credentials without `ListBucket` get 403 for missing keys.
    pub missing_on_403: bool,
    pub content_type: ContentTypeFrom,
    /// Names (globs, lower case) of further response headers of the store to pass to the client.
    pub response_headers: Vec<WildMatch>,
    /// Names (globs, lower case) of request headers of the client to pass to the store, unsigned.
    pub request_headers: Vec<WildMatch>,
    /// Headers to add to every request to the store and to sign (requester-pays, SSE-C).
    pub upstream_headers: Vec<(HeaderName, Secret)>,
    /// `Cache-Control` for this profile's objects, in place of the global rule.
    pub cache_control: Option<HeaderValue>,
    /// What of this profile's objects is kept, and for how long.
    pub cache: CacheRules,
}

impl Profile {
    /// A profile with nothing said of it but its name and where its store is: asked unsigned, and
    /// nothing of it kept.
    #[must_use]
    pub fn unsigned(name: Option<&str>, endpoint: Endpoint) -> Self {
        Self {
            name: name.map(str::to_owned),
            endpoint,
            region: "us-east-1".to_owned(),
            addressing: Addressing::Path,
            credentials: Credentials::Anonymous,
            buckets: None,
            missing_on_403: false,
            content_type: ContentTypeFrom::Key,
            response_headers: Vec::new(),
            request_headers: Vec::new(),
            upstream_headers: Vec::new(),
            cache_control: None,
            cache: CacheRules::default(),
        }
    }

    /// What signs requests to this store.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer::new(&self.credentials, &self.region, &self.upstream_headers)
    }

    /// Whether nothing but the credentials differs from those of `before`.
    #[must_use]
    pub fn differs_only_in_credentials(&self, before: &Self) -> bool {
        let credentials = self.credentials.clone();
        *self == Self { credentials, ..before.clone() }
    }

    /// Whether the allow list admits this bucket.
    #[must_use]
    pub fn admits(&self, bucket: &str) -> bool {
        self.buckets.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(bucket)))
    }

    /// The name for logs and messages; `default` stands for the profile of URLs without one.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_LABEL)
    }
}

/// Where the `Content-Type` of an answer is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentTypeFrom {
    /// The table of file endings, as s3proxy always did.
    #[default]
    Key,
    /// The type stored with the object, still subject to the allow list.
    Origin,
}
