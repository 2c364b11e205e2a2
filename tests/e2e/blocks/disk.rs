//! Blocks on disk: they survive a restart, are verified, and are evicted before tiles.

use std::fs;

use crate::blocks::{
    BLOCK, KEY, PATH, Version, asked_of, assert_hit, assert_part, assert_whole, of_version,
};
use crate::cached::status;
use crate::crowd::{await_that, numbered};
use crate::disk::{Bench, get_tiles, is_hit, put_tiles, start_scanned, stop};
use crate::gateway::Setup;
use crate::origin::Origin;

const LENGTH: usize = 10 * BLOCK + 100;

fn setup(bench: &Bench, origin: &Origin) -> Setup {
    bench
        .setup(&origin.url())
        .env("S3PROXY_CACHE_MAX_OBJECT", "1000")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "0")
}

#[test]
fn blocks_survive_a_restart() {
    let (bench, origin) = (Bench::new(), Origin::start());
    let body = numbered(LENGTH);
    let etag = origin.put("big.png", body.clone());
    let setup = setup(&bench, &origin);
    let gateway = start_scanned(&setup);
    assert_part(&gateway, &body, 0..2 * BLOCK);
    assert_part(&gateway, &body, 10 * BLOCK..LENGTH);
    bench.await_records(4);
    stop(gateway);
    origin.clear();

    let gateway = start_scanned(&setup);
    let kept = assert_part(&gateway, &body, 100..BLOCK + 100);
    assert!(status(&kept).ends_with("; detail=\"disk=2\""), "{}", status(&kept));
    assert!(is_hit(&kept), "{}", status(&kept));
    let line = gateway.line_of(&kept);
    assert_eq!((&line["blocks_disk"], &line["blocks_store"]), (&2.into(), &0.into()), "{line}");
    // They are in memory now.
    assert_hit(&assert_part(&gateway, &body, 100..BLOCK + 100), 2);
    assert_eq!(gateway.send("HEAD", PATH, &[]).header("content-length"), Some("655460"));
    assert_eq!(asked_of(&origin), Vec::<String>::new());
    assert_eq!(bench.counter("block_disk_hits"), 2);
    // The metadata, once.
    assert_eq!(bench.counter("disk_hits"), 1);
    let whole = gateway.get(PATH);
    assert_whole(&whole, &body);
    assert!(
        status(&whole).ends_with("; detail=\"memory=2, disk=1, store=8\""),
        "{}",
        status(&whole)
    );
    let asked = asked_of(&origin);
    assert!(asked.iter().all(|line| line.ends_with(&etag)), "{asked:?}");
    let fetched: usize = super::stretches(&asked).iter().map(|part| part.len()).sum();
    assert_eq!(fetched, 8 * BLOCK, "{asked:?}");
}

#[test]
fn stale_metadata_from_disk_is_revalidated_with_its_blocks() {
    let (bench, origin) = (Bench::new(), Origin::start());
    let body = numbered(LENGTH);
    let etag = origin.put("big.png", body.clone());
    let rules = serde_json::json!({"cache": {"ttl": 0, "stale_while_revalidate": 0}});
    let setup = setup(&bench, &origin).yaml(rules);
    let gateway = start_scanned(&setup);
    assert_part(&gateway, &body, 0..2 * BLOCK);
    bench.await_records(3);
    stop(gateway);
    origin.clear();
    let gateway = start_scanned(&setup);
    let confirmed = assert_part(&gateway, &body, 0..2 * BLOCK);
    assert!(status(&confirmed).contains("fwd-status=200"), "{}", status(&confirmed));
    // RGW's 304 does not name the version.
    assert_eq!(asked_of(&origin), [format!("HEAD !={etag}"), "HEAD".to_owned()]);
    // Overwritten: no byte of the old version is served from disk.
    let new = Version::new(2, LENGTH);
    origin.put("big.png", new.body.as_ref().clone());
    assert_part(&gateway, &new.body, 0..2 * BLOCK);
    assert_part(&gateway, &new.body, 0..LENGTH);
}

