//! The body of a store's answer that is the response of one reader.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::blocks::arriving_body::{ArrivingBody, FillingBlock};
use crate::cache::blocks::fetches::BlockFetches;

/// A body that ends when its reader leaves.
#[derive(Debug)]
pub(super) struct OwnBody {
    body: Arc<ArrivingBody>,
    /// The block that its reader is at, if one is filled.
    block: Option<FillingBlock>,
    /// The end of the bytes that its reader has read.
    position: u64,
}

impl OwnBody {
    /// The body for a reader that begins at `position`.
    pub(super) fn new(body: Arc<ArrivingBody>, position: u64) -> Self {
        Self { body, block: None, position }
    }

    /// The bytes of the object that it brings.
    pub(super) fn bytes(&self) -> &Range<u64> {
        self.body.bytes()
    }

    /// Whether blocks are filled from it now.
    pub(super) fn is_filling(&self) -> bool {
        self.body.is_filling()
    }

    /// Whether the next byte is the one at `position`, and the body has it.
    pub(super) fn is_at(&self, position: u64) -> bool {
        self.position == position && self.bytes().contains(&position)
    }

    /// The body itself.
    pub(super) fn body(&self) -> &Arc<ArrivingBody> {
        &self.body
    }

    /// Bytes, not beyond `end`; `None` if there are no more: at its end, or because the store failed.
    pub(super) async fn read(&mut self, fetches: &BlockFetches, end: u64) -> Option<Bytes> {
        loop {
            let position = self.position;
            if position >= end.min(self.bytes().end) {
                return None;
            }
            if self.block.as_ref().is_none_or(|block| !block.bytes.contains(&position)) {
                self.block = self.body.block_at(fetches, position);
            }
            let read = match &self.block {
                Some(FillingBlock { bytes, fill }) => {
                    let (offset, until) =
                        (position - bytes.start, end.min(bytes.end) - bytes.start);
                    self.body.fill_up_to(fetches, fill, offset).await;
                    fill.read(offset, until).await.ok()?
                }
                None => self.body.read_past_blocks(fetches, position, end).await,
            };
            match read {
                Some(bytes) => {
                    self.position += bytes.len() as u64;
                    return Some(bytes);
                }
                // Its block has been reserved meanwhile.
                None if self.block.is_none() && self.body.is_filling() => {}
                None => return None,
            }
        }
    }
}

impl Drop for OwnBody {
    fn drop(&mut self) {
        self.body.client_left();
    }
}
