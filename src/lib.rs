//! stub
pub mod config;
pub mod cors;
pub mod mime;
pub mod rfc9110;
pub mod s3;
pub mod secret;
