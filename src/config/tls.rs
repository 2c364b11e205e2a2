//! TLS: the files are read with the configuration, so that a mistake in them is reported like any other, and a
//! reload takes over a renewed certificate.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use rustls::RootCertStore;

use crate::certificate::{CertificateError, Chain, Identity, PrivateKey, authorities};
use crate::config::GatewayConfig;
use crate::config::layers::{Layers, Location, Reported};
use crate::config::listen::{self, Listen};
use crate::config::load::{Inputs, unreadable};
use crate::config::problem::{Problem, ValueSource};
use crate::config::settings::row::Row;
use crate::config::settings::tls::{AdminTls, WrittenTls, admin_tls, tls};

/// What a listener with TLS shows its clients, and asks of them.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The first is for clients that ask for none of the names of the others.
    pub identities: Vec<Identity>,
    /// Whose certificates clients must present; `None`: clients need none.
    pub client_authorities: Option<Arc<RootCertStore>>,
    /// The files that were read.
    pub paths: Vec<PathBuf>,
}

/// The public listeners with TLS.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// At least one.
    pub listen: Vec<Listen>,
    pub files: TlsFiles,
    /// HTTP/2 is offered.
    pub http2: bool,
    /// The port of the URLs to which requests without TLS are redirected; `None`: they are answered.
    pub redirect_port: Option<u16>,
    /// The value of `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
}

/// The settings that name the files.
struct FileRows {
    certificate: Row,
    key: Row,
    client_ca: Row,
}

const PUBLIC: FileRows = FileRows {
    certificate: tls::certificate_file().row,
    key: tls::key_file().row,
    client_ca: tls::client_ca_file().row,
};

const ADMIN: FileRows = FileRows {
    certificate: admin_tls::certificate_file().row,
    key: admin_tls::key_file().row,
    client_ca: admin_tls::client_ca_file().row,
};

/// The files as written.
struct WrittenFiles {
    certificates: Vec<PathBuf>,
    keys: Vec<PathBuf>,
    client_ca: Option<PathBuf>,
}

/// Reads the settings and the files of the public listeners; `None` if none of them has TLS.
pub(super) fn read(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    gateway: &GatewayConfig,
    of_admin: Option<SocketAddr>,
) -> Result<Option<TlsConfig>, Reported> {
    let WrittenTls {
        listen,
        certificate_file: certificates,
        key_file: keys,
        client_ca_file: client_ca,
        http2,
        redirect_to_https,
        public_port,
        hsts_max_age,
        hsts_include_subdomains,
    } = WrittenTls::read(layers, &Location::default())?;
    let nobody_is_trusted = gateway.trusted_proxies.is_empty();
    listen::check(layers, (&gateway.listen, &listen), of_admin, nobody_is_trusted);
    let written = WrittenFiles { certificates, keys, client_ca };
    if !listen.is_empty() {
        require(layers, &tls::listen().row, &PUBLIC.certificate, !written.certificates.is_empty());
        require(layers, &tls::listen().row, &PUBLIC.key, !written.keys.is_empty());
    }
    let files = files(layers, inputs, &PUBLIC, &written);
    let hsts = hsts(hsts_max_age, hsts_include_subdomains);
    let (Some(first), Some(files)) = (listen.first(), files) else { return Ok(None) };
    let own_port = first.address.port();
    let port = u16::try_from(public_port).ok().filter(|port| *port > 0).unwrap_or(own_port);
    let redirect_port = redirect_to_https.then_some(port);
    Ok(Some(TlsConfig { listen, files, http2, redirect_port, hsts }))
}

/// The value of `Strict-Transport-Security` (RFC 6797, section 6.1); 0 seconds: none.
fn hsts(max_age: u64, include_subdomains: bool) -> Option<HeaderValue> {
    let subdomains = if include_subdomains { "; includeSubDomains" } else { "" };
    let value = HeaderValue::try_from(format!("max-age={max_age}{subdomains}")).ok();
    value.filter(|_| max_age > 0)
}

