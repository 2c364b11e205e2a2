//! Maps that are written here, and damaged ones.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const MOST: u64 = 1 << 20;

fn varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).expect("7 bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("7 bits"));
}

/// Entries of a directory: first tile, run, length, offset plus one or 0.
fn directory(entries: &[(u64, u32, u32, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(entries.len() as u64, &mut bytes);
    let mut last = 0;
    for (first, ..) in entries {
        varint(first - last, &mut bytes);
        last = *first;
    }
    entries.iter().for_each(|(_, run, ..)| varint((*run).into(), &mut bytes));
    entries.iter().for_each(|(_, _, length, _)| varint((*length).into(), &mut bytes));
    entries.iter().for_each(|(.., offset)| varint(*offset, &mut bytes));
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("an end")
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    encoder.write_all(bytes).expect("written");
    encoder.into_inner()
}

/// A header: root, leaves and tiles as start and length, codings of directories and tiles, type.
fn header(sections: [(u64, u64); 3], codings: [u8; 2], tile_type: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..7].copy_from_slice(b"PMTiles");
    bytes[7] = 3;
    for (at, (start, length)) in [8, 40, 56].into_iter().zip(sections) {
        bytes[at..at + 8].copy_from_slice(&start.to_le_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&length.to_le_bytes());
    }
    bytes[97..99].copy_from_slice(&codings);
    bytes[99] = tile_type;
    bytes
}

#[test]
fn tiles_have_the_numbers_of_the_specification() {
    for (name, number) in [
        ("0/0/0", 0),
        ("1/0/0", 1),
        ("1/0/1", 2),
        ("1/1/1", 3),
        ("1/1/0", 4),
        ("2/0/0", 5),
        ("2/1/0", 6),
        ("2/1/1", 7),
        ("2/0/1", 8),
        ("2/0/2", 9),
        ("2/3/0", 20),
        ("3/0/0", 21),
        ("12/3423/1763", 19_078_479),
        ("31/0/0", 1_537_228_672_809_129_301),
    ] {
        assert_eq!(TileName::parse(name).expect(name).number(), number, "{name}");
    }
}

#[test]
fn only_tiles_are_names_of_tiles() {
    for (name, extension) in [
        ("3/1/2", Some(None)),
        ("3/1/2.png", Some(Some("png"))),
        ("3/1/2.tar.gz", Some(Some("tar.gz"))),
        ("3/1/2.", Some(Some(""))),
        ("3/8/2", None),
        ("3/1/8", None),
        ("32/0/0", None),
        ("03/1/2", None),
        ("3/01/2", None),
        ("3/1", None),
        ("3/1/2/4", None),
        ("3/+1/2", None),
        ("3/ 1/2", None),
        ("3/-1/2", None),
        ("/1/2", None),
        ("3/4294967297/0", None),
        ("metadata", None),
    ] {
        let found = TileName::parse(name).map(|tile| tile.extension);
        assert_eq!(found, extension, "{name}");
    }
}

#[test]
fn runs_and_directories_are_found() {
    let bytes = directory(&[(0, 1, 10, 1), (5, 3, 20, 0), (9, 0, 30, 1), (20, 1, 5, 101)]);
    let read = TileDirectory::parse(&bytes, MOST).expect("a directory");
    let entry = |first, offset, length, run| Some(TileEntry { first, offset, length, run });
    for (tile, expected) in [
        (0, entry(0, 0, 10, 1)),
        (1, None),
        (4, None),
        (5, entry(5, 10, 20, 3)),
        (7, entry(5, 10, 20, 3)),
        (8, None),
        (9, entry(9, 0, 30, 0)),
        (19, entry(9, 0, 30, 0)),
        (20, entry(20, 100, 5, 1)),
        (21, None),
    ] {
        assert_eq!(read.find(tile), expected, "{tile}");
    }
    assert!(TileDirectory::parse(&directory(&[]), MOST).expect("empty").find(0).is_none());
}

#[test]
fn a_directory_that_contradicts_itself_is_damaged() {
    let mut endless = vec![0xff; 10];
    endless.push(1);
    for (what, bytes) in [
        ("cut off", directory(&[(0, 1, 10, 1), (5, 3, 20, 0)])[..6].to_vec()),
        ("more entries than bytes", vec![100, 1, 1, 1, 1]),
        ("the same tile twice", directory(&[(4, 1, 10, 1), (4, 1, 10, 0)])),
        ("no bytes", directory(&[(4, 1, 0, 1)])),
        ("behind nothing", directory(&[(4, 1, 1, 0)])),
        ("beyond 64 bits", directory(&[(4, 1, 10, u64::MAX), (6, 1, 10, 0), (8, 1, 1, 0)])),
        ("a number of 11 bytes", endless),
        ("no count", Vec::new()),
    ] {
        assert!(matches!(TileDirectory::parse(&bytes, MOST), Err(Damaged(_))), "{what}");
    }
}

#[test]
fn a_directory_takes_no_more_memory_than_is_allowed() {
    let entries: Vec<_> = (0..1000).map(|i| (i, 1, 1, 0)).collect();
    let mut entries = entries;
    entries[0].3 = 1;
    let bytes = directory(&entries);
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 3).expect("encoded");
    for (coding, coded) in [(2, &gzip as &dyn Fn(&[u8]) -> Vec<u8>), (3, &brotli), (4, &zstd)] {
        let header = header([(127, 0); 3], [coding, 1], 2);
        let header = MapHeader::parse(&header, 1000).expect("a header");
        let read = header.directory(&coded(&bytes), MOST).expect("a directory");
        assert!(read.find(999).is_some(), "{coding}");
        assert_eq!(header.directory(&coded(&bytes), 8000).err(), Some(TOO_LARGE), "{coding}");
        let bomb = coded(&vec![0; 10 << 20]);
        assert_eq!(header.directory(&bomb, MOST).err(), Some(TOO_LARGE), "{coding}");
        assert!(matches!(header.directory(b"no coding", MOST), Err(Damaged(_))), "{coding}");
    }
}

