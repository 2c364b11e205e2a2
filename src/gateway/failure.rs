//! From Pingora's errors to a cause: who is at fault, and what the client is told.

use pingora::{Error, ErrorSource};

use crate::refusal::Refusal;
use crate::upstream::failure::refusal;

/// A request that ended in an error of the framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The client can be told.
    Refuse(Refusal),
    /// The client left, or did not read.
    ClientGone,
}

/// Names the cause of an error before or while a store was asked.
#[must_use]
pub(super) fn failure(error: &Error) -> Failure {
    if *error.esource() == ErrorSource::Downstream {
        return Failure::ClientGone;
    }
    Failure::Refuse(refusal(error))
}
