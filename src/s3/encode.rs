//! Percent-encoding of paths: decodes the client's path once, and encodes the path that AWS signs.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
//! (`UriEncode`); RFC 3986, section 2.1.

/// A `%` that is not followed by two hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidEscape;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `bytes` to `out` with everything but `A-Z a-z 0-9 - . _ ~ /` percent-encoded in upper
/// case, as Signature Version 4 requires for the path of an object.
pub fn encode_path(bytes: &[u8], out: &mut String) {
    encode(bytes, true, out);
}

/// Appends `bytes` to `out` as [`encode_path`] does, slashes encoded as well: Signature Version 4
/// requires it for the names and values of a query.
pub fn encode_query(bytes: &[u8], out: &mut String) {
    encode(bytes, false, out);
}

fn encode(bytes: &[u8], keeps_slash: bool, out: &mut String) {
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b'/' if keeps_slash => out.push('/'),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 0x0f] {
                    out.push(HEX.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit)));
                }
            }
        }
    }
}

/// Decodes every `%XX` exactly once. `+` remains a plus.
///
/// # Errors
/// When a `%` is not followed by two hexadecimal digits.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, InvalidEscape> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let [high, low, tail @ ..] = tail else { return Err(InvalidEscape) };
            out.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
            rest = tail;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    Ok(out)
}

fn hex_digit(byte: u8) -> Result<u8, InvalidEscape> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(InvalidEscape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut out = String::new();
        encode_path(bytes, &mut out);
        out
    }

    #[test]
    fn every_byte_outside_the_unreserved_set_is_encoded_in_upper_case() {
        for byte in 0..=255u8 {
            let expected = if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            };
            assert_eq!(encoded(&[byte]), expected);
        }
    }

    #[test]
    fn a_query_has_no_raw_slash() {
        let mut out = String::new();
        encode_query("a/b &=é".as_bytes(), &mut out);
        assert_eq!(out, "a%2Fb%20%26%3D%C3%A9");
    }

    #[test]
    fn decoding_happens_once() {
        for (text, bytes) in [
            ("a%2541", "a%41"),
            ("a+b", "a+b"),
            ("a%2Bb", "a+b"),
            ("x%2fy", "x/y"),
            ("%C3%A9", "é"),
            ("tab%09x", "tab\tx"),
            ("", ""),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Ok(bytes.as_bytes()), "{text}");
        }
    }

    #[test]
    fn an_escape_needs_two_hexadecimal_digits() {
        for text in ["%", "%4", "%zz", "%+1", "%-1", "% 1", "a%4", "%%41", "%4g", "100%"] {
            assert_eq!(decode(text.as_bytes()), Err(InvalidEscape), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(encoded(&bytes).as_bytes()), Ok(bytes));
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
