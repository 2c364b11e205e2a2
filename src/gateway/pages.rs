//! The gateway's own pages: metadata, the OpenAPI document, and a documentation page that loads
//! nothing from the internet.

use serde_json::json;

mod openapi;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const DESCRIPTION: &str = "An HTTP server exposing data in one or more S3 buckets";
const REPOSITORY: &str = "https://github.com/lsst-dm/s3proxy";
const DOCUMENTATION: &str = "https://s3proxy.lsst.io";

/// Every page, rendered once at start.
#[derive(Debug, Clone)]
pub struct Pages {
    pub index: String,
    pub metadata: String,
    pub openapi: String,
    pub docs: String,
}

impl Pages {
    /// The pages of a service of this name behind this path prefix. `cors` says whether preflight
    /// requests are answered.
    #[must_use]
    pub fn new(name: &str, prefix: &str, cors: bool) -> Self {
        let metadata = json!({
            "name": name,
            "version": VERSION,
            "description": DESCRIPTION,
            "repository_url": REPOSITORY,
            "documentation_url": DOCUMENTATION,
        });
        Self {
            index: metadata.to_string(),
            metadata: json!({ "metadata": metadata }).to_string(),
            openapi: openapi::document(name, prefix, cors).to_string(),
            docs: docs(name, prefix),
        }
    }
}

fn docs(name: &str, prefix: &str) -> String {
    let name = escape(name);
    let prefix = escape(prefix);
    format!(
        r"<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>
<title>{name}</title>
<style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#223;background:#fff}}
code,pre{{font:14px/1.5 ui-monospace,monospace;background:#f2f3f7;border-radius:4px;padding:.1em .3em}}
pre{{padding:.7em 1em;overflow:auto}}td{{padding:.2em 1em .2em 0;vertical-align:top}}
@media(prefers-color-scheme:dark){{body{{color:#dde;background:#14161c}}code,pre{{background:#22252e}}a{{color:#9bf}}}}
</style>
<h1>{name}</h1>
<p>{DESCRIPTION}, version {VERSION}. Read the objects of private S3 buckets like files on a web server:</p>
<pre>curl -O https://this.host{prefix}/s3/profile@bucket/path/to/file</pre>
<p>The profile before the <code>@</code> selects a store and its credentials; without it the default
profile is used. Percent-encode the object key once; a raw <code>+</code> is a plus.</p>
<table>
<tr><td><code>GET HEAD {prefix}/s3/&#123;profile@bucket&#125;/&#123;key&#125;</code><td>an object: 200, 206 for
<code>Range</code>, 304 for <code>If-None-Match</code> and <code>If-Modified-Since</code>
<tr><td><code>GET {prefix}/</code><td>name and version
<tr><td><code>GET {prefix}/openapi.json</code><td><a href='{prefix}/openapi.json'>the OpenAPI document</a>
<tr><td><code>GET /</code><td>for health probes; sends no request to a store
</table>
<p>An error response has a description in <code>message</code> and the name of the error in
<code>cause</code>. Quote its <code>request_id</code> (also the <code>X-Request-ID</code> header) when you report it.</p>
"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_has_the_fields_of_s3proxy_in_their_order() {
        let pages = Pages::new("s3proxy", "/s3proxy", false);
        let fields = format!(
            r#""name":"s3proxy","version":"{VERSION}","description":"{DESCRIPTION}","repository_url":"{REPOSITORY}","documentation_url":"{DOCUMENTATION}""#
        );
        assert_eq!(pages.index, format!("{{{fields}}}"));
        assert_eq!(pages.metadata, format!(r#"{{"metadata":{{{fields}}}}}"#));
    }

    #[test]
    fn the_documentation_page_loads_nothing_from_elsewhere() {
        let pages = Pages::new("<b>\"x\"", "/p", false);
        assert!(!pages.docs.contains("<b>"), "the name is escaped");
        assert!(!pages.docs.contains("<script") && !pages.docs.contains("src="));
    }
}
