//! StoredContent a client gets, from what a running gateway keeps and what the store says.

use serde::Serialize;

use crate::cache::{StoredContent, StoredEntry, StoredState};
use crate::check::report::{Finding, State};
use crate::response::refusal::Refusal;

/// The end of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether an object is served; what is not asked does not stand in the way.
    pub served: bool,
    /// Of the answer; `None` where that was not asked for.
    pub status: Option<u16>,
    pub from: Option<Whence>,
    /// Why there is no object.
    pub refusal: Option<Refusal>,
    pub finding: Finding,
}

/// Who decides the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Whence {
    /// The gateway's own rules.
    Gateway,
    /// StoredContent it keeps.
    Cache,
    Store,
}

/// The path names no object, and is answered with this status.
pub(super) fn of_no_object(status: u16) -> Outcome {
    let finding =
        Finding { state: State::Failed, detail: format!("{status}, no object"), fix: None };
    let (status, from) = (Some(status), Some(Whence::Gateway));
    Outcome { served: false, status, from, refusal: None, finding }
}

/// StoredContent is known when the answer is to be told.
#[derive(Debug, Clone)]
pub(super) struct Known<'a> {
    /// The last word of the check.
    pub checked: Finding,
    pub refusal: Option<&'a Refusal>,
    /// StoredContent requests are served from.
    pub kept: Option<&'a StoredEntry>,
    /// That of the store's answer.
    pub etag: Option<&'a str>,
    /// The store has no part in it.
    pub before_the_store: bool,
    pub offline: bool,
}

/// StoredContent the client gets.
pub(super) fn of_object(known: &Known<'_>) -> Outcome {
    let of_cache = known.kept.and_then(|kept| by_the_cache(kept, known));
    of_cache.unwrap_or_else(|| {
        let refusal = known.refusal;
        let from = if known.before_the_store { Whence::Gateway } else { Whence::Store };
        let is_known = refusal.is_some() || !known.offline;
        Outcome {
            status: is_known.then(|| refusal.map_or(200, Refusal::status)),
            from: is_known.then_some(from),
            served: refusal.is_none(),
            refusal: refusal.cloned(),
            finding: known.checked.clone(),
        }
    })
}

/// Where what is kept decides.
fn by_the_cache(kept: &StoredEntry, known: &Known<'_>) -> Option<Outcome> {
    let is_complete = match kept.what {
        StoredContent::Object => true,
        StoredContent::Head => kept.blocks.is_some_and(|blocks| blocks.kept == blocks.count),
        StoredContent::Negative | StoredContent::Pass => false,
    };
    if kept.what == StoredContent::Negative && kept.state == StoredState::Fresh {
        return Some(remembered_missing(kept, known));
    }
    let finding = match (kept.state, known.refusal) {
        _ if !is_complete => return None,
        (StoredState::Fresh | StoredState::StaleWhileRevalidate, None) => fresh(kept, known),
        (StoredState::Fresh | StoredState::StaleWhileRevalidate, Some(refusal)) => {
            Finding::warning(
                format!("200 from the cache, though the store would not: {}", refusal.cause()),
                "see what the store says; it is asked again when what is kept is no longer fresh",
            )
        }
        (StoredState::StaleIfError, Some(refusal)) if refusal.is_outage() => Finding::warning(
            format!("200 with what was kept, since the store fails: {}", refusal.cause()),
            "see what the store says",
        ),
        (StoredState::StaleIfError | StoredState::Expired, _) => return None,
    };
    let (status, from) = (Some(200), Some(Whence::Cache));
    Some(Outcome { served: true, status, from, refusal: None, finding })
}

/// StoredContent is served when the store has nothing against it; it may have another version by now.
fn fresh(kept: &StoredEntry, known: &Known<'_>) -> Finding {
    match (&kept.etag, known.etag) {
        (Some(ours), Some(theirs)) if ours != theirs => Finding::warning(
            format!("200 from the cache, which has {ours}, while the store has {theirs} by now"),
            format!("the new one is asked for in {} s, or after s3proxy purge", kept.ttl.max(0)),
        ),
        _ if known.offline => Finding::ok("200 from the cache"),
        _ => Finding::ok(format!("{}, from the cache", known.checked.detail)),
    }
}

