//! From a configuration to a running process: Pingora's server, the listeners, live reload, and a
//! shutdown that loses no request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use log::{info, warn};
use pingora::apps::HttpServerOptions;
use pingora::proxy::http_proxy;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{ExecutionPhase, RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use tokio::time::timeout;

use crate::admin::Admin;
use crate::cache::Cache;
use crate::cache::memory::limit::budget;
use crate::collector::TraceCollector;
use crate::config::{Config, TlsConfig};
use crate::downstream::app::{Guarded, OneRequest};
use crate::downstream::drain::{FIRST_REQUEST, Lifecycle};
use crate::downstream::http2::Http2;
use crate::downstream::limits::ClientLimits;
use crate::downstream::opening::Openings;
use crate::engine::Engine;
use crate::gateway::front::Front;
use crate::gateway::pages::VERSION;
use crate::gateway::{Gateway, GatewayDependencies};
use crate::protocol::request_id::new_request_id;
use crate::reload::{Reloader, Reloads, Start, profile_lines, warn_of_client_certificates};
use crate::response::object_head::ObjectHeads;
use crate::server::listeners::listener;
use crate::server::public_listener::PublicListener;
use crate::server::shutdown::ShutdownSignals;
use crate::upstream::CurrentStores;
use crate::upstream::certificates::{CertificatesError, Trusted};
use crate::upstream::client::StoreClient;
use crate::upstream::issue::Issuer;
use crate::upstream::probe::Probes;
use crate::upstream::retry::MAX_ATTEMPTS;

mod listeners;
mod public_listener;
mod shutdown;
mod upgrade;

/// How long the end of the process waits for the engine of the shared tier.
const GOOD_BYE: Duration = Duration::from_millis(500);
/// Limit of connections to the admin listener: probes, scrapers and operators need a few.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// Serves until a signal ends the process. Returns when all requests have ended, or the grace period is
/// over. `upgrade` takes over the sockets of a running process that receives SIGQUIT.
///
/// # Errors
/// The clock is before 1970, an address cannot be bound, certificates cannot be read, or signals cannot be received.
pub fn run(start: &Start, upgrade: bool) -> Result<(), StartError> {
    let config = &start.loaded.config;
    #[expect(clippy::disallowed_methods, reason = "a clock that is far off is reported")]
    let now = SystemTime::now();
    if !is_sayable(now) {
        return Err(StartError::Clock);
    }
    Trusted::read(&config.upstream).map_err(StartError::Certificates)?;
    match &config.server.upgrade_sock {
        Some(socket) => upgrade::check(socket).map_err(StartError::UpgradeSock)?,
        None if upgrade => {
            return Err(StartError::UpgradeSock("is not set, and --upgrade needs it".to_owned()));
        }
        None => {}
    }
    let lifecycle = Arc::new(Lifecycle::default());
    let (finished, finish) = sync_channel(2);
    let reloads = Arc::new(Reloads::default());
    let signals = ShutdownSignals::new(
        Arc::clone(&lifecycle),
        &config.server,
        finished.clone(),
        Arc::clone(&reloads),
    );
    let signals = signals.map_err(StartError::Signals)?;
    if !upgrade {
        listeners::try_all(config)?;
    }
    let stores = Arc::new(CurrentStores::new(&config.profiles, &config.upstream));
    let issuer = Arc::new(Issuer::new(&config.upstream));
    let at_end = Arc::clone(&issuer);
    request_first_credentials(config, &stores, &issuer).map_err(StartError::Runtime)?;
    let server_conf = pingora_conf(config);
    let heads = Arc::new(ObjectHeads::new(config));
    let cache = cache(config, &heads)?;
    let limits = Arc::new(ClientLimits::new(
        max_connections(config),
        config.downstream.max_requests_per_user,
    ));
    let collector = config.tracing.as_ref().map(|tracing| {
        // A process has no other name that is its own.
        TraceCollector::new(tracing, &config.upstream, VERSION, new_request_id())
    });
    let tracer = collector.as_ref().map(|collector| Arc::clone(collector.tracer()));
    let tls = listeners::tls_acceptors(config)?;
    let http2 = config.speaks_http2().then(Arc::default);
    let proxy_headers = listeners::expect_proxy_headers(config).then(Arc::default);
    let shared = GatewayDependencies {
        stores: Arc::clone(&stores),
        cache: cache.clone(),
        heads,
        lifecycle: Arc::clone(&lifecycle),
        reloads: Arc::clone(&reloads),
        metrics: Arc::default(),
        limits,
        tls,
        tracer: tracer.clone(),
        proxy_headers,
        http2: http2.clone(),
    };
    let gateway = Gateway::new(config, shared.clone());
    let opt = Opt { upgrade, ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(opt, server_conf);
    server.bootstrap();
    let mut proxy = http_proxy(&server.configuration, gateway.clone());
    let mut options = HttpServerOptions::default();
    // The gateway refuses CONNECT like any other method, with its own headers.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let guarded = Guarded::new(
        Front::new(gateway, proxy, config.downstream.keepalive_timeout),
        "downstream.max_connections",
        config,
        Arc::clone(&shared.limits),
        Arc::clone(&shared.metrics),
    )
    .with_tls(Openings::public(config), shared.tls.public.clone())
    .counted_by(Arc::clone(&lifecycle))
    .with_hsts(config.tls.as_ref().and_then(|tls| tls.hsts.as_ref()))
    .behind(listeners::trusted_proxies(config), shared.proxy_headers.clone().unwrap_or_default());
    let guarded = match http2 {
        Some(counts) => {
            guarded.with_http2(Http2::new(config.downstream, Arc::clone(&lifecycle), counts))
        }
        None => guarded,
    };
    let mut service = Service::new("gateway".to_owned(), guarded);
    for address in listeners::public_addresses(config) {
        service.add_listener(listener(config, address));
    }
    let cache_with_shared = cache.clone().filter(|_| config.cache.shared.is_some());
    server.add_service(PublicListener { service, cache: cache_with_shared });
    let probes = Arc::new(Probes::new(&config.upstream));
    if let Some(address) = config.admin_listen {
        let limits = Arc::new(ClientLimits::new(MAX_ADMIN_CONNECTIONS, 0));
        // The metrics of requests count the public listener alone.
        let uncounted = Arc::default();
        let name = "of the admin listener";
        let admin = Admin::new(&shared, &probes, config);
        let mut sampler = background_service("status", admin.sampler());
        sampler.threads = Some(1);
        server.add_service(sampler);
        let admin = OneRequest::new(admin, config.downstream.header_timeout);
        let admin = Guarded::new(admin, name, config, limits, uncounted)
            .with_tls(Openings::admin(config), shared.tls.admin.clone());
        let mut service = Service::new("admin".to_owned(), admin);
        service.threads = Some(1);
        service.add_listener(listener(config, address));
        server.add_service(service);
    }
    let reloader =
        Reloader::new(start, stores, cache.clone(), reloads, probes, issuer, shared.tls.clone())
            .with_tracer(tracer);
    let mut reloader = background_service("reload", reloader);
    reloader.threads = Some(1);
    server.add_service(reloader);

    if let Some(collector) = &collector {
        let mut traces = background_service("traces", TraceService(Arc::clone(collector)));
        traces.threads = Some(1);
        server.add_service(traces);
    }

    if let Some(cache) = cache.as_ref().filter(|_| config.cache.shared.is_some()) {
        let mut replicas = background_service("replicas", ReplicaService(Arc::clone(cache)));
        replicas.threads = Some(1);
        server.add_service(replicas);
    }

    if let Some(cache) = cache.as_ref().filter(|_| config.cache.pin_share > 0) {
        let mut pinned = background_service("pinned", PinService(Arc::clone(cache)));
        pinned.threads = Some(1);
        server.add_service(pinned);
    }

    log_profiles(start);
    log_tiers(config, cache.as_deref());
    if let Some(tracing) = &config.tracing {
        info!("traces: spans are sent to {}", tracing.endpoint);
    }
    warn_of_client_certificates(config.profiles.iter());
    listeners::log(config);
    run_until_finished(server, signals, &lifecycle, cache.clone(), finished, &finish);
    if let Some(cache) = cache {
        cache.close();
    }
    if let Some(collector) = collector {
        collector.end(GOOD_BYE);
    }
    at_end.end(GOOD_BYE);
    info!("s3proxy stopped");
    Ok(())
}

/// Requests the first credentials of providers, before the first request of a client.
fn request_first_credentials(
    config: &Config,
    stores: &CurrentStores,
    issuer: &Arc<Issuer>,
) -> std::io::Result<()> {
    if stores.issuances().is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stores.prepare(&config.profiles, issuer));
    // A read or a lookup that hangs does not end, and would hold the start.
    runtime.shutdown_background();
    Ok(())
}

