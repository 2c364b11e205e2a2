//! What a client of S3 needs, as pure functions: addresses of objects, percent-encoding, endpoints,
//! credentials, AWS Signature Version 4, listings and error codes. No Pingora, no clock, no environment, no
//! input or output.

pub mod address;
pub mod credentials;
pub mod encode;
pub mod endpoint;
pub mod error_code;
pub mod list;
pub mod provider;
pub mod proxy;
pub mod secret;
pub mod sign;
