//! The request to a store, made from scratch: what is named here is all that is sent, but for the
//! headers of a client that its profile passes on.

use std::time::SystemTime;

use http::Method;
use http::header::{HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use pingora::http::RequestHeader;

use crate::protocol::forwarded_conditions::UpstreamConditions;
use crate::response::refusal::Refusal;
use crate::s3::endpoint::Target;
use crate::upstream::Store;

/// The head of one attempt, signed at this moment. The conditions are not signed.
///
/// # Errors
/// `CredentialsInvalid` when a configured header or key cannot be sent, `Internal` when the target
/// cannot.
pub fn signed_request(
    store: &Store,
    target: &Target,
    method: &Method,
    conditions: &UpstreamConditions,
) -> Result<RequestHeader, Refusal> {
    #[expect(clippy::disallowed_methods, reason = "the signature holds the time it is sent")]
    let now = SystemTime::now();
    let signed = store.signer.sign(method, target, now).map_err(|_| Refusal::CredentialsInvalid)?;
    let asked = [
        (RANGE, &conditions.range),
        (IF_MATCH, &conditions.if_match),
        (IF_NONE_MATCH, &conditions.if_none_match),
        (IF_MODIFIED_SINCE, &conditions.if_modified_since),
    ];
    let unsigned = asked.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let head = || -> pingora::Result<RequestHeader> {
        let path = target.path.as_bytes();
        let mut head = RequestHeader::build_no_case(method.clone(), path, Some(12))?;
        head.insert_header(HOST, &target.host)?;
        for (name, value) in signed.into_iter().chain(unsigned) {
            head.insert_header(name, value)?;
        }
        Ok(head)
    };
    head().map_err(|_| Refusal::Internal)
}
