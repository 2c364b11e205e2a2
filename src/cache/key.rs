//! The identity of an object in the cache. Parts are written with their lengths, so that no two
//! profiles, buckets or keys can make the same bytes.

use std::fmt;

use bytes::Bytes;

use crate::s3::profile::Profile;

/// Profile, endpoint, bucket and key of an object; its bytes are its identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(Bytes);

impl CacheKey {
    /// The key of an object. The key within the bucket comes last and is not normalised, so that
    /// the bytes of a prefix of it begin the bytes of every object below it.
    #[must_use]
    pub fn new(profile: &Profile, bucket: &str, key: &str) -> Self {
        let endpoint = &profile.endpoint;
        let name = profile.label();
        let size = 32
            + name.len()
            + endpoint.host.len()
            + endpoint.base_path.len()
            + bucket.len()
            + key.len();
        let mut bytes = Vec::with_capacity(size);
        bytes.push(u8::from(profile.name.is_some()));
        for part in [name, &endpoint.host, &endpoint.base_path, bucket] {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.push(u8::from(endpoint.tls));
        bytes.extend_from_slice(&endpoint.port.to_le_bytes());
        bytes.extend_from_slice(key.as_bytes());
        Self(bytes.into())
    }

    /// A key as it was written before, by [`CacheKey::as_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    /// The bytes that are its identity, for maps and files.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for CacheKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({})", self.0.escape_ascii())
    }
}
