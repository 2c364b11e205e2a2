//! The canary: every secret that the tests give a gateway contains one of these words, and all
//! output of a gateway is searched for them, unchanged and in every encoding in which a secret may
//! leak.
//!
//! The search covers the headers of every answer and its body (of an object only the beginning: its
//! test compares the whole body), every line of the log, and the output of every command. A hit
//! fails the test.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use memchr::memmem::Finder;

use crate::tally;

/// Two words, so that a secret is recognized by its end as well as by its beginning. They consist
/// of letters only: only the escapes below change them.
pub(crate) const WORDS: [&str; 2] = ["canary", "OfTheSuite"];

static SEARCHED: AtomicUsize = AtomicUsize::new(0);

static FORMS: LazyLock<Vec<(&'static str, Finder<'static>)>> = LazyLock::new(|| {
    let mut forms: Vec<(&str, String)> = Vec::new();
    for word in WORDS {
        let each = |form: fn(u8) -> String| word.bytes().map(form).collect::<String>();
        forms.push(("as it is", word.to_owned()));
        forms.push(("percent-encoded", each(|byte| format!("%{byte:02X}"))));
        forms.push(("percent-encoded", each(|byte| format!("%{byte:02x}"))));
        forms.push(("escaped", each(|byte| format!("\\u{byte:04X}"))));
        forms.push(("escaped", each(|byte| format!("\\u{byte:04x}"))));
        forms.push(("in hexadecimal", each(|byte| format!("{byte:02X}"))));
        forms.push(("in hexadecimal", each(|byte| format!("{byte:02x}"))));
        forms.push((
            "as a list of bytes",
            each(|byte| format!("{byte}, ")).trim_end_matches(", ").to_owned(),
        ));
        forms.extend((0..3).map(|before| ("in Base64", within_base64(word.as_bytes(), before))));
    }
    forms.into_iter().map(|(form, text)| (form, Finder::new(&text).into_owned())).collect()
});

/// The Base64 digits of these bytes in any text where the number of bytes in front of them, modulo
/// three, is `before`. No word above has a digit in which Base64 and its URL variant differ.
fn within_base64(bytes: &[u8], before: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |byte: &u8| (0..8).rev().map(|bit| byte >> bit & 1).collect::<Vec<_>>();
    let bits: Vec<u8> = vec![0; before].iter().chain(bytes).flat_map(bits).collect();
    let six = |bits: &[u8]| bits.iter().fold(0, |number, bit| number * 2 + usize::from(*bit));
    let whole = bits.chunks_exact(6).skip((before * 8).div_ceil(6));
    whole.map(|bits| char::from(DIGITS[six(bits)])).collect()
}

/// The form in which a word is in a text, and the text around it.
fn find(text: &[u8]) -> Option<(&'static str, String)> {
    FORMS.iter().find_map(|(form, finder)| {
        let at = finder.find(text)?;
        let around = &text[at.saturating_sub(200)..text.len().min(at + 100)];
        Some((*form, String::from_utf8_lossy(around).into_owned()))
    })
}

fn look(what: &str, text: &[u8]) {
    if let Some((form, around)) = find(text) {
        panic!("a secret, {form}, in {what}: {around}");
    }
}

/// Fails the test if the output of a gateway contains a secret. `what` names the output.
pub(crate) fn search(what: &str, text: impl AsRef<[u8]>) {
    SEARCHED.fetch_add(1, Ordering::Relaxed);
    let _hit = tally::trials("canary", 0);
    look(what, text.as_ref());
}

/// Adds the number of texts searched since the last call to the tally.
pub(crate) fn count() {
    tally::add("canary", SEARCHED.swap(0, Ordering::Relaxed), 0);
}

/// Tests of the search itself: a search that finds nothing would let every leak pass.
mod tests {
    use super::{WORDS, find, look};

    /// A secret like those of the tests: with bytes that escapes change.
    const SECRET: &str = "canary/SecretKey+OfTheSuite/0123456789";

    #[test]
    fn a_secret_is_found_in_every_form() {
        let base64 = "Y2FuYXJ5L1NlY3JldEtleStPZlRoZVN1aXRlLzAxMjM0NTY3ODk=";
        let after_a_byte = "OmNhbmFyeS9TZWNyZXRLZXkrT2ZUaGVTdWl0ZS8wMTIzNDU2Nzg5";
        let after_two = "YTpjYW5hcnkvU2VjcmV0S2V5K09mVGhlU3VpdGUvMDEyMzQ1Njc4OQ==";
        let escaped: String = SECRET.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let whole: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let hexadecimal: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
        for text in [
            SECRET,
            &SECRET.replace('/', "%2F").replace('+', "%2b"),
            &SECRET.replace('/', "\\/"),
            &SECRET.replace('/', "&#x2F;"),
            &format!("{SECRET:?}"),
            &format!("{:?}", format!("a \"{SECRET}\"")),
            &format!("{:?}", SECRET.as_bytes()),
            &serde_json::json!({"secret": SECRET}).to_string(),
            &escaped,
            &escaped.to_uppercase().replace("\\U", "\\u"),
            &whole,
            &whole.to_lowercase(),
            &hexadecimal,
            &hexadecimal.to_uppercase(),
            base64,
            after_a_byte,
            after_two,
        ] {
            for text in [text.to_owned(), format!("HTTP/1.1 200 OK\r\nX-A: {text}\r\n\r\n")] {
                assert!(find(text.as_bytes()).is_some(), "{text}");
                // A part that has either word is enough.
                let half = text.len() / 2;
                let halves = [&text.as_bytes()[..half], &text.as_bytes()[half..]];
                assert!(halves.iter().any(|half| find(half).is_some()), "{text}");
            }
        }
        for word in WORDS {
            assert!(SECRET.contains(word));
        }
    }

    #[test]
    fn no_secret_is_found_in_clean_text() {
        for text in ["", "a tile of the sky", "can", "ary", "Canary", "63616e6172", "AKIDE2EXAMPLE"]
        {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
        let every_byte: Vec<u8> = (0..=255).collect();
        assert_eq!(find(&every_byte.repeat(300)), None);
    }

    #[test]
    #[should_panic(expected = "a secret, percent-encoded, in a page: why=%63%61%6E%61%72%79%2F")]
    fn a_secret_fails_the_test() {
        look("a page", b"why=%63%61%6E%61%72%79%2F");
    }
}
