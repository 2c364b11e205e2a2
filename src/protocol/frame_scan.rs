//! Follows the frames that an HTTP/2 client sends (RFC 9113, section 4.1), without most of their payloads: whether the
//! head of a request is on its way, by how much the client opens the window of the connection, and whether it sends
//! more frames of the kinds that cost work and ask for nothing than any client needs: PING, SETTINGS, empty DATA, small
//! WINDOW_UPDATE, RST_STREAM.

use std::time::{Duration, Instant};

use crate::protocol::frames::{
    CONTINUATION, DATA, FrameHead, FrameWalk, HEADERS, Piece, RST_STREAM, WINDOW_UPDATE,
};

/// Bytes of the connection preface (RFC 9113, section 3.4), which precede the first frame.
const PREFACE: usize = 24;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// DATA with fewer bytes is counted: it costs more than it brings.
const SMALL_DATA: usize = 64;
/// Frames of control that a client may send at once.
const CONTROLS: u32 = 1000;
/// And later on, per second.
const CONTROLS_PER_SECOND: u32 = 50;
/// And for each request.
const CONTROLS_PER_REQUEST: u32 = 4;
/// And for the window of this many bytes of responses.
const BYTES_PER_CONTROL: u64 = 1024;
/// Requests that a client may cancel at once: a viewer cancels all tiles of a view that is left.
pub const RESETS: u32 = 400;
/// And later on, per second.
const RESETS_PER_SECOND: u32 = 40;

/// More frames of a kind than any client needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Frames that ask for nothing.
    Controls,
    /// Requests that are cancelled at once (CVE-2023-44487).
    Resets,
}

/// What may still be sent: refilled with time.
#[derive(Debug)]
struct Allowance {
    left: u32,
    most: u32,
    per_second: u32,
    refilled: Option<Instant>,
}

impl Allowance {
    fn new(most: u32, per_second: u32) -> Self {
        Self { left: most, most, per_second, refilled: None }
    }

