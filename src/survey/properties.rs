//! The file `properties` of a survey (HiPS 1.0, section 4.4.1): one `keyword = value` a line.

use std::fmt;

use crate::survey::{MAX_ORDER, TileFormat};

/// The longest file that is read, bytes; real ones have 1 to 4 kB.
pub const MAX_PROPERTIES_BYTES: usize = 256 * 1024;

/// The keywords that HiPS 1.0 requires (section 4.4.1, "R").
pub const MANDATORY: [&str; 9] = [
    "creator_did",
    "obs_title",
    "dataproduct_type",
    "hips_version",
    "hips_release_date",
    "hips_status",
    "hips_tile_format",
    "hips_order",
    "hips_frame",
];

/// Faults that are remembered; a file of another kind has one in each line.
const MAX_FAULTS: usize = 20;

/// The keywords and their values, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    values: Vec<(String, String)>,
    faults: Vec<PropertyFault>,
}

/// What a program that reads the file may stumble over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyFault {
    /// A line of this number without `=`.
    NoValue(usize),
    /// The keyword has several values; the last one counts.
    Repeated(String),
    NotUtf8,
}

/// The frame of the tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// ICRS, the frame of every coverage map.
    Equatorial,
    Galactic,
    Ecliptic,
    /// Of another body, or misspelt.
    Other,
}

/// The value of a keyword is not a whole number from 0 to 29.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidNumber;

impl fmt::Display for PropertyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue(line) => write!(f, "line {line} has no \"=\""),
            Self::Repeated(keyword) => write!(f, "{keyword} stands there more than once"),
            Self::NotUtf8 => f.write_str("it is not UTF-8"),
        }
    }
}

impl Properties {
    /// Reads the file. Lines that begin with `#` are comments.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut parsed = Self::default();
        let text = String::from_utf8_lossy(bytes);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            parsed.faults.push(PropertyFault::NotUtf8);
        }
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((keyword, value)) if !keyword.trim_end().is_empty() => {
                    parsed.set(keyword.trim_end(), value.trim_start());
                }
                _ => parsed.note(PropertyFault::NoValue(number)),
            }
        }
        parsed
    }

    fn set(&mut self, keyword: &str, value: &str) {
        match self.values.iter_mut().find(|(known, _)| known == keyword) {
            Some((_, known)) => {
                value.clone_into(known);
                self.note(PropertyFault::Repeated(keyword.to_owned()));
            }
            None => self.values.push((keyword.to_owned(), value.to_owned())),
        }
    }

    fn note(&mut self, fault: PropertyFault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    /// What is wrong with its form, at most twenty faults.
    #[must_use]
    pub fn faults(&self) -> &[PropertyFault] {
        &self.faults
    }

    /// The value of a keyword, if it has one.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        let found = self.values.iter().find(|(known, _)| known == keyword);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The mandatory keywords without a value.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        MANDATORY.into_iter().filter(|keyword| self.get(keyword).is_none()).collect()
    }

    /// The order of a keyword such as `hips_order`; `None` where the file does not have it.
    ///
    /// # Errors
    /// The value is not a whole number from 0 to [`MAX_ORDER`].
    pub fn order(&self, keyword: &str) -> Result<Option<u8>, InvalidNumber> {
        let Some(value) = self.get(keyword) else { return Ok(None) };
        let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
        let order = value.parse().ok().filter(|order| is_plain && *order <= MAX_ORDER);
        order.map(Some).ok_or(InvalidNumber)
    }

    /// The formats of `hips_tile_format`, each once, and the words that are no format.
    #[must_use]
    pub fn formats(&self) -> (Vec<TileFormat>, Vec<&str>) {
        let (mut formats, mut unknown) = (Vec::new(), Vec::new());
        let words = self.get("hips_tile_format").unwrap_or_default();
        for word in words.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
            match TileFormat::of_keyword(word) {
                Some(format) if formats.contains(&format) => {}
                Some(format) => formats.push(format),
                None => unknown.push(word),
            }
        }
        (formats, unknown)
    }

    /// The frame of `hips_frame`, spelt as in the standard; `None` where the file does not say.
    #[must_use]
    pub fn frame(&self) -> Option<Frame> {
        Some(match self.get("hips_frame")? {
            "equatorial" => Frame::Equatorial,
            "galactic" => Frame::Galactic,
            "ecliptic" => Frame::Ecliptic,
            _ => Frame::Other,
        })
    }

    /// Whether the survey is a cube, whose tiles have another layout.
    #[must_use]
    pub fn is_cube(&self) -> bool {
        let is_cube = self.get("dataproduct_type").is_some_and(|kind| kind.contains("cube"));
        is_cube || self.values.iter().any(|(keyword, _)| keyword.starts_with("hips_cube"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_of_the_standard_is_read() {
        let text = "# a comment\r\nhips_order = 5\n\n  hips_frame=equatorial  \n\
                    hips_tile_format = jpeg fits jpg, webp  \nobs_title = a = b\nempty =\n";
        let properties = Properties::parse(text.as_bytes());
        assert_eq!(properties.faults(), []);
        assert_eq!(properties.order("hips_order"), Ok(Some(5)));
        assert_eq!(properties.order("hips_order_min"), Ok(None));
        assert_eq!(properties.frame(), Some(Frame::Equatorial));
        let formats = vec![TileFormat::Jpeg, TileFormat::Fits, TileFormat::Webp];
        assert_eq!(properties.formats(), (formats, vec![]));
        assert_eq!(properties.get("obs_title"), Some("a = b"));
        assert_eq!(properties.get("empty"), None);
        assert!(!properties.is_cube());
        assert_eq!(
            properties.missing(),
            ["creator_did", "dataproduct_type", "hips_version", "hips_release_date", "hips_status"]
        );
    }

    #[test]
    fn values_that_are_not_of_the_standard_are_not_guessed() {
        for order in ["-1", "30", "3.0", "+3", "three", "256", "0x3"] {
            let properties = Properties::parse(format!("hips_order = {order}").as_bytes());
            assert_eq!(properties.order("hips_order"), Err(InvalidNumber), "{order}");
        }
        for (frame, read) in
            [("galactic", Frame::Galactic), ("C", Frame::Other), ("mars", Frame::Other)]
        {
            let properties = Properties::parse(format!("hips_frame = {frame}").as_bytes());
            assert_eq!(properties.frame(), Some(read), "{frame}");
        }
        for text in ["hips_cube_depth = 5", "dataproduct_type = cube"] {
            assert!(Properties::parse(text.as_bytes()).is_cube(), "{text}");
        }
        assert_eq!(Properties::parse(b"hips_tile_format = tiff").formats().1, ["tiff"]);
    }

    #[test]
    fn faults_of_the_form_are_named() {
        let text = b"<html>\nhips_order = 3\nhips_order = 4\n = 5\nobs_title = \xff\n";
        let properties = Properties::parse(text);
        assert_eq!(
            properties.faults(),
            [
                PropertyFault::NotUtf8,
                PropertyFault::NoValue(1),
                PropertyFault::Repeated("hips_order".to_owned()),
                PropertyFault::NoValue(4),
            ]
        );
        assert_eq!(properties.order("hips_order"), Ok(Some(4)));
        assert_eq!(Properties::parse(&b"x\n".repeat(1000)).faults().len(), MAX_FAULTS);
    }

    proptest! {
        #[test]
        fn no_file_is_a_panic(bytes in any::<Vec<u8>>()) {
            let properties = Properties::parse(&bytes);
            let _anything = (properties.missing(), properties.formats(), properties.frame());
        }
    }
}
