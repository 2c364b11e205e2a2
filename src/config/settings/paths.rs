//! The words of the file that are no single setting, and paths of keys in it.

/// The store of URLs without `profile@`.
pub(in crate::config) const DEFAULT_PROFILE: &str = "default_profile";
/// The stores of URLs with `profile@`, by name.
pub(in crate::config) const PROFILES: &str = "profiles";

/// The cache's rules, in the file and in a profile.
pub(in crate::config) const CACHE: &str = "cache";
/// Within [`CACHE`]: the rules for keys that match a pattern.
pub(in crate::config) const PATTERNS: &str = "patterns";

/// A path as a person writes it: `cache.patterns[2].ttl`.
pub(in crate::config) fn written<S: AsRef<str>>(path: &[S]) -> String {
    let mut text = String::new();
    for key in path.iter().map(AsRef::as_ref) {
        if !text.is_empty() && place(key).is_none() {
            text.push('.');
        }
        text.push_str(key);
    }
    text
}

/// The name of an item in a path, by its place in the list from 0.
pub(in crate::config) fn item(place: usize) -> String {
    format!("[{place}]")
}

/// The place that [`item`] names.
pub(in crate::config) fn place(key: &str) -> Option<usize> {
    key.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}
