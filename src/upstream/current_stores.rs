//! The stores in force. A reload replaces all of them at once, and a provider that issues credentials those of its
//! profiles; requests in progress keep theirs, or follow to the newest credentials.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use log::{info, warn};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{Profiles, UpstreamConfig};
use crate::s3::address::{AddressError, ObjectAddress};
use crate::s3::credentials::masked_id;
use crate::upstream::issuance::{Issuance, filled, issuances_of};
use crate::upstream::issue::{Issuer, TIMEOUT, clock};
use crate::upstream::{FoundObject, Store, Stores};

/// How long a start, or a reload with another provider, waits for its first credentials.
const FIRST_CREDENTIALS: Duration = Duration::from_secs(5);

/// The current stores.
#[derive(Debug)]
pub struct CurrentStores {
    stores: ArcSwap<Stores>,
    config: UpstreamConfig,
    applied: Mutex<AppliedProfiles>,
}

/// What the stores were made of.
#[derive(Debug)]
struct AppliedProfiles {
    /// As configured: without credentials that were issued.
    profiles: Profiles,
    issuances: Vec<Arc<Issuance>>,
}

impl CurrentStores {
    /// The stores of a configuration.
    #[must_use]
    pub fn new(profiles: &Profiles, config: &UpstreamConfig) -> Self {
        let issuances = issuances_of(profiles, &[]);
        let stores = Stores::renewed(None, &filled(profiles, &issuances), config, &issuances);
        Self {
            stores: ArcSwap::from_pointee(stores),
            config: config.clone(),
            applied: Mutex::new(AppliedProfiles { profiles: profiles.clone(), issuances }),
        }
    }

    /// All current stores.
    #[must_use]
    pub fn load(&self) -> Arc<Stores> {
        self.stores.load_full()
    }

    /// The store a URL names; `None` names the default.
    #[must_use]
    pub fn get(&self, profile: Option<&str>) -> Option<Arc<Store>> {
        self.stores.load().get(profile).map(Arc::clone)
    }

    /// The object that an address names, after aliases, and its store. Both are of one configuration.
    ///
    /// # Errors
    /// As for [`Stores::find`].
    pub fn find(&self, requested: ObjectAddress) -> Result<FoundObject, AddressError> {
        self.stores.load().find(requested)
    }

    /// Replaces the profiles. Credentials of unchanged providers stay.
    pub fn replace(&self, profiles: &Profiles) {
        let mut applied = self.lock();
        applied.issuances = issuances_of(profiles, &applied.issuances);
        applied.profiles = profiles.clone();
        self.apply(&applied);
    }

    /// Gives the stores what their providers have issued last.
    pub fn refill(&self) {
        self.apply(&self.lock());
    }

    /// The credentials of every provider in force.
    #[must_use]
    pub fn issuances(&self) -> Vec<Arc<Issuance>> {
        self.lock().issuances.clone()
    }

    /// Requests the first credentials of providers that were not asked yet, at the same time, so that the
    /// first requests of clients do not wait for them. Those that take longer are given up; the reloader
    /// requests these credentials again at once.
    pub async fn prepare(&self, profiles: &Profiles, issuer: &Arc<Issuer>) {
        let known = self.issuances();
        let all = issuances_of(profiles, &known);
        let mut requests = JoinSet::new();
        for issuance in all.iter().filter(|issuance| !issuance.was_requested()) {
            let (issuer, issuance) = (Arc::clone(issuer), Arc::clone(issuance));
            requests.spawn(async move { request(&issuer, &issuance).await });
        }
        if requests.is_empty() {
            return;
        }
        let _others_are_requested_again =
            timeout(FIRST_CREDENTIALS, async { while requests.join_next().await.is_some() {} })
                .await;
        let mut applied = self.lock();
        let of_others = |it: &Arc<Issuance>| !all.iter().any(|new| Arc::ptr_eq(new, it));
        let old: Vec<_> = applied.issuances.iter().filter(|it| of_others(it)).cloned().collect();
        applied.issuances = all.iter().cloned().chain(old).collect();
        self.apply(&applied);
    }

