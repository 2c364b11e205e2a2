//! A string that must never be shown: it redacts itself in `Debug`, has no `Display`, and is wiped
//! when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A secret access key, session token or secret header value.
///
/// The only way to its text is [`Secret::expose`], so that a search for that word lists every
/// place that reads one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text; it is wiped when the last clone is dropped.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Callers sign or send it, and never format it.
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
    fn debug_output_never_holds_the_text() {
        let secret = Secret::new("wJalrXUtnFEMI".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "(redacted) Some((redacted))");
        assert_eq!(secret.expose(), "wJalrXUtnFEMI");
    }
}
