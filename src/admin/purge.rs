//! `s3proxy purge`: purges objects of a running gateway through its admin listener.

use serde_json::Value;

use crate::admin::replicas::Replica;
use crate::admin::request::send;
use crate::cache::ReplicaReport;
use crate::profile::DEFAULT_LABEL;
use crate::s3::encode::decode;
use crate::terminal::escaped;

/// The message for a target of another form.
pub const TARGET: &str =
    "the target must be PROFILE@BUCKET/KEY, or PROFILE@BUCKET/PREFIX/ for all objects below it";

/// The target in what an operator copied: an `s3://` name of the log, or a URL of the gateway or its path,
/// whose key is percent-encoded and may be followed by a query.
#[must_use]
pub fn target_of(copied: &str) -> String {
    if let Some(name) = copied.strip_prefix("s3://") {
        return name.to_owned();
    }
    let path = match copied.split_once("://") {
        Some(("http" | "https", rest)) => rest.find('/').and_then(|at| rest.get(at..)),
        _ => copied.starts_with('/').then_some(copied),
    };
    let Some((_, target)) = path.and_then(|path| path.split_once("/s3/")) else {
        let inspected = copied.trim_start_matches('/').strip_prefix("cache/");
        let names_profile = |rest: &&str| rest.split('/').next().is_some_and(|it| it.contains('@'));
        return inspected.filter(names_profile).unwrap_or(copied).to_owned();
    };
    let target = target.split(['?', '#']).next().unwrap_or(target);
    let decoded = decode(target.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or_else(|| target.to_owned())
}

/// `profile@bucket/key` of a path of the admin listener, where an operator wrote the path of another page
/// before it: `/cache/hips@sky/`, `/s3proxy/s3/hips@sky/`, or an `s3://` name. `prefix` is that of the
/// public routes.
///
/// # Errors
/// What to write, if the path of a page stands before a bucket without `profile@`: the first part may be
/// the name of a bucket as well, of which nothing would be purged.
pub(super) fn without_page<'a>(target: &'a [u8], prefix: &str) -> Result<&'a [u8], String> {
    let names_profile = |target: &[u8]| {
        let first = target.split(|byte| *byte == b'/').next().unwrap_or_default();
        first.contains(&b'@') || first.windows(3).any(|escape| escape == b"%40")
    };
    if names_profile(target) {
        return Ok(target);
    }
    if let Some(name) = target.strip_prefix(b"s3://") {
        return Ok(name);
    }
    let after_route = target.windows(4).position(|part| part == b"/s3/");
    let after_route = after_route.and_then(|at| target.get(at + 4..));
    let after_cache = target.strip_prefix(b"cache/");
    let pages = [after_cache, after_route];
    if let Some(rest) = pages.into_iter().flatten().find(|rest| names_profile(rest)) {
        return Ok(rest);
    }
    let route = [prefix.trim_start_matches('/').as_bytes(), b"s3/"];
    let route = route.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b'/');
    let page = after_cache.or_else(|| target.strip_prefix(route.as_slice()));
    match page {
        None => Ok(target),
        Some(rest) => Err(format!(
            "leave out the path of the page: write /{DEFAULT_LABEL}@{}, or /{DEFAULT_LABEL}@{} if the name \
             of the bucket is the first part",
            String::from_utf8_lossy(rest),
            String::from_utf8_lossy(target)
        )),
    }
}

/// What the log says of a purge that not all replicas obey.
pub(super) fn not_everywhere(name: &str, replicas: &ReplicaReport) -> String {
    let name = escaped(name);
    if replicas.recorded {
        let missing = escaped(&replicas.missing.join(", "));
        format!(
            "purge of {name}: these replicas did not confirm it, and obey as soon as they reach the engine \
             of the shared cache again: {missing}"
        )
    } else {
        format!(
            "purge of {name}: the engine of the shared cache cannot be reached: other replicas obey when \
             this one reaches it again; purge each of them with --replicas"
        )
    }
}

/// What an answer says of replicas that share a tier and do not obey; `None` if all do.
#[must_use]
pub fn not_obeyed(answer: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let replicas = answer.get("replicas")?;
    if replicas.get("recorded") != Some(&Value::Bool(true)) {
        return Some(
            "purged in this replica alone: the engine of the shared cache cannot be reached; purge each \
             replica with --replicas"
                .to_owned(),
        );
    }
    let missing = replicas.get("missing").and_then(Value::as_array)?;
    let names: Vec<&str> = missing.iter().filter_map(Value::as_str).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "not confirmed by {}, which obey as soon as they reach the engine of the shared cache",
            names.join(", ")
        )
    })
}

