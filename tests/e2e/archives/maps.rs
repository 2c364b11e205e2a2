//! PMTiles: tiles by their coordinates, in directories and below them, compressed and not.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;

use super::{cause, member, setup};
use crate::cached::status;
use crate::origin::Origin;

const HEADER: usize = 127;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("an end")
}

fn varint(mut number: usize, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).expect("7 bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("7 bits"));
}

/// A compressed directory of entries: first tile, run, length, offset.
fn directory(entries: &[(usize, usize, usize, usize)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(entries.len(), &mut bytes);
    let mut last = 0;
    for (first, ..) in entries {
        varint(first - last, &mut bytes);
        last = *first;
    }
    entries.iter().for_each(|(_, run, ..)| varint(*run, &mut bytes));
    entries.iter().for_each(|(_, _, length, _)| varint(*length, &mut bytes));
    entries.iter().for_each(|(.., offset)| varint(offset + 1, &mut bytes));
    gzip(&bytes)
}

/// A map of these tiles by number, the second half of them in a directory below the root.
fn map(tiles: &[(usize, Vec<u8>)], coding: u8, tile_type: u8) -> Vec<u8> {
    let (mut data, mut entries) = (Vec::new(), Vec::new());
    for (number, bytes) in tiles {
        entries.push((*number, 1, bytes.len(), data.len()));
        data.extend_from_slice(bytes);
    }
    let (above, below) = entries.split_at(entries.len() / 2);
    let leaf = directory(below);
    let mut root = above.to_vec();
    root.push((below[0].0, 0, leaf.len(), 0));
    let root = directory(&root);
    let mut header = vec![0; HEADER];
    header[..7].copy_from_slice(b"PMTiles");
    header[7] = 3;
    let leaves = HEADER + root.len();
    for (at, start, length) in
        [(8, HEADER, root.len()), (40, leaves, leaf.len()), (56, leaves + leaf.len(), data.len())]
    {
        header[at..at + 8].copy_from_slice(&(start as u64).to_le_bytes());
        header[at + 8..at + 16].copy_from_slice(&(length as u64).to_le_bytes());
    }
    header[97] = 2;
    header[98] = coding;
    header[99] = tile_type;
    [header, root, leaf, data].concat()
}

/// Tiles 0 to 20: the zooms 0 to 2.
fn tiles(coded: bool) -> Vec<(usize, Vec<u8>)> {
    let tile = |i: usize| format!("tile {i} ").repeat(40).into_bytes();
    (0..21).map(|i| (i, if coded { gzip(&tile(i)) } else { tile(i) })).collect()
}

fn text(number: usize) -> String {
    format!("tile {number} ").repeat(40)
}

#[test]
fn tiles_are_found_by_their_coordinates() {
    let origin = Origin::start();
    origin.put("m.pmtiles", map(&tiles(false), 1, 2));
    let gateway = setup(&origin.url()).start();
    for (name, number) in
        [("0/0/0", 0), ("1/0/1", 2), ("1/1/0.png", 4), ("2/0/0", 5), ("2/3/0.png", 20)]
    {
        let answer = member(&gateway, &format!("m.pmtiles/{name}"), &[]);
        assert_eq!((answer.status(), answer.text()), (200, text(number).as_str()), "{name}");
        assert_eq!(answer.header("content-type"), Some("image/png"), "{name}");
        assert_eq!(answer.header("content-encoding"), None, "{name}");
        assert_eq!(answer.header("vary"), None, "{name}");
    }
    for name in ["3/0/0", "0/0/1", "0/0/0.jpg", "0/0", "x", "0/0/0/", "00/0/0"] {
        let answer = member(&gateway, &format!("m.pmtiles/{name}"), &[]);
        assert_eq!((answer.status(), cause(&answer).as_str()), (404, "object_not_found"), "{name}");
    }
    let part = member(&gateway, "m.pmtiles/2/3/0", &[("range", "bytes=5-6")]);
    assert_eq!((part.status(), part.text()), (206, "20"));
    let etag = part.header("etag").expect("a tag").to_owned();
    let known = member(&gateway, "m.pmtiles/2/3/0.png", &[("if-none-match", &etag)]);
    assert_eq!(known.status(), 304, "the extension is no part of the tile");
    assert!(status(&known).contains("hit"), "{}", status(&known));
    let head = gateway.send("HEAD", "/s3proxy/s3/sky/m.pmtiles/2/3/0", &[]);
    assert_eq!(head.header("content-length"), Some(text(20).len().to_string().as_str()));
    // The header, both directories and all tiles are in the first bytes.
    assert_eq!(origin.count(), 1, "{:?}", origin.requests());
}

#[test]
fn compressed_tiles_are_sent_as_the_client_accepts_them() {
    let origin = Origin::start();
    origin.put("m.pmtiles", map(&tiles(true), 2, 1));
    let vectors = json!({"mime": {"also_allow": ["application/vnd.mapbox-vector-tile"]}});
    let gateway = setup(&origin.url()).yaml(vectors).start();
    let mut tags = Vec::new();
    for (accept, coded) in [
        (None, false),
        (Some("gzip, br"), true),
        (Some("identity"), false),
        (Some("gzip;q=0, *"), false),
        (Some("*"), true),
    ] {
        let headers: Vec<_> = accept.iter().map(|value| ("accept-encoding", *value)).collect();
        let answer = member(&gateway, "m.pmtiles/2/3/0.mvt", &headers);
        assert_eq!(answer.status(), 200, "{accept:?}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/vnd.mapbox-vector-tile"));
        assert_eq!(answer.header("content-encoding"), coded.then_some("gzip"), "{accept:?}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{accept:?}");
        let mut decoded = String::new();
        if coded {
            GzDecoder::new(&answer.body[..]).read_to_string(&mut decoded).expect("gzip");
        } else {
            answer.text().clone_into(&mut decoded);
        }
        assert_eq!(decoded, text(20), "{accept:?}");
        tags.push((coded, answer.header("etag").expect("a tag").to_owned()));
    }
    for (coded, tag) in &tags {
        for (other_coded, other) in &tags {
            assert_eq!(tag == other, coded == other_coded, "a tag is of one form");
        }
    }
}

