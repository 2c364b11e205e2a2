//! Blocks in flight, and why a block does not arrive.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::cache::blocks::arriving_body::ArrivingBody;
use crate::cache::blocks::object::Block;
use crate::cache::fill::FillBuffer;
use crate::cache::inflight::Fetch;
use crate::response::refusal::Refusal;
use crate::upstream::client::FetchReport;

/// The fetch of a block. It is abandoned when all its followers are gone.
pub(in crate::cache) type BlockFetch = Fetch<Arrival>;

/// The outcome of the fetch of a block.
#[derive(Debug, Clone)]
pub(in crate::cache) enum Arrival {
    /// It was on disk, and is in memory now.
    OnDisk(Arc<Block>),
    /// It was in the tier that replicas share, and is in memory now.
    Shared(Arc<Block>),
    /// It is arriving, from the byte `from` of the block on.
    Filling {
        from: u64,
        fill: Arc<FillBuffer>,
        /// The body that it is filled from, if its readers have to read that.
        body: Weak<ArrivingBody>,
    },
    Failed {
        error: BlockError,
        report: Arc<FetchReport>,
    },
}

/// Why a block does not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockError {
    /// The store has replaced or deleted the version.
    Changed,
    /// The store no longer gives the gateway access to the object.
    AccessLost,
    /// The store does not support ranges, or its responses to them name no version.
    NoRanges,
    /// The request to the store failed.
    Refused(Refusal),
    /// The body of the store's response ended early.
    Truncated,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("the object has changed in the store while it was read"),
            Self::NoRanges => f.write_str("the store does not support ranges of the object"),
            Self::AccessLost => {
                f.write_str("the store no longer gives the gateway access to the object")
            }
            Self::Refused(refusal) => {
                write!(f, "the rest of the object could not be fetched: {}", refusal.cause())
            }
            Self::Truncated => f.write_str("the body of the store's response ended early"),
        }
    }
}
