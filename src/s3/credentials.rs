//! The credentials of a store, and where they were found.

use crate::s3::secret::Secret;

/// What requests to the store are signed with, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    Keys {
        keys: Keys,
        source: CredentialSource,
    },
    /// Requests go out unsigned, because the configuration says so.
    Anonymous,
    /// None were found; requests are refused here. The text says where they were looked for.
    Missing(String),
}

/// An access key as AWS issues it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
}

/// Where a profile's keys were read, for `s3proxy check` and the start log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// `key:secret@` inside the endpoint URL given by this variable or YAML path.
    EndpointUrl(String),
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    Environment,
    /// A section of the credentials file.
    File { path: std::path::PathBuf, section: String },
}
