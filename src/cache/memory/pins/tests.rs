//! Pinned entries survive a crawl, within their share and within the capacity.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method};
use pingora::http::ResponseHeader;
use proptest::prelude::{Strategy, prop, prop_assert, prop_oneof, proptest};

use super::{GIVES_WAY, REFRESHED};
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Budget;
use crate::cache::memory::tier::MemoryTier;
use crate::cache::object::Object;
use crate::cache::request::CacheRequest;
use crate::cache::statistics::Statistics;
use crate::config::{self, Flags, Inputs};
use crate::s3::address::ObjectAddress;
use crate::upstream::{Store, Stores};

const START: SystemTime = SystemTime::UNIX_EPOCH;
const TILE: usize = 10_000;
const MIB: u64 = 1 << 20;

fn store() -> Arc<Store> {
    let environment =
        BTreeMap::from([("S3_ENDPOINT_URL".to_owned(), "http://127.0.0.1:1".to_owned())]);
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let inputs = Inputs { environment, flags: Flags::default(), processors: 1, read: &read };
    let config = config::load(&inputs).expect("a valid configuration").config;
    let stores = Stores::renewed(None, &config.profiles, &config.upstream, &[]);
    Arc::clone(stores.iter().next().expect("the default store"))
}

/// An entry of this size that is fresh for this long, pinned if there is a store.
fn entry(store: Option<&Arc<Store>>, key: &str, size: usize, lifetime: Duration) -> Arc<Entry> {
    let head = ResponseHeader::build(200, None).expect("a head");
    let held = Budget::new(u64::MAX).take(size as u64).expect("room");
    let pin = store.map(|store| {
        let address = ObjectAddress::of_text("sky", key.to_owned(), true).expect("an address");
        let (store, headers) = (Arc::clone(store), HeaderMap::new());
        Arc::new(CacheRequest::new(store, Arc::new(address), None, &Method::GET, &headers))
    });
    Arc::new(Entry {
        key: CacheKey::from_bytes(key.as_bytes()),
        requested_at: START,
        settings: None,
        freshness: Freshness::for_a_while(START, lifetime),
        content: EntryContent::Object(Arc::new(Object::new(
            &head,
            Bytes::from(vec![0; size]),
            held,
        ))),
        pin,
    })
}

const LONG: Duration = Duration::from_secs(300);

fn tier(pinned: u64) -> MemoryTier {
    MemoryTier::with_pins(MIB, pinned, Arc::new(Statistics::default()))
}

fn present(tier: &MemoryTier, name: &str, count: usize) -> usize {
    (0..count).filter(|n| tier.peek(format!("{name}{n}").as_bytes()).is_some()).count()
}

fn crawl(tier: &MemoryTier) {
    for n in 0..500 {
        tier.insert(entry(None, &format!("crawled{n}"), TILE, LONG));
    }
}

#[test]
fn a_crawl_evicts_what_is_requested_once_and_nothing_that_is_pinned() {
    let store = store();
    for (share, pinned) in [(MIB / 4, 20), (0, 0)] {
        let tier = tier(share);
        // What comes first into an empty tier stays longer.
        crawl(&tier);
        for n in 0..20 {
            tier.insert(entry(Some(&store), &format!("first{n}"), TILE, LONG));
        }
        crawl(&tier);
        assert_eq!(present(&tier, "first", 20), pinned, "a share of {share}");
        assert!(tier.bytes() <= tier.capacity() && tier.pins().held() <= share);
    }
}

#[test]
fn more_than_the_share_is_not_pinned() {
    let (store, tier) = (store(), tier(MIB / 10));
    crawl(&tier);
    for n in 0..50 {
        tier.insert(entry(Some(&store), &format!("first{n}"), TILE, LONG));
    }
    let held = tier.pins().held();
    crawl(&tier);
    let left = present(&tier, "first", 50);
    assert!((9..=10).contains(&left), "{left}");
    assert!(held <= MIB / 10 && held == tier.pins().held(), "{held}");
}

