//! The identity of an object in the cache. Its parts are written with their lengths, so that no two
//! profiles, buckets or keys can make the same bytes.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::profile::{DEFAULT_LABEL, Profile};

/// Profile, endpoint, bucket and key of an object; its bytes are its identity. Of several endpoints, the one
/// that [`Profile::identity`] chooses.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(Bytes);

impl CacheKey {
    /// The key of an object. The key within the bucket comes last and is not normalised, so the cache
    /// key of a prefix is a prefix of the cache key of every object below it.
    #[must_use]
    pub fn new(profile: &Profile, bucket: &str, key: &str) -> Self {
        let endpoint = profile.identity();
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

    /// A key for room that is reserved for this object. No object has it.
    #[must_use]
    pub fn beside(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1);
        bytes.push(u8::MAX);
        bytes.extend_from_slice(&self.0);
        Self(bytes.into())
    }

    /// The prefix of the keys of all objects of a profile, whatever its other settings.
    #[must_use]
    pub fn of_profile(name: Option<&str>) -> Self {
        let label = name.unwrap_or(DEFAULT_LABEL);
        let mut bytes = vec![u8::from(name.is_some())];
        bytes.extend_from_slice(&u32::try_from(label.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(label.as_bytes());
        Self(bytes.into())
    }

    /// The key of a block of this object: a mark, the object's own key, then version, size and index,
    /// in a fixed number of bytes.
    #[must_use]
    pub fn block(&self, version: &[u8; 16], size: u64, index: u64) -> Self {
        let mut bytes = self.start_of_blocks(version);
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&index.to_le_bytes());
        Self(bytes.into())
    }

    /// The key of a page of the listing of this folder, whose prefix is the key of the object: a mark, the
    /// object's own key, then a hash of the continuation token.
    #[must_use]
    pub fn listing(&self, token: Option<&str>) -> Self {
        let mut bytes = Vec::with_capacity(1 + self.0.len() + Self::TAIL);
        bytes.push(Self::LISTING);
        bytes.extend_from_slice(&self.0);
        let digest = Sha256::digest(token.unwrap_or_default());
        bytes.extend(digest.iter().take(Self::TAIL));
        Self(bytes.into())
    }

    /// The prefix of the keys of all blocks of a version of this object.
    #[must_use]
    pub fn blocks_of(&self, version: &[u8; 16]) -> Self {
        Self(self.start_of_blocks(version).into())
    }

    fn start_of_blocks(&self, version: &[u8; 16]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.0.len() + Self::TAIL);
        bytes.push(Self::BLOCK);
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(version);
        bytes
    }

    /// The marks: no key of an object begins with one.
    const BLOCK: u8 = u8::MAX - 1;
    const LISTING: u8 = u8::MAX - 2;
    /// Bytes after the object's key in the key of a block, and of a page of a listing.
    const TAIL: usize = 16 + 8 + 8;

