//! HEALPix: the sky cut into twelve square faces, and each face into nested squares.
//!
//! After Górski et al. 2005, "HEALPix: A Framework for High-Resolution Discretization and Fast
//! Analysis of Data Distributed on the Sphere" (ApJ 622, 759), in the form of Calabretta & Roukema
//! 2007 (MNRAS 381, 865): the sphere is unrolled onto a plane in which every face is a square
//! standing on its corner. Lengths in that plane are in units of π/4 here, so that the centres of
//! the faces have whole coordinates.

use std::f64::consts::{FRAC_PI_4, TAU};

/// A direction on the sky, of length one: z is the north pole, x is longitude zero.
pub(crate) type Direction = [f64; 3];

/// The faces: 0 to 3 around the north pole, 4 to 7 along the equator, 8 to 11 around the south.
pub(crate) const FACES: u64 = 12;

/// A point within a face: `x` grows to the north-east, `y` to the north-west, both in `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FacePoint {
    pub(crate) face: u64,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

impl FacePoint {
    /// The direction of a point. Points on the edges are good for either face.
    pub(crate) fn direction(self) -> Direction {
        let (centre_x, centre_y) = centre(self.face);
        let plane_x = centre_x + self.x - self.y;
        let plane_y = centre_y + self.x + self.y - 1.0;
        let (z, longitude) = if plane_y.abs() <= 1.0 {
            (plane_y * 2.0 / 3.0, plane_x)
        } else {
            // Polar caps: rows shrink towards the pole, each face around its own meridian.
            let sigma = (2.0 - plane_y.abs()).max(0.0);
            let offset = if sigma > 0.0 { (plane_x - centre_x) / sigma } else { 0.0 };
            ((1.0 - sigma * sigma / 3.0).copysign(plane_y), centre_x + offset)
        };
        let (sin, cos) = (longitude * FRAC_PI_4).sin_cos();
        let radius = (1.0 - z * z).max(0.0).sqrt();
        [radius * cos, radius * sin, z]
    }

    /// The face of a direction, and the place in it.
    pub(crate) fn of([x, y, z]: Direction) -> Self {
        let longitude = y.atan2(x).rem_euclid(TAU) / FRAC_PI_4;
        let (plane_x, plane_y) = if z.abs() <= 2.0 / 3.0 {
            (longitude, z * 1.5)
        } else {
            let sigma = (3.0 * (1.0 - z.abs())).max(0.0).sqrt();
            let meridian = 2.0 * (longitude / 2.0).floor() + 1.0;
            (meridian + (longitude - meridian) * sigma, (2.0 - sigma).copysign(z))
        };
        // In coordinates along the sides of the squares, a face is a unit cell.
        let along_x = f64::midpoint(plane_x, plane_y) + 0.5;
        let along_y = f64::midpoint(-plane_x, plane_y) + 0.5;
        let (cell_x, cell_y) = (along_x.floor(), along_y.floor());
        let (ring, column) = match cell_x + cell_y {
            sum if sum >= 1.0 => (0, cell_x - 1.0),
            sum if sum <= -1.0 => (8, cell_x),
            _ => (4, cell_x),
        };
        let column = (0..4_u8).find(|n| f64::from(*n) == column.rem_euclid(4.0)).unwrap_or(0);
        Self { face: ring + u64::from(column), x: along_x - cell_x, y: along_y - cell_y }
    }
}

/// The centre of a face in the plane.
fn centre(face: u64) -> (f64, f64) {
    let column = [0.0, 2.0, 4.0, 6.0].into_iter().nth((face % 4) as usize).unwrap_or(0.0);
    match face / 4 {
        0 => (column + 1.0, 1.0),
        1 => (column, 0.0),
        _ => (column + 1.0, -1.0),
    }
}

/// One square of the nested division: face `index / 4^order`, and within it the bits of the column
/// and the row take turns, those of `x` in the even places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    /// `0..=29`; a face is divided into `4^order` cells.
    pub(crate) order: u8,
    pub(crate) index: u64,
}

impl Cell {
    /// How many cells the whole sky has.
    pub(crate) fn count(order: u8) -> u64 {
        FACES << (2 * order)
    }

    /// The cell that holds a point.
    pub(crate) fn at(order: u8, point: FacePoint) -> Self {
        let side = 1_u64 << order;
        let place = |part: f64| ((part * side as f64).max(0.0) as u64).min(side - 1);
        let within = spread(place(point.x)) | spread(place(point.y)) << 1;
        Self { order, index: (point.face << (2 * order)) + within }
    }

    /// Column (along `x`) and row (along `y`) within the face.
    pub(crate) fn place(self) -> (u64, u64) {
        let within = self.index & ((1 << (2 * self.order)) - 1);
        (gather(within), gather(within >> 1))
    }

    /// The point of the face that is at `x`, `y` of this cell, both in `0..=1`.
    pub(crate) fn point(self, x: f64, y: f64) -> FacePoint {
        let side = (1_u64 << self.order) as f64;
        let (column, row) = self.place();
        FacePoint {
            face: self.index >> (2 * self.order),
            x: (column as f64 + x) / side,
            y: (row as f64 + y) / side,
        }
    }

