//! Entity tags and the lists of them in `If-Match` and `If-None-Match`: RFC 9110, sections 8.8.3,
//! 13.1.1 and 13.1.2.

use http::header::GetAll;
use http::{HeaderMap, HeaderName, HeaderValue};

/// `"opaque"` or `W/"opaque"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    pub weak: bool,
    /// The bytes between the quotes (`*etagc`): no control characters, spaces or quotes; bytes above
    /// 0x7f are opaque.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Parses a value that is exactly one entity tag.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::take(value.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Like [`EntityTag::parse`], but reads a value without quotes as a strong tag: S3 clients and
    /// some stores send it so.
    #[must_use]
    pub fn parse_lenient(value: &'a [u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let bare = || {
            let opaque = value.iter().all(|byte| is_opaque(*byte) && *byte != b',');
            (opaque && !value.is_empty() && value != b"*" && !value.starts_with(b"W/"))
                .then_some(Self { weak: false, opaque: value })
        };
        Self::parse(value).or_else(bare)
    }

    /// Strong comparison (section 8.8.3.2): equal, and neither is weak.
    #[must_use]
    pub fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison (section 8.8.3.2): equal, weak or not.
    #[must_use]
    pub fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// The tag as a header value, in quotes and without the weak marker, as stores accept it.
    #[must_use]
    pub fn strong_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(&[b"\"", self.opaque, b"\""].concat()).ok()
    }

    /// Splits off the tag at the start of the text.
    fn take(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let (opaque, rest) =
            inner.split_at_checked(inner.iter().position(|byte| *byte == b'"')?)?;
        let tag = Self { weak, opaque };
        opaque.iter().all(|byte| is_opaque(*byte)).then_some((tag, rest.strip_prefix(b"\"")?))
    }
}

/// `etagc`.
fn is_opaque(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)
}

/// The value of `If-Match` or `If-None-Match`, combined from all field lines.
#[derive(Debug)]
pub enum EntityTags<'h> {
    /// `*`.
    Any,
    /// A list; see [`EntityTags::tags`].
    List(GetAll<'h, HeaderValue>),
}

impl<'h> EntityTags<'h> {
    /// `None` when the header is missing.
    #[must_use]
    pub fn of(headers: &'h HeaderMap, name: &HeaderName) -> Option<Self> {
        let lines = headers.get_all(name);
        lines.iter().next()?;
        let any = lines.iter().any(|line| line.as_bytes().trim_ascii() == b"*");
        Some(if any { Self::Any } else { Self::List(lines) })
    }

    /// The listed tags. The rest of a field line after a malformed element is ignored, because it may
    /// be part of that element. A single element on a single line may lack its quotes.
    pub fn tags(&self) -> impl Iterator<Item = EntityTag<'h>> {
        let alone = self.single();
        let mut lines = match self {
            Self::List(lines) if alone.is_none() => Some(lines.iter()),
            _ => None,
        };
        let mut rest: &'h [u8] = b"";
        alone.into_iter().chain(std::iter::from_fn(move || {
            loop {
                rest = skip_separators(rest);
                if rest.is_empty() {
                    rest = lines.as_mut()?.next()?.as_bytes();
                    continue;
                }
                if let Some((tag, behind)) = EntityTag::take(rest)
                    && matches!(behind.trim_ascii_start().first(), None | Some(b','))
                {
                    rest = behind;
                    return Some(tag);
                }
                rest = b"";
            }
        }))
    }

    /// The tag, if the header is exactly one tag.
    #[must_use]
    pub fn single(&self) -> Option<EntityTag<'h>> {
        let Self::List(lines) = self else { return None };
        let mut lines = lines.iter();
        let line = lines.next()?;
        if lines.next().is_some() {
            return None;
        }
        EntityTag::parse_lenient(line.as_bytes())
    }
}

