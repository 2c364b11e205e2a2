//! Which keys are served, and with which media type.
//!
//! The rules are those of s3proxy 2.0.1, applied to the decoded key as a plain path: `#`, `?` and
//! `data:` have no special meaning in a key.

mod coding;
mod media_type;
mod table;

pub use self::coding::KeyType;

use std::collections::{HashMap, HashSet};

use http::{HeaderMap, HeaderValue, header};

use self::coding::Coding;
use self::media_type::MediaType;

/// The rules as configured. [`Default`] are the settings of s3proxy 2.0.1, and `.wav`: its accept list
/// has a type for `.wav` that its table does not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimeSettings {
    /// Allowed types. This and the next two lists may contain ranges: `image/*`, and `*/*` for all.
    pub accept: Vec<String>,
    /// Types to add to `accept`.
    pub also_allow: Vec<String>,
    /// Types to remove from both.
    pub disallow: Vec<String>,
    /// Type by basename, for keys that match no other rule.
    pub extensionless: Vec<(String, String)>,
    /// More of these, in addition to the built-in ones; they win over one of the same name.
    pub also_extensionless: Vec<(String, String)>,
    /// Type by suffix (longest match), for keys whose extension is not in the table.
    pub suffixes: Vec<(String, String)>,
    /// More of these, likewise.
    pub also_suffixes: Vec<(String, String)>,
    /// Type of keys that match no rule; without it they are refused.
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
            also_extensionless: Vec::new(),
            also_suffixes: Vec::new(),
            suffixes: vec![
                (".fits.fz".to_owned(), "image/fits".to_owned()),
                (".vot".to_owned(), "application/xml".to_owned()),
            ],
            default: None,
        }
    }
}

/// The rules, indexed for the hot path: a decision compares few bytes and allocates nothing.
#[derive(Debug, Clone)]
pub struct MimePolicy {
    allowed: AllowedTypes,
    /// One decision for each row of [`table::EXTENSIONS`].
    by_extension: Vec<TypeDecision>,
    /// Longest suffix first; case-sensitive.
    by_suffix: Vec<(String, TypeDecision)>,
    by_basename: HashMap<String, TypeDecision>,
    default: Option<TypeDecision>,
}

/// Whether keys of one type are served.
#[derive(Debug, Clone)]
enum TypeDecision {
    Allow(HeaderValue),
    Deny(String),
}

/// The rule that determines the type of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeRule<'a> {
    /// The table of extensions. The extension, without a content coding such as `.gz`.
    Extension(&'a str),
    /// `mime.suffixes` and `mime.also_suffixes`. The longest suffix of the key.
    Suffix(&'a str),
    /// `mime.extensionless` and `mime.also_extensionless`. The last segment of the key.
    Basename(&'a str),
    /// `mime.default`.
    Default,
}

/// The decision on the type stored with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredVerdict {
    /// Served with this `Content-Type`, charset included for text.
    Allowed(HeaderValue),
    /// Not served; the type without its parameters, if the header is exactly one valid type.
    Denied(Option<String>),
}

impl MimePolicy {
    /// Indexes the rules. Types that are not valid header values are errors; in the three lists also
    /// parameters, and a `*` that is not a whole half of a type, which would match nothing. The last of two rules for one name applies.
    ///
    /// # Errors
    /// The invalid type.
    pub fn new(settings: &MimeSettings) -> Result<Self, String> {
        let accepted = settings.accept.iter().chain(&settings.also_allow);
        let allowed = AllowedTypes {
            accepted: TypeList::new(accepted)?,
            disallowed: TypeList::new(settings.disallow.iter())?,
        };

        let decide = |text: &str| TypeDecision::new(text, &allowed);
        let rules = |rules: &[(String, String)], also: &[(String, String)]| {
            let rules = rules.iter().chain(also);
            let rules = rules.map(|(name, text)| Ok((name.clone(), decide(text)?)));
            rules.collect::<Result<HashMap<String, TypeDecision>, String>>()
        };
        let by_extension =
            table::EXTENSIONS.iter().map(|(_, text)| decide(text)).collect::<Result<_, _>>()?;
        let mut by_suffix: Vec<_> =
            rules(&settings.suffixes, &settings.also_suffixes)?.into_iter().collect();
        by_suffix.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let by_basename = rules(&settings.extensionless, &settings.also_extensionless)?;
        let default = settings.default.as_deref().map(decide).transpose()?;
        Ok(Self { allowed, by_extension, by_suffix, by_basename, default })
    }

    /// The media type of a decoded key that may be served: by the table of extensions, else by the
    /// longest suffix rule, else by the basename, else the default type.
    ///
    /// # Errors
    /// The type of a key that is not served, if a rule determines it. A key that states a coding is
    /// served if the type without it is.
    pub fn key_type<'a>(&'a self, key: &'a str) -> Result<KeyType, Option<&'a str>> {
        match self.matching(key) {
            Some((rule, TypeDecision::Allow(value))) => {
                let is_coded = matches!(rule, TypeRule::Extension(_));
                let coding = if is_coded { coded_extension(basename(key)) } else { None };
                let coding = coding.and_then(|(_, coding)| coding);
                Ok(KeyType { decoded: value.clone(), coding })
            }
            Some((_, TypeDecision::Deny(text))) => Err(Some(text)),
            None => Err(None),
        }
    }

    /// Whether objects of this type may be served.
    #[must_use]
    pub fn allows(&self, media_type: &str) -> bool {
        MediaType::parse(media_type).is_some_and(|it| self.allowed.allows(&it.essence))
    }

    /// The rule that [`MimePolicy::key_type`] applies; `None` when no rule matches the key.
    #[must_use]
    pub fn rule<'a>(&'a self, key: &'a str) -> Option<TypeRule<'a>> {
        self.matching(key).map(|(rule, _)| rule)
    }

    fn matching<'own: 'key, 'key>(
        &'own self,
        key: &'key str,
    ) -> Option<(TypeRule<'key>, &'own TypeDecision)> {
        let basename = basename(key);
        let by_extension = || {
            let (extension, _) = coded_extension(basename)?;
            Some((TypeRule::Extension(extension), self.by_extension.get(table::row(extension)?)?))
        };
        let suffix = || {
            let rule = self.by_suffix.iter().find(|(suffix, _)| key.ends_with(suffix.as_str()));
            rule.map(|(suffix, decision)| (TypeRule::Suffix(suffix), decision))
        };
        let name = || Some((TypeRule::Basename(basename), self.by_basename.get(basename)?));
        let default = || Some((TypeRule::Default, self.default.as_ref()?));
        by_extension().or_else(suffix).or_else(name).or_else(default)
    }

    /// Decides on the `Content-Type` of a store's response. The allow list is compared with the type
    /// without parameters, in lower case. A repeated header, and one that is not exactly one media
    /// type, is denied. An object without a type has the default type.
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
        if !self.allowed.allows(&media_type.essence) {
            return StoredVerdict::Denied(Some(media_type.essence));
        }
        match HeaderValue::try_from(media_type.to_text()) {
            Ok(value) => StoredVerdict::Allowed(value),
            Err(_) => StoredVerdict::Denied(Some(media_type.essence)),
        }
    }
}

