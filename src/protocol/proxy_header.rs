//! The header of the PROXY protocol, versions 1 and 2: before the first byte of a client, a proxy says whose
//! connection it passes on. <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most bytes of a header. Version 1 has at most 107; version 2 could have 65 551, of which proxies use a few
/// hundred: addresses, and what is known of the client's TLS.
pub const MAX_BYTES: usize = 4096;

/// The most bytes of a line of version 1, with its end (section 2.1).
const MAX_LINE: usize = 107;

/// How a header of version 2 begins (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;
const LINE: &[u8] = b"PROXY ";

/// What has arrived of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// More bytes are needed.
    Incomplete,
    /// The header has this many bytes; what follows is of the client.
    Complete {
        length: usize,
        /// The client; `None` if the proxy itself has opened the connection (`LOCAL`), or does not say who did.
        client: Option<SocketAddr>,
    },
}

/// Why bytes are no header that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadProxyHeader {
    /// They begin like no header: a client that speaks without one.
    Missing,
    /// They begin like one, and break its rules.
    Malformed,
    /// It is longer than [`MAX_BYTES`], or a line than 107 bytes.
    TooLong,
}

impl BadProxyHeader {
    /// In the words of a log line.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "the connection does not begin with a PROXY header",
            Self::Malformed => "the PROXY header is malformed",
            Self::TooLong => "the PROXY header is too long",
        }
    }
}

/// Reads the header at the beginning of `bytes`.
///
/// # Errors
/// As soon as no further byte can make it a header.
pub fn read(bytes: &[u8]) -> Result<ProxyHeader, BadProxyHeader> {
    if begins(bytes, SIGNATURE) {
        return if bytes.len() < FIXED { early(bytes) } else { version_2(bytes) };
    }
    if begins(bytes, LINE) {
        return version_1(bytes);
    }
    Err(BadProxyHeader::Missing)
}

/// Whether the bytes begin so, as far as they have arrived.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, expected)| byte == expected)
}

/// A header of version 2 whose fixed part has not arrived: what can be said of it.
fn early(bytes: &[u8]) -> Result<ProxyHeader, BadProxyHeader> {
    match bytes.get(SIGNATURE.len()) {
        Some(0x20 | 0x21) | None => Ok(ProxyHeader::Incomplete),
        Some(_) => Err(BadProxyHeader::Malformed),
    }
}

fn version_2(bytes: &[u8]) -> Result<ProxyHeader, BadProxyHeader> {
    let bad = BadProxyHeader::Malformed;
    let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or(bad)?;
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(bad),
    };
    // The most that stands before the fields that are skipped.
    let needed = match family {
        // Unspecified: the proxy does not say, or speaks of something else than an address.
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        // A Unix socket on the side of the proxy.
        0x31 => 216,
        // Datagrams do not come over this connection; other values must be refused.
        _ if is_local => 0,
        _ => return Err(bad),
    };
    if !is_local && length < needed {
        return Err(bad);
    }
    if FIXED + length > MAX_BYTES {
        return Err(BadProxyHeader::TooLong);
    }
    let Some(body) = rest.get(..length) else { return Ok(ProxyHeader::Incomplete) };
    let client = match family {
        _ if is_local => None,
        0x11 => Some(socket_v4(body).ok_or(bad)?),
        0x21 => Some(socket_v6(body).ok_or(bad)?),
        _ => None,
    };
    Ok(ProxyHeader::Complete { length: FIXED + length, client })
}

/// Source and destination address, source and destination port.
fn socket_v4(body: &[u8]) -> Option<SocketAddr> {
    let (address, rest) = body.split_first_chunk::<4>()?;
    let (port, _) = rest.get(4..)?.split_first_chunk::<2>()?;
    Some((Ipv4Addr::from(*address), u16::from_be_bytes(*port)).into())
}

fn socket_v6(body: &[u8]) -> Option<SocketAddr> {
    let (address, rest) = body.split_first_chunk::<16>()?;
    let (port, _) = rest.get(16..)?.split_first_chunk::<2>()?;
    Some((Ipv6Addr::from(*address), u16::from_be_bytes(*port)).into())
}

fn version_1(bytes: &[u8]) -> Result<ProxyHeader, BadProxyHeader> {
    let arrived = bytes.get(..bytes.len().min(MAX_LINE)).unwrap_or(bytes);
    let Some(end) = arrived.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        let is_full = arrived.len() == MAX_LINE;
        return if is_full { Err(BadProxyHeader::TooLong) } else { Ok(ProxyHeader::Incomplete) };
    };
    match arrived.get(end..end + 2) {
        Some(b"\r\n") => {}
        None if arrived.get(end) == Some(&b'\r') && arrived.len() < MAX_LINE => {
            return Ok(ProxyHeader::Incomplete);
        }
        _ => return Err(BadProxyHeader::Malformed),
    }
    let line = arrived.get(LINE.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let client = line.and_then(source).ok_or(BadProxyHeader::Malformed)?;
    Ok(ProxyHeader::Complete { length: end + 2, client })
}

/// The source of a line after `PROXY `; `Some(None)` where it is unknown.
fn source(line: &str) -> Option<Option<SocketAddr>> {
    let mut parts = line.split(' ');
    let family = parts.next()?;
    if family == "UNKNOWN" {
        // What follows must be ignored.
        return Some(None);
    }
    let [source, destination] = [parts.next()?, parts.next()?];
    let [source_port, destination_port] = [parts.next()?, parts.next()?];
    let of_family = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => Some(text.parse::<Ipv4Addr>().ok()?.into()),
            "TCP6" => Some(text.parse::<Ipv6Addr>().ok()?.into()),
            _ => None,
        }
    };
    let client = SocketAddr::from((of_family(source)?, port(source_port)?));
    let (_, _) = (of_family(destination)?, port(destination_port)?);
    parts.next().is_none().then_some(Some(client))
}

/// A decimal number without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_number && is_short)
}

#[cfg(test)]
mod tests;
