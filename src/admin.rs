//! The admin listener: metrics, health, profiles and the cache of a running gateway, on an address of its
//! own that is never the public one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use log::{info, warn};
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::admin::metrics::MetricSources;
use crate::admin::scrape_format::ScrapeFormat;
use crate::admin::status::{Sampler, Status, page};
use crate::cache::{Cache, CacheKey, PurgeScope};
use crate::config::Config;
use crate::downstream::ClientConnection;
use crate::downstream::drain::Lifecycle;
use crate::downstream::tls::TlsAcceptor;
use crate::gateway::GatewayDependencies;
use crate::s3::address::ObjectAddress;
use crate::upstream::probe::{NotProbed, Probes};
use crate::upstream::{CurrentStores, Store};

mod cached;
mod guard;
mod profiles;
pub mod purge;
pub mod replicas;
pub mod request;
mod scrape_format;
pub mod status;

/// Answers requests of operators.
pub struct Admin {
    cache: Option<Arc<Cache>>,
    stores: Arc<CurrentStores>,
    lifecycle: Arc<Lifecycle>,
    metrics: MetricSources,
    status: Arc<Status>,
    probes: Arc<Probes>,
    bucket_validation: bool,
    /// The prefix of the public routes.
    prefix: String,
    /// Names that `Host` may have besides `localhost`.
    hosts: Vec<String>,
    /// How long a connection may stay without a request, seconds.
    idle_seconds: u64,
    /// Where clients may have to present certificates.
    tls: Option<Arc<TlsAcceptor>>,
}

/// A status and a JSON document.
type JsonPage = (StatusCode, Value);

const JSON: &str = "application/json";

/// How long the answer to a purge waits for the numbers of what was removed. The purge is in force before.
const PURGE_WAIT: Duration = Duration::from_millis(250);

impl Admin {
    /// The admin listener of this gateway.
    #[must_use]
    pub fn new(shared: &GatewayDependencies, probes: &Arc<Probes>, config: &Config) -> Self {
        let GatewayDependencies {
            stores,
            cache,
            lifecycle,
            reloads,
            metrics,
            limits,
            tls,
            tracer,
            proxy_headers,
            http2,
            ..
        } = shared.clone();
        let own_tls = tls.admin.clone();
        let metrics = MetricSources {
            metrics,
            stores: Arc::clone(&stores),
            cache: cache.clone(),
            reloads,
            lifecycle: Arc::clone(&lifecycle),
            limits,
            tls,
            tracer,
            proxy_headers,
            http2,
        };
        Self {
            cache,
            stores,
            lifecycle,
            status: Arc::new(Status::new(metrics.clone())),
            metrics,
            probes: Arc::clone(probes),
            bucket_validation: config.gateway.bucket_validation,
            prefix: config.gateway.path_prefix.clone(),
            hosts: config.admin_hosts.clone(),
            idle_seconds: config.downstream.header_timeout.as_secs().max(1),
            tls: own_tls,
        }
    }

