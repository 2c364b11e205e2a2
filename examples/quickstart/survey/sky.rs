//! A sky that never was: a galaxy seen from within, with dust lanes, glowing clouds and two small
//! companions. Computed from noise, so it has no copyright; its layout is that of our galaxy.

use super::healpix::Direction;
use super::noise::{Dice, fractal, mix, ridges, smoothstep};

/// Linear light of red, green and blue.
pub(crate) type Light = [f32; 3];

/// Equatorial (ICRS) to galactic, after Murray 1989 (A&A 218, 325).
const TO_GALACTIC: [Direction; 3] = [
    [-0.054_875_560_4, -0.873_437_090_2, -0.483_835_015_5],
    [0.494_109_427_9, -0.444_829_630_0, 0.746_982_244_5],
    [-0.867_666_149_0, -0.198_076_373_4, 0.455_983_776_3],
];

/// Galactic longitude and latitude of the great nebula, degrees; the survey is deepest there.
const GREAT_NEBULA: (f64, f64) = (345.8, -1.9);

/// The direction in galactic coordinates of one in equatorial coordinates.
pub(crate) fn to_galactic(direction: Direction) -> Direction {
    TO_GALACTIC.map(|row| row.iter().zip(&direction).map(|(a, b)| a * b).sum())
}

/// The way back.
pub(crate) fn to_equatorial(galactic: Direction) -> Direction {
    [0, 1, 2].map(|axis| {
        TO_GALACTIC.iter().zip(&galactic).map(|(row, g)| row.get(axis).unwrap_or(&0.0) * g).sum()
    })
}

/// The direction of a longitude and a latitude in degrees.
pub(crate) fn direction(longitude: f64, latitude: f64) -> Direction {
    let (sin_b, cos_b) = latitude.to_radians().sin_cos();
    let (sin_l, cos_l) = longitude.to_radians().sin_cos();
    [cos_b * cos_l, cos_b * sin_l, sin_b]
}

/// Where the great nebula is, in equatorial coordinates.
pub(crate) fn great_nebula() -> Direction {
    to_equatorial(direction(GREAT_NEBULA.0, GREAT_NEBULA.1))
}

/// The light of everything but single stars.
pub(crate) struct Sky {
    clouds: Vec<Cloud>,
}

/// A glowing cloud.
struct Cloud {
    centre: [f32; 3],
    /// Radians.
    radius: f32,
    light: Light,
    /// Where in the noise its shape is taken from.
    seed: f32,
}

/// A companion galaxy.
struct Companion {
    longitude: f64,
    latitude: f64,
    /// Degrees.
    radius: f64,
    brightness: f32,
}

const COMPANIONS: [Companion; 2] = [
    Companion { longitude: 280.5, latitude: -32.9, radius: 3.6, brightness: 0.42 },
    Companion { longitude: 302.8, latitude: -44.3, radius: 1.9, brightness: 0.30 },
];

/// Degrees from the plane.
const DUST_ENDS: f32 = 15.0;

/// What a place in the galaxy is made of, as seen along one line of sight.
struct Column {
    /// Unresolved stars: a disc, and the bulge in the middle.
    disc: f32,
    bulge: f32,
    /// Optical depth in green.
    dust: f32,
}

impl Sky {
    pub(crate) fn new() -> Self {
        Self { clouds: clouds() }
    }

    /// Whether there may be dust or clouds within 7 degrees of a direction.
    pub(crate) fn is_detailed(equatorial: Direction) -> bool {
        let galactic = to_galactic(equatorial);
        let near = |c: &Companion| {
            let centre = direction(c.longitude, c.latitude);
            let cosine: f64 = centre.iter().zip(&galactic).map(|(a, b)| a * b).sum();
            cosine > (4.0 * c.radius + 7.0).to_radians().cos()
        };
        galactic[2].abs() < 24_f64.to_radians().sin() || COMPANIONS.iter().any(near)
    }

    /// The light from a direction; `octaves` is the number of octaves of noise in its finest parts.
    pub(crate) fn light(&self, equatorial: Direction, octaves: u32) -> Light {
        let galactic = to_galactic(equatorial);
        let place = galactic.map(|c| c as f32);
        let column = column(place, octaves);
        let mut light = [0.0016, 0.0021, 0.0042];
        let cirrus = smoothstep(-0.1, 0.9, fractal(scaled(place, 3.1, 40.0), 3));
        add(&mut light, [0.0024, 0.0032, 0.0062], cirrus);
        add(&mut light, [0.94, 0.88, 0.86], column.disc);
        add(&mut light, [1.08, 0.74, 0.39], column.bulge);
        for (channel, reddening) in light.iter_mut().zip([0.72, 1.0, 1.42]) {
            *channel *= (-column.dust * reddening).exp();
        }
        // The glow of gas lies before part of the dust.
        let veil = (-0.55 * column.dust).exp();
        for cloud in &self.clouds {
            let glow = cloud.glow(place, octaves);
            if glow > 0.0 {
                add(&mut light, cloud.light, glow * veil);
            }
        }
        for companion in &COMPANIONS {
            add(&mut light, [0.80, 0.86, 1.0], companion.glow(place));
        }
        light
    }
}

