//! The credentials of one provider while the gateway runs: what was issued last, and how requests for more
//! went. Profiles with the same provider share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::config::Profiles;
use crate::profile::Profile;
use crate::s3::credentials::{CredentialSource, Credentials};
use crate::s3::provider::schedule::{renew_after, retry_after};
use crate::s3::provider::{Issued, Provider};
use crate::upstream::issue::IssueError;

/// The credentials of one provider.
#[derive(Debug)]
pub struct Issuance {
    pub provider: Arc<Provider>,
    state: Mutex<IssuanceState>,
}

/// How requests to a provider went.
#[derive(Debug, Clone, Default)]
pub struct IssuanceState {
    /// The last credentials; they are used after their end too, when the store decides.
    pub issued: Option<Issued>,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// What the last failure said; `None` after a success.
    pub last_error: Option<String>,
    pub succeeded: u64,
    pub failed: u64,
    /// Before the next request; `None` if what was issued does not expire.
    pause: Option<Duration>,
}

impl Issuance {
    fn new(provider: &Arc<Provider>) -> Arc<Self> {
        let state = IssuanceState { pause: Some(Duration::ZERO), ..IssuanceState::default() };
        Arc::new(Self { provider: Arc::clone(provider), state: Mutex::new(state) })
    }

    /// How requests to the provider went.
    #[must_use]
    pub fn state(&self) -> IssuanceState {
        self.lock().clone()
    }

    /// Whether a request to the provider has ended.
    #[must_use]
    pub fn was_requested(&self) -> bool {
        let state = self.lock();
        state.succeeded + state.failed > 0
    }

