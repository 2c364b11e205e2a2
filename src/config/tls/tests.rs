//! The files of TLS, and every mistake in them.

use std::collections::BTreeMap;

use super::*;
use crate::config::{Flags, Loaded, load};

fn loaded(yaml: &str, files: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let read = |path: &Path| match path.to_str() {
        Some("s3proxy.yaml") => Ok(yaml.to_owned()),
        Some("binary") => Err(ErrorKind::InvalidData.into()),
        Some(path) => files
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| ErrorKind::NotFound.into()),
        None => Err(ErrorKind::NotFound.into()),
    };
    load(&Inputs {
        environment: BTreeMap::new(),
        flags: Flags { config: Some("s3proxy.yaml".to_owned()), ..Flags::default() },
        processors: 1,
        read: &read,
    })
}

fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["sky.example.org".to_owned()]);
    let made = made.expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// The file of a server without the certificate of its issuer, and with that of another authority.
#[test]
fn a_chain_of_which_a_certificate_is_not_issued_by_the_next_one_is_warned_of() {
    let (certificate, key) = pair();
    let (other, _) = pair();
    let both = format!("{certificate}{other}");
    let yaml = |file: &str| {
        format!("tls: {{listen: '127.0.0.1:8443', certificate_file: {file}, key_file: k}}")
    };
    let files = [("alone", certificate.as_str()), ("both", &both), ("k", &key)];
    for (file, is_warned) in [("alone", false), ("both", true)] {
        let warnings = loaded(&yaml(file), &files).expect("a configuration").warnings;
        let of_chain = warnings.iter().any(|it| it.contains("tls.certificate_file: both has cert"));
        assert_eq!(of_chain, is_warned, "{warnings:?}");
    }
}

#[test]
fn a_listener_needs_a_certificate_and_its_key() {
    let (certificate, key) = pair();
    let (_, other) = pair();
    let files = [("c", certificate.as_str()), ("k", &key), ("other", &other), ("empty", "")];
    let all = "tls: {listen: '127.0.0.1:8443', certificate_file: c, key_file: k}";
    let config = loaded(all, &files).expect("a configuration").config;
    let tls = config.tls.expect("a listener");
    assert_eq!(tls.files.identities[0].names, ["sky.example.org"]);
    assert_eq!(tls.files.paths, [Path::new("c"), Path::new("k")]);
    assert_eq!((tls.redirect_port, tls.hsts), (None, None));
    for (yaml, problems) in [
        (
            "tls: {listen: '127.0.0.1:8443'}",
            &["tls.listen: needs tls.certificate_file", "tls.listen: needs tls.key_file"][..],
        ),
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: gone, key_file: empty}",
            &[
                "certificate_file: \"gone\" cannot be read: entity not found",
                "key_file: \"empty\" contains no unencrypted private key in PEM",
            ],
        ),
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: binary, key_file: k}",
            &["tls.certificate_file: \"binary\" is not PEM, which is text"],
        ),
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: c, key_file: empty}",
            &["key_file: \"empty\" contains no unencrypted private key in PEM"],
        ),
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: k, key_file: k, client_ca_file: empty}",
            &[
                "certificate_file: \"k\" contains no PEM certificate",
                "client_ca_file: \"empty\" contains no PEM certificate",
            ],
        ),
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: c, key_file: other}",
            &["key_file: \"other\" is not the private key of the certificate"],
        ),
        // The first of these two mistakes hid the second.
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: c, key_file: other, client_ca_file: empty}",
            &[
                "client_ca_file: \"empty\" contains no PEM certificate",
                "key_file: \"other\" is not the private key of the certificate",
            ],
        ),
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: c, key_file: k, client_ca_file: gone}",
            &["client_ca_file: \"gone\" cannot be read: entity not found"],
        ),
        (
            "listen: '127.0.0.1:8443'\ntls: {listen: '0.0.0.0:8443', certificate_file: c, key_file: k}",
            &["tls.listen (0.0.0.0:8443) and listen (127.0.0.1:8443) need different ports"],
        ),
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: [c, c], key_file: k}",
            &[
                "tls.certificate_file names 2 files and tls.key_file 1: each certificate needs its key, in the same order",
            ],
        ),
        (
            "tls: {listen: '127.0.0.1:8443', certificate_file: [c, c], key_file: [other, empty]}",
            &[
                "key_file: \"other\" is not the private key of the certificate",
                "key_file: \"empty\" contains no unencrypted private key in PEM",
            ],
        ),
        (
            "tls: {listen: ['127.0.0.1:1', '127.0.0.1:9090'], certificate_file: c, key_file: k}",
            &["tls.listen (127.0.0.1:9090) and admin.listen (127.0.0.1:9090) need different ports"],
        ),
        (
            "listen: ['127.0.0.1:1', '127.0.0.2:1 proxy_protocol']",
            &[
                "listen (127.0.0.1:1) and listen (127.0.0.2:1 proxy_protocol) need different ports: the port says",
            ],
        ),
        (
            "trusted_proxies: []\nlisten: '127.0.0.1:1 proxy_protocol'",
            &["trusted_proxies: listen (127.0.0.1:1 proxy_protocol) needs trusted_proxies"],
        ),
        (
            "trusted_proxies: []\ntls: {listen: '127.0.0.1:1 proxy_protocol', certificate_file: c, key_file: k}",
            &["trusted_proxies: tls.listen (127.0.0.1:1 proxy_protocol) needs trusted_proxies"],
        ),
        (
            "listen: ['0.0.0.0:1', '[::]:1', '127.0.0.1:1']",
            &["listen (0.0.0.0:1) and listen (127.0.0.1:1) need different ports: one includes"],
        ),
        (
            "admin: {tls: {certificate_file: c}}",
            &["admin.tls.certificate_file: needs admin.tls.key_file"],
        ),
        ("admin: {tls: {key_file: k}}", &["admin.tls.key_file: needs admin.tls.certificate_file"]),
        (
            "admin: {tls: {client_ca_file: c}}",
            &[
                "admin.tls.client_ca_file: needs admin.tls.certificate_file",
                "admin.tls.client_ca_file: needs admin.tls.key_file",
            ],
        ),
        (
            "admin: {tls: {certificate_file: gone, key_file: k}}",
            &["admin.tls.certificate_file: \"gone\" cannot be read"],
        ),
    ] {
        let found = loaded(yaml, &files).err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), problems.len(), "{yaml}: {found:?}");
        for problem in problems {
            assert!(found.iter().any(|it| it.contains(problem)), "{problem}: {found:?}");
        }
    }
}

