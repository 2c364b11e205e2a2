//! A forward proxy on the way to a store: its URL, and which stores are reached without it.
//!
//! The rules for `NO_PROXY` are those that curl and Python's requests share:
//! <https://curl.se/docs/manpage.html>.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use crate::protocol::network::Network;
use crate::s3::encode::decode;
use crate::s3::endpoint::Endpoint;
use crate::s3::secret::Secret;

/// A proxy that makes tunnels (`CONNECT`, RFC 9110, section 9.3.6). `Display` never shows its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Lower case, without brackets for an IPv6 address.
    pub host: String,
    pub port: u16,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<Secret>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", authority(&self.host, self.port))
    }
}

/// `host:port`, an IPv6 address in brackets: the target of `CONNECT`.
#[must_use]
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Proxy {
    /// Reads `http://[user:password@]host:port`; the scheme may be left out, as curl allows.
    ///
    /// # Errors
    /// What is wrong with it, without any part of it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(
                    "must begin with http://: s3proxy does not speak TLS with a proxy; the \
                            TLS of a store passes through it"
                        .to_owned(),
                );
            }
            Some(_) => return Err("must begin with http://: other proxies are not used".to_owned()),
            None => url,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user_info, host) = match rest.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, rest),
        };
        if rest.contains(['/', '?', '#']) {
            return Err(
                "must be http://host:port, without a path; write `/`, `?`, `#` and `@` inside a \
                        user or password as %2F, %3F, %23 and %40"
                    .to_owned(),
            );
        }
        if !host.rsplit_once(':').is_some_and(|(_, port)| is_port(port)) {
            return Err("must name host and port, such as http://proxy.example.org:3128".to_owned());
        }
        let Endpoint { host, port, .. } = Endpoint::parse(&format!("http://{host}"))
            .map_err(|_| "must name host and port, such as http://proxy.example.org:3128")?;
        let authorization = user_info.map(basic).transpose()?;
        Ok(Self { host, port, authorization })
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The value of `Proxy-Authorization` (RFC 7617).
fn basic(user_info: &str) -> Result<Secret, String> {
    let bytes = decode(user_info.as_bytes())
        .map_err(|_| "has a user or password with a % that is not followed by two digits")?;
    if bytes.iter().any(u8::is_ascii_control) {
        return Err("has a user or password with a control character".to_owned());
    }
    let user = user_info.split(':').next().unwrap_or_default();
    if user.contains("%3A") || user.contains("%3a") {
        return Err("has a user with a colon, which no proxy can tell from the password".to_owned());
    }
    let bytes = if user_info.contains(':') { bytes } else { [&bytes[..], b":"].concat() };
    Ok(Secret::new(format!("Basic {}", BASE64.encode(&bytes))))
}

/// The hosts that are reached without a proxy: `NO_PROXY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Exempt>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exempt {
    /// `*`
    All,
    /// A name and all names below it; an address that is written in the endpoint.
    Host { name: String, port: Option<u16> },
    /// Addresses that are written in the endpoint. No name is resolved.
    Network(Network),
}

impl NoProxy {
    /// Reads a list separated by commas or spaces. An entry is `*`, a name (with or without a dot or `*.`
    /// before it), an address, or a network such as `10.0.0.0/8`; a name or an address may have a port.
    /// Anything else exempts nothing, as in curl.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let entries = text.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        Self(entries.filter_map(Exempt::parse).collect())
    }

    /// Whether this store is reached without a proxy.
    #[must_use]
    pub fn exempts(&self, endpoint: &Endpoint) -> bool {
        let address = endpoint.host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        let host = endpoint.host.strip_suffix('.').unwrap_or(&endpoint.host);
        self.0.iter().any(|exempt| match exempt {
            Exempt::All => true,
            Exempt::Host { port: Some(port), .. } if *port != endpoint.port => false,
            Exempt::Host { name, .. } => match (address, name.parse::<IpAddr>()) {
                (Some(address), Ok(other)) => address == other.to_canonical(),
                (None, Err(_)) => host
                    .strip_suffix(name.as_str())
                    .is_some_and(|before| before.is_empty() || before.ends_with('.')),
                _ => false,
            },
            Exempt::Network(network) => address.is_some_and(|address| network.contains(address)),
        })
    }
}

