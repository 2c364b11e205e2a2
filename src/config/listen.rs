//! The addresses of listeners. Each may say how its connections begin.

use std::fmt;
use std::net::SocketAddr;

use serde_yaml::Value;

use crate::config::layers::Layers;
use crate::config::settings::gateway::gateway;
use crate::config::settings::process::admin;
use crate::config::settings::row::Row;
use crate::config::settings::tls::tls;
use crate::config::value::{Written, address, all, items, optional, text};

/// The word after an address whose connections begin with a header of the PROXY protocol, as in nginx.
const PROXY_PROTOCOL: &str = "proxy_protocol";
/// The word after an address without TLS whose clients may begin with HTTP/2 (prior knowledge, RFC 9113, section
/// 3.3).
const HTTP2: &str = "http2";

/// Where connections are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
    /// Each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// A connection may be of HTTP/2, as its first bytes say.
    pub http2: bool,
}

impl Listen {
    /// Accepts plain connections, without a header before them.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, proxy_protocol: false, http2: false }
    }

    /// The words after its port; empty without any.
    #[must_use]
    pub fn words(&self) -> String {
        let words = [(self.proxy_protocol, PROXY_PROTOCOL), (self.http2, HTTP2)];
        let words: Vec<_> =
            words.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect();
        words.join(" ")
    }

    /// Reads one address. A mistake is shown with the value of the setting; unless it `is_one`, with the address, too.
    fn parse(text: &str, is_one: bool) -> Result<Self, String> {
        let (place, options) = text.split_once(' ').unwrap_or((text, ""));
        let (mut proxy_protocol, mut http2) = (false, false);
        for word in options.split_ascii_whitespace() {
            match word {
                PROXY_PROTOCOL => proxy_protocol = true,
                HTTP2 => http2 = true,
                _ => {
                    return Err(format!(
                        "may have the words {PROXY_PROTOCOL} and {HTTP2} after a port, not {word:?}"
                    ));
                }
            }
        }
        let address = address(Written::Text(place));
        let named = |message| if is_one { message } else { format!("{message}, not {place:?}") };
        Ok(Self { address: address.map_err(named)?, proxy_protocol, http2 })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words();
        let space = if words.is_empty() { "" } else { " " };
        write!(f, "{}{space}{words}", self.address)
    }
}

/// One or several addresses, each once.
pub(super) fn addresses(written: Written<'_>) -> Result<Vec<Listen>, String> {
    let all = each_once(written)?;
    if all.is_empty() { Err("must name at least one address and port".to_owned()) } else { Ok(all) }
}

/// The same, or none: `off`, or nothing.
pub(super) fn optional_addresses(written: Written<'_>) -> Result<Vec<Listen>, String> {
    match text(written).as_deref() {
        Ok("" | "off") => Ok(Vec::new()),
        _ => {
            let all = optional(written, each_once);
            if all.as_ref().is_ok_and(|all| all.iter().flatten().any(|listen| listen.http2)) {
                return Err(format!("needs no {HTTP2}: clients of TLS choose it, see tls.http2"));
            }
            let or_off = if is_one(written) { ", or off" } else { "" };
            let all = all.map_err(|message| message + or_off)?;
            Ok(all.unwrap_or_default())
        }
    }
}

/// Whether the value is no list.
fn is_one(written: Written<'_>) -> bool {
    match written {
        Written::Text(text) => {
            let is_json = text.trim_start().starts_with('[') && !begins_with_address(text);
            !is_json && !text.contains(',')
        }
        Written::Yaml(value) => !value.is_sequence(),
    }
}

fn each_once(written: Written<'_>) -> Result<Vec<Listen>, String> {
    let mut seen: Vec<SocketAddr> = Vec::new();
    let is_one = is_one(written);
    let mut read = |text: String| {
        let listen = Listen::parse(text.trim(), is_one)?;
        if seen.contains(&listen.address) {
            return Err(format!("must name {} once", listen.address));
        }
        seen.push(listen.address);
        Ok(listen)
    };
    all(texts(written)?.into_iter().map(|text| read(text?)))
}

