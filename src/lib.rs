//! A read gateway from plain HTTP to private S3 buckets.
//!
//! The rooms of the crate, from the lowest floor up. A file imports its own room and rooms on lower
//! floors; `tests/tidy/rooms.rs` enforces this. `ARCHITECTURE.md` describes the path of a request.
//!
//! | floor | rooms |
//! |---|---|
//! | 1 | [`protocol`]: what an RFC says, as functions of values; [`mime`]: which keys are served, as what; [`survey`]: what a HiPS says of itself; [`archive`]: where the members of an archive are; [`terminal`]: colours and tables; [`certificate`]: who the gateway is over TLS |
//! | 2 | [`s3`]: addresses, endpoints, signatures, credentials; [`metrics`]: counters and histograms; [`trace`]: spans of requests |
//! | 3 | [`profile`]: one store with its credentials and rules; [`pages`]: what a browser shows |
//! | 4 | [`config`]: all settings, from defaults, a file, the environment and options |
//! | 5 | [`response`]: the head of an object, or a refusal; [`logging`]: the access log and its writer |
//! | 6 | [`upstream`]: asking a store; [`downstream`]: a client's connection; [`engine`]: the Valkey or Redis of the shared cache |
//! | 7 | [`cache`]: memory, disk, and one fetch per object; [`collector`]: sends spans |
//! | 8 | [`reload`]: a changed configuration takes effect |
//! | 9 | [`gateway`]: the `ProxyHttp` hooks; start reading here |
//! | 10 | [`admin`]: the operators' listener; [`check`]: `s3proxy check`; [`warm`]: `s3proxy warm` |
//! | 11 | [`explain`]: `s3proxy explain`; [`server`]: the process |
//! | 12 | [`cli`]: the command line |

pub mod admin;
pub mod archive;
pub mod cache;
pub mod certificate;
pub mod check;
pub mod cli;
pub mod collector;
pub mod config;
pub mod downstream;
pub mod engine;
pub mod explain;
pub mod gateway;
pub mod logging;
pub mod metrics;
pub mod mime;
pub mod pages;
pub mod profile;
pub mod protocol;
pub mod reload;
pub mod response;
pub mod s3;
pub mod server;
pub mod survey;
pub mod terminal;
pub mod trace;
pub mod upstream;
pub mod warm;
