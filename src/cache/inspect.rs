//! What is kept of one object, for whoever asks about it: nothing changes by looking, neither what is
//! kept nor what counts as used.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::ETAG;
use serde::{Deserialize, Serialize};

use crate::cache::blocks::layout::Layout;
use crate::cache::blocks::version::Version;
use crate::cache::entry::{Content, Entry};
use crate::cache::freshness::{Freshness, FreshnessState};
use crate::cache::key::CacheKey;
use crate::cache::{Cache, now};
use crate::upstream::answer::content_length;

/// So many blocks of an object are looked for, the first ones.
const MOST_BLOCKS: u64 = 1 << 16;

/// What the tiers hold of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    pub memory: Option<Kept>,
    /// What requests are served from where memory holds nothing.
    pub disk: Option<Kept>,
    /// Whether it is being fetched, or asked for again.
    pub fetch_under_way: bool,
}

/// What one tier holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub what: What,
    pub state: Use,
    /// Seconds that are left of its freshness; below zero since when it is stale.
    pub ttl: i64,
    /// Seconds since the store made the answer.
    pub age: u64,
    /// Bytes of the object.
    pub length: Option<u64>,
    pub etag: Option<String>,
    /// Of an object in blocks.
    pub blocks: Option<KeptBlocks>,
}

/// What is kept under the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The whole object.
    Object,
    /// Its head; the body is kept in blocks.
    Head,
    /// That there is no such object.
    Absence,
    /// That it is not for the cache.
    Pass,
}

/// What it may be used for: [`FreshnessState`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    Fresh,
    Refreshing,
    Fallback,
    Expired,
}

impl From<FreshnessState> for Use {
    fn from(state: FreshnessState) -> Self {
        match state {
            FreshnessState::Fresh => Self::Fresh,
            FreshnessState::StaleWhileRevalidate => Self::Refreshing,
            FreshnessState::StaleIfError => Self::Fallback,
            FreshnessState::Expired => Self::Expired,
        }
    }
}

/// How many of an object's blocks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptBlocks {
    /// Bytes of a block; the last one may be shorter.
    pub size: u64,
    pub count: u64,
    /// So many of them were looked for, from the first on.
    pub looked_for: u64,
    pub memory: u64,
    /// Those on disk, whether in memory or not.
    pub disk: u64,
    /// In either.
    pub kept: u64,
}

impl Cache {
    /// What is kept of the object with this key. Must be called within a Tokio runtime.
    pub async fn look(self: &Arc<Self>, key: &CacheKey) -> Looked {
        let now = now();
        let fetch_under_way = self.flights.under_way(key).is_some();
        let held = |asked: SystemTime| !self.purges.cover(key.as_bytes(), asked);
        let entry = self.memory.peek(key.as_bytes()).filter(|entry| held(entry.asked));
        let memory = match &entry {
            Some(entry) => self.in_entry(key, entry, now).await,
            None => None,
        };
        let peeked = match &self.disk {
            Some(disk) => disk.peek(key).await,
            None => None,
        };
        // One that was asked for in the future is not served: the clock was set back.
        let disk = match peeked.filter(|it| held(it.asked) && it.asked <= now) {
            Some(peeked) => {
                let whole = content_length(&peeked.headers).filter(|whole| *whole > peeked.body);
                let what = if whole.is_some() { What::Head } else { What::Object };
                let length = Some(whole.unwrap_or(peeked.body));
                let kept = kept(what, peeked.freshness, now, length, &peeked.headers);
                let version = whole.and_then(|length| Version::of(&peeked.headers, length));
                Some(self.with_blocks(key, kept, version).await)
            }
            None => None,
        };
        Looked { memory, disk, fetch_under_way }
    }

    async fn in_entry(
        self: &Arc<Self>,
        key: &CacheKey,
        entry: &Entry,
        now: SystemTime,
    ) -> Option<Kept> {
        let of = |what, length, headers| kept(what, entry.freshness, now, length, headers);
        match &entry.content {
            Content::Object(object) => {
                Some(of(What::Object, Some(object.body.len()), &object.head.headers))
            }
            Content::Blocks(blocks) => {
                let head = of(What::Head, Some(blocks.layout.length), &blocks.head.headers);
                Some(self.with_blocks(key, head, Some(blocks.version.clone())).await)
            }
            Content::Negative(_) => Some(of(What::Absence, None, &HeaderMap::new())),
            Content::HitForPass(_) => Some(of(What::Pass, None, &HeaderMap::new())),
            Content::Block(_) | Content::Room(_) => None,
        }
    }

    /// Adds how many blocks of a version there are: many are looked for, beside the requests.
    async fn with_blocks(
        self: &Arc<Self>,
        key: &CacheKey,
        kept: Kept,
        version: Option<Version>,
    ) -> Kept {
        let Some(version) = version else { return kept };
        let (cache, key) = (Arc::clone(self), key.clone());
        let counted = tokio::task::spawn_blocking(move || cache.count_blocks(&key, &version));
        Kept { blocks: counted.await.ok(), ..kept }
    }

    fn count_blocks(&self, object: &CacheKey, version: &Version) -> KeptBlocks {
        let layout = Layout { size: self.blocks.size(), length: version.length };
        let (count, size) = (layout.count(), layout.size);
        let looked_for = count.min(MOST_BLOCKS);
        let mut found = KeptBlocks { size, count, looked_for, memory: 0, disk: 0, kept: 0 };
        for index in 0..looked_for {
            let key = object.block(version.mark(), size, index);
            let entry = self.blocks.memory().peek(key.as_bytes());
            let held = |entry: &Arc<Entry>| !self.purges.cover(object.as_bytes(), entry.asked);
            let in_memory = entry.as_ref().is_some_and(held);
            let on_disk = self.disk.as_ref().is_some_and(|disk| disk.has(&key));
            found.memory += u64::from(in_memory);
            found.disk += u64::from(on_disk);
            found.kept += u64::from(in_memory || on_disk);
        }
        found
    }
}

fn kept(
    what: What,
    freshness: Freshness,
    now: SystemTime,
    length: Option<u64>,
    headers: &HeaderMap,
) -> Kept {
    let etag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let state = freshness.at(now).into();
    let (ttl, age) = (freshness.ttl(now), freshness.age(now));
    Kept { what, state, ttl, age, length, etag, blocks: None }
}
