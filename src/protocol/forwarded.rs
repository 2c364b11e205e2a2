//! The client behind proxies: `X-Forwarded-For` and `X-Forwarded-Proto`, or `Forwarded` (RFC 7239), as trusted
//! proxies write them. A header says what its last writer wanted it to say, and each proxy adds to its end. So
//! the list is read from the right, as long as those who wrote it are trusted.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::protocol::network::Network;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The header in which proxies name their clients. One alone is read: a proxy that writes the one passes on the
/// other as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies whose word on their clients is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies {
    pub networks: Vec<Network>,
    pub header: ForwardedHeader,
}

/// One entry of the list: who sent the request to the proxy that wrote the entry, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hop {
    /// `None` if the proxy does not say.
    address: Option<IpAddr>,
    scheme: Option<&'static str>,
}

/// The entries of the list that were read, from the right.
#[derive(Debug, Default)]
struct ReadEntries {
    /// The last address that was found: that of the client.
    address: Option<IpAddr>,
    /// The scheme in the last entry that was read.
    scheme: Option<&'static str>,
    /// How many entries with addresses were read.
    addresses: usize,
}

impl TrustedProxies {
    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The address of the client of a request that the trusted proxy `proxy` has sent: the last address in the
    /// header that is not of a trusted proxy itself, or the first, if all are. What stands before an entry that
    /// is no address, such as `unknown`, was written by nobody who is known: the client is then the proxy that
    /// wrote this entry.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, proxy: IpAddr) -> IpAddr {
        self.read(headers).address.unwrap_or(proxy.to_canonical())
    }

    /// The scheme of the URL as the client wrote it, if the proxies say.
    ///
    /// `X-Forwarded-Proto` may have one value for the whole way, or one for each address: each proxy adds to the end
    /// of both. Several lines are one list (RFC 9110, section 5.3). The value is the one at the place of the client's
    /// address, counted from the right; if there are fewer, the first. As in s3proxy 2.0.1 it counts beside an
    /// address only. An element of `Forwarded` has its own, also if it hides the address (RFC 7239, section 6.3).
    #[must_use]
    pub fn scheme(&self, headers: &HeaderMap) -> Option<&'static str> {
        let read = self.read(headers);
        match self.header {
            ForwardedHeader::Forwarded => read.scheme,
            ForwardedHeader::XForwardedFor => {
                let lines = headers.get_all(X_FORWARDED_PROTO).iter().rev();
                let values = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
                let values = values.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
                known_scheme(values.take(read.addresses).last()?)
            }
        }
    }

    /// The header that names the scheme.
    #[must_use]
    pub fn scheme_header(&self) -> HeaderName {
        match self.header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_PROTO,
            ForwardedHeader::Forwarded => http::header::FORWARDED,
        }
    }

    /// Reads the list up to the entry of the client, or to the last that can be read on the way to it.
    fn read(&self, headers: &HeaderMap) -> ReadEntries {
        let mut read = ReadEntries::default();
        let name = match self.header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => http::header::FORWARDED,
        };
        for line in headers.get_all(name).iter().rev() {
            let Ok(line) = line.to_str() else { break };
            let ended = match self.header {
                ForwardedHeader::XForwardedFor => {
                    let entries = line.rsplit(',').map(str::trim).filter(|entry| !entry.is_empty());
                    self.walk(entries.map(x_forwarded_for), &mut read)
                }
                ForwardedHeader::Forwarded => match elements(line) {
                    Some(elements) => self.walk(elements.into_iter().rev(), &mut read),
                    None => true,
                },
            };
            if ended {
                break;
            }
        }
        read
    }

    /// Goes through the entries of a line, from the right; true at the client, or where nobody is known.
    fn walk(&self, hops: impl Iterator<Item = Hop>, read: &mut ReadEntries) -> bool {
        for hop in hops {
            read.scheme = hop.scheme;
            let Some(address) = hop.address else { return true };
            read.address = Some(address);
            read.addresses += 1;
            if !self.trusts(address) {
                return true;
            }
        }
        false
    }
}

fn x_forwarded_for(entry: &str) -> Hop {
    Hop { address: node(entry), scheme: None }
}

/// An address with or without a port; IPv6 with or without brackets. No RFC has a form for `X-Forwarded-For`.
fn node(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

/// An address of `Forwarded`, with or without a port, which may be obfuscated; IPv6 in brackets (RFC 7239, section 6).
fn node_of_rfc_7239(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            (
                IpAddr::V6(address.parse().ok()?),
                (!rest.is_empty()).then_some(rest.strip_prefix(':')),
            )
        }
        None => {
            let (address, port) =
                text.split_once(':').map_or((text, None), |(it, port)| (it, Some(port)));
            (IpAddr::V4(address.parse().ok()?), port.map(Some))
        }
    };
    let is_port = |port: &str| match port.strip_prefix('_') {
        Some(name) => {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !name.is_empty() && name.bytes().all(is_part)
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    };
    port.is_none_or(|port| port.is_some_and(is_port)).then(|| address.to_canonical())
}

fn known_scheme(text: &[u8]) -> Option<&'static str> {
    ["https", "http"].into_iter().find(|known| text.eq_ignore_ascii_case(known.as_bytes()))
}

/// The elements of a line of `Forwarded` (RFC 7239, section 4), each as the entry of a client. `None`
/// if the line is not well-formed: a client could hide what proxies add to it.
fn elements(line: &str) -> Option<Vec<Hop>> {
    let mut elements = Vec::new();
    let mut element = Element::default();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        rest = after;
        if !name.is_empty() {
            let (value, after) = value(after.strip_prefix('=')?)?;
            element.add(name, &value)?;
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t']);
        match rest.chars().next() {
            Some(';') => {}
            separator @ (None | Some(',')) => {
                if !element.is_empty {
                    elements.push(element.hop());
                }
                if separator.is_none() {
                    return Some(elements);
                }
                element = Element::default();
            }
            Some(_) => return None,
        }
        rest = rest.get(1..)?;
    }
}

/// A token or a quoted string (RFC 9110, sections 5.6.2 and 5.6.4), and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
        let (token, rest) = text.split_at_checked(end)?;
        return (!token.is_empty()).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, quoted.get(at + 1..)?)),
            (_, '\\') => value.push(characters.next()?.1),
            (_, other) => value.push(other),
        }
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// The parameters of an element that matter here.
struct Element {
    is_empty: bool,
    names: Vec<String>,
    address: Option<IpAddr>,
    scheme: Option<&'static str>,
}

impl Default for Element {
    fn default() -> Self {
        Self { is_empty: true, names: Vec::new(), address: None, scheme: None }
    }
}

impl Element {
    /// Adds a parameter; `None` if it is there already.
    fn add(&mut self, name: &str, value: &str) -> Option<()> {
        let name = name.to_ascii_lowercase();
        if self.names.contains(&name) {
            return None;
        }
        match name.as_str() {
            "for" => self.address = node_of_rfc_7239(value),
            "proto" => self.scheme = known_scheme(value.as_bytes()),
            _ => {}
        }
        self.is_empty = false;
        self.names.push(name);
        Some(())
    }

    fn hop(&self) -> Hop {
        Hop { address: self.address, scheme: self.scheme }
    }
}

/// The words of the setting, each with its header.
pub const HEADERS: &[(&str, ForwardedHeader)] = &[
    ("X-Forwarded-For", ForwardedHeader::XForwardedFor),
    ("Forwarded", ForwardedHeader::Forwarded),
];

#[cfg(test)]
mod tests;
