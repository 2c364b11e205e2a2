//! A client that asks for one object at a steady rate, however slow the answers are. Prints one line of JSON.
//!
//!     pacer ADDRESS PATH RATE SECONDS CONNECTIONS
//!
//! The n-th request is due n/RATE seconds after the start. Its time is counted from then, so a request that had
//! to wait for a connection, because the answers before it were slow, has waited for the server. The client
//! never sleeps: a sleep is late by up to a millisecond. It needs a CPU of its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Polls between two looks at the sockets. The default of 61 would let answers wait.
const POLLS: u32 = 2;
/// After the last request was due. Later answers are an error.
const PATIENCE: Duration = Duration::from_secs(20);
const BUFFER: usize = 256 * 1024;

/// Connections without a request, and requests that are due and have no connection.
#[derive(Default)]
struct Queue {
    idle: VecDeque<oneshot::Sender<Instant>>,
    due: VecDeque<Instant>,
}

/// Times of answers in microseconds, and the first error.
#[derive(Default)]
struct Seen {
    times: Vec<u64>,
    error: Option<String>,
}

type Shared<T> = Rc<RefCell<T>>;

/// One connection: a request at a time, as they become due.
async fn connection(
    address: SocketAddr,
    head: String,
    queue: Shared<Queue>,
    seen: Shared<Seen>,
) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let next = queue.borrow_mut().due.pop_front();
        let due = match next {
            Some(due) => due,
            None => {
                let (sender, receiver) = oneshot::channel();
                queue.borrow_mut().idle.push_back(sender);
                match receiver.await {
                    Ok(due) => due,
                    Err(_) => return Ok(()), // the end
                }
            }
        };
        stream.write_all(head.as_bytes()).await?;
        answer(&mut stream, &mut buffer).await?;
        seen.borrow_mut().times.push(u64::try_from(due.elapsed().as_micros())?);
    }
}

/// Reads an answer to its end.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut read = 0;
    let mut left = loop {
        let count = stream.read(buffer.get_mut(read..).ok_or("a head without end")?).await?;
        if count == 0 {
            return Err("the connection ended".into());
        }
        read += count;
        let begin = buffer.get(..read.min(8192)).unwrap_or_default();
        let Some(end) = begin.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(begin.get(..end).unwrap_or_default())?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("not a 200: {head}").into());
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        break (end + 4 + length.ok_or("no Content-Length")??).saturating_sub(read);
    };
    while left > 0 {
        let count = stream.read(buffer).await?;
        if count == 0 {
            return Err("the connection ended inside a body".into());
        }
        left = left.checked_sub(count).ok_or("bytes after a body")?;
    }
    Ok(())
}

async fn paced(
    address: SocketAddr,
    path: &str,
    rate: u64,
    seconds: u64,
    connections: usize,
) -> Result<Seen> {
    let (queue, seen) = (Shared::<Queue>::default(), Shared::<Seen>::default());
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: pacer\r\n\r\n");
    for _ in 0..connections {
        let (head, queue, seen) = (head.clone(), Rc::clone(&queue), Rc::clone(&seen));
        tokio::task::spawn_local(async move {
            let of = Rc::clone(&seen);
            if let Err(error) = connection(address, head, queue, seen).await {
                of.borrow_mut().error.get_or_insert(error.to_string());
            }
        });
    }
    while queue.borrow().idle.len() < connections && seen.borrow().error.is_none() {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let count = usize::try_from(rate * seconds)?;
    let last = Duration::from_secs(seconds) + PATIENCE;
    let mut sent = 0;
    while seen.borrow().times.len() < count && seen.borrow().error.is_none() {
        if start.elapsed() > last {
            return Err(format!("{} of {count} answers in time", seen.borrow().times.len()).into());
        }
        while sent < count {
            let due = start + Duration::from_nanos(sent as u64 * 1_000_000_000 / rate);
            if due > Instant::now() {
                break;
            }
            let idle = queue.borrow_mut().idle.pop_front();
            match idle {
                Some(connection) => _ = connection.send(due),
                None => queue.borrow_mut().due.push_back(due),
            }
            sent += 1;
        }
        tokio::task::yield_now().await;
    }
    Ok(seen.take())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, rate, seconds, connections] = arguments.as_slice() else {
        return Err("usage: pacer ADDRESS PATH RATE SECONDS CONNECTIONS".into());
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().event_interval(POLLS).build()?;
    let run = paced(address.parse()?, path, rate.parse()?, seconds.parse()?, connections.parse()?);
    let mut seen = tokio::task::LocalSet::new().block_on(&runtime, run)?;
    if let Some(error) = seen.error {
        return Err(error.into());
    }
    seen.times.sort_unstable();
    let at = |of_1000: usize| {
        let place = seen.times.len() * of_1000 / 1000;
        seen.times.get(place.min(seen.times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let report = serde_json::json!({
        "requests": seen.times.len(), "p50": at(500), "p99": at(990), "p999": at(999), "worst": at(1000),
    });
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}
