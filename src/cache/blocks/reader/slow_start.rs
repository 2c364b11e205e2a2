//! The slow start of a response whose client has not said how far it will read. A player or a PDF reader
//! requests everything from a place on, reads a little, and leaves: what fills the buffers of its connection
//! meanwhile is requested from the store for nothing. So the store's bytes are passed on in amounts that
//! double every few milliseconds, until the response is at full speed.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cache::blocks::reader::{BlockReader, PendingBlock};

/// Bytes that are passed on at once.
const FIRST: u64 = 64 << 10;
/// The time in which that amount doubles.
const STEP: Duration = Duration::from_millis(2);
/// The number of steps after which there is no limit.
const STEPS: u32 = 12;

/// Bytes that a response gets after a pause, if it has to wait before more are requested from the store: if
/// its client has left meanwhile, it is this write that fails. More than a connection buffers.
const AFTER_PAUSE: usize = 8 << 10;

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

    /// Whether the response is not yet at full speed.
    pub(super) fn is_slow(&mut self) -> bool {
        self.began = self.began.filter(|began| began.elapsed() < STEP * STEPS);
        self.began.is_some()
    }

    /// How long a response that has got `sent` bytes waits before it gets more from the store.
    pub(super) fn pause(&self, sent: u64) -> Duration {
        self.began.map_or(Duration::ZERO, |began| pause(sent, began.elapsed()))
    }

    /// How long it is until the response is at full speed.
    pub(super) fn rest(&self) -> Duration {
        self.pause(u64::MAX)
    }
}

impl BlockReader {
    /// Puts the last of these bytes aside, if the response has to wait after them.
    pub(super) fn split_before_pause(
        &mut self,
        position: u64,
        end: u64,
        mut bytes: Bytes,
    ) -> Bytes {
        let next = position + bytes.len() as u64;
        let at = bytes.len().saturating_sub(AFTER_PAUSE);
        if at >= AFTER_PAUSE && next < end && !self.pause_before(next).is_zero() {
            self.after_pause = Some((position + at as u64, bytes.split_off(at)));
        }
        bytes
    }

    pub(super) async fn pause_at(&mut self, position: u64) {
        let pause = self.pause_before(position);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// How long the response waits before it gets the bytes from `position` on, which follow those read
    /// last.
    fn pause_before(&mut self, position: u64) -> Duration {
        if !self.pace.is_slow() {
            return Duration::ZERO;
        }
        let sent = position.saturating_sub(self.start);
        if self.own_body.is_none() {
            self.extend_window();
            let index = self.layout.index(position);
            let block = self.pending.iter().take(2).find(|(at, _)| *at == index);
            match block {
                Some((_, PendingBlock::Cached(_))) => return Duration::ZERO,
                Some((_, PendingBlock::InFlight { .. } | PendingBlock::Filling { .. })) => {}
                // A client that has left here before has what it read then, and leaves again.
                Some((_, PendingBlock::Gap(..))) | None if sent > 0 => return self.pace.rest(),
                Some((_, PendingBlock::Gap(..))) | None => {}
            }
        }
        self.pace.pause(sent)
    }
}

/// How long a response waits that has got `sent` bytes since it began.
fn pause(sent: u64, elapsed: Duration) -> Duration {
    let due = (0..STEPS).find(|step| sent < FIRST << step).map(|step| STEP * step);
    due.unwrap_or(STEP * STEPS).saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_doubles_with_each_step() {
        let millis = Duration::from_millis;
        for (sent, elapsed, expected) in [
            (0, 0, 0),
            (FIRST - 1, 0, 0),
            (FIRST, 0, 2),
            (FIRST, 1, 1),
            (FIRST, 2, 0),
            (2 * FIRST, 2, 2),
            (64 * FIRST, 0, 14),
            (1 << 40, 0, 24),
            (1 << 40, 24, 0),
            (u64::MAX, 25, 0),
        ] {
            assert_eq!(pause(sent, millis(elapsed)), millis(expected), "{sent} after {elapsed} ms");
        }
    }
}
