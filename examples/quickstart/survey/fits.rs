//! FITS files: 2880-byte blocks of header cards and big-endian data.
//!
//! <https://fits.gsfc.nasa.gov/fits_standard.html>, version 4.0.

use super::healpix::Cell;

/// The size of a block: a FITS file consists of whole blocks, bytes.
const BLOCK: usize = 2880;

/// A header, built card by card.
struct Header(String);

impl Header {
    /// A file that begins with an image; no axes make it a header alone.
    fn primary(bits: i32, axes: &[usize]) -> Self {
        let mut header = Self(String::new());
        header.card("SIMPLE", "T").card("BITPIX", bits).card("NAXIS", axes.len());
        for (number, length) in (1..).zip(axes) {
            header.card(&format!("NAXIS{number}"), length);
        }
        header
    }

    /// A card of a number, or of `T` and `F`.
    fn card(&mut self, keyword: &str, value: impl std::fmt::Display) -> &mut Self {
        let card = format!("{keyword:<8}= {:>20}", value.to_string());
        self.0.push_str(&format!("{card:<80}"));
        self
    }

    /// A card of text.
    fn text(&mut self, keyword: &str, value: &str) -> &mut Self {
        let card = format!("{keyword:<8}= '{value:<8}'");
        self.0.push_str(&format!("{card:<80}"));
        self
    }

    /// The header as bytes, with its END card, padded to whole blocks.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.clone().into_bytes();
        bytes.extend(format!("{:<80}", "END").bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        bytes
    }
}

/// A tile of float32 brightness; 512 pixels a side make 1,054,080 bytes.
pub(crate) fn tile(cell: Cell, width: usize, values: &[f32]) -> Vec<u8> {
    let mut header = Header::primary(-32, &[width, width]);
    header.card("ORDER", cell.order).card("NPIX", cell.index);
    header.text("BUNIT", "relative").text("OBJECT", "a computed sky");
    with_data(&header, values)
}

/// Thumbnails of the FITS tiles of an order in one picture: a square of about as many columns as rows, the
/// first tile at the top left. Places without a tile are NaN.
///
/// `tiles` are numbers of cells with their values, `width` pixels a side, in the order of FITS.
pub(crate) fn allsky(order: u8, width: usize, tiles: &[(u64, Vec<f32>)]) -> Vec<u8> {
    let count = usize::try_from(Cell::count(order)).unwrap_or(0);
    let columns = count.isqrt().max(1);
    let rows = count.div_ceil(columns);
    let line = columns * width;
    let mut values = vec![f32::NAN; line * rows * width];
    for (index, tile) in tiles {
        let place = usize::try_from(*index).unwrap_or(0);
        // FITS counts rows from the bottom.
        let first = (rows - 1 - place / columns) * width;
        let left = place % columns * width;
        for (row, pixels) in tile.chunks(width).enumerate() {
            let start = (first + row) * line + left;
            if let Some(place) = values.get_mut(start..start + width) {
                place.copy_from_slice(pixels);
            }
        }
    }
    let mut header = Header::primary(-32, &[line, rows * width]);
    header.card("ORDER", order).text("BUNIT", "relative").text("OBJECT", "a computed sky");
    with_data(&header, &values)
}

/// A picture with a side `factor` times shorter: each pixel is the mean of `factor` by `factor`.
pub(crate) fn shrunk(values: &[f32], width: usize, factor: usize) -> Vec<f32> {
    let side = width / factor;
    let area = (factor * factor) as f32;
    let mean = |row: usize, column: usize| {
        let lines = values.chunks(width).skip(row * factor).take(factor);
        lines.flat_map(|line| line.iter().skip(column * factor).take(factor)).sum::<f32>() / area
    };
    (0..side * side).map(|pixel| mean(pixel / side, pixel % side)).collect()
}

/// A map of the whole sky in galactic coordinates, plate carrée, longitude zero in the middle.
///
/// World coordinates after Calabretta & Greisen 2002 (A&A 395, 1077).
pub(crate) fn panorama(width: usize, height: usize, values: &[f32]) -> Vec<u8> {
    let mut header = Header::primary(-32, &[width, height]);
    header
        .text("CTYPE1", "GLON-CAR")
        .text("CTYPE2", "GLAT-CAR")
        .text("CUNIT1", "deg")
        .text("CUNIT2", "deg")
        .card("CRPIX1", format!("{:.1}", (width + 1) as f64 / 2.0))
        .card("CRPIX2", format!("{:.1}", (height + 1) as f64 / 2.0))
        .card("CRVAL1", "0.0")
        .card("CRVAL2", "0.0")
        .card("CDELT1", format!("{:.10}", -360.0 / width as f64))
        .card("CDELT2", format!("{:.10}", 180.0 / height as f64))
        .text("BUNIT", "relative")
        .text("OBJECT", "a computed sky");
    with_data(&header, values)
}

