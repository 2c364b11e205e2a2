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

/// The codings of the specification by their numbers.
fn coded(coding: u8, bytes: &[u8]) -> Vec<u8> {
    match coding {
        1 => bytes.to_vec(),
        2 => gzip(bytes),
        3 => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            encoder.write_all(bytes).expect("written");
            encoder.into_inner()
        }
        _ => zstd::stream::encode_all(bytes, 3).expect("encoded"),
    }
}

fn decoded(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "gzip" => GzDecoder::new(bytes).read_to_string(&mut text).expect("gzip"),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text).expect("br"),
        _ => {
            let bytes = zstd::stream::decode_all(bytes).expect("zstd");
            text = String::from_utf8(bytes).expect("UTF-8");
            text.len()
        }
    };
    text
}

/// A directory of entries: first tile, run, length, offset.
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
    bytes
}

/// A map of these tiles by number, with directories in gzip.
fn map(tiles: &[(usize, Vec<u8>)], coding: u8, tile_type: u8) -> Vec<u8> {
    map_with(2, tiles, coding, tile_type)
}

/// A map of these tiles by number, the second half of them in a directory below the root.
fn map_with(directories: u8, tiles: &[(usize, Vec<u8>)], coding: u8, tile_type: u8) -> Vec<u8> {
    let (mut data, mut entries) = (Vec::new(), Vec::new());
    for (number, bytes) in tiles {
        entries.push((*number, 1, bytes.len(), data.len()));
        data.extend_from_slice(bytes);
    }
    let (above, below) = entries.split_at(entries.len() / 2);
    let leaf = coded(directories, &directory(below));
    let mut root = above.to_vec();
    root.push((below[0].0, 0, leaf.len(), 0));
    let root = coded(directories, &directory(&root));
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
    header[97] = directories;
    header[98] = coding;
    header[99] = tile_type;
    [header, root, leaf, data].concat()
}

/// Tiles 0 to 20: the zooms 0 to 2.
fn tiles(coding: u8) -> Vec<(usize, Vec<u8>)> {
    (0..21).map(|i| (i, coded(coding, text(i).as_bytes()))).collect()
}

fn text(number: usize) -> String {
    format!("tile {number} ").repeat(40)
}

#[test]
fn tiles_are_found_by_their_coordinates() {
    let origin = Origin::start();
    origin.put("m.pmtiles", map(&tiles(1), 1, 2));
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
    let vectors = json!({"mime": {"also_allow": ["application/vnd.mapbox-vector-tile"]}});
    let gateway = setup(&origin.url()).yaml(vectors).start();
    for (number, name) in [(2, "gzip"), (3, "br"), (4, "zstd")] {
        // Directories in each coding, too.
        origin.put(&format!("{name}.pmtiles"), map_with(number, &tiles(number), number, 1));
        let refused = format!("{name};q=0, *");
        let mut tags = Vec::new();
        for (accept, is_coded) in [
            (None, false),
            (Some("gzip, br, zstd"), true),
            (Some("identity"), false),
            (Some(refused.as_str()), false),
            (Some("*"), true),
        ] {
            let headers: Vec<_> = accept.iter().map(|value| ("accept-encoding", *value)).collect();
            let answer = member(&gateway, &format!("{name}.pmtiles/2/3/0.mvt"), &headers);
            assert_eq!(answer.status(), 200, "{name}, {accept:?}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/vnd.mapbox-vector-tile"));
            let coding = answer.header("content-encoding");
            assert_eq!(coding, is_coded.then_some(name), "{name}, {accept:?}");
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{name}, {accept:?}");
            let got = match is_coded {
                true => decoded(name, &answer.body),
                false => answer.text().to_owned(),
            };
            assert_eq!(got, text(20), "{name}, {accept:?}");
            tags.push((is_coded, answer.header("etag").expect("a tag").to_owned()));
        }
        for (is_coded, tag) in &tags {
            for (other_coded, other) in &tags {
                assert_eq!(tag == other, is_coded == other_coded, "a tag is of one form");
            }
        }
    }
}

/// A directory of some bytes that becomes many.
#[test]
fn a_directory_or_tile_that_is_decoded_to_too_much_is_an_error() {
    let origin = Origin::start();
    let vectors = json!({
        "mime": {"also_allow": ["application/vnd.mapbox-vector-tile"]},
        "cache": {"archive_directories": "4MiB"},
    });
    let gateway = setup(&origin.url()).yaml(vectors).tolerate("archive_unsupported").start();
    let bomb = vec![0; 16 << 20];
    for coding in [2, 3, 4] {
        let mut map = map_with(coding, &tiles(coding), coding, 1);
        let root = coded(coding, &bomb);
        let start = map.len() as u64;
        map[8..16].copy_from_slice(&start.to_le_bytes());
        map[16..24].copy_from_slice(&(root.len() as u64).to_le_bytes());
        origin.put(&format!("directory{coding}.pmtiles"), [map, root].concat());
        let large = vec![(0, coded(coding, &bomb)), (1, coded(coding, b"x"))];
        origin.put(&format!("tile{coding}.pmtiles"), map_with(coding, &large, coding, 1));
        for name in ["directory", "tile"] {
            let answer = member(&gateway, &format!("{name}{coding}.pmtiles/0/0/0"), &[]);
            gateway.line_of(&answer);
            let seen = (answer.status(), cause(&answer));
            assert_eq!(seen, (502, "archive_unsupported".to_owned()), "{name} {coding}");
        }
        // Who decodes it may have it.
        let all = [("accept-encoding", "gzip, br, zstd")];
        assert_eq!(member(&gateway, &format!("tile{coding}.pmtiles/0/0/0"), &all).status(), 200);
    }
}

#[test]
fn a_map_that_is_damaged_is_an_error() {
    let origin = Origin::start();
    let good = map(&tiles(2), 2, 1);
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
        ("tiles that are no Brotli", with(98, 3), "archive_damaged"),
        ("directories that are no Zstandard", with(97, 4), "archive_damaged"),
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
    origin.put("m.pmtiles", map(&tiles(2), 2, 1));
    let gateway = setup(&origin.url()).start();
    let answer = member(&gateway, "m.pmtiles/2/3/0", &[]);
    assert_eq!((answer.status(), cause(&answer).as_str()), (415, "media_type_denied"));
    assert!(answer.text().contains("mapbox-vector-tile"), "{}", answer.text());
}