    fn give(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.most);
    }

    /// Takes one; false if there is none.
    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(*self.refilled.get_or_insert(now));
        let refill = since.as_millis() * u128::from(self.per_second) / 1000;
        if refill > 0 {
            self.give(u32::try_from(refill).unwrap_or(u32::MAX));
            self.refilled = Some(now);
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

/// The state of the scan between two reads.
#[derive(Debug)]
pub struct FrameScan {
    frames: FrameWalk,
    /// A head has begun whose last frame has not come.
    in_head: bool,
    /// The frame whose payload is skipped is the last one of a head.
    ends_head: bool,
    /// The frame whose payload is skipped opens the window of the connection: by this number, of which the first
    /// bytes have arrived.
    increment: Option<u32>,
    /// By how much the window of the connection was opened since it was asked for, bytes.
    opened: u64,
    controls: Allowance,
    resets: Allowance,
    flood: Option<Flood>,
}

impl Default for FrameScan {
    fn default() -> Self {
        Self {
            frames: FrameWalk::after(PREFACE),
            in_head: false,
            ends_head: false,
            increment: None,
            opened: 0,
            controls: Allowance::new(CONTROLS, CONTROLS_PER_SECOND),
            resets: Allowance::new(RESETS, RESETS_PER_SECOND),
            flood: None,
        }
    }
}

impl FrameScan {
    /// Whether the head of a request, or the preface, has begun and not ended.
    #[must_use]
    pub fn in_head(&self) -> bool {
        self.in_head
    }

    /// What the client has sent too much of, since the start of the connection.
    #[must_use]
    pub fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// By how many bytes the client has opened the window of the connection since the last call.
    pub fn take_opened(&mut self) -> u64 {
        std::mem::take(&mut self.opened)
    }

    /// Bytes of responses were sent: the client opens its windows again.
    pub fn sent(&mut self, bytes: u64) {
        self.controls.give(u32::try_from(bytes.div_ceil(BYTES_PER_CONTROL)).unwrap_or(u32::MAX));
    }

    /// The next bytes have arrived.
    pub fn feed(&mut self, mut bytes: &[u8], now: Instant) {
        while let Some(piece) = self.frames.next(&mut bytes) {
            match piece {
                Piece::Head(head) => self.frame(head, now),
                Piece::Payload(payload) => {
                    if let Some(increment) = &mut self.increment {
                        let add = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
                        *increment = payload.iter().fold(*increment, add);
                    }
                }
            }
            if self.frames.is_between() {
                if std::mem::take(&mut self.ends_head) {
                    self.in_head = false;
                }
                // The first bit is reserved (RFC 9113, section 6.9).
                let increment = self.increment.take().unwrap_or_default() & (u32::MAX >> 1);
                self.opened += u64::from(increment);
            }
        }
    }

    /// The head of a frame is complete.
    fn frame(&mut self, head: FrameHead, now: Instant) {
        let FrameHead { length, kind, flags, stream } = head;
        // A frame of another length ends the connection.
        self.increment = (kind == WINDOW_UPDATE && stream == 0 && length == 4).then_some(0);
        match kind {
            HEADERS | CONTINUATION => {
                self.in_head = true;
                self.ends_head = flags & END_HEADERS != 0;
                if kind == HEADERS {
                    self.controls.give(CONTROLS_PER_REQUEST);
                }
            }
            RST_STREAM => {
                if !self.resets.take(now) {
                    self.flood.get_or_insert(Flood::Resets);
                }
            }
            DATA if length >= SMALL_DATA || flags & END_STREAM != 0 => {}
            _ => {
                if !self.controls.take(now) {
                    self.flood.get_or_insert(Flood::Controls);
                }
            }
        }
    }
}

/// How long a client has for what a scan waits for.
#[derive(Debug, Default)]
pub struct HeadClock {
    since: Option<Instant>,
}

impl HeadClock {
    /// The scan was fed at this time.
    pub fn note(&mut self, in_head: bool, now: Instant) {
        match (in_head, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(_)) => self.since = None,
            _ => {}
        }
    }

    /// When the head that has begun must be complete; `None` if none has.
    #[must_use]
    pub fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.since?.checked_add(timeout)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME_HEAD: usize = 9;
    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [.., a, b, c] = u32::try_from(length).expect("24 bits").to_be_bytes();
        let mut bytes = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        bytes.resize(FRAME_HEAD + length, 0xff);
        bytes
    }

    fn scan(now: Instant) -> FrameScan {
        let mut scan = FrameScan::default();
        scan.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now);
        scan
    }

    /// How many of these frames pass, a second apart or all at once.
    fn passed(frame: &[u8], apart: Duration) -> usize {
        let mut now = Instant::now();
        let mut scan = scan(now);
        let pass = |_: &usize| {
            now += apart;
            scan.feed(frame, now);
            scan.flood().is_none()
        };
        (0..5000).take_while(pass).count()
    }

    #[test]
    fn a_flood_is_noticed_and_what_clients_do_is_not() {
        let at_once = Duration::ZERO;
        for (kind, length) in [(PING, 8), (4, 0), (4, 36), (2, 5), (DATA, 0), (DATA, 1), (99, 3)] {
            assert_eq!(passed(&frame(kind, 0, length), at_once), 1000, "{kind} {length}");
        }
        assert_eq!(passed(&frame(WINDOW_UPDATE, 0, 4), at_once), 1000);
        assert_eq!(passed(&frame(RST_STREAM, 0, 4), at_once), 400);
        let rarely = Duration::from_millis(25);
        for kind in [PING, WINDOW_UPDATE, RST_STREAM] {
            assert_eq!(passed(&frame(kind, 0, 4), rarely), 5000, "{kind}");
        }
        for kind in [HEADERS, CONTINUATION] {
            assert_eq!(passed(&frame(kind, END_HEADERS, 9), at_once), 5000, "counted elsewhere");
        }
        assert_eq!(passed(&frame(DATA, END_STREAM, 0), at_once), 5000);
    }

    #[test]
    fn requests_and_responses_bring_frames_of_their_own() {
        let now = Instant::now();
        let mut scan = scan(now);
        for _ in 0..5000 {
            scan.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 30), now);
            for _ in 0..4 {
                scan.feed(&frame(WINDOW_UPDATE, 0, 4), now);
            }
        }
        assert_eq!(scan.flood(), None);
        for _ in 0..5000 {
            scan.sent(2 * 1024);
            scan.feed(&frame(WINDOW_UPDATE, 0, 4), now);
            scan.feed(&frame(WINDOW_UPDATE, 0, 4), now);
        }
        assert_eq!(scan.flood(), None);
    }

    #[test]
    fn a_head_ends_with_the_last_byte_of_its_last_frame() {
        let now = Instant::now();
        let mut scan = scan(now);
        let (first, last) = (frame(HEADERS, 0, 3), frame(CONTINUATION, END_HEADERS, 2));
        scan.feed(&first, now);
        assert!(scan.in_head());
        scan.feed(&last[..last.len() - 1], now);
        assert!(scan.in_head());
        scan.feed(&last[last.len() - 1..], now);
        assert!(!scan.in_head());
        scan.feed(&frame(HEADERS, END_HEADERS, 0), now);
        assert!(!scan.in_head(), "an empty one");
    }

    #[test]
    fn the_window_of_the_connection_is_opened_by_frames_of_stream_0_alone() {
        let now = Instant::now();
        let mut scan = scan(now);
        let window = |stream: u8, increment: u32| {
            [&[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, stream][..], &increment.to_be_bytes()].concat()
        };
        for (bytes, opened) in [
            (window(0, 70_000), 70_000),
            (window(1, 5), 0),
            (frame(PING, 0, 4), 0),
            (window(0, 0x8000_0001), 1),
            ([window(0, 300), window(0, 4)].concat(), 304),
        ] {
            for byte in &bytes {
                scan.feed(&[*byte], now);
            }
            assert_eq!(scan.take_opened(), opened, "{bytes:?}");
        }
    }

    #[test]
    fn the_clock_of_a_head_begins_with_it() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut clock = HeadClock::default();
        assert_eq!(clock.deadline(second), None);
        clock.note(true, now);
        clock.note(true, now + second);
        assert_eq!(clock.deadline(second), Some(now + second));
        clock.note(false, now);
        assert_eq!(clock.deadline(second), None);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            frames in prop::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..40),
            cuts in prop::collection::vec(1usize..20, 1..200),
        ) {
            let now = Instant::now();
            let bytes: Vec<u8> = frames.iter().flat_map(|(k, f, l)| frame(*k, *f, *l)).collect();
            let mut whole = scan(now);
            whole.feed(&bytes, now);
            let mut pieces = scan(now);
            let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                pieces.feed(piece, now);
                rest = more;
            }
            prop_assert_eq!(whole.in_head(), pieces.in_head());
            prop_assert_eq!(whole.controls.left, pieces.controls.left);
            prop_assert_eq!(whole.resets.left, pieces.resets.left);
        }
    }
}
