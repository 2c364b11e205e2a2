//! The environment variables that are not the variable of one setting.

/// The path of the configuration file.
pub(in crate::config) const CONFIG_FILE: &str = "S3PROXY_CONFIG";
/// Ignored; accepted for compatibility with s3proxy 2.0.1.
pub(in crate::config) const STREAM_CHUNK_SIZE: &str = "S3PROXY_STREAM_CHUNK_SIZE";
/// The endpoint of the default profile.
pub(in crate::config) const DEFAULT_ENDPOINT: &str = "S3_ENDPOINT_URL";
/// The same, if [`DEFAULT_ENDPOINT`] is unset or empty.
pub(in crate::config) const AWS_ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";
/// The same, if both are unset or empty.
pub(in crate::config) const AWS_ENDPOINT_OF_ALL: &str = "AWS_ENDPOINT_URL";
/// `upstream.ca_file`, if that is not set.
pub(in crate::config) const CA_BUNDLE: &str = "AWS_CA_BUNDLE";
/// The proxy for endpoints with `https`; the lower-case spelling counts, too.
pub(in crate::config) const HTTPS_PROXY: &str = "HTTPS_PROXY";
/// The proxy for endpoints with `http`; likewise.
pub(in crate::config) const HTTP_PROXY: &str = "HTTP_PROXY";
/// The hosts that are reached without a proxy; likewise.
pub(in crate::config) const NO_PROXY: &str = "NO_PROXY";
/// The INI section of the default profile.
pub(in crate::config) const DEFAULT_SECTION: &str = "AWS_PROFILE";
pub(in crate::config) const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
pub(in crate::config) const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
pub(in crate::config) const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
/// The old name of [`SESSION_TOKEN`].
pub(in crate::config) const OLD_SESSION_TOKEN: &str = "AWS_SECURITY_TOKEN";
pub(in crate::config) const ROLE_ARN: &str = "AWS_ROLE_ARN";
pub(in crate::config) const ROLE_SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
pub(in crate::config) const WEB_IDENTITY_TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
/// The container endpoint of ECS: a path at 169.254.170.2.
pub(in crate::config) const CONTAINER_RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
/// The container endpoint of EKS and others: a URL.
pub(in crate::config) const CONTAINER_FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
pub(in crate::config) const CONTAINER_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
pub(in crate::config) const CONTAINER_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// The endpoint of a named profile: the rest of the variable's name is the name of the profile.
pub(in crate::config) const PROFILE_ENDPOINT: &str = "LSST_RESOURCES_S3_PROFILE_";

/// All of these.
pub(in crate::config) const FURTHER: &[&str] = &[
    CONFIG_FILE,
    STREAM_CHUNK_SIZE,
    DEFAULT_ENDPOINT,
    AWS_ENDPOINT,
    AWS_ENDPOINT_OF_ALL,
    CA_BUNDLE,
    HTTPS_PROXY,
    HTTP_PROXY,
    NO_PROXY,
    DEFAULT_SECTION,
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    OLD_SESSION_TOKEN,
    ROLE_ARN,
    ROLE_SESSION_NAME,
    WEB_IDENTITY_TOKEN_FILE,
    CONTAINER_RELATIVE_URI,
    CONTAINER_FULL_URI,
    CONTAINER_TOKEN,
    CONTAINER_TOKEN_FILE,
    PROFILE_ENDPOINT,
];
