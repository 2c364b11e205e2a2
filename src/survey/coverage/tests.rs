//! Coverage maps by an independent writer, damaged maps, and arithmetic of cells.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Written by mocpy (`tests/surveys/make_maps.py`): both encodings of a map, and for each order the
/// number of cells it touches and the sum of their indices.
macro_rules! map {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../../tests/surveys/maps/", $name, ".range.fits"))
                .as_slice(),
            include_bytes!(concat!("../../../tests/surveys/maps/", $name, ".nuniq.fits"))
                .as_slice(),
            include_str!(concat!("../../../tests/surveys/maps/", $name, ".txt")),
        )
    };
}

const MAPS: [(&str, &[u8], &[u8], &str); 4] =
    [map!("few"), map!("patches"), map!("all"), map!("deep")];

#[test]
fn maps_of_an_independent_writer_are_read_in_both_encodings() {
    for (name, range, uniq, table) in MAPS {
        let map = Coverage::read(range).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Coverage::read(uniq), Ok(map.clone()), "{name}");
        for line in table.lines() {
            let numbers: Vec<u64> = line.split(' ').map(|it| it.parse().unwrap()).collect();
            let [order, count, sum] = numbers[..] else { panic!("{line}") };
            let order = u8::try_from(order).unwrap();
            assert_eq!(map.count(order), count, "{name}, order {order}");
            let tiles: Vec<u64> = map.tiles(order).flatten().collect();
            assert_eq!(tiles.iter().sum::<u64>(), sum, "{name}, order {order}");
            let touched = (0..Tile::count(order))
                .filter(|index| map.touches(Tile::new(order, *index).unwrap()));
            assert_eq!(touched.collect::<Vec<_>>(), tiles, "{name}, order {order}");
        }
    }
    assert!((Coverage::read(MAPS[2].1).unwrap().fraction() - 1.0).abs() < 1e-12);
}

#[test]
fn a_file_of_another_length_is_no_map() {
    for (name, range, uniq, _) in MAPS {
        for file in [range, uniq] {
            for length in 0..file.len() {
                assert!(Coverage::read(&file[..length]).is_err(), "{name}, {length} bytes");
            }
            let longer = [file, b"\0"].concat();
            assert_eq!(
                Coverage::read(&longer),
                Err(InvalidMap::Length(file.len() + 1, file.len()))
            );
        }
    }
}

/// The file with one card replaced.
fn with_card(file: &[u8], keyword: &str, card: &str) -> Vec<u8> {
    let mut file = file.to_vec();
    let start = format!("{keyword:<8}");
    // The last one: that of the table.
    let at = (0..file.len() / 80).rev().find(|at| file[80 * at..].starts_with(start.as_bytes()));
    let at = at.unwrap_or_else(|| panic!("no card {keyword}"));
    file[80 * at..80 * (at + 1)].copy_from_slice(format!("{card:<80}").as_bytes());
    file
}

#[test]
fn maps_of_something_else_are_refused_by_their_header() {
    let (_, range, uniq, _) = MAPS[0];
    for (file, keyword, card) in [
        (range, "COORDSYS", "COORDSYS= 'G'"),
        (range, "COORDSYS", "COMMENT nothing"),
        (range, "MOCDIM", "MOCDIM  = 'TIME'"),
        (range, "MOCDIM", "PIXTYPE = 'OTHER'"),
        (range, "ORDERING", "ORDERING= 'RANGE29'"),
        (range, "ORDERING", "ORDERING= 'NUNIQ'"),
        (uniq, "ORDERING", "ORDERING= 'RANGE'"),
        (range, "MOCORD_S", "MOCORD_S= 30"),
        (range, "MOCORD_S", "MOCORD_S= 4"),
        (uniq, "MOCORD_S", "MOCORD_S= 4"),
        (range, "TFORM1", "TFORM1  = '1D'"),
        (range, "TFORM1", "TFORM1  = '1J'"),
        (range, "NAXIS1", "NAXIS1  = 16"),
        (range, "NAXIS2", "NAXIS2  = 13"),
        (range, "NAXIS2", "NAXIS2  = 18446744073709551615"),
        (range, "NAXIS2", "NAXIS2  = -1"),
        (range, "TFIELDS", "TFIELDS = 2"),
        (range, "PCOUNT", "PCOUNT  = 8"),
        (range, "XTENSION", "XTENSION= 'IMAGE'"),
    ] {
        let damaged = with_card(file, keyword, card);
        assert!(Coverage::read(&damaged).is_err(), "{card}");
    }
    // A keyword twice is no value.
    let twice = with_card(range, "MOCTOOL", "COORDSYS= 'C'");
    assert_eq!(Coverage::read(&twice), Err(InvalidMap::Keyword("COORDSYS", "C")));
    // The keyword of MOC 1.1.
    let older = with_card(range, "MOCORD_S", "MOCORDER= 5 / the order");
    assert!(Coverage::read(&older).is_ok());
}

