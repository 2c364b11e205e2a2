//! Objects in blocks: which requests reach the store for a range, which blocks are cached, and that
//! no answer holds bytes of two versions. This file has the shared setup: a gateway that caches
//! almost everything in small blocks, the requests its store received, and a scripted store with an
//! object that can be overwritten.

mod ahead;
mod cold;
mod concurrent;
mod counts;
mod disk;
mod endpoints;
mod grain;
mod one_answer;
mod outages;
mod overwritten;
mod passing;
mod purges;
mod room;
mod several;
mod starting;
mod versions;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cached::{status, with_cache};
use crate::client::{Answer, Ending};
use crate::faulty::{self, Faulty, Gate, Recorded, Step};
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;

/// Bytes of a block in these tests: the smallest size that can be configured.
const BLOCK: usize = 64 * 1024;
const KEY: &str = "sky/big.png";
const PATH: &str = "/s3proxy/s3/sky/big.png";

/// A cache that stores objects larger than a kilobyte in blocks, without read-ahead.
fn in_blocks(store: &str) -> Setup {
    with_cache(store)
        .env("S3PROXY_CACHE_MAX_OBJECT", "1000")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "0")
}

/// The same, but entries must be revalidated for every request, and are served stale if the store
/// fails.
fn never_fresh(store: &str) -> Setup {
    in_blocks(store).yaml(serde_json::json!({
        "cache": {"ttl": 0, "stale_while_revalidate": 0, "stale_if_error": "1h"},
        "upstream": {"retries": 0},
    }))
}

/// The `Range` of the blocks from the first to the last of these.
fn blocks(indices: Range<usize>) -> String {
    format!("bytes={}-{}", indices.start * BLOCK, indices.end * BLOCK - 1)
}

/// The requests the store received, as text: method, range and the precondition that names a
/// version.
fn asked_of(origin: &Origin) -> Vec<String> {
    let requests = origin.requests();
    let line = |request: &crate::origin::Request| {
        let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        asked_by(&request.method, header)
    };
    requests.iter().map(line).collect()
}

fn asked_by<'a>(method: &str, header: impl Fn(&'static str) -> Option<&'a str>) -> String {
    let mut line = method.to_owned();
    for (name, mark) in [("range", ""), ("if-match", "="), ("if-none-match", "!=")] {
        if let Some(value) = header(name) {
            line.push_str(&format!(" {mark}{value}"));
        }
    }
    line
}

/// A GET for these blocks of this version.
fn of_version(indices: Range<usize>, etag: &str) -> String {
    format!("GET {} ={etag}", blocks(indices))
}

fn get_range(gateway: &Gateway, range: &str) -> Answer {
    gateway.send("GET", PATH, &[("Range", range)])
}

/// Requests these bytes, and checks the answer.
fn assert_part(gateway: &Gateway, body: &[u8], part: Range<usize>) -> Answer {
    let answer = get_range(gateway, &format!("bytes={}-{}", part.start, part.end - 1));
    assert_is_part(&answer, body, part);
    answer
}

fn assert_is_part(answer: &Answer, body: &[u8], part: Range<usize>) {
    assert_eq!((answer.status(), answer.ending), (206, Ending::Whole), "{part:?}");
    let place = format!("bytes {}-{}/{}", part.start, part.end - 1, body.len());
    assert_eq!(answer.header("content-range"), Some(place.as_str()), "{part:?}");
    assert!(answer.body == body[part.clone()], "{part:?}: other bytes");
}

fn assert_whole(answer: &Answer, body: &[u8]) {
    assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
    assert!(answer.body == body, "other bytes");
}

/// Checks that the answer came from memory alone, and consists of this number of blocks.
fn assert_hit(answer: &Answer, blocks: usize) {
    let said = status(answer);
    assert!(said.starts_with("s3proxy; hit; ttl="), "{said}");
    assert!(said.ends_with(&format!("; detail=\"memory={blocks}\"")), "{said}");
}

/// The object that a store has under a key at one time.
#[derive(Clone)]
struct Version {
    etag: String,
    body: Arc<Vec<u8>>,
}

impl Version {
    /// The `number`th version: no sequence of its bytes occurs in another version.
    fn new(number: u8, length: usize) -> Self {
        let body = crate::crowd::numbered(length).iter().map(|byte| byte ^ (number << 5)).collect();
        Self { etag: format!("\"version-{number}\""), body: Arc::new(body) }
    }

    /// The answer of S3.
    fn answer(&self, request: &Recorded) -> Vec<Step> {
        if request.header("if-match").is_some_and(|tag| tag != self.etag) {
            return faulty::s3_error(412, "PreconditionFailed");
        }
        self.answer_unconditionally(request)
    }

