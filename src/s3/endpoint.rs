//! The endpoint of a store, and host and path of a request for a bucket and key: path-style or
//! virtual-hosted-style addressing.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>

use std::fmt;

use crate::s3::encode::{decode, encode_path};

/// The base of a store's URLs, such as `https://s3.example.org:9000/base`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub tls: bool,
    /// Lower case, without brackets for an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Prefix of every path, percent-encoded: empty, or starting and not ending with `/`.
    pub base_path: String,
}

/// Where the bucket is in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Addressing {
    /// `https://endpoint/bucket/key`
    Path,
    /// `https://bucket.endpoint/key`; path-style for buckets that are not a valid host label.
    Virtual,
}

/// Host and path of a request to a store. The same strings are signed and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The `Host` header, with the port unless it is the default of the scheme.
    pub host: String,
    /// The host name to verify in the store's certificate.
    pub server_name: String,
    /// Percent-encoded path, without a query.
    pub path: String,
}

/// Why an endpoint URL is not accepted. `Display` never contains user info.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointError {
    Scheme,
    Host,
    Port,
    Query,
    Path,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "an endpoint must be a URL that starts with http:// or https://",
            Self::Host => "the endpoint has no valid host name or address",
            Self::Port => "the port of an endpoint must be a number from 1 to 65535",
            Self::Query => "an endpoint has no query (`?`) and no fragment (`#`)",
            Self::Path => {
                "the path of an endpoint must not contain blanks or control characters, and each % in \
                 it must begin an escape such as %20"
            }
        })
    }
}

impl std::error::Error for EndpointError {}

impl Endpoint {
    /// The endpoint of Amazon S3 in a region.
    #[must_use]
    pub fn aws(region: &str) -> Self {
        Self {
            tls: true,
            host: format!("s3.{region}.amazonaws.com"),
            port: 443,
            base_path: String::new(),
        }
    }

    /// Parses `scheme://host[:port][/path]`; user info must be removed before. The host is lower-cased,
    /// trailing slashes are dropped, and the path, decoded once, becomes the prefix of every request path.
    ///
    /// # Errors
    /// When scheme, host, port or path is invalid, or where there is a query or a fragment.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
        let (tls, scheme_length) = if lower.starts_with("https://") {
            (true, 8)
        } else if lower.starts_with("http://") {
            (false, 7)
        } else {
            return Err(EndpointError::Scheme);
        };
        let rest = url.get(scheme_length..).unwrap_or_default();
        if rest.contains(['?', '#']) {
            return Err(EndpointError::Query);
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return Err(EndpointError::Host);
        }
        let port = match port {
            Some(text) => text.parse().ok().filter(|p| *p != 0).ok_or(EndpointError::Port)?,
            None => default_port(tls),
        };
        if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(EndpointError::Path);
        }
        let path =
            decode(path.trim_end_matches('/').as_bytes()).map_err(|_| EndpointError::Path)?;
        let mut base_path = String::new();
        encode_path(&path, &mut base_path);
        Ok(Self { tls, host, port, base_path })
    }

    /// The `Host` header for this endpoint, with the port unless it is the default of the scheme.
    #[must_use]
    pub fn authority(&self) -> String {
        self.authority_of(&self.host)
    }

    fn authority_of(&self, host: &str) -> String {
        let mut authority = String::with_capacity(host.len() + 8);
        let address = host.contains(':');
        for part in [if address { "[" } else { "" }, host, if address { "]" } else { "" }] {
            authority.push_str(part);
        }
        if self.port != default_port(self.tls) {
            authority.push(':');
            let leading = [10_000, 1000, 100, 10].into_iter().filter(|unit| self.port >= *unit);
            for unit in leading.chain([1]) {
                let digit = u32::from(self.port / unit % 10);
                authority.push(char::from_digit(digit, 10).unwrap_or('0'));
            }
        }
        authority
    }

    /// The same request at this endpoint, for a target that `from` has made.
    #[must_use]
    pub fn take_over(&self, target: &Target, from: &Self) -> Target {
        // Nothing, or the bucket with a dot.
        let label = target.server_name.strip_suffix(&from.host).unwrap_or_default();
        let rest = target.path.strip_prefix(&from.base_path).unwrap_or(&target.path);
        let server_name = [label, &self.host].concat();
        Target {
            host: self.authority_of(&server_name),
            server_name,
            path: [&self.base_path, rest].concat(),
        }
    }

    /// Host and path of a request for this bucket and key (decoded bytes) at this endpoint.
    #[must_use]
    pub fn target(&self, addressing: Addressing, bucket: &str, key: &[u8]) -> Target {
        let mut path = String::with_capacity(self.base_path.len() + bucket.len() + key.len() + 16);
        path.push_str(&self.base_path);
        path.push('/');
        let virtual_hosted = addressing == Addressing::Virtual && is_host_label(bucket);
        if !virtual_hosted {
            encode_path(bucket.as_bytes(), &mut path);
            path.push('/');
        }
        encode_path(key, &mut path);
        if virtual_hosted {
            let host = format!("{bucket}.{}", self.host);
            Target { host: self.authority_of(&host), server_name: host, path }
        } else {
            Target { host: self.authority(), server_name: self.host.clone(), path }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base_path)
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), EndpointError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(EndpointError::Host)?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(EndpointError::Host);
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(EndpointError::Port),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'))
}

