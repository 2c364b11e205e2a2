//! The request to a store, made from scratch: it has these headers, and those of a client that the
//! profile passes on.

use std::time::SystemTime;

use http::Method;
use http::header::{HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use pingora::http::RequestHeader;

use crate::protocol::forwarded_conditions::UpstreamConditions;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::Target;
use crate::s3::sign::Signer;

/// The head of one attempt, signed for this time. The conditions are not signed.
///
/// # Errors
/// `Internal` when a configured header or access key, which the configuration has checked, or the
/// target cannot.
pub fn signed_request(
    signer: &Signer,
    target: &Target,
    method: &Method,
    conditions: &UpstreamConditions,
    now: SystemTime,
) -> Result<RequestHeader, Refusal> {
    let signed = signer.sign(method, target, now).map_err(|_| Refusal::Internal)?;
    let conditions = [
        (RANGE, &conditions.range),
        (IF_MATCH, &conditions.if_match),
        (IF_NONE_MATCH, &conditions.if_none_match),
        (IF_MODIFIED_SINCE, &conditions.if_modified_since),
    ];
    let unsigned = conditions.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let head = || -> pingora::Result<RequestHeader> {
        let mut head = unsigned_request(target, method)?;
        for (name, value) in signed.into_iter().chain(unsigned) {
            head.insert_header(name, value)?;
        }
        Ok(head)
    };
    head().map_err(|_| Refusal::Internal)
}

/// The head of a request without credentials or conditions: target and `Host` alone.
///
/// # Errors
/// When the target cannot be sent.
pub fn unsigned_request(target: &Target, method: &Method) -> pingora::Result<RequestHeader> {
    let path = target.path.as_bytes();
    let mut head = RequestHeader::build_no_case(method.clone(), path, Some(12))?;
    head.insert_header(HOST, &target.host)?;
    Ok(head)
}

/// The time that a signature holds.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the signature holds the time it is sent")]
pub fn signing_time() -> SystemTime {
    SystemTime::now()
}
