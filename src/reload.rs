//! Live reload: the files of profiles and credentials are watched and read again when they change. A new
//! configuration is applied as a whole or not at all; requests in flight finish with the one they began with.

mod certificates;
mod changes;
mod endpoint_watch;
mod files;
mod names;
mod renewals;
mod sources;
mod store_certificates;
mod watched;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};

use crate::cache::{Cache, CacheKey, PurgeScope};
use crate::config::{self, Effective, Loaded, Problem, Profiles, is_live};
use crate::downstream::tls::TlsAcceptors;
use crate::profile::Profile;
use crate::protocol::cors::Cors;
use crate::reload::changes::changes;
use crate::reload::endpoint_watch::EndpointWatch;
use crate::reload::files::Snapshot;
use crate::reload::names::EndpointLookups;
use crate::reload::renewals::Renewals;
use crate::reload::sources::{CertificateTexts, Reading};
use crate::reload::watched::{Trigger, WatchedFiles};
use crate::trace::Tracer;
use crate::upstream::CurrentStores;
use crate::upstream::issue::Issuer;
use crate::upstream::probe::Probes;

pub use crate::s3::credentials::masked_id;
pub use certificates::{certificate_line, not_valid_line};
pub use changes::profile_lines;
pub use sources::{Sources, Start};
pub use store_certificates::warn_of_client_certificates;

/// Minimum time between two reloads that a store triggers: a store that does not know an access key says
/// so to every request.
const STORE_TRIGGER_INTERVAL: Duration = Duration::from_secs(10);

/// How long files must stay unchanged after they are read before they are applied: several files are
/// replaced one after the other, and some are written in place.
const SETTLED: Duration = Duration::from_millis(100);

/// Attempts to read files that change while they are read.
const READ_ATTEMPTS: usize = 20;

/// Reading files may take this long before it is logged as an error.
const SLOW_READ: Duration = Duration::from_secs(2);

/// Requests to reload the configuration, and the results of reloads.
#[derive(Debug, Default)]
pub struct Reloads {
    requested: Notify,
    /// SIGHUP was received.
    by_signal: AtomicBool,
    /// A store refused an access key.
    by_store: AtomicBool,
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
    /// Seconds since the Unix epoch; 0 for never.
    pub last_success: AtomicU64,
    pub last_failure: AtomicU64,
    failing: AtomicBool,
    /// The CORS settings in force; `None`: no CORS headers.
    pub cors: ArcSwapOption<Cors>,
}

impl Reloads {
    /// Requests a reload by the operator.
    pub fn request_now(&self) {
        self.by_signal.store(true, Ordering::Release);
        self.requested.notify_one();
    }

    /// Requests a reload because a store does not know an access key: it may have been rotated a moment ago.
    pub fn early(&self) {
        self.by_store.store(true, Ordering::Release);
        self.requested.notify_one();
    }

    /// The trigger since the last call; the operator's comes first.
    fn take_trigger(&self) -> Option<Trigger> {
        let by_store = self.by_store.swap(false, Ordering::AcqRel);
        if self.by_signal.swap(false, Ordering::AcqRel) {
            Some(Trigger::Operator)
        } else {
            by_store.then_some(Trigger::Store)
        }
    }

    /// Whether the files are invalid now and the previous configuration stays in force.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn record(&self, success: bool) {
        self.failing.store(!success, Ordering::Relaxed);
        let (count, last) = match success {
            true => (&self.succeeded, &self.last_success),
            false => (&self.failed, &self.last_failure),
        };
        count.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::disallowed_methods, reason = "the metric says when")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        last.store(now.as_secs(), Ordering::Relaxed);
    }
}

/// Applies changes of the files to the stores, and keeps the addresses of their endpoints fresh.
pub struct Reloader {
    sources: Arc<Sources>,
    stores: Arc<CurrentStores>,
    cache: Option<Arc<Cache>>,
    reloads: Arc<Reloads>,
    probes: Arc<Probes>,
    issuer: Arc<Issuer>,
    tracer: Option<Arc<Tracer>>,
    tls: TlsAcceptors,
    /// How often files are checked; zero: never.
    interval: Duration,
    dns_refresh: Duration,
    files: Snapshot,
    initial: AppliedConfig,
    /// The settings that the process started with.
    started_with: Vec<Effective>,
}

/// The part of the configuration in force that reloads compare with.
#[derive(Clone)]
struct AppliedConfig {
    profiles: Profiles,
    settings: Vec<Effective>,
    warnings: Vec<String>,
    /// The files of TLS.
    tls_files: Vec<PathBuf>,
    certificates: CertificateTexts,
}

/// A valid configuration, its files, and their certificates.
type Accepted = (Loaded, Snapshot, CertificateTexts);

