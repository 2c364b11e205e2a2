//! Options of the commands that reach a running s3proxy: whom they trust, and what they present.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::admin::replicas::Replica;
use crate::certificate::command_tls::{CommandTls, ListenerTrust};
use crate::certificate::{Chain, Identity, PrivateKey, authorities};
use crate::config::read_file;
use crate::upstream::certificates::system_authorities;

/// The options. Each names a PEM file.
#[derive(Debug, Default, Args)]
pub(super) struct CommandTlsOptions {
    /// CA certificates: speak TLS, to processes whose certificate is of one of them and for the name or address that
    /// is asked for
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The certificate_file of the process itself: speak TLS, to processes that show this certificate, whatever its
    /// names
    #[arg(long, value_name = "FILE", conflicts_with = "ca_file")]
    server_certificate_file: Option<PathBuf>,
    /// Certificate to present, where the process demands one (client_ca_file)
    #[arg(long, value_name = "FILE", requires = "client_key_file")]
    client_certificate_file: Option<PathBuf>,
    /// Its private key, unencrypted
    #[arg(long, value_name = "FILE", requires = "client_certificate_file")]
    client_key_file: Option<PathBuf>,
}

/// What these files hold.
#[derive(Debug)]
pub(super) struct CommandTlsFiles {
    trust: Option<ListenerTrust>,
    client: Option<Identity>,
}

impl CommandTlsOptions {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub(super) fn read(&self) -> Result<CommandTlsFiles, String> {
        let trust = match (&self.ca_file, &self.server_certificate_file) {
            (Some(path), _) => {
                let roots = parsed(path, authorities)?;
                Some(ListenerTrust::Authorities(Arc::new(roots)))
            }
            (None, Some(path)) => {
                let certificate = parsed(path, Chain::parse)?.certificate();
                Some(ListenerTrust::Certificates(certificate.into_iter().collect()))
            }
            (None, None) => None,
        };
        let client = match (&self.client_certificate_file, &self.client_key_file) {
            (Some(certificate), Some(key)) => {
                let chain = parsed(certificate, Chain::parse)?;
                let identity = Identity::new(chain, parsed(key, PrivateKey::parse)?);
                Some(identity.map_err(|error| format!("{} {error}", key.display()))?)
            }
            // clap wants both.
            _ => None,
        };
        Ok(CommandTlsFiles { trust, client })
    }
}

impl CommandTlsFiles {
    /// TLS with a process, of which the configuration or its URL may say something, too.
    ///
    /// # Errors
    /// Nothing says whom to trust, or the certificates of the system cannot be read.
    pub(super) fn with(&self, mut replica: Replica) -> Result<Replica, String> {
        let known = replica.tls.as_ref().map(|tls| tls.trust().clone());
        let trust = match self.trust.clone().or(known) {
            None if replica.is_https => {
                let roots = system_authorities().map_err(|error| error.to_string())?;
                Some(ListenerTrust::Authorities(Arc::new(roots)))
            }
            None if self.client.is_some() => {
                return Err(
                    "--client-certificate-file needs --ca-file or --server-certificate-file, \
                            which say whom to trust"
                        .to_owned(),
                );
            }
            trust => trust,
        };
        replica.tls = trust.map(|trust| CommandTls::new(trust, self.client.as_ref()));
        Ok(replica)
    }

    /// The same for all of these.
    ///
    /// # Errors
    /// As [`CommandTlsFiles::with`].
    pub(super) fn with_all(&self, replicas: Vec<Replica>) -> Result<Vec<Replica>, String> {
        replicas.into_iter().map(|replica| self.with(replica)).collect()
    }
}

fn parsed<T, E: Display>(path: &Path, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, String> {
    let text = read_file(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => format!("{} is not PEM, which is text", path.display()),
        _ => format!("{}: {error}", path.display()),
    })?;
    parse(&text).map_err(|error| format!("{} {error}", path.display()))
}
