//! `GET /cache/profile@bucket/key`: what is kept of one object.

use http::{Method, StatusCode};
use serde_json::json;

use crate::admin::{Admin, Page, off};

/// What can be asked about.
const TARGET: &str = "the page of an object is /cache/PROFILE@BUCKET/KEY";

/// The object a request asks about, still percent-encoded; `None` where it asks for another page.
pub(super) fn target<'a>(method: &Method, target: &'a [u8]) -> Option<&'a [u8]> {
    let path = target.split(|byte| *byte == b'?').next()?;
    let readable = matches!(*method, Method::GET | Method::HEAD);
    path.strip_prefix(b"/cache/").filter(|_| readable)
}

impl Admin {
    /// What the tiers hold of it, as [`crate::cache::Inspection`] says it, and its name.
    pub(super) async fn kept(&self, target: &[u8]) -> Page {
        let Some(cache) = &self.cache else { return off() };
        let (address, key) = match self.object(target, TARGET) {
            Ok(object) => object,
            Err(page) => return page,
        };
        let inspection = cache.inspect(&key).await;
        let document = json!({
            "object": address.name(),
            "memory": inspection.memory,
            "disk": inspection.disk,
            "fetch_under_way": inspection.fetch_under_way,
        });
        (StatusCode::OK, document)
    }
}
