//! Where the credentials of a profile come from, and values of its providers.

use crate::config::rules::one_of;
use crate::config::value::{Written, optional, text};
use crate::s3::endpoint::Endpoint;
use crate::s3::provider::is_allowed;

/// `credentials.from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialsFrom {
    /// URL, environment or credentials file.
    Keys,
    Process,
    WebIdentity,
    Container,
    Instance,
    Anonymous,
}

pub(super) const WORDS: &[(&str, CredentialsFrom)] = &[
    ("keys", CredentialsFrom::Keys),
    ("process", CredentialsFrom::Process),
    ("web_identity", CredentialsFrom::WebIdentity),
    ("container", CredentialsFrom::Container),
    ("instance", CredentialsFrom::Instance),
    ("anonymous", CredentialsFrom::Anonymous),
];

impl CredentialsFrom {
    /// Its word.
    pub(super) fn word(self) -> &'static str {
        WORDS.iter().find(|(_, from)| *from == self).map_or("", |(word, _)| word)
    }
}

/// One of [`WORDS`], or nothing.
pub(super) fn credentials_from(written: Written<'_>) -> Result<Option<CredentialsFrom>, String> {
    optional(written, |written| one_of(written, WORDS))
}

/// A text without control characters, or nothing.
pub(super) fn optional_line(written: Written<'_>) -> Result<Option<String>, String> {
    let line = optional(written, text)?;
    match &line {
        Some(line) if line.is_empty() || line.contains(char::is_control) => {
            Err("must be text without control characters".to_owned())
        }
        _ => Ok(line),
    }
}

/// The URL of a provider, or nothing.
pub(super) fn provider_url(written: Written<'_>) -> Result<Option<Endpoint>, String> {
    optional(written, |written| {
        let url = text(written)?;
        if url.contains('@') {
            return Err("must be a URL without user info".to_owned());
        }
        let endpoint = Endpoint::parse(&url).map_err(|error| format!("must be a URL: {error}"))?;
        if is_allowed(&endpoint) { Ok(endpoint) } else { Err(NOT_ALLOWED.to_owned()) }
    })
}

/// Why the URL of a provider is refused.
pub(super) const NOT_ALLOWED: &str = "must begin with https://, or be an address of this machine or the link-local \
                                      address of ECS, EKS or EC2: others could read the credentials";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_have_urls_where_nobody_else_reads_the_answer() {
        for (url, allowed) in [
            ("https://sts.example.org/x", true),
            ("http://127.0.0.1:1/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://sts.example.org", false),
            ("https://a:b@sts.example.org", false),
            ("sts.example.org", false),
        ] {
            assert_eq!(provider_url(Written::Text(url)).is_ok(), allowed, "{url}");
        }
    }
}
