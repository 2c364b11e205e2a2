//! Limits on one client: time for its headers, their size, idle connections.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::admin::Admin;
use crate::cached::with_cache;
use crate::client::{Client, Ending, Fate, PATIENCE};
use crate::faulty::{self, Faulty, Gate, Step};
use crate::gateway::{Gateway, Setup};
use crate::tally::{trial, trials};

/// Slow, greedy and idle clients.
const GREEDY: &str = "greedy clients";
const EMPTY_LINES: &str = "empty lines";
const DEADLINE: Duration = Duration::from_secs(1);

fn hasty(store: &str) -> Gateway {
    hasty_setup(store).start()
}

fn hasty_setup(store: &str) -> Setup {
    Setup::new(store)
        .yaml(json!({"downstream": {"header_timeout": "1s", "header_max_bytes": 8192}}))
        .tolerate("\"status\":4")
        .tolerate("\"status\": 4")
}

/// Sends a header byte by byte; returns the time after which the gateway ended it.
fn trickle(client: &mut Client) -> Duration {
    let _trial = trial(GREEDY);
    let began = Instant::now();
    client.send("GET /s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: gateway.test\r\nX-Slow: ");
    while began.elapsed() < PATIENCE {
        client.try_send(b"x");
        if client.fate(Duration::from_millis(50)) != Fate::Open {
            return began.elapsed();
        }
        if client.leftover().starts_with(b"HTTP/1.1 ") {
            let status = client.head().expect("a head").status;
            assert!(matches!(status, 400 | 408), "{status}");
            assert_ne!(client.fate(PATIENCE), Fate::Open, "refused, yet kept");
            return began.elapsed();
        }
    }
    panic!("still trickling after {PATIENCE:?}")
}

#[test]
fn a_trickled_header_is_cut_at_the_deadline() {
    let spy = Faulty::spy();
    let gateway = hasty(&spy.url());
    let took = trickle(&mut gateway.connect());
    assert!(took >= DEADLINE.mul_f32(0.8) && took < DEADLINE * 3, "{took:?}");
    assert_eq!(spy.count(), 0);
}

#[test]
fn the_deadline_restarts_for_every_request_and_not_while_idle() {
    let spy = Faulty::spy();
    let gateway = hasty(&spy.url());
    let mut client = gateway.connect();
    assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).status(), 200);
    // Idle for longer than the header deadline: this test is about time itself.
    assert_eq!(client.fate(DEADLINE.mul_f32(1.5)), Fate::Open, "idle connections are kept");
    assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).status(), 200);
    let took = trickle(&mut client);
    assert!(took >= DEADLINE.mul_f32(0.8) && took < DEADLINE * 3, "{took:?}");
    assert_eq!(spy.count(), 2);
}

#[test]
fn a_header_in_two_pieces_within_the_deadline_is_fine() {
    let spy = Faulty::spy();
    let gateway = hasty(&spy.url());
    let mut client = gateway.connect();
    client.send("GET /s3proxy/s3/sky/a.png HTTP/1.1\r\nHo");
    assert_eq!(client.fate(Duration::from_millis(100)), Fate::Open);
    client.send("st: gateway.test\r\n\r");
    assert_eq!(client.fate(Duration::from_millis(100)), Fate::Open);
    client.send("\n");
    assert_eq!(client.answer("GET").expect("an answer").status(), 200);
}

