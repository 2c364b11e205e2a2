//! The trusted CA certificates for stores with TLS. Pingora reads them when it makes its connector, and
//! panics if it cannot; here they are read before, so that a mistake gives a message.

use std::fmt;

use pingora::tls::{
    RootCertStore, load_ca_file_into_store, load_platform_certs_incl_env_into_store,
};

use crate::config::UpstreamConfig;

/// Where certificates come from that no file of ours names.
const SYSTEM: &str = "the system";

/// The certificates that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// How many certificates.
    pub number: usize,
    /// The file, or `the system`.
    pub place: String,
}

/// The certificates cannot be read.
#[derive(Debug)]
pub struct CertificatesError {
    place: String,
    error: Box<pingora::Error>,
}

impl fmt::Display for CertificatesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, error } = self;
        write!(f, "the trusted certificates of {place} cannot be read: {error}")
    }
}

impl std::error::Error for CertificatesError {}

impl Trusted {
    /// Reads the configured file, or the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// included).
    ///
    /// # Errors
    /// When they are missing or damaged.
    pub fn read(config: &UpstreamConfig) -> Result<Self, CertificatesError> {
        let Some(path) = &config.ca_file else {
            let number = system_authorities()?.len();
            return Ok(Self { number, place: SYSTEM.to_owned() });
        };
        let mut store = RootCertStore::empty();
        let place = path.display().to_string();
        match load_ca_file_into_store(path, &mut store) {
            Ok(()) => Ok(Self { number: store.len(), place }),
            Err(error) => Err(CertificatesError { place, error }),
        }
    }
}

/// The authorities of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` included).
///
/// # Errors
/// When they are missing or damaged.
pub fn system_authorities() -> Result<RootCertStore, CertificatesError> {
    let mut store = RootCertStore::empty();
    match load_platform_certs_incl_env_into_store(&mut store) {
        Ok(()) => Ok(store),
        Err(error) => Err(CertificatesError { place: SYSTEM.to_owned(), error }),
    }
}
