//! An HTTP/1.1 client that sends exactly the bytes it is given and returns the whole answer.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// One answer, its body whole and without transfer coding.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in the order received.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of the header called `name` (lower case).
    ///
    /// # Panics
    /// When it was sent more than once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(each, _)| each == name);
        let first = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} was sent twice: {:?}", self.headers);
        first
    }

    /// The body as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request on a connection of its own and reads the answer to its end.
///
/// # Panics
/// When the server cannot be reached, takes longer than 20 s over a read, or sends an answer whose
/// framing is wrong or whose body is shorter than announced.
pub(crate) fn ask(
    server: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {server}\r\n"));
    }
    if matches!(method, "PUT" | "POST") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");

    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("write timeout");
    stream.write_all(head.as_bytes()).expect("send the head");
    stream.write_all(body).expect("send the body");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("read the answer");
    parse(method, &received)
}

fn parse(method: &str, received: &[u8]) -> Answer {
    let end = received
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no end of the head: {}", String::from_utf8_lossy(received)));
    let head = std::str::from_utf8(&received[..end]).expect("head in UTF-8");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("status line");
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let headers = lines
        .map(|line| line.split_once(':').unwrap_or_else(|| panic!("header line {line:?}")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status: status.unwrap_or_else(|| panic!("status line {status_line:?}")),
        headers,
        body: received[end + 4..].to_vec(),
    };
    if answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        answer.body = unchunk(&answer.body);
    } else if method == "HEAD" || answer.status == 304 {
        assert!(answer.body.is_empty(), "a body after the answer to {method}: {answer:?}");
    } else if let Some(length) = answer.header("content-length") {
        assert_eq!(length.parse(), Ok(answer.body.len()), "cut short, or too long");
    }
    answer
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("size of a chunk");
        let size = std::str::from_utf8(&rest[..end]).expect("size of a chunk in ASCII");
        let size = usize::from_str_radix(size.trim(), 16).expect("size of a chunk");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}