/// Logs which stores are served, with which access keys, and to whom.
fn log_profiles(start: &Start) {
    let config = &start.loaded.config;
    for line in profile_lines(&config.profiles) {
        info!("{line}");
    }
    if config.profiles.default.is_none() {
        info!(
            "no default profile: URLs without profile@ are refused, because the configuration file \
             has no default_profile section and S3_ENDPOINT_URL is not set"
        );
    }
    // Those that answer anybody.
    let redirects = config.tls.as_ref().is_some_and(|tls| tls.redirect_port.is_some());
    let plain = config.gateway.listen.iter().filter(|_| !redirects);
    let open = |tls: &&TlsConfig| tls.files.client_authorities.is_none();
    let with_tls = config.tls.iter().filter(open).flat_map(|tls| &tls.listen);
    let mut all = plain.chain(with_tls).map(|listen| listen.address);
    if let Some(listen) = all.find(|address| address.ip().is_unspecified())
        && !config.gateway.require_user
    {
        info!(
            "listening on {}, every network of this machine: without an ingress in front, everyone \
             who reaches port {} can read all that these profiles can; listen on 127.0.0.1 to serve \
             this machine alone",
            listen.ip(),
            listen.port()
        );
    }
}

/// Logs the sizes of the cache.
fn log_tiers(config: &Config, cache: Option<&Cache>) {
    let Some(cache) = cache else { return info!("no cache: cache.memory is 0") };
    let memory: u64 = cache.tiers().iter().filter(|it| it.name != "disk").map(|it| it.limit).sum();
    let disk = match &config.cache.disk {
        Some(disk) => format!("{} bytes on disk in {}", disk.size, disk.path.display()),
        None => "nothing on disk".to_owned(),
    };
    info!("cache: at most {memory} bytes in memory, {disk}");
    if let Some(shared) = &config.cache.shared {
        info!("cache: shared with other replicas in {}", shared.engine.url);
    }
}

