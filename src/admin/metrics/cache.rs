//! The metrics of the cache and its tiers.

use std::fmt::Error;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::admin::metrics::{family, single};
use crate::cache::{Cache, SharedStatus, Tier};

pub(super) fn cache_tiers(page: &mut DescriptorEncoder<'_>, cache: &Cache) -> Result<(), Error> {
    let tiers = cache.tiers();
    let statistics = cache.statistics();
    for (name, help, number) in [
        (
            "s3proxy_cache_entries",
            "Objects, and in the tier of blocks their blocks, that are kept.",
            (|tier| tier.entries) as fn(&Tier) -> u64,
        ),
        ("s3proxy_cache_bytes", "Bytes that are held, with what is on its way.", |tier| tier.bytes),
        ("s3proxy_cache_limit_bytes", "Bytes that may be held.", |tier| tier.limit),
    ] {
        let gauges =
            tiers.iter().map(|tier| ([("tier", tier.name)], ConstGauge::new(number(tier))));
        family(page, name, help, gauges)?;
    }
    let with_disk = tiers.iter().any(|tier| tier.name == "disk");
    let with_shared = cache.shared_status().is_some();
    for (name, help, counters) in [
        (
            "s3proxy_cache_hits",
            "Requests (and, of blocks, blocks) answered from this tier.",
            &[
                ("memory", &statistics.memory_hits),
                ("blocks", &statistics.block_hits),
                ("disk", &statistics.disk_hits),
                ("shared", &statistics.shared_hits),
            ][..],
        ),
        (
            "s3proxy_cache_evictions",
            "What was pushed out of this tier.",
            &[
                ("memory", &statistics.memory_evictions),
                ("blocks", &statistics.block_evictions),
                ("disk", &statistics.disk_evictions),
            ],
        ),
    ] {
        let is_present = |tier: &str| match tier {
            "disk" => with_disk,
            "shared" => with_shared,
            _ => true,
        };
        let present = counters.iter().filter(|(tier, _)| is_present(tier));
        let counters = present.map(|(tier, counter)| ([("tier", *tier)], (*counter).clone()));
        family(page, name, help, counters)?;
    }
    Ok(())
}

pub(super) fn cache_counters(page: &mut DescriptorEncoder<'_>, cache: &Cache) -> Result<(), Error> {
    let statistics = cache.statistics();
    for (name, help, counter) in [
        ("s3proxy_cache_misses", "Requests for which a store was asked.", &statistics.misses),
        (
            "s3proxy_cache_collapsed",
            "Requests that waited for, or read along with, another one's fetch.",
            &statistics.collapsed,
        ),
        ("s3proxy_cache_stale_served", "Answers served stale.", &statistics.stale_served),
        (
            "s3proxy_cache_pinned_refreshes",
            "Revalidations of pinned objects that began before these became stale.",
            &statistics.pinned_refreshes,
        ),
        (
            "s3proxy_cache_survey_exclusions",
            "Requests for tiles answered 404 because their survey excludes them.",
            &statistics.survey_exclusions,
        ),
        (
            "s3proxy_cache_surveys_switched_off",
            "Surveys that excluded a tile that exists, and exclude none any more.",
            &statistics.surveys_switched_off,
        ),
        (
            "s3proxy_cache_no_room",
            "Fetches that were not cached because others in flight had reserved the memory.",
            &statistics.no_room,
        ),
        (
            "s3proxy_cache_disk_errors",
            "Reads and writes that the disk failed.",
            &statistics.disk_errors,
        ),
        (
            "s3proxy_cache_disk_damaged",
            "Files found damaged on the disk, and removed.",
            &statistics.disk_damaged,
        ),
    ] {
        single(page, name, help, counter)?;
    }
    single(
        page,
        "s3proxy_cache_fetches_under_way",
        "Objects that are being fetched.",
        &ConstGauge::new(cache.fetches_under_way()),
    )?;
    single(
        page,
        "s3proxy_cache_pinned_bytes",
        "Bytes of pinned objects in memory.",
        &ConstGauge::new(cache.pinned_bytes()),
    )?;
    match cache.disk_is_up() {
        Some(up) => single(
            page,
            "s3proxy_cache_disk_up",
            "1 while the disk tier is used, 0 while it is left alone because it fails.",
            &ConstGauge::new(u64::from(up)),
        ),
        None => Ok(()),
    }
}

pub(super) fn shared_tier(
    page: &mut DescriptorEncoder<'_>,
    cache: &Cache,
    shared: &SharedStatus,
) -> Result<(), Error> {
    let statistics = cache.statistics();
    for (name, help, counter) in [
        (
            "s3proxy_cache_shared_misses",
            "Requests for which the shared tier had no value.",
            &statistics.shared_misses,
        ),
        (
            "s3proxy_cache_shared_writes",
            "Values written to the shared tier.",
            &statistics.shared_writes,
        ),
        (
            "s3proxy_cache_shared_dropped",
            "Values not written to the shared tier, which was full, slow or down.",
            &statistics.shared_dropped,
        ),
        (
            "s3proxy_cache_shared_damaged",
            "Values of the shared tier found damaged or foreign.",
            &statistics.shared_damaged,
        ),
        (
            "s3proxy_cache_shared_leases",
            "Fetches for which this replica had the lease.",
            &statistics.shared_leases,
        ),
        (
            "s3proxy_cache_shared_waits",
            "Fetches that waited for another replica.",
            &statistics.shared_waits,
        ),
    ] {
        single(page, name, help, counter)?;
    }
    let errors = shared.errors.iter();
    family(
        page,
        "s3proxy_cache_shared_errors",
        "Failed commands to the engine of the shared tier, by cause.",
        errors.map(|(cause, number)| ([("cause", *cause)], ConstCounter::new(*number))),
    )?;
    single(
        page,
        "s3proxy_cache_shared_queued_bytes",
        "Bytes that wait to be written to the shared tier.",
        &ConstGauge::new(shared.queued_bytes),
    )?;
    single(
        page,
        "s3proxy_cache_shared_up",
        "1 while the shared tier is used, 0 while it is left alone because its engine fails.",
        &ConstGauge::new(u64::from(shared.is_up)),
    )?;
    single(
        page,
        "s3proxy_cache_shared_messages_up",
        "1 while messages of other replicas come, 0 while this one looks for objects and purges instead.",
        &ConstGauge::new(u64::from(shared.hears)),
    )
}
