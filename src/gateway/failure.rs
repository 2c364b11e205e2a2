//! Maps errors of Pingora to a cause: who is at fault, and which refusal the client gets.

use pingora::{Error, ErrorSource, ErrorType};

use crate::response::refusal::Refusal;
use crate::upstream::error::refusal;

/// The meaning of an error of Pingora.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProxyFailure {
    /// The client gets this refusal.
    Refuse(Refusal),
    /// The client disconnected, or did not read.
    ClientGone,
}

/// Classifies an error before the head of the response.
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

/// The cause of an error after the head of the response.
pub(super) fn failure_after_head(error: &Error) -> &'static str {
    match error.esource() {
        ErrorSource::Upstream => "upstream_cut",
        ErrorSource::Downstream => "client_gone",
        _ => "internal",
    }
}
