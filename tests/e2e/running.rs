//! A running gateway: requests to it, its process and its log.
//!
//! A warning or error in the log that a test did not ask for with [`Gateway::expect_log`] fails
//! the test when the gateway is dropped.

use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::canary;
use crate::client::{self, Answer, Client, PATIENCE};
use crate::log::{Line, Log};
use crate::scrape;

#[derive(Debug)]
pub(crate) enum NotServing {
    PortTaken,
    Ended { status: ExitStatus, log: String },
    Silent { log: String },
}

/// A running gateway. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// Its admin listener, if the environment names it.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) log: Log,
    pub(crate) tolerated: Vec<&'static str>,
    #[expect(dead_code, reason = "held for its Drop")]
    pub(crate) folder: TempDir,
    pub(crate) ended: Option<ExitStatus>,
}

impl Gateway {
    pub(crate) fn wait_until_serving(
        &mut self,
        name: &str,
        takes_over: bool,
    ) -> Result<(), NotServing> {
        let deadline = Instant::now() + if takes_over { 3 * PATIENCE } else { PATIENCE };
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.ended = Some(status);
                self.log.until_end();
                let log = self.log.text();
                let taken = log.to_ascii_lowercase().contains("in use");
                return Err(if taken {
                    NotServing::PortTaken
                } else {
                    NotServing::Ended { status, log }
                });
            }
            // At startup the gateway binds the port to see whether it is free: who connects then gets no answer, and
            // the next one no connection.
            if let Ok(mut client) = Client::try_connect(self.address) {
                client.request("GET", "/", &[("Connection", "close")]);
                if let Some(answer) = client.answer("GET") {
                    assert_eq!(answer.status(), 200, "{answer:?}");
                    if answer.json()["name"] == name {
                        return Ok(());
                    }
                    if !takes_over {
                        return Err(NotServing::PortTaken);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(NotServing::Silent { log: self.log.text() })
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        client::send(self.address, method, path, headers)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[])
    }

    /// GET of an object: `bucket/key` as written in a URL.
    pub(crate) fn object(&self, tail: &str) -> Answer {
        self.get(&format!("/s3proxy/s3/{tail}"))
    }

    pub(crate) fn object_with(&self, tail: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", &format!("/s3proxy/s3/{tail}"), headers)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its peak memory so far, bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the status of our own child");
        let line =
            status.lines().find_map(|l| l.strip_prefix("VmHWM:").or(l.strip_prefix("VmRSS:")));
        let kibibytes = line.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok());
        kibibytes.expect("a number of kB") * 1024
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        // The shell's built-in `kill`: small systems lack the program of that name.
        let command = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("a shell");
        assert!(status.success(), "{command}");
    }

    /// Waits for the process to exit; panics with the log when it does not.
    pub(crate) fn await_end(&mut self, within: Duration) -> ExitStatus {
        let Some(status) = wait(&mut self.child, within) else {
            panic!("still running after {within:?}")
        };
        self.ended = Some(status);
        self.log.until_end();
        status
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Starts reading output that was left [unread](Setup::log_unread).
    pub(crate) fn read_log(&self) {
        self.log.read();
    }

    /// Waits for a matching line, removes it from those to be checked at the end, and returns it.
    pub(crate) fn expect_log(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.log.expect(what, fits)
    }

    /// The one log line about the request of this answer.
    pub(crate) fn line_of(&self, answer: &Answer) -> Value {
        self.line_of_id(answer.request_id())
    }

    pub(crate) fn line_of_id(&self, id: &str) -> Value {
        self.expect_log(&format!("request_id {id}"), |line| {
            line["request_id"] == id && line.get("httpRequest").is_some()
        })
    }

    /// Every line so far, once everything that was logged has arrived.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.settle_log();
        self.log.lines()
    }

    /// Everything written so far, both streams.
    pub(crate) fn log_text(&self) -> String {
        self.settle_log();
        self.log.text()
    }

    /// A request whose log line proves that everything before it has been written.
    fn settle_log(&self) {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        if self.ended.is_some() {
            return;
        }
        let id = format!("settle-{:06}", SERIAL.fetch_add(1, Ordering::Relaxed));
        self.send("GET", "/no-such-route", &[("X-Request-ID", &id)]);
        self.line_of_id(&id);
    }

    /// Fails on warnings and errors that no test step expected.
    pub(crate) fn assert_log_clean(&self) {
        self.settle_log();
        let unexpected = self.log.unexpected(&self.tolerated);
        assert!(unexpected.is_empty(), "unexpected in the log: {unexpected:#?}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the gateway at {} ---\n{}", self.address, self.log.text());
        } else if self.ended.is_none() && !self.is_running() {
            self.log.until_end();
            panic!("the gateway ended by itself:\n{}", self.log.text());
        }
        let clean = if std::thread::panicking() {
            Ok(())
        } else {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if let Some(admin) = self.admin.filter(|_| self.ended.is_none()) {
                    scrape::check(admin);
                }
                self.assert_log_clean();
            }))
        };
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if !std::thread::panicking() {
            self.log.until_end();
            for line in self.log.lines() {
                canary::search("the log", &line.text);
            }
        }
        canary::count();
        if let Err(panic) = clean {
            eprintln!("--- log of the gateway at {} ---\n{}", self.address, self.log.text());
            std::panic::resume_unwind(panic);
        }
    }
}

pub(crate) fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
