//! Clients behind load balancers and proxies: the log, the limits and the scheme are those of the client, and no client
//! chooses its own address. tests/balancers/run does the same with HAProxy and nginx.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::cached::with_cache;
use crate::client::{self, Answer, Client, PATIENCE};
use crate::faulty::{Gate, runtime};
use crate::gateway::{Gateway, Setup, free_port};
use crate::origin::Origin;
use crate::overload::{narrow, slow_behind};
use crate::reload::event;
use crate::scrape;
use crate::tls_port::{Edge, relayed};

const REQUEST: &str = "GET /s3proxy/ HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2.
fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a length").to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

/// The body for a client at 192.0.2.7, with a field that nobody reads.
fn v4() -> Vec<u8> {
    [&[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80][..], &[4, 0, 2, 1, 2]].concat()
}

/// A gateway with a plain port and one with headers of the PROXY protocol, which comes second.
fn started(setup: Setup) -> (Gateway, SocketAddr) {
    let (plain, balanced) = (free_port(), free_port());
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let gateway = setup
        .listen(&local(plain).to_string())
        .env("S3PROXY_LISTEN", &format!("127.0.0.1:{plain}, 127.0.0.1:{balanced} proxy_protocol"))
        .start();
    (gateway, local(balanced))
}

/// What is answered to these bytes on a connection of their own.
fn answer_to(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut client = Client::connect(address);
    client.send(bytes);
    client.answer("GET")
}

fn headers(gateway: &Gateway, outcome: &str) -> f64 {
    let page = client::send(gateway.admin.expect("an admin listener"), "GET", "/metrics", &[]);
    scrape::parse(page.text())[&format!("s3proxy_proxy_headers_total{{outcome=\"{outcome}\"}}")]
}

fn await_headers(gateway: &Gateway, outcome: &str, number: f64) {
    let deadline = Instant::now() + PATIENCE;
    while headers(gateway, outcome) < number {
        assert!(Instant::now() < deadline, "{outcome}: {}", headers(gateway, outcome));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_client_is_whom_the_load_balancer_names() {
    let (gateway, balanced) = started(Setup::new("http://127.0.0.1:1"));
    let v6 = [
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9][..],
        &[0; 16],
        &[0x12, 0x67, 0, 80],
    ]
    .concat();
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n".to_vec(), "2001:db8::9"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0x21, 0x11, &v4()), "192.0.2.7"),
        (version_2(0x21, 0x21, &v6), "2001:db8::9"),
        (version_2(0x20, 0x00, b""), "127.0.0.1"),
        (version_2(0x20, 0x11, &v4()), "127.0.0.1"),
        (version_2(0x21, 0x00, b"xyz"), "127.0.0.1"),
    ] {
        let all = [&header[..], REQUEST.as_bytes()].concat();
        let answer = answer_to(balanced, &all).expect("an answer");
        assert_eq!(answer.status(), 200, "{header:?}");
        assert_eq!(gateway.line_of(&answer)["httpRequest"]["remoteIp"], client, "{header:?}");
        // Byte by byte it is the same.
        let mut slow = TcpStream::connect(balanced).expect("accepted");
        slow.set_nodelay(true).expect("set");
        for byte in &all {
            slow.write_all(&[*byte]).expect("written");
        }
        let mut text = String::new();
        slow.read_to_string(&mut text).expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200"), "{header:?}: {text}");
    }
    assert_eq!((headers(&gateway, "done"), headers(&gateway, "local")), (10.0, 8.0));
    // A refused head has the address of the client, too.
    let bad =
        [b"PROXY TCP4 192.0.2.8 10.0.0.1 4711 80\r\n".as_slice(), b"GET / HTTP/9\r\n\r\n"].concat();
    let answer = answer_to(balanced, &bad).expect("an answer");
    assert_eq!(answer.status(), 400);
    assert_eq!(gateway.line_of(&answer)["httpRequest"]["remoteIp"], "192.0.2.8");
    // The other port knows no such header.
    let answer =
        answer_to(gateway.address, &[&version_2(0x20, 0, b"")[..], REQUEST.as_bytes()].concat());
    assert!(answer.is_none_or(|answer| answer.status() == 400));
}

