//! The answer to a client, from the cached copy of a running gateway and the answer of the store.

use serde::Serialize;

use crate::cache::{StoredContent, StoredEntry, StoredState};
use crate::check::report::{Finding, StepState};
use crate::response::refusal::Refusal;

/// The answer to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientAnswer {
    /// Whether an object is served, as far as it is known.
    pub served: bool,
    /// `None` if it depends on a store that received no request.
    pub status: Option<u16>,
    pub from: Option<DecidedBy>,
    /// The reason why no object is served.
    pub refusal: Option<Refusal>,
    pub finding: Finding,
}

/// The part that decides the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DecidedBy {
    /// The gateway's own rules.
    Gateway,
    /// A cached copy.
    Cache,
    Store,
}

/// The answer to a path that names no object.
pub(super) fn no_object(status: u16) -> ClientAnswer {
    let finding = Finding {
        state: StepState::Failed,
        detail: format!("{status}: the path names no object"),
        fix: None,
    };
    let (status, from) = (Some(status), Some(DecidedBy::Gateway));
    ClientAnswer { served: false, status, from, refusal: None, finding }
}

/// The data that the answer depends on.
#[derive(Debug, Clone)]
pub(super) struct Evidence<'a> {
    /// The last finding of the check.
    pub checked: Finding,
    pub refusal: Option<&'a Refusal>,
    /// The entry that answers requests.
    pub cached: Option<&'a StoredEntry>,
    /// The ETag of the store's answer.
    pub etag: Option<&'a str>,
    /// The gateway decides without the store.
    pub decided_before_store: bool,
    pub offline: bool,
}

/// The answer to a request for an object.
pub(super) fn of_object(known: &Evidence<'_>) -> ClientAnswer {
    let from_cache = known.cached.and_then(|entry| from_cache(entry, known));
    from_cache.unwrap_or_else(|| {
        let refusal = known.refusal;
        let from = if known.decided_before_store { DecidedBy::Gateway } else { DecidedBy::Store };
        let is_known = refusal.is_some() || !known.offline;
        ClientAnswer {
            status: is_known.then(|| refusal.map_or(200, Refusal::status)),
            from: is_known.then_some(from),
            served: refusal.is_none(),
            refusal: refusal.cloned(),
            finding: known.checked.clone(),
        }
    })
}

/// The answer if the cached entry decides it.
fn from_cache(entry: &StoredEntry, known: &Evidence<'_>) -> Option<ClientAnswer> {
    let is_complete = match entry.what {
        StoredContent::Object => true,
        StoredContent::Head => entry.blocks.is_some_and(|blocks| blocks.kept == blocks.count),
        StoredContent::Negative | StoredContent::Pass => false,
    };
    if entry.what == StoredContent::Negative && entry.state == StoredState::Fresh {
        return Some(negative(entry, known));
    }
    let finding = match (entry.state, known.refusal) {
        _ if !is_complete => return None,
        (StoredState::Fresh | StoredState::StaleWhileRevalidate, None) => fresh(entry, known),
        (StoredState::Fresh | StoredState::StaleWhileRevalidate, Some(refusal)) => {
            Finding::warning(
                format!("200 from the cache, although the store refuses: {}", refusal.cause()),
                "see the answer of the store; the cached copy is served until it is no longer fresh",
            )
        }
        (StoredState::StaleIfError, Some(refusal)) if refusal.is_outage() => Finding::warning(
            format!("200 with a stale cached copy, because the store fails: {}", refusal.cause()),
            "see the answer of the store",
        ),
        (StoredState::StaleIfError | StoredState::Expired, _) => return None,
    };
    let (status, from) = (Some(200), Some(DecidedBy::Cache));
    Some(ClientAnswer { served: true, status, from, refusal: None, finding })
}

/// A cached copy is served and the store does not refuse; the version in the store may be newer.
fn fresh(entry: &StoredEntry, known: &Evidence<'_>) -> Finding {
    match (&entry.etag, known.etag) {
        (Some(ours), Some(theirs)) if ours != theirs => Finding::warning(
            format!("200 from the cache with ETag {ours}; the store has {theirs} now"),
            format!("the new version is fetched in {} s, or after s3proxy purge", entry.ttl.max(0)),
        ),
        _ if known.offline => Finding::ok("200 from the cache"),
        _ => Finding::ok(format!("{}, from the cache", known.checked.detail)),
    }
}

