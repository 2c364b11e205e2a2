//! Finds a member by the directory of its archive, and makes its head.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPIRES, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use tokio::task::spawn_blocking;

use crate::archive::pmtiles::{self, MapHeader, TileDirectory, TileName};
use crate::archive::search::NESTED;
use crate::archive::zip::{Located, TAIL, locate};
use crate::archive::{ArchiveFault, ArchiveKind, ENCODED};
use crate::cache::Cache;
use crate::cache::blocks::arrival::BlockError;
use crate::cache::blocks::arriving_body::BodySlot;
use crate::cache::blocks::reader::OpenError;
use crate::cache::blocks::version::Version;
use crate::cache::body::StoredBody;
use crate::cache::member::{Member, MemberForm, MemberPlace, MemberRequest, member_etag};
use crate::cache::members::directories::{Directory, DirectoryKey};
use crate::cache::members::{of_fault, part};
use crate::cache::object::{Object, ObjectBody};
use crate::cache::request::CacheRequest;
use crate::cache::stored_head::StoredHead;
use crate::response::refusal::Refusal;

const TILE: ArchiveFault = ArchiveFault::Damaged("has a tile that cannot be decompressed");
const CODING: ArchiveFault = ArchiveFault::Unsupported(
    "has compressed tiles that the client does not accept, and that are too large to be decompressed for it",
);

/// One version of an archive.
struct ArchiveVersion<'a> {
    request: &'a Arc<CacheRequest>,
    source: &'a ObjectBody,
    version: Version,
}

impl ArchiveVersion<'_> {
    fn directory(&self, place: u64) -> DirectoryKey {
        DirectoryKey::new(&self.request.key, &self.version, place)
    }
}

fn not_found() -> OpenError {
    BlockError::Refused(Refusal::ObjectNotFound).into()
}

impl Cache {
    /// The member of this version of an archive.
    pub(super) async fn locate(
        &self,
        request: &Arc<CacheRequest>,
        source: &ObjectBody,
        arriving: Option<BodySlot>,
        wanted: &MemberRequest,
    ) -> Result<ObjectBody, OpenError> {
        let head = source.head();
        let is_whole = source.has_length() && !matches!(source, ObjectBody::Passing(_));
        let version = Version::of(&head.headers, source.length()).filter(|_| is_whole);
        let Some(version) = version else {
            return Err(BlockError::Refused(Refusal::ArchiveNotCached).into());
        };
        if head.headers.contains_key(CONTENT_ENCODING) {
            return Err(of_fault(ENCODED));
        }
        let archive = ArchiveVersion { request, source, version };
        match wanted.kind {
            ArchiveKind::Zip => self.zip_member(&archive, arriving, wanted).await,
            ArchiveKind::Pmtiles => self.tile(&archive, arriving, wanted).await,
        }
    }

    async fn zip_member(
        &self,
        archive: &ArchiveVersion<'_>,
        arriving: Option<BodySlot>,
        wanted: &MemberRequest,
    ) -> Result<ObjectBody, OpenError> {
        let read = self.read_zip_directory(archive, arriving);
        let found = self.members.directories.get(&archive.directory(0), read).await?;
        let directory = match found {
            Directory::Zip(directory) => directory,
            Directory::Fault(fault) => return Err(of_fault(fault)),
            Directory::Map(_) | Directory::Tiles(_) => return Err(not_found()),
        };
        let member = directory.find(&wanted.name).map_err(of_fault)?.ok_or_else(not_found)?;
        let length = member.length;
        let place = MemberPlace::Zip { member, name: wanted.name.clone() };
        let etag = member_etag(&archive.version, &wanted.name, &MemberForm::AsStored);
        let headers = headers_of(archive, etag, length, None);
        let content_type = wanted.content_type.as_ref().map(|it| it.of(&headers));
        let content_type = content_type.unwrap_or(HeaderValue::from_static(UNKNOWN_TYPE));
        self.member(archive, &headers, &content_type, length, place)
    }

