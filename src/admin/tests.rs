//! The admin listener without a cache; tests/e2e tests it with one.

use std::collections::BTreeMap;

use super::*;
use crate::config::{self, Flags, Inputs};
use crate::downstream::limits::ClientLimits;
use crate::downstream::tls::TlsAcceptors;
use crate::response::object_head::ObjectHeads;
use crate::upstream::probe::Probes;

fn admin() -> Admin {
    let environment = BTreeMap::from([
        ("S3_ENDPOINT_URL".to_owned(), "http://k:s@127.0.0.1:1".to_owned()),
        ("S3PROXY_CACHE_MEMORY".to_owned(), "0".to_owned()),
    ]);
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let inputs = Inputs { environment, flags: Flags::default(), processors: 1, read: &read };
    let loaded = config::load(&inputs).expect("a valid configuration");
    let config = &loaded.config;
    let shared = GatewayDependencies {
        stores: Arc::new(CurrentStores::new(&config.profiles, &config.upstream)),
        cache: None,
        heads: Arc::new(ObjectHeads::new(config)),
        lifecycle: Arc::default(),
        reloads: Arc::default(),
        metrics: Arc::default(),
        limits: Arc::new(ClientLimits::new(16, 0)),
        tracer: None,
        tls: TlsAcceptors::default(),
        proxy_headers: None,
        http2: None,
    };
    Admin::new(&shared, &Arc::new(Probes::new(&config.upstream)), config)
}

fn answer(admin: &Admin, method: &Method, target: &[u8]) -> JsonPage {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(admin.answer(method, target))
}

#[test]
fn without_a_cache_its_pages_are_errors() {
    for (method, target, status) in [
        ("GET", "/cache", 409),
        ("PURGE", "/bucket/key", 409),
        ("GET", "/status/", 404),
        ("GET", "/s3proxy/s3/bucket/key", 404),
        ("POST", "/cache", 405),
        ("DELETE", "/bucket/key", 405),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (seen, document) = answer(&admin(), &method, target.as_bytes());
        assert_eq!(seen.as_u16(), status, "{method} {target}");
        assert!(document.get("message").is_some_and(Value::is_string), "{method} {target}");
    }
}

#[test]
fn it_is_ready_until_it_drains_and_alive_even_then() {
    let admin = admin();
    let ask = |target: &str| answer(&admin, &Method::GET, target.as_bytes()).0.as_u16();
    assert_eq!((ask("/livez"), ask("/readyz")), (200, 200));
    admin.lifecycle.start_draining();
    assert_eq!((ask("/livez"), ask("/readyz")), (200, 503));
}

#[test]
fn profiles_are_listed_without_secrets() {
    let (status, document) = answer(&admin(), &Method::GET, b"/profiles");
    assert_eq!(status, 200);
    let expected = json!([{
        "profile": "default",
        "endpoint": "http://127.0.0.1:1",
        "proxy": null,
        "region": "us-east-1",
        "credentials": "the URL of S3_ENDPOINT_URL",
        "key_id": "...",
        "expires": null,
        "renewal_error": null,
        "last_success": null,
        "last_error": null,
        "endpoints": [],
        "addresses": [{ "address": "127.0.0.1:1", "state": "healthy", "fault": null }],
    }]);
    assert_eq!(document, expected);
}

#[test]
fn the_index_and_the_status_are_json_without_secrets() {
    let (status, index) = answer(&admin(), &Method::GET, b"/");
    let routes = index["routes"].as_array().expect("a list").len();
    assert!(status == 200 && routes > 5, "{index}");
    let (status, document) = answer(&admin(), &Method::GET, b"/status");
    assert_eq!(status, 200);
    assert_eq!(document["profiles"][0]["key_id"], "...", "{document}");
    assert_eq!(document["cache"], Value::Null);
}
