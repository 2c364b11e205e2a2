//! Preconditions of GET and HEAD, evaluated on the headers of a successful response: RFC 9110,
//! section 13.

use std::time::SystemTime;

use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName};

use super::entity_tag::{EntityTag, EntityTags};
use super::{http_date, single};

/// The headers with the validators of a representation.
pub const VALIDATORS: [HeaderName; 2] = [ETAG, LAST_MODIFIED];

/// The validators of a representation (section 8.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validators<'a> {
    pub etag: Option<EntityTag<'a>>,
    pub last_modified: Option<SystemTime>,
}

impl<'a> Validators<'a> {
    /// The validators in the headers of a response; repeated and malformed headers are ignored.
    #[must_use]
    pub fn from_headers(headers: &'a HeaderMap) -> Self {
        let etag = single(headers, &ETAG);
        Self {
            etag: etag.and_then(|value| EntityTag::parse_lenient(value.as_bytes())),
            last_modified: http_date::of(headers, &LAST_MODIFIED),
        }
    }
}

/// The result of evaluating the preconditions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreconditionOutcome {
    /// The preconditions hold, or there are none; a `Range` is evaluated next.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Evaluates the request's preconditions in the order of section 13.2.2, for GET and HEAD of an
/// object that exists.
///
/// Dates are compared as dates, not as text: clients send the time of their download. A header that is
/// not a date is ignored, and so is every date for an object without `Last-Modified`.
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

/// Whether `If-Range` permits a range (section 13.1.5); true when the header is missing.
///
/// A tag must match strongly. A date must be exactly that of the object, and be a strong validator
/// (section 8.8.2.2): `date`, the `Date` of the response, is at least one second later, so that a
/// second change within the same second is impossible.
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
