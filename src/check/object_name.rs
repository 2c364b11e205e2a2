//! The object that an argument names: a whole URL, its part after `/s3/`, or the `s3://` name of messages
//! and logs.

use crate::check::report::Finding;
use crate::gateway::route::{Route, route};
use crate::protocol::request_check::target_path;
use crate::s3::address::ObjectAddress;
use crate::s3::encode::encode_path;

/// The object that an argument names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectName {
    pub address: ObjectAddress,
    /// The key as in the URL, still encoded; `None` if the argument is not part of a URL.
    pub written: Option<String>,
    /// Whether the path ended at a `?` or `#`, as for clients and the gateway.
    pub was_cut: bool,
}

/// The reason why an argument names no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoObject {
    pub finding: Finding,
    /// The status of the gateway for this path.
    pub status: u16,
}

/// Reads the argument as the gateway reads a URL.
///
/// # Errors
/// The response of the gateway, and the correct form.
pub(super) fn read(
    argument: &str,
    prefix: &str,
    validate_bucket: bool,
) -> Result<ObjectName, NoObject> {
    let whole = argument.starts_with('/') || has_scheme(argument);
    let path = if let Some(name) = argument.strip_prefix("s3://") {
        let mut encoded = String::new();
        encode_path(name.as_bytes(), &mut encoded);
        format!("{prefix}/s3/{encoded}")
    } else if whole {
        argument.to_owned()
    } else {
        format!("{prefix}/s3/{argument}")
    };
    let path = target_path(path.as_bytes());
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    let (path, rest) = path.split_at(end);
    let (bucket, key) = object_parts(prefix, path)?;
    let address = ObjectAddress::parse(bucket, key, validate_bucket).map_err(|error| NoObject {
        finding: Finding::failed(
            format!("400: {error}"),
            "write the object as in a URL of the gateway: profile@bucket/path/to/file, with each % \
             of the key as %25",
        ),
        status: 400,
    })?;
    let decoded_already = argument.starts_with("s3://");
    let written = (!decoded_already).then(|| String::from_utf8_lossy(key).into_owned());
    Ok(ObjectName { address, written, was_cut: !rest.is_empty() })
}

fn has_scheme(argument: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        argument.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

fn object_parts<'a>(prefix: &str, path: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), NoObject> {
    let (status, detail) = match route(prefix, path) {
        Route::Object { bucket, key } => return Ok((bucket, key)),
        Route::Redirect { .. } => (307, "the path names no object; the gateway redirects it"),
        Route::Unknown => (404, "the gateway has no such page"),
        Route::Index
        | Route::Metadata
        | Route::OpenApi
        | Route::HipsList
        | Route::Docs
        | Route::Asset { .. } => (200, "the path is a page of the gateway, not an object"),
    };
    Err(NoObject {
        finding: Finding::failed(
            format!("{status}: {detail}"),
            format!("the path of an object is {prefix}/s3/profile@bucket/path/to/file"),
        ),
        status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(argument: &str) -> Result<(String, bool), u16> {
        match read(argument, "/s3proxy", true) {
            Ok(named) => Ok((named.address.name(), named.was_cut)),
            Err(not) => Err(not.status),
        }
    }

    #[test]
    fn every_form_names_the_object_that_the_gateway_serves() {
        for (argument, object, was_cut) in [
            ("hips@bk/a/b.png", "s3://hips@bk/a/b.png", false),
            ("bk/k", "s3://bk/k", false),
            ("hips%40bk/a%20b.png", "s3://hips@bk/a b.png", false),
            ("hips@bk/a b.png", "s3://hips@bk/a b.png", false),
            ("hips@bk/é//x", "s3://hips@bk/é//x", false),
            ("hips@bk/a%2541", "s3://hips@bk/a%41", false),
            ("hips@bk/k?x=1", "s3://hips@bk/k", true),
            ("hips@bk/k#x", "s3://hips@bk/k", true),
            ("/s3proxy/s3/hips@bk/k", "s3://hips@bk/k", false),
            ("http://127.0.0.1:8080/s3proxy/s3/hips@bk/k", "s3://hips@bk/k", false),
            ("HTTPS://rsp.example.org/s3proxy/s3/hips@bk/a%2Fb?q#f", "s3://hips@bk/a/b", true),
            ("s3://hips@bk/100% a?b#c%41.png", "s3://hips@bk/100% a?b#c%41.png", false),
        ] {
            assert_eq!(name(argument), Ok((object.to_owned(), was_cut)), "{argument}");
        }
    }

    #[test]
    fn an_argument_without_an_object_has_the_status_of_the_gateway() {
        for (argument, status) in [
            ("hips@bk", 307),
            ("", 404),
            ("/x", 404),
            ("http://h/other/s3/hips@bk/k", 404),
            ("http://h/", 200),
            ("http://h/s3proxy/docs", 200),
            ("hips@bk/100%", 400),
            ("hips@bk/../k", 400),
            ("a@b@bk/k", 400),
            ("s3://hips@bk/a/../b", 400),
        ] {
            assert_eq!(name(argument), Err(status), "{argument}");
        }
    }
}
