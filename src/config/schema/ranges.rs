//! Regular expressions for whole numbers, sizes and times within a range. They are for texts: JSON
//! Schema has `minimum` and `maximum` for numbers.

use crate::config::value::{SIZE_UNITS, TIME_UNITS};

/// A whole number from `min` to `max`, which may have leading zeros; `None` if there is none.
fn whole_number(min: u64, max: u64) -> Option<String> {
    let mut parts = Vec::new();
    let mut first = min;
    while first <= max {
        let digits = first.to_string();
        let longest = 10u64.checked_pow(u32::try_from(digits.len()).unwrap_or(u32::MAX));
        let last = longest.map_or(max, |above| (above - 1).min(max));
        parts.push(same_length(&digits, &last.to_string()));
        match last.checked_add(1) {
            Some(next) => first = next,
            None => break,
        }
    }
    (!parts.is_empty()).then(|| format!("0*({})", parts.join("|")))
}

/// The numbers between two of as many digits.
fn same_length(min: &str, max: &str) -> String {
    let (Some((a, min_rest)), Some((z, max_rest))) = (split_digit(min), split_digit(max)) else {
        return String::new();
    };
    let rest = min_rest.len();
    let (zeros, nines) = ("0".repeat(rest), "9".repeat(rest));
    if a == z {
        return format!("{a}{}", same_length(min_rest, max_rest));
    }
    let any = |from: u8, to: u8| match rest {
        0 => format!("[{from}-{to}]"),
        _ => format!("[{from}-{to}][0-9]{{{rest}}}"),
    };
    let mut parts = Vec::new();
    let (mut from, mut to) = (a, z);
    if min_rest != zeros {
        parts.push(format!("{a}{}", same_length(min_rest, &nines)));
        from += 1;
    }
    let ends_early = max_rest != nines;
    if ends_early {
        to = to.saturating_sub(1);
    }
    if from <= to && !(ends_early && z == 0) {
        parts.push(any(from, to));
    }
    if ends_early {
        parts.push(format!("{z}{}", same_length(&zeros, max_rest)));
    }
    format!("({})", parts.join("|"))
}

fn split_digit(digits: &str) -> Option<(u8, &str)> {
    let (first, rest) = digits.split_at_checked(1)?;
    Some((first.parse().ok()?, rest))
}

/// A count as text.
pub(super) fn count(min: usize, max: usize) -> String {
    let [min, max] = [min, max].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
    format!("^\\+?{}$", whole_number(min, max).unwrap_or_default())
}

/// A number of bytes from `min` to `max` with any unit.
pub(super) fn size(min: u64, max: u64) -> String {
    let parts = SIZE_UNITS.iter().filter_map(|(unit, bytes)| {
        let number = whole_number(min.div_ceil(*bytes), max / bytes)?;
        Some(format!("{number}\\s*({})", unit.join("|")))
    });
    format!("^({})$", parts.collect::<Vec<_>>().join("|"))
}

/// A power of two from `min` to `max` bytes with any unit.
pub(super) fn power_of_two(min: u64, max: u64) -> String {
    let parts = SIZE_UNITS.iter().filter_map(|(unit, bytes)| {
        let fits = |number: &u64| {
            number
                .checked_mul(*bytes)
                .is_some_and(|size| size.is_power_of_two() && (min..=max).contains(&size))
        };
        let numbers: Vec<String> =
            (0..u64::BITS).map(|shift| 1 << shift).filter(fits).map(|n| n.to_string()).collect();
        (!numbers.is_empty()).then(|| format!("0*({})\\s*({})", numbers.join("|"), unit.join("|")))
    });
    format!("^({})$", parts.collect::<Vec<_>>().join("|"))
}

/// A time from `min` to `max` milliseconds: a whole number with one unit, or of seconds without.
pub(super) fn time(min: u64, max: u64) -> String {
    let units = TIME_UNITS.iter().copied().chain([("", 1000)]);
    let parts = units.filter_map(|(unit, millis)| {
        let number = whole_number(min.div_ceil(millis.into()), max / u64::from(millis))?;
        Some(format!("{number}{unit}"))
    });
    format!("^({})$", parts.collect::<Vec<_>>().join("|"))
}

/// A time with a fraction, or with several units from the largest to the smallest; of any length.
pub(super) fn long_time() -> String {
    const NUMBER: &str = "[0-9]+(\\.[0-9]{1,9})?";
    let units: Vec<&str> = TIME_UNITS.iter().map(|(unit, _)| *unit).collect();
    let after = |place: usize| units.iter().enumerate().skip(place + 1);
    let several = units.iter().enumerate().flat_map(|(first, unit)| {
        after(first).map(move |(second, next)| {
            let rest: String =
                after(second).map(|(_, unit)| format!("({NUMBER}{unit})?")).collect();
            format!("{NUMBER}{unit}{NUMBER}{next}{rest}")
        })
    });
    let fraction = format!("[0-9]+\\.[0-9]{{1,9}}({})?", units.join("|"));
    format!("^({fraction}|{})$", several.collect::<Vec<_>>().join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number is in the range exactly if its digits match.
    #[test]
    fn whole_numbers_match_exactly_within_their_range() {
        let schema = |pattern: String| {
            let mut schemas = boon::Schemas::new();
            let mut compiler = boon::Compiler::new();
            let document = serde_json::json!({ "pattern": pattern });
            compiler.add_resource("a.json", document).expect("a document");
            let index = compiler.compile("a.json", &mut schemas).expect("a valid pattern");
            move |text: &str| schemas.validate(&text.into(), index).is_ok()
        };
        for (min, max) in [
            (0, 0),
            (0, 1),
            (1, 9),
            (7, 7),
            (8, 12),
            (1, 100),
            (16, 1000),
            (99, 101),
            (95, 1234),
            (500, 599),
        ] {
            let matches = schema(count(min, max));
            for number in 0..1300 {
                let expected = (min..=max).contains(&number);
                assert_eq!(matches(&number.to_string()), expected, "{number} in {min} to {max}");
            }
        }
        let matches = schema(whole_number(0, u64::MAX).expect("numbers"));
        assert!(matches(&u64::MAX.to_string()) && matches("0"));
        assert_eq!(whole_number(2, 1), None);
    }
}