#[test]
fn a_damaged_block_is_fetched_again() {
    type Damage = fn(&std::path::Path);
    let flip: Damage = |file| {
        let mut bytes = fs::read(file).expect("a record");
        let last = bytes.len() - 100;
        bytes[last] ^= 1;
        fs::write(file, bytes).expect("a file to damage");
    };
    let cut: Damage = |file| {
        let bytes = fs::read(file).expect("a record");
        fs::write(file, &bytes[..bytes.len() - 4096]).expect("a file to damage");
    };
    let remove: Damage = |file| fs::remove_file(file).expect("a record");
    for (what, damage) in [("flipped", flip), ("cut", cut), ("removed", remove)] {
        let (bench, origin) = (Bench::new(), Origin::start());
        let body = numbered(LENGTH);
        let etag = origin.put("big.png", body.clone());
        let setup = setup(&bench, &origin);
        let gateway = start_scanned(&setup);
        assert_part(&gateway, &body, 0..BLOCK);
        bench.await_records(2);
        stop(gateway);
        origin.clear();
        let gateway = start_scanned(&setup);
        let size = |file: &&std::path::PathBuf| fs::metadata(file).map_or(0, |meta| meta.len());
        let records = bench.records();
        damage(records.iter().max_by_key(size).expect("a block"));
        assert_part(&gateway, &body, 5..BLOCK);
        assert_eq!(asked_of(&origin), [of_version(0..1, &etag)], "{what}");
        await_that("the block is kept", || bench.counter("blocks_under_way") == 0);
        assert_hit(&assert_part(&gateway, &body, 5..BLOCK), 1);
        let damaged = u64::from(what != "removed");
        assert_eq!(bench.counter("disk_damaged"), damaged, "{what}");
    }
}

#[test]
fn blocks_evicted_from_memory_are_served_from_disk() {
    let (bench, origin) = (Bench::new(), Origin::start());
    // Twice the memory that blocks may use.
    let length = 4 << 20;
    let body = numbered(length);
    origin.put("big.png", body.clone());
    let setup = setup(&bench, &origin).env("S3PROXY_CACHE_MEMORY", "8MiB");
    let gateway = start_scanned(&setup);
    assert_whole(&gateway.object(KEY), &body);
    bench.await_records(65);
    origin.clear();
    for _ in 0..2 {
        assert_whole(&gateway.object(KEY), &body);
    }
    assert_eq!(asked_of(&origin), Vec::<String>::new());
    assert!(bench.counter("block_disk_hits") > 64, "{}", bench.counter("block_disk_hits"));
    assert!(bench.counter("memory_bytes") <= 8 << 20);
}

#[test]
fn a_large_object_read_several_times_evicts_no_tile_from_disk() {
    const TILES: usize = 20;
    let size = |_: usize| 1 << 20;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, size);
    // More than the disk holds beside the tiles, and far more than the share of blocks, 16 MiB.
    let body = numbered(60 << 20);
    origin.put("big.png", body.clone());
    let setup = bench
        .setup(&origin.url())
        .env("S3PROXY_CACHE_MEMORY", "16MiB")
        .env("S3PROXY_CACHE_MAX_OBJECT", "2MiB")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "256KiB");
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, TILES, size);
    bench.await_records(TILES);
    for _ in 0..2 {
        assert_whole(&gateway.object(KEY), &body);
    }
    await_that("blocks had to make way", || bench.counter("disk_evictions") > 0);
    stop(gateway);
    origin.clear();
    let gateway = start_scanned(&setup);
    for tile in get_tiles(&gateway, TILES, size) {
        assert!(is_hit(&tile), "{}", status(&tile));
    }
    assert_eq!(asked_of(&origin), Vec::<String>::new());
}
