//! HTTP/2 with clients: the same answers as over HTTP/1.1, with and without TLS, in front of the framework and through it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::admin::Admin;
use crate::answers::Answers;
use crate::cached::with_cache;
use crate::client::{Answer, Ending, Head, PATIENCE};
use crate::direct_hits::REQUESTS;
use crate::faulty::{self, Faulty, Recorded, Step, runtime};
use crate::gateway::{Gateway, Setup, free_port};
use crate::origin::Origin;
use crate::scrape;
use crate::tls_port::Edge;

mod abuse;
mod life;
mod limits;
mod priority;
mod raw;
mod slow;

/// A connection of HTTP/2.
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    /// The result of the connection, once it has ended.
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
}

impl Http2 {
    async fn on<T>(stream: T, scheme: &'static str) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::with_windows(stream, scheme, 1 << 20, 4 << 20).await
    }

    async fn with_windows<T>(stream: T, scheme: &'static str, each: u32, all: u32) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(each).initial_connection_window_size(all);
        // Before the settings of the gateway arrive: as browsers, curl and hyper have it.
        builder.initial_max_send_streams(100);
        let (sender, connection) = builder.handshake(stream).await.expect("a handshake");
        let ended = tokio::spawn(connection);
        Self { sender, ended, scheme }
    }

    /// A connection without TLS, by prior knowledge.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        runtime().block_on(async {
            let stream = TcpStream::connect(address).await.expect("the gateway accepts");
            Self::on(stream, "http").await
        })
    }

    /// A connection whose windows are the smallest.
    pub(crate) fn narrow(address: SocketAddr) -> Self {
        runtime().block_on(async {
            let stream = TcpStream::connect(address).await.expect("the gateway accepts");
            Self::with_windows(stream, "http", 4096, 65_535).await
        })
    }

    /// A connection through TLS.
    pub(crate) fn tls(edge: &Edge) -> Self {
        runtime().block_on(async {
            let connector = edge.connector_for(&[b"h2", b"http/1.1"]);
            let stream = edge.handshake(&connector).await.expect("a handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            Self::on(stream, "https").await
        })
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}://gateway.test{path}", self.scheme))
            .version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    /// Sends a request, without waiting for its answer.
    pub(crate) fn begin(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> ResponseFuture {
        let request = self.request(method, path, headers);
        let ready = runtime().block_on(self.sender.clone().ready());
        let mut sender = ready.expect("a stream");
        sender.send_request(request, true).expect("sent").0
    }

    /// Sends a request with this body.
    pub(crate) fn send_body(&mut self, method: &str, path: &str, body: &'static str) -> Answer {
        let request = self.request(method, path, &[]);
        let answer = runtime().block_on(async {
            let mut sender = self.sender.clone().ready().await.expect("a stream");
            let (response, mut stream) = sender.send_request(request, false).expect("sent");
            stream.send_data(body.into(), true).expect("sent");
            answer(response).await.expect("an answer")
        });
        record(method, path, &[], body, &answer);
        answer
    }

    pub(crate) fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let response = self.begin(method, path, headers);
        let answer = runtime().block_on(answer(response)).expect("an answer");
        record(method, path, headers, "", &answer);
        answer
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.exchange("GET", path, &[])
    }

    /// How the connection has ended.
    pub(crate) fn end(self) -> Result<(), h2::Error> {
        runtime().block_on(async {
            let ended = tokio::time::timeout(PATIENCE, self.ended).await;
            ended.expect("the connection ends").expect("no panic")
        })
    }
}

/// The answer, and whether it is whole.
pub(crate) async fn answer(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (parts, mut body) =
        tokio::time::timeout(PATIENCE, response).await.expect("in time")?.into_parts();
    let mut bytes = Vec::new();
    let mut ending = Ending::Whole;
    while let Some(piece) = tokio::time::timeout(PATIENCE, body.data()).await.expect("in time") {
        let Ok(piece) = piece else {
            ending = Ending::Cut;
            break;
        };
        bytes.extend_from_slice(&piece);
        let _of_open_stream = body.flow_control().release_capacity(piece.len());
    }
    let head = head(&Response::from_parts(parts, ()));
    Ok(Answer { head, body: bytes, ending })
}

