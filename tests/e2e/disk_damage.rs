//! Damaged cache files: never wrong bytes, never an error, only a miss.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::cached::status;
use crate::client::Ending;
use crate::disk::{Bench, get_tiles, is_hit, put_tiles, start_scanned, stop, tile};
use crate::origin::Origin;
use crate::tally::{trial, trials};

/// Offset of the version in the file format.
const VERSION_AT: u64 = 8;

/// Damages a file in the `nth` of many ways; `other` is a file that is damaged too.
fn damage(file: &Path, other: &Path, nth: usize) -> &'static str {
    let mut random = fastrand::Rng::with_seed(nth as u64);
    let bytes = fs::read(file).expect("a record");
    let length = bytes.len();
    let write = |bytes: &[u8]| fs::write(file, bytes).expect("a file to damage");
    let replace = || fs::remove_file(file).expect("a file to replace");
    match nth % 20 {
        // Anywhere; more often in the header, which determines how the rest is read.
        kind @ 0..=6 => {
            let mut bytes = bytes;
            let at = random.usize(..if kind < 4 { length.min(600) } else { length });
            bytes[at] ^= 1 << random.u8(..8);
            write(&bytes);
            "a flipped bit"
        }
        kind @ 7..=10 => {
            let left = random.usize(..if kind < 9 { length.min(600) } else { length });
            write(&bytes[..left]);
            "a truncation"
        }
        11 => {
            write(&[bytes, vec![b'x'; 1 + random.usize(..5000)]].concat());
            "an extension"
        }
        12 => {
            let page = random.usize(..length.div_ceil(4096)) * 4096;
            let mut bytes = bytes;
            bytes[page..length.min(page + 4096)].fill(0);
            write(&bytes);
            "a page of zeros"
        }
        13 => {
            write(b"");
            "an empty file"
        }
        14 => {
            fs::copy(other, file).expect("a copy");
            "another entry's content"
        }
        15 => {
            replace();
            fs::create_dir(file).expect("a folder");
            "a folder"
        }
        16 => {
            replace();
            symlink("/etc/hostname", file).expect("a link");
            "a link out of the folder"
        }
        17 => {
            replace();
            symlink(other, file).expect("a link");
            "a link to another entry"
        }
        18 => {
            write(&fs::read("/etc/passwd").unwrap_or_else(|_| b"foreign".repeat(100)));
            "a foreign file"
        }
        _ => {
            let edited = OpenOptions::new().write(true).open(file).expect("a record");
            edited.write_all_at(&[0; 4], VERSION_AT).expect("a record");
            "an older version of the format"
        }
    }
}

/// Some records of one piece, some of several.
fn size(number: usize) -> usize {
    if number.is_multiple_of(10) { 66_000 + 200 * number } else { 100 + 7 * number }
}

#[test]
fn a_thousand_damaged_files_are_misses() {
    const TILES: usize = 1000;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, size);
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_DISK_SIZE", "1GiB");
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, TILES, size);
    bench.await_records(TILES);
    stop(gateway);

    let _trials = trials("damaged files", TILES);
    let files = bench.records();
    let mut damages: Vec<(PathBuf, &str)> = Vec::new();
    for (nth, file) in files.iter().enumerate() {
        // Nearly every record is whole; now and then one has a flipped bit, or is cut in its body.
        let other = &files[(nth + 507) % TILES];
        let what = damage(file, other, nth);
        damages.push((file.clone(), what));
    }
    let folders = damages.iter().filter(|(_, what)| *what == "a folder").count();
    // Foreign files in the folders of the tier.
    for name in ["00/readme.txt", "ff/core", "notes"] {
        File::create(bench.folder().join(name)).expect("a foreign file");
    }

    origin.clear();
    let gateway = start_scanned(&setup);
    // Every byte is checked.
    for (number, answer) in get_tiles(&gateway, TILES, size).iter().enumerate() {
        assert!(status(answer).starts_with("s3proxy; fwd=miss"), "{number}: {}", status(answer));
    }
    assert_eq!(origin.count(), TILES);
    // A folder is never mistaken for a file.
    assert_eq!(bench.counter("disk_damaged"), (TILES - folders) as u64);
    assert_eq!(bench.counter("disk_hits"), 0);
    stop(gateway);

    origin.clear();
    let gateway = start_scanned(&setup);
    let again = get_tiles(&gateway, TILES, size);
    let hits = again.iter().filter(|answer| is_hit(answer)).count();
    assert_eq!(hits + origin.count(), TILES);
    assert!(hits >= TILES - folders, "{hits} damaged files were replaced, {folders} folders");
    assert_eq!(bench.counter("disk_damaged"), 0);
}

