//! The name of a record's file: a hash of its key, which shows nothing of the key itself.

use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::cache::key::CacheKey;

/// The first 127 bits of the key's SHA-256, and whether it is the key of a block. The name of a block
/// holds 48 bits of the hash of its object's key as well, so that the blocks of one object are found
/// among the names, without a read of the disk. If two keys should ever share a name, the whole key in
/// the file tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cache) struct FileName([u8; Self::BYTES]);

/// What the names of all blocks of an object have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) struct ObjectMark([u8; Self::BYTES]);

impl ObjectMark {
    const BYTES: usize = 6;

    /// The mark of the object with these bytes of a cache key.
    #[must_use]
    pub(in crate::cache) fn of(object: &[u8]) -> Self {
        let mut mark = [0; Self::BYTES];
        for (to, from) in mark.iter_mut().zip(Sha256::digest(object)) {
            *to = from;
        }
        Self(mark)
    }
}

impl FileName {
    const BYTES: usize = 16;

    /// The name of the file of this key.
    #[must_use]
    pub(in crate::cache) fn of(key: &CacheKey) -> Self {
        let mut name = [0; Self::BYTES];
        for (to, from) in name.iter_mut().zip(Sha256::digest(key.as_bytes())) {
            *to = from;
        }
        if key.is_block() {
            for (to, from) in name.iter_mut().skip(1).zip(ObjectMark::of(key.object()).0) {
                *to = from;
            }
        }
        if let Some(last) = name.last_mut() {
            *last = *last & !1 | u8::from(key.is_block());
        }
        Self(name)
    }

    /// Whether it is the file of a block.
    #[must_use]
    pub(in crate::cache) fn is_block(self) -> bool {
        let [.., last] = self.0;
        last & 1 == 1
    }

    /// Whether it may be the file of a block of this object.
    #[must_use]
    pub(in crate::cache) fn is_block_of(self, object: ObjectMark) -> bool {
        let [_folder, marks @ ..] = self.0;
        self.is_block() && marks.starts_with(&object.0)
    }

    /// The name of a file that was found in one of the 256 folders.
    #[must_use]
    pub(in crate::cache) fn parse(folder: u8, file: &str) -> Option<Self> {
        let digits = file.as_bytes();
        if digits.len() != 2 * (Self::BYTES - 1) {
            return None;
        }
        let mut name = [folder; Self::BYTES];
        for (to, pair) in name.iter_mut().skip(1).zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *to = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(name))
    }

    /// Which of the 256 folders the file is in.
    #[must_use]
    pub(in crate::cache) fn folder(self) -> u8 {
        let [first, ..] = self.0;
        first
    }

    /// The path within the cache's folder: two digits for the folder, thirty for the file.
    #[must_use]
    pub(in crate::cache) fn path(self) -> PathBuf {
        let [first, rest @ ..] = self.0;
        let mut text = String::with_capacity(2 * Self::BYTES + 1);
        text.push_str(&folder_name(first));
        text.push('/');
        for byte in rest {
            let _ = write!(text, "{byte:02x}");
        }
        text.into()
    }
}

/// The name of one of the 256 folders.
#[must_use]
pub(in crate::cache) fn folder_name(folder: u8) -> String {
    format!("{folder:02x}")
}

/// The value of a digit as [`FileName::path`] writes it; a name with capitals is not one of these.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_path_stays_in_its_folder_and_is_read_back(key: Vec<u8>) {
            let name = FileName::of(&CacheKey::from_bytes(&key));
            let path = name.path().into_os_string().into_string().unwrap();
            let (folder, file) = path.split_once('/').unwrap();
            prop_assert_eq!(folder, folder_name(name.folder()));
            prop_assert!(path.bytes().all(|b| b == b'/' || b.is_ascii_hexdigit()), "{}", path);
            prop_assert_eq!(path.len(), 33);
            prop_assert_eq!(FileName::parse(name.folder(), file), Some(name));
        }
    }

    #[test]
    fn other_files_are_no_names() {
        for file in [
            "",
            "writing",
            "..",
            "0123456789abcdef0123456789abcd0",
            "0123456789ABCDEF0123456789ABCD",
            "0123456789abcdef0123456789ab/d",
            "éééééééééééééé0",
        ] {
            assert_eq!(FileName::parse(7, file), None, "{file}");
        }
    }
}
