//! The slow start of a response whose client has not said how far it will read. A player or a PDF reader
//! requests everything from a place on, reads a little, and leaves: what fills the buffers of its connection
//! meanwhile is requested from the store for nothing. So the store's bytes are passed on in amounts that
//! double every few milliseconds, until the response is at full speed.

use std::time::{Duration, Instant};

/// Bytes that are passed on at once.
const FIRST: u64 = 64 << 10;
/// The time in which that amount doubles.
const STEP: Duration = Duration::from_millis(2);
/// The number of steps after which there is no limit.
const STEPS: u32 = 12;

/// The pace of one response.
#[derive(Debug)]
pub(super) struct SlowStart {
    /// When the response began; `None` at full speed.
    began: Option<Instant>,
}

impl SlowStart {
    /// The pace of a response that begins now.
    pub(super) fn new(is_open: bool) -> Self {
        Self { began: is_open.then(Instant::now) }
    }

    /// Waits until a response that has got `sent` bytes may get more from the store.
    pub(super) async fn wait(&mut self, sent: u64) {
        let Some(began) = self.began else { return };
        match pause(sent, began.elapsed()) {
            Some(pause) if pause.is_zero() => {}
            Some(pause) => tokio::time::sleep(pause).await,
            None => self.began = None,
        }
    }
}

/// How long a response waits that has got `sent` bytes since it began; `None` at full speed.
fn pause(sent: u64, elapsed: Duration) -> Option<Duration> {
    if elapsed >= STEP * STEPS {
        return None;
    }
    let due = (0..STEPS).find(|step| sent < FIRST << step).map(|step| STEP * step);
    Some(due.unwrap_or(STEP * STEPS).saturating_sub(elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_doubles_with_each_step() {
        let millis = Duration::from_millis;
        for (sent, elapsed, expected) in [
            (0, 0, Some(0)),
            (FIRST - 1, 0, Some(0)),
            (FIRST, 0, Some(2)),
            (FIRST, 1, Some(1)),
            (FIRST, 2, Some(0)),
            (2 * FIRST, 2, Some(2)),
            (64 * FIRST, 0, Some(14)),
            (1 << 40, 0, Some(24)),
            (1 << 40, 24, None),
            (0, 25, None),
        ] {
            assert_eq!(
                pause(sent, millis(elapsed)),
                expected.map(millis),
                "{sent} after {elapsed} ms"
            );
        }
    }
}
