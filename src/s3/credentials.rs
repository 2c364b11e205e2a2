//! The credentials for a store, and their source.

use crate::s3::secret::Secret;

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
}
