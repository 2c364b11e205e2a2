//! Which of several certificates a client is shown: by the name that it asks for (SNI, RFC 6066, section 3), and by
//! the signatures that it verifies.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Identity;

/// Certificates, found by the names that they are for.
#[derive(Debug)]
pub struct CertificatesByName {
    /// In the order of the configuration: the first is for clients that ask for no name, or for another one.
    all: Vec<Arc<CertifiedKey>>,
    /// By whole names, in lower case.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the `*` of a wildcard, which stands for one label (RFC 9525, section 6.3).
    wildcards: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl CertificatesByName {
    /// Where several certificates have a name, the first is taken whose key the client can verify.
    #[must_use]
    pub fn new(identities: &[Identity]) -> Self {
        let mut found = Self { all: Vec::new(), names: HashMap::new(), wildcards: HashMap::new() };
        for Identity { key, names, .. } in identities {
            found.all.push(Arc::clone(key));
            for name in names {
                let name = name.to_ascii_lowercase();
                let same = match name.strip_prefix('*') {
                    Some(rest) => found.wildcards.entry(rest.to_owned()).or_default(),
                    None => found.names.entry(name).or_default(),
                };
                same.push(Arc::clone(key));
            }
        }
        found
    }

    /// The certificates for this name, in lower case; all of them if there is none, or no name.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let whole = name.and_then(|name| self.names.get(name));
        let wildcard = || self.wildcards.get(name?.get(name?.find('.')?..)?);
        whole.or_else(wildcard).map_or(&self.all, Vec::as_slice)
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(name);
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        candidates.iter().find(fits).or(candidates.first()).cloned()
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.choose(name.as_deref(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm,
    };

    use super::*;
    use crate::certificate::{Chain, PrivateKey};

    fn identity(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Identity {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let params = CertificateParams::new(names).expect("names");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let chain = Chain::parse(&pem).expect("a chain");
        let key = PrivateKey::parse(&key.serialize_pem()).expect("a key");
        Identity::new(chain, key).expect("an identity")
    }

    const BOTH: &[SignatureScheme] =
        &[SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256];

    #[test]
    fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
        let identities = [
            identity(&["sky.example.org"], &PKCS_ECDSA_P256_SHA256),
            identity(&["*.example.org", "Other.Example.net"], &PKCS_ECDSA_P256_SHA256),
            identity(&["images.example.org", "127.0.0.1"], &PKCS_ECDSA_P256_SHA256),
            identity(&["sky.example.org"], &PKCS_ECDSA_P256_SHA256),
        ];
        let found = CertificatesByName::new(&identities);
        for (name, at) in [
            (Some("sky.example.org"), 0),
            (Some("images.example.org"), 2),
            (Some("tiles.example.org"), 1),
            (Some("other.example.net"), 1),
            // One label, and not none.
            (Some("a.tiles.example.org"), 0),
            (Some("example.org"), 0),
            (Some(".example.org"), 1),
            (Some("unknown.test"), 0),
            (Some(""), 0),
            (Some("."), 0),
            (Some("*.example.org"), 1),
            (None, 0),
        ] {
            let chosen = found.choose(name, BOTH).expect("a certificate");
            assert!(Arc::ptr_eq(&chosen, &identities[at].key), "{name:?}");
        }
        assert!(CertificatesByName::new(&[]).choose(None, BOTH).is_none());
    }

    #[test]
    fn of_two_certificates_with_a_name_the_client_gets_one_that_it_can_verify() {
        let identities = [
            identity(&["sky.example.org"], &PKCS_ED25519),
            identity(&["sky.example.org"], &PKCS_ECDSA_P256_SHA256),
        ];
        let found = CertificatesByName::new(&identities);
        for name in [Some("sky.example.org"), Some("unknown.test"), None] {
            for (schemes, at) in [
                (BOTH, 0),
                (&[SignatureScheme::ED25519][..], 0),
                (&[SignatureScheme::ECDSA_NISTP256_SHA256], 1),
                (&[SignatureScheme::RSA_PSS_SHA256], 0),
            ] {
                let chosen = found.choose(name, schemes).expect("a certificate");
                assert!(Arc::ptr_eq(&chosen, &identities[at].key), "{name:?} {schemes:?}");
            }
        }
    }
}