    /// Whether it is the key of a block.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.0.first() == Some(&Self::BLOCK) && Self::object_in(&self.0).is_some()
    }

    /// The bytes of the object's key: its own, or those in the key of a block or of a page.
    #[must_use]
    pub fn object(&self) -> &[u8] {
        Self::object_of(&self.0)
    }

    /// The same in the bytes of any key.
    #[must_use]
    pub fn object_of(key: &[u8]) -> &[u8] {
        Self::object_in(key).unwrap_or(key)
    }

    fn object_in(key: &[u8]) -> Option<&[u8]> {
        let (mark, rest) = key.split_first()?;
        let length = rest.len().checked_sub(Self::TAIL)?;
        if matches!(*mark, Self::BLOCK | Self::LISTING) { rest.get(..length) } else { None }
    }

    /// The key with these bytes, as [`CacheKey::as_bytes`] returned them.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::Way;
    use crate::s3::endpoint::Endpoint;

    fn profile(name: Option<&str>, endpoint: &str) -> Profile {
        Profile::unsigned(name, Endpoint::parse(endpoint).expect("an endpoint"))
    }

    #[test]
    fn everything_that_tells_objects_apart_is_in_the_key() {
        let profiles = [
            profile(None, "http://a"),
            profile(Some("default"), "http://a"),
            profile(Some("x"), "http://a"),
            profile(Some("x"), "https://a:80"),
            profile(Some("x"), "http://a:81"),
            profile(Some("x"), "http://b"),
            profile(Some("x"), "http://a/base"),
        ];
        let mut seen = std::collections::HashSet::new();
        for profile in &profiles {
            for (bucket, key) in [("b", "k"), ("b", "K"), ("bk", ""), ("b", "k/"), ("b", "/k")] {
                let key = CacheKey::new(profile, bucket, key);
                assert!(seen.insert(key.beside().as_bytes().to_vec()));
                assert!(seen.insert(key.as_bytes().to_vec()));
            }
        }
    }

    /// The order of the endpoints decides who is asked, not what is cached.
    #[test]
    fn the_key_does_not_depend_on_the_order_of_endpoints() {
        let at = |endpoints: &[&str]| {
            let ways = endpoints.iter().map(|url| Way {
                endpoint: Endpoint::parse(url).expect("an endpoint"),
                proxy: None,
            });
            let mut ways = ways.collect::<Vec<_>>();
            let first = ways.remove(0);
            let profile = Profile { further: ways, ..Profile::unsigned(Some("x"), first.endpoint) };
            CacheKey::new(&profile, "b", "k").as_bytes().to_vec()
        };
        let both = at(&["https://a", "http://b:9000/x"]);
        for same in [
            &["http://b:9000/x", "https://a"][..],
            &["https://a"],
            &["https://c", "http://b:9000/x", "https://a"],
        ] {
            assert_eq!(at(same), both, "{same:?}");
        }
        for other in [&["http://b:9000/x"][..], &["http://b:9000/x", "https://c"], &["http://a"]] {
            assert_ne!(at(other), both, "{other:?}");
        }
    }

    #[test]
    fn a_prefix_of_the_key_is_a_prefix_of_the_bytes() {
        let profile = profile(Some("x"), "http://a");
        let below = CacheKey::new(&profile, "b", "survey/Norder3/a.png");
        for (prefix, covers) in [("", true), ("survey/", true), ("survey/Norder30/", false)] {
            let prefix = CacheKey::new(&profile, "b", prefix);
            assert_eq!(below.as_bytes().starts_with(prefix.as_bytes()), covers);
        }
        let other = CacheKey::new(&profile, "bu", "");
        assert!(!below.as_bytes().starts_with(other.as_bytes()));
    }

    #[test]
    fn the_keys_of_a_profile_begin_alike_and_those_of_no_other_do() {
        let profiles = [
            profile(None, "http://a"),
            profile(Some("default"), "http://a"),
            profile(Some("x"), "http://a"),
            profile(Some("x"), "http://b"),
            profile(Some("xy"), "http://a"),
        ];
        for one in &profiles {
            let start = CacheKey::of_profile(one.name.as_deref());
            for other in &profiles {
                let key = CacheKey::new(other, "b", "k");
                let begins = key.as_bytes().starts_with(start.as_bytes());
                assert_eq!(begins, one.name == other.name, "{:?} {:?}", one.name, other.name);
            }
        }
    }

    #[test]
    fn the_key_of_a_block_tells_its_object_its_version_and_its_place() {
        let profile = profile(Some("x"), "http://a");
        let mut seen = std::collections::HashSet::new();
        for name in ["", "k", "kk"] {
            let object = CacheKey::new(&profile, "b", name);
            assert_eq!(CacheKey::object_of(object.as_bytes()), object.as_bytes());
            assert!(!object.is_block());
            for (version, size, index) in
                [([0; 16], 1, 0), ([0; 16], 1, 1), ([0; 16], 2, 0), ([1; 16], 1, 0)]
            {
                let block = object.block(&version, size, index);
                assert_eq!(CacheKey::object_of(block.as_bytes()), object.as_bytes());
                assert!(block.is_block());
                assert!(block.as_bytes().starts_with(object.blocks_of(&version).as_bytes()));
                assert!(seen.insert(block.as_bytes().to_vec()));
            }
        }
    }

    #[test]
    fn the_key_of_a_page_is_that_of_no_object_and_is_purged_with_its_folder() {
        let profile = profile(Some("x"), "http://a");
        let mut seen = std::collections::HashSet::new();
        for name in ["", "a/", "a/b/"] {
            let folder = CacheKey::new(&profile, "b", name);
            assert!(seen.insert(folder.as_bytes().to_vec()));
            for token in [None, Some("t"), Some("u")] {
                let page = folder.listing(token);
                assert_eq!(page.object(), folder.as_bytes());
                assert!(!page.is_block());
                assert!(seen.insert(page.as_bytes().to_vec()));
            }
        }
    }

    proptest! {
        #[test]
        fn no_two_objects_share_a_key(
            one in ("[ab@/]{0,3}", "[ab@/]{0,3}", "[ab@/]{0,3}"),
            other in ("[ab@/]{0,3}", "[ab@/]{0,3}", "[ab@/]{0,3}"),
        ) {
            let key = |(name, bucket, key): &(String, String, String)| {
                CacheKey::new(&profile(Some(name), "http://a"), bucket, key)
            };
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }
    }
}
