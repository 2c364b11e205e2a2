//! The credentials for a store, and their source.

use std::sync::Arc;
use std::time::SystemTime;

use crate::s3::provider::Provider;
use crate::s3::secret::Secret;

/// Characters of an access key id that are shown.
const SHOWN: usize = 4;

/// The credentials that sign requests to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// An access key and its source.
    Keys { keys: Keys, source: CredentialSource },
    /// Requests are not signed, by configuration.
    Anonymous,
    /// None were found: requests of the profile are refused. The text lists the places searched.
    Missing(String),
}

/// An access key as AWS issues it: id, secret and, for temporary credentials, session token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
}

/// The source of a profile's access key, for `s3proxy check` and the log at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// `id:secret@` in the endpoint URL that this environment variable or YAML path sets.
    EndpointUrl(String),
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    Environment,
    /// A section of the credentials file.
    File { path: std::path::PathBuf, section: String },
    /// Issued by a provider; `expires` is `None` if it does not expire.
    Provider { provider: Arc<Provider>, expires: Option<SystemTime> },
}

/// Whether the text is visible ASCII, and so can be part of a signed header.
#[must_use]
pub fn is_credential(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}

/// The end of an access key id that is long enough not to be revealed by it.
#[must_use]
pub fn masked_id(access_key_id: &str) -> String {
    let characters: Vec<char> = access_key_id.chars().collect();
    match characters.len().checked_sub(SHOWN) {
        Some(rest) if rest >= SHOWN => {
            let end: String = characters.into_iter().skip(rest).collect();
            format!("...{end}")
        }
        _ => "...".to_owned(),
    }
}
