//! Clients, each with its own connection, and concurrent changes of the objects.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ask::Ask;
use crate::client::{self, Client, Head, PATIENCE};
use crate::judge::{Excuse, Kind, Possible, judge, judge_beginning};
use crate::sky::Sky;

const CLIENTS: u64 = 16;
/// The number of wrong answers reported in full.
const MOST_WRONG: usize = 20;
/// The number of answers of which one may be cut because its object changed.
const FEWEST_WHOLE: u64 = 1000;
/// How much older than a request the fetch that it joins may be.
const LONGEST_FETCH: Duration = Duration::from_secs(2);

/// Clients of a gateway.
#[derive(Clone, Copy)]
pub(crate) struct Crowd<'a> {
    pub(crate) sky: &'a Sky,
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// How long before its request an answer may have been current.
    pub(crate) oldest: Duration,
    /// The gateway starts again now and then. A connection may end without an answer, and the request is
    /// sent once more.
    pub(crate) restarts: bool,
}

/// The results of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    kinds: BTreeMap<Kind, u64>,
    collapsed: u64,
    hits: u64,
    changes: BTreeMap<&'static str, u64>,
    pub(crate) wrong: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (change, count) in other.changes {
            *self.changes.entry(change).or_default() += count;
        }
        self.collapsed += other.collapsed;
        self.hits += other.hits;
        self.wrong.extend(other.wrong);
        self.wrong.truncate(MOST_WRONG);
    }

    /// Requests that were answered, wrongly or not.
    pub(crate) fn answered(&self) -> u64 {
        self.kinds.values().sum::<u64>() + self.wrong.len() as u64
    }

    /// Bodies that ended visibly because their objects changed.
    fn cut(&self) -> u64 {
        self.kinds.get(&Kind::Cut).copied().unwrap_or(0)
    }

    /// No answer was wrong, and few were cut.
    pub(crate) fn assert_right(&self) {
        assert!(self.wrong.is_empty(), "{} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
        assert!(self.cut() * FEWEST_WHOLE <= self.answered(), "{} cut: {self}", self.cut());
    }

    /// Every result that must have occurred, with its count.
    pub(crate) fn seen(&self) -> Vec<(String, u64)> {
        use Kind::{Aborted, Head, Missing, NotModified, Part, Parts, Unsatisfiable, Whole};
        let kinds = [Whole, Head, Part, Parts, NotModified, Unsatisfiable, Missing, Aborted];
        let kinds = kinds.map(|kind| (format!("{kind:?}"), self.kinds.get(&kind).copied()));
        let changes = ["overwrites", "deletions", "purges", "purges of a folder"];
        let changes = changes.map(|name| (name.to_owned(), self.changes.get(name).copied()));
        let others = [("hits", self.hits), ("collapsed", self.collapsed)];
        let others = others.map(|(name, count)| (name.to_owned(), Some(count)));
        let all = kinds.into_iter().chain(changes).chain(others);
        all.map(|(name, count)| (name, count.unwrap_or(0))).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen().into_iter().map(|(name, count)| format!("{name} {count}"));
        write!(f, "{}, cut {}", seen.collect::<Vec<_>>().join(", "), self.cut())
    }
}

