//! The files of TLS, and every mistake in them.

use std::collections::BTreeMap;

use super::*;
use crate::config::{Flags, Loaded, load};

fn loaded(yaml: &str, files: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let read = |path: &Path| match path.to_str() {
        Some("s3proxy.yaml") => Ok(yaml.to_owned()),
        Some(path) => files
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| std::io::ErrorKind::NotFound.into()),
        None => Err(std::io::ErrorKind::NotFound.into()),
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
            &["listen (127.0.0.1:1) and listen (127.0.0.2:1 proxy_protocol) need different ports"],
        ),
        (
            "listen: ['0.0.0.0:1', '[::]:1', '127.0.0.1:1']",
            &["listen (0.0.0.0:1) and listen (127.0.0.1:1) need different ports"],
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
    assert!(found.warnings.iter().any(|it| it.contains("tls.listen is off")));
    let found = loaded("tls: {redirect_to_https: true}", &[]).expect("a configuration");
    assert!(found.warnings.iter().any(|it| it.contains("tls.listen is off")));
    let yaml = "admin: {listen: off, tls: {certificate_file: c, key_file: k}}";
    let (certificate, key) = pair();
    let found = loaded(yaml, &[("c", &certificate), ("k", &key)]).expect("a configuration");
    assert!(found.config.admin_tls.is_none());
    assert!(found.warnings.iter().any(|it| it.contains("admin.listen is off")));
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