#[test]
fn folders_in_place_of_files_do_not_disable_the_tier() {
    const TILES: usize = 12;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, |_| 500);
    let setup = bench.setup(&origin.url());
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, TILES, |_| 500);
    bench.await_records(TILES);
    stop(gateway);
    let _trials = trials("damaged files", TILES);
    for file in bench.records() {
        fs::remove_file(&file).expect("a record");
        fs::create_dir(&file).expect("a folder");
        fs::write(file.join("inside"), "x").expect("a file");
    }
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, TILES, |_| 500);
    // The log has no warning (checked when the gateway is dropped), and the tier still works.
    origin.put("other.png", "another tile");
    gateway.object("sky/other.png");
    bench.await_records(TILES + 1);
    stop(gateway);
}

#[test]
fn two_swapped_records_are_two_misses() {
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, 2, |_| 5000);
    let setup = bench.setup(&origin.url());
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, 2, |_| 5000);
    bench.await_records(2);
    stop(gateway);
    let _trials = trials("damaged files", 2);
    let files = bench.records();
    let aside = bench.folder().join("aside");
    for (from, to) in [(&files[0], &aside), (&files[1], &files[0]), (&aside, &files[1])] {
        fs::rename(from, to).expect("a record to move");
    }
    origin.clear();
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, 2, |_| 5000);
    assert_eq!((origin.count(), bench.counter("disk_damaged")), (2, 2));
}

#[test]
fn files_damaged_under_a_running_gateway_are_misses() {
    const TILES: usize = 40;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, |_| 100_000);
    // Memory for ten of them.
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_MEMORY", "1MiB");
    let gateway = start_scanned(&setup);
    for round in 0..5 {
        get_tiles(&gateway, TILES, |_| 100_000);
        bench.await_records(TILES);
        let _trials = trials("damaged files", TILES);
        for (nth, file) in bench.records().iter().enumerate() {
            // Damaged in place, as by a failing disk: the gateway may be reading them.
            let nth = 20 * nth + [0, 5, 7, 12, 19][round];
            damage(file, file, nth);
        }
        origin.clear();
        get_tiles(&gateway, TILES, |_| 100_000);
        // The others were in memory, or not yet rewritten when they were damaged.
        assert!(origin.count() >= TILES / 2, "{} of {TILES} asked again", origin.count());
    }
    assert!(bench.counter("disk_damaged") >= 100, "{}", bench.counter("disk_damaged"));
    assert_eq!(bench.counter("disk_errors"), 0);
}

#[test]
fn a_record_that_changes_while_it_is_read_is_right_or_a_miss() {
    let (bench, origin) = (Bench::new(), Origin::start());
    // Too large for a memory of 1 MiB: each request reads the file.
    origin.put("a.png", tile(7, 500_000));
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_MEMORY", "1MiB");
    let gateway = start_scanned(&setup);
    let mut client = gateway.connect();
    for round in 0..60_u8 {
        let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]);
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole), "{round}");
        assert!(answer.body == tile(7, 500_000), "{round}: other bytes");
        if let Some(file) = bench.records().first()
            && let Ok(file) = OpenOptions::new().write(true).open(file)
        {
            let _trial = trial("damaged files");
            client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
            let _gone = file.write_all_at(&[round; 100], 8000 * u64::from(round) + 200);
            let answer = client.answer("GET").expect("an answer");
            assert_eq!((answer.status(), answer.ending), (200, Ending::Whole), "{round}");
            assert!(answer.body == tile(7, 500_000), "{round}: other bytes");
        }
    }
    assert!(bench.counter("disk_hits") > 0 && bench.counter("disk_damaged") > 0);
}