/// The texts of the addresses, or what is wrong with each.
fn texts(written: Written<'_>) -> Result<Vec<Result<String, String>>, String> {
    match written {
        // A variable: the brackets of IPv6 are no list.
        Written::Text(text) if begins_with_address(text) => {
            Ok(text.split(',').map(|text| Ok(text.to_owned())).collect())
        }
        // A port alone: its mistake is the missing host, and not that it is a number of YAML.
        Written::Yaml(Value::Number(port)) => Ok(vec![Ok(port.to_string())]),
        _ => items(written),
    }
}

/// Whether a text begins with an IPv6 address, `[::1]:80`, and not with a JSON list.
fn begins_with_address(text: &str) -> bool {
    let in_brackets = text.trim_start().strip_prefix('[').map(str::trim_start);
    in_brackets.is_some_and(|rest| rest.starts_with(|c: char| c == ':' || c.is_ascii_hexdigit()))
}

/// As they are shown: one, a list, or `off`.
pub(super) fn shown(all: &[Listen]) -> String {
    match all {
        [] => "off".to_owned(),
        [one] => one.to_string(),
        several => {
            let texts: Vec<String> = several.iter().map(Listen::to_string).collect();
            serde_json::to_string(&texts).unwrap_or_default()
        }
    }
}

/// What listens at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Plain,
    Tls,
    Admin,
}

/// An address of a setting.
#[derive(Debug)]
struct Claim {
    row: Row,
    side: Side,
    listen: Listen,
    /// The words after its port can be read: without them it is not known how its connections begin.
    is_whole: bool,
}

impl Claim {
    /// The addresses of a setting. Of one that cannot be read as a whole, those that can: its mistake hides no
    /// mistake of another address.
    fn all(layers: &Layers<'_>, row: Row, side: Side, read: &[Listen]) -> Vec<Self> {
        let claim = |(listen, is_whole)| Self { row, side, listen, is_whole };
        if !layers.report.is_unread(row.path) {
            return read.iter().map(|listen| claim((*listen, true))).collect();
        }
        let texts = layers.last_written(&row).and_then(|written| texts(written).ok());
        let mut claims: Vec<Self> = Vec::new();
        for text in texts.into_iter().flatten().flatten() {
            let place = text.trim().split(' ').next().unwrap_or_default();
            let whole = Listen::parse(text.trim(), true).map(|listen| (listen, true));
            let address = || address(Written::Text(place)).map(|it| (Listen::plain(it), false));
            let Ok(found) = whole.or_else(|_| address()) else { continue };
            // One that is there twice is reported as such.
            if claims.iter().all(|claim| claim.listen.address != found.0.address) {
                claims.push(claim(found));
            }
        }
        claims
    }

    /// Why both cannot be; `None` if they can.
    fn conflict(&self, other: &Self) -> Option<&'static str> {
        const KIND: &str = ": the port says how a connection begins";
        const OVERLAP: &str = ": one includes the other";
        let (own, its) = (self.listen.address, other.listen.address);
        if own.port() != its.port() {
            return None;
        }
        let sides = [self.side, other.side];
        let is_another_kind = self.is_whole && other.is_whole && self.begins() != other.begins();
        match sides {
            _ if self.side != other.side && sides.contains(&Side::Tls) => Some(KIND),
            [Side::Admin, _] | [_, Side::Admin] => {
                let is_any = own.ip().is_unspecified() || its.ip().is_unspecified();
                (own.port() != 0 && (is_any || own.ip() == its.ip())).then_some("")
            }
            _ if is_another_kind => Some(KIND),
            _ => overlap(own, its).then_some(OVERLAP),
        }
    }

    /// How its connections begin, besides TLS, whose clients choose HTTP/2 later.
    fn begins(&self) -> (bool, bool) {
        (self.listen.proxy_protocol, self.listen.http2 && self.side != Side::Tls)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.row.path, self.listen)
    }
}

