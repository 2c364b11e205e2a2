//! Requests to stores: for each profile its signer, its addresses and its limit of requests in progress.
//!
//! Requests reach a store in three ways, which share the rules of this room:
//!
//! | way | files | its own part |
//! |---|---|---|
//! | a request that passes through the proxy | `gateway/attempts.rs`, `upstream_request.rs`, `upstream_response.rs` | Pingora connects, pools and repeats; the hooks ask the rules |
//! | a fetch of the cache | [`client`] | a pool of our own |
//! | `s3proxy check` for one object | `check/object.rs`, `check/request.rs` | new connections alone; asks for the first byte |
//!
//! | rule | module |
//! |---|---|
//! | whether another attempt follows, after which pause, on which connection | [`retry`] |
//! | which endpoint of a store is asked, when it moves on to the next | [`endpoints`] |
//! | which endpoint is left out, and what ends that | [`endpoint_breaker`] |
//! | when two endpoints are asked at once | [`hedging`] |
//! | the addresses of a name, and when it is looked up | [`resolve`] |
//! | which of them gets a request | [`turns`] |
//! | which is passed over, how long, what ends that | [`health`] |
//! | whether idle connections to it can be used | [`pool_trust`] |
//! | which is connected to, if one does not answer | [`dial`] |
//! | how a proxy is passed | [`tunnel`] |
//! | which certificates are trusted and presented | [`certificates`], [`peer_tls`] |
//! | how long each step may take | [`deadline`] |
//! | the head of a request, its signature | [`request`] |
//! | what the head of an answer means | [`answer`] |
//! | what an error of a connection means | [`error`] |
//! | how a body that broke off goes on (not for the check) | [`rest`] |
//! | whether an error of the store says something about the object | [`error_verdict`] |
//! | the store's request id, the code of its error document | [`error_document`] |
//! | how many requests are in progress | [`admission`] (not for the check) |
//! | whether the store fails at the moment, so that stale objects do not wait for it | [`outage`] |
//!
//! Besides, [`probe`] asks each store once through the client of the cache, and [`issue`] requests credentials
//! for a limited time, which [`current_stores`] gives to the stores ([`issuance`]).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;

use crate::certificate::store_tls::StoreTls;
use crate::config::{Profiles, UpstreamConfig};
use crate::metrics::store::StoreMetrics;
use crate::profile::alias::{Aliases, NamedObject};
use crate::profile::{DEFAULT_LABEL, Profile, Way};
use crate::response::refusal::Refusal;
use crate::s3::address::{AddressError, ObjectAddress};
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::Target;
use crate::s3::sign::Signer;
use crate::upstream::admission::Admission;
use crate::upstream::deadline::Deadlines;
use crate::upstream::endpoints::StoreEndpoints;
use crate::upstream::issuance::Issuance;
use crate::upstream::last_outcome::{LastOutcome, StoreVerdict};
use crate::upstream::outage::Outage;
use crate::upstream::peer_tls::PeerTls;
use crate::upstream::resolve::EndpointAddresses;
use crate::upstream::revalidation::LearnedRevalidation;
use crate::upstream::share::ClientShares;
use crate::upstream::turns::Chosen;

pub use current_stores::CurrentStores;

pub mod admission;
pub mod answer;
pub mod attempt_span;
pub(crate) mod call;
pub mod certificates;
pub mod client;
pub mod current_stores;
pub mod deadline;
pub mod dial;
pub mod endpoint_breaker;
pub mod endpoints;
pub mod error;
pub mod error_document;
pub mod error_verdict;
pub mod health;
pub mod hedging;
pub mod issuance;
pub mod issue;
pub mod last_outcome;
pub mod outage;
pub mod peer_tls;
pub mod pool_trust;
pub mod probe;
pub mod request;
pub mod resolve;
pub mod rest;
pub mod retry;
pub mod revalidation;
pub mod share;
pub mod tunnel;
pub mod turns;

