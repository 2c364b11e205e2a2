//! A member of an archive: which one is requested, and the object that answers.

use std::ops::Range;

use http::HeaderMap;
use pingora::http::ResponseHeader;

use crate::archive::zip::ZipMember;
use crate::archive::{ArchiveFault, ArchiveKind};
use crate::cache::object::ObjectBody;
use crate::mime::KeyType;
use crate::protocol::accept::AcceptedCodings;
use crate::response::refusal::Refusal;

/// A request for a member; the request for its archive goes with it.
#[derive(Debug)]
pub struct MemberRequest {
    pub kind: ArchiveKind,
    /// The name within the archive, decoded.
    pub name: String,
    /// The media type by the name; `None` if the archive states it.
    pub content_type: Option<KeyType>,
    /// What the client can decode.
    pub codings: AcceptedCodings,
}

/// A member as an object. Its bytes are read when the response begins.
#[derive(Debug)]
pub struct Member {
    /// The head of the response to a client.
    pub head: ResponseHeader,
    /// `Cache-Control` and `Expires` of the archive, as the store sent them.
    pub lifetime: HeaderMap,
    /// Bytes of it.
    pub length: u64,
    pub(in crate::cache) archive: ObjectBody,
    pub(in crate::cache) place: MemberPlace,
}

/// Where the bytes of a member are.
#[derive(Debug)]
pub(in crate::cache) enum MemberPlace {
    /// Behind a header, which has to agree with the directory.
    Zip {
        member: ZipMember,
        name: String,
    },
    Tile(Range<u64>),
}

/// Compares a member that is sent whole with its checksum.
#[derive(Debug)]
pub struct WholeCheck {
    expected: u32,
    length: u64,
    hash: crc32fast::Hasher,
    /// The position of the next byte, unless some were left out.
    next: Option<u64>,
}

impl WholeCheck {
    pub(in crate::cache) fn new(expected: u32, length: u64) -> Self {
        Self { expected, length, hash: crc32fast::Hasher::new(), next: Some(0) }
    }

    /// Adds the bytes that are sent from `position` on.
    ///
    /// # Errors
    /// When all bytes were added in their order, and are not those of the member.
    pub fn add(&mut self, position: u64, bytes: &[u8]) -> Result<(), Refusal> {
        self.next = self.next.filter(|next| *next == position).map(|next| {
            self.hash.update(bytes);
            next + bytes.len() as u64
        });
        let is_whole = self.next == Some(self.length);
        if is_whole && self.hash.clone().finalize() != self.expected {
            return Err(refusal(WRONG_SUM));
        }
        Ok(())
    }
}

/// The bytes of a member have another checksum than its directory says.
pub(in crate::cache) const WRONG_SUM: ArchiveFault =
    ArchiveFault::Damaged("has a member with a wrong checksum");

/// The refusal of a request for a member of an archive with this fault.
pub(in crate::cache) fn refusal(fault: ArchiveFault) -> Refusal {
    match fault {
        ArchiveFault::Damaged(why) => Refusal::ArchiveDamaged(why),
        ArchiveFault::Unsupported(why) => Refusal::ArchiveUnsupported(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_member_is_compared_and_a_part_is_not() {
        let sum = crc32fast::hash(b"abcdef");
        let added = |expected: u32, parts: &[(u64, &[u8])]| {
            let mut check = WholeCheck::new(expected, 6);
            parts.iter().try_for_each(|(position, bytes)| check.add(*position, bytes))
        };
        assert!(added(sum, &[(0, b"abc"), (3, b"def")]).is_ok());
        assert!(added(sum, &[(0, b"abc"), (3, b"deF")]).is_err());
        assert!(added(sum + 1, &[(0, b"abcdef")]).is_err());
        assert!(added(sum + 1, &[(1, b"bcdef")]).is_ok(), "a part has no checksum");
        assert!(added(sum + 1, &[(0, b"abc"), (4, b"ef")]).is_ok());
        assert!(added(sum + 1, &[(0, b"abc")]).is_ok(), "the client has left");
    }
}