impl TypeDecision {
    fn new(text: &str, allowed: &AllowedTypes) -> Result<Self, String> {
        let media_type = MediaType::parse(text).ok_or_else(|| text.to_owned())?;
        if !allowed.allows(&media_type.essence) {
            return Ok(Self::Deny(media_type.essence));
        }
        HeaderValue::try_from(media_type.to_text()).map(Self::Allow).map_err(|_| text.to_owned())
    }
}

/// The types that may be served.
#[derive(Debug, Clone)]
struct AllowedTypes {
    accepted: TypeList,
    disallowed: TypeList,
}

impl AllowedTypes {
    fn allows(&self, essence: &str) -> bool {
        // A store may send a range as a type, which no client understands.
        !essence.contains('*')
            && self.accepted.contains(essence)
            && !self.disallowed.contains(essence)
    }
}

/// Types and ranges of types.
#[derive(Debug, Clone)]
struct TypeList {
    types: HashSet<String>,
    /// The starts of types, such as `image/`; empty for `*/*`.
    ranges: Vec<String>,
}

impl TypeList {
    fn new<'t>(texts: impl Iterator<Item = &'t String>) -> Result<Self, String> {
        let mut list = Self { types: HashSet::new(), ranges: Vec::new() };
        for text in texts {
            let media_type = MediaType::parse(text).filter(|it| it.parameters.is_empty());
            let essence = media_type.ok_or_else(|| text.clone())?.essence;
            match essence.split_once('/') {
                Some(("*", "*")) => list.ranges.push(String::new()),
                Some((kind, "*")) if !kind.contains('*') => list.ranges.push(format!("{kind}/")),
                _ if essence.contains('*') => return Err(text.clone()),
                _ => {
                    list.types.insert(essence);
                }
            }
        }
        Ok(list)
    }

    fn contains(&self, essence: &str) -> bool {
        self.types.contains(essence) || self.ranges.iter().any(|start| essence.starts_with(start))
    }
}

/// The last segment of a key.
fn basename(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// The extension that determines the type, and the content coding behind it, such as `.gz`.
fn coded_extension(basename: &str) -> Option<(&str, Option<Coding>)> {
    let (stem, extension) = split_extension(basename)?;
    if let Some((inner, coding)) = table::uncompressed(extension) {
        return Some((inner, Some(coding)));
    }
    match table::coding(extension) {
        Some(coding) => split_extension(stem).map(|(_, inner)| (inner, Some(coding))),
        None => Some((extension, None)),
    }
}

/// Splits at the last dot; leading dots of a name (`.png`) start no extension.
fn split_extension(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.').filter(|(stem, _)| stem.bytes().any(|byte| byte != b'.'))
}

/// Whether this `Content-Type` is an image, to which `S3PROXY_CACHE_MAX_AGE` applies.
#[must_use]
pub fn is_image(content_type: &HeaderValue) -> bool {
    essence(content_type).get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"image/"))
}

/// Whether a browser may run scripts in a document of this `Content-Type`: HTML, SVG and XML.
#[must_use]
pub fn is_scriptable(content_type: &HeaderValue) -> bool {
    let essence = essence(content_type);
    let ends_with = |end: &[u8]| {
        let start = essence.len().checked_sub(end.len());
        start.and_then(|at| essence.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    essence.eq_ignore_ascii_case(b"text/html") || ends_with(b"/xml") || ends_with(b"+xml")
}

/// The value without its parameters.
fn essence(content_type: &HeaderValue) -> &[u8] {
    let bytes = content_type.as_bytes();
    bytes.split(|byte| *byte == b';').next().unwrap_or(bytes).trim_ascii()
}

#[cfg(test)]
mod tests;
