//! `s3proxy purge`: asks the running gateway, on its admin listener, to forget objects.

use std::net::SocketAddr;

use crate::admin::request::ask;

/// What can be purged.
pub const TARGET: &str =
    "a purge names PROFILE@BUCKET/KEY, or PROFILE@BUCKET/PREFIX/ for everything below it";

/// Asks the gateway with this admin address to forget a target. Returns what it says.
///
/// # Errors
/// When it cannot be reached, or refuses.
pub fn purge(admin: SocketAddr, target: &str) -> Result<String, String> {
    let said = ask(admin, "PURGE", "/", target);
    let (status, body) =
        said.map_err(|error| format!("{target}: no answer from {admin}: {error}"))?;
    if status == "200" { Ok(body) } else { Err(format!("{target}: {status} {body}")) }
}