#[test]
fn a_header_larger_than_allowed_is_refused() {
    let spy = Faulty::spy();
    let gateway = hasty(&spy.url());
    let value = "v".repeat(20_000);
    let many: String = (0..1000).map(|i| format!("X-{i}: {}\r\n", "v".repeat(20))).collect();
    for request in [
        format!("GET /s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: a.test\r\nX-Big: {value}\r\n\r\n"),
        format!("GET /s3proxy/s3/sky/a.png?{value} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        format!("GET /s3proxy/s3/sky/{value}.png HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        format!("GET /s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: a.test\r\n{many}\r\n"),
    ] {
        let _trial = trial(GREEDY);
        let mut client = gateway.connect();
        client.send(&request);
        if let Some(answer) = client.answer("GET") {
            assert!(matches!(answer.status(), 400 | 414 | 431), "{answer:?}");
            assert_ne!(client.fate(PATIENCE), Fate::Open, "refused, yet kept");
        }
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn a_header_that_never_ends_is_refused_at_the_limit() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .yaml(json!({"downstream": {"header_max_bytes": 8192}}))
        .tolerate("\"status\":4")
        .start();
    let mut client = gateway.connect();
    let _trial = trial(GREEDY);
    client.send("GET /s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: gateway.test\r\nX-Big: ");
    let mut sent = 0;
    let block = vec![b'v'; 16 * 1024];
    while client.fate(Duration::from_millis(20)) == Fate::Open && client.leftover().is_empty() {
        assert!(sent < 2 * 1024 * 1024, "{sent} bytes of one header were taken");
        client.try_send(&block);
        sent += block.len();
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn a_large_header_below_the_limit_is_fine() {
    let spy = Faulty::spy();
    let gateway = hasty(&spy.url());
    let value = "v".repeat(6000);
    assert_eq!(gateway.object_with("sky/a.png", &[("X-Big", &value)]).status(), 200);
    let default = Setup::new(&spy.url()).start();
    let value = "v".repeat(12_000);
    assert_eq!(default.object_with("sky/a.png", &[("Cookie", &value)]).status(), 200);
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let spy = Faulty::spy();
    let gateway =
        Setup::new(&spy.url()).yaml(json!({"downstream": {"keepalive_timeout": "1s"}})).start();
    let mut client = gateway.connect();
    let began = Instant::now();
    assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).status(), 200);
    assert_ne!(client.fate(PATIENCE), Fate::Open);
    let took = began.elapsed();
    assert!(took >= DEADLINE.mul_f32(0.8) && took < DEADLINE * 4, "{took:?}");
}

#[test]
fn many_idle_connections_do_not_keep_others_out() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let _trials = trials(GREEDY, 300);
    let idle: Vec<_> = (0..200).map(|_| gateway.connect()).collect();
    for mut client in (0..100).map(|_| gateway.connect()) {
        client.send("GET / HTTP/1.1\r\nHost: half");
    }
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    assert_eq!(gateway.get("/").status(), 200);
    drop(idle);
}

/// Bytes that a client sends while its first answer is still arriving.
const NEXT: &str = "GET /s3proxy/s3/sky/next.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n";

#[test]
fn the_start_of_a_next_request_neither_ends_a_download_nor_is_lost() {
    const DRIPS: usize = 15;
    // The gateway has written the response headers once it has read this number of bytes.
    const TOTAL: usize = faulty::MORE_THAN_A_BUFFER + DRIPS;
    let upstream = Faulty::scripted(|request, _| {
        if request.target == "/sky/next.png" {
            return faulty::object(b"next");
        }
        let head = faulty::head(200, &[("Content-Length", &TOTAL.to_string())]);
        let mut steps = vec![head, Step::Flood(faulty::MORE_THAN_A_BUFFER)];
        for _ in 0..DRIPS {
            steps.extend([Step::Pause(DEADLINE / 10), Step::Send(b"d".to_vec())]);
        }
        steps
    });
    let gateway = hasty(&upstream.url());
    std::thread::scope(|scope| {
        for sent in [1, 8, 45, NEXT.len() - 1, NEXT.len()] {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = gateway.connect();
                client.request("GET", "/s3proxy/s3/sky/drips.png", &[]);
                let head = client.head().expect("a head");
                let began = Instant::now();
                let (now, later) = NEXT.split_at(sent);
                client.send(now);
                let (body, ending) = client.body(&head, "GET");
                assert_eq!((body.len(), ending), (TOTAL, Ending::Whole), "{sent} bytes");
                assert!(began.elapsed() > DEADLINE, "longer than a head may take");
                client.send(later);
                let next = client.answer("GET").expect("an answer to the next request");
                assert_eq!((next.status(), next.text()), (200, "next"), "{sent} bytes");
            });
        }
    });
    assert_eq!(upstream.count(), 10);
}

#[test]
fn a_control_byte_during_a_download_is_refused_after_it() {
    let gate = Gate::new();
    let total = 2 * faulty::MORE_THAN_A_BUFFER;
    let upstream = Faulty::always(vec![
        faulty::head(200, &[("Content-Length", &total.to_string())]),
        Step::Flood(total / 2),
        Step::Wait(gate.clone()),
        Step::Flood(total / 2),
    ]);
    let gateway = hasty(&upstream.url());
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    let head = client.head().expect("a head");
    client.send(b"\x01");
    // Time for the gateway to read the byte.
    assert_eq!(client.fate(Duration::from_millis(200)), Fate::Open, "cut by a byte");
    gate.open();
    let (body, ending) = client.body(&head, "GET");
    assert_eq!((body.len(), ending), (total, Ending::Whole));
    let refusal = client.answer("GET").expect("a word on the byte");
    assert_eq!(refusal.status(), 400, "{refusal:?}");
    assert_ne!(client.fate(PATIENCE), Fate::Open);
}