#[test]
fn files_without_a_listener_are_a_warning() {
    let (certificate, _) = pair();
    let found = loaded("tls: {certificate_file: c}", &[("c", &certificate)]);
    let found = found.expect("a configuration");
    assert!(found.config.tls.is_none());
    let warning = "tls.certificate_file has no effect without tls.listen";
    assert!(found.warnings.iter().any(|it| it == warning), "{:?}", found.warnings);
    let yaml = "admin: {listen: off, tls: {certificate_file: c, key_file: k}}";
    let (certificate, key) = pair();
    let found = loaded(yaml, &[("c", &certificate), ("k", &key)]).expect("a configuration");
    assert!(found.config.admin_tls.is_none());
    let warning =
        "admin.tls.certificate_file, admin.tls.key_file have no effect without admin.listen";
    assert!(found.warnings.iter().any(|it| it == warning), "{:?}", found.warnings);
}

/// Clients refuse both without a word that an operator would see.
#[test]
fn a_certificate_that_no_client_accepts_is_a_warning() {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
    let key = KeyPair::generate().expect("a key");
    let certificate = |names: &[&str], usages: &[ExtendedKeyUsagePurpose]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = usages.to_vec();
        params.self_signed(&key).expect("a certificate").pem()
    };
    let (server, client) =
        (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    for (pem, warning) in [
        (certificate(&["a"], &[]), None),
        (certificate(&["a"], &[client.clone(), server]), None),
        (certificate(&["a"], &[ExtendedKeyUsagePurpose::Any]), None),
        (certificate(&["a"], &[client]), Some("the certificate in c is not for servers")),
        (certificate(&[], &[]), Some("the certificate in c has no name")),
    ] {
        let yaml = "tls: {listen: '127.0.0.1:1', certificate_file: c, key_file: k}";
        let found = loaded(yaml, &[("c", &pem), ("k", &key.serialize_pem())]).expect("valid");
        let told: Vec<_> =
            found.warnings.iter().filter(|it| it.contains("clients will refuse")).collect();
        assert_eq!(told.len(), usize::from(warning.is_some()), "{told:?}");
        assert!(warning.is_none_or(|warning| told[0].contains(warning)), "{told:?}");
    }
}

#[test]
fn a_damaged_file_is_told_in_words() {
    let (certificate, key) = pair();
    let cut = |pem: &str| pem.lines().take(2).collect::<Vec<_>>().join("\n");
    let begin =
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n";
    let old = format!("{begin}AAAA\n-----END EC PRIVATE KEY-----\n");
    let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, problem) in [
        (certificate.as_str(), old.as_str(), "a private key that is encrypted"),
        (&certificate, new, "a private key that is encrypted"),
        (&cut(&certificate), &key, "its end, -----END ...-----, is missing"),
        (&certificate, &cut(&key), "its end, -----END ...-----, is missing"),
        (&certificate.replace("MII", "M-I"), &key, "a line of it is not base64"),
    ] {
        let yaml = "tls: {listen: '127.0.0.1:1', certificate_file: c, key_file: k}";
        let found = loaded(yaml, &[("c", certificate), ("k", key)]).err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains(problem), "{problem}: {found:?}");
    }
}

#[test]
fn several_certificates_are_read_in_order() {
    let (first, first_key) = pair();
    let (second, second_key) = pair();
    let files = [("a", first.as_str()), ("ak", &first_key), ("b", &second), ("bk", &second_key)];
    let yaml = "{certificate_file: [a, b], key_file: [ak, bk], client_ca_file: a}";
    let all = format!(
        "tls: {{listen: ['127.0.0.1:1', '127.0.0.1:2'], redirect_to_https: true, hsts_max_age: 1d, {}\nadmin: {{tls: {yaml}}}",
        yaml.trim_start_matches('{')
    );
    let config = loaded(&all, &files).expect("a configuration").config;
    let tls = config.tls.expect("a listener");
    assert_eq!(tls.listen.len(), 2);
    assert_eq!(tls.redirect_port, Some(1));
    assert_eq!(tls.hsts.expect("a value"), "max-age=86400");
    for files in [tls.files, config.admin_tls.expect("a listener")] {
        assert_eq!(files.identities.len(), 2);
        assert!(!files.identities[0].is_same(&files.identities[1]));
        assert_eq!(files.paths, ["a", "b", "ak", "bk", "a"].map(Path::new));
        assert!(files.client_authorities.is_some());
    }
    let more = "tls: {public_port: 443, hsts_max_age: 1, hsts_include_subdomains: true,";
    let all = format!(
        "{more} redirect_to_https: true, listen: '127.0.0.1:1', certificate_file: a, key_file: ak}}"
    );
    let tls = loaded(&all, &files).expect("a configuration").config.tls.expect("a listener");
    assert_eq!(tls.redirect_port, Some(443));
    assert_eq!(tls.hsts.expect("a value"), "max-age=1; includeSubDomains");
}