impl Exempt {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return Some(Self::All);
        }
        if entry.contains('/') {
            return Network::parse(&entry.replace(['[', ']'], "")).map(Self::Network);
        }
        if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Host { name: address.to_string(), port: None });
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        let name = name.trim_matches(['[', ']']);
        let name = name.strip_prefix("*.").or(name.strip_prefix('.')).unwrap_or(name);
        let name = name.strip_suffix('.').unwrap_or(name);
        (!name.is_empty()).then(|| Self::Host { name: name.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_and_shown_without_its_credentials() {
        for (url, shown, authorization) in [
            ("http://proxy:3128", "http://proxy:3128", None),
            ("HTTP://Proxy:3128/", "http://proxy:3128", None),
            ("proxy:3128", "http://proxy:3128", None),
            ("http://[::1]:8080", "http://[::1]:8080", None),
            // RFC 7617, section 2.
            (
                "http://Aladdin:open%20sesame@proxy:80",
                "http://proxy:80",
                Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ),
            ("u:p%40ss@10.0.0.1:1", "http://10.0.0.1:1", Some("Basic dTpwQHNz")),
            ("http://u:p@ss@h:1", "http://h:1", Some("Basic dTpwQHNz")),
            ("http://token@h:1", "http://h:1", Some("Basic dG9rZW46")),
            ("http://u:@h:1", "http://h:1", Some("Basic dTo=")),
        ] {
            let proxy = Proxy::parse(url).expect(url);
            assert_eq!(proxy.to_string(), shown, "{url}");
            assert_eq!(proxy.authorization.as_ref().map(Secret::expose), authorization, "{url}");
            assert!(!format!("{proxy:?}").contains("Basic"), "{proxy:?}");
        }
    }

    #[test]
    fn no_message_repeats_a_secret() {
        for url in [
            "https://u:hush@h:1",
            "socks5://u:hush@h:1",
            "http://u:hush@h",
            "http://u:hush@:1",
            "http://u:hush@h:0",
            "http://u:hush@h:x",
            "http://u:hush@h:99999",
            "http://u:hush@h:1/path",
            "http://u:hush/hush@h:1",
            "http://u:hush%zz@h:1",
            "http://u:hush%0a@h:1",
            "http://u%3Ahush:x@h:1",
            "hush",
            "",
        ] {
            let message = Proxy::parse(url).expect_err(url);
            assert!(!message.contains("hush"), "{url}: {message}");
        }
    }

    #[test]
    fn base64_has_the_digits_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(BASE64.encode(plain), encoded);
        }
        assert_eq!(BASE64.encode([0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn no_proxy_exempts_what_curl_exempts() {
        for (list, url, exempt) in [
            ("", "https://h", false),
            ("*", "https://h", true),
            ("h", "https://h", true),
            ("H", "https://h", true),
            ("h", "https://h:9000", true),
            ("h:443", "https://h", true),
            ("h:443", "http://h", false),
            ("h:9000", "https://h:9000", true),
            ("example.org", "https://s3.example.org", true),
            (".example.org", "https://s3.example.org", true),
            (".example.org", "https://example.org", true),
            ("*.example.org", "https://a.b.example.org", true),
            ("example.org.", "https://s3.example.org", true),
            ("example.org", "https://s3.example.org.", true),
            ("example.org", "https://badexample.org", false),
            ("example.org:9000", "https://s3.example.org:9000", true),
            ("s3.example.org", "https://example.org", false),
            ("a, example.org ,b", "https://example.org", true),
            ("a b", "https://b", true),
            ("10.0.0.1", "http://10.0.0.1", true),
            ("10.0.0.1:80", "http://10.0.0.1", true),
            ("10.0.0.1:81", "http://10.0.0.1", false),
            ("0.0.1", "http://10.0.0.1", false),
            ("10.0.0.0/8", "http://10.255.0.1:7480", true),
            ("10.0.0.0/8", "http://11.0.0.1", false),
            ("10.0.0.0/0", "http://11.0.0.1", true),
            ("10.0.0.7/32", "http://10.0.0.7", true),
            ("10.0.0.7/33", "http://10.0.0.7", false),
            ("10.0.0.0/8", "http://ten.example.org", false),
            ("::1", "http://[::1]:9000", true),
            ("[::1]", "http://[::1]:9000", true),
            ("[::1]:9000", "http://[::1]:9000", true),
            ("fd00::/8", "http://[fd12::1]", true),
            ("fd00::/8", "http://[fe80::1]", false),
            ("10.0.0.0/8", "http://[::ffff:10.1.1.1]", true),
            ("/,:,..,[", "http://h", false),
        ] {
            let endpoint = Endpoint::parse(url).expect(url);
            assert_eq!(NoProxy::parse(list).exempts(&endpoint), exempt, "{list:?} {url}");
        }
    }
}
