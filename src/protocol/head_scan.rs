//! Finds request heads in the bytes of a connection (RFC 9112, sections 2 and 3): where each begins and
//! ends, how long it is, and whether its request line is malformed in a way that a lenient parser
//! would repair.

use crate::protocol::request_check::BadRequest;

/// The result of scanning the bytes of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// No error so far.
    Fine,
    /// The head that begins at `start` in this read (0 if it began earlier) is malformed.
    Bad { start: usize, error: BadRequest },
}

/// The state of the scan between two reads.
#[derive(Debug)]
pub struct HeadScan {
    max_bytes: usize,
    /// Bytes of the current head, including the request line; 0 between requests.
    length: usize,
    /// Bytes of the current line, without the line break.
    line_length: usize,
    in_request_line: bool,
    spaces: u8,
    /// The last byte was a carriage return, which only a line feed may follow (section 2.2).
    after_return: bool,
}

impl HeadScan {
    /// A scan that allows `max_bytes` per head, request line and fields together.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            length: 0,
            line_length: 0,
            in_request_line: true,
            spaces: 0,
            after_return: false,
        }
    }

    /// Whether a head has begun and not ended.
    #[must_use]
    pub fn in_head(&self) -> bool {
        self.length > 0
    }

    /// Scans the next bytes. After `Bad` no more bytes may be passed.
    pub fn feed(&mut self, bytes: &[u8]) -> Scan {
        let mut start = 0;
        let mut next = 0;
        while let Some(&byte) = bytes.get(next) {
            let plain = self.plain_bytes(bytes.get(next..).unwrap_or_default());
            if plain > 0 {
                self.length += plain;
                self.line_length += plain;
                if self.length > self.max_bytes {
                    return Scan::Bad { start, error: BadRequest::HeadersTooLarge };
                }
                next += plain;
                continue;
            }
            let offset = next;
            next += 1;
            if self.length == 0 {
                // Empty lines before a request line are skipped (RFC 9112, section 2.2).
                if matches!(byte, b'\r' | b'\n') {
                    continue;
                }
                start = offset;
            }
            self.length += 1;
            if self.length > self.max_bytes {
                return Scan::Bad { start, error: BadRequest::HeadersTooLarge };
            }
            if std::mem::replace(&mut self.after_return, byte == b'\r') && byte != b'\n' {
                return Scan::Bad { start, error: BadRequest::RequestLine };
            }
            match byte {
                b'\n' => {
                    let head_ends = !self.in_request_line && self.line_length == 0;
                    self.in_request_line = false;
                    self.line_length = 0;
                    if head_ends {
                        *self = Self::new(self.max_bytes);
                        start = offset + 1;
                    }
                }
                b'\r' => {}
                _ => {
                    self.line_length += 1;
                    if self.in_request_line && !self.request_line_byte(byte) {
                        return Scan::Bad { start, error: BadRequest::RequestLine };
                    }
                }
            }
        }
        Scan::Fine
    }

    /// The number of bytes before the end of the current field line. They need no check of their own
    /// and are skipped at once.
    fn plain_bytes(&self, bytes: &[u8]) -> usize {
        if self.in_request_line || self.length == 0 || self.after_return {
            return 0;
        }
        memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len())
    }

    /// A request line has two spaces, no control character and no fragment
    /// (RFC 9112, section 3; RFC 9110, section 7.1).
    fn request_line_byte(&mut self, byte: u8) -> bool {
        if byte == b' ' {
            self.spaces = self.spaces.saturating_add(1);
        }
        self.spaces <= 2 && byte >= b' ' && byte != 0x7f && byte != b'#'
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &str) -> Scan {
        HeadScan::new(100).feed(text.as_bytes())
    }

    #[test]
    fn valid_heads_pass_and_reset_the_scan() {
        let mut heads = HeadScan::new(100);
        for text in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\nHost: h\n\n",
            "\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nX: # a b c\r\n\r\n",
        ] {
            assert_eq!(heads.feed(text.as_bytes()), Scan::Fine, "{text}");
            assert!(!heads.in_head(), "{text}");
        }
        assert_eq!(heads.feed(b"GET / HTTP/1.1\r\nHo"), Scan::Fine);
        assert!(heads.in_head());
    }

    #[test]
    fn request_lines_that_a_parser_would_repair_are_refused() {
        for line in [
            "GET /a b HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /a\0b HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET /a\rb HTTP/1.1",
        ] {
            assert_eq!(
                scan(&format!("{line}\r\n\r\n")),
                Scan::Bad { start: 0, error: BadRequest::RequestLine },
                "{line}"
            );
        }
    }

    #[test]
    fn heads_beyond_the_limit_are_refused_however_they_are_split() {
        let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100));
        assert!(matches!(scan(&head), Scan::Bad { error: BadRequest::HeadersTooLarge, .. }));
        let mut heads = HeadScan::new(100);
        let trickled: Vec<Scan> = head.bytes().map(|byte| heads.feed(&[byte])).collect();
        assert_eq!(trickled.iter().filter(|scan| **scan == Scan::Fine).count(), 100);
    }

    #[test]
    fn a_malformed_second_head_is_reported_with_its_start() {
        let first = "GET / HTTP/1.1\r\n\r\n";
        let both = format!("{first}GET /a b HTTP/1.1\r\n\r\n");
        assert_eq!(scan(&both), Scan::Bad { start: first.len(), error: BadRequest::RequestLine });
    }

    proptest! {
        #[test]
        fn the_split_of_bytes_does_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), any::<u8>()], 0..300),
            cut in 0usize..300,
        ) {
            let cut = cut.min(bytes.len());
            let whole = HeadScan::new(64).feed(&bytes);
            let mut split = HeadScan::new(64);
            let first = split.feed(&bytes[..cut]);
            let verdict = if first == Scan::Fine { split.feed(&bytes[cut..]) } else { first };
            let kind = |scan| match scan { Scan::Fine => None, Scan::Bad { error, .. } => Some(error) };
            prop_assert_eq!(kind(whole), kind(verdict));
        }
    }
}
