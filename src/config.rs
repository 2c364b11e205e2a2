//! The resolved configuration: every value checked and ready to use.
//!
//! The modules below read environment, YAML, INI and options; nothing else in the gateway reads the
//! environment or a configuration file. `config/settings.rs` declares every setting.

mod aliases;
mod archives;
mod cache;
mod credentials_from;
mod endpoint_url;
mod engine_url;
mod env;
mod file;
mod headers;
mod ignored;
mod ini;
mod kind;
mod layers;
mod listen;
mod load;
mod misspelt;
mod nearest;
mod nesting;
mod positions;
mod problem;
mod profiles;
mod proxy;
mod rules;
mod schema;
mod settings;
mod shape;
mod show;
mod tls;
mod tracing;
mod value;
mod without_effect;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::certificate::Identity;
use crate::mime::MimePolicy;
use crate::profile::alias::Aliases;
use crate::profile::{DEFAULT_LABEL, Profile};
use crate::protocol::cors::Cors;
use crate::s3::secret::Secret;

pub use engine_url::{EngineUrl, Topology};
pub use layers::{Effective, Flags};
pub use listen::Listen;
pub use load::{Inputs, Loaded, load, read_file};
pub use problem::{Problem, ValueSource};
pub use proxy::ProxyChoice;
pub use schema::schema;
pub use settings::cache::BlocksConfig;
pub use settings::connections::{DownstreamConfig, UpstreamConfig};
pub use settings::gateway::GatewayConfig;
pub use settings::is_live;
pub use settings::process::{LogConfig, ServerConfig};
pub use show::{show, show_json};
pub use tls::{TlsConfig, TlsFiles};
pub use tracing::{TRACES, TracingConfig, collector_headers};

/// Everything the gateway runs on.
#[derive(Debug, Clone)]
pub struct Config {
    pub gateway: GatewayConfig,
    pub log: LogConfig,
    pub mime: MimePolicy,
    pub cors: Option<Cors>,
    pub profiles: Profiles,
    pub upstream: UpstreamConfig,
    pub downstream: DownstreamConfig,
    pub server: ServerConfig,
    /// The public listeners with TLS, if there are any.
    pub tls: Option<TlsConfig>,
    /// Where traces are sent; `None`: there are none.
    pub tracing: Option<TracingConfig>,
    pub cache: CacheConfig,
    /// The listener for operators, if there is one.
    pub admin_listen: Option<SocketAddr>,
    /// Names by which its clients may address it, in lower case.
    pub admin_hosts: Vec<String>,
    /// Its TLS, if it speaks no plain HTTP.
    pub admin_tls: Option<TlsFiles>,
}

impl Config {
    /// The certificates of the listeners, each with the section that names its files.
    pub fn identities(&self) -> impl Iterator<Item = (&'static str, &Identity)> {
        let public = self.tls.iter().map(|tls| ("tls", &tls.files));
        let all = public.chain(self.admin_tls.iter().map(|files| ("admin.tls", files)));
        all.flat_map(|(section, files)| files.identities.iter().map(move |it| (section, it)))
    }

    /// Whether clients may use HTTP/2.
    #[must_use]
    pub fn speaks_http2(&self) -> bool {
        let without_tls = self.gateway.listen.iter().any(|listen| listen.http2);
        without_tls || self.tls.as_ref().is_some_and(|tls| tls.http2)
    }
}

/// The two formats of the log.
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
    /// For URLs without `profile@`. `None`: there is a configuration file and it does not name this
    /// profile, and such URLs are refused.
    pub default: Option<Arc<Profile>>,
    pub named: BTreeMap<String, Arc<Profile>>,
    /// Folders that stand for others.
    pub aliases: Arc<Aliases>,
}

impl Profiles {
    /// The profile a URL names; `None` names the default, and so does `default` ([`DEFAULT_LABEL`]).
    #[must_use]
    pub fn get(&self, name: Option<&str>) -> Option<&Arc<Profile>> {
        match name {
            None => self.default.as_ref(),
            Some(name) => {
                let default = || self.default.as_ref().filter(|_| name == DEFAULT_LABEL);
                self.named.get(name).or_else(default)
            }
        }
    }

    /// This profile alone; `None` if there is none of this name.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<Self> {
        let profile = Arc::clone(self.get(Some(name))?);
        Some(match profile.name.clone() {
            Some(name) => {
                let named = BTreeMap::from([(name, profile)]);
                Self { default: None, named, aliases: Arc::clone(&self.aliases) }
            }
            None => {
                let aliases = Arc::clone(&self.aliases);
                Self { default: Some(profile), named: BTreeMap::new(), aliases }
            }
        })
    }

    /// Every profile, the default first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.default.iter().chain(self.named.values())
    }
}

/// The tiers of the cache. Each profile has its own rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    pub memory: CacheMemory,
    /// `None`: nothing is cached on disk.
    pub disk: Option<DiskConfig>,
    /// `None`: each replica has a cache of its own.
    pub shared: Option<SharedConfig>,
    /// Memory for the directories of archives, bytes.
    pub archive_directories: u64,
    /// Maximum number of revalidations in the background at the same time; at least 1.
    pub background_refreshes: usize,
    /// How long a request waits for a revalidation while there is a stale object to serve.
    pub revalidate_timeout: Duration,
    /// Percent of the memory for whole objects that pinned ones may hold.
    pub pin_share: u8,
    pub blocks: BlocksConfig,
}

/// The memory of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMemory {
    /// A part of the memory that the process may use, see [`crate::cache::memory::limit`].
    Auto,
    /// Bytes; 0 turns the cache off, including its disk tier.
    Bytes(u64),
}

/// The tier that replicas share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedConfig {
    pub engine: EngineConfig,
    /// What the names of all keys in the engine begin with.
    pub prefix: String,
    /// Maximum size of an object in it, bytes.
    pub max_object: u64,
    /// The secret that values are authenticated with.
    pub mac_key: Option<Secret>,
    /// The names of the profiles that use it, [`DEFAULT_LABEL`] for the default profile; `None`: all.
    pub profiles: Option<Vec<String>>,
}

/// The Valkey or Redis of the shared tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    pub url: EngineUrl,
    /// Read for each new connection.
    pub password_file: Option<PathBuf>,
    /// The CA certificates to trust; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a command may take.
    pub timeout: Duration,
}

/// The disk tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// A directory that nothing else uses.
    pub path: PathBuf,
    /// Maximum size of its content, bytes.
    pub size: u64,
}
