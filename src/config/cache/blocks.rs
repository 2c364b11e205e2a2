//! The settings of blocks, and warnings of blocks that do not fit.

use crate::config::layers::{Layers, Location, Reported};
use crate::config::problem::ValueSource;
use crate::config::settings::cache::{blocks, tiers};
use crate::config::value::size_text;
use crate::config::{BlocksConfig, CacheMemory};

/// A tier does not admit an entry larger than this fraction of the tier.
const LARGEST_FRACTION: u64 = 3;

/// Reads the settings of blocks. `memory` is the memory of the whole cache.
pub(super) fn blocks(
    layers: &mut Layers<'_>,
    memory: CacheMemory,
) -> Result<BlocksConfig, Reported> {
    let blocks = BlocksConfig::read(layers, &Location::default())?;
    if (1..blocks.size).contains(&blocks.read_ahead) {
        let (first, second) = (blocks::read_ahead().row, blocks::size().row);
        let message = format!(
            "{} ({}) must be 0, or at least one block ({}, {})",
            first.path,
            size_text(blocks.read_ahead),
            second.path,
            size_text(blocks.size)
        );
        layers.report.contradiction(&first, &second, &message);
    }
    if let CacheMemory::Bytes(memory) = memory {
        warn_of_large(layers, &blocks, memory);
    }
    Ok(blocks)
}

/// Blocks that never fit, or evict each other before they are read. A warning only: responses are
/// right, and the disk tier may have room for the blocks.
fn warn_of_large(layers: &mut Layers<'_>, config: &BlocksConfig, memory: u64) {
    // Without room for blocks, none are requested.
    let room = memory.saturating_mul(u64::from(config.share)) / 100;
    if room == 0 {
        return;
    }
    let (size, share) = (blocks::size().row.path, blocks::share().row.path);
    let read_ahead = blocks::read_ahead().row.path;
    let is_written =
        |layers: &Layers<'_>, key: &str| layers.report.source(key) != ValueSource::Default;
    let of_memory = format!(
        "the {} % of {}, {}, that blocks may use",
        config.share,
        tiers::memory().row.path,
        size_text(memory)
    );
    if config.size > room / LARGEST_FRACTION
        && (is_written(layers, size) || is_written(layers, share))
    {
        let message = format!(
            "{size} is {}, more than a third of {of_memory}: no block will be cached in memory",
            size_text(config.size)
        );
        layers.report.warnings.push(message);
    } else if config.read_ahead > room && is_written(layers, read_ahead) {
        let message = format!(
            "{read_ahead} is {}, more than {of_memory}: prefetched blocks may be evicted before \
             they are read",
            size_text(config.read_ahead)
        );
        layers.report.warnings.push(message);
    }
}
