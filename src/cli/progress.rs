//! The progress of a long command, on standard error: a line that changes on a terminal, lines at
//! intervals in a log.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cli::print_error;
use crate::terminal::progress::CommandProgress;

/// The time between two updates.
const ON_TERMINAL: Duration = Duration::from_millis(200);
const IN_LOG: Duration = Duration::from_secs(10);
/// Clears the line of the cursor (ECMA-48).
const CLEAR: &str = "\r\u{1b}[K";

/// Shows how far a command has come.
#[derive(Debug)]
pub(super) struct ProgressLine {
    started: Instant,
    is_terminal: bool,
    shown: Mutex<Instant>,
}

impl ProgressLine {
    pub(super) fn start() -> Self {
        let started = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        Self { started, is_terminal, shown: Mutex::new(started) }
    }

    /// Shows it, if the last update is long enough ago.
    pub(super) fn show(&self, done: u64, total: u64) {
        let now = Instant::now();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = if self.is_terminal { ON_TERMINAL } else { IN_LOG };
        if now.duration_since(*shown) < interval {
            return;
        }
        *shown = now;
        let progress = CommandProgress { done, total, elapsed: now.duration_since(self.started) };
        if self.is_terminal {
            print_error(&format!("{CLEAR}{}", progress.bar()));
        } else {
            print_error(&format!("{}\n", progress.text()));
        }
    }

    /// Removes the line from a terminal.
    pub(super) fn clear(&self) {
        if self.is_terminal {
            print_error(CLEAR);
        }
    }
}
