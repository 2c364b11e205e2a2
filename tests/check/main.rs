//! `s3proxy check` against scripted stores on this machine: each fault is found, named and reported
//! with its fix, within the time limit, and no secret is ever printed.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy knows test functions as tests, not what they call"
)]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/canary.rs"]
mod canary;
#[expect(dead_code, reason = "shared with the tests of the running gateway")]
#[path = "../support/tally.rs"]
mod tally;

mod objects;
mod profiles;
mod setup;
mod store;
mod tls;
