//! Where the files of a survey are: in a bucket, asked as the cache of the gateway asks, or on a disk.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::check::object::whole_length;
use crate::check::survey::observed::{FileReply, FolderListing, Presence};
use crate::config::UpstreamConfig;
use crate::profile::Profile;
use crate::protocol::http_date;
use crate::protocol::range::ByteRange;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::Target;
use crate::s3::list;
use crate::upstream::client::{FetchRequest, FetchResponse, StoreClient};
use crate::upstream::endpoints::StoreEndpoints;
use crate::upstream::resolve::EndpointAddresses;
use crate::upstream::{Store, limits_of};

/// The first bytes of a tile that are read, enough to know its format and its width.
const FIRST_BYTES: u64 = 4096;

/// The place of a survey.
#[derive(Clone)]
pub(super) enum Source {
    Store(Arc<StoreSource>),
    Folder(PathBuf),
}

/// A prefix of a bucket.
pub(in crate::check) struct StoreSource {
    client: StoreClient,
    store: Store,
    bucket: String,
    /// Empty, or with a slash at its end.
    root: String,
}

impl StoreSource {
    /// Resolves the name of the endpoint in the background.
    ///
    /// # Panics
    /// As [`StoreClient::new`].
    pub(in crate::check) fn new(
        profile: &Arc<Profile>,
        upstream: &UpstreamConfig,
        bucket: &str,
        root: &str,
    ) -> Self {
        let every = upstream.dns_refresh;
        let endpoints = StoreEndpoints::new(profile, None, |way| {
            let addresses = Arc::new(EndpointAddresses::new(&way.endpoint, way.proxy.as_ref()));
            let resolved = Arc::clone(&addresses);
            let _in_background = tokio::spawn(async move { resolved.keep_fresh(every).await });
            addresses
        });
        Self {
            client: StoreClient::new(upstream),
            store: Store::new(Arc::clone(profile), endpoints, limits_of(upstream)),
            bucket: bucket.to_owned(),
            root: root.to_owned(),
        }
    }

    fn target(&self, key: &str) -> Target {
        let profile = &self.store.profile;
        profile.endpoint.target(profile.addressing, &self.bucket, key.as_bytes())
    }

    async fn read(&self, path: &str, range: Option<ByteRange>, most: usize) -> FileReply {
        let target = self.target(&[&self.root, path].concat());
        let request = FetchRequest { range, ..FetchRequest::default() };
        let fetched = self.client.fetch(&self.store, &target, &request).await;
        let (headers, mut body) = match fetched.outcome {
            Ok(FetchResponse::Object { headers, body, .. }) => (headers, body),
            Ok(FetchResponse::NotModified(_)) => return failed(&Refusal::UpstreamProtocol),
            Err(Refusal::ObjectNotFound) => return FileReply::without(Presence::Missing),
            Err(Refusal::UpstreamForbidden) => return FileReply::without(Presence::Denied),
            // An empty object has no first byte.
            Err(Refusal::RangeNotSatisfiable(_)) => {
                let length = Some(0);
                return FileReply { length, ..FileReply::without(Presence::Found) };
            }
            Err(refusal) => return failed(&refusal),
        };
        let mut bytes = BytesMut::new();
        while bytes.len() < most {
            match body.next().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => break,
                Err(refusal) => return failed(&refusal),
            }
        }
        bytes.truncate(most);
        FileReply {
            presence: Presence::Found,
            length: whole_length(&headers).and_then(|digits| digits.parse().ok()),
            content_type: content_type(&headers),
            modified: http_date::of(&headers, &LAST_MODIFIED),
            bytes: bytes.freeze(),
        }
    }

    /// These bytes of a file, of the version with this entity tag.
    ///
    /// # Errors
    /// As [`StoreClient::fetch`]; `PreconditionFailed` if the store has another version, `ArchiveNotCached` if it
    /// ignores ranges.
    pub(in crate::check) async fn part(
        &self,
        path: &str,
        range: &Range<u64>,
        version: &HeaderValue,
    ) -> Result<Bytes, Refusal> {
        let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else {
            return Ok(Bytes::new());
        };
        let wanted = ByteRange::FromTo { first: range.start, last: Some(last) };
        let (range, if_match) = (Some(wanted), Some(version.clone()));
        let request = FetchRequest { range, if_match, ..FetchRequest::default() };
        let target = self.target(&[&self.root, path].concat());
        let fetched = self.client.fetch(&self.store, &target, &request).await;
        let FetchResponse::Object { status: StatusCode::PARTIAL_CONTENT, mut body, .. } =
            fetched.outcome?
        else {
            return Err(Refusal::ArchiveNotCached);
        };
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    async fn list(&self, path: &str) -> Option<FolderListing> {
        let prefix = [&self.root, path].concat();
        let mut target = self.target("");
        target.path.push('?');
        target.path.push_str(&list::query(&prefix, None));
        let (_, document) = self.client.list(&self.store, &target, &prefix, None).await;
        let page = list::parse(&document.ok()?, &prefix).ok()?;
        let name = |key: &String| {
            let name = key.strip_prefix(&prefix)?.trim_end_matches('/');
            (!name.is_empty()).then(|| name.to_owned())
        };
        Some(FolderListing {
            folders: page.folders.iter().filter_map(name).collect(),
            files: page.objects.iter().filter_map(|object| name(&object.key)).collect(),
            is_whole: page.next.is_none(),
        })
    }
}

