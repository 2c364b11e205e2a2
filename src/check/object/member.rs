//! The check of a member of an archive: the archive as an object, and the way through its directory to the member.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, ETAG};
use http::{HeaderMap, HeaderValue};

use crate::archive::name::MemberKey;
use crate::archive::search::{FoundMember, MemberSearch, SearchStep};
use crate::archive::{ArchiveKind, CHANGING, ENCODED};
use crate::cache::{Cache, member_tag};
use crate::check::media_type::denied_stored_type;
use crate::check::object::findings::member_finding;
use crate::check::object::{ObjectCheck, is_empty, whole_length};
use crate::check::report::Finding;
use crate::check::request::ProbeAnswer;
use crate::check::survey::source::StoreSource;
use crate::mime::KeyType;
use crate::profile::{ContentTypeFrom, Profile};
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;

/// Requests for parts of an archive, and their bytes.
#[derive(Debug, Default)]
struct DirectoryReads {
    requests: u32,
    bytes: u64,
}

impl ObjectCheck<'_> {
    /// The store is asked for the archive; its directory says whether there is the member.
    pub(super) async fn serve_member(
        &mut self,
        profile: &Profile,
        address: &ObjectAddress,
        member: &MemberKey<'_>,
    ) -> Result<Finding, Refusal> {
        let archive = ObjectAddress { key: member.archive.to_owned(), ..address.clone() };
        self.note("archive", member_finding(member, &archive));
        self.archive = Some(archive.clone());
        let by_name = match member.kind {
            ArchiveKind::Zip => Some(self.type_by_key(&address.key)?),
            ArchiveKind::Pmtiles => None,
        };
        let by_key = profile.content_type == ContentTypeFrom::Key;
        let asked = self.ask_profile(profile, &archive, by_key.then(KeyType::unknown)).await?;
        let answer = self.asked.as_ref().and_then(|exchange| exchange.answer.as_ref());
        let length = answer.and_then(length_of);
        let Some(headers) = answer.map(|answer| answer.headers.clone()) else {
            let detail = format!("if the archive has this member: {}", asked.detail);
            return Ok(Finding { detail, ..asked });
        };
        let mut reads = DirectoryReads::default();
        let found = match self.find(profile, &archive, member, (&headers, length), &mut reads).await
        {
            Ok(found) => found,
            Err(refusal) => {
                self.note("member", not_served(&refusal, &reads));
                return Err(refusal);
            }
        };
        let (FoundMember { place, media_type, coding, .. }, etag) = found;
        let content_type = match (&by_name, media_type) {
            (Some(by_name), _) => by_name.of(&HeaderMap::new()),
            (None, named) => HeaderValue::from_static(named.unwrap_or_default()),
        };
        let content_type = String::from_utf8_lossy(content_type.as_bytes()).into_owned();
        let length = place.end - place.start;
        let coding = coding.map(|coding| format!(", Content-Encoding {coding}"));
        self.note(
            "member",
            Finding::ok(format!(
                "{length} bytes from byte {} of the archive on, {content_type}{}, ETag {}; {reads}",
                place.start,
                coding.unwrap_or_default(),
                String::from_utf8_lossy(etag.as_bytes()),
            )),
        );
        if by_name.is_none() && !self.config.mime.allows(&content_type) {
            self.note("type", denied_stored_type(Some(&content_type)));
            return Err(Refusal::MediaTypeDenied(Some(content_type)));
        }
        let user = self.user_note();
        Ok(Finding::ok(format!("200 {content_type}, {length} bytes{user}")))
    }

    /// The member and its entity tag, by the directory as the store has it.
    async fn find(
        &self,
        profile: &Profile,
        archive: &ObjectAddress,
        member: &MemberKey<'_>,
        (headers, length): (&HeaderMap, Option<u64>),
        reads: &mut DirectoryReads,
    ) -> Result<(FoundMember, HeaderValue), Refusal> {
        let most = Cache::largest_directory(&self.config.cache);
        if length == Some(0) {
            // The store has answered 416, without an entity tag.
            MemberSearch::new(member.kind, member.member, 0, most).0.next(&[])?;
        }
        let tag = length.and_then(|length| member_tag(headers, length, member.kind, member.member));
        let (Some(length), Some(tag), Some(version)) = (length, tag, headers.get(ETAG)) else {
            return Err(Refusal::ArchiveNotCached);
        };
        if !profile.cache.of(&archive.key).store {
            return Err(Refusal::ArchiveNotCached);
        }
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(ENCODED.into());
        }
        let upstream = &self.config.upstream;
        let source = StoreSource::new(&Arc::new(profile.clone()), upstream, &archive.bucket, "");
        let (mut search, mut range) = MemberSearch::new(member.kind, member.member, length, most);
        loop {
            let limit = self.deadline.at_most(upstream.total_timeout);
            let read = source.part(&archive.key, &range, version);
            let read = tokio::time::timeout(limit, read).await;
            let bytes = match read.unwrap_or(Err(Refusal::UpstreamTimeout)) {
                Ok(bytes) => bytes,
                Err(Refusal::PreconditionFailed) => return Err(CHANGING.into()),
                Err(refusal) => return Err(refusal),
            };
            reads.requests += 1;
            reads.bytes += bytes.len() as u64;
            let step;
            (search, step) = search.next(&bytes)?;
            match step {
                SearchStep::Read(next) => range = next,
                SearchStep::Missing => return Err(Refusal::ObjectNotFound),
                SearchStep::Found(found) => return Ok((found, tag)),
            }
        }
    }
}

/// Bytes of the archive.
fn length_of(answer: &ProbeAnswer) -> Option<u64> {
    match is_empty(answer) {
        true => Some(0),
        false => whole_length(&answer.headers)?.parse().ok(),
    }
}

impl std::fmt::Display for DirectoryReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests, bytes } = self;
        let plural = if *requests == 1 { "" } else { "s" };
        write!(
            f,
            "its directory was read from the store: {requests} request{plural}, {bytes} bytes"
        )
    }
}

/// Why the member is not served, and the fix.
fn not_served(refusal: &Refusal, reads: &DirectoryReads) -> Finding {
    let (detail, fix) = match refusal {
        Refusal::ObjectNotFound => (
            "the archive has no such member".to_owned(),
            "names are case-sensitive, and the URL has them as they are in the archive: unzip -l, pmtiles show",
        ),
        Refusal::ArchiveDamaged(_) => {
            (refusal.message().into_owned(), "write the archive again; unzip -t, pmtiles verify")
        }
        Refusal::ArchiveUnsupported(_) => (
            refusal.message().into_owned(),
            "write the archive without compression (zip -0), or in several parts; see docs/archives.md",
        ),
        Refusal::ArchiveNotCached => (
            "the cache cannot hold the archive: its rule stores nothing, the store ignores ranges, or its answer has \
             no strong ETag or no length"
                .to_owned(),
            "members are read through the cache: see the step request, and the step cache of s3proxy explain",
        ),
        refusal => (
            format!("the directory of the archive cannot be read: {}", refusal.message()),
            "see the steps above",
        ),
    };
    Finding::failed(format!("{detail}; {reads}"), fix)
}
