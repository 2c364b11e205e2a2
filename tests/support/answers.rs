//! A record of every answer that the raw client reads, for the comparison of two runs of the suite:
//! `tests/senders/run`. It is written only if `S3PROXY_TEST_ANSWERS` names a folder.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Value, json};

static FOLDER: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("S3PROXY_TEST_ANSWERS").map(PathBuf::from));

/// Longer bodies, and longer requests, are recorded as their hash.
const AS_TEXT: usize = 16 * 1024;

/// What one connection sent and received, in order.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    sent: Vec<u8>,
    /// Of the parts of the body that follows, which is another one each time.
    boundary: Option<String>,
    steps: Vec<Value>,
}

impl Answers {
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
            self.steps.push(json!({"sent": text(&sent), "head": text(head)}));
        }
    }

    /// `ending` says how the body ended. Bytes of a body that was cut depend on the moment of the cut.
    pub(crate) fn body(&mut self, body: &[u8], whole: bool, ending: &str) {
        if FOLDER.is_some() {
            let body = match &self.boundary {
                Some(boundary) => without(body, boundary.as_bytes()),
                None => body.to_vec(),
            };
            let body = if whole { text(&body) } else { String::new() };
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

/// The bytes if they are short text, else their length and hash.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= AS_TEXT => text.to_owned(),
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
        // Threads that a test starts have no name.
        let test = std::thread::current().name().unwrap_or("a thread").replace("::", ".");
        let line = json!({"test": test, "steps": self.steps}).to_string() + "\n";
        let path = folder.join(format!("{}.jsonl", std::process::id()));
        let mut file =
            std::fs::File::options().create(true).append(true).open(path).expect("a file");
        file.write_all(line.as_bytes()).expect("the record is written");
    }
}
