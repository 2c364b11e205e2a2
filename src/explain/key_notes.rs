//! Notes on the spelling of a key: decoded escapes, and characters that are easily mistaken for others.

use crate::s3::encode::{decode, encode_path};

/// Different escapes that are shown.
const MAX_ESCAPES: usize = 6;

/// Notes on a key, from its encoded form in the URL (`None` if the argument is no URL) and its decoded
/// form.
pub(super) fn notes(written: Option<&str>, key: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let decoded = escapes(written.unwrap_or_default());
    if !decoded.is_empty() {
        notes.push(format!("decoded once: {}", decoded.join(", ")));
    }
    let left = escapes(key);
    if !left.is_empty() {
        notes.push(format!(
            "the decoded key contains {}: the URL may be encoded twice; the gateway decodes once",
            left.iter()
                .filter_map(|escape| escape.split(' ').next())
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    if key.contains('+') {
        notes.push("+ in a path is a plus sign; a space is %20".to_owned());
    }
    if key.contains("//") || key.starts_with('/') {
        notes.push("empty segments (//) are part of the key".to_owned());
    }
    if key.ends_with('/') {
        notes.push("the key ends with a slash: stores use such keys as folder markers".to_owned());
    }
    if key.trim() != key {
        notes.push("the key begins or ends with a space".to_owned());
    }
    if key.chars().any(char::is_control) {
        notes.push("the key contains control characters".to_owned());
    }
    if !key.is_ascii() {
        notes.push(
            "the key contains non-ASCII characters: an accented letter can be one code point or \
             two, and stores compare bytes"
                .to_owned(),
        );
    }
    let mut bytes = String::new();
    encode_path(key.as_bytes(), &mut bytes);
    if bytes != key {
        notes.push(format!("encoded in the request to the store: {bytes}"));
    }
    notes
}

/// The escapes in a text, each once, as `%20 (space)`.
fn escapes(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (at, _) in text.match_indices('%') {
        let Some(escape) = text.get(at..at + 3) else { continue };
        let Ok(bytes) = decode(escape.as_bytes()) else { continue };
        let meaning = match bytes.as_slice() {
            [b' '] => "space".to_owned(),
            [byte] if byte.is_ascii_graphic() => char::from(*byte).to_string(),
            _ => describe_byte(&bytes),
        };
        let shown = format!("{escape} ({meaning})");
        if !found.contains(&shown) {
            found.push(shown);
        }
    }
    if found.len() > MAX_ESCAPES {
        found.truncate(MAX_ESCAPES);
        found.push("...".to_owned());
    }
    found
}

fn describe_byte(bytes: &[u8]) -> String {
    match bytes {
        [byte] if byte.is_ascii() => format!("control character {byte}"),
        _ => "a byte of a non-ASCII character".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_keys_need_no_notes() {
        for key in ["Norder3/Dir0/Npix12.png", "a-b_c.~d", "properties"] {
            assert!(notes(Some(key), key).is_empty(), "{key}: {:?}", notes(Some(key), key));
        }
    }

    #[test]
    fn keys_that_are_easily_mistaken_have_notes() {
        for (written, key, words) in [
            (Some("a%20b.png"), "a b.png", &["decoded once: %20 (space)", "a%20b.png"][..]),
            (Some("a%2Fb.png"), "a/b.png", &["%2F (/)"]),
            (Some("a%2520b.png"), "a%20b.png", &["%25 (%)", "contains %20", "encoded twice"]),
            (Some("a+b.png"), "a+b.png", &["plus sign"]),
            (Some("x//y.png"), "x//y.png", &["empty segments"]),
            (Some("%C3%A9.png"), "é.png", &["a byte of", "non-ASCII", "%C3%A9.png"]),
            (Some("t%09.png"), "t\t.png", &["control character 9", "contains control"]),
            (None, "a b.png", &["a%20b.png"]),
            (Some("dir/"), "dir/", &["folder markers"]),
            (Some("a.png%20"), "a.png ", &["ends with a space"]),
        ] {
            let notes = notes(written, key).join("\n");
            for word in words {
                assert!(notes.contains(word), "{key}: {word} in {notes}");
            }
        }
    }

    #[test]
    fn a_key_that_is_not_from_a_url_has_no_escapes() {
        assert!(!notes(None, "a b").join("\n").contains("decoded once"));
    }
}
