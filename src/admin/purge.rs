//! `s3proxy purge`: purges objects of a running gateway through its admin listener.

use std::net::SocketAddr;

use crate::admin::request::send;

/// The message for a target of another form.
pub const TARGET: &str =
    "the target must be PROFILE@BUCKET/KEY, or PROFILE@BUCKET/PREFIX/ for all objects below it";

/// Purges a target of the gateway with this admin address. Returns its answer.
///
/// # Errors
/// The gateway cannot be reached or refuses.
pub fn purge(admin: SocketAddr, target: &str) -> Result<String, String> {
    let answer = send(admin, "PURGE", "/", target);
    let (status, body) =
        answer.map_err(|error| format!("{target}: no answer from {admin}: {error}"))?;
    if status == "200" { Ok(body) } else { Err(format!("{target}: {status} {body}")) }
}
