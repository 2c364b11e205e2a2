//! A profile: one S3 store with its endpoint, the credentials for it, and the rules for its objects.

pub mod alias;
pub mod cache_rules;
pub mod fingerprint;
pub mod globs;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use wildmatch::WildMatch;

use crate::archive::name::{MemberKey, archive_around, member_key};
use crate::certificate::store_tls::StoreTls;
use crate::profile::cache_rules::CacheRules;
use crate::profile::globs::Globs;
use crate::s3::address::ObjectAddress;
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::s3::provider::Provider;
use crate::s3::proxy::Proxy;
use crate::s3::secret::Secret;
use crate::s3::sign::Signer;

/// The label of the default profile, which serves URLs without a profile name.
pub const DEFAULT_LABEL: &str = "default";

/// Endpoints of one profile, at most.
pub const MAX_ENDPOINTS: usize = 8;

/// An endpoint, and the proxy on the way to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    pub endpoint: Endpoint,
    pub proxy: Option<Proxy>,
}

impl Way {
    /// Whether both lead to the same addresses for the same host.
    #[must_use]
    pub fn leads_like(&self, other: &Self) -> bool {
        let (one, two) = (&self.endpoint, &other.endpoint);
        one.host == two.host && one.port == two.port && self.proxy == other.proxy
    }
}

/// The settings for requests to one store and for responses with its objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name before the `@`; `None` for the default profile of URLs without one.
    pub name: Option<String>,
    /// The first endpoint, which is asked as long as it is well.
    pub endpoint: Endpoint,
    /// The proxy on the way to it.
    pub proxy: Option<Proxy>,
    /// Further endpoints with the same objects, in the order in which they are asked; at most
    /// [`MAX_ENDPOINTS`] - 1.
    pub further: Vec<Way>,
    /// Whether a second endpoint is asked when the first byte of the first one is late.
    pub hedge: bool,
    /// TLS with all of its endpoints, if it differs from that with all stores.
    pub tls: Option<Arc<StoreTls>>,
    /// The region of the credential scope, such as `us-east-1`.
    pub region: String,
    pub addressing: Addressing,
    /// What requests are signed with now.
    pub credentials: Credentials,
    /// Issues the credentials, if they are for a limited time; they are missing until it has.
    pub provider: Option<Arc<Provider>>,
    /// The buckets that are served; `None` is every bucket.
    pub buckets: Option<Globs>,
    /// Answer 404 for a 403 of the store: S3 answers 403 for missing keys to credentials without
    /// `ListBucket`.
    pub missing_on_403: bool,
    pub content_type: ContentTypeFrom,
    /// Send `Content-Security-Policy: sandbox` with types that can contain scripts.
    pub content_security_policy: bool,
    /// Names (globs, lower case) of further response headers of the store to forward to the client.
    pub response_headers: Vec<WildMatch>,
    /// Names (globs, lower case) of request headers of the client to forward to the store, unsigned.
    pub request_headers: Vec<WildMatch>,
    /// Headers to add to every request to the store and to sign (requester-pays, SSE-C).
    pub upstream_headers: Vec<(HeaderName, Secret)>,
    /// `Cache-Control` of this profile's objects, in place of the global rule.
    pub cache_control: Option<HeaderValue>,
    /// The name of the object that answers for a folder, such as `index.html`.
    pub index: Option<String>,
    /// Whether folders are listed.
    pub listing: bool,
    /// How long a page of a listing is fresh.
    pub listing_ttl: Duration,
    /// Whether browsers are shown viewers of surveys and FITS files.
    pub viewer: bool,
    /// The surveys whose excluded tiles are answered 404 without asking the store.
    pub hips: WhichFolders,
    /// The archives whose members are served as objects.
    pub archives: WhichFolders,
    /// Whether the landing page names the profile.
    pub listed: bool,
    /// The folders of surveys that the list of surveys names, `bucket/prefix/`.
    pub surveys: Vec<String>,
    /// Which objects of this profile are cached, and for how long.
    pub cache: CacheRules,
}

