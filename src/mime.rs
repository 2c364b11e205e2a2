//! Which keys may be served, and as which media type.
//!
//! The rules are those of s3proxy 2.0.1, read on the decoded key as a plain path: a `#`, `?` or
//! `data:` in a key has no meaning here.

mod media_type;
mod table;

use std::collections::{HashMap, HashSet};

use http::{HeaderMap, HeaderValue, header};

use self::media_type::MediaType;

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
        let accept = [
            "application/json",
            "application/ogg",
            "application/pdf",
            "application/xml",
            "audio/mpeg",
            "audio/ogg",
            "audio/wav",
            "audio/webm",
            "image/fits",
            "image/gif",
            "image/jpeg",
            "image/png",
            "image/svg+xml",
            "image/tiff",
            "image/webp",
            "text/csv",
            "text/html",
            "text/javascript",
            "text/plain",
            "text/xml",
            "video/mp4",
            "video/mpeg",
            "video/ogg",
            "video/webm",
        ];
        Self {
            accept: accept.map(str::to_owned).to_vec(),
            also_allow: Vec::new(),
            disallow: Vec::new(),
            extensionless: vec![("properties".to_owned(), "text/plain".to_owned())],
            suffixes: vec![
                (".fits.fz".to_owned(), "image/fits".to_owned()),
                (".vot".to_owned(), "application/xml".to_owned()),
            ],
            default: None,
        }
    }
}

/// The rules, indexed for the hot path: a decision compares a few bytes and allocates nothing.
#[derive(Debug, Clone)]
pub struct MimePolicy {
    allowed: HashSet<String>,
    /// One decision for each row of [`table::EXTENSIONS`].
    by_extension: Vec<TypeDecision>,
    /// The longest first; case matters.
    by_suffix: Vec<(String, TypeDecision)>,
    by_basename: HashMap<String, TypeDecision>,
    default: Option<TypeDecision>,
}

/// What is done with keys of one type.
#[derive(Debug, Clone)]
enum TypeDecision {
    Allow(HeaderValue),
    Deny(String),
}

/// What the policy says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyVerdict<'a> {
    /// Served with this `Content-Type`, charset included for text.
    Allowed(&'a HeaderValue),
    /// Not served; the type is the one the key has, if any rule knows it.
    Denied(Option<&'a str>),
}

/// Which rule tells the type of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeRule<'a> {
    /// The table of endings; the ending, a content coding peeled off.
    Ending(&'a str),
    /// `mime.suffixes`: the longest that the key ends with.
    Suffix(&'a str),
    /// `mime.extensionless`: the last part of the key.
    Basename(&'a str),
    /// `mime.default`.
    Default,
}

/// What the policy says of the type a store gave an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredVerdict {
    /// Served with this `Content-Type`, charset included for text.
    Allowed(HeaderValue),
    /// Not served; the type without its parameters, if it is exactly one type at all.
    Denied(Option<String>),
}

impl MimePolicy {
    /// Indexes the rules. Types that cannot stand in a header are refused; so are, in the three
    /// lists, parameters and `*`, which would match nothing. Of two rules for one name the last
    /// counts.
    ///
    /// # Errors
    /// The offending type.
    pub fn new(settings: &MimeSettings) -> Result<Self, String> {
        let mut allowed = HashSet::new();
        for text in settings.accept.iter().chain(&settings.also_allow) {
            allowed.insert(bare_type(text)?);
        }
        for text in &settings.disallow {
            allowed.remove(&bare_type(text)?);
        }

        let decide = |text: &str| TypeDecision::new(text, &allowed);
        let rules = |rules: &[(String, String)]| -> Result<HashMap<String, TypeDecision>, String> {
            rules.iter().map(|(name, text)| Ok((name.clone(), decide(text)?))).collect()
        };
        let by_extension =
            table::EXTENSIONS.iter().map(|(_, text)| decide(text)).collect::<Result<_, _>>()?;
        let mut by_suffix: Vec<_> = rules(&settings.suffixes)?.into_iter().collect();
        by_suffix.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let by_basename = rules(&settings.extensionless)?;
        let default = settings.default.as_deref().map(decide).transpose()?;
        Ok(Self { allowed, by_extension, by_suffix, by_basename, default })
    }

    /// Decides on the decoded key: by the table, else by the longest suffix rule, else by the
    /// basename, else by the default type.
    #[must_use]
    pub fn verdict(&self, key: &str) -> KeyVerdict<'_> {
        self.decided(key).map_or(KeyVerdict::Denied(None), |(_, decision)| decision.verdict())
    }

    /// Which rule [`MimePolicy::verdict`] goes by; `None` where none knows the key.
    #[must_use]
    pub fn rule<'a>(&'a self, key: &'a str) -> Option<TypeRule<'a>> {
        self.decided(key).map(|(rule, _)| rule)
    }

    fn decided<'own: 'key, 'key>(
        &'own self,
        key: &'key str,
    ) -> Option<(TypeRule<'key>, &'own TypeDecision)> {
        let basename = key.rsplit('/').next().unwrap_or(key);
        let ending = || {
            let ending = extension(basename)?;
            Some((TypeRule::Ending(ending), self.by_extension.get(table::row(ending)?)?))
        };
        let suffix = || {
            let rule = self.by_suffix.iter().find(|(suffix, _)| key.ends_with(suffix.as_str()));
            rule.map(|(suffix, decision)| (TypeRule::Suffix(suffix), decision))
        };
        let name = || Some((TypeRule::Basename(basename), self.by_basename.get(basename)?));
        let default = || Some((TypeRule::Default, self.default.as_ref()?));
        ending().or_else(suffix).or_else(name).or_else(default)
    }

    /// Decides on the `Content-Type` in the headers of a store's answer. The allow list is asked
    /// for the type without its parameters, in lower case; two headers, or one that is not exactly
    /// one media type, are denied. An object without a type has the default type.
    #[must_use]
    pub fn stored_verdict(&self, headers: &HeaderMap) -> StoredVerdict {
        let mut values = headers.get_all(header::CONTENT_TYPE).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value,
            (Some(_), Some(_)) => return StoredVerdict::Denied(None),
            (None, _) => {
                return match self.default.as_ref() {
                    Some(TypeDecision::Allow(value)) => StoredVerdict::Allowed(value.clone()),
                    Some(TypeDecision::Deny(text)) => StoredVerdict::Denied(Some(text.clone())),
                    None => StoredVerdict::Denied(None),
                };
            }
        };
        let Some(media_type) = value.to_str().ok().and_then(MediaType::parse) else {
            return StoredVerdict::Denied(None);
        };
        if !self.allowed.contains(&media_type.essence) {
            return StoredVerdict::Denied(Some(media_type.essence));
        }
        match HeaderValue::try_from(media_type.to_text()) {
            Ok(value) => StoredVerdict::Allowed(value),
            Err(_) => StoredVerdict::Denied(Some(media_type.essence)),
        }
    }
}

