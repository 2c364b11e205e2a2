//! When issued credentials are renewed: early enough that failures and a slow provider are over before they
//! expire.

use std::time::Duration;

/// The longest pause after a failure.
const LONGEST: Duration = Duration::from_secs(60);
/// The shortest.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long after they were issued credentials with this life are renewed: after 80 % of it, or earlier if
/// the provider is so slow that two further attempts would not fit. `took` is the time of the last
/// attempt. `jitter`, from 0 to 1, moves it forward by up to a tenth, so that processes that started together do
/// not ask together.
#[must_use]
pub fn renew_after(life: Duration, took: Duration, jitter: f64) -> Duration {
    let reserve = (life / 5).max(took * 5 / 2).min(life * 9 / 10);
    (life - reserve).mul_f64(1.0 - 0.1 * jitter.clamp(0.0, 1.0))
}

/// The pause after the nth failure in a row, from 1: 1, 2, 4 and up to 60 seconds; at most a tenth of the
/// time that is left, as long as the credentials are valid.
#[must_use]
pub fn retry_after(failures: u32, left: Option<Duration>) -> Duration {
    let doubled = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST);
    match left.filter(|left| !left.is_zero()) {
        Some(left) => doubled.min(left / 10).max(SHORTEST),
        None => doubled,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn credentials_are_renewed_at_four_fifths_of_their_life_or_earlier() {
        for (life, took, jitter, expected) in [
            (secs(3600), secs(0), 0.0, secs(2880)),
            (secs(3600), secs(0), 1.0, secs(2592)),
            (secs(900), secs(10), 0.0, secs(720)),
            (secs(10), secs(2), 0.0, secs(5)),
            (secs(10), secs(60), 0.0, secs(1)),
            (secs(0), secs(1), 0.5, secs(0)),
        ] {
            assert_eq!(renew_after(life, took, jitter), expected, "{life:?} {took:?}");
        }
    }

    #[test]
    fn failures_are_retried_at_growing_intervals_and_before_the_end() {
        for (failures, left, expected) in [
            (1, None, secs(1)),
            (2, None, secs(2)),
            (6, None, secs(32)),
            (7, None, secs(60)),
            (u32::MAX, None, secs(60)),
            (5, Some(secs(720)), secs(16)),
            (9, Some(secs(100)), secs(10)),
            (1, Some(Duration::from_millis(500)), SHORTEST),
            (3, Some(secs(0)), secs(4)),
        ] {
            assert_eq!(retry_after(failures, left), expected, "{failures} {left:?}");
        }
    }

    proptest! {
        #[test]
        fn a_renewal_never_begins_after_the_end(
            life in 0..1_000_000_u64, took in 0..1_000_000_u64, jitter in 0.0..1.0,
        ) {
            let (life, took) = (Duration::from_millis(life), Duration::from_millis(took));
            prop_assert!(renew_after(life, took, jitter) <= life * 4 / 5);
        }
    }
}
