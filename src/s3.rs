//! The S3 side of a request as values: addresses, encoding, endpoints, profiles and signatures.
//! Nothing in here knows Pingora, the clock, the environment or any I/O.

pub mod address;
pub mod credentials;
pub mod encode;
pub mod endpoint;
pub mod error_code;
pub mod secret;
pub mod sign;
