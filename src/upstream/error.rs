//! From Pingora's errors on the way to a store to a cause: who is at fault.

use pingora::{Error, ErrorSource, ErrorType};

use crate::response::refusal::Refusal;

/// Names the cause of an error before or while a store was asked.
#[must_use]
pub fn refusal(error: &Error) -> Refusal {
    use ErrorType::{
        AcceptError, BindError, ConnectError, ConnectNoRoute, ConnectProxyFailure, ConnectRefused,
        ConnectTimedout, ConnectionClosed, HTTPStatus, HandshakeError, InternalError, InvalidCert,
        InvalidHTTPHeader, ReadError, ReadTimedout, SocketError, TLSHandshakeFailure,
        TLSHandshakeTimedout, TLSWantX509Lookup, WriteError, WriteTimedout,
    };
    match error.etype() {
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
    }
}
