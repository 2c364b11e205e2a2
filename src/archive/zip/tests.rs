//! Zip files as other programs write them, and damaged ones.

#[path = "../../../tests/support/zip_file.rs"]
mod zip_file;

use proptest::prelude::*;
use rawzip::CompressionMethod;

use self::zip_file::written;
use super::*;
use crate::archive::ArchiveFault::Unsupported;
use crate::archive::ArchiveKind;
use crate::archive::search::search_in;

const MOST: u64 = 1 << 20;

/// A zip file with these stored members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip_file::zip(members, CompressionMethod::STORE)
}

fn directory(bytes: &[u8]) -> Result<ZipDirectory, ArchiveFault> {
    // As the cache does: first the end, then from where that says.
    let mut start = (bytes.len() as u64).saturating_sub(TAIL);
    loop {
        let known = usize::try_from(start).ok().and_then(|start| bytes.get(start..));
        match locate(known.unwrap_or_default(), start, MOST)? {
            Located::Read(directory) => return Ok(directory),
            Located::From(from) if from < start => start = from,
            Located::From(_) => return Err(Damaged("circle")),
        }
    }
}

/// The bytes of a member, compared with their checksum.
fn member(bytes: &[u8], name: &str) -> Result<Option<Vec<u8>>, ArchiveFault> {
    let Some(found) = search_in(ArchiveKind::Zip, bytes, name, MOST)? else { return Ok(None) };
    let place = |at: u64| usize::try_from(at).expect("a place in memory");
    let data = &bytes[place(found.place.start)..place(found.place.end)];
    let is_right = found.crc == Some(crc32fast::hash(data));
    if is_right { Ok(Some(data.to_vec())) } else { Err(Damaged("sum")) }
}

#[test]
fn members_are_found_by_their_exact_names() {
    let bytes = zip(&[("a/b.png", b"one"), ("a/c.png", b""), ("é", b"two"), ("a/B.png", b"three")]);
    for (name, expected) in [
        ("a/b.png", Some(&b"one"[..])),
        ("a/c.png", Some(b"")),
        ("a/B.png", Some(b"three")),
        ("é", Some(b"two")),
        ("a/b.pn", None),
        ("a/b.png/", None),
        ("/a/b.png", None),
        ("a//b.png", None),
        ("a/../a/b.png", None),
        ("", None),
    ] {
        assert_eq!(member(&bytes, name), Ok(expected.map(<[u8]>::to_vec)), "{name}");
    }
}

#[test]
fn many_members_are_more_than_the_end_of_the_file_holds() {
    let names: Vec<String> = (0..3000).map(|i| format!("Norder9/Dir0/Npix{i}.png")).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let bytes = zip(&members);
    let (end, start) = (bytes.len() as u64, bytes.len() as u64 - TAIL);
    let tail = &bytes[usize::try_from(start).unwrap()..];
    let Ok(Located::From(from)) = locate(tail, start, MOST) else { panic!("{start} of {end}") };
    assert!(from < start);
    for name in [&names[0], &names[1777], &names[2999]] {
        assert_eq!(member(&bytes, name), Ok(Some(name.as_bytes().to_vec())));
    }
    assert!(matches!(locate(tail, start, 10_000), Err(Unsupported(_))), "larger than allowed");
}

/// More than 65,535 members need zip64.
#[test]
fn zip64_is_read() {
    let names: Vec<String> = (0..70_000).map(|i| i.to_string()).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let bytes = zip(&members);
    let found = |name| search_in(ArchiveKind::Zip, &bytes, name, 16 << 20).expect("zip64");
    assert!(found("69999").is_some());
    assert!(found("70000").is_none());
}

