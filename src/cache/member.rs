//! A member of an archive: which one is requested, and the object that answers.

use std::ops::Range;

use http::{HeaderMap, HeaderValue};
use pingora::http::ResponseHeader;
use sha2::{Digest as _, Sha256};

use crate::archive::pmtiles::TileName;
use crate::archive::zip::ZipMember;
use crate::archive::{ArchiveFault, ArchiveKind};
use crate::cache::blocks::version::Version;
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

/// What an entity tag of a member is made of, besides its archive and name.
pub(in crate::cache) enum MemberForm {
    AsStored,
    /// Decoded for clients that do not accept its coding.
    Decoded,
}

/// An entity tag that differs between versions of the archive, members, and forms of a member. The name of a tile
/// is that without an extension.
pub(in crate::cache) fn member_etag(
    version: &Version,
    name: &str,
    form: &MemberForm,
) -> HeaderValue {
    let mut hash = Sha256::new();
    hash.update(version.mark());
    hash.update([matches!(form, MemberForm::Decoded).into()]);
    hash.update(name);
    let digest = hash.finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The entity tag of a member as it is stored, by the headers and the length of its archive; `None` if they name no
/// version of it, so that no member is served.
#[must_use]
pub fn member_tag(
    archive: &HeaderMap,
    length: u64,
    kind: ArchiveKind,
    name: &str,
) -> Option<HeaderValue> {
    let version = Version::of(archive, length)?;
    let tile = TileName::parse(name).filter(|_| kind == ArchiveKind::Pmtiles);
    let name = tile.map_or_else(|| name.to_owned(), |tile| tile.without_extension());
    Some(member_etag(&version, &name, &MemberForm::AsStored))
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
            return Err(WRONG_SUM.into());
        }
        Ok(())
    }
}

/// The bytes of a member have another checksum than its directory says.
pub(in crate::cache) const WRONG_SUM: ArchiveFault =
    ArchiveFault::Damaged("has a member with a wrong checksum");

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
