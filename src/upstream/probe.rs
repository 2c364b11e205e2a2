//! One signed request that shows whether a store answers and accepts the access key, without a client:
//! `/profiles` shows the result. A probe takes no permit of the store's limit and counts in no metric.
//!
//! It asks for an object that does not exist, as a client would: the store checks the signature before it
//! looks for the object. Where the profile names a bucket, the object is in it. Otherwise no bucket is
//! known, and the probe names one that does not exist; what the store says about that bucket is no
//! failure.
//!
//! Where a store has several endpoints, a probe goes to each of those whose breaker is open, until one is
//! answered: no request of a client finds out whether an endpoint is back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use log::{info, warn};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::UpstreamConfig;
use crate::profile::Profile;
use crate::profile::globs::Globs;
use crate::response::refusal::Refusal;
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::Target;
use crate::upstream::answer::is_error_of_address;
use crate::upstream::client::{FetchReport, StoreClient};
use crate::upstream::last_outcome::StoreVerdict;
use crate::upstream::{CurrentStores, Store, Stores};

/// Probes in progress at the same time; further ones wait.
const MAX_PROBES: usize = 4;
/// The key of the object that is asked for.
const KEY: &[u8] = b"s3proxy-probe";
/// How often the endpoints whose breakers are open are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long the probe of an endpoint may take.
const ENDPOINT_TIME: Duration = Duration::from_secs(5);
/// How long a probe on demand waits for others, at most.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Probes the stores of a gateway.
pub struct Probes {
    client: StoreClient,
    permits: Arc<Semaphore>,
    /// Whether stores are probed without being asked to.
    automatic: bool,
    /// A bucket of no store.
    unknown_bucket: String,
}

/// Why there was no probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotProbed {
    /// The profile has no access key, and is not anonymous.
    NoCredentials,
    /// Too many probes are in progress.
    Busy,
}

impl Probes {
    /// No probe yet.
    ///
    /// # Panics
    /// As [`StoreClient::new`].
    #[must_use]
    pub fn new(config: &UpstreamConfig) -> Self {
        Self {
            client: StoreClient::new(config),
            permits: Arc::new(Semaphore::new(MAX_PROBES)),
            automatic: config.probe,
            unknown_bucket: format!("s3proxy-probe-{:016x}", fastrand::u64(..)),
        }
    }

    /// Probes each store of `now` that `before` does not have, in the background, if that is configured.
    pub fn start(self: &Arc<Self>, before: Option<&Stores>, now: &Stores) {
        if !self.automatic {
            return;
        }
        for store in now.iter() {
            let is_known =
                before.is_some_and(|before| before.iter().any(|old| Arc::ptr_eq(old, store)));
            if !is_known {
                let (probes, store) = (Arc::clone(self), Arc::clone(store));
                let _in_background = tokio::spawn(async move {
                    let Ok(_permit) = probes.permits.acquire().await else { return };
                    let _nothing_to_probe = probes.send(&store).await;
                });
            }
        }
    }

    /// Probes the endpoints whose breakers are open, in the background, each when it is due.
    pub async fn watch_endpoints(self: Arc<Self>, stores: Arc<CurrentStores>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = Instant::now();
            for store in stores.load().iter() {
                for place in store.endpoints.begin_probes(now) {
                    let (probes, store) = (Arc::clone(&self), Arc::clone(store));
                    let _in_background =
                        tokio::spawn(async move { probes.probe_endpoint(&store, place).await });
                }
            }
        }
    }

    /// Probes one endpoint. Any answer of it that is no error shows that it is there.
    async fn probe_endpoint(&self, store: &Store, place: usize) {
        let target = self.target(&store.profile);
        let report = self.client.probe_endpoint(store, &target, place, ENDPOINT_TIME).await;
        let status = report.status.and_then(|status| StatusCode::from_u16(status).ok());
        let is_well = status.is_some_and(|status| !is_error_of_address(status));
        store.endpoints.at(place).probed(is_well);
    }

    /// The object that is asked for.
    fn target(&self, profile: &Profile) -> Target {
        let named = named_bucket(profile);
        let bucket = named.as_deref().unwrap_or(&self.unknown_bucket);
        profile.endpoint.target(profile.addressing, bucket, KEY)
    }

    /// Probes a store now, within the deadlines of other requests.
    ///
    /// # Errors
    /// Nothing was sent.
    pub async fn on_demand(&self, store: &Store) -> Result<(), NotProbed> {
        match timeout(QUEUE_TIMEOUT, self.permits.acquire()).await {
            Ok(Ok(_permit)) => self.send(store).await,
            _ => Err(NotProbed::Busy),
        }
    }

    async fn send(&self, store: &Store) -> Result<(), NotProbed> {
        let profile = &store.profile;
        if matches!(profile.credentials, Credentials::Missing(_)) {
            return Err(NotProbed::NoCredentials);
        }
        let (report, outcome) = self.client.probe(store, &self.target(profile)).await;
        let verdict = verdict(outcome.err().as_ref(), named_bucket(profile).is_some());
        #[expect(clippy::disallowed_methods, reason = "operators see the time")]
        let now = SystemTime::now();
        store.last_outcome.note(verdict, report.code.as_deref(), now);
        log_verdict(store, verdict, &report);
        Ok(())
    }
}