impl Reloader {
    /// A reloader that applies changes of the files of `start` to these stores.
    #[must_use]
    pub fn new(
        start: &Start,
        stores: Arc<CurrentStores>,
        cache: Option<Arc<Cache>>,
        reloads: Arc<Reloads>,
        probes: Arc<Probes>,
        issuer: Arc<Issuer>,
        tls: TlsAcceptors,
    ) -> Self {
        let config = &start.loaded.config;
        Self {
            sources: Arc::new(start.sources.clone()),
            stores,
            cache,
            reloads,
            probes,
            issuer,
            tls,
            tracer: None,
            interval: config.server.reload_interval,
            dns_refresh: config.upstream.dns_refresh,
            files: start.files.clone(),
            initial: AppliedConfig {
                profiles: config.profiles.clone(),
                settings: start.loaded.settings.clone(),
                warnings: start.loaded.warnings.clone(),
                tls_files: certificates::paths(config),
                certificates: start.certificates.clone(),
            },
            started_with: start.loaded.settings.clone(),
        }
    }

    /// The same, which also applies the settings of traces.
    #[must_use]
    pub fn with_tracer(self, tracer: Option<Arc<Tracer>>) -> Self {
        Self { tracer, ..self }
    }

    async fn watch(&self) {
        let mut applied = self.initial.clone();
        let mut watched = WatchedFiles::new(self.files.clone());
        let mut lookups = EndpointLookups::default();
        lookups.update(&self.stores, self.dns_refresh);
        let mut renewals = Renewals::new(&self.issuer, &self.stores, &self.probes);
        renewals.update();
        let mut endpoints = EndpointWatch::default();
        endpoints.update(&self.stores, &self.probes);
        self.probes.start(None, &self.stores.load());
        let mut ticks = (!self.interval.is_zero()).then(|| {
            let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut last_by_store: Option<Instant> = None;
        loop {
            let trigger = self.next_trigger(&mut ticks).await;
            if trigger == Trigger::Store {
                if last_by_store.is_some_and(|last| last.elapsed() < STORE_TRIGGER_INTERVAL) {
                    continue;
                }
                last_by_store = Some(Instant::now());
                renewals.renew_now();
            }
            let paths = watched.paths();
            let take_snapshot = move || Snapshot::of(paths, &config::read_file);
            let Some(seen) = self.run_blocking(take_snapshot).await else { continue };
            if watched.is_in_force(&seen) {
                // The previous contents are back: the mistake is corrected.
                self.reloads.failing.store(false, Ordering::Relaxed);
            }
            if !watched.should_read(&seen, trigger) {
                continue;
            }
            let none = CertificateTexts::default();
            let Some(reading) = self.read_settled(&seen, &none).await else { continue };
            let (accepted, rejected) = match self.validate(reading, &watched) {
                Ok(accepted) => (Some(accepted), None),
                Err(rejected) => {
                    (self.read_the_rest(&seen, &watched, &applied).await, Some(rejected))
                }
            };
            let is_applied = accepted.is_some();
            if let Some((loaded, files, texts)) = accepted {
                self.stores.prepare(&loaded.config.profiles, &self.issuer).await;
                self.apply((loaded, texts), &watched, &files, &mut applied);
                watched.applied(files);
                lookups.update(&self.stores, self.dns_refresh);
                renewals.update();
                endpoints.update(&self.stores, &self.probes);
            }
            if let Some((problems, files)) = rejected {
                self.reloads.record(false);
                let what = match is_applied {
                    true => "certificates not replaced, the previous ones stay in force",
                    false => {
                        "configuration not reloaded, the previous configuration stays in force"
                    }
                };
                error!("{what}: {}", problems.join("; "));
                watched.rejected(files, seen);
            }
        }
    }

    /// What has changed besides certificates that cannot be used; `None` if that is nothing, or wrong, too.
    async fn read_the_rest(
        &self,
        seen: &Snapshot,
        watched: &WatchedFiles,
        applied: &AppliedConfig,
    ) -> Option<Accepted> {
        let reading = self.read_settled(seen, &applied.certificates).await?;
        let accepted = self.validate(reading, watched).ok();
        accepted.filter(|(_, files, _)| !watched.is_in_force(files))
    }

    /// Waits for a request to reload or for the next tick, whichever comes first. Requests of a store
    /// that refuses an access key all the time do not delay the tick.
    async fn next_trigger(&self, ticks: &mut Option<Interval>) -> Trigger {
        let tick = async {
            match ticks {
                Some(ticks) => ticks.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(tick);
        loop {
            tokio::select! {
                () = self.reloads.requested.notified() => {
                    if let Some(trigger) = self.reloads.take_trigger() {
                        return trigger;
                    }
                }
                _ = &mut tick => return Trigger::Interval,
            }
        }
    }

    /// Reads all files but these certificates as one consistent snapshot: if one changes meanwhile, all are read
    /// again. `None` if they do not stop changing.
    async fn read_settled(
        &self,
        seen: &Snapshot,
        certificates: &CertificateTexts,
    ) -> Option<Reading> {
        for _ in 0..READ_ATTEMPTS {
            let (sources, kept) = (Arc::clone(&self.sources), certificates.clone());
            let reading = self.run_blocking(move || sources.read(&kept)).await?;
            sleep(SETTLED).await;
            let (paths, kept) = (reading.files.paths(), certificates.clone());
            let take_snapshot = move || Sources::snapshot(paths, &kept);
            let now = self.run_blocking(take_snapshot).await?;
            if now == reading.files {
                return Some(reading);
            }
        }
        self.reloads.record(false);
        warn!(
            "configuration not reloaded: its files change while they are read: {}",
            seen.paths_as_text()
        );
        None
    }

    /// Runs blocking reads on a thread of their own, and logs an error if they take long. `None` when the
    /// process is ending.
    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let mut working = spawn_blocking(work);
        if let Ok(done) = timeout(SLOW_READ, &mut working).await {
            return done.ok();
        }
        self.reloads.record(false);
        error!(
            "the configuration files cannot be read within {} s: the disk hangs, or one of them is not \
             a regular file; the previous configuration stays in force",
            SLOW_READ.as_secs()
        );
        working.await.ok()
    }

    /// Whether this reading may be applied.
    ///
    /// # Errors
    /// Every mistake, and every file that is now empty or unreadable.
    fn validate(
        &self,
        Reading { result, files, certificates }: Reading,
        watched: &WatchedFiles,
    ) -> Result<Accepted, (Vec<String>, Snapshot)> {
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(problems) => {
                return Err((problems.iter().map(Problem::to_string).collect(), files));
            }
        };
        let mut problems = watched.in_force().lost(&files);
        #[expect(clippy::disallowed_methods, reason = "a certificate is valid for some time")]
        let now = SystemTime::now();
        problems.extend(certificates::problems(&self.tls, &loaded.config, now));
        match problems.is_empty() {
            true => Ok((loaded, files, certificates)),
            false => Err((problems, files)),
        }
    }

    /// Applies a valid configuration.
    fn apply(
        &self,
        (loaded, certificates): (Loaded, CertificateTexts),
        watched: &WatchedFiles,
        files: &Snapshot,
        applied: &mut AppliedConfig,
    ) {
        let profiles = loaded.config.profiles.clone();
        let changes = changes(&applied.profiles, &profiles);
        let before = self.stores.load();
        self.stores.replace(&profiles);
        self.probes.start(Some(&before), &self.stores.load());
        self.reloads.cors.store(loaded.config.cors.clone().map(Arc::new));
        let changed = watched.in_force().changed(files);
        let tls_files = certificates::paths(&loaded.config);
        // Without client_ca_file there is one file less, and the others are the same.
        let is_other = tls_files != applied.tls_files;
        if is_other || tls_files.iter().any(|it| changed.contains(&it)) {
            certificates::replace(&self.tls, &loaded.config);
        }
        let of_new = |profile: &&Arc<Profile>| {
            let before = applied.profiles.get(profile.name.as_deref());
            before.is_none_or(|before| before.tls != profile.tls)
        };
        warn_of_client_certificates(profiles.iter().filter(of_new));
        log::set_max_level(loaded.config.log.level);
        let tracing = loaded.config.tracing.as_ref();
        if let Some((tracer, tracing)) = self.tracer.as_ref().zip(tracing) {
            tracer.set(tracing.sample, tracing.trust_clients);
        }
        for outdated in &changes.outdated {
            if let Some(cache) = &self.cache {
                // Answers that other settings have made are other values in the shared tier.
                let _goes_on = cache.purge_here(
                    &CacheKey::of_profile(outdated.name.as_deref()),
                    PurgeScope::Prefix,
                );
            }
        }
        for warning in loaded.warnings.iter().filter(|new| !applied.warnings.contains(new)) {
            warn!("{warning}");
        }
        if changes.lines.is_empty() {
            info!("configuration reloaded: profiles unchanged");
        } else {
            info!("configuration reloaded: {}", changes.lines.join("; "));
        }
        // Logged only when something new needs a restart, and then with everything that does.
        let mut new = needs_restart(&applied.settings, &loaded.settings);
        let mut pending = needs_restart(&self.started_with, &loaded.settings);
        let engine = loaded.config.cache.shared.as_ref().map(|shared| &shared.engine);
        // Read again for each connection to the engine.
        let password_file = engine.and_then(|engine| engine.password_file.clone());
        let headers_file = tracing.and_then(|tracing| tracing.headers_file.clone());
        let live_files =
            [&loaded.config_file, &loaded.credentials_file, &password_file, &headers_file];
        let of_stores = |path: &PathBuf| {
            let mut all = profiles.iter().filter_map(|profile| profile.tls.as_ref());
            all.any(|tls| tls.files.contains(path))
        };
        let other_files = changed.into_iter().filter(|path| {
            !tls_files.contains(path)
                && (!of_stores(path) || loaded.config.upstream.ca_file.as_ref() == Some(path))
                && !live_files.iter().any(|known| known.as_ref() == Some(path))
        });
        for path in other_files {
            let path = format!("contents of {}", path.display());
            new.push(path.clone());
            pending.push(path);
        }
        if !new.is_empty() && !pending.is_empty() {
            warn!("restart required for: {}", pending.join(", "));
        }
        *applied = AppliedConfig {
            profiles,
            settings: loaded.settings,
            warnings: loaded.warnings,
            tls_files,
            certificates,
        };
        self.reloads.record(true);
    }
}

/// Settings that differ and need a restart.
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
