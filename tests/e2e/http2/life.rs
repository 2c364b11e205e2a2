//! The life of a connection of HTTP/2: idle, age, drain, clients that cancel, limits, who goes first.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::abuse::{PREFACE, frame};
use super::{Http2, answer, await_ends, prior_knowledge, start};
use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::{Client, Ending, PATIENCE};
use crate::faulty::{self, Faulty, Gate, Recorded, Step, runtime};
use crate::gateway::Setup;
use crate::origin::Origin;

#[test]
fn an_idle_or_old_connection_ends_with_goaway_and_a_busy_one_answers_first() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    for (setting, end) in [("keepalive_timeout", "idle"), ("http2_max_age", "age")] {
        let setup = with_cache(&origin.url()).yaml(json!({"downstream": {setting: "1s"}}));
        let (setup, admin) = Admin::of(setup);
        let gateway = start(setup);
        let mut http2 = Http2::plain(gateway.address);
        assert_eq!(http2.get("/s3proxy/s3/sky/a.png").text(), "tile");
        let began = Instant::now();
        http2.end().expect("a graceful end");
        assert!(began.elapsed() < Duration::from_secs(5), "{end}");
        await_ends(&admin, end, 1);
    }
}

#[test]
fn at_the_end_of_the_process_requests_are_answered_and_clients_told() {
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |_: &Recorded, _| {
        [vec![Step::Wait(held.clone())], faulty::object(b"tile")].concat()
    });
    let setup = Setup::new(&store.url())
        .yaml(json!({"server": {"lame_duck": "0s", "grace_period": "10s"}}))
        .env("S3PROXY_CACHE_MEMORY", "0");
    let mut gateway = start(setup);
    let mut http2 = Http2::plain(gateway.address);
    let response = http2.begin("GET", "/s3proxy/s3/sky/a.png", &[]);
    store.await_requests(1);
    gateway.signal("TERM");
    gateway.expect_log("the drain", |line| {
        line["event"].as_str().is_some_and(|text| text.contains("SIGTERM"))
    });
    gate.open();
    let answer = runtime().block_on(answer(response)).expect("an answer");
    assert_eq!((answer.text(), answer.ending), ("tile", Ending::Whole));
    let _closed = http2.end();
    assert!(gateway.await_end(Duration::from_secs(10)).success());
}

#[test]
fn a_client_that_cancels_a_request_ends_the_request_to_the_store() {
    let store = Faulty::scripted(|_: &Recorded, _| {
        let length = 256 << 20;
        vec![faulty::head(200, &[("Content-Length", &length.to_string())]), Step::Flood(length)]
    });
    let setup = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = start(setup.tolerate("client_gone"));
    let mut http2 = Http2::plain(gateway.address);
    let response = http2.begin("GET", "/s3proxy/s3/sky/a.png", &[("x-request-id", "left")]);
    let (_head, body) = runtime().block_on(response).expect("a head").into_parts();
    drop(body);
    store.await_hung_up(1);
    assert_eq!(gateway.line_of_id("left")["cause"], "client_gone");
    assert_eq!(http2.get("/s3proxy/").status(), 200);
}

#[test]
fn a_client_that_cancels_before_the_head_ends_the_request_to_the_store() {
    let store = Faulty::always(vec![Step::Stall]);
    let setup = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = start(setup.tolerate("client_gone"));
    let mut http2 = Http2::plain(gateway.address);
    let response = http2.begin("GET", "/s3proxy/s3/sky/a.png", &[("x-request-id", "left")]);
    store.await_requests(1);
    drop(response);
    store.await_hung_up(1);
    assert_eq!(gateway.line_of_id("left")["cause"], "client_gone");
}

#[test]
fn a_stream_that_is_not_read_is_given_up_and_others_go_on() {
    let origin = Origin::start();
    origin.put("big.png", "0123456789abcdef".repeat(1 << 20));
    origin.put("a.png", "tile");
    let setup = with_cache(&origin.url()).yaml(json!({"downstream": {"write_timeout": "1s"}}));
    let gateway = start(setup.tolerate("client_gone"));
    for direct in [false, true] {
        let mut http2 = Http2::plain(gateway.address);
        let id = format!("unread-{direct}");
        let response = http2.begin("GET", "/s3proxy/s3/sky/big.png", &[("x-request-id", &*id)]);
        let (_head, mut body) = runtime().block_on(response).expect("a head").into_parts();
        // Its window is never opened again.
        assert_eq!(gateway.line_of_id(&id)["cause"], "client_gone");
        assert_eq!(http2.get("/s3proxy/s3/sky/a.png").text(), "tile");
        let cut = runtime().block_on(async {
            while let Some(piece) = body.data().await {
                if piece.is_err() {
                    return true;
                }
            }
            false
        });
        assert!(cut, "a short body looks whole");
    }
}

