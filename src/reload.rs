//! Live reload: what profiles and credentials are made of is watched, read again when it has changed,
//! and taken over as a whole or not at all. Requests under way finish on what they began with.

mod changes;
mod files;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::cache::key::CacheKey;
use crate::cache::purges::Reach;
use crate::config::{self, Effective, Flags, Inputs, Loaded, Problem, Profiles, is_live};
use crate::reload::changes::changes;
use crate::reload::files::{Contents, Noted};
use crate::upstream::CurrentStores;
use crate::upstream::resolve::EndpointAddresses;

pub use changes::told;

/// How long after an early reading there is no other: a store that knows a key no more says so to
/// every request.
const EARLY_AGAIN: Duration = Duration::from_secs(10);

/// What a configuration is read from, each time.
#[derive(Debug, Clone)]
pub struct Sources {
    pub environment: BTreeMap<String, String>,
    pub flags: Flags,
    /// See [`Inputs::processors`].
    pub processors: usize,
}

/// How the process is told to read its configuration again, and what came of it.
#[derive(Debug, Default)]
pub struct Reloads {
    asked: Notify,
    /// Asked by an operator, not by a store that refused a key.
    by_signal: AtomicBool,
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
    /// Seconds since the Unix epoch; 0 for never.
    pub last_success: AtomicU64,
    pub last_failure: AtomicU64,
    bad: AtomicBool,
}

impl Reloads {
    /// Has everything read again now.
    pub fn now(&self) {
        self.by_signal.store(true, Ordering::Release);
        self.asked.notify_one();
    }

    /// A store knows a key no more: it may have been exchanged a moment ago.
    pub fn early(&self) {
        self.asked.notify_one();
    }

    /// Whether what is written now is wrong, and what was read before is in force.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.bad.load(Ordering::Relaxed)
    }

    fn note(&self, well: bool) {
        self.bad.store(!well, Ordering::Relaxed);
        let (count, last) = match well {
            true => (&self.succeeded, &self.last_success),
            false => (&self.failed, &self.last_failure),
        };
        count.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::disallowed_methods, reason = "operators want to know when")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        last.store(now.as_secs(), Ordering::Relaxed);
    }
}

/// A configuration with what it was read from.
pub struct Start {
    pub sources: Sources,
    pub loaded: Loaded,
    contents: Contents,
}

impl Sources {
    /// Reads the configuration for the first time.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(self) -> Result<Start, Vec<Problem>> {
        let (read, contents) = self.read();
        read.map(|loaded| Start { sources: self, loaded, contents })
    }

    fn read(&self) -> (Result<Loaded, Vec<Problem>>, Contents) {
        let noted = Noted::new(&config::read_file);
        let loaded = config::load(&Inputs {
            environment: self.environment.clone(),
            flags: self.flags.clone(),
            processors: self.processors,
            read: &|path| noted.read(path),
        });
        (loaded, noted.contents())
    }
}

/// Keeps the stores as the files say, and their addresses fresh.
pub struct Reloader {
    sources: Sources,
    stores: Arc<CurrentStores>,
    cache: Option<Arc<Cache>>,
    reloads: Arc<Reloads>,
    /// How often files are looked at; zero: never.
    every: Duration,
    dns_refresh: Duration,
    first: State,
}

/// What is in force.
#[derive(Clone)]
struct State {
    contents: Contents,
    profiles: Profiles,
    settings: Vec<Effective>,
}

impl Reloader {
    /// Keeps these stores as the files say that `start` was read from.
    #[must_use]
    pub fn new(
        start: &Start,
        stores: Arc<CurrentStores>,
        cache: Option<Arc<Cache>>,
        reloads: Arc<Reloads>,
    ) -> Self {
        let config = &start.loaded.config;
        Self {
            sources: start.sources.clone(),
            stores,
            cache,
            reloads,
            every: config.server.reload_interval,
            dns_refresh: config.upstream.dns_refresh,
            first: State {
                contents: start.contents.clone(),
                profiles: config.profiles.clone(),
                settings: start.loaded.settings.clone(),
            },
        }
    }