/// Keeps the cache in step with those of other replicas, as long as the process runs.
struct ReplicaService(Arc<Cache>);

#[async_trait]
impl BackgroundService for ReplicaService {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.0.serve_replicas() => {}
            _ended = shutdown.changed() => {}
        }
        let _in_time = timeout(GOOD_BYE, self.0.leave_replicas()).await;
    }
}

/// Refreshes pinned objects, as long as the process runs.
struct PinService(Arc<Cache>);

#[async_trait]
impl BackgroundService for PinService {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.0.refresh_pinned() => {}
            _ended = shutdown.changed() => {}
        }
    }
}

/// Sends spans to the collector until the process ends: the last requests have spans, too.
struct TraceService(Arc<TraceCollector>);

#[async_trait]
impl BackgroundService for TraceService {
    async fn start(&self, _shutdown: ShutdownWatch) {
        self.0.run().await;
    }
}

/// Limit of client connections: as configured, unless the open-file limit is too low for it.
fn max_connections(config: &Config) -> usize {
    let configured = config.downstream.max_connections;
    // Raise the soft limit: the hard limit is the one that an operator sets.
    let files = rlimit::increase_nofile_limit(u64::MAX).ok();
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    // A quarter is left for connections to stores, the disk tier and the log.
    let possible = files / 4 * 3;
    if possible < configured {
        warn!(
            "open-file limit is {files}: accepting at most {possible} connections, not \
             downstream.max_connections ({configured})"
        );
    }
    configured.min(possible)
}

/// The cache, unless it is off.
///
/// # Errors
/// The CA certificates of the engine of the shared tier cannot be read.
fn cache(config: &Config, heads: &Arc<ObjectHeads>) -> Result<Option<Arc<Cache>>, StartError> {
    let memory = budget(config);
    if memory == 0 {
        return Ok(None);
    }
    let shared = config.cache.shared.as_ref();
    let engine = shared.map(|shared| Engine::new(&shared.engine)).transpose();
    let engine = engine.map_err(StartError::Engine)?;
    let client = StoreClient::new(&config.upstream);
    Ok(Some(Cache::new(memory, &config.cache, engine, client, Arc::clone(heads))))
}