#[test]
fn connections_without_a_right_header_are_closed_and_counted() {
    let setup = Setup::new("http://127.0.0.1:1").env("S3PROXY_DOWNSTREAM_HEADER_TIMEOUT", "1s");
    let (gateway, balanced) = started(setup);
    for bytes in [REQUEST.as_bytes().to_vec(), [22, 3, 1, 2, 0, 1].to_vec()] {
        assert!(answer_to(balanced, &bytes).is_none());
    }
    gateway.expect_log("why", |line| {
        event(line).starts_with(
            "PROXY protocol: the connection does not begin with a PROXY header, from 127.0.0.1",
        )
    });
    for bytes in [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
        version_2(0x22, 0x11, &v4()),
        version_2(0x21, 0x12, &v4()),
        // The longest that version 2 can name is refused before it arrives.
        version_2(0x21, 0x11, &[0; 65_535])[..16].to_vec(),
        format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes(),
    ] {
        assert!(answer_to(balanced, &bytes).is_none(), "{bytes:?}");
    }
    await_headers(&gateway, "missing", 2.0);
    await_headers(&gateway, "malformed", 5.0);
    // A slow header has its time from the first moment, whatever arrives meanwhile.
    let began = Instant::now();
    let mut silent = TcpStream::connect(balanced).expect("accepted");
    let mut slow = TcpStream::connect(balanced).expect("accepted");
    for byte in b"PROXY TCP4 192.0.2.7" {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(80));
    }
    for stream in [&mut silent, &mut slow] {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut rest = Vec::new();
        let _closed_or_reset = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    await_headers(&gateway, "timeout", 2.0);
    // A check that connects and leaves is no mistake.
    drop(TcpStream::connect(balanced).expect("accepted"));
    await_headers(&gateway, "closed", 1.0);
}

#[test]
fn only_a_trusted_load_balancer_is_listened_to() {
    let setup =
        Setup::new("http://127.0.0.1:1").env("S3PROXY_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.9");
    let (gateway, balanced) = started(setup);
    let all = [&version_2(0x21, 0x11, &v4())[..], REQUEST.as_bytes()].concat();
    assert!(answer_to(balanced, &all).is_none());
    assert_eq!(headers(&gateway, "untrusted"), 1.0);
    let from = |host: [u8; 4]| {
        runtime().block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((host, 0)))?;
            let mut stream = socket.connect(balanced).await?;
            stream.write_all(&all).await?;
            let mut text = String::new();
            let _closed_or_reset =
                tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await;
            std::io::Result::Ok(text)
        })
    };
    assert!(from([127, 0, 0, 9]).expect("an answer").starts_with("HTTP/1.1 200"));
    assert!(!from([127, 0, 0, 8]).is_ok_and(|text| text.starts_with("HTTP")));
}

#[test]
fn the_header_comes_before_the_handshake() {
    let edge = Edge::new();
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let listen = format!("{} proxy_protocol", edge.address);
    let gateway = edge
        .setup(with_cache(&origin.url()))
        .yaml(json!({ "tls": { "listen": listen, "hsts_max_age": 60 } }))
        .start();
    for header in
        [b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(), version_2(0x21, 0x11, &v4())]
    {
        let connecting = async {
            let mut stream = tokio::net::TcpStream::connect(edge.address).await?;
            stream.write_all(&header).await?;
            let name = ServerName::try_from("sky.example.org").expect("a name");
            edge.connector(None).connect(name, stream).await
        };
        let mut client =
            relayed(runtime().block_on(connecting).expect("a handshake")).expect("connected");
        let answer = client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]);
        assert_eq!(answer.text(), "tile");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=60"));
        let line = gateway.line_of(&answer);
        assert_eq!(line["httpRequest"]["remoteIp"], "192.0.2.7");
        assert_eq!(line["httpRequest"]["requestUrl"], "https://gateway.test/s3proxy/s3/sky/a.png");
    }
    // Without the header there is no handshake, and a header behind it is of the client.
    assert!(edge.connect(None).is_err());
    gateway.expect_log("why", |line| event(line).starts_with("PROXY protocol: "));
    let mut plain = Client::connect(edge.address);
    plain.send(format!("PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n{REQUEST}"));
    let answer = plain.answer("GET").expect("an answer");
    answer.refused("tls_required", "message");
    assert_eq!(gateway.line_of(&answer)["httpRequest"]["remoteIp"], "192.0.2.7");
}

