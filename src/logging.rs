//! The log: env_logger formatting records, and a thread of its own writing them to standard
//! output, so that a slow reader of the log never holds up a request.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use log::{LevelFilter, Record};

use crate::access_log::{self, severity, timestamp};
use crate::config::{LogConfig, LogFormat};

/// How many lines may wait; beyond them lines are dropped and counted.
const QUEUE_LINES: usize = 8192;

/// How much the writer gathers before it writes, bytes.
const BATCH_BYTES: usize = 64 * 1024;

enum Message {
    Line(Vec<u8>),
    /// Write everything before this, then say so.
    Flush(SyncSender<()>),
}

/// Keeps the log's writer; see [`LogWriter::flush`].
#[derive(Clone)]
pub struct LogWriter {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    /// Waits until what was logged so far is written, at most a second.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _in_time = written.recv_timeout(Duration::from_secs(1));
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Line(line.to_vec())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Installs the logger for the whole process and starts its writer.
///
/// # Errors
/// When a logger is installed already or no thread can be started.
pub fn install(config: LogConfig) -> std::io::Result<LogWriter> {
    let (queue, lines) = sync_channel(QUEUE_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = LogWriter { queue, dropped: Arc::clone(&dropped) };
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&lines, &dropped, &mut std::io::stdout()))?;
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(config.level.min(LevelFilter::Warn))
        .filter_module("s3proxy", config.level)
        // Pingora reports what clients and stores do wrong once more, without our request id.
        .filter_module("pingora_proxy", LevelFilter::Off)
        .target(env_logger::Target::Pipe(Box::new(writer.clone())));
    match config.format {
        LogFormat::Production => builder.format(|buffer, record| {
            if record.target() == access_log::TARGET {
                return writeln!(buffer, "{}", record.args());
            }
            writeln!(buffer, "{}", json_event(record, now()))
        }),
        LogFormat::Development => builder.format(|buffer, record| {
            let time = timestamp(now());
            let time = time.get(11..23).unwrap_or(&time);
            let text = record.args().to_string();
            writeln!(buffer, "{time} {:<5} {}", record.level(), text.replace('\n', "\n    "))
        }),
    };
    builder.try_init().map_err(std::io::Error::other)?;
    Ok(writer)
}

#[expect(clippy::disallowed_methods, reason = "the log says when its lines were written")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn json_event(record: &Record<'_>, now: SystemTime) -> String {
    serde_json::json!({
        "timestamp": timestamp(now),
        "severity": severity(record.level()),
        "logger": record.target(),
        "event": record.args().to_string(),
    })
    .to_string()
}

/// Writes lines in batches until the last sender is gone. Nobody can be told of an output that
/// fails, so errors end nothing.
fn write_lines(lines: &Receiver<Message>, dropped: &AtomicU64, output: &mut dyn Write) {
    let mut batch: Vec<u8> = Vec::with_capacity(BATCH_BYTES);
    let mut waiting = Vec::new();
    while let Ok(message) = lines.recv() {
        let mut next = Some(message);
        while let Some(message) = next {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::Flush(done) => waiting.push(done),
            }
            next = if batch.len() < BATCH_BYTES { lines.try_recv().ok() } else { None };
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            batch.extend_from_slice(lost_line(lost).as_bytes());
        }
        let _nobody_to_tell = output.write_all(&batch).and_then(|()| output.flush());
        batch.clear();
        for done in waiting.drain(..) {
            let _nobody_waits = done.try_send(());
        }
    }
}

fn lost_line(lost: u64) -> String {
    let line = serde_json::json!({
        "severity": "warning",
        "logger": "s3proxy::logging",
        "event": format!("the reader of the log is too slow: {lost} lines were dropped"),
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_order_and_losses_are_told() {
        let (queue, lines) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = LogWriter { queue, dropped: Arc::clone(&dropped) };
        for line in ["one\n", "two\n", "three\n"] {
            writer.write_all(line.as_bytes()).expect("writing to the queue cannot fail");
        }
        drop(writer);
        let mut output = Vec::new();
        write_lines(&lines, &dropped, &mut output);
        let text = String::from_utf8(output).expect("the log is UTF-8");
        assert!(text.starts_with("one\ntwo\n{"), "{text}");
        assert!(text.contains("1 lines were dropped"), "{text}");
    }

    #[test]
    fn flush_waits_for_the_writer() {
        let (queue, lines) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = LogWriter { queue, dropped: Arc::clone(&dropped) };
        writer.write_all(b"line\n").expect("writing to the queue cannot fail");
        let flusher = writer.clone();
        let flushed = std::thread::spawn(move || LogWriter::flush(&flusher));
        let mut output = Vec::new();
        drop(writer);
        write_lines(&lines, &dropped, &mut output);
        flushed.join().expect("flushing does not panic");
        assert_eq!(output, b"line\n");
    }
}
