//! A purge of everything there is room for: what a client sees at once, and what is freed later.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use pingora::http::ResponseHeader;

use super::*;
use crate::cache::entry::{Content, Entry, Object};
use crate::cache::freshness::Freshness;
use crate::config::{self, Config, Flags, Inputs};
use crate::response::object_head::ObjectHeads;
use crate::upstream::client::StoreClient;

const ENTRIES: usize = 50_000;
const BODY: &[u8] = &[7; 4000];

fn config() -> Config {
    let url = ("S3_ENDPOINT_URL".to_owned(), "http://k:s@127.0.0.1:1".to_owned());
    let environment = BTreeMap::from([url]);
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let inputs = Inputs { environment, flags: Flags::default(), processors: 1, read: &read };
    config::load(&inputs).expect("a valid configuration").config
}

fn key(config: &Config, key: &str) -> CacheKey {
    CacheKey::new(&config.profiles.default, "sky", key)
}

fn keep(cache: &Cache, key: CacheKey) {
    let held = cache.budget.take(BODY.len() as u64).expect("room for all");
    let head = ResponseHeader::build(StatusCode::OK, None).expect("a head");
    let object = Object::new(head, Bytes::from_static(BODY), held);
    let freshness = Freshness::for_a_while(now(), Duration::from_secs(3600));
    let content = Content::Object(Arc::new(object));
    cache.memory.insert(Arc::new(Entry { key, asked: now(), freshness, content }));
}

#[tokio::test]
async fn fifty_thousand_entries_are_gone_at_once_and_their_memory_soon() {
    let config = config();
    let fetcher = StoreClient::new(&config.upstream);
    let heads = Arc::new(ObjectHeads::new(&config));
    let cache = Cache::new(1 << 30, &config.cache, fetcher, heads);
    for nth in 0..ENTRIES {
        keep(&cache, key(&config, &format!("many/{nth}.png")));
    }
    keep(&cache, key(&config, "other.png"));
    let all = (ENTRIES as u64 + 1) * BODY.len() as u64;
    assert_eq!(cache.report()["memory_bytes"], all);

    let began = Instant::now();
    cache.purge(&key(&config, "many/"), PurgeScope::Prefix);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The sweep has had no chance to run yet: this test has one thread, and has not let go of it.
    assert_eq!(cache.report()["memory_bytes"], all);
    for nth in 0..ENTRIES {
        let entry = cache.memory.get(key(&config, &format!("many/{nth}.png")).as_bytes());
        let gone = entry.is_none_or(|entry| cache.purges.cover(entry.key.as_bytes(), entry.asked));
        assert!(gone, "{nth}");
    }

    let deadline = Instant::now() + Duration::from_secs(10);
    while cache.report()["memory_bytes"] != BODY.len() as u64 {
        assert!(Instant::now() < deadline, "still held: {}", cache.report());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = key(&config, "other.png");
    assert!(cache.memory.get(other.as_bytes()).is_some());
    assert!(!cache.purges.cover(other.as_bytes(), now()));
}
