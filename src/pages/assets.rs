//! The files that pages load. The name of each holds a hash of its content, so that browsers may keep it
//! for as long as they like.

use sha2::{Digest as _, Sha256};

/// The style of every page.
pub const STYLE: &str = "page.css";
/// The icon of every page.
pub const ICON: &str = "icon.svg";

/// Every asset: the name in the source, the media type, the content.
const FILES: [(&str, &str, &str); 2] = [
    (STYLE, "text/css; charset=utf-8", include_str!("assets/page.css")),
    (ICON, "image/svg+xml", include_str!("assets/icon.svg")),
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
    pub content: &'static str,
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
        Self(
            FILES
                .iter()
                .map(|(file, media_type, content)| asset(file, media_type, content))
                .collect(),
        )
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

fn asset(file: &'static str, media_type: &'static str, content: &'static str) -> Asset {
    let digest = Sha256::digest(content);
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
        for (file, _, content) in FILES {
            let own = content.replace("http://www.w3.org/2000/svg", "");
            for loads in ["http", "@import", "url(", "<script", "//"] {
                assert!(!own.contains(loads), "{file}: {loads}");
            }
        }
    }
}
