//! What the cache keeps under a key.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use pingora::http::ResponseHeader;

use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;

/// Bytes of an entry besides its key, its headers and its body: the entry, its place in the tier.
const OVERHEAD: usize = 400;
/// Bytes of a header besides its name and value.
const HEADER_OVERHEAD: usize = 72;

/// One answer of a store.
#[derive(Debug)]
pub struct Entry {
    pub key: CacheKey,
    /// When the store was asked; a later purge removes the entry.
    pub asked: SystemTime,
    pub freshness: Freshness,
    pub content: Content,
}

/// What the store said.
#[derive(Debug, Clone)]
pub enum Content {
    Object(Arc<Object>),
    /// There is no such object.
    Missing,
    /// The object is not for the cache: too large, or its store forbids it.
    Pass,
}

/// An object with its whole body.
#[derive(Debug)]
pub struct Object {
    /// The head of the answer to a client.
    pub head: ResponseHeader,
    pub body: Bytes,
}

impl Entry {
    /// The memory it holds, bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let held = match &self.content {
            Content::Object(object) => {
                let headers = object.head.headers.iter();
                let head: usize = headers
                    .map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD)
                    .sum();
                head + object.body.len()
            }
            Content::Missing | Content::Pass => 0,
        };
        (OVERHEAD + self.key.as_bytes().len() + held) as u64
    }
}
