//! Verdicts on DNS lookups, connections and TLS handshakes.

use std::io;
use std::net::SocketAddr;

use crate::check::report::Finding;
use crate::check::request::AskError;
use crate::response::refusal::Refusal;
use crate::upstream::retry::AttemptFailure;
use crate::upstream::tunnel::Tunnel;

/// The verdict on a lookup.
#[must_use]
pub(super) fn judge_lookup(host: &str, found: Result<&[SocketAddr], &io::Error>) -> Finding {
    match found {
        Ok([only]) if only.ip().to_string() == host => {
            Finding::ok(format!("{host} is an IP address"))
        }
        Ok(sockets) => {
            let addresses: Vec<String> = sockets.iter().map(|s| s.ip().to_string()).collect();
            Finding::ok(format!("{host} resolves to {}", addresses.join(", ")))
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Finding::failed(
            format!("no DNS server answered for {host} in time"),
            "check the DNS servers of this machine or pod",
        ),
        Err(error) => Finding::failed(
            format!("{host} does not resolve: {error}"),
            "check the spelling of the endpoint, and the DNS servers of this machine or pod",
        ),
    }
}

/// The verdict on the attempts to connect to each address.
#[must_use]
pub(super) fn judge_connect(connects: &[(SocketAddr, io::Result<()>)]) -> Finding {
    let failures: Vec<String> = connects
        .iter()
        .filter_map(|(socket, result)| result.as_ref().err().map(|e| (socket, e)))
        .map(|(socket, error)| format!("{socket} {}", reason(error)))
        .collect();
    let accepting: Vec<String> = connects
        .iter()
        .filter(|(_, result)| result.is_ok())
        .map(|(socket, _)| socket.to_string())
        .collect();
    if failures.is_empty() && !accepting.is_empty() {
        return Finding::ok(format!("connected to {}", accepting.join(", ")));
    }
    let first = connects.iter().find_map(|(_, result)| result.as_ref().err());
    let fix = match first.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "no process listens on this port: check the port of the endpoint, and that the store runs"
        }
        Some(io::ErrorKind::TimedOut) => {
            "connections are dropped: check the port of the endpoint, firewalls and network policies"
        }
        _ => "check the address and port of the endpoint, and the routes to it",
    };
    if accepting.is_empty() {
        Finding::failed(failures.join("; "), fix)
    } else {
        let detail =
            format!("connected to {}, but not to {}", accepting.join(", "), failures.join("; "));
        Finding::warning(detail, fix)
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refuses connections".to_owned(),
        io::ErrorKind::TimedOut => "does not answer in time".to_owned(),
        _ => format!("cannot be reached ({error})"),
    }
}

impl Finding {
    /// The same, of the proxy on the way to a store.
    pub(super) fn of_proxy(mut self, tunnel: Option<&Tunnel>) -> Self {
        if let Some(Tunnel { proxy, .. }) = tunnel {
            self.detail = format!("proxy {proxy}: {}", self.detail);
            self.fix = self.fix.map(|_| {
                format!("check the proxy {proxy}: HTTPS_PROXY, HTTP_PROXY, upstream.proxy or the proxy of the profile name it; NO_PROXY or proxy: off avoid it")
            });
        }
        self
    }
}

/// The verdict on a tunnel through a proxy: the failure and its reason, or none if it is open.
#[must_use]
pub(super) fn judge_tunnel(tunnel: &Tunnel, failure: Option<(&AttemptFailure, String)>) -> Finding {
    let Tunnel { proxy, target, .. } = tunnel;
    let Some((failure, why)) = failure else {
        return Finding::ok(format!("{proxy} has opened a tunnel to {target}"));
    };
    let fix = match failure {
        AttemptFailure::Final(_) => {
            "put the right user and password into the URL of the proxy, allow the store at the proxy, or name \
             the store in NO_PROXY"
        }
        AttemptFailure::NoConnection(Refusal::UpstreamTimeout) => {
            "check that the proxy reaches the store, and knows its name: it resolves the name itself"
        }
        _ => {
            "check that it is a proxy for HTTP that allows CONNECT, and that it reaches the store and knows \
             its name: it resolves the name itself"
        }
    };
    Finding::failed(why, fix)
}

