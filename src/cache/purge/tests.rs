//! A purge of many entries: they are not served from its moment on, and their memory is freed later.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use pingora::http::ResponseHeader;

use super::*;
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::freshness::Freshness;
use crate::cache::inflight::{InFlightFetches, Role};
use crate::cache::object::Object;
use crate::cache::tiers::{DiskChange, SharedChange};
use crate::config::{self, Config, Flags, Inputs};

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
    CacheKey::new(config.profiles.default.as_ref().expect("a default profile"), "sky", key)
}

/// Stores an object as a fetch does. Returns the bytes that it takes of the budget.
fn store(tiers: &Arc<Tiers>, key: CacheKey) -> u64 {
    let before = memory_bytes(tiers);
    let fetches: Arc<InFlightFetches<()>> = Arc::default();
    let role = fetches.join(&key, now(), None, None, |_| true, || None::<()>);
    let Ok(Role::Lead(leader)) = role else { panic!("no other fetch is in flight") };
    let held = tiers.reserve(&key, BODY.len() as u64).expect("room for all").into_held();
    let head = ResponseHeader::build(StatusCode::OK, None).expect("a head");
    let freshness = Freshness::for_a_while(now(), Duration::from_secs(3600));
    let body = crate::cache::body::StoredBody::from_bytes(Bytes::from_static(BODY));
    let object = Object::of(&head, &http::HeaderMap::new(), body, held);
    let content = EntryContent::Object(Arc::new(object));
    let entry = Entry { key, requested_at: now(), settings: None, freshness, content, pin: None };
    assert!(tiers.store(&leader, Arc::new(entry), DiskChange::None, SharedChange::None));
    memory_bytes(tiers) - before
}

fn memory_bytes(tiers: &Tiers) -> u64 {
    tiers.report(0, 0)["memory_bytes"].as_u64().expect("a number")
}

#[tokio::test]
async fn fifty_thousand_entries_are_gone_at_once_and_their_memory_soon() {
    let config = config();
    let tiers = Tiers::new(1 << 30, &config.cache, None);
    for nth in 0..ENTRIES {
        store(&tiers, key(&config, &format!("many/{nth}.png")));
    }
    let left = store(&tiers, key(&config, "other.png"));
    let all = memory_bytes(&tiers);
    assert!(all > (ENTRIES as u64 + 1) * BODY.len() as u64);

    let started = Instant::now();
    begin(&tiers, &key(&config, "many/"), PurgeScope::Prefix, |_| ());
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The sweep cannot have run yet: this test has one thread, and has not let go of it.
    assert_eq!(memory_bytes(&tiers), all);
    for nth in 0..ENTRIES {
        assert!(tiers.peek(&key(&config, &format!("many/{nth}.png"))).is_none(), "{nth}");
    }

    let deadline = Instant::now() + Duration::from_secs(10);
    while memory_bytes(&tiers) != left {
        assert!(Instant::now() < deadline, "still held: {}", memory_bytes(&tiers));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = key(&config, "other.png");
    assert!(tiers.peek(&other).is_some());
    assert!(!tiers.is_purged(&other, now()));
}

#[tokio::test]
async fn each_of_many_purges_learns_what_was_removed_for_it() {
    const PURGES: usize = 1000;
    let config = config();
    let tiers = Tiers::new(1 << 30, &config.cache, None);
    for nth in 0..20_000 {
        store(&tiers, key(&config, &format!("many/{nth:05}.png")));
    }
    // Most of them match nothing, one of all, and one in a hundred a hundred entries.
    let prefix = |nth: usize| match nth {
        0 => "many/00000".to_owned(),
        nth if nth % 100 == 0 => format!("many/{:03}", nth / 100),
        nth => format!("none/{nth}/"),
    };
    let mut removed: Vec<_> = (0..PURGES)
        .map(|nth| begin(&tiers, &key(&config, &prefix(nth)), PurgeScope::Prefix, |_| ()))
        .collect();
    for (nth, removed) in removed.iter_mut().enumerate() {
        let removed = *removed.wait_for(|removed| removed.complete).await.expect("a sweep");
        let expected = match nth {
            0 => 1,
            nth if nth % 100 == 0 => 100,
            _ => 0,
        };
        assert_eq!(removed.memory, expected, "{}", prefix(nth));
    }
    assert!(tiers.peek(&key(&config, "many/00100.png")).is_none());
    assert!(tiers.peek(&key(&config, "many/00001.png")).is_some());
}
