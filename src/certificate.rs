//! Certificates, private keys and authorities from PEM text (RFC 7468): those with which the gateway serves TLS,
//! and those towards a store ([`store_tls`]).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub mod by_name;
pub mod command_tls;
mod links;
pub mod store_tls;

/// Renewal is late when less is left, whatever the lifetime. The alert S3ProxyCertificateExpires has the same rule.
const LATE: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate chain and the private key of its first certificate.
#[derive(Clone)]
pub struct Identity {
    /// What rustls signs handshakes with.
    pub key: Arc<CertifiedKey>,
    /// The names and addresses that the certificate is for, as in it.
    pub names: Vec<String>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// Why PEM text is no usable certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateError {
    /// An editor has put a byte order mark before a certificate or a key, which hides it.
    ByteOrderMark,
    /// There is no `CERTIFICATE` in the text.
    NoCertificate,
    /// A certificate cannot be read.
    Certificate(String),
    /// There is no unencrypted private key in the text.
    NoKey,
    /// The private key is encrypted.
    EncryptedKey,
    /// The private key cannot be read.
    Key(String),
    /// The private key is of a kind that is not supported, or none at all.
    KeyKind,
    /// The private key belongs to another certificate.
    Mismatch,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => f.write_str(
                "has a byte order mark (BOM) before -----BEGIN: save the file as UTF-8 without it",
            ),
            Self::NoCertificate => f.write_str("contains no PEM certificate"),
            Self::Certificate(error) => {
                write!(f, "contains a certificate that cannot be read: {error}")
            }
            Self::NoKey => f.write_str("contains no unencrypted private key in PEM"),
            Self::EncryptedKey => f.write_str(
                "contains a private key that is encrypted: the gateway has no password for it",
            ),
            Self::Key(error) => write!(f, "contains a private key that cannot be used: {error}"),
            Self::KeyKind => f.write_str(
                "contains a private key that is damaged, or of a kind that is not supported: RSA \
                 with 2,048 to 4,096 bits, ECDSA with P-256 or P-384, and Ed25519 are",
            ),
            Self::Mismatch => f.write_str(
                "is not the private key of the certificate, which is the first one in its file",
            ),
        }
    }
}

impl std::error::Error for CertificateError {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A certificate chain: the server's own certificate first, then those that lead to an authority.
#[derive(Debug, Clone)]
pub struct Chain(Vec<CertificateDer<'static>>);

impl Chain {
    /// Reads the certificates of a file.
    ///
    /// # Errors
    /// When there is none, or one is damaged.
    pub fn parse(pem: &str) -> Result<Self, CertificateError> {
        let chain = certificates(pem)?;
        for certificate in &chain {
            decoded(certificate)?;
        }
        Ok(Self(chain))
    }

    /// The server's own certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.0.first().cloned()
    }
}

/// A private key. `Debug` hides it.
#[derive(Debug)]
pub struct PrivateKey(PrivateKeyDer<'static>);

impl PrivateKey {
    /// Reads the first private key of a file: PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn parse(pem: &str) -> Result<Self, CertificateError> {
        refuse_byte_order_marks(pem)?;
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
            Ok(key) => Ok(Self(key)),
            // PKCS#8 has a label for it, the older forms a header (RFC 1421, section 4.6.1.1).
            Err(_)
                if pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
                    || pem.contains(",ENCRYPTED") =>
            {
                Err(CertificateError::EncryptedKey)
            }
            Err(pem::Error::NoItemsFound) => Err(CertificateError::NoKey),
            Err(error) => Err(CertificateError::Key(damage(&error))),
        }
    }

    /// The key in DER. Callers hand it to the TLS library, and must not format it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.secret_der()
    }
}

