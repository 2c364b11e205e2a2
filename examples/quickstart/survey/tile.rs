//! Tiles: the sky on the squares of HEALPix, in the layout of HiPS 1.0.
//!
//! <https://www.ivoa.net/documents/HiPS/20170519/>, sections 4.1 and 4.2. In a picture the south
//! corner of a cell is at the top left, east at the bottom left, west at the top right and north at
//! the bottom right: columns follow `y` of HEALPix, rows follow `x`. A FITS tile is the same with
//! its rows the other way up, as FITS counts them from the bottom.

use std::ops::Range;

use super::healpix::{Cell, Direction, FacePoint};
use super::image::Image;
use super::sky::{Light, Sky, luminance};
use super::stars::{Catalogue, STRETCH, Star, pixel_size, samples};

/// The light of the sky is computed at one of this number of pixels per axis and interpolated between
/// them: the first in detailed regions, the second in plain ones.
const FINE_STEP: usize = 4;
const COARSE_STEP: usize = 8;

/// `Norder3/Dir0/Npix767.png`
pub(crate) fn key(tile: Cell, extension: &str) -> String {
    let folder = tile.index / 10_000 * 10_000;
    format!("Norder{}/Dir{folder}/Npix{}.{extension}", tile.order, tile.index)
}

/// A picture of the sky and its stars, `width` pixels a side.
pub(crate) fn picture(sky: &Sky, stars: &Catalogue, tile: Cell, width: usize) -> Image {
    let grid = Grid::new(sky, tile, width);
    let mut light = grid.light(width);
    for star in stars.of(tile) {
        draw(star, tile, width, &grid, &mut light);
    }
    Image::of(width, &light)
}

/// The brightness of the sky without stars, rows in the order of FITS.
pub(crate) fn brightness(sky: &Sky, tile: Cell, width: usize) -> Vec<f32> {
    let grid = Grid::new(sky, tile, width);
    let light = grid.light(width);
    light.chunks(width).rev().flatten().copied().map(luminance).collect()
}

/// The picture of a cell from those of its children, in the order of [`Cell::children`].
pub(crate) fn joined([south, east, west, north]: &[Image; 4]) -> Image {
    let (width, height) = (south.width, south.height);
    let mut whole = Image::new(2 * width, 2 * height);
    whole.paste(south, 0, 0);
    whole.paste(east, 0, height);
    whole.paste(west, width, 0);
    whole.paste(north, width, height);
    whole.halved()
}

/// Directions and light at the corners of squares of `step` pixels.
struct Grid {
    step: usize,
    directions: Vec<Direction>,
    light: Vec<Light>,
    side: usize,
}

impl Grid {
    fn new(sky: &Sky, tile: Cell, width: usize) -> Self {
        let centre = tile.point(0.5, 0.5).direction();
        let step = if Sky::is_detailed(centre) { FINE_STEP } else { COARSE_STEP };
        let octaves = octaves(tile.order, width, step);
        let squares = width / step;
        let place = |n: usize| n as f64 / squares as f64;
        let places = (0..=squares).flat_map(|row| (0..=squares).map(move |column| (row, column)));
        let directions: Vec<Direction> =
            places.map(|(row, column)| tile.point(place(row), place(column)).direction()).collect();
        let light = directions.iter().map(|at| sky.light(*at, octaves)).collect();
        Self { step, directions, light, side: squares + 1 }
    }

    /// The light at the centres of all pixels, row by row.
    fn light(&self, width: usize) -> Vec<Light> {
        let mut pixels = Vec::with_capacity(width * width);
        for lines in self.light.windows(2 * self.side).step_by(self.side) {
            let (upper, lower) = lines.split_at(self.side);
            for row in 0..self.step {
                let down = self.centre_of(row) as f32;
                let ends = upper.windows(2).zip(lower.windows(2));
                for ends in ends {
                    let ([a, b], [c, d]) = ends else { continue };
                    let (left, right) = (between(a, c, down), between(b, d, down));
                    let part = |column| self.centre_of(column) as f32;
                    pixels.extend((0..self.step).map(|n| between(&left, &right, part(n))));
                }
            }
        }
        pixels
    }

    /// Where the centre of a pixel is within its square, 0 to 1.
    fn centre_of(&self, pixel: usize) -> f64 {
        (pixel as f64 + 0.5) / self.step as f64
    }

    /// The direction of the centre of a pixel.
    fn direction(&self, column: usize, row: usize) -> Option<Direction> {
        let (right, down) = (self.centre_of(column % self.step), self.centre_of(row % self.step));
        let first = row / self.step * self.side + column / self.step;
        let [a, b] = self.directions.get(first..first + 2)? else { return None };
        let below = first + self.side;
        let [c, d] = self.directions.get(below..below + 2)? else { return None };
        Some(between(&between(a, b, right), &between(c, d, right), down))
    }
}

