//! A read gateway from plain HTTP to private S3 buckets.
//!
//! The way of a request, and the modules it passes in this order:
//!
//! 1. [`connection`] reads its head within limits ([`head_scan`]);
//! 2. [`gateway`] admits it: [`hygiene`], [`route`], [`s3::address`], [`mime`];
//! 3. [`cache`] answers what it has, or has it fetched ([`fetch`]), or lets it pass;
//! 4. [`upstream`] picks an address of its store ([`s3::profile`], [`s3::endpoint`]), and
//!    [`s3::sign`] signs what is sent, with the conditions [`rfc9110::forward`] lets through;
//! 5. [`answer`] decides what the store's answer means, by [`rfc9110`];
//! 6. the object streams to the client with the head [`object_head`] makes, or [`refusal`] says why
//!    not; [`access_log`] notes it.
//!
//! [`config`] makes everything of this from files and variables, [`server`] runs it, [`reload`] has what
//! changed read again, [`admin`] lets operators look at it, and [`check`] asks the stores as it would.

pub mod access_log;
pub mod admin;
pub mod answer;
pub mod cache;
pub mod check;
pub mod cli;
pub mod config;
pub mod connection;
pub mod cors;
pub mod date_text;
pub mod explain;
pub mod fetch;
pub mod gateway;
pub mod gathering;
pub mod head_scan;
pub mod hygiene;
pub mod lifecycle;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod mime;
pub mod object_head;
pub mod pages;
pub mod refusal;
pub mod reload;
pub mod rfc9110;
pub mod route;
pub mod s3;
pub mod secret;
pub mod server;
pub mod server_timing;
pub mod upstream;