/// The coverage of a survey: a table of cells numbered `4 × 4^order + index` (NUNIQ).
///
/// <https://www.ivoa.net/documents/MOC/>, version 1.1, section 2.3.
pub(crate) fn coverage(cells: &[Cell]) -> Vec<u8> {
    let deepest = cells.iter().map(|cell| cell.order).max().unwrap_or(0);
    let mut primary = Header::primary(8, &[]);
    primary.card("EXTEND", "T");
    let mut table = Header(String::new());
    table
        .text("XTENSION", "BINTABLE")
        .card("BITPIX", 8)
        .card("NAXIS", 2)
        .card("NAXIS1", 8)
        .card("NAXIS2", cells.len())
        .card("PCOUNT", 0)
        .card("GCOUNT", 1)
        .card("TFIELDS", 1)
        .text("TTYPE1", "UNIQ")
        .text("TFORM1", "1K")
        .text("PIXTYPE", "HEALPIX")
        .text("ORDERING", "NUNIQ")
        .text("COORDSYS", "C")
        .card("MOCORDER", deepest)
        .text("MOCVERS", "1.1");
    let mut numbers: Vec<u64> =
        cells.iter().map(|cell| (4 << (2 * cell.order)) + cell.index).collect();
    numbers.sort_unstable();
    let mut file = primary.bytes();
    file.extend(table.bytes());
    file.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    file
}

fn with_data(header: &Header, values: &[f32]) -> Vec<u8> {
    let mut file = header.bytes();
    file.reserve((4 * values.len()).next_multiple_of(BLOCK));
    file.extend(values.iter().flat_map(|value| value.to_be_bytes()));
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_of_512_pixels_is_as_large_as_those_of_real_surveys() {
        let file = tile(Cell { order: 3, index: 5 }, 512, &vec![1.5; 512 * 512]);
        assert_eq!(file.len(), 1_054_080);
        assert_eq!(file[..30], *b"SIMPLE  =                    T");
        assert_eq!(file[2880..2884], 1.5_f32.to_be_bytes());
        assert_eq!(file[2880 + 4 * 512 * 512..], vec![0; 2624]);
    }

    #[test]
    fn headers_are_cards_of_80_characters_that_end() {
        let file = panorama(16, 8, &[0.0; 128]);
        assert_eq!(file.len(), 2 * BLOCK);
        let cards: Vec<&[u8]> = file[..BLOCK].chunks(80).collect();
        assert!(cards[0].starts_with(b"SIMPLE  = "));
        assert!(cards.iter().any(|card| card.starts_with(b"CTYPE1  = 'GLON-CAR'")));
        let end = cards.iter().position(|card| card.starts_with(b"END")).unwrap();
        assert!(cards[end + 1..].iter().all(|card| card.iter().all(|byte| *byte == b' ')));
        assert!(file[..BLOCK].is_ascii());
    }

    #[test]
    fn allsky_has_each_thumbnail_in_its_place() {
        // 12 cells of order 0: 3 columns, 4 rows of squares of 2 pixels.
        let file = allsky(0, 2, &[(4, vec![1.0, 2.0, 3.0, 4.0])]);
        assert_eq!(file.len(), 2 * BLOCK);
        let values: Vec<f32> = file[BLOCK..BLOCK + 4 * 48]
            .chunks(4)
            .map(|bytes| f32::from_be_bytes(bytes.try_into().unwrap()))
            .collect();
        // Cell 4 is in the second column of the second row from the top: rows 4 and 5 from the bottom.
        assert_eq!(values[4 * 6 + 2..4 * 6 + 4], [1.0, 2.0]);
        assert_eq!(values[5 * 6 + 2..5 * 6 + 4], [3.0, 4.0]);
        assert_eq!(values.iter().filter(|value| value.is_nan()).count(), 44);
    }

    #[test]
    fn a_shrunk_picture_has_the_means() {
        let values: Vec<f32> = (0..16_u8).map(f32::from).collect();
        assert_eq!(shrunk(&values, 4, 2), [2.5, 4.5, 10.5, 12.5]);
    }

    #[test]
    fn coverage_lists_the_cells_by_number() {
        let cells = [Cell { order: 2, index: 7 }, Cell { order: 0, index: 3 }];
        let file = coverage(&cells);
        assert_eq!(file.len(), 3 * BLOCK);
        let numbers = &file[2 * BLOCK..];
        assert_eq!(numbers[..8], 7_u64.to_be_bytes());
        assert_eq!(numbers[8..16], 71_u64.to_be_bytes());
        assert!(numbers[16..].iter().all(|byte| *byte == 0));
    }
}