/// The store of one profile.
#[derive(Debug)]
pub struct Store {
    pub profile: Arc<Profile>,
    pub signer: Signer,
    /// The signer of listings, if it is another one.
    pub listing_signer: Option<Signer>,
    /// The settings of the profile that shape an answer ([`Profile::fingerprint`]).
    pub fingerprint: u64,
    pub endpoints: StoreEndpoints,
    /// TLS of the peers of each endpoint, if it differs from that of all stores.
    pub tls: Option<PeerTls>,
    /// Its last success and its last failure; bodies that are still arriving hold it too.
    pub last_outcome: Arc<LastOutcome>,
    /// Whether it fails at the moment.
    pub outage: Arc<Outage>,
    /// Its counters, which stay when the profile changes.
    pub metrics: Arc<StoreMetrics>,
    /// The limit of requests in progress, which stays when the profile changes.
    pub admission: Arc<Admission>,
    /// The shares of clients in it, which stay likewise.
    pub shares: Arc<ClientShares>,
    /// How cached objects are revalidated.
    pub revalidation: Arc<LearnedRevalidation>,
    /// The credentials of its provider, if it has one.
    pub issuance: Option<Arc<Issuance>>,
    /// Its successor, if only the access key was replaced.
    newer: OnceLock<Arc<Self>>,
}

/// The limits of requests in progress to one store: of all clients, and of each.
#[must_use]
pub fn limits_of(config: &UpstreamConfig) -> (Arc<Admission>, Arc<ClientShares>) {
    let shares = ClientShares::new(config.max_in_flight, config.client_share);
    (Arc::new(Admission::of(config)), Arc::new(shares))
}

impl Store {
    /// The store of this profile, before its first request.
    #[must_use]
    pub fn new(
        profile: Arc<Profile>,
        endpoints: StoreEndpoints,
        (admission, shares): (Arc<Admission>, Arc<ClientShares>),
    ) -> Self {
        let (signer, fingerprint) = (profile.signer(), profile.fingerprint());
        let listing_signer = profile.signer_of_listings();
        let tls = profile.tls.as_deref().map(PeerTls::new);
        Self {
            profile,
            tls,
            signer,
            listing_signer,
            fingerprint,
            endpoints,
            last_outcome: Arc::default(),
            outage: Arc::default(),
            metrics: Arc::default(),
            admission,
            shares,
            revalidation: Arc::default(),
            issuance: None,
            newer: OnceLock::new(),
        }
    }

    /// The same store with the current access key: a request with several attempts may outlive the
    /// access key it began with. Itself if more than the access key has changed.
    #[must_use]
    pub fn newest(self: &Arc<Self>) -> Arc<Self> {
        let mut store = self;
        while let Some(newer) = store.newer.get() {
            store = newer;
        }
        Arc::clone(store)
    }

    /// Records how a request to it has ended.
    pub fn note(&self, asked: &UpstreamOutcome<'_>) {
        let waited = (asked.verdict != StoreVerdict::Unknown).then_some(asked.waited);
        self.metrics.asked(asked.status, asked.attempts, waited);
        // Another error answers this request alone, such as HEAD that is not allowed.
        let is_down = asked.status.is_none_or(|status| status >= 500 || status == 429);
        match asked.refusal.filter(|refusal| is_down && refusal.is_store_failure()) {
            Some(refusal) => self.outage.begin(refusal.clone()),
            None if asked.status.is_some() => self.outage.end(),
            None => {}
        }
        if let StoreVerdict::Failed(cause) = asked.verdict {
            self.metrics.errors.count(cause);
        }
        self.last_outcome.note(asked.verdict, asked.code, wall_clock(asked.ago));
    }

    /// Records that a body has ended before its length, after [`Store::note`].
    pub fn note_cut(metrics: &StoreMetrics, last_outcome: &LastOutcome) {
        metrics.errors.count(CUT);
        last_outcome.note(StoreVerdict::Failed(CUT), None, wall_clock(Duration::ZERO));
    }
}

/// The cause of a body that ended before its length.
const CUT: &str = "upstream_cut";

