//! A store on this machine that answers by script, and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// No wait in these tests is longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What the store does with a request.
#[derive(Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// Says nothing more, and waits for the other side to hang up.
    Stall,
    Close,
}

/// What the store has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The heads of the requests.
    pub(super) requests: Vec<String>,
    pub(super) connections: usize,
    /// Connections the other side ended.
    pub(super) hung_up: usize,
}

/// The running store. It stops with the runtime of its test.
pub(super) struct Script {
    pub(super) address: SocketAddr,
    seen: Arc<watch::Sender<Seen>>,
}

impl Script {
    /// Runs the script for every request; it is given how many came before.
    pub(super) async fn run(script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let (notes, script) = (Arc::clone(&seen), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                notes.send_modify(|seen| seen.connections += 1);
                tokio::spawn(converse(stream, Arc::clone(&notes), Arc::clone(&script)));
            }
        });
        Self { address, seen }
    }

    /// Takes the same steps for every request.
    pub(super) async fn always(steps: Vec<Step>) -> Self {
        Self::run(move |_| steps.clone()).await
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until the other side has closed this number of connections.
    pub(super) async fn await_hung_up(&self, number: usize) {
        let mut watcher = self.seen.subscribe();
        let ended = watcher.wait_for(|seen| seen.hung_up >= number);
        tokio::time::timeout(PATIENCE, ended).await.expect("a connection ends in time").unwrap();
    }
}

async fn converse(
    mut stream: TcpStream,
    notes: Arc<watch::Sender<Seen>>,
    script: Arc<impl Fn(usize) -> Vec<Step>>,
) {
    let mut unread = Vec::new();
    loop {
        while !unread.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut unread).await, Ok(n) if n > 0) {
                notes.send_modify(|seen| seen.hung_up += 1);
                return;
            }
        }
        let mut nth = 0;
        notes.send_modify(|seen| {
            nth = seen.requests.len();
            seen.requests.push(String::from_utf8_lossy(&std::mem::take(&mut unread)).into_owned());
        });
        for step in script(nth) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        notes.send_modify(|seen| seen.hung_up += 1);
                        return;
                    }
                }
                Step::Stall => {
                    while matches!(stream.read_buf(&mut unread).await, Ok(n) if n > 0) {}
                    notes.send_modify(|seen| seen.hung_up += 1);
                    return;
                }
                Step::Close => return,
            }
        }
    }
}

/// Bytes as they are.
pub(super) fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// A head of these lines, which end in `\n`, and what follows it.
pub(super) fn answer(lines: &str, body: &str) -> Step {
    send(&format!("HTTP/1.1 {}\r\n\r\n{body}", lines.trim_end().replace('\n', "\r\n")))
}

/// A whole answer with its length.
pub(super) fn whole(status: u16, body: &str) -> Step {
    answer(&format!("{status} Scripted\nContent-Length: {}", body.len()), body)
}

/// An error document of S3.
pub(super) fn error(status: u16, code: &str) -> Step {
    whole(status, &format!("<Error><Code>{code}</Code></Error>"))
}
