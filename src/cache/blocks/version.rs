//! The version of an object that its blocks belong to: its strong entity tag and its length.

use http::header::ETAG;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::protocol::entity_tag::EntityTag;
use crate::upstream::answer::MAX_OBJECT_BYTES;

/// A version: it changes whenever the object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The strong entity tag, quoted, as `If-Match` sends it to the store.
    pub etag: HeaderValue,
    /// Bytes of the object.
    pub length: u64,
    mark: [u8; Self::BYTES],
}

impl Version {
    /// Bytes of the mark.
    pub const BYTES: usize = 16;

    /// The version that these headers of a store name; `None` without a strong entity tag, since
    /// nothing else distinguishes two versions for certain (RFC 9110, section 8.8.1), and for a length
    /// above [`MAX_OBJECT_BYTES`], which a record of another process may state.
    #[must_use]
    pub fn of(headers: &HeaderMap, length: u64) -> Option<Self> {
        let etag = strong(headers).filter(|_| length <= MAX_OBJECT_BYTES)?;
        let mut hash = Sha256::new();
        hash.update(length.to_le_bytes());
        hash.update(etag.as_bytes());
        let mut mark = [0; Self::BYTES];
        for (to, from) in mark.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Some(Self { etag, length, mark })
    }

    /// Whether a response with these headers, about an object of this length, is of this version.
    #[must_use]
    pub fn is_of(&self, headers: &HeaderMap, length: Option<u64>) -> bool {
        length == Some(self.length) && strong(headers).is_some_and(|etag| etag == self.etag)
    }

    /// Bytes that represent it in the keys of its blocks.
    #[must_use]
    pub fn mark(&self) -> &[u8; Self::BYTES] {
        &self.mark
    }
}

fn strong(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = EntityTag::parse_lenient(headers.get(ETAG)?.as_bytes())?;
    if tag.weak { None } else { tag.strong_header() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::headers_of;

    #[test]
    fn a_version_is_a_strong_tag_and_a_length() {
        let version = |tag, length| Version::of(&headers_of(&[("etag", tag)]), length);
        let first = version("\"a\"", 10).expect("a strong tag");
        for (tag, length, same) in [
            ("\"a\"", Some(10), true),
            ("\"a\"", Some(11), false),
            ("\"a\"", None, false),
            ("\"b\"", Some(10), false),
            ("W/\"a\"", Some(10), false),
        ] {
            assert_eq!(
                first.is_of(&headers_of(&[("etag", tag)]), length),
                same,
                "{tag} {length:?}"
            );
        }
        assert!(!first.is_of(&HeaderMap::new(), Some(10)));
        assert_eq!(version("W/\"a\"", 10), None);
        assert_eq!(Version::of(&HeaderMap::new(), 10), None);
        assert!(version("\"a\"", MAX_OBJECT_BYTES).is_some());
        assert_eq!(version("\"a\"", MAX_OBJECT_BYTES + 1), None);
        let marks = [("\"a\"", 10), ("\"a\"", 11), ("\"b\"", 10)]
            .map(|(tag, length)| *version(tag, length).expect("a strong tag").mark());
        assert!(marks[0] != marks[1] && marks[0] != marks[2] && marks[1] != marks[2]);
    }
}
