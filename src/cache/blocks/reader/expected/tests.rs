//! The counts of huge responses.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;

use super::*;
use crate::cache::blocks::fetches::BlockFetches;
use crate::cache::blocks::object::Blocks;
use crate::cache::blocks::version::Version;
use crate::cache::memory::budget::Budget;
use crate::cache::request::CacheRequest;
use crate::cache::tiers::Tiers;
use crate::config::{self, Flags, Inputs};
use crate::s3::address::ObjectAddress;
use crate::upstream::Stores;
use crate::upstream::client::StoreClient;

/// A reader of a whole object of this many blocks, none of which is cached or looked up.
fn reader(blocks: u64) -> BlockReader {
    let environment =
        [("S3_ENDPOINT_URL", "http://127.0.0.1:1"), ("S3PROXY_CACHE_MEMORY", "64MiB")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let environment = BTreeMap::from(environment);
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let inputs = Inputs { environment, flags: Flags::default(), processors: 1, read: &read };
    let config = config::load(&inputs).expect("a valid configuration").config;
    let tiers = Tiers::new(64 << 20, &config.cache, None);
    let size = tiers.blocks().size();
    let client = Arc::new(StoreClient::new(&config.upstream));
    let fetches = BlockFetches::new(tiers, client);
    let stores = Stores::renewed(None, &config.profiles, &config.upstream, &[]);
    let store = Arc::clone(stores.iter().next().expect("the default store"));
    let address = ObjectAddress::parse(b"sky", b"survey/huge.fits", true).expect("an address");
    let headers = HeaderMap::new();
    let request = CacheRequest::new(store, Arc::new(address), None, &Method::GET, &headers);
    let mut headers = HeaderMap::new();
    headers.insert("etag", HeaderValue::from_static("\"a\""));
    let version = Version::of(&headers, blocks * size).expect("a strong tag");
    let head = ResponseHeader::build(StatusCode::OK, None).expect("a head");
    let held = Arc::new(Budget::new(1).take(1).expect("room"));
    let object = Arc::new(Blocks::new(head, HeaderMap::new(), version, size, held));
    let whole = 0..blocks * size;
    BlockReader::new(&fetches, &Arc::new(request), &object, std::slice::from_ref(&whole), None)
}

#[tokio::test]
async fn blocks_that_are_not_looked_up_are_not_counted_as_from_the_store() {
    // The first block is read in pages.
    const PAGES: u64 = 16;
    for blocks in [
        1,
        TURN + 1 - PAGES,
        TURN + 2 - PAGES,
        3 * TURN - PAGES,
        MAX_COUNTED + 1 - PAGES,
        MAX_COUNTED + 7,
        // 100 GiB in blocks of 1 MiB.
        102_400,
    ] {
        let all = blocks - 1 + PAGES;
        let store = all.min(MAX_COUNTED);
        let uncounted = all - store;
        let mut reader = reader(blocks);
        reader.count_expected().await;
        let expected = BlockCounts { store, uncounted, ..BlockCounts::default() };
        assert_eq!(reader.expected(), expected, "{blocks} blocks");
    }
}