#[test]
fn a_map_that_is_too_large_is_not_read() {
    assert_eq!(Coverage::read(&vec![b' '; MAX_MAP_BYTES + 1]), Err(InvalidMap::TooLarge));
    assert_eq!(Coverage::read(&vec![b' '; MAX_MAP_BYTES]), Err(InvalidMap::NotFits));
    let (_, _, uniq, _) = MAPS[0];
    let rows = 1_200_000;
    let mut many = with_card(uniq, "NAXIS2", &format!("NAXIS2  = {rows}"));
    many.resize(2 * 2880 + (8_usize * rows).next_multiple_of(2880), 0);
    assert_eq!(Coverage::read(&many), Err(InvalidMap::TooLarge));
}

/// Numbers of four bytes made ranges of twice the memory of the file.
#[test]
fn ranges_of_small_numbers_take_no_more_memory_than_a_map_may() {
    // Two blocks of headers and one of data less than the limit of a file.
    let pairs = (MAX_MAP_BYTES - 3 * 2880) / 8;
    let numbers: Vec<u64> = (0..u64::try_from(2 * pairs).unwrap()).collect();
    let file = written("RANGE", 13, &numbers, 4);
    assert!(file.len() <= MAX_MAP_BYTES, "{} bytes", file.len());
    assert_eq!(Coverage::read(&file), Err(InvalidMap::TooLarge));
    let half = Coverage::read(&written("RANGE", 13, &numbers[..pairs / 2 * 2], 4)).unwrap();
    assert!(half.bytes() <= MAX_MAP_BYTES, "{} bytes", half.bytes());
}

/// An infinite fraction agreed with every map.
#[test]
fn a_fraction_is_that_of_the_map_but_for_its_digits() {
    let map = Coverage::of_tiles([Tile::new(1, 5).unwrap()], 1).unwrap();
    for (said, is_so) in [
        (1.0 / 48.0, true),
        (0.0208, true),
        (0.0211, false),
        (0.0205, false),
        (0.0, false),
        (-1.0 / 48.0, false),
        (f64::INFINITY, false),
        (f64::NEG_INFINITY, false),
        (f64::NAN, false),
        (f64::MAX, false),
    ] {
        assert_eq!(map.has_fraction(said), is_so, "{said}");
    }
    assert!(Coverage::default().has_fraction(0.0));
    assert!(Coverage::whole_sky().has_fraction(1.0));
    assert_eq!(Coverage::whole_sky().count(0), 12);
}

/// A file with a table of these numbers.
fn written(ordering: &str, order: u8, numbers: &[u64], width: usize) -> Vec<u8> {
    let block = |cards: &[String]| {
        let mut bytes: Vec<u8> =
            cards.iter().flat_map(|it| format!("{it:<80}").into_bytes()).collect();
        bytes.resize(2880, b' ');
        bytes
    };
    let form = if width == 4 { "1J" } else { "1K" };
    let card = |text: &str| text.to_owned();
    let mut file = block(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "END"].map(card));
    file.extend(block(&[
        card("XTENSION= 'BINTABLE'"),
        card("BITPIX  = 8"),
        card("NAXIS   = 2"),
        format!("NAXIS1  = {width}"),
        format!("NAXIS2  = {}", numbers.len()),
        card("PCOUNT  = 0"),
        card("GCOUNT  = 1"),
        card("TFIELDS = 1"),
        format!("TFORM1  = '{form}'"),
        format!("ORDERING= '{ordering}'"),
        card("COORDSYS= 'C       '"),
        format!("MOCORDER= {order}"),
        card("END"),
    ]));
    for number in numbers {
        file.extend(&number.to_be_bytes()[8 - width..]);
    }
    file.resize(file.len().next_multiple_of(2880), 0);
    file
}

