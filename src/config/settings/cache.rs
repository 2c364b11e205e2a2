//! The settings of the cache: those of the whole gateway, and the fields of a rule, which a profile
//! and a pattern may say otherwise.

use std::path::PathBuf;
use std::time::Duration;

use wildmatch::WildMatch;

use crate::config::settings::gateway::HOUR;
use crate::config::settings::{Row, Setting, Shown};
use crate::config::{CacheMemory, rules, value};

/// The longest time anything is kept, milliseconds. RFC 2616, section 14.21, asked for no more.
const YEAR: u64 = 365 * 24 * HOUR;
/// Less than this, bytes, is a unit that was forgotten.
const SMALLEST_MEMORY: u64 = 1 << 20;
/// Less than this, bytes, holds too few of the largest objects.
const SMALLEST_DISK: u64 = 64 << 20;
/// Smaller blocks cost a request to the store each for hardly more than its headers, larger ones hold
/// mostly what nobody asked for. Bytes.
const SMALLEST_BLOCK: u64 = 64 << 10;
const LARGEST_BLOCK: u64 = 16 << 20;
/// Blocks may not take more of the cache than this, percent: tiles come first.
const LARGEST_SHARE: usize = 90;
/// More than this, bytes, is a download and no read-ahead.
const LARGEST_READ_AHEAD: u64 = 256 << 20;
/// More than any machine has, bytes.
const LARGEST: u64 = 1 << 50;

pub(in crate::config) const MEMORY: Setting<CacheMemory> = Setting::new(
    "cache.memory",
    "S3PROXY_CACHE_MEMORY",
    "auto",
    rules::cache_memory::<SMALLEST_MEMORY, LARGEST>,
    "Memory for objects. `auto` is 40 % of the memory limit of the cgroup, or 256MiB without one; \
     `0` turns caching off, the disk included.",
);

pub(in crate::config) const DISK_PATH: Setting<Option<PathBuf>> = Setting::new(
    "cache.disk.path",
    "S3PROXY_CACHE_DISK_PATH",
    "null",
    value::optional_path,
    "A folder for objects that no longer fit into memory. Unset: nothing is kept on disk.",
);

pub(in crate::config) const DISK_SIZE: Setting<u64> = Setting::new(
    "cache.disk.size",
    "S3PROXY_CACHE_DISK_SIZE",
    "10GiB",
    value::size::<SMALLEST_DISK, LARGEST>,
    "How much of the disk that folder may take, from 64MiB.",
);

pub(in crate::config) const BACKGROUND_REFRESHES: Setting<usize> = Setting::new(
    "cache.background_refreshes",
    "S3PROXY_CACHE_BACKGROUND_REFRESHES",
    "64",
    value::count::<1, 10_000>,
    "How many stale objects may be asked for again in the background at once.",
);

pub(in crate::config) const BLOCKS_SIZE: Setting<u64> = Setting::new(
    "cache.blocks.size",
    "S3PROXY_CACHE_BLOCKS_SIZE",
    "1MiB",
    rules::block_size::<SMALLEST_BLOCK, LARGEST_BLOCK>,
    "The size of a block: a power of two from 64KiB to 16MiB. Of an object that is kept in blocks, \
     the store is asked for whole blocks.",
);

pub(in crate::config) const BLOCKS_SHARE: Setting<u8> = Setting::new(
    "cache.blocks.share",
    "S3PROXY_CACHE_BLOCKS_SHARE",
    "25",
    rules::percent::<LARGEST_SHARE>,
    "The percentage of `cache.memory` and of `cache.disk.size` that is for blocks, from 0 to 90; `0` \
     keeps none, and what would be kept in blocks is passed on.",
);

pub(in crate::config) const BLOCKS_READ_AHEAD: Setting<u64> = Setting::new(
    "cache.blocks.read_ahead",
    "S3PROXY_CACHE_BLOCKS_READ_AHEAD",
    "8MiB",
    value::size::<0, LARGEST_READ_AHEAD>,
    "How far beyond what a reader has asked for is fetched at most when it reads on, and the most \
     that one request asks a store for: up to 256MiB, and no less than a block. `0` fetches nothing \
     ahead, and asks for 8MiB at most.",
);

pub(in crate::config) const STORE: Setting<bool> = Setting::new(
    "cache.store",
    "S3PROXY_CACHE_STORE",
    "true",
    value::boolean,
    "Keep objects. Off, every request goes to the store.",
);

pub(in crate::config) const TTL: Setting<Duration> = Setting::new(
    "cache.ttl",
    "S3PROXY_CACHE_TTL",
    "5m",
    value::duration::<0, YEAR>,
    "How long an object is served without asking the store, unless the object's own \
     `Cache-Control` or `Expires` says so.",
);

