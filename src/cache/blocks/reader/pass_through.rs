//! Bytes of an object that pass through to one client, because there is no room for their blocks.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use crate::cache::blocks::arrival::BlockError;
use crate::cache::blocks::range_fetch::{RangeBody, RangeResult};
use crate::cache::blocks::reader::counts::count;
use crate::cache::blocks::reader::{BlockReader, OpenError};
use crate::upstream::client::Body;

/// A range that passes through.
#[derive(Debug)]
pub(super) struct PassThrough {
    body: Body,
    position: u64,
    end: u64,
    /// Bytes before `position` that come first, from a store that does not support ranges.
    skip: u64,
}

impl PassThrough {
    /// Whether the next byte is the one at `position`.
    pub(super) fn is_at(&self, position: u64) -> bool {
        self.position == position
    }

    /// Bytes, not beyond `end`; `None` if there are no more, for whatever reason.
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

impl BlockReader {
    /// Requests the next bytes of a range for this reader alone: at most one request of the largest
    /// size, after which blocks are tried again.
    pub(super) async fn begin_pass_through(
        &mut self,
        position: u64,
        end: u64,
    ) -> Result<(), OpenError> {
        self.put_all_back();
        let layout = self.blocks.layout;
        let last = layout.index(position).saturating_add(self.max_window - 1);
        let end = end.min(layout.bytes(last).end.max(position + 1));
        let blocks = layout.touched(&(position..end));
        count(&self.counter.store, blocks.end - blocks.start);
        self.fetches.tiers.statistics().direct_reads.count();
        let range = position..end;
        let (fetches, queue_timeout) = (&self.fetches, self.queue_timeout());
        let RangeResult { report, outcome } =
            fetches.fetch_range(&self.request, &self.blocks, &range, queue_timeout).await;
        match outcome {
            Ok(RangeBody { start, body }) => {
                let skip = position.saturating_sub(start);
                if skip > 0 {
                    fetches.note_error(&self.request, &self.blocks, &BlockError::NoRanges);
                }
                // The body is read to its end, since a further request would bring it all again.
                let end = if skip > 0 { self.end } else { end };
                self.pass_through = Some(PassThrough { body, position, end, skip });
                Ok(())
            }
            Err(error) => {
                fetches.note_error(&self.request, &self.blocks, &error);
                Err(OpenError { error, report: Some(Arc::new(report)) })
            }
        }
    }

    /// Whether the response begins with bytes that pass through, which are not stored.
    #[must_use]
    pub fn is_pass_through(&self) -> bool {
        self.pass_through.is_some()
    }
}
