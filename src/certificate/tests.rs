//! Certificates made at test time.

use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::*;

fn pair(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params.distinguished_name.push(DnType::CommonName, "reader-1");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

fn made(chain: Chain, key: &str) -> Result<Identity, CertificateError> {
    Identity::new(chain, PrivateKey::parse(key)?)
}

#[test]
fn a_certificate_and_its_key_make_an_identity() {
    let (certificate, key) = pair(&["sky.example.org", "127.0.0.1", "::1"]);
    let chain = Chain::parse(&certificate).expect("a chain");
    let identity = made(chain, &key).expect("an identity");
    assert_eq!(identity.names, ["sky.example.org", "127.0.0.1", "::1"]);
    let day = |year: u64| UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600 + 864_000);
    assert!(identity.is_valid(day(2026)));
    assert!(!identity.is_valid(day(2023)));
    assert!(!identity.is_valid(day(2030)));
    let key = PrivateKey::parse(&key).expect("a key");
    assert!(format!("{key:?} {identity:?}").len() < 300, "{key:?} {identity:?}");
}

#[test]
fn both_may_be_in_one_file() {
    let (certificate, key) = pair(&["a.example.org"]);
    let both = format!("{key}{certificate}");
    assert!(made(Chain::parse(&both).expect("a chain"), &both).is_ok());
}

#[test]
fn what_is_wrong_is_said() {
    let (certificate, key) = pair(&["a.example.org"]);
    let (_, other) = pair(&["a.example.org"]);
    assert_eq!(Chain::parse(&key).unwrap_err(), CertificateError::NoCertificate);
    assert_eq!(Chain::parse("").unwrap_err(), CertificateError::NoCertificate);
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(Chain::parse(rubbish), Err(CertificateError::Certificate(_))));
    let chain = Chain::parse(&certificate).expect("a chain");
    let with = |key: &str| made(chain.clone(), key).unwrap_err();
    assert_eq!(with(&other), CertificateError::Mismatch);
    assert_eq!(with(&certificate), CertificateError::NoKey);
    let rubbish = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    // As of a key with P-521: the message was that of the library, an unexpected error.
    assert_eq!(with(rubbish), CertificateError::KeyKind);
    assert!(with(rubbish).to_string().contains("ECDSA with P-256 or P-384"));
    // In front of the first block, or of another one where files were joined.
    let marked = format!("\u{feff}{certificate}");
    let joined = format!("{certificate}{marked}");
    for pem in [&marked, &joined] {
        assert_eq!(Chain::parse(pem).unwrap_err(), CertificateError::ByteOrderMark);
        assert!(matches!(authorities(pem), Err(CertificateError::ByteOrderMark)));
    }
    assert_eq!(with(&format!("\u{feff}{key}")), CertificateError::ByteOrderMark);
    assert!(authorities(&certificate).is_ok_and(|store| store.len() == 1));
    assert!(matches!(authorities(&key), Err(CertificateError::NoCertificate)));
}

#[test]
fn a_client_is_named_by_the_common_name_of_its_certificate() {
    let (certificate, _) = pair(&[]);
    let Chain(chain) = Chain::parse(&certificate).expect("a chain");
    assert_eq!(common_name(&chain[0]).as_deref(), Some("reader-1"));
    assert_eq!(common_name(b"no certificate"), None);
}

proptest! {
    #[test]
    fn damaged_text_is_an_error_and_never_a_panic(at in 0_usize..600, byte in 0_u8..128) {
        let (certificate, key) = pair(&["a.example.org"]);
        for which in [true, false] {
            let (mut certificate, mut key) = (certificate.clone(), key.clone());
            let text = if which { &mut certificate } else { &mut key };
            let at = at % text.len();
            text.replace_range(at..=at, char::from(byte).encode_utf8(&mut [0; 4]));
            let _error_or_not = Chain::parse(&certificate).and_then(|chain| made(chain, &key));
        }
    }
}