/// For the comparison of both senders, as text of HTTP/1.1.
fn record(method: &str, path: &str, headers: &[(&str, &str)], body: &str, answer: &Answer) {
    let lines = |headers: &mut dyn Iterator<Item = (&str, &str)>| {
        headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>()
    };
    let sent = lines(&mut headers.iter().copied());
    let received = lines(&mut answer.head.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let mut record = Answers::default();
    record.sent(format!("{method} {path} HTTP/2\r\n{sent}\r\n{body}").as_bytes());
    record.head(format!("HTTP/2 {}\r\n{received}\r\n", answer.status()).as_bytes());
    record.body(&answer.body, answer.ending != Ending::Cut, &format!("{:?}", answer.ending));
}

fn head(response: &Response<()>) -> Head {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter();
    Head {
        version: "HTTP/2".to_owned(),
        status: response.status().as_u16(),
        headers: headers.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
    }
}

/// The settings of a second listener, without TLS and for both versions.
pub(crate) fn prior_knowledge(setup: Setup) -> (Setup, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let setup = setup.listen(&address.to_string());
    (setup.env("S3PROXY_LISTEN", &format!("{address} http2")), address)
}

/// A gateway whose clients may use either version.
fn start(setup: Setup) -> Gateway {
    prior_knowledge(setup).0.start()
}

/// Waits until this many connections have ended so.
#[track_caller]
pub(crate) fn await_ends(admin: &Admin, end: &str, expected: usize) {
    let name = format!("s3proxy_http2_connections_total{{end=\"{end}\"}}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let numbers = scrape::parse(admin.send("GET", "/metrics").text());
        let number = numbers.get(&name).copied();
        if number == Some(expected as f64) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {number:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Status, headers and body, without what differs between requests and versions.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>, Ending) {
    let kind = answer.header("content-type").unwrap_or_default();
    let boundary = kind.split_once("boundary=").map(|(_, boundary)| boundary.to_owned());
    let same = |text: &str| match &boundary {
        Some(boundary) => text.replace(boundary, "boundary"),
        None => text.to_owned(),
    };
    let mut headers: Vec<(String, String)> = answer
        .head
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), same(value)))
        .filter(|(name, _)| {
            !["date", "age", "connection", "transfer-encoding", "keep-alive"]
                .contains(&name.as_str())
        })
        .map(|(name, value)| match name.as_str() {
            "server-timing" => (name, value.split("dur=").next().unwrap_or_default().to_owned()),
            "cache-status" => (name, value.split("ttl=").next().unwrap_or_default().to_owned()),
            "cache-control" => {
                let text = value.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
                (name, text)
            }
            _ => (name, value),
        })
        .collect();
    headers.sort();
    let body = match &boundary {
        Some(_) => same(std::str::from_utf8(&answer.body).expect("text")).into_bytes(),
        None => answer.body.clone(),
    };
    (answer.status(), headers, body, answer.ending)
}

/// What the log says of a request, without what differs.
fn logged(gateway: &Gateway, id: &str) -> Value {
    let mut line = crate::direct_hits::logged(gateway, id);
    let request = line["httpRequest"].as_object_mut().expect("a request");
    request.remove("protocol");
    line
}

#[test]
fn answers_and_log_lines_are_those_of_http_1() {
    let origin = Origin::start();
    origin.put("a.png", "a tile of the sky");
    origin.put("empty.png", "");
    origin.put("big.png", "0123456789abcdef".repeat(160 * 1024));
    for (direct, memory) in [("true", "64MiB"), ("false", "64MiB"), ("true", "0")] {
        let gateway = start(
            with_cache(&origin.url())
                .env("S3PROXY_CACHE_MEMORY", memory)
                .env("S3PROXY_SERVER_DIRECT_HITS", direct)
                .env("S3PROXY_CORS_ORIGINS", "[\"https://portal.example.org\"]")
                .env("S3PROXY_SERVER_TIMING", "true"),
        );
        for key in ["a.png", "empty.png", "big.png", "missing.png"] {
            gateway.object(&format!("sky/{key}"));
        }
        let mut http2 = Http2::plain(gateway.address);
        for (number, (method, path, headers)) in REQUESTS.iter().enumerate() {
            let of_connection = ["Connection", "Upgrade"];
            if headers.iter().any(|(name, _)| of_connection.contains(name)) {
                continue;
            }
            let what = format!("{method} {path} {headers:?}, direct: {direct}, memory: {memory}");
            let ids = ["h1", "h2"].map(|version| format!("{version}-{number}-"));
            let with_id = |id: &'static str| -> Vec<(&str, &str)> {
                headers.iter().copied().chain([("X-Request-ID", id)]).collect()
            };
            let [first, second] = ids.map(|id| &*id.leak());
            let over_1 = gateway.connect().exchange(method, path, &with_id(first));
            let over_2 = http2.exchange(method, path, &with_id(second));
            let neutral = |answer: &Answer| {
                let (status, mut headers, body, ending) = comparable(answer);
                headers.retain(|(name, _)| name != "x-request-id");
                let body = if answer.header("content-type") == Some("application/json") {
                    String::from_utf8_lossy(&body)
                        .replace(first, "id")
                        .replace(second, "id")
                        .into_bytes()
                } else {
                    body
                };
                (status, headers, body, ending)
            };
            assert_eq!(neutral(&over_2), neutral(&over_1), "{what}");
            if *path != "/" {
                let [one, two] = [first, second].map(|id| {
                    let mut line = logged(&gateway, id);
                    line["request_id"] = json!("id");
                    line
                });
                assert_eq!(two, one, "{what}");
            }
        }
        let line = gateway.line_of(&http2.get("/s3proxy/s3/sky/a.png"));
        assert_eq!(line["httpRequest"]["protocol"], "HTTP/2");
        let line = gateway.line_of(&gateway.object("sky/a.png"));
        assert_eq!(line["httpRequest"]["protocol"], Value::Null);
    }
}