/// The time so long ago.
#[expect(clippy::disallowed_methods, reason = "operators see the time")]
fn wall_clock(ago: Duration) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(ago).unwrap_or(now)
}

/// How a request to a store has ended.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamOutcome<'a> {
    /// Of the last answer, if there was one.
    pub status: Option<u16>,
    /// The store's error code, such as `NoSuchKey`.
    pub code: Option<&'a str>,
    pub attempts: u8,
    /// From the first attempt to the head of the last answer, or its failure.
    pub waited: Duration,
    /// Since then: the body may have passed to a slow client meanwhile.
    pub ago: Duration,
    pub verdict: StoreVerdict,
    /// What the request is refused for.
    pub refusal: Option<&'a Refusal>,
}

/// An object and its store; `None` if there is no profile of this name.
pub type FoundObject = (NamedObject, Option<Arc<Store>>);

/// Every store, by profile name.
#[derive(Debug)]
pub struct Stores {
    default: Option<Arc<Store>>,
    named: BTreeMap<String, Arc<Store>>,
    aliases: Arc<Aliases>,
    endpoints: Vec<Arc<EndpointAddresses>>,
}

impl Stores {
    /// The stores of a configuration; profiles with the same endpoint and the same trust share its addresses. Stores and
    /// endpoints that have not changed are taken over from `before`. The issuances are those of the providers
    /// of the profiles.
    #[must_use]
    pub fn renewed(
        before: Option<&Self>,
        profiles: &Profiles,
        config: &UpstreamConfig,
        issuances: &[Arc<Issuance>],
    ) -> Self {
        let mut known: Vec<(Way, Option<Arc<StoreTls>>, Arc<EndpointAddresses>)> = Vec::new();
        for store in before.iter().flat_map(|before| before.iter()) {
            known.extend(
                store.endpoints.iter().map(|it| {
                    (it.way.clone(), store.profile.tls.clone(), Arc::clone(&it.addresses))
                }),
            );
        }
        let mut addresses = |way: &Way, tls: Option<&Arc<StoreTls>>| {
            let found = known
                .iter()
                .find(|(known, trust, _)| known.leads_like(way) && trust.as_ref() == tls);
            if let Some((_, _, addresses)) = found {
                return Arc::clone(addresses);
            }
            let addresses = EndpointAddresses::new(&way.endpoint, way.proxy.as_ref());
            let addresses = if tls.is_some() { addresses.apart() } else { addresses };
            let addresses = Arc::new(addresses);
            known.push((way.clone(), tls.cloned(), Arc::clone(&addresses)));
            addresses
        };
        let mut store = |profile: &Arc<Profile>| {
            let same = before.and_then(|before| before.get(profile.name.as_deref()));
            if let Some(same) = same.filter(|same| same.profile == *profile) {
                return Arc::clone(same);
            }
            let mut addresses = |way: &Way| addresses(way, profile.tls.as_ref());
            let endpoints =
                StoreEndpoints::new(profile, same.map(|it| &it.endpoints), &mut addresses);
            let limits = match same {
                Some(same) => (Arc::clone(&same.admission), Arc::clone(&same.shares)),
                None => limits_of(config),
            };
            let mut store = Store::new(Arc::clone(profile), endpoints, limits);
            let provider = profile.provider.as_ref();
            store.issuance = provider.and_then(|it| issuance::of(it, issuances)).map(Arc::clone);
            if let Some(same) = same {
                store.metrics = Arc::clone(&same.metrics);
            }
            if let Some(same) = same.filter(|same| {
                profile.provider.is_some()
                    && profile.provider == same.profile.provider
                    && profile.differs_only_in_credentials(&same.profile)
            }) {
                // Renewed credentials, which say nothing new of the store.
                store.last_outcome = Arc::clone(&same.last_outcome);
                store.outage = Arc::clone(&same.outage);
                store.revalidation = Arc::clone(&same.revalidation);
            }
            let store = Arc::new(store);
            let signs = matches!(profile.credentials, Credentials::Keys { .. });
            if let Some(same) =
                same.filter(|same| signs && profile.differs_only_in_credentials(&same.profile))
            {
                let _is_the_first = same.newer.set(Arc::clone(&store));
            }
            store
        };
        let default = profiles.default.as_ref().map(&mut store);
        let named: BTreeMap<_, _> =
            profiles.named.iter().map(|(name, profile)| (name.clone(), store(profile))).collect();
        let mut asked: Vec<Arc<EndpointAddresses>> = Vec::new();
        let usable = default.iter().chain(named.values()).filter(|it| it.profile.is_usable());
        for endpoint in usable.flat_map(|store| store.endpoints.iter()) {
            if !asked.iter().any(|known| Arc::ptr_eq(known, &endpoint.addresses)) {
                asked.push(Arc::clone(&endpoint.addresses));
            }
        }
        Self { default, named, aliases: Arc::clone(&profiles.aliases), endpoints: asked }
    }

