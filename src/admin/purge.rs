//! `s3proxy purge`: purges objects of a running gateway through its admin listener.

use std::net::SocketAddr;

use crate::admin::request::send;
use crate::s3::encode::decode;

/// The message for a target of another form.
pub const TARGET: &str =
    "the target must be PROFILE@BUCKET/KEY, or PROFILE@BUCKET/PREFIX/ for all objects below it";

/// The target in what an operator copied: an `s3://` name of the log, or a URL of the gateway, whose key is
/// percent-encoded and may be followed by a query.
#[must_use]
pub fn target_of(copied: &str) -> String {
    if let Some(name) = copied.strip_prefix("s3://") {
        return name.to_owned();
    }
    let is_url = copied.starts_with("http://") || copied.starts_with("https://");
    let Some((_, target)) = copied.split_once("/s3/").filter(|_| is_url) else {
        return copied.to_owned();
    };
    let target = target.split(['?', '#']).next().unwrap_or(target);
    let decoded = decode(target.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or_else(|| target.to_owned())
}

/// `profile@bucket/key` of a path of `PURGE`, where an operator wrote the path of another page before it:
/// `/cache/hips@sky/`, or `/s3proxy/s3/hips@sky/`.
pub(super) fn without_page(target: &[u8]) -> &[u8] {
    let names_profile = |target: &[u8]| {
        target.split(|byte| *byte == b'/').next().is_some_and(|first| first.contains(&b'@'))
    };
    if names_profile(target) {
        return target;
    }
    let after_route = target.windows(4).position(|part| part == b"/s3/");
    let after_route = after_route.and_then(|at| target.get(at + 4..));
    let pages = [target.strip_prefix(b"cache/"), after_route];
    pages.into_iter().flatten().find(|rest| names_profile(rest)).unwrap_or(target)
}

/// Purges a target of the gateway with this admin address. Returns its answer.
///
/// # Errors
/// The gateway cannot be reached or refuses.
pub fn purge(admin: SocketAddr, target: &str) -> Result<String, String> {
    let answer = send(admin, "PURGE", "/", target);
    let (status, body) =
        answer.map_err(|error| format!("{target}: no answer from {admin}: {error}"))?;
    if status == "200" { Ok(body) } else { Err(format!("{target}: {status} {body}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `PURGE /cache/hips@sky/` answered 200 and purged nothing.
    #[test]
    fn what_operators_copy_is_understood() {
        for (copied, target) in [
            ("hips@sky/a b.png", "hips@sky/a b.png"),
            ("sky/s3/a.png", "sky/s3/a.png"),
            ("s3://hips@sky/a%20b.png", "hips@sky/a%20b.png"),
            ("https://data.example/s3proxy/s3/hips@sky/a%20b.png?x=1", "hips@sky/a b.png"),
            ("http://h/s3/sky/dir/", "sky/dir/"),
        ] {
            assert_eq!(target_of(copied), target, "{copied}");
        }
        for (path, target) in [
            ("hips@sky/cache/a@b/", "hips@sky/cache/a@b/"),
            ("cache/hips@sky/", "hips@sky/"),
            ("s3proxy/s3/hips@sky/a.png", "hips@sky/a.png"),
            ("cache/a.png", "cache/a.png"),
            ("xs3/a@b/c.png", "xs3/a@b/c.png"),
            ("sky/a@b.png", "sky/a@b.png"),
        ] {
            assert_eq!(without_page(path.as_bytes()), target.as_bytes(), "{path}");
        }
    }
}