    /// The pause before the next request, which [`Issuance::record`] returned last; none before the first.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        self.lock().pause
    }

    /// Whether what was issued has expired although no request failed: a clock was set, or the process stopped.
    #[must_use]
    pub fn is_overdue(&self, now: SystemTime) -> bool {
        let state = self.lock();
        let expires = state.issued.as_ref().and_then(|issued| issued.expires);
        state.failures_in_a_row == 0 && expires.is_some_and(|expires| expires <= now)
    }

    /// Seconds until the credentials expire, negative afterwards; `None` if there are none, or they do not.
    #[must_use]
    pub fn seconds_left(&self, now: SystemTime) -> Option<f64> {
        let expires = self.lock().issued.as_ref()?.expires?;
        Some(match expires.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(over) => -over.duration().as_secs_f64(),
        })
    }

    /// Records how a request went, and returns the pause before the next; `None` if what was issued does not
    /// expire. `took` is how long the request took, `jitter` is from 0 to 1. A failure leaves the credentials as they are.
    pub fn record(
        &self,
        result: Result<Issued, IssueError>,
        now: SystemTime,
        took: Duration,
        jitter: f64,
    ) -> Option<Duration> {
        let mut state = self.lock();
        let left = |state: &IssuanceState| {
            let expires = state.issued.as_ref()?.expires?;
            Some(expires.duration_since(now).unwrap_or_default())
        };
        let pause = match result {
            Ok(issued) => {
                state.issued = Some(issued);
                state.failures_in_a_row = 0;
                state.last_error = None;
                state.succeeded += 1;
                left(&state).map(|life| renew_after(life, took, jitter))
            }
            Err(error) => {
                state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
                state.last_error = Some(error.to_string());
                state.failed += 1;
                Some(retry_after(state.failures_in_a_row, left(&state)))
            }
        };
        state.pause = pause;
        pause
    }

    /// What the profiles of this provider sign with.
    fn credentials(&self) -> Credentials {
        let state = self.lock();
        let provider = &self.provider;
        match (&state.issued, &state.last_error) {
            (Some(issued), _) => Credentials::Keys {
                keys: issued.keys.clone(),
                source: CredentialSource::Provider {
                    provider: Arc::clone(provider),
                    expires: issued.expires,
                },
            },
            (None, Some(error)) => {
                Credentials::Missing(format!("{provider} has issued none: {error}"))
            }
            (None, None) => Credentials::Missing(format!("{provider} has issued none yet")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, IssuanceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those of the providers of these profiles: the known ones, and new ones where there is none.
#[must_use]
pub fn issuances_of(profiles: &Profiles, known: &[Arc<Issuance>]) -> Vec<Arc<Issuance>> {
    let mut issuances: Vec<Arc<Issuance>> = Vec::new();
    for provider in profiles.iter().filter_map(|profile| profile.provider.as_ref()) {
        if of(provider, &issuances).is_none() {
            let known = of(provider, known).cloned();
            issuances.push(known.unwrap_or_else(|| Issuance::new(provider)));
        }
    }
    issuances
}

/// That of this provider.
#[must_use]
pub fn of<'a>(provider: &Provider, issuances: &'a [Arc<Issuance>]) -> Option<&'a Arc<Issuance>> {
    issuances.iter().find(|issuance| *issuance.provider == *provider)
}

/// The profiles with the credentials that were issued for them.
#[must_use]
pub fn filled(profiles: &Profiles, issuances: &[Arc<Issuance>]) -> Profiles {
    let fill = |profile: &Arc<Profile>| {
        let issuance = profile.provider.as_ref().and_then(|provider| of(provider, issuances));
        match issuance {
            None => Arc::clone(profile),
            Some(issuance) => {
                Arc::new(Profile { credentials: issuance.credentials(), ..Profile::clone(profile) })
            }
        }
    };
    Profiles {
        default: profiles.default.as_ref().map(fill),
        named: profiles.named.iter().map(|(name, it)| (name.clone(), fill(it))).collect(),
        aliases: Arc::clone(&profiles.aliases),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::s3::credentials::Keys;
    use crate::s3::endpoint::Endpoint;
    use crate::s3::secret::Secret;

    const LIFE: Duration = Duration::from_secs(1000);

    fn issued(id: &str, expires: Option<SystemTime>) -> Issued {
        let keys = Keys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new("s".to_owned()),
            session_token: None,
        };
        Issued { keys, expires }
    }

    fn profiles(command: &str) -> Profiles {
        let endpoint = Endpoint::parse("http://a").expect("an endpoint");
        let provider = Some(Arc::new(Provider::Process(vec![command.to_owned()])));
        let profile = Profile { provider, ..Profile::unsigned(None, endpoint) };
        Profiles {
            default: Some(Arc::new(profile)),
            named: Default::default(),
            aliases: Arc::default(),
        }
    }

    fn key_id(profiles: &Profiles) -> Result<String, String> {
        match &profiles.default.as_ref().expect("a profile").credentials {
            Credentials::Keys { keys, .. } => Ok(keys.access_key_id.clone()),
            Credentials::Missing(why) => Err(why.clone()),
            Credentials::Anonymous => panic!("anonymous"),
        }
    }

    /// A failed renewal replaced the credentials in a peer of this gateway.
    #[test]
    fn a_failed_renewal_changes_no_credentials_and_is_retried_sooner_and_sooner_before_the_end() {
        let profiles = profiles("/bin/issue");
        let all = issuances_of(&profiles, &[]);
        let issuance = &all[0];
        let missing = key_id(&filled(&profiles, &all)).expect_err("none yet");
        assert_eq!(missing, "the program /bin/issue has issued none yet");
        let start = UNIX_EPOCH + LIFE;
        let error = || Err(IssueError::from("it answered 500".to_owned()));
        assert_eq!(issuance.record(error(), start, LIFE, 0.0), Some(Duration::from_secs(1)));
        let missing = key_id(&filled(&profiles, &all)).expect_err("none yet");
        assert!(missing.ends_with("issued none: it answered 500"), "{missing}");
        let first = Ok(issued("FIRST", Some(start + LIFE)));
        let none = Duration::ZERO;
        assert_eq!(issuance.record(first, start, none, 0.0), Some(Duration::from_secs(800)));
        for (at, pause) in [(800, 1), (900, 2), (995, 1)] {
            let now = start + Duration::from_secs(at);
            let expected = Duration::from_secs(pause)
                .min((start + LIFE).duration_since(now).expect("left") / 10);
            assert_eq!(issuance.record(error(), now, none, 0.0), Some(expected), "{at}");
            assert_eq!(key_id(&filled(&profiles, &all)), Ok("FIRST".to_owned()));
        }
        let over = start + 2 * LIFE;
        assert_eq!(issuance.record(error(), over, none, 0.0), Some(Duration::from_secs(8)));
        assert_eq!(key_id(&filled(&profiles, &all)), Ok("FIRST".to_owned()), "the store decides");
        assert_eq!(issuance.seconds_left(over), Some(-1000.0));
        assert_eq!(issuance.record(Ok(issued("SECOND", None)), over, none, 0.0), None);
        assert_eq!(key_id(&filled(&profiles, &all)), Ok("SECOND".to_owned()));
        let state = issuance.state();
        assert_eq!((state.succeeded, state.failed, state.last_error), (2, 5, None));
    }

    #[test]
    fn a_reload_keeps_what_an_unchanged_provider_has_issued() {
        let (one, other) = (profiles("/bin/one"), profiles("/bin/other"));
        let all = issuances_of(&one, &[]);
        all[0].record(Ok(issued("ONE", None)), UNIX_EPOCH, Duration::ZERO, 0.0);
        let again = issuances_of(&one, &all);
        assert_eq!(key_id(&filled(&one, &again)), Ok("ONE".to_owned()));
        let changed = issuances_of(&other, &all);
        assert!(key_id(&filled(&other, &changed)).is_err());
    }
}
