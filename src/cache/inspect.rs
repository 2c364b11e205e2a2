//! What the tiers hold of one object, for operators. An inspection changes nothing, neither the
//! entries nor their use.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::ETAG;
use serde::{Deserialize, Serialize};

use crate::cache::blocks::layout::{Layout, grain};
use crate::cache::blocks::version::Version;
use crate::cache::clock::now;
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::freshness::{Freshness, FreshnessState};
use crate::cache::key::CacheKey;
use crate::cache::tiers::Tiers;
use crate::cache::tiers::shared::SharedAnswer;
use crate::profile::fingerprint::Fingerprint;
use crate::upstream::answer::content_length;

/// At most this many blocks of an object are looked up, from the first on.
const MAX_BLOCKS: u64 = 1 << 16;

/// What the tiers hold of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    pub memory: Option<StoredEntry>,
    /// Requests are served from it if memory has nothing.
    pub disk: Option<StoredEntry>,
    /// In the tier that replicas share: requests are served from it if the others have nothing. `None`
    /// without such a tier, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<StoredEntry>,
    /// Whether it is being fetched or revalidated.
    pub fetch_under_way: bool,
    /// Of an archive: the member that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<KnownMember>,
}

/// What memory knows of a member of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum KnownMember {
    /// The directory that may list it is not in memory: the next request for a member reads it.
    Unread,
    Found {
        /// Its first byte in the archive; of a zip file that of the header before it.
        offset: u64,
        /// Bytes of the member.
        length: u64,
        content_type: Option<String>,
        content_encoding: Option<String>,
        etag: String,
    },
    /// The archive has no such member.
    Missing,
    /// It cannot be served: the cause and the message of the refusal.
    Refused { cause: String, message: String },
}

/// What one tier holds of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    pub what: StoredContent,
    pub state: StoredState,
    /// Seconds that it is still fresh; below zero the seconds since it became stale.
    pub ttl: i64,
    /// Seconds since the store generated the response.
    pub age: u64,
    /// Bytes of the object.
    pub length: Option<u64>,
    pub etag: Option<String>,
    /// Of an object in blocks.
    pub blocks: Option<StoredBlocks>,
}

/// The kind of the stored entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredContent {
    /// The whole object.
    Object,
    /// The head of an object in blocks.
    Head,
    /// That there is no such object.
    Negative,
    /// That the object is not cached (hit-for-pass).
    Pass,
}

/// What it is served for: [`FreshnessState`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoredState {
    Fresh,
    StaleWhileRevalidate,
    StaleIfError,
    Expired,
}

impl From<FreshnessState> for StoredState {
    fn from(state: FreshnessState) -> Self {
        match state {
            FreshnessState::Fresh => Self::Fresh,
            FreshnessState::StaleWhileRevalidate => Self::StaleWhileRevalidate,
            FreshnessState::StaleIfError => Self::StaleIfError,
            FreshnessState::Expired => Self::Expired,
        }
    }
}

/// How many blocks of an object are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBlocks {
    /// Bytes of a block; the last one may be shorter.
    pub size: u64,
    pub count: u64,
    /// How many of them were looked up, from the first on.
    pub looked_for: u64,
    pub memory: u64,
    /// On disk, whether in memory or not.
    pub disk: u64,
    /// In either.
    pub kept: u64,
}

/// Inspects an object; what other settings have made is not served, and not shown. Must be called within a Tokio runtime.
pub(super) async fn inspect(
    tiers: &Arc<Tiers>,
    key: &CacheKey,
    settings: Fingerprint,
    fetch_under_way: bool,
) -> Inspection {
    let now = now();
    let by_these = |entry: &Arc<Entry>| entry.settings.is_none_or(|made_by| made_by == settings);
    let memory = match tiers.peek(key).filter(by_these) {
        Some(entry) => in_memory(tiers, key, &entry, now).await,
        None => None,
    };
    let disk = match tiers.peek_on_disk(key, settings).await {
        Some(peeked) => {
            let whole = content_length(&peeked.headers).filter(|whole| *whole > peeked.body);
            let what = if whole.is_some() { StoredContent::Head } else { StoredContent::Object };
            let length = Some(whole.unwrap_or(peeked.body));
            let entry = stored(what, peeked.freshness, now, length, &peeked.headers);
            let version = whole.and_then(|length| Version::of(&peeked.headers, length));
            Some(with_blocks(tiers, key, entry, version).await)
        }
        None => None,
    };
    let shared = tiers.peek_in_shared(key, settings).await.map(|answer| match answer {
        SharedAnswer::Object(record) => {
            let (headers, length) = (&record.headers, record.body.len());
            let whole = content_length(headers).filter(|whole| *whole > length);
            let what = if whole.is_some() { StoredContent::Head } else { StoredContent::Object };
            stored(what, record.freshness, now, Some(whole.unwrap_or(length)), headers)
        }
        SharedAnswer::Negative(record) => {
            stored(StoredContent::Negative, record.freshness, now, None, &record.headers)
        }
    });
    Inspection { memory, disk, shared, fetch_under_way, member: None }
}

