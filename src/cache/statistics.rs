//! The counters of the cache.

use serde_json::{Map, Value};

use prometheus_client::metrics::counter::Counter;

/// The counters of the cache, since the start of the process.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Requests answered from memory.
    pub memory_hits: Counter,
    /// Requests answered from disk.
    pub disk_hits: Counter,
    /// Requests answered from the shared tier.
    pub shared_hits: Counter,
    /// Requests for which the shared tier had no value.
    pub shared_misses: Counter,
    /// Values written to the shared tier.
    pub shared_writes: Counter,
    /// Values not written, because the queue was full, or the engine failed.
    pub shared_dropped: Counter,
    /// Values of the shared tier found damaged or foreign.
    pub shared_damaged: Counter,
    /// Leases of fetches that this replica has taken ...
    pub shared_leases: Counter,
    /// ... and fetches that waited for the lease of another replica.
    pub shared_waits: Counter,
    /// Requests for which the store was asked.
    pub misses: Counter,
    /// Requests that were coalesced: they followed the fetch of another request.
    pub collapsed: Counter,
    /// Responses served stale, during revalidation or because the store failed.
    pub stale_served: Counter,
    /// Stale entries that the store confirmed.
    pub revalidated: Counter,
    /// Stale entries revalidated in the background, with a response ...
    pub refreshes: Counter,
    /// ... and those for which the store failed.
    pub refresh_failures: Counter,
    /// Pinned entries whose revalidation in the background began before they became stale.
    pub pinned_refreshes: Counter,
    /// Entries evicted from memory.
    pub memory_evictions: Counter,
    /// Entries evicted from disk.
    pub disk_evictions: Counter,
    /// Files found damaged, truncated or foreign, and removed.
    pub disk_damaged: Counter,
    /// Entries not written to disk because the queue was full.
    pub disk_dropped: Counter,
    /// Reads from disk not tried because too many were in progress.
    pub disk_busy: Counter,
    /// Failed reads and writes of the disk.
    pub disk_errors: Counter,
    /// Bodies that ended before their length.
    pub cut_fills: Counter,
    /// Fetches that found no room in memory, and were not stored.
    pub no_room: Counter,
    /// Blocks served from memory ...
    pub block_hits: Counter,
    /// ... and from disk ...
    pub block_disk_hits: Counter,
    /// ... and from the shared tier.
    pub block_shared_hits: Counter,
    /// Requests to stores for blocks of objects whose heads were cached.
    pub block_fetches: Counter,
    /// Blocks that came from stores.
    pub blocks_fetched: Counter,
    /// Blocks that were read ahead.
    pub blocks_read_ahead: Counter,
    /// Requests for blocks abandoned because their readers had left.
    pub block_fetches_abandoned: Counter,
    /// Blocks evicted from memory.
    pub block_evictions: Counter,
    /// Ranges passed through from the store because there was no room for their blocks.
    pub direct_reads: Counter,
    /// Objects in blocks that have changed in the store.
    pub versions_dropped: Counter,
    /// Requests for tiles answered 404 because the survey excludes them ...
    pub survey_exclusions: Counter,
    /// ... and surveys that excluded a tile that exists.
    pub surveys_switched_off: Counter,
    /// Purges that were requested of this replica.
    pub purges: Counter,
}

impl Statistics {
    /// Every counter by name.
    #[must_use]
    pub fn report(&self) -> Map<String, Value> {
        let counters = [
            ("memory_hits", &self.memory_hits),
            ("disk_hits", &self.disk_hits),
            ("shared_hits", &self.shared_hits),
            ("shared_misses", &self.shared_misses),
            ("shared_writes", &self.shared_writes),
            ("shared_dropped", &self.shared_dropped),
            ("shared_damaged", &self.shared_damaged),
            ("shared_leases", &self.shared_leases),
            ("shared_waits", &self.shared_waits),
            ("misses", &self.misses),
            ("collapsed", &self.collapsed),
            ("stale_served", &self.stale_served),
            ("revalidated", &self.revalidated),
            ("refreshes", &self.refreshes),
            ("refresh_failures", &self.refresh_failures),
            ("pinned_refreshes", &self.pinned_refreshes),
            ("memory_evictions", &self.memory_evictions),
            ("disk_evictions", &self.disk_evictions),
            ("disk_damaged", &self.disk_damaged),
            ("disk_dropped", &self.disk_dropped),
            ("disk_errors", &self.disk_errors),
            ("disk_busy", &self.disk_busy),
            ("cut_fills", &self.cut_fills),
            ("no_room", &self.no_room),
            ("block_hits", &self.block_hits),
            ("block_disk_hits", &self.block_disk_hits),
            ("block_shared_hits", &self.block_shared_hits),
            ("block_fetches", &self.block_fetches),
            ("blocks_fetched", &self.blocks_fetched),
            ("blocks_read_ahead", &self.blocks_read_ahead),
            ("block_fetches_abandoned", &self.block_fetches_abandoned),
            ("block_evictions", &self.block_evictions),
            ("direct_reads", &self.direct_reads),
            ("versions_dropped", &self.versions_dropped),
            ("survey_exclusions", &self.survey_exclusions),
            ("surveys_switched_off", &self.surveys_switched_off),
            ("purges", &self.purges),
        ];
        counters
            .into_iter()
            .map(|(name, counter)| (name.to_owned(), counter.get().into()))
            .collect()
    }
}
