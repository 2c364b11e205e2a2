//! The admin's answers without a cache; with one they are tested end to end.

use std::collections::BTreeMap;

use super::*;
use crate::config::{self, Flags, Inputs};

fn admin() -> Admin {
    let environment = BTreeMap::from([
        ("S3_ENDPOINT_URL".to_owned(), "http://k:s@127.0.0.1:1".to_owned()),
        ("S3PROXY_CACHE_MEMORY".to_owned(), "0".to_owned()),
    ]);
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let inputs = Inputs { environment, flags: Flags::default(), processors: 1, read: &read };
    let loaded = config::load(&inputs).expect("a valid configuration");
    Admin::new(None, Arc::new(CurrentStores::new(&loaded.config.profiles)), true)
}

#[test]
fn without_a_cache_it_says_so() {
    for (method, target, status) in [
        ("GET", "/cache", 409),
        ("PURGE", "/bucket/key", 409),
        ("GET", "/", 404),
        ("GET", "/s3proxy/s3/bucket/key", 404),
        ("POST", "/cache", 405),
        ("DELETE", "/bucket/key", 405),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (seen, document) = admin().answer(&method, target.as_bytes());
        assert_eq!(seen.as_u16(), status, "{method} {target}");
        assert!(document.get("message").is_some_and(Value::is_string), "{method} {target}");
    }
}
