//! Ports for gateways under test.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Outside the range from which the kernel assigns ports.
const FIRST: u16 = 12_000;
/// The number of ports that a process takes at once, and the number of such blocks.
const BLOCK: u16 = 200;
const BLOCKS: u16 = 100;

/// The blocks of ports of this process. Each has a name in the abstract namespace, which belongs to the network
/// as ports do, and is free again when the process has ended.
struct Ports {
    blocks: Vec<(u16, UnixListener)>,
    given: usize,
}

/// A port that no other process of these tests gets as long as this one runs, although nothing may listen on
/// it now and then: a server is started again at its port, and must not meet the server of another test
/// there.
pub(crate) fn free_port() -> u16 {
    static PORTS: Mutex<Ports> = Mutex::new(Ports { blocks: Vec::new(), given: 0 });
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..usize::from(BLOCK * BLOCKS) {
        let port = ports.next();
        // A program that knows nothing of this may listen there.
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port")
}

impl Ports {
    fn next(&mut self) -> u16 {
        let size = usize::from(BLOCK);
        if self.given >= self.blocks.len() * size {
            let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("small");
            let mut blocks = (0..BLOCKS).map(|step| (start + step) % BLOCKS);
            match blocks.find_map(|block| Some((block, claim(block)?))) {
                Some(claimed) => self.blocks.push(claimed),
                // All are taken: those that this process had first are used again.
                None => self.given = 0,
            }
        }
        let (block, _) = self.blocks.get(self.given / size).expect("a block of ports");
        let port = FIRST + block * BLOCK + u16::try_from(self.given % size).expect("small");
        self.given += 1;
        port
    }
}

fn claim(block: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("s3proxy-test-ports-{block}"));
    UnixListener::bind_addr(&name.expect("a short name")).ok()
}

/// Two test processes started servers at one port, and each read what the other had written.
#[test]
fn no_other_process_gets_a_port_although_nothing_listens_there() {
    let (port, other) = (free_port(), free_port());
    assert_ne!(port, other);
    for port in [port, other] {
        assert!(claim((port - FIRST) / BLOCK).is_none(), "{port}");
    }
}