/// The version of the stored object that these settings have made.
pub(super) async fn stored_version(
    tiers: &Arc<Tiers>,
    key: &CacheKey,
    settings: Fingerprint,
) -> Option<Version> {
    let by_these = |entry: &Arc<Entry>| entry.settings.is_none_or(|made_by| made_by == settings);
    let Some(entry) = tiers.peek(key).filter(by_these) else {
        let peeked = tiers.peek_on_disk(key, settings).await?;
        let length = content_length(&peeked.headers).unwrap_or(peeked.body);
        return Version::of(&peeked.headers, length);
    };
    match &entry.content {
        EntryContent::Object(object) => {
            Version::of(&object.head.to_response().headers, object.body.len())
        }
        EntryContent::Blocks(blocks) => Some(blocks.version.clone()),
        EntryContent::Negative(_) | EntryContent::HitForPass(_) | EntryContent::Block(_) => None,
    }
}

async fn in_memory(
    tiers: &Arc<Tiers>,
    key: &CacheKey,
    entry: &Entry,
    now: SystemTime,
) -> Option<StoredEntry> {
    let of = |what, length, headers| stored(what, entry.freshness, now, length, headers);
    match &entry.content {
        EntryContent::Object(object) => {
            let head = object.head.to_response();
            Some(of(StoredContent::Object, Some(object.body.len()), &head.headers))
        }
        EntryContent::Blocks(blocks) => {
            let head = of(StoredContent::Head, Some(blocks.layout.length), &blocks.head.headers);
            Some(with_blocks(tiers, key, head, Some(blocks.version.clone())).await)
        }
        EntryContent::Negative(_) => Some(of(StoredContent::Negative, None, &HeaderMap::new())),
        EntryContent::HitForPass(_) => Some(of(StoredContent::Pass, None, &HeaderMap::new())),
        EntryContent::Block(_) => None,
    }
}

/// Adds how many blocks of a version are stored. There may be many to look up, so that happens beside
/// the threads of requests.
async fn with_blocks(
    tiers: &Arc<Tiers>,
    key: &CacheKey,
    entry: StoredEntry,
    version: Option<Version>,
) -> StoredEntry {
    let Some(version) = version else { return entry };
    let (tiers, key) = (Arc::clone(tiers), key.clone());
    let counted = tokio::task::spawn_blocking(move || count_blocks(&tiers, &key, &version));
    StoredEntry { blocks: counted.await.ok(), ..entry }
}

fn count_blocks(tiers: &Tiers, object: &CacheKey, version: &Version) -> StoredBlocks {
    let (size, length) = (tiers.blocks().size(), version.length);
    let layout = Layout::new(size, length);
    let (count, pages) = (layout.count(), Layout::new(grain(size, size), length));
    let looked_for = count.min(MAX_BLOCKS);
    let mut blocks = StoredBlocks { size, count, looked_for, memory: 0, disk: 0, kept: 0 };
    for index in 0..looked_for {
        // Whole, or in pages.
        let is_there = |has: &dyn Fn(&CacheKey) -> bool| {
            let key = |layout: Layout, index| object.block(version.mark(), layout.size, index);
            let mut parts = pages.touched(&layout.bytes(index));
            has(&key(layout, index)) || parts.all(|part| has(&key(pages, part)))
        };
        let in_memory = is_there(&|key| tiers.has_block(key));
        let on_disk = is_there(&|key| tiers.has_on_disk(key));
        blocks.memory += u64::from(in_memory);
        blocks.disk += u64::from(on_disk);
        blocks.kept += u64::from(in_memory || on_disk);
    }
    blocks
}

fn stored(
    what: StoredContent,
    freshness: Freshness,
    now: SystemTime,
    length: Option<u64>,
    headers: &HeaderMap,
) -> StoredEntry {
    let etag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let state = freshness.at(now).into();
    let (ttl, age) = (freshness.ttl(now), freshness.age(now));
    StoredEntry { what, state, ttl, age, length, etag, blocks: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_contents_have_the_names_of_the_documentation() {
        for (state, name) in [
            (FreshnessState::Fresh, "fresh"),
            (FreshnessState::StaleWhileRevalidate, "stale-while-revalidate"),
            (FreshnessState::StaleIfError, "stale-if-error"),
            (FreshnessState::Expired, "expired"),
        ] {
            assert_eq!(serde_json::json!(StoredState::from(state)), name);
        }
        for (content, name) in [
            (StoredContent::Object, "object"),
            (StoredContent::Head, "head"),
            (StoredContent::Negative, "negative"),
            (StoredContent::Pass, "pass"),
        ] {
            assert_eq!(serde_json::json!(content), name);
        }
    }
}
