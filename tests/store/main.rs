//! Does the store that the other tests trust deserve it? Asked by a client that signs with another
//! implementation of SigV4 than the one that verifies.

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
