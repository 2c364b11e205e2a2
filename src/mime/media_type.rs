//! Media types as text: RFC 9110, section 8.3.1.

/// A parsed `type/subtype; name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaType<'a> {
    /// `type/subtype` in lower case.
    pub(super) essence: String,
    /// The parameters as written, from the first `;` on.
    pub(super) parameters: &'a str,
    pub(super) has_charset: bool,
}

impl<'a> MediaType<'a> {
    /// Parses the whole text as one media type; a list of types is an error.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (essence, parameters) = text.split_at_checked(end)?;
        let (main, sub) = essence.split_once('/')?;
        if !is_token(main) || !is_token(sub) {
            return None;
        }
        Some(Self {
            essence: essence.to_ascii_lowercase(),
            parameters: parameters.trim_start_matches([' ', '\t']),
            has_charset: has_charset(parameters)?,
        })
    }

    /// The type as sent: `text/*` without a `charset` gets UTF-8, as in s3proxy 2.0.1.
    pub(super) fn to_text(&self) -> String {
        let Self { essence, parameters, has_charset } = self;
        if essence.starts_with("text/") && !has_charset {
            format!("{essence}{parameters}; charset=utf-8")
        } else {
            format!("{essence}{parameters}")
        }
    }
}

/// Walks `*( OWS ";" OWS [ token "=" ( token / quoted-string ) ] )` (section 5.6.6) to its end.
fn has_charset(parameters: &str) -> Option<bool> {
    let mut rest = parameters.trim_start_matches([' ', '\t']);
    let mut found = false;
    while !rest.is_empty() {
        rest = rest.strip_prefix(';')?.trim_start_matches([' ', '\t']);
        if rest.is_empty() || rest.starts_with(';') {
            continue;
        }
        let (name, value) = rest.split_once('=')?;
        if !is_token(name) {
            return None;
        }
        found |= name.eq_ignore_ascii_case("charset");
        rest = after_value(value)?.trim_start_matches([' ', '\t']);
    }
    Some(found)
}

/// What follows the token or quoted string at the start of the text.
fn after_value(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = quoted.find(|c: char| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        })?;
        return quoted.split_at_checked(end)?.1.strip_prefix('"');
    }
    let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    is_token(value).then_some(rest)
}

/// `token` (section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_are_sent_with_a_lower_case_essence_and_their_parameters() {
        for (text, sent) in [
            ("image/png", "image/png"),
            (" IMAGE/Png\t", "image/png"),
            ("text/plain", "text/plain; charset=utf-8"),
            ("text/plain;", "text/plain;; charset=utf-8"),
            ("text/plain; Charset=ISO-8859-1", "text/plain; Charset=ISO-8859-1"),
            ("text/csv ; header=present", "text/csv; header=present; charset=utf-8"),
            ("video/mp4;codecs=\"avc1, \\\"mp4a;\"", "video/mp4;codecs=\"avc1, \\\"mp4a;\""),
            ("application/xml; x=\"charset=\"", "application/xml; x=\"charset=\""),
        ] {
            let parsed = MediaType::parse(text).map(|media_type| media_type.to_text());
            assert_eq!(parsed.as_deref(), Some(sent), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_exactly_one_type_is_invalid() {
        for text in [
            "",
            " ",
            "png",
            "image/",
            "/png",
            "image/png/x",
            "image /png",
            "image/ png",
            "image/png, text/html",
            "image/png,text/html",
            "image/png; q",
            "image/png; =x",
            "image/png; x=",
            "image/png; x=a, text/html",
            "image/png; x=\"a",
            "image/png; x=\"a\"b",
            "image/png x",
            "image/png\u{a0}",
            "im\u{e4}ge/png",
            "image/png\0",
        ] {
            assert_eq!(MediaType::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[a-z/;=\"\\\\, \\té]{0,24}") {
            let _ = MediaType::parse(&text);
        }

        #[test]
        fn what_is_sent_reads_as_the_same_type(text in "(text|IMAGE)/[a-zA-Z]{1,4}( ?; ?[a-y]=([a-z]|\"[a-z,; ]*\")){0,3}") {
            let parsed = MediaType::parse(&text).expect("written as the grammar says");
            let sent = parsed.to_text();
            let again = MediaType::parse(&sent).expect("what is sent parses");
            prop_assert_eq!(&again.essence, &parsed.essence);
            prop_assert_eq!(again.to_text(), sent);
        }
    }
}
