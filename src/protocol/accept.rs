//! Which form of a page a client prefers: `Accept` (RFC 9110, section 12.5.1). Only types that a client
//! names count: `*/*` is sent by programs and says nothing. And which content codings it accepts.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING};

/// The form that a client names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preferred {
    /// `text/html`, as browsers do.
    Html,
    /// `application/json`, and more than `text/html`.
    Json,
    /// Neither.
    Either,
}

/// The form that the client prefers.
#[must_use]
pub fn preferred(headers: &HeaderMap) -> Preferred {
    let (mut html, mut json) = (0, 0);
    for value in headers.get_all(ACCEPT) {
        for part in value.to_str().unwrap_or_default().split(',') {
            let (media_type, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight(parameters);
            let media_type = media_type.trim();
            if media_type.eq_ignore_ascii_case("text/html") {
                html = weight;
            } else if media_type.eq_ignore_ascii_case("application/json") {
                json = weight;
            }
        }
    }
    if html > 0 && html >= json {
        Preferred::Html
    } else if json > 0 {
        Preferred::Json
    } else {
        Preferred::Either
    }
}

/// The content codings that a client accepts: `Accept-Encoding` (RFC 9110, section 12.5.3). A client without the
/// header accepts any, says the RFC; but such programs often do not decode, so it counts as none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptedCodings(Vec<(String, bool)>);

impl AcceptedCodings {
    /// Reads the headers of a request.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        let parts = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
        let named = parts.map(|part| {
            let (coding, parameters) = part.split_once(';').unwrap_or((part, ""));
            let coding = coding.trim().to_ascii_lowercase();
            let coding = coding.strip_prefix("x-").map(str::to_owned).unwrap_or(coding);
            (coding, weight(parameters) > 0)
        });
        Self(named.collect())
    }

    /// Whether it accepts this coding.
    #[must_use]
    pub fn accepts(&self, coding: &str) -> bool {
        let of = |wanted: &str| self.0.iter().find(|(named, _)| named == wanted);
        of(coding).or_else(|| of("*")).is_some_and(|(_, accepted)| *accepted)
    }
}

/// `q` in thousandths; 1000 where there is none, 0 where it is no number.
fn weight(parameters: &str) -> u32 {
    let mut weights = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(text) = weights.next() else { return 1000 };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let thousandths = format!("{:0<3}", fraction.get(..3).unwrap_or(fraction));
    match (whole, thousandths.parse::<u32>()) {
        ("1", _) => 1000,
        ("0", Ok(thousandths)) => thousandths,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::headers_of;

    #[test]
    fn browsers_get_pages_and_programs_do_not() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Preferred::Html),
            ("TEXT/HTML", Preferred::Html),
            ("*/*", Preferred::Either),
            ("", Preferred::Either),
            ("text/*", Preferred::Either),
            ("application/json, text/html;q=0.9", Preferred::Json),
            ("application/json;q=0.8, text/html", Preferred::Html),
            ("application/json, text/plain, */*", Preferred::Json),
            ("text/html;q=0", Preferred::Either),
            ("text/html;q=0.001", Preferred::Html),
            ("text/html;q=x", Preferred::Either),
            ("text/html;level=1;q=0.5,application/json;q=0.50", Preferred::Html),
        ] {
            assert_eq!(preferred(&headers_of(&[("accept", accept)])), expected, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new()), Preferred::Either);
    }

    #[test]
    fn a_coding_is_accepted_if_it_is_named() {
        for (header, gzip, brotli) in [
            (None, false, false),
            (Some(""), false, false),
            (Some("gzip"), true, false),
            (Some("GZIP, br"), true, true),
            (Some("x-gzip"), true, false),
            (Some("gzip;q=0, *"), false, true),
            (Some("gzip;q=0.5"), true, false),
            (Some("*"), true, true),
            (Some("*;q=0"), false, false),
            (Some("identity"), false, false),
            (Some("deflate, gzip;q=1.0, *;q=0.5"), true, true),
        ] {
            let headers = header.map(|value| headers_of(&[("accept-encoding", value)]));
            let accepted = AcceptedCodings::of(&headers.unwrap_or_default());
            let found = (accepted.accepts("gzip"), accepted.accepts("br"));
            assert_eq!(found, (gzip, brotli), "{header:?}");
        }
    }
}
