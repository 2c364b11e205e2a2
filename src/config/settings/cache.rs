//! The settings of the cache: its tiers, and its rules. A profile or a pattern may override a rule.

use std::path::PathBuf;
use std::time::Duration;

use wildmatch::WildMatch;

use crate::config::CacheMemory;
use crate::config::engine_url::EngineUrl;
use crate::config::kind::{self, Kind};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::settings::row::{Row, Setting, Shown};
use crate::config::value::DAY;
use crate::profile::globs::Globs;

/// The longest lifetime of anything in the cache, milliseconds. RFC 2616, section 14.21, asked for no
/// more.
const YEAR: u64 = 365 * DAY;
/// A smaller memory, bytes, is a forgotten unit.
const MIN_MEMORY: u64 = 1 << 20;
/// A smaller disk, bytes, has room for too few of the largest objects.
const MIN_DISK: u64 = 64 << 20;
/// A request for a smaller block, bytes, costs more than the block.
const MIN_BLOCK: u64 = 64 << 10;
/// Most of a larger block, bytes, is never requested.
const MAX_BLOCK: u64 = 16 << 20;
/// Percent of the cache for blocks: the rest is for tiles.
const MAX_SHARE: usize = 90;
/// Percent of the memory for pinned objects: the rest has to hold what clients request now.
const MAX_PIN_SHARE: usize = 50;
/// More, bytes, is a download and no read-ahead.
const MAX_READ_AHEAD: u64 = 256 << 20;
/// The engine is busy with one value at a time: a larger one, bytes, would delay all others.
const MAX_SHARED_OBJECT: u64 = 64 << 20;
/// More than any machine has, bytes.
const MAX_SIZE: u64 = 1 << 50;

settings! {
    /// The settings of all tiers, as written.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::config) struct WrittenTiers, tiers at "cache." {
        memory: CacheMemory {
            kind: kind::memory::<MIN_MEMORY, MAX_SIZE>(),
            variable: "S3PROXY_CACHE_MEMORY",
            default: "auto",
            text: "Memory for cached objects. `auto` is 40 % of the memory limit of the cgroup (at most half of what is left after 8KiB for each of `downstream.max_connections`, or 48KiB where clients may use HTTP/2), or 256MiB without a limit. `0` turns the cache off, including its disk tier.",
        }
        archive_directories: u64 {
            kind: kind::size::<u64, MIN_MEMORY, MAX_SIZE>(),
            variable: "S3PROXY_CACHE_ARCHIVE_DIRECTORIES",
            default: "64MiB",
            text: "Memory for the directories of archives (`archives` of a profile), beside `cache.memory`; while directories are read, up to twice that. The directory of one archive takes at most a quarter of it: about 60 bytes for each member of a `.zip`.",
        }
        background_refreshes: usize {
            kind: kind::count::<usize, 1, 10_000>(),
            variable: "S3PROXY_CACHE_BACKGROUND_REFRESHES",
            default: "64",
            text: "Maximum number of stale objects that are revalidated in the background at the same time.",
        }
        revalidate_timeout: Duration {
            kind: kind::time::<10, 600_000>(),
            variable: "S3PROXY_CACHE_REVALIDATE_TIMEOUT",
            default: "1s",
            text: "How long a request waits for the revalidation of an object that `stale_if_error` covers. Then the stale object is served, and the revalidation goes on.",
        }
        pin_share: u8 {
            kind: kind::percent::<MAX_PIN_SHARE>(),
            variable: "S3PROXY_CACHE_PIN_SHARE",
            default: "10",
            text: "The percentage of the memory for whole objects that pinned objects (`cache.pin`) may hold. `0` pins nothing.",
        }
    }
}

settings! {
    /// The disk tier, as written.
    #[derive(Debug, Clone)]
    pub(in crate::config) struct WrittenDisk, disk at "cache.disk." {
        path: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_CACHE_DISK_PATH",
            default: "null",
            text: "A directory for objects that no longer fit into memory, used by nothing else. Unset: nothing is cached on disk.",
        }
        size: u64 {
            kind: kind::size::<u64, MIN_DISK, MAX_SIZE>(),
            variable: "S3PROXY_CACHE_DISK_SIZE",
            default: "10GiB",
            text: "Maximum disk space of this directory.",
        }
    }
}

settings! {
    /// The tier that replicas share, as written.
    #[derive(Debug, Clone)]
    pub(in crate::config) struct WrittenShared, shared at "cache.shared." {
        url: Option<EngineUrl> {
            kind: kind::engine_url(),
            variable: "S3PROXY_CACHE_SHARED_URL",
            default: "null",
            shown: Shown::Url,
            text: "A Valkey or Redis that all replicas share, such as `redis://valkey:6379`; `rediss://` with TLS; see [shared-cache.md](shared-cache.md) for clusters and sentinels. Unset: each replica has a cache of its own.",
        }
        password_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_CACHE_SHARED_PASSWORD_FILE",
            default: "null",
            text: "A file with the password. It is read again for each new connection.",
        }
        ca_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_CACHE_SHARED_CA_FILE",
            default: "null",
            text: "PEM file with the CA certificates to trust for `rediss://`. Default: those of the system.",
        }
        mac_key_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_CACHE_SHARED_MAC_KEY_FILE",
            default: "null",
            text: "A file with a secret of at least 32 characters, the same for all replicas. Values are then authenticated (HMAC-SHA256), and those of anybody else are not served.",
        }
        prefix: String {
            kind: kind::engine_prefix(),
            variable: "S3PROXY_CACHE_SHARED_PREFIX",
            default: "s3proxy",
            text: "What the names of all keys in the engine begin with. Gateways with the same prefix share their cache.",
        }
        timeout: Duration {
            kind: kind::time::<10, 1000>(),
            variable: "S3PROXY_CACHE_SHARED_TIMEOUT",
            default: "150ms",
            text: "How long a request waits for the engine before it goes on to the store.",
        }
        max_object: u64 {
            kind: kind::size::<u64, 1024, MAX_SHARED_OBJECT>(),
            variable: "S3PROXY_CACHE_SHARED_MAX_OBJECT",
            default: "4MiB",
            text: "Maximum size of an object that is stored in the engine.",
        }
        profiles: Option<Vec<String>> {
            kind: kind::profile_names(),
            variable: "S3PROXY_CACHE_SHARED_PROFILES",
            default: "null",
            text: "The profiles whose objects are stored in the engine; `default` is the default profile. Unset: all profiles.",
        }
    }
}

