//! The outcome of a fetch, for every request that waits for it.

use std::sync::Arc;

use crate::cache::blocks::arriving_body::BodySlot;
use crate::cache::entry::Entry;
use crate::cache::freshness::Freshness;
use crate::cache::inflight::Fetch;
use crate::cache::object::ObjectBody;
use crate::cache::passing::AnswerSlot;
use crate::response::refusal::Refusal;
use crate::trace::span::Span;
use crate::upstream::client::FetchReport;

impl Fetch<FetchOutcome> {
    /// Notes in the span of the fetch what it has published.
    pub(super) fn describe(&self, span: &mut Span) {
        let Some(outcome) = self.published() else { return span.fail("internal") };
        let from = match &outcome {
            FetchOutcome::FromDisk(_) => "disk",
            FetchOutcome::FromShared(_) => "shared",
            FetchOutcome::NotCached => "nowhere",
            FetchOutcome::Object { .. } | FetchOutcome::Bypass { .. } => "store",
            FetchOutcome::Refused { refusal, .. } => {
                if refusal.is_fault() {
                    span.fail(refusal.cause());
                }
                "store"
            }
        };
        span.text("s3proxy.found", from);
    }
}

/// What a fetch publishes to its leader and its followers.
#[derive(Debug, Clone)]
pub(super) enum FetchOutcome {
    /// It was on disk, and is in memory now.
    FromDisk(Arc<Entry>),
    /// It was in the tier that replicas share, and is in memory now.
    FromShared(Arc<Entry>),
    /// It is not cached, and the request was not worth a request to the store.
    NotCached,
    Object {
        source: ObjectBody,
        freshness: Freshness,
        /// The body that came with the head of an object in blocks.
        arriving: Option<BodySlot>,
        /// Whether the object is stored in the cache.
        stored: bool,
        report: Arc<FetchReport>,
    },
    /// `stored_for`: seconds for which the refusal is cached.
    Refused { refusal: Refusal, stored_for: Option<i64>, report: Arc<FetchReport> },
    /// The object cannot be cached: each request goes to the store. `answer`: the store's, for the
    /// request that led the fetch.
    Bypass { answer: Option<AnswerSlot>, report: Arc<FetchReport> },
}