/// Purges a target of one process. Returns its answer.
///
/// # Errors
/// The process cannot be reached or refuses.
pub fn purge(replica: &Replica, target: &str) -> Result<String, String> {
    let answer = send(replica, "PURGE", "/", target);
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
    if let Some(member) = answer.get("member").and_then(Value::as_str) {
        text.push_str(&format!(", the archive of {}", escaped(member)));
    }
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
    if let Some(replicas) = answer.get("replicas") {
        text.push_str(&obeyed(replicas));
    }
    text
}

/// Which of the replicas that share a tier obey, in words.
fn obeyed(replicas: &Value) -> String {
    let list =
        |name: &str| replicas.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (obeyed, missing) = (list("obeyed"), list("missing"));
    if replicas.get("recorded") != Some(&Value::Bool(true)) {
        return "; not recorded for the replicas that share the cache".to_owned();
    }
    let all = obeyed.len() + missing.len();
    let mut text = format!("; {} of {all} replicas obey", obeyed.len());
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().filter_map(Value::as_str).map(escaped).collect();
        text.push_str(&format!(", not {}", names.join(", ")));
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
            ("https://s3/s3proxy/s3/sky/dir/", "sky/dir/"),
            ("/s3proxy/s3/hips@sky/a%20b.png", "hips@sky/a b.png"),
            ("https://data.example/other", "https://data.example/other"),
            ("/cache/hips@sky/", "hips@sky/"),
            ("cache/a.png", "cache/a.png"),
        ] {
            assert_eq!(target_of(copied), target, "{copied}");
        }
        for (path, target) in [
            ("hips@sky/cache/a@b/", "hips@sky/cache/a@b/"),
            ("cache/hips@sky/", "hips@sky/"),
            ("s3://hips@sky/a.png", "hips@sky/a.png"),
            ("s3proxy/s3/hips@sky/a.png", "hips@sky/a.png"),
            ("xs3/a@b/c.png", "xs3/a@b/c.png"),
            ("sky/a@b.png", "sky/a@b.png"),
            ("default@cache/a.png", "default@cache/a.png"),
            ("cache/hips%40sky/a.png", "hips%40sky/a.png"),
        ] {
            assert_eq!(without_page(path.as_bytes(), "/s3proxy"), Ok(target.as_bytes()), "{path}");
        }
        assert_eq!(without_page(b"s3proxy/s3/a", "/other"), Ok(&b"s3proxy/s3/a"[..]));
        for (path, prefix) in
            [("cache/sky/", "/s3proxy"), ("s3proxy/s3/sky/", "/s3proxy"), ("s3/sky/", "")]
        {
            let said = without_page(path.as_bytes(), prefix).expect_err("ambiguous");
            assert!(said.contains("/default@sky/,"), "{path}: {said}");
            assert!(said.contains(&format!("/default@{path} if")), "{path}: {said}");
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
            (
                r#"{"purged":"s3://b/c","removed":{"memory":1,"complete":true},"replicas":{"recorded":true,"obeyed":["a/1","b/1"],"missing":["c/1"]}}"#,
                "s3://b/c: removed 1 from memory; 2 of 3 replicas obey, not c/1",
            ),
            (
                r#"{"purged":"s3://b/c","removed":{"memory":1,"complete":true},"replicas":{"recorded":false,"obeyed":[],"missing":[]}}"#,
                "s3://b/c: removed 1 from memory; not recorded for the replicas that share the cache",
            ),
            (
                r#"{"purged":"s3://b/a.zip","member":"s3://b/a.zip/c","below":false,"removed":{"memory":1,"blocks":2,"complete":true}}"#,
                "s3://b/a.zip, the archive of s3://b/a.zip/c: removed 1 from memory and 2 blocks",
            ),
            (r#"{"purged":"s3://b/\u001b[2J","below":false}"#, "s3://b/\\u{1b}[2J"),
            ("?", "an unknown object"),
        ] {
            assert_eq!(removed(answer), text, "{answer}");
        }
    }

    /// The exit code was 1, and standard error was empty.
    #[test]
    fn replicas_that_do_not_obey_are_named() {
        for (replicas, part) in [
            (
                r#"{"recorded":false,"obeyed":[],"missing":[]}"#,
                Some("cannot be reached; purge each"),
            ),
            (r#"{"recorded":true,"obeyed":["a/1"],"missing":["b/1"]}"#, Some("confirmed by b/1")),
            (r#"{"recorded":true,"obeyed":["a/1"],"missing":[]}"#, None),
        ] {
            let said = not_obeyed(&format!(r#"{{"purged":"s3://b/c","replicas":{replicas}}}"#));
            assert_eq!(said.is_some(), part.is_some(), "{replicas}: {said:?}");
            assert!(part.is_none_or(|part| said.is_some_and(|said| said.contains(part))));
        }
        assert_eq!(not_obeyed(r#"{"purged":"s3://b/c"}"#), None);
    }
}
