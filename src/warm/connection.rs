//! A connection to a gateway: HTTP/1.1, with TLS or without, one request after another, bodies read to their end.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use httparse::{EMPTY_HEADER, Response, Status};

use crate::certificate::command_tls::{CommandStream, CommandTls};
use crate::protocol::connection_options::options;

/// Timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause of an answer: longer than the gateway itself waits for a store.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest head of an answer, bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The longest line of a chunk, bytes.
const MAX_LINE_BYTES: u64 = 1024;

/// A gateway to ask.
#[derive(Debug, Clone)]
pub struct GatewayAddress {
    /// The `Host` of requests.
    pub host: String,
    /// The name or the address in its certificate.
    pub name: String,
    /// Tried in turn.
    pub addresses: Vec<SocketAddr>,
    /// The path before `/s3/`.
    pub prefix: String,
    /// `None`: it is asked without TLS.
    pub tls: Option<CommandTls>,
}

/// The answer of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAnswer {
    pub status: u16,
    /// Whether `Cache-Status` says that the store was not asked.
    pub is_hit: bool,
    /// Bytes of the body.
    pub length: u64,
    /// The first bytes of the body.
    pub body: Vec<u8>,
}

/// A gateway, and the connection to it.
#[derive(Debug)]
pub(super) struct FrontDoor<'a> {
    front: &'a GatewayAddress,
    stream: Option<FrontStream>,
}

type FrontStream = BufReader<CommandStream<TcpStream>>;

/// How a body ends.
enum Length {
    Known(u64),
    Chunked,
    UntilClose,
}

impl<'a> FrontDoor<'a> {
    pub(super) fn new(front: &'a GatewayAddress) -> Self {
        Self { front, stream: None }
    }

    pub(super) fn front(&self) -> &'a GatewayAddress {
        self.front
    }

    /// Asks for a path, already encoded. The first `keep` bytes of the body are in the answer, all of
    /// them are read. A connection that was closed while it was idle is opened again.
    ///
    /// # Errors
    /// No connection, no answer in time, or a body that ends early.
    pub(super) fn get(&mut self, path: &str, keep: usize) -> io::Result<GatewayAnswer> {
        let host = &self.front.host;
        let version = env!("CARGO_PKG_VERSION");
        // Where the gateway requires a user, this is one.
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: s3proxy-warm/{version}\r\n\
             X-Auth-Request-User: s3proxy-warm\r\n\r\n"
        );
        if let Some(stream) = self.stream.take() {
            match self.exchange(stream, &request, keep) {
                Err(error) if is_of_idle(&error) => {}
                answer => return answer,
            }
        }
        let stream = BufReader::new(self.connect()?);
        self.exchange(stream, &request, keep)
    }

    fn connect(&self) -> io::Result<CommandStream<TcpStream>> {
        let mut result = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        for address in &self.front.addresses {
            result = TcpStream::connect_timeout(address, CONNECT_TIMEOUT);
            if result.is_ok() {
                break;
            }
        }
        let stream = result?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        stream.set_nodelay(true)?;
        CommandStream::new(stream, &self.front.name, self.front.tls.as_ref())
    }

    fn exchange(
        &mut self,
        mut stream: FrontStream,
        request: &str,
        keep: usize,
    ) -> io::Result<GatewayAnswer> {
        stream.get_mut().write_all(request.as_bytes())?;
        stream.get_mut().flush()?;
        let head = read_head(&mut stream)?;
        let (status, is_hit, length, closes) = parse_head(&head)?;
        let mut body = KeptBody { kept: Vec::new(), keep, length: 0 };
        let is_known = !matches!(length, Length::UntilClose);
        match length {
            Length::Known(length) => body.read(&mut stream, length)?,
            Length::Chunked => body.read_chunks(&mut stream)?,
            Length::UntilClose => body.read_to_end(&mut stream)?,
        }
        if is_known && !closes {
            self.stream = Some(stream);
        }
        let KeptBody { kept, length, .. } = body;
        Ok(GatewayAnswer { status, is_hit, length, body: kept })
    }
}

/// Whether a connection that was used before may have been closed in the meantime.
fn is_of_idle(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The head of an answer, with the empty line at its end. A connection that ends before it begins is
/// `ConnectionAborted`.
fn read_head(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let left = u64::try_from(MAX_HEAD_BYTES - head.len()).unwrap_or(0);
        let read = match stream.by_ref().take(left).read_until(b'\n', &mut head) {
            // TLS that ends without saying so.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && head.is_empty() => 0,
            read => read?,
        };
        match read {
            0 if head.is_empty() => return Err(io::ErrorKind::ConnectionAborted.into()),
            0 => return Err(invalid("the head of the answer is too long, or not complete")),
            _ if head.ends_with(b"\r\n\r\n") => return Ok(head),
            _ => {}
        }
    }
}

