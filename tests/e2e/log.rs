//! The gateway's output: read by threads, awaited without sleeping, checked at the end.

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStderr, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use crate::client::PATIENCE;

/// One line of output.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// `None` for anything that is not one JSON object.
    pub(crate) json: Option<Value>,
    /// A test step expected it.
    expected: bool,
}

impl Line {
    fn new(text: String) -> Self {
        let json = serde_json::from_str(&text).ok().filter(Value::is_object);
        Self { text, json, expected: false }
    }

    /// A warning, an error, or a line that is not in the log format, such as a panic.
    fn is_trouble(&self) -> bool {
        let severity = self.json.as_ref().and_then(|json| json["severity"].as_str());
        !matches!(severity, Some("info" | "debug")) && !self.text.trim().is_empty()
    }
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Vec<Line>>,
    more: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The output so far.
#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    unread: Mutex<Option<(ChildStdout, ChildStderr)>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl Log {
    /// Reads nothing before [`Log::read`].
    pub(crate) fn new(stdout: ChildStdout, stderr: ChildStderr) -> Self {
        let unread = Mutex::new(Some((stdout, stderr)));
        Self { shared: Arc::default(), unread, readers: Mutex::default() }
    }

    /// Starts reading both streams.
    pub(crate) fn read(&self) {
        let unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (stdout, stderr) = unread.expect("reading begins once");
        let (out, err) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let push = |shared: &Shared, text| {
            shared.lock().push(Line::new(text));
            shared.more.notify_all();
        };
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.push(std::thread::spawn(move || each_line(stdout, |text| push(&out, text))));
        readers.push(std::thread::spawn(move || each_line(stderr, |text| push(&err, text))));
    }

    /// Returns once both streams are closed.
    pub(crate) fn until_end(&self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        for reader in readers.drain(..) {
            reader.join().expect("a reader thread");
        }
    }

    pub(crate) fn expect(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.shared.lock();
        loop {
            let fit = |line: &&mut Line| !line.expected && line.json.as_ref().is_some_and(&fits);
            if let Some(line) = lines.iter_mut().find(fit) {
                line.expected = true;
                return line.json.clone().unwrap_or_default();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line in the log for {what}");
            let woken = self.shared.more.wait_timeout(lines, left);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.shared.lock().clone()
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.shared.lock();
        lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// Texts of the lines that no test step expected.
    pub(crate) fn unexpected(&self, tolerated: &[&str]) -> Vec<String> {
        let lines = self.shared.lock();
        let unexpected = |line: &&Line| {
            line.is_trouble()
                && !line.expected
                && !tolerated.iter().any(|text| line.text.contains(text))
        };
        lines.iter().filter(unexpected).map(|line| line.text.clone()).collect()
    }
}

/// Reads lines of a stream to its end.
fn each_line(stream: impl Read, mut take: impl FnMut(String)) {
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        take(String::from_utf8_lossy(&line).into_owned());
    }
}