impl TypeDecision {
    fn new(text: &str, allowed: &HashSet<String>) -> Result<Self, String> {
        let media_type = MediaType::parse(text).ok_or_else(|| text.to_owned())?;
        if !allowed.contains(&media_type.essence) {
            return Ok(Self::Deny(media_type.essence));
        }
        HeaderValue::try_from(media_type.to_text()).map(Self::Allow).map_err(|_| text.to_owned())
    }

    fn verdict(&self) -> KeyVerdict<'_> {
        match self {
            Self::Allow(value) => KeyVerdict::Allowed(value),
            Self::Deny(text) => KeyVerdict::Denied(Some(text)),
        }
    }
}

/// An entry of the allow and deny lists.
fn bare_type(text: &str) -> Result<String, String> {
    match MediaType::parse(text) {
        Some(media_type) if media_type.parameters.is_empty() && !text.contains('*') => {
            Ok(media_type.essence)
        }
        _ => Err(text.to_owned()),
    }
}

/// The ending that tells the type, with a content coding such as `.gz` peeled off.
fn extension(basename: &str) -> Option<&str> {
    let (stem, extension) = split_extension(basename)?;
    if let Some(inner) = table::uncompressed(extension) {
        return Some(inner);
    }
    if table::is_coding(extension) {
        return split_extension(stem).map(|(_, extension)| extension);
    }
    Some(extension)
}

/// Splits at the last dot; the dots a name begins with (`.png`) start no ending.
fn split_extension(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.').filter(|(stem, _)| stem.bytes().any(|byte| byte != b'.'))
}

/// Whether this `Content-Type` is an image, the kind of answer `S3PROXY_CACHE_MAX_AGE` is for.
#[must_use]
pub fn is_image(content_type: &HeaderValue) -> bool {
    essence(content_type).get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"image/"))
}

/// Whether a browser may run scripts in a page of this `Content-Type`: HTML, SVG and XML.
#[must_use]
pub fn is_scriptable(content_type: &HeaderValue) -> bool {
    let essence = essence(content_type);
    let ends_with = |end: &[u8]| {
        let start = essence.len().checked_sub(end.len());
        start.and_then(|at| essence.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    essence.eq_ignore_ascii_case(b"text/html") || ends_with(b"/xml") || ends_with(b"+xml")
}

/// The value up to its parameters.
fn essence(content_type: &HeaderValue) -> &[u8] {
    let bytes = content_type.as_bytes();
    bytes.split(|byte| *byte == b';').next().unwrap_or(bytes).trim_ascii()
}

#[cfg(test)]
mod tests;
