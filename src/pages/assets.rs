//! The files that pages load. The name of each holds a hash of its content, so that browsers may keep it
//! for as long as they like.

use sha2::{Digest as _, Sha256};

/// The style of every page.
pub const STYLE: &str = "page.css";
/// The icon of every page.
pub const ICON: &str = "icon.svg";

/// The script of the page of a survey.
pub const SKY: &str = "sky.js";
/// The script of the page of a FITS file.
pub const FITS: &str = "fits.js";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Every asset: the name in the source, the media type, the content. A script follows those that it
/// imports.
const FILES: [(&str, &str, &str); 12] = [
    (STYLE, "text/css; charset=utf-8", include_str!("assets/page.css")),
    (ICON, "image/svg+xml", include_str!("assets/icon.svg")),
    ("healpix.js", SCRIPT, include_str!("assets/healpix.js")),
    ("survey.js", SCRIPT, include_str!("assets/survey.js")),
    ("tiles.js", SCRIPT, include_str!("assets/tiles.js")),
    ("draw.js", SCRIPT, include_str!("assets/draw.js")),
    ("fits-header.js", SCRIPT, include_str!("assets/fits-header.js")),
    ("lint.js", SCRIPT, include_str!("assets/lint.js")),
    (SKY, SCRIPT, include_str!("assets/sky.js")),
    ("fits-pixels.js", SCRIPT, include_str!("assets/fits-pixels.js")),
    ("ranges.js", SCRIPT, include_str!("assets/ranges.js")),
    (FITS, SCRIPT, include_str!("assets/fits.js")),
];

/// `Cache-Control` of an asset.
pub const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

/// An asset as it is served.
#[derive(Debug, Clone)]
pub struct Asset {
    /// The last segment of its path, such as `page-0123456789abcdef.css`.
    pub name: String,
    /// `Content-Type`.
    pub media_type: &'static str,
    /// A script names the scripts that it imports as they are served.
    pub content: String,
    /// `ETag`, with its quotes.
    pub etag: String,
    /// The name in the source.
    file: &'static str,
}

/// All assets, hashed once at start.
#[derive(Debug, Clone)]
pub struct Assets(Vec<Asset>);

impl Assets {
    /// The assets of this build.
    #[must_use]
    pub fn new() -> Self {
        let mut assets: Vec<Asset> = Vec::with_capacity(FILES.len());
        for (file, media_type, content) in FILES {
            let mut content = content.to_owned();
            for imported in &assets {
                let name = format!("'./{}'", imported.name);
                content = content.replace(&format!("'./{}'", imported.file), &name);
            }
            assets.push(asset(file, media_type, content));
        }
        Self(assets)
    }

    /// The asset that is served with this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Asset> {
        self.0.iter().find(|asset| asset.name.as_bytes() == name)
    }

    /// The name with which a file of the source is served.
    #[must_use]
    pub fn name_of(&self, file: &str) -> &str {
        self.0.iter().find(|asset| asset.file == file).map_or("", |asset| &asset.name)
    }
}

impl Default for Assets {
    fn default() -> Self {
        Self::new()
    }
}

fn asset(file: &'static str, media_type: &'static str, content: String) -> Asset {
    let digest = Sha256::digest(&content);
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    Asset {
        name: format!("{stem}-{hash}.{extension}"),
        media_type,
        content,
        etag: format!("\"{hash}\""),
        file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_by_the_name_with_its_hash_alone() {
        let assets = Assets::new();
        for (file, ..) in FILES {
            let name = assets.name_of(file).to_owned();
            let asset = assets.get(name.as_bytes()).expect("it is served");
            assert!(name.contains(asset.etag.trim_matches('"')), "{name}");
            assert!(assets.get(file.as_bytes()).is_none());
        }
        assert!(assets.get(b"").is_none());
    }

    #[test]
    fn no_asset_loads_anything() {
        for (file, media_type, content) in FILES {
            let own = content.replace("http://www.w3.org/2000/svg", "");
            let comments = if media_type == SCRIPT { "<!--" } else { "//" };
            for loads in ["http:", "https:", "@import", "url(", "<script", comments] {
                assert!(!own.contains(loads), "{file}: {loads}");
            }
        }
    }

    #[test]
    fn scripts_import_each_other_by_the_names_that_are_served() {
        let assets = Assets::new();
        for asset in &assets.0 {
            for imported in asset.content.split("from './").skip(1) {
                let name = imported.split('\'').next().unwrap_or_default();
                assert!(assets.get(name.as_bytes()).is_some(), "{} imports {name}", asset.file);
            }
        }
    }
}
