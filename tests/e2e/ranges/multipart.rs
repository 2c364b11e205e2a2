//! `multipart/byteranges` (RFC 9110, section 14.6), parsed strictly by RFC 2046, section 5.1.1.

use crate::client::find;

/// The most characters of a boundary.
const LONGEST_BOUNDARY: usize = 70;

/// One part: its header fields with names in lower case, and its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) headers: Vec<(String, &'a str)>,
    pub(crate) body: &'a [u8],
}

impl Part<'_> {
    /// The one value of a header field.
    pub(crate) fn header(&self, name: &str) -> Result<&str, String> {
        let mut values =
            self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(format!("a part without {name}")),
            (Some(_), Some(_)) => Err(format!("a part with two {name}")),
        }
    }
}

/// The parts of a body. Only an empty line may precede the first boundary, and only an end of line
/// may follow the last one.
pub(crate) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, String> {
    let delimiter = format!("\r\n--{}", boundary(content_type)?);
    let opening = delimiter.trim_start();
    let body = body.strip_prefix(b"\r\n").unwrap_or(body);
    let mut rest = body.strip_prefix(opening.as_bytes()).ok_or("no boundary at the start")?;
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return match end {
                b"" | b"\r\n" => Ok(parts),
                _ => Err(format!("{} bytes after the end", end.len())),
            };
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("a boundary that goes on")?;
        // Every line that looks like the delimiter is one: no part may contain it.
        let end = find(rest, delimiter.as_bytes()).ok_or("a part without an end")?;
        parts.push(part(&rest[..end])?);
        rest = &rest[end + delimiter.len()..];
    }
}

fn boundary(content_type: &str) -> Result<&str, String> {
    let refused = |why: &str| format!("{why}: {content_type}");
    let parameter = content_type
        .strip_prefix("multipart/byteranges;")
        .and_then(|parameters| parameters.trim_start().strip_prefix("boundary="))
        .ok_or_else(|| refused("no multipart/byteranges with a boundary"))?;
    let quoted = parameter.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let text = quoted.unwrap_or(parameter);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    // A value that is not a token must be quoted.
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"'+_-.".contains(&byte);
    let valid = (1..=LONGEST_BOUNDARY).contains(&text.len())
        && text.bytes().all(if quoted.is_some() { fits } else { bare });
    if valid { Ok(text) } else { Err(refused("no boundary")) }
}

fn part(bytes: &[u8]) -> Result<Part<'_>, String> {
    let end = find(bytes, b"\r\n\r\n").ok_or("a part without an empty line")?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|error| error.to_string())?;
    let field = |line| {
        let (name, value) = str::split_once(line, ": ").ok_or(format!("no header: {line:?}"))?;
        Ok((name.to_ascii_lowercase(), value))
    };
    let headers = head.split("\r\n").map(field).collect::<Result<_, String>>()?;
    Ok(Part { headers, body: &bytes[end + 4..] })
}

#[test]
fn whole_multiparts_are_distinguished_from_broken_ones() {
    const TYPE: &str = "multipart/byteranges; boundary=b";
    const HEAD: &str = "Content-Type: image/png\r\nContent-Range: bytes 0-1/9\r\n\r\n";
    let good = format!("--b\r\n{HEAD}ab\r\n--b\r\n{HEAD}\r\n\r\n--b--\r\n");
    let found = parts(TYPE, good.as_bytes()).expect("two parts");
    assert_eq!(found.iter().map(|part| part.body).collect::<Vec<_>>(), [&b"ab"[..], b"\r\n"]);
    assert_eq!(found[0].header("content-range"), Ok("bytes 0-1/9"));
    assert!(found[0].header("etag").is_err());
    assert!(parts("multipart/byteranges; boundary=\"b\"", good.as_bytes()).is_ok());
    assert!(parts(TYPE, format!("\r\n{}", good.trim_end()).as_bytes()).is_ok());
    for (content_type, body) in [
        ("image/png", good.clone()),
        ("multipart/mixed; boundary=b", good.clone()),
        ("multipart/byteranges; boundary=", good.clone()),
        ("multipart/byteranges; boundary=c", good.clone()),
        ("multipart/byteranges; boundary=b c", good.replace("--b", "--b c")),
        (TYPE, String::new()),
        (TYPE, format!("x{good}")),
        (TYPE, format!("{good}x")),
        (TYPE, good.replace("--b--", "--b")),
        (TYPE, good.replace("--b\r\nC", "--bb\r\nC")),
        (TYPE, good.replace("\r\n\r\nab", "\r\nab")),
        (TYPE, good.trim_end_matches("--\r\n").to_owned()),
    ] {
        assert!(parts(content_type, body.as_bytes()).is_err(), "{content_type}\n{body}");
    }
}
