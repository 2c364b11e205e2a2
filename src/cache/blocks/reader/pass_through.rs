//! Bytes of an object that pass through to one client, because there is no room for their blocks.

use bytes::{Buf as _, Bytes};

use crate::upstream::client::StoreBody;

/// A range that passes through.
#[derive(Debug)]
pub(super) struct PassThrough {
    body: StoreBody,
    position: u64,
    end: u64,
    /// Bytes before `position` that come first, from a store that does not support ranges.
    skip: u64,
}

impl PassThrough {
    /// Bytes from `position` to `end`, after `skip` others.
    pub(super) fn new(body: StoreBody, position: u64, end: u64, skip: u64) -> Self {
        Self { body, position, end, skip }
    }

    /// Whether the next byte is the one at `position`.
    pub(super) fn is_at(&self, position: u64) -> bool {
        self.position == position
    }

    /// Bytes, not beyond `end`; `None` if there are no more: at the end, or because the store failed.
    pub(super) async fn read(&mut self, end: u64) -> Option<Bytes> {
        loop {
            let left = self.end.min(end).saturating_sub(self.position);
            if left == 0 {
                return None;
            }
            let mut bytes = self.body.next().await.ok()??;
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(skipped);
            self.skip -= skipped as u64;
            // A store that does not support ranges sends more than the range.
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if !bytes.is_empty() {
                self.position += bytes.len() as u64;
                return Some(bytes);
            }
        }
    }
}
