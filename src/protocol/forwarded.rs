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

/// One entry of the list: who sent the request to the proxy that wrote the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hop {
    address: IpAddr,
    scheme: Option<&'static str>,
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
        self.last_hop(headers).map_or(proxy.to_canonical(), |hop| hop.address)
    }

    /// The scheme of the URL as the client wrote it, if the proxies say.
    #[must_use]
    pub fn scheme(&self, headers: &HeaderMap) -> Option<&'static str> {
        match self.header {
            // One value for the whole way; as in s3proxy 2.0.1 it counts beside an address only.
            ForwardedHeader::XForwardedFor => {
                self.last_hop(headers)?;
                known_scheme(headers.get(X_FORWARDED_PROTO)?.as_bytes())
            }
            ForwardedHeader::Forwarded => self.last_hop(headers)?.scheme,
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

    /// The entry of the client, or the last that can be read on the way to it.
    fn last_hop(&self, headers: &HeaderMap) -> Option<Hop> {
        let mut last = None;
        let name = match self.header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => http::header::FORWARDED,
        };
        for line in headers.get_all(name).iter().rev() {
            let Ok(line) = line.to_str() else { break };
            let ended = match self.header {
                ForwardedHeader::XForwardedFor => {
                    let entries = line.rsplit(',').map(str::trim).filter(|entry| !entry.is_empty());
                    self.walk(entries.map(x_forwarded_for), &mut last)
                }
                ForwardedHeader::Forwarded => match elements(line) {
                    Some(elements) => self.walk(elements.into_iter().rev(), &mut last),
                    None => true,
                },
            };
            if ended {
                break;
            }
        }
        last
    }

    /// Goes through the entries of a line, from the right; true at the client, or where nobody is known.
    fn walk(&self, hops: impl Iterator<Item = Option<Hop>>, last: &mut Option<Hop>) -> bool {
        for hop in hops {
            let Some(hop) = hop else { return true };
            *last = Some(hop);
            if !self.trusts(hop.address) {
                return true;
            }
        }
        false
    }
}

fn x_forwarded_for(entry: &str) -> Option<Hop> {
    Some(Hop { address: node(entry)?, scheme: None })
}

/// An address with or without a port; IPv6 with or without brackets, although RFC 7239 requires them.
fn node(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

fn known_scheme(text: &[u8]) -> Option<&'static str> {
    ["https", "http"].into_iter().find(|known| text.eq_ignore_ascii_case(known.as_bytes()))
}

/// The elements of a line of `Forwarded` (RFC 7239, section 4), each as the entry of a client, `None` where it
/// names no address. `None` if the line is not well-formed: a client could hide what proxies add to it.
fn elements(line: &str) -> Option<Vec<Option<Hop>>> {
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
            "for" => self.address = node(value),
            "proto" => self.scheme = known_scheme(value.as_bytes()),
            _ => {}
        }
        self.is_empty = false;
        self.names.push(name);
        Some(())
    }

    fn hop(&self) -> Option<Hop> {
        Some(Hop { address: self.address?, scheme: self.scheme })
    }
}

/// The words of the setting, each with its header.
pub const HEADERS: &[(&str, ForwardedHeader)] = &[
    ("X-Forwarded-For", ForwardedHeader::XForwardedFor),
    ("Forwarded", ForwardedHeader::Forwarded),
];

#[cfg(test)]
mod tests;
