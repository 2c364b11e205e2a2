//! The findings about media types that are not served.

use crate::check::report::Finding;
use crate::mime::MimePolicy;

/// The type of bytes of which nothing is known.
const BINARY: &str = "application/octet-stream";

/// Why the key has no media type that is served.
pub(super) fn denied_type(mime: &MimePolicy, key: &str, media_type: Option<&str>) -> Finding {
    if let Some(media_type) = media_type {
        return not_allowed(media_type);
    }
    let name = key.rsplit('/').next().unwrap_or_default();
    if name.is_empty() {
        return Finding::failed(
            "the key ends with a slash, as the URL of a folder does: the profile has neither index nor \
             listing",
            "set index: index.html or listing: true in the profile, or add the name of an object; if \
             there is an object of this very key, set mime.default (S3PROXY_DEFAULT_MIMETYPE)",
        );
    }
    let (setting, variable, rule) = match name.rfind('.').and_then(|dot| name.get(dot..)) {
        Some(ending) => ("mime.also_suffixes", "S3PROXY_ALSO_SUFFIX_MIMETYPES", ending),
        None => ("mime.also_extensionless", "S3PROXY_ALSO_EXTENSIONLESS_MIMETYPES", name),
    };
    let listed = if mime.allows(BINARY) {
        String::new()
    } else {
        format!(" and {BINARY} to mime.also_allow (S3PROXY_ALSO_ALLOW_MIMETYPES)")
    };
    Finding::failed(
        "no rule gives a media type",
        format!(
            "add {{\"{rule}\": {BINARY}}}, or a better type, to {setting} ({variable}){listed}; \
             mime.default (S3PROXY_DEFAULT_MIMETYPE) is for all keys without a rule"
        ),
    )
}

fn not_allowed(media_type: &str) -> Finding {
    Finding::failed(
        format!("media type {media_type} is not allowed"),
        "add it to mime.also_allow (S3PROXY_ALSO_ALLOW_MIMETYPES) to serve it",
    )
}

/// Why the type that the store sent (`content_type: origin`) is not served.
pub(super) fn denied_stored_type(media_type: Option<&str>) -> Finding {
    media_type.map_or_else(
        || {
            Finding::failed(
                "the answer of the store has no valid Content-Type",
                "correct the Content-Type of the object, or set mime.default \
                 (S3PROXY_DEFAULT_MIMETYPE) for objects without one",
            )
        },
        not_allowed,
    )
}
