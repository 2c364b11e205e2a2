//! Requests to the admin listener of a running gateway.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::s3::encode::encode_path;

/// Timeout of connecting, writing and reading; the gateway answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of an answer, bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Sends a request about an object. `prefix` is the path before `object`, which is `profile@bucket/key`,
/// not encoded. Returns the status and the body. Blocks.
///
/// # Errors
/// No connection, or no answer before the timeout.
pub fn send(
    admin: SocketAddr,
    method: &str,
    prefix: &str,
    object: &str,
) -> io::Result<(String, String)> {
    let mut path = String::from(prefix);
    let (bucket, key) = object.split_once('/').unwrap_or((object, ""));
    path.push_str(bucket);
    path.push('/');
    encode_path(key.as_bytes(), &mut path);
    let mut connection = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim_end());
    Ok((status, body.to_owned()))
}