/// Whether a bucket is a valid host label: 3 to 63 lower-case letters, digits and hyphens. A name with
/// dots would not match the store's wildcard certificate.
fn is_host_label(bucket: &str) -> bool {
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_urls_are_read_as_written_in_values_files() {
        for (url, display) in [
            ("https://sdfdatas3.slac.stanford.edu/", "https://sdfdatas3.slac.stanford.edu"),
            ("HTTPS://S3.Example.ORG", "https://s3.example.org"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://h:80/", "http://h"),
            ("https://h:443", "https://h"),
            ("https://h:80", "https://h:80"),
            ("https://h:1", "https://h:1"),
            ("https://h:65535", "https://h:65535"),
            ("https://h:10000", "https://h:10000"),
            ("https://h/base/path//", "https://h/base/path"),
            ("https://h/a%20b%40", "https://h/a%20b%40"),
            ("http://[::1]:7480/", "http://[::1]:7480"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ] {
            assert_eq!(
                Endpoint::parse(url).map(|e| e.to_string()).as_deref(),
                Ok(display),
                "{url}"
            );
        }
    }

    #[test]
    fn a_target_is_the_same_at_another_endpoint() {
        let parse = |url| Endpoint::parse(url).expect("an endpoint");
        let ends = ["https://a.org", "http://b.net:9000/base", "http://[::1]:80/x%20y"].map(parse);
        for from in &ends {
            for to in &ends {
                for addressing in [Addressing::Path, Addressing::Virtual] {
                    for bucket in ["sky", "s", "sk.y", "a.org"] {
                        let target = |end: &Endpoint| end.target(addressing, bucket, b"base/k +");
                        let moved = to.take_over(&target(from), from);
                        assert_eq!(moved, target(to), "{from} to {to}, {bucket}");
                    }
                }
            }
        }
        let listing = Target {
            path: "/base/sky/?list-type=2".to_owned(),
            ..ends[1].target(Addressing::Path, "sky", b"")
        };
        assert_eq!(ends[0].take_over(&listing, &ends[1]).path, "/sky/?list-type=2");
    }

    #[test]
    fn invalid_endpoints_report_the_invalid_part() {
        for (url, error) in [
            ("", EndpointError::Scheme),
            ("s3.example.org", EndpointError::Scheme),
            ("ftp://s3.example.org", EndpointError::Scheme),
            ("http://", EndpointError::Host),
            ("http://a b/", EndpointError::Host),
            ("http://[::1", EndpointError::Host),
            ("http://[zz]/", EndpointError::Host),
            ("http://h:0", EndpointError::Port),
            ("http://h:99999", EndpointError::Port),
            ("http://h:x", EndpointError::Port),
            ("http://[::1]x", EndpointError::Port),
            ("http://h?y", EndpointError::Query),
            ("http://h/a?y", EndpointError::Query),
            ("http://h#y", EndpointError::Query),
            ("http://h/a b", EndpointError::Path),
            ("http://h/a\u{1}", EndpointError::Path),
            ("http://h/%zz", EndpointError::Path),
        ] {
            assert_eq!(Endpoint::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn path_style_keeps_the_base_path_and_the_port() {
        let endpoint = Endpoint::parse("http://h:9000/base").expect("a valid endpoint");
        let target = endpoint.target(Addressing::Path, "bkt", b"a//b +%.png");
        assert_eq!(target.host, "h:9000");
        assert_eq!(target.server_name, "h");
        assert_eq!(target.path, "/base/bkt/a//b%20%2B%25.png");
    }

    #[test]
    fn ceph_tenants_are_sent_with_an_encoded_colon() {
        let endpoint = Endpoint::parse("http://h").expect("a valid endpoint");
        assert_eq!(endpoint.target(Addressing::Path, "ten:bkt", b"k").path, "/ten%3Abkt/k");
    }

    #[test]
    fn virtual_hosting_is_used_only_for_buckets_that_are_host_labels() {
        let endpoint = Endpoint::aws("eu-west-1");
        let target = endpoint.target(Addressing::Virtual, "mybucket", b"k");
        assert_eq!(target.host, "mybucket.s3.eu-west-1.amazonaws.com");
        assert_eq!(target.server_name, "mybucket.s3.eu-west-1.amazonaws.com");
        assert_eq!(target.path, "/k");
        for bucket in ["my.bucket", "ab", "Upper", "under_score", "-x-", "ten:bkt"] {
            let target = endpoint.target(Addressing::Virtual, bucket, b"k");
            assert_eq!(target.host, "s3.eu-west-1.amazonaws.com", "{bucket}");
            assert!(target.path.ends_with("/k") && target.path.len() > 2, "{bucket}");
        }
    }
}
