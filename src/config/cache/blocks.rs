//! How objects too large to be kept whole are kept in part.

use crate::config::layers::{Layers, Reported};
use crate::config::problem::Source;
use crate::config::settings::cache as settings;
use crate::config::value::size_text;
use crate::config::{BlocksConfig, CacheMemory};

/// An entry above this part of a tier is not kept there.
const LARGEST_PART: u64 = 3;

/// Reads the settings of blocks. `memory` is that of the whole cache, where it could be read.
pub(super) fn blocks(
    layers: &mut Layers<'_>,
    memory: Result<CacheMemory, Reported>,
) -> Result<BlocksConfig, Reported> {
    let size = layers.read(&settings::BLOCKS_SIZE);
    let share = layers.read(&settings::BLOCKS_SHARE);
    let read_ahead = layers.read(&settings::BLOCKS_READ_AHEAD);
    let blocks = BlocksConfig { size: size?, share: share?, read_ahead: read_ahead? };
    if (1..blocks.size).contains(&blocks.read_ahead) {
        let (first, second) = (&settings::BLOCKS_READ_AHEAD.row, &settings::BLOCKS_SIZE.row);
        let message = format!(
            "{} ({}) must be 0, or no less than a block ({}, {})",
            first.path,
            size_text(blocks.read_ahead),
            second.path,
            size_text(blocks.size)
        );
        return Err(layers.report.contradiction(first, second, &message));
    }
    if let Ok(CacheMemory::Bytes(memory)) = memory {
        warn_of_large(layers, &blocks, memory);
    }
    Ok(blocks)
}

/// Blocks that never fit, or push each other out before they are read. No mistake: every answer is
/// right all the same, and a disk may hold what the memory cannot.
fn warn_of_large(layers: &mut Layers<'_>, blocks: &BlocksConfig, memory: u64) {
    // What is left for blocks; none is asked for where this is nothing.
    let room = memory.saturating_mul(u64::from(blocks.share)) / 100;
    if room == 0 {
        return;
    }
    let (size, share) = (settings::BLOCKS_SIZE.row.path, settings::BLOCKS_SHARE.row.path);
    let read_ahead = settings::BLOCKS_READ_AHEAD.row.path;
    let is_written = |layers: &Layers<'_>, key: &str| layers.report.source(key) != Source::Default;
    let of_memory = format!(
        "the {} % of {}, {}, that blocks have",
        blocks.share,
        settings::MEMORY.row.path,
        size_text(memory)
    );
    if blocks.size > room / LARGEST_PART && (is_written(layers, size) || is_written(layers, share))
    {
        let message = format!(
            "{size} is {}, more than a third of {of_memory}: no block will be kept in memory",
            size_text(blocks.size)
        );
        layers.report.warnings.push(message);
    } else if blocks.read_ahead > room && is_written(layers, read_ahead) {
        let message = format!(
            "{read_ahead} is {}, more than {of_memory}: what is fetched ahead may be pushed out \
             before it is read",
            size_text(blocks.read_ahead)
        );
        layers.report.warnings.push(message);
    }
}
