//! IP networks in the notation of CIDR: `10.0.0.0/8`, `fd00::/8` (RFC 4632, section 3.1; RFC 4291, section 2.3).

use std::fmt;
use std::net::IpAddr;

/// A network; a single address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `ADDRESS/PREFIX` or `ADDRESS`. Bits of the address beyond the prefix do not count. `None` for
    /// anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= longest)?
            }
            Some(_) => return None,
        };
        // Addresses are compared in their IPv4 form.
        match (address.to_canonical(), prefix.checked_sub(96)) {
            (short @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => {
                Some(Self { address: short, prefix })
            }
            _ => Some(Self { address, prefix }),
        }
    }

    /// Whether the address is in the network. An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) is
    /// the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (address.to_canonical(), self.address) {
            (IpAddr::V4(address), IpAddr::V4(network)) => {
                let hidden = 32_u32.saturating_sub(u32::from(self.prefix));
                let mask = u32::MAX.checked_shl(hidden).unwrap_or(0);
                address.to_bits() & mask == network.to_bits() & mask
            }
            (IpAddr::V6(address), IpAddr::V6(network)) => {
                let hidden = 128_u32.saturating_sub(u32::from(self.prefix));
                let mask = u128::MAX.checked_shl(hidden).unwrap_or(0);
                address.to_bits() & mask == network.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_the_addresses_below_them() {
        for (network, address, contains) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.9.9.9/8", "10.0.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "11.1.1.1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.9", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
        ] {
            let parsed = Network::parse(network).expect(network);
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(parsed.contains(address), contains, "{network} {address}");
        }
    }

    #[test]
    fn anything_else_is_no_network() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/129",
            "a/8",
            "10.0.0.0/8/8",
            "[::1]",
            " 10.0.0.1",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
        assert_eq!(
            Network::parse("fd00::/8").map(|it| it.to_string()).as_deref(),
            Some("fd00::/8")
        );
    }
}
