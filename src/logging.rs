//! The log: env_logger formatting records, and a thread of its own writing them to standard
//! output, so that a slow reader of the log never holds up a request.

pub mod access;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::{LevelFilter, Record};

use crate::config::{LogConfig, LogFormat};
use crate::logging::access::severity;
use crate::protocol::timestamp::rfc3339;

/// How much may wait to be written, bytes; beyond it lines are dropped and counted.
const WAITING_BYTES: usize = 4 * 1024 * 1024;

/// How often lines are looked for. Waking the writer for every line would cost more than the line.
const WRITE_EVERY: Duration = Duration::from_millis(20);

/// The same after lines were written: many lines at once would hold up requests on a single CPU.
const WRITE_AGAIN: Duration = Duration::from_millis(5);

/// How long [`LogWriter::flush`] waits for a reader of the log.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Where log lines wait for the thread that writes them.
#[derive(Clone)]
pub struct LogWriter {
    waiting: Arc<Mutex<Waiting>>,
    format: LogFormat,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: u64,
    /// Lines were taken out and are not written yet.
    writing: bool,
}

impl LogWriter {
    fn new(format: LogFormat) -> Self {
        Self { waiting: Arc::default(), format }
    }

    /// Waits until what was logged so far is written, at most a second.
    pub fn flush(&self) {
        let started = Instant::now();
        while started.elapsed() < FLUSH_PATIENCE {
            let waiting = self.lock();
            if waiting.lines.is_empty() && waiting.dropped == 0 && !waiting.writing {
                return;
            }
            drop(waiting);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits. Nobody can be told of an output that fails.
    /// Returns whether there was anything.
    fn write_waiting(&self, batch: &mut Vec<u8>, output: &mut dyn Write) -> bool {
        let mut waiting = self.lock();
        if waiting.lines.is_empty() && waiting.dropped == 0 {
            return false;
        }
        waiting.writing = true;
        std::mem::swap(&mut waiting.lines, batch);
        let dropped = std::mem::take(&mut waiting.dropped);
        drop(waiting);
        if dropped > 0 {
            batch.extend_from_slice(dropped_line(self.format, dropped, now()).as_bytes());
        }
        let _nobody_to_tell = output.write_all(batch).and_then(|()| output.flush());
        batch.clear();
        self.lock().writing = false;
        true
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > WAITING_BYTES {
            waiting.dropped += 1;
        } else {
            waiting.lines.extend_from_slice(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The writer of the process, for lines that are whole.
static INSTALLED: OnceLock<LogWriter> = OnceLock::new();

/// Writes the line of a request as it is, past the logger's formatting. Ask first whether its level
/// is logged.
pub fn access_line(mut line: String) {
    if let Some(mut writer) = INSTALLED.get().cloned() {
        line.push('\n');
        let _always_taken = writer.write_all(line.as_bytes());
    }
}

/// Installs the logger for the whole process and starts its writer.
///
/// # Errors
/// When a logger is installed already or no thread can be started.
pub fn install(config: LogConfig) -> std::io::Result<LogWriter> {
    let writer = LogWriter::new(config.format);
    let written = writer.clone();
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        let mut batch = Vec::new();
        loop {
            let wrote = written.write_waiting(&mut batch, &mut std::io::stdout());
            std::thread::sleep(if wrote { WRITE_AGAIN } else { WRITE_EVERY });
        }
    })?;
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(config.level.min(LevelFilter::Warn))
        .filter_module("s3proxy", config.level)
        // Pingora reports what clients and stores do wrong once more, without our request id.
        .filter_module("pingora_proxy", LevelFilter::Off)
        // Errors about kept connections that could not be used again; they are replaced.
        .filter_module("pingora_core::connectors", LevelFilter::Off)
        // It warns when a store closes a kept connection just as it is put away, which is no fault.
        .filter_module("pingora_pool", config.level.min(LevelFilter::Error))
        .target(env_logger::Target::Pipe(Box::new(writer.clone())));
    match config.format {
        LogFormat::Production => builder.format(|buffer, record| {
            if record.target() == access::TARGET {
                return writeln!(buffer, "{}", record.args());
            }
            writeln!(buffer, "{}", json_event(record, now()))
        }),
        LogFormat::Development => builder.format(|buffer, record| {
            let time = rfc3339(now());
            let time = time.get(11..23).unwrap_or(&time);
            let text = record.args().to_string();
            writeln!(buffer, "{time} {:<5} {}", record.level(), text.replace('\n', "\n    "))
        }),
    };
    builder.try_init().map_err(std::io::Error::other)?;
    let _first = INSTALLED.set(writer.clone());
    Ok(writer)
}

#[expect(clippy::disallowed_methods, reason = "the log says when its lines were written")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn json_event(record: &Record<'_>, now: SystemTime) -> String {
    serde_json::json!({
        "timestamp": rfc3339(now),
        "severity": severity(record.level()),
        "logger": record.target(),
        "event": record.args().to_string(),
    })
    .to_string()
}

fn dropped_line(format: LogFormat, dropped: u64, now: SystemTime) -> String {
    let event = format!("the reader of the log is too slow: {dropped} lines were dropped");
    match format {
        LogFormat::Development => format!("{} WARN  {event}\n", rfc3339(now)),
        LogFormat::Production => {
            let line = serde_json::json!({
                "timestamp": rfc3339(now),
                "severity": "warning",
                "logger": "s3proxy",
                "event": event,
            });
            format!("{line}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_order_and_losses_are_told() {
        let mut writer = LogWriter::new(LogFormat::Production);
        let long = vec![b'x'; WAITING_BYTES - 4];
        for line in [b"one\n", &long[..], b"two\n"] {
            writer.write_all(line).expect("lines are always taken");
        }
        let (mut batch, mut output) = (Vec::new(), Vec::new());
        writer.write_waiting(&mut batch, &mut output);
        let text = String::from_utf8(output).expect("the log is UTF-8");
        assert!(text.starts_with("one\nxxx") && !text.contains("two"));
        assert!(text.contains("1 lines were dropped"));
        writer.write_all(b"three\n").expect("lines are always taken");
        let mut output = Vec::new();
        writer.write_waiting(&mut batch, &mut output);
        assert_eq!(output, b"three\n", "room is made and the loss is told once");
    }

    #[test]
    fn flush_returns_once_everything_is_written() {
        let mut writer = LogWriter::new(LogFormat::Production);
        writer.write_all(b"line\n").expect("lines are always taken");
        let flusher = writer.clone();
        let flushed = std::thread::spawn(move || {
            flusher.flush();
            flusher.lock().lines.is_empty()
        });
        writer.write_waiting(&mut Vec::new(), &mut Vec::new());
        assert!(flushed.join().expect("flushing does not panic"));
    }
}
