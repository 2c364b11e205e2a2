//! Ports for gateways under test.

use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// Outside the range from which the kernel assigns ports.
const FIRST: u16 = 12_000;
const BLOCKS: u16 = 80;
const BLOCK: u16 = 250;

/// The ports of this process: blocks of them, each claimed by a listener on its first port, so that test
/// processes that run at the same time never give one port to two gateways.
struct Claimed {
    claims: Vec<TcpListener>,
    next_block: u16,
    /// Of the last block: the ports that were not given.
    left: std::ops::Range<u16>,
}

/// A port that no other process takes between the check and the gateway's bind.
pub(crate) fn free_port() -> u16 {
    static CLAIMED: Mutex<Claimed> =
        Mutex::new(Claimed { claims: Vec::new(), next_block: 0, left: 0..0 });
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        for port in claimed.left.by_ref() {
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
        assert!(claimed.next_block < BLOCKS, "no free port");
        let first = FIRST + claimed.next_block * BLOCK;
        claimed.next_block += 1;
        if let Ok(claim) = TcpListener::bind(("127.0.0.1", first)) {
            claimed.claims.push(claim);
            claimed.left = first + 1..first + BLOCK;
        }
    }
}
