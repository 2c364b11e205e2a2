//! Pictures: 24-bit colour, halved in linear light, and written as PNG.

use std::io;
use std::sync::LazyLock;

use super::sky::Light;

/// A picture, first row at the top.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Image {
    /// All black.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![[0; 3]; width * height] }
    }

    /// A picture of linear light, row by row.
    pub(crate) fn of(width: usize, light: &[Light]) -> Self {
        let tones = &*TONES;
        let expose = |light: &Light| light.map(|channel| tones.expose(channel));
        Self::of_pixels(width, light.iter().map(expose).collect())
    }

    /// A picture of these pixels, row by row.
    pub(crate) fn of_pixels(width: usize, pixels: Vec<[u8; 3]>) -> Self {
        Self { width, height: pixels.len() / width, pixels }
    }

    /// The pixel at a column and a row; black outside.
    pub(crate) fn pixel(&self, column: usize, row: usize) -> [u8; 3] {
        let inside = column < self.width;
        self.pixels.get(row * self.width + column).copied().filter(|_| inside).unwrap_or_default()
    }

    /// Copies `other` to a place, as far as it fits.
    pub(crate) fn paste(&mut self, other: &Self, column: usize, row: usize) {
        let target = self.pixels.chunks_mut(self.width).skip(row);
        for (target, source) in target.zip(other.pixels.chunks(other.width)) {
            for (target, source) in target.iter_mut().skip(column).zip(source) {
                *target = *source;
            }
        }
    }

    /// Half as wide and half as high. Four pixels become one of the same light.
    pub(crate) fn halved(&self) -> Self {
        let mut pixels = Vec::with_capacity(self.pixels.len() / 4);
        for rows in self.pixels.chunks_exact(2 * self.width) {
            let (upper, lower) = rows.split_at(self.width);
            for (upper, lower) in upper.chunks_exact(2).zip(lower.chunks_exact(2)) {
                let mut sum = [0_u32; 3];
                for pixel in upper.iter().chain(lower) {
                    for (sum, byte) in sum.iter_mut().zip(pixel) {
                        *sum += u32::from(TONES.linear(*byte));
                    }
                }
                pixels.push(sum.map(|sum| TONES.byte(sum / 4)));
            }
        }
        Self { width: self.width / 2, height: self.height / 2, pixels }
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// None that an image of this shape can cause.
    pub(crate) fn png(&self) -> io::Result<Vec<u8>> {
        let too_large = |_| io::Error::other("a picture wider than PNG allows");
        let width = u32::try_from(self.width).map_err(too_large)?;
        let height = u32::try_from(self.height).map_err(too_large)?;
        let mut file = Vec::with_capacity(self.pixels.len());
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()?;
        Ok(file)
    }
}

/// How much light makes a pixel nearly white.
const EXPOSURE: f32 = 1.8;

/// Conversion between amounts of light, bytes of gamma 2.2 and linear 16-bit values.
struct Tones {
    linear: [u16; 256],
    bytes: Vec<u8>,
    /// By the square root of the light, which keeps dark tones apart; the last is white.
    exposed: Vec<u8>,
}

/// Entries of `Tones::exposed` for a square root of one.
const SHADES: f32 = 4096.0;

static TONES: LazyLock<Tones> = LazyLock::new(Tones::new);

impl Tones {
    fn new() -> Self {
        let white = f64::from(u16::MAX);
        let linear =
            std::array::from_fn(|byte| ((byte as f64 / 255.0).powf(2.2) * white).round() as u16);
        let bytes = (0..=u16::MAX)
            .map(|light| ((f64::from(light) / white).powf(1.0 / 2.2) * 255.0).round() as u8)
            .collect();
        let mut tones = Self { linear, bytes, exposed: Vec::new() };
        tones.exposed = (0..=2 * SHADES as u32)
            .map(|shade| {
                let root = shade as f32 / SHADES;
                // Bright parts saturate softly.
                let exposed = 1.0 - (-EXPOSURE * root * root).exp();
                tones.byte((exposed * f32::from(u16::MAX)) as u32)
            })
            .collect();
        tones
    }

    /// The byte for an amount of light.
    fn expose(&self, light: f32) -> u8 {
        let shade = (light.max(0.0).sqrt() * SHADES) as usize;
        self.exposed.get(shade).copied().unwrap_or(255)
    }

    fn linear(&self, byte: u8) -> u16 {
        self.linear.get(usize::from(byte)).copied().unwrap_or(0)
    }

    fn byte(&self, light: u32) -> u8 {
        self.bytes.get(light as usize).copied().unwrap_or(255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_keeps_the_light() {
        let bytes = |pixels: [[u8; 3]; 4]| {
            Image { width: 2, height: 2, pixels: pixels.to_vec() }.halved().pixel(0, 0)
        };
        assert_eq!(bytes([[7, 100, 255]; 4]), [7, 100, 255]);
        // A quarter of the light is more than a quarter of the byte.
        assert_eq!(bytes([[255; 3], [0; 3], [0; 3], [0; 3]]), [136; 3]);
    }

    #[test]
    fn a_png_reads_back_as_it_was() {
        let mut image = Image::new(3, 2);
        image.paste(&Image::of(1, &[[0.1, 0.5, 9.0]]), 2, 1);
        image.paste(&Image::new(5, 5), 3, 2);
        let file = image.png().unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 18);
        assert_eq!(bytes[..15], [0; 15]);
        assert_eq!(bytes[15..], image.pixel(2, 1));
        assert_eq!(bytes[17], 255);
        assert_eq!(image.pixel(3, 0), [0; 3]);
    }
}
