//! Suggestions for misspelt names.

use strsim::osa_distance;

/// The candidate with the fewest edits from `word`, if they are few enough for a typing mistake: at
/// most a third of the letters of `word` (rounded up), and never more than three. An edit inserts,
/// removes or replaces a letter, or swaps two neighbours. Upper and lower case count as equal.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let limit = word.chars().count().div_ceil(3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["listen", "region", "endpoint"];
        for (word, expected) in [
            ("regoin", Some("region")),
            ("Endpoint", Some("endpoint")),
            ("endpiont_", Some("endpoint")),
            ("lsitne", Some("listen")),
            ("h\u{e9}\u{e9}", None),
            ("", None),
            ("lisp", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
