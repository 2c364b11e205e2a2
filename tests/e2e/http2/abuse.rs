//! Clients that attack by HTTP/2: each loses its connection, with a reason, and is counted; others notice nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PREFACE,
    RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use super::{Http2, await_ends, start};
use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::PATIENCE;
use crate::crowd::await_that;
use crate::origin::Origin;
use crate::scrape;

const PRIORITY: u8 = 2;
/// `:method: GET`, `:scheme: http`, `:path: /`, and `:authority: h` as a literal.
const HEAD: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'h'];

/// Sends frames until the connection ends, and returns the code of its GOAWAY.
fn attack(address: SocketAddr, mut frames: impl FnMut(u32) -> Vec<u8> + Send) -> Option<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).expect("sent");
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

/// How many connections have ended in one of these ways.
fn ended(admin: &Admin, ends: &[&str]) -> f64 {
    let numbers = scrape::parse(admin.send("GET", "/metrics").text());
    let number = |end: &&str| numbers[&format!("s3proxy_http2_connections_total{{end=\"{end}\"}}")];
    ends.iter().map(number).sum()
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
    // A request whose body never ends.
    let begin = |number: u32| match number {
        0 => frame(HEADERS, END_HEADERS, 1, HEAD),
        _ => Vec::new(),
    };
    // The limit of `h2` and that of the gateway: which of them is first depends on when the answer comes.
    let data: &[&str] = &["control_flood", "excess"];
    let attacks: [(&str, &[&str], Frames); 8] = [
        ("PING", &["control_flood"], Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        ("SETTINGS", &["control_flood"], Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        ("PRIORITY", &["control_flood"], Box::new(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]))),
        (
            "WINDOW_UPDATE",
            &["control_flood"],
            Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ),
        (
            "empty DATA",
            data,
            Box::new(move |number| [begin(number), frame(DATA, 0, 1, &[])].concat()),
        ),
        (
            "DATA of one byte",
            data,
            Box::new(move |number| [begin(number), frame(DATA, 0, 1, b"x")].concat()),
        ),
        (
            "CONTINUATION",
            &["excess"],
            Box::new(|number| match number {
                0 => frame(HEADERS, END_STREAM, 1, HEAD),
                _ => frame(CONTINUATION, 0, 1, &[0x00, 1, b'a', 1, b'b']),
            }),
        ),
        (
            "rapid reset",
            &["reset_flood"],
            Box::new(move |number| {
                // Slowly enough that requests begin.
                std::thread::sleep(Duration::from_micros(300));
                let head = frame(HEADERS, END_STREAM | END_HEADERS, stream(number), HEAD);
                [head, frame(RST_STREAM, 0, stream(number), &[0, 0, 0, 8])].concat()
            }),
        ),
    ];
    for (what, ends, frames) in attacks {
        let before = ended(&admin, ends);
        let code = attack(gateway.address, frames);
        // The kernel may drop it, if the client sends on.
        assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{what}: {code:?}");
        await_that(what, || ended(&admin, ends) > before);
    }
    assert_eq!(other.get("/s3proxy/s3/sky/a.png").text(), "tile");
    let lines = gateway.lines();
    assert!(lines.len() < 2000, "the log is flooded");
    let named = "HTTP/2: a connection of 127.0.0.1 was ended: control_flood";
    let naming = lines.iter().filter(|line| line.text.contains("was ended")).collect::<Vec<_>>();
    assert!(naming.len() == 1 && naming[0].text.contains(named), "{naming:?}");
}

#[test]
fn a_head_that_does_not_end_and_a_preface_that_does_not_come_have_a_time() {
    let origin = Origin::start();
    let setup = with_cache(&origin.url()).yaml(json!({"downstream": {"header_timeout": "500ms"}}));
    let (setup, admin) = Admin::of(setup);
    let gateway = start(setup);
    let began = Instant::now();
    // A head whose CONTINUATION does not come, and one in the middle of a frame.
    let unfinished = frame(HEADERS, END_STREAM, 1, HEAD);
    let cut = &frame(HEADERS, END_STREAM | END_HEADERS, 1, HEAD)[..12];
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

/// Few bytes of a head that unpack to many: a field is put into the table of the connection once (RFC 7541, section
/// 6.2.1), and then named by one byte.
fn bomb(stream: u32, name: u8, value: usize, times: usize) -> Vec<u8> {
    // Sizes beyond 126 are in further groups of seven bits (section 5.1).
    let mut size = vec![0x7f];
    let mut rest = value - 127;
    while rest >= 128 {
        size.push(u8::try_from(rest % 128 + 128).expect("a byte"));
        rest /= 128;
    }
    size.push(u8::try_from(rest).expect("a byte"));
    let field = [&[0x40, 1, name][..], &size, &vec![b'x'; value]].concat();
    let block = [HEAD, &field, &vec![0x80 | 62; times]].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

#[test]
fn a_head_that_unpacks_to_far_more_is_not_unpacked_and_others_notice_nothing() {
    const CONNECTIONS: usize = 8;
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let (setup, admin) = Admin::of(with_cache(&origin.url()));
    let gateway = start(setup);
    let mut other = Http2::plain(gateway.address);
    assert_eq!(other.get("/s3proxy/s3/sky/a.png").text(), "tile");
    let (before, address) = (gateway.peak_memory(), gateway.address);
    std::thread::scope(|scope| {
        let attacks: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                // Each head is one of 45 MiB.
                let frames = |number: u32| bomb(2 * number + 1, b'a', 4000, 12_000);
                scope.spawn(move || attack(address, frames))
            })
            .collect();
        while attacks.iter().any(|attack| !attack.is_finished()) {
            let began = Instant::now();
            assert_eq!(other.get("/s3proxy/s3/sky/a.png").text(), "tile");
            assert!(began.elapsed() < Duration::from_secs(5), "another client waits");
        }
        for attack in attacks {
            let code = attack.join().expect("no panic");
            assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
        }
    });
    await_ends(&admin, "excess", CONNECTIONS);
    let more = (gateway.peak_memory() - before) >> 20;
    assert!(more < 32, "{more} MiB more");
    assert_eq!(origin.count(), 1, "no such request is one");
}

/// Beyond `downstream.header_max_bytes` by a little, a head is refused by name, and the connection goes on.
#[test]
fn a_head_that_unpacks_to_more_than_the_limit_is_refused() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = start(with_cache(&origin.url()));
    let mut raw = Raw::open(gateway.address, 1 << 20);
    // 40 KB of 4 KB.
    raw.send(&bomb(1, b'a', 4000, 9));
    raw.read_for(Duration::from_secs(1));
    assert!(raw.received[&1].is_whole && raw.received[&1].bytes > 0, "{:?}", raw.received);
    gateway.expect_log("the refusal", |line| line["cause"] == "headers_too_large");
    // The table of the connection is still in step.
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &[HEAD, &[0x80 | 62]].concat()));
    raw.read_for(Duration::from_secs(1));
    assert!(raw.received[&3].is_whole && raw.goaway.is_none(), "{:?}", raw.received);
}