/// The verdict on a failed TLS handshake. Pingora passes the reason on as text only; the words are
/// those of rustls. `plain`: the port answers HTTP without TLS.
#[must_use]
pub(super) fn judge_tls(error: &str, plain: bool, server_name: &str) -> Finding {
    if plain {
        return Finding::failed(
            "the port speaks plain HTTP, not TLS",
            "write http:// instead of https:// in the endpoint, or use the TLS port of the store",
        );
    }
    if let Some(finding) = refused_by_store(error) {
        return finding;
    }
    let has = |word: &str| error.contains(word);
    let (what, fix) = if has("UnknownIssuer") || has("BadSignature") {
        (
            "the certificate is signed by a CA that is not trusted",
            "set ca_file of the profile, or upstream.ca_file (S3PROXY_UPSTREAM_CA_FILE), to the PEM file \
             of the CA certificate"
                .to_owned(),
        )
    } else if has("not valid for name") || has("NotValidForName") {
        (
            "the certificate is for a different name",
            format!(
                "use a name of the certificate in the endpoint, or get a certificate for \
                 {server_name}; addressing: virtual needs *.host in it"
            ),
        )
    } else if has("certificate expired") || has("Expired") {
        (
            "the certificate has expired",
            "renew the certificate, unless the clock of this machine is wrong".to_owned(),
        )
    } else if has("not valid yet") || has("NotValidYet") {
        ("the certificate is not valid yet", "check the clock of this machine".to_owned())
    } else if has("CaUsedAsEndEntity") {
        (
            "the server certificate is a CA certificate",
            "give the store a server certificate signed by that CA".to_owned(),
        )
    } else if has("invalid peer certificate") {
        ("the certificate is not accepted", "check the certificate of the store".to_owned())
    } else {
        (
            "the TLS handshake failed",
            "check that the port of the endpoint is the TLS port of the store, and that it supports \
             TLS 1.2 or 1.3"
                .to_owned(),
        )
    };
    Finding::failed(format!("{what} ({error})"), fix)
}

/// The verdict where the store has refused the client certificate, or the lack of one (RFC 8446, section 6.2).
/// With TLS 1.3 it says so after the handshake.
fn refused_by_store(error: &str) -> Option<Finding> {
    let (_, alert) = error.split_once("received fatal alert: ")?;
    let is = |names: &[&str]| names.iter().any(|name| alert.starts_with(name));
    let (what, fix) = if is(&["CertificateRequired", "NoCertificate"]) {
        (
            "the store demands a client certificate",
            "set client_certificate_file and client_key_file of the profile",
        )
    } else if is(&["UnknownCA", "UnknownCa"]) {
        (
            "the store does not trust the CA of the client certificate",
            "use a certificate of a CA that the store trusts, with its intermediate certificates in \
             client_certificate_file",
        )
    } else if is(&["CertificateExpired"]) {
        (
            "the store says that the client certificate has expired",
            "renew the certificate in client_certificate_file, unless a clock is wrong",
        )
    } else if is(&[
        "BadCertificate",
        "UnsupportedCertificate",
        "CertificateRevoked",
        "CertificateUnknown",
        "AccessDenied",
        "DecryptError",
    ]) {
        (
            "the store does not accept the client certificate, or demands one",
            "check client_certificate_file and client_key_file of the profile; see the log of the store",
        )
    } else {
        return None;
    };
    Some(Finding::failed(format!("{what} ({error})"), fix))
}

/// The verdict on a request without an answer. `tls`: the port expects TLS.
#[must_use]
pub(super) fn judge_no_answer(error: &AskError, tls: bool) -> Finding {
    if tls {
        return speaks_tls();
    }
    if let Some(finding) = refused_by_store(&error.to_string()) {
        return finding;
    }
    let fix = match error.refusal() {
        Refusal::UpstreamTimeout => {
            "check that the port is the S3 port of the store; a store under load may need a longer \
             upstream.first_byte_timeout"
        }
        Refusal::UpstreamProxy => "check the proxy on the way to the store",
        Refusal::Internal => {
            "correct the access key id, session token and upstream_headers: they must be plain \
             text without line ends"
        }
        _ => {
            "check that the port of the endpoint is the S3 port of the store; see the log of the store"
        }
    };
    Finding::failed(error.to_string(), fix)
}

