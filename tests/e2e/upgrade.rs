//! A new process takes over from a running one (SIGQUIT): with the sockets it gets the disk tier.

use serde_json::json;

use crate::client::PATIENCE;
use crate::disk::{Bench, is_hit, start_scanned};
use crate::origin::Origin;

#[test]
fn an_upgrade_hands_the_disk_tier_over_and_is_no_error() {
    const TILES: usize = 40;
    let tile = |nth: usize| format!("{nth}.png");
    let (bench, origin) = (Bench::new(), Origin::start());
    for nth in 0..TILES {
        origin.put(&tile(nth), "a tile");
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    let folder = tempfile::Builder::new().permissions(mode).tempdir().expect("a folder");
    let socket = folder.path().join("upgrade.sock");
    let upgrade = json!({"server": {
        "upgrade_sock": socket.to_str().expect("UTF-8"), "grace_period": "5s",
    }});
    let setup = bench.setup(&origin.url()).yaml(upgrade);
    let mut old = start_scanned(&setup);
    for nth in 0..TILES {
        assert_eq!(old.object(&format!("sky/{}", tile(nth))).text(), "a tile");
    }
    bench.await_records(TILES);
    let taking_over = setup.takes_over(&old);
    let new = std::thread::scope(|scope| {
        let starting = scope.spawn(|| taking_over.start());
        old.signal("QUIT");
        starting.join().expect("the new process serves")
    });
    // The old process accepts for some seconds more, beside the new one.
    let status = old.await_end(3 * PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
    for nth in 0..TILES {
        let answer = new.object(&format!("sky/{}", tile(nth)));
        assert_eq!(answer.text(), "a tile");
        assert!(is_hit(&answer), "{answer:?}");
    }
    assert_eq!(origin.count(), TILES, "no tile was requested twice");
    assert_eq!(bench.counter("disk_hits"), TILES as u64);
    // Both gateways fail the test if they have logged a warning or an error.
    old.assert_log_clean();
    new.assert_log_clean();
}
