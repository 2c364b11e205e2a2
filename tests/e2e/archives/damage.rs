//! Damaged archives, and archives that change while they are read.

use rawzip::CompressionMethod;

use super::{cause, member, setup, stored, tiles};
use crate::client::{Ending, find};
use crate::origin::Origin;
use crate::zip_file::zip;

/// The archive with one byte changed, which is so far from the first place of `near`.
fn changed(archive: &[u8], near: &[u8], distance: usize) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    let at = find(&bytes, near).expect("it is there") + distance;
    bytes[at] ^= 1;
    bytes
}

#[test]
fn damage_is_an_error_and_never_a_wrong_member() {
    let origin = Origin::start();
    let good = stored(&[("one.png", b"first member"), ("two.png", b"second member")]);
    let local = find(&good, b"two.png").expect("a header") - 30;
    let central = good.len() - find(&reversed(&good), &reversed(b"two.png")).expect("a record") - 7;
    let mut signature = good.clone();
    signature[local] = 0;
    let mut name = good.clone();
    name[local + 30] = b'T';
    let mut offset = good.clone();
    // To the header of the other member.
    offset[central - 4..central].copy_from_slice(&[0; 4]);
    for (what, archive, damaged) in [
        ("a byte of the data", changed(&good, b"second", 0), true),
        ("the signature of a header", signature, true),
        ("the name in a header", name, true),
        ("the place in the directory", offset, true),
        ("cut off", good[..good.len() - 10].to_vec(), false),
        ("no zip", b"<html>an error page</html>".to_vec(), false),
        ("empty", Vec::new(), false),
    ] {
        origin.put("t.zip", archive);
        let gateway = setup(&origin.url()).tolerate("archive_damaged").start();
        for _ in 0..2 {
            let answer = member(&gateway, "t.zip/two.png", &[]);
            let line = gateway.line_of(&answer);
            assert_eq!(
                (answer.status(), cause(&answer).as_str()),
                (502, "archive_damaged"),
                "{what}"
            );
            assert_eq!(line["cause"], "archive_damaged", "{what}: {line}");
            assert!(answer.text().contains("The archive "), "{what}: {}", answer.text());
        }
        if damaged {
            assert_eq!(member(&gateway, "t.zip/one.png", &[]).text(), "first member", "{what}");
        }
    }
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

#[test]
fn a_large_member_that_is_damaged_is_cut() {
    let origin = Origin::start();
    let bytes = [vec![1; 2_000_000], b"needle".to_vec(), vec![2; 500_000]].concat();
    let good = stored(&[("large.png", &bytes), ("small.png", b"x")]);
    origin.put("t.zip", changed(&good, b"needle", 0));
    let gateway = setup(&origin.url()).tolerate("damaged").start();
    let answer = member(&gateway, "t.zip/large.png", &[]);
    assert_eq!((answer.status(), answer.ending), (200, Ending::Cut));
    let line = gateway.line_of(&answer);
    assert!(line.to_string().contains("wrong checksum"), "{line}");
    assert_eq!(member(&gateway, "t.zip/small.png", &[]).text(), "x");
}

#[test]
fn compressed_members_are_refused_by_name() {
    let origin = Origin::start();
    let members = [("one.png".to_owned(), b"bytes".to_vec())];
    origin.put("t.zip", zip(&members, CompressionMethod::DEFLATE));
    let gateway = setup(&origin.url()).tolerate("archive_unsupported").start();
    let answer = member(&gateway, "t.zip/one.png", &[]);
    gateway.line_of(&answer);
    assert_eq!((answer.status(), cause(&answer).as_str()), (502, "archive_unsupported"));
    assert!(answer.text().contains("zip -0"), "{}", answer.text());
}

/// The directory at hand is that of the version before: a range of another version is never read by it.
#[test]
fn an_archive_that_is_replaced_gives_members_of_one_version() {
    let origin = Origin::start();
    let old = tiles(600, 4000, "old");
    let new = tiles(600, 3000, "new");
    origin.put("t.zip", zip(&old, CompressionMethod::STORE));
    let gateway = setup(&origin.url()).start();
    let first = member(&gateway, &format!("t.zip/{}", old[0].0), &[]);
    assert!(first.body == old[0].1);
    origin.put("t.zip", zip(&new, CompressionMethod::STORE));
    // Far from what is cached.
    let far = member(&gateway, &format!("t.zip/{}", new[400].0), &[]);
    assert_eq!(far.status(), 200, "{far:?}");
    assert!(far.body == new[400].1, "bytes of another version");
    let again = member(&gateway, &format!("t.zip/{}", new[0].0), &[]);
    assert!(again.body == new[0].1);
    assert!(again.header("etag") != first.header("etag"));
    let conditional = member(
        &gateway,
        &format!("t.zip/{}", new[0].0),
        &[("if-none-match", first.header("etag").expect("a tag"))],
    );
    assert_eq!(conditional.status(), 200, "the tag of the version before");
}
