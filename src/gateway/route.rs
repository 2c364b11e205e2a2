//! Maps a request path to a route. Works on the raw path, before percent-decoding, so that an encoded
//! slash never changes the route.

/// A route of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/`, for health probes.
    Index,
    /// `{prefix}/`: the same metadata for users.
    Metadata,
    /// `{prefix}/openapi.json`
    OpenApi,
    /// `{prefix}/hipslist`: the surveys of listed profiles.
    HipsList,
    /// `{prefix}/docs` and `{prefix}/redoc`
    Docs,
    /// `{prefix}/assets/{name}`: what the pages load.
    Asset { name: &'a [u8] },
    /// `{prefix}/s3/{profile@bucket}/{key}`; both parts are still percent-encoded.
    Object { bucket: &'a [u8], key: &'a [u8] },
    /// A redirect to the same path with (`true`) or without (`false`) a trailing slash.
    Redirect { add_slash: bool },
    /// No route.
    Unknown,
}

/// The route of a raw path without its query. `prefix` is `S3PROXY_PATH_PREFIX`.
#[must_use]
pub fn route<'a>(prefix: &str, path: &'a [u8]) -> Route<'a> {
    if path == b"/" {
        return Route::Index;
    }
    let Some(rest) = path.strip_prefix(prefix.as_bytes()) else { return Route::Unknown };
    match rest {
        b"" => Route::Redirect { add_slash: true },
        b"/" => Route::Metadata,
        b"/openapi.json" => Route::OpenApi,
        b"/hipslist" => Route::HipsList,
        b"/docs" | b"/redoc" => Route::Docs,
        b"/docs/" | b"/redoc/" | b"/openapi.json/" => Route::Redirect { add_slash: false },
        _ => match (rest.strip_prefix(b"/s3/"), rest.strip_prefix(b"/assets/")) {
            (Some(object), _) => object_route(object),
            (None, Some(name)) if !name.is_empty() => Route::Asset { name },
            (None, _) => Route::Unknown,
        },
    }
}

fn object_route(path: &[u8]) -> Route<'_> {
    match path.iter().position(|byte| *byte == b'/') {
        // `s3/` and `s3//key` have no bucket.
        Some(0) => Route::Unknown,
        None if path.is_empty() => Route::Unknown,
        None => Route::Redirect { add_slash: true },
        Some(slash) => match (path.get(..slash), path.get(slash + 1..)) {
            (Some(bucket), Some(key)) => Route::Object { bucket, key },
            _ => Route::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bucket: &'static str, key: &'static str) -> Route<'static> {
        Route::Object { bucket: bucket.as_bytes(), key: key.as_bytes() }
    }

    #[test]
    fn paths_lead_to_the_pages_s3proxy_always_had() {
        for (path, expected) in [
            ("/", Route::Index),
            ("/s3proxy", Route::Redirect { add_slash: true }),
            ("/s3proxy/", Route::Metadata),
            ("/s3proxy/openapi.json", Route::OpenApi),
            ("/s3proxy/docs", Route::Docs),
            ("/s3proxy/hipslist", Route::HipsList),
            ("/s3proxy/hipslist/", Route::Unknown),
            ("/s3proxy/redoc", Route::Docs),
            ("/s3proxy/docs/", Route::Redirect { add_slash: false }),
            ("/s3proxy/assets/a.css", Route::Asset { name: b"a.css" }),
            ("/s3proxy/assets/", Route::Unknown),
            ("/s3proxy/s3/bk", Route::Redirect { add_slash: true }),
            ("/s3proxy/s3/bk/", object("bk", "")),
            ("/s3proxy/s3/hips@bk/a/b.png", object("hips@bk", "a/b.png")),
            ("/s3proxy/s3/bk//b.png", object("bk", "/b.png")),
            ("/s3proxy/s3/bk/x%2Fy", object("bk", "x%2Fy")),
            ("/s3proxy/s3/b%2Fk/x", object("b%2Fk", "x")),
            ("/s3proxy/s3", Route::Unknown),
            ("/s3proxy/s3/", Route::Unknown),
            ("/s3proxy/s3//x", Route::Unknown),
            ("/s3proxy//s3/b/k", Route::Unknown),
            ("//s3proxy/", Route::Unknown),
            ("/S3PROXY/", Route::Unknown),
            ("/s3proxyx/", Route::Unknown),
            ("/docs", Route::Unknown),
            ("/openapi.json", Route::Unknown),
            ("/foo", Route::Unknown),
        ] {
            assert_eq!(route("/s3proxy", path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn an_empty_prefix_serves_from_the_root() {
        assert_eq!(route("", b"/"), Route::Index);
        assert_eq!(route("", b"/s3/bk/k.png"), object("bk", "k.png"));
        assert_eq!(route("", b"/docs"), Route::Docs);
    }
}
