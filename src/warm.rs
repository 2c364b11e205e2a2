//! `s3proxy warm`: asks a running gateway for many objects through its front door, as clients do, so that
//! all tiers of its cache have them before the clients come.
//!
//! It keeps to a rate, stops when the gateway or a store fails, and remembers in a file which keys are
//! answered, so that a second run does not ask for them again.

mod answer;
mod connection;
mod journal;
mod keys;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::s3::address::ObjectAddress;
use crate::s3::encode::encode_path;
use crate::warm::answer::{Failures, Verdict};
use crate::warm::connection::FrontDoor;

pub use crate::warm::connection::{GatewayAddress, GatewayAnswer};
pub use crate::warm::journal::{Journal, JournalError};
pub use crate::warm::keys::{SurveyFilter, SurveyKeys};

/// Requests in progress at the same time, at most.
const AT_ONCE: usize = 8;
/// How long the thread of a request that failed waits.
const PAUSE: Duration = Duration::from_secs(1);

/// The gateways, the place of the keys, and the rate.
#[derive(Debug)]
pub struct WarmRun<'a> {
    /// Every one is asked for every key.
    pub fronts: &'a [GatewayAddress],
    /// The place of the keys: each key is appended to its key.
    pub place: &'a ObjectAddress,
    /// Requests a second, at least 1.
    pub rate: u32,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WarmReport {
    /// Answered from the store.
    pub fetched: u64,
    /// Answered from the cache.
    pub cached: u64,
    /// 404.
    pub missing: u64,
    /// Refused by the gateway: another 4xx.
    pub refused: u64,
    /// The gateway or the store failed; asked for again by the next run with the same journal.
    pub failed: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Keys that an earlier run has asked for.
    pub skipped: u64,
    /// The first answer of those that were refused or failed.
    pub example: Option<String>,
    /// Why it ended before the last key.
    pub stopped: Option<String>,
}

impl WarmRun<'_> {
    /// Asks for every key that the journal does not have. `progress` is called with the number of keys
    /// so far. Blocks.
    pub fn ask(
        &self,
        keys: impl Iterator<Item = String> + Send,
        journal: &Journal,
        progress: &(dyn Fn(u64) + Sync),
    ) -> WarmReport {
        let shared = Shared {
            run: self,
            journal,
            progress,
            keys: Mutex::new((0..).zip(keys)),
            next: Mutex::new(Instant::now()),
            result: Mutex::default(),
            done: AtomicU64::new(0),
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| shared.work());
            }
        });
        let (report, _) = shared.result.into_inner().unwrap_or_else(PoisonError::into_inner);
        report
    }
}

/// The path of a key below a place at a gateway.
fn path_of(front: &GatewayAddress, place: &ObjectAddress, key: &str) -> String {
    let profile = place.profile.as_ref().map_or_else(String::new, |name| format!("{name}@"));
    let mut path = format!("{}/s3/{profile}", front.prefix);
    encode_path(place.bucket.as_bytes(), &mut path);
    path.push('/');
    encode_path(place.key.as_bytes(), &mut path);
    encode_path(key.as_bytes(), &mut path);
    path
}

/// One file of a survey, whole.
///
/// # Errors
/// No answer, or one longer than `most` bytes.
pub fn read_file(
    front: &GatewayAddress,
    place: &ObjectAddress,
    key: &str,
    most: usize,
) -> io::Result<GatewayAnswer> {
    let answer = FrontDoor::new(front).get(&path_of(front, place, key), most)?;
    if answer.length > answer.body.len() as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too large"));
    }
    Ok(answer)
}

/// What the threads of a run share.
struct Shared<'a, I> {
    run: &'a WarmRun<'a>,
    journal: &'a Journal,
    progress: &'a (dyn Fn(u64) + Sync),
    keys: Mutex<I>,
    /// When the next request may be sent.
    next: Mutex<Instant>,
    result: Mutex<(WarmReport, Failures)>,
    done: AtomicU64,
}

impl<I: Iterator<Item = (u64, String)>> Shared<'_, I> {
    fn work(&self) {
        let mut doors: Vec<FrontDoor<'_>> = self.run.fronts.iter().map(FrontDoor::new).collect();
        while let Some((number, key)) = self.next_key() {
            let mut is_answered = true;
            for door in &mut doors {
                self.wait_for_turn();
                if self.result().0.stopped.is_some() {
                    return;
                }
                let path = path_of(door.front(), self.run.place, &key);
                let answer = door.get(&path, 0);
                let verdict = Verdict::of(&answer);
                is_answered &= verdict != Verdict::Failed;
                if self.note(&path, verdict, &answer) {
                    return;
                }
                if verdict == Verdict::Failed {
                    thread::sleep(PAUSE);
                }
            }
            if is_answered && let Err(error) = self.journal.note(number, &key) {
                self.stop(format!("the journal cannot be written: {error}"));
            }
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            (self.progress)(done);
        }
    }

    /// The next key that no earlier run has asked for.
    fn next_key(&self) -> Option<(u64, String)> {
        loop {
            if self.result().0.stopped.is_some() {
                return None;
            }
            let (number, key) = lock(&self.keys).next()?;
            match self.journal.has(number, &key) {
                Ok(false) => return Some((number, key)),
                Ok(true) => {
                    self.result().0.skipped += 1;
                    let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                    (self.progress)(done);
                }
                Err(error) => self.stop(error.to_string()),
            }
        }
    }

    fn wait_for_turn(&self) {
        let interval = Duration::from_secs(1) / self.run.rate.max(1);
        let now = Instant::now();
        let mut next = lock(&self.next);
        let turn = (*next).max(now);
        *next = turn + interval;
        drop(next);
        thread::sleep(turn.saturating_duration_since(now));
    }

    /// Counts an answer. Returns whether the run is over.
    fn note(&self, path: &str, verdict: Verdict, answer: &io::Result<GatewayAnswer>) -> bool {
        let mut result = self.result();
        let (report, failures) = &mut *result;
        match verdict {
            Verdict::Fetched => report.fetched += 1,
            Verdict::Cached => report.cached += 1,
            Verdict::Missing => report.missing += 1,
            Verdict::Refused => report.refused += 1,
            Verdict::Failed => report.failed += 1,
        }
        let said = match answer {
            Ok(answer) => {
                report.bytes += answer.length;
                let remedy = match answer.status {
                    301 | 308 => ", a redirect: name the address that it leads to with --url",
                    _ => "",
                };
                format!("{path}: {}{remedy}", answer.status)
            }
            Err(error) => format!("{path}: {error}"),
        };
        if matches!(verdict, Verdict::Refused | Verdict::Failed) && report.example.is_none() {
            report.example = Some(said.clone());
        }
        if failures.note(verdict == Verdict::Failed) && report.stopped.is_none() {
            report.stopped = Some(format!("too many failures, the last one: {said}"));
        }
        report.stopped.is_some()
    }

    fn stop(&self, why: String) {
        self.result().0.stopped.get_or_insert(why);
    }

    fn result(&self) -> MutexGuard<'_, (WarmReport, Failures)> {
        lock(&self.result)
    }
}

/// The threads leave all values whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
