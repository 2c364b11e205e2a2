//! Admission of requests for members of archives, in profiles with `archives`.

use std::sync::Arc;

use pingora::http::RequestHeader;

use crate::archive::ArchiveKind;
use crate::archive::name::MemberKey;
use crate::cache::{CacheRequest, MemberRequest};
use crate::gateway::Gateway;
use crate::gateway::context::{ClientRequest, ObjectRequest};
use crate::mime::KeyType;
use crate::profile::ContentTypeFrom;
use crate::profile::alias::NamedObject;
use crate::protocol::accept::AcceptedCodings;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::upstream::Store;

impl Gateway {
    /// Admits a request for a member. The store is admitted already.
    pub(super) fn admit_member(
        &self,
        client: &RequestHeader,
        store: &Arc<Store>,
        named: &NamedObject,
        member: MemberKey<'_>,
    ) -> Result<Box<ObjectRequest>, Refusal> {
        let MemberKey { kind, archive, member } = member;
        let address = named.target();
        let mime = &self.heads.mime;
        let content_type = match kind {
            // The archive states the type of its tiles.
            ArchiveKind::Pmtiles => None,
            ArchiveKind::Zip => match mime.key_type(&address.key) {
                Ok(content_type) => Some(content_type),
                Err(denied) => return Err(Refusal::MediaTypeDenied(denied.map(str::to_owned))),
            },
        };
        // Clients may be refused the archive itself, by its type.
        let by_key = store.profile.content_type == ContentTypeFrom::Key;
        let of_archive =
            by_key.then(|| mime.key_type(archive).unwrap_or_else(|_| KeyType::unknown()));
        let archive = ObjectAddress { key: archive.to_owned(), ..(**address).clone() };
        let (store, headers) = (Arc::clone(store), &client.headers);
        let wanted = CacheRequest::archive(store, Arc::new(archive), of_archive, kind, headers);
        let mut object = ObjectRequest::new(wanted, &ClientRequest::of(client), self.attempts());
        let (name, codings) = (member.to_owned(), AcceptedCodings::of(headers));
        object.member = Some(Arc::new(MemberRequest { kind, name, content_type, codings }));
        Ok(Box::new(object))
    }
}
