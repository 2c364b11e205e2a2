//! The listener with TLS: its files are read with the configuration, so that a mistake in them is reported
//! like any other, and a reload takes over a renewed certificate.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;

use crate::certificate::{CertificateError, Chain, Identity, PrivateKey, authorities};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::load::{Inputs, unreadable};
use crate::config::problem::Problem;
use crate::config::settings::gateway::gateway;
use crate::config::settings::process;
use crate::config::settings::row::Row;
use crate::config::settings::tls::{WrittenTls, tls};

/// The listener with TLS.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    pub listen: SocketAddr,
    pub identity: Identity,
    /// Whose certificates clients must present; `None`: clients need none.
    pub client_authorities: Option<Arc<RootCertStore>>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// Reads the settings and the files; `None` if there is no such listener.
pub(super) fn read(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    plain: SocketAddr,
    admin: Option<SocketAddr>,
) -> Result<Option<TlsConfig>, Reported> {
    let written = WrittenTls::read(layers, &Location::default())?;
    // The port tells the gateway which connections begin with a handshake.
    for (other, row) in
        [(Some(plain), gateway::listen().row), (admin, process::admin::listen().row)]
    {
        if let (Some(listen), Some(other)) = (written.listen, other)
            && listen.port() == other.port()
        {
            let message =
                format!("tls.listen ({listen}) and {} ({other}) need different ports", row.path);
            layers.report.contradiction(&tls::listen().row, &row, &message);
        }
    }
    let WrittenTls { listen, certificate_file: certificate, key_file: key, client_ca_file } =
        written;
    if listen.is_some() {
        require(layers, &tls::certificate_file().row, certificate.as_deref());
        require(layers, &tls::key_file().row, key.as_deref());
    }
    let chain = certificate.as_deref().and_then(|path| {
        parsed(layers, inputs, tls::certificate_file().row.path, path, Chain::parse)
    });
    let private_key = key
        .as_deref()
        .and_then(|path| parsed(layers, inputs, tls::key_file().row.path, path, PrivateKey::parse));
    // A mistake is in the report, and no listener begins without its authorities.
    let client_authorities = client_ca_file
        .as_deref()
        .and_then(|path| parsed(layers, inputs, tls::client_ca_file().row.path, path, authorities))
        .map(Arc::new);
    if listen.is_none() && [&certificate, &key, &client_ca_file].iter().any(|file| file.is_some()) {
        let warning = "the files of tls are not used: tls.listen is off";
        layers.report.warnings.push(warning.to_owned());
    }
    let (Some(chain), Some(private_key)) = (chain, private_key) else { return Ok(None) };
    match Identity::new(chain, private_key) {
        Ok(identity) => {
            let Some(listen) = listen else { return Ok(None) };
            if client_authorities.is_none() && client_ca_file.is_some() {
                return Ok(None);
            }
            let files = [certificate, key, client_ca_file].into_iter().flatten().collect();
            Ok(Some(TlsConfig { listen, identity, client_authorities, files }))
        }
        Err(error) => {
            if let Some(path) = &key {
                wrong(layers, tls::key_file().row.path, path, &error);
            }
            Ok(None)
        }
    }
}

/// A setting without which there is no listener with TLS.
fn require(layers: &mut Layers<'_>, row: &Row, file: Option<&Path>) {
    if file.is_none() && !layers.report.is_wrong(row.path) {
        let source = layers.report.source(tls::listen().row.path);
        let message = format!("needs {}", row.path);
        layers.report.problem(Problem::new(source, message).key(tls::listen().row.path));
    }
}

/// What the file of the setting with this path contains; a mistake is reported.
pub(super) fn parsed<T>(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    key: &str,
    path: &Path,
    parse: impl Fn(&str) -> Result<T, CertificateError>,
) -> Option<T> {
    match (inputs.read)(path) {
        Ok(text) => match parse(&text) {
            Ok(parsed) => return Some(parsed),
            Err(error) => wrong(layers, key, path, &error),
        },
        Err(error) => {
            let problem = unreadable(layers.report.source(key), path, &error);
            layers.report.problem(problem.key(key));
        }
    }
    None
}

/// Reports what is wrong with the file of the setting with this path.
pub(super) fn wrong(layers: &mut Layers<'_>, key: &str, path: &Path, error: &CertificateError) {
    let problem = Problem::new(layers.report.source(key), error.to_string());
    layers.report.problem(problem.key(key).value(path.display().to_string()));
}

#[cfg(test)]
mod tests {
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
        assert_eq!(tls.identity.names, ["sky.example.org"]);
        assert_eq!(tls.files, [Path::new("c"), Path::new("k")]);
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
    }
}
