//! A raw HTTP/1.1 client: sends any bytes and reports exactly what came back, in which order,
//! and whether the answer ended as its framing says.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::answers::Answers;
use crate::canary;

/// The time limit for anything that should happen at once. Reaching it fails the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The number of body bytes searched for secrets; the tests compare the whole body.
const SEARCHED_OF_AN_OBJECT: usize = 4096;

/// One connection to the gateway.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    record: Answers,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// `Content-Length` satisfied, the last chunk seen, or no body by definition.
    Whole,
    /// The connection ended first: the client can detect that bytes are missing.
    Cut,
    /// Neither length nor chunks: a reader cannot distinguish a whole body from a short one.
    UntilClose,
}

/// The final state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Closed,
    Reset,
    Open,
}

/// The status line and headers of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) version: String,
    pub(crate) status: u16,
    /// In the order and spelling received.
    pub(crate) headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) ending: Ending,
}

impl Head {
    /// The one value of a header; a header sent twice fails the test.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} was sent {} times: {self:?}", values.len());
        values.first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, v)| v.as_str()).collect()
    }

    /// Lower-case header names, sorted, each once.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.headers.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// The value of a field in the body of a refusal with this cause and the id of this request.
    #[track_caller]
    pub(crate) fn refused(&self, cause: &str, field: &str) -> serde_json::Value {
        let body = self.json();
        assert_eq!(body["cause"], cause, "{body}");
        assert_eq!(body["request_id"], self.request_id(), "{body}");
        body[field].clone()
    }

    /// The request id assigned by the gateway.
    pub(crate) fn request_id(&self) -> &str {
        self.header("x-request-id").expect("an answer with X-Request-ID")
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the gateway accepts")
    }

    /// For a gateway that may have ended.
    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new(), record: Answers::of(address) })
    }

    /// A client with a small receive buffer.
    pub(crate) fn narrow(address: SocketAddr) -> Self {
        Self { stream: narrow(address), unread: Vec::new(), record: Answers::of(address) }
    }

    /// Writes the bytes; if the gateway has already closed the connection, reading detects it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.record.sent(bytes.as_ref());
        match self.stream.write_all(bytes.as_ref()) {
            Err(e) if !matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("writing to the gateway: {e}")
            }
            _ => {}
        }
    }

    /// Whether the gateway still accepts bytes; for clients that trickle.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.record.sent(bytes);
        self.stream.write_all(bytes).is_ok()
    }

    /// Closes the sending half of the connection, as `nc -N` does after its input.
    pub(crate) fn end_sending(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("an open connection");
    }

    /// The same, where the gateway may have closed the connection already.
    pub(crate) fn try_end_sending(&mut self) -> bool {
        self.stream.shutdown(std::net::Shutdown::Write).is_ok()
    }

    /// Sends a request with a `Host` and these headers, leaving the connection open.
    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.send(text);
    }

    /// One exchange on this connection.
    pub(crate) fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.request(method, path, headers);
        self.answer(method).unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// The next answer; `None` when the connection ends without one.
    pub(crate) fn answer(&mut self, method: &str) -> Option<Answer> {
        let head = self.head()?;
        let (body, ending) = self.body(&head, method);
        Some(Answer { head, body, ending })
    }

    /// The head of the next answer alone, its body left unread.
    pub(crate) fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                canary::search("the head of an answer", &head);
                self.record.head(&head);
                return Some(parse_head(&head));
            }
            if !self.fill(PATIENCE) {
                assert!(
                    self.unread.is_empty(),
                    "the connection ended inside a head: {:?}",
                    String::from_utf8_lossy(&self.unread)
                );
                self.record.none();
                return None;
            }
        }
    }

    /// The body that belongs to a head already read.
    pub(crate) fn body(&mut self, head: &Head, method: &str) -> (Vec<u8>, Ending) {
        let (body, ending) = self.body_as_it_comes(head, method);
        self.record.body(&body, ending != Ending::Cut, &format!("{ending:?}"));
        // An answer with an entity tag is an object.
        let most = if head.all("etag").is_empty() { body.len() } else { SEARCHED_OF_AN_OBJECT };
        if !body.is_empty() {
            canary::search("the body of an answer", &body[..most.min(body.len())]);
        }
        (body, ending)
    }

    fn body_as_it_comes(&mut self, head: &Head, method: &str) -> (Vec<u8>, Ending) {
        if method == "HEAD" || matches!(head.status, 100..=199 | 204 | 304) {
            return (Vec::new(), Ending::Whole);
        }
        if let Some(coding) = head.header("transfer-encoding") {
            assert_eq!(coding, "chunked");
            assert_eq!(head.header("content-length"), None, "length and chunks: {head:?}");
            return self.chunks();
        }
        match head.header("content-length") {
            Some(length) => {
                let length: usize = length.parse().expect("a decimal Content-Length");
                let whole = self.fill_to(length);
                let taken = length.min(self.unread.len());
                let rest = self.unread.split_off(taken);
                let body = std::mem::replace(&mut self.unread, rest);
                (body, if whole { Ending::Whole } else { Ending::Cut })
            }
            None => {
                while self.fill(PATIENCE) {}
                (std::mem::take(&mut self.unread), Ending::UntilClose)
            }
        }
    }

    /// As [`Client::body`] for a body with `Content-Length`, but counts the bytes and does not
    /// store them.
    pub(crate) fn count_body(&mut self, head: &Head) -> (usize, Ending) {
        let length = head.header("content-length").and_then(|length| length.parse().ok());
        let length: usize = length.expect("a Content-Length");
        let mut read = 0;
        loop {
            if read == 0 {
                canary::search("the body of an answer", &self.unread);
            }
            read += self.unread.len();
            self.unread.clear();
            if read >= length {
                return (read, Ending::Whole);
            }
            if !self.fill(PATIENCE) {
                return (read, Ending::Cut);
            }
        }
    }

    fn chunks(&mut self) -> (Vec<u8>, Ending) {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = find(&self.unread, b"\r\n") {
                    let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                    break String::from_utf8(line).expect("a chunk size");
                }
                if !self.fill(PATIENCE) {
                    return (body, Ending::Cut);
                }
            };
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a hexadecimal size");
            if !self.fill_to(size + 2) {
                body.append(&mut self.unread);
                return (body, Ending::Cut);
            }
            body.extend(self.unread.drain(..size));
            assert_eq!(self.unread.drain(..2).as_slice(), b"\r\n", "the end of a chunk");
            if size == 0 {
                return (body, Ending::Whole);
            }
        }
    }

    /// The state of the connection within this time; further bytes are discarded.
    pub(crate) fn fate(&mut self, within: Duration) -> Fate {
        let deadline = Instant::now() + within;
        let mut scrap = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Fate::Open;
            }
            self.stream.set_read_timeout(Some(left)).expect("a read timeout");
            match self.stream.read(&mut scrap) {
                Ok(0) => return Fate::Closed,
                Ok(n) => self.unread.extend_from_slice(&scrap[..n]),
                Err(e) if would_block(&e) => return Fate::Open,
                Err(_) => return Fate::Reset,
            }
        }
    }

    /// Whether bytes of an answer are available or arrive within this time.
    pub(crate) fn wait_for_bytes(&mut self, within: Duration) -> bool {
        if self.unread.is_empty() {
            self.stream.set_read_timeout(Some(within)).expect("a read timeout");
            let mut buffer = [0; 4096];
            if let Ok(n) = self.stream.read(&mut buffer) {
                self.unread.extend_from_slice(&buffer[..n]);
            }
        }
        !self.unread.is_empty()
    }

    /// Bytes received that belong to no answer read so far.
    pub(crate) fn leftover(&self) -> &[u8] {
        &self.unread
    }

    /// Reads at least this many bytes; `false` if the connection ends first.
    pub(crate) fn fill_to(&mut self, length: usize) -> bool {
        while self.unread.len() < length {
            if !self.fill(PATIENCE) {
                return false;
            }
        }
        true
    }

    /// One read; `false` at the end of the connection, however it ended.
    fn fill(&mut self, within: Duration) -> bool {
        let mut buffer = [0; 64 * 1024];
        self.stream.set_read_timeout(Some(within)).expect("a read timeout");
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                self.unread.extend_from_slice(&buffer[..n]);
                true
            }
            Err(e) if would_block(&e) => panic!(
                "nothing came for {within:?}; so far {:?}",
                String::from_utf8_lossy(&self.unread)
            ),
            Err(_) => false,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.unread.is_empty() && !std::thread::panicking() {
            canary::search("what a client left unread", &self.unread);
        }
    }
}

