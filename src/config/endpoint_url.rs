//! Endpoint URLs as operators write them: with credentials inside (`https://key:secret@host/`), or
//! the word `aws` for Amazon's own endpoint. No message contains a secret.

use crate::config::value::{Written, text};
use crate::s3::credentials::Keys;
use crate::s3::encode::decode;
use crate::s3::endpoint::Endpoint;
use crate::s3::secret::Secret;

/// A store's address, and the access key in its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointUrl {
    /// `None` is Amazon's endpoint of the profile's region.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) keys: Option<Keys>,
}

/// Reads an endpoint URL; nothing written is `None`.
pub(super) fn endpoint_url(written: Written<'_>) -> Result<Option<EndpointUrl>, String> {
    if let Written::Yaml(serde_yaml::Value::Null) = written {
        return Ok(None);
    }
    let url = text(written)?;
    if url == "aws" {
        return Ok(Some(EndpointUrl { endpoint: None, keys: None }));
    }
    let (bare, user_info) = split_user_info(&url)?;
    let endpoint = Endpoint::parse(&bare).map_err(|error| format!("is refused: {error}"))?;
    let keys = user_info.map(keys_of).transpose()?;
    Ok(Some(EndpointUrl { endpoint: Some(endpoint), keys }))
}

/// The URL without user info, and the user info.
fn split_user_info(url: &str) -> Result<(String, Option<&str>), String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok((url.to_owned(), None));
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if tail.contains('@') {
        return Err(
            "has an `@` after the host: write `/`, `?`, `#` and `@` inside a key or secret \
                    as %2F, %3F, %23 and %40, and an `@` of the path as %40"
                .to_owned(),
        );
    }
    match authority.rsplit_once('@') {
        Some((user_info, host)) => Ok((format!("{scheme}://{host}{tail}"), Some(user_info))),
        None => Ok((url.to_owned(), None)),
    }
}

fn keys_of(user_info: &str) -> Result<Keys, String> {
    let Some((key, secret)) = user_info.split_once(':') else {
        return Err(
            "has a key without a secret: credentials are written key:secret@host".to_owned()
        );
    };
    let plain = |part: &str| {
        decode(part.as_bytes())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()))
    };
    match (plain(key), plain(secret)) {
        (Some(access_key_id), Some(secret)) => {
            Ok(Keys { access_key_id, secret_access_key: Secret::new(secret), session_token: None })
        }
        _ => Err("has an empty or unreadable key or secret: credentials are written \
                  key:secret@host, with %XX for anything but letters, digits and -._~"
            .to_owned()),
    }
}

/// What may be shown of what stands before the `@`.
const SHOWN_SCHEMES: &[&str] = &[
    "https://",
    "http://",
    "redis://",
    "rediss://",
    "redis-cluster://",
    "rediss-cluster://",
    "redis-sentinel://",
    "rediss-sentinel://",
];

/// The URL with everything up to the last `@` taken out, as far as it may be shown.
pub(super) fn redacted(url: &str) -> String {
    let Some((secret, shown)) = url.rsplit_once('@') else { return url.to_owned() };
    let scheme = SHOWN_SCHEMES
        .iter()
        .copied()
        .find(|scheme| {
            secret.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .unwrap_or_default();
    format!("{scheme}(redacted)@{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Option<EndpointUrl>, String> {
        endpoint_url(Written::Text(url))
    }

    #[test]
    fn credentials_in_the_url_are_percent_decoded_once() {
        for (url, endpoint, key, secret) in [
            ("https://AK:sk@h/", "https://h", "AK", "sk"),
            ("http://A%2FK:s%2Fk%2B%25@h:9000/base", "http://h:9000/base", "A/K", "s/k+%"),
            ("https://AK:a+b:c@[::1]:80", "https://[::1]:80", "AK", "a+b:c"),
            ("https://AK:s%2541@h", "https://h", "AK", "s%41"),
            ("https://AK:s@t@h", "https://h", "AK", "s@t"),
        ] {
            let found = read(url).expect("a valid URL").expect("an endpoint");
            let keys = found.keys.expect("keys");
            assert_eq!(found.endpoint.map(|e| e.to_string()).as_deref(), Some(endpoint), "{url}");
            assert_eq!(keys.access_key_id, key, "{url}");
            assert_eq!(keys.secret_access_key.expose(), secret, "{url}");
        }
    }

    #[test]
    fn no_message_repeats_a_secret() {
        for url in [
            "https://AK:hush",
            "https://AK@h",
            "https://:hush@h",
            "https://AK:@h",
            "https://AK:hush/hush@h/",
            "https://AK:hush?hush@h/",
            "https://AK:12/hush@h/",
            "https://AK:hush#hush@h/",
            "https://AK:hush%zz@h",
            "https://AK:hush%00@h",
            "ftp://AK:hush@h",
            "AK:hush@h",
            "https://AK:hush@",
            "https://AK:hush@h:0",
        ] {
            let message = read(url).expect_err(url);
            assert!(!message.contains("hush"), "{url}: {message}");
            if url.contains('@') {
                assert!(!redacted(url).contains("hush"), "{}", redacted(url));
            }
        }
    }

    #[test]
    fn the_word_aws_is_amazons_own_endpoint() {
        assert_eq!(read("aws"), Ok(Some(EndpointUrl { endpoint: None, keys: None })));
    }

    #[test]
    fn a_redacted_url_keeps_scheme_and_host() {
        for (url, shown) in [
            ("https://h/x", "https://h/x"),
            ("HTTPS://a:b@h/x", "https://(redacted)@h/x"),
            ("a:b@h", "(redacted)@h"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
