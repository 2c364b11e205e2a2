//! Some numbers out of many.

use std::ops::Range;

/// At most `wanted` numbers of these ranges, which are ascending and do not overlap: all of them if there
/// are so few, else a random choice that is the same for the same seed.
#[must_use]
pub fn sample(
    ranges: impl Iterator<Item = Range<u64>> + Clone,
    wanted: usize,
    seed: u64,
) -> Vec<u64> {
    let total: u64 = ranges.clone().map(|range| range.end - range.start).sum();
    let few = usize::try_from(total).is_ok_and(|total| total <= wanted);
    if few {
        return ranges.flatten().collect();
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ranks: Vec<u64> = (0..wanted).map(|_| random.u64(..total)).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let mut chosen = Vec::with_capacity(ranks.len());
    let mut ranks = ranks.into_iter().peekable();
    let mut before = 0;
    for range in ranges {
        let length = range.end - range.start;
        while let Some(rank) = ranks.next_if(|rank| *rank < before + length) {
            chosen.push(range.start + (rank - before));
        }
        before += length;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_few_and_a_choice_of_many() {
        let ranges = [2..4, 10..11, 100..200];
        assert_eq!(sample(ranges[..2].iter().cloned(), 3, 1), [2, 3, 10]);
        let chosen = sample(ranges.iter().cloned(), 50, 1);
        assert!((30..=50).contains(&chosen.len()), "{chosen:?}");
        assert!(chosen.is_sorted_by(|a, b| a < b));
        assert!(chosen.iter().all(|it| ranges.iter().any(|range| range.contains(it))));
        assert_eq!(chosen, sample(ranges.iter().cloned(), 50, 1));
        assert_ne!(chosen, sample(ranges.iter().cloned(), 50, 2));
        assert!(sample(std::iter::empty(), 50, 1).is_empty());
    }
}
