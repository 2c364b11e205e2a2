//! The gateway as its users meet it: the real binary, raw sockets, and stores that verify, spy or
//! misbehave.
//!
//! Started processes: [`gateway`] with its [`log`]. Clients: [`client`]. Stores: [`origin`] (S3 with
//! signatures checked), [`faulty`] (scripted) and [`scene`] (changed by the test). Files: [`files`]. Everything below
//! them is tests.

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
#[path = "../support/authority.rs"]
mod authority;
mod cached;
#[path = "../support/canary.rs"]
mod canary;
mod client;
mod crowd;
mod faulty;
mod files;
mod gateway;
mod log;
mod origin;
mod scene;
#[path = "../support/tally.rs"]
mod tally;

// Whether the tools above can tell right from wrong.
mod harness;
// What the gateway says by itself: metadata, documentation, redirects, refusals, order of checks.
mod routes;
// Answers with an object: status, headers, bytes, HEAD, HTTP/1.0.
mod objects;
// Which keys are served, and as what.
mod media_types;
// Which URL names which object.
mod keys;
// The same with keys and URLs that nobody has thought of.
mod random_urls;
// What passes between client and store, and request ids.
mod headers;
// Preconditions and ranges.
mod conditionals;
// Ranges as a table, in every state of the cache.
mod ranges;
// Pages of other origins.
mod cors;
// Raw requests no polite client sends.
mod hygiene;
// What one client may cost.
mod limits;
// What all of them may cost together.
mod overload;
// A store that fails before its answer; every fault on every road.
mod fault_table;
mod faults;
// Bodies on their way, and one store beside another.
mod streams;
// How the store is asked.
mod signing;
// The log.
mod logs;
// What is counted, and what dashboard and alerts ask of it.
mod metrics;
mod monitoring;
// Start: configuration, warnings, the other commands.
mod configuration;
// The end: signals.
mod drain;
mod life;
// Files that change while it runs.
mod reload;
mod reload_broken;
mod rotation;
// What operators and probes are told.
mod profiles;
// Stores behind TLS.
mod tls;
// The cache: bodies that are cut, who asks first, crowds, names, clients that leave, memory, bad
// neighbours, lengths.
mod blocks_without_room;
mod cache_cuts;
mod cache_first_touch;
mod cache_herds;
mod cache_keys;
mod cache_leaving;
mod cache_memory;
mod cache_poison;
mod cache_sizes;
// Objects in blocks: what a range costs, and what of it is kept.
mod blocks;
// How long objects are kept, and what stores say of it.
mod freshness;
// What is no longer fresh, and is asked for again.
mod revalidation;
// What is served although it is no longer fresh.
mod stale;
// Objects removed by request.
mod purge;
// What the cache says it did.
mod cache_status;
// The disk tier: restarts and crashes.
mod disk;
// Purges of the disk tier.
mod disk_purges;
// Files that are not what they were.
mod disk_damage;
// Disks that are full, read-only, failing, or not there.
mod disk_faults;
// What is kept of one object.
mod admin_kept;
// Whole explanations of URLs.
mod explain;
// `Server-Timing`.
mod server_timing;
