//! The documentation page: the interface in one screen, with the host that the browser named.

use crate::pages::html::{Site, escaped};

/// The page; `origin` is scheme and host as the browser named them.
#[must_use]
pub fn render(site: &Site, description: &str, origin: &str) -> String {
    let (name, version) = (escaped(&site.name), escaped(site.version));
    let (origin, p) = (escaped(origin), escaped(&site.prefix));
    let description = escaped(description);
    let main = format!(
        "<h1>{name}</h1>
<p>{description}, version {version}. Read the objects of private S3 buckets like files on a web server:</p>
<pre tabindex=\"0\"><code>curl -O {origin}{p}/s3/profile@bucket/path/to/file</code></pre>
<p>The profile before the <code>@</code> selects a store and its access key; without it the default profile is
used, if there is one. Percent-encode the object key once; a raw <code>+</code> is a plus.</p>
<h2>Requests</h2>
<table>
<thead><tr><th scope=\"col\">Request</th><th scope=\"col\">Answer</th></tr></thead>
<tbody>
<tr><td><code>GET {p}/s3/profile@bucket/key</code></td><td>the object</td></tr>
<tr><td><code>HEAD {p}/s3/profile@bucket/key</code></td><td>its headers: size, type, entity tag, date</td></tr>
<tr><td><code>Range: bytes=0-99</code></td><td>206: a part; several ranges are answered as
<code>multipart/byteranges</code></td></tr>
<tr><td><code>If-None-Match</code>, <code>If-Modified-Since</code></td><td>304 if your copy is still right</td></tr>
<tr><td><code>If-Match</code>, <code>If-Unmodified-Since</code>, <code>If-Range</code></td><td>412, or the whole object,
if it has changed</td></tr>
<tr><td><code>GET {p}/s3/profile@bucket/folder/</code></td><td>the folder, where the operator has turned it on: its
<code>index.html</code>, or what is in it; as JSON with <code>?format=json</code> or
<code>Accept: application/json</code></td></tr>
<tr><td>a browser at a survey's folder, or a FITS file</td><td>a viewer, where the operator has turned it on; with
<code>?raw</code> the file itself</td></tr>
<tr><td><code>GET {p}/</code></td><td>name and version as JSON; a page for browsers</td></tr>
<tr><td><code>GET {p}/openapi.json</code></td><td><a href=\"{p}/openapi.json\">the OpenAPI document</a></td></tr>
<tr><td><code>GET /</code></td><td>as <code>{p}/</code>, for health probes; no request to a store</td></tr>
</tbody>
</table>
<h2>Errors</h2>
<p>An error response has a description in <code>message</code> and the name of the error in <code>cause</code>. Quote
its <code>request_id</code> (also the <code>X-Request-ID</code> header) when you report it. A browser gets the same as
a page.</p>
<h2>Examples</h2>
<pre tabindex=\"0\"><code>curl -r 0-2879 {origin}{p}/s3/profile@bucket/image.fits
wget -r -np {origin}{p}/s3/profile@bucket/folder/
rclone ls --http-url {origin}{p}/s3/profile@bucket/folder/ :http:</code></pre>
"
    );
    site.document(&site.name, &main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_real_host() {
        let site = Site::new("<b>\"x\"", "/p", "3");
        let page = render(&site, "Data", "https://data.example:8443");
        assert!(page.contains("curl -O https://data.example:8443/p/s3/"), "{page}");
        for request in
            ["HEAD", "multipart/byteranges", "format=json", "If-None-Match", "If-Range", "viewer"]
        {
            assert!(page.contains(request), "{request}");
        }
        assert!(!page.contains("<b>") && !page.contains("<script") && !page.contains("src="));
    }
}
