//! A client of HTTP/2 that writes each frame itself, and sees those of the gateway in the order in which they come.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::client::PATIENCE;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

pub(super) const ENHANCE_YOUR_CALM: u8 = 11;

pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("24 bits").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The field block of a GET with these fields, as literals.
pub(super) fn get(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
        [&[length.expect("a short text")], text.as_bytes()].concat()
    };
    let mut block = [&[0x82, 0x86, 0x04][..], &text(path), &[0x01], &text("h")].concat();
    for (name, value) in fields {
        block.extend([&[0x00][..], &text(name), &text(value)].concat());
    }
    block
}

/// A frame of the gateway.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// What has come of a response.
#[derive(Debug, Default, Clone)]
pub(super) struct Received {
    pub(super) bytes: usize,
    pub(super) is_whole: bool,
    pub(super) is_reset: bool,
}

/// A connection.
pub(super) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
    next: u32,
    /// By the numbers of their streams.
    pub(super) received: HashMap<u32, Received>,
    /// The code of GOAWAY.
    pub(super) goaway: Option<u8>,
    pub(super) is_closed: bool,
}

impl Raw {
    /// A connection whose streams have windows of this size.
    pub(super) fn open(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let mut raw = Self {
            stream,
            unread: Vec::new(),
            next: 1,
            received: HashMap::new(),
            goaway: None,
            is_closed: false,
        };
        let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat());
        raw
    }

    /// Sends bytes; that the gateway has closed the connection shows when it is read.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _sent_or_closed = self.stream.write_all(bytes);
    }

    /// Sends a request, and returns the number of its stream.
    pub(super) fn request(&mut self, path: &str, fields: &[(&str, &str)]) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.received.insert(stream, Received::default());
        self.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(path, fields)));
        stream
    }

    /// Opens the window of a stream, or of the connection: 0.
    pub(super) fn open_window(&mut self, stream: u32, bytes: u32) {
        self.send(&frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()));
    }

    /// The next frame, if it comes within this time.
    pub(super) fn next_within(&mut self, time: Duration) -> Option<Frame> {
        let deadline = Instant::now() + time;
        let mut bytes = vec![0; 64 << 10];
        loop {
            if let Some(frame) = self.parse() {
                self.note(&frame);
                return Some(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_closed {
                return None;
            }
            self.stream.set_read_timeout(Some(left)).expect("a timeout");
            match self.stream.read(&mut bytes) {
                Ok(0) => self.is_closed = true,
                Ok(length) => self.unread.extend_from_slice(&bytes[..length]),
                Err(error) if crate::client::would_block(&error) => {}
                Err(_reset) => self.is_closed = true,
            }
        }
    }

    /// Reads what comes within this time.
    pub(super) fn read_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while !self.is_closed && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let _frame_or_none = self.next_within(left);
        }
    }

    fn parse(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.unread.get(..9)?.try_into().expect("nine bytes");
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let payload = self.unread.get(9..9 + length)?.to_vec();
        self.unread.drain(..9 + length);
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    fn note(&mut self, frame: &Frame) {
        match frame.kind {
            GOAWAY => self.goaway = frame.payload.get(7).copied(),
            SETTINGS if frame.flags == 0 => self.send(&self::frame(SETTINGS, 1, 0, &[])),
            DATA | HEADERS | RST_STREAM => {
                let received = self.received.entry(frame.stream).or_default();
                match frame.kind {
                    RST_STREAM => received.is_reset = true,
                    kind => {
                        let is_data = kind == DATA;
                        received.bytes += if is_data { frame.payload.len() } else { 0 };
                        received.is_whole |= frame.flags & END_STREAM != 0;
                    }
                }
            }
            _ => {}
        }
    }
}