impl Profile {
    /// A profile with default settings: requests are not signed, and nothing is cached.
    #[must_use]
    pub fn unsigned(name: Option<&str>, endpoint: Endpoint) -> Self {
        Self {
            name: name.map(str::to_owned),
            endpoint,
            proxy: None,
            further: Vec::new(),
            hedge: false,
            tls: None,
            region: "us-east-1".to_owned(),
            addressing: Addressing::Path,
            credentials: Credentials::Anonymous,
            provider: None,
            buckets: None,
            missing_on_403: false,
            content_type: ContentTypeFrom::Key,
            content_security_policy: true,
            response_headers: Vec::new(),
            request_headers: Vec::new(),
            upstream_headers: Vec::new(),
            cache_control: None,
            index: None,
            listing: false,
            listing_ttl: Duration::from_secs(60),
            viewer: false,
            hips: WhichFolders::None,
            archives: WhichFolders::None,
            listed: false,
            surveys: Vec::new(),
            cache: CacheRules::default(),
        }
    }

    /// Its endpoints in the order in which they are asked; at least one.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.endpoint).chain(self.further.iter().map(|way| &way.endpoint))
    }

    /// The ways to its endpoints, in the same order.
    pub fn ways(&self) -> impl Iterator<Item = Way> {
        let first = Way { endpoint: self.endpoint.clone(), proxy: self.proxy.clone() };
        std::iter::once(first).chain(self.further.iter().cloned())
    }

    /// The same profile with one of its endpoints alone, for each of them.
    pub fn at_each_endpoint(&self) -> impl Iterator<Item = Self> {
        self.ways().map(|Way { endpoint, proxy }| Self {
            endpoint,
            proxy,
            further: Vec::new(),
            ..self.clone()
        })
    }

    /// The endpoint that is part of the identity of its objects in the cache: of several, the one that
    /// comes first by host, port, path and scheme. Their order decides who is asked, not what is cached.
    #[must_use]
    pub fn identity(&self) -> &Endpoint {
        if self.further.is_empty() {
            return &self.endpoint;
        }
        fn name(it: &Endpoint) -> (&str, u16, &str, bool) {
            (&it.host, it.port, &it.base_path, it.tls)
        }
        let first = self.endpoints().min_by(|one, other| name(one).cmp(&name(other)));
        first.unwrap_or(&self.endpoint)
    }

    /// What is wrong with the client certificate at this time.
    #[must_use]
    pub fn client_certificate_fault(&self, now: SystemTime) -> Option<String> {
        let tls = self.tls.as_ref()?;
        let fault = tls.client()?.fault(now)?;
        let files: Vec<_> = tls.files.iter().map(|file| file.display().to_string()).collect();
        Some(format!("the client certificate {fault} ({})", files.join(", ")))
    }

    /// The signer of requests to this store.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer::new(&self.credentials, &self.region, &self.upstream_headers)
    }

    /// The signer of listings, if it is another one: the keys of SSE-C belong to requests for objects,
    /// and stores refuse them with any other.
    #[must_use]
    pub fn signer_of_listings(&self) -> Option<Signer> {
        const SSE_C: &str = "x-amz-server-side-encryption-customer-";
        let of_bucket = |(name, _): &&(HeaderName, Secret)| !name.as_str().starts_with(SSE_C);
        let headers: Vec<_> = self.upstream_headers.iter().filter(of_bucket).cloned().collect();
        (self.listing && headers.len() < self.upstream_headers.len())
            .then(|| Signer::new(&self.credentials, &self.region, &headers))
    }

    /// Whether the URL of a folder may have an answer.
    #[must_use]
    pub fn opens_folders(&self) -> bool {
        self.listing || self.viewer || self.index.is_some()
    }

    /// Whether the two profiles are equal except for their credentials, and who issues them.
    #[must_use]
    pub fn differs_only_in_credentials(&self, before: &Self) -> bool {
        let (credentials, provider) = (self.credentials.clone(), self.provider.clone());
        *self == Self { credentials, provider, ..before.clone() }
    }

    /// Whether requests can be sent, now or when the provider has issued credentials.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.provider.is_some() || !matches!(self.credentials, Credentials::Missing(_))
    }

    /// The member of an archive that this address names, if the profile serves members of the archive.
    #[must_use]
    pub fn member_of<'a>(&self, address: &'a ObjectAddress) -> Option<MemberKey<'a>> {
        if self.archives == WhichFolders::None {
            return None;
        }
        let member = member_key(&address.key)?;
        self.archives.covers(&address.bucket, member.archive).then_some(member)
    }

    /// The archive that this address is in, as that of a member or of a folder of members, if the profile serves
    /// members of the archive.
    #[must_use]
    pub fn archive_around(&self, address: &ObjectAddress) -> Option<ObjectAddress> {
        if self.archives == WhichFolders::None {
            return None;
        }
        let key = archive_around(&address.key)?.to_owned();
        let is_covered = self.archives.covers(&address.bucket, &key);
        is_covered.then(|| ObjectAddress { key, ..address.clone() })
    }

    /// Whether this bucket is served.
    #[must_use]
    pub fn admits(&self, bucket: &str) -> bool {
        self.buckets.as_ref().is_none_or(|globs| globs.matches(bucket))
    }

    /// The name for logs and messages; [`DEFAULT_LABEL`] for the default profile.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_LABEL)
    }
}

