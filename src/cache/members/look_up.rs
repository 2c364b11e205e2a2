//! What memory knows of a member of an archive, for operators. Nothing is read, and nothing changes.

use http::HeaderMap;

use crate::archive::name::MemberKey;
use crate::archive::pmtiles::{self, TileName};
use crate::archive::search::NESTED;
use crate::archive::{ArchiveFault, ArchiveKind};
use crate::cache::Cache;
use crate::cache::blocks::version::Version;
use crate::cache::inspect::{KnownMember, stored_version};
use crate::cache::key::CacheKey;
use crate::cache::member::{MemberForm, member_etag};
use crate::cache::members::directories::{Directory, DirectoryKey};
use crate::profile::fingerprint::Fingerprint;
use crate::response::refusal::Refusal;

impl Cache {
    /// Looks a member up in the directories that are in memory, of the version of the archive that is stored. Must
    /// be called within a Tokio runtime.
    pub async fn inspect_member(
        &self,
        archive: &CacheKey,
        settings: Fingerprint,
        member: &MemberKey<'_>,
    ) -> KnownMember {
        let Some(version) = stored_version(&self.tiers, archive, settings).await else {
            return KnownMember::Unread;
        };
        let found = match member.kind {
            ArchiveKind::Zip => self.known_in_zip(archive, &version, member),
            ArchiveKind::Pmtiles => self.known_in_map(archive, &version, member.member),
        };
        found.unwrap_or_else(|fault| {
            let refusal = Refusal::from(fault);
            let (cause, message) = (refusal.cause().to_owned(), refusal.message().into_owned());
            KnownMember::Refused { cause, message }
        })
    }

    fn known_directory(
        &self,
        archive: &CacheKey,
        version: &Version,
        place: u64,
    ) -> Result<Option<Directory>, ArchiveFault> {
        match self.members.directories.known(&DirectoryKey::new(archive, version, place)) {
            Some(Directory::Fault(fault)) => Err(fault),
            known => Ok(known),
        }
    }

    fn known_in_zip(
        &self,
        archive: &CacheKey,
        version: &Version,
        wanted: &MemberKey<'_>,
    ) -> Result<KnownMember, ArchiveFault> {
        let name = wanted.member;
        let Some(Directory::Zip(directory)) = self.known_directory(archive, version, 0)? else {
            return Ok(KnownMember::Unread);
        };
        let Some(member) = directory.find(name)? else { return Ok(KnownMember::Missing) };
        let key = [wanted.archive, name].join("/");
        // The headers of the archive state nothing of its members.
        let content_type = self.members.heads.mime.key_type(&key).ok();
        let content_type = content_type.map(|it| it.of(&HeaderMap::new()));
        Ok(KnownMember::Found {
            offset: member.header,
            length: member.length,
            content_type: content_type.and_then(|it| Some(it.to_str().ok()?.to_owned())),
            content_encoding: None,
            etag: etag(version, name),
        })
    }

    fn known_in_map(
        &self,
        archive: &CacheKey,
        version: &Version,
        name: &str,
    ) -> Result<KnownMember, ArchiveFault> {
        let Some(Directory::Map(map)) = self.known_directory(archive, version, 0)? else {
            return Ok(KnownMember::Unread);
        };
        let (header, root) = &*map;
        let tile = TileName::parse(name).filter(|tile| header.may_have(tile));
        let Some(tile) = tile else { return Ok(KnownMember::Missing) };
        let mut found = root.find(tile.number());
        for _ in 0..pmtiles::MAX_DEPTH {
            let Some(entry) = found else { return Ok(KnownMember::Missing) };
            if !entry.is_directory() {
                let place = header.tile(&entry)?;
                return Ok(KnownMember::Found {
                    offset: place.start,
                    length: place.end - place.start,
                    content_type: Some(header.tile_type.media_type().to_owned()),
                    content_encoding: header.coding.name().map(str::to_owned),
                    etag: etag(version, &tile.without_extension()),
                });
            }
            let place = header.leaf(&entry)?;
            let known = self.known_directory(archive, version, place.start)?;
            let Some(Directory::Tiles(directory)) = known else { return Ok(KnownMember::Unread) };
            found = directory.find(tile.number());
        }
        Err(NESTED)
    }
}

fn etag(version: &Version, name: &str) -> String {
    let etag = member_etag(version, name, &MemberForm::AsStored);
    etag.to_str().unwrap_or_default().to_owned()
}
