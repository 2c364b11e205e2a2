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

const ASK_AGAIN: ErrorType = ErrorType::Custom("AskAgain");
const REFUSED: ErrorType = ErrorType::Custom("Refused");

/// Whether the gateway has made this error, and the context knows what follows. Pingora has errors of its
/// own names too, such as those of malformed chunks.
#[must_use]
pub(super) fn is_own(error: &Error) -> bool {
    *error.etype() == ASK_AGAIN || *error.etype() == REFUSED
}

/// Ends an attempt so that Pingora makes another.
pub(super) fn try_again(why: &'static str) -> Box<Error> {
    let mut error = Error::explain(ASK_AGAIN, why);
    error.set_retry(true);
    error
}

/// Ends the request; `fail_to_proxy` finds the refusal in the context.
pub(super) fn give_up(why: &'static str) -> Box<Error> {
    let mut error = Error::explain(REFUSED, why);
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