    /// Every store, the default first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Store>> {
        self.default.iter().chain(self.named.values())
    }

    /// The store a URL names; `None` names the default, and so does `default` ([`DEFAULT_LABEL`]).
    #[must_use]
    pub fn get(&self, profile: Option<&str>) -> Option<&Arc<Store>> {
        match profile {
            None => self.default.as_ref(),
            Some(name) => {
                let default = || self.default.as_ref().filter(|_| name == DEFAULT_LABEL);
                self.named.get(name).or_else(default)
            }
        }
    }

    /// The object that an address names, after aliases, and its store.
    ///
    /// # Errors
    /// The key after aliases breaks a rule.
    pub fn find(&self, requested: ObjectAddress) -> Result<FoundObject, AddressError> {
        let named = self.aliases.apply(requested)?;
        let store = self.get(named.target().profile.as_deref()).map(Arc::clone);
        Ok((named, store))
    }

    /// The addresses to refresh at intervals: those of stores that accept requests.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<EndpointAddresses>] {
        &self.endpoints
    }
}

/// The pause before another attempt, if [`retry::Attempts`] requires one: 20 to 200 ms, at random, so
/// that requests that failed together do not return together.
#[must_use]
pub fn retry_pause() -> Duration {
    Duration::from_millis(fastrand::u64(20..=200))
}

/// How long a byte sent to a store may stay unacknowledged before the connection counts as dead. A store
/// that is slow to answer has acknowledged the request, and is not affected.
const UNACKNOWLEDGED: Duration = Duration::from_secs(4);

/// How much later Pingora gives up on a connection than [`dial`], which knows more of the reason.
const AFTER_DIAL: Duration = Duration::from_millis(50);

/// The peer for one attempt. Connections with different `pool_key` are never exchanged
/// ([`EndpointAddresses::pool_key`]). `left` is the rest of the time for all attempts.
#[must_use]
pub fn peer(
    chosen: Chosen,
    pool_key: u64,
    tls: bool,
    target: &Target,
    config: &UpstreamConfig,
    left: Duration,
) -> HttpPeer {
    #[expect(clippy::disallowed_methods, reason = "given a SocketAddr nothing is resolved")]
    let mut peer = HttpPeer::new(chosen.address, tls, target.server_name.clone());
    let connect = Deadlines::of(config).connect(left);
    peer.group_key = pool_key;
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect + AFTER_DIAL);
    peer.options.read_timeout = Some(config.read_timeout);
    peer.options.write_timeout = Some(config.read_timeout);
    peer.options.idle_timeout = Some(config.idle_timeout);
    peer.options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        count: 3,
        #[cfg(target_os = "linux")]
        user_timeout: UNACKNOWLEDGED,
    });
    peer
}

/// As [`peer`], for Pingora's own pool: the attempt uses no connection of the pool, and its connection
/// does not return to the pool. Pingora pools by a hash of the peer, and no other peer has this group.
#[must_use]
pub fn peer_of_new_connection(mut peer: HttpPeer) -> HttpPeer {
    // Groups of the pool count from 0.
    peer.group_key = fastrand::u64(u64::MAX / 2..);
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer
}
