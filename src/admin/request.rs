//! Requests to the admin listener of a running gateway.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::admin::replicas::Replica;
use crate::certificate::command_tls::CommandStream;
use crate::s3::encode::encode_path;

/// Timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of writing and reading; the gateway answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of an answer, bytes: a status has a few hundred bytes for each profile.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// Sends a request about an object. `prefix` is the path before `object`, which is `profile@bucket/key`,
/// not encoded. Returns the status and the body. Blocks.
///
/// # Errors
/// No connection, or no answer before the timeout.
pub fn send(
    replica: &Replica,
    method: &str,
    prefix: &str,
    object: &str,
) -> io::Result<(String, String)> {
    let mut path = String::from(prefix);
    let (bucket, key) = object.split_once('/').unwrap_or((object, ""));
    path.push_str(bucket);
    path.push('/');
    encode_path(key.as_bytes(), &mut path);
    send_path(replica, method, &path)
}

/// Sends a request with this path, already encoded, to the first address of the process that accepts a
/// connection. Returns the status and the body. Blocks.
///
/// # Errors
/// No connection, no answer before the timeout, or an answer that is too large.
pub fn send_path(replica: &Replica, method: &str, path: &str) -> io::Result<(String, String)> {
    let mut result = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
    for address in &replica.addresses {
        result = TcpStream::connect_timeout(address, CONNECT_TIMEOUT).map(|it| (*address, it));
        if result.is_ok() {
            break;
        }
    }
    let (admin, connection) = result?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let mut stream = CommandStream::new(connection, &replica.host, replica.tls.as_ref())?;
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = String::new();
    let read = stream.take(MAX_ANSWER_BYTES + 1).read_to_string(&mut answer)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_ANSWER_BYTES) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too large"));
    }
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim_end());
    Ok((status, body.to_owned()))
}
