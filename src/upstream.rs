//! The stores: for each profile its signer, and the peer to connect to with its deadlines.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;

use crate::config::{Profiles, UpstreamConfig};
use crate::metrics::store::StoreMetrics;
use crate::profile::Profile;
use crate::response::refusal::Refusal;
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::{Endpoint, Target};
use crate::s3::sign::Signer;
use crate::upstream::admission::Admission;
use crate::upstream::deadline::Deadlines;
use crate::upstream::last_outcome::{LastOutcome, StoreFailure};
use crate::upstream::resolve::EndpointAddresses;

pub mod admission;
pub mod answer;
pub mod certificates;
pub mod client;
pub mod deadline;
pub mod error;
pub mod error_document;
pub mod last_outcome;
pub mod request;
pub mod resolve;
pub mod retry;

/// One profile, ready to be asked.
#[derive(Debug)]
pub struct Store {
    pub profile: Arc<Profile>,
    pub signer: Signer,
    pub addresses: Arc<EndpointAddresses>,
    /// What came last of asking it.
    pub seen: LastOutcome,
    /// What is counted of it; goes on when the profile changes.
    pub metrics: Arc<StoreMetrics>,
    /// What it is asked at once; goes on when the profile changes.
    pub load: Arc<Admission>,
    /// What took its place when nothing but the keys were exchanged.
    newer: OnceLock<Arc<Self>>,
}

impl Store {
    /// The store of this profile, which nobody has asked yet.
    #[must_use]
    pub fn new(
        profile: Arc<Profile>,
        addresses: Arc<EndpointAddresses>,
        load: Arc<Admission>,
    ) -> Self {
        let signer = profile.signer();
        Self {
            profile,
            signer,
            addresses,
            seen: LastOutcome::default(),
            metrics: Arc::default(),
            load,
            newer: OnceLock::new(),
        }
    }

    /// The same store with the keys of now: a request may take longer than those it began with are
    /// good, and ask the store again and again. Itself where more than keys has changed.
    #[must_use]
    pub fn newest(self: &Arc<Self>) -> Arc<Self> {
        let mut store = self;
        while let Some(newer) = store.newer.get() {
            store = newer;
        }
        Arc::clone(store)
    }

    /// Notes how a request to it has ended.
    pub fn note(&self, asked: &UpstreamOutcome<'_>) {
        #[expect(clippy::disallowed_methods, reason = "operators want to know when")]
        let at = SystemTime::now();
        self.metrics.asked(asked.status, asked.attempts, asked.waited);
        match asked.refusal.filter(|refusal| refusal.is_fault()) {
            None => self.seen.succeeded(at),
            Some(refusal) => {
                let (cause, code) = (refusal.cause(), asked.code.map(str::to_owned));
                self.metrics.errors.count(cause);
                self.seen.failed(StoreFailure { at, cause, code });
            }
        }
    }
}

/// How a request to a store has ended.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamOutcome<'a> {
    /// Of the last answer there was.
    pub status: Option<u16>,
    /// The store's own word, such as `NoSuchKey`.
    pub code: Option<&'a str>,
    pub attempts: u8,
    /// From the first attempt to the head of the last answer, or its failure.
    pub waited: Duration,
    pub refusal: Option<&'a Refusal>,
}

/// Every store, by profile name.
#[derive(Debug)]
pub struct Stores {
    default: Arc<Store>,
    named: BTreeMap<String, Arc<Store>>,
    endpoints: Vec<Arc<EndpointAddresses>>,
}

impl Stores {
    /// Builds the stores of a configuration; profiles with one endpoint share its addresses.
    #[must_use]
    pub fn new(profiles: &Profiles, config: &UpstreamConfig) -> Self {
        Self::renewed(None, profiles, config)
    }

