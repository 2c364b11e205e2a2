//! The gateway as the quickstart runs it: with a configuration file and a credentials file, as on a
//! server. Other commands of `s3proxy` find the running gateway by the same file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use s3proxy::config::Flags;
use s3proxy::reload::Sources;
use s3proxy::{logging, server};

/// What the configuration names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// Of the gateway.
    pub(crate) listen: SocketAddr,
    /// Of its admin listener.
    pub(crate) admin: SocketAddr,
    /// Of the S3 server.
    pub(crate) store: SocketAddr,
}

/// Writes both files into a folder that no other user can read. Returns the path of the configuration.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_files(
    folder: &Path,
    addresses: Addresses,
    access_key: &str,
    secret_key: &str,
) -> io::Result<PathBuf> {
    let credentials = folder.join("aws-credentials.ini");
    fs::write(
        &credentials,
        format!("[hips]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"),
    )?;
    let config = folder.join("s3proxy.yaml");
    fs::write(&config, settings(addresses, &credentials))?;
    Ok(config)
}

fn settings(Addresses { listen, admin, store }: Addresses, credentials: &Path) -> String {
    let credentials = credentials.display();
    format!(
        "listen: {listen}\n\
         admin: {{ listen: \"{admin}\" }}\n\
         credentials_file: '{credentials}'\n\
         cache_max_age: 1d\n\
         cors: {{ origins: [\"*\"] }}\n\
         log: {{ level: WARNING }}\n\
         profiles:\n  \
         hips: {{ endpoint: \"http://{store}\", buckets: [sky], listed: true, surveys: [sky/, sky/intensity/], listing: true, viewer: true }}\n"
    )
}

/// The inputs of the gateway: this configuration file.
pub(crate) fn sources(config: &Path) -> Sources {
    let environment = ("S3PROXY_CONFIG".to_owned(), config.display().to_string());
    Sources {
        environment: BTreeMap::from([environment]),
        flags: Flags::default(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Runs the gateway until Ctrl-C or SIGTERM.
///
/// # Errors
/// One line that describes the configuration error, or why the gateway cannot start.
pub(crate) fn run(config: &Path) -> Result<ExitCode, String> {
    let start = sources(config).load().map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    })?;
    let log = logging::install(start.loaded.config.log).map_err(|error| error.to_string())?;
    server::run(&start, false).map_err(|error| error.to_string())?;
    log.flush();
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use s3proxy::config::Listen;

    use super::*;

    #[test]
    fn the_files_are_a_configuration_without_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let [listen, admin, store] =
            [8080, 9090, 9000].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let config =
            write_files(folder.path(), Addresses { listen, admin, store }, "ID", "SECRET").unwrap();
        let loaded = sources(&config).load().unwrap().loaded;
        assert_eq!(loaded.warnings, [""; 0]);
        assert_eq!(loaded.config.gateway.listen, [Listen::plain(listen)]);
    }
}
