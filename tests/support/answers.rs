//! A record of every answer that the raw client reads, for the comparison of two runs of the suite:
//! `tests/senders/run`. It is written only if `S3PROXY_TEST_ANSWERS` names a folder.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Value, json};

static FOLDER: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("S3PROXY_TEST_ANSWERS").map(PathBuf::from));

/// The test that has started a gateway on this port.
static STARTED_BY: Mutex<BTreeMap<u16, String>> = Mutex::new(BTreeMap::new());

/// Longer bodies, and longer requests, are recorded as their hash.
const AS_TEXT: usize = 16 * 1024;

/// The same for pages, which say what differs from run to run: the name of the gateway, or times.
const PAGE_AS_TEXT: usize = 1024 * 1024;

/// What one connection sent and received, in order.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    to: Option<SocketAddr>,
    sent: Vec<u8>,
    /// Of the parts of the body that follows, which is another one each time.
    boundary: Option<String>,
    is_page: bool,
    steps: Vec<Value>,
}

/// Notes that this test starts a gateway with these addresses: threads of a test have no name.
pub(crate) fn of_this_test(addresses: impl IntoIterator<Item = SocketAddr>) {
    if let Some(test) = FOLDER.as_ref().and_then(|_| this_test()) {
        let mut tests = STARTED_BY.lock().unwrap_or_else(PoisonError::into_inner);
        tests.extend(addresses.into_iter().map(|address| (address.port(), test.clone())));
    }
}

/// The name of the test, in the thread in which it runs.
fn this_test() -> Option<String> {
    let thread = std::thread::current();
    Some(thread.name().filter(|name| name.contains("::"))?.to_owned())
}

impl Answers {
    /// Of a connection to this address.
    pub(crate) fn of(to: SocketAddr) -> Self {
        Self { to: Some(to), sent: Vec::new(), boundary: None, is_page: false, steps: Vec::new() }
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        if FOLDER.is_some() {
            self.sent.extend_from_slice(bytes);
        }
    }

    pub(crate) fn head(&mut self, head: &[u8]) {
        if FOLDER.is_some() {
            let sent = std::mem::take(&mut self.sent);
            let lines = String::from_utf8_lossy(head);
            let boundary = lines.split_once("boundary=").and_then(|(_, rest)| rest.lines().next());
            self.boundary = boundary.map(|boundary| boundary.trim_matches('"').to_owned());
            let lines = lines.to_ascii_lowercase();
            let is = |kind: &str| lines.contains(&format!("\ncontent-type: {kind}"));
            self.is_page = is("text/html") || is("application/json");
            self.steps.push(json!({"sent": text(&sent, AS_TEXT), "head": text(head, AS_TEXT)}));
        }
    }

    /// The connection ended where an answer should have been.
    pub(crate) fn none(&mut self) {
        if FOLDER.is_some() {
            let sent = std::mem::take(&mut self.sent);
            self.steps.push(json!({"sent": text(&sent, AS_TEXT), "head": ""}));
        }
    }

    /// `ending` says how the body ended. Bytes of a body that was cut depend on the moment of the cut.
    pub(crate) fn body(&mut self, body: &[u8], whole: bool, ending: &str) {
        if FOLDER.is_some() {
            let body = match &self.boundary {
                Some(boundary) => without(body, boundary.as_bytes()),
                None => body.to_vec(),
            };
            let most = if self.is_page { PAGE_AS_TEXT } else { AS_TEXT };
            let body = if whole { text(&body, most) } else { String::new() };
            self.steps.push(json!({"body": body, "ending": ending}));
        }
    }
}

/// The bytes without these ones.
fn without(mut bytes: &[u8], these: &[u8]) -> Vec<u8> {
    let mut others = Vec::with_capacity(bytes.len());
    while let Some(at) = memchr::memmem::find(bytes, these) {
        let (before, rest) = bytes.split_at(at);
        others.extend_from_slice(before);
        bytes = rest.get(these.len()..).unwrap_or_default();
    }
    others.extend_from_slice(bytes);
    others
}

/// The bytes if they are text of at most this length, else their length and hash.
fn text(bytes: &[u8], most: usize) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= most => text.to_owned(),
        _ => {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            format!("{} bytes, {:016x}", bytes.len(), hasher.finish())
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let Some(folder) = FOLDER.as_ref().filter(|_| !self.steps.is_empty()) else { return };
        let started_by = || {
            let tests = STARTED_BY.lock().unwrap_or_else(PoisonError::into_inner);
            tests.get(&self.to?.port()).cloned()
        };
        let test = this_test().or_else(started_by).unwrap_or_else(|| "a thread".to_owned());
        let line = json!({"test": test, "steps": self.steps}).to_string() + "\n";
        let path = folder.join(format!("{}.jsonl", std::process::id()));
        let mut file =
            std::fs::File::options().create(true).append(true).open(path).expect("a file");
        file.write_all(line.as_bytes()).expect("the record is written");
    }
}
