//! Clients that attack by HTTP/2: each loses its connection, with a reason, and is counted; others notice nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Http2, await_ends, start};
use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::PATIENCE;
use crate::origin::Origin;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u8 = 11;
/// `:method: GET`, `:scheme: http`, `:path: /`, and `:authority: h` as a literal.
const HEAD: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'h'];

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("24 bits").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends frames until the connection ends, and returns the code of its GOAWAY.
fn attack(address: SocketAddr, mut frames: impl FnMut(u32) -> Vec<u8> + Send) -> Option<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).expect("sent");
    let mut writer = stream.try_clone().expect("a clone");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..20_000 {
                let bytes = frames(number);
                if bytes.is_empty() || writer.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        goaway(&mut stream)
    })
}

fn goaway(stream: &mut TcpStream) -> Option<u8> {
    let mut code = None;
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).is_err() {
            break;
        }
        if head[3] == GOAWAY {
            code = payload.get(7).copied();
        }
    }
    code
}

/// The frames of an attack, by number.
type Frames = Box<dyn FnMut(u32) -> Vec<u8> + Send>;

#[test]
fn floods_end_the_connection_and_are_counted() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let (setup, admin) = Admin::of(with_cache(&origin.url()));
    let gateway = start(setup);
    let mut other = Http2::plain(gateway.address);
    let stream = |number: u32| number * 2 + 1;
    let attacks: [(&str, &str, Frames); 5] = [
        ("PING", "control_flood", Box::new(|_| frame(6, 0, 0, &[0; 8]))),
        ("SETTINGS", "control_flood", Box::new(|_| frame(4, 0, 0, &[]))),
        ("PRIORITY", "control_flood", Box::new(|_| frame(2, 0, 1, &[0, 0, 0, 3, 1]))),
        (
            "CONTINUATION",
            "excess",
            Box::new(|number| match number {
                0 => frame(1, 1, 1, HEAD),
                _ => frame(9, 0, 1, &[0x00, 1, b'a', 1, b'b']),
            }),
        ),
        (
            "rapid reset",
            "reset_flood",
            Box::new(move |number| {
                // Slowly enough that requests begin.
                std::thread::sleep(Duration::from_micros(300));
                let head = frame(1, 5, stream(number), HEAD);
                [head, frame(3, 0, stream(number), &[0, 0, 0, 8])].concat()
            }),
        ),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (what, end, frames) in attacks {
        let code = attack(gateway.address, frames);
        // The kernel may drop it, if the client sends on.
        assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{what}: {code:?}");
        let count: &mut usize = expected.entry(end).or_default();
        *count += 1;
        await_ends(&admin, end, *count);
    }
    assert_eq!(other.get("/s3proxy/s3/sky/a.png").text(), "tile");
    assert!(gateway.lines().len() < 2000, "the log is flooded");
}

#[test]
fn a_head_that_does_not_end_and_a_preface_that_does_not_come_have_a_time() {
    let origin = Origin::start();
    let setup = with_cache(&origin.url()).yaml(json!({"downstream": {"header_timeout": "500ms"}}));
    let (setup, admin) = Admin::of(setup);
    let gateway = start(setup);
    let began = Instant::now();
    // A head whose CONTINUATION does not come, and one in the middle of a frame.
    let unfinished = frame(1, 1, 1, HEAD);
    let cut = &frame(1, 5, 1, HEAD)[..12];
    for bytes in [&unfinished[..], cut] {
        let mut once = Some(bytes.to_vec());
        let code = attack(gateway.address, move |_| once.take().unwrap_or_default());
        assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    }
    await_ends(&admin, "slow_head", 2);
    let mut silent = TcpStream::connect(gateway.address).expect("a connection");
    silent.write_all(&PREFACE[..10]).expect("sent");
    assert_eq!(goaway(&mut silent), None);
    await_ends(&admin, "no_preface", 1);
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn a_head_that_is_far_too_large_is_refused_and_the_connection_goes_on() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = start(with_cache(&origin.url()));
    let mut http2 = Http2::plain(gateway.address);
    let answer = http2.exchange("GET", "/", &[("x-long", &"x".repeat(80 << 10))]);
    assert_eq!(answer.status(), 431);
    assert_eq!(http2.get("/s3proxy/s3/sky/a.png").text(), "tile");
}
