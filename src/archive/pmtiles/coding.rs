//! The codings of directories and tiles, and their decoding within a limit: a few bytes may stand for gigabytes.

use std::borrow::Cow;
use std::io::{self, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::read::GzDecoder;
use zstd::stream::read::Decoder;

use crate::archive::ArchiveFault;
use crate::archive::ArchiveFault::Damaged;
use crate::archive::pmtiles::TOO_LARGE;

/// The logarithm of the largest window of Zstandard: 8 MiB, the most that a sender may ask of a receiver
/// (RFC 9659, section 3). That of Brotli is 16 MiB (RFC 7932, section 9.1).
const ZSTD_WINDOW: u32 = 23;
/// Bytes that the decoder of Brotli gives at once.
const PIECE: usize = 64 << 10;

/// The coding of directories, and of tiles (spec, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileCoding {
    None,
    Gzip,
    Brotli,
    Zstd,
}

/// Why bytes cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeFault {
    Damaged,
    TooLarge,
}

impl DecodeFault {
    pub(super) fn of_a_directory(self) -> ArchiveFault {
        match self {
            Self::Damaged => Damaged("has a directory that cannot be decompressed"),
            Self::TooLarge => TOO_LARGE,
        }
    }
}

impl TileCoding {
    /// The name in `Content-Encoding` and `Accept-Encoding`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The decoded bytes, at most `most` of them; bytes without a coding as they are. The checksum of gzip is
    /// verified, and that of Zstandard if there is one; Brotli has none.
    ///
    /// # Errors
    /// When they are not in this coding, are cut off, or are too many.
    pub fn decode(self, bytes: &[u8], most: u64) -> Result<Cow<'_, [u8]>, DecodeFault> {
        let decoded = match self {
            Self::None => return Ok(Cow::Borrowed(bytes)),
            Self::Gzip => read_all(GzDecoder::new(bytes), most),
            Self::Brotli => brotli(bytes, most),
            Self::Zstd => zstd_decoder(bytes)
                .map_err(|_| DecodeFault::Damaged)
                .and_then(|decoder| read_all(decoder, most)),
        };
        decoded.map(Cow::Owned)
    }
}

fn zstd_decoder(bytes: &[u8]) -> io::Result<Decoder<'static, &[u8]>> {
    let mut decoder = Decoder::with_buffer(bytes)?;
    decoder.window_log_max(ZSTD_WINDOW)?;
    Ok(decoder)
}

/// The reader of the crate would accept windows of 1 GiB, which RFC 7932 does not know.
fn brotli(bytes: &[u8], most: u64) -> Result<Vec<u8>, DecodeFault> {
    let allocator = StandardAlloc::default;
    let mut state = BrotliState::new_strict(allocator(), allocator(), allocator());
    let (mut decoded, mut piece) = (Vec::new(), vec![0; PIECE]);
    let (mut left, mut position, mut total) = (bytes.len(), 0, 0);
    loop {
        let (mut room, mut length) = (piece.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut position,
            bytes,
            &mut room,
            &mut length,
            &mut piece,
            &mut total,
            &mut state,
        );
        decoded.extend_from_slice(piece.get(..length).unwrap_or_default());
        if decoded.len() as u64 > most {
            return Err(DecodeFault::TooLarge);
        }
        match result {
            BrotliResult::ResultSuccess => return Ok(decoded),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => {
                return Err(DecodeFault::Damaged);
            }
        }
    }
}

fn read_all(decoder: impl Read, most: u64) -> Result<Vec<u8>, DecodeFault> {
    let mut decoded = Vec::new();
    match decoder.take(most.saturating_add(1)).read_to_end(&mut decoded) {
        Ok(_) if decoded.len() as u64 > most => Err(DecodeFault::TooLarge),
        Ok(_) => Ok(decoded),
        Err(_) => Err(DecodeFault::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const CODINGS: [TileCoding; 3] = [TileCoding::Gzip, TileCoding::Brotli, TileCoding::Zstd];

    fn encoded(coding: TileCoding, bytes: &[u8]) -> Vec<u8> {
        match coding {
            TileCoding::None => bytes.to_vec(),
            TileCoding::Gzip => {
                let compression = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), compression);
                encoder.write_all(bytes).expect("written");
                encoder.finish().expect("an end")
            }
            TileCoding::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(Vec::new(), PIECE, 5, 22);
                encoder.write_all(bytes).expect("written");
                encoder.into_inner()
            }
            TileCoding::Zstd => zstd::stream::encode_all(bytes, 3).expect("encoded"),
        }
    }

    #[test]
    fn what_decodes_to_more_than_is_allowed_is_refused_at_the_limit() {
        let bomb = vec![0; 32 << 20];
        for coding in CODINGS {
            let coded = encoded(coding, &bomb);
            assert!(coded.len() < 1 << 16, "{coding:?}: {}", coded.len());
            for most in [0, 1, 1 << 20, (32 << 20) - 1] {
                assert_eq!(coding.decode(&coded, most), Err(DecodeFault::TooLarge), "{coding:?}");
            }
            let decoded = coding.decode(&coded, 32 << 20).expect("as many as are allowed");
            assert!(decoded == bomb, "{coding:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_in_another_coding_is_damaged() {
        let bytes: Vec<u8> = (0..20_000_u32).flat_map(|i| (i * i).to_le_bytes()).collect();
        for coding in CODINGS {
            let coded = encoded(coding, &bytes);
            for end in [0, 1, 5, coded.len() / 2, coded.len() - 1] {
                let cut = coding.decode(&coded[..end], 1 << 20);
                assert_eq!(cut, Err(DecodeFault::Damaged), "{coding:?}, {end} of {}", coded.len());
            }
            assert_eq!(coding.decode(b"<html>", 1 << 20), Err(DecodeFault::Damaged), "{coding:?}");
        }
    }

    /// 100 bytes may ask for a window of gigabytes.
    #[test]
    fn a_window_that_is_larger_than_a_receiver_must_have_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
        encoder.window_log(27).expect("a window");
        encoder.long_distance_matching(true).expect("a setting");
        encoder.write_all(&[7; 9 << 20]).expect("written");
        let coded = encoder.finish().expect("an end");
        assert_eq!(TileCoding::Zstd.decode(&coded, 1 << 30), Err(DecodeFault::Damaged));
        let large = brotli::enc::BrotliEncoderParams {
            large_window: true,
            lgwin: 28,
            ..brotli::enc::BrotliEncoderParams::default()
        };
        let mut encoder = brotli::CompressorWriter::with_params(Vec::new(), PIECE, &large);
        encoder.write_all(&[7; 1000]).expect("written");
        assert_eq!(
            TileCoding::Brotli.decode(&encoder.into_inner(), 1 << 20),
            Err(DecodeFault::Damaged)
        );
    }

    proptest! {
        #[test]
        fn decoding_gives_the_bytes_again(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            for coding in CODINGS.into_iter().chain([TileCoding::None]) {
                let coded = encoded(coding, &bytes);
                let decoded = coding.decode(&coded, 3000);
                prop_assert_eq!(decoded.as_deref(), Ok(bytes.as_slice()));
            }
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for coding in CODINGS {
                let _decoded_or_not = coding.decode(&bytes, 1000);
            }
        }
    }
}
