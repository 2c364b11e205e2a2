//! TLS with one store, where it differs from that with all stores: the authorities that are trusted, and the
//! certificate that the gateway presents.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::certificate::{CertificateError, Chain, Identity, PrivateKey, certificates};

/// Certificates of authorities, each of which can be trusted.
#[derive(Debug, Clone)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Reads the certificates of a file.
    ///
    /// # Errors
    /// When there is none, or one is damaged.
    pub fn parse(pem: &str) -> Result<Self, CertificateError> {
        let all = certificates(pem)?;
        let mut store = RootCertStore::empty();
        for certificate in &all {
            let added = store.add(certificate.clone());
            added.map_err(|error| CertificateError::Certificate(error.to_string()))?;
        }
        Ok(Self(all))
    }
}

/// A certificate that the gateway presents to a store, with its private key. `Debug` hides the key.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Chain,
    key: PrivateKey,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl ClientCertificate {
    /// Joins a chain with the private key of its first certificate.
    ///
    /// # Errors
    /// As [`Identity::new`].
    pub fn new(chain: Chain, key: PrivateKey) -> Result<Self, CertificateError> {
        let copy = PrivateKey(key.0.clone_key());
        let Identity { not_before, not_after, .. } = Identity::new(chain.clone(), copy)?;
        // Pingora tells the kinds of keys apart by their bytes, and panics if it cannot.
        PrivateKeyDer::try_from(key.expose())
            .map_err(|error| CertificateError::Key(error.to_owned()))?;
        Ok(Self { chain, key, not_before, not_after })
    }

    /// The certificates in DER, the gateway's own first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.0.iter().map(AsRef::as_ref)
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Why it is no good at this time.
    #[must_use]
    pub fn fault(&self, now: SystemTime) -> Option<&'static str> {
        if now > self.not_after {
            Some("has expired")
        } else {
            (now < self.not_before).then_some("is not valid yet")
        }
    }
}

/// How TLS with one store differs from that with all. Two are equal if authorities, certificate and key are.
pub struct StoreTls {
    authorities: Option<Authorities>,
    client: Option<ClientCertificate>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    digest: [u8; 32],
}

impl StoreTls {
    /// Trusts `authorities` instead of those of all stores, and presents `client`.
    #[must_use]
    pub fn new(
        authorities: Option<Authorities>,
        client: Option<ClientCertificate>,
        files: Vec<PathBuf>,
    ) -> Self {
        let mut hash = Sha256::new();
        let mut add = |kind: u8, part: &[u8]| {
            hash.update([kind]);
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        };
        for authority in authorities.iter().flat_map(|it| &it.0) {
            add(0, authority);
        }
        if let Some(client) = &client {
            client.chain().for_each(|certificate| add(1, certificate));
            add(2, client.key.expose());
        }
        Self { authorities, client, files, digest: hash.finalize().into() }
    }

    /// The trusted authorities in DER; `None`: those of all stores.
    #[must_use]
    pub fn authorities(&self) -> Option<impl Iterator<Item = &[u8]>> {
        self.authorities.as_ref().map(|all| all.0.iter().map(AsRef::as_ref))
    }

    /// What the gateway presents.
    #[must_use]
    pub fn client(&self) -> Option<&ClientCertificate> {
        self.client.as_ref()
    }
}

impl PartialEq for StoreTls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for StoreTls {}

impl fmt::Debug for StoreTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// What an operator reads of it, such as `its own CA certificates and a client certificate`.
impl fmt::Display for StoreTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.authorities, &self.client) {
            (Some(_), Some(_)) => "its own CA certificates and a client certificate",
            (Some(_), None) => "its own CA certificates",
            (None, Some(_)) => "a client certificate",
            (None, None) => "the certificates of all stores",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["gateway.example.org".to_owned()]);
        let made = made.expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn client((certificate, key): &(String, String)) -> ClientCertificate {
        let chain = Chain::parse(certificate).expect("a chain");
        ClientCertificate::new(chain, PrivateKey::parse(key).expect("a key")).expect("a pair")
    }

    #[test]
    fn each_part_makes_a_difference_and_the_names_of_files_make_none() {
        let (one, other) = (pair(), pair());
        let trusts = |pem: &str| Some(Authorities::parse(pem).expect("certificates"));
        let with = |authorities, client| StoreTls::new(authorities, client, vec!["a".into()]);
        let all = || {
            [
                with(None, None),
                with(trusts(&one.0), None),
                with(trusts(&other.0), None),
                with(trusts(&[one.0.as_str(), &other.0].concat()), None),
                with(None, Some(client(&one))),
                with(None, Some(client(&other))),
                with(trusts(&one.0), Some(client(&one))),
                with(trusts(&other.0), Some(client(&one))),
            ]
        };
        for (place, tls) in all().iter().enumerate() {
            for (other_place, other) in all().iter().enumerate() {
                assert_eq!(tls == other, place == other_place, "{tls} {other}");
            }
        }
        let moved = StoreTls::new(trusts(&one.0), None, vec!["b".into()]);
        assert_eq!(moved, with(trusts(&one.0), None));
    }

    #[test]
    fn no_form_of_it_shows_the_key() {
        let pair = pair();
        let tls = StoreTls::new(None, Some(client(&pair)), Vec::new());
        let key = client(&pair);
        let shown = format!("{tls:?} {tls} {key:?} {:?}", key.key());
        let bytes = format!("{:?}", key.key().expose());
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }

    #[test]
    fn a_certificate_has_its_time() {
        let mut found = client(&pair());
        found.not_before = UNIX_EPOCH + Duration::from_secs(10);
        found.not_after = UNIX_EPOCH + Duration::from_secs(20);
        for (now, fault) in
            [(9, Some("is not valid yet")), (10, None), (20, None), (21, Some("has expired"))]
        {
            assert_eq!(found.fault(UNIX_EPOCH + Duration::from_secs(now)), fault, "{now}");
        }
    }

    #[test]
    fn a_chain_and_the_key_of_another_are_refused() {
        let (one, other) = (pair(), pair());
        let chain = Chain::parse(&one.0).expect("a chain");
        let key = PrivateKey::parse(&other.1).expect("a key");
        assert_eq!(
            ClientCertificate::new(chain, key).expect_err("a mismatch"),
            CertificateError::Mismatch
        );
        assert_eq!(
            Authorities::parse(&one.1).expect_err("no certificate"),
            CertificateError::NoCertificate
        );
    }
}
