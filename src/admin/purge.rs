//! `s3proxy purge`: purges objects of a running gateway through its admin listener.

use serde_json::Value;

use crate::admin::replicas::Replica;
use crate::admin::request::send;
use crate::s3::encode::decode;
use crate::terminal::escaped;

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

/// Purges a target of one process. Returns its answer.
///
/// # Errors
/// The process cannot be reached or refuses.
pub fn purge(replica: &Replica, target: &str) -> Result<String, String> {
    let answer = send(&replica.addresses, "PURGE", "/", target);
    let (status, body) =
        answer.map_err(|error| format!("{target}: no answer from {}: {error}", replica.label))?;
    if status == "200" { Ok(body) } else { Err(format!("{target}: {status} {body}")) }
}

/// What an answer says, in words: the object, and what was removed of it.
#[must_use]
pub fn removed(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let purged = answer.get("purged").and_then(Value::as_str).unwrap_or("an unknown object");
    let number = |name: &str| answer.pointer(&format!("/removed/{name}")).and_then(Value::as_u64);
    let below = answer.get("below").and_then(Value::as_bool).unwrap_or_default();
    let mut text = escaped(purged);
    if below {
        text.push_str(" and all objects below it");
    }
    // An older gateway says nothing about it.
    let Some(memory) = number("memory") else { return text };
    text.push_str(&format!(": removed {memory} from memory"));
    if let Some(blocks) = number("blocks").filter(|blocks| *blocks > 0) {
        text.push_str(&format!(" and {blocks} blocks"));
    }
    match (number("disk"), answer.pointer("/removed/complete").and_then(Value::as_bool)) {
        (Some(disk), _) => text.push_str(&format!(", {disk} from disk")),
        (None, Some(false)) => {
            text.push_str("; the rest is being removed, and not served any more");
        }
        (None, _) => {}
    }
    text
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

    #[test]
    fn an_answer_says_what_was_removed() {
        for (answer, text) in [
            (
                r#"{"purged":"s3://a@b/c","below":false,"removed":{"memory":1,"blocks":0,"disk":null,"complete":true}}"#,
                "s3://a@b/c: removed 1 from memory",
            ),
            (
                r#"{"purged":"s3://b/c/","below":true,"removed":{"memory":7,"blocks":3,"disk":12,"complete":true}}"#,
                "s3://b/c/ and all objects below it: removed 7 from memory and 3 blocks, 12 from disk",
            ),
            (
                r#"{"purged":"s3://b/c","below":false,"removed":{"memory":0,"blocks":0,"disk":null,"complete":false}}"#,
                "s3://b/c: removed 0 from memory; the rest is being removed, and not served any more",
            ),
            (r#"{"purged":"s3://b/\u001b[2J","below":false}"#, "s3://b/\\u{1b}[2J"),
            ("?", "an unknown object"),
        ] {
            assert_eq!(removed(answer), text, "{answer}");
        }
    }
}
