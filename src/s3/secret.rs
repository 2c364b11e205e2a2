//! A string that must never be shown: `Debug` is redacted, there is no `Display`, and the memory is
//! wiped on drop.

use std::fmt;

use zeroize::Zeroizing;

/// A secret access key, session token or secret header value.
///
/// Only [`Secret::expose`] returns the text, so that a search for this name lists every place that
/// reads a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text; it is wiped when the last clone is dropped.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Callers sign or send it, and must not format it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_contains_the_text() {
        let secret = Secret::new("wJalrXUtnFEMI".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "(redacted) Some((redacted))");
        assert_eq!(secret.expose(), "wJalrXUtnFEMI");
    }
}
