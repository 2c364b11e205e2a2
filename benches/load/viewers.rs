//! The clients of the cache's load run. Prints one line of JSON.
//!
//!     viewers ADDRESS BASE once PREFIX LENGTH FIRST COUNT CONNECTIONS
//!     viewers ADDRESS BASE crowd PREFIX LENGTH FIRST COUNT CLIENTS
//!     viewers ADDRESS BASE traffic SEED VIEWERS BURSTS THINK_MS TILES EXPONENT
//!
//! `once` requests each of COUNT objects once, `crowd` has every client request all of them at the
//! same time in the same order, and `traffic` simulates sky viewers (model.rs).

mod keys;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use hyper::Request;
use hyper::body::Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, IF_NONE_MATCH};
use hyper_util::rt::TokioIo;
use model::{Asked, Expected, Zipf};
use tokio::net::TcpStream;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The number of connections that a browser opens to one host.
const BROWSER: usize = 6;

struct Target {
    address: SocketAddr,
    base: String,
}

struct Connection<'a> {
    target: &'a Target,
    sender: SendRequest<String>,
}

/// The result of one request.
struct Answer {
    expected: Expected,
    took: Duration,
    bytes: u64,
    status: u16,
    right: bool,
}

impl Target {
    async fn connect(&self) -> Result<Connection<'_>> {
        Ok(Connection { target: self, sender: self.sender().await? })
    }

    async fn sender(&self) -> Result<SendRequest<String>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn connections(&self, count: usize) -> Result<Vec<Connection<'_>>> {
        let mut open = Vec::with_capacity(count);
        for _ in 0..count {
            open.push(self.connect().await?);
        }
        Ok(open)
    }
}

impl Connection<'_> {
    async fn ask(&mut self, asked: &Asked) -> Result<Answer> {
        let started = Instant::now();
        if self.sender.ready().await.is_err() {
            // The server closed the connection, idle or after its last answer: a browser opens
            // another one.
            self.sender = self.target.sender().await?;
        }
        let mut request = Request::get(format!("{}{}", self.target.base, asked.key))
            .header(HOST, self.target.address.to_string());
        if let Some(etag) = asked.condition() {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let answer = self.sender.send_request(request.body(String::new())?).await?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut bytes = 0;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(Answer {
            expected: asked.expected,
            took: started.elapsed(),
            bytes,
            status,
            right: asked.is_answered_by(status, bytes),
        })
    }
}

/// Distributes the requests to the connections; each takes the next request when it is free.
async fn work_through(open: &mut [Connection<'_>], asked: &[Asked]) -> Result<Vec<Answer>> {
    let next = &AtomicUsize::new(0);
    let work = open.iter_mut().map(|connection| async move {
        let mut answers = Vec::new();
        while let Some(asked) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
            answers.push(connection.ask(asked).await?);
        }
        Ok::<_, Box<dyn Error>>(answers)
    });
    Ok(try_join_all(work).await?.into_iter().flatten().collect())
}

struct Run {
    answers: Vec<Answer>,
    /// How long viewers waited for all requests of a burst.
    bursts: Vec<Duration>,
    distinct: usize,
    elapsed: Duration,
}

async fn once(target: &Target, asked: &[Asked], connections: usize) -> Result<Run> {
    let mut open = target.connections(connections).await?;
    let started = Instant::now();
    let answers = work_through(&mut open, asked).await?;
    Ok(Run { answers, bursts: Vec::new(), distinct: asked.len(), elapsed: started.elapsed() })
}

async fn crowd(target: &Target, asked: &[Asked], clients: usize) -> Result<Run> {
    // All clients are connected before the first one sends a request.
    let mut open = target.connections(clients).await?;
    let started = Instant::now();
    let each = open.chunks_mut(1).map(|connection| async {
        let answers = work_through(connection, asked).await?;
        Ok::<_, Box<dyn Error>>((answers, started.elapsed()))
    });
    let (answers, bursts): (Vec<_>, Vec<_>) = try_join_all(each).await?.into_iter().unzip();
    let answers = answers.into_iter().flatten().collect();
    Ok(Run { answers, bursts, distinct: asked.len(), elapsed: started.elapsed() })
}