    /// The answer of a store that ignores `If-Match`.
    fn answer_unconditionally(&self, request: &Recorded) -> Vec<Step> {
        if request.header("if-none-match") == Some(&self.etag) {
            return vec![faulty::head(304, &[("ETag", &self.etag)])];
        }
        let length = self.body.len();
        match request.header("range").map(|range| resolve(range, length)) {
            None => faulty::answer(200, &[("ETag", &self.etag)], &self.body),
            Some(None) => {
                let place = format!("bytes */{length}");
                faulty::answer(416, &[("Content-Range", &place)], b"")
            }
            Some(Some(part)) => {
                let place = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                let headers = [("ETag", self.etag.as_str()), ("Content-Range", &place)];
                faulty::answer(206, &headers, &self.body[part])
            }
        }
    }

    /// Whether these are bytes of this version from `start` on.
    fn has(&self, start: usize, bytes: &[u8]) -> bool {
        self.body.get(start..start + bytes.len()) == Some(bytes)
    }
}

fn resolve(range: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let part = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Err(_), Ok(suffix)) => length.saturating_sub(suffix)..length,
        (Ok(first), Ok(last)) => first..length.min(last + 1),
        (Ok(first), Err(_)) => first..length,
        (Err(_), Err(_)) => return None,
    };
    (part.start < part.end).then_some(part)
}

/// Sends the body up to this number of bytes, and the rest when the gate opens.
fn held_back(mut steps: Vec<Step>, sent: usize, gate: &Gate) -> Vec<Step> {
    if let Some(Step::Send(body)) = steps.pop() {
        let (now, later) = body.split_at(sent.min(body.len()));
        let (now, later) = (Step::Send(now.to_vec()), Step::Send(later.to_vec()));
        steps.extend([now, Step::Wait(gate.clone()), later]);
    }
    steps
}

/// As [`held_back`], but sends the rest in small pieces, so that the store notices before the gate
/// opens that the reader has left: writes to it fail.
fn trickling(steps: Vec<Step>, sent: usize, gate: &Gate, last: &Gate) -> Vec<Step> {
    const CRUMBS: usize = 20;
    const CRUMB: usize = 1000;
    let mut steps = held_back(steps, sent, gate);
    if let Some(Step::Send(rest)) = steps.pop() {
        let (crumbs, rest) = rest.split_at((CRUMBS * CRUMB).min(rest.len()));
        for crumb in crumbs.chunks(CRUMB) {
            steps.extend([Step::Send(crumb.to_vec()), Step::Pause(Duration::from_millis(20))]);
        }
        steps.extend([Step::Wait(last.clone()), Step::Send(rest.to_vec())]);
    }
    steps
}

type Script = Arc<dyn Fn(&Version, &Recorded) -> Vec<Step> + Send + Sync>;

/// A store with one version of an object under every key. The test overwrites the object and
/// decides how the store answers.
struct Shelf {
    store: Faulty,
    state: Arc<Mutex<(Version, Script)>>,
}

impl Shelf {
    /// A store that answers like S3.
    fn with(version: &Version) -> Self {
        let script: Script = Arc::new(Version::answer);
        let state = Arc::new(Mutex::new((version.clone(), script)));
        let shared = Arc::clone(&state);
        let store = Faulty::scripted(move |request, _| {
            let (version, script) = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
            script(&version, request)
        });
        Self { store, state }
    }

    fn url(&self) -> String {
        self.store.url()
    }

    fn overwrite(&self, version: &Version) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = version.clone();
    }

    /// Answers like this from now on.
    fn now_by(&self, script: impl Fn(&Version, &Recorded) -> Vec<Step> + Send + Sync + 'static) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = Arc::new(script);
    }

    /// The requests since the last call.
    fn asked(&self) -> Vec<String> {
        let requests = self.store.requests();
        self.store.clear();
        requests
            .iter()
            .map(|request| asked_by(&request.method, |name| request.header(name)))
            .collect()
    }
}

/// The requests in order of their first byte, since separate blocks are requested concurrently;
/// requests without a range come first.
fn in_order(mut asked: Vec<String>) -> Vec<String> {
    asked.sort_by_key(|line| stretches(std::slice::from_ref(line)).first().map(|part| part.start));
    asked
}

/// The byte ranges that these requests asked for, in order; a GET without a range and a HEAD have
/// none.
fn stretches(asked: &[String]) -> Vec<Range<usize>> {
    let ranges =
        asked.iter().filter_map(|line| line.split(' ').find(|word| word.contains("bytes=")));
    let mut stretches: Vec<_> = ranges.filter_map(|range| resolve(range, usize::MAX)).collect();
    stretches.sort_by_key(|stretch| stretch.start);
    stretches
}

/// Checks that no byte from `start` on was requested twice or left out; returns the end.
fn assert_seamless(asked: &[String], start: usize) -> usize {
    stretches(asked).iter().fold(start, |end, stretch| {
        assert_eq!(stretch.start, end, "{asked:?}");
        stretch.end
    })
}
