//! A store that misbehaves by script, and a spy that records every byte it receives. A script is
//! called once per request for the steps to take; barriers ([`Gate`]) and counters replace sleeps.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::client::{PATIENCE, find};

/// The address of every in-process server of the suite.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    })
}

/// One thing the store does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Writes this many bytes of body, and counts those the gateway has taken.
    Flood(usize),
    /// Continues when the test opens the gate.
    Wait(Gate),
    /// Lets time pass; for stores that are slow rather than dead.
    Pause(Duration),
    /// Sends nothing more, and waits for the gateway to close the connection.
    Stall,
    Close,
    /// Ends the connection with RST.
    Reset,
}

/// A barrier that opens once, for all who wait at it.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// A request as received from the wire.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) raw: Vec<u8>,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    /// How many requests came before it on its connection.
    pub(crate) before: usize,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

impl Recorded {
    pub(crate) fn parse(raw: Vec<u8>, before: usize) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let split = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let (method, target) = (words.next(), words.next());
        Self {
            method: method.unwrap_or_default(),
            target: target.unwrap_or_default(),
            headers: lines.map(split).collect(),
            raw,
            before,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Lower-case header names, sorted, duplicates kept.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.iter().map(|(n, _)| n.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The names the signature covers.
    pub(crate) fn signed_headers(&self) -> Vec<&str> {
        let authorization = self.header("authorization").expect("a signed request");
        let (_, rest) = authorization.split_once("SignedHeaders=").expect("SignedHeaders");
        rest.split(',').next().unwrap_or_default().split(';').collect()
    }
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Recorded>,
    connections: usize,
    /// Connections the gateway ended.
    hung_up: usize,
    /// Bytes received in place of a request line that were no request head.
    stray: Vec<u8>,
}

#[derive(Debug, Default)]
struct Notebook {
    seen: Mutex<Seen>,
    changed: Condvar,
    flooded: AtomicUsize,
}

impl Notebook {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

type Script = dyn Fn(&Recorded, usize) -> Vec<Step> + Send + Sync;

/// The running store. It stops when dropped.
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    notebook: Arc<Notebook>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Faulty {
    /// Runs the script for every request, with the request and the number of requests before it.
    pub(crate) fn scripted(
        script: impl Fn(&Recorded, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::on("127.0.0.1:0", script)
    }

    /// Takes the same steps for every request.
    pub(crate) fn always(steps: Vec<Step>) -> Self {
        Self::scripted(move |_, _| steps.clone())
    }

    /// A spy: answers every request with a small PNG-typed object.
    pub(crate) fn spy() -> Self {
        Self::always(object(b"tile"))
    }

    pub(crate) fn on(
        address: &str,
        script: impl Fn(&Recorded, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let notebook = Arc::new(Notebook::default());
        let listener = runtime().block_on(TcpListener::bind(address)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let notes = Arc::clone(&notebook);
        let task = runtime().spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                notes.note(|seen| seen.connections += 1);
                connections.spawn(converse(stream, Arc::clone(&notes), Arc::clone(&script)));
            }
        });
        Self { address, notebook, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.look(|seen| seen.requests.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.look(|seen| seen.requests.len())
    }

    pub(crate) fn connections(&self) -> usize {
        self.look(|seen| seen.connections)
    }

    /// Bytes that belong to no request head: a body or a smuggled request.
    pub(crate) fn stray(&self) -> Vec<u8> {
        self.look(|seen| seen.stray.clone())
    }

    /// The only request that came.
    pub(crate) fn only(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "one request expected: {requests:?}");
        requests.into_iter().next().expect("one")
    }

    pub(crate) fn clear(&self) {
        self.notebook.note(|seen| seen.requests.clear());
    }

    /// Body bytes of [`Step::Flood`] taken by the gateway's side so far.
    pub(crate) fn flooded(&self) -> usize {
        self.notebook.flooded.load(Ordering::SeqCst)
    }

    pub(crate) fn await_requests(&self, n: usize) {
        self.wait(&format!("{n} requests"), |seen| seen.requests.len() >= n);
    }

    /// Waits for a request whose target contains this text.
    pub(crate) fn await_asked(&self, text: &str) {
        self.wait(&format!("a request for {text}"), |seen| {
            seen.requests.iter().any(|request| request.target.contains(text))
        });
    }

    /// Waits until the gateway has closed this many connections.
    pub(crate) fn await_hung_up(&self, n: usize) {
        self.wait(&format!("{n} connections ended by the gateway"), |seen| seen.hung_up >= n);
    }

    fn look<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.notebook.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.notebook.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while !done(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {PATIENCE:?} for {what}: {seen:?}");
            let woken = self.notebook.changed.wait_timeout(seen, left);
            seen = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

async fn converse(mut stream: TcpStream, notebook: Arc<Notebook>, script: Arc<Script>) {
    let _ = stream.set_nodelay(true);
    let mut unread = Vec::new();
    let mut before = 0;
    loop {
        let end = loop {
            if let Some(end) = find(&unread, b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read_buf(&mut unread).await {
                Ok(n) if n > 0 => {}
                _ => {
                    notebook.note(|seen| {
                        seen.hung_up += 1;
                        seen.stray.extend_from_slice(&unread);
                    });
                    return;
                }
            }
        };
        let raw: Vec<u8> = unread.drain(..end).collect();
        let request = Recorded::parse(raw, before);
        before += 1;
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            notebook.note(|seen| seen.stray.extend_from_slice(&request.raw));
        }
        let mut nth = 0;
        notebook.note(|seen| {
            nth = seen.requests.len();
            seen.requests.push(request.clone());
        });
        let mut steps = script(&request, nth);
        if request.method == "HEAD" {
            // Bytes after the header block would be taken for an answer to the next request.
            let mut heads = 0;
            steps.retain(|step| match step {
                Step::Send(_) => std::mem::replace(&mut heads, 1) == 0,
                Step::Flood(_) => false,
                _ => true,
            });
        }
        for step in steps {
            if !take(&mut stream, step, &mut unread, &notebook).await {
                return;
            }
        }
    }
}

/// Takes one step; `false` when the connection is over.
async fn take(
    stream: &mut TcpStream,
    step: Step,
    unread: &mut Vec<u8>,
    notebook: &Notebook,
) -> bool {
    match step {
        Step::Send(bytes) => {
            if stream.write_all(&bytes).await.is_err() {
                notebook.note(|seen| seen.hung_up += 1);
                return false;
            }
            true
        }
        Step::Flood(total) => {
            let block = vec![b'x'; 64 * 1024];
            let mut left = total;
            while left > 0 {
                match stream.write(&block[..left.min(block.len())]).await {
                    Ok(n) if n > 0 => {
                        left -= n;
                        notebook.flooded.fetch_add(n, Ordering::SeqCst);
                    }
                    _ => {
                        notebook.note(|seen| seen.hung_up += 1);
                        return false;
                    }
                }
            }
            true
        }
        Step::Wait(gate) => {
            gate.pass().await;
            true
        }
        Step::Pause(time) => {
            tokio::time::sleep(time).await;
            true
        }
        Step::Stall => {
            while matches!(stream.read_buf(unread).await, Ok(n) if n > 0) {}
            notebook.note(|seen| {
                seen.hung_up += 1;
                seen.stray.extend_from_slice(unread);
            });
            false
        }
        Step::Close => false,
        Step::Reset => {
            let _ = stream.set_zero_linger();
            false
        }
    }
}

/// A status line and headers.
pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> Step {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    Step::Send(text.into_bytes())
}

/// A whole answer with `Content-Length`.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<Step> {
    let length = body.len().to_string();
    let mut all = vec![("Content-Length", length.as_str())];
    all.extend_from_slice(headers);
    vec![head(status, &all), Step::Send(body.to_vec())]
}

/// The answer of a healthy store to GET.
pub(crate) fn object(body: &[u8]) -> Vec<Step> {
    answer(200, &OBJECT_HEADERS, body)
}

pub(crate) const OBJECT_HEADERS: [(&str, &str); 4] = [
    ("Content-Type", "binary/octet-stream"),
    ("ETag", "\"0123456789abcdef0123456789abcdef\""),
    ("Last-Modified", "Wed, 01 Jul 2026 10:00:00 GMT"),
    ("Accept-Ranges", "bytes"),
];

/// The error document of a store.
pub(crate) fn s3_error(status: u16, code: &str) -> Vec<Step> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>of the \
         store</Message><RequestId>tx000scripted</RequestId></Error>"
    );
    let headers = [("Content-Type", "application/xml"), ("x-amz-request-id", "tx000scripted")];
    answer(status, &headers, body.as_bytes())
}

/// More than the gateway buffers before it writes to a client (32 KiB).
pub(crate) const MORE_THAN_A_BUFFER: usize = 256 * 1024;

/// Polls until `value` has not changed for `quiet`, and returns it.
pub(crate) fn settled(quiet: Duration, value: impl Fn() -> usize) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut since) = (value(), Instant::now());
    while since.elapsed() < quiet {
        assert!(Instant::now() < deadline, "still moving after {PATIENCE:?}: {last}");
        std::thread::sleep(Duration::from_millis(20));
        let now = value();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}
