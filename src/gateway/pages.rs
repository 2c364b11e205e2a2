//! The gateway's own documents: metadata, the OpenAPI document, and the pages of the room `pages` with
//! what this gateway says about itself.

use serde_json::json;

use crate::pages::docs;
use crate::pages::html::Site;
use crate::pages::landing::{self, ListedProfile};

mod openapi;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const DESCRIPTION: &str = "An HTTP server exposing data in one or more S3 buckets";
const REPOSITORY: &str = "https://github.com/lsst-dm/s3proxy";
const DOCUMENTATION: &str = "https://s3proxy.lsst.io";

/// The pages that are the same for every client, rendered once at start, and what the others need.
#[derive(Debug, Clone)]
pub struct Pages {
    pub index: String,
    pub metadata: String,
    pub site: Site,
    cors: bool,
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
            site: Site::new(name, prefix, VERSION),
            cors,
        }
    }

    /// The OpenAPI document; `origin` is scheme and host as the client named them, or empty.
    #[must_use]
    pub fn openapi(&self, origin: &str) -> String {
        openapi::document(&self.site.name, &self.site.prefix, origin, self.cors).to_string()
    }

    /// The documentation page.
    #[must_use]
    pub fn docs(&self, origin: &str) -> String {
        docs::render(&self.site, DESCRIPTION, origin)
    }

    /// The landing page, with these profiles.
    #[must_use]
    pub fn landing(&self, origin: &str, profiles: &[ListedProfile]) -> String {
        landing::render(&self.site, DESCRIPTION, origin, profiles)
    }
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
        let docs = Pages::new("<b>\"x\"", "/p", false).docs("http://h");
        assert!(!docs.contains("<b>"), "the name is escaped");
        assert!(!docs.contains("<script") && !docs.contains("src="));
    }
}
