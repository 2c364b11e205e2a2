//! With a disk tier: an object is stored whole where memory can hold it and in blocks otherwise, and
//! `stored` is true.

use crate::cached::status;
use crate::crowd::numbered;
use crate::disk::{Bench, eventually, get_tiles, put_tiles, start_scanned, stop};
use crate::gateway::Setup;
use crate::origin::Origin;

const MIB: usize = 1 << 20;

fn pod(bench: &Bench, origin: &Origin, memory: &str) -> Setup {
    bench
        .setup(&origin.url())
        .env("S3PROXY_CACHE_MEMORY", memory)
        .env("S3PROXY_CACHE_DISK_SIZE", "512MiB")
        .env("S3PROXY_CACHE_TTL", "1h")
}

#[test]
fn an_object_that_memory_cannot_hold_whole_is_cached_in_blocks() {
    let (bench, origin) = (Bench::new(), Origin::start());
    let body = numbered(70 * MIB);
    origin.put("a.png", body.clone());
    let gateway =
        start_scanned(&pod(&bench, &origin, "512MiB").env("S3PROXY_CACHE_MAX_OBJECT", "128MiB"));
    let first = gateway.object("sky/a.png");
    assert!(first.body == body && status(&first).contains("; stored"), "{}", status(&first));
    // Bursts may have been too fast for the disk; after two reads all is cached.
    assert!(gateway.object("sky/a.png").body == body);
    origin.clear();
    let again = gateway.object("sky/a.png");
    assert!(again.body == body && status(&again).contains("hit"), "{}", status(&again));
    assert_eq!(origin.count(), 0, "{:?}", origin.requests());
}

#[test]
fn a_memory_full_of_tiles_does_not_hide_a_fresh_object_on_disk() {
    let (bench, origin) = (Bench::new(), Origin::start());
    let body = numbered(10 * MIB);
    origin.put("a.png", body.clone());
    put_tiles(&origin, 60, |_| MIB / 2);
    let setup = pod(&bench, &origin, "32MiB");
    let gateway = start_scanned(&setup);
    assert!(gateway.object("sky/a.png").body == body);
    // The first block is stored in pages.
    eventually("nine blocks, 16 pages and their head", || bench.records().len() >= 26);
    stop(gateway);

    let gateway = start_scanned(&setup);
    get_tiles(&gateway, 60, |_| MIB / 2);
    origin.clear();
    let part = gateway.object_with("sky/a.png", &[("range", "bytes=5000000-5000099")]);
    assert!(part.body == body[5_000_000..5_000_100], "{} bytes", part.body.len());
    assert!(status(&part).contains("hit"), "{}", status(&part));
    let whole = gateway.object("sky/a.png");
    assert!(whole.body == body && status(&whole).contains("hit"), "{}", status(&whole));
    assert_eq!(origin.count(), 0, "{:?}", origin.requests());
    assert_eq!(bench.counter("no_room"), 0);
}

#[test]
fn small_objects_from_disk_hold_no_more_memory_than_the_tier_counts() {
    // Files of two pages of the disk for objects of one and a little: with the room of the file, entries held
    // more than the tier counted, the budget was used up before anything was evicted, and hits on disk were
    // fetched from the store.
    const TILES: usize = 900;
    const SIZE: usize = 4200;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, |_| SIZE);
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_MEMORY", "4MiB");
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, TILES, |_| SIZE);
    bench.await_records(TILES);
    for round in 0..2 {
        let before = origin.count();
        get_tiles(&gateway, TILES, |_| SIZE);
        assert_eq!(origin.count() - before, 0, "round {round}");
    }
    assert!(bench.counter("disk_hits") > 0, "memory is smaller than all of them");
}
