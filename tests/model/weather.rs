//! The network to the store and its faults: a relay that cuts, resets, refuses, delays, and removes
//! headers. Only the request for the object is signed, not its range or conditions, so the relay
//! may change those.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::world::{OBJECTS, World};

/// One of this number of requests meets a fault.
const ONE_IN: u32 = 32;
/// How long after its end a fault may still affect requests that waited for the failed one.
const AFTERWARDS: Duration = Duration::from_millis(250);
/// How long after the last byte of a fetch a gateway with little CPU time may still let requests
/// join it.
const LANDING: Duration = Duration::from_secs(2);
const PIECE: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(2);

/// The faults of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The body ends before its length.
    Cut,
    /// The connection is reset in place of an answer.
    Reset,
    /// This status as the answer to the request, and to the next ones.
    Refused(u16),
    /// The body comes in small pieces.
    Slow,
    /// The store ignores `Range`.
    NoRange,
    /// The answer has no `ETag`.
    NoEtag,
}

/// One request and its answer.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    began: Instant,
    over: Option<Instant>,
    foul: bool,
}

impl Exchange {
    /// Whether the exchange was in progress at that time, or ended at most `afterwards` before it.
    fn is_felt(&self, then: Instant, afterwards: Duration) -> bool {
        self.over.is_none_or(|over| over + afterwards >= then)
    }
}

/// The requests for one object.
#[derive(Debug, Default)]
struct Record {
    exchanges: Vec<Exchange>,
    /// The status of a burst of failures, and the number of requests left in it.
    burst: Option<(u16, u32)>,
    /// An answer had no entity tag; an object without a tag may stay cached for as long as it does
    /// not change.
    untagged: bool,
}

#[derive(Debug)]
struct Shared {
    objects: Vec<Mutex<Record>>,
    counts: Mutex<BTreeMap<Fault, u64>>,
    random: Mutex<fastrand::Rng>,
    fair: AtomicBool,
    /// The store honours `If-Match`.
    knows_if_match: bool,
}

/// The relay. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Weather {
    /// In front of a store. Must be called within a tokio runtime.
    pub(crate) async fn before(store: SocketAddr, knows_if_match: bool, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            objects: (0..OBJECTS).map(|_| Mutex::default()).collect(),
            counts: Mutex::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            fair: AtomicBool::new(false),
            knows_if_match,
        });
        let own = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((gateway, _)) = listener.accept().await {
                let shared = Arc::clone(&own);
                // The gateway sees every end of a connection.
                connections.spawn(async move { relay(gateway, store, &shared).await.ok() });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, shared, task }
    }

    /// Ends all faults.
    pub(crate) fn clear_up(&self) {
        self.shared.fair.store(true, Ordering::SeqCst);
    }

    /// Whether an object was affected by a fault between these times.
    pub(crate) fn was_foul(&self, object: usize, from: Instant, to: Instant) -> bool {
        let record = lock(&self.shared.objects[object]);
        let foul = |exchange: &Exchange| {
            exchange.foul && exchange.began <= to && exchange.is_felt(from, AFTERWARDS)
        };
        record.exchanges.iter().any(foul)
    }

    /// When the oldest request for an object began whose answer may still have been in transfer
    /// then.
    pub(crate) fn under_way_since(&self, object: usize, then: Instant) -> Option<Instant> {
        let record = lock(&self.shared.objects[object]);
        let felt = record.exchanges.iter().filter(|exchange| exchange.is_felt(then, LANDING));
        felt.map(|exchange| exchange.began).min()
    }

    /// Whether the store has omitted the entity tag of an object at some time.
    pub(crate) fn was_untagged(&self, object: usize) -> bool {
        lock(&self.shared.objects[object]).untagged
    }

    /// How often each fault occurred.
    pub(crate) fn counts(&self) -> BTreeMap<Fault, u64> {
        lock(&self.shared.counts).clone()
    }
}

impl Shared {
    /// The fault of a request for an object.
    fn fault(&self, object: usize) -> Option<Fault> {
        if self.fair.load(Ordering::SeqCst) {
            return None;
        }
        let mut record = lock(&self.objects[object]);
        if let Some((status, left)) = record.burst {
            record.burst = (left > 1).then(|| (status, left - 1));
            return Some(Fault::Refused(status));
        }
        let mut random = lock(&self.random);
        if random.u32(..ONE_IN) > 0 {
            return None;
        }
        let fault = match random.u32(..8) {
            0 | 1 => Fault::Cut,
            2 => Fault::Reset,
            3 => {
                let status = if random.bool() { 500 } else { 503 };
                record.burst = Some((status, random.u32(1..8)));
                Fault::Refused(status)
            }
            4 => Fault::Slow,
            5 | 6 => Fault::NoRange,
            _ => Fault::NoEtag,
        };
        Some(fault)
    }