/// For which folders of a profile something holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WhichFolders {
    #[default]
    None,
    All,
    /// For these folders, `bucket/prefix/`, decoded, and those in them.
    In(Vec<String>),
}

impl WhichFolders {
    /// Whether it holds for an object with this key, or a folder: empty, or with a slash at the end.
    #[must_use]
    pub fn covers(&self, bucket: &str, key: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::In(folders) => folders.iter().any(|folder| {
                let rest = folder.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('/'));
                rest.is_some_and(|prefix| key.starts_with(prefix))
            }),
        }
    }
}

/// The source of the `Content-Type` of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentTypeFrom {
    /// The key, by the table of file name extensions.
    #[default]
    Key,
    /// The type stored with the object; it must be on the allow list.
    Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another provider purged all that was cached of its store.
    #[test]
    fn another_provider_is_a_difference_in_credentials() {
        let endpoint = Endpoint::parse("http://a").expect("an endpoint");
        let plain = Profile::unsigned(None, endpoint);
        let process = |name: &str| Profile {
            provider: Some(Arc::new(Provider::Process(vec![name.to_owned()]))),
            credentials: Credentials::Missing("none yet".to_owned()),
            ..plain.clone()
        };
        for (before, after) in [
            (process("/bin/one"), process("/bin/other")),
            (plain.clone(), process("/bin/one")),
            (process("/bin/one"), plain.clone()),
        ] {
            assert!(after.differs_only_in_credentials(&before));
        }
        let elsewhere = Profile { region: "elsewhere".to_owned(), ..process("/bin/one") };
        assert!(!elsewhere.differs_only_in_credentials(&process("/bin/one")));
    }

    #[test]
    fn a_profile_is_usable_if_it_has_credentials_or_will_have_some() {
        let endpoint = Endpoint::parse("http://a").expect("an endpoint");
        let plain = Profile::unsigned(None, endpoint);
        let missing = Credentials::Missing("none yet".to_owned());
        let missing = Profile { credentials: missing, ..plain.clone() };
        let provider = Some(Arc::new(Provider::Process(vec!["/bin/one".to_owned()])));
        let later = Profile { provider, ..missing.clone() };
        assert_eq!([plain, missing, later].map(|it| it.is_usable()), [true, false, true]);
    }
}