settings! {
    /// How objects are cached in blocks.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct BlocksConfig, blocks at "cache.blocks." {
        size: u64 {
            kind: kind::block_size::<MIN_BLOCK, MAX_BLOCK>(),
            variable: "S3PROXY_CACHE_BLOCKS_SIZE",
            default: "1MiB",
            text: "The size of a block. Ranges up to 4MiB are fetched in parts of blocks, unless blocks are smaller than 256KiB.",
        }
        share: u8 {
            kind: kind::percent::<MAX_SHARE>(),
            variable: "S3PROXY_CACHE_BLOCKS_SHARE",
            default: "25",
            text: "The percentage of `cache.memory` and `cache.disk.size` that blocks may use. `0` caches no blocks: requests for them bypass the cache.",
        }
        read_ahead: u64 {
            kind: kind::size::<u64, 0, MAX_READ_AHEAD>(),
            variable: "S3PROXY_CACHE_BLOCKS_READ_AHEAD",
            default: "8MiB",
            text: "Maximum read-ahead for a sequential reader, and how far readers that share one answer of a store can be apart. At least one block. `0` disables read-ahead; readers can then be 8MiB apart.",
        }
    }
}

settings! {
    /// A rule of the cache, as written for all profiles.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::config) struct WrittenRule overridden by RuleOverrides, rule at "cache." {
        store: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_CACHE_STORE",
            default: "true",
            reload: "true",
            text: "Cache objects. `false`: every request goes to the store.",
        }
        ttl: Duration {
            kind: kind::time::<0, YEAR>(),
            variable: "S3PROXY_CACHE_TTL",
            default: "5m",
            reload: "true",
            text: "How long an object is fresh, unless its own `Cache-Control` or `Expires` says otherwise.",
        }
        negative_ttl: Duration {
            kind: kind::time::<0, YEAR>(),
            variable: "S3PROXY_CACHE_NEGATIVE_TTL",
            default: "1m",
            reload: "true",
            text: "How long the 404 for a missing object is cached. `0` does not cache it.",
        }
        stale_while_revalidate: Duration {
            kind: kind::time::<0, YEAR>(),
            variable: "S3PROXY_CACHE_STALE_WHILE_REVALIDATE",
            default: "5m",
            reload: "true",
            text: "How long after its freshness an object is served stale while it is revalidated in the background. `0`: the client waits for revalidation.",
        }
        stale_if_error: Duration {
            kind: kind::time::<0, YEAR>(),
            variable: "S3PROXY_CACHE_STALE_IF_ERROR",
            default: "1d",
            reload: "true",
            text: "How long after its freshness an object is served stale when the store fails.",
        }
        max_object: u64 {
            kind: kind::size::<u64, 0, MAX_SIZE>(),
            variable: "S3PROXY_CACHE_MAX_OBJECT",
            default: "16MiB",
            reload: "true",
            text: "Maximum size of an object that is cached whole. Larger objects are cached in blocks.",
        }
        client_no_cache: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_CACHE_CLIENT_NO_CACHE",
            default: "false",
            reload: "true",
            text: "Revalidate an object when a client sends `Cache-Control: no-cache`.",
        }
    }
}

settings! {
    /// The length of a list of patterns; the fields of each are read separately.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::config) struct WrittenPatterns, patterns at "cache." {
        patterns: usize {
            kind: kind::patterns(),
            default: "[]",
            reload: "true",
            text: "Rules for object keys that match a pattern. The first match applies.",
        }
    }
}

settings! {
    /// The objects that are pinned in memory, as written.
    #[derive(Debug, Clone)]
    pub(in crate::config) struct WrittenPins, pins at "cache." {
        pin: Option<Globs> {
            kind: kind::key_patterns(),
            default: "null",
            reload: "true",
            text: "The object keys that stay in memory before all others, within `cache.pin_share`, and are revalidated before they become stale. Unset: in profiles with `hips`, what viewers of surveys request first (`properties`, `Moc.fits`, orders 0 to 3); in others nothing. `[]`: nothing.",
        }
    }
}

/// What a pattern has besides the fields of [`rule`].
pub(in crate::config) mod pattern {
    use super::*;

    const KEYS: Kind<Option<WildMatch>> = kind::key_pattern();

    pub(in crate::config) const MATCH: Setting<Option<WildMatch>> = Setting {
        row: Row {
            path: "match",
            key: "match",
            variable: "",
            default: "null",
            accepts: KEYS.accepts,
            reload: true,
            text: "The object keys that the rule applies to. `*` also matches `/`. Required.",
        },
        read: KEYS.read,
        shown: Shown::Elsewhere,
    };

    pub(in crate::config) const ROWS: &[Row] = &[MATCH.row];
}