impl Identity {
    /// Joins a chain with the private key of its first certificate.
    ///
    /// # Errors
    /// When the key is of an unknown kind, or belongs to another certificate.
    pub fn new(Chain(chain): Chain, PrivateKey(key): PrivateKey) -> Result<Self, CertificateError> {
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        let certificate = decoded(first)?;
        let names = names(&certificate);
        let validity = certificate.validity();
        let not_before = time(validity.not_before.timestamp());
        let not_after = time(validity.not_after.timestamp());
        let key =
            CertifiedKey::from_der(chain.clone(), key, &default_provider()).map_err(|error| {
                match error {
                    rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch,
                    // All that the library says of the key is that it is none of those that it knows.
                    rustls::Error::General(_) => CertificateError::KeyKind,
                    other => CertificateError::Key(other.to_string()),
                }
            })?;
        Ok(Self { key: Arc::new(key), names, not_before, not_after })
    }

    /// The certificate itself, DER.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.key.cert.first().cloned()
    }

    /// Whether both show the same certificate.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.key.cert.first() == other.key.cert.first()
    }

    /// Whether the certificate should have been renewed by now: less than 14 days are left, and less than a quarter of
    /// its lifetime. Renewal is usual when a third is left.
    #[must_use]
    pub fn is_renewal_late(&self, now: SystemTime) -> bool {
        let left = self.not_after.duration_since(now).unwrap_or_default();
        let lifetime = self.not_after.duration_since(self.not_before).unwrap_or_default();
        left < LATE.min(lifetime / 4)
    }

    /// Why clients refuse the certificate of a server, whatever they trust: it has no name (RFC 9525, section 2.2), or
    /// is not for servers (RFC 5280, section 4.2.1.12). `None`: it is for servers.
    #[must_use]
    pub fn unfit_for_servers(&self) -> Option<&'static str> {
        if self.names.is_empty() {
            return Some("has no name (subject alternative name)");
        }
        let certificate = self.certificate()?;
        let decoded = decoded(&certificate).ok()?;
        let usage = decoded.extended_key_usage().ok().flatten()?.value;
        let is_for_servers = usage.server_auth || usage.any;
        (!is_for_servers).then_some("is not for servers (extended key usage)")
    }

    /// Why clients refuse the chain, whatever they trust: a certificate is not issued by the next one. `None`: each is.
    #[must_use]
    pub fn broken_link(&self) -> Option<String> {
        links::broken_link(&self.key.cert)
    }

    /// The authority that clients have to know: who issued the last certificate of the chain. `None` if that is an
    /// authority itself.
    #[must_use]
    pub fn last_issuer(&self) -> Option<String> {
        links::last_issuer(&self.key.cert)
    }

    /// Whether the certificate is valid at this time.
    #[must_use]
    pub fn is_valid(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// The authorities whose client certificates are accepted.
///
/// # Errors
/// When there is none, or one is damaged.
pub fn authorities(pem: &str) -> Result<RootCertStore, CertificateError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|error| CertificateError::Certificate(error.to_string()))?;
    }
    Ok(store)
}

/// The name of a client by its certificate: the common name of the subject; `None` if it has none that is
/// text.
#[must_use]
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    (!name.is_empty()).then_some(name)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    refuse_byte_order_marks(pem)?;
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| CertificateError::Certificate(damage(&error)))?;
    if all.is_empty() { Err(CertificateError::NoCertificate) } else { Ok(all) }
}

/// A mark in front of a block would hide this block, and leave the others.
fn refuse_byte_order_marks(pem: &str) -> Result<(), CertificateError> {
    match pem.contains("\u{feff}-----BEGIN") {
        true => Err(CertificateError::ByteOrderMark),
        false => Ok(()),
    }
}

/// What is wrong with PEM text, for a person: the library writes bytes as numbers.
fn damage(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "its end, -----END ...-----, is missing".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a line -----BEGIN ... is damaged".to_owned(),
        pem::Error::Base64Decode(_) => "a line of it is not base64".to_owned(),
        other => other.to_string(),
    }
}

fn decoded<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertificateError> {
    match X509Certificate::from_der(certificate) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(CertificateError::Certificate(error.to_string())),
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(octets) => Some(Ipv4Addr::from(octets).to_string()),
            Err(_) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(name).collect()
}

/// Seconds since the Unix epoch; before it, the epoch.
fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests;