#[test]
fn numbers_that_are_no_cells_of_the_map_are_refused() {
    let cell = |order: u8, index: u64| index << (2 * (29 - order));
    for (ordering, order, numbers, width, result) in [
        ("RANGE", 3, vec![cell(3, 1), cell(3, 2)], 8, None),
        ("RANGE", 3, vec![1, 2], 8, Some(InvalidMap::Cell(0))),
        ("RANGE", 3, vec![cell(3, 1)], 8, Some(InvalidMap::Order)),
        ("RANGE", 3, vec![cell(3, 1), cell(3, 1)], 8, Some(InvalidMap::Order)),
        (
            "RANGE",
            3,
            vec![cell(3, 5), cell(3, 6), cell(3, 1), cell(3, 2)],
            8,
            Some(InvalidMap::Order),
        ),
        ("RANGE", 3, vec![cell(3, 1), cell(3, 769)], 8, Some(InvalidMap::Cell(0))),
        ("RANGE", 3, vec![cell(3, 1), u64::MAX], 8, Some(InvalidMap::Cell(0))),
        ("RANGE", 13, vec![5, 6], 4, None),
        ("NUNIQ", 3, vec![256, 257], 8, None),
        ("NUNIQ", 3, vec![256, 256], 8, Some(InvalidMap::Order)),
        ("NUNIQ", 3, vec![256, 64], 8, Some(InvalidMap::Order)),
        ("NUNIQ", 3, vec![256, 1024], 8, Some(InvalidMap::Cell(1))),
        ("NUNIQ", 3, vec![0], 8, Some(InvalidMap::Cell(0))),
        ("NUNIQ", 3, vec![3], 8, Some(InvalidMap::Cell(0))),
        ("NUNIQ", 3, vec![u64::MAX], 8, Some(InvalidMap::Cell(0))),
        ("NUNIQ", 3, vec![257], 4, None),
        ("NUNIQ", 3, vec![], 8, None),
    ] {
        let read = Coverage::read(&written(ordering, order, &numbers, width));
        assert_eq!(read.clone().err(), result, "{ordering} {numbers:?}: {read:?}");
    }
    let map = Coverage::read(&written("RANGE", 13, &[5, 6], 4)).unwrap();
    assert_eq!(map.tiles(13).flatten().collect::<Vec<_>>(), [5]);
}

fn some_tiles() -> impl Strategy<Value = BTreeSet<Tile>> {
    let tile = (1_u8..=4, any::<u64>())
        .prop_map(|(order, random)| Tile::new(order, random % Tile::count(order)).unwrap());
    prop::collection::btree_set(tile, 0..40)
}

proptest! {
    /// The map of some tiles, asked for every tile of orders around theirs, next to a set.
    #[test]
    fn a_map_agrees_with_a_set_of_cells(tiles in some_tiles(), order in 0_u8..=5) {
        let depth = 5;
        let cells: BTreeSet<u64> = tiles
            .iter()
            .flat_map(|it| it.index() << (2 * (depth - it.order()))..(it.index() + 1) << (2 * (depth - it.order())))
            .collect();
        let uniq: Vec<u64> = cells.iter().map(|index| (4 << (2 * depth)) + index).collect();
        let map = Coverage::read(&written("NUNIQ", depth, &uniq, 8)).unwrap();
        let touched: BTreeSet<u64> = cells.iter().map(|it| it >> (2 * (depth - order))).collect();
        prop_assert_eq!(map.tiles(order).flatten().collect::<Vec<_>>(), touched.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(map.count(order), touched.len() as u64);
        for index in 0..Tile::count(order) {
            prop_assert_eq!(map.touches(Tile::new(order, index).unwrap()), touched.contains(&index));
        }
        let gaps: u64 = map.gaps(order).map(|range| range.end - range.start).sum();
        prop_assert_eq!(gaps + map.count(order), Tile::count(order));
        prop_assert!(map.gaps(order).flatten().all(|index| !touched.contains(&index)));
        // The same map by its ranges.
        let ends: Vec<u64> = map.ranges.iter().flat_map(|range| [range.start, range.end]).collect();
        prop_assert_eq!(Coverage::read(&written("RANGE", depth, &ends, 8)), Ok(map));
    }

    /// Damaged bytes are an error, or a map that holds to the rules of maps.
    #[test]
    fn damage_is_an_error_or_another_map_and_never_a_panic(
        which in 0..MAPS.len(),
        is_range in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (_, range, uniq, _) = MAPS[which];
        let mut file = if is_range { range } else { uniq }.to_vec();
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(map) = Coverage::read(&file) {
            prop_assert!(map.ranges.iter().all(|range| range.start < range.end));
            prop_assert!(map.ranges.is_sorted_by(|a, b| a.end < b.start));
            prop_assert!(map.ranges.last().is_none_or(|last| last.end <= Tile::count(MAX_ORDER)));
        }
    }
}
