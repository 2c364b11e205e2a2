//! Single stars: where they stand, how bright they are, and how they look through a telescope.

use std::collections::BTreeMap;

use super::healpix::{Cell, Direction, FacePoint};
use super::noise::{Dice, mix};
use super::sky::{Light, crowding, transmission};

/// One star.
#[derive(Debug, Clone)]
pub(crate) struct Star {
    pub(crate) direction: Direction,
    /// Peak of its image in each channel.
    light: Light,
    /// Peak of its image, all channels.
    peak: f32,
    /// How far the image reaches, pixels.
    pub(crate) reach: f64,
    /// Towards celestial east and north, along which the spikes of bright stars lie.
    east: Direction,
    north: Direction,
}

/// The width of the image of a star, pixels (one standard deviation).
const SEEING: f32 = 0.80;
/// Fainter than this is not drawn.
const FAINTEST: f32 = 0.008;
/// Stars above this peak have spikes.
const SPIKED: f32 = 14.0;

impl Star {
    fn new(direction: Direction, peak: f32, light: Light) -> Self {
        let [x, y, z] = direction;
        let radius = x.hypot(y).max(1e-9);
        let east = [-y / radius, x / radius, 0.0];
        let north = [-z * x / radius, -z * y / radius, radius];
        let light = light.map(|channel| channel * peak);
        Self { direction, light, peak, reach: reach(peak), east, north }
    }

    /// The light of the image at a direction, for pixels of this size in radians.
    pub(crate) fn image(&self, at: Direction, pixel: f64) -> Light {
        let minus: Direction = std::array::from_fn(|axis| {
            at.get(axis).unwrap_or(&0.0) - self.direction.get(axis).unwrap_or(&0.0)
        });
        let reach = self.reach * pixel;
        if minus.iter().map(|c| c * c).sum::<f64>() > reach * reach {
            return [0.0; 3];
        }
        let along = |axis: &Direction| -> f32 {
            (minus.iter().zip(axis).map(|(a, b)| a * b).sum::<f64>() / pixel) as f32
        };
        let (east, north) = (along(&self.east), along(&self.north));
        let square = east * east + north * north;
        let mut shape = (-square / (2.0 * SEEING * SEEING)).exp();
        if self.peak > 1.0 {
            let end = 1.0 - square.sqrt() / self.reach as f32;
            if end > 0.0 {
                shape += end * 0.030 / (1.0 + square / 3.0);
                if self.peak > SPIKED {
                    shape += end * end * 0.045 * (spike(east, north) + spike(north, east));
                }
            }
        }
        self.light.map(|channel| channel * shape)
    }
}

/// Where the image of a star of this peak is lost in the sky, pixels.
fn reach(peak: f32) -> f64 {
    let core = SEEING * (2.0 * (peak / FAINTEST).max(1.0).ln()).sqrt();
    let halo = if peak > 1.0 { 5.0 * peak.sqrt() } else { 0.0 };
    let spikes = if peak > SPIKED { 11.0 * peak.sqrt() } else { 0.0 };
    f64::from(core.max(halo).max(spikes).min(95.0))
}

/// Light along one axis, thin across it.
fn spike(along: f32, across: f32) -> f32 {
    (-across * across / 0.9).exp() / (1.0 + along.abs() / 5.0)
}

/// The stars by the tiles that their images touch.
pub(crate) struct Catalogue {
    stars: Vec<Star>,
    tiles: BTreeMap<Cell, Vec<u32>>,
}

impl Catalogue {
    /// Sorts stars for tiles of an order and a width in pixels.
    pub(crate) fn new(stars: Vec<Star>, order: u8, width: usize) -> Self {
        let pixel = pixel_size(order, width);
        let mut tiles: BTreeMap<Cell, Vec<u32>> = BTreeMap::new();
        for (number, star) in (0..).zip(&stars) {
            for tile in touched(star, order, pixel) {
                tiles.entry(tile).or_default().push(number);
            }
        }
        Self { stars, tiles }
    }

    /// The stars whose images touch a tile.
    pub(crate) fn of(&self, tile: Cell) -> impl Iterator<Item = &Star> {
        let numbers = self.tiles.get(&tile).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| self.stars.get(*number as usize))
    }
}

/// The mean side of a pixel, radians.
pub(crate) fn pixel_size(order: u8, width: usize) -> f64 {
    let pixels = Cell::count(order) as f64 * (width * width) as f64;
    (4.0 * std::f64::consts::PI / pixels).sqrt()
}

/// A circle on the sky reaches at most this much further along the sides of a cell than it would if
/// cells were squares of their size; the greatest stretch, 1.49, is at the poles.
pub(crate) const STRETCH: f64 = 1.5;