/// Reads the settings and the files of the admin listener; `None` if it has no TLS.
pub(super) fn admin(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    is_on: bool,
) -> Result<Option<TlsFiles>, Reported> {
    let AdminTls { certificate_file: certificates, key_file: keys, client_ca_file: client_ca } =
        AdminTls::read(layers, &Location::default())?;
    let written = WrittenFiles { certificates, keys, client_ca };
    if !written.are_named() {
        return Ok(None);
    }
    // Each of the three needs the other two: without them the listener would speak plain HTTP.
    let named = [&ADMIN.certificate, &ADMIN.key, &ADMIN.client_ca]
        .into_iter()
        .find(|row| layers.report.source(row.path) != ValueSource::Default);
    let by = named.unwrap_or(&ADMIN.certificate);
    require(layers, by, &ADMIN.certificate, !written.certificates.is_empty());
    require(layers, by, &ADMIN.key, !written.keys.is_empty());
    Ok(files(layers, inputs, &ADMIN, &written).filter(|_| is_on))
}

impl WrittenFiles {
    fn are_named(&self) -> bool {
        !self.certificates.is_empty() || !self.keys.is_empty() || self.client_ca.is_some()
    }
}

/// Reads the files; `None` if there are none, or one is wrong, which is then in the report.
fn files(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    rows: &FileRows,
    written: &WrittenFiles,
) -> Option<TlsFiles> {
    let WrittenFiles { certificates, keys, client_ca } = written;
    let before = layers.report.problems.len();
    if certificates.len() != keys.len() && !certificates.is_empty() && !keys.is_empty() {
        let message = format!(
            "{} names {} and {} {}: each certificate needs its key, in the same order",
            rows.certificate.path,
            number_of_files(certificates.len()),
            rows.key.path,
            keys.len()
        );
        layers.report.contradiction(&rows.certificate, &rows.key, &message);
    }
    let read = |layers: &mut Layers<'_>, path: &PathBuf| {
        parsed(layers, inputs, rows.certificate.path, path, Chain::parse)
    };
    let chains: Vec<_> = certificates.iter().map(|path| read(layers, path)).collect();
    let read = |layers: &mut Layers<'_>, path: &PathBuf| {
        parsed(layers, inputs, rows.key.path, path, PrivateKey::parse)
    };
    let private_keys: Vec<_> = keys.iter().map(|path| read(layers, path)).collect();
    let client_authorities = client_ca
        .as_deref()
        .and_then(|path| parsed(layers, inputs, rows.client_ca.path, path, authorities))
        .map(Arc::new);
    let mut identities = Vec::new();
    if chains.len() == private_keys.len() {
        let files = certificates.iter().zip(keys);
        for ((chain, key), (certificate, path)) in chains.into_iter().zip(private_keys).zip(files) {
            let (Some(chain), Some(key)) = (chain, key) else { continue };
            match Identity::new(chain, key) {
                Ok(identity) => {
                    if let Some(why) = identity.unfit_for_servers() {
                        layers.report.warnings.push(format!(
                            "{}: the certificate in {} {why}: clients will refuse it",
                            rows.certificate.path,
                            certificate.display()
                        ));
                    }
                    if let Some(why) = identity.broken_link() {
                        layers.report.warnings.push(format!(
                            "{}: {} {why}: clients will refuse it; each certificate has to be followed by \
                             that of its issuer",
                            rows.certificate.path,
                            certificate.display()
                        ));
                    }
                    identities.push(identity);
                }
                Err(error) => wrong(layers, rows.key.path, path, &error),
            }
        }
    }
    if layers.report.problems.len() > before || identities.is_empty() {
        return None;
    }
    let paths = certificates.iter().chain(keys).chain(client_ca).cloned().collect();
    Some(TlsFiles { identities, client_authorities, paths })
}

fn number_of_files(number: usize) -> String {
    if number == 1 { "1 file".to_owned() } else { format!("{number} files") }
}

/// A setting without which another one is of no use.
fn require(layers: &mut Layers<'_>, by: &Row, row: &Row, is_there: bool) {
    if !is_there && !layers.report.is_unread(row.path) {
        let source = layers.report.source(by.path);
        let message = format!("needs {}", row.path);
        layers.report.problem(Problem::new(source, message).key(by.path));
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
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            let problem = Problem::new(layers.report.source(key), "is not PEM, which is text");
            layers.report.problem(problem.key(key).value(path.display().to_string()));
        }
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
mod tests;
