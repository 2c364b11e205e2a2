//! Providers of credentials: places that issue an access key for a limited time. Their names and orders are
//! those of AWS: <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::certificate::store_tls::StoreTls;
use crate::s3::credentials::Keys;
use crate::s3::endpoint::Endpoint;
use crate::s3::proxy::Proxy;
use crate::s3::secret::Secret;

pub mod reply;
pub mod schedule;
pub mod sts;

/// A place that issues credentials, and what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// A program prints the credentials: its name, then its arguments.
    Process(Vec<String>),
    /// `AssumeRoleWithWebIdentity` of STS, with a token that is read from a file for each request.
    WebIdentity { role: StsRole, token_file: PathBuf },
    /// `AssumeRole` of STS, signed with an access key.
    Role { role: StsRole, keys: Keys, external_id: Option<String> },
    /// The endpoint of the container: ECS, EKS Pod Identity. Its path is the base path.
    Container { endpoint: Endpoint, token: ContainerToken },
    /// The metadata of an EC2 instance, version 2.
    Instance(Endpoint),
}

/// A role, and the STS that issues credentials for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRole {
    pub arn: String,
    /// Names the session in the records of STS.
    pub session_name: String,
    pub sts: Endpoint,
    /// The proxy on the way to it.
    pub proxy: Option<Proxy>,
    /// TLS with it, if it differs from that with all stores.
    pub tls: Option<Arc<StoreTls>>,
    /// The region of the signature.
    pub region: String,
}

/// What authorizes a request to the endpoint of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerToken {
    None,
    /// Read for each request: it is replaced while the container runs.
    File(PathBuf),
    Text(Secret),
}

/// Credentials as they were issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub keys: Keys,
    /// `None`: they do not expire.
    pub expires: Option<SystemTime>,
}

/// Whether AWS's tools would request credentials of this address: with TLS, or on this machine, or at one of
/// the link-local addresses of ECS, EKS and EC2. Others on the network could read what is issued.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
#[must_use]
pub fn is_allowed(endpoint: &Endpoint) -> bool {
    const LINK_LOCAL: [&str; 5] =
        ["169.254.170.2", "169.254.170.23", "fd00:ec2::23", "169.254.169.254", "fd00:ec2::254"];
    let is_loopback =
        endpoint.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    endpoint.tls
        || is_loopback
        || endpoint.host == "localhost"
        || LINK_LOCAL.contains(&endpoint.host.as_str())
}

impl Provider {
    /// What an operator checks first when it issues nothing.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Process(_) => {
                "run the program by hand as the user of s3proxy: it must print one JSON document with \
                 \"Version\": 1, AccessKeyId and SecretAccessKey, and end with exit code 0"
            }
            Self::WebIdentity { .. } => {
                "check that the token file exists and is renewed, that sts_endpoint is the STS of the \
                 store, and that the role trusts the issuer and the subject of the token"
            }
            Self::Role { .. } => {
                "check that the access key may call sts:AssumeRole for the role, that the role trusts it, \
                 and that sts_endpoint is the STS of the store"
            }
            Self::Container { .. } => {
                "check that the pod or task has a role (EKS Pod Identity: an association of its service \
                 account), and that a network policy lets it reach the address"
            }
            Self::Instance(_) => {
                "check that the instance has a role, and that its metadata options allow a hop limit of 2 \
                 if s3proxy runs in a container"
            }
        }
    }
}

/// The source of the credentials, without secrets: arguments of a program may hold some.
impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(command) => {
                write!(f, "the program {}", command.first().map_or("", String::as_str))
            }
            Self::WebIdentity { role, token_file } => {
                write!(
                    f,
                    "the token {} for role {} at {}",
                    token_file.display(),
                    role.arn,
                    role.sts
                )
            }
            Self::Role { role, .. } => write!(f, "role {} at {}", role.arn, role.sts),
            Self::Container { endpoint, .. } => write!(f, "the container endpoint {endpoint}"),
            Self::Instance(endpoint) => write!(f, "the instance metadata at {endpoint}"),
        }
    }
}

/// The words of a command line, as a shell would split it: quotes group, a backslash takes the next
/// character as it is. `None` if a quote is not closed, or nothing is there.
#[must_use]
pub fn split_command(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(characters.next()?),
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    (quote.is_none() && !words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_requested_where_others_cannot_read_them() {
        for (url, allowed) in [
            ("https://sts.eu-west-1.amazonaws.com", true),
            ("https://10.0.0.1", true),
            ("http://127.0.0.1:9000", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:80", true),
            ("http://localhost:4566", true),
            ("http://169.254.170.2/v2/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://169.254.169.254", true),
            ("http://169.254.1.1", false),
            ("http://10.0.0.1", false),
            ("http://sts.example.org", false),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org", false),
        ] {
            assert_eq!(is_allowed(&Endpoint::parse(url).expect(url)), allowed, "{url}");
        }
    }

    #[test]
    fn commands_are_split_as_by_a_shell() {
        for (text, words) in [
            ("a", Some(&["a"][..])),
            ("  a  b\tc ", Some(&["a", "b", "c"])),
            ("a 'b c' \"d \\\" e\"", Some(&["a", "b c", "d \" e"])),
            ("a 'b\\c' b\\ c", Some(&["a", "b\\c", "b c"])),
            ("a '' \"\"", Some(&["a", "", ""])),
            ("a'b'c", Some(&["abc"])),
            ("a 'b", None),
            ("a \\", None),
            ("  ", None),
        ] {
            let split = split_command(text);
            let split = split.as_ref().map(|words| words.iter().map(String::as_str).collect());
            assert_eq!(split, words.map(<[&str]>::to_vec), "{text}");
        }
    }

    #[test]
    fn a_provider_is_named_without_secrets() {
        let command = vec!["/bin/vault".to_owned(), "--token=canary".to_owned()];
        assert_eq!(Provider::Process(command).to_string(), "the program /bin/vault");
    }
}