    async fn read_zip_directory(
        &self,
        archive: &ArchiveVersion<'_>,
        mut arriving: Option<BodySlot>,
    ) -> Result<Directory, OpenError> {
        let (request, source) = (archive.request, archive.source);
        let (length, most) = (source.length(), self.members.directories.most());
        let mut start = length.saturating_sub(TAIL);
        let mut bytes = self.read_archive(request, source, start..length, arriving.take()).await?;
        loop {
            let known = bytes.clone();
            // A large directory takes a while.
            let located = spawn_blocking(move || locate(&known, start, most)).await;
            match located {
                Ok(Ok(Located::Read(directory))) => return Ok(Directory::Zip(Arc::new(directory))),
                Ok(Ok(Located::From(from))) if from < start => {
                    let before = self.read_archive(request, source, from..start, None).await?;
                    let mut joined = BytesMut::with_capacity(before.len() + bytes.len());
                    joined.extend_from_slice(&before);
                    joined.extend_from_slice(&bytes);
                    (start, bytes) = (from, joined.freeze());
                }
                Ok(Ok(Located::From(_))) => return Ok(Directory::Fault(NESTED)),
                Ok(Err(fault)) => return Ok(Directory::Fault(fault)),
                Err(_ended) => return Err(BlockError::Refused(Refusal::Internal).into()),
            }
        }
    }

    async fn tile(
        &self,
        archive: &ArchiveVersion<'_>,
        arriving: Option<BodySlot>,
        wanted: &MemberRequest,
    ) -> Result<ObjectBody, OpenError> {
        let name = TileName::parse(&wanted.name).ok_or_else(not_found)?;
        let read = self.read_map(archive, arriving);
        let map = match self.members.directories.get(&archive.directory(0), read).await? {
            Directory::Map(map) => map,
            Directory::Fault(fault) => return Err(of_fault(fault)),
            Directory::Zip(_) | Directory::Tiles(_) => return Err(not_found()),
        };
        let (header, root) = &*map;
        if !header.may_have(&name) {
            return Err(not_found());
        }
        let place = self.tile_place(archive, header, root, name.number()).await?;
        let media_type = header.tile_type.media_type();
        if !self.members.heads.mime.allows(media_type) {
            let refusal = Refusal::MediaTypeDenied(Some(media_type.to_owned()));
            return Err(BlockError::Refused(refusal).into());
        }
        let content_type = HeaderValue::from_static(media_type);
        let coding = header.coding.name();
        let id = name.without_extension();
        if coding.is_some_and(|coding| !wanted.codings.accepts(coding)) {
            return self.decoded_tile(archive, header, &content_type, &id, place).await;
        }
        let length = place.end - place.start;
        let etag = member_etag(&archive.version, &id, &MemberForm::AsStored);
        let headers = headers_of(archive, etag, length, coding);
        self.member(archive, &headers, &content_type, length, MemberPlace::Tile(place))
    }

    async fn read_map(
        &self,
        archive: &ArchiveVersion<'_>,
        arriving: Option<BodySlot>,
    ) -> Result<Directory, OpenError> {
        let (request, source) = (archive.request, archive.source);
        let length = source.length();
        let first = 0..pmtiles::HEAD.min(length);
        let bytes = self.read_archive(request, source, first, arriving).await?;
        let header = match MapHeader::parse(&bytes, length) {
            Ok(header) => header,
            Err(fault) => return Ok(Directory::Fault(fault)),
        };
        let root = header.root();
        let bytes = match part(&bytes, 0, &root) {
            Some(bytes) => Some(bytes),
            None => self.directory_bytes(archive, root).await?,
        };
        let read = bytes.ok_or(pmtiles::TOO_LARGE);
        let read = read.and_then(|bytes| header.directory(&bytes, self.members.directories.most()));
        Ok(match read {
            Ok(root) => Directory::Map(Arc::new((header, root))),
            Err(fault) => Directory::Fault(fault),
        })
    }

    /// The bytes of a directory; `None` if there are too many.
    async fn directory_bytes(
        &self,
        archive: &ArchiveVersion<'_>,
        place: Range<u64>,
    ) -> Result<Option<Bytes>, OpenError> {
        if place.end - place.start > self.members.directories.most() {
            return Ok(None);
        }
        let read = self.read_archive(archive.request, archive.source, place, None).await?;
        Ok(Some(read))
    }

    /// The bytes of the tile with this number.
    async fn tile_place(
        &self,
        archive: &ArchiveVersion<'_>,
        header: &MapHeader,
        root: &TileDirectory,
        number: u64,
    ) -> Result<Range<u64>, OpenError> {
        let mut entry = root.find(number).ok_or_else(not_found)?;
        for _ in 0..pmtiles::MAX_DEPTH {
            if !entry.is_directory() {
                return header.tile(&entry).map_err(of_fault);
            }
            let place = header.leaf(&entry).map_err(of_fault)?;
            let key = archive.directory(place.start);
            let read = async {
                let read = self.directory_bytes(archive, place).await?.ok_or(pmtiles::TOO_LARGE);
                let most = self.members.directories.most();
                Ok(match read.and_then(|bytes| header.directory(&bytes, most)) {
                    Ok(directory) => Directory::Tiles(Arc::new(directory)),
                    Err(fault) => Directory::Fault(fault),
                })
            };
            entry = match self.members.directories.get(&key, read).await? {
                Directory::Tiles(directory) => directory.find(number).ok_or_else(not_found)?,
                Directory::Fault(fault) => return Err(of_fault(fault)),
                Directory::Zip(_) | Directory::Map(_) => return Err(of_fault(NESTED)),
            };
        }
        Err(of_fault(NESTED))
    }

