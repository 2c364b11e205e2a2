//! What the cache has to say to a request.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use pingora::http::ResponseHeader;

use crate::cache::blocks::{Arrivals, Blocks};
use crate::cache::entry::Object;
use crate::cache::fill::{Cut, Fill};
use crate::cache::freshness::Freshness;
use crate::protocol::cache_status::CacheStatus;
use crate::response::refusal::Refusal;
use crate::upstream::client::FetchReport;

/// The answer of the cache.
#[derive(Debug, Clone)]
pub struct Lookup {
    pub what: LookupResult,
    pub status: CacheStatus,
    /// What is known of the store's part, where this request had it asked.
    pub report: Option<Arc<FetchReport>>,
    /// Why the store could not be asked, where what was kept stands in for its answer.
    pub fault: Option<Refusal>,
}

/// What there is for a request.
#[derive(Debug, Clone)]
pub enum LookupResult {
    Object {
        source: ObjectBody,
        freshness: Freshness,
        /// Blocks on their way, which go on as long as somebody holds them.
        arriving: Option<Arrivals>,
    },
    /// There is no object, and this is why.
    Refused(Refusal),
    /// The cache has no part in it: the store has to be asked for this request alone.
    Bypass,
}

/// An object that is at hand, or on its way.
#[derive(Debug, Clone)]
pub enum ObjectBody {
    Stored(Arc<Object>),
    Streaming(Arc<StreamingObject>),
    /// Its blocks are read by [`crate::cache::blocks::Reading`].
    Blocks(Arc<Blocks>),
}

/// An object on its way.
#[derive(Debug)]
pub struct StreamingObject {
    pub head: ResponseHeader,
    /// What the store said of its lifetime.
    pub lifetime: HeaderMap,
    pub fill: Arc<Fill>,
}

impl ObjectBody {
    /// The head of the answer to a client.
    #[must_use]
    pub fn head(&self) -> &ResponseHeader {
        match self {
            Self::Stored(object) => &object.head,
            Self::Streaming(filling) => &filling.head,
            Self::Blocks(blocks) => &blocks.head,
        }
    }

    /// The length of the body, bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Stored(object) => object.body.len(),
            Self::Streaming(filling) => filling.fill.length(),
            Self::Blocks(blocks) => blocks.layout.length,
        }
    }

    /// `Cache-Control` and `Expires` as the store sent them.
    #[must_use]
    pub fn lifetime(&self) -> &HeaderMap {
        match self {
            Self::Stored(object) => &object.lifetime,
            Self::Streaming(filling) => &filling.lifetime,
            Self::Blocks(blocks) => &blocks.lifetime,
        }
    }

    /// Whether more of the body is to come.
    #[must_use]
    pub fn is_arriving(&self) -> bool {
        match self {
            Self::Stored(_) => false,
            Self::Streaming(filling) => filling.fill.is_under_way(),
            Self::Blocks(_) => true,
        }
    }

    /// Bytes of the body from `position` on, not beyond `end`, as soon as there are any; `None` at
    /// the end.
    ///
    /// # Errors
    /// When they will never come; of an object in blocks they do not come from here.
    pub async fn read(&self, position: u64, end: u64) -> Result<Option<Bytes>, Cut> {
        match self {
            Self::Stored(object) => Ok(object.body.read(position, end)),
            Self::Streaming(filling) => filling.fill.read(position, end).await,
            Self::Blocks(_) => {
                if position < end {
                    Err(Cut)
                } else {
                    Ok(None)
                }
            }
        }
    }
}