#[test]
fn an_extra_field_of_any_length_is_passed_over() {
    for length in [1, 60, 65, 5000] {
        let extra = vec![7; length];
        let bytes =
            written(&[("a", b"one"), ("b", b"two")], CompressionMethod::STORE, false, &extra);
        let found = directory(&bytes).expect("a directory").find("b").expect("stored");
        let found = found.expect("a member");
        let start = usize::try_from(found.header).unwrap();
        let data = found.data("b", &bytes[start..start + 31]).expect("its place");
        let data = usize::try_from(data.start).unwrap()..usize::try_from(data.end).unwrap();
        assert_eq!(&bytes[data], b"two", "{length}");
    }
}

#[test]
fn of_two_members_with_one_name_the_later_counts() {
    let bytes = zip(&[("a", b"old"), ("b", b"x"), ("a", b"new")]);
    assert_eq!(member(&bytes, "a"), Ok(Some(b"new".to_vec())));
}

#[test]
fn members_that_are_not_stored_are_refused_by_name() {
    let members = [("a", &b"bytes"[..])];
    let deflated = written(&members, CompressionMethod::DEFLATE, false, b"");
    let encrypted = written(&members, CompressionMethod::STORE, true, b"");
    for (bytes, words) in [(deflated, "compressed members"), (encrypted, "encrypted members")] {
        let Err(Unsupported(why)) = member(&bytes, "a") else { panic!("{words}") };
        assert!(why.contains(words), "{why}");
        assert_eq!(member(&bytes, "b"), Ok(None), "the others are not affected");
    }
}

#[test]
fn bytes_before_the_archive_are_passed_over() {
    let mut bytes = b"#!/bin/sh a program that unpacks itself".to_vec();
    bytes.extend(zip(&[("a", b"one")]));
    assert_eq!(member(&bytes, "a"), Ok(Some(b"one".to_vec())));
}

#[test]
fn what_is_no_zip_is_damaged() {
    let bytes = zip(&[("a", b"one"), ("b", b"two")]);
    let cut = &bytes[..bytes.len() - 1];
    for wrong in [&b""[..], b"PK", &[0; 70_000], cut, &bytes[..40]] {
        assert!(matches!(directory(wrong), Err(Damaged(_))), "{} bytes", wrong.len());
    }
}

/// The directory says where a member is; the header there has to agree.
#[test]
fn a_header_that_contradicts_the_directory_is_damage() {
    let good = zip(&[("a", b"one"), ("b", b"two")]);
    let found = directory(&good).expect("a directory").find("b").expect("stored").expect("it");
    let at = usize::try_from(found.header).unwrap();
    for (what, place, byte) in
        [("signature", 0, 0), ("method", 8, 8), ("length of the name", 26, 2), ("name", 30, b'c')]
    {
        let mut bytes = good.clone();
        bytes[at + place] = byte;
        assert!(matches!(member(&bytes, "b"), Err(Damaged(_))), "{what}");
        assert_eq!(member(&bytes, "a"), Ok(Some(b"one".to_vec())), "{what}");
    }
    let mut bytes = good;
    bytes[at + 31] ^= 1;
    assert!(matches!(member(&bytes, "b"), Err(Damaged(_))), "a byte of the data");
}

proptest! {
    /// Whatever is damaged, there is no panic and no wrong member.
    #[test]
    fn damage_never_gives_a_wrong_member(
        place in 0..400_usize,
        byte in any::<u8>(),
        cut in 0..60_usize,
    ) {
        let members = [("a/1", &b"first"[..]), ("a/2", b"second"), ("b", b"third")];
        let mut bytes = zip(&members);
        bytes.truncate(bytes.len() - cut);
        if let Some(damaged) = bytes.get_mut(place) {
            *damaged = byte;
        }
        for (name, right) in members {
            if let Ok(Some(found)) = member(&bytes, name) {
                prop_assert_eq!(found, right, "{}", name);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), has_end in any::<bool>()) {
        if has_end {
            bytes.extend_from_slice(b"PK\x05\x06");
            bytes.extend_from_slice(&[0; 18]);
        }
        let _any_outcome = member(&bytes, "a");
    }
}