/// Reports listeners that need different ports: the port tells the gateway how a connection begins. Where
/// `nobody_is_trusted` also those with the PROXY protocol: they would close every connection.
pub(super) fn check(
    layers: &mut Layers<'_>,
    (plain, with_tls): (&[Listen], &[Listen]),
    of_admin: Option<SocketAddr>,
    nobody_is_trusted: bool,
) {
    let of_admin: Vec<_> = of_admin.map(Listen::plain).into_iter().collect();
    let claims: Vec<Claim> = [
        (tls::listen().row, Side::Tls, with_tls),
        (gateway::listen().row, Side::Plain, plain),
        (admin::listen().row, Side::Admin, &of_admin),
    ]
    .into_iter()
    .flat_map(|(row, side, read)| Claim::all(layers, row, side, read))
    .collect();
    for (at, one) in claims.iter().enumerate() {
        for other in claims.iter().skip(at + 1) {
            if let Some(why) = one.conflict(other) {
                let message = format!("{one} and {other} need different ports{why}");
                layers.report.problem_of_two(&one.row, &other.row, &message);
            }
        }
    }
    for claim in claims.iter().filter(|it| nobody_is_trusted && it.listen.proxy_protocol) {
        let trusted = gateway::trusted_proxies().row;
        let message = format!(
            "{claim} needs {}: only those may send a header of the PROXY protocol",
            trusted.path
        );
        layers.report.problem_of_two(&trusted, &claim.row, &message);
    }
}

/// Whether one of two addresses with the same port includes the other: both cannot be bound. `[::]` and `0.0.0.0` are
/// two: the first leaves IPv4 to the second.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.is_ipv4() == other.is_ipv4() && (is_any || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_include_another_one_of_its_family() {
        for (one, other, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "[::]:80", false),
            ("127.0.0.1:80", "[::]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
        ] {
            let address = |text: &str| text.parse().expect("an address");
            assert_eq!(overlap(address(one), address(other)), expected, "{one} {other}");
            assert_eq!(overlap(address(other), address(one)), expected, "{other} {one}");
        }
    }

    fn read(text: &str) -> Result<String, String> {
        addresses(Written::Text(text)).map(|all| shown(&all))
    }

    #[test]
    fn several_addresses_are_read_and_shown() {
        for (text, expected) in [
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("localhost:80", "127.0.0.1:80"),
            ("[::]:8080", "[::]:8080"),
            ("[fd00::1]:8080,[::1]:80", "[\"[fd00::1]:8080\",\"[::1]:80\"]"),
            ("0.0.0.0:8081 proxy_protocol", "0.0.0.0:8081 proxy_protocol"),
            (
                "127.0.0.1:8080, [::1]:8081  proxy_protocol ",
                "[\"127.0.0.1:8080\",\"[::1]:8081 proxy_protocol\"]",
            ),
            ("[\"127.0.0.1:8080\"]", "127.0.0.1:8080"),
            ("127.0.0.1:8080 http2", "127.0.0.1:8080 http2"),
            ("127.0.0.1:8080 http2 proxy_protocol", "127.0.0.1:8080 proxy_protocol http2"),
        ] {
            let shown = read(text).expect(text);
            assert_eq!(shown, expected);
            assert_eq!(read(&shown).as_deref(), Ok(expected), "as it is shown");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, mentions) in [
            ("", "must"),
            ("[]", "at least one"),
            ("8080", "an IP address or localhost, and a port"),
            ("0.0.0.0:80 proxy-protocol", "the words proxy_protocol and http2"),
            ("0.0.0.0:80 proxy", "after a port, not \"proxy\""),
            ("0.0.0.0:80,8081,8082", "[::]:8080, not \"8081\"\nmust"),
            ("[\"0.0.0.0:80\", \"8082\"]", ", not \"8082\""),
            ("0.0.0.0:80 proxy_protocol ssl", "the words proxy_protocol and http2"),
            ("127.0.0.1:80,localhost:80", "127.0.0.1:80 once"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(mentions), "{text}: {error}");
        }
        // A number in YAML was asked to be a list of texts.
        let port: Value = serde_yaml::from_str("8080").expect("YAML");
        for read in [addresses, optional_addresses] {
            let error = read(Written::Yaml(&port)).expect_err("no address");
            assert!(error.contains("and a port, such as 0.0.0.0:8080"), "{error}");
        }
        for off in ["off", ""] {
            assert_eq!(optional_addresses(Written::Text(off)), Ok(Vec::new()));
        }
        let error = optional_addresses(Written::Text("of")).expect_err("no address");
        assert!(error.ends_with("[::]:8080, or off"), "{error}");
        let error = optional_addresses(Written::Text("127.0.0.1:1,of")).expect_err("no address");
        assert!(error.ends_with(", not \"of\""), "{error}");
        let error = optional_addresses(Written::Text("127.0.0.1:1 http2")).expect_err("for TLS");
        assert!(error.contains("needs no http2"), "{error}");
    }
}
