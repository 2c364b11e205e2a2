//! A scripted store.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The first byte of a TLS record of a handshake (RFC 8446, section 5.1).
pub(crate) const TLS_HANDSHAKE: u8 = 22;

/// Returns the bytes of the answer to a request head.
pub(crate) type Script = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A running store; it ends when dropped.
pub(crate) struct Store {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Store {
    /// A store of plain HTTP on a free port.
    pub(crate) async fn start(script: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script: Script = Arc::new(script);
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                tokio::spawn(async move { answer(stream, &script, &seen).await });
            }
        });
        Self { address, requests, task }
    }

    /// Accepts connections, keeps them open and never answers.
    pub(crate) async fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok(connection) = listener.accept().await {
                open.push(connection);
            }
        });
        Self { address, requests: Arc::default(), task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port where nothing listens.
pub(crate) async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Reads one request, answers it and ends the connection.
pub(crate) async fn answer<S>(mut stream: S, script: &Script, seen: &Mutex<Vec<String>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.first() != Some(&TLS_HANDSHAKE) {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let answer = if head.first() == Some(&TLS_HANDSHAKE) {
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned()
    } else {
        let head = String::from_utf8_lossy(&head).into_owned();
        let answer = script(&head);
        seen.lock().expect("not poisoned").push(head);
        answer
    };
    let _client_may_be_gone = stream.write_all(answer.as_bytes()).await;
    let _client_may_be_gone = stream.shutdown().await;
}

/// An answer with this body and these further header lines, dated this many seconds from now.
pub(crate) fn dated(status: &str, headers: &str, body: &str, seconds_ago: u64) -> String {
    #[expect(clippy::disallowed_methods, reason = "a store has a clock")]
    let now = SystemTime::now();
    let date = httpdate::fmt_http_date(now - Duration::from_secs(seconds_ago));
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nDate: {date}\r\nx-amz-request-id: tx01\r\nContent-Length: {length}\
         \r\n{headers}\r\n{body}"
    )
}

/// An error document of S3.
pub(crate) fn error(status: &str, code: &str) -> String {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    dated(status, "", &body, 0)
}

/// A store without faults: `bkt` exists and may be listed, and holds `tile.png`.
pub(crate) fn healthy(head: &str) -> String {
    match head.split(' ').nth(1).unwrap_or_default() {
        "/" => dated("200 OK", "", "<ListAllMyBucketsResult></ListAllMyBucketsResult>", 0),
        "/bkt/?list-type=2&max-keys=1" => {
            dated("200 OK", "", "<ListBucketResult></ListBucketResult>", 0)
        }
        "/bkt/tile.png" => {
            dated("206 Partial Content", "Content-Range: bytes 0-0/4711\r\n", "x", 0)
        }
        "/bkt/empty.png" => error("416 Range Not Satisfiable", "InvalidRange"),
        path if path.starts_with("/bkt/") => error("404 Not Found", "NoSuchKey"),
        _ => error("404 Not Found", "NoSuchBucket"),
    }
}