fn failed(refusal: &Refusal) -> FileReply {
    FileReply::without(Presence::Failed(refusal.cause().to_owned()))
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_TYPE)?.to_str().ok().map(str::to_owned)
}

impl Source {
    /// A file, at most `most` of its bytes.
    pub(super) async fn whole(&self, path: &str, most: usize) -> FileReply {
        match self {
            Self::Store(source) => source.read(path, None, most).await,
            Self::Folder(folder) => read_file(&folder.join(path), most),
        }
    }

    /// The first bytes of a file.
    pub(super) async fn start(&self, path: &str) -> FileReply {
        let range = ByteRange::FromTo { first: 0, last: Some(FIRST_BYTES - 1) };
        let most = usize::try_from(FIRST_BYTES).unwrap_or(usize::MAX);
        match self {
            Self::Store(source) => source.read(path, Some(range), most).await,
            Self::Folder(folder) => read_file(&folder.join(path), most),
        }
    }

    /// Some of what is in a folder, whose path is empty or ends with a slash; `None` if it may not be
    /// listed. A bucket gives one page.
    pub(super) async fn list(&self, path: &str) -> Option<FolderListing> {
        match self {
            Self::Store(source) => source.list(path).await,
            Self::Folder(folder) => list_folder(&folder.join(path)),
        }
    }
}

fn read_file(path: &Path, most: usize) -> FileReply {
    let read = || {
        // Before it is opened: a pipe without a writer would be waited for.
        let about = std::fs::metadata(path)?;
        if about.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        }
        if !about.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        Ok((about.len(), about.modified().ok(), bytes))
    };
    match read() {
        Ok((length, modified, bytes)) => FileReply {
            presence: Presence::Found,
            length: Some(length),
            content_type: None,
            modified,
            bytes: Bytes::from(bytes),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            FileReply::without(Presence::Missing)
        }
        Err(error) => FileReply::without(Presence::Failed(error.to_string())),
    }
}

fn list_folder(path: &Path) -> Option<FolderListing> {
    let mut listing = FolderListing { is_whole: true, ..FolderListing::default() };
    for entry in std::fs::read_dir(path).ok()?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_folder = entry.path().is_dir();
        if is_folder { &mut listing.folders } else { &mut listing.files }.push(name);
    }
    listing.folders.sort_unstable();
    listing.files.sort_unstable();
    Some(listing)
}