/// Whether HTTP can say this time: a date has four digits of the year (RFC 9110, section 5.6.7), and Pingora
/// and `httpdate` panic before 1970 and after 9999.
fn is_sayable(now: SystemTime) -> bool {
    const YEAR_10000: u64 = 253_402_300_800;
    now.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_secs() < YEAR_10000)
}

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The clock of the machine is before 1970, or after 9999.
    Clock,
    /// The address is in use, or not an address of this machine.
    Listen { address: SocketAddr, setting: &'static str, error: std::io::Error },
    /// The signals that end the process cannot be received.
    Signals(std::io::Error),
    /// Nothing can wait for the first credentials.
    Runtime(std::io::Error),
    /// The certificates to trust cannot be read.
    Certificates(CertificatesError),
    /// The client of the shared tier cannot be made: its certificates cannot be read.
    Engine(String),
    /// The socket of an upgrade is missing, or other users can reach it.
    UpgradeSock(String),
    /// The authorities of clients cannot be used.
    Tls { setting: &'static str, problem: String },
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Clock => f.write_str(
                "the clock of this machine is before 1970 or after 9999, which HTTP cannot say: set the clock",
            ),
            Self::Listen { address, setting, error } => {
                write!(f, "cannot listen on {address}: {error}; set another address with {setting}")
            }
            Self::Runtime(error) => write!(f, "cannot request credentials: {error}"),
            Self::Signals(error) => write!(f, "cannot receive signals: {error}"),
            Self::Engine(problem) => write!(f, "cache.shared.ca_file: {problem}"),
            Self::Tls { setting, problem } => write!(f, "{setting}: {problem}"),
            Self::UpgradeSock(problem) => write!(f, "server.upgrade_sock: {problem}"),
            Self::Certificates(error) => write!(
                f,
                "{error}; set S3PROXY_UPSTREAM_CA_FILE, or SSL_CERT_FILE and SSL_CERT_DIR"
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// Runs the server on a separate thread, because Pingora sleeps through the whole grace period even if no
/// request is in flight; this function returns as soon as the last request has ended.
fn run_until_finished(
    server: Server,
    signals: ShutdownSignals,
    lifecycle: &Arc<Lifecycle>,
    cache: Option<Arc<Cache>>,
    finished: SyncSender<()>,
    finish: &Receiver<()>,
) {
    let mut phases = server.watch_execution_phase();
    let drained = finished.clone();
    let lifecycle = Arc::clone(lifecycle);
    let _server_thread = std::thread::spawn(move || {
        server.run(RunArgs { shutdown_signal: Box::new(signals) });
        let _finished_already = finished.try_send(());
    });
    let _drain_thread = std::thread::spawn(move || {
        while let Ok(phase) = phases.blocking_recv() {
            // The new process waits for the folder of the disk tier, and serves from it at once.
            if matches!(phase, ExecutionPhase::GracefulUpgradeTransferringFds)
                && let Some(cache) = &cache
            {
                cache.close();
            }
            if matches!(phase, ExecutionPhase::ShutdownGracePeriod) {
                let first = Instant::now() + FIRST_REQUEST;
                // Twice, for a request that began just when the last one ended.
                for _ in 0..2 {
                    std::thread::sleep(Duration::from_millis(20));
                    while lifecycle.running() > 0
                        || lifecycle.awaits_first_requests() && Instant::now() < first
                    {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                let _finished_already = drained.try_send(());
            }
        }
    });
    let _sender_dropped = finish.recv();
}

/// Pingora's own settings.
fn pingora_conf(config: &Config) -> ServerConf {
    let upgrade_sock = config.server.upgrade_sock.as_deref();
    let upgrade_sock = upgrade_sock.map(|path| path.to_string_lossy().into_owned());
    ServerConf {
        threads: config.server.threads,
        upstream_keepalive_pool_size: config.upstream.keepalive_pool_size,
        max_retries: MAX_ATTEMPTS,
        grace_period_seconds: Some(config.server.grace_period.as_secs()),
        graceful_shutdown_timeout_seconds: Some(0),
        upgrade_sock: upgrade_sock.unwrap_or_default(),
        ca_file: config.upstream.ca_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
        ..ServerConf::default()
    }
}
