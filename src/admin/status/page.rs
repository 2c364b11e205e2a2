//! The status page of the admin listener, its parts, and the index of the routes. Everything is served by
//! this process: the page loads nothing from elsewhere and works without a network.

use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName};
use serde_json::{Value, json};

/// The routes: method, path, what they answer. `docs/operations.md` describes them.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/", "this page in a browser, this list as JSON for others"),
    ("GET", "/status", "the numbers of the status page as JSON"),
    ("GET", "/metrics", "all metrics, for Prometheus"),
    ("GET", "/livez", "whether the process is alive"),
    ("GET", "/readyz", "whether the gateway accepts requests"),
    ("GET", "/profiles", "each profile with the last success and error of its store"),
    ("GET", "/cache", "contents and counters of the cache"),
    ("GET", "/cache/PROFILE@BUCKET/KEY", "the cached copy of one object"),
    ("PURGE", "/PROFILE@BUCKET/KEY", "purges one object"),
    ("PURGE", "/PROFILE@BUCKET/PREFIX/", "purges all objects below a prefix"),
];

/// A file of the page: path, media type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/status.css", "text/css; charset=utf-8", include_str!("status.css")),
    ("/status.js", "text/javascript; charset=utf-8", include_str!("status.js")),
    ("/favicon.svg", "image/svg+xml", include_str!("favicon.svg")),
];

pub(in crate::admin) const HTML: &str = "text/html; charset=utf-8";

/// Headers of every answer of the admin listener: nothing is stored, or taken for another type.
pub(in crate::admin) const HEADERS: [(HeaderName, &str); 2] =
    [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// Further headers of the page: it runs its own script and nothing else, and no other page shows it in a
/// frame.
pub(in crate::admin) const HTML_HEADERS: [(HeaderName, &str); 2] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
];

/// The file of the page with this path: its media type and its content.
pub(in crate::admin) fn file(path: &[u8]) -> Option<(&'static str, &'static str)> {
    let found = FILES.iter().find(|(known, _, _)| known.as_bytes() == path)?;
    Some((found.1, found.2))
}

/// Whether a client asks for HTML, as browsers do: `Accept` names `text/html`.
pub(in crate::admin) fn wants_html(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.to_ascii_lowercase().contains("text/html"))
}

/// The routes as JSON.
pub(in crate::admin) fn index() -> Value {
    let route = |(method, path, what): &(&str, &str, &str)| json!({ "method": method, "path": path, "answer": what });
    json!({ "routes": ROUTES.iter().map(route).collect::<Vec<_>>() })
}

/// The page. The routes are constants and need no escaping.
pub(in crate::admin) fn html() -> String {
    let route = |(method, path, what): &(&str, &str, &str)| {
        let is_page = *method == "GET" && !path.contains("PROFILE");
        let name = format!("<code>{method} {path}</code>");
        // Relative, so that it works behind the proxy of an API server.
        let href = path.strip_prefix('/').filter(|path| !path.is_empty()).unwrap_or(".");
        let name = if is_page { format!("<a href=\"{href}\">{name}</a>") } else { name };
        format!("<dt>{name}</dt><dd>{what}</dd>\n")
    };
    let routes: String = ROUTES.iter().map(route).collect();
    include_str!("status.html").replace("<!-- routes -->\n", &routes)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_page_names_every_route_and_loads_only_its_own_files() {
        let page = html();
        assert!(!page.contains("<!--"), "the routes are filled in");
        for (method, path, _) in ROUTES {
            assert!(page.contains(&format!("{method} {path}</code>")), "{method} {path}");
        }
        let tags =
            page.split('<').filter(|tag| tag.starts_with("script ") || tag.starts_with("link "));
        let attribute = |tag: &'_ str| {
            let (_, rest) = tag.split_once("src=\"").or_else(|| tag.split_once("href=\""))?;
            Some(rest.split('"').next()?.to_owned())
        };
        let loaded: Vec<String> = tags.filter_map(attribute).collect();
        assert_eq!(loaded.len(), 3, "{loaded:?}");
        for name in loaded {
            assert!(file(format!("/{name}").as_bytes()).is_some(), "{name}");
        }
    }

    #[test]
    fn the_page_has_nothing_that_its_policy_forbids() {
        for text in [&html(), include_str!("status.js"), include_str!("status.css")] {
            for forbidden in ["style=", "onclick", "<style", "<script>", "javascript:", "innerHTML"]
            {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
            // The name of the markup of drawings is no address to load from.
            let addresses = text.matches("://").count();
            assert_eq!(addresses, text.matches("http://www.w3.org/2000/svg").count());
        }
    }

    #[test]
    fn browsers_get_the_page_and_others_json() {
        for (accept, html) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("Text/HTML", true),
            ("*/*", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_html(&headers), html, "{accept}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }
}