#[test]
fn clients_of_tls_choose_and_the_setting_takes_the_choice_away() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let edge = Edge::new();
    let setup = edge.setup(with_cache(&origin.url())).yaml(json!({"tls": {"hsts_max_age": 300}}));
    let gateway = setup.start();
    let answer = Http2::tls(&edge).get("/s3proxy/s3/sky/a.png");
    assert_eq!((answer.status(), answer.text()), (200, "tile"));
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=300"));
    assert_eq!(answer.header("connection"), None);
    let line = gateway.line_of(&answer);
    assert_eq!(line["httpRequest"]["protocol"], "HTTP/2");
    let url = line["httpRequest"]["requestUrl"].as_str().unwrap_or_default().to_owned();
    assert_eq!(url, "https://gateway.test/s3proxy/s3/sky/a.png");
    let mut one = edge.connect(None).expect("a connection");
    assert_eq!(one.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).text(), "tile");
    drop(gateway);

    let without = edge.setup(with_cache(&origin.url())).yaml(json!({"tls": {"http2": false}}));
    let _gateway = without.start();
    let connector = edge.connector_for(&[b"h2", b"http/1.1"]);
    let stream = runtime().block_on(edge.handshake(&connector)).expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_redirect_to_https_and_the_header_of_a_proxy_are_those_of_http_1() {
    let origin = Origin::start();
    let edge = Edge::new();
    let setup = edge
        .setup(with_cache(&origin.url()))
        .yaml(json!({"tls": {"redirect_to_https": true}, "trusted_proxies": ["127.0.0.1"]}));
    let balanced = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (setup, address) = prior_knowledge(setup);
    let listen = format!("[\"{address} http2\", \"{balanced} proxy_protocol http2\"]");
    let gateway = setup.env("S3PROXY_LISTEN", &listen).start();
    let answer = Http2::plain(gateway.address).get("/s3proxy/s3/sky/a.png");
    assert_eq!(answer.status(), 301);
    let port = edge.address.port();
    let expected = format!("https://gateway.test:{port}/s3proxy/s3/sky/a.png");
    assert_eq!(answer.header("location"), Some(&*expected));

    let mut behind = runtime().block_on(async {
        let mut stream = TcpStream::connect(balanced).await.expect("a connection");
        let header = b"PROXY TCP4 192.0.2.7 192.0.2.8 1000 80\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, header).await.expect("sent");
        Http2::on(stream, "http").await
    });
    let forwarded = [("x-forwarded-proto", "https")];
    let answer = behind.exchange("GET", "/s3proxy/", &forwarded);
    let line = gateway.line_of(&answer);
    assert_eq!(line["httpRequest"]["remoteIp"], "192.0.2.7", "{line}");
}

