//! The S3 side of a request as values: addresses, encoding, endpoints, profiles and signatures.
//! Nothing in here knows Pingora, the clock, the environment or any I/O.

pub mod encode;
pub mod endpoint;
pub mod profile;
