//! Tests of the store that the other tests rely on, with a client whose SigV4 implementation is
//! independent of the one that verifies.

#[path = "../support/store.rs"]
mod store;

#[cfg(test)]
mod client;
#[cfg(test)]
mod conditions;
#[cfg(test)]
#[path = "../support/hard_keys.rs"]
mod hard_keys;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod log;
#[cfg(test)]
mod signatures;
