//! The formats of tiles.

use std::fmt;

/// A format of tiles (HiPS 1.0, section 4.2; webp since version 1.4 of HiPS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileFormat {
    Jpeg,
    Png,
    Webp,
    Fits,
    /// Of catalogues.
    Tsv,
}

impl TileFormat {
    pub const ALL: [Self; 5] = [Self::Jpeg, Self::Png, Self::Webp, Self::Fits, Self::Tsv];

    /// The extension of its files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Fits => "fits",
            Self::Tsv => "tsv",
        }
    }

    /// The format of files with this extension, written as in the standard.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == extension)
    }

    /// The format of a word of `hips_tile_format`, such as `jpeg`.
    #[must_use]
    pub fn of_keyword(word: &str) -> Option<Self> {
        match word {
            "jpeg" => Some(Self::Jpeg),
            word => Self::of_extension(word),
        }
    }

    /// Whether a file that begins with these bytes may be of this format.
    #[must_use]
    pub fn begins(self, bytes: &[u8]) -> bool {
        match self {
            Self::Jpeg => bytes.starts_with(&[0xff, 0xd8, 0xff]),
            Self::Png => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Webp => bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
            Self::Fits => bytes.starts_with(b"SIMPLE  ="),
            Self::Tsv => !bytes.contains(&0),
        }
    }

    /// The width in pixels of the picture that begins with these bytes, if they say so.
    #[must_use]
    pub fn width(self, bytes: &[u8]) -> Option<u64> {
        if !self.begins(bytes) {
            return None;
        }
        let number = |at: usize, length: usize, is_little: bool| {
            let bytes = bytes.get(at..at + length)?;
            let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
            Some(match is_little {
                true => bytes.iter().rev().fold(0, add),
                false => bytes.iter().fold(0, add),
            })
        };
        match self {
            // PNG, 11.2.2: IHDR is the first chunk.
            Self::Png => number(16, 4, false),
            // RFC 9649, sections 2.5 to 2.7.
            Self::Webp => match bytes.get(12..16)? {
                b"VP8 " => number(26, 2, true).map(|width| width & 0x3fff),
                b"VP8L" => number(21, 4, true).map(|bits| (bits & 0x3fff) + 1),
                b"VP8X" => number(24, 3, true).map(|width| width + 1),
                _ => None,
            },
            Self::Fits => {
                let card = bytes.chunks(80).find(|card| card.starts_with(b"NAXIS1  ="))?;
                let text = std::str::from_utf8(card.get(10..30)?).ok()?;
                text.trim().parse().ok()
            }
            Self::Jpeg => jpeg_width(bytes),
            Self::Tsv => None,
        }
    }
}

/// The width of the first frame header (ITU T.81, B.2.2).
fn jpeg_width(bytes: &[u8]) -> Option<u64> {
    let mut at = 2;
    loop {
        let [0xff, marker, high, low] = *bytes.get(at..at + 4)?.first_chunk::<4>()? else {
            return None;
        };
        let is_frame = (0xc0..=0xcf).contains(&marker) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if is_frame {
            let [high, low] = *bytes.get(at + 7..)?.first_chunk::<2>()?;
            return Some(u64::from(u16::from_be_bytes([high, low])));
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

impl fmt::Display for TileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_read_from_the_first_bytes() {
        let fits = format!(
            "{:<80}{:<80}",
            "SIMPLE  =                    T", "NAXIS1  =                  512"
        );
        let rows: [(TileFormat, &[u8], Option<u64>); 7] = [
            (TileFormat::Png, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x02\0", Some(512)),
            (TileFormat::Webp, b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\xff\xc1\x7f\0", Some(512)),
            (
                TileFormat::Webp,
                b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\xff\x01\0\xff\x01\0",
                Some(512),
            ),
            (
                TileFormat::Webp,
                b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\0\x02\0\x02",
                Some(512),
            ),
            (
                TileFormat::Jpeg,
                b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\x01\0\x02\0\x03",
                Some(512),
            ),
            (TileFormat::Fits, fits.as_bytes(), Some(512)),
            (TileFormat::Png, b"<html>", None),
        ];
        for (format, bytes, width) in rows {
            assert_eq!(format.width(bytes), width, "{format} {bytes:?}");
        }
    }

    #[test]
    fn a_picture_that_ends_early_has_no_width() {
        let whole: &[u8] = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\x01\0\x02\0\x03";
        for length in 0..whole.len() - 1 {
            for format in TileFormat::ALL {
                assert_eq!(format.width(&whole[..length]), None, "{format} {length}");
            }
        }
    }
}