    fn began(&self, object: usize, fault: Option<Fault>) -> UnderWay<'_> {
        if let Some(fault) = fault {
            *lock(&self.counts).entry(fault).or_default() += 1;
        }
        let mut record = lock(&self.objects[object]);
        record.untagged |= fault == Some(Fault::NoEtag);
        let nth = record.exchanges.len();
        let exchange = Exchange { began: Instant::now(), over: None, foul: fault.is_some() };
        record.exchanges.push(exchange);
        UnderWay { shared: self, object, nth }
    }
}

/// An exchange that lasts until this is dropped.
struct UnderWay<'a> {
    shared: &'a Shared,
    object: usize,
    nth: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        lock(&self.shared.objects[self.object]).exchanges[self.nth].over = Some(Instant::now());
    }
}

async fn relay(mut gateway: TcpStream, store: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    let mut store = TcpStream::connect(store).await?;
    for stream in [&gateway, &store] {
        stream.set_nodelay(true)?;
    }
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    while let Some(mut request) = head(&mut gateway, &mut asked).await? {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let object = World::object_at(path).expect("a request for an object");
        let fault = shared.fault(object);
        let _under_way = shared.began(object, fault);
        let is_head = request.starts_with("HEAD ");
        if !shared.knows_if_match {
            take_away(&mut request, "if-match");
        }
        match fault {
            Some(Fault::Reset) => {
                gateway.set_zero_linger()?;
                return Ok(());
            }
            Some(Fault::Refused(status)) => {
                let document = "<Error><Code>SlowDown</Code></Error>";
                let body = if is_head { "" } else { document };
                let answer = format!(
                    "HTTP/1.1 {status} Foul\r\nContent-Type: application/xml\r\nContent-Length: \
                     {}\r\n\r\n{body}",
                    document.len()
                );
                gateway.write_all(answer.as_bytes()).await?;
                continue;
            }
            Some(Fault::NoRange) => take_away(&mut request, "range"),
            Some(Fault::Cut | Fault::Slow | Fault::NoEtag) | None => {}
        }
        store.write_all(request.as_bytes()).await?;
        let Some(mut answer) = head(&mut store, &mut answered).await? else { return Ok(()) };
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        let length = value(&answer, "content-length");
        let has_body = !is_head && status != "304" && status != "204";
        let length: usize = match length {
            Some(length) if has_body => length.parse().expect("a length"),
            None if has_body => panic!("a body without length: {answer}"),
            _ => 0,
        };
        if fault == Some(Fault::NoEtag) {
            take_away(&mut answer, "etag");
        }
        gateway.write_all(answer.as_bytes()).await?;
        let cut_at =
            (fault == Some(Fault::Cut) && length > 0).then(|| lock(&shared.random).usize(..length));
        let slow = fault == Some(Fault::Slow);
        let mut left = cut_at.unwrap_or(length);
        while left > 0 {
            if answered.is_empty() && store.read_buf(&mut answered).await? == 0 {
                return Ok(());
            }
            let piece = answered.len().min(left).min(if slow { PIECE } else { usize::MAX });
            gateway.write_all(&answered[..piece]).await?;
            answered.drain(..piece);
            left -= piece;
            if slow {
                tokio::time::sleep(PAUSE).await;
            }
        }
        if cut_at.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

/// The next head on a connection, up to its empty line; `None` at the end of the connection.
async fn head(stream: &mut TcpStream, unread: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    loop {
        if let Some(end) = memchr::memmem::find(unread, b"\r\n\r\n") {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8(head).expect("a head of UTF-8")));
        }
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
}

/// The value of a header of a head.
fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(other, _)| other.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim())
}

/// Removes a header from a head.
fn take_away(head: &mut String, name: &str) {
    let is_it = |line: &&str| {
        line.split_once(':').is_some_and(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    let kept: Vec<_> = head.split("\r\n").filter(|line| !is_it(line)).collect();
    *head = kept.join("\r\n");
}