    /// Takes the samples of the status page.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        Sampler(Arc::clone(&self.status))
    }

    /// Status, media type and body for a request, if its headers are allowed. `has_certificate`: its client has
    /// presented one.
    async fn respond(
        &self,
        request: &RequestHeader,
        has_certificate: bool,
    ) -> (StatusCode, &'static str, Vec<u8>) {
        let (method, target) = (&request.method, request.raw_path());
        if !has_certificate && self.asks_for_certificates() && !guard::is_probe(request) {
            let message = "the admin listener requires a client certificate, except for probes: \
                           s3proxy --client-certificate-file, or curl --cert";
            return json_page(error_page(StatusCode::FORBIDDEN, message));
        }
        if let Err(refusal) = guard::check(request, &self.hosts) {
            return json_page(error_page(refusal.status, refusal.message));
        }
        if let Some(target) = cached::target(method, target) {
            return json_page(self.inspect(target).await);
        }
        let path = path_of(target);
        if matches!(*method, Method::GET | Method::HEAD) {
            if path == b"/metrics" {
                let format = ScrapeFormat::of(&request.headers);
                let text = self.metrics.scrape(format).unwrap_or_default();
                return (StatusCode::OK, format.content_type(), text.into_bytes());
            }
            if path == b"/" && page::wants_html(&request.headers) {
                return (StatusCode::OK, page::HTML, page::html().into_bytes());
            }
            if let Some((content_type, content)) = page::file(path) {
                return (StatusCode::OK, content_type, content.into());
            }
        }
        if let Some(name) = profiles::probed(method, path) {
            return json_page(self.probe(name).await);
        }
        json_page(self.answer(method, path).await)
    }

    fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.asks_for_certificates())
    }

    async fn answer(&self, method: &Method, path: &[u8]) -> JsonPage {
        match (method.as_str(), path) {
            ("PURGE", path) => self.purge(path).await,
            ("GET" | "HEAD", b"/") => (StatusCode::OK, page::index()),
            ("GET" | "HEAD", b"/status") => (StatusCode::OK, self.status.document()),
            ("GET" | "HEAD", b"/cache") => match &self.cache {
                Some(cache) => (StatusCode::OK, cache.report()),
                None => cache_disabled(),
            },
            ("GET" | "HEAD", b"/livez") => (StatusCode::OK, json!({ "status": "alive" })),
            ("GET" | "HEAD", b"/readyz") => self.readiness(),
            ("GET" | "HEAD", b"/profiles") => {
                (StatusCode::OK, profiles::report(&self.stores.load()))
            }
            ("GET" | "HEAD", _) => error_page(StatusCode::NOT_FOUND, "unknown page"),
            _ => error_page(
                StatusCode::METHOD_NOT_ALLOWED,
                "allowed methods: GET, HEAD, PURGE; POST for /profiles/NAME/probe",
            ),
        }
    }

    /// `POST /profiles/NAME/probe`: sends one request to the store, and shows the profile afterwards.
    async fn probe(&self, name: &str) -> JsonPage {
        let Some(store) = self.stores.get(Some(name)) else {
            return error_page(StatusCode::NOT_FOUND, "unknown profile");
        };
        match self.probes.on_demand(&store).await {
            Ok(()) => (StatusCode::OK, profiles::of(&store)),
            Err(NotProbed::NoCredentials) => {
                error_page(StatusCode::CONFLICT, "the profile has no access key")
            }
            Err(NotProbed::Busy) => error_page(
                StatusCode::SERVICE_UNAVAILABLE,
                "other probes are in progress; try again",
            ),
        }
    }

    /// Whether load balancers should send requests: not while the process drains. Stores do not count: if
    /// one is down, the gateway still serves the others and cached objects.
    fn readiness(&self) -> JsonPage {
        if self.lifecycle.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "ending" }))
        } else {
            (StatusCode::OK, json!({ "status": "ready" }))
        }
    }

    /// `PURGE /profile@bucket/key`: one object, or all objects below a key that ends with a slash; of a member of
    /// an archive, or a folder of them, the archive. Says what was removed; what takes longer than a moment goes
    /// on in the background. With a shared tier it waits for the other replicas, and says which of them obey.
    async fn purge(&self, path: &[u8]) -> JsonPage {
        let Some(cache) = &self.cache else { return cache_disabled() };
        let target = path.strip_prefix(b"/").unwrap_or(path);
        let (mut address, store, mut key) = match self.object(target, purge::TARGET) {
            Ok(object) => object,
            Err(page) => return page,
        };
        // What makes a member of an archive new again is its archive.
        let member = store.profile.archive_around(&address).map(|archive| {
            key = CacheKey::new(&store.profile, &archive.bucket, &archive.key);
            std::mem::replace(&mut address, archive).name()
        });
        let below = address.key.is_empty() || address.key.ends_with('/');
        let scope = if below { PurgeScope::Prefix } else { PurgeScope::Object };
        cache.statistics().purges.inc();
        let mut progress = cache.purge(&key, scope);
        self.purge_listing_above(cache, &address);
        // After this time it goes on in the background.
        let known = progress.wait_for(|removed| removed.complete || removed.deferred);
        drop(timeout(PURGE_WAIT, known).await);
        let removed = *progress.borrow();
        let replicas = cache.obeyed().await;
        let name = address.name();
        let of_member = member.as_ref().map(|it| format!(", the archive of {}", it.escape_debug()));
        info!(
            "purged {}{}{}",
            name.escape_debug(),
            of_member.unwrap_or_default(),
            if below { " and all objects below it" } else { "" }
        );
        let mut page = json!({ "purged": name, "below": below, "removed": removed });
        if let (Some(member), Some(page)) = (member, page.as_object_mut()) {
            page.insert("member".to_owned(), json!(member));
        }
        if let (Some(replicas), Some(page)) = (replicas, page.as_object_mut()) {
            if !replicas.recorded || !replicas.missing.is_empty() {
                warn!("{}", purge::not_everywhere(&name, &replicas));
            }
            page.insert("replicas".to_owned(), json!(replicas));
        }
        (StatusCode::OK, page)
    }

    /// Purges the listing that names the object or folder: that of the folder above.
    fn purge_listing_above(&self, cache: &Cache, address: &ObjectAddress) {
        let store = self.stores.get(address.profile.as_deref());
        let Some(store) = store.filter(|store| store.profile.listing) else { return };
        let name = address.key.strip_suffix('/').unwrap_or(&address.key);
        let folder = name.rfind('/').and_then(|slash| name.get(..=slash)).unwrap_or_default();
        let key = CacheKey::new(&store.profile, &address.bucket, folder);
        cache.purge(&key, PurgeScope::Object);
    }

    /// The object named by a percent-encoded `profile@bucket/key`, after aliases, its store and its cache key. `expected` is the
    /// message for a target of another form.
    fn object(
        &self,
        target: &[u8],
        expected: &str,
    ) -> Result<(ObjectAddress, Arc<Store>, CacheKey), JsonPage> {
        let target = purge::without_page(target, &self.prefix)
            .map_err(|message| error_page(StatusCode::BAD_REQUEST, &message))?;
        let slash = target.iter().position(|byte| *byte == b'/');
        let parts = slash.and_then(|at| Some((target.get(..at)?, target.get(at + 1..)?)));
        let (bucket, key) = parts.ok_or_else(|| error_page(StatusCode::BAD_REQUEST, expected))?;
        let address = ObjectAddress::parse(bucket, key, self.bucket_validation)
            .map_err(|error| error_page(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let (named, store) = self
            .stores
            .find(address)
            .map_err(|error| error_page(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let Some(store) = store else {
            return Err(error_page(StatusCode::NOT_FOUND, "unknown profile"));
        };
        let address = named.target().as_ref().clone();
        let key = CacheKey::new(&store.profile, &address.bucket, &address.key);
        Ok((address, store, key))
    }
}

fn json_page((status, document): JsonPage) -> (StatusCode, &'static str, Vec<u8>) {
    let mut body = document.to_string().into_bytes();
    body.push(b'\n');
    (status, JSON, body)
}

fn path_of(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}

fn cache_disabled() -> JsonPage {
    error_page(StatusCode::CONFLICT, "the cache is disabled")
}

fn error_page(status: StatusCode, message: &str) -> JsonPage {
    (status, json!({ "message": message }))
}

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.set_keepalive(Some(self.idle_seconds));
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(_) => {
                // The connection writes its own response to a malformed head.
                let _gone_or_sent = session.respond_error(400).await;
                return None;
            }
        }
        let connection = session.stream().map(|stream| stream.as_any());
        let mut has_certificate = false;
        if let Some(connection) = connection.and_then(|any| any.downcast_ref::<ClientConnection>())
        {
            connection.exchange().start_response();
            has_certificate = connection.exchange().transport().has_certificate;
        }
        let request = session.req_header();
        let is_head = request.method == Method::HEAD;
        let (status, content_type, body) = self.respond(request, has_certificate).await;
        // A request body is not read, so the connection cannot be reused.
        session.set_keepalive(None);
        let header = response_header(status, content_type, body.len()).ok()?;
        session.write_response_header(Box::new(header)).await.ok()?;
        if !is_head {
            session.write_response_body(body.into(), true).await.ok()?;
        }
        let _closed = session.finish().await;
        None
    }
}

fn response_header(
    status: StatusCode,
    content_type: &'static str,
    length: usize,
) -> pingora::Result<ResponseHeader> {
    let mut header = ResponseHeader::build(status, Some(8))?;
    header.insert_header(CONTENT_TYPE, HeaderValue::from_static(content_type))?;
    header.insert_header(CONTENT_LENGTH, HeaderValue::from(length))?;
    let of_html = page::HTML_HEADERS.into_iter().filter(|_| content_type == page::HTML);
    for (name, value) in page::HEADERS.into_iter().chain(of_html) {
        header.insert_header(name, HeaderValue::from_static(value))?;
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        header.insert_header(ALLOW, HeaderValue::from_static("GET, HEAD, PURGE"))?;
    }
    Ok(header)
}

pub mod metrics;
#[cfg(target_os = "linux")]
mod process;
#[cfg(test)]
mod tests;