/// How much of the light of a star behind everything is left.
pub(crate) fn transmission(equatorial: Direction) -> f32 {
    (-0.8 * column(to_galactic(equatorial).map(|c| c as f32), 5).dust).exp()
}

/// How crowded with stars a direction is, 0 to 1.
pub(crate) fn crowding(equatorial: Direction) -> f64 {
    let place = to_galactic(equatorial);
    let towards_centre = 0.5 + 0.5 * place[0] / place[0].hypot(place[1]).max(1e-9);
    let latitude = place[2].asin().to_degrees().abs();
    let disc = (-latitude / (7.0 + 5.0 * towards_centre)).exp();
    let companions: f64 =
        COMPANIONS.iter().map(|c| f64::from(c.glow(place.map(|c| c as f32)))).sum();
    (0.05 + disc * (0.25 + 0.70 * towards_centre) + 0.8 * companions).min(1.0)
}

fn column(place: [f32; 3], octaves: u32) -> Column {
    let [x, y, z] = place;
    let longitude = y.atan2(x).to_degrees();
    let sway = fractal(scaled(place, 1.3, 3.0), 2);
    let latitude = z.clamp(-1.0, 1.0).asin().to_degrees() + 1.8 * sway;
    let towards_centre = 0.5 + 0.5 * x / x.hypot(y).max(1e-6);
    // Thin and thick disc together; the core is rounded so that no line shows along the plane.
    let height = 2.5 + 2.3 * towards_centre * towards_centre;
    let depth = |scale: f32| (1.0 - (1.0 + (latitude / scale).powi(2)).sqrt()).exp();
    let thin = 0.90 * depth(height) + 0.10 * depth(2.3 * height);
    let bulge = 0.95 * (-(longitude / 12.0).hypot(latitude / 6.0)).exp();
    if thin < 0.004 {
        return Column { disc: 0.0, bulge: 0.0, dust: 0.0 };
    }
    // Below this the disc ends; fade it out so that the end does not show.
    let edge = smoothstep(0.004, 0.03, thin);
    let clumps = 0.70 + 0.95 * fractal(scaled(place, 5.3, 11.0), octaves.saturating_sub(2));
    let disc = edge * thin * (0.12 + 0.40 * towards_centre.powf(1.8)) * clumps.max(0.12);
    let bulge = edge * bulge * (0.55 + 0.45 * clumps);
    if latitude.abs() > DUST_ENDS {
        return Column { disc, bulge, dust: 0.0 };
    }

    // The lanes are ridges of noise, drawn out along the plane and bent by more noise.
    let bend = [fractal(scaled(place, 4.0, 23.0), 3), fractal(scaled(place, 4.0, 31.0), 3)];
    let stretched = [
        3.4 * x + 0.42 * bend[0] + 5.0,
        3.4 * y - 0.42 * bend[1] - 8.0,
        6.8 * z + 0.42 * bend[1] + 2.0,
    ];
    let filaments = ridges(stretched, octaves);
    // Where there is dust at all is patchy on a larger scale.
    let patches = 0.25 + 0.75 * smoothstep(-0.5, 0.25, fractal(scaled(place, 2.3, 71.0), 3));
    let end = smoothstep(DUST_ENDS, 0.6 * DUST_ENDS, latitude.abs());
    let layer = end * (-(latitude - 0.6) * (latitude - 0.6) / 34.0).exp();
    let lane = (-(latitude + 0.3) * (latitude + 0.3) / 5.0).exp();
    let dust =
        layer * (0.55 + 1.1 * towards_centre) * 3.3 * patches * smoothstep(0.38, 1.04, filaments)
            + lane * (0.25 + 0.75 * towards_centre) * 1.6 * smoothstep(0.15, 0.90, filaments);
    Column { disc, bulge, dust }
}

