//! The type of a key whose name states a content coding, such as `x.csv.gz`: which of the two types
//! describes the bytes depends on the store's `Content-Encoding` (RFC 9110, sections 8.3 and 8.4).

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// A coding that a name states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Bzip2,
    Compress,
    Gzip,
    Xz,
}

impl Coding {
    /// The type of bytes in this coding.
    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            // It has no type of its own.
            Self::Brotli => "application/octet-stream",
            Self::Bzip2 => "application/x-bzip2",
            Self::Compress => "application/x-compress",
            Self::Gzip => "application/gzip",
            Self::Xz => "application/x-xz",
        })
    }

    /// Whether this element of `Content-Encoding` names it.
    fn is_named(self, element: &str) -> bool {
        let name = match self {
            Self::Brotli => "br",
            Self::Bzip2 => "bzip2",
            Self::Compress => "compress",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
        };
        let element = element.trim().to_ascii_lowercase();
        element.strip_prefix("x-").unwrap_or(&element) == name
    }
}

/// The media type of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyType {
    /// Of the bytes once the coding that the name states is undone.
    pub decoded: HeaderValue,
    pub(super) coding: Option<Coding>,
}

impl KeyType {
    /// Bytes without a type of their own.
    #[must_use]
    pub fn unknown() -> Self {
        Self { decoded: HeaderValue::from_static("application/octet-stream"), coding: None }
    }

    /// The `Content-Type` that describes an object with these headers of its store. Without the
    /// `Content-Encoding` that its name states, clients get the bytes as a compressed file.
    #[must_use]
    pub fn of(&self, store: &HeaderMap) -> HeaderValue {
        match self.coding {
            Some(coding) if !is_encoded(store, coding) => coding.media_type(),
            _ => self.decoded.clone(),
        }
    }
}

fn is_encoded(store: &HeaderMap, coding: Coding) -> bool {
    let value = store.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.split(',').any(|element| coding.is_named(element)))
}

#[cfg(test)]
mod tests {
    use crate::mime::{MimePolicy, MimeSettings};
    use crate::protocol::headers_of;

    #[test]
    fn the_type_describes_the_bytes_as_they_are_sent() {
        let policy = MimePolicy::new(&MimeSettings::default()).unwrap();
        for (key, encoding, expected) in [
            ("x.csv.gz", None, "application/gzip"),
            ("x.csv.gz", Some("gzip"), "text/csv; charset=utf-8"),
            ("x.csv.gz", Some("X-GZIP"), "text/csv; charset=utf-8"),
            ("x.csv.gz", Some("aws-chunked, gzip"), "text/csv; charset=utf-8"),
            ("x.csv.gz", Some("aws-chunked"), "application/gzip"),
            ("x.csv.gz", Some("br"), "application/gzip"),
            ("x.fits.gz", None, "application/gzip"),
            ("x.fits.gz", Some("gzip"), "image/fits"),
            ("x.svgz", None, "application/gzip"),
            ("x.svgz", Some("gzip"), "image/svg+xml"),
            ("x.png.Z", None, "application/x-compress"),
            ("x.png.Z", Some("compress"), "image/png"),
            ("x.csv.bz2", None, "application/x-bzip2"),
            ("x.csv.xz", None, "application/x-xz"),
            ("x.html.br", None, "application/octet-stream"),
            ("x.html.br", Some("br"), "text/html; charset=utf-8"),
            ("x.csv", None, "text/csv; charset=utf-8"),
            ("x.csv", Some("gzip"), "text/csv; charset=utf-8"),
            // A compression that is part of the format.
            ("x.fits.fz", None, "image/fits"),
            ("gz/properties", None, "text/plain; charset=utf-8"),
        ] {
            let pairs: Vec<_> = encoding.map(|it| ("content-encoding", it)).into_iter().collect();
            let of_key = policy.key_type(key).unwrap_or_else(|refused| panic!("{key} {refused:?}"));
            assert_eq!(of_key.of(&headers_of(&pairs)), expected, "{key} {encoding:?}");
        }
        assert_eq!(policy.key_type("x.tgz"), Err(Some("application/x-tar")));
        assert_eq!(policy.key_type("x.gz"), Err(None));
    }
}