/// Status, whether it is a hit of the cache, the length of the body, and whether the connection ends.
fn parse_head(head: &[u8]) -> io::Result<(u16, bool, Length, bool)> {
    let mut headers = [EMPTY_HEADER; 64];
    let mut response = Response::new(&mut headers);
    let parsed = response.parse(head).map_err(|_| invalid("the answer is not HTTP"))?;
    let (Status::Complete(_), Some(status)) = (parsed, response.code) else {
        return Err(invalid("the answer is not HTTP"));
    };
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let is_hit =
        value("cache-status").is_some_and(|text| text.split(';').any(|it| it.trim() == "hit"));
    let closes = response.headers.iter().any(|header| {
        let mut options = options(header.value);
        header.name.eq_ignore_ascii_case("connection")
            && options.any(|option| option.eq_ignore_ascii_case(b"close"))
    });
    let length = match (status, value("transfer-encoding"), value("content-length")) {
        (100..=199 | 204 | 304, _, _) => Length::Known(0),
        (_, Some(_), _) => Length::Chunked,
        (_, None, Some(digits)) => {
            Length::Known(digits.parse().map_err(|_| invalid("Content-Length is no number"))?)
        }
        (_, None, None) => Length::UntilClose,
    };
    Ok((status, is_hit, length, closes))
}

/// A body of which the first bytes are kept.
struct KeptBody {
    kept: Vec<u8>,
    keep: usize,
    length: u64,
}

impl KeptBody {
    /// Reads exactly this number of bytes.
    fn read(&mut self, stream: &mut impl BufRead, length: u64) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let piece = stream.fill_buf()?;
            if piece.is_empty() {
                return Err(invalid("the body of the answer ends early"));
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let kept = self.keep.saturating_sub(self.kept.len()).min(most);
            self.kept.extend(piece.iter().take(kept));
            stream.consume(most);
            left -= most as u64;
            self.length += most as u64;
        }
        Ok(())
    }

    fn read_to_end(&mut self, stream: &mut impl BufRead) -> io::Result<()> {
        loop {
            let piece = stream.fill_buf()?.len() as u64;
            if piece == 0 {
                return Ok(());
            }
            self.read(stream, piece)?;
        }
    }

    /// RFC 9112, section 7.1.
    fn read_chunks(&mut self, stream: &mut impl BufRead) -> io::Result<()> {
        loop {
            let line = read_line(stream)?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size).ok().map(str::trim);
            let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let size = size.ok_or_else(|| invalid("a chunk of the answer has no size"))?;
            self.read(stream, size)?;
            if size == 0 {
                // Trailers, up to an empty line.
                while read_line(stream)? != b"\r\n" {}
                return Ok(());
            }
            if read_line(stream)? != b"\r\n" {
                return Err(invalid("a chunk of the answer has another length"));
            }
        }
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(invalid("the body of the answer ends early"));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers the requests of one connection after another with these bytes.
    fn serve(answers: Vec<Vec<&'static str>>) -> GatewayAddress {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _server = std::thread::spawn(move || {
            for answers in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut stream = BufReader::new(stream);
                for answer in answers {
                    read_head(&mut stream).unwrap();
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        GatewayAddress {
            host: "gateway".to_owned(),
            name: "gateway".to_owned(),
            addresses: vec![address],
            prefix: String::new(),
            tls: None,
        }
    }

    #[test]
    fn bodies_are_read_to_their_end_and_the_connection_is_used_again() {
        let front = serve(vec![vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Status: s3proxy; hit; ttl=3\r\n\r\ntile",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nCache-Status: s3proxy; fwd=miss\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nto the end",
        ]]);
        let mut door = FrontDoor::new(&front);
        for (keep, status, is_hit, length, body) in [
            (9, 200, true, 4, "tile"),
            (3, 200, false, 5, "abc"),
            (9, 404, false, 0, ""),
            (0, 200, false, 10, ""),
        ] {
            let body = body.as_bytes().to_vec();
            let answer = GatewayAnswer { status, is_hit, length, body };
            assert_eq!(door.get("/", keep).unwrap(), answer);
        }
    }

    #[test]
    fn a_connection_that_was_closed_while_idle_is_opened_again() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntile";
        let front = serve(vec![vec![answer], vec![answer]]);
        let mut door = FrontDoor::new(&front);
        assert_eq!(door.get("/", 0).unwrap().length, 4);
        assert_eq!(door.get("/", 0).unwrap().length, 4);
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntile",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntile\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntile",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\ntile",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "SSH-2.0\r\n\r\n",
        ] {
            let front = serve(vec![vec![answer]]);
            assert!(FrontDoor::new(&front).get("/", 0).is_err(), "{answer}");
        }
    }
}
