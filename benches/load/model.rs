//! The requests of sky viewers: a sequence that depends only on its seed. The shares are those of a
//! session of Aladin Lite on a HiPS of Rubin, see docs/performance.md.

use crate::keys;

/// The length of a FITS tile: 512 x 512 pixels of 4 bytes and a header.
const FITS: u64 = 1_054_080;
/// Orders 0 to 2, which Aladin Lite asks for and Rubin's HiPS does not have: 12 + 48 + 192 tiles.
const LOW_ORDERS: u64 = 252;
const OUTSIDE: u64 = 5000;
/// Lengths of `properties`, `Moc.fits` and `Allsky`, of four HiPS each.
const METADATA: [u64; 3] = [1_500, 40_320, 300_000];

/// The expected answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expected {
    Object,
    Missing,
    NotModified,
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) expected: Expected,
}

/// Ranks from 0 with a probability that falls with the rank to the power of `exponent`.
pub(crate) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(count: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=count).map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    fn rank(&self, random: &mut fastrand::Rng) -> u64 {
        let sum = self.cumulative.last().copied().unwrap_or_default();
        let drawn = random.f64() * sum;
        self.cumulative.partition_point(|&upto| upto < drawn) as u64
    }
}

/// The tile of this rank: its kind and length depend on the rank alone.
fn tile(rank: u64) -> String {
    let mut random = fastrand::Rng::with_seed(rank);
    let (length, kind) = match random.u32(0..75) {
        // Colour; of these 15 in 100 lie on the edge of the survey and are nearly empty.
        0..55 if random.u32(0..100) < 15 => (random.u64(2_000..20_000), "webp"),
        0..55 => (log_normal(&mut random, 420_000.0, 0.4).clamp(20_000, 2_000_000), "webp"),
        // Grey.
        55..70 => (log_normal(&mut random, 165_000.0, 0.2), "webp"),
        _ => (FITS, "fits"),
    };
    format!("tiles/{length}-{rank}.{kind}")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^53, above 0")]
fn log_normal(random: &mut fastrand::Rng, median: f64, deviation: f64) -> u64 {
    // Box and Muller.
    let radius = (-2.0 * random.f64().max(f64::MIN_POSITIVE).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * random.f64()).cos();
    (median * (deviation * normal).exp()) as u64
}

fn request(tiles: &Zipf, random: &mut fastrand::Rng) -> Asked {
    let (key, expected) = match random.u32(0..100) {
        0..17 if random.bool() => {
            let key = format!("tiles/missing-{}.webp", random.u64(0..LOW_ORDERS));
            (key, Expected::Missing)
        }
        0..17 => (format!("tiles/missing-far-{}.webp", random.u64(0..OUTSIDE)), Expected::Missing),
        17..20 => {
            let length = random.choice(METADATA).unwrap_or_default();
            (format!("metadata/{length}-{}.fits", random.u64(0..4)), Expected::Object)
        }
        20..25 => (tile(tiles.rank(random)), Expected::NotModified),
        _ => (tile(tiles.rank(random)), Expected::Object),
    };
    Asked { key, expected }
}

/// The bursts of one viewer: 13 to 21 requests each.
pub(crate) fn bursts(tiles: &Zipf, seed: u64, viewer: u64, count: u32) -> Vec<Vec<Asked>> {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(viewer));
    let burst = |_| (0..random.u32(13..=21)).map(|_| request(tiles, &mut random)).collect();
    (0..count).map(burst).collect()
}

impl Asked {
    /// The object of this length and number under a prefix.
    pub(crate) fn object(prefix: &str, length: u64, number: u64) -> Self {
        Self { key: format!("{prefix}{length}-{number}.webp"), expected: Expected::Object }
    }

    /// The `If-None-Match` to send.
    pub(crate) fn condition(&self) -> Option<String> {
        (self.expected == Expected::NotModified).then(|| keys::etag(&self.key))
    }

    /// Whether an answer of this status and length is the right one.
    pub(crate) fn is_answered_by(&self, status: u16, length: u64) -> bool {
        match self.expected {
            Expected::Object => status == 200 && Some(length) == keys::length(&self.key),
            Expected::Missing => status == 404,
            Expected::NotModified => status == 304 && length == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILES: u32 = 15_000;

    fn asked(seed: u64) -> Vec<Asked> {
        let tiles = Zipf::new(TILES, 0.9);
        (0..100).flat_map(|viewer| bursts(&tiles, seed, viewer, 20)).flatten().collect()
    }

    fn percent(asked: &[Asked], is: impl Fn(&Asked) -> bool) -> usize {
        100 * asked.iter().filter(|asked| is(asked)).count() / asked.len()
    }

    #[test]
    fn a_seed_gives_the_same_sequence_again_and_another_seed_another() {
        let keys = |seed| asked(seed).into_iter().map(|asked| asked.key).collect::<Vec<_>>();
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
    }

    #[test]
    fn requests_are_mixed_as_documented() {
        let asked = asked(1);
        for (expected, share) in [(Expected::Missing, 17), (Expected::NotModified, 5)] {
            let found = percent(&asked, |asked| asked.expected == expected);
            assert!(found.abs_diff(share) <= 1, "{expected:?}: {found} of 100");
        }
        let metadata = percent(&asked, |asked| asked.key.starts_with("metadata/"));
        assert!(metadata.abs_diff(3) <= 1, "metadata: {metadata} of 100");
    }

    #[test]
    fn tiles_are_as_long_as_documented() {
        let keys: Vec<String> = (0..u64::from(TILES)).map(tile).collect();
        let lengths: Vec<u64> = keys.iter().filter_map(|key| keys::length(key)).collect();
        let total: u64 = lengths.iter().sum();
        assert_eq!(lengths.len(), keys.len());
        assert!((9..=12).contains(&(total >> 29)), "times 512 MiB: {}", total >> 29);
        let fits = lengths.iter().filter(|&&length| length == FITS).count() * 100 / keys.len();
        let edge = lengths.iter().filter(|&&length| length < 20_000).count() * 100 / keys.len();
        assert!(fits.abs_diff(7) <= 1 && edge.abs_diff(11) <= 1, "{fits} and {edge} of 100");
    }

    #[test]
    fn a_fifth_of_the_tiles_draws_most_requests() {
        let (tiles, mut random) = (Zipf::new(TILES, 0.9), fastrand::Rng::with_seed(1));
        let popular = (0..100_000).filter(|_| tiles.rank(&mut random) < u64::from(TILES) / 5);
        let share = popular.count() / 1000;
        assert!((75..=85).contains(&share), "{share} of 100");
    }
}
