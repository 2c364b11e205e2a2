//! The gateway as the quickstart runs it: configured by the environment alone, as its container is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Names and values of environment variables.
pub(crate) type Environment = BTreeMap<String, String>;

/// What the gateway is told.
///
/// One profile, `hips`, with its keys in the URL of its endpoint. The policy that keeps scripts in
/// buckets from running is off, because the viewer is such a script.
pub(crate) fn environment(
    listen: SocketAddr,
    store: SocketAddr,
    access_key: &str,
    secret_key: &str,
) -> Environment {
    [
        ("S3PROXY_LISTEN", listen.to_string()),
        ("S3_ENDPOINT_URL", format!("http://{store}")),
        ("LSST_RESOURCES_S3_PROFILE_hips", format!("http://{access_key}:{secret_key}@{store}")),
        ("S3PROXY_CONTENT_SECURITY_POLICY", "false".to_owned()),
        ("S3PROXY_CACHE_MAX_AGE", "86400".to_owned()),
        ("S3PROXY_LOG_LEVEL", "WARNING".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Runs the gateway until Ctrl-C or SIGTERM.
///
/// # Errors
/// One line that says what is wrong with the configuration, or why the gateway cannot start.
pub(crate) fn run(_environment: &Environment) -> Result<ExitCode, String> {
    // TODO: the gateway itself.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(tokio::signal::ctrl_c()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}
