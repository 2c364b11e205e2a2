//! `Priority` (RFC 9218) end to end: an urgent tile overtakes a download of the same connection, whatever keeps the
//! download waiting: the window of the connection, or its socket.

use std::net::SocketAddr;

use super::raw::{DATA, Raw};
use super::start;
use crate::cached::with_cache;
use crate::client::PATIENCE;
use crate::origin::Origin;

const BULK: usize = 16 << 20;
const TILE: usize = 2 << 20;
/// What may come of the download between the first and the last byte of the tile, at least in one round: what was on
/// its way, and each fourth turn.
const BETWEEN: usize = 1 << 20;
/// The download goes on while the gateway has no next piece of the tile, which on a busy machine takes long. Without
/// priority, every round has as much of the download as of the tile.
const ROUNDS: usize = 5;

#[test]
fn an_urgent_tile_that_is_asked_for_later_is_finished_first() {
    let origin = Origin::start();
    origin.put("bulk.fits", "0123456789abcdef".repeat(BULK / 16));
    origin.put("tile.png", "0123456789abcdef".repeat(TILE / 16));
    for direct in ["true", "false"] {
        let gateway = start(with_cache(&origin.url()).env("S3PROXY_SERVER_DIRECT_HITS", direct));
        for key in ["bulk.fits", "tile.png"] {
            assert_eq!(gateway.object(&format!("sky/{key}")).status(), 200);
        }
        // The window of the connection has the size with which it begins, or is never the limit.
        for window in [65_535, 1 << 30] {
            let rounds: Vec<_> =
                (0..ROUNDS).map(|_| bulk_before_tile(gateway.address, window)).collect();
            let least = rounds.iter().min().expect("a round");
            assert!(
                *least <= BETWEEN,
                "direct: {direct}, window: {window}: {rounds:?} bytes of the download"
            );
        }
    }
}

/// How many bytes of the download come between the first and the last byte of the tile.
fn bulk_before_tile(gateway: SocketAddr, window: u32) -> usize {
    let mut raw = Raw::open(gateway, 1 << 24);
    if window > 65_535 {
        raw.open_window(0, window - 65_535);
    }
    let bulk = raw.request("/s3proxy/s3/sky/bulk.fits", &[("priority", "u=5")]);
    read_data(&mut raw, window, |raw| raw.received[&bulk].bytes >= 1 << 20);
    let tile = raw.request("/s3proxy/s3/sky/tile.png", &[("priority", "u=1")]);
    read_data(&mut raw, window, |raw| raw.received[&tile].bytes > 0);
    let before = raw.received[&bulk].bytes;
    read_data(&mut raw, window, |raw| raw.received[&tile].is_whole);
    let between = raw.received[&bulk].bytes - before;
    read_data(&mut raw, window, |raw| raw.received[&bulk].is_whole);
    let received = [bulk, tile].map(|stream| raw.received[&stream].bytes);
    assert_eq!(received, [BULK, TILE], "window: {window}");
    between
}

/// Reads until this holds, and opens the window of the connection by what has come.
fn read_data(raw: &mut Raw, window: u32, is_done: impl Fn(&Raw) -> bool) {
    while !is_done(raw) {
        let frame = raw.next_within(PATIENCE).expect("a frame");
        let length = u32::try_from(frame.payload.len()).expect("24 bits");
        if frame.kind == DATA && length > 0 && window == 65_535 {
            raw.open_window(0, length);
        }
    }
}