fn skip_separators(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b',', rest @ ..] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use http::header::IF_MATCH;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::headers_of;

    const fn strong(opaque: &[u8]) -> EntityTag<'_> {
        EntityTag { weak: false, opaque }
    }

    const fn weak(opaque: &[u8]) -> EntityTag<'_> {
        EntityTag { weak: true, opaque }
    }

    #[test]
    fn tags_are_parsed_byte_by_byte() {
        for (text, expected) in [
            // The examples of section 8.8.3.
            (&b"\"xyzzy\""[..], Some(strong(b"xyzzy"))),
            (b"W/\"xyzzy\"", Some(weak(b"xyzzy"))),
            (b"\"\"", Some(strong(b""))),
            (b" \"a,b\"\t", Some(strong(b"a,b"))),
            (b"\"W/\"", Some(strong(b"W/"))),
            (b"\"\\\"", Some(strong(b"\\"))),
            (b"\"\xc3\xa9\x80\xff\"", Some(strong(b"\xc3\xa9\x80\xff"))),
            (
                b"\"d41d8cd98f00b204e9800998ecf8427e-12\"",
                Some(strong(b"d41d8cd98f00b204e9800998ecf8427e-12")),
            ),
            (b"w/\"a\"", None),
            (b"W/a", None),
            (b"W\"a\"", None),
            (b"W/ \"a\"", None),
            (b"\"a", None),
            (b"a\"", None),
            (b"\"", None),
            (b"", None),
            (b"*", None),
            (b"a", None),
            (b"\"a b\"", None),
            (b"\"a\tb\"", None),
            (b"\"a\x7fb\"", None),
            (b"\"a\"\"b\"", None),
            (b"\"a\", \"b\"", None),
        ] {
            assert_eq!(EntityTag::parse(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn one_tag_may_lack_its_quotes() {
        for (text, expected) in [
            (&b"d41d8cd9"[..], Some(strong(b"d41d8cd9"))),
            (b" d41d8cd9-2 ", Some(strong(b"d41d8cd9-2"))),
            (b"\"a\"", Some(strong(b"a"))),
            (b"W/\"a\"", Some(weak(b"a"))),
            (b"W/a", None),
            (b"*", None),
            (b"", None),
            (b"a,b", None),
            (b"a b", None),
            (b"\"a", None),
            (b"a\"", None),
        ] {
            assert_eq!(EntityTag::parse_lenient(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn comparison_is_that_of_the_table_in_section_8_8_3_2() {
        for (a, b, by_strong, by_weak) in [
            (weak(b"1"), weak(b"1"), false, true),
            (weak(b"1"), weak(b"2"), false, false),
            (weak(b"1"), strong(b"1"), false, true),
            (strong(b"1"), strong(b"1"), true, true),
        ] {
            assert_eq!((a.strong_eq(&b), a.weak_eq(&b)), (by_strong, by_weak), "{a:?} {b:?}");
            assert_eq!((b.strong_eq(&a), b.weak_eq(&a)), (by_strong, by_weak), "{b:?} {a:?}");
        }
    }

    #[test]
    fn lists_combine_lines_and_end_at_a_malformed_element() {
        let (a, b, c) = (strong(b"a"), strong(b"b"), weak(b"c"));
        let cases: &[(&[&str], &[EntityTag<'_>])] = &[
            (&["\"a\""], &[a]),
            (&["\"a\", \"b\""], &[a, b]),
            (&["\"a\",\"b\",W/\"c\""], &[a, b, c]),
            (&["\"a\" , \"b\""], &[a, b]),
            (&["\"a\"", "\"b\", W/\"c\""], &[a, b, c]),
            (&[", ,\"a\",, \"b\" ,"], &[a, b]),
            (&["\"a,b\", \"b\""], &[strong(b"a,b"), b]),
            (&["\", \", \"b\""], &[]),
            (&[""], &[]),
            (&[","], &[]),
            (&["a"], &[a]),
            (&["a, b"], &[]),
            (&["a", "b"], &[]),
            (&["\"a\", b, W/\"c\""], &[a]),
            (&["\"a\" \"b\""], &[]),
            (&["\"a\"x, \"b\""], &[]),
            (&["\"a\", *"], &[a]),
            (&["\"a", "\"b\""], &[b]),
            (&["junk", "\"b\""], &[b]),
        ];
        for (lines, expected) in cases {
            let pairs: Vec<_> = lines.iter().map(|line| ("if-match", *line)).collect();
            let headers = headers_of(&pairs);
            let tags = EntityTags::of(&headers, &IF_MATCH).expect("the header is there");
            assert_eq!(tags.tags().collect::<Vec<_>>(), *expected, "{lines:?}");
            let alone = match expected {
                [tag]
                    if lines.len() == 1
                        && EntityTag::parse_lenient(lines[0].as_bytes()).is_some() =>
                {
                    Some(*tag)
                }
                _ => None,
            };
            assert_eq!(tags.single(), alone, "{lines:?}");
        }
    }

    #[test]
    fn a_star_matches_any_tag_only_alone_in_its_line() {
        for (lines, any) in [
            (&["*"][..], true),
            (&[" * "], true),
            (&["\"a\"", "*"], true),
            (&["\"*\""], false),
            (&["**"], false),
            (&["*, \"a\""], false),
        ] {
            let pairs: Vec<_> = lines.iter().map(|line| ("if-match", *line)).collect();
            let headers = headers_of(&pairs);
            let tags = EntityTags::of(&headers, &IF_MATCH).expect("the header is there");
            assert_eq!(matches!(tags, EntityTags::Any), any, "{lines:?}");
        }
        assert!(EntityTags::of(&headers_of(&[]), &IF_MATCH).is_none());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(lines in proptest::collection::vec("[W/\"a*, \\té]{0,12}", 1..4)) {
            let pairs: Vec<_> = lines.iter().map(|line| ("if-match", line.as_str())).collect();
            let headers = headers_of(&pairs);
            let tags = EntityTags::of(&headers, &IF_MATCH).expect("the header is there");
            prop_assert!(tags.tags().count() <= 30);
            let _ = tags.single();
        }

        #[test]
        fn every_opaque_byte_survives(opaque in proptest::collection::vec(any::<u8>(), 0..20)) {
            let legal = opaque.iter().all(|byte| is_opaque(*byte));
            let quoted = [b"\"", &opaque[..], b"\""].concat();
            prop_assert_eq!(EntityTag::parse(&quoted), legal.then_some(strong(&opaque)));
            if legal {
                let header = strong(&opaque).strong_header().expect("a header value");
                prop_assert_eq!(header.as_bytes(), quoted);
            }
        }
    }
}
