//! Finds request heads in the bytes of a connection (RFC 9112, sections 2 and 3): where each begins and
//! ends, how long it is, and whether its request line is malformed in a way that a lenient parser
//! would repair.

use crate::protocol::request_check::BadRequest;

/// The result of scanning the bytes of one read, without the empty lines before a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// No error so far. The first `length` bytes belong to request heads.
    Fine { length: usize },
    /// The head that begins at `start` in this read (0 if it began earlier) is malformed.
    Bad { start: usize, error: BadRequest },
}

/// The state of the scan between two reads.
#[derive(Debug)]
pub struct HeadScan {
    max_bytes: usize,
    /// Bytes of the empty lines before the current head.
    empty: usize,
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
    /// A scan that allows `max_bytes` per head: request line, fields, and the empty lines before
    /// them together.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            empty: 0,
            length: 0,
            line_length: 0,
            in_request_line: true,
            spaces: 0,
            after_return: false,
        }
    }

    /// Whether a head, or an empty line before it, has begun and the head has not ended.
    #[must_use]
    pub fn in_head(&self) -> bool {
        self.length > 0 || self.empty > 0
    }

    /// Scans the next bytes, and removes the empty lines before a request line (RFC 9112, section
    /// 2.2): a parser that gets them would keep them and parse them again at each read. After `Bad`
    /// no more bytes may be passed.
    pub fn feed(&mut self, bytes: &mut [u8]) -> Scan {
        let mut start = 0;
        let mut next = 0;
        // The bytes before `next` that are left out.
        let mut removed = 0;
        while let Some(byte) = bytes.get(next).copied() {
            let plain = self.plain_bytes(bytes.get(next..).unwrap_or_default());
            if plain > 0 {
                self.length += plain;
                self.line_length += plain;
                if self.is_too_long() {
                    return Scan::Bad { start, error: BadRequest::HeadersTooLarge };
                }
                if removed > 0 {
                    bytes.copy_within(next..next + plain, next - removed);
                }
                next += plain;
                continue;
            }
            let offset = next - removed;
            next += 1;
            if self.length == 0 {
                start = offset;
                if matches!(byte, b'\r' | b'\n') {
                    self.empty += 1;
                    removed += 1;
                    let return_alone =
                        std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\r';
                    if self.is_too_long() {
                        return Scan::Bad { start, error: BadRequest::HeadersTooLarge };
                    }
                    if return_alone {
                        return Scan::Bad { start, error: BadRequest::RequestLine };
                    }
                    continue;
                }
            }
            if removed > 0
                && let Some(place) = bytes.get_mut(offset)
            {
                *place = byte;
            }
            self.length += 1;
            if self.is_too_long() {
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
        Scan::Fine { length: next - removed }
    }

    fn is_too_long(&self) -> bool {
        self.empty + self.length > self.max_bytes
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
        feed(&mut HeadScan::new(100), text.as_bytes())
    }

    fn feed(heads: &mut HeadScan, bytes: &[u8]) -> Scan {
        heads.feed(&mut bytes.to_vec())
    }

    fn is_fine(scan: Scan) -> bool {
        matches!(scan, Scan::Fine { .. })
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
            assert!(is_fine(feed(&mut heads, text.as_bytes())), "{text}");
            assert!(!heads.in_head(), "{text}");
        }
        assert!(is_fine(feed(&mut heads, b"GET / HTTP/1.1\r\nHo")));
        assert!(heads.in_head());
    }

    #[test]
    fn empty_lines_before_a_request_are_counted_and_removed() {
        let mut bytes = b"\r\n\nGET /1 H\r\nX: a\r\n\r\n\r\nGET /2 H\r\nY: b\r\n\r\n\r\n".to_vec();
        let mut heads = HeadScan::new(100);
        let Scan::Fine { length } = heads.feed(&mut bytes) else { panic!("a valid read") };
        let kept = b"GET /1 H\r\nX: a\r\n\r\nGET /2 H\r\nY: b\r\n\r\n";
        assert_eq!(bytes[..length].escape_ascii().to_string(), kept.escape_ascii().to_string());
        assert!(
            heads.in_head(),
            "the deadline starts at the first byte, which may be a line break"
        );

        let mut heads = HeadScan::new(100);
        let trickled = std::iter::repeat_with(|| feed(&mut heads, b"\r\n")).take(51);
        let trickled: Vec<Scan> = trickled.collect();
        assert!(trickled[..50].iter().all(|scan| *scan == Scan::Fine { length: 0 }));
        assert_eq!(trickled[50], Scan::Bad { start: 0, error: BadRequest::HeadersTooLarge });
    }

    #[test]
    fn a_carriage_return_before_a_request_needs_a_line_feed() {
        for text in ["\rGET / HTTP/1.1\r\n\r\n", "\r\r\nGET / HTTP/1.1\r\n\r\n"] {
            assert_eq!(
                scan(text),
                Scan::Bad { start: 0, error: BadRequest::RequestLine },
                "{text}"
            );
        }
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
        let trickled: Vec<Scan> = head.bytes().map(|byte| feed(&mut heads, &[byte])).collect();
        assert_eq!(trickled.iter().filter(|scan| is_fine(**scan)).count(), 100);
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
            let (mut before, mut after) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
            let mut bytes = bytes;
            let whole = HeadScan::new(64).feed(&mut bytes);
            let mut split = HeadScan::new(64);
            let first = split.feed(&mut before);
            let verdict = if is_fine(first) { split.feed(&mut after) } else { first };
            let kind = |scan| match scan {
                Scan::Fine { .. } => None,
                Scan::Bad { error, .. } => Some(error),
            };
            prop_assert_eq!(kind(whole), kind(verdict));
            if let (
                Scan::Fine { length },
                Scan::Fine { length: first },
                Scan::Fine { length: second },
            ) = (whole, first, verdict) {
                let kept = [&before[..first], &after[..second]].concat();
                prop_assert_eq!(&bytes[..length], &kept[..]);
            }
        }
    }
}
