//! The gateway as the quickstart runs it: configured by environment variables only, like its
//! container.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use s3proxy::config::Flags;
use s3proxy::reload::Sources;
use s3proxy::{logging, server};

/// Names and values of environment variables.
pub(crate) type Environment = BTreeMap<String, String>;

/// What the environment cannot say: the settings of the profile.
pub(crate) const SETTINGS: &str =
    "profiles:\n  hips: { buckets: [sky], listed: true, listing: true, viewer: true }\n";

/// The settings of the gateway.
///
/// One profile, `hips`, with its access key in the URL of its endpoint. `config` is a file with
/// [`SETTINGS`].
pub(crate) fn environment(
    (listen, admin): (SocketAddr, SocketAddr),
    config: &Path,
    store: SocketAddr,
    access_key: &str,
    secret_key: &str,
) -> Environment {
    [
        ("S3PROXY_LISTEN", listen.to_string()),
        ("S3PROXY_ADMIN_LISTEN", admin.to_string()),
        ("S3PROXY_CONFIG", config.display().to_string()),
        ("S3_ENDPOINT_URL", format!("http://{store}")),
        ("LSST_RESOURCES_S3_PROFILE_hips", format!("http://{access_key}:{secret_key}@{store}")),
        ("S3PROXY_CORS_ORIGINS", "*".to_owned()),
        ("S3PROXY_CACHE_MAX_AGE", "86400".to_owned()),
        ("S3PROXY_LOG_LEVEL", "WARNING".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Runs the gateway until Ctrl-C or SIGTERM.
///
/// # Errors
/// One line that describes the configuration error, or why the gateway cannot start.
pub(crate) fn run(environment: &Environment) -> Result<ExitCode, String> {
    let sources = Sources {
        environment: environment.clone(),
        flags: Flags::default(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let start = sources.load().map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    })?;
    let log = logging::install(start.loaded.config.log).map_err(|error| error.to_string())?;
    server::run(&start, false).map_err(|error| error.to_string())?;
    log.flush();
    Ok(ExitCode::SUCCESS)
}
