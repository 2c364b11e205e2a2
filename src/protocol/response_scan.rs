//! Takes a response of HTTP/1.1 apart, as its bytes come: the head, and the bytes of the body without their framing
//! (RFC 9112, sections 4, 6 and 7). A response that ends before its body is complete is never taken for whole.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

/// More header fields than any response has.
const MAX_FIELDS: usize = 256;
/// Longer than any head.
const MAX_HEAD: usize = 1 << 20;

/// Fields of a connection: HTTP/2 has none (RFC 9113, section 8.2.2).
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What the next bytes of a response are.
#[derive(Debug)]
pub enum Part {
    /// This many bytes of framing, or of a head that is not complete.
    Framing { length: usize },
    /// The last `length` bytes of the head. No body follows if the response ends with it.
    Head { length: usize, response: Response<()>, ends: bool },
    /// This many bytes of the body, the last ones if the response ends with them.
    Body { length: usize, ends: bool },
    /// This many bytes of framing, with which the response ends.
    End { length: usize },
}

/// These bytes are no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoResponse;

/// The state between two writes.
#[derive(Debug)]
pub struct ResponseScan {
    /// The request was HEAD: no body follows.
    is_head: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In the head, which began with these bytes.
    Head(Vec<u8>),
    /// In a body with this many bytes left.
    Body(u64),
    /// In the line with the size of a chunk: the size so far, and whether its digits have ended.
    ChunkSize(u64, bool),
    /// In a chunk with this many bytes left.
    Chunk(u64),
    /// After a chunk, before its line feed.
    ChunkEnd,
    /// In the lines after the last chunk: whether the line has any bytes.
    Trailer(bool),
    Ended,
}

impl ResponseScan {
    /// The scan of the response to a request, by whether that is HEAD.
    #[must_use]
    pub fn new(is_head: bool) -> Self {
        Self { is_head, place: Place::Head(Vec::new()) }
    }

    /// Whether the response is complete.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.place, Place::Ended)
    }

    /// What the first of these bytes, at least one, are. They have to be passed again from the end of the part
    /// on. Of a part of the body, [`ResponseScan::took`] says how much was taken.
    ///
    /// # Errors
    /// They are no part of a response.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Part, NoResponse> {
        let first = *bytes.first().ok_or(NoResponse)?;
        let length = 1;
        match &mut self.place {
            Place::Head(_) => self.head(bytes),
            Place::Body(left) | Place::Chunk(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let ends = bytes.len() >= most && matches!(self.place, Place::Body(_));
                Ok(Part::Body { length: bytes.len().min(most), ends })
            }
            Place::ChunkSize(size, ended) => {
                match (first, char::from(first).to_digit(16)) {
                    (b'\n', _) => {
                        let size = *size;
                        self.place =
                            if size == 0 { Place::Trailer(false) } else { Place::Chunk(size) };
                    }
                    (_, Some(digit)) if !*ended => {
                        let shifted = size.checked_mul(16).ok_or(NoResponse)?;
                        *size = shifted + u64::from(digit);
                    }
                    _ => *ended = true,
                }
                Ok(Part::Framing { length })
            }
            Place::ChunkEnd => {
                match first {
                    b'\n' => self.place = Place::ChunkSize(0, false),
                    b'\r' => {}
                    _ => return Err(NoResponse),
                }
                Ok(Part::Framing { length })
            }
            Place::Trailer(has_bytes) => match first {
                b'\n' if !*has_bytes => {
                    self.place = Place::Ended;
                    Ok(Part::End { length })
                }
                _ => {
                    *has_bytes = !matches!(first, b'\r' | b'\n') || (*has_bytes && first == b'\r');
                    Ok(Part::Framing { length })
                }
            },
            Place::Ended => Err(NoResponse),
        }
    }

    /// This many bytes of the body were taken.
    pub fn took(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        match &mut self.place {
            Place::Body(left) => {
                *left = left.saturating_sub(bytes);
                if *left == 0 {
                    self.place = Place::Ended;
                }
            }
            Place::Chunk(left) => {
                *left = left.saturating_sub(bytes);
                if *left == 0 {
                    self.place = Place::ChunkEnd;
                }
            }
            _ => {}
        }
    }

    /// The head, once all of it is there. An interim response is left out (RFC 9110, section 15.2).
    fn head(&mut self, bytes: &[u8]) -> Result<Part, NoResponse> {
        let Place::Head(begun) = &mut self.place else { return Err(NoResponse) };
        let before = begun.len();
        begun.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let end = memchr::memmem::find(begun.get(from..).unwrap_or_default(), b"\r\n\r\n");
        let Some(end) = end.map(|at| from + at + 4) else {
            return if begun.len() > MAX_HEAD {
                Err(NoResponse)
            } else {
                Ok(Part::Framing { length: bytes.len() })
            };
        };
        begun.truncate(end);
        let length = end - before;
        let (response, framing) = parsed(begun)?;
        let status = response.status();
        if status.is_informational() {
            begun.clear();
            return Ok(Part::Framing { length });
        }
        let has_body = !self.is_head
            && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            && framing != Framing::Length(0);
        self.place = match framing {
            _ if !has_body => Place::Ended,
            Framing::Length(bytes) => Place::Body(bytes),
            Framing::Chunked => Place::ChunkSize(0, false),
            // It would end with the connection: nothing tells whether it is whole.
            Framing::None => return Err(NoResponse),
        };
        Ok(Part::Head { length, response, ends: !has_body })
    }
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    None,
}

