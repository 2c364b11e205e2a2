//! The admin listener: what operators ask of a running gateway, on an address of its own that is never
//! the public one.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use log::info;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};

use crate::admin::metrics::Counted;
use crate::cache::{Cache, CacheKey, PurgeScope};
use crate::downstream::drain::Lifecycle;
use crate::gateway::GatewayDependencies;
use crate::s3::address::ObjectAddress;
use crate::upstream::CurrentStores;

mod cached;
mod profiles;
pub mod purge;
pub mod request;

/// Answers operators.
pub struct Admin {
    cache: Option<Arc<Cache>>,
    stores: Arc<CurrentStores>,
    lifecycle: Arc<Lifecycle>,
    counted: Counted,
    bucket_validation: bool,
}

/// A status and a JSON document.
type Page = (StatusCode, Value);

const JSON: &str = "application/json";

impl Admin {
    /// An admin of this cache and these stores.
    #[must_use]
    pub fn new(shared: &GatewayDependencies, bucket_validation: bool) -> Self {
        let GatewayDependencies { stores, cache, lifecycle, reloads, metrics, limits, .. } =
            shared.clone();
        Self {
            cache: cache.clone(),
            stores: Arc::clone(&stores),
            lifecycle: Arc::clone(&lifecycle),
            counted: Counted { metrics, stores, cache, reloads, lifecycle, limits },
            bucket_validation,
        }
    }

    /// Status, media type and body.
    fn page(&self, method: &Method, target: &[u8]) -> (StatusCode, &'static str, Vec<u8>) {
        let path = path_of(target);
        if path == b"/metrics" && matches!(*method, Method::GET | Method::HEAD) {
            let text = self.counted.scrape().unwrap_or_default();
            return (StatusCode::OK, metrics::CONTENT_TYPE, text.into_bytes());
        }
        json_page(self.answer(method, path))
    }

    fn answer(&self, method: &Method, path: &[u8]) -> Page {
        match (method.as_str(), path) {
            ("PURGE", path) => self.purge(path),
            ("GET" | "HEAD", b"/cache") => match &self.cache {
                Some(cache) => (StatusCode::OK, cache.report()),
                None => off(),
            },
            ("GET" | "HEAD", b"/livez") => (StatusCode::OK, json!({ "status": "alive" })),
            ("GET" | "HEAD", b"/readyz") => self.readiness(),
            ("GET" | "HEAD", b"/profiles") => {
                (StatusCode::OK, profiles::report(&self.stores.load()))
            }
            ("GET" | "HEAD", _) => refused(StatusCode::NOT_FOUND, "there is no such page"),
            _ => refused(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD and PURGE are understood"),
        }
    }

    /// Whether requests should be sent here: the configuration is loaded, or this would not answer, and
    /// the process is not about to end. No store has a say in it: a store that is down must not take
    /// the gateway down, which has others, and what it keeps.
    fn readiness(&self) -> Page {
        if self.lifecycle.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "ending" }))
        } else {
            (StatusCode::OK, json!({ "status": "ready" }))
        }
    }

    /// `PURGE /profile@bucket/key`: one object, or everything below a key that ends with a slash.
    fn purge(&self, path: &[u8]) -> Page {
        let Some(cache) = &self.cache else { return off() };
        let target = path.strip_prefix(b"/").unwrap_or(path);
        let (address, key) = match self.object(target, purge::TARGET) {
            Ok(object) => object,
            Err(page) => return page,
        };
        let below = address.key.is_empty() || address.key.ends_with('/');
        let reach = if below { PurgeScope::Prefix } else { PurgeScope::Object };
        cache.purge(&key, reach);
        let name = address.name();
        info!("purged {}{}", name.escape_debug(), if below { " and everything below" } else { "" });
        (StatusCode::OK, json!({ "purged": name, "below": below }))
    }

    /// The object that `profile@bucket/key` names, percent-encoded, and its key in the cache.
    /// `expected` says what is to be named.
    fn object(&self, target: &[u8], expected: &str) -> Result<(ObjectAddress, CacheKey), Page> {
        let slash = target.iter().position(|byte| *byte == b'/');
        let parts = slash.and_then(|at| Some((target.get(..at)?, target.get(at + 1..)?)));
        let (bucket, key) = parts.ok_or_else(|| refused(StatusCode::BAD_REQUEST, expected))?;
        let address = ObjectAddress::parse(bucket, key, self.bucket_validation)
            .map_err(|error| refused(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let Some(store) = self.stores.get(address.profile.as_deref()) else {
            return Err(refused(StatusCode::NOT_FOUND, "there is no such profile"));
        };
        let key = CacheKey::new(&store.profile, &address.bucket, &address.key);
        Ok((address, key))
    }
}

fn json_page((status, document): Page) -> (StatusCode, &'static str, Vec<u8>) {
    let mut body = document.to_string().into_bytes();
    body.push(b'\n');
    (status, JSON, body)
}

fn path_of(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}

fn off() -> Page {
    refused(StatusCode::CONFLICT, "the cache is off")
}

fn refused(status: StatusCode, message: &str) -> Page {
    (status, json!({ "message": message }))
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let (status, content_type, mut body) =
            match cached::target(&request.method, request.raw_path()) {
                Some(target) => json_page(self.kept(target).await),
                None => self.page(&request.method, request.raw_path()),
            };
        let length = HeaderValue::from(body.len());
        if request.method == Method::HEAD {
            body.clear();
        }
        // A body that came with the request is not read.
        session.set_keepalive(None);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_LENGTH, length);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, PURGE"));
        }
        response
    }
}

pub mod metrics;
#[cfg(target_os = "linux")]
mod process;
#[cfg(test)]
mod tests;
