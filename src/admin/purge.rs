//! `s3proxy purge`: asks the running gateway, on its admin listener, to forget objects.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::s3::encode::encode_path;

/// What can be purged.
pub const TARGET: &str =
    "a purge names PROFILE@BUCKET/KEY, or PROFILE@BUCKET/PREFIX/ for everything below it";

/// How long the gateway may take to answer; it needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the gateway with this admin address to forget a target. Returns what it says.
///
/// # Errors
/// When it cannot be reached, or refuses.
pub fn purge(admin: SocketAddr, target: &str) -> Result<String, String> {
    let said = ask(admin, target);
    let said = said.map_err(|error| format!("{target}: no answer from {admin}: {error}"))?;
    let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim_end());
    let status = said.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(body.to_owned()) } else { Err(format!("{target}: {status} {body}")) }
}

fn ask(admin: SocketAddr, target: &str) -> std::io::Result<String> {
    let mut path = String::from("/");
    let (bucket, key) = target.split_once('/').unwrap_or((target, ""));
    path.push_str(bucket);
    path.push('/');
    encode_path(key.as_bytes(), &mut path);
    let mut connection = TcpStream::connect_timeout(&admin, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let request = format!("PURGE {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut said = String::new();
    connection.take(64 * 1024).read_to_string(&mut said)?;
    Ok(said)
}
