//! The gateway in front of a real Ceph RGW, the store that its users run.
//!
//! `tests/rgw/run` starts a one-node Ceph and runs these. With `S3PROXY_TEST_RGW_ENDPOINT`
//! (`http://host:port`), `S3PROXY_TEST_RGW_ACCESS_KEY` and `S3PROXY_TEST_RGW_SECRET_KEY` set they
//! run against any RGW; the test of STS needs `S3PROXY_TEST_RGW_ROLE_ARN` too. Without them each test prints
//! `SKIPPED:` and passes.
//!
//! Every test has a bucket of its own, filled by a signing client that shares no code with the
//! gateway's, and starts the real binary on a free port of 127.0.0.1.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod blocks;
mod cached;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod gateway;
#[cfg(test)]
#[path = "../support/hard_keys.rs"]
mod hard_keys;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod quirks;
#[cfg(test)]
mod rgw;
#[cfg(test)]
mod sts;
#[cfg(test)]
#[path = "../support/tally.rs"]
mod tally;
#[cfg(test)]
mod wire;