/// A head without the fields that belong to its connection.
fn parsed(head: &[u8]) -> Result<(Response<()>, Framing), NoResponse> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head_of = httparse::Response::new(&mut fields);
    if !head_of.parse(head).is_ok_and(|parsed| parsed.is_complete()) {
        return Err(NoResponse);
    }
    let mut response = Response::new(());
    let status = head_of.code.and_then(|code| StatusCode::from_u16(code).ok());
    *response.status_mut() = status.ok_or(NoResponse)?;
    let headers = response.headers_mut();
    headers.reserve(head_of.headers.len());
    let mut framing = Framing::None;
    for field in head_of.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| NoResponse)?;
        if name == TRANSFER_ENCODING {
            framing = Framing::Chunked;
        }
        if [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE].contains(&name) {
            continue;
        }
        if name == CONTENT_LENGTH && framing == Framing::None {
            let text = std::str::from_utf8(field.value).map_err(|_| NoResponse)?;
            framing = Framing::Length(text.trim().parse().map_err(|_| NoResponse)?);
        }
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| NoResponse)?);
    }
    Ok((response, framing))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Status, field names, body and whether the response ended, of bytes in pieces of this size; `None` if
    /// they are no response.
    fn read(text: &[u8], is_head: bool, size: usize) -> Option<(u16, String, Vec<u8>, bool)> {
        let mut scan = ResponseScan::new(is_head);
        let (mut status, mut names, mut body, mut ended) = (0, String::new(), Vec::new(), false);
        for piece in text.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let length = match scan.next(rest).ok()? {
                    Part::Framing { length } => length,
                    Part::Head { length, response, ends } => {
                        status = response.status().as_u16();
                        let all: Vec<_> =
                            response.headers().keys().map(HeaderName::as_str).collect();
                        names = all.join(" ");
                        ended |= ends;
                        length
                    }
                    Part::Body { length, ends } => {
                        body.extend_from_slice(&rest[..length]);
                        scan.took(length);
                        ended |= ends;
                        length
                    }
                    Part::End { length } => {
                        ended = true;
                        length
                    }
                };
                rest = &rest[length..];
            }
        }
        assert_eq!(ended, scan.has_ended());
        Some((status, names, body, ended))
    }

    /// A response, whether it is of HEAD, and status, field names, body and whether it ended.
    type Case<'a> = (&'a str, bool, Option<(u16, &'a str, &'a str, bool)>);

    #[test]
    fn a_body_ends_where_its_framing_says() {
        let cases: &[Case<'_>] = &[
            (
                "200 OK\r\nContent-Length: 4\r\n\r\ntile",
                false,
                Some((200, "content-length", "tile", true)),
            ),
            (
                "200 OK\r\nContent-Length: 5\r\n\r\ntile",
                false,
                Some((200, "content-length", "tile", false)),
            ),
            ("200 OK\r\nContent-Length: 4\r\n\r\ntiles", false, None),
            ("200 OK\r\nContent-Length: 4\r\n\r\n", true, Some((200, "content-length", "", true))),
            ("304 Not Modified\r\nETag: \"a\"\r\n\r\n", false, Some((304, "etag", "", true))),
            ("204 No Content\r\nVary: a\r\n\r\n", false, Some((204, "vary", "", true))),
            ("404 \r\nContent-Length: 0\r\n\r\n", false, Some((404, "content-length", "", true))),
            (
                "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nti\r\nA;x=y\r\nle\r\n678901\r\n0\r\n\r\n",
                false,
                Some((200, "", "tile\r\n678901", true)),
            ),
            (
                "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nt\r\n0\r\nA: b\r\n\r\n",
                false,
                Some((200, "", "t", true)),
            ),
            (
                "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntil",
                false,
                Some((200, "", "til", false)),
            ),
            (
                "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntile\r\n",
                false,
                Some((200, "", "tile", false)),
            ),
            ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntileX", false, None),
            (
                "100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: 5\r\nContent-Length: 1\r\n\r\nt",
                false,
                Some((200, "content-length", "t", true)),
            ),
            ("200 OK\r\nServer: a\r\n\r\ntile", false, None),
            ("200 OK\r\nContent-Length: x\r\n\r\n", false, None),
            ("abc\r\n\r\n", false, None),
        ];
        for (text, is_head, expected) in cases {
            let text = format!("HTTP/1.1 {text}");
            for size in [1, 2, 3, 7, 1000] {
                let read = read(text.as_bytes(), *is_head, size);
                let read = read.as_ref().map(|(status, names, body, ended)| {
                    (*status, names.as_str(), std::str::from_utf8(body).expect("UTF-8"), *ended)
                });
                assert_eq!(read, *expected, "{text} in pieces of {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
            let _any = read(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &text[..]].concat(), false, size);
            let _any = read(&text, false, size);
        }
    }
}