    fn apply(&self, applied: &AppliedProfiles) {
        let AppliedProfiles { profiles, issuances } = applied;
        let profiles = filled(profiles, issuances);
        let stores = Stores::renewed(Some(&self.load()), &profiles, &self.config, issuances);
        self.stores.store(Arc::new(stores));
    }

    fn lock(&self) -> MutexGuard<'_, AppliedProfiles> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests credentials of a provider once, and records and logs how that went. Returns the pause before
/// the next request; `None` if what was issued does not expire.
pub async fn request(issuer: &Issuer, issuance: &Issuance) -> Option<Duration> {
    let started = Instant::now();
    let result = issuer.issue(&issuance.provider, TIMEOUT).await;
    let (took, now) = (started.elapsed(), clock());
    let pause = issuance.record(result, now, took, fastrand::f64());
    let (provider, state) = (&issuance.provider, issuance.state());
    match (&state.last_error, &state.issued) {
        (None, Some(issued)) => {
            let id = masked_id(&issued.keys.access_key_id);
            let valid = match issuance.seconds_left(now) {
                Some(seconds) => format!("valid for {seconds:.0} s"),
                None => "which does not expire".to_owned(),
            };
            info!("credentials issued by {provider}: access key {id}, {valid}");
        }
        (error, issued) => {
            let error = error.as_deref().unwrap_or_default();
            let left = match issuance.seconds_left(now) {
                _ if issued.is_none() => {
                    "requests of its profiles are refused until then".to_owned()
                }
                Some(seconds) if seconds > 0.0 => {
                    format!("the present ones are valid for another {seconds:.0} s")
                }
                _ => "the present ones have expired".to_owned(),
            };
            let pause = pause.unwrap_or_default().as_secs_f64();
            warn!(
                "no credentials issued by {provider}: {error}; next request in {pause:.1} s, {left}; {}",
                provider.advice()
            );
        }
    }
    pause
}

/// The profiles with credentials of their providers, which are requested now and may take as long as `limit`:
/// for the commands that check them.
pub async fn obtained(profiles: &Profiles, config: &UpstreamConfig, limit: Duration) -> Profiles {
    let issuances = issuances_of(profiles, &[]);
    if issuances.is_empty() {
        return profiles.clone();
    }
    let issuer = Arc::new(Issuer::new(config));
    let mut requests = JoinSet::new();
    for issuance in &issuances {
        let (issuer, issuance) = (Arc::clone(&issuer), Arc::clone(issuance));
        requests.spawn(async move {
            let result = issuer.issue(&issuance.provider, limit).await;
            issuance.record(result, clock(), Duration::ZERO, 0.0);
        });
    }
    while requests.join_next().await.is_some() {}
    filled(profiles, &issuances)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;
    use crate::certificate::store_tls::{Authorities, StoreTls};
    use crate::config::{self, Flags, Inputs};
    use crate::profile::{Profile, Way};
    use crate::response::refusal::Refusal;
    use crate::s3::credentials::Keys;
    use crate::s3::endpoint::Endpoint;
    use crate::s3::provider::{Issued, Provider};
    use crate::s3::secret::Secret;
    use crate::upstream::resolve::EndpointAddresses;
    use crate::upstream::revalidation::RevalidateBy;

    fn profiles(region: &str) -> Profiles {
        let endpoint = Endpoint::parse("http://127.0.0.1:1").expect("an endpoint");
        let provider = Some(Arc::new(Provider::Process(vec!["/bin/issue".to_owned()])));
        let region = region.to_owned();
        let profile = Profile { provider, region, ..Profile::unsigned(None, endpoint) };
        let default = Some(Arc::new(profile));
        Profiles { default, named: Default::default(), aliases: Arc::default() }
    }

    fn upstream() -> UpstreamConfig {
        let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let (environment, flags) = (BTreeMap::new(), Flags::default());
        let inputs = Inputs { environment, flags, processors: 1, read: &read };
        config::load(&inputs).expect("the defaults").config.upstream
    }

    fn issued(id: &str) -> Issued {
        let keys = Keys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new("s".to_owned()),
            session_token: None,
        };
        Issued { keys, expires: None }
    }

