//! Maps Pingora's errors of requests to stores to a refusal and its cause, and to the kind of failure
//! that decides on another attempt.

use pingora::{Error, ErrorSource, ErrorType};

use crate::response::refusal::Refusal;
use crate::upstream::retry::AttemptFailure;
use crate::upstream::tunnel::FORBIDS;

/// The failure of an attempt that got no connection.
#[must_use]
pub fn of_connect(error: &Error) -> AttemptFailure {
    if *error.etype() == FORBIDS {
        return AttemptFailure::Final(Refusal::UpstreamProxy);
    }
    AttemptFailure::NoConnection(refusal(error))
}

/// The failure of a connection that brought no head. `reused`: another request was answered on it
/// before.
#[must_use]
pub fn of_exchange(error: &Error, reused: bool) -> AttemptFailure {
    match refusal(error) {
        Refusal::UpstreamReset => AttemptFailure::Reset { reused },
        Refusal::UpstreamTimeout => AttemptFailure::Late,
        other => AttemptFailure::Final(other),
    }
}

/// The refusal for an error before or during a request to a store.
#[must_use]
pub fn refusal(error: &Error) -> Refusal {
    use ErrorType::{
        AcceptError, BindError, ConnectError, ConnectNoRoute, ConnectProxyFailure, ConnectRefused,
        ConnectTimedout, ConnectionClosed, HTTPStatus, InternalError, InvalidHTTPHeader, ReadError,
        ReadTimedout, SocketError, TLSHandshakeTimedout, WriteError, WriteTimedout,
    };
    match error.etype() {
        ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout => {
            Refusal::UpstreamTimeout
        }
        ConnectProxyFailure => Refusal::UpstreamProxy,
        kind if *kind == FORBIDS => Refusal::UpstreamProxy,
        ConnectRefused | ConnectNoRoute | ConnectError | SocketError | BindError | AcceptError => {
            Refusal::UpstreamUnreachable
        }
        _ if is_of_tls(error) => Refusal::UpstreamUnreachable,
        ReadError | WriteError | ConnectionClosed => Refusal::UpstreamReset,
        InvalidHTTPHeader => Refusal::UpstreamProtocol,
        HTTPStatus(_) | InternalError => Refusal::Internal,
        _ if *error.esource() == ErrorSource::Upstream => Refusal::UpstreamProtocol,
        _ => Refusal::Internal,
    }
}

/// Whether TLS failed: the handshake, or the certificate.
#[must_use]
pub fn is_of_tls(error: &Error) -> bool {
    use ErrorType::{HandshakeError, InvalidCert, TLSHandshakeFailure, TLSWantX509Lookup};
    matches!(error.etype(), TLSHandshakeFailure | TLSWantX509Lookup | InvalidCert | HandshakeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_cause_and_its_meaning_for_another_attempt() {
        use Refusal::{
            Internal, UpstreamProtocol, UpstreamProxy, UpstreamReset, UpstreamTimeout,
            UpstreamUnreachable,
        };
        for (kind, cause) in [
            (ErrorType::ConnectRefused, UpstreamUnreachable),
            (ErrorType::ConnectNoRoute, UpstreamUnreachable),
            (ErrorType::SocketError, UpstreamUnreachable),
            (ErrorType::BindError, UpstreamUnreachable),
            (ErrorType::ConnectProxyFailure, UpstreamProxy),
            (ErrorType::InvalidCert, UpstreamUnreachable),
            (ErrorType::TLSHandshakeFailure, UpstreamUnreachable),
            (ErrorType::ConnectTimedout, UpstreamTimeout),
            (ErrorType::TLSHandshakeTimedout, UpstreamTimeout),
            (ErrorType::ReadTimedout, UpstreamTimeout),
            (ErrorType::WriteTimedout, UpstreamTimeout),
            (ErrorType::ReadError, UpstreamReset),
            (ErrorType::WriteError, UpstreamReset),
            (ErrorType::ConnectionClosed, UpstreamReset),
            (ErrorType::InvalidHTTPHeader, UpstreamProtocol),
            (ErrorType::UnknownError, UpstreamProtocol),
            (ErrorType::InternalError, Internal),
        ] {
            let error = Error::new(kind.clone()).into_up();
            assert_eq!(refusal(&error), cause, "{kind:?}");
            assert_eq!(of_connect(&error), AttemptFailure::NoConnection(cause.clone()));
            let expected = match cause {
                UpstreamReset => AttemptFailure::Reset { reused: true },
                UpstreamTimeout => AttemptFailure::Late,
                other => AttemptFailure::Final(other),
            };
            assert_eq!(of_exchange(&error, true), expected, "{kind:?}");
        }
        let forbidden = Error::new(FORBIDS).into_up();
        assert_eq!(of_connect(&forbidden), AttemptFailure::Final(UpstreamProxy), "no retry");
        let ours = Error::new(ErrorType::UnknownError).into_in();
        assert_eq!(refusal(&ours), Internal);
    }
}