#[test]
fn headers_are_read_or_refused() {
    let good = header([(127, 10), (200, 50), (300, 700)], [2, 2], 1);
    let read = MapHeader::parse(&good, 1000).expect("a header");
    assert_eq!(
        (read.root(), read.coding, read.tile_type),
        (127..137, TileCoding::Gzip, TileType::Mvt)
    );
    let entry = |offset, length| TileEntry { first: 0, offset, length, run: 1 };
    assert_eq!(read.tile(&entry(0, 700)), Ok(300..1000));
    assert_eq!(read.leaf(&entry(10, 40)), Ok(210..250));
    assert!(matches!(read.tile(&entry(1, 700)), Err(Damaged(_))));
    assert!(matches!(read.tile(&entry(u64::MAX, 1)), Err(Damaged(_))));
    assert!(matches!(read.leaf(&entry(10, 41)), Err(Damaged(_))));
    assert!(matches!(MapHeader::parse(&good, 999), Err(Damaged(_))), "cut off");
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        MapHeader::parse(&bytes, 1000)
    };
    assert!(matches!(changed(0, b'p'), Err(Damaged(_))));
    assert!(matches!(changed(7, 2), Err(Unsupported(_))));
    assert!(matches!(changed(97, 0), Err(Unsupported(_))));
    assert!(matches!(changed(98, 9), Err(Unsupported(_))));
    assert_eq!(changed(99, 77).map(|header| header.tile_type), Ok(TileType::Unknown));
    assert!(matches!(MapHeader::parse(&good[..126], 1000), Err(Damaged(_))));
}

#[test]
fn a_gzip_with_a_wrong_checksum_is_not_decoded() {
    let coded = gzip(b"tile");
    assert_eq!(TileCoding::Gzip.decode(&coded, 4).as_deref(), Ok(&b"tile"[..]));
    let mut wrong = coded.clone();
    let last = wrong.len() - 8;
    wrong[last] ^= 1;
    assert_eq!(TileCoding::Gzip.decode(&wrong, 4), Err(DecodeFault::Damaged));
}

proptest! {
    /// Each tile of a zoom has a number of its own, and neighbours along the curve touch.
    #[test]
    fn numbers_of_tiles_fill_a_zoom(zoom in 0..7_u32) {
        let size = 1_u32 << zoom;
        let mut all: Vec<_> = (0..size)
            .flat_map(|x| (0..size).map(move |y| TileName { zoom, x, y, extension: None }))
            .map(|tile| (tile.number(), tile))
            .collect();
        all.sort_by_key(|(number, _)| *number);
        let first = ((1_u64 << (2 * zoom)) - 1) / 3;
        for (place, (number, _)) in all.iter().enumerate() {
            prop_assert_eq!(*number, first + place as u64);
        }
        for pair in all.windows(2) {
            let [(_, one), (_, other)] = pair else { continue };
            prop_assert_eq!(one.x.abs_diff(other.x) + one.y.abs_diff(other.y), 1);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), tile in any::<u64>()) {
        if let Ok(directory) = TileDirectory::parse(&bytes, MOST) {
            let _any = directory.find(tile);
        }
        let mut header = b"PMTiles\x03".to_vec();
        header.extend_from_slice(&bytes);
        if let Ok(header) = MapHeader::parse(&header, 400) {
            let _any = header.directory(&bytes, MOST);
        }
    }

    #[test]
    fn a_directory_is_read_as_it_was_written(
        entries in proptest::collection::vec((1..1000_u64, 0..5_u32, 1..1000_u32, 1..u64::from(u32::MAX)), 0..40),
    ) {
        let mut first = 0;
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(step, run, length, offset)| {
                first += step;
                (first, run, length, offset)
            })
            .collect();
        let read = TileDirectory::parse(&directory(&entries), MOST).expect("a directory");
        for (first, run, length, offset) in entries {
            let entry = TileEntry { first, offset: offset - 1, length, run };
            prop_assert_eq!(read.find(first), Some(entry));
        }
    }
}
