//! Whether each certificate of a chain is issued by the next one (RFC 8446, section 4.4.2), as far as that can be known
//! without the authorities that clients trust.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::X509Certificate;

use crate::certificate::decoded;

/// Bytes of the tag and the length of an object identifier that is shorter than 128 bytes.
const OID_HEAD: usize = 2;

/// What is wrong with the first certificate that the next one did not issue; `None` if there is none.
pub(super) fn broken_link(chain: &[CertificateDer<'_>]) -> Option<String> {
    let certificates: Vec<_> = chain.iter().map_while(|it| decoded(it).ok()).collect();
    let pairs = certificates.iter().zip(certificates.iter().skip(1));
    (1..).zip(pairs).find_map(|(number, (certificate, next))| {
        let (issuer, subject) = (certificate.issuer(), next.subject());
        if issuer.as_raw() != subject.as_raw() {
            return Some(format!(
                "has certificate {number} issued by {issuer}, and after it that of {subject}"
            ));
        }
        (!fits(certificate, next)).then(|| {
            format!(
                "has certificate {number} signed by a key that the next one does not have, although it has the \
                 name of the issuer"
            )
        })
    })
}

/// The name of the authority that clients have to know: the issuer of the last certificate, unless that is the authority
/// itself.
pub(super) fn last_issuer(chain: &[CertificateDer<'_>]) -> Option<String> {
    let last = decoded(chain.last()?).ok()?;
    (last.issuer().as_raw() != last.subject().as_raw()).then(|| last.issuer().to_string())
}

/// Whether this issuer has signed this certificate; true, too, if the kind of the signature is unknown.
fn fits(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let kind = certificate.signature_algorithm.algorithm.as_bytes();
    let key = &issuer.public_key().subject_public_key.data;
    let message = certificate.tbs_certificate.as_ref();
    let signature = &certificate.signature_value.data;
    let mut known = false;
    for algorithm in default_provider().signature_verification_algorithms.all {
        let id = algorithm.signature_alg_id();
        if id.get(OID_HEAD..).is_some_and(|id| id.starts_with(kind)) {
            known = true;
            if algorithm.verify_signature(key, message, signature).is_ok() {
                return true;
            }
        }
    }
    !known
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// An authority of this name, or a server.
    fn params(name: &str, is_authority: bool) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["sky.example.org".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    fn authority(name: &str) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let (params, key) = (params(name, true), KeyPair::generate().expect("a key"));
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        (certificate, Issuer::new(params, key))
    }

    fn issued(
        name: &str,
        by: &Issuer<'_, KeyPair>,
    ) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let (params, key) = (params(name, true), KeyPair::generate().expect("a key"));
        let certificate = params.signed_by(&key, by).expect("a certificate").der().clone();
        (certificate, Issuer::new(params, key))
    }

    #[test]
    fn each_certificate_is_issued_by_the_next_one() {
        let (root, of_root) = authority("Root");
        let (middle, of_middle) = issued("Middle", &of_root);
        let (leaf, _) = issued("sky.example.org", &of_middle);
        let (other, _) = authority("Other");
        // Another key with the same name.
        let (twin, _) = authority("Middle");
        for (chain, words, last) in [
            (vec![&leaf, &middle, &root], None, None),
            (vec![&leaf, &middle], None, Some("CN=Root")),
            // Right, if clients know the authority.
            (vec![&leaf], None, Some("CN=Middle")),
            (vec![&root], None, None),
            (vec![&leaf, &root], Some("certificate 1 issued by"), None),
            (vec![&leaf, &middle, &other], Some("certificate 2 issued by"), None),
            (vec![&middle, &leaf], Some("certificate 1 issued by"), Some("CN=Middle")),
            (
                vec![&leaf, &twin],
                Some("certificate 1 signed by a key that the next one does not have"),
                None,
            ),
        ] {
            let chain: Vec<_> = chain.into_iter().cloned().collect();
            let found = broken_link(&chain);
            assert_eq!(found.is_some(), words.is_some(), "{found:?}");
            let has = |words: &str| found.as_ref().is_some_and(|found| found.contains(words));
            assert!(words.is_none_or(has), "{found:?} {words:?}");
            let found = last_issuer(&chain);
            assert_eq!(found.is_some(), last.is_some(), "{found:?}");
            assert!(
                last.is_none_or(|last| found.as_ref().is_some_and(|it| it.contains(last))),
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_signatures_of_all_usual_keys_are_known() {
        for algorithm in
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
        {
            let (params, key) =
                (params("Root", true), KeyPair::generate_for(algorithm).expect("a key"));
            let root = params.self_signed(&key).expect("a certificate").der().clone();
            let (leaf, _) = issued("sky.example.org", &Issuer::new(params, key));
            let (twin, _) = authority("Root");
            assert_eq!(broken_link(&[leaf.clone(), root]), None);
            assert!(broken_link(&[leaf, twin]).is_some(), "{algorithm:?}");
        }
    }
}
