//! Live reload: what profiles and credentials are made of is watched, read again when it has changed,
//! and taken over as a whole or not at all. Requests under way finish on what they began with.

mod changes;
mod files;
mod names;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};

use crate::cache::{Cache, CacheKey, PurgeScope};
use crate::config::{self, Effective, Flags, Inputs, Loaded, Problem, Profiles, is_live};
use crate::reload::changes::changes;
use crate::reload::files::{Contents, Noted};
use crate::reload::names::Names;
use crate::reload::watched::{Watched, Why};
use crate::upstream::CurrentStores;

pub use changes::told;

/// How long after an early reading there is no other: a store that knows a key no more says so to
/// every request.
const EARLY_AGAIN: Duration = Duration::from_secs(10);

/// How long files must be as they were read, before what they say is taken over: several are exchanged
/// one after the other, and some are written in place.
const SETTLED: Duration = Duration::from_millis(100);

/// How often files that change while they are read are read once more.
const READINGS: usize = 20;

/// How long files may take to be read before somebody is told.
const SLOW_READING: Duration = Duration::from_secs(2);

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
    by_store: AtomicBool,
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
        self.by_store.store(true, Ordering::Release);
        self.asked.notify_one();
    }

    /// Who has asked since the last time, the operator first.
    fn who(&self) -> Option<Why> {
        let by_store = self.by_store.swap(false, Ordering::AcqRel);
        if self.by_signal.swap(false, Ordering::AcqRel) {
            Some(Why::Operator)
        } else {
            by_store.then_some(Why::Store)
        }
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
    sources: Arc<Sources>,
    stores: Arc<CurrentStores>,
    cache: Option<Arc<Cache>>,
    reloads: Arc<Reloads>,
    /// How often files are looked at; zero: never.
    every: Duration,
    dns_refresh: Duration,
    contents: Contents,
    first: State,
    /// The settings that the process started with.
    started_with: Vec<Effective>,
}

