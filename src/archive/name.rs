//! Keys that name a member of an archive: `path/file.zip/member`, `path/file.pmtiles/z/x/y`.

use crate::archive::ArchiveKind;

/// A key, divided after the name of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberKey<'k> {
    pub kind: ArchiveKind,
    /// The key of the archive.
    pub archive: &'k str,
    /// The name of the member, not empty.
    pub member: &'k str,
}

/// The extensions of archives, in lower case.
const EXTENSIONS: [(&str, ArchiveKind); 2] =
    [(".zip", ArchiveKind::Zip), (".pmtiles", ArchiveKind::Pmtiles)];

/// Divides a decoded key at the first segment that is the name of an archive, in any case. `None` if there is
/// none, or nothing after it.
#[must_use]
pub fn member_key(key: &str) -> Option<MemberKey<'_>> {
    divided(key).filter(|divided| !divided.member.is_empty())
}

/// The key of the archive that a key is in: that of a member, of a folder of members, or of all of them
/// (`path/file.zip/`).
#[must_use]
pub fn archive_around(key: &str) -> Option<&str> {
    divided(key).map(|divided| divided.archive)
}

/// The same; the name of the member may be empty.
fn divided(key: &str) -> Option<MemberKey<'_>> {
    let mut start = 0;
    while let Some(length) = key.get(start..)?.find('/') {
        let end = start + length;
        let segment = key.get(start..end)?;
        if let Some(kind) = kind_of(segment) {
            let (archive, member) = (key.get(..end)?, key.get(end + 1..)?);
            return Some(MemberKey { kind, archive, member });
        }
        start = end + 1;
    }
    None
}

/// The format that the name of an object states.
fn kind_of(name: &str) -> Option<ArchiveKind> {
    let is_named = |(extension, _): &&(&str, ArchiveKind)| {
        let stem = name.len().checked_sub(extension.len()).filter(|stem| *stem > 0);
        let end = stem.and_then(|stem| name.get(stem..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(extension))
    };
    EXTENSIONS.iter().find(is_named).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_archive_in_a_key_divides_it() {
        use ArchiveKind::{Pmtiles, Zip};
        for (key, expected) in [
            ("a/b.zip/Norder3/x.png", Some((Zip, "a/b.zip", "Norder3/x.png"))),
            ("b.ZIP/x", Some((Zip, "b.ZIP", "x"))),
            ("b.zip/c.zip/x", Some((Zip, "b.zip", "c.zip/x"))),
            ("b.zip//x", Some((Zip, "b.zip", "/x"))),
            ("m/w.pmtiles/3/1/2", Some((Pmtiles, "m/w.pmtiles", "3/1/2"))),
            ("m/w.pmtiles/a.zip/1", Some((Pmtiles, "m/w.pmtiles", "a.zip/1"))),
            ("b.zip", None),
            ("b.zip/", None),
            ("b.zipx/x", None),
            ("bzip/x", None),
            (".zip/x", None),
            ("a/.pmtiles/x", None),
            ("/x.zip/é", Some((Zip, "/x.zip", "é"))),
            ("é.zip/x", Some((Zip, "é.zip", "x"))),
            ("", None),
        ] {
            let expected =
                expected.map(|(kind, archive, member)| MemberKey { kind, archive, member });
            assert_eq!(member_key(key), expected, "{key}");
        }
    }

    #[test]
    fn the_archive_around_a_key_is_found_without_a_member_too() {
        for (key, archive) in [
            ("a/b.zip/x", Some("a/b.zip")),
            ("a/b.zip/x/", Some("a/b.zip")),
            ("a/b.zip/", Some("a/b.zip")),
            ("a/b.zip", None),
            ("a/", None),
            ("", None),
        ] {
            assert_eq!(archive_around(key), archive, "{key}");
        }
    }

    proptest! {
        #[test]
        fn both_parts_make_the_key_again(key in "(a|é|\\.zip|\\.pmtiles|/|Z){0,12}") {
            if let Some(MemberKey { archive, member, .. }) = member_key(&key) {
                prop_assert_eq!(format!("{archive}/{member}"), key);
            }
        }
    }
}
