//! The slow start of a response whose client has not said how far it will read. A player or a PDF reader
//! requests everything from a place on, reads a little, and leaves: what fills the buffers of its connection
//! meanwhile is requested from the store for nothing. So more is taken from the store only when the client
//! has taken most of what it was sent, until it has proved to read on. A clock alone would not do: a client
//! on a busy machine leaves late.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cache::blocks::reader::{BlockReader, PendingBlock};
use crate::downstream::client_socket::ClientSocket;

/// Bytes of a response after which it is at full speed.
const SLOW: u64 = 4 << 20;
/// Bytes that may wait for the client while more are taken from the store, or this part of those that it
/// was sent.
const WAITING: u64 = 32 << 10;
const PART: u64 = 16;
/// The first time between two looks at the connection, and the longest.
const LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(4);
/// How long a response waits at a gap after cached bytes, at least: the buffers of a connection may have room
/// for all of them.
const AT_GAP: Duration = Duration::from_millis(50);
/// A client that takes nothing for this long gets the next bytes into the buffers of its connection.
const LONGEST: Duration = Duration::from_secs(2);
/// The last bytes before more are taken from the store are sent after the wait: if the client has left, it is
/// this write that fails. More than a connection buffers.
const HELD_BACK: usize = 8 << 10;

/// The slow start of one response.
#[derive(Debug)]
pub(super) struct SlowStart {
    is_open: bool,
    /// The connection of its client, if it is known.
    client: Option<ClientSocket>,
}

impl SlowStart {
    /// That of a response whose client has named no end (`is_open`); others are at full speed.
    pub(super) fn new(is_open: bool) -> Self {
        Self { is_open, client: None }
    }

    /// Whether a response that has got `sent` bytes is not yet at full speed.
    fn is_slow(&self, sent: u64) -> bool {
        self.client.is_some() && sent < SLOW
    }

    /// Waits until no more than `most` bytes wait for the client, or it has left; at a gap (0) for a while
    /// in any case.
    async fn wait(&self, most: u64) {
        let Some(client) = &self.client else { return };
        let (began, mut look) = (Instant::now(), LOOK);
        while let Some(backlog) = client.backlog() {
            let waited = began.elapsed();
            let has_taken = backlog.unsent <= most && (most > 0 || waited >= AT_GAP);
            if backlog.has_left || has_taken || waited >= LONGEST {
                return;
            }
            tokio::time::sleep(look).await;
            look = (2 * look).min(LONGEST_LOOK);
        }
    }
}

impl BlockReader {
    /// Looks at the connection of its client from now on.
    pub fn watch(&mut self, client: ClientSocket) {
        self.pace.client = Some(client).filter(|_| self.pace.is_open);
    }

    /// Holds the last of these bytes back, if the next ones are not in memory.
    pub(super) fn hold_back(&mut self, position: u64, end: u64, mut bytes: Bytes) -> Bytes {
        let next = position + bytes.len() as u64;
        let at = bytes.len().saturating_sub(HELD_BACK);
        if at >= HELD_BACK && next < end && self.most_waiting(next).is_some() {
            self.held_back = Some((position + at as u64, bytes.split_off(at)));
        }
        bytes
    }

    /// Waits until its client has taken enough of the bytes before `position`.
    pub(super) async fn wait_for_client(&mut self, position: u64) {
        if let Some(most) = self.most_waiting(position) {
            self.pace.wait(most).await;
        }
    }

    /// How many bytes may wait for the client when the response gets those from `position` on, which follow
    /// those read last; `None` for any number.
    fn most_waiting(&mut self, position: u64) -> Option<u64> {
        let sent = position.saturating_sub(self.start);
        if sent == 0 || !self.pace.is_slow(sent) {
            return None;
        }
        if self.own_body.is_none() {
            self.extend_window();
            let index = self.layout.index(position);
            let block = self.pending.iter().take(2).find(|(at, _)| *at == index);
            match block {
                Some((_, PendingBlock::Cached(_))) => return None,
                Some((_, PendingBlock::InFlight { .. } | PendingBlock::Filling { .. })) => {}
                // The store is to be asked. A client that has left here before leaves again.
                Some((_, PendingBlock::Gap(..))) | None => return Some(0),
            }
        }
        Some(most(sent))
    }
}

/// How many of `sent` bytes may wait for the client.
fn most(sent: u64) -> u64 {
    WAITING.max(sent / PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_wait_grows_with_what_was_sent() {
        for (sent, waiting) in
            [(1, 32 << 10), (512 << 10, 32 << 10), (1 << 20, 64 << 10), (4 << 20, 256 << 10)]
        {
            assert_eq!(most(sent), waiting, "{sent}");
        }
    }
}