impl Crowd<'_> {
    /// Makes the requests that are left.
    pub(crate) fn make(self, left: &AtomicU64, seed: u64) -> Tally {
        let mut total = Tally::default();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| scope.spawn(move || self.one_client(left, seed * CLIENTS + client)))
                .collect();
            for client in clients {
                total.add(client.join().expect("a client"));
            }
        });
        total
    }

    fn one_client(&self, left: &AtomicU64, seed: u64) -> Tally {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tally = Tally::default();
        let mut client = self.connect(self.gateway);
        let mut before = String::from("nothing");
        let next = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        while next().is_ok() {
            self.change(&mut random, &mut tally);
            let object = Sky::pick(&mut random);
            let Some((newest, older)) = self.sky.known(object, &mut random) else { continue };
            let ask = Ask::random(&newest, &older, &mut random);
            // The id by which its log lines are found.
            let id = format!("stress-{seed}-{}", tally.answered());
            let (verdict, reconnect) = self.ask(&mut client, object, &ask, &id, &mut tally);
            match &verdict {
                Ok(kind) => *tally.kinds.entry(*kind).or_default() += 1,
                Err(wrong) => {
                    let key = Sky::key(object);
                    tally.wrong.push(format!("{id} {key} {ask:?}: {wrong}, after {before}"));
                }
            }
            before = format!("{id} {verdict:?}");
            if reconnect {
                client = self.connect(self.gateway);
            }
        }
        tally
    }

    /// Connects; while the gateway starts again, as soon as it accepts.
    fn connect(&self, address: SocketAddr) -> Client {
        let began = Instant::now();
        loop {
            match Client::try_connect(address) {
                Ok(client) => return client,
                Err(error) => assert!(self.restarts && began.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a request and reads the head of its answer. A connection that ends without an answer is
    /// excused while the gateway starts again.
    fn send(
        &self,
        client: &mut Client,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (Instant, Option<Head>) {
        let began = Instant::now();
        loop {
            let sent = Instant::now();
            client.request(method, path, headers);
            let head = client.head();
            if head.is_some() || !self.restarts || began.elapsed() > PATIENCE {
                return (sent, head);
            }
            *client = self.connect(self.gateway);
        }
    }

    /// One request, the judgement of its answer, and whether the connection cannot be reused.
    fn ask(
        &self,
        client: &mut Client,
        object: usize,
        ask: &Ask,
        id: &str,
        tally: &mut Tally,
    ) -> (Result<Kind, String>, bool) {
        let path = format!("/s3proxy/s3/sky/{}", Sky::key(object));
        let own = ask.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = own.chain([("X-Request-ID", id)]).collect();
        let (sent, head) = self.send(client, ask.method, &path, &headers);
        let Some(head) = head else {
            return (Err(format!("no answer after {:?}", sent.elapsed())), true);
        };
        let status = head.header("cache-status").unwrap_or_default().to_owned();
        let collapsed = status.contains("collapsed");
        tally.collapsed += u64::from(collapsed);
        tally.hits += u64::from(status.starts_with("s3proxy; hit"));
        // The fetch of another client began before this request was sent.
        let oldest = self.oldest + if collapsed { LONGEST_FETCH } else { Duration::ZERO };
        let possible = || self.sky.possible(object, oldest, sent, Instant::now());
        // Blocks are read one after the other: if the object changes in between, the body ends visibly.
        let excuse = |possible: &Possible| Excuse { cut: possible.len() > 1, ..Excuse::NONE };
        let closes = head.header("connection").is_some_and(|value| value == "close");
        let verdict = match ask.abort_after {
            Some(bytes) => {
                let length = head.header("content-length").and_then(|length| length.parse().ok());
                client.fill_to(bytes.min(length.unwrap_or(0)));
                let possible = possible();
                judge_beginning(ask, &head, client.leftover(), &possible, excuse(&possible))
            }
            None => {
                let (body, ending) = client.body(&head, ask.method);
                let (answer, possible) = (client::Answer { head, body, ending }, possible());
                judge(ask, &answer, &possible, excuse(&possible))
            }
        };
        let verdict = verdict.map_err(|wrong| format!("{wrong} ({status})"));
        let is_cut = matches!(verdict, Ok(Kind::Cut));
        (verdict, closes || is_cut || ask.abort_after.is_some())
    }

    /// Changes an object now and then.
    fn change(&self, random: &mut fastrand::Rng, tally: &mut Tally) {
        let object = Sky::pick(random);
        let what = match random.u32(..1000) {
            0..60 => {
                self.sky.overwrite(object, random);
                "overwrites"
            }
            60..70 => {
                self.sky.delete(object);
                "deletions"
            }
            70..80 => {
                self.purge(object, false);
                "purges"
            }
            80..83 => {
                self.purge(object, true);
                "purges of a folder"
            }
            _ => return,
        };
        *tally.changes.entry(what).or_default() += 1;
    }

    fn purge(&self, object: usize, whole_folder: bool) {
        let target = if whole_folder { Sky::folder(object) } else { Sky::key(object) };
        let (began, headers) = (Instant::now(), [("Connection", "close")]);
        let (sent, answer) = loop {
            let sent = Instant::now();
            let mut client = self.connect(self.admin);
            client.request("PURGE", &format!("/sky/{target}"), &headers);
            match client.answer("PURGE") {
                Some(answer) => break (sent, answer),
                None => {
                    assert!(self.restarts && began.elapsed() < PATIENCE, "no answer to a purge");
                }
            }
        };
        assert_eq!(answer.status(), 200, "{}", answer.text());
        self.sky.purged(object, whole_folder, sent, Instant::now());
    }
}