#[test]
fn a_pin_ends_with_its_entry_and_moves_to_the_next_version() {
    let (store, tier) = (store(), tier(MIB / 10));
    let one = entry(Some(&store), "first", TILE, LONG);
    let weight = one.weight();
    tier.insert(Arc::clone(&one));
    for _ in 0..30 {
        tier.insert(entry(Some(&store), "first", TILE, LONG));
        assert_eq!(tier.pins().held(), weight);
    }
    // Not pinned any more, for example since the store forbids to store it.
    tier.insert(entry(None, "first", TILE, LONG));
    assert_eq!(tier.pins().held(), 0);
    tier.insert(one);
    assert!(tier.remove(b"first"));
    assert_eq!(tier.pins().held(), 0);
    tier.insert(entry(Some(&store), "short", TILE, Duration::from_secs(1)));
    assert_eq!(tier.pins().held(), 0, "it would be asked for all the time");
}

#[test]
fn a_pin_that_nobody_uses_gives_way_after_an_hour() {
    let (store, tier) = (store(), tier(3 * (TILE as u64 + 1000)));
    let insert = |name: &str| tier.insert(entry(Some(&store), name, TILE, LONG));
    crawl(&tier);
    for name in ["a", "b", "c"] {
        insert(name);
    }
    let held = tier.pins().held();
    insert("d");
    assert_eq!(tier.pins().held(), held, "all of them were used a moment ago");
    tier.pins().pass(GIVES_WAY);
    let _used = tier.get(b"a");
    insert("e");
    assert_eq!(tier.pins().held(), held);
    crawl(&tier);
    let is_there = |name: &str| tier.peek(name.as_bytes()).is_some();
    let there = ["a", "b", "c", "d", "e"].map(is_there);
    assert!(there[0] && there[4] && !there[3], "{there:?}");
    assert_eq!(there.into_iter().filter(|it| *it).count(), 3, "{there:?}");
}

#[test]
fn what_is_used_is_refreshed_before_it_is_stale_and_once_in_ten_seconds() {
    let (store, tier) = (store(), tier(MIB));
    tier.insert(entry(Some(&store), "first", TILE, LONG));
    let at = |seconds| START + Duration::from_secs(seconds);
    assert!(tier.pins().tick(at(269)).is_empty());
    let due = tier.pins().tick(at(270));
    assert_eq!(due.len(), 1);
    due[0].note_attempt();
    for _ in 0..9 {
        assert!(tier.pins().tick(at(271)).is_empty());
    }
    assert_eq!(tier.pins().tick(at(280)).len(), 1);
    tier.pins().pass(REFRESHED);
    assert!(tier.pins().tick(at(300)).is_empty(), "nobody has asked for it for a day");
    let _used = tier.get(b"first");
    assert_eq!(tier.pins().tick(at(300)).len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Insert { key: u8, size: usize, pinned: bool },
    Get(u8),
    Remove(u8),
    Hours(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..60_u8, 0..60_000_usize, proptest::bool::ANY)
            .prop_map(|(key, size, pinned)| Step::Insert { key, size, pinned }),
        2 => (0..60_u8).prop_map(Step::Get),
        1 => (0..60_u8).prop_map(Step::Remove),
        1 => (0..3_u64).prop_map(Step::Hours),
    ]
}

proptest! {
    #[test]
    fn the_share_and_the_capacity_are_bounds(
        share in 0..MIB / 2,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let (store, tier) = (store(), tier(share));
        for step in steps {
            match step {
                Step::Insert { key, size, pinned } => {
                    let of = Some(&store).filter(|_| pinned);
                    tier.insert(entry(of, &key.to_string(), size, LONG));
                }
                Step::Get(key) => drop(tier.get(key.to_string().as_bytes())),
                Step::Remove(key) => drop(tier.remove(key.to_string().as_bytes())),
                Step::Hours(hours) => tier.pins().pass(hours * GIVES_WAY),
            }
            prop_assert!(tier.pins().held() <= share);
            prop_assert!(tier.bytes() <= tier.capacity());
        }
        for key in 0..60_u8 {
            tier.remove(key.to_string().as_bytes());
        }
        prop_assert!(tier.pins().held() == 0);
    }
}