#[test]
fn requests_that_http_1_refuses_are_refused_and_the_connection_goes_on() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = start(with_cache(&origin.url()));
    let mut http2 = Http2::plain(gateway.address);
    let long = "x".repeat(40 << 10);
    for (method, path, headers, status, cause) in [
        (
            "GET",
            "/s3proxy/s3/sky/a.png",
            &[("host", "other.example.org")][..],
            400,
            "request_malformed",
        ),
        ("GET", "/s3proxy/s3/sky/a.png", &[("x-long", &*long)], 431, "headers_too_large"),
        ("DELETE", "/s3proxy/s3/sky/a.png", &[], 405, "method_not_allowed"),
        ("GET", "/s3proxy/s3/sky/a.png", &[("content-length", "0")], 200, ""),
        (
            "GET",
            "/s3proxy/s3/sky/a.png",
            &[("te", "trailers"), ("expect", "100-continue")],
            200,
            "",
        ),
    ] {
        let answer = http2.exchange(method, path, headers);
        assert_eq!((answer.status(), answer.ending), (status, Ending::Whole), "{method} {cause}");
        match cause {
            "" => assert_eq!(answer.text(), "tile"),
            cause => assert_eq!(answer.json()["cause"], cause),
        }
    }
    let crumbs: Vec<_> = (0..300).map(|number| format!("a{number}=b")).collect();
    let crumbs: Vec<_> = crumbs.iter().map(|crumb| ("cookie", crumb.as_str())).collect();
    let answer = http2.exchange("GET", "/s3proxy/s3/sky/a.png", &crumbs);
    assert_eq!(answer.text(), "tile", "they are one field");
    let answer = http2.exchange("GET", "/s3proxy/s3/sky/a.png", &[("host", "other.example.org")]);
    assert_eq!(answer.json()["message"], "the request head is not valid HTTP");
    for (method, body, cause) in
        [("POST", "body", "method_not_allowed"), ("GET", "body", "request_body")]
    {
        let answer = http2.send_body(method, "/s3proxy/s3/sky/a.png", body);
        assert_eq!(answer.json()["cause"], cause, "{method}");
    }
    let answer = http2.send_body("GET", "/s3proxy/s3/sky/a.png", "");
    assert_eq!(answer.text(), "tile", "no body, with an end of its own");
    assert_eq!(http2.get("/s3proxy/s3/sky/a.png").text(), "tile");
}

#[test]
fn a_body_that_is_cut_is_reset_and_never_short() {
    for memory in ["0", "64MiB"] {
        let store = Faulty::scripted(|_: &Recorded, _| {
            vec![
                faulty::head(200, &[("Content-Length", "3000000"), ("ETag", "\"a\"")]),
                Step::Send(vec![b'x'; 1_000_000]),
                Step::Close,
            ]
        });
        let setup = Setup::new(&store.url()).env("S3PROXY_CACHE_MEMORY", memory);
        let gateway = start(setup.tolerate("upstream_cut"));
        let mut http2 = Http2::plain(gateway.address);
        let answer = http2.get("/s3proxy/s3/sky/a.png");
        assert_eq!((answer.status(), answer.ending), (200, Ending::Cut), "memory: {memory}");
        let line = gateway.line_of(&answer);
        assert_eq!(line["cause"], "upstream_cut", "{line}");
        assert_eq!(http2.get("/s3proxy/").status(), 200, "the connection goes on");
    }
}

#[test]
fn a_store_that_does_not_answer_is_given_up_at_the_deadline() {
    let store = Faulty::always(vec![Step::Stall]);
    let setup = Setup::new(&store.url())
        .yaml(json!({"upstream": {"first_byte_timeout": "300ms", "retries": 0}}))
        .env("S3PROXY_CACHE_MEMORY", "0");
    let gateway = start(setup.tolerate("upstream_timeout"));
    let answer = Http2::plain(gateway.address).get("/s3proxy/s3/sky/a.png");
    assert_eq!((answer.status(), &answer.json()["cause"]), (504, &json!("upstream_timeout")));
    gateway.line_of(&answer);
}

#[test]
fn a_thousand_requests_at_once_are_answered_each_with_its_object() {
    let origin = Origin::start();
    for number in 0..50 {
        origin.put(&format!("{number}.png"), format!("tile {number} ").repeat(500 * number + 1));
    }
    let gateway = start(with_cache(&origin.url()));
    let http2 = Http2::plain(gateway.address);
    let wrong = runtime().block_on(async {
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let path = format!("/s3proxy/s3/sky/{}.png", number % 50);
                let (request, sender) = (http2.request("GET", &path, &[]), http2.sender.clone());
                tokio::spawn(async move {
                    let mut sender = sender.ready().await.expect("a stream");
                    let (response, _) = sender.send_request(request, true).expect("sent");
                    let number = number % 50;
                    let answer = answer(response).await.expect("an answer");
                    let expected = format!("tile {number} ").repeat(500 * number + 1);
                    answer.status() != 200
                        || answer.ending != Ending::Whole
                        || answer.text() != expected
                })
            })
            .collect();
        let mut wrong = 0;
        for task in tasks {
            wrong += usize::from(task.await.expect("no panic"));
        }
        wrong
    });
    assert_eq!(wrong, 0);
    assert_eq!(origin.count(), 50);
}
