//! From Pingora's errors to a cause: who is at fault, and what the client is told.

use pingora::{Error, ErrorSource, ErrorType};

use crate::refusal::Refusal;

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
    use ErrorType::{
        AcceptError, BindError, ConnectError, ConnectNoRoute, ConnectProxyFailure, ConnectRefused,
        ConnectTimedout, ConnectionClosed, HTTPStatus, HandshakeError, InternalError, InvalidCert,
        InvalidHTTPHeader, ReadError, ReadTimedout, SocketError, TLSHandshakeFailure,
        TLSHandshakeTimedout, TLSWantX509Lookup, WriteError, WriteTimedout,
    };
    if *error.esource() == ErrorSource::Downstream {
        return Failure::ClientGone;
    }
    Failure::Refuse(match error.etype() {
        ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout => {
            Refusal::UpstreamTimeout
        }
        ConnectRefused | ConnectNoRoute | ConnectError | ConnectProxyFailure | SocketError
        | BindError | AcceptError | TLSHandshakeFailure | TLSWantX509Lookup | InvalidCert
        | HandshakeError => Refusal::UpstreamUnreachable,
        ReadError | WriteError | ConnectionClosed => Refusal::UpstreamReset,
        InvalidHTTPHeader => Refusal::UpstreamProtocol,
        HTTPStatus(_) | InternalError => Refusal::Internal,
        _ if *error.esource() == ErrorSource::Upstream => Refusal::UpstreamProtocol,
        _ => Refusal::Internal,
    })
}
