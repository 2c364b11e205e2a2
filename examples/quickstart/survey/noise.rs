//! Repeatable randomness: gradient noise in space, and a stream of numbers.

/// Smooth noise of about -1 to 1 with features of size one.
///
/// Gradient noise after Perlin 1985, "An Image Synthesizer", with the fade curve of his 2002
/// "Improving Noise". Taken on the surface of the sphere it has neither seams nor poles.
pub(crate) fn noise([x, y, z]: [f32; 3]) -> f32 {
    let (i, j, k) = (floor(x), floor(y), floor(z));
    let (x, y, z) = (x - i as f32, y - j as f32, z - k as f32);
    let corner = |di: i32, dj: i32, dk: i32| {
        let hash = hash3(i.wrapping_add(di), j.wrapping_add(dj), k.wrapping_add(dk));
        slope(hash, x - di as f32, y - dj as f32, z - dk as f32)
    };
    let (u, v, w) = (fade(x), fade(y), fade(z));
    let low =
        mix(mix(corner(0, 0, 0), corner(1, 0, 0), u), mix(corner(0, 1, 0), corner(1, 1, 0), u), v);
    let high =
        mix(mix(corner(0, 0, 1), corner(1, 0, 1), u), mix(corner(0, 1, 1), corner(1, 1, 1), u), v);
    mix(low, high, w)
}

/// Noise of ever finer features, each octave half as strong; about -1 to 1.
pub(crate) fn fractal(place: [f32; 3], octaves: u32) -> f32 {
    octave_sum(place, octaves, |value| value)
}

/// As [`fractal`], with thin bright ridges where the noise changes sign; about 0 to 1.
pub(crate) fn ridges(place: [f32; 3], octaves: u32) -> f32 {
    let sum = octave_sum(place, octaves, |value| {
        let ridge = 1.0 - value.abs() * 1.6;
        ridge * ridge
    });
    sum / 1.7
}

fn octave_sum(mut place: [f32; 3], octaves: u32, shape: impl Fn(f32) -> f32) -> f32 {
    let (mut sum, mut weight) = (0.0, 1.0);
    for _ in 0..octaves {
        sum += weight * shape(noise(place));
        weight *= 0.5;
        // Not quite doubled and turned, so that the lattices of the octaves do not line up.
        let [x, y, z] = place;
        place = [2.03 * z + 17.1, 2.03 * x - 4.7, 2.03 * y + 9.3];
    }
    sum
}

/// 0 below `from`, 1 above `to`, smooth between.
pub(crate) fn smoothstep(from: f32, to: f32, value: f32) -> f32 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// `a` at 0, `b` at 1.
pub(crate) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// `f32::floor` is a call into the C library where the processor is not known to round.
fn floor(value: f32) -> i32 {
    let whole = value as i32;
    whole - i32::from((whole as f32) > value)
}

fn fade(t: f32) -> f32 {
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}

fn hash3(i: i32, j: i32, k: i32) -> u32 {
    let mut hash = i.cast_unsigned().wrapping_mul(0x8da6_b343)
        ^ j.cast_unsigned().wrapping_mul(0xd816_3841)
        ^ k.cast_unsigned().wrapping_mul(0xcb1a_b31f);
    hash = (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d);
    hash ^ hash >> 15
}

/// The dot product with one of the twelve directions to the edges of a cube.
fn slope(hash: u32, x: f32, y: f32, z: f32) -> f32 {
    let (a, b) = match hash >> 20 & 3 {
        0 => (x, y),
        1 => (x, z),
        _ => (y, z),
    };
    let sign = |bit: u32, value: f32| if hash >> bit & 1 == 0 { value } else { -value };
    sign(22, a) + sign(23, b)
}

/// A stream of numbers that is the same in every run: SplitMix64 (Steele, Lea & Flood 2014).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// Uniform in `0..1`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `from..to`.
    pub(crate) fn within(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// About normal, of mean zero and deviation one.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// A direction, every part of the sky as likely as any other.
    pub(crate) fn direction(&mut self) -> [f64; 3] {
        let z = self.within(-1.0, 1.0);
        let (sin, cos) = self.within(0.0, std::f64::consts::TAU).sin_cos();
        let radius = (1.0 - z * z).sqrt();
        [radius * cos, radius * sin, z]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_smooth_bounded_and_the_same_in_every_run() {
        let mut dice = Dice::new(1);
        for _ in 0..10_000 {
            let place = [0, 0, 0].map(|_| dice.within(-100.0, 100.0) as f32);
            let near = [place[0] + 1e-3, place[1], place[2]];
            assert!(noise(place).abs() <= 1.2);
            assert!((noise(place) - noise(near)).abs() < 1e-2, "{place:?}");
        }
        assert_eq!(noise([3.0, -2.0, 7.0]), 0.0);
        // The published test vector of SplitMix64.
        assert_eq!(Dice::new(1_234_567).bits(), 6_457_827_717_110_365_317);
    }

    #[test]
    fn numbers_are_spread_as_they_say() {
        let mut dice = Dice::new(2);
        let count = 20_000;
        let mean: f64 = (0..count).map(|_| dice.unit()).sum::<f64>() / f64::from(count);
        assert!((mean - 0.5).abs() < 0.01);
        let north = (0..count).filter(|_| dice.direction()[2] > 0.5).count();
        assert!((north as f64 / f64::from(count) - 0.25).abs() < 0.02);
        let squares: f64 =
            (0..count).map(|_| dice.normal().powi(2)).sum::<f64>() / f64::from(count);
        assert!((squares - 1.0).abs() < 0.05);
    }
}
