//! The cache's answer to a request.

use std::sync::Arc;

use crate::cache::blocks::arrival::Arrivals;
use crate::cache::freshness::Freshness;
use crate::cache::object::ObjectBody;
use crate::protocol::cache_status::{CacheStatus, ForwardReason};
use crate::response::refusal::Refusal;
use crate::upstream::client::FetchReport;

/// The answer of the cache.
#[derive(Debug, Clone)]
pub struct Lookup {
    pub what: LookupResult,
    pub status: CacheStatus,
    /// The exchange with the store, if this request led to one.
    pub report: Option<Arc<FetchReport>>,
    /// Why the store failed, if a stale object is served in place of its response.
    pub fault: Option<Refusal>,
}

/// What a request gets.
#[derive(Debug, Clone)]
pub enum LookupResult {
    Object {
        source: ObjectBody,
        freshness: Freshness,
        /// Blocks in flight. Their fetch is abandoned when all owners of this are gone.
        arriving: Option<Arrivals>,
    },
    /// There is no object, for this reason.
    Refused(Refusal),
    /// The request bypasses the cache: it is sent to the store for this client alone.
    Bypass,
}

impl LookupResult {
    /// An object that is in the cache.
    #[must_use]
    pub fn cached(source: ObjectBody, freshness: Freshness) -> Self {
        Self::Object { source, freshness, arriving: None }
    }
}

impl Lookup {
    /// A request that bypasses the cache.
    #[must_use]
    pub fn bypass(why: ForwardReason) -> Self {
        Self {
            what: LookupResult::Bypass,
            status: CacheStatus::passed(why),
            report: None,
            fault: None,
        }
    }
}