#[test]
fn requests_in_progress_have_a_place_among_the_connections() {
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |_: &Recorded, _| {
        [vec![Step::Wait(held.clone())], faulty::object(b"tile")].concat()
    });
    let setup = Setup::new(&store.url())
        .yaml(json!({"downstream": {"max_connections": 16}}))
        .env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = start(setup.tolerate("connections_full"));
    let mut http2 = Http2::plain(gateway.address);
    let held: Vec<_> = (0..15)
        .map(|number| http2.begin("GET", &format!("/s3proxy/s3/sky/{number}.png"), &[]))
        .collect();
    store.await_requests(15);
    let refused = http2.get("/s3proxy/s3/sky/more.png");
    assert_eq!((refused.status(), &refused.json()["cause"]), (503, &json!("connections_full")));
    gate.open();
    for response in held {
        let answer = runtime().block_on(answer(response)).expect("an answer");
        assert_eq!(answer.text(), "tile");
    }
    assert_eq!(http2.get("/s3proxy/s3/sky/more.png").text(), "tile");
}

#[test]
fn both_versions_share_a_port_without_tls() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let (setup, address) = prior_knowledge(with_cache(&origin.url()));
    let _gateway = setup.start();
    let mut one = Client::connect(address);
    for _ in 0..2 {
        assert_eq!(one.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).text(), "tile");
    }
    assert_eq!(Http2::plain(address).get("/s3proxy/s3/sky/a.png").text(), "tile");
    // The shortest request that there is.
    let mut short = Client::connect(address);
    short.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(short.answer("GET").expect("an answer").status(), 200);
}

/// A request by literals, which no table compresses.
fn request(stream: u32, path: &str, priority: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[length][..], text.as_bytes()].concat()
    };
    let head = [
        vec![0x82, 0x86, 0x04],
        text(path),
        vec![0x01],
        text("gateway.test"),
        vec![0x00],
        text("priority"),
        text(priority),
    ];
    frame(1, 5, stream, &head.concat())
}

/// The bytes of a large response that come before the end of a small one, whose request comes later, at a
/// client that is slower than the gateway.
fn bytes_before(address: SocketAddr, large: &str, small: &str) -> usize {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // No window limits either.
    let windows = [
        frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
        frame(8, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes()),
    ];
    let first = request(1, "/s3proxy/s3/sky/large.png", large);
    stream.write_all(&[PREFACE, &windows.concat(), &first].concat()).expect("sent");
    let (mut read, mut head) = (0, [0; 9]);
    let mut asked = false;
    loop {
        stream.read_exact(&mut head).expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).expect("its payload");
        match (head[3], head[8]) {
            (0, 1) => {
                read += length;
                std::thread::sleep(Duration::from_millis(2));
            }
            (0, 3) if head[4] & 1 != 0 => return read,
            _ => {}
        }
        if read > 1 << 20 && !asked {
            asked = true;
            let second = request(3, "/s3proxy/s3/sky/small.png", small);
            stream.write_all(&second).expect("sent");
        }
    }
}

#[test]
fn an_urgent_response_overtakes_others() {
    let origin = Origin::start();
    origin.put("large.png", vec![b'l'; 24 << 20]);
    origin.put("small.png", vec![b's'; 256 << 10]);
    let gateway = start(with_cache(&origin.url()).env("S3PROXY_CACHE_MEMORY", "512MiB"));
    for path in ["large", "small"] {
        gateway.object(&format!("sky/{path}.png"));
    }
    let urgent = bytes_before(gateway.address, "u=7", "u=0");
    let patient = bytes_before(gateway.address, "u=0", "u=7");
    assert!(urgent < patient / 2, "{urgent} bytes before an urgent one, {patient} before another");
}
