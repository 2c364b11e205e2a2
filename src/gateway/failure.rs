//! From Pingora's errors to a cause: who is at fault, and what the client is told.

use pingora::{Error, ErrorSource, ErrorType};

use crate::response::refusal::Refusal;
use crate::upstream::error::refusal;

/// A request that ended in an error of the framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProxyFailure {
    /// The client can be told.
    Refuse(Refusal),
    /// The client left, or did not read.
    ClientGone,
}

/// Names the cause of an error before or while a store was asked.
#[must_use]
pub(super) fn failure(error: &Error) -> ProxyFailure {
    if *error.esource() == ErrorSource::Downstream {
        return ProxyFailure::ClientGone;
    }
    ProxyFailure::Refuse(refusal(error))
}

/// Ends an attempt so that Pingora makes another.
pub(super) fn try_again(why: &'static str) -> Box<Error> {
    let mut error = Error::explain(ErrorType::Custom("AskAgain"), why);
    error.set_retry(true);
    error
}

/// Ends the request; `fail_to_proxy` finds the refusal in the context.
pub(super) fn give_up(why: &'static str) -> Box<Error> {
    let mut error = Error::explain(ErrorType::Custom("Refused"), why);
    error.set_retry(false);
    error
}

/// What went wrong when an answer had begun.
pub(super) fn failure_under_way(error: &Error) -> &'static str {
    match error.esource() {
        ErrorSource::Upstream => "upstream_cut",
        ErrorSource::Downstream => "client_gone",
        _ => "internal",
    }
}
