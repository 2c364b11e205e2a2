//! The log: env_logger formats records, and a separate thread writes them to standard output, so that a
//! slow reader of the log never delays a request.

pub mod access;
pub mod json_line;
pub mod reasons;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::{LevelFilter, Record};

use crate::config::{LogConfig, LogFormat};
use crate::logging::access::{json_text, severity, terminal_text};
use crate::protocol::timestamp::rfc3339;

/// Limit of the log buffer, bytes; lines beyond it are dropped and counted.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Interval of writes. Waking the writer for every line would cost more than the line.
const WRITE_INTERVAL: Duration = Duration::from_millis(20);

/// The same after lines were written: a larger batch would delay requests on a single CPU.
const BUSY_WRITE_INTERVAL: Duration = Duration::from_millis(5);

/// [`LogWriter::flush`] waits this long for a reader of the log.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The buffer between log lines and the thread that writes them.
#[derive(Clone)]
pub struct LogWriter {
    buffer: Arc<Mutex<LogBuffer>>,
    format: LogFormat,
}

#[derive(Default)]
struct LogBuffer {
    lines: Vec<u8>,
    dropped: u64,
    /// Lines were taken from the buffer and are not written yet.
    writing: bool,
}

impl LogWriter {
    fn new(format: LogFormat) -> Self {
        Self { buffer: Arc::default(), format }
    }

    /// Adds a line to the buffer, or counts it if the buffer is full.
    fn push(&self, line: &[u8]) {
        let mut buffer = self.lock();
        if buffer.lines.len() + line.len() > BUFFER_BYTES {
            buffer.dropped += 1;
        } else {
            buffer.lines.extend_from_slice(line);
        }
    }

    /// Waits until all lines logged so far are written, at most a second.
    pub fn flush(&self) {
        let started = Instant::now();
        while started.elapsed() < FLUSH_TIMEOUT {
            let buffer = self.lock();
            if buffer.lines.is_empty() && buffer.dropped == 0 && !buffer.writing {
                return;
            }
            drop(buffer);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock(&self) -> MutexGuard<'_, LogBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the buffered lines, and returns whether there were any. An error of the output is ignored:
    /// the log is the only place to report it.
    fn write_buffered(&self, batch: &mut Vec<u8>, output: &mut dyn Write) -> bool {
        let mut buffer = self.lock();
        if buffer.lines.is_empty() && buffer.dropped == 0 {
            return false;
        }
        buffer.writing = true;
        std::mem::swap(&mut buffer.lines, batch);
        let dropped = std::mem::take(&mut buffer.dropped);
        drop(buffer);
        if dropped > 0 {
            batch.extend_from_slice(dropped_line(self.format, dropped, now()).as_bytes());
        }
        let _output_closed = output.write_all(batch).and_then(|()| output.flush());
        batch.clear();
        self.lock().writing = false;
        true
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The writer of the process, for lines that need no formatting.
static INSTALLED: OnceLock<LogWriter> = OnceLock::new();

/// Writes the line of a request as it is, without the logger's formatting. The caller checks first that
/// its level is logged.
pub fn access_line(mut line: String) {
    if let Some(writer) = INSTALLED.get() {
        line.push('\n');
        writer.push(line.as_bytes());
    }
}

/// Installs the logger for the whole process and starts its writer.
///
/// # Errors
/// A logger is installed already, or the thread cannot be started.
pub fn install(config: LogConfig) -> std::io::Result<LogWriter> {
    let writer = LogWriter::new(config.format);
    let written = writer.clone();
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        let mut batch = Vec::new();
        loop {
            let wrote = written.write_buffered(&mut batch, &mut std::io::stdout());
            std::thread::sleep(if wrote { BUSY_WRITE_INTERVAL } else { WRITE_INTERVAL });
        }
    })?;
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(LevelFilter::Warn)
        .filter_module("s3proxy", LevelFilter::Debug)
        // Pingora logs faults of clients and stores a second time, without our request id.
        .filter_module("pingora_proxy", LevelFilter::Off)
        // Errors about pooled connections that could not be reused; they are replaced.
        .filter_module("pingora_core::connectors", LevelFilter::Off)
        // It warns of each client that leaves without a goodbye.
        .filter_module("pingora_core::protocols::tls::rustls::server", LevelFilter::Off)
        // It warns of each name that is none, and of each message that it did not expect: any scanner can send them. Faults of
        // stores have lines of their own.
        .filter_module("rustls", LevelFilter::Off)
        // It warns when a store closes a connection just as it returns to the pool, which is no fault.
        .filter_module("pingora_pool", LevelFilter::Error)
        // It calls it an error that the other process of an upgrade is not ready yet, and tries again.
        // `pingora_core::server` logs the result.
        .filter_module("pingora_core::server::transfer_fd", LevelFilter::Off)
        // The gateway logs itself when the engine of the shared cache fails, and when it is back.
        .filter_module("fred", LevelFilter::Off)
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
            let text = terminal_text(&record.args().to_string());
            writeln!(buffer, "{time} {:<5} {}", record.level(), text.replace('\n', "\n    "))
        }),
    };
    builder.try_init().map_err(std::io::Error::other)?;
    // A reload sets another one.
    log::set_max_level(config.level);
    let _first = INSTALLED.set(writer.clone());
    Ok(writer)
}

#[expect(clippy::disallowed_methods, reason = "log lines carry the time")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn json_event(record: &Record<'_>, now: SystemTime) -> String {
    format!(
        r#"{{"timestamp":"{}","severity":"{}","logger":{},"event":{}}}"#,
        rfc3339(now),
        severity(record.level()),
        json_text(record.target()),
        json_text(&record.args().to_string()),
    )
}

fn dropped_line(format: LogFormat, dropped: u64, now: SystemTime) -> String {
    let event = format!("standard output is read too slowly: {dropped} lines were dropped");
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
    fn lines_are_written_in_order_and_dropped_lines_are_counted() {
        let mut writer = LogWriter::new(LogFormat::Production);
        let long = vec![b'x'; BUFFER_BYTES - 4];
        for line in [b"one\n", &long[..], b"two\n"] {
            writer.write_all(line).expect("writing never fails");
        }
        let (mut batch, mut output) = (Vec::new(), Vec::new());
        writer.write_buffered(&mut batch, &mut output);
        let text = String::from_utf8(output).expect("the log is UTF-8");
        assert!(text.starts_with("one\nxxx") && !text.contains("two"));
        assert!(text.contains("1 lines were dropped"));
        writer.write_all(b"three\n").expect("writing never fails");
        let mut output = Vec::new();
        writer.write_buffered(&mut batch, &mut output);
        assert_eq!(output, b"three\n", "the buffer is free again and the loss is logged once");
    }

    #[test]
    fn flush_returns_once_everything_is_written() {
        let mut writer = LogWriter::new(LogFormat::Production);
        writer.write_all(b"line\n").expect("writing never fails");
        let flusher = writer.clone();
        let flushed = std::thread::spawn(move || {
            flusher.flush();
            flusher.lock().lines.is_empty()
        });
        writer.write_buffered(&mut Vec::new(), &mut Vec::new());
        assert!(flushed.join().expect("flushing does not panic"));
    }
}