#[test]
fn empty_lines_before_a_request_have_the_limits_of_its_head() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(hasty_setup(&spy.url()));
    let gateway = setup.start();
    admin.await_listening();
    for address in [gateway.address, admin.address] {
        // Their number: they are counted, not stored.
        let number = trial(EMPTY_LINES);
        let mut client = Client::connect(address);
        let mut sent = 0;
        while client.fate(Duration::from_millis(5)) == Fate::Open && client.leftover().is_empty() {
            assert!(sent < 1024 * 1024, "{sent} bytes of empty lines were taken");
            client.try_send(&b"\r\n".repeat(2048));
            sent += 4096;
        }
        drop(number);
        // Their time: it starts at the first byte, whatever that is.
        let time = trial(EMPTY_LINES);
        let mut client = Client::connect(address);
        let began = Instant::now();
        while client.fate(Duration::from_millis(100)) == Fate::Open && client.leftover().is_empty()
        {
            assert!(began.elapsed() < DEADLINE * 3, "empty lines keep the connection");
            client.try_send(b"\r\n");
        }
        assert!(began.elapsed() >= DEADLINE.mul_f32(0.8), "{:?}", began.elapsed());
        drop(time);
        // A few of them are allowed (RFC 9112, section 2.2).
        let _few = trial(EMPTY_LINES);
        let mut client = Client::connect(address);
        client.send("\r\n\r\n\nGET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n\r\n");
        let answer = client.answer("GET").expect("an answer");
        assert!(matches!(answer.status(), 200 | 404), "{answer:?}");
    }
    assert_eq!(spy.count(), 0);
}

#[test]
fn the_admin_listener_limits_the_heads_and_connections_of_its_clients() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(hasty_setup(&spy.url()));
    let _gateway = setup.tolerate("connections_full").start();
    admin.await_listening();
    let took = trickle(&mut Client::connect(admin.address));
    assert!(took >= DEADLINE.mul_f32(0.8) && took < DEADLINE * 3, "{took:?}");
    for (request, status) in [
        (
            format!("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n", "v".repeat(20_000)),
            431,
        ),
        ("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX Y: z\r\n\r\n".to_owned(), 400),
        ("GET /li vez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 400),
        ("GET /livez HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = Client::connect(admin.address);
        client.send(&request);
        assert_eq!(client.answer("GET").expect("an answer").status(), status, "{request:.60}");
    }
    let mut idle: Vec<Client> = (0..80).map(|_| Client::connect(admin.address)).collect();
    // The longest idle ones make room for an operator.
    let mut operator = Client::connect(admin.address);
    operator.send("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!(operator.answer("GET").expect("an answer").status(), 200);
    let is_open = |client: &mut Client| client.fate(Duration::from_millis(1)) == Fate::Open;
    let open = idle.iter_mut().map(is_open).filter(|is_open| *is_open).count();
    assert!(open <= 64, "{open} of 80 connections are open");
    // A connection without a request is closed after the time for a head.
    let began = Instant::now();
    assert_ne!(idle[79].fate(PATIENCE), Fate::Open);
    assert!(began.elapsed() < DEADLINE * 3, "{:?}", began.elapsed());
}

#[test]
fn bytes_behind_a_request_that_closes_do_not_cost_the_answer() {
    let spy = Faulty::spy();
    for setup in [hasty_setup(&spy.url()), with_cache(&spy.url()).tolerate("\"status\":4")] {
        let gateway = setup.start();
        let path = "/s3proxy/s3/sky/a.png HTTP/1.1\r\nHost: a.test\r\n";
        for (head, status) in [
            (format!("GET {path}Connection: close\r\n\r\n"), 200),
            (format!("GET {path}Content-Length: 300000\r\n\r\n"), 400),
            (format!("GET {path}X Y: z\r\n\r\n"), 400),
            (format!("GET {path}X: {}", "v".repeat(40_000)), 431),
        ] {
            for _ in 0..15 {
                let _trial = trial(GREEDY);
                let mut client = gateway.connect();
                client.send([head.as_bytes(), &[b'x'; 300_000]].concat());
                let answer = client.answer("GET").expect("an answer");
                assert_eq!((answer.status(), answer.ending), (status, Ending::Whole), "{head:.60}");
                assert_eq!(client.fate(PATIENCE), Fate::Closed, "{head:.60}");
            }
        }
    }
}

#[test]
fn a_client_that_vanishes_gives_up_its_place_before_the_write_timeout() {
    let body = vec![b'x'; 32 << 20];
    let store = Faulty::always(faulty::object(&body));
    let gateway = Setup::new(&store.url())
        .yaml(json!({"downstream": {"tcp_user_timeout": "1s", "write_timeout": "60s"}}))
        .tolerate("client_gone")
        .start();
    let _trial = trial(GREEDY);
    let mut client = Client::narrow(gateway.address);
    let began = Instant::now();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[("X-Request-ID", "vanished")]);
    // It reads nothing, as a client that is gone.
    let line = gateway.line_of_id("vanished");
    assert_eq!(line["cause"], "client_gone");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