fn remembered_missing(kept: &StoredEntry, known: &Known<'_>) -> Outcome {
    let refusal = Refusal::ObjectNotFound;
    let detail = format!(
        "{} {}: the cache remembers that it was missing",
        refusal.status(),
        refusal.cause()
    );
    let finding = match known.refusal {
        None if !known.offline => Finding::failed(
            format!("{detail}, though the store has it now"),
            format!("it is asked for again in {} s, or after s3proxy purge", kept.ttl.max(0)),
        ),
        _ => Finding { state: State::Failed, detail, fix: None },
    };
    let (status, from) = (Some(refusal.status()), Some(Whence::Cache));
    Outcome { served: false, status, from, refusal: Some(refusal), finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::StoredBlocks;

    fn kept(what: StoredContent, state: StoredState) -> StoredEntry {
        StoredEntry { what, state, ttl: 30, age: 1, length: None, etag: None, blocks: None }
    }

    /// A store that has the object, and a gateway that keeps nothing.
    fn nothing<'a>() -> Known<'a> {
        let checked = Finding::ok("200 image/png");
        Known {
            checked,
            refusal: None,
            kept: None,
            etag: None,
            before_the_store: false,
            offline: false,
        }
    }

    fn blocks(kept_of_two: u64) -> StoredEntry {
        let (size, count, looked_for, memory, disk) = (10, 2, 2, kept_of_two, 0);
        let kept_blocks = StoredBlocks { size, count, looked_for, memory, disk, kept: kept_of_two };
        StoredEntry { blocks: Some(kept_blocks), ..kept(StoredContent::Head, StoredState::Fresh) }
    }

    #[test]
    fn cache_and_store_together_decide() {
        let outage = || Some(Refusal::UpstreamTimeout);
        let forbidden = || Some(Refusal::UpstreamForbidden);
        let missing = || Some(Refusal::ObjectNotFound);
        let whole = |state| Some(kept(StoredContent::Object, state));
        let absent = |state| Some(kept(StoredContent::Negative, state));
        for (case, kept, refusal, status, from) in [
            ("nothing kept", None, None, 200, Whence::Store),
            ("nothing kept, refused", None, forbidden(), 403, Whence::Store),
            ("fresh", whole(StoredState::Fresh), None, 200, Whence::Cache),
            ("fresh, store down", whole(StoredState::Fresh), outage(), 200, Whence::Cache),
            ("fresh, forbidden", whole(StoredState::Fresh), forbidden(), 200, Whence::Cache),
            (
                "stale-while-revalidate",
                whole(StoredState::StaleWhileRevalidate),
                outage(),
                200,
                Whence::Cache,
            ),
            (
                "stale-if-error, store down",
                whole(StoredState::StaleIfError),
                outage(),
                200,
                Whence::Cache,
            ),
            (
                "stale-if-error, forbidden",
                whole(StoredState::StaleIfError),
                forbidden(),
                403,
                Whence::Store,
            ),
            ("stale-if-error, well", whole(StoredState::StaleIfError), None, 200, Whence::Store),
            ("expired, store down", whole(StoredState::Expired), outage(), 504, Whence::Store),
            ("absent", absent(StoredState::Fresh), missing(), 404, Whence::Cache),
            ("absent, but there", absent(StoredState::Fresh), None, 404, Whence::Cache),
            ("absent before", absent(StoredState::Expired), None, 200, Whence::Store),
            ("all blocks", Some(blocks(2)), outage(), 200, Whence::Cache),
            ("a block", Some(blocks(1)), outage(), 504, Whence::Store),
            (
                "to pass",
                Some(kept(StoredContent::Pass, StoredState::Fresh)),
                outage(),
                504,
                Whence::Store,
            ),
        ] {
            let known = Known { refusal: refusal.as_ref(), kept: kept.as_ref(), ..nothing() };
            let outcome = of_object(&known);
            assert_eq!((outcome.status, outcome.from), (Some(status), Some(from)), "{case}");
            assert_eq!(outcome.served, status == 200, "{case}");
        }
    }

    #[test]
    fn another_version_in_the_store_is_told() {
        let ours = StoredEntry {
            etag: Some("\"a\"".to_owned()),
            ..kept(StoredContent::Object, StoredState::Fresh)
        };
        for (theirs, state) in
            [(None, State::Ok), (Some("\"a\""), State::Ok), (Some("\"b\""), State::Warning)]
        {
            let outcome = of_object(&Known { kept: Some(&ours), etag: theirs, ..nothing() });
            assert_eq!((outcome.finding.state, outcome.served), (state, true), "{theirs:?}");
        }
    }

    #[test]
    fn a_remembered_absence_says_when_the_object_is_seen() {
        let absent = kept(StoredContent::Negative, StoredState::Fresh);
        let outcome = of_object(&Known { kept: Some(&absent), ..nothing() });
        assert!(outcome.finding.fix.is_some_and(|fix| fix.contains("30 s")));
    }

    #[test]
    fn offline_nothing_is_known_but_refusals() {
        let offline = || Known { offline: true, ..nothing() };
        let outcome = of_object(&offline());
        assert_eq!((outcome.served, outcome.status, outcome.from), (true, None, None));
        let denied = Refusal::MediaTypeDenied(None);
        let before = Known { refusal: Some(&denied), before_the_store: true, ..offline() };
        let outcome = of_object(&before);
        assert_eq!((outcome.served, outcome.status), (false, Some(415)));
        assert_eq!(outcome.from, Some(Whence::Gateway));
    }
}
