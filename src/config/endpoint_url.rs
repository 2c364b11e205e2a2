//! Endpoint URLs as operators write them: with credentials inside (`https://key:secret@host/`), or
//! the word `aws` for Amazon's own endpoint. No message contains a secret.

use crate::config::value::{Written, list_of, text};
use crate::profile::MAX_ENDPOINTS;
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

/// Reads the endpoints of one store, in the order in which they are asked.
pub(super) fn endpoints(written: Written<'_>) -> Result<Vec<Endpoint>, String> {
    if let Written::Yaml(serde_yaml::Value::Null) = written {
        return Ok(Vec::new());
    }
    let mut seen = Vec::new();
    let read = list_of(written, |url| {
        let shown = redacted(&url);
        if url.contains('@') {
            return Err(format!(
                "has {shown}: write the access key, which is that of all endpoints, into the credentials file"
            ));
        }
        let endpoint = Endpoint::parse(&url).map_err(|error| format!("has {shown}: {error}"))?;
        if seen.contains(&endpoint) {
            return Err(format!("has {endpoint} twice"));
        }
        seen.push(endpoint.clone());
        Ok(endpoint)
    })?;
    match read.len() {
        0..=MAX_ENDPOINTS => Ok(read),
        many => Err(format!("has {many} URLs: at most {MAX_ENDPOINTS} are possible")),
    }
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
    fn endpoints_are_urls_in_order_without_credentials() {
        let read = |text: &str| {
            let yaml: serde_yaml::Value = serde_yaml::from_str(text).expect("YAML");
            let urls = endpoints(Written::Yaml(&yaml))?;
            Ok::<_, String>(urls.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let both = vec!["https://b".to_owned(), "http://a:9000/x".to_owned()];
        assert_eq!(read("[https://b/, http://a:9000/x]"), Ok(both));
        assert_eq!(read("null"), Ok(Vec::new()));
        assert_eq!(read("[]"), Ok(Vec::new()));
        for (text, message) in [
            ("[https://a, ftp://b]", "has ftp://b: an endpoint must be"),
            ("[https://a, 'https://A:443/']", "has https://a twice"),
            ("[https://AK:hush@a]", "has https://(redacted)@a: write the access key"),
            ("['AK:hush@a']", "has (redacted)@a"),
            ("[aws]", "has aws: an endpoint must be"),
            ("[7]", "must be a list of texts"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(message) && !error.contains("hush"), "{text}: {error}");
        }
        let many: Vec<_> = (0..=MAX_ENDPOINTS).map(|number| format!("http://h{number}")).collect();
        assert!(read(&format!("{many:?}")).expect_err("too many").contains("at most 8"));
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
