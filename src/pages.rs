//! The gateway's own pages: metadata, the description of its routes, and a page for people that
//! needs nothing from the internet.

use serde_json::{Value, json};

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const DESCRIPTION: &str = "An HTTP server exposing data in one or more S3 buckets";
const REPOSITORY: &str = "https://github.com/lsst-dm/s3proxy";
const DOCUMENTATION: &str = "https://s3proxy.lsst.io";

/// Every page, made once at start.
#[derive(Debug, Clone)]
pub struct Pages {
    pub index: String,
    pub metadata: String,
    pub openapi: String,
    pub docs: String,
}

impl Pages {
    /// The pages of a service of this name behind this path prefix.
    #[must_use]
    pub fn new(name: &str, prefix: &str) -> Self {
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
            openapi: openapi(name, prefix).to_string(),
            docs: docs(name, prefix),
        }
    }
}

/// OpenAPI 3.1.0 of what is really served.
fn openapi(name: &str, prefix: &str) -> Value {
    let metadata = json!({
        "type": "object",
        "required": ["name", "version"],
        "properties": {
            "name": { "type": "string" },
            "version": { "type": "string" },
            "description": { "type": "string" },
            "repository_url": { "type": "string" },
            "documentation_url": { "type": "string" },
        }
    });
    let json_body = |schema: Value| json!({ "application/json": { "schema": schema } });
    let error = json!({
        "type": "object",
        "required": ["message"],
        "properties": {
            "message": { "type": "string" },
            "cause": { "type": "string", "description": "machine-readable name of what went wrong" },
            "request_id": { "type": "string", "description": "the X-Request-ID of the answer" },
        }
    });
    let described = |text: &str| json!({ "description": text });
    let failed = |text: &str| json!({ "description": text, "content": json_body(error.clone()) });
    let parameter = |name: &str, text: &str, example: &str| {
        json!({
            "name": name, "in": "path", "required": true, "description": text,
            "schema": { "type": "string" }, "example": example,
        })
    };
    let header = |name: &str, text: &str| {
        json!({
            "name": name, "in": "header", "required": false, "description": text,
            "schema": { "type": "string" },
        })
    };
    let object = |summary: &str| {
        json!({
            "summary": summary,
            "parameters": [
                parameter("bucket", "the bucket, with the profile before an @", "hips@sky"),
                parameter("key", "the key, percent-encoded once; may hold slashes", "Norder3/Allsky.png"),
                header("Range", "one byte range"),
                header("If-None-Match", "entity tags"),
                header("If-Modified-Since", "a date"),
                header("If-Match", "entity tags"),
                header("If-Unmodified-Since", "a date"),
                header("If-Range", "an entity tag or a date"),
            ],
            "responses": {
                "200": described("the object"),
                "206": described("the bytes asked for"),
                "304": described("the object is the one the client has"),
                "400": failed("the address or the request is malformed"),
                "403": failed("the store refuses, or the bucket is not served"),
                "404": failed("no such object or profile"),
                "412": failed("a precondition does not hold"),
                "415": failed("the media type of the key may not be served"),
                "416": failed("no byte of the range exists"),
                "422": described("X-Auth-Request-User is missing"),
                "502": failed("the store failed"),
                "503": failed("the store is busy; see Retry-After"),
                "504": failed("the store took too long"),
            }
        })
    };
    let page = |summary: &str, schema: Value| {
        json!({ "get": {
            "summary": summary,
            "responses": { "200": { "description": summary, "content": json_body(schema) } }
        } })
    };
    let user_metadata = json!({ "type": "object", "properties": { "metadata": metadata } });
    json!({
        "openapi": "3.1.0",
        "info": { "title": name, "version": VERSION, "description": DESCRIPTION },
        "paths": {
            "/": page("Metadata, for probes", metadata),
            (format!("{prefix}/")): page("Metadata", user_metadata),
            (format!("{prefix}/s3/{{bucket}}/{{key}}")): {
                "get": object("The object, or a part of it"),
                "head": object("The headers of GET"),
            },
        },
    })
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
<p>{DESCRIPTION}, version {VERSION}. Objects of private stores are read like files of a web server:</p>
<pre>curl -O https://this.host{prefix}/s3/profile@bucket/path/to/file</pre>
<p>The part before the <code>@</code> names a store and its credentials; without it the default store
is asked. Keys are percent-encoded once: a raw <code>+</code> is a plus.</p>
<table>
<tr><td><code>GET HEAD {prefix}/s3/&#123;profile@bucket&#125;/&#123;key&#125;</code><td>an object: 200, 206 for one
<code>Range</code>, 304 for <code>If-None-Match</code> and <code>If-Modified-Since</code>
<tr><td><code>GET {prefix}/</code><td>name and version
<tr><td><code>GET {prefix}/openapi.json</code><td><a href='{prefix}/openapi.json'>these routes for machines</a>
<tr><td><code>GET /</code><td>for probes; never asks a store
</table>
<p>An error says in <code>message</code> what happened and in <code>cause</code> its name; quote
<code>request_id</code> (also the <code>X-Request-ID</code> header) when you report it.</p>
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
        let pages = Pages::new("s3proxy", "/s3proxy");
        let fields = format!(
            r#""name":"s3proxy","version":"{VERSION}","description":"{DESCRIPTION}","repository_url":"{REPOSITORY}","documentation_url":"{DOCUMENTATION}""#
        );
        assert_eq!(pages.index, format!("{{{fields}}}"));
        assert_eq!(pages.metadata, format!(r#"{{"metadata":{{{fields}}}}}"#));
    }

    #[test]
    fn the_description_names_the_real_routes() {
        let pages = Pages::new("x", "/p");
        let description: Value = serde_json::from_str(&pages.openapi).expect("valid JSON");
        for path in ["/", "/p/", "/p/s3/{bucket}/{key}"] {
            assert!(description["paths"][path].is_object(), "{path}");
        }
    }

    #[test]
    fn the_page_for_people_loads_nothing_from_elsewhere() {
        let pages = Pages::new("<b>\"x\"", "/p");
        assert!(!pages.docs.contains("<b>"), "the name is escaped");
        assert!(!pages.docs.contains("<script") && !pages.docs.contains("src="));
    }
}