#[test]
fn a_map_that_is_damaged_is_an_error() {
    let origin = Origin::start();
    let good = map(&tiles(true), 2, 1);
    let vectors = json!({"mime": {"also_allow": ["application/vnd.mapbox-vector-tile"]}});
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let last = good.len() - 6;
    for (what, bytes, cause_named) in [
        ("no map", b"<html>".to_vec(), "archive_damaged"),
        ("cut off", good[..good.len() - 1].to_vec(), "archive_damaged"),
        ("the root", with(HEADER + 12, good[HEADER + 12] ^ 0x55), "archive_damaged"),
        ("a checksum of the last tile", with(last, good[last] ^ 1), "archive_damaged"),
        ("version 2", with(7, 2), "archive_unsupported"),
        ("tiles in Brotli", with(98, 3), "archive_unsupported"),
    ] {
        origin.put("m.pmtiles", bytes);
        let setup = setup(&origin.url()).yaml(vectors.clone()).tolerate("\"cause\"");
        let gateway = setup.start();
        let answer = member(&gateway, "m.pmtiles/2/3/0", &[]);
        gateway.line_of(&answer);
        assert_eq!((answer.status(), cause(&answer).as_str()), (502, cause_named), "{what}");
    }
}

#[test]
fn tiles_of_a_type_that_is_not_accepted_are_refused() {
    let origin = Origin::start();
    origin.put("m.pmtiles", map(&tiles(true), 2, 1));
    let gateway = setup(&origin.url()).start();
    let answer = member(&gateway, "m.pmtiles/2/3/0", &[]);
    assert_eq!((answer.status(), cause(&answer).as_str()), (415, "media_type_denied"));
    assert!(answer.text().contains("mapbox-vector-tile"), "{}", answer.text());
}