/// What the answer shows of the store. `AccessDenied` shows that the store knows the access key: without
/// permission to list a bucket, it is the answer for each object that does not exist.
fn verdict(refusal: Option<&Refusal>, bucket_is_known: bool) -> StoreVerdict {
    match refusal {
        None | Some(Refusal::UpstreamForbidden) => StoreVerdict::Answered,
        // The store has answered, and might have said this of a name that it does not accept.
        Some(Refusal::UpstreamRedirect | Refusal::UpstreamError) if !bucket_is_known => {
            StoreVerdict::Unknown
        }
        Some(refusal) => StoreVerdict::of(refusal),
    }
}

/// A bucket that the profile names without a wildcard.
fn named_bucket(profile: &Profile) -> Option<String> {
    let names = profile.buckets.iter().flat_map(Globs::iter).map(ToString::to_string);
    names.into_iter().find(|name| !name.contains(['*', '?']))
}

fn log_verdict(store: &Store, verdict: StoreVerdict, report: &FetchReport) {
    let label = store.profile.label();
    match verdict {
        StoreVerdict::Answered => info!("probe of profile {label}: the store accepts its requests"),
        StoreVerdict::Failed(cause) => {
            let code = report.code.as_deref().or(report.detail.as_deref()).unwrap_or("no answer");
            warn!(
                "probe of profile {label}: {cause}: {}; s3proxy check {label} says more",
                code.escape_debug()
            );
        }
        StoreVerdict::Unknown => info!(
            "probe of profile {label}: the store's answer for a bucket that does not exist shows \
             nothing; list a bucket in buckets of the profile, or wait for a request of a client"
        ),
    }
}

impl std::fmt::Debug for Probes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probes").field("automatic", &self.automatic).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use wildmatch::WildMatch;

    use super::*;
    use crate::s3::endpoint::Endpoint;

    #[test]
    fn only_what_the_store_says_of_the_access_key_counts() {
        let failed = |cause| StoreVerdict::Failed(cause);
        for (refusal, of_known, of_unknown) in [
            (None, StoreVerdict::Answered, StoreVerdict::Answered),
            (Some(Refusal::ObjectNotFound), StoreVerdict::Answered, StoreVerdict::Answered),
            (Some(Refusal::UpstreamForbidden), StoreVerdict::Answered, StoreVerdict::Answered),
            (
                Some(Refusal::UpstreamRejected),
                failed("upstream_forbidden"),
                failed("upstream_forbidden"),
            ),
            (Some(Refusal::UpstreamRedirect), failed("upstream_redirect"), StoreVerdict::Unknown),
            (Some(Refusal::UpstreamError), failed("upstream_error"), StoreVerdict::Unknown),
            (
                Some(Refusal::UpstreamTimeout),
                failed("upstream_timeout"),
                failed("upstream_timeout"),
            ),
        ] {
            assert_eq!(verdict(refusal.as_ref(), true), of_known, "{refusal:?}");
            assert_eq!(verdict(refusal.as_ref(), false), of_unknown, "{refusal:?}");
        }
    }

    #[test]
    fn a_pattern_names_no_bucket() {
        let endpoint = Endpoint::parse("http://a").expect("an endpoint");
        let named = |patterns: &[&str]| {
            let buckets = Some(patterns.iter().map(|name| WildMatch::new(name)).collect());
            named_bucket(&Profile { buckets, ..Profile::unsigned(None, endpoint.clone()) })
        };
        assert_eq!(named(&["rubin-*", "dp?", "dp1"]).as_deref(), Some("dp1"));
        assert_eq!(named(&["rubin-*"]), None);
        assert_eq!(named_bucket(&Profile::unsigned(None, endpoint.clone())), None);
    }
}
