//! The settings of the tier that replicas share, and the files that they name.

use std::path::Path;

use crate::config::layers::{Layers, Location, Reported};
use crate::config::load::{Inputs, unreadable};
use crate::config::problem::Problem;
use crate::config::profiles::ResolvedProfiles;
use crate::config::settings::cache::{WrittenShared, shared};
use crate::config::settings::row::Row;
use crate::config::{EngineConfig, SharedConfig};
use crate::profile::DEFAULT_LABEL;
use crate::s3::secret::Secret;

/// The shortest secret that values are authenticated with, bytes.
const MIN_MAC_KEY: usize = 32;

/// Reads the settings of the shared tier.
pub(in crate::config) fn shared(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
) -> Result<Option<SharedConfig>, Reported> {
    let written = WrittenShared::read(layers, &Location::default())?;
    let WrittenShared {
        url,
        password_file,
        ca_file,
        mac_key_file,
        prefix,
        timeout,
        max_object,
        profiles,
    } = written;
    let url_key = shared::url().row.path;
    let Some(url) = url else { return Ok(None) };
    if let Some(path) = &password_file {
        let row = shared::password_file().row;
        secret(layers, inputs, &row, path, 1);
    }
    let mac_key = mac_key_file
        .as_deref()
        .and_then(|path| secret(layers, inputs, &shared::mac_key_file().row, path, MIN_MAC_KEY));
    if let Some(path) = &ca_file {
        let row = shared::ca_file().row;
        check_certificates(layers, inputs, &row, path);
        if !url.tls {
            let message = format!("{} needs a {url_key} that begins with rediss", row.path);
            layers.report.contradiction(&row, &shared::url().row, &message);
        }
    }
    let engine = EngineConfig { url, password_file, ca_file, timeout };
    Ok(Some(SharedConfig { engine, prefix, max_object, mac_key, profiles }))
}

/// The secret in a file, without the line end.
fn secret(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    row: &Row,
    path: &Path,
    least: usize,
) -> Option<Secret> {
    let source = layers.report.source(row.path);
    let problem = match (inputs.read)(path) {
        Ok(text) if text.trim().len() >= least => return Some(Secret::new(text.trim().to_owned())),
        Ok(text) if text.trim().is_empty() => Problem::new(source, "names an empty file"),
        Ok(_) => Problem::new(source, format!("names a file with less than {least} characters")),
        Err(error) => unreadable(source, path, &error),
    };
    layers.report.problem(problem.key(row.path).value(path.display().to_string()));
    None
}

/// Reports a file that holds no certificate.
pub(in crate::config) fn check_certificates(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    row: &Row,
    path: &Path,
) {
    let source = layers.report.source(row.path);
    let problem = match (inputs.read)(path) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => return,
        Ok(_) => {
            Problem::new(source, "contains no PEM certificate").value(path.display().to_string())
        }
        Err(error) => unreadable(source, path, &error),
    };
    layers.report.problem(problem.key(row.path));
}

/// Reports names of profiles that there are not.
pub(in crate::config) fn check_profiles(
    layers: &mut Layers<'_>,
    config: Option<&SharedConfig>,
    resolved: &ResolvedProfiles,
) {
    let row = shared::profiles().row;
    for name in config.iter().filter_map(|config| config.profiles.as_ref()).flatten() {
        if resolved.has(Some(name)) {
            continue;
        }
        let ResolvedProfiles { profiles, wrong, .. } = resolved;
        let source = layers.report.source(row.path);
        let names = profiles.default.iter().map(|_| DEFAULT_LABEL);
        let names = names.chain(profiles.named.keys().chain(wrong).map(String::as_str));
        let names = names.collect::<Vec<_>>();
        let message = format!("there is no such profile; there are {}", names.join(", "));
        layers.report.problem(Problem::new(source, message).key(row.path).value(name.clone()));
    }
}
