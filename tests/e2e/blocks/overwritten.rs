//! An object is overwritten while a client downloads it: whole and from a place on, through the cache and
//! past it. What arrives is the old version, whole.

use crate::blocks::{BLOCK, PATH, Shelf, Version, held_back, in_blocks};
use crate::client::Ending;
use crate::faulty::Gate;
use crate::gateway::{Gateway, Setup};
use crate::tally::trial;

const DOWNLOADS: &str = "overwritten downloads";
const LENGTH: usize = 64 * BLOCK;

/// Downloads from this byte on, and overwrites the object when the client has the first bytes. Returns
/// what has arrived.
fn download(gateway: &Gateway, shelf: &Shelf, from: usize, new: &Version) -> (Vec<u8>, Ending) {
    let gate = Gate::new();
    let held = gate.clone();
    // The first answer ends with the version it began with, as at a real store.
    shelf.now_by(move |version, request| held_back(version.answer(request), BLOCK + 10, &held));
    let range = format!("bytes={from}-");
    let headers = [("Range", range.as_str())];
    let mut client = gateway.connect();
    client.request("GET", PATH, if from == 0 { &[] } else { &headers });
    let head = client.head().expect("a head");
    assert_eq!(head.status, if from == 0 { 200 } else { 206 });
    assert!(client.fill_to(BLOCK / 2));
    shelf.overwrite(new);
    gate.open();
    client.body(&head, "GET")
}

fn roads(shelf: &Shelf) -> [(bool, Setup); 2] {
    let cached = in_blocks(&shelf.url()).env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "256KiB");
    let uncached = Setup::new(&shelf.url()).env("S3PROXY_CACHE_MEMORY", "0");
    [(true, cached), (false, uncached)]
}

#[test]
fn a_download_holds_one_version_when_its_object_is_overwritten() {
    let [old, new] = [Version::new(1, LENGTH), Version::new(2, LENGTH)];
    for from in [0, 1000, 5 * BLOCK + 7] {
        let shelf = Shelf::with(&old);
        for (cached, setup) in roads(&shelf) {
            let gateway = setup.start();
            let _trial = trial(DOWNLOADS);
            shelf.overwrite(&old);
            let (body, ending) = download(&gateway, &shelf, from, &new);
            assert!(
                old.has(from, &body),
                "cached: {cached}, from {from}: bytes of another version"
            );
            assert_eq!(
                (ending, body.len()),
                (Ending::Whole, LENGTH - from),
                "cached: {cached}, from {from}: the old version, whole"
            );
        }
    }
}
