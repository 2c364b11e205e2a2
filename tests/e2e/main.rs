//! The gateway as its users see it: the real binary, raw sockets, and stores that verify
//! signatures, record requests or misbehave.
//!
//! Started processes: [`gateway`] with its [`log`]. Clients: [`client`]. Stores: [`origin`] (S3
//! with signatures verified), [`faulty`] (scripted) and [`scene`] (changed by the test). Files:
//! [`files`]. The modules after these hold tests.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy knows test functions as tests, not what they call"
)]

#[expect(dead_code, reason = "shared with the quickstart and the benchmarks")]
#[path = "../support/store.rs"]
mod store;

mod admin;
#[path = "../support/answers.rs"]
mod answers;
#[path = "../support/authority.rs"]
mod authority;
mod cached;
#[path = "../support/canary.rs"]
mod canary;
mod client;
mod collector;
// Credentials for a limited time.
mod credentials;
mod crowd;
mod faulty;
mod files;
mod gateway;
mod impossible_lengths;
mod issuers;
mod log;
mod origin;
mod running;
mod scene;
mod surveys;
#[path = "../support/tally.rs"]
mod tally;
#[path = "../support/zip_file.rs"]
mod zip_file;

// Whether the harness detects errors.
mod harness;
// Pages of the gateway itself: metadata, documentation, redirects, refusals, order of checks.
mod routes;

// Folders that stand for others.
mod aliases;
// Members of zip files and PMTiles.
mod archives;

mod folders;

mod pages;
mod viewer;
// Answers with an object: status, headers, bytes, HEAD, HTTP/1.0.
mod objects;
// Which keys are served, and with which media type.
mod media_types;
// Which URL names which object.
mod keys;
// The same with random keys and URLs.
mod random_urls;
// Headers passed between client and store, and request ids.
mod headers;
// Preconditions and ranges.
mod conditionals;
// Ranges as a table, in every state of the cache.
mod ranges;
// Headers of answers, on each road.
mod answer_headers;
// Pages of other origins.
mod cors;
// Raw requests that no well-behaved client sends.
mod hygiene;
// Limits on one client.
mod limits;
// Limits on all clients together.
mod overload;
// A store that fails before its response headers.
// A store that fails before its answer; every fault on every road.
mod fault_table;
mod faults;
// Bodies in transfer, and independent stores.
mod streams;
// Requests to the store.
mod signing;
// The log.
mod logs;
// Traces.
mod traces;
// Metrics, and their use in dashboard and alerts.
mod metrics;
mod monitoring;
// Start: configuration, warnings, the other commands.
mod configuration;
// Shutdown: signals.
mod drain;
mod life;
// Files that change while the gateway runs.
mod reload;
mod reload_broken;
mod rotation;
// State for operators and probes.
mod ports;
mod profiles;
// The status page, and commands for running processes.
mod replicas;
mod status;
// One store without a configuration file.
mod one_store;
// What the gateway says of its stores.
mod store_state;
// Stores behind TLS.
mod store_tls;
mod tls;
mod tls_commands;
mod tls_port;
// HTTP/2.
mod http2;
// Addresses, certificates by name, TLS of operators, the way to HTTPS.
mod edge;
// Clients behind load balancers and proxies.
mod balancers;
// Stores behind a proxy.
mod way_out;
// Stores with several endpoints.
mod endpoints;
// The cache: cut bodies, first requests, coalescing, keys, clients that leave, memory, poisoning,
// lengths.
mod blocks_without_room;
mod broken_bodies;
mod cache_cuts;
mod cache_first_touch;
mod cache_herds;
mod cache_keys;
mod cache_leaving;
mod cache_memory;
mod cache_poison;
mod cache_sizes;
// Objects in blocks: the requests a range costs, and the blocks that are cached.
mod blocks;
// How long objects are cached, and the store's headers about it.
mod freshness;
// Stale objects, and their revalidation.
mod revalidation;
// Metadata that changes without the bytes.
mod metadata;
// Objects that are served stale.
mod stale;
mod stale_outage;
mod unfinished_documents;
mod upgrade;
// Errors of a store that say nothing about an object.
mod store_errors;
// Objects removed by request.
mod purge;
// Clients that hold the permits of an uncached profile.
mod slow_readers;
// Every documented cause.
mod causes;
// Names and URLs as operators type them.
mod typed;
// What the cache reports.
mod cache_status;
// The disk tier: restarts and crashes.
mod direct_hits;
mod direct_streams;
mod disk;
// The memory of the process with it.
mod disk_memory;
// Answers that earlier settings have shaped.
mod old_settings;
// What is stored whole, in blocks, or not, with a disk tier.
mod disk_sizes;
// The time of day is set.
mod clock;
// Purges of the disk tier.
mod disk_purges;
// The tier that replicas share, in a real Valkey or Redis.
mod shared;
// Damaged cache files.
mod disk_damage;
// Disks that are full, read-only, failing, or not there.
mod disk_faults;
// The entries of one object.
mod admin_kept;
// `s3proxy explain`.
mod explain;
// `s3proxy check --hips`.
mod survey_check;
// Tiles that a survey excludes.
mod hips_list;
mod pinned;
mod survey_404;
// `s3proxy warm`.
mod warm;
// `Server-Timing`.
mod scrape;
mod server_timing;
