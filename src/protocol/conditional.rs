//! Preconditions of GET and HEAD, evaluated on the headers of a successful answer: RFC 9110,
//! section 13.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};

use super::entity_tag::{EntityTag, EntityTags};
use super::{http_date, single};

/// What identifies the state of the object an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validators<'a> {
    pub etag: Option<EntityTag<'a>>,
    pub last_modified: Option<SystemTime>,
}

impl<'a> Validators<'a> {
    /// Reads the headers of an answer; what is repeated or malformed is left out.
    #[must_use]
    pub fn from_headers(headers: &'a HeaderMap) -> Self {
        let etag = single(headers, &ETAG);
        Self {
            etag: etag.and_then(|value| EntityTag::parse_lenient(value.as_bytes())),
            last_modified: http_date::of(headers, &LAST_MODIFIED),
        }
    }
}

/// What the preconditions of a request make of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreconditionOutcome {
    /// Answer as if there were none (a range may still be asked for).
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Evaluates the request's preconditions in the order of section 13.2.2, for GET and HEAD of an
/// object that exists.
///
/// Dates are compared as dates, not as text: clients send the time of their download. A field that
/// is no date is as good as absent, and so is every date for an object without `Last-Modified`.
#[must_use]
pub fn evaluate(request: &HeaderMap, validators: &Validators<'_>) -> PreconditionOutcome {
    let modified_after = |name| {
        let since = http_date::of(request, name)?;
        Some(http_date::seconds(validators.last_modified?) > http_date::seconds(since))
    };
    let listed =
        |tags: &EntityTags<'_>, equal: fn(&EntityTag<'_>, &EntityTag<'_>) -> bool| match tags {
            EntityTags::Any => true,
            EntityTags::List(_) => {
                validators.etag.is_some_and(|etag| tags.tags().any(|tag| equal(&tag, &etag)))
            }
        };

    let unchanged = match EntityTags::of(request, &IF_MATCH) {
        Some(tags) => listed(&tags, |a, b| a.strong_eq(b)),
        None => modified_after(&IF_UNMODIFIED_SINCE) != Some(true),
    };
    if !unchanged {
        return PreconditionOutcome::PreconditionFailed;
    }
    let changed = match EntityTags::of(request, &IF_NONE_MATCH) {
        Some(tags) => !listed(&tags, |a, b| a.weak_eq(b)),
        None => modified_after(&IF_MODIFIED_SINCE) != Some(false),
    };
    if changed { PreconditionOutcome::Proceed } else { PreconditionOutcome::NotModified }
}

/// Whether `If-Range` lets a range be served (section 13.1.5); true when there is none.
///
/// A tag must match strongly. A date must be exactly that of the object, and be a strong validator
/// (section 8.8.2.2): `date`, the `Date` of the answer, is at least a second later, so that no
/// second change can hide within the same second.
#[must_use]
pub fn if_range_holds(
    request: &HeaderMap,
    validators: &Validators<'_>,
    date: Option<SystemTime>,
) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = single(request, &IF_RANGE) else { return false };
    if let Some(tag) = EntityTag::parse(value.as_bytes()) {
        return validators.etag.is_some_and(|etag| etag.strong_eq(&tag));
    }
    match (http_date::parse(value), validators.last_modified, date) {
        (Some(wanted), Some(modified), Some(date)) => {
            let modified = http_date::seconds(modified);
            http_date::seconds(wanted) == modified && http_date::seconds(date) > modified
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
