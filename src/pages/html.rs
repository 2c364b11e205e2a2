//! Text as HTML, and the frame of every page.

use crate::pages::assets::{Assets, ICON, STYLE};

/// What a page may load: style and icon of the gateway itself, no script, nothing from elsewhere. No page
/// may frame it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Appends text to HTML, for text and for attribute values in double quotes. Control characters become
/// visible: HTML has none of them.
pub fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\0'..='\u{1f}' => {
                out.push(char::from_u32(0x2400 + u32::from(character)).unwrap_or(' '));
            }
            '\u{7f}'..='\u{9f}' => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
}

/// The text as HTML.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    escape(text, &mut out);
    out
}

/// What the pages of one gateway have in common.
#[derive(Debug, Clone)]
pub struct Site {
    /// The name of the service.
    pub name: String,
    /// The prefix of its paths, as in `/s3proxy`; may be empty.
    pub prefix: String,
    pub version: &'static str,
    pub assets: Assets,
}

impl Site {
    /// The site of a service of this name behind this path prefix.
    #[must_use]
    pub fn new(name: &str, prefix: &str, version: &'static str) -> Self {
        let assets = Assets::new();
        Self { name: name.to_owned(), prefix: prefix.to_owned(), version, assets }
    }

    /// A whole page with this title (text) and this `<main>` (HTML).
    #[must_use]
    pub fn document(&self, title: &str, main: &str) -> String {
        [&self.start(title), main, &self.end()].concat()
    }

    /// The page up to its `<main>`, for one that is sent in pieces.
    #[must_use]
    pub fn start(&self, title: &str) -> String {
        let (title, name, prefix) = (escaped(title), escaped(&self.name), escaped(&self.prefix));
        let (style, icon) = (self.assets.name_of(STYLE), self.assets.name_of(ICON));
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <link rel=\"icon\" href=\"{prefix}/assets/{icon}\" type=\"image/svg+xml\">\n\
             <link rel=\"stylesheet\" href=\"{prefix}/assets/{style}\">\n</head>\n<body>\n\
             <header><a href=\"{prefix}/\">{name}</a></header>\n<main>\n"
        )
    }

    /// The page from the end of its `<main>` on.
    #[must_use]
    pub fn end(&self) -> String {
        let (prefix, version) = (escaped(&self.prefix), escaped(self.version));
        format!(
            "</main>\n<footer>s3proxy {version} · <a href=\"{prefix}/docs\">how to use it</a></footer>\n\
             </body>\n</html>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        assert_eq!(escaped("a<b>\"'&"), "a&lt;b&gt;&quot;&#39;&amp;");
        assert_eq!(escaped("nl\n\u{1b}\u{7f}"), "nl␊␛\u{fffd}");
        let site = Site::new("<b>\"x\"", "/p", "3");
        let page = site.document("</title><script>", "<p>x</p>");
        assert!(!page.contains("<b>") && !page.contains("<script"), "{page}");
        assert!(page.contains("<p>x</p>"));
    }

    #[test]
    fn a_page_loads_assets_of_the_gateway_alone() {
        let page = Site::new("x", "/p", "3").document("t", "");
        let loaded: Vec<_> = page.split("<link").skip(1).collect();
        assert_eq!(loaded.len(), 2);
        assert!(loaded.iter().all(|link| link.contains("href=\"/p/assets/")), "{page}");
        assert!(!page.contains("style=") && !page.contains("<script") && !page.contains("src="));
    }

    proptest! {
        #[test]
        fn any_text_is_escaped(text in ".{0,60}") {
            let html = escaped(&text);
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
        }
    }
}
