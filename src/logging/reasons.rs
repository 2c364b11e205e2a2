//! Why a connection failed, for the log: Pingora puts in front what it was doing, once per
//! layer.

/// How rustls begins to say that it refuses a certificate.
pub const CERTIFICATE_REFUSED: &str = "invalid peer certificate";

/// The last, most precise part of Pingora's chain of reasons.
#[must_use]
pub fn last_reason(chain: &str) -> &str {
    let reason = match chain.find(CERTIFICATE_REFUSED) {
        Some(start) => chain.get(start..).unwrap_or(chain),
        None => chain.rsplit("cause: ").find(|part| !part.trim().is_empty()).unwrap_or(chain),
    };
    let reason = reason.rsplit("tls connect error: ").next().unwrap_or(reason);
    reason.split(", SNI:").next().unwrap_or(reason).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_failure_is_found_in_the_chain() {
        for (chain, reason) in [
            (
                "Upstream TLSHandshakeFailure context: TLS connect() failed:  TLSHandshakeFailure \
                 context: tls connect error: invalid peer certificate: UnknownIssuer, SNI: h",
                "invalid peer certificate: UnknownIssuer",
            ),
            (
                " TLSHandshakeFailure context: TLS accept() failed:  TLSHandshakeFailure context: \
                 tls connect error: peer sent no certificates",
                "peer sent no certificates",
            ),
            (
                " ConnectRefused context: Fail to connect to addr: 127.0.0.1:1, scheme: HTTP, SNI: x \
                 cause:  context: Fail to connect to 127.0.0.1:1 cause: Connection refused (os error 111)",
                "Connection refused (os error 111)",
            ),
            (" ConnectionClosed context: x cause: reset by peer", "reset by peer"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(last_reason(chain), reason);
        }
    }
}