/// One request on a connection of its own, which the request asks to be closed. Bytes after the
/// answer fail the test.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut client = Client::connect(address);
    let mut with_close = headers.to_vec();
    with_close.push(("Connection", "close"));
    let answer = client.exchange(method, path, &with_close);
    assert_ne!(client.fate(PATIENCE), Fate::Open, "{method} {path}: asked to close, still open");
    assert_eq!(String::from_utf8_lossy(client.leftover()), "", "{method} {path}: bytes too many");
    answer
}

/// A connection with a small receive buffer.
pub(crate) fn narrow(address: SocketAddr) -> TcpStream {
    let connecting = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(16 * 1024)?;
        socket.connect(address).await?.into_std()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let stream = runtime.expect("a runtime").block_on(connecting).expect("the gateway accepts");
    stream.set_nonblocking(false).expect("a blocking socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
    stream
}

pub(crate) fn would_block(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(bytes: &[u8]) -> Head {
    let text = std::str::from_utf8(bytes).expect("a head of UTF-8");
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let status_line = lines.next().expect("a status line");
    let (version, rest) = status_line.split_once(' ').expect("a version");
    let status = rest.get(..3).and_then(|digits| digits.parse().ok());
    let split = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a header: {line:?}"));
        (name.to_owned(), value.trim().to_owned())
    };
    Head {
        version: version.to_owned(),
        status: status.unwrap_or_else(|| panic!("a status: {status_line:?}")),
        headers: lines.map(split).collect(),
    }
}
