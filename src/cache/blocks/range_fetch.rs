//! Fetching blocks that follow each other: one request to the store, poured into one block after the
//! other. A task of its own, which ends early when nobody wants what is still to come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_RANGE;
use http::{HeaderMap, StatusCode};

use crate::cache::admit::FILL_AT_MOST;
use crate::cache::blocks::reserve::Claim;
use crate::cache::blocks::version::Version;
use crate::cache::blocks::{Arrival, Block, Blocks, Trouble};
use crate::cache::body;
use crate::cache::disk::Record;
use crate::cache::entry::{Content, Entry};
use crate::cache::fill::{Cut, Fill};
use crate::cache::freshness::Freshness;
use crate::cache::request::CacheRequest;
use crate::cache::{Cache, now};
use crate::protocol::range::{ByteRange, ContentRange};
use crate::response::refusal::Refusal;
use crate::upstream::admission::QueueTimeout;
use crate::upstream::answer::content_length;
use crate::upstream::client::{Body, FetchReport, FetchRequest, FetchResponse, Fetched};

/// Blocks to fetch, without a gap between them.
pub(super) struct Run {
    pub(super) cache: Arc<Cache>,
    pub(super) wanted: Arc<CacheRequest>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) claims: VecDeque<Claim>,
    pub(super) patience: QueueTimeout,
}

impl Run {
    /// Fetches in a task of its own.
    pub(super) fn begin(self) {
        let _runs_on = tokio::spawn(self.fetch());
    }

    async fn fetch(mut self) {
        if let Some(claim) = self.claims.pop_front() {
            // Blocks that may be on disk come alone.
            let on_disk = match claim.on_disk {
                true => self.cache.block_on_disk(&self.wanted, &self.blocks, &claim).await,
                false => None,
            };
            match on_disk {
                Some((entry, block)) => return self.cache.keep_from_disk(claim, entry, block),
                None => self.claims.push_front(claim),
            }
        }
        if !self.claims.iter().any(|claim| claim.landing.is_wanted()) {
            self.cache.statistics.block_fetches_abandoned.inc();
            return;
        }
        let (Some(first), Some(last)) = (self.claims.front(), self.claims.back()) else { return };
        let bytes = |claim: &Claim| self.blocks.layout.bytes(claim.index);
        let start = bytes(first).start + first.from;
        let range = start..bytes(last).end;
        let asked = now();
        self.cache.statistics.block_fetches.inc();
        let fetched = self.cache.ask_for(&self.wanted, &self.blocks, &range, self.patience).await;
        let report = Arc::new(fetched.report);
        let outcome = match fetched.outcome {
            Ok(part) if part.start == range.start => Ok(part.body),
            Ok(_) => Err(Trouble::NoParts),
            Err(trouble) => Err(trouble),
        };
        match outcome {
            Ok(body) => self.pour(body, asked, &report).await,
            Err(trouble) => {
                self.cache.note(&self.wanted, &self.blocks, &trouble);
                for claim in &self.claims {
                    let (trouble, report) = (trouble.clone(), Arc::clone(&report));
                    claim.landing.end_with(Arrival::Failed { trouble, report });
                }
            }
        }
    }

    /// Pours a body that begins with the first block into all of them.
    pub(super) async fn pour(
        mut self,
        mut body: Body,
        asked: SystemTime,
        report: &Arc<FetchReport>,
    ) {
        let mut crumb = Bytes::new();
        while let Some(claim) = self.claims.pop_front() {
            let is_wanted = |claim: &Claim| claim.landing.is_wanted();
            if !is_wanted(&claim) && !self.claims.iter().any(is_wanted) {
                self.cache.statistics.block_fetches_abandoned.inc();
                return;
            }
            let (fill, report) = (Arc::clone(&claim.fill), Arc::clone(report));
            claim.landing.make_known(Arrival::Filling { from: claim.from, fill, report });
            let filled = fill_one(&claim.fill, &mut body, &mut crumb);
            let filled = tokio::time::timeout(FILL_AT_MOST, filled).await;
            let Ok(Ok(body)) = filled else {
                self.cache.statistics.cut_fills.inc();
                return;
            };
            self.cache.keep_block(claim, body, asked);
        }
    }
}

/// Fills one block, and leaves in `crumb` what is of the next one.
async fn fill_one(fill: &Fill, body: &mut Body, crumb: &mut Bytes) -> Result<body::Body, Cut> {
    let mut left = fill.length();
    while left > 0 {
        if crumb.is_empty() {
            *crumb = body.next().await.ok().flatten().ok_or(Cut)?;
        }
        let taken = crumb.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= taken as u64;
        fill.push(crumb.split_to(taken))?;
    }
    fill.complete()
}

/// What asking for a part came to.
pub(super) struct Asked {
    pub(super) report: FetchReport,
    pub(super) outcome: Result<Part, Trouble>,
}

/// Bytes of an object of the right version.
pub(super) struct Part {
    /// Where they begin: at 0 where the store gives no parts.
    pub(super) start: u64,
    pub(super) body: Body,
}

