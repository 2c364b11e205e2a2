//! `Connection`: its options, and whether a connection stays open (RFC 9110, section 7.6.1; RFC 9112, section 9.3).

use http::header::CONNECTION;
use http::{HeaderMap, Version};

/// Whether `Connection` has this option, or names this field: it belongs to the connection then, and is not forwarded.
#[must_use]
pub fn has_option(headers: &HeaderMap, name: &str) -> bool {
    let mut all = headers.get_all(CONNECTION).iter().flat_map(|line| options(line.as_bytes()));
    all.any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

/// The options in the value of `Connection`.
pub fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options.filter(|option| !option.is_empty())
}

/// Whether the client wants a connection to stay open after its request.
#[must_use]
pub fn keeps_open(version: Version, headers: &HeaderMap) -> bool {
    let is_default = version == Version::HTTP_11;
    !has_option(headers, "close") && (is_default || has_option(headers, "keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::headers_of;

    #[test]
    fn options_are_found_in_lists_and_in_several_lines() {
        for (lines, old, new) in [
            (&[][..], false, true),
            (&["keep-alive"], true, true),
            (&["foo, Keep-Alive"], true, true),
            (&["foo", "keep-alive"], true, true),
            (&["Keep-Alive,foo"], true, true),
            (&[", keep-alive\t,"], true, true),
            (&["foo"], false, true),
            (&["not-keep-alive"], false, true),
            (&["keep-alive, close"], false, false),
            (&["foo,CLOSE"], false, false),
            (&["foo", "close"], false, false),
            (&["upgrade"], false, true),
            (&["keep-alive; timeout=5"], false, true),
        ] {
            let pairs: Vec<_> = lines.iter().map(|line| ("connection", *line)).collect();
            let headers = headers_of(&pairs);
            assert_eq!(keeps_open(Version::HTTP_10, &headers), old, "{lines:?}");
            assert_eq!(keeps_open(Version::HTTP_11, &headers), new, "{lines:?}");
        }
    }
}