#[test]
fn forwarded_addresses_count_from_trusted_proxies_alone() {
    let x = "X-Forwarded-For";
    for (networks, header, sent, expected) in [
        // This machine is trusted by default.
        (None, None, &[(x, "192.0.2.1, 198.51.100.7")][..], "198.51.100.7"),
        (None, None, &[(x, "192.0.2.1, 198.51.100.7, 10.1.2.3")], "198.51.100.7"),
        (None, None, &[("Forwarded", "for=192.0.2.1")], "127.0.0.1"),
        (Some("[]"), None, &[(x, "192.0.2.1")], "127.0.0.1"),
        (Some("10.0.0.0/8"), None, &[(x, "192.0.2.1")], "127.0.0.1"),
        (Some("127.0.0.1"), None, &[(x, "192.0.2.1, 10.1.2.3")], "10.1.2.3"),
        (
            Some("127.0.0.1"),
            Some("Forwarded"),
            &[("Forwarded", "for=192.0.2.9, for=\"[2001:db8::1]:47\"")],
            "2001:db8::1",
        ),
        (Some("127.0.0.1"), Some("Forwarded"), &[(x, "192.0.2.1")], "127.0.0.1"),
        (
            Some("127.0.0.1"),
            Some("Forwarded"),
            &[("Forwarded", "for=192.0.2.1, for=unknown")],
            "127.0.0.1",
        ),
    ] {
        let mut setup = Setup::new("http://127.0.0.1:1");
        if let Some(networks) = networks {
            setup = setup.env("S3PROXY_TRUSTED_PROXIES", networks);
        }
        if let Some(header) = header {
            setup = setup.env("S3PROXY_FORWARDED_HEADER", header);
        }
        let gateway = setup.start();
        let answer = gateway.send("GET", "/s3proxy/", sent);
        let line = gateway.line_of(&answer);
        assert_eq!(line["httpRequest"]["remoteIp"], expected, "{networks:?} {header:?} {sent:?}");
    }
}

#[test]
fn the_scheme_is_taken_from_trusted_proxies_alone() {
    for (networks, header, sent, scheme) in [
        (
            "127.0.0.1",
            "X-Forwarded-For",
            &[("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")][..],
            "https",
        ),
        (
            "[]",
            "X-Forwarded-For",
            &[("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")],
            "http",
        ),
        ("127.0.0.1", "Forwarded", &[("Forwarded", "for=192.0.2.1;proto=https")], "https"),
        ("[]", "Forwarded", &[("Forwarded", "for=192.0.2.1;proto=https")], "http"),
    ] {
        let gateway = Setup::new("http://127.0.0.1:1")
            .env("S3PROXY_TRUSTED_PROXIES", networks)
            .env("S3PROXY_FORWARDED_HEADER", header)
            .tolerate("forwarded_header has no effect")
            .start();
        let answer = gateway.send("GET", "/s3proxy/docs/", sent);
        let expected = format!("{scheme}://gateway.test/s3proxy/docs");
        assert_eq!(answer.header("location"), Some(expected.as_str()), "{networks} {header}");
    }
}

/// Requests that came over TLS were redirected again and again where two proxies have added to the list.
#[test]
fn a_list_of_schemes_is_no_reason_for_another_redirect() {
    let edge = Edge::new();
    let gateway = edge
        .setup(Setup::new("http://127.0.0.1:1"))
        .yaml(json!({ "tls": { "redirect_to_https": true } }))
        .start();
    let addresses = ("X-Forwarded-For", "203.0.113.5, 10.0.0.1");
    for (schemes, status) in [
        (&["https, https"][..], 200),
        (&["https, http"], 200),
        (&["https", "http"], 200),
        (&["https"], 200),
        (&["http, https"], 301),
        (&["http", "https"], 301),
    ] {
        let lines = schemes.iter().map(|scheme| ("X-Forwarded-Proto", *scheme));
        let sent: Vec<_> = std::iter::once(addresses).chain(lines).collect();
        assert_eq!(gateway.send("GET", "/s3proxy/", &sent).status(), status, "{schemes:?}");
    }
}

/// Two clients behind one load balancer have a share each; one that names others has its own alone.
#[test]
fn the_share_of_a_client_is_that_of_its_address() {
    let gate = Gate::new();
    let store = slow_behind(&gate);
    let setup = narrow(&store.url(), false).env("S3PROXY_UPSTREAM_CLIENT_SHARE", "25");
    let (_gateway, balanced) = started(setup);
    let ask = |client: &str, forwarded: &str, key: &str| {
        let mut connection = Client::connect(balanced);
        connection.send(format!(
            "PROXY TCP4 {client} 10.0.0.1 4711 80\r\nGET /s3proxy/s3/sky/{key} HTTP/1.1\r\n\
             Host: gateway.test\r\nX-Forwarded-For: {forwarded}\r\n\r\n"
        ));
        connection
    };
    let mut waiting: Vec<Client> =
        (0..2).map(|nth| ask("192.0.2.7", "192.0.2.100", &format!("slow{nth}.png"))).collect();
    store.await_requests(2);
    // The same client in the name of another one: its share is taken.
    let mut again = ask("192.0.2.7", "192.0.2.101", "slow2.png");
    assert_eq!(again.answer("GET").expect("an answer").status(), 429);
    // Another client has its own.
    waiting.push(ask("192.0.2.8", "192.0.2.100", "slow3.png"));
    store.await_requests(3);
    gate.open();
    for client in &mut waiting {
        assert_eq!(client.answer("GET").expect("an answer").status(), 200);
    }
}
