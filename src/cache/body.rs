//! A body in the cache: pieces of one size, so that any byte is found without a search and a large
//! object needs no large contiguous memory.

use bytes::Bytes;

/// Bytes of every piece but the last.
pub(super) const PIECE: u64 = 1 << 20;

/// A whole body.
#[derive(Debug, Clone, Default)]
pub struct StoredBody {
    pieces: Box<[Bytes]>,
    length: u64,
}

impl StoredBody {
    /// A body of pieces of [`PIECE`] bytes, the last one shorter; `None` when they are not.
    #[must_use]
    pub fn from_pieces(pieces: Vec<Bytes>) -> Option<Self> {
        let mut length = 0;
        for piece in &pieces {
            if length % PIECE != 0 || piece.is_empty() || piece.len() as u64 > PIECE {
                return None;
            }
            length += piece.len() as u64;
        }
        Some(Self { pieces: pieces.into(), length })
    }

    /// A body in contiguous memory; its pieces share that memory.
    #[must_use]
    pub fn from_bytes(mut bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        let piece = usize::try_from(PIECE).unwrap_or(usize::MAX);
        let mut pieces = Vec::with_capacity(bytes.len().div_ceil(piece));
        while !bytes.is_empty() {
            pieces.push(bytes.split_to(bytes.len().min(piece)));
        }
        Self { pieces: pieces.into(), length }
    }

    /// Its length, bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Bytes from `position` on, at most to the end of its piece and not beyond `end`; `None` where
    /// there are none. They share the memory of the body.
    #[must_use]
    pub fn read(&self, position: u64, end: u64) -> Option<Bytes> {
        let piece = self.pieces.get(usize::try_from(position / PIECE).ok()?)?;
        stretch(piece, position % PIECE, end.checked_sub(position)?)
    }
}

/// The same bytes, however they are divided.
impl PartialEq for StoredBody {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |body: &Self| body.pieces.iter().flatten().copied().collect::<Vec<u8>>();
        self.length == other.length && bytes(self) == bytes(other)
    }
}

impl Eq for StoredBody {}

impl From<Vec<u8>> for StoredBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_bytes(bytes.into())
    }
}

/// At most `length` of the bytes from `from` on, sharing their memory; `None` where there are none.
pub(super) fn stretch(bytes: &Bytes, from: u64, length: u64) -> Option<Bytes> {
    let from = usize::try_from(from).ok()?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let until = from.saturating_add(length).min(bytes.len());
    (from < until).then(|| bytes.slice(from..until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(length: usize) -> Bytes {
        (0..length).map(|i| u8::try_from(i % 251).expect("below 251")).collect::<Vec<u8>>().into()
    }

    #[test]
    fn every_stretch_reads_back_whole() {
        let piece = usize::try_from(PIECE).expect("a megabyte");
        for length in [0, 1, piece - 1, piece, piece + 1, 2 * piece, 2 * piece + 7] {
            let whole = numbered(length);
            let body = StoredBody::from_bytes(whole.clone());
            assert_eq!(body.len(), length as u64);
            assert_eq!(body.is_empty(), length == 0);
            let again =
                StoredBody::from_pieces(body.pieces().to_vec()).expect("pieces of one size");
            assert_eq!(again.len(), length as u64);
            for (from, to) in [(0, length), (1, length), (piece - 1, piece + 1), (length, length)] {
                let (from, to) = (from.min(length), to.min(length));
                let mut read = Vec::new();
                while let Some(bytes) = body.read((from + read.len()) as u64, to as u64) {
                    read.extend_from_slice(&bytes);
                }
                assert!(read == whole[from.min(to)..to], "{from}..{to} of {length}");
            }
        }
    }

    #[test]
    fn pieces_of_other_sizes_are_no_body() {
        let piece = usize::try_from(PIECE).expect("a megabyte");
        for sizes in [&[1, 1][..], &[piece + 1], &[piece, 0], &[piece, 1, 1]] {
            let pieces = sizes.iter().map(|size| numbered(*size)).collect();
            assert!(StoredBody::from_pieces(pieces).is_none(), "{sizes:?}");
        }
    }
}
