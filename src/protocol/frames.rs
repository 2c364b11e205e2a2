//! Takes a sequence of HTTP/2 frames apart, as its bytes come (RFC 9113, section 4.1): the heads of frames, and the
//! bytes of their payloads.

/// Bytes of the head of a frame.
const HEAD: usize = 9;

/// The types of frames that the gateway looks at (RFC 9113, section 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes of the payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// 0 is the connection.
    pub(super) stream: u32,
}

/// The next bytes of the sequence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The last bytes of the head of a frame have come.
    Head(FrameHead),
    /// Bytes of the payload, at least one.
    Payload(&'a [u8]),
}

/// The state between two pieces.
#[derive(Debug, Default)]
pub(super) struct FrameWalk {
    /// Bytes that the payload still has, or what precedes the first frame.
    left: usize,
    head: [u8; HEAD],
    /// How many bytes of `head` have come.
    arrived: usize,
}

impl FrameWalk {
    /// Frames after this many other bytes, which count as a payload.
    pub(super) fn after(preface: usize) -> Self {
        Self { left: preface, ..Self::default() }
    }

    /// Whether the payload that has begun is complete.
    pub(super) fn is_between(&self) -> bool {
        self.left == 0
    }

    /// Takes the next piece from the front of these bytes; `None` when they are used up.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Piece<'a>> {
        if self.left > 0 {
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            *bytes = rest;
            self.left -= payload.len();
            return (!payload.is_empty()).then_some(Piece::Payload(payload));
        }
        let (more, rest) = bytes.split_at(bytes.len().min(HEAD - self.arrived));
        if let Some(place) = self.head.get_mut(self.arrived..self.arrived + more.len()) {
            place.copy_from_slice(more);
        }
        self.arrived += more.len();
        *bytes = rest;
        if self.arrived < HEAD {
            return None;
        }
        self.arrived = 0;
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Some(Piece::Head(FrameHead { length: self.left, kind, flags, stream }))
    }
}

/// Counts the bytes of DATA among the bytes that a server sends: the windows of flow control are of these alone
/// (RFC 9113, section 6.9).
#[derive(Debug, Default)]
pub struct SentData {
    frames: FrameWalk,
    is_data: bool,
}

impl SentData {
    /// How many of the next bytes are the payload of DATA.
    pub fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut data = 0;
        while let Some(piece) = self.frames.next(&mut bytes) {
            match piece {
                Piece::Head(head) => self.is_data = head.kind == DATA,
                Piece::Payload(payload) if self.is_data => data += payload.len(),
                Piece::Payload(_) => {}
            }
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, stream: u32, length: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(length).expect("24 bits").to_be_bytes();
        let mut bytes = [&[a, b, c, kind, 0x5], &stream.to_be_bytes()[..]].concat();
        bytes.resize(HEAD + length, 0xff);
        bytes
    }

    #[test]
    fn heads_and_payloads_are_told_apart() {
        let bytes = [b"pre", &frame(DATA, 0x8000_0003, 2)[..], &frame(99, 0, 0)].concat();
        let (mut rest, mut frames) = (&bytes[..], FrameWalk::after(3));
        let mut next = || frames.next(&mut rest);
        let head = |length, kind, stream| Piece::Head(FrameHead { length, kind, flags: 5, stream });
        assert_eq!(next(), Some(Piece::Payload(b"pre")));
        assert_eq!(next(), Some(head(2, DATA, 3)), "the reserved bit is none of the number");
        assert_eq!(next(), Some(Piece::Payload(&[0xff; 2])));
        assert_eq!(next(), Some(head(0, 99, 0)));
        assert_eq!(next(), None);
    }

    proptest! {
        #[test]
        fn data_is_counted_in_whichever_pieces_it_comes(
            frames in prop::collection::vec((0u8..4, 0usize..40), 0..40),
            size in 1usize..30,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, length)| frame(*kind, 1, *length)).collect();
            let mut sent = SentData::default();
            let counted: usize = bytes.chunks(size).map(|piece| sent.feed(piece)).sum();
            let data = frames.iter().filter(|(kind, _)| *kind == DATA).map(|(_, length)| length);
            prop_assert_eq!(counted, data.sum::<usize>());
        }
    }
}
