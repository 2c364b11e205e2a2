//! The resolved configuration: every value checked and ready to use.
//!
//! What was written (environment, YAML, INI, flags) is read by the modules below; nothing else in
//! the gateway looks at the environment or a configuration file.

mod cache;
mod endpoint_url;
mod env;
mod file;
mod headers;
mod ini;
mod layers;
mod lines;
mod load;
mod nearest;
mod problem;
mod profiles;
mod rules;
pub mod settings;
mod show;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::mime::MimePolicy;
use crate::profile::Profile;
use crate::protocol::cors::Cors;

pub use layers::{Effective, Flags};
pub use load::{Inputs, Loaded, load, read_file};
pub use problem::{Problem, Source};
pub use settings::is_live;
pub use show::{show, show_json};

/// Everything the gateway runs on.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to accept requests on.
    pub listen: SocketAddr,
    /// The `name` of the metadata answers.
    pub name: String,
    /// Starts with `/` and does not end with one, or is empty.
    pub path_prefix: String,
    pub log: LogConfig,
    /// Refuse object requests without `X-Auth-Request-User`.
    pub require_user: bool,
    pub mime: MimePolicy,
    /// Seconds; `Cache-Control: public, max-age=N` for image types when above zero.
    pub cache_max_age: u64,
    /// Send `Content-Security-Policy: sandbox` with html, svg and xml.
    pub content_security_policy: bool,
    /// Send `Server-Timing`.
    pub server_timing: bool,
    pub cors: Option<Cors>,
    /// Hold buckets to S3's naming rules; when off, Ceph's `tenant:bucket` is admitted.
    pub bucket_validation: bool,
    pub profiles: Profiles,
    pub upstream: UpstreamConfig,
    pub downstream: DownstreamConfig,
    pub server: ServerConfig,
    pub cache: CacheConfig,
    /// The address for operators, who may purge the cache there; `None` where there is to be none.
    pub admin_listen: Option<SocketAddr>,
}

/// What is logged and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    pub level: log::LevelFilter,
}

/// The two shapes of the log, named by `S3PROXY_PROFILE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for a person.
    Development,
    /// One JSON object a line.
    Production,
}

/// The stores, by the name before the `@`.
#[derive(Debug, Clone)]
pub struct Profiles {
    /// For URLs without `profile@`.
    pub default: Arc<Profile>,
    pub named: BTreeMap<String, Arc<Profile>>,
}

impl Profiles {
    /// The profile a URL names; `None` names the default.
    #[must_use]
    pub fn get(&self, name: Option<&str>) -> Option<&Arc<Profile>> {
        match name {
            None => Some(&self.default),
            Some(name) => self.named.get(name),
        }
    }

    /// Every profile, the default first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        std::iter::once(&self.default).chain(self.named.values())
    }
}

/// How the stores are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// TCP connect and TLS handshake of one attempt.
    pub connect_timeout: Duration,
    /// From a request sent to the first byte of its answer; at most `read_timeout`.
    pub first_byte_timeout: Duration,
    /// Between two reads of an answer.
    pub read_timeout: Duration,
    /// All attempts of one request together, up to the head of the answer.
    pub total_timeout: Duration,
    /// Further attempts after the first, 0 or 1.
    pub retries: u8,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How many unused connections are kept, over all stores.
    pub keepalive_pool_size: usize,
    /// How often names are looked up again.
    pub dns_refresh: Duration,
    /// Requests to one store at once, at least 1; parts of objects get three in four of them.
    pub max_in_flight: usize,
    /// How long a request waits for its turn before it is refused.
    pub queue_timeout: Duration,
    /// Certificates to trust in place of the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// How clients are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownstreamConfig {
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// Request line and headers together, bytes.
    pub header_max_bytes: usize,
    /// How long an idle connection is kept, at least 75 s behind most ingresses.
    pub keepalive_timeout: Duration,
    /// How long one write to a client may take.
    pub write_timeout: Duration,
    /// Connections at once; further ones are told to come again later.
    pub max_connections: usize,
    /// Requests of one `X-Auth-Request-User` at once; 0 for no limit.
    pub max_requests_per_user: usize,
}

/// The process: threads, shutdown and Pingora's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    pub threads: usize,
    /// After SIGTERM: how long requests are still accepted.
    pub lame_duck: Duration,
    /// After that: how long running requests may take to end.
    pub grace_period: Duration,
    /// How often the files of the configuration are looked at; zero never.
    pub reload_interval: Duration,
    /// Where a new process takes over the listening sockets (SIGQUIT).
    pub upgrade_sock: PathBuf,
}

/// The tiers of the cache. What is kept in them, and for how long, is said by each profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    pub memory: CacheMemory,
    /// `None` keeps nothing on disk.
    pub disk: Option<DiskConfig>,
    /// Stale objects that may be asked for again in the background at once; at least 1.
    pub background_refreshes: usize,
    pub blocks: BlocksConfig,
}

/// How objects too large to be kept whole are kept in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlocksConfig {
    /// Bytes of a block; a power of two from 64 KiB to 16 MiB.
    pub size: u64,
    /// Percent of the cache's memory and disk for blocks, 0 to 90; 0 keeps no blocks.
    pub share: u8,
    /// Bytes fetched ahead of a reader at most, and the most that one request asks a store for; 0
    /// fetches nothing ahead.
    pub read_ahead: u64,
}

/// How much memory the cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMemory {
    /// A part of what the process may use, see [`crate::cache::memory::limit`].
    Auto,
    /// So many bytes; 0 turns caching off, the disk included.
    Bytes(u64),
}

/// The disk tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// A folder of its own.
    pub path: PathBuf,
    /// Bytes that may be in it.
    pub size: u64,
}
