//! Whether a client still acknowledges the bytes that wait for it. One that has vanished does not. One that
//! reads slowly does, a little at a time, although a write waits long for room: `TCP_USER_TIMEOUT` of Linux
//! would end its connection as well, because the window of a small receive buffer is closed most of the time.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;

use crate::downstream::timer::Timer;

/// The connection is looked at this often in the time that it may take.
const LOOKS: u32 = 8;

/// Follows how many bytes a client has acknowledged while a write waits for it.
pub(super) struct Acknowledgements {
    timeout: Duration,
    change: Option<LastChange>,
    timer: Timer,
}

/// What was seen since the write began to wait.
#[derive(Debug)]
struct LastChange {
    /// Bytes acknowledged in the life of the connection; unknown before the first look.
    acknowledged: Option<u64>,
    /// When that number was seen first.
    since: Instant,
    looked: Instant,
}

impl LastChange {
    fn new(now: Instant) -> Self {
        Self { acknowledged: None, since: now, looked: now }
    }

    /// Notes the number. Returns for how long it has been the same.
    fn note(&mut self, acknowledged: u64, now: Instant) -> Duration {
        self.looked = now;
        if self.acknowledged.replace(acknowledged) != Some(acknowledged) {
            self.since = now;
        }
        now.saturating_duration_since(self.since)
    }
}

impl Acknowledgements {
    /// Those of a client that may acknowledge nothing for this long.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, change: None, timer: Timer::default() }
    }

    /// No write waits.
    pub(super) fn reset(&mut self) {
        self.change = None;
    }

    /// A write waits. Ready when the client has acknowledged nothing for too long.
    pub(super) fn poll_stopped(&mut self, stream: &Stream, context: &mut Context<'_>) -> Poll<()> {
        let change = self.change.get_or_insert_with(|| LastChange::new(Instant::now()));
        loop {
            ready!(self.timer.poll(context, change.looked + self.timeout / LOOKS));
            // Systems without this number have the write timeout.
            let socket = stream.get_socket_digest();
            let Some(info) = socket.and_then(|socket| socket.tcp_info()) else {
                return Poll::Pending;
            };
            if change.note(info.tcpi_bytes_acked, Instant::now()) >= self.timeout {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_without_any_progress_counts() {
        let began = Instant::now();
        let mut change = LastChange::new(began);
        let secs = Duration::from_secs;
        for (at, acknowledged, stopped) in [
            (2, 1000, 0),
            (5, 1000, 3),
            (7, 1001, 0),
            (26, 1001, 19),
            (27, 1002, 0),
            (47, 1002, 20),
        ] {
            assert_eq!(change.note(acknowledged, began + secs(at)), secs(stopped), "{at}");
        }
    }
}