fn between<T>(a: &[T; 3], b: &[T; 3], part: T) -> [T; 3]
where
    T: Copy + std::ops::Add<Output = T> + std::ops::Sub<Output = T> + std::ops::Mul<Output = T>,
{
    let ([a0, a1, a2], [b0, b1, b2]) = (*a, *b);
    [a0 + (b0 - a0) * part, a1 + (b1 - a1) * part, a2 + (b2 - a2) * part]
}

/// As many octaves as the steps can show, given that the noise begins at three features a radian
/// and that a feature takes two steps.
fn octaves(order: u8, width: usize, step: usize) -> u32 {
    let finest = 1.0 / (pixel_size(order, width) * step as f64);
    (finest / 6.0).log2().round().max(1.0) as u32
}

fn draw(star: &Star, tile: Cell, width: usize, grid: &Grid, light: &mut [Light]) {
    let pixel = pixel_size(tile.order, width);
    let Some((columns, rows)) = area(star, tile, width) else { return };
    for row in rows {
        for column in columns.clone() {
            let pixel_of = light.get_mut(row * width + column);
            let (Some(light), Some(at)) = (pixel_of, grid.direction(column, row)) else { continue };
            for (sum, part) in light.iter_mut().zip(star.image(at, pixel)) {
                *sum += part;
            }
        }
    }
}

/// The columns and rows of a tile that the image of a star may touch.
fn area(star: &Star, tile: Cell, width: usize) -> Option<(Range<usize>, Range<usize>)> {
    let side = f64::from(1_u32 << tile.order);
    let (along_x, along_y) = tile.place();
    let face = tile.point(0.5, 0.5).face;
    let place = |point: FacePoint| {
        let part = [point.y * side - along_y as f64, point.x * side - along_x as f64];
        part.map(|part| part * width as f64)
    };
    let clip = |low: f64, high: f64| {
        let limit = |pixel: f64| pixel.clamp(0.0, width as f64) as usize;
        limit(low.floor())..limit(high.ceil())
    };
    let reach = STRETCH * star.reach;
    let home = FacePoint::of(star.direction);
    if home.face == face {
        let [column, row] = place(home);
        return Some((clip(column - reach, column + reach), clip(row - reach, row + reach)));
    }
    // From another face, where this one's coordinates do not hold: see which samples fall here.
    let mut area: Option<[Range<f64>; 2]> = None;
    for point in samples(star, pixel_size(tile.order, width)).map(FacePoint::of) {
        if point.face == face {
            let [column, row] = place(point);
            let [columns, rows] = area.get_or_insert([column..column, row..row]);
            *columns = columns.start.min(column)..columns.end.max(column);
            *rows = rows.start.min(row)..rows.end.max(row);
        }
    }
    // The samples leave gaps, within which the image may go on.
    let gap = 2.0 + star.reach / 4.0;
    area.map(|[c, r]| (clip(c.start - gap, c.end + gap), clip(r.start - gap, r.end + gap)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::stars::bright_stars;

    #[test]
    fn keys_follow_the_layout_of_hips() {
        for (order, index, key_of_tile) in [
            (0, 11, "Norder0/Dir0/Npix11.png"),
            (3, 767, "Norder3/Dir0/Npix767.png"),
            (5, 10_000, "Norder5/Dir10000/Npix10000.png"),
            (6, 49_151, "Norder6/Dir40000/Npix49151.png"),
        ] {
            assert_eq!(key(Cell { order, index }, "png"), key_of_tile);
        }
    }

    /// Pixels on both sides of an edge differ no more than pixels within a tile do.
    #[test]
    fn neighbouring_tiles_match_along_their_edges() {
        let (sky, stars) = (Sky::new(), Catalogue::new(bright_stars(0, 20_000), 3, 64));
        let tile = |index| picture(&sky, &stars, Cell { order: 3, index }, 64);
        let far = |a: [u8; 3], b: [u8; 3]| u32::from(a[1].abs_diff(b[1]));
        // South and east children of one cell; then two faces: north-east of 4 on south-west of 0.
        let (south, east) = (tile(272), tile(273));
        let (below, above) = (tile(4 * 64 + 21), tile(0));
        let (mut edges, mut within) = (0, 0);
        for n in 0..64 {
            edges += far(south.pixel(n, 63), east.pixel(n, 0));
            edges += far(below.pixel(n, 63), above.pixel(n, 0));
            within += far(south.pixel(n, 31), south.pixel(n, 32));
            within += far(below.pixel(n, 31), below.pixel(n, 32));
        }
        assert!(edges < 2 * within + 128, "{edges} across the edges, {within} within");
    }

    #[test]
    fn children_are_joined_south_east_west_north() {
        let shade = |light: f32| Image::of(2, &[[light; 3]; 4]);
        let [south, east, west, north] = [0.1, 0.2, 0.3, 0.4].map(shade);
        let expected = [&south, &west, &east, &north].map(|image| image.pixel(0, 0));
        let whole = joined(&[south.clone(), east.clone(), west.clone(), north.clone()]);
        let found = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(c, r)| whole.pixel(c, r));
        assert_eq!(found, expected);
    }
}
