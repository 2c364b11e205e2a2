//! The certificates of TLS, in a reload: which may not be used, and the exchange of those in force.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use log::{error, info, warn};

use crate::certificate::Identity;
use crate::config::{Config, TlsFiles};
use crate::downstream::tls::{TlsAcceptor, TlsAcceptors};
use crate::protocol::timestamp::rfc3339;

/// The acceptors of this process with their files in this configuration. A listener that has appeared or gone needs a
/// restart.
fn pairs<'a>(
    acceptors: &'a TlsAcceptors,
    config: &'a Config,
) -> impl Iterator<Item = (&'a Arc<TlsAcceptor>, &'a TlsFiles)> {
    let public = acceptors.public.as_ref().zip(config.tls.as_ref().map(|tls| &tls.files));
    public.into_iter().chain(acceptors.admin.as_ref().zip(config.admin_tls.as_ref()))
}

/// The files of all listeners with TLS.
pub(super) fn paths(config: &Config) -> Vec<PathBuf> {
    let public = config.tls.iter().flat_map(|tls| &tls.files.paths);
    public.chain(config.admin_tls.iter().flat_map(|files| &files.paths)).cloned().collect()
}

/// Certificates that are not valid now. One that is in force already was the best that there was.
pub(super) fn problems(acceptors: &TlsAcceptors, config: &Config, now: SystemTime) -> Vec<String> {
    let mut problems = Vec::new();
    for (acceptor, files) in pairs(acceptors, config) {
        for identity in &files.identities {
            if !acceptor.shows(identity) && !identity.is_valid(now) {
                problems.push(not_valid_line(identity));
            }
        }
    }
    problems
}

/// Later handshakes use the certificates and the authorities of this configuration.
pub(super) fn replace(acceptors: &TlsAcceptors, config: &Config) {
    if acceptors.admin.is_some() != config.admin_tls.is_some() {
        warn!("restart required for: admin.tls");
    }
    for (acceptor, files) in pairs(acceptors, config) {
        let setting = acceptor.side.client_ca_setting();
        let new: Vec<_> = files.identities.iter().filter(|it| !acceptor.shows_chain(it)).collect();
        let authorities = files.client_authorities.as_deref();
        let has_other_authorities = !acceptor.accepts_clients_of(authorities);
        match acceptor.replace(files) {
            Ok(()) => {
                for identity in new {
                    info!("{} is in use", certificate_line(identity));
                }
                match authorities {
                    Some(_) if has_other_authorities => {
                        info!("{setting}: other authorities of clients are in use");
                    }
                    None if has_other_authorities => {
                        info!("{setting} is not set any more: clients need no certificate");
                    }
                    _ => {}
                }
            }
            Err(error) => {
                error!("{setting}: {error}; the previous one stays in force");
            }
        }
    }
}

/// The line of the log on a certificate that has expired, or is not valid yet.
#[must_use]
pub fn not_valid_line(identity: &Identity) -> String {
    let from = rfc3339(identity.not_before);
    format!("{}: it is not valid now; it is valid from {from} on", certificate_line(identity))
}

/// A certificate in one line of the log.
#[must_use]
pub fn certificate_line(identity: &Identity) -> String {
    let names = match identity.names.is_empty() {
        true => "no name".to_owned(),
        false => identity.names.join(", "),
    };
    format!("TLS certificate for {names}, valid until {}", rfc3339(identity.not_after))
}