/// Directions within a circle around a star: the centre and rings up to its reach.
pub(crate) fn samples(star: &Star, pixel: f64) -> impl Iterator<Item = Direction> {
    let reach = star.reach * pixel;
    let rings = if star.reach > 12.0 { 6 } else { 2 };
    let ring = move |n: u32| {
        (0..16).map(move |step| {
            let (sin, cos) = (f64::from(step) * std::f64::consts::TAU / 16.0).sin_cos();
            let radius = reach * f64::from(n) / f64::from(rings);
            let moved: Direction = std::array::from_fn(|axis| {
                let of = |vector: &Direction| vector.get(axis).copied().unwrap_or(0.0);
                of(&star.direction) + radius * (cos * of(&star.east) + sin * of(&star.north))
            });
            let length = moved.iter().map(|c| c * c).sum::<f64>().sqrt();
            moved.map(|c| c / length)
        })
    };
    std::iter::once(star.direction).chain((1..=rings).flat_map(ring))
}

fn touched(star: &Star, order: u8, pixel: f64) -> Vec<Cell> {
    let home = FacePoint::of(star.direction);
    let side = f64::from(1_u32 << order);
    let margin = STRETCH * star.reach * pixel * side;
    let inside = |part: f64| {
        let within = (part * side).fract();
        within > margin && within < 1.0 - margin
    };
    if inside(home.x) && inside(home.y) {
        return vec![Cell::at(order, home)];
    }
    let mut cells: Vec<Cell> =
        samples(star, pixel).map(|at| Cell::at(order, FacePoint::of(at))).collect();
    cells.sort_unstable();
    cells.dedup();
    cells
}

/// The stars that every order shows, made in portions of which each has its number.
pub(crate) fn bright_stars(portion: u64, count: usize) -> Vec<Star> {
    let mut dice = Dice::new(19_890_310 + portion);
    (0..count).map(|_| star(&mut dice, 0.09, crowded)).collect()
}

/// Fainter stars within a cell, for the orders that show only a part of the sky.
pub(crate) fn faint_stars(count: usize, cell: Cell) -> Vec<Star> {
    let mut dice = Dice::new(20_250_630);
    let place = |dice: &mut Dice| cell.point(dice.unit(), dice.unit()).direction();
    (0..count).map(|_| star(&mut dice, 0.05, place)).collect()
}

/// A direction, more likely where there are more stars.
fn crowded(dice: &mut Dice) -> Direction {
    loop {
        let direction = dice.direction();
        if dice.unit() < crowding(direction) {
            return direction;
        }
    }
}

fn star(dice: &mut Dice, faintest: f64, place: impl Fn(&mut Dice) -> Direction) -> Star {
    let direction = place(dice);
    // Counts grow by 3.7 with every magnitude.
    let peak = (faintest * dice.unit().max(1e-9).powf(-0.70)).min(150.0) as f32;
    let warmth = dice.unit() as f32 * if peak > 4.0 { 0.8 } else { 1.0 };
    let dimmed = if peak > 12.0 { 1.0 } else { transmission(direction) };
    Star::new(direction, peak * dimmed, colour(warmth))
}

/// From blue-white (0) to orange-red (1), brightest channel 1.
fn colour(warmth: f32) -> Light {
    const STEPS: [Light; 5] = [
        [0.62, 0.75, 1.00],
        [0.82, 0.89, 1.00],
        [1.00, 0.97, 0.92],
        [1.00, 0.85, 0.66],
        [1.00, 0.64, 0.40],
    ];
    let place = warmth.clamp(0.0, 0.999) * 4.0;
    let step = place as usize;
    let (cool, warm) = match STEPS.get(step..step + 2) {
        Some([cool, warm]) => (*cool, *warm),
        _ => return [1.0; 3],
    };
    std::array::from_fn(|channel| {
        let of = |light: &Light| light.get(channel).copied().unwrap_or(1.0);
        mix(of(&cool), of(&warm), place.fract())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_brightest_at_its_star_and_gone_at_its_reach() {
        let pixel = pixel_size(3, 256);
        for peak in [0.2, 5.0, 100.0] {
            let star = Star::new([1.0, 0.0, 0.0], peak, [1.0; 3]);
            let at = |pixels: f64| {
                let (sin, cos) = (pixels * pixel).sin_cos();
                star.image([cos, sin * 0.8, sin * 0.6], pixel)[0]
            };
            assert!((at(0.0) / peak - 1.0).abs() < 0.2);
            assert!(at(star.reach) <= 1.01 * FAINTEST, "{peak}: {}", at(star.reach));
        }
    }

    #[test]
    fn a_star_on_an_edge_is_in_both_tiles() {
        let corner = Cell { order: 3, index: 100 }.point(0.0, 0.5).direction();
        let star = Star::new(corner, 1.0, [1.0; 3]);
        let catalogue = Catalogue::new(vec![star], 3, 256);
        assert_eq!(catalogue.tiles.len(), 2);
        assert_eq!(catalogue.of(Cell { order: 3, index: 100 }).count(), 1);
        assert_eq!(catalogue.of(Cell { order: 3, index: 700 }).count(), 0);
    }
}
