//! Handshakes of TLS: many at once, unfinished ones, broken ones.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cached::with_cache;
use crate::client::{self, PATIENCE};
use crate::faulty::runtime;
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::scrape;
use crate::tls_port::{Edge, pair};

/// The offered rate is the goal; how long the run takes says whether the machine could keep it.
#[test]
fn two_hundred_handshakes_a_second_all_succeed_while_certificates_are_exchanged() {
    const RATE: u32 = 200;
    const SECONDS: u32 = 3;
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Arc::new(Edge::new());
    let gateway = edge.setup(with_cache(&origin.url())).start();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let exchanges = std::thread::spawn({
        let (edge, done) = (Arc::clone(&edge), Arc::clone(&done));
        move || {
            let mut count = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                edge.write(&pair(&edge.authority, "sky.example.org", false));
                count += 1;
                std::thread::sleep(Duration::from_millis(400));
            }
            count
        }
    });
    let connector = edge.connector(None);
    let began = Instant::now();
    let (failed, certificates) = runtime().block_on(async {
        let mut running = Vec::new();
        for nth in 0..RATE * SECONDS {
            let due = began + Duration::from_secs(1) * nth / RATE;
            tokio::time::sleep_until(due.into()).await;
            let (edge, connector) = (Arc::clone(&edge), connector.clone());
            running.push(tokio::spawn(async move {
                let stream = edge.handshake_as(&connector, "sky.example.org").await?;
                let (_, tls) = stream.get_ref();
                std::io::Result::Ok(tls.peer_certificates().map(|all| all[0].to_vec()))
            }));
        }
        let (mut failed, mut certificates) = (Vec::new(), std::collections::BTreeSet::new());
        for handshake in running {
            match handshake.await.expect("no panic") {
                Ok(certificate) => {
                    certificates.insert(certificate);
                }
                Err(error) => failed.push(error.to_string()),
            }
        }
        (failed, certificates.len())
    });
    let took = began.elapsed();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    let exchanges = exchanges.join().expect("no panic");
    assert_eq!(failed, [""; 0], "of {} in {took:?}", RATE * SECONDS);
    assert!(certificates > 1, "{certificates} certificates were seen, {exchanges} written");
    eprintln!(
        "{} handshakes in {took:?}, {certificates} certificates seen, 0 failed",
        RATE * SECONDS
    );
    let mut client = edge.connect(None).expect("a handshake");
    assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).text(), "tile");
    drop(gateway);
}

/// A thousand clients begin a handshake and never end it: others are served all the while, on both ports.
#[test]
fn half_handshakes_keep_nobody_out() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let gateway = edge
        .setup(with_cache(&origin.url()))
        .env("S3PROXY_DOWNSTREAM_MAX_CONNECTIONS", "64")
        .tolerate("connections_full")
        .start();
    let mut held = Vec::new();
    for round in 0..40 {
        for nth in 0..25 {
            let mut stream = TcpStream::connect(edge.address).expect("accepted");
            let beginning: &[u8] = match nth % 4 {
                0 => b"",
                1 => &[22],
                2 => &[22, 3, 1, 2, 0, 1, 0],
                _ => &[22, 3, 1, 0, 50, 1, 0, 0, 46, 3, 3],
            };
            let _closed_meanwhile = std::io::Write::write_all(&mut stream, beginning);
            held.push(stream);
        }
        // In the moment of a burst it may be that no connection is idle yet, and a new one is refused.
        let path = "/s3proxy/s3/sky/a.png";
        let deadline = Instant::now() + PATIENCE;
        let answer = loop {
            let answer = edge.connect(None).ok().and_then(|mut client| {
                client.request("GET", path, &[]);
                client.answer("GET")
            });
            match answer {
                Some(answer) => break answer,
                None => assert!(Instant::now() < deadline, "round {round}"),
            }
        };
        assert_eq!(answer.text(), "tile", "round {round}");
        let answer = client::send(gateway.address, "GET", path, &[]);
        assert_eq!(answer.text(), "tile", "round {round}");
    }
    let admin = gateway.admin.expect("an admin listener");
    let page = client::send(admin, "GET", "/metrics", &[]);
    let series = scrape::parse(page.text());
    let displaced =
        series["s3proxy_tls_handshakes_total{listener=\"public\",outcome=\"displaced\"}"];
    assert!(displaced > 500.0, "{displaced}");
}

/// The first record of a client: what a handshake begins with.
fn hello(edge: &Edge) -> Vec<u8> {
    let connector = edge.connector(None);
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = tokio::spawn(async move {
            let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
            let name = "sky.example.org".try_into().expect("a name");
            drop(connector.connect(name, stream).await);
        });
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut bytes = vec![0; 4096];
        let length = tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await.expect("a hello");
        drop(stream);
        client.await.expect("no panic");
        bytes.truncate(length);
        bytes
    })
}

/// Damaged beginnings of a handshake: each ends its own connection, and nothing else.
#[test]
fn broken_hellos_end_their_connection_alone() {
    let edge = Edge::new();
    let gateway = edge
        .setup(Setup::new("http://127.0.0.1:1"))
        .env("S3PROXY_DOWNSTREAM_HEADER_TIMEOUT", "1s")
        .start();
    let good = hello(&edge);
    let name = b"sky.example.org";
    let at = good.windows(name.len()).position(|part| part == name).expect("the name");
    let with_name = |other: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + other.len()].copy_from_slice(other);
        bytes
    };
    let mut hellos: Vec<Vec<u8>> = vec![
        with_name(&[0; 15]),
        with_name(&[0xff; 15]),
        with_name(b"..............."),
        with_name(b"*.............."),
        with_name(b"sky.example.or\n"),
        with_name(b"-'\";<>{}()[]$\\ "),
        [&[22, 3, 1, 0xff, 0xff][..], &[0; 2000]].concat(),
        [&[22, 3, 1, 0, 0][..], &good].concat(),
        good[..good.len() - 1].to_vec(),
        [22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff].to_vec(),
    ];
    // Any one byte, one after the other in steps; the numbers are those of a fixed sequence.
    let mut random = 0x2545_f491_u32;
    for nth in 0..200 {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let mut bytes = good.clone();
        let place = (nth * 7) % bytes.len();
        bytes[place] = random.to_le_bytes()[0];
        hellos.push(bytes);
    }
    let mut open: Vec<TcpStream> = Vec::new();
    for bytes in &hellos {
        let mut stream = TcpStream::connect(edge.address).expect("accepted");
        let _closed_meanwhile = std::io::Write::write_all(&mut stream, bytes);
        open.push(stream);
    }
    for (mut stream, bytes) in open.into_iter().zip(&hellos) {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let _closed_or_reset =
            std::io::Read::read_to_end(&mut stream, &mut Vec::new()).map_err(|error| {
                let is_open = matches!(error.kind(), std::io::ErrorKind::WouldBlock);
                assert!(!is_open, "still open: {bytes:?}");
            });
    }
    let mut client = edge.connect(None).expect("a handshake");
    assert_eq!(client.exchange("GET", "/", &[]).status(), 200);
    drop(gateway);
}