async fn traffic(target: &Target, viewers: Vec<Vec<Vec<Asked>>>, think: Duration) -> Result<Run> {
    let keys = viewers.iter().flatten().flatten().map(|asked| asked.key.as_str());
    let distinct = keys.collect::<BTreeSet<&str>>().len();
    let mut open = Vec::with_capacity(viewers.len());
    for _ in &viewers {
        open.push(target.connections(BROWSER).await?);
    }
    let started = Instant::now();
    let sessions = (0..).zip(&viewers).zip(open).map(|((seed, bursts), mut open)| async move {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut answers, mut waits) = (Vec::new(), Vec::new());
        tokio::time::sleep(think.mul_f64(random.f64())).await;
        for burst in bursts {
            let asked = Instant::now();
            answers.extend(work_through(&mut open, burst).await?);
            waits.push(asked.elapsed());
            tokio::time::sleep(think.mul_f64(0.5 + random.f64())).await;
        }
        Ok::<_, Box<dyn Error>>((answers, waits))
    });
    let (mut answers, mut bursts) = (Vec::new(), Vec::new());
    for session in join_all(sessions).await {
        let (more, waits) = session?;
        answers.extend(more);
        bursts.extend(waits);
    }
    Ok(Run { answers, bursts, distinct, elapsed: started.elapsed() })
}

/// The 50th and 99th percentile of the times, in µs.
fn percentiles(times: impl Iterator<Item = Duration>) -> serde_json::Value {
    let mut times: Vec<u128> = times.map(|time| time.as_micros()).collect();
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().max(1) - 1));
    serde_json::json!({
        "count": times.len(),
        "p50": at(50).copied().unwrap_or_default(),
        "p99": at(99).copied().unwrap_or_default(),
    })
}

impl Run {
    fn report(&self) -> serde_json::Value {
        let of = |expected| {
            let those = self.answers.iter().filter(move |answer| answer.expected == expected);
            percentiles(those.map(|answer| answer.took))
        };
        let mut statuses = BTreeMap::<String, u64>::new();
        for answer in &self.answers {
            *statuses.entry(answer.status.to_string()).or_default() += 1;
        }
        serde_json::json!({
            "requests": self.answers.len(),
            "distinct": self.distinct,
            "bytes": self.answers.iter().map(|answer| answer.bytes).sum::<u64>(),
            "microseconds": self.elapsed.as_micros(),
            "wrong": self.answers.iter().filter(|answer| !answer.right).count(),
            "statuses": statuses,
            "all": percentiles(self.answers.iter().map(|answer| answer.took)),
            "objects": of(Expected::Object),
            "missing": of(Expected::Missing),
            "not_modified": of(Expected::NotModified),
            "bursts": percentiles(self.bursts.iter().copied()),
        })
    }
}

fn number<T: FromStr<Err: Error + 'static>>(text: &str) -> Result<T> {
    text.parse().map_err(|error| format!("{text}: {error}").into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [address, base, what @ ..] = arguments.as_slice() else {
        return Err("usage: viewers ADDRESS BASE once|crowd|traffic ...".into());
    };
    let target = Target { address: address.parse()?, base: (*base).to_owned() };
    let run = match what {
        [kind @ ("once" | "crowd"), prefix, length, first, count, clients] => {
            let (first, count): (u64, u64) = (number(first)?, number(count)?);
            let objects = first..first + count;
            let length = number(length)?;
            let asked = objects.map(|number| Asked::object(prefix, length, number));
            let asked: Vec<Asked> = asked.collect();
            if *kind == "once" {
                once(&target, &asked, number(clients)?).await?
            } else {
                crowd(&target, &asked, number(clients)?).await?
            }
        }
        ["traffic", seed, viewers, bursts, think, tiles, exponent] => {
            let tiles = Zipf::new(number(tiles)?, number(exponent)?);
            let (seed, bursts) = (number(seed)?, number(bursts)?);
            let sessions = (0..number(viewers)?).map(|n| model::bursts(&tiles, seed, n, bursts));
            traffic(&target, sessions.collect(), Duration::from_millis(number(think)?)).await?
        }
        _ => return Err("see the head of benches/load/viewers.rs for the arguments".into()),
    };
    writeln!(std::io::stdout(), "{}", run.report())?;
    Ok(())
}