    /// The four cells of the next order: south, east, west, north.
    pub(crate) fn children(self) -> [Self; 4] {
        [0, 1, 2, 3].map(|n| Self { order: self.order + 1, index: 4 * self.index + n })
    }
}

/// Puts a zero before every bit.
fn spread(number: u64) -> u64 {
    (0..32).map(|bit| (number >> bit & 1) << (2 * bit)).sum()
}

/// Takes every other bit.
fn gather(number: u64) -> u64 {
    (0..32).map(|bit| (number >> (2 * bit) & 1) << bit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn degrees(direction: Direction) -> (f64, f64) {
        let [x, y, z] = direction;
        (y.atan2(x).to_degrees().rem_euclid(360.0), z.asin().to_degrees())
    }

    #[test]
    fn the_faces_are_centred_where_the_paper_says() {
        // 41.8103149 degrees is asin(2/3).
        for (face, longitude, latitude) in [
            (0, 45.0, 41.810_314_9),
            (3, 315.0, 41.810_314_9),
            (4, 0.0, 0.0),
            (7, 270.0, 0.0),
            (8, 45.0, -41.810_314_9),
            (11, 315.0, -41.810_314_9),
        ] {
            let found = degrees(FacePoint { face, x: 0.5, y: 0.5 }.direction());
            assert!((found.0 - longitude).abs() < 1e-6 && (found.1 - latitude).abs() < 1e-6);
        }
    }

    #[test]
    fn known_pixels_of_the_reference_implementation() {
        // astropy-healpix 2.0.1, healpix_to_lonlat, degrees
        for (order, index, longitude, latitude) in [
            (3, 0, 45.0, 4.780_191_847),
            (3, 63, 45.0, 84.149_732_936),
            (3, 100, 123.75, 35.685_334_713),
            (3, 300, 337.5, 4.780_191_847),
            (3, 511, 270.0, 35.685_334_713),
            (3, 767, 315.0, -4.780_191_847),
        ] {
            let found = degrees(Cell { order, index }.point(0.5, 0.5).direction());
            let near = (found.0 - longitude).abs() < 1e-8 && (found.1 - latitude).abs() < 1e-8;
            assert!(near, "{order}/{index}: {found:?}");
        }
    }

    #[test]
    fn every_cell_is_found_from_its_centre() {
        for order in 0..=5 {
            for index in 0..Cell::count(order) {
                let cell = Cell { order, index };
                let point = FacePoint::of(cell.point(0.5, 0.5).direction());
                assert_eq!(Cell::at(order, point), cell);
            }
        }
    }

    #[test]
    fn children_lie_in_their_corners() {
        let cell = Cell { order: 2, index: 77 };
        // South, east, west, north.
        let corners = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];
        for (child, (x, y)) in cell.children().into_iter().zip(corners) {
            assert_eq!(child.point(0.5, 0.5), cell.point(x, y));
        }
    }

    #[test]
    fn all_cells_have_the_same_area() {
        let order = 3;
        let area = 4.0 * std::f64::consts::PI / Cell::count(order) as f64;
        for index in 0..Cell::count(order) {
            let sum = area_of(Cell { order, index });
            assert!((sum / area - 1.0).abs() < 1e-2, "{index}: {}", sum / area);
        }
    }

    /// Sum over small flat quadrilaterals.
    fn area_of(cell: Cell) -> f64 {
        let steps = 16;
        let at = |i: u32, j: u32| {
            cell.point(f64::from(i) / f64::from(steps), f64::from(j) / f64::from(steps)).direction()
        };
        let minus = |a: Direction, b: Direction| [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
        let mut sum = 0.0;
        for i in 0..steps {
            for j in 0..steps {
                let (p, q) = (minus(at(i + 1, j + 1), at(i, j)), minus(at(i, j + 1), at(i + 1, j)));
                let cross = [
                    p[1] * q[2] - p[2] * q[1],
                    p[2] * q[0] - p[0] * q[2],
                    p[0] * q[1] - p[1] * q[0],
                ];
                sum += cross.iter().map(|c| c * c).sum::<f64>().sqrt() / 2.0;
            }
        }
        sum
    }

    #[test]
    fn faces_meet_along_their_edges() {
        // The north-east edge of an equatorial face is the south-west edge of a polar one.
        for step in 0..=10 {
            let part = f64::from(step) / 10.0;
            let meet = |a: FacePoint, b: FacePoint| {
                let (a, b) = (a.direction(), b.direction());
                let far = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(far < 1e-12, "{a:?} {b:?}");
            };
            let at = |face, x, y| FacePoint { face, x, y };
            meet(at(4, 1.0, part), at(0, 0.0, part));
            meet(at(5, part, 1.0), at(0, part, 0.0));
            meet(at(4, part, 0.0), at(8, part, 1.0));
            meet(at(5, 0.0, part), at(8, 1.0, part));
            meet(at(0, part, 1.0), at(3, 1.0, part));
            meet(at(8, 0.0, part), at(11, part, 0.0));
        }
    }
}