impl Cloud {
    fn glow(&self, place: [f32; 3], octaves: u32) -> f32 {
        let square: f32 = place.iter().zip(&self.centre).map(|(a, b)| (a - b) * (a - b)).sum();
        let reach = 1.35 * self.radius;
        if square > reach * reach {
            return 0.0;
        }
        let distance = square.sqrt() / self.radius;
        let scale = 1.3 / self.radius;
        let billows = fractal(scaled(place, scale, self.seed), octaves.saturating_sub(2));
        let veins = ridges(scaled(place, 1.7 * scale, self.seed + 50.0), octaves.saturating_sub(2));
        let body = smoothstep(0.0, 1.1, 1.0 - distance + 0.75 * billows);
        // Nothing may be left at the reach, or the cloud would end in a circle.
        let rim = smoothstep(1.35, 0.75, distance);
        let heart = 0.35 / (0.05 + distance * distance * 4.0);
        rim * body * body * (0.30 + 0.9 * veins * veins + heart.min(0.8))
    }
}

impl Companion {
    fn glow(&self, place: [f32; 3]) -> f32 {
        let centre = direction(self.longitude, self.latitude);
        let square: f64 = place.iter().zip(&centre).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
        let distance = (square.sqrt().to_degrees() / self.radius) as f32;
        if distance > 4.0 {
            return 0.0;
        }
        let shape = (-distance * distance * 1.1).exp() + 0.6 * (-distance * distance * 9.0).exp();
        let fade = smoothstep(4.0, 2.5, distance);
        let clumps = 0.75 + 0.9 * fractal(scaled(place, 26.0, 60.0), 5);
        self.brightness * fade * shape * clumps.max(0.1)
    }
}

/// The great nebula and some eighty small ones, most of them near the plane.
fn clouds() -> Vec<Cloud> {
    let great = direction(GREAT_NEBULA.0, GREAT_NEBULA.1).map(|c| c as f32);
    let mut clouds = vec![
        Cloud { centre: great, radius: 0.052, light: [0.90, 0.16, 0.27], seed: 3.0 },
        Cloud { centre: great, radius: 0.022, light: [0.50, 0.62, 0.78], seed: 9.0 },
    ];
    let mut dice = Dice::new(2_005_622);
    for _ in 0..80 {
        let longitude = 70.0 * dice.normal();
        let latitude = 2.2 * dice.normal();
        let radius = 0.6 * dice.unit().max(0.04).powf(-0.55);
        let strength = dice.within(0.25, 0.8) as f32;
        // Hydrogen red for most, starlight blue on dust for some, oxygen green for a few.
        let light = match dice.unit() {
            kind if kind < 0.72 => [0.95, 0.24, 0.34],
            kind if kind < 0.92 => [0.30, 0.48, 0.95],
            _ => [0.25, 0.78, 0.70],
        };
        clouds.push(Cloud {
            centre: direction(longitude, latitude).map(|c| c as f32),
            radius: radius.to_radians() as f32,
            light: light.map(|channel| channel * strength),
            seed: dice.within(-60.0, 60.0) as f32,
        });
    }
    clouds
}

fn add(light: &mut Light, more: Light, amount: f32) {
    for (channel, more) in light.iter_mut().zip(more) {
        *channel += more * amount;
    }
}

fn scaled([x, y, z]: [f32; 3], scale: f32, seed: f32) -> [f32; 3] {
    [x * scale + seed, y * scale - seed * 1.7, z * scale + seed * 0.6]
}

/// How bright light is to the eye, relative.
pub(crate) fn luminance([red, green, blue]: Light) -> f32 {
    mix(0.2126 * red + 0.7152 * green, blue, 0.0722)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_galactic_centre_and_pole_are_where_they_belong() {
        // Sagittarius A*: 266.417, -29.008; the pole: 192.859, 27.128.
        for (equatorial, galactic) in [
            (direction(266.417, -29.008), [1.0, 0.0, 0.0]),
            (direction(192.859, 27.128), [0.0, 0.0, 1.0]),
        ] {
            let found = to_galactic(equatorial);
            let back = to_equatorial(found);
            for axis in 0..3 {
                assert!((found[axis] - galactic[axis]).abs() < 2e-3, "{found:?}");
                assert!((back[axis] - equatorial[axis]).abs() < 1e-9, "{back:?}");
            }
        }
    }

    #[test]
    fn the_plane_outshines_the_pole() {
        let sky = Sky::new();
        let at = |l, b| luminance(sky.light(to_equatorial(direction(l, b)), 6));
        let mean = |b: f64| (0..72).map(|n| at(f64::from(n) * 5.0, b)).sum::<f32>() / 72.0;
        assert!(mean(2.0) > 4.0 * mean(60.0));
        assert!(at(GREAT_NEBULA.0, GREAT_NEBULA.1) > 3.0 * mean(60.0));
    }
}
