//! What the cache keeps under a key.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use pingora::http::ResponseHeader;

use crate::cache::blocks::{Block, Blocks};
use crate::cache::body::Body;
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::lookup::ObjectBody;
use crate::cache::memory::budget::Held;

/// Bytes of an entry besides its key, its headers and its body: the entry, its place in the tier.
const OVERHEAD: u64 = 400;
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
    /// An object that is kept in blocks; here is all of it but those.
    Blocks(Arc<Blocks>),
    /// One of them.
    Block(Arc<Block>),
    /// There is no such object.
    Negative(Arc<Held>),
    /// The object is not for the cache: too large, or its store forbids it.
    HitForPass(Arc<Held>),
    /// Nothing: so many bytes were wanted for an object on its way, and others had to go for it.
    Room(u64),
}

/// An object with its whole body.
#[derive(Debug)]
pub struct Object {
    /// The head of the answer to a client.
    pub head: ResponseHeader,
    /// `Cache-Control` and `Expires` as the store sent them.
    pub lifetime: HeaderMap,
    pub body: Body,
    /// Its share of the budget, until its last reader has left.
    pub held: Arc<Held>,
}

impl Object {
    /// A whole object that names no lifetime of its own.
    #[must_use]
    pub fn new(head: ResponseHeader, body: Bytes, held: Held) -> Self {
        let (lifetime, body) = (HeaderMap::new(), Body::from_bytes(body));
        Self { head, lifetime, body, held: Arc::new(held) }
    }
}

impl Entry {
    /// The object, where there is one.
    #[must_use]
    pub fn source(&self) -> Option<ObjectBody> {
        match &self.content {
            Content::Object(object) => Some(ObjectBody::Stored(Arc::clone(object))),
            Content::Blocks(blocks) => Some(ObjectBody::Blocks(Arc::clone(blocks))),
            Content::Block(_)
            | Content::Negative(_)
            | Content::HitForPass(_)
            | Content::Room(_) => None,
        }
    }

    /// The memory it holds, bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let held = match &self.content {
            Content::Object(object) => head_weight(&object.head) + object.body.len(),
            Content::Blocks(blocks) => head_weight(&blocks.head),
            Content::Block(block) => block.body.len(),
            Content::Negative(_) | Content::HitForPass(_) => 0,
            Content::Room(bytes) => *bytes,
        };
        note_weight(&self.key) + held
    }
}

/// The memory an entry holds without an object, bytes.
#[must_use]
pub fn note_weight(key: &CacheKey) -> u64 {
    OVERHEAD + key.as_bytes().len() as u64
}

/// The memory a head holds, bytes.
#[must_use]
pub fn head_weight(head: &ResponseHeader) -> u64 {
    let headers = head.headers.iter();
    let held = headers.map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD);
    held.sum::<usize>() as u64
}
