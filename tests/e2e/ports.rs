//! Ports for gateways under test.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// A port outside the range from which the kernel assigns ports, so that no other process takes it
/// between the check and the gateway's bind.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    const FIRST: u32 = 12_000;
    const SPAN: u32 = 20_000;
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    let start = std::process::id().wrapping_mul(7919);
    for step in 0..SPAN {
        let port = u16::try_from(FIRST + start.wrapping_add(step) % SPAN).expect("below 32000");
        if given.insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port")
}