    /// A compressed tile for a client that does not accept its coding (RFC 9110, section 12.5.3).
    async fn decoded_tile(
        &self,
        archive: &ArchiveVersion<'_>,
        header: &MapHeader,
        content_type: &HeaderValue,
        id: &str,
        place: Range<u64>,
    ) -> Result<ObjectBody, OpenError> {
        let is_small = place.end - place.start <= pmtiles::MAX_CODED_TILE;
        if !is_small {
            return Err(of_fault(CODING));
        }
        let (bytes, _) = self.read_around(archive.request, archive.source, place).await?;
        let decoded = header.coding.decode(&bytes, pmtiles::MAX_DECODED_TILE);
        let decoded = decoded.map(Cow::into_owned).map_err(|fault| {
            of_fault(match fault {
                pmtiles::DecodeFault::Damaged => TILE,
                pmtiles::DecodeFault::TooLarge => CODING,
            })
        })?;
        let length = decoded.len() as u64;
        let room = self.tiers.reserve(&archive.request.key.beside(), length);
        let room = room.ok_or(BlockError::Refused(Refusal::ArchiveNotCached))?;
        let etag = member_etag(&archive.version, id, &MemberForm::Decoded);
        let headers = headers_of(archive, etag, length, None);
        let head = self.head(archive, &headers, content_type, true)?;
        let object = Object {
            head: StoredHead::of(&head, &archive.source.lifetime()),
            body: StoredBody::from(decoded),
            held: room.into_held(),
        };
        Ok(ObjectBody::Stored(Arc::new(object)))
    }

    fn head(
        &self,
        archive: &ArchiveVersion<'_>,
        headers: &HeaderMap,
        content_type: &HeaderValue,
        varies: bool,
    ) -> Result<ResponseHeader, OpenError> {
        let profile = &archive.request.store.profile;
        let heads = &self.members.heads;
        let mut head = heads
            .object_head(StatusCode::OK, headers, profile, content_type)
            .map_err(|_| BlockError::Refused(Refusal::UpstreamProtocol))?;
        if varies {
            let varied = head.insert_header(VARY, "Accept-Encoding");
            varied.map_err(|_| BlockError::Refused(Refusal::Internal))?;
        }
        Ok(head)
    }

    fn member(
        &self,
        archive: &ArchiveVersion<'_>,
        headers: &HeaderMap,
        content_type: &HeaderValue,
        length: u64,
        place: MemberPlace,
    ) -> Result<ObjectBody, OpenError> {
        let varies = headers.contains_key(CONTENT_ENCODING);
        let member = Member {
            head: self.head(archive, headers, content_type, varies)?,
            lifetime: archive.source.lifetime().into_owned(),
            length,
            archive: archive.source.clone(),
            place,
        };
        Ok(ObjectBody::Member(Arc::new(member)))
    }
}

/// The type of a member without one: such names are refused before.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// The headers of a member as a store would send them: those of the archive that hold for it too.
fn headers_of(
    archive: &ArchiveVersion<'_>,
    etag: HeaderValue,
    length: u64,
    coding: Option<&'static str>,
) -> HeaderMap {
    let of_archive = [
        ACCEPT_RANGES,
        CACHE_CONTROL,
        CONTENT_DISPOSITION,
        CONTENT_LENGTH,
        CONTENT_SECURITY_POLICY,
        CONTENT_TYPE,
        ETAG,
        EXPIRES,
        X_CONTENT_TYPE_OPTIONS,
    ];
    let head = archive.source.head();
    let of_member = head.headers.iter().filter(|(name, _)| !of_archive.contains(name));
    let lifetime = archive.source.lifetime();
    let mut headers = HeaderMap::new();
    for (name, value) in of_member.chain(lifetime.iter()) {
        headers.append(name.clone(), value.clone());
    }
    headers.insert(ETAG, etag);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    headers
}
