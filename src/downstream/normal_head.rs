//! The normal form of a request head, which both the direct road and Pingora read: the target in origin form,
//! with the bytes encoded that Pingora refuses, and `Host` as the target says. Bytes in, bytes out.

use crate::protocol::request_check::{absolute_form, is_host_header};

/// The same head in normal form; `None` if it is in normal form already, or is refused as it is.
///
/// A target in absolute form names the host, and `Host` is ignored (RFC 9112, section 3.2.2). A missing,
/// repeated or invalid `Host` stays what it is, and is refused.
pub(super) fn normal(head: &[u8]) -> Option<Vec<u8>> {
    let start = memchr::memchr(b' ', head)? + 1;
    let length = memchr::memchr2(b' ', b'\n', head.get(start..)?)?;
    let (before, rest) = head.split_at_checked(start)?;
    let (target, after) = rest.split_at_checked(length)?;
    let absolute = match target.first() {
        Some(b'/') | None => None,
        Some(_) => absolute_form(target),
    };
    if absolute.is_none() && !target.iter().any(|byte| matches!(byte, b'<' | b'>' | b'"' | b'`')) {
        return None;
    }
    let mut normal = Vec::with_capacity(head.len() + 16);
    normal.extend_from_slice(before);
    let path = absolute.map_or(target, |(_, path)| path);
    if absolute.is_some() && path.first() != Some(&b'/') {
        normal.push(b'/');
    }
    encode(path, &mut normal);
    match absolute {
        None => normal.extend_from_slice(after),
        Some((authority, _)) => replace_host(after, authority, &mut normal),
    }
    (normal != head).then_some(normal)
}

/// Percent-encodes what Pingora's parser refuses: `<` and `>`, a grave accent in the path, a quotation mark in
/// the query. They name the same key as their encoded form.
fn encode(target: &[u8], into: &mut Vec<u8>) {
    let mut in_query = false;
    for byte in target {
        in_query |= *byte == b'?';
        match byte {
            b'<' => into.extend_from_slice(b"%3C"),
            b'>' => into.extend_from_slice(b"%3E"),
            b'`' if !in_query => into.extend_from_slice(b"%60"),
            b'"' if in_query => into.extend_from_slice(b"%22"),
            byte => into.push(*byte),
        }
    }
}

/// Copies the rest of a head, from the end of the target on, with the value of `Host` replaced.
fn replace_host(rest: &[u8], authority: &[u8], into: &mut Vec<u8>) {
    let lines = || rest.split_inclusive(|byte| *byte == b'\n');
    let mut hosts = lines().skip(1).filter_map(host_of);
    let is_one = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host_header(host),
        // HTTP/1.0 requires none.
        (None, _) => {
            let (version, fields) = rest.split_at(lines().next().map_or(0, <[u8]>::len));
            into.extend_from_slice(version);
            if version.trim_ascii() == b"HTTP/1.0" {
                into.extend_from_slice(b"Host: ");
                into.extend_from_slice(authority);
                into.extend_from_slice(b"\r\n");
            }
            return into.extend_from_slice(fields);
        }
        (Some(_), Some(_)) => false,
    };
    for (number, line) in lines().enumerate() {
        if number > 0 && is_one && host_of(line).is_some() {
            into.extend_from_slice(b"Host: ");
            into.extend_from_slice(authority);
            into.extend_from_slice(b"\r\n");
        } else {
            into.extend_from_slice(line);
        }
    }
}

/// The value of a line with the field `Host`.
fn host_of(line: &[u8]) -> Option<&[u8]> {
    let (name, value) = line.split_at_checked(5)?;
    name.eq_ignore_ascii_case(b"host:").then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(head: &str) -> Option<String> {
        normal(head.as_bytes()).map(|head| String::from_utf8(head).expect("UTF-8"))
    }

    #[test]
    fn a_head_in_normal_form_is_left_alone() {
        for head in [
            "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a\"\\^{|}b?`{ HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /\r\n\r\n",
            "",
        ] {
            assert_eq!(text(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_target_in_absolute_form_becomes_its_path_and_names_the_host() {
        for (target, host, path, authority) in [
            ("http://h/a?b", "h", "/a?b", "h"),
            ("HTTP://X:80/a", "h", "/a", "X:80"),
            ("https://h", "other:8080", "/", "h"),
            ("http://h?b", "h", "/?b", "h"),
            ("http://[::1]:80/<", "h", "/%3C", "[::1]:80"),
            ("http://h/a", "", "/a", "h"),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nA: 1\r\nhOst:{host}\r\nB: 2\r\n\r\n");
            let expected =
                format!("GET {path} HTTP/1.1\r\nA: 1\r\nHost: {authority}\r\nB: 2\r\n\r\n");
            assert_eq!(text(&head), Some(expected), "{target}");
        }
    }

    #[test]
    fn a_missing_repeated_or_invalid_host_stays_what_it_is() {
        for (rest, expected) in [
            ("HTTP/1.1\r\n\r\n", "HTTP/1.1\r\n\r\n"),
            ("HTTP/1.0\r\nA: 1\r\n\r\n", "HTTP/1.0\r\nHost: x\r\nA: 1\r\n\r\n"),
            ("HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            ("HTTP/1.1\r\nHost: a/b\r\n\r\n", "HTTP/1.1\r\nHost: a/b\r\n\r\n"),
            ("HTTP/1.1\r\nX-Host: a\r\n\r\n", "HTTP/1.1\r\nX-Host: a\r\n\r\n"),
        ] {
            let head = text(&format!("GET http://x/ {rest}"));
            assert_eq!(head, Some(format!("GET / {expected}")), "{rest:?}");
        }
    }

    #[test]
    fn bytes_that_pingora_refuses_are_encoded() {
        for (target, expected) in
            [("/a<b>`c", "/a%3Cb%3E%60c"), ("/a\"?b=\"`<", "/a\"?b=%22`%3C"), ("/%3C<", "/%3C%3C")]
        {
            let head = text(&format!("GET {target} HTTP/1.1\r\nHost: <\r\n\r\n"));
            assert_eq!(head, Some(format!("GET {expected} HTTP/1.1\r\nHost: <\r\n\r\n")));
        }
        let latin = normal(b"GET /\xe4< HTTP/1.1\r\n\r\n");
        assert_eq!(latin.as_deref(), Some(&b"GET /\xe4%3C HTTP/1.1\r\n\r\n"[..]));
    }
}
