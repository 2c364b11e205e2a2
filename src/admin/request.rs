//! Asking a running gateway on its admin listener.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::s3::encode::encode_path;

/// How long the gateway may take to answer; it needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of an answer is read, bytes.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Asks for a page about an object. `start` is the path before it, `object` is
/// `profile@bucket/key`, not encoded. Returns the status and the document. Blocks.
///
/// # Errors
/// When nobody answers.
pub fn ask(
    admin: SocketAddr,
    method: &str,
    start: &str,
    object: &str,
) -> io::Result<(String, String)> {
    let mut path = String::from(start);
    let (bucket, key) = object.split_once('/').unwrap_or((object, ""));
    path.push_str(bucket);
    path.push('/');
    encode_path(key.as_bytes(), &mut path);
    let mut connection = TcpStream::connect_timeout(&admin, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut said = String::new();
    connection.take(ANSWER_BYTES).read_to_string(&mut said)?;
    let status = said.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim_end());
    Ok((status, body.to_owned()))
}