/// What was read last, and was in order.
#[derive(Clone)]
struct State {
    profiles: Profiles,
    settings: Vec<Effective>,
    warnings: Vec<String>,
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
            sources: Arc::new(start.sources.clone()),
            stores,
            cache,
            reloads,
            every: config.server.reload_interval,
            dns_refresh: config.upstream.dns_refresh,
            contents: start.contents.clone(),
            first: State {
                profiles: config.profiles.clone(),
                settings: start.loaded.settings.clone(),
                warnings: start.loaded.warnings.clone(),
            },
            started_with: start.loaded.settings.clone(),
        }
    }

    async fn watch(&self) {
        let mut state = self.first.clone();
        let mut watched = Watched::new(self.contents.clone());
        let mut names = Names::default();
        names.keep(&self.stores, self.dns_refresh);
        let mut due = (!self.every.is_zero()).then(|| {
            let mut due = interval_at(Instant::now() + self.every, self.every);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            due
        });
        let mut last_early: Option<Instant> = None;
        loop {
            let why = self.next(&mut due).await;
            if why == Why::Store {
                if last_early.is_some_and(|last| last.elapsed() < EARLY_AGAIN) {
                    continue;
                }
                last_early = Some(Instant::now());
            }
            let paths = watched.paths();
            let looking = move || Contents::of(paths, &config::read_file);
            let Some(seen) = self.off_thread(looking).await else { continue };
            if watched.is_in_force(&seen) {
                // Whoever has put back what there was before has mended it.
                self.reloads.bad.store(false, Ordering::Relaxed);
            }
            if !watched.is_to_be_read(&seen, why) {
                continue;
            }
            let Some((read, contents)) = self.read(&seen).await else { continue };
            match self.judge(read, &contents, &watched) {
                Ok(loaded) => {
                    self.take_over(loaded, &watched, &contents, &mut state);
                    watched.took_over(contents);
                    names.keep(&self.stores, self.dns_refresh);
                }
                Err(problems) => {
                    self.reloads.note(false);
                    error!(
                        "the configuration cannot be read again, what was read before stays in \
                         force: {}",
                        problems.join("; ")
                    );
                    watched.refused(contents, seen);
                }
            }
        }
    }

    /// Waits until somebody asks, or until files are to be looked at, whichever is first: a store that
    /// refuses a key all the time does not put off the latter.
    async fn next(&self, due: &mut Option<Interval>) -> Why {
        let tick = async {
            match due {
                Some(due) => due.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(tick);
        loop {
            tokio::select! {
                () = self.reloads.asked.notified() => {
                    if let Some(why) = self.reloads.who() {
                        return why;
                    }
                }
                _ = &mut tick => return Why::Due,
            }
        }
    }

    /// Reads everything, all of it of one moment: what is exchanged or written meanwhile is read
    /// again. `None` when that does not come to an end.
    async fn read(&self, seen: &Contents) -> Option<(Result<Loaded, Vec<Problem>>, Contents)> {
        for _ in 0..READINGS {
            let sources = Arc::clone(&self.sources);
            let (read, contents) = self.off_thread(move || sources.read()).await?;
            sleep(SETTLED).await;
            let paths = contents.paths();
            let looking = move || Contents::of(paths, &config::read_file);
            let now = self.off_thread(looking).await?;
            if now == contents {
                return Some((read, contents));
            }
        }
        self.reloads.note(false);
        warn!(
            "the configuration changes while it is read, and is not taken over: {}",
            seen.paths_as_text()
        );
        None
    }

    /// Runs what waits for a disk where it holds up nobody, and says so if that takes long. `None` when
    /// the process is ending.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let mut working = spawn_blocking(work);
        if let Ok(done) = timeout(SLOW_READING, &mut working).await {
            return done.ok();
        }
        self.reloads.note(false);
        error!(
            "the files of the configuration cannot be read within {} s, what was read before stays in \
             force: the disk hangs, or one of them is no regular file",
            SLOW_READING.as_secs()
        );
        working.await.ok()
    }

    /// Whether what was read may be taken over.
    ///
    /// # Errors
    /// What is wrong with it.
    fn judge(
        &self,
        read: Result<Loaded, Vec<Problem>>,
        contents: &Contents,
        watched: &Watched,
    ) -> Result<Loaded, Vec<String>> {
        let loaded =
            read.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let lost = watched.in_force().lost(contents);
        if lost.is_empty() { Ok(loaded) } else { Err(lost) }
    }

    /// Takes over what is in order.
    fn take_over(&self, loaded: Loaded, watched: &Watched, contents: &Contents, state: &mut State) {
        let profiles = loaded.config.profiles;
        let changes = changes(&state.profiles, &profiles);
        self.stores.replace(&profiles);
        for outdated in &changes.outdated {
            if let Some(cache) = &self.cache {
                cache.purge(&CacheKey::of_profile(outdated.name.as_deref()), PurgeScope::Prefix);
            }
        }
        for warning in loaded.warnings.iter().filter(|new| !state.warnings.contains(new)) {
            warn!("{warning}");
        }
        if changes.lines.is_empty() {
            info!("the configuration was read again: the profiles are as before");
        } else {
            info!("the configuration was read again: {}", changes.lines.join("; "));
        }
        // Told when there is something new to it, and then with all that waits.
        let mut new = needs_restart(&state.settings, &loaded.settings);
        let mut waiting = needs_restart(&self.started_with, &loaded.settings);
        let of_profiles = [&loaded.config_file, &loaded.credentials_file];
        let beside = watched
            .in_force()
            .changed(contents)
            .into_iter()
            .filter(|path| !of_profiles.iter().any(|known| known.as_ref() == Some(path)));
        for path in beside {
            let path = format!("what {} holds", path.display());
            new.push(path.clone());
            waiting.push(path);
        }
        if !new.is_empty() && !waiting.is_empty() {
            warn!("changed, but in force only after a restart: {}", waiting.join(", "));
        }
        *state = State { profiles, settings: loaded.settings, warnings: loaded.warnings };
        self.reloads.note(true);
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
