//! Phrases that readers of the field stumbled over, kept out of code comments, messages and documents.

use super::{assert_none, repository};

/// Each with the word to use instead; lower case, matched at word boundaries.
const STUMBLES: &[(&str, &str)] = &[
    ("in vain", "failed"),
    ("as may be", "the limit"),
    ("as many as may", "the limit"),
    ("under way", "in flight, in progress"),
    ("whoever", "name the subject"),
    ("so many", "the number"),
    ("what is kept", "cached objects, entries"),
    ("what was kept", "cached objects, entries"),
    ("what is asked", "the request"),
    ("what was asked", "the request"),
    ("what is read", "name the subject"),
    ("what was read", "name the subject"),
    ("what is meant", "name the subject"),
    ("what comes of", "the result"),
    ("what becomes of", "the result"),
    ("behind their clients' backs", "in the background"),
];

/// Written by programs or by other people, or about these very words.
const EXEMPT: &[&str] = &["Cargo.lock", "LICENSE", "tests/tidy/words.rs"];

/// Whether `text` holds `phrase` between word boundaries.
fn holds(text: &str, phrase: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(phrase).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + phrase.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn phrases_are_found_between_word_boundaries() {
    assert!(holds("it was in vain.", "in vain"));
    assert!(!holds("in vainglory", "in vain"));
    assert!(!holds("a retry in_vain", "in vain"));
}

#[test]
fn texts_are_in_plain_words() {
    let mut found = Vec::new();
    for source in repository() {
        if EXEMPT.contains(&source.path.as_str()) {
            continue;
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            let lower = line.to_lowercase();
            let here = STUMBLES.iter().filter(|(phrase, _)| holds(&lower, phrase));
            found.extend(here.map(|(phrase, plain)| {
                format!("{}:{number}: \"{phrase}\" (plain: {plain}): {}", source.path, line.trim())
            }));
        }
    }
    assert_none("phrases that readers stumble over", &found);
}