impl Cache {
    /// Asks the store for a part of an object, of this version and no other.
    pub(super) async fn ask_for(
        &self,
        wanted: &CacheRequest,
        blocks: &Blocks,
        range: &std::ops::Range<u64>,
        patience: QueueTimeout,
    ) -> Asked {
        let last = range.end.saturating_sub(1);
        let question = FetchRequest {
            range: Some(ByteRange::FromTo { first: range.start, last: Some(last) }),
            if_match: Some(blocks.version.etag.clone()),
            patience,
            ..FetchRequest::default()
        };
        let Fetched { report, outcome } =
            self.fetcher.fetch(&wanted.store.newest(), wanted.target(), &question).await;
        Asked { report, outcome: checked(outcome, &blocks.version, range.start) }
    }

    /// Draws the conclusions of what went wrong for whoever asks next.
    pub(super) fn note(
        self: &Arc<Self>,
        wanted: &CacheRequest,
        blocks: &Blocks,
        trouble: &Trouble,
    ) {
        match trouble {
            Trouble::Changed => self.drop_version(wanted, blocks),
            Trouble::Withdrawn => self.forget_head(wanted, blocks),
            Trouble::NoParts => self.let_pass_in_place_of(wanted, blocks),
            Trouble::Refused(_) | Trouble::Cut => {}
        }
    }

    /// Keeps a block that has arrived.
    fn keep_block(&self, mut claim: Claim, body: body::Body, asked: SystemTime) {
        self.statistics.blocks_fetched.inc();
        let disk =
            self.disk.as_ref().filter(|disk| claim.from == 0 && disk.takes_block(body.len()));
        let record = disk.map(|disk| (disk, body.to_bytes()));
        let block = Arc::new(Block { from: claim.from, body, _held: Arc::clone(&claim.held) });
        let freshness = Freshness::for_a_while(asked, Duration::ZERO);
        let key = claim.key.clone();
        let entry = Arc::new(Entry { key, asked, freshness, content: Content::Block(block) });
        drop(claim.place.take());
        // Together, or a purge could come in between.
        claim.landing.keep(|| {
            self.blocks.memory.insert(entry);
            if let Some((disk, body)) = record {
                let (key, headers) = (claim.key.clone(), HeaderMap::new());
                disk.put(Record { key, asked, freshness, headers, body });
            }
        });
        drop(claim);
    }

    /// What the disk holds of a block, unless it was purged.
    async fn block_on_disk(
        &self,
        wanted: &CacheRequest,
        blocks: &Blocks,
        claim: &Claim,
    ) -> Option<(Arc<Entry>, Arc<Block>)> {
        let record = self.disk.as_ref()?.get(&claim.key).await?;
        let bytes = blocks.layout.bytes(claim.index);
        let is_whole = record.body.len() as u64 == bytes.end - bytes.start;
        let is_gone = self.purges.cover(wanted.key.as_bytes(), record.asked);
        if !is_whole || is_gone || record.asked > now() {
            return None;
        }
        let (body, held) = (body::Body::from_bytes(record.body), Arc::clone(&claim.held));
        let block = Arc::new(Block { from: 0, body, _held: held });
        let (asked, freshness) = (record.asked, record.freshness);
        let content = Content::Block(Arc::clone(&block));
        Some((Arc::new(Entry { key: record.key, asked, freshness, content }), block))
    }

    fn keep_from_disk(&self, mut claim: Claim, entry: Arc<Entry>, block: Arc<Block>) {
        drop(claim.place.take());
        claim.landing.keep(|| self.blocks.memory.insert(entry));
        claim.landing.end_with(Arrival::OnDisk(block));
        drop(claim);
    }
}

/// Whether what came is of the right version.
fn checked(
    outcome: Result<FetchResponse, Refusal>,
    version: &Version,
    start: u64,
) -> Result<Part, Trouble> {
    match outcome {
        Ok(FetchResponse::Object { headers, .. }) if Version::of(&headers, 0).is_none() => {
            Err(Trouble::NoParts)
        }
        Ok(FetchResponse::Object { status: StatusCode::PARTIAL_CONTENT, headers, body }) => {
            let fits = version.is_of(&headers, length_of_whole(&headers));
            if fits { Ok(Part { start, body }) } else { Err(Trouble::Changed) }
        }
        Ok(FetchResponse::Object { headers, body, .. }) => {
            let fits = version.is_of(&headers, content_length(&headers));
            if fits { Ok(Part { start: 0, body }) } else { Err(Trouble::Changed) }
        }
        Ok(FetchResponse::NotModified(_)) => Err(Trouble::Refused(Refusal::UpstreamProtocol)),
        Err(
            Refusal::PreconditionFailed | Refusal::ObjectNotFound | Refusal::RangeNotSatisfiable(_),
        ) => Err(Trouble::Changed),
        Err(Refusal::UpstreamForbidden) => Err(Trouble::Withdrawn),
        Err(refusal) => Err(Trouble::Refused(refusal)),
    }
}

/// The length of the object of which an answer holds a part.
pub(in crate::cache) fn length_of_whole(headers: &HeaderMap) -> Option<u64> {
    match ContentRange::parse(headers.get(CONTENT_RANGE)?)? {
        ContentRange::Part { len, .. } => len,
        ContentRange::Unsatisfied { .. } => None,
    }
}
