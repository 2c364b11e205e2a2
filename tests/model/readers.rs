//! Readers, each with its own connection, and concurrent changes of the objects.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ask::{Ask, Asked, Condition};
use crate::asking::some_asks;
use crate::client::{self, Client, Head};
use crate::history::Version;
use crate::judge::{Excuse, Kind, judge, judge_beginning};
use crate::weather::Weather;
use crate::world::{BLOCK, OBJECTS, World};

const READERS: u64 = 16;
/// The number of wrong answers reported in full.
const MOST_WRONG: usize = 20;

/// Readers of a gateway.
#[derive(Clone, Copy)]
pub(crate) struct Readers<'a> {
    pub(crate) world: &'a World,
    /// Of each endpoint.
    pub(crate) weather: &'a [Weather],
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// How long before its request an answer may have been current.
    pub(crate) oldest: Duration,
    /// How long the store that answers may be behind.
    pub(crate) lag: Duration,
}

/// The results of the reads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    kinds: BTreeMap<Kind, u64>,
    /// Results by the first word of `Cache-Status`, and changes of objects.
    others: BTreeMap<&'static str, u64>,
    pub(crate) wrong: Vec<String>,
    wrongs: u64,
}

const OTHERS: [&str; 11] = [
    "hit",
    "partial",
    "miss",
    "collapsed",
    "slow",
    "during a change",
    "during a fault",
    "overwrites",
    "deletions",
    "purges",
    "purges of a folder",
];

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (what, count) in other.others {
            *self.others.entry(what).or_default() += count;
        }
        self.wrongs += other.wrongs;
        self.wrong.extend(other.wrong);
        self.wrong.truncate(MOST_WRONG);
    }

    /// Requests that were answered, wrongly or not.
    pub(crate) fn answered(&self) -> u64 {
        self.kinds.values().sum::<u64>() + self.wrongs
    }

    /// Requests that were answered wrongly.
    pub(crate) fn wrongs(&self) -> u64 {
        self.wrongs
    }

    /// Every result that must have occurred, with its count.
    pub(crate) fn seen(&self) -> Vec<(String, u64)> {
        use Kind::{
            Aborted, Cut, Failed, Head, Missing, NotModified, Part, Parts, Unsatisfiable, Whole,
        };
        let kinds =
            [Whole, Head, Part, Parts, NotModified, Unsatisfiable, Missing, Aborted, Cut, Failed];
        let count = |kind| self.kinds.get(&kind).copied().unwrap_or(0);
        let kinds = kinds.map(|kind| (format!("{kind:?}"), count(kind)));
        let other = |what| (String::from(what), self.others.get(what).copied().unwrap_or(0));
        kinds.into_iter().chain(OTHERS.map(other)).collect()
    }

    fn count(&mut self, what: &'static str) {
        *self.others.entry(what).or_default() += 1;
    }

    fn count_status(&mut self, status: &str) {
        let of = [("hit", "; hit"), ("partial", "fwd=partial"), ("miss", "fwd=miss")];
        for (what, word) in of.into_iter().chain([("collapsed", "collapsed")]) {
            if status.contains(word) {
                self.count(what);
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen().into_iter().map(|(name, count)| format!("{name} {count}"));
        f.write_str(&seen.collect::<Vec<_>>().join(", "))
    }
}

/// One reader's connection, and its name in the log.
struct Reader {
    client: Client,
    id: String,
    random: fastrand::Rng,
}

impl Readers<'_> {
    /// Makes this many reads.
    pub(crate) fn read(self, reads: u64, seed: u64) -> Tally {
        let left = AtomicU64::new(reads);
        let mut total = Tally::default();
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS)
                .map(|reader| {
                    let left = &left;
                    scope.spawn(move || self.one_reader(left, seed, reader))
                })
                .collect();
            for reader in readers {
                total.add(reader.join().expect("a reader"));
            }
        });
        total
    }

    /// Reads every object once more, whole and block by block: only the last version is correct,
    /// and no failure is excused.
    pub(crate) fn read_all_again(self) -> Tally {
        let exact = Readers { oldest: Duration::ZERO, lag: Duration::ZERO, ..self };
        let mut tally = Tally::default();
        let mut reader = self.reader("last", 0);
        for object in 0..OBJECTS {
            let length =
                self.world.known(object, &mut reader.random).map(|(newest, _)| newest.body.len());
            let mut asks = vec![Ask::head(Condition::None), Ask::get(Vec::new(), Condition::None)];
            for block in 0..=length.unwrap_or(0) as u64 / BLOCK {
                let range = Asked::Between(block * BLOCK, (block + 1) * BLOCK - 1);
                asks.push(Ask::get(vec![range], Condition::None));
            }
            for ask in &asks {
                exact.ask(&mut reader, object, ask, &mut tally);
            }
        }
        tally
    }

    fn reader(&self, name: &str, seed: u64) -> Reader {
        let client = Client::connect(self.gateway);
        Reader { client, id: format!("model-{name}"), random: fastrand::Rng::with_seed(seed) }
    }

    fn one_reader(&self, left: &AtomicU64, seed: u64, nth: u64) -> Tally {
        let mut reader = self.reader(&format!("{seed}-{nth}"), seed.wrapping_mul(READERS) + nth);
        let mut tally = Tally::default();
        let next = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        loop {
            self.change(&mut reader.random, &mut tally);
            let object = World::pick(&mut reader.random);
            let Some((newest, older)) = self.world.known(object, &mut reader.random) else {
                continue;
            };
            for ask in some_asks(&newest, &older, &mut reader.random) {
                if next().is_err() {
                    return tally;
                }
                self.ask(&mut reader, object, &ask, &mut tally);
            }
            if nth == 0 {
                self.world.clear_log();
            }
        }
    }

    /// One request, and the judgement of its answer.
    fn ask(&self, reader: &mut Reader, object: usize, ask: &Ask, tally: &mut Tally) {
        // The id by which its log lines are found.
        let id = format!("{}-{}", reader.id, tally.answered());
        let slow = reader.random.u32(..100) == 0;
        if slow {
            tally.count("slow");
            reader.client = Client::narrow(self.gateway);
        }
        let sent = Instant::now();
        let verdict = self.exchange(&mut reader.client, object, ask, &id, slow, tally);
        match &verdict {
            Ok((kind, _)) => *tally.kinds.entry(*kind).or_default() += 1,
            Err(wrong) => {
                tally.wrongs += 1;
                if tally.wrong.len() < MOST_WRONG {
                    let key = World::key(object);
                    let after = sent.elapsed();
                    tally.wrong.push(format!("{id} {key} {ask:?}: {wrong}, {after:?} in all"));
                }
            }
        }
        if verdict.is_ok_and(|(_, reusable)| reusable) && !slow {
            return;
        }
        reader.client = Client::connect(self.gateway);
    }

    /// The kind of correct answer, and whether the connection can be reused.
    fn exchange(
        &self,
        client: &mut Client,
        object: usize,
        ask: &Ask,
        id: &str,
        slow: bool,
        tally: &mut Tally,
    ) -> Result<(Kind, bool), String> {
        let path = format!("/s3proxy/s3/model/{}", World::key(object));
        let own = ask.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = own.chain([("X-Request-ID", id)]).collect();
        let sent = Instant::now();
        client.request(ask.method, &path, &headers);
        let Some(head) = client.head() else {
            // Cut before the first byte.
            let excuse = self.excuse(object, self.oldest, sent, tally).1;
            let after = sent.elapsed();
            return if excuse.cut {
                Ok((Kind::Cut, false))
            } else {
                Err(format!("no answer after {after:?}"))
            };
        };
        let status = head.header("cache-status").unwrap_or_default();
        tally.count_status(status);
        // The fetch of another reader began before this request was sent.
        let joined = status.contains("collapsed");
        let since = self
            .weather
            .iter()
            .filter_map(|it| it.under_way_since(object, sent))
            .min()
            .filter(|_| joined);
        let before = since.map_or(Duration::ZERO, |since| sent.saturating_duration_since(since));
        let oldest = self.oldest + before;
        let length = announced(&head, ask);
        let (come, arrived) = match ask.abort_after {
            Some(bytes) => {
                let whole = client.fill_to(bytes.min(length));
                (None, whole)
            }
            None => {
                if slow {
                    read_slowly(client, length);
                }
                (Some(client.body(&head, ask.method)), true)
            }
        };
        let (possible, excuse) = self.excuse(object, oldest, sent, tally);
        let closes = head.header("connection").is_some_and(|value| value == "close");
        match come {
            Some((body, ending)) => {
                // A store that fails behind the last byte that the client wanted ends the connection.
                let reusable = !closes && ending == client::Ending::Whole && !excuse.failed;
                let answer = client::Answer { head, body, ending };
                let verdict = judge(ask, &answer, &possible, excuse);
                let verdict = verdict.map(|kind| (kind, reusable));
                verdict.map_err(|wrong| self.explained(object, &wrong, &answer.head, &answer.body))
            }
            None if !arrived && !excuse.cut => Err("cut without a reason".to_owned()),
            None => {
                let begun = client.leftover();
                let verdict = judge_beginning(
                    ask,
                    &head,
                    &begun[..begun.len().min(length)],
                    &possible,
                    excuse,
                );
                let verdict = verdict.map(|kind| (if arrived { kind } else { Kind::Cut }, false));
                verdict.map_err(|wrong| self.explained(object, &wrong, &head, begun))
            }
        }
    }

    /// The versions that an answer received just now may show, and the faults that may have
    /// affected it.
    fn excuse(
        &self,
        object: usize,
        oldest: Duration,
        sent: Instant,
        tally: &mut Tally,
    ) -> (Vec<Option<Arc<Version>>>, Excuse) {
        let received = Instant::now();
        let possible = self.world.possible(object, oldest, self.lag, sent, received);
        let changed = possible.len() > 1;
        let possible = self.world.with_copies(possible);
        let failed = self.weather.iter().any(|it| it.was_foul(object, sent, received));
        if failed {
            tally.count("during a fault");
        } else if changed {
            tally.count("during a change");
        }
        let untagged = self.weather.iter().any(|it| it.was_untagged(object));
        (possible, Excuse { cut: failed || changed, failed, untagged })
    }

    fn explained(&self, object: usize, wrong: &str, head: &Head, body: &[u8]) -> String {
        let places = self.world.places_of(object, body);
        format!("{wrong}; its first bytes: {places}; {} {:?}", head.status, head.headers)
    }

    /// Changes an object now and then.
    fn change(&self, random: &mut fastrand::Rng, tally: &mut Tally) {
        let object = World::pick(random);
        let what = match random.u32(..1000) {
            0..80 => {
                self.world.overwrite(object, random);
                "overwrites"
            }
            80..88 => {
                self.world.delete(object);
                "deletions"
            }
            88..98 => {
                self.purge(object, false);
                "purges"
            }
            98..101 => {
                self.purge(object, true);
                "purges of a folder"
            }
            _ => return,
        };
        tally.count(what);
    }

    fn purge(&self, object: usize, whole_folder: bool) {
        let target = if whole_folder { World::folder(object) } else { World::key(object) };
        let sent = Instant::now();
        let answer = client::send(self.admin, "PURGE", &format!("/model/{target}"), &[]);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        self.world.purged(object, whole_folder, sent, Instant::now());
    }
}

/// The bytes of the body as announced by its header fields.
fn announced(head: &Head, ask: &Ask) -> usize {
    let length = head.header("content-length").and_then(|length| length.parse().ok());
    if ask.method == "HEAD" || head.status == 304 { 0 } else { length.unwrap_or(0) }
}

/// Reads a body in small pieces, within a time limit.
fn read_slowly(client: &mut Client, length: usize) {
    const PIECE: usize = 32 * 1024;
    const PAUSE: Duration = Duration::from_millis(5);
    let mut have = 0;
    while have < length {
        have = (have + PIECE).min(length);
        if !client.fill_to(have) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}
