//! Purged objects are removed from disk too.

use crate::disk::{Bench, get_tiles, is_hit, put_tiles, start_scanned, stop};
use crate::origin::Origin;

#[test]
fn purged_objects_stay_purged_after_a_restart() {
    const TILES: usize = 300;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, |_| 2000);
    let setup = bench.setup(&origin.url());
    for purged in ["/sky/tiles/", "/sky/tiles/7.png"] {
        let gateway = start_scanned(&setup);
        origin.put("other.png", "another tile");
        gateway.object("sky/other.png");
        get_tiles(&gateway, TILES, |_| 2000);
        bench.await_records(TILES + 1);
        bench.purge(purged);
        stop(gateway);
        origin.clear();
        let gateway = start_scanned(&setup);
        assert!(is_hit(&gateway.object("sky/other.png")), "purged {purged}");
        get_tiles(&gateway, TILES, |_| 2000);
        let anew = if purged.ends_with('/') { TILES } else { 1 };
        assert_eq!(origin.count(), anew, "purged {purged}");
        bench.await_records(TILES + 1);
        stop(gateway);
    }
}

#[test]
fn a_purge_holds_while_the_disk_is_swept() {
    const TILES: usize = 2000;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, |_| 300);
    let setup = bench.setup(&origin.url());
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, TILES, |_| 300);
    bench.await_records(TILES);
    stop(gateway);
    let gateway = start_scanned(&setup);
    origin.clear();
    bench.purge("/sky/tiles/");
    get_tiles(&gateway, TILES, |_| 300);
    assert_eq!(origin.count(), TILES, "tiles from before the purge were served");
}
