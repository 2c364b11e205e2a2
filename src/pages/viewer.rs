//! The pages that show a survey and a FITS file: a frame, and a script of the gateway that reads the object
//! by requests of its own.

use crate::pages::assets::{FITS, SKY};
use crate::pages::html::{Site, escaped};

/// What these pages may load: scripts of the gateway, and objects by requests to the gateway.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
     style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page with a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// The tiles of a survey (HiPS 1.0).
    Survey,
    /// Headers and picture of a FITS file.
    Fits,
}

impl Viewer {
    /// The page. `name` is the last part of the object key or of the prefix.
    #[must_use]
    pub fn page(self, site: &Site, name: &str) -> String {
        let (main, script) = match self {
            Self::Survey => (include_str!("assets/sky.html"), SKY),
            Self::Fits => (include_str!("assets/fits.html"), FITS),
        };
        let (prefix, script) = (escaped(&site.prefix), site.assets.name_of(script));
        let end = format!(
            "<noscript><p>This page needs JavaScript.</p></noscript>\n\
             <script type=\"module\" src=\"{prefix}/assets/{script}\"></script>\n"
        );
        site.document(name, &[main, &end].concat())
    }
}

/// Whether this object key names a FITS file.
#[must_use]
pub fn is_fits(key: &str) -> bool {
    let key = key.strip_suffix(".fz").unwrap_or(key);
    [".fits", ".fit", ".fts"].iter().any(|suffix| key.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_loads_the_script_of_its_viewer_and_no_other() {
        let site = Site::new("s3proxy", "/p", "3");
        for (viewer, script) in
            [(Viewer::Survey, "/p/assets/sky-"), (Viewer::Fits, "/p/assets/fits-")]
        {
            let page = viewer.page(&site, "</title><script>alert(1)</script>");
            assert_eq!(page.matches("<script").count(), 1, "{page}");
            assert!(page.contains(&format!("src=\"{script}")), "{page}");
            assert!(!page.contains("onclick") && !page.contains("style="), "{page}");
        }
    }

    #[test]
    fn fits_files_are_known_by_their_names() {
        for (key, expected) in [
            ("a.fits", true),
            ("a/b.fit", true),
            ("a.fits.fz", true),
            ("a.fits.gz", false),
            ("a.fits/", false),
            ("fits", false),
        ] {
            assert_eq!(is_fits(key), expected, "{key}");
        }
    }
}
