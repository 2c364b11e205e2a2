//! TLS from a command of the operator to a listener of the gateway: whom it trusts, and what it presents.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned,
};

use crate::certificate::Identity;

/// How a command speaks TLS with a listener. `Debug` hides the key.
#[derive(Clone)]
pub struct CommandTls {
    trust: ListenerTrust,
    client: Option<Arc<CertifiedKey>>,
}

/// Which listeners a command trusts.
#[derive(Debug, Clone)]
pub enum ListenerTrust {
    /// Those that show one of these certificates, whatever its names and its issuer: a command asks for an address such
    /// as 127.0.0.1.
    Certificates(Vec<CertificateDer<'static>>),
    /// Those with a certificate of one of these authorities, for the name or address that was asked for.
    Authorities(Arc<RootCertStore>),
}

impl CommandTls {
    /// Presents the certificate `client`, if there is one, to listeners that ask for it.
    #[must_use]
    pub fn new(trust: ListenerTrust, client: Option<&Identity>) -> Self {
        Self { trust, client: client.map(|client| Arc::clone(&client.key)) }
    }

    /// The listeners with these certificates and their keys; `None` without a certificate.
    #[must_use]
    pub fn to(identities: &[Identity]) -> Option<Self> {
        let certificates: Vec<_> = identities.iter().filter_map(Identity::certificate).collect();
        let is_any = !certificates.is_empty();
        is_any.then(|| Self::new(ListenerTrust::Certificates(certificates), None))
    }

    /// The listeners that it trusts.
    #[must_use]
    pub fn trust(&self) -> &ListenerTrust {
        &self.trust
    }

    fn config(&self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.trust {
            ListenerTrust::Certificates(all) => {
                Arc::new(Pinned { certificates: all.clone(), algorithms })
            }
            ListenerTrust::Authorities(roots) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(
                    Arc::clone(roots),
                    Arc::clone(&provider),
                );
                verifier.build().map_err(|error| Error::General(error.to_string()))?
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(match &self.client {
            None => builder.with_no_client_auth(),
            Some(key) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))))
            }
        })
    }
}

impl fmt::Debug for CommandTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandTls").finish_non_exhaustive()
    }
}

/// A connection to a listener, with TLS or without.
#[derive(Debug)]
pub enum CommandStream<S: Read + Write> {
    Plain(S),
    Tls(Box<StreamOwned<ClientConnection, S>>),
}

impl<S: Read + Write> CommandStream<S> {
    /// `stream` leads to the listener `host`: a name, or an address without brackets. The handshake is made with the
    /// first bytes that are written.
    ///
    /// # Errors
    /// `host` can be in no certificate, or the authorities cannot be used.
    pub fn new(stream: S, host: &str, tls: Option<&CommandTls>) -> io::Result<Self> {
        let Some(tls) = tls else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let config = tls.config().map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }
}

impl<S: Read + Write> Read for CommandStream<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into).map_err(explained),
        }
    }
}

impl<S: Read + Write> Write for CommandStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes).map_err(explained),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush().map_err(explained),
        }
    }
}

/// The same error, and what the operator can do about it.
fn explained(error: io::Error) -> io::Error {
    use rustls::{AlertDescription as Alert, CertificateError};
    let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return error;
    };
    let remedy = match cause {
        Error::General(text) => return io::Error::new(error.kind(), text.clone()),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "name its authority with --ca-file, or the certificate itself with --server-certificate-file"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "ask for a name that it has, or name the certificate itself with --server-certificate-file"
        }
        Error::AlertReceived(Alert::CertificateRequired) => {
            "present a certificate with --client-certificate-file"
        }
        Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::DecryptError
            | Alert::AccessDenied,
        ) => "the listener does not accept the certificate of --client-certificate-file",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{cause}: {remedy}"))
}

/// Accepts these certificates and no other; their issuers do not matter.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.certificates.contains(end_entity) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::General(
                "the gateway shows another certificate than the file has".to_owned(),
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Chain, PrivateKey};

    fn identity() -> (Identity, String) {
        let made = rcgen::generate_simple_self_signed(["operator".to_owned()]);
        let made = made.expect("a certificate");
        let key = made.signing_key.serialize_pem();
        let chain = Chain::parse(&made.cert.pem()).expect("a chain");
        (Identity::new(chain, PrivateKey::parse(&key).expect("a key")).expect("a pair"), key)
    }

    #[test]
    fn each_form_gives_a_configuration_and_shows_no_key() {
        let (identity, key) = identity();
        let own = CommandTls::to(std::slice::from_ref(&identity)).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(identity.certificate().expect("a certificate")).expect("an authority");
        let trust = ListenerTrust::Authorities(Arc::new(roots));
        for tls in [
            own.clone(),
            CommandTls::new(own.trust().clone(), Some(&identity)),
            CommandTls::new(trust.clone(), None),
            CommandTls::new(trust, Some(&identity)),
        ] {
            let config = tls.config().expect("a configuration");
            assert_eq!(config.client_auth_cert_resolver.has_certs(), tls.client.is_some());
            let shown = format!("{tls:?} {config:?}");
            let secret = key.lines().nth(1).expect("a line of the key");
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(CommandTls::to(&[]).is_none());
    }

    #[test]
    fn a_failure_names_the_option_that_helps() {
        use rustls::{AlertDescription as Alert, CertificateError};
        for (cause, remedy) in [
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), Some("--ca-file")),
            (
                Error::InvalidCertificate(CertificateError::NotValidForName),
                Some("--server-certificate-file"),
            ),
            (Error::AlertReceived(Alert::CertificateRequired), Some("--client-certificate-file")),
            (Error::AlertReceived(Alert::UnknownCA), Some("--client-certificate-file")),
            (Error::AlertReceived(Alert::InternalError), None),
            (Error::DecryptError, None),
        ] {
            let before = cause.to_string();
            let after = explained(io::Error::new(io::ErrorKind::InvalidData, cause));
            assert_eq!(after.kind(), io::ErrorKind::InvalidData);
            let after = after.to_string();
            assert!(
                after.starts_with(&before) && remedy.is_none_or(|it| after.contains(it)),
                "{after}"
            );
        }
        let other = explained(io::Error::other(Error::General("another".to_owned())));
        assert_eq!(other.to_string(), "another");
        assert_eq!(explained(io::ErrorKind::TimedOut.into()).kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let (identity, _) = identity();
        let tls = CommandTls::to(&[identity]);
        for (host, is_host) in
            [("gateway", true), ("127.0.0.1", true), ("::1", true), ("a b", false), ("", false)]
        {
            let made = CommandStream::new(io::Cursor::new(Vec::new()), host, tls.as_ref());
            assert_eq!(made.is_ok(), is_host, "{host}");
        }
    }
}
