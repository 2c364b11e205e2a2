//! A store's answer, read for the parts that a verdict depends on.

use http::HeaderMap;
use http::header::LOCATION;

use crate::check::verdict::StoreReply;
use crate::s3::endpoint::Endpoint;
use crate::upstream::error_document::{ErrorDocument, request_id};

/// The parts of an answer that a verdict depends on.
pub(super) fn reply(
    tls: bool,
    status: u16,
    headers: &HeaderMap,
    document: &ErrorDocument,
) -> StoreReply {
    let (code, document) = (document.code(), document.bytes());
    let named = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
    let region = named.or_else(|| element(document, "Region")).filter(|name| is_name(name));
    let scheme = if tls { "https" } else { "http" };
    let location = match headers.get(LOCATION) {
        Some(url) => url.to_str().ok().and_then(|url| Endpoint::parse(without_path(url)).ok()),
        None => element(document, "Endpoint")
            .and_then(|host| Endpoint::parse(without_path(&format!("{scheme}://{host}"))).ok()),
    };
    let is_list = ["<ListAllMyBucketsResult", "<ListBucketResult"]
        .iter()
        .any(|start| document.windows(start.len()).any(|window| window == start.as_bytes()));
    StoreReply {
        status,
        code: code.map(str::to_owned),
        region: region.map(str::to_owned),
        location,
        request_id: request_id(headers).map(str::to_owned),
        is_list,
    }
}

/// A URL as far as its host and port.
fn without_path(url: &str) -> &str {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let rest = url.get(start..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).map_or(url.len(), |length| start + length);
    url.get(..end).unwrap_or(url)
}

/// The text of the first element of this name.
fn element<'a>(document: &'a [u8], name: &str) -> Option<&'a str> {
    let document = std::str::from_utf8(document).ok()?;
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers_of(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn read(tls: bool, status: u16, headers: &HeaderMap, bytes: &[u8]) -> StoreReply {
        let mut document = ErrorDocument::default();
        document.push(bytes);
        reply(tls, status, headers, &document)
    }

    #[test]
    fn answers_are_read_for_what_names_the_fault() {
        let document = b"<Error><Code>AuthorizationHeaderMalformed</Code>\
            <Region>eu-west-1</Region></Error>";
        let headers = headers_of(&[("x-amz-request-id", "tx01"), ("server", "x")]);
        let found = read(true, 400, &headers, document);
        assert_eq!(found.code.as_deref(), Some("AuthorizationHeaderMalformed"));
        assert_eq!(found.region.as_deref(), Some("eu-west-1"));
        assert_eq!(found.request_id.as_deref(), Some("tx01"));
        assert!(!found.is_list);
        assert!(read(true, 200, &headers, b"<?xml?><ListBucketResult xmlns=''>").is_list);
    }

    #[test]
    fn redirects_are_read_without_the_path_they_lead_to() {
        for (headers, document, location) in [
            (
                &[("location", "https://s3.example.org/a?X-Amz-Signature=1")][..],
                "",
                "https://s3.example.org",
            ),
            (&[("location", "/relative")][..], "", ""),
            (
                &[][..],
                "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>",
                "http://b.s3.eu-west-1.amazonaws.com",
            ),
            (&[][..], "<Endpoint>no host</Endpoint>", ""),
        ] {
            let found = read(false, 301, &headers_of(headers), document.as_bytes());
            let shown = found.location.map(|to| to.to_string()).unwrap_or_default();
            assert_eq!(shown, location, "{document}");
        }
    }

    #[test]
    fn what_a_store_says_is_taken_for_a_region_only_if_it_looks_like_one() {
        for document in ["<Region></Region>", "<Region>a\u{1b}[2J</Region>", "<Region>x", ""] {
            assert_eq!(read(true, 400, &HeaderMap::new(), document.as_bytes()).region, None);
        }
    }
}
