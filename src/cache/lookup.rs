//! The cache's answer to a request.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cache::blocks::arriving_body::BodySlot;
use crate::cache::freshness::Freshness;
use crate::cache::object::ObjectBody;
use crate::cache::passing::PassingObject;
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
        /// The body that came with the head of an object in blocks: it ends when all owners of this are
        /// gone.
        arriving: Option<BodySlot>,
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
    /// The same with the answer of the store, which is not cached.
    #[must_use]
    pub(in crate::cache) fn with_answer(self, answer: Arc<PassingObject>, now: SystemTime) -> Self {
        let age = Duration::from_secs(answer.age);
        let generated_at = now.checked_sub(age).unwrap_or(now);
        let freshness = Freshness { generated_at, ..Freshness::for_a_while(now, Duration::ZERO) };
        let source = ObjectBody::Passing(answer);
        Self { what: LookupResult::cached(source, freshness), ..self }
    }

    /// The same, marked if its entry came from the tier that replicas share.
    #[must_use]
    pub(in crate::cache) fn with_shared(self, is_shared: bool) -> Self {
        match self.status {
            CacheStatus::Hit { ttl, stale, .. } => {
                let status = CacheStatus::Hit { ttl, stale, shared: is_shared };
                Self { status, ..self }
            }
            _ => self,
        }
    }

    /// A result without an exchange with the store.
    #[must_use]
    pub(in crate::cache) fn of(what: LookupResult, status: CacheStatus) -> Self {
        Self { what, status, report: None, fault: None }
    }

    /// A request that bypasses the cache.
    #[must_use]
    pub fn bypass(why: ForwardReason) -> Self {
        Self::of(LookupResult::Bypass, CacheStatus::passed(why))
    }
}
