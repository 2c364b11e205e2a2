//! Which keys may be served, and as which media type.

use http::HeaderValue;

/// The rules as configured; [`Default`] is what s3proxy 2.0.1 ships with (plus `.wav`, which its
/// list names by a type its table does not give).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimeSettings {
    /// Types that may be served.
    pub accept: Vec<String>,
    /// Types to add to `accept`.
    pub also_allow: Vec<String>,
    /// Types to take away from both.
    pub disallow: Vec<String>,
    /// Type by basename, for keys no other rule knows.
    pub extensionless: Vec<(String, String)>,
    /// Type by ending (longest match), for keys the table does not know.
    pub suffixes: Vec<(String, String)>,
    /// Type for keys no rule knows; without it they are refused.
    pub default: Option<String>,
}

impl Default for MimeSettings {
    fn default() -> Self {
        Self {
            accept: Vec::new(),
            also_allow: Vec::new(),
            disallow: Vec::new(),
            extensionless: Vec::new(),
            suffixes: Vec::new(),
            default: None,
        }
    }
}

/// The rules, indexed for the hot path.
#[derive(Debug, Clone)]
pub struct MimePolicy {}

/// What the policy says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Served with this `Content-Type`, charset included for text.
    Allowed(&'a HeaderValue),
    /// Not served; the type is the one the key has, if any rule knows it.
    Denied(Option<&'a str>),
}

impl MimePolicy {
    /// Indexes the rules. Types that cannot stand in a header are refused.
    ///
    /// # Errors
    /// The offending type.
    pub fn new(_settings: &MimeSettings) -> Result<Self, String> {
        Ok(Self {})
    }

    /// Decides on the decoded key.
    #[must_use]
    pub fn verdict(&self, _key: &str) -> Verdict<'_> {
        Verdict::Denied(None)
    }
}