    async fn watch(&self) {
        let mut state = self.first.clone();
        let mut names = Names::default();
        names.keep(&self.stores, self.dns_refresh);
        // What was seen once and may still be being written, and what was no good.
        let (mut unsettled, mut bad) = (None, None);
        let mut last_early: Option<Instant> = None;
        loop {
            let asked = self.asked_or_due().await;
            let by_signal = self.reloads.by_signal.swap(false, Ordering::AcqRel);
            if asked && !by_signal {
                if last_early.is_some_and(|last| last.elapsed() < EARLY_AGAIN) {
                    continue;
                }
                last_early = Some(Instant::now());
            }
            let seen = state.contents.now(&config::read_file);
            if seen == state.contents && !by_signal {
                // Whoever has put back what there was before has mended it.
                (unsettled, bad) = (None, None);
                self.reloads.bad.store(false, Ordering::Relaxed);
                continue;
            }
            if !asked && (bad.as_ref() == Some(&seen) || unsettled.as_ref() != Some(&seen)) {
                unsettled = Some(seen);
                continue;
            }
            unsettled = None;
            bad = match self.reload(&mut state) {
                Ok(()) => {
                    names.keep(&self.stores, self.dns_refresh);
                    None
                }
                Err(contents) => Some(contents),
            };
        }
    }

    /// Waits until somebody asks (true), or until files are to be looked at.
    async fn asked_or_due(&self) -> bool {
        let asked = self.reloads.asked.notified();
        if self.every.is_zero() {
            asked.await;
            return true;
        }
        tokio::time::timeout(self.every, asked).await.is_ok()
    }

    /// Takes over what is written now.
    ///
    /// # Errors
    /// When it is wrong; what it was read from.
    fn reload(&self, state: &mut State) -> Result<(), Contents> {
        let (read, contents) = self.sources.read();
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(problems) => {
                self.reloads.note(false);
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                error!(
                    "the configuration cannot be read again, what was read before stays in force: {}",
                    problems.join("; ")
                );
                return Err(contents);
            }
        };
        let profiles = loaded.config.profiles;
        let changes = changes(&state.profiles, &profiles);
        self.stores.replace(&profiles);
        for outdated in &changes.outdated {
            if let Some(cache) = &self.cache {
                cache.purge(&CacheKey::of_profile(outdated.name.as_deref()), Reach::Prefix);
            }
        }
        for warning in loaded.warnings {
            warn!("{warning}");
        }
        if changes.lines.is_empty() {
            info!("the configuration was read again: the profiles are as before");
        } else {
            info!("the configuration was read again: {}", changes.lines.join("; "));
        }
        let waiting = needs_restart(&state.settings, &loaded.settings);
        if !waiting.is_empty() {
            warn!("changed, but in force only after a restart: {}", waiting.join(", "));
        }
        // What needs a restart is told once.
        *state = State { contents, profiles, settings: loaded.settings };
        self.reloads.note(true);
        Ok(())
    }
}

/// Settings that differ and are not taken over.
fn needs_restart(old: &[Effective], new: &[Effective]) -> Vec<String> {
    let value = |settings: &[Effective], key: &str| {
        settings.iter().find(|setting| setting.key == key).map(|setting| setting.value.clone())
    };
    let mut keys: Vec<_> = old.iter().chain(new).map(|setting| setting.key.clone()).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| !is_live(key) && value(old, key) != value(new, key));
    keys
}

#[async_trait]
impl BackgroundService for Reloader {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.watch() => {}
            _ended = shutdown.changed() => {}
        }
    }
}

/// The lookups of names that are kept up.
#[derive(Default)]
struct Names(Vec<(Arc<EndpointAddresses>, JoinHandle<()>)>);

impl Names {
    /// Looks up the names of these stores, and no others.
    fn keep(&mut self, stores: &CurrentStores, every: Duration) {
        let stores = stores.load();
        let asked = stores.endpoints();
        self.0.retain(|(addresses, lookups)| {
            let stays = asked.iter().any(|asked| Arc::ptr_eq(asked, addresses));
            if !stays {
                lookups.abort();
            }
            stays
        });
        for addresses in asked {
            if !self.0.iter().any(|(known, _)| Arc::ptr_eq(known, addresses)) {
                let looked_up = Arc::clone(addresses);
                let lookups = tokio::spawn(async move { looked_up.keep_fresh(every).await });
                self.0.push((Arc::clone(addresses), lookups));
            }
        }
    }
}
