//! An object: whole in memory, arriving, or in blocks.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use pingora::http::ResponseHeader;

use crate::cache::blocks::object::Blocks;
use crate::cache::body::StoredBody;
use crate::cache::entry::EntryContent;
use crate::cache::fill::{FillBuffer, Truncated};
use crate::cache::member::Member;
use crate::cache::memory::budget::Held;
use crate::cache::passing::PassingObject;
use crate::cache::stored_head::StoredHead;

/// An object with its whole body.
#[derive(Debug)]
pub struct Object {
    /// The head of the response to a client, and `Cache-Control` and `Expires` as the store sent them.
    pub head: StoredHead,
    pub body: StoredBody,
    /// Its share of the budget, until its last reader has left.
    pub held: Arc<Held>,
}

impl Object {
    /// A whole object without `Cache-Control` and `Expires`.
    #[must_use]
    pub fn new(head: &ResponseHeader, body: Bytes, held: Held) -> Self {
        Self::of(head, &HeaderMap::new(), StoredBody::from_bytes(body), Arc::new(held))
    }

    /// A whole object.
    #[must_use]
    pub fn of(
        head: &ResponseHeader,
        lifetime: &HeaderMap,
        body: StoredBody,
        held: Arc<Held>,
    ) -> Self {
        Self { head: StoredHead::of(head, lifetime), body, held }
    }
}

/// An object whose body is arriving from the store.
#[derive(Debug)]
pub struct StreamingObject {
    pub head: ResponseHeader,
    /// `Cache-Control` and `Expires` as the store sent them.
    pub lifetime: HeaderMap,
    pub fill: Arc<FillBuffer>,
}

/// An object, and where its body comes from.
#[derive(Debug, Clone)]
pub enum ObjectBody {
    /// All of it is in memory.
    Stored(Arc<Object>),
    Streaming(Arc<StreamingObject>),
    /// Its blocks are read by a [`crate::cache::BlockReader`].
    Blocks(Arc<Blocks>),
    /// It is not cached: the store's answer to this one request.
    Passing(Arc<PassingObject>),
    /// A part of another object, see [`crate::cache::Cache::open_member`].
    Member(Arc<Member>),
}

impl ObjectBody {
    /// The head of the response to a client.
    #[must_use]
    pub fn head(&self) -> Cow<'_, ResponseHeader> {
        match self {
            Self::Stored(object) => Cow::Owned(object.head.to_response()),
            Self::Streaming(object) => Cow::Borrowed(&object.head),
            Self::Blocks(blocks) => Cow::Borrowed(&blocks.head),
            Self::Passing(object) => Cow::Borrowed(&object.head),
            Self::Member(member) => Cow::Borrowed(&member.head),
        }
    }

    /// The length of the body, bytes; `u64::MAX` if it is not known.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Stored(object) => object.body.len(),
            Self::Streaming(object) => object.fill.length(),
            Self::Blocks(blocks) => blocks.layout.length,
            Self::Passing(object) => object.length.unwrap_or(u64::MAX),
            Self::Member(member) => member.length,
        }
    }

    /// `Cache-Control` and `Expires` as the store sent them.
    #[must_use]
    pub fn lifetime(&self) -> Cow<'_, HeaderMap> {
        match self {
            Self::Stored(object) => Cow::Owned(object.head.lifetime()),
            Self::Streaming(object) => Cow::Borrowed(&object.lifetime),
            Self::Blocks(blocks) => Cow::Borrowed(&blocks.lifetime),
            Self::Passing(object) => Cow::Borrowed(&object.lifetime),
            Self::Member(member) => Cow::Borrowed(&member.lifetime),
        }
    }

    /// The same body with another head; `None` if they are the same. A body that is arriving is not
    /// confirmed by a store.
    #[must_use]
    pub fn with_head(&self, head: ResponseHeader, lifetime: HeaderMap) -> Option<Self> {
        if self.head().headers == head.headers && *self.lifetime() == lifetime {
            return None;
        }
        match self {
            Self::Stored(object) => {
                let (body, held) = (object.body.clone(), Arc::clone(&object.held));
                Some(Self::Stored(Arc::new(Object::of(&head, &lifetime, body, held))))
            }
            Self::Streaming(_) | Self::Passing(_) | Self::Member(_) => None,
            Self::Blocks(blocks) => Some(Self::Blocks(Arc::new(blocks.with_head(head, lifetime)))),
        }
    }

    /// What an entry stores of it; nothing while it arrives.
    #[must_use]
    pub fn content(&self) -> Option<EntryContent> {
        match self {
            Self::Stored(object) => Some(EntryContent::Object(Arc::clone(object))),
            Self::Streaming(_) | Self::Passing(_) | Self::Member(_) => None,
            Self::Blocks(blocks) => Some(EntryContent::Blocks(Arc::clone(blocks))),
        }
    }

    /// Whether the length of the body is known.
    #[must_use]
    pub fn has_length(&self) -> bool {
        !matches!(self, Self::Passing(object) if object.length.is_none())
    }

    /// Whether more of the body may have to come from the store.
    #[must_use]
    pub fn is_arriving(&self) -> bool {
        match self {
            Self::Stored(_) => false,
            Self::Streaming(object) => object.fill.is_filling(),
            Self::Blocks(_) | Self::Passing(_) | Self::Member(_) => true,
        }
    }

    /// Bytes of the body from `position` on, not beyond `end`, as soon as there are any; `None` at
    /// the end.
    ///
    /// # Errors
    /// When the body fails before these bytes have arrived. The bytes of an object in blocks, and
    /// of a member of an archive, are not read here.
    pub async fn read(&self, position: u64, end: u64) -> Result<Option<Bytes>, Truncated> {
        match self {
            Self::Stored(object) => Ok(object.body.read(position, end)),
            Self::Streaming(object) => object.fill.read(position, end).await,
            Self::Passing(object) => object.read(position, end).await,
            Self::Blocks(_) | Self::Member(_) => {
                if position < end {
                    Err(Truncated)
                } else {
                    Ok(None)
                }
            }
        }
    }
}
