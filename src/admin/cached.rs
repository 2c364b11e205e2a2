//! `GET /cache/profile@bucket/key`: the cached copy of one object.

use http::{Method, StatusCode};
use serde_json::json;

use crate::admin::{Admin, JsonPage, cache_disabled};
use crate::cache::CacheKey;
use crate::profile::fingerprint::Fingerprint;
use crate::s3::address::ObjectAddress;

/// The message for a path of another form.
const TARGET: &str = "the path must be /cache/PROFILE@BUCKET/KEY";

/// The object of the request, still percent-encoded; `None` for another page.
pub(super) fn target<'a>(method: &Method, target: &'a [u8]) -> Option<&'a [u8]> {
    let path = target.split(|byte| *byte == b'?').next()?;
    let readable = matches!(*method, Method::GET | Method::HEAD);
    path.strip_prefix(b"/cache/").filter(|_| readable)
}

impl Admin {
    /// The entries of the object in each tier ([`crate::cache::Inspection`]), and its name. Of a member of an
    /// archive, those of the archive, and what is known of the member.
    pub(super) async fn inspect(&self, target: &[u8]) -> JsonPage {
        let Some(cache) = &self.cache else { return cache_disabled() };
        let (address, store, key) = match self.object(target, TARGET) {
            Ok(object) => object,
            Err(page) => return page,
        };
        let member = store.profile.member_of(&address);
        // Of a member its archive is cached.
        let (object, key) = match &member {
            Some(member) => {
                let key = member.archive.to_owned();
                let archive = ObjectAddress { key, ..address.clone() };
                let key = CacheKey::new(&store.profile, &archive.bucket, &archive.key);
                (archive, key)
            }
            None => (address.clone(), key),
        };
        let rule = *store.profile.cache.of(&object.key);
        let settings = Fingerprint { profile: store.fingerprint, rule };
        let inspection = cache.inspect(&key, settings).await;
        let mut document = json!({
            "object": object.name(),
            "memory": inspection.memory,
            "disk": inspection.disk,
            "fetch_under_way": inspection.fetch_under_way,
        });
        if let (Some(shared), Some(document)) = (inspection.shared, document.as_object_mut()) {
            document.insert("shared".to_owned(), json!(shared));
        }
        if let (Some(member), Some(document)) = (member, document.as_object_mut()) {
            let mut known = json!(cache.inspect_member(&key, settings, &member).await);
            if let Some(known) = known.as_object_mut() {
                known.insert("name".to_owned(), json!(member.member));
            }
            document.insert("member".to_owned(), known);
        }
        (StatusCode::OK, document)
    }
}