    /// As [`Stores::new`], keeping what is known of stores and endpoints that stay as they were.
    #[must_use]
    pub fn renewed(before: Option<&Self>, profiles: &Profiles, config: &UpstreamConfig) -> Self {
        let mut endpoints: Vec<(Endpoint, Arc<EndpointAddresses>)> = Vec::new();
        for store in before.iter().flat_map(|before| before.iter()) {
            endpoints.push((store.profile.endpoint.clone(), Arc::clone(&store.addresses)));
        }
        let mut store = |profile: &Arc<Profile>| {
            let same = before.and_then(|before| before.get(profile.name.as_deref()));
            if let Some(same) = same.filter(|same| same.profile == *profile) {
                return Arc::clone(same);
            }
            let known = endpoints.iter().find(|(endpoint, _)| {
                endpoint.host == profile.endpoint.host && endpoint.port == profile.endpoint.port
            });
            let addresses = match known {
                Some((_, addresses)) => Arc::clone(addresses),
                None => {
                    let addresses = Arc::new(EndpointAddresses::new(&profile.endpoint));
                    endpoints.push((profile.endpoint.clone(), Arc::clone(&addresses)));
                    addresses
                }
            };
            let load = match same {
                Some(same) => Arc::clone(&same.load),
                None => Arc::new(Admission::of(config)),
            };
            let mut store = Store::new(Arc::clone(profile), addresses, load);
            if let Some(same) = same {
                store.metrics = Arc::clone(&same.metrics);
            }
            let store = Arc::new(store);
            let signs = matches!(profile.credentials, Credentials::Keys { .. });
            if let Some(same) = same.filter(|same| signs && profile.is_rekeyed(&same.profile)) {
                let _is_the_first = same.newer.set(Arc::clone(&store));
            }
            store
        };
        let default = store(&profiles.default);
        let named: BTreeMap<_, _> =
            profiles.named.iter().map(|(name, profile)| (name.clone(), store(profile))).collect();
        let mut asked: Vec<Arc<EndpointAddresses>> = Vec::new();
        for store in std::iter::once(&default).chain(named.values()) {
            let usable = !matches!(store.profile.credentials, Credentials::Missing(_));
            if usable && !asked.iter().any(|known| Arc::ptr_eq(known, &store.addresses)) {
                asked.push(Arc::clone(&store.addresses));
            }
        }
        Self { default, named, endpoints: asked }
    }

    /// Every store, the default first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Store>> {
        std::iter::once(&self.default).chain(self.named.values())
    }

    /// The store a URL names; `None` names the default.
    #[must_use]
    pub fn get(&self, profile: Option<&str>) -> Option<&Arc<Store>> {
        match profile {
            None => Some(&self.default),
            Some(name) => self.named.get(name),
        }
    }

    /// The addresses to keep fresh: those of stores that can be asked.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<EndpointAddresses>] {
        &self.endpoints
    }
}

/// The stores as they are now; exchanged as a whole while requests go on with those they have.
#[derive(Debug)]
pub struct CurrentStores {
    stores: ArcSwap<Stores>,
    config: UpstreamConfig,
}

impl CurrentStores {
    /// The stores of a configuration.
    #[must_use]
    pub fn new(profiles: &Profiles, config: &UpstreamConfig) -> Self {
        let stores = ArcSwap::from_pointee(Stores::new(profiles, config));
        Self { stores, config: config.clone() }
    }

    /// All of them.
    #[must_use]
    pub fn load(&self) -> Arc<Stores> {
        self.stores.load_full()
    }

    /// The store a URL names; `None` names the default.
    #[must_use]
    pub fn get(&self, profile: Option<&str>) -> Option<Arc<Store>> {
        self.stores.load().get(profile).map(Arc::clone)
    }

    /// Takes over other profiles.
    pub fn replace(&self, profiles: &Profiles) {
        let stores = Stores::renewed(Some(&self.load()), profiles, &self.config);
        self.stores.store(Arc::new(stores));
    }
}

/// The pause before another attempt, where [`retry::Attempts`] says that one is due: 20 to 200 ms.
/// Full jitter, so that requests that failed together do not return together.
#[must_use]
pub fn retry_pause() -> Duration {
    Duration::from_millis(fastrand::u64(20..=200))
}

/// The peer for one attempt. `left` is the rest of the time for all attempts.
#[must_use]
pub fn peer(
    socket: SocketAddr,
    tls: bool,
    target: &Target,
    config: &UpstreamConfig,
    left: Duration,
) -> HttpPeer {
    #[expect(clippy::disallowed_methods, reason = "given a SocketAddr nothing is resolved")]
    let mut peer = HttpPeer::new(socket, tls, target.server_name.clone());
    let connect = Deadlines::of(config).connect(left);
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect);
    peer.options.read_timeout = Some(config.read_timeout);
    peer.options.write_timeout = Some(config.read_timeout);
    peer.options.idle_timeout = Some(config.idle_timeout);
    peer.options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        count: 3,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    });
    peer
}

/// As [`peer`], for Pingora's own pool: no connection of the pool is used, nor is this one kept
/// after its answer. Pingora pools by a hash of the peer, and no other peer has this group.
#[must_use]
pub fn peer_of_new_connection(mut peer: HttpPeer) -> HttpPeer {
    peer.group_key = fastrand::u64(1..);
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer
}