    /// Pingora's pools do not tell the trusted authorities of connections apart.
    #[test]
    fn each_endpoint_of_a_profile_with_its_own_trust_is_apart_as_long_as_that_stays() {
        let pem = || {
            let made = rcgen::generate_simple_self_signed(["store.example.org".to_owned()]);
            made.expect("a certificate").cert.pem()
        };
        let (one, other) = (pem(), pem());
        let trusts = |pem: &str| {
            let authorities = Authorities::parse(pem).expect("certificates");
            Some(Arc::new(StoreTls::new(Some(authorities), None, Vec::new())))
        };
        let profile = |name: &str, region: &str, tls| {
            let [endpoint, second] = ["https://127.0.0.1:1", "https://127.0.0.1:2"]
                .map(|url| Endpoint::parse(url).expect("an endpoint"));
            let further = vec![Way { endpoint: second, proxy: None }];
            let region = region.to_owned();
            let plain = Profile::unsigned(Some(name), endpoint);
            (name.to_owned(), Arc::new(Profile { further, region, tls, ..plain }))
        };
        let profiles = |region, tls| Profiles {
            default: None,
            named: [profile("plain", region, None), profile("own", region, tls)].into(),
            aliases: Arc::default(),
        };
        let stores = CurrentStores::new(&profiles("a", trusts(&one)), &upstream());
        let addresses = |name: &str| {
            let store = stores.get(Some(name)).expect("the store");
            assert_eq!(store.tls.is_some(), name == "own");
            store.endpoints.iter().map(|it| Arc::clone(&it.addresses)).collect::<Vec<_>>()
        };
        let key = |addresses: &Arc<EndpointAddresses>| {
            addresses.pool_key(addresses.begin(std::net::SocketAddr::from(([127, 0, 0, 1], 1))))
        };
        let (plain, own) = (addresses("plain"), addresses("own"));
        assert_eq!((plain.len(), own.len()), (2, 2));
        for (place, apart) in own.iter().enumerate() {
            assert!(plain.iter().chain(&own[..place]).all(|other| key(other) != key(apart)));
        }
        let are_same = |before: &[Arc<EndpointAddresses>], after: &[Arc<EndpointAddresses>]| {
            before.iter().zip(after).all(|(before, after)| Arc::ptr_eq(before, after))
        };
        // The file was written again, with the same certificate.
        stores.replace(&profiles("b", trusts(&one)));
        assert!(are_same(&own, &addresses("own")));
        stores.replace(&profiles("b", trusts(&other)));
        let renewed = addresses("own");
        assert!(own.iter().zip(&renewed).all(|(before, after)| key(before) != key(after)));
        assert!(are_same(&plain, &addresses("plain")));
        stores.replace(&profiles("b", None));
        assert!(are_same(&plain, &addresses("plain")));
    }

    /// Each renewal ended the outage of a store that failed, and forgot that it refuses HEAD.
    #[test]
    fn renewed_credentials_do_not_end_an_outage_and_forget_nothing_of_the_store() {
        let stores = CurrentStores::new(&profiles("one"), &upstream());
        let renew = |id: &str| {
            let all = stores.issuances();
            all[0].record(Ok(issued(id)), SystemTime::UNIX_EPOCH, Duration::ZERO, 0.0);
            stores.refill();
            stores.get(None).expect("the store")
        };
        let first = renew("FIRST");
        first.outage.begin(Refusal::UpstreamTimeout);
        first.revalidation.learn(RevalidateBy::Condition);
        let second = renew("SECOND");
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(second.outage.cause(), Some(Refusal::UpstreamTimeout));
        assert_eq!(second.revalidation.method(), RevalidateBy::Condition);
        // An answer to a request with the credentials before.
        first.outage.end();
        assert_eq!(second.outage.cause(), None);
        second.outage.begin(Refusal::UpstreamTimeout);
        stores.replace(&profiles("other"));
        let other = stores.get(None).expect("the store");
        assert_eq!(other.outage.cause(), None, "another region is another store");
    }
}