/// The verdict on an `http://` endpoint whose port expects TLS.
#[must_use]
pub(super) fn speaks_tls() -> Finding {
    Finding::failed(
        "the port speaks TLS, not plain HTTP",
        "write https:// instead of http:// in the endpoint",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::StepState;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn lookups_have_their_result() {
        for (host, found, state, detail) in [
            ("10.0.0.1", Ok(vec!["10.0.0.1:1"]), StepState::Ok, "10.0.0.1 is an IP address"),
            (
                "s3",
                Ok(vec!["10.0.0.1:1", "[::1]:1"]),
                StepState::Ok,
                "s3 resolves to 10.0.0.1, ::1",
            ),
            ("s3", Err(io::ErrorKind::TimedOut), StepState::Failed, "no DNS server answered"),
            ("s3", Err(io::ErrorKind::Other), StepState::Failed, "s3 does not resolve"),
        ] {
            let found = found
                .map(|texts| texts.into_iter().map(socket).collect::<Vec<_>>())
                .map_err(io::Error::from);
            let finding = judge_lookup(host, found.as_deref());
            assert_eq!(finding.state, state);
            assert!(finding.detail.starts_with(detail), "{}", finding.detail);
        }
    }

    #[test]
    fn one_address_of_several_is_enough_with_a_warning() {
        let refused = || Err(io::Error::from(io::ErrorKind::ConnectionRefused));
        let late = || Err(io::Error::from(io::ErrorKind::TimedOut));
        let (a, b) = (socket("10.0.0.1:1"), socket("10.0.0.2:1"));
        for (connects, state, detail) in [
            (vec![(a, Ok(()))], StepState::Ok, "connected to 10.0.0.1:1"),
            (
                vec![(a, Ok(())), (b, refused())],
                StepState::Warning,
                "connected to 10.0.0.1:1, but not",
            ),
            (vec![(a, refused())], StepState::Failed, "10.0.0.1:1 refuses connections"),
            (vec![(a, late()), (b, refused())], StepState::Failed, "10.0.0.1:1 does not answer in"),
            (vec![], StepState::Failed, ""),
        ] {
            let finding = judge_connect(&connects);
            assert_eq!(finding.state, state);
            assert!(finding.detail.starts_with(detail), "{}", finding.detail);
            assert_eq!(finding.fix.is_some(), state != StepState::Ok);
        }
    }

    #[test]
    fn each_fault_of_tls_has_its_fix() {
        for (error, plain, fix) in [
            ("received corrupt message", true, "http:// instead of https://"),
            ("invalid peer certificate: UnknownIssuer", false, "upstream.ca_file"),
            ("invalid peer certificate: BadSignature", false, "upstream.ca_file"),
            ("invalid peer certificate: certificate not valid for name \"h\"", false, "for h;"),
            (
                "invalid peer certificate: certificate expired: verification",
                false,
                "renew the certificate",
            ),
            ("invalid peer certificate: certificate not valid yet: x", false, "clock"),
            ("invalid peer certificate: Other(CaUsedAsEndEntity)", false, "signed by that"),
            ("invalid peer certificate: BadEncoding", false, "check the certificate of the store"),
            ("received fatal alert: HandshakeFailure", false, "TLS 1.2 or 1.3"),
            ("received fatal alert: CertificateRequired", false, "set client_certificate_file"),
            ("received fatal alert: UnknownCA", false, "a CA that the store trusts"),
            ("received fatal alert: CertificateExpired", false, "renew the certificate in client"),
            ("received fatal alert: BadCertificate", false, "check client_certificate_file"),
        ] {
            let finding = judge_tls(error, plain, "h");
            assert_eq!(finding.state, StepState::Failed);
            let given = finding.fix.unwrap_or_default();
            assert!(given.contains(fix), "{error}: {given}");
        }
    }
}