fn negative(entry: &StoredEntry, known: &Evidence<'_>) -> ClientAnswer {
    let refusal = Refusal::ObjectNotFound;
    let detail = format!("{} {}: negative entry in the cache", refusal.status(), refusal.cause());
    let finding = match known.refusal {
        None if !known.offline => Finding::failed(
            format!("{detail}, although the store has the object now"),
            format!(
                "the store is requested again in {} s, or after s3proxy purge",
                entry.ttl.max(0)
            ),
        ),
        _ => Finding { state: StepState::Failed, detail, fix: None },
    };
    let (status, from) = (Some(refusal.status()), Some(DecidedBy::Cache));
    ClientAnswer { served: false, status, from, refusal: Some(refusal), finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::StoredBlocks;

    fn kept(what: StoredContent, state: StoredState) -> StoredEntry {
        StoredEntry { what, state, ttl: 30, age: 1, length: None, etag: None, blocks: None }
    }

    /// A store that has the object, and a gateway without a cached copy.
    fn uncached<'a>() -> Evidence<'a> {
        let checked = Finding::ok("200 image/png");
        Evidence {
            checked,
            refusal: None,
            cached: None,
            etag: None,
            decided_before_store: false,
            offline: false,
        }
    }

    fn blocks(kept_of_two: u64) -> StoredEntry {
        let (size, count, looked_for, memory, disk) = (10, 2, 2, kept_of_two, 0);
        let kept_blocks = StoredBlocks { size, count, looked_for, memory, disk, kept: kept_of_two };
        StoredEntry { blocks: Some(kept_blocks), ..kept(StoredContent::Head, StoredState::Fresh) }
    }

    #[test]
    fn cache_and_store_decide_together() {
        let outage = || Some(Refusal::UpstreamTimeout);
        let forbidden = || Some(Refusal::UpstreamForbidden);
        let missing = || Some(Refusal::ObjectNotFound);
        let whole = |state| Some(kept(StoredContent::Object, state));
        let absent = |state| Some(kept(StoredContent::Negative, state));
        for (case, entry, refusal, status, from) in [
            ("not cached", None, None, 200, DecidedBy::Store),
            ("not cached, refused", None, forbidden(), 403, DecidedBy::Store),
            ("fresh", whole(StoredState::Fresh), None, 200, DecidedBy::Cache),
            ("fresh, store down", whole(StoredState::Fresh), outage(), 200, DecidedBy::Cache),
            ("fresh, forbidden", whole(StoredState::Fresh), forbidden(), 200, DecidedBy::Cache),
            (
                "refreshing",
                whole(StoredState::StaleWhileRevalidate),
                outage(),
                200,
                DecidedBy::Cache,
            ),
            (
                "fallback, store down",
                whole(StoredState::StaleIfError),
                outage(),
                200,
                DecidedBy::Cache,
            ),
            (
                "fallback, forbidden",
                whole(StoredState::StaleIfError),
                forbidden(),
                403,
                DecidedBy::Store,
            ),
            ("fallback, well", whole(StoredState::StaleIfError), None, 200, DecidedBy::Store),
            ("expired, store down", whole(StoredState::Expired), outage(), 504, DecidedBy::Store),
            ("absent", absent(StoredState::Fresh), missing(), 404, DecidedBy::Cache),
            ("absent, but there", absent(StoredState::Fresh), None, 404, DecidedBy::Cache),
            ("absent before", absent(StoredState::Expired), None, 200, DecidedBy::Store),
            ("all blocks", Some(blocks(2)), outage(), 200, DecidedBy::Cache),
            ("a block", Some(blocks(1)), outage(), 504, DecidedBy::Store),
            (
                "to pass",
                Some(kept(StoredContent::Pass, StoredState::Fresh)),
                outage(),
                504,
                DecidedBy::Store,
            ),
        ] {
            let known =
                Evidence { refusal: refusal.as_ref(), cached: entry.as_ref(), ..uncached() };
            let outcome = of_object(&known);
            assert_eq!((outcome.status, outcome.from), (Some(status), Some(from)), "{case}");
            assert_eq!(outcome.served, status == 200, "{case}");
        }
    }

    #[test]
    fn a_newer_version_in_the_store_is_a_warning() {
        let ours = StoredEntry {
            etag: Some("\"a\"".to_owned()),
            ..kept(StoredContent::Object, StoredState::Fresh)
        };
        for (theirs, state) in [
            (None, StepState::Ok),
            (Some("\"a\""), StepState::Ok),
            (Some("\"b\""), StepState::Warning),
        ] {
            let outcome = of_object(&Evidence { cached: Some(&ours), etag: theirs, ..uncached() });
            assert_eq!((outcome.finding.state, outcome.served), (state, true), "{theirs:?}");
        }
    }

    #[test]
    fn a_negative_entry_says_when_the_store_is_requested_again() {
        let absent = kept(StoredContent::Negative, StoredState::Fresh);
        let outcome = of_object(&Evidence { cached: Some(&absent), ..uncached() });
        assert!(outcome.finding.fix.is_some_and(|fix| fix.contains("30 s")));
    }

    #[test]
    fn offline_only_refusals_are_known() {
        let offline = || Evidence { offline: true, ..uncached() };
        let outcome = of_object(&offline());
        assert_eq!((outcome.served, outcome.status, outcome.from), (true, None, None));
        let denied = Refusal::MediaTypeDenied(None);
        let before = Evidence { refusal: Some(&denied), decided_before_store: true, ..offline() };
        let outcome = of_object(&before);
        assert_eq!((outcome.served, outcome.status), (false, Some(415)));
        assert_eq!(outcome.from, Some(DecidedBy::Gateway));
    }
}