pub(in crate::config) const NEGATIVE_TTL: Setting<Duration> = Setting::new(
    "cache.negative_ttl",
    "S3PROXY_CACHE_NEGATIVE_TTL",
    "1m",
    value::duration::<0, YEAR>,
    "How long a missing object is taken for missing without asking; `0` asks each time.",
);

pub(in crate::config) const STALE_WHILE_REVALIDATE: Setting<Duration> = Setting::new(
    "cache.stale_while_revalidate",
    "S3PROXY_CACHE_STALE_WHILE_REVALIDATE",
    "5m",
    value::duration::<0, YEAR>,
    "How long after its freshness an object is still served at once, while the store is asked in \
     the background; `0` has the client wait for the store.",
);

pub(in crate::config) const STALE_IF_ERROR: Setting<Duration> = Setting::new(
    "cache.stale_if_error",
    "S3PROXY_CACHE_STALE_IF_ERROR",
    "1d",
    value::duration::<0, YEAR>,
    "How long after its freshness an object is still served when the store fails.",
);

pub(in crate::config) const MAX_OBJECT: Setting<u64> = Setting::new(
    "cache.max_object",
    "S3PROXY_CACHE_MAX_OBJECT",
    "16MiB",
    value::size::<0, LARGEST>,
    "The largest object that is kept whole; larger ones are kept in blocks.",
);

pub(in crate::config) const CLIENT_NO_CACHE: Setting<bool> = Setting::new(
    "cache.client_no_cache",
    "S3PROXY_CACHE_CLIENT_NO_CACHE",
    "false",
    value::boolean,
    "Let a client's `Cache-Control: no-cache` have the store asked again.",
);

/// How many patterns there are; each is read by the settings below.
pub(in crate::config) const PATTERNS: Setting<usize> = Setting::new(
    "cache.patterns",
    "",
    "[]",
    rules::patterns,
    "Rules for the keys that match a pattern; the first that matches counts.",
);

pub(in crate::config) const MATCH: Setting<Option<WildMatch>> = Setting::new(
    "match",
    "",
    "null",
    rules::key_pattern,
    "The keys it is for, with `*` (also across `/`) and `?` as wildcards. Needed.",
)
.shown(Shown::Elsewhere);

/// The fields of a rule in a profile's `cache` or in a pattern. What is not said there is as around it.
pub(in crate::config) mod rule {
    use super::*;

    pub(in crate::config) const STORE: Setting<Option<bool>> = Setting::new(
        "store",
        "",
        "null",
        value::optional_boolean,
        "In place of the global `cache.store`.",
    );

    pub(in crate::config) const TTL: Setting<Option<Duration>> = Setting::new(
        "ttl",
        "",
        "null",
        value::optional_duration::<0, YEAR>,
        "In place of the global `cache.ttl`.",
    );

    pub(in crate::config) const NEGATIVE_TTL: Setting<Option<Duration>> = Setting::new(
        "negative_ttl",
        "",
        "null",
        value::optional_duration::<0, YEAR>,
        "In place of the global `cache.negative_ttl`.",
    );

    pub(in crate::config) const STALE_WHILE_REVALIDATE: Setting<Option<Duration>> = Setting::new(
        "stale_while_revalidate",
        "",
        "null",
        value::optional_duration::<0, YEAR>,
        "In place of the global `cache.stale_while_revalidate`.",
    );

    pub(in crate::config) const STALE_IF_ERROR: Setting<Option<Duration>> = Setting::new(
        "stale_if_error",
        "",
        "null",
        value::optional_duration::<0, YEAR>,
        "In place of the global `cache.stale_if_error`.",
    );

    pub(in crate::config) const MAX_OBJECT: Setting<Option<u64>> = Setting::new(
        "max_object",
        "",
        "null",
        value::optional_size::<0, LARGEST>,
        "In place of the global `cache.max_object`.",
    );

    pub(in crate::config) const CLIENT_NO_CACHE: Setting<Option<bool>> = Setting::new(
        "client_no_cache",
        "",
        "null",
        value::optional_boolean,
        "In place of the global `cache.client_no_cache`.",
    );

    /// The fields of a rule; their paths are within `cache` of a profile, or within a pattern.
    pub const ALL: &[Row] = &[
        STORE.row,
        TTL.row,
        NEGATIVE_TTL.row,
        STALE_WHILE_REVALIDATE.row,
        STALE_IF_ERROR.row,
        MAX_OBJECT.row,
        CLIENT_NO_CACHE.row,
    ];
}

/// What a pattern has besides the fields of a rule.
pub const PATTERN: &[Row] = &[MATCH.row];
